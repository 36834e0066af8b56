"""A camera's axes and scales: adjoint and tangent, also where it looks along up."""

import numpy as np
import pytest

from taichi_softras.funcs.pose import (
    focal_length,
    focal_length_vjp,
    look_at,
    look_at_jvp,
    look_at_vjp,
    parallel_scale,
    parallel_scale_vjp,
)
from taichi_softras.runtime import ti
from tests.funcs.derivatives import check_derivatives

POINTS = 40


@ti.kernel
def primal(inputs: ti.template(), values: ti.template()):
    for i in values:
        right, above, forward = look_at(inputs[0][i], inputs[1][i], inputs[2][i], inputs[4][i])
        for k in ti.static(range(3)):
            values[i][k] = right[k]
            values[i][3 + k] = above[k]
            values[i][6 + k] = forward[k]
        values[i][9] = focal_length(inputs[3][i][0])
        values[i][10] = parallel_scale(inputs[3][i][1])


@ti.kernel
def pull_back(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    for i in grad:
        grads = look_at_vjp(
            inputs[0][i],
            inputs[1][i],
            inputs[2][i],
            inputs[4][i],
            ti.Vector([grad[i][0], grad[i][1], grad[i][2]]),
            ti.Vector([grad[i][3], grad[i][4], grad[i][5]]),
            ti.Vector([grad[i][6], grad[i][7], grad[i][8]]),
        )
        gradients[0][i] = grads.eye
        gradients[1][i] = grads.target
        gradients[2][i] = grads.up
        gradients[3][i][0] = focal_length_vjp(inputs[3][i][0], grad[i][9])
        gradients[3][i][1] = parallel_scale_vjp(inputs[3][i][1], grad[i][10])


@ti.kernel
def push_forward(inputs: ti.template(), tangents: ti.template(), moved: ti.template()):
    for i in moved:
        right, above, forward = look_at_jvp(
            inputs[0][i],
            inputs[1][i],
            inputs[2][i],
            inputs[4][i],
            tangents[0][i],
            tangents[1][i],
            tangents[2][i],
        )
        for k in ti.static(range(3)):
            moved[i][k] = right[k]
            moved[i][3 + k] = above[k]
            moved[i][6 + k] = forward[k]
        moved[i][9] = focal_length_vjp(inputs[3][i][0], tangents[3][i][0])
        moved[i][10] = parallel_scale_vjp(inputs[3][i][1], tangents[3][i][1])


@pytest.mark.f64
def test_derivatives_of_the_pose(backend):
    """The first half of the cameras looks along up."""
    generator = np.random.default_rng(0)
    target, up, direction = generator.normal(size=(3, POINTS, 3))
    direction[: POINTS // 2] = up[: POINTS // 2] * generator.choice([-2, 2], (POINTS // 2, 1))
    inputs = {
        "eye": target + direction,
        "target": target,
        "up": up,
        "numbers": generator.uniform([20, 1], [120, 4], (POINTS, 2)),
        "pole_right": np.tile([1.0, 0, 0], (POINTS, 1)),
    }
    check_derivatives(primal, pull_back, push_forward, inputs, 11)
