"""Outlines: a z-buffer comes in; it goes out with one pixel of line on every silhouette edge.

OpenDR (Loper & Black 2014) calls this overdraw: faces that turn away between two pixels get a
pixel where they are seen edge-on, and the image's filters know where outlines are.
"""

import taichi as ti
from taichi.math import mix, vec2, vec3

from taichi_softras.funcs.interpolation import PERSPECTIVE
from taichi_softras.funcs.triangle import barycentric_vjp, cross
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import ATOMIC_BLOCK_DIM, SCAN_CHUNK, scan
from taichi_softras.rasterizers.faces import (
    INVERSE_AREA,
    is_in_box,
    load_corner,
    load_planes,
    load_triangle,
)
from taichi_softras.rasterizers.z_buffer import ZBuffer, load_weights, tile_of
from taichi_softras.workspace import Workspace, array

SLACK_PIXELS = 10.0  # a line is hidden if a face is nearer by its slope over so many pixels


def draw_outlines(workspace: Workspace, corners: ti.Ndarray, z_buffer: ZBuffer) -> ti.Ndarray:
    """Draws into the z-buffer; returns (B, H, W), 1 on outlines.

    An edge is on the silhouette if it has one face, or two that face opposite ways. Two faces
    share an edge if its ends have the same positions in the first view.
    """
    views, faces = corners.shape[:2]
    get, bins, seen = workspace.get, z_buffer.bins, z_buffer.seen
    neighbours = get("face_neighbours", (faces, 3), int)
    find_neighbours(
        corners,
        3 * faces,
        get("edge_starts", (3 * faces + 1,), int),
        get("edge_cursors", (3 * faces,), int),
        get("edge_chunks", (-(-3 * faces // SCAN_CHUNK) + 1,), int),
        get("edge_status", (2,), int),
        get("sorted_edges", (3 * faces,), int),
        neighbours,
    )
    boundary = get("boundary", tuple(seen.faces.shape), int)
    is_seen = get("is_face_seen", (views, faces), int)
    overdraw(*bins.of_faces, *bins.of_tiles, neighbours, is_seen, *seen, boundary)
    return boundary


@ti.kernel
def find_neighbours(
    corners: array(float, 4),  # (B, F, 3, 3 or 4)
    num_edges: int,  # 3 F, an argument: see `scan`
    starts: array(int, 1),  # (3 F + 1,) scratch, and the next four
    cursors: array(int, 1),  # (3 F,)
    chunks: array(int, 1),  # (chunks + 1,)
    status: array(int, 1),  # (2,)
    edges: array(int, 1),  # (3 F,) sorted by their code
    neighbours: array(int, 2),  # (F, 3) the face across edge k, from corner k to k + 1, or NO_FACE
):
    """Edges are counted, scanned and sorted by a code of their ends; those of one code compared."""
    for slot in range(num_edges + 1):
        starts[slot] = 0
    ti.loop_config(block_dim=ATOMIC_BLOCK_DIM)
    for edge in range(num_edges):
        ti.atomic_add(starts[edge_code(corners, edge) + 1], 1)
    scan(num_edges, starts, chunks, cursors, status)
    ti.loop_config(block_dim=ATOMIC_BLOCK_DIM)
    for edge in range(num_edges):
        edges[ti.atomic_add(cursors[edge_code(corners, edge)], 1)] = edge
    for edge in range(num_edges):
        code = edge_code(corners, edge)
        before, after = -1, num_edges  # the nearest by index, whatever the order of the sorted
        for slot in range(starts[code], starts[code + 1]):
            other = edges[slot]
            if (other != edge) & have_same_ends(corners, edge, other):
                if other < edge:
                    before = ti.max(before, other)
                else:
                    after = ti.min(after, other)
        nearest = ti.select(after < num_edges, after, before)
        neighbours[edge // 3, edge % 3] = ti.select(nearest < 0, NO_FACE, nearest // 3)


@ti.func
def edge_code(corners: ti.template(), edge: int) -> int:
    """The same for edges with the same ends, in either order: below 3 F."""
    face = edge // 3
    start = edge - 3 * face
    code = point_code(corners, face, start) + point_code(corners, face, (start + 1) % 3)
    return (code & 0x7FFFFFFF) % (3 * corners.shape[1])


@ti.func
def point_code(corners: ti.template(), face: int, corner: int) -> int:
    """Of a corner in the first view: its bits, well mixed."""
    code = 0
    for k in range(corners.shape[3]):
        bits = ti.bit_cast(ti.cast(corners[0, face, corner, k], ti.f32), ti.i32)
        code ^= bits & 0x7FFFFFFF  # 0 and -0 are one place
        code = (code ^ (code >> 16)) * 0x45D9F3B
        code ^= code >> 16
    return code


@ti.func
def have_same_ends(corners: ti.template(), edge: int, other: int) -> int:
    """Whether two edges join the same places, in either direction, in the first view."""
    face, start = edge // 3, edge % 3
    other_face, other_start = other // 3, other % 3
    end, other_end = (start + 1) % 3, (other_start + 1) % 3
    is_along, is_against = True, True
    for k in range(corners.shape[3]):
        first, second = corners[0, face, start, k], corners[0, face, end, k]
        other_first = corners[0, other_face, other_start, k]
        other_second = corners[0, other_face, other_end, k]
        is_along &= (first == other_first) & (second == other_second)
        is_against &= (first == other_second) & (second == other_first)
    return is_along | is_against


@ti.kernel
def overdraw(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    starts: array(int, 1),  # (T + 1,)
    tile_faces: array(int, 1),  # (>= pairs,)
    neighbours: array(int, 2),  # (F, 3)
    is_seen: array(int, 2),  # (B, F) scratch
    faces: array(int, 3),  # (B, H, W) and the next two: changed on outlines
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    boundary: array(int, 3),  # (B, H, W)
):
    """A thread owns a pixel: is it on the outline, and which edge of a seen face is nearest."""
    find_seen_faces(faces, is_seen)
    for index in range(faces.shape[0] * faces.shape[1] * faces.shape[2]):
        height = faces.shape[1]
        width = faces.shape[2]
        num_faces = neighbours.shape[0]
        view = index // (height * width)
        row = index // width % height
        column = index % width
        pixel = ti.Vector([row, column])
        size = ti.Vector([height, width])
        limit = depths[view, row, column]  # of lines that are not hidden
        if faces[view, row, column] != NO_FACE:
            i = view * num_faces + faces[view, row, column]
            slope = depth_slope(records, i, load_weights(weights, view, row, column))
            pixel_length = 2.0 / ti.cast(ti.min(height, width), float)
            limit += SLACK_PIXELS * ti.max(ti.abs(slope.x), ti.abs(slope.y)) * pixel_length
        is_outline = 0
        nearest = 0.0
        largest = 0.0
        front = NO_FACE
        front_weights = vec3(0.0)
        tile = tile_of(view, row, column, height, width)
        for slot in range(starts[tile], starts[tile + 1]):
            face = tile_faces[slot]
            i = view * num_faces + face
            if is_in_box(boxes, i, row, column):
                area = signed_area(records, i)
                for edge in ti.static(range(3)):
                    line = see_edge(records, i, edge, pixel, size)
                    if line.is_met:
                        neighbour = neighbours[face, edge]
                        is_silhouette = neighbour == NO_FACE
                        if neighbour != NO_FACE:
                            across = view * num_faces + neighbour
                            is_drawn = boxes[across, 0] <= boxes[across, 1]
                            turned = area * records[across, INVERSE_AREA] <= 0.0
                            is_silhouette = turned | (not is_drawn)
                        if is_silhouette & (line.depth <= limit):
                            is_outline = 1
                        # of equal depths the larger face, whatever the order of faces
                        extent = ti.abs(area)
                        is_first = (extent > largest) | ((extent == largest) & (face < front))
                        is_nearer = (line.depth < nearest) | ((line.depth == nearest) & is_first)
                        if (is_seen[view, face] != 0) & (is_nearer | (front == NO_FACE)):
                            nearest = line.depth
                            largest = extent
                            front = face
                            front_weights = line.weights
        boundary[view, row, column] = is_outline
        if (is_outline != 0) & (front != NO_FACE):
            faces[view, row, column] = front
            depths[view, row, column] = nearest
            for corner in ti.static(range(3)):
                weights[view, corner, row, column] = front_weights[corner]


@ti.func
def find_seen_faces(
    faces: ti.template(),  # (B, H, W)
    is_seen: ti.template(),  # (B, F)
):
    """Whether a face has a pixel. Threads write the same 1."""
    for view, face in ti.ndrange(is_seen.shape[0], is_seen.shape[1]):
        is_seen[view, face] = 0
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        if faces[view, row, column] != NO_FACE:
            is_seen[view, faces[view, row, column]] = 1


@ti.func
def depth_slope(records: ti.template(), i: int, weights: vec3) -> vec2:
    """The depth on a face by x and y in NDC, at the point with the weights on the screen."""
    triangle = load_triangle(records, i)
    point = PERSPECTIVE.place(weights, triangle)
    by_weights, _, _ = PERSPECTIVE.place_vjp(weights, triangle, point, vec3(0.0), 1.0)
    return barycentric_vjp(triangle, by_weights)


@ti.func
def signed_area(records: ti.template(), i: int) -> float:
    """Of the parallelogram, on the image."""
    a = load_corner(records, i, 0)
    return cross(load_corner(records, i, 1) - a, load_corner(records, i, 2) - a)


@ti.func
def see_edge(
    records: ti.template(), i: int, edge: ti.template(), pixel: ti.math.ivec2, size: ti.math.ivec2
):
    """An edge of a face at a pixel (row, column) of an image (height, width).

    Returns:
        A struct: whether its line has the pixel (`is_met`); the `depth` there, and the `weights`
        of the face's corners. Both faces of an edge see the same, to the last bit.
    """
    end = ti.static((edge + 1) % 3)
    shorter = ti.cast(size.min(), float)
    shift = vec2(ti.cast(size[1] - 1, float), ti.cast(size[0] - 1, float)) * 0.5
    a = load_corner(records, i, edge) * vec2(1.0, -1.0)
    b = load_corner(records, i, end) * vec2(1.0, -1.0)
    is_ordered = (a.x < b.x) | ((a.x == b.x) & (a.y < b.y))
    first = ti.select(is_ordered, a, b) * shorter * 0.5 + shift
    second = ti.select(is_ordered, b, a) * shorter * 0.5 + shift
    is_met, t = meet_line(first, second, pixel)
    planes = load_planes(records, i)
    at_a = vec2(planes.inverse_w[edge], planes.depth_over_w[edge])
    at_b = vec2(planes.inverse_w[end], planes.depth_over_w[end])
    here = mix(ti.select(is_ordered, at_a, at_b), ti.select(is_ordered, at_b, at_a), t)
    weights = vec3(0.0)
    weights[edge] = ti.select(is_ordered, 1.0 - t, t)
    weights[end] = ti.select(is_ordered, t, 1.0 - t)
    return ti.Struct(is_met=is_met, depth=here.y / here.x, weights=weights)


@ti.func
def meet_line(first: vec2, second: vec2, pixel: ti.math.ivec2):
    """Whether the line between two points, in pixels, has a pixel, and where on it, in [0, 1].

    A line has one pixel in each column, or in each row if it is steep, from that nearest to
    one end to that nearest to the other; it does not reach beyond its ends.
    """
    offset = second - first
    place = vec2(ti.cast(pixel[1], float), ti.cast(pixel[0], float))
    is_steep = ti.abs(offset.y) > ti.abs(offset.x)
    along = ti.select(is_steep, offset.y, offset.x)
    before = ti.select(is_steep, place.y - first.y, place.x - first.x)
    t = ti.min(ti.max(before / ti.select(along == 0.0, 1.0, along), 0.0), 1.0)
    nearest = ti.floor(first + t * offset + 0.5)
    return (nearest.x == place.x) & (nearest.y == place.y), t
