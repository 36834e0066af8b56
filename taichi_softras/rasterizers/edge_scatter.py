"""From pieces of edges to faces: gradients of ends and colours in, of corners and surface out."""

from taichi_softras.funcs.interpolation import clip_below, clip_below_vjp
from taichi_softras.funcs.triangle import barycentric, barycentric_vjp
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import FaceArrays
from taichi_softras.rasterizers.edge_pieces import (
    EdgePieces,
    cross_edges,
    load_edge,
    point_at,
    weights_at,
)
from taichi_softras.rasterizers.faces import ROW, SOURCE_FACE, clip_corner_vjp, load_triangle
from taichi_softras.rasterizers.fragments import Surface, SurfaceNumbers, look_up_vjp
from taichi_softras.rasterizers.visible_colors import color_at_vjp
from taichi_softras.runtime import CPU_BLOCK, kernel, ti, vec2, vec3
from taichi_softras.workspace import array


@kernel
def scatter_pieces(  # groups of arrays make more than 12 parameters: faces, surface, pieces
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
    grad_places: array(float, 4),  # of `pull_pieces`
    grad_jumps: array(float, 4),
    shorter: float,  # half pixels in one NDC
    owners: int,  # on a CPU 1 if views share anything, else B; 0 on a GPU
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4) and the following: added to
    grad_varyings: array(float, 4),
    grad_textures: array(float, 4),
    grad_uniforms: array(float, 2),
    shader: ti.template(),
):
    """From pieces to faces: on a CPU a thread owns views and adds in order, on a GPU a piece."""
    count = starts[starts.shape[0] - 1]
    for thread in range(ti.select(owners > 0, owners * CPU_BLOCK, count)):
        pieces = ti.static(EdgePieces(starts, edges, num_parts, places, links, colors))
        grads = ti.static((grad_places, grad_jumps, grad_corners))
        first, end = thread, thread + 1
        if owners > 0:
            task, per_task = thread // CPU_BLOCK, (starts.shape[0] - 1) // owners
            first = starts[task * per_task]
            end = ti.select(thread % CPU_BLOCK == 0, starts[(task + 1) * per_task], first)
        for piece in range(first, end):
            for part in range(num_parts[piece]):
                scatter_part(
                    shader,
                    ti.static(FaceArrays(records, boxes)),
                    ti.static(Surface(varyings, textures, uniforms, images)),
                    shorter,
                    pieces,
                    piece,
                    part,
                    grads,
                    ti.static(SurfaceNumbers(grad_varyings, grad_textures, grad_uniforms)),
                )


@ti.func
def scatter_part(
    shader: ti.template(),
    of_faces: ti.template(),
    surface: ti.template(),
    shorter: float,  # half pixels in one NDC
    pieces: ti.template(),
    piece: int,
    part: int,
    grads: ti.template(),  # of places, of jumps, of corners
    grad_surface: ti.template(),
):
    """Positions and colours of the faces in front and behind, and of edges that cut the part."""
    grad_places, grad_jumps, grad_corners = ti.static(grads)
    records = ti.static(of_faces.records)
    edge = pieces.edges[piece]
    i = edge // 3
    view = i // grad_corners.shape[1]
    line = load_edge(records, i, edge % 3)
    behind = pieces.links[piece, part, 0]
    by_a, by_b, by_inverse_w = vec2(0.0), vec2(0.0), vec3(0.0)
    for end in ti.static(range(2)):
        place = pieces.places[piece, part, end]
        by_point = vec2(grad_places[piece, part, end, 0], grad_places[piece, part, end, 1])
        by_place = 0.0
        if ti.static(shader.num_channels > 0):
            on_front = weights_at(line, place)
            channels = ti.static(range(shader.num_channels))
            grad = ti.Vector([grad_jumps[piece, part, end, c] for c in channels])
            front = color_at_vjp(shader, of_faces, surface, view, i, on_front, grad)
            add_to_surface(shader, of_faces, surface, view, i, front, grad_surface)
            by_inverse_w += front.inverse_w
            by_place += front.weights.dot(line.of_b - line.of_a)
            if behind != NO_FACE:
                at = point_at(line, place)
                by_point += scatter_behind(
                    shader,
                    of_faces,
                    surface,
                    shorter,
                    behind,
                    at,
                    -grad,
                    grad_corners,
                    grad_surface,
                )
        by_a += by_point * (1.0 - place)
        by_b += by_point * place
        other = pieces.links[piece, part, 1 + end]
        if other >= 0:
            by_place += by_point.dot(line.b - line.a)
            pull = scatter_crossing(records, shorter, line, other, by_place, grad_corners)
            by_a -= pull * (1.0 - place)
            by_b -= pull * place
    add_to_edge(records, shorter, i, line, by_a, by_b, by_inverse_w, grad_corners)


@ti.func
def scatter_behind(
    shader: ti.template(),
    of_faces: ti.template(),
    surface: ti.template(),
    shorter: float,
    behind: int,
    at: vec2,
    grad_color: ti.template(),
    grad_corners: ti.template(),
    grad_surface: ti.template(),
) -> vec2:
    """To the face behind; returns the gradient at the point of it that is looked at."""
    view = behind // grad_corners.shape[1]
    triangle = load_triangle(of_faces.records, behind)
    weights = barycentric(at, triangle)
    grads = color_at_vjp(shader, of_faces, surface, view, behind, clip_below(weights), grad_color)
    add_to_surface(shader, of_faces, surface, view, behind, grads, grad_surface)
    slope = barycentric_vjp(triangle, clip_below_vjp(weights, grads.weights))
    for corner in ti.static(range(3)):
        add_to_corner(
            of_faces.records,
            shorter,
            behind,
            corner,
            -weights[corner] * slope,
            grads.inverse_w[corner],
            grad_corners,
        )
    return slope


@ti.func
def scatter_crossing(
    records: ti.template(),
    shorter: float,
    line: ti.template(),
    other: int,
    by_place: float,
    grad_corners: ti.template(),
) -> vec2:
    """To the edge that cuts a line; returns the gradient at the line's point, less its own move."""
    cutting = load_edge(records, other // 3, other % 3)
    crossing = cross_edges(line, cutting)
    along = cutting.b - cutting.a
    pull = vec2(along.y, -along.x) * (by_place / crossing.area)
    add_to_edge(
        records,
        shorter,
        other // 3,
        cutting,
        pull * (1.0 - crossing.place_of_other),
        pull * crossing.place_of_other,
        vec3(0.0),
        grad_corners,
    )
    return pull


@ti.func
def add_to_edge(
    records: ti.template(),
    shorter: float,
    i: int,
    line: ti.template(),
    by_a: vec2,
    by_b: vec2,
    by_inverse_w: vec3,
    grad_corners: ti.template(),
):
    """At the corners of face i, from gradients at the ends of one of its edges."""
    for corner in ti.static(range(3)):
        position = line.of_a[corner] * by_a + line.of_b[corner] * by_b
        add_to_corner(records, shorter, i, corner, position, by_inverse_w[corner], grad_corners)


@ti.func
def add_to_corner(
    records: ti.template(),
    shorter: float,
    i: int,
    corner: ti.template(),
    by_position: vec2,
    by_inverse_w: float,
    grad_corners: ti.template(),
):
    """From half pixels and 1 / w to the components that corners are given in."""
    grad = clip_corner_vjp(
        records, shorter, i, corner, grad_corners.shape[3], by_position, by_inverse_w, 0.0
    )
    view = i // grad_corners.shape[1]
    for k in ti.static(range(4)):
        if k < grad_corners.shape[3]:
            ti.atomic_add(grad_corners[view, i - view * grad_corners.shape[1], corner, k], grad[k])


@ti.func
def add_to_surface(
    shader: ti.template(),
    of_faces: ti.template(),
    surface: ti.template(),
    view: int,
    i: int,
    grads: ti.template(),  # of `color_at_vjp`
    grad_surface: ti.template(),
):
    """At the varyings, texture and uniforms that a point's colour came from."""
    face = of_faces.boxes[i, ROW]
    for corner in ti.static(range(3)):
        for k in ti.static(range(shader.num_varyings)):
            table = ti.static(grad_surface.varyings)
            grad = grads.used[corner] * grads.varyings[k]
            ti.atomic_add(table[view % table.shape[0], face, corner, k], grad)
    look_up_vjp(
        shader,
        surface,
        grad_surface.textures,
        view,
        of_faces.boxes[i, SOURCE_FACE],
        grads.used,
        grads.here,
        grads.samples,
        True,
    )
    for k in ti.static(range(shader.num_uniforms)):
        table = ti.static(grad_surface.uniforms)
        ti.atomic_add(table[view % table.shape[0], k], grads.uniforms[k])
