"""Edges that pull: an image and the loss's gradient at it come in; gradients at edges go out.

An image is looked at as lines of places: its rows, then its columns. What lies exactly on an edge
counts for both faces that share it, so that a pull does not depend on their order.
"""

from typing import NamedTuple

from taichi_softras.funcs.interpolation import PERSPECTIVE, clip_weights
from taichi_softras.funcs.triangle import (
    barycentric,
    cross,
    make_edge,
    settle_on_edge,
    side_of,
)
from taichi_softras.rasterizers.binning import ATOMIC_BLOCK_DIM
from taichi_softras.rasterizers.faces import (
    EDGE_KINDS,
    INVERSE_AREA,
    NEAR_CUT,
    first_pixel,
    last_pixel,
    load_corner,
    load_triangle,
    pixel_centre,
)
from taichi_softras.runtime import kernel, ti, vec2
from taichi_softras.workspace import array

SEGMENT = 32  # places of a line that one thread looks through for gradients
NOWHERE = -1  # a place on no line
SLACK = 0.01  # pixels: more than rounding may move a crossing


class Lines(NamedTuple):
    """An image as lines of places: its rows, or its columns."""

    faces: ti.Ndarray  # (B, lines, places) what is seen
    image: ti.Ndarray  # (B, >= planes, lines, places) those that pull, any others, alpha
    grad_image: ti.Ndarray  # likewise


@ti.func
def plane_of(image: ti.template(), k: ti.template(), planes: ti.template()) -> int:
    """The k-th of the planes that pull: the first channels, then alpha, the last of all."""
    return k if ti.static(k < planes - 1) else image.shape[1] - 1


@kernel
def transpose(
    faces: array(int, 3),  # (B, H, W)
    image: array(float, 4),  # (B, C + 1, H, W)
    grad_image: array(float, 4),  # (B, C + 1, H, W)
    faces_across: array(int, 3),  # (B, W, H)
    image_across: array(float, 4),  # (B, planes, W, H)
    grad_image_across: array(float, 4),  # (B, planes, W, H)
    block: ti.template(),
):
    """Columns become lines; a thread owns a block, so that it uses what it has in the cache."""
    views, columns, rows = faces_across.shape
    block_columns = (columns + block - 1) // block
    block_rows = (rows + block - 1) // block
    for view, i, j in ti.ndrange(views, block_columns, block_rows):
        for column in range(block * i, ti.min(block * (i + 1), columns)):
            for row in range(block * j, ti.min(block * (j + 1), rows)):
                faces_across[view, column, row] = faces[view, row, column]
        for k in range(image_across.shape[1]):
            plane = ti.select(k == image_across.shape[1] - 1, image.shape[1] - 1, k)
            for column in range(block * i, ti.min(block * (i + 1), columns)):
                for row in range(block * j, ti.min(block * (j + 1), rows)):
                    image_across[view, k, column, row] = image[view, plane, row, column]
                    grad = grad_image[view, plane, row, column]
                    grad_image_across[view, k, column, row] = grad


@kernel
def pull_edges(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, lines, places)
    image: array(float, 4),  # (B, >= planes, lines, places)
    grad_image: array(float, 4),  # (B, >= planes, lines, places)
    depths: array(float, 3),  # (B, H, W) of what is seen
    is_double_sided: int,  # 0: clockwise faces are not seen, and do not pull
    ranges: array(int, 3),  # (B, lines, 2) scratch: first and last place with a gradient
    eps: float,  # NDC
    is_column: int,  # 0: lines are rows, x moves; 1: lines are columns, y moves
    grad_edges: array(float, 4),  # (B * F, 3, 2, 2): edge, axis, its first and second end
    planes: ti.template(),  # how many pull
):
    """A thread owns an edge and walks the lines that it crosses."""
    find_ranges(grad_image, ranges, planes)
    for task in range(records.shape[0] * 3):
        i = task // 3
        edge = task - 3 * i
        sums = vec2(0.0)  # at the ends
        is_drawn = boxes[i, 0] <= boxes[i, 1]
        is_drawn &= (boxes[i, EDGE_KINDS] >> (3 * edge)) & 7 < NEAR_CUT  # an edge of the mesh
        if is_drawn and (records[i, INVERSE_AREA] > 0.0 or is_double_sided != 0):
            sums = pull_edge(
                ti.static(Lines(faces, image, grad_image)),
                depths,
                ranges,
                records,
                i,
                edge,
                eps,
                is_column,
                planes,
            )
        up = ti.select(is_column, -1.0, 1.0)  # places on a column run down, y up
        for k in ti.static(range(2)):
            grad_edges[i, edge, is_column, k] = up * sums[k]


@ti.func
def find_ranges(
    grad_image: ti.template(),  # (B, >= planes, lines, places)
    ranges: ti.template(),  # (B, lines, 2) first and last place with a gradient
    planes: ti.template(),
):
    """Places without a gradient pull at nothing."""
    for view, line in ti.ndrange(ranges.shape[0], ranges.shape[1]):
        ranges[view, line, 0] = grad_image.shape[3]
        ranges[view, line, 1] = -1
    segments = (grad_image.shape[3] + SEGMENT - 1) // SEGMENT
    ti.loop_config(block_dim=ATOMIC_BLOCK_DIM)
    for view, line, segment in ti.ndrange(ranges.shape[0], ranges.shape[1], segments):
        first = grad_image.shape[3]
        last = -1
        for k in ti.static(range(planes)):
            plane = plane_of(grad_image, k, planes)
            for step in range(SEGMENT):
                place = segment * SEGMENT + step
                if place < grad_image.shape[3]:
                    if grad_image[view, plane, line, place] != 0.0:
                        first = ti.min(first, place)
                        last = ti.max(last, place)
        if last >= 0:
            ti.atomic_min(ranges[view, line, 0], first)
            ti.atomic_max(ranges[view, line, 1], last)


@ti.func
def pull_edge(
    of_lines: ti.template(),  # `Lines`
    depths: ti.template(),  # (B, H, W)
    ranges: ti.template(),  # (B, lines, 2)
    records: ti.template(),  # (B * F, RECORD_SIZE)
    i: int,
    edge: int,
    eps: float,
    is_column: int,
    planes: ti.template(),
) -> vec2:
    """Gradients at both ends of an edge, from all lines that it crosses.

    Places are pixels and integers at centres. The edge crosses a line between the pixels
    `inside` and `outside`.
    """
    num_faces = records.shape[0] // of_lines.faces.shape[0]
    view = i // num_faces
    lines = of_lines.faces.shape[1]
    length = of_lines.faces.shape[2]
    height = ti.select(is_column, length, lines)
    width = ti.select(is_column, lines, length)
    start = line_place(load_corner(records, i, edge), height, width, is_column)
    end = line_place(load_corner(records, i, (edge + 1) % 3), height, width, is_column)
    third = line_place(load_corner(records, i, (edge + 2) % 3), height, width, is_column)
    span = end.x - start.x
    first_line = first_pixel(ti.min(start.x, end.x), lines)
    last_line = last_pixel(ti.max(start.x, end.x), lines)
    if span == 0.0:  # along a line: crosses none
        last_line = first_line - 1
    side = ti.Struct(
        start=start,
        end=end,
        third=third,
        slope=(end.y - start.y) / ti.select(span == 0.0, 1.0, span),
        outward=ti.select(cross(end - start, third - start) * span > 0.0, -1, 1),
        pixel=2.0 / ti.cast(ti.min(height, width), float),  # NDC
        face=i - view * num_faces,
        edge=make_edge(
            load_corner(records, i, edge),
            load_corner(records, i, (edge + 1) % 3),
            0.0,
            records[i, INVERSE_AREA],
        ),
        record=i,
        is_column=is_column,
    )
    sums = vec2(0.0)
    for line in range(first_line, last_line + 1):
        sums += pull_line(of_lines, depths, ranges, records, view, line, side, eps, planes)
    return sums


@ti.func
def pull_line(
    of_lines: ti.template(),  # `Lines`
    depths: ti.template(),  # (B, H, W)
    ranges: ti.template(),  # (B, lines, 2)
    records: ti.template(),  # (B * F, RECORD_SIZE)
    view: int,
    line: int,
    side: ti.template(),  # of the face, see `pull_edge`
    eps: float,
    planes: ti.template(),
) -> vec2:
    """Gradients at both ends of an edge, from one line."""
    sums = vec2(0.0)
    length = of_lines.faces.shape[2]
    at = ti.cast(line, float)
    crossing = side.slope * (at - side.start.x) + side.start.y
    inside = last_inside(of_lines, line, crossing, side)
    shared = ti.Vector([NOWHERE, NOWHERE])
    if weight_of(of_lines, line, inside, side) == 0.0:
        crossing = ti.cast(inside, float)
        shared[0] = find_shared(of_lines, depths, records, view, line, inside, side)
    opposite = opposite_place(side.start, side.end, side.third, at)
    limit = ti.select(side.outward > 0, ti.ceil(opposite - SLACK), ti.floor(opposite + SLACK))
    far = ti.cast(ti.min(ti.max(limit, 0.0), ti.cast(length - 1, float)), ti.i32)
    if ti.abs(ti.cast(far, float) - opposite) <= SLACK:
        shared[1] = find_shared(of_lines, depths, records, view, line, far, side)
    outside = inside + side.outward
    if (inside >= 0) & (inside < length) & (outside >= 0) & (outside < length):
        scales = scales_of(side, at)
        first, last = ranges[view, line, 0], ranges[view, line, 1]
        if (of_lines.faces[view, line, inside] == side.face) | (shared[0] == inside):
            sums += side.outward * pull_places(
                of_lines,
                view,
                line,
                ti.max(first, ti.select(side.outward > 0, outside, 0)),
                ti.min(last, ti.select(side.outward > 0, length - 1, outside)),
                ti.Struct(beyond=inside, face=side.face, shared=shared),
                crossing,
                scales,
                eps,
                planes,
                False,
            )
        sums -= side.outward * pull_places(
            of_lines,
            view,
            line,
            ti.max(first, ti.min(inside, far)),
            ti.min(last, ti.max(inside, far)),
            ti.Struct(beyond=outside, face=side.face, shared=shared),
            crossing,
            scales,
            eps,
            planes,
            True,
        )
    return sums


@ti.func
def scales_of(side: ti.template(), at: float) -> vec2:
    """How far each end must move for the edge to move by one pixel, NDC; 0 if it moves nothing."""
    spans = vec2(side.end.x - at, at - side.start.x)
    span = side.end.x - side.start.x
    return ti.select(spans == 0.0, 0.0, span / ti.select(spans == 0.0, 1.0, spans) * side.pixel)


@ti.func
def last_inside(of_lines: ti.template(), line: int, crossing: float, side: ti.template()) -> int:
    """The last place on the inner side of an edge, and on it: as pixels are drawn, exactly.

    The crossing is rounded, and may be on the other side of a place that the edge all but touches.
    """
    nearest = ti.select(side.outward > 0, ti.floor(crossing), ti.ceil(crossing))
    length = ti.cast(of_lines.faces.shape[2], float)
    inside = ti.cast(ti.min(ti.max(nearest, -1.0), length), ti.i32)
    if weight_of(of_lines, line, inside + side.outward, side) >= 0.0:
        inside += side.outward
    elif weight_of(of_lines, line, inside, side) < 0.0:
        inside -= side.outward
    return inside


@ti.func
def weight_of(of_lines: ti.template(), line: int, place: int, side: ti.template()) -> float:
    """Above 0 on the inner side of an edge, 0 on it."""
    return side_of(centre_of(of_lines, line, place, side), side.edge) * side.edge.gain


@ti.func
def centre_of(of_lines: ti.template(), line: int, place: int, side: ti.template()) -> vec2:
    """That of a place, as `pixel_centre` has it."""
    lines, length = of_lines.faces.shape[1], of_lines.faces.shape[2]
    return ti.select(
        side.is_column,
        pixel_centre(line, place, length, lines),
        pixel_centre(place, line, lines, length),
    )


@ti.func
def find_shared(
    of_lines: ti.template(),  # `Lines`
    depths: ti.template(),  # (B, H, W)
    records: ti.template(),  # (B * F, RECORD_SIZE)
    view: int,
    line: int,
    place: int,
    side: ti.template(),
) -> int:
    """The place, if the face's outline runs exactly through it at the depth of what is seen."""
    shared = NOWHERE
    if (place >= 0) & (place < of_lines.faces.shape[2]):
        pixel = centre_of(of_lines, line, place, side)
        triangle = load_triangle(records, side.record)
        weights = barycentric(pixel, triangle)
        settled = clip_weights(settle_on_edge(weights, pixel, triangle))
        row, column = ti.select(side.is_column, place, line), ti.select(side.is_column, line, place)
        is_seen = PERSPECTIVE.depth(settled, triangle) == depths[view, row, column]
        if (weights.min() == 0.0) & is_seen:
            shared = place
    return shared


@ti.func
def pull_places(
    of_lines: ti.template(),  # `Lines`
    view: int,
    line: int,
    first: int,
    last: int,
    seen: ti.template(),  # the `face`, the place `beyond` the edge, those that are `shared`
    crossing: float,
    scales: vec2,
    eps: float,
    planes: ti.template(),
    is_inside: ti.template(),
) -> vec2:
    """What both ends of an edge gain from places first..last: each has G over a distance.

    G = (I - I_beyond) . g, over all channels and alpha; inside, only where the face is seen. The
    distance is how far the end must move for the edge to be there, plus eps: so a place at the
    distance 0 pulls as well, towards its side. A scale of 0 is an end that does not move the edge
    here.

    The loop reads arrays and writes locals alone, so that it is vectorised.
    """
    image, grad_image = ti.static(of_lines.image, of_lines.grad_image)
    reference = ti.Vector(
        [
            image[view, plane_of(image, k, planes), line, seen.beyond]
            for k in ti.static(range(planes))
        ]
    )
    sums = vec2(0.0)
    for place in range(first, last + 1):
        change = 0.0
        for k in ti.static(range(planes)):
            plane = plane_of(image, k, planes)
            step = image[view, plane, line, place] - reference[k]
            change += step * grad_image[view, plane, line, place]
        gain = ti.max(change, 0.0)
        if ti.static(is_inside):
            is_seen = of_lines.faces[view, line, place] == seen.face
            is_seen |= (place == seen.shared[0]) | (place == seen.shared[1])
            gain = ti.select(is_seen, gain, 0.0)
        distances = scales * ti.abs(ti.cast(place, float) - crossing)
        sums += gain / (distances + eps)
    return ti.select(scales == 0.0, 0.0, -sums)


@ti.func
def line_place(corner: vec2, height: int, width: int, is_column: int) -> vec2:
    """(which line, where on the line) a point is, in pixels."""
    x = (corner.x + ti.cast(width - 1, float)) * 0.5
    y = (ti.cast(height - 1, float) - corner.y) * 0.5
    return ti.select(is_column, vec2(x, y), vec2(y, x))


@ti.func
def opposite_place(start: vec2, end: vec2, third: vec2, at: float) -> float:
    """Where a line crosses one of the other two edges: that at `start`, or else that at `end`."""
    on_start = (at - start.x) * (at - third.x) < 0.0
    base = ti.select(on_start, start, end)
    span = third.x - base.x
    place = third.y
    if span != 0.0:
        place = (third.y - base.y) / span * (at - third.x) + third.y
    return place
