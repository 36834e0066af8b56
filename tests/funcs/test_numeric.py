"""Elementary functions against NumPy."""

import numpy as np
import pytest
import taichi as ti

from taichi_softras.funcs.numeric import exp, sigmoid
from taichi_softras.workspace import array
from tests import tolerances


@ti.kernel
def evaluate(
    function: ti.template(),
    x: array(None, 1),  # (N,)
    y: array(None, 1),  # (N,)
):
    for i in range(x.shape[0]):
        y[i] = function(x[i])


def values_of(function, x):
    y = np.zeros_like(x)
    evaluate(function, x, y)
    return y


def check_exp(x, tolerance):
    expected = np.exp(x.astype(float))
    error = np.abs(values_of(exp, x) / expected - 1).max()
    print(f"exp: largest relative error {error:.1e}")
    assert error < tolerance


def test_exp(backend):
    x = np.concatenate([np.linspace(-87, 88, 200_001), np.linspace(-1e-3, 1e-3, 1001)])
    check_exp(x.astype(np.float32), tolerances.EXP_SINGLE)


@pytest.mark.f64
def test_exp_in_double_precision(backend):
    check_exp(np.linspace(-700, 700, 20_001), tolerances.EXP_DOUBLE)


def test_exp_is_clamped(backend):
    x = np.array([-1e30, -1000, -88, 89, 1000, 1e30], np.float32)
    y = values_of(exp, x)
    np.testing.assert_array_equal(y[:3], values_of(exp, np.full(3, -87, np.float32)))
    np.testing.assert_array_equal(y[3:], values_of(exp, np.full(3, 88, np.float32)))
    assert (y > 0).all() and np.isfinite(y).all()


def test_sigmoid(backend):
    x = np.linspace(-80, 80, 10_001).astype(np.float32)
    expected = 1 / (1 + np.exp(-x.astype(float)))
    np.testing.assert_allclose(values_of(sigmoid, x), expected, rtol=tolerances.SIGMOID_SINGLE)
    extremes = values_of(sigmoid, np.array([-1e20, 1e20], np.float32))
    np.testing.assert_allclose(extremes, [0, 1], atol=tolerances.SIGMOID_SINGLE)
