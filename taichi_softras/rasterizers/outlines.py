"""Outlines: a z-buffer comes in; it goes out with one pixel of line on every silhouette edge.

OpenDR (Loper & Black 2014) calls this overdraw: faces that turn away between two pixels get a
pixel where they are seen edge-on, and the image's filters know where outlines are.
"""

from taichi_softras.funcs.interpolation import PERSPECTIVE
from taichi_softras.funcs.numeric import EPSILONS
from taichi_softras.funcs.triangle import barycentric_vjp
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE, FaceArrays
from taichi_softras.rasterizers.faces import (
    DEPTH_OVER_W,
    INVERSE_AREA,
    INVERSE_W,
    ROW,
    load_corner,
    load_triangle,
)
from taichi_softras.rasterizers.neighbours import NO_EDGE, connect_faces
from taichi_softras.rasterizers.z_buffer import (
    Seen,
    ZBuffer,
    block_of,
    clear_block,
    load_weights,
)
from taichi_softras.runtime import is_cpu, is_double, kernel, ti, vec2, vec3
from taichi_softras.workspace import Workspace, array

# a line is hidden if a face is nearer by its slope over so many pixels, and by more than rounding
SLACK_PIXELS = 10.0
SLACK_ROUNDINGS = 16.0


def draw_outlines(workspace: Workspace, corners: ti.Ndarray, z_buffer: ZBuffer) -> ti.Ndarray:
    """Draws into the z-buffer; returns (B, H, W), 1 on outlines.

    An edge is on the silhouette if it has one face, or two that face opposite ways.
    """
    get, bins, seen = workspace.get, z_buffer.bins, z_buffer.seen
    lines = Seen(
        get("line_faces", tuple(seen.faces.shape), int),
        get("line_weights", tuple(seen.weights.shape)),
        get("line_depths", tuple(seen.depths.shape)),
    )
    boundary = get("boundary", tuple(seen.faces.shape), int)
    neighbours = connect_faces(workspace, corners)
    is_seen = get("is_face_seen", tuple(corners.shape[:2]), int)
    for of_tiles in bins.bands():
        overdraw(
            *bins.of_faces,
            *of_tiles,
            neighbours,
            is_seen,
            *lines,
            *seen,
            boundary,
            TILE if is_cpu() else 1,
        )
    return boundary


@kernel
def overdraw(  # more than 12 parameters: groups of arrays
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    starts: array(int, 1),  # see `TileArrays`
    tile_faces: array(int, 1),
    band: array(int, 1),
    neighbours: array(int, 2),  # see `connect_faces`
    is_seen: array(int, 2),  # (B, F) filled with the first band
    line_faces: array(int, 3),  # (B, H, W) scratch, and the next two: the nearest edge
    line_weights: array(float, 4),  # (B, 3, H, W)
    line_depths: array(float, 3),  # (B, H, W)
    faces: array(int, 3),  # (B, H, W) and the next two: changed on outlines
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    boundary: array(int, 3),  # (B, H, W)
    side: ti.template(),  # of the blocks that threads own: 1 or TILE
):
    """A thread owns a block of the band: are its pixels on the outline, which edge is nearest?"""
    find_seen_faces(faces, band[0], is_seen)
    for index in range((band[1] - band[0]) * TILE * TILE):
        seen = ti.static(Seen(faces, weights, depths))
        lines = ti.static(Seen(line_faces, line_weights, line_depths))
        block = block_of(band[0], index, faces.shape[1], faces.shape[2], side)
        if block.is_own:
            clear_block(lines, block, 0.0, side)
            for k in range(side * side):
                row, column = block.row + k // side, block.column + k % side
                if (row < faces.shape[1]) & (column < faces.shape[2]):
                    boundary[block.view, row, column] = 0
            for slot in range(starts[block.tile], starts[block.tile + 1]):
                draw_edges(
                    ti.static(FaceArrays(records, boxes)),
                    neighbours,
                    is_seen,
                    seen,
                    block,
                    tile_faces[slot],
                    lines,
                    boundary,
                    side,
                )
            for k in range(side * side):
                row, column = block.row + k // side, block.column + k % side
                if (row < faces.shape[1]) & (column < faces.shape[2]):
                    face = line_faces[block.view, row, column]
                    if (boundary[block.view, row, column] != 0) & (face != NO_FACE):
                        faces[block.view, row, column] = face
                        depths[block.view, row, column] = line_depths[block.view, row, column]
                        for corner in ti.static(range(3)):
                            weight = line_weights[block.view, corner, row, column]
                            weights[block.view, corner, row, column] = weight


@ti.func
def find_seen_faces(
    faces: ti.template(),  # (B, H, W)
    first_tile: int,  # of the band: before the first one no outline is drawn
    is_seen: ti.template(),  # (B, F)
):
    """Whether a face has a pixel. Threads write the same 1."""
    for view, face in ti.ndrange(is_seen.shape[0], is_seen.shape[1]):
        if first_tile == 0:
            is_seen[view, face] = 0
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        if (first_tile == 0) & (faces[view, row, column] != NO_FACE):
            is_seen[view, faces[view, row, column]] = 1


@ti.func
def draw_edges(
    of_faces: ti.template(),  # `FaceArrays`
    neighbours: ti.template(),  # see `connect_faces`
    is_seen: ti.template(),  # (B, F)
    seen: ti.template(),  # `Seen`
    block: ti.template(),
    face: int,
    lines: ti.template(),  # `Seen`: the nearest edge
    boundary: ti.template(),  # (B, H, W)
    side: ti.template(),
):
    """Of one face, where they are in the block."""
    view, height, width = block.view, boundary.shape[1], boundary.shape[2]
    i = view * is_seen.shape[1] + face
    for edge in range(ti.select(is_in_block(of_faces.boxes, i, block, side), 3, 0)):
        if neighbours[i % neighbours.shape[0], edge] == NO_EDGE:
            continue
        line = load_line(of_faces.records, i, edge, height, width)
        start = ti.select(line.is_steep, block.row, block.column)
        for step in range(ti.max(line.start, start), ti.min(line.end, start + side - 1) + 1):
            here = walk_line(line, step)
            row, column = here.row, here.column
            is_met = (row < height) & (column < width)
            is_met &= (row >= block.row) & (row < block.row + side)
            is_met &= (column >= block.column) & (column < block.column + side)
            if is_met:
                if boundary[view, row, column] == 0:
                    if is_silhouette(of_faces, neighbours, i, edge):
                        limit = depth_limit(of_faces.records, seen, view, row, column)
                        boundary[view, row, column] = ti.cast(here.depth <= limit, ti.i32)
                if is_seen[view, face] != 0:
                    keep_nearer(of_faces.records, lines, view, face, edge, here)


@ti.func
def is_silhouette(of_faces: ti.template(), neighbours: ti.template(), i: int, edge: int) -> int:
    """Whether an edge of face i has no other face, or one that is not drawn or faces away."""
    neighbour = neighbours[i % neighbours.shape[0], edge]
    result = True
    if neighbour >= 0:
        across = i - of_faces.boxes[i, ROW] + neighbour // 3
        is_drawn = of_faces.boxes[across, 0] <= of_faces.boxes[across, 1]
        areas = of_faces.records[i, INVERSE_AREA] * of_faces.records[across, INVERSE_AREA]
        result = (areas <= 0.0) | (not is_drawn)
    return result


@ti.func
def depth_limit(records: ti.template(), seen: ti.template(), view: int, row: int, column: int):
    """The depth beyond which lines are hidden at a pixel."""
    face = seen.faces[view, row, column]
    limit = seen.depths[view, row, column]
    if face != NO_FACE:
        triangle = load_triangle(records, view * (records.shape[0] // seen.faces.shape[0]) + face)
        weights = load_weights(seen.weights, view, row, column)
        point = PERSPECTIVE.place(weights, triangle)
        by_weights, _, _ = PERSPECTIVE.place_vjp(weights, triangle, point, vec3(0.0), 1.0)
        slope = ti.abs(barycentric_vjp(triangle, by_weights)).max()
        limit += limit * ti.static(SLACK_ROUNDINGS * EPSILONS[is_double()])
        limit += SLACK_PIXELS * slope * 2.0
    return limit


@ti.func
def keep_nearer(
    records: ti.template(),
    lines: ti.template(),  # `Seen`
    view: int,
    face: int,
    edge: int,
    here: ti.template(),  # of `walk_line`
):
    """Of equal depths the larger face, whatever the order of faces; the first of equals."""
    first_face = view * (records.shape[0] // lines.faces.shape[0])
    front = lines.faces[view, here.row, here.column]
    nearest = lines.depths[view, here.row, here.column]
    is_nearer = (front == NO_FACE) | (here.depth < nearest)
    if (front != NO_FACE) & (here.depth == nearest):
        inverse = ti.abs(records[first_face + face, INVERSE_AREA])
        least = ti.abs(records[first_face + front, INVERSE_AREA])
        is_nearer = (inverse < least) | ((inverse == least) & (face < front))
    if is_nearer:
        lines.faces[view, here.row, here.column] = face
        lines.depths[view, here.row, here.column] = here.depth
        for corner in ti.static(range(3)):
            at_end = ti.select(corner == (edge + 1) % 3, 1.0 - here.at_corner, 0.0)
            weight = ti.select(corner == edge, here.at_corner, at_end)
            lines.weights[view, corner, here.row, here.column] = weight


@ti.func
def is_in_block(boxes: ti.template(), i: int, block: ti.template(), side: ti.template()) -> int:
    """Whether the box of face i has a pixel of the block."""
    is_in_rows = (boxes[i, 2] < block.row + side) & (boxes[i, 3] >= block.row)
    is_in_columns = (boxes[i, 0] < block.column + side) & (boxes[i, 1] >= block.column)
    return is_in_rows & is_in_columns


@ti.func
def load_line(records: ti.template(), i: int, edge: int, height: int, width: int):
    """An edge of a face as a line of pixels: one in each column, or in each row if it is steep.

    It goes from the pixel nearest to one end to that nearest to the other. Both faces of an edge
    have the same line, to the last bit: it starts at the lesser end.

    Returns:
        A struct: the `first` end and the `offset` of the second, in pixels, y down; whether it
        `is_steep`; the columns or rows of its `start` and `end`; 1 / w and depth / w of both
        ends (`at_first`, `at_second`); and whether it `is_turned`: its first end is the edge's
        second.
    """
    other = (edge + 1) % 3
    shift = vec2(ti.cast(width - 1, float), ti.cast(height - 1, float))
    a = load_corner(records, i, edge) * vec2(1.0, -1.0)
    b = load_corner(records, i, other) * vec2(1.0, -1.0)
    is_turned = (a.x > b.x) | ((a.x == b.x) & (a.y >= b.y))
    first = (ti.select(is_turned, b, a) + shift) * 0.5
    second = (ti.select(is_turned, a, b) + shift) * 0.5
    offset = second - first
    is_steep = ti.abs(offset.y) > ti.abs(offset.x)
    ends = ti.select(is_steep, vec2(first.y, second.y), vec2(first.x, second.x))
    limits = ti.min(ti.max(ti.floor(ends + 0.5), -1.0), ti.cast(ti.max(height, width), float))
    at_a = vec2(records[i, INVERSE_W + edge], records[i, DEPTH_OVER_W + edge])
    at_b = vec2(records[i, INVERSE_W + other], records[i, DEPTH_OVER_W + other])
    return ti.Struct(
        first=first,
        offset=offset,
        is_steep=is_steep,
        start=ti.cast(limits.min(), ti.i32),
        end=ti.cast(limits.max(), ti.i32),
        at_first=ti.select(is_turned, at_b, at_a),
        at_second=ti.select(is_turned, at_a, at_b),
        is_turned=is_turned,
    )


@ti.func
def walk_line(line: ti.template(), step: int):
    """The pixel of a line in a column, or in a row if it is steep.

    Returns:
        A struct: its `row`, `column` and `depth`, and the weight of the corner at which the edge
        begins (`at_corner`).
    """
    place = ti.cast(step, float)
    along = ti.select(line.is_steep, line.offset.y, line.offset.x)
    before = place - ti.select(line.is_steep, line.first.y, line.first.x)
    t = ti.min(ti.max(before / ti.select(along == 0.0, 1.0, along), 0.0), 1.0)
    across = ti.select(line.is_steep, line.first.x, line.first.y)
    across += t * ti.select(line.is_steep, line.offset.x, line.offset.y)
    across = ti.floor(across + 0.5)
    minor = ti.cast(ti.min(ti.max(across, -1.0), 1e9), ti.i32)
    here = ti.math.mix(line.at_first, line.at_second, t)
    return ti.Struct(
        row=ti.select(line.is_steep, step, minor),
        column=ti.select(line.is_steep, minor, step),
        depth=here.y / here.x,
        at_corner=ti.select(line.is_turned, t, 1.0 - t),
    )
