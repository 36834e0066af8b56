"""Optimizers against NumPy restatements of their rules, gradients given."""

import warnings

import numpy as np
import pytest

from taichi_softras import optim
from taichi_softras.fields import FieldTree
from taichi_softras.optim import SGD, Adam
from taichi_softras.runtime import ti, variants_of
from tests import tolerances

STEPS = 50
SHAPES = [((), ()), ((700,), ()), ((5, 2), (3,)), ((4,), (2, 3))]  # of a field, of its elements
LEARNING_RATES = np.geomspace(0.1, 0.01, STEPS)


def adam_twin(value, grads, betas, eps):
    """Kingma & Ba 2015, algorithm 1, line by line."""
    beta_1, beta_2 = betas
    mean, mean_square = np.zeros_like(value), np.zeros_like(value)
    for t, (grad, learning_rate) in enumerate(zip(grads, LEARNING_RATES), start=1):
        mean = beta_1 * mean + (1 - beta_1) * grad
        mean_square = beta_2 * mean_square + (1 - beta_2) * grad**2
        unbiased_mean = mean / (1 - beta_1**t)
        unbiased_square = mean_square / (1 - beta_2**t)
        value = value - learning_rate * unbiased_mean / (np.sqrt(unbiased_square) + eps)
    return value


def sgd_twin(value, grads, momentum):
    """The rule of torch.optim.SGD."""
    velocity = np.zeros_like(value)
    for grad, learning_rate in zip(grads, LEARNING_RATES):
        velocity = momentum * velocity + grad
        value = value - learning_rate * velocity
    return value


@pytest.fixture(scope="module")
def fields(backend):
    """A 0-D, a scalar, a vector and a matrix field with gradient."""
    tree = FieldTree()
    fields = [tree.add(shape, components) for shape, components in SHAPES]
    tree.place()
    return fields


def check_steps(backend, fields, optimizer, twin):
    """Runs STEPS of random gradients and falling learning rates beside the twin."""
    random = np.random.default_rng(0)
    shapes = [shape + components for shape, components in SHAPES]
    values = [random.standard_normal(shape) for shape in shapes]
    grads = [random.standard_normal((STEPS, *shape)) + 0.5 for shape in shapes]
    for field, value in zip(fields, values):
        field.from_numpy(np.asarray(value, backend.numpy_float))
    for step in range(STEPS):
        for field, grad in zip(fields, grads):
            field.grad.from_numpy(np.asarray(grad[step], backend.numpy_float))
        optimizer.learning_rate = LEARNING_RATES[step]
        optimizer.step()
    tolerance = {"f32": tolerances.OPTIMIZER_SINGLE, "f64": tolerances.OPTIMIZER_DOUBLE}
    for field, value, grad in zip(fields, values, grads):
        np.testing.assert_allclose(
            field.to_numpy(), twin(value, grad), rtol=0, atol=tolerance[backend.precision]
        )


def test_adam_is_algorithm_1(backend, fields):
    twin = lambda value, grads: adam_twin(value, grads, (0.5, 0.99), 1e-8)  # noqa: E731
    check_steps(backend, fields, Adam(fields, betas=(0.5, 0.99)), twin)


@pytest.mark.f64
def test_adam_is_algorithm_1_in_double_precision(backend, fields):
    twin = lambda value, grads: adam_twin(value, grads, (0.9, 0.999), 1e-3)  # noqa: E731
    check_steps(backend, fields, Adam(fields, eps=1e-3), twin)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_the_rule_of_torch(backend, fields, momentum):
    twin = lambda value, grads: sgd_twin(value, grads, momentum)  # noqa: E731
    check_steps(backend, fields, SGD(fields, 1.0, momentum), twin)


@pytest.mark.parametrize(
    "optimizer, kernel", [(Adam, optim.adam_step), (lambda f: SGD(f, 0.1), optim.sgd_step)]
)
def test_steps_and_numbers_compile_nothing(backend, fields, optimizer, kernel):
    """All fields of an optimizer are one argument, which must be found again."""
    optimizer = optimizer(fields)
    fields[0].grad.fill(1.0)
    optimizer.step()
    before = len(variants_of(kernel._primal))
    for step in range(3):
        optimizer.learning_rate = 0.1 * step
        optimizer.step()
    assert len(variants_of(kernel._primal)) == before > 0


@pytest.mark.parametrize("make", [Adam, lambda f: SGD(f, 0.1)], ids=["Adam", "SGD"])
def test_gradients_that_are_all_zero_are_told_once(backend, fields, make):
    """At the next of the steps 1, 2, 4, 8, ... since when none was otherwise, of any field."""

    def told_at(grads):
        optimizer, steps = make(fields), []
        for step, grad in enumerate(grads, start=1):
            for field in fields[1:]:
                field.grad.fill(0.0)
            fields[0].grad[None] = grad
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                optimizer.step()
            steps += [step] * len(caught)
            assert all(f"all gradients were 0 at step {step}," in str(w.message) for w in caught)
        assert optimizer.num_steps == len(grads)
        return steps

    fields[0].grad[None] = 0.0
    assert told_at([0.0] * 9) == [1]
    assert told_at([1e-30] * 3 + [0.0] * 7) == [8]
    assert told_at([np.nan] + [0.0, 1.0] * 4) == [2]
    assert told_at([1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0]) == []


@pytest.mark.parametrize("component", [0, 5])
def test_one_entry_is_gradient_enough(backend, fields, component):
    """Of a vector or matrix; no warning, which would be an error here."""
    for field in fields:
        field.grad.fill(0.0)
    matrix = np.zeros((4, 6), backend.numpy_float)
    matrix[3, component] = -1e-30
    fields[3].grad.from_numpy(matrix.reshape(4, 2, 3))
    Adam(fields).step()


@ti.kernel
def add_distance(points: ti.template(), scale: ti.template(), loss: ti.template()):
    for i in points:
        loss[None] += (scale[None] * points[i] - ti.Vector([1.0, 2.0, 3.0])).norm_sqr()


@pytest.mark.parametrize(
    "make_optimizer",
    [lambda fields: Adam(fields, 0.1), lambda fields: SGD(fields, 0.01, 0.9)],
    ids=["Adam", "SGD"],
)
def test_fields_are_fitted_on_a_tape(backend, make_optimizer):
    tree = FieldTree()
    points, scale, loss = tree.add((2,), (3,)), tree.add(()), tree.add(())
    tree.place()
    scale[None] = 1.0
    optimizer = make_optimizer([points, scale])
    for _ in range(200):
        with ti.ad.Tape(loss):
            add_distance(points, scale, loss)
        optimizer.step()
    fitted = scale[None] * points.to_numpy()
    np.testing.assert_allclose(fitted, [[1, 2, 3]] * 2, atol=tolerances.OPTIMIZER_CONVERGED)


@pytest.mark.parametrize("optimizer", [Adam, lambda fields: SGD(fields, 0.1)], ids=["Adam", "SGD"])
def test_wrong_fields_are_refused(backend, fields, optimizer):
    with pytest.raises(ValueError, match=r"fields\[1\] has no gradient"):
        optimizer([fields[0], ti.field(float, 3)])
    with pytest.raises(ValueError, match=r"fields\[0\] has no gradient"):
        optimizer([ti.field(int, 3)])
    with pytest.raises(ValueError, match="got ndarray"):
        optimizer([np.zeros(3)])
    for wrong in ([], fields[0]):
        with pytest.raises(ValueError, match="fields must be a list"):
            optimizer(wrong)


def test_wrong_betas_are_refused(backend, fields):
    with pytest.raises(
        ValueError, match=r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"
    ):
        Adam(fields, betas=(0.9, 1.0))
