"""Edges filtered: pieces of edges in, their shares of the discs around pixels added to the image.

The adjoint gathers from the pixels to the ends and colours of the pieces.
"""

from taichi_softras.funcs.disc_filter import disc_shares, disc_shares_vjp, moments
from taichi_softras.funcs.triangle import make_edge, side_of
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE, FaceArrays
from taichi_softras.rasterizers.edge_pieces import (
    EdgePieces,
    clip_to_box,
    cut_evenly,
    load_edge,
    point_at,
)
from taichi_softras.rasterizers.faces import pixel_centre
from taichi_softras.rasterizers.z_buffer import block_of
from taichi_softras.runtime import kernel, ti, vec2
from taichi_softras.workspace import array

# of the range of colours: less than rounding is no clamping, and has a gradient
HULL_SLACK = 1e-4


@kernel
def find_hulls(
    starts: array(int, 1),  # see `EdgePieces`
    num_parts: array(int, 1),
    colors: array(float, 5),
    image: array(float, 4),  # (B, C + 1, H, W)
    hulls_of_tiles: array(float, 3),  # (T, C, 2) scratch
    hulls: array(float, 3),  # (B, C, 2) least and largest number of a view
):
    """Of all colours in sight: at pixels, then at edges."""
    for tile in range(hulls_of_tiles.shape[0]):
        block = block_of(tile, 0, image.shape[2], image.shape[3], TILE)
        for channel in range(hulls_of_tiles.shape[1]):
            first = image[block.view, channel, block.row, block.column]
            lows = ti.Vector([first] * TILE)  # of columns
            highs = ti.Vector([first] * TILE)
            for k in range(TILE):
                row = ti.min(block.row + k, image.shape[2] - 1)
                for j in ti.static(range(TILE)):
                    column = ti.min(block.column + j, image.shape[3] - 1)
                    lows[j] = ti.min(lows[j], image[block.view, channel, row, column])
                    highs[j] = ti.max(highs[j], image[block.view, channel, row, column])
            low, high = lows.min(), highs.max()
            hulls_of_tiles[tile, channel, 0] = low
            hulls_of_tiles[tile, channel, 1] = high
    for view, channel in ti.ndrange(hulls.shape[0], hulls.shape[1]):
        tiles = hulls_of_tiles.shape[0] // hulls.shape[0]
        low = hulls_of_tiles[view * tiles, channel, 0]
        high = hulls_of_tiles[view * tiles, channel, 1]
        for tile in range(view * tiles, (view + 1) * tiles):
            low = ti.min(low, hulls_of_tiles[tile, channel, 0])
            high = ti.max(high, hulls_of_tiles[tile, channel, 1])
        per_view = (starts.shape[0] - 1) // hulls.shape[0]
        for piece in range(starts[view * per_view], starts[(view + 1) * per_view]):
            for part, end, layer in ti.ndrange(num_parts[piece], 2, 2):
                low = ti.min(low, colors[piece, part, end, layer, channel])
                high = ti.max(high, colors[piece, part, end, layer, channel])
        hulls[view, channel, 0] = low
        hulls[view, channel, 1] = high


@kernel
def filter_edges(  # groups of arrays make more than 12 parameters: faces, tiles, pieces
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    tile_starts: array(int, 1),  # (T + 1,)
    tile_faces: array(int, 1),  # (>= pairs,)
    band: array(int, 1),  # first tile and end of the tiles that have lists
    starts: array(int, 1),  # see `EdgePieces`
    edges: array(int, 1),
    num_parts: array(int, 1),
    places: array(float, 3),
    links: array(int, 3),
    colors: array(float, 5),
    radius: float,  # half pixels
    hulls: array(float, 3),  # (B, C, 2)
    image: array(float, 4),  # (B, C + 1, H, W) in and out
    is_clamped: array(int, 3),  # (B, H, W) bit c for channel c
    side: ti.template(),  # of the blocks that threads own: 1 or TILE
    channels: ti.template(),
):
    """A thread owns a block of pixels and walks the pieces of its tile's faces."""
    for index in range((band[1] - band[0]) * TILE * TILE):
        of_faces = ti.static(FaceArrays(records, boxes))
        pieces = ti.static(EdgePieces(starts, edges, num_parts, places, links, colors))
        height, width = image.shape[2], image.shape[3]
        block = block_of(band[0], index, height, width, side)
        if block.is_own:
            for k in range(side * side):
                row, column = block.row + k // side, block.column + k % side
                if (row < height) & (column < width):
                    is_clamped[block.view, row, column] = 0
            num_faces = records.shape[0] // image.shape[0]
            is_reached = 0
            for slot in range(tile_starts[block.tile], tile_starts[block.tile + 1]):
                i = block.view * num_faces + tile_faces[slot]
                if starts[3 * i] < starts[3 * i + 3]:
                    is_reached = 1
                    filter_face(of_faces, pieces, block, i, radius, image, side, channels)
            if is_reached != 0:
                clamp_block(block, hulls, image, is_clamped, side, channels)


@ti.func
def clamp_block(
    block: ti.template(),
    hulls: ti.template(),
    image: ti.template(),
    is_clamped: ti.template(),
    side: ti.template(),
    channels: ti.template(),
):
    """Faces that pierce each other have no edge there: pixels keep to the colours in sight."""
    for k in range(side * side):
        row, column = block.row + k // side, block.column + k % side
        if (row < image.shape[2]) & (column < image.shape[3]):
            bits = 0
            for channel in range(channels + 1):
                low, high = 0.0, 1.0
                if channel < channels:
                    low, high = hulls[block.view, channel, 0], hulls[block.view, channel, 1]
                now = image[block.view, channel, row, column]
                slack = HULL_SLACK * (high - low)
                if (now < low - slack) | (now > high + slack):
                    bits |= 1 << ti.min(channel, 30)
                image[block.view, channel, row, column] = ti.min(ti.max(now, low), high)
            is_clamped[block.view, row, column] = bits


@ti.func
def filter_face(
    of_faces: ti.template(),
    pieces: ti.template(),
    block: ti.template(),
    i: int,
    radius: float,
    image: ti.template(),
    side: ti.template(),
    channels: ti.template(),
):
    """Adds the shares of a face's edges to the pixels of a block."""
    height, width = image.shape[2], image.shape[3]
    for k in range(3):
        line = load_edge(of_faces.records, i, k)
        near = find_near_pieces(
            pieces, line, 3 * i + k, block.row, block.column, height, width, radius, side
        )
        for piece in range(near[0], near[1] + 1):
            for part in range(pieces.num_parts[piece]):
                filter_part(pieces, line, block, piece, part, radius, image, side, channels)


@ti.func
def find_near_pieces(
    pieces: ti.template(),
    line: ti.template(),
    edge: int,
    row: int,
    column: int,
    height: int,
    width: int,
    radius: float,
    side: ti.template(),
):
    """First and last piece of an edge that a block of side x side pixels may meet."""
    first, end = pieces.starts[edge], pieces.starts[edge + 1]
    near = ti.Vector([1, 0])
    if first < end:
        low = pixel_centre(column, row + side - 1, height, width) - radius
        high = pixel_centre(column + side - 1, row, height, width) + radius
        part = clip_to_box(line.a, line.b, low, high)
        if part.x <= part.y:
            cuts = cut_evenly(line.a, line.b, height, width, radius)
            last = ti.cast(cuts.first + cuts.count - 1, float)
            places = ti.floor(part * ti.cast(cuts.number, float))
            if (places.x <= last) & (places.y >= ti.cast(cuts.first, float)):
                indices = ti.cast(ti.min(places, last), ti.i32)
                near = first + ti.max(indices - cuts.first, 0)
    return near


@ti.func
def pixels_of(start: vec2, end: vec2, height: int, width: int, radius: float):
    """First and last row, first and last column whose discs a part may meet; may be empty."""
    low, high = ti.min(start, end) - radius, ti.max(start, end) + radius
    columns = 0.5 * (vec2(low.x, high.x) + ti.cast(width - 1, float))
    rows = 0.5 * (ti.cast(height - 1, float) - vec2(high.y, low.y))
    return ti.Vector(
        [
            ti.max(ti.cast(ti.ceil(rows.x), ti.i32), 0),
            ti.min(ti.cast(ti.floor(rows.y), ti.i32), height - 1),
            ti.max(ti.cast(ti.ceil(columns.x), ti.i32), 0),
            ti.min(ti.cast(ti.floor(columns.y), ti.i32), width - 1),
        ]
    )


@ti.func
def measure(line: ti.template(), start: vec2, end: vec2, centre: vec2, radius: float):
    """The `moments` of a part at a pixel; left of it is where the z-buffer sees the face."""
    edge = make_edge(line.a, line.b, 0.0, 0.0)
    is_left = ti.cast(side_of(centre, edge) * edge.turn >= 0.0, ti.i32)
    return moments(start, end, centre, radius, is_left)


@ti.func
def place_ends(pieces: ti.template(), line: ti.template(), piece: int, part: int):
    """Start and end of a part in half pixels."""
    start = point_at(line, pieces.places[piece, part, 0])
    return start, point_at(line, pieces.places[piece, part, 1])


@ti.func
def filter_part(
    pieces: ti.template(),
    line: ti.template(),
    block: ti.template(),
    piece: int,
    part: int,
    radius: float,
    image: ti.template(),
    side: ti.template(),
    channels: ti.template(),
):
    """Adds the shares of a part of a piece to the pixels of a block."""
    view, height, width = block.view, image.shape[2], image.shape[3]
    start, end = place_ends(pieces, line, piece, part)
    pixels = pixels_of(start, end, height, width, radius)
    for row in range(ti.max(pixels[0], block.row), ti.min(pixels[1], block.row + side - 1) + 1):
        for column in range(
            ti.max(pixels[2], block.column), ti.min(pixels[3], block.column + side - 1) + 1
        ):
            centre = pixel_centre(column, row, height, width)
            met = measure(line, start, end, centre, radius)
            if met.end > met.start:
                shares = disc_shares(met)
                for c in ti.static(range(channels)):
                    jump = vec2(0.0)
                    for k in ti.static(range(2)):
                        front = pieces.colors[piece, part, k, 0, c]
                        behind = pieces.colors[piece, part, k, 1, c]
                        jump[k] = front - behind
                    now = image[view, c, row, column]
                    image[view, c, row, column] = now + shares.dot(jump)
                if pieces.links[piece, part, 0] == NO_FACE:
                    now = image[view, channels, row, column]
                    image[view, channels, row, column] = now + shares.sum()


@kernel
def pull_pieces(  # groups of arrays make more than 12 parameters: faces, pieces, gradients
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    starts: array(int, 1),  # see `EdgePieces`
    edges: array(int, 1),
    num_parts: array(int, 1),
    places: array(float, 3),
    links: array(int, 3),
    colors: array(float, 5),
    is_clamped: array(int, 3),  # (B, H, W)
    radius: float,  # half pixels
    grad_image: array(float, 4),  # (B, C + 1, H, W); becomes 0 where the image is clamped
    grad_places: array(float, 4),  # (P, parts, 2, 2) of start and end, half pixels
    grad_jumps: array(float, 4),  # (P, parts, 2, C) of front minus behind, at start and end
    channels: ti.template(),
):
    """The adjoint of `filter_edges`: a thread owns a piece and gathers over its discs."""
    for view, row, column in ti.ndrange(
        is_clamped.shape[0], is_clamped.shape[1], is_clamped.shape[2]
    ):
        if is_clamped[view, row, column] != 0:
            for channel in range(grad_image.shape[1]):
                if (is_clamped[view, row, column] >> ti.min(channel, 30)) & 1 != 0:
                    grad_image[view, channel, row, column] = 0.0
    for piece in range(starts[starts.shape[0] - 1]):
        pieces = ti.static(EdgePieces(starts, edges, num_parts, places, links, colors))
        i = edges[piece] // 3
        line = load_edge(records, i, edges[piece] % 3)
        view = i // (records.shape[0] // grad_image.shape[0])
        for part in range(num_parts[piece]):
            pull_part(
                pieces,
                line,
                view,
                piece,
                part,
                radius,
                grad_image,
                grad_places,
                grad_jumps,
                channels,
            )


@ti.func
def pull_part(
    pieces: ti.template(),
    line: ti.template(),
    view: int,
    piece: int,
    part: int,
    radius: float,
    grad_image: ti.template(),
    grad_places: ti.template(),
    grad_jumps: ti.template(),
    channels: ti.template(),
):
    """Of a part of a piece: over the pixels whose discs it meets."""
    height, width = grad_image.shape[2], grad_image.shape[3]
    start, end = place_ends(pieces, line, piece, part)
    has_alpha = ti.cast(pieces.links[piece, part, 0] == NO_FACE, float)
    by_start, by_end = vec2(0.0), vec2(0.0)
    by_jump = ti.Matrix.zero(float, ti.static(max(channels, 1)), 2)
    pixels = pixels_of(start, end, height, width, radius)
    for row in range(pixels[0], pixels[1] + 1):
        for column in range(pixels[2], pixels[3] + 1):
            centre = pixel_centre(column, row, height, width)
            met = measure(line, start, end, centre, radius)
            if met.end > met.start:
                shares = disc_shares(met)
                of_alpha = has_alpha * grad_image[view, channels, row, column]
                grad = vec2(of_alpha, of_alpha)
                for c in ti.static(range(channels)):
                    of_pixel = grad_image[view, c, row, column]
                    for k in ti.static(range(2)):
                        front = pieces.colors[piece, part, k, 0, c]
                        grad[k] += of_pixel * (front - pieces.colors[piece, part, k, 1, c])
                        by_jump[c, k] += of_pixel * shares[k]
                of_start, of_end = disc_shares_vjp(met, radius, grad)
                by_start += of_start
                by_end += of_end
    for axis in ti.static(range(2)):
        grad_places[piece, part, 0, axis] = by_start[axis]
        grad_places[piece, part, 1, axis] = by_end[axis]
    for c in ti.static(range(channels)):
        for k in ti.static(range(2)):
            grad_jumps[piece, part, k, c] = by_jump[c, k]
