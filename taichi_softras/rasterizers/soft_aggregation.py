"""Soft aggregation: every face counts, softly, at every pixel in its reach.

S. Liu, T. Li, W. Chen, H. Li, "Soft Rasterizer: A Differentiable Renderer for
Image-based 3D Reasoning", ICCV 2019. The gradient is the derivative of the image that
is drawn, with the terms that the paper's code leaves out (docs/gradients.md).
"""

import dataclasses
from typing import Optional, Union

import taichi as ti

from taichi_softras.funcs.aggregation import ALPHAS, COLORS
from taichi_softras.funcs.coverage import ALWAYS, DISTANCES
from taichi_softras.funcs.interpolation import CLIP_TO_RANGE, PERSPECTIVE, SCREEN
from taichi_softras.rasterizers.base import (
    Rasterization,
    check_color,
    check_range,
    choose,
    upload_background,
)
from taichi_softras.rasterizers.binning import CPU_BLOCK, Bins
from taichi_softras.rasterizers.faces import prepare_faces
from taichi_softras.rasterizers.soft_jacobian import push_channel_forward
from taichi_softras.rasterizers.soft_kernels import (
    LANES,
    Numbers,
    Structure,
    clear,
    draw_pixels,
    draw_tiles,
    pull_back_faces,
    pull_back_tiles,
    sum_views,
)
from taichi_softras.runtime import is_cpu
from taichi_softras.workspace import Workspace

MOST_FACES_PER_TASK = 64  # CPU backward: large enough to hide what a task costs


@dataclasses.dataclass(frozen=True)
class SoftAggregation:
    """The Soft Rasterizer (Liu et al., ICCV 2019).

    Coverage of pixel i by face j is D_ij = sigmoid(delta_ij d_ij^2 / sigma). The colour is
    sum_j w_ij C_ij with w_ij proportional to D_ij exp(z_ij / gamma), where z is the
    normalised inverse depth (far - depth) / (far - near) and the background has weight
    exp(background_depth / gamma). The silhouette is 1 - prod_j (1 - D_ij).

    Args:
        sigma: softness of edges, NDC squared (the shorter image side spans 2).
        gamma: softness of depth, in normalised inverse depth.
        distance: "euclidean"; "barycentric" (a pure number, as in the paper's code); "hard".
        color: "softmax" over depth, or "hard": the nearest face.
        alpha: "product"; "sum": the mean of D over all faces; "hard": D > 1/2.
        coverage_cutoff: a face ends where its coverage falls below this, in (0, 0.5).
        near: nearest depth that has colour; depth is the distance along the view axis.
        far: farthest depth that has colour. Faces before `near` or behind `far` still cover in
            alpha, as in the paper's code; those behind the camera never do.
        background: colour of the background, one number or one for each channel.
        background_depth: its z in the softmax (the paper's epsilon).
        double_sided: whether faces that are clockwise on the image have colour.
        perspective_correct: interpolate colours and look texels up on the face (the paper's code:
            on the image).
        sigma_pixels: sqrt(sigma) in pixels, instead of `sigma`.

    Raises:
        ValueError: for a number out of its range or an unknown name.
    """

    sigma: float = 1e-4
    gamma: float = 1e-4
    distance: str = "euclidean"
    color: str = "softmax"
    alpha: str = "product"
    coverage_cutoff: float = 1e-4
    near: float = 1.0
    far: float = 100.0
    background: Union[float, tuple] = (0.0, 0.0, 0.0)
    background_depth: float = 1e-3
    double_sided: bool = True
    perspective_correct: bool = True
    sigma_pixels: Optional[float] = None

    def __post_init__(self):
        choose("distance", self.distance, DISTANCES)
        choose("color", self.color, COLORS)
        choose("alpha", self.alpha, ALPHAS)
        check_range("sigma", self.sigma, above=0.0)
        check_range("gamma", self.gamma, above=0.0)
        check_range("coverage_cutoff", self.coverage_cutoff, above=0.0, below=0.5)
        check_range("near", self.near, above=0.0)
        check_range("far", self.far, above=self.near)
        check_range("background_depth", self.background_depth)
        check_color("background", self.background)
        if self.sigma_pixels is not None:
            check_range("sigma_pixels", self.sigma_pixels, above=0.0)

    def sigma_ndc(self, image_size: tuple) -> float:
        """Sigma in NDC squared for an image of (height, width) pixels."""
        if self.sigma_pixels is None:
            return self.sigma
        return (self.sigma_pixels * 2.0 / min(image_size)) ** 2

    def structure(self, channels: int, has_texels: bool) -> Structure:
        """The functions behind the names; channels = 0 means silhouette only."""
        return Structure(
            distance=DISTANCES[self.distance],
            alpha=ALPHAS[self.alpha],
            color=COLORS[self.color] if channels else None,
            clipping=CLIP_TO_RANGE,
            interpolation=PERSPECTIVE if self.perspective_correct else SCREEN,
            is_limited=False,
            is_double_sided=self.double_sided,
            has_texels=has_texels,
            channels=channels,
        )

    def numbers(self, image_size: tuple) -> Numbers:
        """What the kernels take as arguments."""
        sigma = self.sigma_ndc(image_size)
        depth_range = self.far - self.near
        # where the background stands in the softmax; a hard z-buffer begins behind everything
        is_soft = COLORS[self.color].is_soft
        return Numbers(
            inverse_sigma=1.0 / sigma,
            reach=DISTANCES[self.distance].reach(sigma, self.coverage_cutoff),
            sharpness=1.0 / (self.gamma * depth_range),
            near=self.near,
            far=self.far,
            start_depth=self.far - self.background_depth * depth_range if is_soft else ALWAYS,
        )

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        colors: Optional[ti.Ndarray],
        texel_resolution: int,
        image_size: tuple,
    ) -> "SoftRasterization":
        """Draws; see `Rasterizer.forward`."""
        rasterization = SoftRasterization(
            self, workspace, corners, colors, texel_resolution, image_size
        )
        rasterization.draw()
        return rasterization


class SoftRasterization(Rasterization):
    """One image and what its gradient needs: a few numbers a pixel, nothing a fragment.

    Construction sets up faces and bins; then `draw`, then `backward` as often as wanted.
    """

    def __init__(
        self,
        method: SoftAggregation,
        workspace: Workspace,
        corners: ti.Ndarray,
        colors: Optional[ti.Ndarray],
        texel_resolution: int,
        image_size: tuple,
    ):
        self.workspace = workspace
        self.image_size = image_size
        self.corners_shape = corners.shape
        views = corners.shape[0]
        channels = colors.shape[-1] if colors is not None else 0
        self.structure = method.structure(channels, texel_resolution > 0)
        self.has_colors = colors is not None
        self.colors = colors if self.has_colors else workspace.get("no_colors", (1, 1, 1, 1))
        self.texel_resolution = texel_resolution

        self.numbers = method.numbers(image_size)
        reach = self.numbers.reach**0.5
        self.records, self.boxes = prepare_faces(workspace, corners, image_size, reach)
        self.bins = Bins(workspace, self.boxes, views, image_size)

        height, width = image_size
        planes = (height, width + LANES)
        self.image = workspace.get("image", (views, channels + 1, *planes))
        is_limited = self.structure.is_limited
        num_planes = 5 if is_limited else 3 if self.has_colors else 1
        self.state = workspace.get("state", (views, num_planes, *planes))
        has_faces = is_limited or self.has_colors
        shape = (views, 1 + is_limited, *planes) if has_faces else (1, 1, 1, 1)
        self.pixel_faces = workspace.get("pixel_faces", shape, int)
        self.background = upload_background(workspace, method.background, channels)

    def draw(self) -> None:
        """Fills `image`, and the state that `backward` reads."""
        draw = draw_tiles if is_cpu() else draw_pixels
        draw(
            self.records,
            self.boxes,
            self.bins.starts,
            self.bins.faces,
            self.colors,
            self.texel_resolution,
            self.background,
            *self.image_size,
            self.bins.rows,
            self.bins.columns,
            *self.numbers,
            self.image,
            self.state,
            self.pixel_faces,
            self.structure,
        )

    @property
    def grad_image(self) -> ti.Ndarray:
        """(B, C + 1, H, W + padding): written by the caller before `backward`."""
        return self.workspace.get("grad_image", tuple(self.image.shape))

    @property
    def grad_corners(self) -> ti.Ndarray:
        """(B, F, 3, 3): written by `backward`."""
        return self.workspace.get("grad_corners", tuple(self.corners_shape))

    @property
    def grad_colors(self) -> Optional[ti.Ndarray]:
        """The shape of the colours: written by `backward`; None for a silhouette."""
        if not self.has_colors:
            return None
        return self.workspace.get("grad_colors", tuple(self.colors.shape))

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_colors` from `grad_image`."""
        views, faces = self.corners_shape[:2]
        grad_colors = self.workspace.get("no_colors", (1, 1, 1, 1))
        is_summed = False
        if self.has_colors:
            grad_colors = self.grad_colors
            is_summed = self.colors.shape[0] < views and not self.texel_resolution
            if is_summed:  # colours at corners that views share: add up after, without atomics
                shape = (views, *self.colors.shape[1:])
                grad_colors = self.workspace.get("grad_colors_of_views", shape)
            if self.texel_resolution or not is_cpu():
                clear(grad_colors)
        inputs = (
            self.records,
            self.boxes,
            self.colors,
            self.texel_resolution,
            self.background,
            self.image,
            self.state,
            self.pixel_faces,
            self.grad_image,
            *self.image_size,
            *self.numbers,
        )
        outputs = (self.grad_corners, grad_colors, self.structure)
        if is_cpu():
            per_task = max(1, min(MOST_FACES_PER_TASK, views * faces // CPU_BLOCK))
            pull_back_faces(*inputs, per_task, LANES, *outputs)
        else:
            clear(self.grad_corners)
            pull_back_tiles(
                *inputs,
                self.bins.faces,
                self.bins.tiles,
                self.bins.num_pairs,
                self.bins.rows,
                self.bins.columns,
                *outputs,
            )
        if is_summed:
            sum_views(grad_colors, self.grad_colors)

    def push_forward(
        self, tangent_corners: ti.Ndarray, tangent_colors: Optional[ti.Ndarray]
    ) -> ti.Ndarray:
        """(P, B, C + 1, H, W): the transpose of `backward`, see `Rasterization.push_forward`."""
        views, channels = self.image.shape[:2]
        shape = (tangent_corners.shape[0], views, channels, *self.image_size)
        tangent_image = self.workspace.get("tangent_image", shape)
        if not self.has_colors:
            tangent_colors = self.workspace.get("no_tangent_colors", (1, 1, 1, 1, 1))
        for channel in range(channels):
            push_channel_forward(
                channel,
                self.records,
                self.boxes,
                self.bins.starts,
                self.bins.faces,
                self.colors,
                self.texel_resolution,
                self.background,
                self.image,
                self.state,
                self.pixel_faces,
                *self.image_size,
                self.bins.rows,
                self.bins.columns,
                *self.numbers,
                tangent_corners,
                tangent_colors,
                self.grad_image,
                tangent_image,
                self.structure,
            )
        return tangent_image
