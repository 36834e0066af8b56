"""What a matt surface sends back: adjoint and tangent."""

import numpy as np
import pytest

from taichi_softras.funcs.lighting import (
    harmonics,
    harmonics_jvp,
    harmonics_vjp,
    lambert,
    lambert_jvp,
    lambert_vjp,
)
from taichi_softras.runtime import ti
from tests.funcs.derivatives import check_derivatives

POINTS = 40


@ti.kernel
def primal(inputs: ti.template(), values: ti.template()):
    for i in values:
        light = lambert(inputs[0][i], inputs[1][i], inputs[2][i])
        basis = harmonics(inputs[0][i])
        for k in ti.static(range(3)):
            values[i][k] = light[k]
        for k in ti.static(range(9)):
            values[i][3 + k] = basis[k]


@ti.kernel
def pull_back(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    for i in grad:
        grad_light = ti.Vector([grad[i][0], grad[i][1], grad[i][2]])
        grad_basis = ti.Vector([grad[i][3 + k] for k in range(9)])
        grads = lambert_vjp(inputs[0][i], inputs[1][i], inputs[2][i], grad_light)
        gradients[0][i] = grads.normal + harmonics_vjp(inputs[0][i], grad_basis)
        gradients[1][i] = grads.direction
        gradients[2][i] = grads.color


@ti.kernel
def push_forward(inputs: ti.template(), tangents: ti.template(), moved: ti.template()):
    for i in moved:
        light = lambert_jvp(
            inputs[0][i],
            inputs[1][i],
            inputs[2][i],
            tangents[0][i],
            tangents[1][i],
            tangents[2][i],
        )
        basis = harmonics_jvp(inputs[0][i], tangents[0][i])
        for k in ti.static(range(3)):
            moved[i][k] = light[k]
        for k in ti.static(range(9)):
            moved[i][3 + k] = basis[k]


@pytest.mark.f64
def test_derivatives_of_the_light(backend):
    generator = np.random.default_rng(0)
    normal, direction, color = generator.normal(size=(3, POINTS, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    is_lit = (normal * direction).sum(axis=1) > 0
    assert 0.2 < is_lit.mean() < 0.8, "the points are not what the test is about"
    inputs = {"normal": normal, "direction": direction, "color": color, "none": color[:, :1]}
    check_derivatives(primal, pull_back, push_forward, inputs, 12)
