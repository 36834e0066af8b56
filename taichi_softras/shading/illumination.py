"""Normals and lights in, the light that faces or vertices send back out; adjoint and tangent."""

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
    LIT_VERTICES,
    NUM_LIGHTS,
    load_light,
    load_vector,
    num_matrices,
    share_of,
    store_light,
)
from taichi_softras.runtime import ti, vec3


@ti.func
def compute_light(scene: ti.template(), tables: ti.template(), coloring: int, row: int):
    """Fills the light of one row of `tables.surfaces`, from its normal."""
    normal = unit_normal(load_vector(tables.surfaces, coloring, row))
    light = reflect(scene, CAMERA_SIZE * tables.matrices.shape[0], normal)
    store_light(tables.surfaces, coloring, row, light)


@ti.func
def compute_light_vjp(
    scene: ti.template(), tables: ti.template(), coloring: int, row: int, grad_light: vec3
) -> vec3:
    """The gradient at the normal of one row."""
    normal = load_vector(tables.surfaces, coloring, row)
    start = CAMERA_SIZE * tables.matrices.shape[0]
    return unit_normal_vjp(normal, reflect_vjp(scene, start, unit_normal(normal), grad_light))


@ti.func
def compute_light_jvp(
    scene: ti.template(),
    tables: ti.template(),
    tangent_uniforms: ti.template(),
    tangent_tables: ti.template(),
    coloring: int,
    row: int,
):
    """Fills the tangent of the light of one row, from that of its normal."""
    normal = load_vector(tables.surfaces, coloring, row)
    moved = unit_normal_vjp(normal, load_vector(tangent_tables.surfaces, coloring, row))
    start = CAMERA_SIZE * tables.matrices.shape[0]
    light = reflect_jvp(scene, tangent_uniforms, start, unit_normal(normal), moved)
    store_light(tangent_tables.surfaces, coloring, row, light)


@ti.func
def sum_lights(scene: ti.template(), tables: ti.template(), grad_tables: ti.template(), share: int):
    """One share of the gradients of all lights."""
    column = 16 * num_matrices(scene, tables, grad_tables)
    for group in range(1 + scene.layout[NUM_LIGHTS]):
        sum_light_group(scene, tables, grad_tables, share, group, column)


@ti.func
def sum_light_group(
    scene: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    share: int,
    group: int,  # 0: ambient light, or all harmonics; l + 1: light l
    column: int,  # of `partials`, where the numbers of the lights begin
):
    """One share of the gradient of some numbers of the lights: a part of the rows that are lit."""
    if ti.static(scene.stages.light == HARMONICS):
        sum_harmonics(scene, tables, grad_tables, share, column)
    elif group == 0:
        sum_ambient(scene, tables, grad_tables, share, column)
    else:
        sum_light(scene, tables, grad_tables, share, group - 1, column + 6 * group - 3)


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
    start, end = share_of_lit_rows(scene, grad_tables, share)
    for coloring in range(tables.surfaces.shape[0]):
        for row in range(start, end):
            normal = unit_normal(load_vector(tables.surfaces, coloring, row))
            grad_light = load_light(grad_tables.surfaces, coloring, row)
            sums += harmonics(normal).outer_product(grad_light)
    for k, channel in ti.static(ti.ndrange(9, 3)):
        grad_tables.partials[share, column + 3 * k + channel] = sums[k, channel]


@ti.func
def sum_ambient(
    scene: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    share: int,
    column: int,
):
    """One share of the gradient of ambient light."""
    grad_color = vec3(0.0)
    start, end = share_of_lit_rows(scene, grad_tables, share)
    for coloring in range(tables.surfaces.shape[0]):
        for row in range(start, end):
            grad_color += load_light(grad_tables.surfaces, coloring, row)
    for k in ti.static(range(3)):
        grad_tables.partials[share, column + k] = grad_color[k]


@ti.func
def sum_light(
    scene: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    share: int,
    index: int,
    column: int,
):
    """One share of the gradient of a light's direction and colour."""
    at = CAMERA_SIZE * tables.matrices.shape[0] + 3 + 6 * index
    direction, color = load_vec3(scene.uniforms, at), load_vec3(scene.uniforms, at + 3)
    grad_direction, grad_color = vec3(0.0), vec3(0.0)
    start, end = share_of_lit_rows(scene, grad_tables, share)
    for coloring in range(tables.surfaces.shape[0]):
        for row in range(start, end):
            normal = unit_normal(load_vector(tables.surfaces, coloring, row))
            grad_light = load_light(grad_tables.surfaces, coloring, row)
            grad = lambert_vjp(normal, direction, color, grad_light)
            grad_direction += grad.direction
            grad_color += grad.color
    for k in ti.static(range(3)):
        grad_tables.partials[share, column + k] = grad_direction[k]
        grad_tables.partials[share, column + 3 + k] = grad_color[k]


@ti.func
def reflect(scene: ti.template(), start: int, normal: vec3) -> vec3:
    """The light that a matt white surface sends back; the lights' numbers begin at `start`."""
    light = load_vec3(scene.uniforms, start)
    if ti.static(scene.stages.light == HARMONICS):
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
    if ti.static(scene.stages.light == HARMONICS):
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
    if ti.static(scene.stages.light == HARMONICS):
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
def share_of_lit_rows(scene: ti.template(), grad_tables: ti.template(), share: int):
    """First and end of a share of the rows of `surfaces` that are lit."""
    first, count = scene.vertices.shape[1], scene.faces.shape[0]
    if ti.static(scene.stages.lit == LIT_VERTICES):
        first, count = 0, scene.vertices.shape[1]
    start, end = share_of(count, grad_tables.partials.shape[0], share)
    return first + start, first + end
