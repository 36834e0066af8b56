"""Numbers of cameras in, matrices from world to clip space out; adjoint and tangent.

View space is OpenGL's: x right, y up, the camera looks along -z; depth = -z_view. A matrix is
composed of rows: those of view_from_world, whose last one is taken to be 0, 0, 0, 1, and those
of clip_from_view, whose third one is not read. Rows are written out: `@` of 4 x 4 matrices takes
Taichi five times as long to compile.
"""

import taichi as ti
from taichi.math import vec3, vec4

from taichi_softras.funcs.pose import (
    focal_length,
    focal_length_vjp,
    look_at,
    look_at_jvp,
    look_at_vjp,
    parallel_scale,
    parallel_scale_vjp,
)
from taichi_softras.funcs.vectors import load_vec3, load_vec4
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    LOOK_AT,
    PARALLEL,
    PERSPECTIVE,
    POSE,
    PROJECTION,
    PROJECTION_START,
    SceneArrays,
    Views,
)
from taichi_softras.workspace import array


@ti.func
def compute_matrices(scene: ti.template(), views: ti.template(), tables: ti.template()):
    """Fills `tables.matrices`."""
    for camera in range(tables.matrices.shape[0]):
        x_view, y_view, z_view = view_rows(scene, CAMERA_SIZE * camera)
        to_x, to_y, to_w = projection_rows(scene, views, CAMERA_SIZE * camera)
        x_row = views.ndc_from_clip_x * compose(to_x, x_view, y_view, z_view)
        y_row = views.ndc_from_clip_y * compose(to_y, x_view, y_view, z_view)
        w_row = compose(to_w, x_view, y_view, z_view)
        store_matrix(tables.matrices, camera, x_row, y_row, -z_view, w_row)


@ti.func
def view_rows(scene: ti.template(), start: int):
    """The rows x, y, z of view_from_world; `start` is where the camera's numbers begin."""
    x_row = load_vec4(scene.uniforms, start)
    y_row = load_vec4(scene.uniforms, start + 4)
    z_row = load_vec4(scene.uniforms, start + 8)
    if scene.layout[POSE] == LOOK_AT:
        eye, target, up, pole_right = load_pose(scene.uniforms, start)
        right, above, forward = look_at(eye, target, up, pole_right)
        x_row = vec4(right, -right.dot(eye))
        y_row = vec4(above, -above.dot(eye))
        z_row = vec4(-forward, forward.dot(eye))
    return x_row, y_row, z_row


@ti.func
def load_pose(uniforms: ti.template(), start: int):
    """Eye, target, up and pole_right of a camera that is placed by `look_at`."""
    eye, target = load_vec3(uniforms, start), load_vec3(uniforms, start + 3)
    return eye, target, load_vec3(uniforms, start + 6), load_vec3(uniforms, start + 9)


@ti.func
def projection_rows(scene: ti.template(), views: ti.template(), start: int):
    """The rows x, y, w of clip_from_view."""
    first = start + PROJECTION_START
    to_x = load_vec4(scene.uniforms, first)
    to_y = load_vec4(scene.uniforms, first + 4)
    to_w = load_vec4(scene.uniforms, first + 12)
    number = scene.uniforms[first]
    inverse_aspect = views.ndc_from_clip_y / views.ndc_from_clip_x
    if scene.layout[PROJECTION] == PERSPECTIVE:
        scale = focal_length(number)
        to_x = vec4(scale * inverse_aspect, 0.0, 0.0, 0.0)
        to_y = vec4(0.0, scale, 0.0, 0.0)
        to_w = vec4(0.0, 0.0, -1.0, 0.0)
    if scene.layout[PROJECTION] == PARALLEL:
        scale = parallel_scale(number)
        to_x = vec4(scale * inverse_aspect, 0.0, 0.0, 0.0)
        to_y = vec4(0.0, scale, 0.0, 0.0)
        to_w = vec4(0.0, 0.0, 0.0, 1.0)
    return to_x, to_y, to_w


@ti.func
def compose(row: vec4, x_view: vec4, y_view: vec4, z_view: vec4) -> vec4:
    """A row of clip_from_view after the rows of view_from_world."""
    return row.x * x_view + row.y * y_view + row.z * z_view + vec4(0.0, 0.0, 0.0, row.w)


@ti.func
def load_row(matrices: ti.template(), camera: int, row: int) -> vec4:
    """One row of a camera's matrix."""
    return vec4(
        matrices[camera, row, 0],
        matrices[camera, row, 1],
        matrices[camera, row, 2],
        matrices[camera, row, 3],
    )


@ti.func
def store_matrix(matrices: ti.template(), camera: int, x: vec4, y: vec4, depth: vec4, w: vec4):
    """The four rows of a camera's matrix."""
    for k in ti.static(range(4)):
        matrices[camera, 0, k] = x[k]
        matrices[camera, 1, k] = y[k]
        matrices[camera, 2, k] = depth[k]
        matrices[camera, 3, k] = w[k]


@ti.kernel
def compute_view_and_projection(
    uniforms: array(float, 1),  # cameras, see `geometry.scene_arrays`
    layout: array(int, 1),  # see Layout
    aspect: float,  # W / H of the image
    view_from_world: array(ti.math.mat4, 1),  # (Bc,)
    clip_from_view: array(ti.math.mat4, 1),  # (Bc,), row 2 is zero
):
    """Both matrices of cameras, for those who want to see them."""
    scene = ti.static(SceneArrays(None, None, None, None, None, uniforms, layout))
    views = ti.static(Views(0, aspect, 1.0))
    for camera in range(view_from_world.shape[0]):
        x_view, y_view, z_view = view_rows(scene, CAMERA_SIZE * camera)
        to_x, to_y, to_w = projection_rows(scene, views, CAMERA_SIZE * camera)
        view_from_world[camera] = ti.Matrix.rows([x_view, y_view, z_view, vec4(0.0, 0.0, 0.0, 1.0)])
        clip_from_view[camera] = ti.Matrix.rows([to_x, to_y, vec4(0.0), to_w])
