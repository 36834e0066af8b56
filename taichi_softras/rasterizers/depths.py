"""Depth in place of colour: projected corners in, an image of depth and alpha out, and back.

A corner's depth is drawn as a colour of one channel, on a background at `far`, and so it is
interpolated, blended and differentiated as a colour is: a corner's depth gets the gradient of
its colour, too. A rasterizer that knows better has a method `forward_depths`.
"""

import dataclasses

import taichi as ti

from taichi_softras.rasterizers.base import Rasterization, Rasterizer
from taichi_softras.rasterizers.workspace import Workspace, array


def draw_depths(
    rasterizer: Rasterizer, workspace: Workspace, corners: ti.Ndarray, image_size: tuple
) -> Rasterization:
    """Draws (depth, alpha); see `Rasterizer.forward` for the arguments."""
    if hasattr(rasterizer, "forward_depths"):
        return rasterizer.forward_depths(workspace, corners, image_size)
    return DepthRasterization(rasterizer, workspace, corners, image_size)


class DepthRasterization(Rasterization):
    """An image whose colours are the depths of corners."""

    grad_colors = None

    def __init__(
        self, rasterizer: Rasterizer, workspace: Workspace, corners: ti.Ndarray, image_size: tuple
    ):
        colors = workspace.get("corner_depths", (*corners.shape[:3], 1))
        load_depths(corners, colors)
        on_far = dataclasses.replace(rasterizer, background=rasterizer.far)
        self.workspace = workspace
        self.colored = on_far.forward(workspace, corners, colors, 0, image_size)
        self.image = self.colored.image

    @property
    def grad_image(self) -> ti.Ndarray:
        """(B, 2, H, >= W): written by the caller before `backward`."""
        return self.colored.grad_image

    @property
    def grad_corners(self) -> ti.Ndarray:
        """(B, F, 3, 3): written by `backward`."""
        return self.colored.grad_corners

    def backward(self) -> None:
        """Fills `grad_corners` from `grad_image`."""
        self.colored.backward()
        load_depths_backward(self.colored.grad_colors, self.grad_corners)

    def push_forward(self, tangent_corners: ti.Ndarray, tangent_colors: None) -> ti.Ndarray:
        """(P, B, 2, H, W): the transpose of `backward`, see `Rasterization.push_forward`."""
        tangent_depths = self.workspace.get("tangent_depths", (*tangent_corners.shape[:4], 1))
        load_tangent_depths(tangent_corners, tangent_depths)
        return self.colored.push_forward(tangent_corners, tangent_depths)


@ti.kernel
def load_depths(
    corners: array(float, 4),  # (B, F, 3, 3)
    colors: array(float, 4),  # (B, F, 3, 1)
):
    """Copies."""
    for view, face, corner in ti.ndrange(corners.shape[0], corners.shape[1], 3):
        colors[view, face, corner, 0] = corners[view, face, corner, 2]


@ti.kernel
def load_tangent_depths(
    tangent_corners: array(float, 5),  # (P, B, F, 3, 3)
    tangent_depths: array(float, 5),  # (P, B, F, 3, 1)
):
    """The derivative of `load_depths`."""
    for parameter, view in ti.ndrange(tangent_corners.shape[0], tangent_corners.shape[1]):
        for face, corner in ti.ndrange(tangent_corners.shape[2], 3):
            tangent = tangent_corners[parameter, view, face, corner, 2]
            tangent_depths[parameter, view, face, corner, 0] = tangent


@ti.kernel
def load_depths_backward(
    grad_colors: array(float, 4),  # (B, F, 3, 1)
    grad_corners: array(float, 4),  # (B, F, 3, 3), added to
):
    """The adjoint of `load_depths`."""
    for view, face, corner in ti.ndrange(grad_colors.shape[0], grad_colors.shape[1], 3):
        grad_corners[view, face, corner, 2] += grad_colors[view, face, corner, 0]


@ti.kernel
def copy_plane(
    source: array(float, 4),  # (B, C, H, W)
    source_plane: int,
    target: array(float, 4),  # (B, C', H, W)
    target_plane: int,
):
    """One channel."""
    for view, row, column in ti.ndrange(source.shape[0], source.shape[2], source.shape[3]):
        target[view, target_plane, row, column] = source[view, source_plane, row, column]
