"""Normals and lights of vertices and faces; adjoints and tangents.

Which of them there are, `Stages` says.
"""

from taichi_softras.geometry.scene_arrays import (
    LIT_FACES,
    LIT_VERTICES,
    coloring_of,
    face_row,
    frame_of,
    store_light,
    store_vector,
)
from taichi_softras.geometry.surface_normals import (
    face_normal,
    face_normal_jvp,
    vertex_normal,
    vertex_normal_jvp,
    vertex_normal_vjp,
)
from taichi_softras.runtime import ti, vec3
from taichi_softras.shading.illumination import (
    compute_light,
    compute_light_jvp,
    compute_light_vjp,
)
from taichi_softras.shading.tints import (
    pull_back_face_light,
    pull_back_normal_columns,
    pull_back_vertex_light,
)


@ti.func
def compute_vertex_surface(
    scene: ti.template(), views: ti.template(), tables: ti.template(), coloring: int, vertex: int
):
    """Fills the row of one vertex in `tables.surfaces`."""
    normal = vertex_normal(scene, frame_of(scene, views, coloring), vertex)
    store_vector(tables.surfaces, coloring, vertex, normal)
    if ti.static(scene.stages.lit == LIT_VERTICES):
        compute_light(scene, views, tables, coloring, vertex)


@ti.func
def compute_vertex_surface_vjp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    view: int,
    vertex: int,
):
    """From what shows the normal and the light of one vertex to both; `view` owns them."""
    coloring, grad = coloring_of(tables, view), vec3(0.0)
    if ti.static(scene.stages.normal_column >= 0):
        grad += pull_back_normal_columns(scene, views, tables, grad_placed, view, vertex)
    if ti.static(scene.stages.lit == LIT_VERTICES):
        grad_light = pull_back_vertex_light(scene, views, tables, grad_placed, view, vertex)
        grad += compute_light_vjp(scene, views, tables, coloring, vertex, grad_light).normal
        store_light(grad_tables.surfaces, coloring, vertex, grad_light)
    store_vector(grad_tables.surfaces, coloring, vertex, grad)


@ti.func
def compute_vertex_surface_jvp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    tangent_scene: ti.template(),
    tangent_tables: ti.template(),
    coloring: int,
    vertex: int,
):
    """Fills the tangent of one vertex' row."""
    frame = frame_of(scene, views, coloring)
    moved = vertex_normal_jvp(scene, tangent_scene.vertices, frame, vertex)
    store_vector(tangent_tables.surfaces, coloring, vertex, moved)
    if ti.static(scene.stages.lit == LIT_VERTICES):
        compute_light_jvp(scene, views, tables, tangent_scene, tangent_tables, coloring, vertex)


@ti.func
def compute_face_surface(
    scene: ti.template(), views: ti.template(), tables: ti.template(), view: int, face: int
):
    """Fills the row of one face, in the plane of a view of the pass.

    Views that share a plane write the same.
    """
    coloring, row = coloring_of(tables, view), face_row(scene, face)
    normal = face_normal(scene, frame_of(scene, views, view), face)
    store_vector(tables.surfaces, coloring, row, normal)
    compute_light(scene, views, tables, coloring, row)


@ti.func
def compute_face_surface_vjp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    view: int,
    face: int,
):
    """From what shows the light of one face, and from vertex normals, to its normal and light.

    `view` owns these.
    """
    coloring, row = coloring_of(tables, view), face_row(scene, face)
    grad = vec3(0.0)
    if ti.static(scene.stages.has_vertex_normals):
        grad += vertex_normal_vjp(scene, grad_tables.surfaces, coloring, face)
    if ti.static(scene.stages.lit == LIT_FACES):
        grad_light = pull_back_face_light(scene, views, tables, grad_placed, view, face)
        grad += compute_light_vjp(scene, views, tables, coloring, row, grad_light).normal
        store_light(grad_tables.surfaces, coloring, row, grad_light)
    store_vector(grad_tables.surfaces, coloring, row, grad)


@ti.func
def compute_face_surface_jvp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    tangent_scene: ti.template(),
    tangent_tables: ti.template(),
    view: int,
    face: int,
):
    """Fills the tangent of one face's row."""
    coloring, row = coloring_of(tables, view), face_row(scene, face)
    moved = face_normal_jvp(scene, tangent_scene.vertices, frame_of(scene, views, view), face)
    store_vector(tangent_tables.surfaces, coloring, row, moved)
    compute_light_jvp(scene, views, tables, tangent_scene, tangent_tables, coloring, row)
