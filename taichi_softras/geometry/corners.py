"""Vertices and matrices in, corners of faces in clip space out; adjoint and tangent.

A corner has x_clip and y_clip, which are NDC after division by w_clip, depth, which is the
distance along the view axis whatever the projection, and w_clip. Nothing is divided here.
"""

from taichi_softras.geometry.lenses import bend_by, bend_by_jvp, bend_by_vjp
from taichi_softras.geometry.mesh_table import FIRST_VERTEX, load_number, vertices_of_share
from taichi_softras.geometry.scene_arrays import (
    camera_of,
    frame_of,
    load_row,
    load_vector,
    num_matrices,
    share_of,
)
from taichi_softras.runtime import ti, vec2, vec3, vec4


@ti.func
def compute_corners(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    placed: ti.template(),
    view: int,
    place: int,
    face: int,
):
    """Fills `placed.corners` of one face at its place in one view of the pass."""
    camera, frame = camera_of(views, tables, view), frame_of(scene, views, view)
    x_row, y_row = load_row(tables.matrices, camera, 0), load_row(tables.matrices, camera, 1)
    depth_row, w_row = load_row(tables.matrices, camera, 2), load_row(tables.matrices, camera, 3)
    for corner in ti.static(range(3)):
        vertex = load_vector(scene.vertices, frame, scene.faces[face, corner])
        clip = vec4(
            transform(x_row, vertex),
            transform(y_row, vertex),
            transform(depth_row, vertex),
            transform(w_row, vertex),
        )
        if ti.static(scene.stages.is_distorted):
            clip = bend_by(tables.matrices, camera, clip)
        for k in ti.static(range(4)):
            placed.corners[view, place, corner, k] = clip[k]


@ti.func
def clear_corners(placed: ti.template(), view: int, place: int):
    """Of a place without a face: w_clip = 0 is not in front of the camera, so nothing is drawn."""
    for corner, k in ti.static(ti.ndrange(3, 4)):
        placed.corners[view, place, corner, k] = 0.0


@ti.func
def compute_corners_vjp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    view: int,
    vertex: int,
    grad_clip: vec4,
) -> vec3:
    """From clip space to the world: the gradient of a corner at a vertex."""
    camera, grad = camera_of(views, tables, view), grad_clip
    if ti.static(scene.stages.is_distorted):
        point = load_vector(scene.vertices, frame_of(scene, views, view), vertex)
        clip = project(tables.matrices, camera, point)
        grad = bend_by_vjp(tables.matrices, camera, clip, grad_clip).clip
    of_xy = grad.x * load_axis(tables.matrices, camera, 0)
    of_xy += grad.y * load_axis(tables.matrices, camera, 1)
    of_depth_w = grad.z * load_axis(tables.matrices, camera, 2)
    return of_xy + (of_depth_w + grad.w * load_axis(tables.matrices, camera, 3))


@ti.func
def compute_corners_jvp(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    tangent_vertices: ti.template(),
    tangent_tables: ti.template(),
    tangent_placed: ti.template(),
    parameter: int,
    view: int,
    place: int,
    face: int,
):
    """Fills the corners' tangents of one face in one view, in row `parameter`."""
    camera, frame = camera_of(views, tables, view), frame_of(scene, views, view)
    for corner in range(3):
        vertex = load_vector(scene.vertices, frame, scene.faces[face, corner])
        moved = load_vector(tangent_vertices, frame, scene.faces[face, corner])
        moved_clip = project(tangent_tables.matrices, camera, vertex)
        for k in ti.static(range(4)):
            moved_clip[k] += load_axis(tables.matrices, camera, k).dot(moved)
        if ti.static(scene.stages.is_distorted):
            clip = project(tables.matrices, camera, vertex)
            moved_clip = bend_by_jvp(
                tables.matrices, tangent_tables.matrices, camera, clip, moved_clip
            )
        for k in ti.static(range(4)):
            tangent_placed.corners[parameter, view, place, corner, k] = moved_clip[k]


@ti.func
def sum_matrices(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    share: int,
):
    """One share of the gradients of all matrices."""
    num_drawn = num_matrices(scene, tables, grad_tables)
    for drawn in range(num_drawn):
        sum_matrix(scene, views, tables, grad_tables, share, drawn, num_drawn)


@ti.func
def sum_matrix(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    share: int,
    drawn: int,  # which of the pass's cameras
    num_drawn: int,
):
    """One share of the gradient of a camera's matrix: a part of the vertices, in all its views."""
    start, end = share_of(scene.vertices.shape[1], grad_tables.partials.shape[0], share)
    grad_x, grad_y, grad_depth, grad_w = vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0)
    grad_window, grad_radial, grad_tangential = vec4(0.0), vec4(0.0), vec2(0.0)
    for k in range(grad_tables.vertices_clip.shape[0] // num_drawn):
        view = drawn + k * num_drawn
        frame = frame_of(scene, views, view)
        first = load_number(scene, views, view, FIRST_VERTEX)
        own_start, own_end = vertices_of_share(scene, views, view, start, end)
        for vertex in range(own_start, own_end):
            point = vec4(load_vector(scene.vertices, frame, vertex), 1.0)
            grad = vec4(0.0)
            for i in ti.static(range(4)):
                grad[i] = grad_tables.vertices_clip[view, vertex - first, i]
            if ti.static(scene.stages.is_distorted):
                camera = camera_of(views, tables, view)
                clip = project(tables.matrices, camera, point.xyz)
                through = bend_by_vjp(tables.matrices, camera, clip, grad)
                grad = through.clip
                grad_window += through.window
                grad_radial += through.radial
                grad_tangential += through.tangential
            grad_x += grad.x * point
            grad_y += grad.y * point
            grad_depth += grad.z * point
            grad_w += grad.w * point
    column = scene.stages.num_rows * 4 * drawn
    for row, grad in ti.static(enumerate((grad_x, grad_y, grad_depth, grad_w))):
        for k in ti.static(range(4)):
            grad_tables.partials[share, column + 4 * row + k] = grad[k]
    if ti.static(scene.stages.is_distorted):
        for k in ti.static(range(4)):
            grad_tables.partials[share, column + 16 + k] = grad_window[k]
            grad_tables.partials[share, column + 20 + k] = grad_radial[k]
        for k in ti.static(range(2)):
            grad_tables.partials[share, column + 24 + k] = grad_tangential[k]


@ti.func
def load_grad_clip(
    scene: ti.template(), grad_placed: ti.template(), view: int, place: int, corner: int
) -> vec4:
    """The gradient at x_clip, y_clip, depth and w_clip of a corner."""
    grad = vec4(
        grad_placed.corners[view, place, corner, 0],
        grad_placed.corners[view, place, corner, 1],
        grad_placed.corners[view, place, corner, 2],
        grad_placed.corners[view, place, corner, 3],
    )
    if ti.static(scene.stages.depth_column >= 0):
        grad.z += grad_placed.varyings[view, place, corner, scene.stages.depth_column]
    return grad


@ti.func
def load_axis(matrices: ti.template(), camera: int, row: int) -> vec3:
    """What one component of a matrix's target space takes of a direction."""
    return vec3(matrices[camera, row, 0], matrices[camera, row, 1], matrices[camera, row, 2])


@ti.func
def project(matrices: ti.template(), camera: int, point: vec3) -> vec4:
    """Where the pinhole of a camera has a point: x_clip, y_clip, depth, w_clip."""
    return vec4(
        transform(load_row(matrices, camera, 0), point),
        transform(load_row(matrices, camera, 1), point),
        transform(load_row(matrices, camera, 2), point),
        transform(load_row(matrices, camera, 3), point),
    )


@ti.func
def transform(row: vec4, point: vec3) -> float:
    """One component of the point (x, y, z, 1) in a matrix's target space."""
    return row.x * point.x + row.y * point.y + row.z * point.z + row.w
