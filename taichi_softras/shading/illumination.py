"""Normals and lights in, the light that faces or vertices send back out; adjoint and tangent."""

import taichi as ti
from taichi.math import vec3

from taichi_softras.funcs.lighting import (
    harmonics,
    harmonics_jvp,
    harmonics_vjp,
    lambert,
    lambert_jvp,
    lambert_vjp,
)
from taichi_softras.funcs.vectors import load_vec3, unit_normal, unit_normal_vjp
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    HARMONICS,
    LIGHT,
    LIT,
    LIT_FACES,
    LIT_VERTICES,
    NOTHING,
    NUM_LIGHTS,
    load_columns,
    load_vector,
    loop_block,
    num_cameras_drawn,
    store_vector,
)


@ti.func
def compute_lights(scene: ti.template(), tables: ti.template()):
    """Fills `tables.lights` of the rows that are lit."""
    num_rows = tables.lights.shape[1]
    for i in range(tables.lights.shape[0] * num_rows):
        coloring = i // num_rows
        row = i - coloring * num_rows
        if is_lit(scene, row):
            normal = unit_normal(load_vector(tables.normals, coloring, row))
            light = reflect(scene, CAMERA_SIZE * tables.matrices.shape[0], normal)
            store_vector(tables.lights, coloring, row, light)


@ti.func
def compute_lights_vjp(scene: ti.template(), tables: ti.template(), grad_tables: ti.template()):
    """From the lights of corners to normals; adds to those of vertices, writes those of faces."""
    num_rows = tables.lights.shape[1]
    for i in range(tables.lights.shape[0] * num_rows):
        coloring = i // num_rows
        row = i - coloring * num_rows
        if is_lit(scene, row):
            grad_light, earlier = vec3(0.0), vec3(0.0)
            if scene.layout[LIT] == LIT_FACES:
                face = row - scene.vertices.shape[1]
                for corner in range(3):
                    grad_light += load_light(grad_tables.corner_lights, coloring, face, corner)
            else:
                earlier = load_vector(grad_tables.normals, coloring, row)
                for slot in range(scene.corner_starts[row], scene.corner_starts[row + 1]):
                    face = scene.corners_of_vertex[slot] // 3
                    corner = scene.corners_of_vertex[slot] - 3 * face
                    grad_light += load_light(grad_tables.corner_lights, coloring, face, corner)
            normal = load_vector(tables.normals, coloring, row)
            start = CAMERA_SIZE * tables.matrices.shape[0]
            grad_unit = reflect_vjp(scene, start, unit_normal(normal), grad_light)
            grad_normal = earlier + unit_normal_vjp(normal, grad_unit)
            store_vector(grad_tables.lights, coloring, row, grad_light)
            store_vector(grad_tables.normals, coloring, row, grad_normal)


@ti.func
def compute_lights_jvp(
    scene: ti.template(),
    tables: ti.template(),
    tangent_uniforms: ti.template(),
    tangent_tables: ti.template(),
):
    """Fills the tangent of the lights of the rows that are lit."""
    num_rows = tables.lights.shape[1]
    for i in range(tables.lights.shape[0] * num_rows):
        coloring = i // num_rows
        row = i - coloring * num_rows
        if is_lit(scene, row):
            normal = load_vector(tables.normals, coloring, row)
            moved = unit_normal_vjp(normal, load_vector(tangent_tables.normals, coloring, row))
            start = CAMERA_SIZE * tables.matrices.shape[0]
            light = reflect_jvp(scene, tangent_uniforms, start, unit_normal(normal), moved)
            store_vector(tangent_tables.lights, coloring, row, light)


@ti.func
def pull_back_light_numbers(
    scene: ti.template(), tables: ti.template(), grad_tables: ti.template()
):
    """A task sums the gradient of a light, of ambient light or of all harmonics over a share.

    Shares are of the rows that are lit; the sums go into `partials`, behind the matrices.
    """
    num_shares = grad_tables.partials.shape[0]
    block = ti.static(loop_block())
    for i in range((1 + scene.layout[NUM_LIGHTS]) * num_shares * block):
        if (i % block == 0) & (scene.layout[LIT] != NOTHING):
            group = i // block // num_shares
            share = i // block - group * num_shares
            column = 16 * num_cameras_drawn(tables, grad_tables)
            if scene.layout[LIGHT] == HARMONICS:
                sum_harmonics(scene, tables, grad_tables, share, column)
            else:
                sum_light(scene, tables, grad_tables, share, group, column)


@ti.func
def store_light_numbers(
    scene: ti.template(),
    tables: ti.template(),
    is_first: ti.template(),
    grad_tables: ti.template(),
    grad_uniforms: ti.template(),
):
    """From row 0 of `partials` to the gradient of the lights' numbers; the first pass writes."""
    for number in range(scene.uniforms.shape[0] - CAMERA_SIZE * tables.matrices.shape[0]):
        at = CAMERA_SIZE * tables.matrices.shape[0] + number
        grad = ti.select(is_first, 0.0, grad_uniforms[at])
        if scene.layout[LIT] != NOTHING:
            column = 16 * num_cameras_drawn(tables, grad_tables) + number
            grad += grad_tables.partials[0, column]
        grad_uniforms[at] = grad


@ti.func
def sum_harmonics(
    scene: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    share: int,
    column: int,
):
    """One share of the coefficients' gradient."""
    sums = ti.Matrix.zero(float, 9, 3)
    num_rows = num_lit_rows(scene)
    first_item, end_item = share_of_items(scene, tables, grad_tables, share)
    for item in range(first_item, end_item):
        coloring = item // num_rows
        row = first_lit_row(scene) + item - coloring * num_rows
        normal = unit_normal(load_vector(tables.normals, coloring, row))
        grad_light = load_vector(grad_tables.lights, coloring, row)
        sums += harmonics(normal).outer_product(grad_light)
    for k, channel in ti.static(ti.ndrange(9, 3)):
        grad_tables.partials[share, column + 3 * k + channel] = sums[k, channel]


@ti.func
def sum_light(
    scene: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    share: int,
    group: int,
    column: int,
):
    """One share of the gradient of ambient light, group 0, or of a light's direction and colour."""
    grad_direction, grad_color = vec3(0.0), vec3(0.0)
    start = CAMERA_SIZE * tables.matrices.shape[0] + 3 + 6 * ti.max(group - 1, 0)
    direction, color = vec3(0.0, 1.0, 0.0), vec3(0.0)
    if group > 0:
        direction, color = load_vec3(scene.uniforms, start), load_vec3(scene.uniforms, start + 3)
    num_rows = num_lit_rows(scene)
    first_item, end_item = share_of_items(scene, tables, grad_tables, share)
    for item in range(first_item, end_item):
        coloring = item // num_rows
        row = first_lit_row(scene) + item - coloring * num_rows
        normal = unit_normal(load_vector(tables.normals, coloring, row))
        grad_light = load_vector(grad_tables.lights, coloring, row)
        if group == 0:
            grad_color += grad_light
        else:
            grad = lambert_vjp(normal, direction, color, grad_light)
            grad_direction += grad.direction
            grad_color += grad.color
    for k in ti.static(range(3)):
        if group == 0:
            grad_tables.partials[share, column + k] = grad_color[k]
        else:
            grad_tables.partials[share, column + 6 * group - 3 + k] = grad_direction[k]
            grad_tables.partials[share, column + 6 * group + k] = grad_color[k]


@ti.func
def share_of_items(
    scene: ti.template(), tables: ti.template(), grad_tables: ti.template(), share: int
):
    """First and end of a share of all lit rows, those of one coloring after those of another."""
    num_items = tables.lights.shape[0] * num_lit_rows(scene)
    per_share = (num_items + grad_tables.partials.shape[0] - 1) // grad_tables.partials.shape[0]
    return share * per_share, ti.min((share + 1) * per_share, num_items)


@ti.func
def reflect(scene: ti.template(), start: int, normal: vec3) -> vec3:
    """The light that a matt white surface sends back; the lights' numbers begin at `start`."""
    light = load_vec3(scene.uniforms, start)
    if scene.layout[LIGHT] == HARMONICS:
        basis = harmonics(normal)
        light *= basis[0]
        for k in ti.static(range(1, 9)):
            light += basis[k] * load_vec3(scene.uniforms, start + 3 * k)
    else:
        for index in range(scene.layout[NUM_LIGHTS]):
            direction = load_vec3(scene.uniforms, start + 3 + 6 * index)
            color = load_vec3(scene.uniforms, start + 6 + 6 * index)
            light += lambert(normal, direction, color)
    return light


@ti.func
def reflect_vjp(scene: ti.template(), start: int, normal: vec3, grad_light: vec3) -> vec3:
    """The gradient with respect to `normal`."""
    grad_normal = vec3(0.0)
    if scene.layout[LIGHT] == HARMONICS:
        grad_basis = ti.Vector.zero(float, 9)
        for k in ti.static(range(1, 9)):
            grad_basis[k] = grad_light.dot(load_vec3(scene.uniforms, start + 3 * k))
        grad_normal = harmonics_vjp(normal, grad_basis)
    else:
        for index in range(scene.layout[NUM_LIGHTS]):
            direction = load_vec3(scene.uniforms, start + 3 + 6 * index)
            color = load_vec3(scene.uniforms, start + 6 + 6 * index)
            grad_normal += lambert_vjp(normal, direction, color, grad_light).normal
    return grad_normal


@ti.func
def reflect_jvp(
    scene: ti.template(), tangent_uniforms: ti.template(), start: int, normal: vec3, moved: vec3
) -> vec3:
    """The tangent of the light where the normal moves by `moved`, and the lights as well."""
    light = load_vec3(tangent_uniforms, start)
    if scene.layout[LIGHT] == HARMONICS:
        basis, moved_basis = harmonics(normal), harmonics_jvp(normal, moved)
        light *= basis[0]
        for k in ti.static(range(1, 9)):
            light += basis[k] * load_vec3(tangent_uniforms, start + 3 * k)
            light += moved_basis[k] * load_vec3(scene.uniforms, start + 3 * k)
    else:
        for index in range(scene.layout[NUM_LIGHTS]):
            first = start + 3 + 6 * index
            light += lambert_jvp(
                normal,
                load_vec3(scene.uniforms, first),
                load_vec3(scene.uniforms, first + 3),
                moved,
                load_vec3(tangent_uniforms, first),
                load_vec3(tangent_uniforms, first + 3),
            )
    return light


@ti.func
def load_light(corner_lights: ti.template(), coloring: int, face: int, corner: int) -> vec3:
    """The gradient at the light of a corner."""
    return load_columns(corner_lights, coloring, face, corner, 0)


@ti.func
def is_lit(scene: ti.template(), row: int) -> int:
    """Whether light falls on a row of `Tables`: on that of a vertex, or of a face behind them."""
    is_vertex = row < scene.vertices.shape[1]
    is_lit_vertex = (scene.layout[LIT] == LIT_VERTICES) & is_vertex
    return is_lit_vertex | ((scene.layout[LIT] == LIT_FACES) & (not is_vertex))


@ti.func
def num_lit_rows(scene: ti.template()) -> int:
    """Faces or vertices that are lit."""
    of_faces = ti.select(scene.layout[LIT] == LIT_FACES, scene.faces.shape[0], 0)
    return ti.select(scene.layout[LIT] == LIT_VERTICES, scene.vertices.shape[1], of_faces)


@ti.func
def first_lit_row(scene: ti.template()) -> int:
    """Of `Tables`: vertices come first."""
    return ti.select(scene.layout[LIT] == LIT_FACES, scene.vertices.shape[1], 0)
