"""Colours and their light in, attributes of corners and textures of faces out; and back.

Light is linear on a face, between the lights of its corners: those of its vertices, or three
times that of the face.
"""

from taichi_softras.funcs.vectors import component, unit_normal, unit_normal_vjp
from taichi_softras.geometry.mesh_table import (
    FIRST_FACE,
    count_owners,
    load_number,
    views_of_face,
)
from taichi_softras.geometry.scene_arrays import (
    LIT_FACES,
    LIT_VERTICES,
    RESOLUTION,
    coloring_of,
    face_row,
    frame_of,
    load_columns,
    load_light,
    load_vector,
)
from taichi_softras.geometry.surface_normals import face_normal
from taichi_softras.runtime import ti, vec3


@ti.func
def compute_varyings(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    placed: ti.template(),
    view: int,
    place: int,
    face: int,
) -> float:
    """Fills `placed.varyings` of one face: the colours of vertices, and what else has a column.

    Returns:
        The sum of their absolute values, which is as finite as all of them.
    """
    total = 0.0
    coloring = coloring_of(tables, view)
    for corner in range(3):
        vertex = scene.faces[face, corner]
        if ti.static(scene.stages.has_vertex_colors):
            light = light_of_corner(scene, tables.surfaces, 1.0, coloring, face, vertex)
            for c in ti.static(range(scene.stages.channels)):
                placed.varyings[view, place, corner, c] = scene.albedo[vertex, 0, c] * light[c]
        if ti.static(scene.stages.normal_column >= 0):
            normal = unit_normal(load_vector(tables.surfaces, coloring, vertex))
            for k in ti.static(range(3)):
                placed.varyings[view, place, corner, scene.stages.normal_column + k] = normal[k]
        if ti.static(scene.stages.position_column >= 0):
            position = load_vector(scene.vertices, frame_of(scene, views, view), vertex)
            for k in ti.static(range(3)):
                placed.varyings[view, place, corner, scene.stages.position_column + k] = position[k]
        if ti.static(scene.stages.face_normal_column >= 0):
            normal = unit_normal(face_normal(scene, frame_of(scene, views, view), face))
            for k in ti.static(range(3)):
                placed.varyings[view, place, corner, scene.stages.face_normal_column + k] = normal[
                    k
                ]
        if ti.static(scene.stages.depth_column >= 0):
            depth = placed.corners[view, place, corner, 2]
            placed.varyings[view, place, corner, scene.stages.depth_column] = depth
        if ti.static(scene.stages.barycentric_column >= 0):
            for k in ti.static(range(3)):
                weight = ti.cast(corner == k, float)
                placed.varyings[view, place, corner, scene.stages.barycentric_column + k] = weight
        for k in ti.static(range(scene.stages.num_placed)):
            total += ti.abs(placed.varyings[view, place, corner, k])
    return total


@ti.func
def compute_varyings_jvp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    tangent_scene: ti.template(),
    tangent_tables: ti.template(),
    tangent_placed: ti.template(),
    parameter: int,
    view: int,
    place: int,
    face: int,
):
    """Fills the varyings' tangents of one face, in row `parameter`."""
    coloring = coloring_of(tables, view)
    varyings = ti.static(tangent_placed.varyings)
    for corner in range(3):
        vertex = scene.faces[face, corner]
        if ti.static(scene.stages.has_vertex_colors):
            light = light_of_corner(scene, tables.surfaces, 1.0, coloring, face, vertex)
            moved = light_of_corner(scene, tangent_tables.surfaces, 0.0, coloring, face, vertex)
            for c in ti.static(range(scene.stages.channels)):
                of_light = scene.albedo[vertex, 0, c] * moved[c]
                of_albedo = light[c] * tangent_scene.albedo[vertex, 0, c]
                varyings[parameter, view, place, corner, c] = of_albedo + of_light
        if ti.static(scene.stages.normal_column >= 0):
            moved_normal = unit_normal_vjp(
                load_vector(tables.surfaces, coloring, vertex),
                load_vector(tangent_tables.surfaces, coloring, vertex),
            )
            for k in ti.static(range(3)):
                varyings[parameter, view, place, corner, scene.stages.normal_column + k] = (
                    moved_normal[k]
                )
        if ti.static(scene.stages.position_column >= 0):
            moved = load_vector(tangent_scene.vertices, frame_of(scene, views, view), vertex)
            for k in ti.static(range(3)):
                varyings[parameter, view, place, corner, scene.stages.position_column + k] = moved[
                    k
                ]
        if ti.static(scene.stages.face_normal_column >= 0):  # shadings read its side alone
            for k in ti.static(range(3)):
                varyings[parameter, view, place, corner, scene.stages.face_normal_column + k] = 0.0
        if ti.static(scene.stages.depth_column >= 0):
            moved = tangent_placed.corners[parameter, view, place, corner, 2]
            varyings[parameter, view, place, corner, scene.stages.depth_column] = moved
        if ti.static(scene.stages.barycentric_column >= 0):
            for k in ti.static(range(3)):
                varyings[parameter, view, place, corner, scene.stages.barycentric_column + k] = 0.0


@ti.func
def compute_texture(
    scene: ti.template(),
    tables: ti.template(),
    placed: ti.template(),
    view: int,
    place: int,
    face: int,
    entry: int,
) -> float:
    """Fills one entry of `placed.textures`; returns the sum of absolute values."""
    total, coloring = 0.0, coloring_of(tables, view)
    light = light_of_entry(scene, tables.surfaces, 1.0, coloring, face, entry)
    for c in ti.static(range(scene.stages.channels)):
        value = scene.albedo[face, entry, c] * light[c]
        placed.textures[view, place, entry, c] = value
        total += ti.abs(value)
    return total


@ti.func
def compute_texture_vjp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    is_first: int,
    grad_placed: ti.template(),
    grad_albedo: ti.template(),
    face: int,
    entry: int,
):
    """From one entry of a texture to the scene's; the first pass writes, the others add."""
    grad = zero_color(scene)
    start, end = views_of_face(scene, views, grad_placed.textures.shape[0], face)
    for view in range(start, end):
        coloring = coloring_of(tables, view)
        place = face - load_number(scene, views, view, FIRST_FACE)
        light = light_of_entry(scene, tables.surfaces, 1.0, coloring, face, entry)
        for c in ti.static(range(scene.stages.channels)):
            grad[c] += light[c] * grad_placed.textures[view, place, entry, c]
    for c in ti.static(range(scene.stages.channels)):
        grad_albedo[face, entry, c] = grad[c] + ti.select(
            is_first, 0.0, grad_albedo[face, entry, c]
        )


@ti.func
def compute_texture_jvp(
    scene: ti.template(),
    tables: ti.template(),
    tangent_albedo: ti.template(),
    tangent_tables: ti.template(),
    tangent_placed: ti.template(),
    parameter: int,
    view: int,
    place: int,
    face: int,
    entry: int,
):
    """Fills the tangent of one entry of a texture, in row `parameter`."""
    coloring = coloring_of(tables, view)
    light = light_of_entry(scene, tables.surfaces, 1.0, coloring, face, entry)
    moved = light_of_entry(scene, tangent_tables.surfaces, 0.0, coloring, face, entry)
    for c in ti.static(range(scene.stages.channels)):
        of_light = scene.albedo[face, entry, c] * moved[c]
        of_albedo = light[c] * tangent_albedo[face, entry, c]
        tangent_placed.textures[parameter, view, place, entry, c] = of_albedo + of_light


@ti.func
def pull_back_face_light(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    view: int,
    face: int,
) -> vec3:
    """The gradient at the light of a face, which a view owns, of all that it tints."""
    grad = vec3(0.0)
    if ti.static(scene.stages.has_vertex_colors):
        for corner in range(3):
            grad += pull_back_corner_light(scene, views, tables, grad_placed, view, face, corner)
    else:
        for entry in range(scene.albedo.shape[1]):
            grad += pull_back_entry_light(scene, views, grad_placed, view, face, entry)
    return grad


@ti.func
def pull_back_vertex_light(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    view: int,
    vertex: int,
) -> vec3:
    """The gradient at the light of a vertex, which a view owns, of all that it tints around."""
    grad = vec3(0.0)
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        face = scene.corners_of_vertex[slot] // 3
        corner = scene.corners_of_vertex[slot] - 3 * face
        if ti.static(scene.stages.has_vertex_colors):
            grad += pull_back_corner_light(scene, views, tables, grad_placed, view, face, corner)
        else:
            for entry in range(scene.albedo.shape[1]):
                share = component(corner_shares(scene, entry), corner)
                grad_entry = pull_back_entry_light(scene, views, grad_placed, view, face, entry)
                grad += share * grad_entry
    return grad


@ti.func
def pull_back_corner_light(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    view: int,
    face: int,
    corner: int,
) -> vec3:
    """The gradient at the light that tints a corner's colour, of all views that have it."""
    num_owners = count_owners(scene, tables, grad_placed.corners.shape[0])
    place = face - load_number(scene, views, view, FIRST_FACE)
    vertex, grad = scene.faces[face, corner], vec3(0.0)
    for k in range(grad_placed.varyings.shape[0] // num_owners):
        grad += load_columns(grad_placed.varyings, view + k * num_owners, place, corner, 0)
    return grad * load_vector(scene.albedo, vertex, 0)


@ti.func
def pull_back_entry_light(
    scene: ti.template(),
    views: ti.template(),
    grad_placed: ti.template(),
    view: int,
    face: int,
    entry: int,
) -> vec3:
    """The gradient at the light that tints an entry of a texture."""
    place = face - load_number(scene, views, view, FIRST_FACE)
    grad = load_columns(grad_placed.textures, view, place, entry, 0)
    return grad * load_vector(scene.albedo, face, entry)


@ti.func
def pull_back_normal_columns(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    owner: int,
    vertex: int,
) -> vec3:
    """The gradient at a vertex normal, which a view owns, of the corners that show it."""
    num_owners = count_owners(scene, tables, grad_placed.corners.shape[0])
    column, grad = ti.static(scene.stages.normal_column), vec3(0.0)
    for k in range(grad_placed.varyings.shape[0] // num_owners):
        view = owner + k * num_owners
        grad += sum_columns(scene, views, grad_placed.varyings, view, vertex, column)
    normal = load_vector(tables.surfaces, coloring_of(tables, owner), vertex)
    return unit_normal_vjp(normal, grad)


@ti.func
def sum_columns(
    scene: ti.template(),
    views: ti.template(),
    grad_varyings: ti.template(),
    view: int,
    vertex: int,
    column: int,
) -> vec3:
    """Three columns, summed over the corners at a vertex."""
    total, first = vec3(0.0), load_number(scene, views, view, FIRST_FACE)
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        face = scene.corners_of_vertex[slot] // 3
        corner = scene.corners_of_vertex[slot] - 3 * face
        total += load_columns(grad_varyings, view, face - first, corner, column)
    return total


@ti.func
def light_of_corner(
    scene: ti.template(),
    surfaces: ti.template(),
    unlit: float,
    coloring: int,
    face: int,
    vertex: int,
):
    """What tints the (C) colour of a corner; `unlit` where nothing is lit."""
    light = ti.Vector([unlit for _ in ti.static(range(scene.stages.channels))])
    if ti.static(scene.stages.lit == LIT_FACES):
        light = load_light(surfaces, coloring, face_row(scene, face))
    elif ti.static(scene.stages.lit == LIT_VERTICES):
        light = load_light(surfaces, coloring, vertex)
    return light


@ti.func
def light_of_entry(
    scene: ti.template(),
    surfaces: ti.template(),
    unlit: float,
    coloring: int,
    face: int,
    entry: int,
):
    """What tints the (C) colour of a texture's entry; `unlit` where nothing is lit."""
    light = ti.Vector([unlit for _ in ti.static(range(scene.stages.channels))])
    if ti.static(scene.stages.lit == LIT_FACES):
        light = load_light(surfaces, coloring, face_row(scene, face))
    elif ti.static(scene.stages.lit == LIT_VERTICES):
        light = vec3(0.0)
        shares = corner_shares(scene, entry)
        for corner in ti.static(range(3)):
            light += shares[corner] * load_light(surfaces, coloring, scene.faces[face, corner])
    return light


@ti.func
def corner_shares(scene: ti.template(), entry: int) -> vec3:
    """How the lights of a face's corners mix at an entry of its texture."""
    return scene.stages.lookup.place(entry, scene.layout[RESOLUTION])


@ti.func
def zero_color(scene: ti.template()):
    """(C), or (1) where there are no colours: Taichi has no empty vectors."""
    return ti.Vector([0.0 for _ in ti.static(range(max(scene.stages.channels, 1)))])
