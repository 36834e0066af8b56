"""The bouncing ball: its flight by closed form, its gradients by central differences, its bar."""

import numpy as np
import pytest

from tests import tolerances
from tests.examples.loading import load_example
from tests.simulation.image_gradient import ImageLoss

POINTS = [(1.5, -9.7), (1.0, -11.0)]  # speed, gravity
# central differences in double precision; the f64 test holds them, the f32 test uses them
GRADIENTS = [
    (0.026355346560529014, 4.042851557001237e-05),
    (-0.0025822682752935783, -0.0023137229521619923),
]


def flight(speed, gravity, seconds, restitution):
    """Right and above the ground in closed form: each bounce starts a parabola."""
    start, up, height = 0.0, 0.5 * speed, 2.0
    while True:
        impact = np.sqrt(up**2 - 2 * gravity * height)
        duration = (up + impact) / -gravity
        if start + duration > seconds:
            t = seconds - start
            return -3.0 + 0.866 * speed * seconds, height + up * t + 0.5 * gravity * t**2
        start, up, height = start + duration, restitution * impact, 0.0


@pytest.fixture(scope="module")
def image_loss(backend):
    example = load_example("sim_bouncing_ball")
    ball = example.BouncingBall(frames=46)
    return ImageLoss(ball, (1, 1.5, 9), (1, 1.5, 0), range(0, 46, 5), example.TRUTH)


@pytest.mark.f64
def test_flight_is_the_closed_form(backend):
    example = load_example("sim_bouncing_ball")
    ball = example.BouncingBall(frames=100)
    ball.parameters[None] = [1.3, -9.4]
    ball.run()
    expected = [flight(1.3, -9.4, frame / 30, example.RESTITUTION) for frame in range(100)]
    error = np.abs(ball.state.to_numpy()[:, :2] - expected).max()
    assert error < tolerances.FLIGHT_DOUBLE
    centres = ball.mesh.vertices.to_numpy().mean(axis=1)[:, :2] - (0, example.RADIUS)
    assert np.abs(centres - expected).max() < tolerances.FLIGHT_DOUBLE


@pytest.mark.f64
@pytest.mark.parametrize("case", range(len(POINTS)))
def test_gradients_are_central_differences(image_loss, case):
    point = np.array(POINTS[case])
    expected = image_loss.central_differences(point)
    _, gradient = image_loss(point)
    error = np.abs(gradient / expected - 1).max()
    assert error < tolerances.FINITE_DIFFERENCE_RELATIVE
    assert np.abs(GRADIENTS[case] / expected - 1).max() < tolerances.FINITE_DIFFERENCE_RELATIVE


@pytest.mark.parametrize("case", range(len(POINTS)))
def test_gradients_in_single_precision(image_loss, case):
    _, gradient = image_loss(POINTS[case])
    error = np.abs(gradient / GRADIENTS[case] - 1).max()
    assert error < tolerances.SINGLE_PRECISION_RELATIVE


@pytest.mark.slow
@pytest.mark.cpu
def test_speed_and_gravity_are_found(backend, tmp_path):
    result = load_example("sim_bouncing_ball").main(output=tmp_path)
    assert max(result["relative_error"].values()) < 0.02
