"""The z-buffer: projected corners in; the nearest face at each pixel's centre, and where, out.

Exact: a pixel takes the smallest depth and, of equal depths, the smallest face index, whatever
the order in which its faces come. The methods differ in how they differentiate this image.
"""

import taichi as ti
from taichi.math import vec2, vec3

from taichi_softras.funcs.interpolation import clip_weights, interpolate_depth
from taichi_softras.funcs.triangle import barycentric, barycentric_vjp, cross
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE, Bins
from taichi_softras.rasterizers.faces import is_in_box, load_triangle, pixel_centre, prepare_faces
from taichi_softras.workspace import Workspace, array

PADDING_PIXELS = 1  # of a face's box: rounding must not take away a pixel on its outline


class ZBuffer:
    """What is seen at each pixel.

    Attributes:
        records, boxes: of the faces, see `rasterizers.faces`; bins: of their tiles.
        faces: (B, H, W) index, or NO_FACE.
        weights: (B, 3, H, W) barycentric on the screen, clipped to [0, 1], sum 1.
        depths: (B, 1, H, W), `far` where no face is.
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
            corners: (B, F, 3, 3): x_ndc, y_ndc, depth.
            image_size: (H, W) in pixels.
            near: depth that is too near; what is drawn lies behind it.
            far: depth that is too far; what is drawn lies before it.
            double_sided: whether faces that are clockwise on the image are drawn.

        Raises:
            ValueError: for a corner that is NaN or infinite.
        """
        views = corners.shape[0]
        self.image_size = image_size
        reach = PADDING_PIXELS * 2.0 / min(image_size)
        self.records, self.boxes = prepare_faces(workspace, corners, image_size, reach)
        self.bins = Bins(workspace, self.boxes, views, image_size)
        self.faces = workspace.get("visible_faces", (views, *image_size), int)
        self.weights = workspace.get("visible_weights", (views, 3, *image_size))
        self.depths = workspace.get("visible_depths", (views, 1, *image_size))
        find_nearest_faces(
            self.records,
            self.boxes,
            self.bins.starts,
            self.bins.faces,
            self.bins.rows,
            self.bins.columns,
            near,
            far,
            double_sided,
            self.faces,
            self.weights,
            self.depths,
        )


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


@ti.kernel
def find_nearest_faces(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    starts: array(int, 1),  # (T + 1,)
    bin_faces: array(int, 1),  # (pairs,)
    tile_rows: int,
    tile_columns: int,
    near: float,  # depth
    far: float,  # depth
    is_double_sided: int,
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 4),  # (B, 1, H, W)
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
        nearest = far
        front = NO_FACE
        front_weights = vec3(0.0)
        tile = (view * tile_rows + row // TILE) * tile_columns + column // TILE
        for slot in range(starts[tile], starts[tile + 1]):
            face = bin_faces[slot]
            i = view * num_faces + face
            if is_in_box(boxes, i, row, column):
                triangle = load_triangle(records, i)
                if contains(triangle, pixel, is_double_sided):
                    clipped = clip_weights(barycentric(pixel, triangle))
                    depth = interpolate_depth(clipped, triangle.inverse_depths)
                    is_first = (depth == nearest) & (front != NO_FACE) & (face < front)
                    if (depth > near) & ((depth < nearest) | is_first):
                        nearest = depth
                        front = face
                        front_weights = clipped
        faces[view, row, column] = front
        depths[view, 0, row, column] = nearest
        for corner in ti.static(range(3)):
            weights[view, corner, row, column] = front_weights[corner]


@ti.kernel
def pull_back_depths(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 4),  # (B, 1, H, W)
    grad_depths: array(float, 4),  # (B, 1, H, W)
    grad_corners: array(float, 4),  # (B, F, 3, 3), added to
):
    """The adjoint of the depths within faces; what an outline uncovers is not in it."""
    for i in range(records.shape[0]):
        num_faces = grad_corners.shape[1]
        view = i // num_faces
        face = i - view * num_faces
        sums = vec3(0.0)
        for row in range(boxes[i, 2], boxes[i, 3] + 1):
            for column in range(boxes[i, 0], boxes[i, 1] + 1):
                if faces[view, row, column] == face:
                    pull = grad_depths[view, 0, row, column] * depths[view, 0, row, column] ** 2
                    for corner in ti.static(range(3)):
                        sums[corner] += pull * weights[view, corner, row, column]
        if boxes[i, 0] <= boxes[i, 1]:
            triangle = load_triangle(records, i)
            slope = barycentric_vjp(triangle, triangle.inverse_depths)
            for corner in ti.static(range(3)):
                by_position = sums[corner] * slope
                by_depth = sums[corner] * triangle.inverse_depths[corner] ** 2
                for axis in ti.static(range(2)):
                    grad_corners[view, face, corner, axis] += by_position[axis]
                grad_corners[view, face, corner, 2] += by_depth
