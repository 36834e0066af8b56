"""The pendulum: its swing by closed forms, its gradients by central differences, its bar."""

import numpy as np
import pytest

from tests import tolerances
from tests.examples.loading import load_example
from tests.simulation.image_gradient import ImageLoss

POINT = (1.2, 8.5, 0.4)  # length, gravity, damping
# central differences in double precision; the f64 test holds it, the f32 test uses it
GRADIENT = (0.14325295648320857, -0.008197677505566991, -0.002002635550446552)


@pytest.fixture(scope="module")
def image_loss(backend):
    example = load_example("sim_pendulum")
    pendulum = example.Pendulum(frames=16)
    return ImageLoss(pendulum, (0, -0.7, 3.2), (0, -0.7, 0), range(0, 16, 3), example.TRUTH)


def angles(pendulum, start, parameters):
    pendulum.state[0] = (start, 0.0)
    pendulum.parameters[None] = list(parameters)
    pendulum.run()
    return pendulum.state.to_numpy()[:, 0]


def period(start, length, gravity):
    """Without damping, by the arithmetic-geometric mean (Gauss)."""
    a, b = 1.0, np.cos(start / 2)
    for _ in range(6):
        a, b = (a + b) / 2, np.sqrt(a * b)
    return 2 * np.pi * np.sqrt(length / gravity) / a


@pytest.mark.f64
def test_swing_is_the_closed_form(backend):
    pendulum = load_example("sim_pendulum").Pendulum(frames=51)
    seconds = 0.1 * np.arange(51)
    # small swings are a damped cosine
    decay, start = 0.25, 1e-3
    frequency = np.sqrt(9.91 / 1.0 - decay**2)
    wave = np.cos(frequency * seconds) + decay / frequency * np.sin(frequency * seconds)
    expected = np.exp(-decay * seconds) * wave
    error = np.abs(angles(pendulum, start, (1.0, 9.91, 2 * decay)) / start - expected)
    assert error.max() < tolerances.RUNGE_KUTTA
    # a wide one without damping is back after a period: here of twenty frames
    length = (2.0 / period(2.0, 1.0, 9.91)) ** 2
    error = np.abs(angles(pendulum, 2.0, (length, 9.91, 0.0))[::20] - 2.0)
    assert error.max() < tolerances.RUNGE_KUTTA


@pytest.mark.f64
def test_bob_hangs_at_the_end_of_the_rod(backend):
    pendulum = load_example("sim_pendulum").Pendulum(frames=2)
    angle = angles(pendulum, 0.7, (1.5, 9.91, 0.5))[0]
    bob = pendulum.mesh.vertices.to_numpy()[0, 8:].mean(axis=0)
    expected = (1.5 * np.sin(angle), -1.5 * np.cos(angle), 0.0)
    np.testing.assert_allclose(bob, expected, rtol=0, atol=tolerances.TWIN_CLOSED_FORM)


@pytest.mark.f64
def test_gradient_is_central_differences(image_loss):
    expected = image_loss.central_differences(np.array(POINT))
    _, gradient = image_loss(POINT)
    assert np.abs(gradient / expected - 1).max() < tolerances.FINITE_DIFFERENCE_RELATIVE
    assert np.abs(GRADIENT / expected - 1).max() < tolerances.FINITE_DIFFERENCE_RELATIVE


def test_gradient_in_single_precision(image_loss):
    _, gradient = image_loss(POINT)
    assert np.abs(gradient / GRADIENT - 1).max() < tolerances.SINGLE_PRECISION_RELATIVE


@pytest.mark.slow
@pytest.mark.cpu
def test_length_gravity_and_damping_are_found(backend, tmp_path):
    result = load_example("sim_pendulum").main(output=tmp_path)
    assert max(result["relative_error"].values()) < 0.02
