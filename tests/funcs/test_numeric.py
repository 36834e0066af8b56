"""Elementary functions against NumPy."""

import itertools

import numpy as np
import pytest

from taichi_softras.funcs.numeric import cos_degrees, exp, log, sigmoid, sum_of_three
from taichi_softras.runtime import ti
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


def test_log(backend):
    x = np.exp(np.linspace(-87, 88, 200_001)).astype(np.float32)
    expected = np.log(x.astype(float))
    error = np.abs(values_of(log, x) - expected) / np.maximum(np.abs(expected), 1)
    assert error.max() < tolerances.EXP_SINGLE


def test_cos_degrees(backend):
    x = np.linspace(0, 90, 9001).astype(np.float32)
    expected = np.cos(np.radians(x.astype(float)))
    assert np.abs(values_of(cos_degrees, x) - expected).max() < tolerances.EXP_SINGLE


@ti.func
def covered(x: float) -> float:
    return sigmoid(x)[0]


@ti.func
def uncovered(x: float) -> float:
    return sigmoid(x)[1]


def test_sigmoid_and_its_rest(backend):
    """The rest has all its digits, too, where it is small."""
    x = np.linspace(-80, 80, 10_001).astype(np.float32)
    for part, sign in ((covered, -1), (uncovered, 1)):
        expected = 1 / (1 + np.exp(sign * x.astype(float)))
        np.testing.assert_allclose(values_of(part, x), expected, rtol=tolerances.SIGMOID_SINGLE)
        extremes = values_of(part, np.array([-1e20, 1e20], np.float32))
        np.testing.assert_allclose(extremes[::-sign], [0, 1], atol=tolerances.SIGMOID_SINGLE)


@ti.kernel
def add_up(terms: array(None, 2), sums: array(None, 1)):
    for i in range(terms.shape[0]):
        sums[i] = sum_of_three(ti.math.vec3(terms[i, 0], terms[i, 1], terms[i, 2]))


def test_a_sum_of_three_does_not_depend_on_their_order(backend):
    terms = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    sums = np.zeros((6, 1000), np.float32)
    for order, of_order in zip(itertools.permutations(range(3)), sums):
        add_up(np.ascontiguousarray(terms[:, order]), of_order)
    np.testing.assert_array_equal(sums, sums[:1].repeat(6, axis=0))
    tolerance = tolerances.SIGMOID_SINGLE
    np.testing.assert_allclose(sums[0], terms.sum(axis=1), rtol=0, atol=10 * tolerance)
