"""Vertices and faces in, normals of faces and vertices out; adjoint and tangent.

Counter-clockwise faces point outwards. A face's normal is as long as twice its area; that of a
vertex is the sum of those around it. `funcs.vectors.unit_normal` gives them length 1.
"""

import taichi as ti
from taichi.math import vec3

from taichi_softras.geometry.scene_arrays import (
    LIT,
    LIT_FACES,
    add_vector,
    frame_of,
    has_normals,
    has_vertex_normals,
    load_vector,
    store_vector,
)


@ti.func
def compute_normals(scene: ti.template(), views: ti.template(), tables: ti.template()):
    """Fills `tables.normals`, as far as anything reads them."""
    num_vertices, num_faces = scene.vertices.shape[1], scene.faces.shape[0]
    for i in range(tables.normals.shape[0] * num_faces):
        if has_normals(scene):
            coloring = i // num_faces
            face = i - coloring * num_faces
            frame = frame_of(scene, views, coloring)
            first_edge, last_edge = load_edges(scene, scene.vertices, frame, face)
            store_vector(tables.normals, coloring, num_vertices + face, first_edge.cross(last_edge))
    for i in range(tables.normals.shape[0] * num_vertices):
        if has_vertex_normals(scene):
            coloring = i // num_vertices
            vertex = i - coloring * num_vertices
            normal = sum_faces_around(scene, tables.normals, coloring, vertex)
            store_vector(tables.normals, coloring, vertex, normal)


@ti.func
def compute_normals_vjp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    grad_vertices: ti.template(),
):
    """Adds to the vertices' gradient; that of vertex normals goes to the faces around first."""
    num_vertices, num_faces = scene.vertices.shape[1], scene.faces.shape[0]
    num_colorings = tables.normals.shape[0]
    for i in range(num_colorings * num_faces):
        if has_vertex_normals(scene):
            coloring = i // num_faces
            face = i - coloring * num_faces
            grad = vec3(0.0)
            if scene.layout[LIT] == LIT_FACES:
                grad = load_vector(grad_tables.normals, coloring, num_vertices + face)
            for corner in range(3):
                grad += load_vector(grad_tables.normals, coloring, scene.faces[face, corner])
            store_vector(grad_tables.normals, coloring, num_vertices + face, grad)
    for i in range(num_colorings * num_vertices):
        if has_normals(scene):
            coloring = i // num_vertices
            vertex = i - coloring * num_vertices
            frame = frame_of(scene, views, coloring)
            grad = vec3(0.0)
            for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
                face = scene.corners_of_vertex[slot] // 3
                corner = scene.corners_of_vertex[slot] - 3 * face
                next_vertex = load_vector(
                    scene.vertices, frame, scene.faces[face, (corner + 1) % 3]
                )
                last_vertex = load_vector(
                    scene.vertices, frame, scene.faces[face, (corner + 2) % 3]
                )
                grad_normal = load_vector(grad_tables.normals, coloring, num_vertices + face)
                grad += (next_vertex - last_vertex).cross(grad_normal)
            add_vector(grad_vertices, frame, vertex, grad)


@ti.func
def compute_normals_jvp(
    scene: ti.template(),
    views: ti.template(),
    tangent_vertices: ti.template(),
    tangent_normals: ti.template(),
):
    """Fills the tangent of the normals, as far as anything reads them."""
    num_vertices, num_faces = scene.vertices.shape[1], scene.faces.shape[0]
    for i in range(tangent_normals.shape[0] * num_faces):
        if has_normals(scene):
            coloring = i // num_faces
            face = i - coloring * num_faces
            frame = frame_of(scene, views, coloring)
            first_edge, last_edge = load_edges(scene, scene.vertices, frame, face)
            first_moved, last_moved = load_edges(scene, tangent_vertices, frame, face)
            moved = first_moved.cross(last_edge) + first_edge.cross(last_moved)
            store_vector(tangent_normals, coloring, num_vertices + face, moved)
    for i in range(tangent_normals.shape[0] * num_vertices):
        if has_vertex_normals(scene):
            coloring = i // num_vertices
            vertex = i - coloring * num_vertices
            moved = sum_faces_around(scene, tangent_normals, coloring, vertex)
            store_vector(tangent_normals, coloring, vertex, moved)


@ti.func
def load_edges(scene: ti.template(), vertices: ti.template(), frame: int, face: int):
    """From corner 0 of a face to corners 1 and 2."""
    start = load_vector(vertices, frame, scene.faces[face, 0])
    first_edge = load_vector(vertices, frame, scene.faces[face, 1]) - start
    return first_edge, load_vector(vertices, frame, scene.faces[face, 2]) - start


@ti.func
def sum_faces_around(
    scene: ti.template(), table: ti.template(), coloring: int, vertex: int
) -> vec3:
    """The sum of a table's rows of the faces that meet at a vertex."""
    total = vec3(0.0)
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        face = scene.corners_of_vertex[slot] // 3
        total += load_vector(table, coloring, scene.vertices.shape[1] + face)
    return total
