"""Vectors of length 1: adjoint and tangent, and nothing of a degenerate face."""

import numpy as np
import pytest

from taichi_softras.funcs.vectors import unit, unit_normal, unit_normal_vjp, unit_vjp
from taichi_softras.runtime import ti
from tests.funcs.derivatives import check_derivatives, vector_field

POINTS = 20


@ti.kernel
def primal(inputs: ti.template(), values: ti.template()):
    for i in values:
        direction, normal = unit(inputs[0][i]), unit_normal(inputs[1][i])
        for k in ti.static(range(3)):
            values[i][k] = direction[k]
            values[i][3 + k] = normal[k]


@ti.kernel
def pull_back(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    for i in grad:
        grad_unit = ti.Vector([grad[i][0], grad[i][1], grad[i][2]])
        grad_normal = ti.Vector([grad[i][3], grad[i][4], grad[i][5]])
        gradients[0][i] = unit_vjp(inputs[0][i], grad_unit)
        gradients[1][i] = unit_normal_vjp(inputs[1][i], grad_normal)


@ti.kernel
def push_forward(inputs: ti.template(), tangents: ti.template(), moved: ti.template()):
    for i in moved:
        direction = unit_vjp(inputs[0][i], tangents[0][i])
        normal = unit_normal_vjp(inputs[1][i], tangents[1][i])
        for k in ti.static(range(3)):
            moved[i][k] = direction[k]
            moved[i][3 + k] = normal[k]


@pytest.mark.f64
def test_derivatives_of_unit_vectors(backend):
    vector, normal = np.random.default_rng(0).normal(size=(2, POINTS, 3))
    inputs = {"vector": vector, "normal": normal, "none": normal[:, :1]}
    check_derivatives(primal, pull_back, push_forward, inputs, 6)


def test_a_degenerate_normal_is_zero_and_so_is_its_gradient(backend):
    zeros = [vector_field(np.zeros((1, 3), backend.numpy_float)) for _ in range(4)]
    values = vector_field(np.ones((1, 6), backend.numpy_float))
    primal(tuple(zeros[:2]), values)
    np.testing.assert_array_equal(values.to_numpy(), 0)
    values.from_numpy(np.ones((1, 6), backend.numpy_float))
    pull_back(tuple(zeros[:2]), values, tuple(zeros[2:]))
    np.testing.assert_array_equal(zeros[3].to_numpy(), 0)
