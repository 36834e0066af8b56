"""Gauss-Newton against closed forms and known minima."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from taichi_softras.gauss_newton import dogleg
from taichi_softras.runtime import ti
from tests import tolerances

pytestmark = pytest.mark.f64


@pytest.fixture(scope="module")
def fields(backend):
    """A 0-D and a vector field, 5 numbers."""
    tree = FieldTree()
    fields = tree.add(()), tree.add((2,), (2,))
    tree.place()
    return fields


def values_of(fields):
    return np.concatenate([np.ravel(field.to_numpy()) for field in fields])


def start(fields, values=0.0):
    values = np.broadcast_to(values, 5)
    fields[0][None] = values[0]
    fields[1].from_numpy(values[1:].reshape(2, 2))


def test_a_linear_problem_takes_one_step(backend, fields):
    random = np.random.default_rng(0)
    matrix, target = random.normal(size=(9, 5)), random.normal(size=9)
    start(fields)
    optimizer = tsr.GaussNewton(
        fields, lambda: matrix @ values_of(fields) - target, lambda: matrix, trust_radius=100.0
    )
    expected, squares = np.linalg.lstsq(matrix, target, rcond=None)[:2]
    assert optimizer.step() == pytest.approx(0.5 * squares[0], rel=tolerances.TWIN_CLOSED_FORM)
    np.testing.assert_allclose(
        values_of(fields), expected, rtol=0, atol=tolerances.TWIN_CLOSED_FORM
    )
    assert not optimizer.is_converged
    optimizer.step()
    assert optimizer.is_converged


def test_a_small_trust_radius_takes_more_steps_and_grows(backend, fields):
    start(fields, 3.0)
    optimizer = tsr.GaussNewton(fields, lambda: values_of(fields), lambda: np.eye(5), 0.5)
    optimizer.step()
    moved = np.linalg.norm(values_of(fields) - 3.0)
    assert moved == pytest.approx(0.5) and optimizer.trust_radius == 1.0
    while not optimizer.is_converged:
        optimizer.step()
    assert optimizer.num_steps < 8 and optimizer.cost == 0.0


def test_rosenbrock(backend, fields):
    """Its valley is curved: steps are refused and the radius shrinks."""
    start(fields, [0.0, -1.2, 1.0, 0.0, 0.0])

    def residuals():
        x, y = values_of(fields)[1:3]
        return np.array([10 * (y - x * x), 1 - x])

    def jacobian():
        x = values_of(fields)[1]
        result = np.zeros((2, 5))
        result[:, 1:3] = [[-20 * x, 10], [-1, 0]]
        return result

    optimizer = tsr.GaussNewton(fields, residuals, jacobian)
    costs = [optimizer.step() for _ in range(40)]
    assert (np.diff(costs) <= 0).all()
    assert optimizer.is_converged
    np.testing.assert_allclose(values_of(fields), [0, 1, 1, 0, 0], rtol=0, atol=tolerances.MINIMUM)


def test_where_the_jacobian_has_no_full_rank_the_shortest_step_is_taken(backend, fields):
    start(fields)
    matrix = np.array([[1.0, 1.0, 0.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0, 0.0]])
    optimizer = tsr.GaussNewton(
        fields, lambda: matrix @ values_of(fields) - [2.0, 4.0], lambda: matrix, trust_radius=9.0
    )
    assert optimizer.step() == pytest.approx(0.0, abs=tolerances.TWIN_CLOSED_FORM)
    np.testing.assert_allclose(
        values_of(fields), [1, 1, 0, 0, 0], rtol=0, atol=tolerances.TWIN_CLOSED_FORM
    )


def test_a_step_uphill_is_taken_back(backend, fields):
    start(fields, 1.0)
    optimizer = tsr.GaussNewton(fields, lambda: values_of(fields), lambda: -np.eye(5))
    assert optimizer.step() == 2.5
    np.testing.assert_array_equal(values_of(fields), np.ones(5))
    assert optimizer.trust_radius == pytest.approx(0.25)
    while not optimizer.is_converged:
        assert optimizer.step() == 2.5
    assert optimizer.num_steps < 15


def test_values_that_others_change_are_seen(backend, fields):
    start(fields, 1.0)
    optimizer = tsr.GaussNewton(fields, lambda: values_of(fields), lambda: np.eye(5), 0.1)
    optimizer.step()
    start(fields, 2.0)
    assert optimizer.step() == pytest.approx(0.5 * (np.sqrt(20) - 0.2) ** 2)


def test_the_dogleg_ends_on_the_trust_region(backend):
    matrix = np.random.default_rng(1).normal(size=(9, 5))
    gradient, hessian = matrix.T @ np.ones(9), matrix.T @ matrix
    full = dogleg(gradient, hessian, 1e3)
    np.testing.assert_allclose(full, -np.linalg.solve(hessian, gradient))
    for share in (0.01, 0.3, 0.6, 0.9, 0.99):
        radius = share * np.linalg.norm(full)
        assert np.linalg.norm(dogleg(gradient, hessian, radius)) == pytest.approx(radius)


def test_bad_input_is_refused(backend, fields):
    for wrong in ([], fields[0], [np.zeros(3)]):
        with pytest.raises(ValueError, match="fields must be a list of at least one field"):
            tsr.GaussNewton(wrong, None, None)
    with pytest.raises(ValueError, match="trust_radius and tolerance must be positive, got 0"):
        tsr.GaussNewton(fields, None, None, trust_radius=0)
    with pytest.raises(ValueError, match=r"residuals\(\) must have shape \(N,\), .*\(2, 2\)"):
        tsr.GaussNewton(fields, lambda: np.zeros((2, 2)), None).step()
    with pytest.raises(ValueError, match=r"jacobian\(\) must have shape .* = \(3, 5\), .*\(5, 3\)"):
        tsr.GaussNewton(fields, lambda: np.zeros(3), lambda: np.zeros((5, 3))).step()
    nowhere, steep = np.full(3, np.nan), np.full((3, 5), np.inf)
    for residual, jacobian in ((nowhere, steep), (np.zeros(3), steep)):
        optimizer = tsr.GaussNewton(fields, residual.copy, jacobian.copy)
        with pytest.raises(ValueError, match="NaN or infinite"):
            optimizer.step()


def test_single_precision_fields_converge(backend):
    field = ti.Vector.field(3, ti.f32, shape=())
    target = np.array([0.1, 1e3, -7.0])
    optimizer = tsr.GaussNewton(
        [field], lambda: field.to_numpy() - target, lambda: np.eye(3), trust_radius=10.0
    )
    while not optimizer.is_converged and optimizer.num_steps < 50:
        optimizer.step()
    assert optimizer.is_converged
    np.testing.assert_allclose(field.to_numpy(), target, rtol=tolerances.EXP_SINGLE)
