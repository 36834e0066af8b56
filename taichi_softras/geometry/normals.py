"""Vertices and faces in, normals out; world space, counter-clockwise faces point outwards."""

import taichi as ti


@ti.func
def face_normal(vertices: ti.template(), corners):
    """The normal of a face, as long as twice its area; `corners` are its three vertex indices."""
    corner_0 = vertices[corners[0]]
    return (vertices[corners[1]] - corner_0).cross(vertices[corners[2]] - corner_0)


@ti.func
def unit_normal(normal):
    """The normal with length 1; of a degenerate face 0, with a gradient of 0."""
    unit = normal * 0.0
    if normal.norm_sqr() > 1e-30:
        unit = normal / normal.norm()
    return unit


@ti.kernel
def compute_vertex_normals(
    vertices: ti.template(),  # (V,) vec3 world
    faces: ti.template(),  # (F,) ivec3
    corner_starts: ti.template(),  # (V + 1,)
    corners_of_vertex: ti.template(),  # (3F,)
    vertex_normals: ti.template(),  # (V,) vec3 world, not normalised
):
    """Sums the normals of the faces around each vertex, each weighted by its area."""
    for vertex in vertex_normals:
        vertex_normals[vertex] = ti.Vector([0.0, 0.0, 0.0])
    for vertex in vertex_normals:
        for slot in range(corner_starts[vertex], corner_starts[vertex + 1]):
            face = corners_of_vertex[slot] // 3
            vertex_normals[vertex] += face_normal(vertices, faces[face])
