"""Pieces of edges that end a surface on the image: where colours jump, from what to what.

Edges of faces are cut to pieces of at most a pixel, and where they cross each other; a piece is in
sight as a whole or not at all. A list of cut edges comes in two steps, so that it has the length
that it needs: count, prefix sum, cut.
"""

from typing import Any, NamedTuple

from taichi_softras.funcs.interpolation import PERSPECTIVE, clip_below
from taichi_softras.funcs.triangle import barycentric, cross
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import (
    SCAN_CHUNK,
    TILE,
    Bins,
    FaceArrays,
    TileArrays,
    scan,
)
from taichi_softras.rasterizers.faces import (
    INVERSE_AREA,
    ROW,
    SOURCE_FACE,
    is_in_box,
    load_corner,
    load_planes,
    load_triangle,
)
from taichi_softras.rasterizers.fragments import Shader, Surface, compilation_of
from taichi_softras.rasterizers.neighbours import NO_EDGE, connect_faces
from taichi_softras.rasterizers.visible_colors import color_at
from taichi_softras.rasterizers.z_buffer import ZBuffer, contains
from taichi_softras.runtime import is_double, kernel, ti, vec2, vec3
from taichi_softras.workspace import MOST_ENTRIES, Workspace, array

# how far beside an edge is, of the image's shorter side and the edge's place
BESIDE = {False: 1e-6, True: 1e-13}
MOST_PIECES = 2.0**20  # of an edge: single precision tells no more places
MOST_PARTS = 8  # of a piece that other edges cross; more crossings within a pixel are left out
SAME_DEPTH = 1e-5  # relative: a face that touches an edge hides it if it comes first


class EdgePieces(NamedTuple):
    """The pieces of edge e = 3 i + k, from corner k of face i on, are starts[e]:starts[e + 1]."""

    starts: ti.Ndarray  # (3 B F + 1,) int
    edges: ti.Ndarray  # (P,) int: e, the edge of each piece
    num_parts: ti.Ndarray  # (P,) int: how many parts of a piece are in sight
    places: ti.Ndarray  # (P, MOST_PARTS, 2): start and end along the edge, in [0, 1], face left
    links: ti.Ndarray  # (P, MOST_PARTS, 3) int: face behind, or NO_FACE; edges that cut the ends
    colors: ti.Ndarray  # (P, MOST_PARTS, 2, 2, C): at start and end, in front and behind


class EdgeCounts(NamedTuple):
    """How many pieces edges will be cut to; see `EdgePieces`."""

    neighbours: ti.Ndarray  # of `connect_faces`
    starts: ti.Ndarray  # (3 B F + 1,) int
    total: int  # P


def count_edges(
    workspace: Workspace,
    corners: ti.Ndarray,
    bins: Bins,
    image_size: tuple,
    method: Any,
    radius: float,
) -> EdgeCounts:
    """Finds the edges that end a surface on the image.

    Called before the bins are filled: the host waits for the device here, and need not again to
    read the bins' number of pairs.

    Args:
        workspace: keeps the arrays.
        corners: as for `Rasterizer.forward`.
        bins: of these, not yet asked for their pairs.
        image_size: (H, W) in pixels.
        method: has `double_sided`, and `inner_edges`: whether edges between faces that face the
            same way are cut, too.
        radius: half pixels: pieces that are farther from the image are left out.
    """
    num_edges = 3 * bins.of_faces.records.shape[0]
    neighbours = connect_faces(workspace, corners)
    starts = workspace.get("piece_starts", (num_edges + 1,), int)
    status = workspace.get("piece_status", (2,), int)  # [1] stays 0
    count_pieces(
        *bins.of_faces,
        neighbours,
        *image_size,
        radius,
        int(method.double_sided),
        int(method.inner_edges),
        num_edges,
        starts,
        workspace.get("piece_chunks", (-(-num_edges // SCAN_CHUNK) + 1,), int),
        status,
    )
    return EdgeCounts(neighbours, starts, status[0])


def cut_edges(
    workspace: Workspace,
    counts: EdgeCounts,
    z_buffer: ZBuffer,
    surface: Surface,
    background: ti.Ndarray,
    method: Any,
    radius: float,
    shader: Shader,
) -> EdgePieces:
    """Finds the pieces that are in sight, and the jumps of colour there.

    Args:
        workspace: keeps the arrays.
        counts: of `count_edges`.
        z_buffer: its faces reach `radius` + 1/2 pixels beyond their edges.
        surface: how faces look.
        background: (C,) colour behind all faces.
        method: has `near`, `far` and `double_sided`.
        radius: as for `count_edges`.
        shader: what is drawn.
    """
    bins = z_buffer.bins
    views, *size = z_buffer.seen.faces.shape
    num_faces = bins.of_faces.boxes.shape[0] // views
    pieces = allocate_pieces(workspace, counts, max(shader.num_channels, 1))
    beside = BESIDE[is_double()]
    limits = (method.near, method.far, float(method.double_sided), beside * min(size), beside)
    for of_tiles in bins.bands():
        with compilation_of(shader):
            cut_pieces(
                *bins.of_faces,
                *of_tiles,
                counts.neighbours,
                workspace.constants("piece_limits", limits),
                *size,
                radius,
                *surface,
                background,
                num_faces,
                counts.total,
                *pieces,
                shader,
            )
    return pieces


def allocate_pieces(workspace: Workspace, counts: EdgeCounts, channels: int) -> EdgePieces:
    """Arrays for so many pieces, and some more: the number changes from draw to draw."""
    per_piece = MOST_PARTS * 2 * 2 * channels
    edges = workspace.get_list("piece_edges", counts.total, MOST_ENTRIES // per_piece)
    rows = (edges.shape[0], MOST_PARTS)
    return EdgePieces(
        counts.starts,
        edges,
        workspace.get("piece_num_parts", rows[:1], int),
        workspace.get("piece_places", (*rows, 2)),
        workspace.get("piece_links", (*rows, 3), int),
        workspace.get("piece_colors", (*rows, 2, 2, channels)),
    )


@ti.func
def load_edge(records: ti.template(), i: int, k: int):
    """Edge k of face i, turned so that the face is on its left.

    Returns:
        A struct: its ends `a` and `b` in half pixels; `of_a` and `of_b`, the weights of the face's
        corners there.
    """
    is_turned = records[i, INVERSE_AREA] < 0.0
    other = (k + 1) % 3
    first = ti.select(is_turned, other, k)
    second = ti.select(is_turned, k, other)
    return ti.Struct(
        a=load_corner(records, i, first),
        b=load_corner(records, i, second),
        of_a=vec3(first == 0, first == 1, first == 2),
        of_b=vec3(second == 0, second == 1, second == 2),
    )


@ti.func
def point_at(line: ti.template(), place: float) -> vec2:
    """Of an edge, in half pixels, at a place in [0, 1]."""
    return line.a + (line.b - line.a) * place


@ti.func
def weights_at(line: ti.template(), place: float) -> vec3:
    """Of the face's corners on the screen, at a place in [0, 1] of its edge."""
    return line.of_a * (1.0 - place) + line.of_b * place


@ti.func
def clip_to_box(a: vec2, b: vec2, low: vec2, high: vec2) -> vec2:
    """The part of a -> b that lies in a box: first and last place in [0, 1], or first > last."""
    first, last = 0.0, 1.0
    offset = b - a
    for axis in ti.static(range(2)):
        if ti.abs(offset[axis]) > 1e-30:
            to_low = (low[axis] - a[axis]) / offset[axis]
            to_high = (high[axis] - a[axis]) / offset[axis]
            first = ti.max(first, ti.min(to_low, to_high))
            last = ti.min(last, ti.max(to_low, to_high))
        elif (a[axis] < low[axis]) | (a[axis] > high[axis]):
            first, last = 1.0, 0.0
    return vec2(first, last)


@ti.func
def cut_evenly(a: vec2, b: vec2, height: int, width: int, radius: float):
    """Pieces of at most a pixel that an edge is cut to, and those that pixels can see.

    Places do not depend on where the image ends, so that they stay while the edge moves.

    Returns:
        A struct: the `number` of pieces of the whole edge, the `first` that can be seen and how
        many from there (`count`).
    """
    pixels = ti.ceil(0.5 * (b - a).norm())
    number = ti.cast(ti.min(ti.max(pixels, 1.0), MOST_PIECES), ti.i32)
    half = vec2(ti.cast(width, float), ti.cast(height, float)) + radius
    part = clip_to_box(a, b, -half, half)
    first = ti.min(ti.cast(part.x * ti.cast(number, float), ti.i32), number - 1)
    last = ti.min(ti.cast(part.y * ti.cast(number, float), ti.i32), number - 1)
    return ti.Struct(
        number=number, first=first, count=ti.select(part.x <= part.y, last - first + 1, 0)
    )


@ti.func
def is_drawn(of_faces: ti.template(), i: int, is_double_sided: int) -> int:
    """Whether face i is before the camera, has an area and faces the right way."""
    is_counted = of_faces.boxes[i, 0] <= of_faces.boxes[i, 1]
    return is_counted & ((is_double_sided != 0) | (of_faces.records[i, INVERSE_AREA] > 0.0))


@ti.func
def owns_edge(
    of_faces: ti.template(),  # `FaceArrays`
    neighbours: ti.template(),  # see `connect_faces`
    i: int,
    k: int,
    is_double_sided: int,
    has_inner_edges: int,
) -> int:
    """Whether edge k ends a surface on the image, of which face i is in front.

    It does if it has one face that is drawn, or two that face opposite ways. With inner edges,
    also between two that face the same way; the wider of them owns it.
    """
    records = ti.static(of_faces.records)
    neighbour = neighbours[i % neighbours.shape[0], k]
    result = is_drawn(of_faces, i, is_double_sided) & (neighbour != NO_EDGE)
    if result & (neighbour != NO_FACE):
        j = i - of_faces.boxes[i, ROW] + neighbour // 3
        if is_drawn(of_faces, j, is_double_sided):
            if records[i, INVERSE_AREA] * records[j, INVERSE_AREA] > 0.0:
                result = (has_inner_edges != 0) & (not is_thinner(records, i, j))
            else:
                result = is_in_front(records, i, j, k)
    return result


@ti.func
def is_thinner(records: ti.template(), i: int, j: int) -> int:
    """Whether face i is smaller on the image than face j, or comes first of two alike."""
    size_i, size_j = ti.abs(records[i, INVERSE_AREA]), ti.abs(records[j, INVERSE_AREA])
    return (size_i > size_j) | ((size_i == size_j) & (i < j))


@ti.func
def is_in_front(records: ti.template(), i: int, j: int, k: int) -> int:
    """Whether face i is the nearer one beside its edge k, of two that lie on the same side.

    The thinner face knows best: at its third corner, on its own plane and the other's.
    """
    is_thin = is_thinner(records, i, j)
    thin, wide = ti.select(is_thin, i, j), ti.select(is_thin, j, i)
    edge = load_edge(records, i, k)
    triangle = load_triangle(records, thin)
    # the corner of the thin face that is farthest from the edge
    point, farthest = triangle.a, -1.0
    weights = vec3(1.0, 0.0, 0.0)
    for corner in ti.static(range(3)):
        at = load_corner(records, thin, corner)
        distance = ti.abs(cross(edge.b - edge.a, at - edge.a))
        if distance > farthest:
            farthest = distance
            point = at
            weights = vec3(corner == 0, corner == 1, corner == 2)
    other = load_triangle(records, wide)
    own_depth = PERSPECTIVE.place(weights, triangle).depth
    depth = PERSPECTIVE.place(barycentric(point, other), other).depth
    is_thin_nearer = (own_depth < depth) | ((own_depth == depth) & (thin < wide))
    return is_thin_nearer == is_thin


@kernel
def count_pieces(  # more than 12 parameters: a count, its prefix sum and their scratch
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    neighbours: array(int, 2),  # see `connect_faces`
    height: int,
    width: int,
    radius: float,  # half pixels
    is_double_sided: int,
    has_inner_edges: int,
    num_edges: int,  # 3 B F, an argument: see `scan`
    starts: array(int, 1),  # (3 B F + 1,)
    chunks: array(int, 1),  # (chunks + 1,) scratch
    status: array(int, 1),  # (2,) their number
):
    """How many pieces each edge has, and where its begin."""
    for edge in range(num_edges):
        i, k = edge // 3, edge % 3
        count = 0
        of_faces = ti.static(FaceArrays(records, boxes))
        if owns_edge(of_faces, neighbours, i, k, is_double_sided, has_inner_edges):
            line = load_edge(records, i, k)
            count = cut_evenly(line.a, line.b, height, width, radius).count
        starts[edge + 1] = count
    scan(num_edges, starts, chunks, status)


@kernel
def cut_pieces(  # more than 12 parameters: groups of arrays
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    tile_starts: array(int, 1),  # (T + 1,)
    tile_faces: array(int, 1),  # (>= pairs,)
    band: array(int, 1),  # first tile and end of the tiles that have lists
    neighbours: array(int, 2),  # see `connect_faces`
    limits: array(float, 1),  # near, far, whether double-sided, BESIDE in half pixels and of them
    height: int,
    width: int,
    radius: float,  # half pixels
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    images: array(int, 1),  # see `Surface`
    background: array(float, 1),  # (C,)
    num_faces: int,  # F
    num_pieces: int,
    starts: array(int, 1),  # (3 B F + 1,)
    edges: array(int, 1),  # (P,) and the following: written, see `EdgePieces`
    num_parts: array(int, 1),
    places: array(float, 3),
    links: array(int, 3),
    colors: array(float, 5),
    shader: ti.template(),
):
    """A thread owns an edge, then a piece."""
    for edge in range(starts.shape[0] - 1):
        for piece in range(starts[edge], starts[edge + 1]):
            edges[piece] = edge
    for piece in range(num_pieces):
        of_faces = ti.static(FaceArrays(records, boxes))
        of_tiles = ti.static(TileArrays(tile_starts, tile_faces, band))
        surface = ti.static(Surface(varyings, textures, uniforms, images))
        pieces = ti.static(EdgePieces(starts, edges, num_parts, places, links, colors))
        edge = edges[piece]
        i = edge // 3
        view = i // num_faces
        line = load_edge(records, i, edge % 3)
        cuts = cut_evenly(line.a, line.b, height, width, radius)
        index = cuts.first + piece - starts[edge]
        first = ti.cast(index, float) / ti.cast(cuts.number, float)
        last = ti.cast(index + 1, float) / ti.cast(cuts.number, float)
        middle = point_at(line, 0.5 * (first + last))
        here = place_on_image(middle, view, height, width)
        if (here.tile >= band[0]) & (here.tile < band[1]):
            num_cuts = find_cuts(
                of_faces, of_tiles, pieces, piece, here, view, num_faces, first, last
            )
            keep_visible(
                of_faces, of_tiles, neighbours, limits, pieces, piece, here, num_cuts, first, last
            )
            if ti.static(shader.num_channels > 0):
                for k in range(num_parts[piece]):
                    color_ends(shader, of_faces, surface, background, view, pieces, piece, k)


@ti.func
def color_ends(
    shader: ti.template(),
    of_faces: ti.template(),
    surface: ti.template(),
    background: ti.template(),
    view: int,
    pieces: ti.template(),
    piece: int,
    k: int,
):
    """Writes the colours at both ends of part k of a piece."""
    edge = pieces.edges[piece]
    behind = pieces.links[piece, k, 0]
    line = load_edge(of_faces.records, edge // 3, edge % 3)
    for end in ti.static(range(2)):
        place = pieces.places[piece, k, end]
        on_front = weights_at(line, place)
        front = color_at(shader, of_faces, surface, view, edge // 3, on_front)
        color = ti.Vector([background[c] for c in ti.static(range(shader.num_channels))])
        if behind != NO_FACE:
            at = point_at(line, place)
            on_behind = clip_below(barycentric(at, load_triangle(of_faces.records, behind)))
            color = color_at(shader, of_faces, surface, view, behind, on_behind)
        for c in ti.static(range(shader.num_channels)):
            pieces.colors[piece, k, end, 0, c] = front[c]
            pieces.colors[piece, k, end, 1, c] = color[c]


@ti.func
def place_on_image(point: vec2, view: int, height: int, width: int):
    """The pixel that holds a point of the image, or is nearest to it.

    Returns:
        A struct: `row` and `column`; the `tile` that holds it, of all views' tiles.
    """
    x = 0.5 * (point.x + ti.cast(width, float))
    y = 0.5 * (ti.cast(height, float) - point.y)
    column = ti.cast(ti.min(ti.max(x, 0.0), ti.cast(width - 1, float)), ti.i32)
    row = ti.cast(ti.min(ti.max(y, 0.0), ti.cast(height - 1, float)), ti.i32)
    tile_rows = (height + TILE - 1) // TILE
    tile_columns = (width + TILE - 1) // TILE
    tile = (view * tile_rows + row // TILE) * tile_columns + column // TILE
    return ti.Struct(row=row, column=column, tile=tile)


@ti.func
def find_cuts(
    of_faces: ti.template(),
    of_tiles: ti.template(),
    pieces: ti.template(),
    piece: int,
    here: ti.template(),  # of `place_on_image`
    view: int,
    num_faces: int,
    first: float,
    last: float,
) -> int:
    """Where other pieces' edges cross a piece, in order, in `places` [., ., 1] and `links`."""
    records = ti.static(of_faces.records)
    edge = pieces.edges[piece]
    line = load_edge(records, edge // 3, edge % 3)
    count = 0
    for slot in range(of_tiles.starts[here.tile], of_tiles.starts[here.tile + 1]):
        j = view * num_faces + of_tiles.faces[slot]
        is_here = is_in_box(of_faces.boxes, j, here.row, here.column)
        has_pieces = is_here & (pieces.starts[3 * j] < pieces.starts[3 * j + 3])
        for k in range(ti.select(has_pieces, 3, 0)):
            other = 3 * j + k
            crossing = cross_edges(line, load_edge(records, j, k))
            is_cut = crossing.is_met & (crossing.place > first) & (crossing.place < last)
            is_cut &= (pieces.starts[other] < pieces.starts[other + 1]) & (other != edge)
            if is_cut:
                count = keep_cut(pieces, piece, count, crossing.place, other)
    return count


@ti.func
def keep_cut(pieces: ti.template(), piece: int, count: int, place: float, other: int) -> int:
    """Puts a cut by another edge in order among so many; of too many the first ones are kept."""
    slot = count
    if count == MOST_PARTS - 1:
        slot = ti.select(place < pieces.places[piece, count - 1, 1], count - 1, -1)
    while slot > 0 and pieces.places[piece, slot - 1, 1] > place:
        pieces.places[piece, slot, 1] = pieces.places[piece, slot - 1, 1]
        pieces.links[piece, slot, 2] = pieces.links[piece, slot - 1, 2]
        slot -= 1
    if slot >= 0:
        pieces.places[piece, slot, 1] = place
        pieces.links[piece, slot, 2] = other
    return ti.min(count + 1, MOST_PARTS - 1)


@ti.func
def cross_edges(line: ti.template(), other: ti.template()):
    """Where an edge crosses another, apart from its ends.

    Returns:
        A struct: whether they cross (`is_met`), `place` and `place_of_other` in [0, 1], and the
        `area` of the parallelogram of the two.
    """
    along, across = line.b - line.a, other.b - other.a
    area = cross(along, across)
    to_other = other.a - line.a
    divisor = ti.select(area == 0.0, 1.0, area)
    place = cross(to_other, across) / divisor
    place_of_other = cross(to_other, along) / divisor
    is_met = (area != 0.0) & (place > 0.0) & (place < 1.0)
    is_met &= (place_of_other > 0.0) & (place_of_other < 1.0)
    is_joined = is_same(line.a, other.a) | is_same(line.a, other.b)
    is_joined |= is_same(line.b, other.a) | is_same(line.b, other.b)
    return ti.Struct(
        is_met=is_met & (not is_joined),
        place=place,
        place_of_other=place_of_other,
        area=area,
    )


@ti.func
def may_hold(records: ti.template(), i: int, point: vec2, step: vec2) -> int:
    """Whether the box around face i meets that from point - step to point + step."""
    a, b, c = load_corner(records, i, 0), load_corner(records, i, 1), load_corner(records, i, 2)
    margin = 2.0 * ti.abs(step)  # once would do, but for rounding
    low, high = ti.min(a, b, c) - margin, ti.max(a, b, c) + margin
    is_in_columns = (point.x >= low.x) & (point.x <= high.x)
    return is_in_columns & (point.y >= low.y) & (point.y <= high.y)


@ti.func
def is_same(a: vec2, b: vec2) -> int:
    """Whether two corners are at one place."""
    return (a.x == b.x) & (a.y == b.y)


@ti.func
def keep_visible(
    of_faces: ti.template(),
    of_tiles: ti.template(),
    neighbours: ti.template(),
    limits: ti.template(),
    pieces: ti.template(),
    piece: int,
    here: ti.template(),  # of `place_on_image`
    num_cuts: int,
    first: float,
    last: float,
):
    """Parts between cuts that no face hides, and what is behind each, in place of the cuts."""
    count = 0
    start, cut_by = first, -1
    for k in range(num_cuts + 1):
        end, next_cut_by = last, -1
        if k < num_cuts:
            end, next_cut_by = pieces.places[piece, k, 1], pieces.links[piece, k, 2]
        middle = 0.5 * (start + end)
        seen = look_behind(
            of_faces, of_tiles, neighbours, limits, pieces.edges[piece], here, middle
        )
        if (not seen.is_hidden) & (end > start):
            pieces.places[piece, count, 0] = start
            pieces.places[piece, count, 1] = end
            pieces.links[piece, count, 0] = seen.behind
            pieces.links[piece, count, 1] = cut_by
            pieces.links[piece, count, 2] = next_cut_by
            count += 1
        start, cut_by = end, next_cut_by
    pieces.num_parts[piece] = count


@ti.func
def look_behind(
    of_faces: ti.template(),
    of_tiles: ti.template(),
    neighbours: ti.template(),
    limits: ti.template(),
    edge: int,
    here: ti.template(),
    place: float,
):
    """What is at a point of an edge, apart from its own faces, a few roundings beside it.

    On the edge's line itself rounding would decide whether faces that end there are met: those
    that touch it, or lie below it with the same outline.

    Returns:
        A struct: whether a face, on either side, lies before the edge, or where its own face lies
        and comes first (`is_hidden`); the nearest face `behind`, beyond the edge, as index of all
        views' faces, or NO_FACE.
    """
    records = ti.static(of_faces.records)
    is_double_sided = ti.cast(limits[2], ti.i32)
    i = edge // 3
    first_face = i - of_faces.boxes[i, ROW]
    line = load_edge(records, i, edge % 3)
    point = point_at(line, place)
    weights = weights_at(line, place)
    depth = PERSPECTIVE.depth(weights, load_planes(records, i))
    direction = (line.b - line.a).normalized()
    step = vec2(direction.y, -direction.x) * (limits[3] + limits[4] * ti.abs(point).sum())
    neighbour = neighbours[i % neighbours.shape[0], edge % 3]
    own_face = of_faces.boxes[i, SOURCE_FACE]
    across, face_across = NO_FACE, NO_FACE
    is_inner = False
    if neighbour >= 0:
        j = first_face + neighbour // 3
        across, face_across = j, of_faces.boxes[j, SOURCE_FACE]
        if is_drawn(of_faces, j, is_double_sided):
            is_inner = records[i, INVERSE_AREA] * records[j, INVERSE_AREA] > 0.0
    is_hidden = (depth <= limits[0]) | (depth >= limits[1])
    behind, nearest = NO_FACE, 0.0
    for slot in range(of_tiles.starts[here.tile], of_tiles.starts[here.tile + 1]):
        j = first_face + of_tiles.faces[slot]
        face = of_faces.boxes[j, SOURCE_FACE]
        if (face != own_face) & (face != face_across) & may_hold(records, j, point, step):
            triangle = load_triangle(records, j)
            for beyond in ti.static(range(2)):
                beside = point + ti.static(2.0 * beyond - 1.0) * step
                inside = barycentric(beside, triangle)
                if contains(inside, triangle, is_double_sided):
                    there = PERSPECTIVE.depth(inside, triangle)
                    if (there > limits[0]) & (there < limits[1]):
                        is_hidden |= there < depth * (1.0 - SAME_DEPTH)
                        if ti.static(beyond == 0):  # of equal faces at one place the first is seen
                            is_equal = triangle.inverse_area * records[i, INVERSE_AREA] > 0.0
                            is_equal &= there < depth * (1.0 + SAME_DEPTH)
                            is_hidden |= is_equal & (j < i)
                        is_nearer = (behind == NO_FACE) | (there < nearest)
                        is_nearer |= (there == nearest) & (j < behind)
                        if ti.static(beyond == 1) & is_nearer:
                            behind, nearest = j, there
            if is_hidden:
                break
    if is_inner:
        behind = across
    return ti.Struct(is_hidden=is_hidden, behind=behind)
