"""Colours and their light in, attributes of corners and textures of faces out; and back.

Light is linear on a face, between the lights of its corners: those of its vertices, or three
times that of the face.
"""

import taichi as ti
from taichi.math import vec3

from taichi_softras.funcs.vectors import unit_normal, unit_normal_vjp
from taichi_softras.geometry.scene_arrays import (
    COLORS,
    DEPTH_COLUMN,
    LIT,
    LIT_FACES,
    NORMAL_COLUMN,
    NOTHING,
    NUM_VARYINGS,
    POSITION_COLUMN,
    RESOLUTION,
    TEXELS,
    VERTEX_COLORS,
    add_vector,
    corner_row,
    frame_of,
    has_vertex_normals,
    load_columns,
    load_vector,
    store_columns,
    store_vector,
)


@ti.func
def compute_varyings(
    scene: ti.template(), views: ti.template(), tables: ti.template(), placed: ti.template()
):
    """Fills `placed.varyings`: the colours of vertices, and what else has a column."""
    num_faces = scene.faces.shape[0]
    for i in range(placed.varyings.shape[0] * num_faces):
        if scene.layout[NUM_VARYINGS] > 0:
            view = i // num_faces
            face = i - view * num_faces
            for corner in range(3):
                vertex = scene.faces[face, corner]
                if scene.layout[COLORS] == VERTEX_COLORS:
                    for channel in range(scene.albedo.shape[2]):
                        light = light_of_corner(
                            scene, tables.lights, 1.0, view, face, corner, channel
                        )
                        albedo = scene.albedo[vertex, 0, channel]
                        placed.varyings[view, face, corner, channel] = albedo * light
                if scene.layout[NORMAL_COLUMN] >= 0:
                    coloring = view % tables.normals.shape[0]
                    normal = unit_normal(load_vector(tables.normals, coloring, vertex))
                    store_columns(
                        placed.varyings, view, face, corner, scene.layout[NORMAL_COLUMN], normal
                    )
                if scene.layout[POSITION_COLUMN] >= 0:
                    position = load_vector(scene.vertices, frame_of(scene, views, view), vertex)
                    store_columns(
                        placed.varyings, view, face, corner, scene.layout[POSITION_COLUMN], position
                    )
                if scene.layout[DEPTH_COLUMN] >= 0:
                    depth = placed.corners[view, face, corner, 2]
                    placed.varyings[view, face, corner, scene.layout[DEPTH_COLUMN]] = depth


@ti.func
def compute_textures(scene: ti.template(), tables: ti.template(), placed: ti.template()):
    """Fills `placed.textures`."""
    num_faces, num_entries = placed.textures.shape[1], placed.textures.shape[2]
    for i in range(placed.textures.shape[0] * num_faces * num_entries):
        if scene.layout[COLORS] > VERTEX_COLORS:
            entry = i % num_entries
            face = i // num_entries % num_faces
            coloring = i // num_entries // num_faces
            shares = corner_shares(scene, entry)
            for channel in range(placed.textures.shape[3]):
                light = light_of_entry(scene, tables.lights, 1.0, coloring, face, shares, channel)
                albedo = scene.albedo[face, entry, channel]
                placed.textures[coloring, face, entry, channel] = albedo * light


@ti.func
def compute_varyings_jvp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    tangent_scene: ti.template(),
    tangent_tables: ti.template(),
    tangent_placed: ti.template(),
    slot: ti.template(),
):
    """Fills row `slot` of the varyings' tangents."""
    num_faces = scene.faces.shape[0]
    for i in range(tangent_placed.varyings.shape[1] * num_faces):
        if scene.layout[NUM_VARYINGS] > 0:
            view = i // num_faces
            face = i - view * num_faces
            for corner in range(3):
                vertex = scene.faces[face, corner]
                if scene.layout[COLORS] == VERTEX_COLORS:
                    for channel in range(scene.albedo.shape[2]):
                        moved = light_of_corner(
                            scene, tables.lights, 1.0, view, face, corner, channel
                        )
                        moved *= tangent_scene.albedo[vertex, 0, channel]
                        moved_light = light_of_corner(
                            scene, tangent_tables.lights, 0.0, view, face, corner, channel
                        )
                        moved += scene.albedo[vertex, 0, channel] * moved_light
                        tangent_placed.varyings[slot, view, face, corner, channel] = moved
                if scene.layout[NORMAL_COLUMN] >= 0:
                    coloring = view % tables.normals.shape[0]
                    moved_normal = unit_normal_vjp(
                        load_vector(tables.normals, coloring, vertex),
                        load_vector(tangent_tables.normals, coloring, vertex),
                    )
                    for k in ti.static(range(3)):
                        column = scene.layout[NORMAL_COLUMN] + k
                        tangent_placed.varyings[slot, view, face, corner, column] = moved_normal[k]
                if scene.layout[POSITION_COLUMN] >= 0:
                    frame = frame_of(scene, views, view)
                    for k in range(3):
                        column = scene.layout[POSITION_COLUMN] + k
                        moved = tangent_scene.vertices[frame, vertex, k]
                        tangent_placed.varyings[slot, view, face, corner, column] = moved
                if scene.layout[DEPTH_COLUMN] >= 0:
                    column = scene.layout[DEPTH_COLUMN]
                    moved = tangent_placed.corners[slot, view, face, corner, 2]
                    tangent_placed.varyings[slot, view, face, corner, column] = moved


@ti.func
def compute_textures_jvp(
    scene: ti.template(),
    tables: ti.template(),
    tangent_albedo: ti.template(),
    tangent_tables: ti.template(),
    tangent_placed: ti.template(),
    slot: ti.template(),
):
    """Fills row `slot` of the textures' tangents."""
    num_faces, num_entries = tangent_placed.textures.shape[2], tangent_placed.textures.shape[3]
    for i in range(tangent_placed.textures.shape[1] * num_faces * num_entries):
        if scene.layout[COLORS] > VERTEX_COLORS:
            entry = i % num_entries
            face = i // num_entries % num_faces
            coloring = i // num_entries // num_faces
            shares = corner_shares(scene, entry)
            for channel in range(tangent_placed.textures.shape[4]):
                moved = light_of_entry(scene, tables.lights, 1.0, coloring, face, shares, channel)
                moved *= tangent_albedo[face, entry, channel]
                moved_light = light_of_entry(
                    scene, tangent_tables.lights, 0.0, coloring, face, shares, channel
                )
                moved += scene.albedo[face, entry, channel] * moved_light
                tangent_placed.textures[slot, coloring, face, entry, channel] = moved


@ti.func
def pull_back_albedo(
    scene: ti.template(),
    tables: ti.template(),
    is_first: ti.template(),
    grad_placed: ti.template(),
    grad_albedo: ti.template(),
):
    """From corners or textures to the scene's colours; the first pass writes, the others add."""
    num_entries = scene.albedo.shape[1]
    for i in range(scene.albedo.shape[0] * num_entries):
        if scene.layout[COLORS] != NOTHING:
            owner = i // num_entries  # a vertex or a face
            entry = i - owner * num_entries
            for channel in range(scene.albedo.shape[2]):
                total = ti.select(is_first, 0.0, grad_albedo[owner, entry, channel])
                if scene.layout[COLORS] == VERTEX_COLORS:
                    for slot in range(scene.corner_starts[owner], scene.corner_starts[owner + 1]):
                        face = scene.corners_of_vertex[slot] // 3
                        corner = scene.corners_of_vertex[slot] - 3 * face
                        for view in range(grad_placed.varyings.shape[0]):
                            light = light_of_corner(
                                scene, tables.lights, 1.0, view, face, corner, channel
                            )
                            total += light * grad_placed.varyings[view, face, corner, channel]
                else:
                    shares = corner_shares(scene, entry)
                    for coloring in range(grad_placed.textures.shape[0]):
                        light = light_of_entry(
                            scene, tables.lights, 1.0, coloring, owner, shares, channel
                        )
                        total += light * grad_placed.textures[coloring, owner, entry, channel]
                grad_albedo[owner, entry, channel] = total


@ti.func
def pull_back_corner_lights(
    scene: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
):
    """From corners or textures to the light of each corner."""
    num_faces, num_colorings = scene.faces.shape[0], tables.lights.shape[0]
    for i in range(num_colorings * num_faces):
        if scene.layout[LIT] != NOTHING:
            coloring = i // num_faces
            face = i - coloring * num_faces
            for channel in range(3):
                grad = vec3(0.0)  # of the three corners
                if scene.layout[COLORS] == VERTEX_COLORS:
                    for k in range(grad_placed.varyings.shape[0] // num_colorings):
                        for corner in ti.static(range(3)):
                            view = coloring + k * num_colorings
                            grad[corner] += grad_placed.varyings[view, face, corner, channel]
                    for corner in ti.static(range(3)):
                        grad[corner] *= scene.albedo[scene.faces[face, corner], 0, channel]
                else:
                    for entry in range(scene.albedo.shape[1]):
                        grad_color = grad_placed.textures[coloring, face, entry, channel]
                        grad_light = grad_color * scene.albedo[face, entry, channel]
                        grad += grad_light * corner_shares(scene, entry)
                for corner in ti.static(range(3)):
                    grad_tables.corner_lights[coloring, face, corner, channel] = grad[corner]


@ti.func
def pull_back_attributes(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_varyings: ti.template(),
    grad_tables: ti.template(),
    grad_vertices: ti.template(),
):
    """From the columns of normals and positions: writes the first, adds to the second.

    The column of depths is pulled back with the corners.
    """
    num_vertices, num_views = scene.vertices.shape[1], grad_varyings.shape[0]
    num_colorings = tables.normals.shape[0]
    for i in range(num_colorings * num_vertices):
        if has_vertex_normals(scene):
            coloring = i // num_vertices
            vertex = i - coloring * num_vertices
            grad = vec3(0.0)
            if scene.layout[NORMAL_COLUMN] >= 0:
                column = scene.layout[NORMAL_COLUMN]
                grad = sum_columns(scene, grad_varyings, coloring, num_colorings, vertex, column)
            normal = load_vector(tables.normals, coloring, vertex)
            store_vector(grad_tables.normals, coloring, vertex, unit_normal_vjp(normal, grad))
    num_frames = ti.min(scene.vertices.shape[0], num_views)  # of the pass
    for i in range(num_frames * num_vertices):
        if scene.layout[POSITION_COLUMN] >= 0:
            view = i // num_vertices
            vertex = i - view * num_vertices
            column = scene.layout[POSITION_COLUMN]
            step = ti.min(scene.vertices.shape[0], num_views)
            grad = sum_columns(scene, grad_varyings, view, step, vertex, column)
            add_vector(grad_vertices, frame_of(scene, views, view), vertex, grad)


@ti.func
def sum_columns(
    scene: ti.template(),
    grad_varyings: ti.template(),
    first: int,
    step: int,
    vertex: int,
    column: int,
) -> vec3:
    """Three columns, summed over the corners at a vertex and over each `step`-th view."""
    total = vec3(0.0)
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        face = scene.corners_of_vertex[slot] // 3
        corner = scene.corners_of_vertex[slot] - 3 * face
        for k in range(grad_varyings.shape[0] // step):
            total += load_columns(grad_varyings, first + k * step, face, corner, column)
    return total


@ti.func
def light_of_corner(
    scene: ti.template(),
    lights: ti.template(),
    unlit: ti.template(),
    view: int,
    face: int,
    corner: int,
    channel: int,
) -> float:
    """What tints one channel of a corner's colour; `unlit` where nothing is lit."""
    light = unlit
    if scene.layout[LIT] != NOTHING:
        coloring = view % lights.shape[0]
        light = lights[coloring, corner_row(scene, face, corner), channel]
    return light


@ti.func
def light_of_entry(
    scene: ti.template(),
    lights: ti.template(),
    unlit: ti.template(),
    coloring: int,
    face: int,
    shares: vec3,
    channel: int,
) -> float:
    """What tints one channel of a texture's entry; `unlit` where nothing is lit."""
    light = unlit
    if scene.layout[LIT] != NOTHING:
        light = 0.0
        for corner in ti.static(range(3)):
            row = corner_row(scene, face, corner)
            light += shares[corner] * lights[coloring, row, channel]
    return light


@ti.func
def corner_shares(scene: ti.template(), entry: int) -> vec3:
    """How the lights of a face's corners mix at an entry of its texture."""
    resolution = scene.layout[RESOLUTION]
    shares = vec3(1.0, 0.0, 0.0)  # a face that is lit as a whole
    if scene.layout[LIT] != LIT_FACES:
        if scene.layout[COLORS] == TEXELS:
            shares = texel_shares(entry // resolution, entry % resolution, resolution)
        else:
            plane = entry // resolution
            index = vec3(plane // resolution, plane % resolution, entry % resolution)
            shares = index / ti.max(resolution - 1, 1)
    return shares


@ti.func
def texel_shares(b: int, a: int, resolution: int) -> vec3:
    """Barycentric coordinates of the centre of texel [b, a]: `io.meshes.texel_barycentrics`."""
    is_lower = a + b < resolution
    last = resolution - 1
    corner_0 = ti.select(is_lower, a + 1 / 3, last - a + 2 / 3)
    corner_1 = ti.select(is_lower, b + 1 / 3, last - b + 2 / 3)
    return vec3(corner_0, corner_1, resolution - corner_0 - corner_1) / resolution
