"""Vertices and matrices in, corners of faces in clip space out; adjoint and tangent.

A corner has x_clip and y_clip, which are NDC after division by w_clip, depth, which is the
distance along the view axis whatever the projection, and w_clip. Nothing is divided here.
"""

import taichi as ti
from taichi.math import vec3, vec4

from taichi_softras.geometry.cameras import load_row
from taichi_softras.geometry.scene_arrays import frame_of, load_vector


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
