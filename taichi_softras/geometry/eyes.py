"""Poses of cameras in, the places of the eyes out: for fragments that read them.

Cameras of `look_at` have the eye among their numbers, and need no such stage.
"""

from taichi_softras.geometry.cameras import pull_back_view_rows, view_rows, view_rows_jvp
from taichi_softras.geometry.scene_arrays import CAMERA_SIZE
from taichi_softras.geometry.view_rotations import Poses
from taichi_softras.runtime import kernel, ti, vec3, vec4
from taichi_softras.workspace import array


@kernel
def find_eyes(
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see Layout
    column: int,
    fragment_uniforms: array(float, 2),  # (1 or B, N); three columns are filled
):
    """The point that each camera has at its origin."""
    for camera in range(fragment_uniforms.shape[0]):
        x, y, z = view_rows(ti.static(Poses(uniforms, layout)), CAMERA_SIZE * camera)
        eye = find_eye(x, y, z)
        for k in ti.static(range(3)):
            fragment_uniforms[camera, column + k] = eye[k]


@kernel
def find_eyes_backward(
    uniforms: array(float, 1),
    layout: array(int, 1),
    column: int,
    grad_fragment_uniforms: array(float, 2),  # (1 or B, N)
    grad_uniforms: array(float, 1),  # added to
):
    """The adjoint of e = -A^-1 t: at t it is -A^-T grad, and at A that times e."""
    for camera in range(grad_fragment_uniforms.shape[0]):
        start = CAMERA_SIZE * camera
        poses = ti.static(Poses(uniforms, layout))
        x, y, z = view_rows(poses, start)
        grad_eye = vec3(0.0)
        for k in ti.static(range(3)):
            grad_eye[k] = grad_fragment_uniforms[camera, column + k]
        shift = -(axes_of(x, y, z).inverse().transpose() @ grad_eye)
        point = vec4(find_eye(x, y, z), 1.0)
        pull_back_view_rows(
            poses, start, x, y, z, shift.x * point, shift.y * point, shift.z * point, grad_uniforms
        )


@kernel
def find_eyes_tangent(
    uniforms: array(float, 1),
    layout: array(int, 1),
    tangent_uniforms: array(float, 1),
    column: int,
    tangent_fragment_uniforms: array(float, 2),  # (1 or B, N); three columns are filled
):
    """How the eyes move with the poses: -A^-1 (dA e + dt)."""
    for camera in range(tangent_fragment_uniforms.shape[0]):
        x, y, z, x_moved, y_moved, z_moved = view_rows_jvp(
            ti.static(Poses(uniforms, layout)), tangent_uniforms, CAMERA_SIZE * camera
        )
        point = vec4(find_eye(x, y, z), 1.0)
        shift = vec3(x_moved.dot(point), y_moved.dot(point), z_moved.dot(point))
        moved = -(axes_of(x, y, z).inverse() @ shift)
        for k in ti.static(range(3)):
            tangent_fragment_uniforms[camera, column + k] = moved[k]


@ti.func
def find_eye(x_view: vec4, y_view: vec4, z_view: vec4) -> vec3:
    """Of the rows of view_from_world."""
    return -(axes_of(x_view, y_view, z_view).inverse() @ vec3(x_view.w, y_view.w, z_view.w))


@ti.func
def axes_of(x_view: vec4, y_view: vec4, z_view: vec4):
    """(3, 3) the matrix without its last row and column."""
    return ti.Matrix.rows([x_view.xyz, y_view.xyz, z_view.xyz])
