"""Normals and lights in, the light that faces or vertices send back out; adjoint and tangent.

The point of a face that is lit is its centre.
"""

from taichi_softras.funcs.lights import KINDS, SIZES, matt, matt_vjp, numbers_of
from taichi_softras.funcs.vectors import unit_normal, unit_normal_vjp
from taichi_softras.geometry.mesh_table import (
    count_owners,
    faces_of_share,
    vertices_of_share,
)
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    LIT_VERTICES,
    NUM_LIGHTS,
    coloring_of,
    frame_of,
    load_light,
    load_vector,
    share_of,
    store_light,
)
from taichi_softras.geometry.surface_normals import load_corners
from taichi_softras.runtime import ti, vec3


@ti.func
def compute_light(
    scene: ti.template(), views: ti.template(), tables: ti.template(), coloring: int, row: int
):
    """Fills the light of one row of `tables.surfaces`, from its normal."""
    normal = unit_normal(load_vector(tables.surfaces, coloring, row))
    point = lit_point(scene, scene.vertices, frame_of(scene, views, coloring), row)
    light = vec3(0.0)
    start = CAMERA_SIZE * tables.matrices.shape[0]
    for kind in ti.static(KINDS):
        if ti.static(scene.stages.lights.counts[kind] > 0):
            for index in range(scene.layout[NUM_LIGHTS + kind]):
                at = start + SIZES[kind] * index
                numbers = numbers_of(kind, scene.uniforms, at)
                light += matt(kind, numbers, normal, point)
            start += SIZES[kind] * scene.layout[NUM_LIGHTS + kind]
    store_light(tables.surfaces, coloring, row, light)


@ti.func
def compute_light_vjp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    coloring: int,
    row: int,
    grad_light: vec3,
):
    """Gradients at the `normal` of one row and at its `point`, a struct."""
    normal = load_vector(tables.surfaces, coloring, row)
    point = lit_point(scene, scene.vertices, frame_of(scene, views, coloring), row)
    grad_normal, grad_point = vec3(0.0), vec3(0.0)
    start = CAMERA_SIZE * tables.matrices.shape[0]
    for kind in ti.static(KINDS):
        if ti.static(scene.stages.lights.counts[kind] > 0):
            for index in range(scene.layout[NUM_LIGHTS + kind]):
                at = start + SIZES[kind] * index
                numbers = numbers_of(kind, scene.uniforms, at)
                grads = matt_vjp(kind, numbers, unit_normal(normal), point, grad_light)
                grad_normal += grads.normal
                grad_point += grads.point
            start += SIZES[kind] * scene.layout[NUM_LIGHTS + kind]
    return ti.Struct(normal=unit_normal_vjp(normal, grad_normal), point=grad_point)


@ti.func
def compute_light_jvp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    tangent_scene: ti.template(),
    tangent_tables: ti.template(),
    coloring: int,
    row: int,
):
    """Fills the tangent of the light of one row, from those of its normal, its point and lights."""
    normal, frame = load_vector(tables.surfaces, coloring, row), frame_of(scene, views, coloring)
    moved_normal = unit_normal_vjp(normal, load_vector(tangent_tables.surfaces, coloring, row))
    point = lit_point(scene, scene.vertices, frame, row)
    moved_point = lit_point(scene, tangent_scene.vertices, frame, row)
    light = vec3(0.0)
    start = CAMERA_SIZE * tables.matrices.shape[0]
    for kind in ti.static(KINDS):
        if ti.static(scene.stages.lights.counts[kind] > 0):
            for index in range(scene.layout[NUM_LIGHTS + kind]):
                at = start + SIZES[kind] * index
                numbers = numbers_of(kind, scene.uniforms, at)
                moved = numbers_of(kind, tangent_scene.uniforms, at)
                for channel in ti.static(range(3)):  # a row of the Jacobian
                    one = vec3([float(channel == k) for k in ti.static(range(3))])
                    grads = matt_vjp(kind, numbers, unit_normal(normal), point, one)
                    light[channel] += grads.normal.dot(moved_normal) + grads.point.dot(moved_point)
                    light[channel] += grads.light.dot(moved)
            start += SIZES[kind] * scene.layout[NUM_LIGHTS + kind]
    store_light(tangent_tables.surfaces, coloring, row, light)


@ti.func
def lit_point(scene: ti.template(), vertices: ti.template(), frame: int, row: int) -> vec3:
    """Where the surface of a row is; not read, 0, without lights that have places."""
    point = vec3(0.0)
    if ti.static(scene.stages.lights_have_places):
        if ti.static(scene.stages.lit == LIT_VERTICES):
            point = load_vector(vertices, frame, row)
        else:
            a, b, c = load_corners(scene, vertices, frame, row - scene.vertices.shape[1])
            point = (a + b + c) / 3.0
    return point


@ti.func
def sum_lights(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    share: int,
    column: int,  # of `partials`, where the numbers of the lights begin
):
    """One share of the gradients of all lights: a part of the rows that are lit."""
    start = 0
    for kind in ti.static(KINDS):
        if ti.static(scene.stages.lights.counts[kind] > 0):
            for index in range(scene.layout[NUM_LIGHTS + kind]):
                at = start + SIZES[kind] * index
                sum_light(kind, scene, views, tables, grad_placed, grad_tables, share, at, column)
            start += SIZES[kind] * scene.layout[NUM_LIGHTS + kind]


@ti.func
def sum_light_of_group(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    share: int,
    group: int,  # which of all lights
    column: int,
):
    """One share of the gradient of one light."""
    start, index = 0, group
    for kind in ti.static(KINDS):
        if ti.static(scene.stages.lights.counts[kind] > 0):
            if (index >= 0) & (index < scene.layout[NUM_LIGHTS + kind]):
                at = start + SIZES[kind] * index
                sum_light(kind, scene, views, tables, grad_placed, grad_tables, share, at, column)
            index -= scene.layout[NUM_LIGHTS + kind]
            start += SIZES[kind] * scene.layout[NUM_LIGHTS + kind]


@ti.func
def sum_light(
    kind: ti.template(),
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    share: int,
    at: int,  # where its numbers are among those of all lights
    column: int,
):
    """One share of the gradient of a light's numbers."""
    first = CAMERA_SIZE * tables.matrices.shape[0] + at
    numbers = numbers_of(kind, scene.uniforms, first)
    sums = numbers * 0.0
    for view in range(count_owners(scene, tables, grad_placed.corners.shape[0])):
        coloring = coloring_of(tables, view)
        start, end = share_of_lit_rows(scene, views, grad_tables, view, share)
        for row in range(start, end):
            normal = unit_normal(load_vector(tables.surfaces, coloring, row))
            point = lit_point(scene, scene.vertices, frame_of(scene, views, coloring), row)
            grad_light = load_light(grad_tables.surfaces, coloring, row)
            sums += matt_vjp(kind, numbers, normal, point, grad_light).light
    for k in ti.static(range(SIZES[kind])):
        grad_tables.partials[share, column + at + k] = sums[k]


@ti.func
def share_of_lit_rows(
    scene: ti.template(), views: ti.template(), grad_tables: ti.template(), view: int, share: int
):
    """First and end of a share of the rows of `surfaces` that are lit, of those of a view."""
    num_shares, num_vertices = grad_tables.partials.shape[0], scene.vertices.shape[1]
    first, last = 0, 0
    if ti.static(scene.stages.lit == LIT_VERTICES):
        start, end = share_of(num_vertices, num_shares, share)
        first, last = vertices_of_share(scene, views, view, start, end)
    else:
        start, end = share_of(scene.faces.shape[0], num_shares, share)
        own_start, own_end = faces_of_share(scene, views, view, start, end)
        first, last = num_vertices + own_start, num_vertices + own_end
    return first, last
