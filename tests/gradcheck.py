"""Holds gradients of recorded kernels against central differences of a NumPy twin."""

import weakref

import numpy as np

from taichi_softras.runtime import current_runtime, ti
from tests import measured
from tests.tolerances import FINITE_DIFFERENCE_RELATIVE, SINGLE_PRECISION_RELATIVE

STEP = 1e-6


def check_gradient(run_forward, inputs: dict, output, twin=None, seed: int = 0) -> float:
    """Compares output and gradients under a random cotangent, and prints the largest error.

    Args:
        run_forward: runs the kernels that compute `output` from `inputs`.
        inputs: fields with gradient by name.
        output: the field that is differentiated.
        twin: takes NumPy f64 arrays by the names of `inputs` and returns what `output` should
            be; without one `run_forward` itself is differentiated, which needs f64.
        seed: of the cotangent.

    Returns:
        The largest error of a gradient, relative to the largest entry of that gradient.
    """
    values = {name: field.to_numpy().astype(np.float64) for name, field in inputs.items()}
    run_forward()
    cotangent = np.random.default_rng(seed).normal(size=output.to_numpy().shape)
    gradients = recorded_gradients(run_forward, inputs, output, cotangent)

    double = output.to_numpy().dtype == np.float64
    tolerance = FINITE_DIFFERENCE_RELATIVE if double else SINGLE_PRECISION_RELATIVE
    if twin is None:
        twin = _rerun(run_forward, inputs, output)
    error = relative_error(output.to_numpy(), twin(**values))
    assert error < tolerance, f"output: relative error {error:.1e}"

    worst = 0.0
    for name in inputs:
        expected = central_differences(twin, values, name, cotangent)
        error = relative_error(gradients[name], expected)
        print(f"{name}: largest relative error {error:.1e}")
        measured.errors.append((name, error))
        assert error < tolerance, f"gradient of {name}: relative error {error:.1e}"
        worst = max(worst, error)
    return worst


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest error of an array, relative to the largest entry of what it should be.

    No floor: small gradients are held as strictly as large ones. What should be all zero must be
    zero to the last bit; the error is infinite otherwise.
    """
    error = np.abs(actual - expected).max()
    scale = np.abs(expected).max()
    if scale > 0:
        return error / scale
    return 0.0 if error == 0 else np.inf


def recorded_gradients(run_forward, inputs: dict, output, cotangent: np.ndarray) -> dict:
    """Gradients of sum(cotangent * output) from a tape around `run_forward`."""

    @ti.ad.grad_replaced
    def seed_output():
        pass

    @ti.ad.grad_for(seed_output)
    def seed_output_gradient():
        output.grad.from_numpy(cotangent.astype(output.to_numpy().dtype))

    loss = _scalar_loss()
    with ti.ad.Tape(loss):
        run_forward()
        seed_output()
    return {name: field.grad.to_numpy().astype(np.float64) for name, field in inputs.items()}


def central_differences(function, values: dict, name: str, cotangent: np.ndarray) -> np.ndarray:
    """Derivative of sum(cotangent * function(**values)) by every entry of `values[name]`.

    Zeros where all of it is no more than the rounding of such a sum, over the step.
    """
    gradient = np.zeros_like(values[name])
    for index in np.ndindex(gradient.shape):
        sums = []
        for step in (STEP, -STEP):
            moved = values[name].copy()
            moved[index] += step
            sums.append((cotangent * function(**{**values, name: moved})).sum())
        gradient[index] = (sums[0] - sums[1]) / (2 * STEP)
    terms = np.abs(cotangent * function(**values)).sum()
    return gradient * (np.abs(gradient).max() > np.finfo(float).eps * terms / STEP)


def _rerun(run_forward, inputs: dict, output):
    def twin(**values):
        for name, value in values.items():
            inputs[name].from_numpy(value)
        run_forward()
        return output.to_numpy()

    return twin


_losses = weakref.WeakKeyDictionary()  # one 0-D field a Taichi runtime: fields are never freed


def _scalar_loss():
    program = current_runtime()()
    if program not in _losses:
        _losses[program] = ti.field(float, shape=(), needs_grad=True)
    return _losses[program]
