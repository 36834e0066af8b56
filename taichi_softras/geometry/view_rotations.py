"""How cameras are turned, as uniforms of shadings: rows of view_from_world; adjoint and tangent."""

from typing import NamedTuple

from taichi_softras.geometry.cameras import pull_back_view_rows, view_rows, view_rows_jvp
from taichi_softras.geometry.scene_arrays import CAMERA_SIZE
from taichi_softras.runtime import kernel, ti, vec4
from taichi_softras.workspace import array


class Poses(NamedTuple):
    """What of a scene says where its cameras are, see `SceneArrays`."""

    uniforms: ti.Ndarray
    layout: ti.Ndarray


@kernel
def compute_view_rotations(
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see Layout
    column: int,
    rows: array(float, 2),  # (Bc, N) uniforms of shadings: 9 columns are written
):
    """World to view space, without the shift, row after row."""
    for camera in range(rows.shape[0]):
        axes = view_rows(ti.static(Poses(uniforms, layout)), CAMERA_SIZE * camera)
        for row, axis in ti.static(enumerate(axes)):
            for k in ti.static(range(3)):
                rows[camera, column + 3 * row + k] = axis[k]


@kernel
def compute_view_rotations_vjp(
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see Layout
    column: int,
    first: int,  # view of the pass
    num_cameras: int,
    grad_rows: array(float, 2),  # (1 or views of the pass, N)
    grad_uniforms: array(float, 1),  # added to
):
    """The adjoint of `compute_view_rotations`, of the views of a pass."""
    for view in range(grad_rows.shape[0]):
        start = CAMERA_SIZE * ti.min(first + view, num_cameras - 1)
        grads = [
            vec4(
                grad_rows[view, column + 3 * row],
                grad_rows[view, column + 3 * row + 1],
                grad_rows[view, column + 3 * row + 2],
                0.0,
            )
            for row in ti.static(range(3))
        ]
        poses = ti.static(Poses(uniforms, layout))
        x_view, y_view, z_view = view_rows(poses, start)
        pull_back_view_rows(
            poses, start, x_view, y_view, z_view, grads[0], grads[1], grads[2], grad_uniforms
        )


@kernel
def compute_view_rotations_jvp(
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see Layout
    tangent_uniforms: array(float, 1),
    column: int,
    tangent_rows: array(float, 2),  # (Bc, N): 9 columns are written
):
    """The tangent of `compute_view_rotations`."""
    for camera in range(tangent_rows.shape[0]):
        poses = ti.static(Poses(uniforms, layout))
        axes = view_rows_jvp(poses, tangent_uniforms, CAMERA_SIZE * camera)
        for row in ti.static(range(3)):
            for k in ti.static(range(3)):
                tangent_rows[camera, column + 3 * row + k] = axes[3 + row][k]
