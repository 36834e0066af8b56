"""Vertices and faces in, normals of faces and vertices out; adjoint and tangent.

Counter-clockwise faces point outwards. A face's normal is as long as twice its area; that of a
vertex is the sum of those around it. `funcs.vectors.unit_normal` gives them length 1. Normals of
faces without area are 0, as are those of vertices whose faces' normals cancel, and of vertices
without faces; so are their gradients.
"""

from taichi_softras.funcs.numeric import LINE_HEIGHT
from taichi_softras.funcs.vectors import area_normal, spans_area
from taichi_softras.geometry.scene_arrays import face_row, load_vector
from taichi_softras.runtime import ti, vec3


@ti.func
def face_normal(scene: ti.template(), frame: int, face: int) -> vec3:
    """The normal of one face."""
    return area_normal(*load_corners(scene, scene.vertices, frame, face))


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
    vertex = load_vector(scene.vertices, frame, scene.faces[face, corner])
    next_vertex = load_vector(scene.vertices, frame, scene.faces[face, (corner + 1) % 3])
    last_vertex = load_vector(scene.vertices, frame, scene.faces[face, (corner + 2) % 3])
    grad_normal = load_vector(grad_surfaces, coloring, face_row(scene, face))
    grad = (next_vertex - last_vertex).cross(grad_normal)
    return ti.select(spans_area(vertex, next_vertex, last_vertex), grad, vec3(0.0))


@ti.func
def face_normal_jvp(
    scene: ti.template(), tangent_vertices: ti.template(), frame: int, face: int
) -> vec3:
    """The tangent of the normal of one face."""
    a, b, c = load_corners(scene, scene.vertices, frame, face)
    a_moved, b_moved, c_moved = load_corners(scene, tangent_vertices, frame, face)
    moved = (b_moved - a_moved).cross(c - a) + (b - a).cross(c_moved - a_moved)
    return ti.select(spans_area(a, b, c), moved, vec3(0.0))


@ti.func
def vertex_normal(scene: ti.template(), frame: int, vertex: int) -> vec3:
    """The sum of the normals of the faces that meet at a vertex."""
    total, size = vec3(0.0), 0.0
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        normal = face_normal(scene, frame, scene.corners_of_vertex[slot] // 3)
        total += normal
        size += normal.norm()
    cancels = total.norm() <= size * LINE_HEIGHT
    return ti.select(cancels, vec3(0.0), total)


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
def load_corners(scene: ti.template(), vertices: ti.template(), frame: int, face: int):
    """The three corners of a face."""
    return (
        load_vector(vertices, frame, scene.faces[face, 0]),
        load_vector(vertices, frame, scene.faces[face, 1]),
        load_vector(vertices, frame, scene.faces[face, 2]),
    )
