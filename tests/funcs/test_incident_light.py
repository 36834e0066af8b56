"""What arrives from lights, and what a matt surface sends back: values and derivatives."""

import numpy as np
import pytest

from taichi_softras.funcs.lights import (
    DIRECTIONAL,
    HARMONICS,
    KINDS,
    POINT,
    SIZES,
    SPOT,
    LightStructure,
    incident,
    matt,
    matt_vjp,
    numbers_of,
)
from taichi_softras.runtime import ti
from tests import tolerances
from tests.funcs.derivatives import check_derivatives, vector_field, vector_fields
from tests.reference.lights import matt as matt_twin

POINTS = 40


@ti.func
def primal(kind: ti.template(), inputs: ti.template(), values: ti.template()):
    for i in values:
        light = numbers_of(kind, inputs[0][i], 0)
        values[i] = matt(kind, light, inputs[1][i], inputs[2][i])


@ti.func
def pull_back(kind: ti.template(), inputs: ti.template(), grad: ti.template(), out: ti.template()):
    for i in grad:
        light = numbers_of(kind, inputs[0][i], 0)
        grads = matt_vjp(kind, light, inputs[1][i], inputs[2][i], grad[i])
        out[0][i], out[1][i], out[2][i] = grads.light, grads.normal, grads.point


def random_lights(kind, generator):
    """(N, numbers) lights, (N, 3) unit normals and (N, 3) points, with parts that are lit."""
    light = generator.normal(size=(POINTS, SIZES[kind]))
    normal, point = generator.normal(size=(2, POINTS, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    if kind in (POINT, SPOT):
        light[:, 6:9] = generator.uniform(0.1, 1.0, (POINTS, 3))
    if kind == SPOT:  # they look roughly at the points
        light[:, 9:12] = point - light[:, :3] + 0.5 * light[:, 9:12]
        light[:, 12] = generator.uniform(2, 10, POINTS)
        light[:, 13] = generator.uniform(40, 85, POINTS)
    return light, normal, point


@pytest.mark.f64
@pytest.mark.parametrize("kind", KINDS)
def test_of_every_kind(backend, kind):
    """Values against NumPy, derivatives against differences."""

    @ti.kernel
    def forward(inputs: ti.template(), values: ti.template()):
        primal(kind, inputs, values)

    @ti.kernel
    def backward(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
        pull_back(kind, inputs, grad, gradients)

    light, normal, point = random_lights(kind, np.random.default_rng(kind))
    values = vector_field(np.zeros((POINTS, 3)))
    forward(vector_fields((light, normal, point)), values)
    expected = matt_twin(kind, light, normal, point)
    assert 0.2 < (np.abs(expected).max(axis=1) > 0).mean()
    np.testing.assert_allclose(values.to_numpy(), expected, rtol=0, atol=tolerances.TWIN_DOUBLE)
    inputs = {"light": light, "normal": normal, "point": point, "none": light[:, :1]}
    check_derivatives(forward, backward, None, inputs, 3)


@ti.kernel
def arrive(kind: ti.template(), light: ti.template(), point: ti.template(), out: ti.template()):
    arriving = incident(kind, numbers_of(kind, light[0], 0), point[0])
    out[0], out[1] = arriving.direction, arriving.color


def arriving(kind, light, point):
    out = vector_field(np.zeros((2, 3)))
    arrive(kind, vector_field(np.array([light])), vector_field(np.array([point])), out)
    return out.to_numpy()


def test_a_light_at_the_point_is_finite(backend):
    light = (1.0, 2.0, 3.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0)
    direction, color = arriving(POINT, light, (1.0, 2.0, 3.0))
    np.testing.assert_array_equal(direction, 0)
    assert np.isfinite(color).all()


def test_the_cone_of_a_spot(backend):
    """All within the inner angle, nothing outside of the outer one, a quarter halfway."""
    halfway = np.arccos((np.cos(np.radians(20)) + np.cos(np.radians(50))) / 2)
    for angle, expected in (
        (np.radians(19), 1.0),
        (halfway, 0.25),
        (np.radians(51), 0.0),
        (np.radians(170), 0.0),
    ):
        light = (0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, -2, 20, 50)
        _, color = arriving(SPOT, np.float64(light), (np.sin(angle), 0, -np.cos(angle)))
        np.testing.assert_allclose(color, expected, atol=1e-5)


def test_padding():
    structure = LightStructure(ambient=1, directional=3, point=5, harmonics=1)
    padded = structure.padded()
    assert padded == LightStructure(1, 4, 8, 0, 1)
    assert padded.size == 3 + 24 + 72 + 27
    assert padded.places((DIRECTIONAL,)) == tuple((DIRECTIONAL, 3 + 6 * k) for k in range(4))
    assert padded.places((HARMONICS,)) == ((HARMONICS, 99),)
