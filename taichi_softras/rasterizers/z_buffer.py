"""The z-buffer: projected corners in; the nearest face at each pixel's centre, and where, out.

Exact: a pixel takes the smallest depth and, of equal depths, the smallest face index, whatever
the order in which its faces come. The methods differ in how they differentiate this image.
"""

from typing import NamedTuple

import taichi as ti
from taichi.math import vec2, vec3

from taichi_softras.funcs.interpolation import PERSPECTIVE, clip_weights
from taichi_softras.funcs.triangle import barycentric, cross
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE, Bins
from taichi_softras.rasterizers.faces import is_in_box, load_triangle, pixel_centre
from taichi_softras.workspace import Workspace, array

PADDING_PIXELS = 1  # of a face's box: rounding must not take away a pixel on its outline


class Seen(NamedTuple):
    """What is at each pixel."""

    faces: ti.Ndarray  # (B, H, W) index, or NO_FACE
    weights: ti.Ndarray  # (B, 3, H, W) barycentric on the screen, in [0, 1], sum 1
    depths: ti.Ndarray  # (B, H, W), `far` where no face is


class ZBuffer:
    """What is seen at each pixel.

    Attributes:
        bins: the faces, and those of each tile.
        seen: what is seen.
    """

    def __init__(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        image_size: tuple,
        near: float,
        far: float,
        double_sided: bool,
    ):
        """Finds the nearest faces.

        Args:
            workspace: keeps the arrays.
            corners: (B, F, 3, 4) clip coordinates or (B, F, 3, 3) divided ones, see `Bins`.
            image_size: (H, W) in pixels.
            near: depth that is too near; what is drawn lies behind it.
            far: depth that is too far; what is drawn lies before it.
            double_sided: whether faces that are clockwise on the image are drawn.

        Raises:
            ValueError: for a corner that is NaN or infinite.
        """
        shape = (corners.shape[0], *image_size)
        self.bins = Bins(workspace, corners, image_size, PADDING_PIXELS * 2.0 / min(image_size))
        self.seen = Seen(
            workspace.get("seen_faces", shape, int),
            workspace.get("seen_weights", (shape[0], 3, *image_size)),
            workspace.get("seen_depths", shape),
        )
        limits = workspace.constants("z_buffer_limits", (near, far, float(double_sided)))
        find_nearest_faces(*self.bins.of_faces, *self.bins.of_tiles, limits, *self.seen)


@ti.func
def side(pixel: vec2, start: vec2, end: vec2) -> float:
    """Above 0 where the pixel is left of start -> end; exactly the negative for end -> start.

    So no pixel falls between two faces that share an edge.
    """
    is_ordered = (start.x < end.x) | ((start.x == end.x) & (start.y < end.y))
    first = ti.select(is_ordered, start, end)
    second = ti.select(is_ordered, end, start)
    area = cross(second - first, pixel - first)
    return ti.select(is_ordered, area, -area)


@ti.func
def contains(triangle: ti.template(), pixel: vec2, is_double_sided: int) -> int:
    """Whether the pixel is in the triangle or on its outline."""
    to_ab = side(pixel, triangle.a, triangle.b)
    to_bc = side(pixel, triangle.b, triangle.c)
    to_ca = side(pixel, triangle.c, triangle.a)
    in_front = (to_ab >= 0.0) & (to_bc >= 0.0) & (to_ca >= 0.0) & (triangle.inverse_area > 0.0)
    in_back = (to_ab <= 0.0) & (to_bc <= 0.0) & (to_ca <= 0.0) & (triangle.inverse_area < 0.0)
    return in_front | (in_back & (is_double_sided != 0))


@ti.func
def tile_of(view: int, row: int, column: int, height: int, width: int) -> int:
    """The index of the tile that a pixel is in, of all views' tiles."""
    tile_rows = (height + TILE - 1) // TILE
    tile_columns = (width + TILE - 1) // TILE
    return (view * tile_rows + row // TILE) * tile_columns + column // TILE


@ti.kernel
def find_nearest_faces(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    starts: array(int, 1),  # (T + 1,)
    tile_faces: array(int, 1),  # (>= pairs,)
    limits: array(float, 1),  # (3,) near and far depth; not 0 if clockwise faces are drawn
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
):
    """A thread owns a pixel and walks its tile's faces."""
    for index in range(faces.shape[0] * faces.shape[1] * faces.shape[2]):
        height = faces.shape[1]
        width = faces.shape[2]
        num_faces = records.shape[0] // faces.shape[0]
        view = index // (height * width)
        row = index // width % height
        column = index % width
        inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
        pixel = pixel_centre(column, row, height, width, inverse_shorter)
        near = limits[0]
        is_double_sided = ti.cast(limits[2], ti.i32)
        nearest = limits[1]
        front = NO_FACE
        front_weights = vec3(0.0)
        tile = tile_of(view, row, column, height, width)
        for slot in range(starts[tile], starts[tile + 1]):
            face = tile_faces[slot]
            i = view * num_faces + face
            if is_in_box(boxes, i, row, column):
                triangle = load_triangle(records, i)
                if contains(triangle, pixel, is_double_sided):
                    clipped = clip_weights(barycentric(pixel, triangle))
                    depth = PERSPECTIVE.place(clipped, triangle).depth
                    is_first = (depth == nearest) & (front != NO_FACE) & (face < front)
                    if (depth > near) & ((depth < nearest) | is_first):
                        nearest = depth
                        front = face
                        front_weights = clipped
        faces[view, row, column] = front
        depths[view, row, column] = nearest
        for corner in ti.static(range(3)):
            weights[view, corner, row, column] = front_weights[corner]


@ti.func
def load_weights(weights: ti.template(), view: int, row: int, column: int) -> vec3:
    """Barycentric weights on the screen of what is seen at a pixel."""
    return vec3(
        weights[view, 0, row, column], weights[view, 1, row, column], weights[view, 2, row, column]
    )
