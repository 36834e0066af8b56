"""Lights: what is stored, and the errors at the door."""

import numpy as np
import pytest

from taichi_softras.scene.lights import Lights


def test_lights_hold_what_was_given(backend):
    lights = Lights((0.1, 0.2, 0.3), [(0, 2, 0), (1, 0, 0)], np.full((2, 3), 0.25))
    np.testing.assert_array_equal(lights.ambient.to_numpy(), np.float32([0.1, 0.2, 0.3]))
    np.testing.assert_array_equal(lights.directions.to_numpy(), [(0, 2, 0), (1, 0, 0)])
    np.testing.assert_array_equal(lights.colors.to_numpy(), np.full((2, 3), 0.25))


def test_without_directions_a_black_light_stands_in(backend):
    lights = Lights(directions=(), colors=())
    np.testing.assert_array_equal(lights.colors.to_numpy(), np.zeros((1, 3)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(ambient=0.5), r"ambient must have shape \(3,\)"),
        (dict(directions=[(0, 1, 0), (1, 0, 0)]), r"colors must have shape \(2, 3\)"),
        (dict(directions=[(0, 0, 0)]), "directions must not be zero"),
        (dict(colors=[(0, 0, np.inf)]), "colors must be finite"),
    ],
)
def test_lights_refuse(backend, arguments, message):
    with pytest.raises(ValueError, match=message):
        Lights(**arguments)
