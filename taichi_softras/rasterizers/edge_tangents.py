"""Tangents of a prefiltered image: the transpose of its adjoint, for many parameters at once."""

from taichi_softras.funcs.disc_filter import disc_shares, disc_shares_vjp
from taichi_softras.funcs.interpolation import clip_below, clip_below_vjp
from taichi_softras.funcs.triangle import barycentric, barycentric_vjp
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE, FaceArrays
from taichi_softras.rasterizers.edge_filter import find_near_pieces, measure, place_ends
from taichi_softras.rasterizers.edge_pieces import (
    EdgePieces,
    cross_edges,
    load_edge,
    point_at,
    weights_at,
)
from taichi_softras.rasterizers.faces import (
    ROW,
    SOURCE_FACE,
    clip_corner_vjp,
    load_triangle,
    pixel_centre,
)
from taichi_softras.rasterizers.fragments import Surface, SurfaceNumbers
from taichi_softras.rasterizers.visible_colors import color_at_vjp, move_fragment, unit
from taichi_softras.rasterizers.z_buffer import Seen, block_of, load_weights
from taichi_softras.runtime import kernel, ti, vec2, vec3
from taichi_softras.workspace import array


@ti.func
def corner_tangent(
    records: ti.template(),
    shorter: float,
    i: int,
    corner: ti.template(),
    tangent_corners: ti.template(),  # (P, B, F, 3, 3 or 4)
    parameter: int,
) -> vec3:
    """How a corner moves: x and y in half pixels, and 1 / w."""
    num_faces = tangent_corners.shape[2]
    view = i // num_faces
    result = vec3(0.0)
    for row in ti.static(range(3)):
        by_position = vec2(ti.static(float(row == 0)), ti.static(float(row == 1)))
        of_corner = clip_corner_vjp(
            records,
            shorter,
            i,
            corner,
            tangent_corners.shape[4],
            by_position,
            ti.static(float(row == 2)),
            0.0,
        )
        for k in ti.static(range(4)):
            if k < tangent_corners.shape[4]:
                moved = tangent_corners[parameter, view, i - view * num_faces, corner, k]
                result[row] += of_corner[k] * moved
    return result


@ti.func
def edge_tangent(
    records: ti.template(),
    shorter: float,
    i: int,
    line: ti.template(),
    tangent_corners: ti.template(),
    parameter: int,
):
    """How the ends of an edge of face i move, in half pixels."""
    of_a, of_b = vec2(0.0), vec2(0.0)
    for corner in ti.static(range(3)):
        moved = corner_tangent(records, shorter, i, corner, tangent_corners, parameter)
        of_a += line.of_a[corner] * vec2(moved.x, moved.y)
        of_b += line.of_b[corner] * vec2(moved.x, moved.y)
    return of_a, of_b


@ti.func
def rows_of(of_faces: ti.template(), parameter: int, view: int, i: int):
    """Where `move_fragment` finds the tangents of what face i wears."""
    return ti.Vector([parameter, view, of_faces.boxes[i, ROW], of_faces.boxes[i, SOURCE_FACE]])


@ti.func
def color_tangent(
    shader: ti.template(),
    of_faces: ti.template(),
    surface: ti.template(),
    shorter: float,
    i: int,
    weights: vec3,
    point_tangent: vec2,
    grads: ti.template(),  # of `color_at_vjp`, of one channel
    by_weights: vec3,  # of them, what is left where weights are clipped
    tangents: ti.template(),  # of corners, and `SurfaceNumbers`
    parameter: int,
) -> float:
    """How a channel changes at a point of the image that moves, with the face and what it wears."""
    tangent_corners, tangent_surface = ti.static(tangents)
    view = i // tangent_corners.shape[2]
    slope = barycentric_vjp(load_triangle(of_faces.records, i), by_weights)
    change = slope.dot(point_tangent)
    for corner in ti.static(range(3)):
        moved = corner_tangent(of_faces.records, shorter, i, corner, tangent_corners, parameter)
        change -= weights[corner] * slope.dot(vec2(moved.x, moved.y))
        change += grads.inverse_w[corner] * moved.z
    where = rows_of(of_faces, parameter, view, i)
    return change + move_fragment(shader, surface, tangent_surface, where, grads.used, grads)


@kernel
def push_faces(  # groups of arrays make more than 12 parameters: faces, what is seen, surface
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    images: array(int, 1),  # see `Surface`
    tangent_corners: array(float, 5),  # (P, B, F, 3, 3 or 4)
    tangent_varyings: array(float, 5),  # (P, B or 1, F, 3, K)
    tangent_textures: array(float, 5),  # (P, B or 1, F, entries, samples)
    tangent_uniforms: array(float, 3),  # (P, B or 1, N)
    tangent_image: array(float, 5),  # (P, B, C + 1, H, W), written
    shader: ti.template(),
):
    """What is seen at pixels: a thread owns one."""
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        of_faces = ti.static(FaceArrays(records, boxes))
        surface = ti.static(Surface(varyings, textures, uniforms, images))
        of_surface = ti.static(SurfaceNumbers(tangent_varyings, tangent_textures, tangent_uniforms))
        seen = ti.static(Seen(faces, weights, depths))
        face = seen.faces[view, row, column]
        for parameter, channel in ti.ndrange(tangent_image.shape[0], tangent_image.shape[2]):
            tangent_image[parameter, view, channel, row, column] = 0.0
        if face != NO_FACE:
            i = view * tangent_corners.shape[2] + face
            on_screen = load_weights(seen.weights, view, row, column)
            for channel in range(shader.num_channels):
                grads = color_at_vjp(
                    shader,
                    of_faces,
                    surface,
                    view,
                    i,
                    on_screen,
                    unit(shader.num_channels, channel),
                )
                for parameter in range(tangent_image.shape[0]):
                    tangent_image[parameter, view, channel, row, column] = color_tangent(
                        shader,
                        of_faces,
                        surface,
                        ti.cast(ti.min(faces.shape[1], faces.shape[2]), float),
                        i,
                        on_screen,
                        vec2(0.0),
                        grads,
                        grads.weights,
                        ti.static((tangent_corners, of_surface)),
                        parameter,
                    )


@kernel
def push_pieces(  # groups of arrays make more than 12 parameters: faces, surface, pieces
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    images: array(int, 1),  # see `Surface`
    starts: array(int, 1),  # see `EdgePieces`
    edges: array(int, 1),
    num_parts: array(int, 1),
    places: array(float, 3),
    links: array(int, 3),
    colors: array(float, 5),
    shorter: float,  # half pixels in one NDC
    tangent_corners: array(float, 5),  # (P, B, F, 3, 3 or 4)
    tangent_varyings: array(float, 5),  # (P, B or 1, F, 3, K)
    tangent_textures: array(float, 5),  # (P, B or 1, F, entries, samples)
    tangent_uniforms: array(float, 3),  # (P, B or 1, N)
    tangent_ends: array(float, 5),  # (P, pieces, parts, 2, 2) half pixels, written
    tangent_jumps: array(float, 5),  # (P, pieces, parts, 2, C), written
    shader: ti.template(),
):
    """The transpose of `scatter_pieces`: a thread owns a piece."""
    for piece in range(starts[starts.shape[0] - 1]):
        of_surface = ti.static(SurfaceNumbers(tangent_varyings, tangent_textures, tangent_uniforms))
        for part, parameter in ti.ndrange(num_parts[piece], tangent_ends.shape[0]):
            for end in ti.static(range(2)):
                push_end(
                    shader,
                    ti.static(FaceArrays(records, boxes)),
                    ti.static(Surface(varyings, textures, uniforms, images)),
                    ti.static(EdgePieces(starts, edges, num_parts, places, links, colors)),
                    ti.Vector([piece, part, parameter]),
                    end,
                    shorter,
                    ti.static((tangent_corners, of_surface)),
                    tangent_ends,
                    tangent_jumps,
                )


@ti.func
def push_end(
    shader: ti.template(),
    of_faces: ti.template(),
    surface: ti.template(),
    pieces: ti.template(),
    where: ti.math.ivec3,  # piece, part, parameter
    end: ti.template(),
    shorter: float,
    tangents: ti.template(),  # of corners, and `SurfaceNumbers`
    tangent_ends: ti.template(),
    tangent_jumps: ti.template(),
):
    """An end of a part: how it moves, and how the jump of colours changes there."""
    tangent_corners, of_surface = ti.static(tangents)
    piece, part, parameter = where[0], where[1], where[2]
    records = ti.static(of_faces.records)
    edge = pieces.edges[piece]
    i = edge // 3
    view = i // tangent_corners.shape[2]
    line = load_edge(records, i, edge % 3)
    place = pieces.places[piece, part, end]
    of_a, of_b = edge_tangent(records, shorter, i, line, tangent_corners, parameter)
    of_point = of_a * (1.0 - place) + of_b * place
    of_place = 0.0
    other = pieces.links[piece, part, 1 + end]
    if other >= 0:
        of_place = push_crossing(records, shorter, line, other, of_point, tangents, parameter)
        of_point += of_place * (line.b - line.a)
    for axis in ti.static(range(2)):
        tangent_ends[parameter, piece, part, end, axis] = of_point[axis]
    behind = pieces.links[piece, part, 0]
    on_front = weights_at(line, place)
    for channel in range(shader.num_channels):
        chosen = unit(shader.num_channels, channel)
        front = color_at_vjp(shader, of_faces, surface, view, i, on_front, chosen)
        change = front.weights.dot(line.of_b - line.of_a) * of_place
        for corner in ti.static(range(3)):
            moved = corner_tangent(records, shorter, i, corner, tangent_corners, parameter)
            change += front.inverse_w[corner] * moved.z
        rows = rows_of(of_faces, parameter, view, i)
        change += move_fragment(shader, surface, of_surface, rows, front.used, front)
        if behind != NO_FACE:
            at = point_at(line, place)
            change -= push_behind(
                shader,
                of_faces,
                surface,
                shorter,
                behind,
                at,
                of_point,
                chosen,
                tangents,
                parameter,
            )
        tangent_jumps[parameter, piece, part, end, channel] = change


@ti.func
def push_crossing(
    records: ti.template(),
    shorter: float,
    line: ti.template(),
    other: int,
    of_point: vec2,
    tangents: ti.template(),
    parameter: int,
) -> float:
    """How the place where an edge cuts a line moves along it, if the line's point so moves."""
    cutting = load_edge(records, other // 3, other % 3)
    crossing = cross_edges(line, cutting)
    along = cutting.b - cutting.a
    of_c, of_d = edge_tangent(records, shorter, other // 3, cutting, tangents[0], parameter)
    of_other = of_c + (of_d - of_c) * crossing.place_of_other
    return (of_other - of_point).dot(vec2(along.y, -along.x)) / crossing.area


@ti.func
def push_behind(
    shader: ti.template(),
    of_faces: ti.template(),
    surface: ti.template(),
    shorter: float,
    behind: int,
    at: vec2,
    of_point: vec2,
    chosen: ti.template(),
    tangents: ti.template(),
    parameter: int,
) -> float:
    """How a channel of the face behind changes at the point that is looked at."""
    view = behind // tangents[0].shape[2]
    weights = barycentric(at, load_triangle(of_faces.records, behind))
    grads = color_at_vjp(shader, of_faces, surface, view, behind, clip_below(weights), chosen)
    return color_tangent(
        shader,
        of_faces,
        surface,
        shorter,
        behind,
        weights,
        of_point,
        grads,
        clip_below_vjp(weights, grads.weights),
        tangents,
        parameter,
    )


@kernel
def push_edges(  # groups of arrays make more than 12 parameters: faces, tiles, pieces
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
    is_clamped: array(int, 3),  # (B, H, W)
    tangent_ends: array(float, 5),  # (P, pieces, parts, 2, 2) half pixels
    tangent_jumps: array(float, 5),  # (P, pieces, parts, 2, C)
    tangent_image: array(float, 5),  # (P, B, C + 1, H, W), added to
    channels: ti.template(),
):
    """The tangent of `filter_edges`: a thread owns a pixel of the band and walks pieces near it."""
    for index in range((band[1] - band[0]) * TILE * TILE):
        pieces = ti.static(EdgePieces(starts, edges, num_parts, places, links, colors))
        height, width = is_clamped.shape[1], is_clamped.shape[2]
        pixel = block_of(band[0], index, height, width, 1)
        view, row, column = pixel.view, pixel.row, pixel.column
        if (row < height) & (column < width):
            num_faces = records.shape[0] // is_clamped.shape[0]
            for slot in range(tile_starts[pixel.tile], tile_starts[pixel.tile + 1]):
                i = view * num_faces + tile_faces[slot]
                for k in range(ti.select(starts[3 * i] < starts[3 * i + 3], 3, 0)):
                    line = load_edge(records, i, k)
                    near = find_near_pieces(
                        pieces, line, 3 * i + k, row, column, height, width, radius, 1
                    )
                    for piece in range(near[0], near[1] + 1):
                        for part in range(num_parts[piece]):
                            push_part(
                                pieces,
                                line,
                                piece,
                                part,
                                ti.Vector([view, row, column]),
                                radius,
                                tangent_ends,
                                tangent_jumps,
                                tangent_image,
                                channels,
                            )
            for channel in range(channels + 1):
                if (is_clamped[view, row, column] >> ti.min(channel, 30)) & 1 != 0:
                    for parameter in range(tangent_image.shape[0]):
                        tangent_image[parameter, view, channel, row, column] = 0.0


@ti.func
def push_part(
    pieces: ti.template(),
    line: ti.template(),
    piece: int,
    part: int,
    pixel: ti.math.ivec3,  # view, row, column
    radius: float,
    tangent_ends: ti.template(),
    tangent_jumps: ti.template(),
    tangent_image: ti.template(),
    channels: ti.template(),
):
    """Of a part of a piece, at a pixel."""
    view, row, column = pixel[0], pixel[1], pixel[2]
    height, width = tangent_image.shape[3], tangent_image.shape[4]
    start, end = place_ends(pieces, line, piece, part)
    met = measure(line, start, end, pixel_centre(column, row, height, width), radius)
    if met.end > met.start:
        shares = disc_shares(met)
        start_by_start, start_by_end = disc_shares_vjp(met, radius, vec2(1.0, 0.0))
        end_by_start, end_by_end = disc_shares_vjp(met, radius, vec2(0.0, 1.0))
        has_alpha = ti.cast(pieces.links[piece, part, 0] == NO_FACE, float)
        for parameter in range(tangent_image.shape[0]):
            of_start = vec2(
                tangent_ends[parameter, piece, part, 0, 0],
                tangent_ends[parameter, piece, part, 0, 1],
            )
            of_end = vec2(
                tangent_ends[parameter, piece, part, 1, 0],
                tangent_ends[parameter, piece, part, 1, 1],
            )
            of_shares = vec2(
                start_by_start.dot(of_start) + start_by_end.dot(of_end),
                end_by_start.dot(of_start) + end_by_end.dot(of_end),
            )
            tangent_image[parameter, view, channels, row, column] += has_alpha * of_shares.sum()
            for c in ti.static(range(channels)):
                change = 0.0
                for k in ti.static(range(2)):
                    front = pieces.colors[piece, part, k, 0, c]
                    jump = front - pieces.colors[piece, part, k, 1, c]
                    change += of_shares[k] * jump
                    change += shares[k] * tangent_jumps[parameter, piece, part, k, c]
                tangent_image[parameter, view, c, row, column] += change
