"""The jelly: its image's gradient by the forces, and how well the example covers the heart."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti
from tests.examples.loading import load_example
from tests.tolerances import FINITE_DIFFERENCE_RELATIVE, SINGLE_PRECISION_RELATIVE

STEP = 1e-5  # of the forces
# in double precision, by central differences
SLOPES = [-0.0011923820740983, 0.0005748109444375, 0.00023375377659945, -0.00082757925695364]


@pytest.fixture
def differentiate(backend):
    """A small jelly's last frame: (loss, gradient of all forces) at given forces."""
    jelly = load_example("control_to_image").Jelly(rings=2, knots=3, interval=8)
    camera = tsr.Camera.look_at((0.0, 0.0, 2.4), needs_grad=False)
    method = tsr.SoftAggregation(sigma=1e-2)
    renderer = tsr.Renderer(
        jelly.mesh, camera, (24, 24), method, tsr.Silhouette(), frames=[jelly.steps - 1]
    )
    target = np.zeros((1, 24, 24), backend.numpy_float)
    target[:, :12, 12:] = 1.0
    loss = ti.field(float, shape=(), needs_grad=True)

    def evaluate(forces):
        jelly.forces.from_numpy(forces.astype(backend.numpy_float))
        with ti.ad.Tape(loss):
            jelly.run()
            tsr.losses.mean_squared_error(renderer.render(), target, loss)
        return loss[None], jelly.forces.grad.to_numpy()

    return evaluate


def forces_and_directions():
    """(3, 13, 3) forces, the first for the wind, and (4, 3, 13, 3) ways to change them."""
    return np.split(np.random.default_rng(0).normal(size=(5, 3, 13, 3)) * 5.0, [1])


@pytest.mark.f64
def test_gradient_is_that_of_central_differences(differentiate):
    (forces,), directions = forces_and_directions()
    _, gradient = differentiate(forces)
    slopes = (directions * gradient).sum(axis=(1, 2, 3))
    ends = [[differentiate(forces + s * STEP * d)[0] for s in (1, -1)] for d in directions]
    differences = np.subtract(*np.transpose(ends)) / (2 * STEP)
    np.testing.assert_allclose(slopes, differences, rtol=FINITE_DIFFERENCE_RELATIVE)
    np.testing.assert_allclose(slopes, SLOPES, rtol=FINITE_DIFFERENCE_RELATIVE)


def test_gradient_in_single_precision(differentiate):
    (forces,), directions = forces_and_directions()
    slopes = (directions * differentiate(forces)[1]).sum(axis=(1, 2, 3))
    error = np.abs(slopes - SLOPES).max() / np.abs(SLOPES).max()
    assert error < SINGLE_PRECISION_RELATIVE


@pytest.mark.slow
@pytest.mark.cpu
def test_the_jelly_covers_the_heart(backend, tmp_path):
    """Fewer than the example's 200; both reach the bar."""
    result = load_example("control_to_image").main(steps=140, output=tmp_path)
    assert result["iou"] > 0.95
