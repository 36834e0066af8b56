"""Face set-up: projected corners in; what all pixels of a face share, and its pixel box, out."""

import taichi as ti
from taichi.math import vec2, vec3

from taichi_softras.funcs.triangle import cross
from taichi_softras.rasterizers.workspace import Workspace, array

RECORD_SIZE = 16  # floats: corners a, b, c; 1 / area; 1 / squared edges; 1 / depths; padding
SMALLEST_SQUARED_EDGE = 1e-24  # NDC squared: keeps 1 / length finite where corners coincide
SMALLEST_AREA = 1e-16  # NDC squared: a thinner face is a line, also in its gradient
SMALLEST_DEPTH = 1e-8  # nearer corners are behind the camera, as in `project_vertices`
LARGEST_COORDINATE = 1e12  # NDC or depth: beyond it, products of coordinates overflow


def prepare_faces(
    workspace: Workspace,
    corners: ti.Ndarray,
    image_size: tuple,
    reach: float,
) -> tuple:
    """The records (B * F, RECORD_SIZE) and pixel boxes (B * F, 4) of all faces.

    Args:
        workspace: keeps them.
        corners: (B, F, 3, 3): x_ndc, y_ndc, depth.
        image_size: (H, W) in pixels.
        reach: NDC: how far a face covers pixels beyond its edges.

    Raises:
        ValueError: for a corner that is NaN or infinite.
    """
    views, faces = corners.shape[:2]
    records = workspace.get("face_records", (views * faces, RECORD_SIZE))
    boxes = workspace.get("face_boxes", (views * faces, 4), int)
    problems = workspace.get("face_problems", (1,), int)
    set_up_faces(corners, *image_size, reach, records, boxes, problems)
    if problems[0]:
        view, face = divmod(problems[0] - 1, faces)
        raise ValueError(
            f"face {face} of view {view} has a corner that is NaN or infinite: check the "
            "vertices and the camera (a step size that is too large often does this)"
        )
    return records, boxes


@ti.kernel
def set_up_faces(
    corners: array(float, 4),  # (B, F, 3, 3) x_ndc, y_ndc, depth
    height: int,
    width: int,
    reach: float,  # NDC: how far a face covers pixels beyond its edges
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) first and last column, first and last row; empty: 1, 0
    problems: array(int, 1),  # (1,) becomes 1 + the index of a face that is not finite
):
    """Faces behind the camera (a corner at depth <= 0) or without area get an empty box."""
    num_faces = corners.shape[1]
    problems[0] = 0
    for i in range(corners.shape[0] * num_faces):
        view = i // num_faces
        face = i - view * num_faces
        a = vec2(corners[view, face, 0, 0], corners[view, face, 0, 1])
        b = vec2(corners[view, face, 1, 0], corners[view, face, 1, 1])
        c = vec2(corners[view, face, 2, 0], corners[view, face, 2, 1])
        depths = vec3(
            corners[view, face, 0, 2], corners[view, face, 1, 2], corners[view, face, 2, 2]
        )
        area = cross(b - a, c - a)
        size = ti.abs(a).sum() + ti.abs(b).sum() + ti.abs(c).sum() + ti.abs(depths).sum()
        is_finite = not (ti.math.isnan(size) or ti.math.isinf(size))
        first_column, last_column, first_row, last_row = 1, 0, 1, 0
        if not is_finite:
            problems[0] = 1 + i
        elif (
            depths.min() > SMALLEST_DEPTH
            and ti.abs(area) > SMALLEST_AREA
            and size < LARGEST_COORDINATE
        ):
            shorter = ti.cast(ti.min(height, width), float)
            low = ti.min(a, b, c) - reach
            high = ti.max(a, b, c) + reach
            first_column = first_pixel((low.x * shorter + width - 1.0) * 0.5, width)
            last_column = last_pixel((high.x * shorter + width - 1.0) * 0.5, width)
            first_row = first_pixel((height - 1.0 - high.y * shorter) * 0.5, height)
            last_row = last_pixel((height - 1.0 - low.y * shorter) * 0.5, height)
            for k in ti.static(range(2)):
                records[i, k] = a[k]
                records[i, 2 + k] = b[k]
                records[i, 4 + k] = c[k]
            records[i, 6] = 1.0 / area
            records[i, 7] = 1.0 / ti.max((b - a).norm_sqr(), SMALLEST_SQUARED_EDGE)
            records[i, 8] = 1.0 / ti.max((c - b).norm_sqr(), SMALLEST_SQUARED_EDGE)
            records[i, 9] = 1.0 / ti.max((a - c).norm_sqr(), SMALLEST_SQUARED_EDGE)
            for k in ti.static(range(3)):
                records[i, 10 + k] = 1.0 / depths[k]
        if first_column > last_column or first_row > last_row:
            first_column, last_column, first_row, last_row = 1, 0, 1, 0
        boxes[i, 0] = first_column
        boxes[i, 1] = last_column
        boxes[i, 2] = first_row
        boxes[i, 3] = last_row


@ti.func
def first_pixel(position: float, extent: int) -> int:
    """The first pixel whose centre is not before `position` (clamped, then cast)."""
    return ti.cast(ti.ceil(ti.min(ti.max(position, 0.0), ti.cast(extent, float))), ti.i32)


@ti.func
def last_pixel(position: float, extent: int) -> int:
    """The last pixel whose centre is not behind `position` (clamped, then cast)."""
    return ti.cast(ti.floor(ti.min(ti.max(position, -1.0), ti.cast(extent - 1, float))), ti.i32)


@ti.func
def load_corner(records: ti.template(), i: int, corner: ti.template()) -> vec2:
    """A corner's position in NDC."""
    return vec2(records[i, 2 * corner], records[i, 2 * corner + 1])


@ti.func
def load_inverse_depths(records: ti.template(), i: int) -> vec3:
    """Of the three corners."""
    return vec3(records[i, 10], records[i, 11], records[i, 12])


@ti.func
def load_triangle(records: ti.template(), i: int):
    """One row of `records` as the struct that `funcs.triangle` describes."""
    return ti.Struct(
        a=load_corner(records, i, 0),
        b=load_corner(records, i, 1),
        c=load_corner(records, i, 2),
        inverse_area=records[i, 6],
        inverse_edges=vec3(records[i, 7], records[i, 8], records[i, 9]),
        inverse_depths=load_inverse_depths(records, i),
    )


@ti.func
def is_in_box(boxes: ti.template(), i: int, row: int, column: int) -> int:
    """Whether the pixel lies in the box of face i."""
    is_in_columns = (column >= boxes[i, 0]) & (column <= boxes[i, 1])
    return is_in_columns & (row >= boxes[i, 2]) & (row <= boxes[i, 3])


@ti.func
def pixel_centre(column: int, row: int, height: int, width: int, inverse_shorter: float) -> vec2:
    """NDC position of a pixel's centre; row 0 is on top; the shorter side spans [-1, 1]."""
    return vec2(
        ti.cast(2 * column + 1 - width, float) * inverse_shorter,
        ti.cast(height - 1 - 2 * row, float) * inverse_shorter,
    )
