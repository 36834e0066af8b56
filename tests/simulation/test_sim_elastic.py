"""The elastic beam: its image's gradient by Young's modulus, and what the example recovers."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti
from tests.examples.loading import load_example
from tests.tolerances import FINITE_DIFFERENCE_RELATIVE, SINGLE_PRECISION_RELATIVE

STEP = 1e-5  # of the logarithm
GRADIENT = -0.001238314740564246  # in double precision, by central differences


@pytest.fixture
def differentiate(backend):
    """A short film of a small beam: (loss, gradient) at a logarithm of Young's modulus."""
    example = load_example("sim_elastic")
    beam = example.Beam(cells=(4, 1, 1), steps=120)
    renderer = example.make_renderer(beam, (24, 24), frames=[60, 119])
    renderer.rasterizer = tsr.SoftAggregation(sigma=1e-3, near=1.0, far=100.0)
    target = np.zeros((2, 24, 24), backend.numpy_float)
    loss = ti.field(float, shape=(), needs_grad=True)

    def evaluate(log_youngs):
        beam.log_youngs[None] = log_youngs
        with ti.ad.Tape(loss):
            beam.run()
            tsr.losses.mean_squared_error(renderer.render(), target, loss)
        return loss[None], beam.log_youngs.grad[None]

    return evaluate


@pytest.mark.f64
def test_a_stretched_beam_pulls_as_hooke_says(backend):
    """Stretched by e and narrower by Poisson's ratio times e: E e a unit of area at the end."""
    example = load_example("sim_elastic")
    beam, stretch, youngs = example.Beam(cells=(2, 2, 2), steps=2), 1e-7, 700.0
    rest = beam.x.to_numpy()
    strain = stretch * np.array((1.0, -example.POISSON, -example.POISSON))
    beam.x.from_numpy(rest * (1 + strain))
    beam.log_youngs[None] = np.log(youngs)
    beam.run()
    acceleration = beam.v.to_numpy()[1] / example.DT - example.GRAVITY
    length, *sides = example.BEAM
    tets = beam.tets.to_numpy()
    masses = np.bincount(tets.ravel()) * length * np.prod(sides) / len(tets) / 4
    is_end = rest[0, :, 0] == length
    pull = (masses[:, None] * acceleration)[is_end].sum(axis=0)
    expected = youngs * stretch * np.prod(sides)
    assert np.abs(pull / expected + (1, 0, 0)).max() < FINITE_DIFFERENCE_RELATIVE


@pytest.mark.f64
def test_gradient_is_that_of_central_differences(differentiate):
    _, gradient = differentiate(6.5)
    difference = (differentiate(6.5 + STEP)[0] - differentiate(6.5 - STEP)[0]) / (2 * STEP)
    assert gradient == pytest.approx(difference, rel=FINITE_DIFFERENCE_RELATIVE)
    assert gradient == pytest.approx(GRADIENT, rel=FINITE_DIFFERENCE_RELATIVE)


def test_gradient_in_single_precision(differentiate):
    _, gradient = differentiate(6.5)
    assert gradient == pytest.approx(GRADIENT, rel=SINGLE_PRECISION_RELATIVE)


@pytest.mark.slow
@pytest.mark.cpu
def test_young_s_modulus_is_recovered(backend, tmp_path):
    result = load_example("sim_elastic").main(output=tmp_path)
    assert result["relative_error"] < 0.05
