"""Vertices and faces in, normals out; world space, counter-clockwise faces point outwards."""

import taichi as ti

from taichi_softras.geometry.transform import vertex_of_frame


@ti.func
def face_normal(vertices: ti.template(), frame, corners):
    """The normal of a face, as long as twice its area; `corners` are its three vertex indices."""
    corner_0 = vertex_of_frame(vertices, frame, corners[0])
    corner_1 = vertex_of_frame(vertices, frame, corners[1])
    corner_2 = vertex_of_frame(vertices, frame, corners[2])
    return (corner_1 - corner_0).cross(corner_2 - corner_0)


@ti.func
def unit_normal(normal):
    """The normal with length 1; of a degenerate face 0, with a gradient of 0."""
    unit = normal * 0.0
    if normal.norm_sqr() > 1e-30:
        unit = normal / normal.norm()
    return unit


@ti.kernel
def compute_vertex_normals(
    vertices: ti.template(),  # (V,) or (T, V) vec3 world
    frames: ti.template(),  # (B,) frame of each view
    first: int,  # of S
    end: int,  # of S
    faces: ti.template(),  # (F,) ivec3
    corner_starts: ti.template(),  # (V + 1,)
    corners_of_vertex: ti.template(),  # (3F,)
    vertex_normals: ti.template(),  # (S, V) vec3 world, not normalised; S is 1 or B
):
    """Sums the normals of the faces around each vertex, each weighted by its area."""
    for view, vertex in ti.ndrange((first, end), vertex_normals.shape[1]):
        vertex_normals[view, vertex] = ti.Vector([0.0, 0.0, 0.0])
    for view, vertex in ti.ndrange((first, end), vertex_normals.shape[1]):
        for slot in range(corner_starts[vertex], corner_starts[vertex + 1]):
            face = corners_of_vertex[slot] // 3
            normal = face_normal(vertices, frames[view], faces[face])
            vertex_normals[view, vertex] += normal
