"""Vertices and faces in, normals of faces and vertices out; adjoint and tangent.

Counter-clockwise faces point outwards. A face's normal is as long as twice its area; that of a
vertex is the sum of those around it. `funcs.vectors.unit_normal` gives them length 1.
"""

import taichi as ti
from taichi.math import vec3

from taichi_softras.geometry.scene_arrays import face_row, load_vector


@ti.func
def face_normal(scene: ti.template(), frame: int, face: int) -> vec3:
    """The normal of one face."""
    first_edge, last_edge = load_edges(scene, scene.vertices, frame, face)
    return first_edge.cross(last_edge)


@ti.func
def face_normal_vjp(
    scene: ti.template(),
    grad_surfaces: ti.template(),
    coloring: int,
    frame: int,
    face: int,
    corner: int,
) -> vec3:
    """The gradient at one corner, of the normal of its face."""
    next_vertex = load_vector(scene.vertices, frame, scene.faces[face, (corner + 1) % 3])
    last_vertex = load_vector(scene.vertices, frame, scene.faces[face, (corner + 2) % 3])
    grad_normal = load_vector(grad_surfaces, coloring, face_row(scene, face))
    return (next_vertex - last_vertex).cross(grad_normal)


@ti.func
def face_normal_jvp(
    scene: ti.template(), tangent_vertices: ti.template(), frame: int, face: int
) -> vec3:
    """The tangent of the normal of one face."""
    first_edge, last_edge = load_edges(scene, scene.vertices, frame, face)
    first_moved, last_moved = load_edges(scene, tangent_vertices, frame, face)
    return first_moved.cross(last_edge) + first_edge.cross(last_moved)


@ti.func
def vertex_normal(scene: ti.template(), frame: int, vertex: int) -> vec3:
    """The sum of the normals of the faces that meet at a vertex."""
    total = vec3(0.0)
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        total += face_normal(scene, frame, scene.corners_of_vertex[slot] // 3)
    return total


@ti.func
def vertex_normal_vjp(
    scene: ti.template(), grad_surfaces: ti.template(), coloring: int, face: int
) -> vec3:
    """The gradient at the normal of one face, of the three vertex normals that it is a part of."""
    grad = vec3(0.0)
    for corner in range(3):
        grad += load_vector(grad_surfaces, coloring, scene.faces[face, corner])
    return grad


@ti.func
def vertex_normal_jvp(
    scene: ti.template(), tangent_vertices: ti.template(), frame: int, vertex: int
) -> vec3:
    """The tangent of the normal of one vertex."""
    total = vec3(0.0)
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        face = scene.corners_of_vertex[slot] // 3
        total += face_normal_jvp(scene, tangent_vertices, frame, face)
    return total


@ti.func
def load_edges(scene: ti.template(), vertices: ti.template(), frame: int, face: int):
    """From corner 0 of a face to corners 1 and 2."""
    start = load_vector(vertices, frame, scene.faces[face, 0])
    first_edge = load_vector(vertices, frame, scene.faces[face, 1]) - start
    return first_edge, load_vector(vertices, frame, scene.faces[face, 2]) - start
