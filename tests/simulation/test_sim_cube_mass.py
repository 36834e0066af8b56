"""The cube's film and its gradient by the masses, against NumPy; masses come out of a film."""

import numpy as np
import pytest

from tests.examples.loading import load_example
from tests.simulation.films import check_film, integrate, spring_forces

NUM_SUBSTEPS = 48  # the push ends in between


def check_cube():
    example = load_example("sim_cube_mass")
    cube = example.Cube(NUM_SUBSTEPS)
    cube.masses.from_numpy(np.array(example.MASSES_KG))
    rest_lengths = np.linalg.norm(cube.corners[None] - cube.corners[:, None], axis=-1)

    def simulate(masses):
        def accelerate(now, position, velocity):
            forces = spring_forces(
                position, velocity, rest_lengths, example.STIFFNESS, example.DAMPING
            )
            if now * example.SUBSTEP_SECONDS < example.PUSH_SECONDS:
                forces[example.PUSHED_CORNER] += example.PUSH_NEWTON
            return forces / masses[:, None]

        start = cube.corners, np.zeros((8, 3))
        return integrate(*start, accelerate, example.SUBSTEP_SECONDS, NUM_SUBSTEPS)

    check_film(cube, 0.5 + 0.7 * cube.corners, {"masses": cube.masses}, [20, 48], simulate)


def test_gradient_by_the_masses(backend):
    check_cube()


@pytest.mark.f64
def test_gradient_by_the_masses_in_double_precision(backend):
    check_cube()


@pytest.mark.slow
@pytest.mark.cpu
def test_a_film_tells_the_masses(backend, tmp_path):
    result = load_example("sim_cube_mass").main(steps=40, output=tmp_path)
    assert result["largest_relative_error"] < 0.05
