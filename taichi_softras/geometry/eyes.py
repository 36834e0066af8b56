"""Matrices view_from_world in, the places of the eyes out: for fragments that read them.

Cameras of `look_at` have the eye among their numbers, and need no such stage.
"""

from taichi_softras.geometry.scene_arrays import CAMERA_SIZE
from taichi_softras.runtime import kernel, ti, vec3
from taichi_softras.workspace import array


@kernel
def find_eyes(
    uniforms: array(float, 1),  # cameras, then lights
    column: int,
    fragment_uniforms: array(float, 2),  # (1 or B, N); three columns are filled
):
    """The point that each camera has at its origin."""
    for camera in range(fragment_uniforms.shape[0]):
        eye = find_eye(uniforms, CAMERA_SIZE * camera)
        for k in ti.static(range(3)):
            fragment_uniforms[camera, column + k] = eye[k]


@kernel
def find_eyes_backward(
    uniforms: array(float, 1),
    column: int,
    grad_fragment_uniforms: array(float, 2),  # (1 or B, N)
    grad_uniforms: array(float, 1),  # added to
):
    """The adjoint of e = -A^-1 t: at t it is -A^-T grad, and at A that times e."""
    for camera in range(grad_fragment_uniforms.shape[0]):
        start = CAMERA_SIZE * camera
        eye, turn = find_eye(uniforms, start), load_turn(uniforms, start)
        grad_eye = vec3(0.0)
        for k in ti.static(range(3)):
            grad_eye[k] = grad_fragment_uniforms[camera, column + k]
        grad_shift = -(turn.inverse().transpose() @ grad_eye)
        for row in ti.static(range(3)):
            for k in ti.static(range(3)):
                grad_uniforms[start + 4 * row + k] += grad_shift[row] * eye[k]
            grad_uniforms[start + 4 * row + 3] += grad_shift[row]


@kernel
def find_eyes_tangent(
    uniforms: array(float, 1),
    tangent_uniforms: array(float, 1),
    column: int,
    tangent_fragment_uniforms: array(float, 2),  # (1 or B, N); three columns are filled
):
    """How the eyes move with the matrices: -A^-1 (dA e + dt)."""
    for camera in range(tangent_fragment_uniforms.shape[0]):
        start = CAMERA_SIZE * camera
        shift = load_turn(tangent_uniforms, start) @ find_eye(uniforms, start)
        shift += load_shift(tangent_uniforms, start)
        moved = -(load_turn(uniforms, start).inverse() @ shift)
        for k in ti.static(range(3)):
            tangent_fragment_uniforms[camera, column + k] = moved[k]


@ti.func
def find_eye(uniforms: ti.template(), start: int) -> vec3:
    """Of one camera, whose numbers begin at `start`."""
    return -(load_turn(uniforms, start).inverse() @ load_shift(uniforms, start))


@ti.func
def load_turn(numbers: ti.template(), start: int):
    """(3, 3) the matrix without its last row and column."""
    return ti.Matrix(
        [[numbers[start + 4 * row + k] for k in ti.static(range(3))] for row in ti.static(range(3))]
    )


@ti.func
def load_shift(numbers: ti.template(), start: int) -> vec3:
    """The last column."""
    return vec3(numbers[start + 3], numbers[start + 7], numbers[start + 11])
