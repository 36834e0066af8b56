"""`Flat` and `Gouraud` under any mix of lights, through the renderer."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.funcs.lights import POINT, SPOT
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rasterizers.scenes import fields_of
from tests.reference import lights as twin
from tests.test_extending import (
    assert_gradient_is_the_difference,
    cotangent_of,
    make_renderer,
    soft,
)

POSITION, COLOR = [(1.5, 2.0, 1.0)], [(0.9, 0.8, 0.7)]


def spot():
    return tsr.SpotLights([(0.0, 0.5, 2.5)], [(0, -0.1, -1)], [(0.3, 0.5, 0.9)], 5.0, 40.0)


@pytest.mark.gradients
@pytest.mark.f64
@pytest.mark.parametrize("shading", [tsr.Flat(), tsr.Gouraud()], ids=repr)
def test_gradients_to_places_and_cones(backend, shading):
    lights = [tsr.PointLights(POSITION, COLOR, (0.3, 0.2, 0.1)), spot(), tsr.AmbientLight()]
    renderer = make_renderer(soft(), shading, lights=lights)
    cotangent = cotangent_of(renderer.render())
    renderer.backward(cotangent)
    fields = fields_of(lights)
    gradients = [field.grad.to_numpy() for field in fields.values()]
    of_vertices = renderer.mesh.vertices.grad.to_numpy()

    def loss():
        return (cotangent * renderer.render().to_numpy()).sum()

    for (name, field), gradient in zip(fields.items(), gradients):
        assert_gradient_is_the_difference(field, gradient, loss, 1e-5, name)
    assert_gradient_is_the_difference(renderer.mesh.vertices, of_vertices, loss, name="vertices")


def placed_colors(renderer):
    """(F, 3, 3) lit colours of the corners."""
    return renderer._without_tape(renderer._pipeline.place, 0, 1).varyings.to_numpy()[0]


def test_a_face_is_lit_at_its_centre(backend):
    point = tsr.PointLights(POSITION, COLOR, (0.3, 0.2, 0.1))
    renderer = make_renderer(None, tsr.Flat(), lights=[spot(), point])
    mesh = renderer.mesh
    corners = mesh.vertices.to_numpy()[mesh.faces_array].astype(float)
    centres = corners.mean(axis=1)
    a, b, c = np.moveaxis(corners, 1, 0)
    normals = twin.normalized(np.cross(b - a, c - a))
    of_point = [*POSITION[0], *COLOR[0], 0.3, 0.2, 0.1]
    of_spot = [0, 0.5, 2.5, 0.3, 0.5, 0.9, 1, 0, 0, 0, -0.1, -1, 5, 40]
    light = sum(
        twin.matt(kind, np.tile(np.float64(numbers), (len(centres), 1)), normals, centres)
        for kind, numbers in ((POINT, of_point), (SPOT, of_spot))
    )
    expected = mesh.vertex_colors.to_numpy()[mesh.faces_array] * light[:, None]
    error = relative_error(placed_colors(renderer), expected)
    assert error < tolerances.SINGLE_PRECISION_RELATIVE


@pytest.mark.parametrize("shading", [tsr.Flat(), tsr.Gouraud()], ids=repr)
def test_lights_are_an_ambient_light_and_directional_ones(backend, shading):
    """Several of a kind add up; none at all is black."""
    directions, colors = (
        [(0.2, 1, 0.3), (-0.5, 0.1, 0.4)],
        np.float64([(0.5, 0.4, 0.3), (0.2, 0.3, 0.1)]),
    )
    whole = tsr.Lights((0.3, 0.2, 0.1), directions, colors)
    parts = [
        tsr.AmbientLight((0.1, 0.1, 0.1)),
        tsr.DirectionalLights(directions[:1], colors[:1]),
        tsr.AmbientLight((0.2, 0.1, 0.0)),
        tsr.DirectionalLights(directions[1:], colors[1:]),
    ]
    expected, actual, black = (
        placed_colors(make_renderer(None, shading, lights=lights)) for lights in (whole, parts, [])
    )
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert expected.max() > 0.3 and not black.any()
