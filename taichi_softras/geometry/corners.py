"""Vertices and matrices in, corners of faces in clip space out; adjoint and tangent.

A corner has x_clip and y_clip, which are NDC after division by w_clip, depth, which is the
distance along the view axis whatever the projection, and w_clip. Nothing is divided here.
"""

import taichi as ti
from taichi.math import vec3, vec4

from taichi_softras.geometry.cameras import load_row
from taichi_softras.geometry.scene_arrays import frame_of, load_vector
from taichi_softras.workspace import array


SMALLEST_W = 1e-8  # of what is in front of the camera


@ti.func
def compute_corners(
    scene: ti.template(), views: ti.template(), tables: ti.template(), placed: ti.template()
):
    """Fills `placed.corners`, of the views of a pass."""
    for i in range(placed.corners.shape[0] * scene.faces.shape[0]):
        view = i // scene.faces.shape[0]
        face = i - view * scene.faces.shape[0]
        camera = (views.first + view) % tables.matrices.shape[0]
        frame = frame_of(scene, views, view)
        x_row, y_row = load_row(tables.matrices, camera, 0), load_row(tables.matrices, camera, 1)
        depth_row = load_row(tables.matrices, camera, 2)
        w_row = load_row(tables.matrices, camera, 3)
        for corner in ti.static(range(3)):
            vertex = load_vector(scene.vertices, frame, scene.faces[face, corner])
            placed.corners[view, face, corner, 0] = transform(x_row, vertex)
            placed.corners[view, face, corner, 1] = transform(y_row, vertex)
            placed.corners[view, face, corner, 2] = transform(depth_row, vertex)
            placed.corners[view, face, corner, 3] = transform(w_row, vertex)


@ti.func
def transform(row: vec4, point: vec3) -> float:
    """One component of the point (x, y, z, 1) in a matrix's target space."""
    return row.x * point.x + row.y * point.y + row.z * point.z + row.w


@ti.kernel
def project_vertices(
    vertices: array(float, 3),  # (1 or B, V, 3) world
    matrices: array(float, 3),  # (Bc, 4, 4)
    vertices_ndc: array(ti.math.vec3, 2),  # (B, V) x_ndc, y_ndc, depth
):
    """All vertices in NDC, for those who want to see them; x = y = 0 at or behind the camera."""
    for view, index in ti.ndrange(vertices_ndc.shape[0], vertices_ndc.shape[1]):
        camera = view % matrices.shape[0]
        vertex = load_vector(vertices, view % vertices.shape[0], index)
        w = transform(load_row(matrices, camera, 3), vertex)
        x = transform(load_row(matrices, camera, 0), vertex)
        y = transform(load_row(matrices, camera, 1), vertex)
        per_w = ti.select(w > SMALLEST_W, 1.0 / w, 0.0)
        depth = transform(load_row(matrices, camera, 2), vertex)
        vertices_ndc[view, index] = vec3(x * per_w, y * per_w, depth)
