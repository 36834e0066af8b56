"""The cloth's film and its gradient by the throw, against NumPy; the throw comes out of a film."""

import numpy as np
import pytest

from tests.examples.loading import load_example
from tests.simulation.films import check_film, integrate, spring_forces

NUM_SUBSTEPS, ROWS, COLUMNS = 60, 4, 3


def check_cloth():
    example = load_example("sim_cloth")
    cloth = example.Cloth(NUM_SUBSTEPS, ROWS, COLUMNS, spacing=0.3)
    cloth.initial_velocity.from_numpy(np.array(example.VELOCITY))
    rest = cloth.positions.to_numpy()[0].astype(float)
    row, column = np.divmod(np.arange(ROWS * COLUMNS), COLUMNS)
    steps = abs(row[None] - row[:, None]) + abs(column[None] - column[:, None])
    lengths = np.linalg.norm(rest[None] - rest[:, None], axis=-1)
    rest_lengths = np.where((steps > 0) & (steps < 3), lengths, 0.0)
    is_free = np.isin(np.arange(ROWS * COLUMNS), (0, COLUMNS - 1), invert=True)[:, None]

    def simulate(initial_velocity):
        def accelerate(now, position, velocity):
            springs = spring_forces(
                position, velocity, rest_lengths, example.STIFFNESS, example.DAMPING
            )
            return is_free * (springs + example.GRAVITY - example.DRAG * velocity)

        start = rest, is_free * initial_velocity
        return integrate(*start, accelerate, example.SUBSTEP_SECONDS, NUM_SUBSTEPS)

    parameter = {"initial_velocity": cloth.initial_velocity}
    check_film(cloth, cloth.colors, parameter, [20, 60], simulate)


def test_gradient_by_the_throw(backend):
    check_cloth()


@pytest.mark.f64
def test_gradient_by_the_throw_in_double_precision(backend):
    check_cloth()


@pytest.mark.slow
@pytest.mark.cpu
def test_a_film_tells_the_throw(backend, tmp_path):
    result = load_example("sim_cloth").main(steps=20, output=tmp_path)
    assert result["relative_error"] < 0.3
