"""Vertices and matrices in, corners of faces in clip space out; adjoint and tangent.

A corner has x_clip and y_clip, which are NDC after division by w_clip, depth, which is the
distance along the view axis whatever the projection, and w_clip. Nothing is divided here.
"""

import taichi as ti
from taichi.math import vec3, vec4

from taichi_softras.geometry.cameras import load_row
from taichi_softras.geometry.scene_arrays import (
    DEPTH_COLUMN,
    add_vector,
    frame_of,
    load_vector,
    loop_block,
    num_cameras_drawn,
    store_vector,
)
from taichi_softras.runtime import is_cpu


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
def compute_corners_vjp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    is_first: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    grad_scene: ti.template(),
):
    """From corners to vertices, and to each camera's matrix in shares of the vertices.

    The first pass writes the vertices' gradient, the others add.
    """
    num_vertices, num_views = scene.vertices.shape[1], grad_placed.corners.shape[0]
    block, per_task = ti.static(loop_block(), vertices_per_task())
    for i in range((num_vertices + per_task - 1) // per_task * block):
        if i % block == 0:
            first_vertex = i // block * per_task
            end_vertex = ti.min(first_vertex + per_task, num_vertices)
            if is_first:
                for frame in range(scene.vertices.shape[0]):
                    for vertex in range(first_vertex, end_vertex):
                        store_vector(grad_scene.vertices, frame, vertex, vec3(0.0))
            for view in range(num_views):
                camera = (views.first + view) % tables.matrices.shape[0]
                x_row = load_row(tables.matrices, camera, 0)
                y_row = load_row(tables.matrices, camera, 1)
                depth_row = load_row(tables.matrices, camera, 2)
                w_row = load_row(tables.matrices, camera, 3)
                for vertex in range(first_vertex, end_vertex):
                    grad = sum_corners_around(scene, grad_placed, view, vertex)
                    for k in ti.static(range(4)):
                        grad_tables.vertices_clip[view, vertex, k] = grad[k]
                    of_xy = grad.x * x_row.xyz + grad.y * y_row.xyz
                    of_depth_w = grad.z * depth_row.xyz + grad.w * w_row.xyz
                    frame = frame_of(scene, views, view)
                    add_vector(grad_scene.vertices, frame, vertex, of_xy + of_depth_w)


@ti.func
def compute_corners_jvp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    tangent_vertices: ti.template(),
    tangent_tables: ti.template(),
    tangent_placed: ti.template(),
    slot: ti.template(),
):
    """Fills row `slot` of the corners' tangents."""
    for i in range(tangent_placed.corners.shape[1] * scene.faces.shape[0]):
        view = i // scene.faces.shape[0]
        face = i - view * scene.faces.shape[0]
        camera = (views.first + view) % tables.matrices.shape[0]
        frame = frame_of(scene, views, view)
        for corner in range(3):
            vertex = load_vector(scene.vertices, frame, scene.faces[face, corner])
            moved = load_vector(tangent_vertices, frame, scene.faces[face, corner])
            for k in ti.static(range(4)):
                component = transform(load_row(tangent_tables.matrices, camera, k), vertex)
                component += load_row(tables.matrices, camera, k).xyz.dot(moved)
                tangent_placed.corners[slot, view, face, corner, k] = component


@ti.func
def pull_back_matrices(
    scene: ti.template(), views: ti.template(), tables: ti.template(), grad_tables: ti.template()
):
    """A task sums the gradient of one camera's matrix over its share of the vertices."""
    num_shares, num_views = grad_tables.partials.shape[0], grad_tables.vertices_clip.shape[0]
    block = ti.static(loop_block())
    for i in range(num_cameras_drawn(tables, grad_tables) * num_shares * block):
        if i % block == 0:
            camera = i // block // num_shares
            share = i // block - camera * num_shares
            per_share = (scene.vertices.shape[1] + num_shares - 1) // num_shares
            end_vertex = ti.min((share + 1) * per_share, scene.vertices.shape[1])
            grad_x, grad_y, grad_depth, grad_w = vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0)
            step = num_cameras_drawn(tables, grad_tables)
            for k in range(num_views // step):
                view = camera + k * step
                frame = frame_of(scene, views, view)
                for vertex in range(share * per_share, end_vertex):
                    point = vec4(load_vector(scene.vertices, frame, vertex), 1.0)
                    grad_x += grad_tables.vertices_clip[view, vertex, 0] * point
                    grad_y += grad_tables.vertices_clip[view, vertex, 1] * point
                    grad_depth += grad_tables.vertices_clip[view, vertex, 2] * point
                    grad_w += grad_tables.vertices_clip[view, vertex, 3] * point
            for k in ti.static(range(4)):
                grad_tables.partials[share, 16 * camera + k] = grad_x[k]
                grad_tables.partials[share, 16 * camera + 4 + k] = grad_y[k]
                grad_tables.partials[share, 16 * camera + 8 + k] = grad_depth[k]
                grad_tables.partials[share, 16 * camera + 12 + k] = grad_w[k]


@ti.func
def sum_corners_around(
    scene: ti.template(), grad_placed: ti.template(), view: int, vertex: int
) -> vec4:
    """The gradient at x_clip, y_clip, depth and w_clip of all corners at a vertex."""
    total = vec4(0.0)
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        face = scene.corners_of_vertex[slot] // 3
        corner = scene.corners_of_vertex[slot] - 3 * face
        for k in ti.static(range(4)):
            total[k] += grad_placed.corners[view, face, corner, k]
        if scene.layout[DEPTH_COLUMN] >= 0:
            column = scene.layout[DEPTH_COLUMN]
            total.z += grad_placed.varyings[view, face, corner, column]
    return total


def vertices_per_task() -> int:
    """On a CPU few enough that threads end together."""
    return 32 if is_cpu() else 1


@ti.func
def transform(row: vec4, point: vec3) -> float:
    """One component of the point (x, y, z, 1) in a matrix's target space."""
    return row.x * point.x + row.y * point.y + row.z * point.z + row.w
