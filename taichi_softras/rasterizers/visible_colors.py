"""Colours of what a z-buffer sees: visibility and colours of faces in, the image out, and back.

The image is linear in the colours, so the gradient with respect to them is exact.
"""

import dataclasses
from typing import Optional, Union

import taichi as ti
from taichi.math import vec3

from taichi_softras.funcs.interpolation import cube_entries, perspective_weights, texel_index
from taichi_softras.rasterizers.base import NO_FACE, Rasterization, upload_background
from taichi_softras.rasterizers.faces import load_inverse_depths
from taichi_softras.rasterizers.z_buffer import ZBuffer
from taichi_softras.workspace import Workspace, array


@ti.func
def corner_entries(on_face: vec3, resolution: int, margin: float):
    """The three corners, linear on the face."""
    return ti.Vector([0, 1, 2]), ti.Vector([on_face.x, on_face.y, on_face.z])


@ti.func
def texel_entries(on_face: vec3, resolution: int, margin: float):
    """The texel under the point."""
    return ti.Vector([texel_index(on_face, resolution)]), ti.Vector([1.0])


@dataclasses.dataclass(frozen=True)
class Coloring:
    """How a face's colours make the colour at a point: compiled in, as are the channels.

    Attributes:
        entries: (on_face, resolution, margin) -> indices of colours, their shares.
        count: how many.
        channels: C, or 0 for a silhouette.
    """

    entries: object
    count: int
    channels: int


def choose_coloring(num_entries: int, texel_resolution: int, channels: int) -> Coloring:
    """By the number of colours that a face has: 3 corners, R * R texels or R * R * R in a cube."""
    if not texel_resolution or not channels:
        return Coloring(corner_entries, 3, channels)
    if num_entries == texel_resolution**2:
        return Coloring(texel_entries, 1, channels)
    return Coloring(cube_entries, 8, channels)


class ZBufferRasterization(Rasterization):
    """A drawn z-buffer, without the gradient at corners: methods add theirs in `backward`.

    Attributes:
        z_buffer: what is seen.
        drawn: (B, C + 1, H, W) at the z-buffer's size.
    """

    def __init__(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        colors: Optional[ti.Ndarray],
        texel_resolution: int,
        z_buffer: ZBuffer,
        background: Union[float, tuple],
        cube_margin: float,
    ):
        self.workspace = workspace
        self.z_buffer = z_buffer
        self.corners_shape = tuple(corners.shape)
        self.has_colors = colors is not None
        self.colors = colors if self.has_colors else workspace.get("no_colors", (1, 1, 1, 1))
        self.texel_resolution = texel_resolution
        self.cube_margin = cube_margin
        channels = colors.shape[-1] if self.has_colors else 0
        self.coloring = choose_coloring(self.colors.shape[2], texel_resolution, channels)
        views, height, width = z_buffer.faces.shape
        self.drawn = workspace.get("drawn", (views, channels + 1, height, width))
        self.background = upload_background(workspace, background, channels)

    def paint(self) -> None:
        """Fills `drawn`."""
        paint(
            self.z_buffer.records,
            self.z_buffer.faces,
            self.z_buffer.weights,
            self.z_buffer.depths,
            self.colors,
            self.texel_resolution,
            self.cube_margin,
            self.background,
            self.drawn,
            self.coloring,
        )

    def pull_back_colors(self, grad_drawn: ti.Ndarray) -> None:
        """Fills `grad_colors` from the gradient at `drawn`."""
        if self.has_colors:
            paint_backward(
                self.z_buffer.records,
                self.z_buffer.boxes,
                self.z_buffer.faces,
                self.z_buffer.weights,
                self.z_buffer.depths,
                self.texel_resolution,
                self.cube_margin,
                grad_drawn,
                self.grad_colors,
                self.coloring,
            )

    @property
    def grad_image(self) -> ti.Ndarray:
        """(B, C + 1, H, W): written by the caller before `backward`."""
        return self.workspace.get("grad_image", tuple(self.image.shape))

    @property
    def grad_corners(self) -> ti.Ndarray:
        """(B, F, 3, 3): written by `backward`."""
        return self.workspace.get("grad_corners", self.corners_shape)

    @property
    def grad_colors(self) -> Optional[ti.Ndarray]:
        """The shape of the colours: written by `backward`; None for a silhouette."""
        if not self.has_colors:
            return None
        return self.workspace.get("grad_colors", tuple(self.colors.shape))


@ti.func
def weights_on_face(
    records: ti.template(), weights: ti.template(), depths: ti.template(), i, view, row, column
):
    """Barycentric weights of the point of the face that is seen at a pixel."""
    on_screen = vec3(
        weights[view, 0, row, column], weights[view, 1, row, column], weights[view, 2, row, column]
    )
    inverse_depths = load_inverse_depths(records, i)
    return perspective_weights(on_screen, inverse_depths, depths[view, 0, row, column])


@ti.kernel
def paint(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 4),  # (B, 1, H, W)
    colors: array(float, 4),  # (B or 1, F, 3, R * R or R * R * R, C)
    resolution: int,
    margin: float,  # of texture cubes, see `cube_entries`
    background: array(float, 1),  # (C,)
    image: array(float, 4),  # (B, C + 1, H, W)
    coloring: ti.template(),
):
    """A thread owns a pixel."""
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        num_faces = records.shape[0] // faces.shape[0]
        face = faces[view, row, column]
        alpha = ti.select(face == NO_FACE, 0.0, 1.0)
        image[view, ti.static(coloring.channels), row, column] = alpha
        if ti.static(coloring.channels > 0):
            color = ti.Vector([background[c] for c in ti.static(range(coloring.channels))])
            if face != NO_FACE:
                on_face = weights_on_face(
                    records, weights, depths, view * num_faces + face, view, row, column
                )
                entries, shares = coloring.entries(on_face, resolution, margin)
                color *= 0.0
                for k in ti.static(range(coloring.count)):
                    for channel in ti.static(range(coloring.channels)):
                        value = colors[view % colors.shape[0], face, entries[k], channel]
                        color[channel] += shares[k] * value
            for channel in ti.static(range(coloring.channels)):
                image[view, channel, row, column] = color[channel]


@ti.kernel
def paint_backward(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 4),  # (B, 1, H, W)
    resolution: int,
    margin: float,  # of texture cubes
    grad_image: array(float, 4),  # (B, C + 1, H, W)
    grad_colors: array(float, 4),  # (B or 1, F, 3, R * R or R * R * R, C)
    coloring: ti.template(),
):
    """A thread owns a face's colours and visits its pixels in all views that share them."""
    for index in range(grad_colors.shape[0] * grad_colors.shape[1]):
        num_faces = grad_colors.shape[1]
        sharing = index // num_faces
        face = index - sharing * num_faces
        for entry in range(grad_colors.shape[2]):
            for channel in ti.static(range(coloring.channels)):
                grad_colors[sharing, face, entry, channel] = 0.0
        for part in range(faces.shape[0] // grad_colors.shape[0]):
            view = sharing + part * grad_colors.shape[0]
            i = view * num_faces + face
            for row in range(boxes[i, 2], boxes[i, 3] + 1):
                for column in range(boxes[i, 0], boxes[i, 1] + 1):
                    if faces[view, row, column] == face:
                        on_face = weights_on_face(records, weights, depths, i, view, row, column)
                        entries, shares = coloring.entries(on_face, resolution, margin)
                        for k in ti.static(range(coloring.count)):
                            for channel in ti.static(range(coloring.channels)):
                                entry = entries[k]
                                total = grad_colors[sharing, face, entry, channel]
                                grad = shares[k] * grad_image[view, channel, row, column]
                                grad_colors[sharing, face, entry, channel] = total + grad
