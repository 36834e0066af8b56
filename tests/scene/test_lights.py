"""Lights: what is stored, and the errors at the door."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.funcs.lights import LightStructure
from taichi_softras.scene.lights import Lights, group_lights

pytestmark = pytest.mark.cpu  # what the host does


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


DIRECTION, COLOR = [(0, 0, 2)], [(1, 1, 1)]


def test_every_light_holds_what_was_given(backend):
    spots = tsr.SpotLights([(1, 2, 3)] * 2, DIRECTION * 2, COLOR * 2, 10.0, (20.0, 30.0), (1, 2, 3))
    np.testing.assert_array_equal(spots.positions.to_numpy(), [(1, 2, 3)] * 2)
    np.testing.assert_array_equal(spots.inner_degrees.to_numpy(), [10, 10])
    np.testing.assert_array_equal(spots.outer_degrees.to_numpy(), [20, 30])
    np.testing.assert_array_equal(spots.falloff.to_numpy(), [(1, 2, 3)] * 2)
    points = tsr.PointLights([(1, 2, 3)], COLOR)
    np.testing.assert_array_equal(points.falloff.to_numpy(), [(1, 0, 0)])
    points.positions = (4, 5, 6)
    np.testing.assert_array_equal(points.positions.to_numpy(), [(4, 5, 6)])
    assert all(field.grad is not None for field in (spots.outer_degrees, points.falloff))


def test_lights_are_one_run_of_numbers(backend):
    """Those of a kind together, padded."""
    group = group_lights(
        [
            tsr.PointLights([(1, 2, 3)] * 3, COLOR * 3),
            tsr.Lights(),
            tsr.AmbientLight(),
            tsr.DirectionalLights(DIRECTION, COLOR),
            tsr.SphericalHarmonics(np.ones((9, 3))),
        ]
    )
    assert group.structure == LightStructure(2, 2, 4, 0, 1)
    starts = [(start, step) for _, start, step in group.uniform_fields]
    of_points, of_lights = [(18, 9), (21, 9), (24, 9)], [(0, 3), (6, 6), (9, 6)]
    assert starts == [*of_points, *of_lights, (3, 3), (12, 6), (15, 6), (54, 3)]


@pytest.mark.parametrize(
    "kind, arguments, message",
    [
        (tsr.AmbientLight, (0.5,), r"color must have shape \(3,\)"),
        (tsr.DirectionalLights, (DIRECTION, COLOR * 2), r"colors must have shape \(1, 3\)"),
        (
            tsr.DirectionalLights,
            ([(0, 0, 0)], COLOR),
            "directions must not be zero: .* tow",
        ),
        (tsr.PointLights, ([(0, np.nan, 0)], COLOR), "positions must be finite"),
        (tsr.PointLights, (DIRECTION, COLOR, (0, 0, 0)), r"falloff must be .* not all zero"),
        (tsr.PointLights, (DIRECTION, COLOR, (1, -1, 0)), r"falloff must be .* none negative"),
        (tsr.PointLights, (DIRECTION, COLOR, (1, 0)), r"falloff must have shape \(1, 3\)"),
        (tsr.SpotLights, (DIRECTION, DIRECTION, COLOR, 40, 30), "0 <= inner_degrees <= outer"),
        (tsr.SpotLights, (DIRECTION, DIRECTION, COLOR, 40, 91), "outer_degrees <= 90"),
        (tsr.SpotLights, (DIRECTION, [(0, 0, 0)], COLOR), "directions must not .* light shines"),
    ],
)
def test_every_light_refuses(backend, kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(*arguments)


@pytest.mark.parametrize("lights", ["sun", [1.0], tsr.PointLights])
def test_what_is_no_light_is_refused(backend, lights):
    with pytest.raises(ValueError, match="lights must be a"):
        group_lights(lights)
