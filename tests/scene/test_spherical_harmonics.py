"""Spherical harmonics against integrals over the sphere, and closed forms."""

import numpy as np
import pytest
import taichi as ti

from taichi_softras.scene.spherical_harmonics import SphericalHarmonics
from tests import tolerances

KEPT = np.array([1, *[2 / 3] * 3, *[1 / 4] * 5])  # by a matt surface, of each harmonic


def sphere_rule(order):
    """(N, 3) directions and (N,) weights that integrate polynomials of this order exactly."""
    z, weights = np.polynomial.legendre.leggauss(order // 2 + 1)
    azimuth = np.arange(order + 1) * 2 * np.pi / (order + 1)
    radius = np.sqrt(1 - z * z)[:, None]
    z = np.broadcast_to(z[:, None], (len(z), len(azimuth)))
    points = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=-1)
    weights = np.repeat(weights * 2 * np.pi / len(azimuth), len(azimuth))
    return points.reshape(-1, 3), weights


@ti.kernel
def reflect_all(normals: ti.template(), lights: ti.template(), reflected: ti.template()):
    for i in normals:
        reflected[i] = lights.reflect(normals[i])


def reflections(points):
    """(N, 9): what each harmonic alone gives, of the field that three at a time are lit by."""
    normals = ti.Vector.field(3, float, len(points))
    reflected = ti.Vector.field(3, float, len(points))
    normals.from_numpy(points)
    columns = []
    for first in (0, 3, 6):
        lights = SphericalHarmonics(np.eye(9)[:, first : first + 3])
        reflect_all(normals, lights, reflected)
        columns.append(reflected.to_numpy())
    return np.concatenate(columns, axis=1)


@pytest.mark.f64
def test_the_harmonics_are_orthonormal(backend):
    points, weights = sphere_rule(4)
    harmonics = reflections(points) / KEPT
    products = (harmonics * weights[:, None]).T @ harmonics
    np.testing.assert_allclose(products, np.eye(9), rtol=0, atol=tolerances.TWIN_CLOSED_FORM)


@pytest.mark.f64
def test_a_matt_surface_sees_the_hemisphere(backend):
    """The integral of light times cosine over pi; the cosine's edge costs the rule its digits."""
    points, weights = sphere_rule(120)
    harmonics = reflections(points) / KEPT
    normals = np.random.default_rng(0).normal(size=(10, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    expected = np.maximum(normals @ points.T, 0) * weights @ harmonics / np.pi
    np.testing.assert_allclose(reflections(normals), expected, atol=tolerances.SPHERE_RULE)


def test_the_constant_term_lights_all_alike_and_the_linear_ones_are_cosines(backend):
    points, _ = sphere_rule(6)
    harmonics = reflections(points.astype(backend.numpy_float))
    tolerance = tolerances.SIGMOID_SINGLE
    np.testing.assert_allclose(harmonics[:, 0] * np.sqrt(4 * np.pi), 1, atol=tolerance)
    cosines = harmonics[:, [3, 1, 2]] * np.sqrt(4 * np.pi / 3) * 3 / 2
    np.testing.assert_allclose(cosines, points, atol=tolerance)


@pytest.mark.parametrize(
    "coefficients, message",
    [
        (np.zeros((4, 3)), r"coefficients must have shape \(9, 3\), .*\(4, 3\)"),
        (np.zeros(9), r"coefficients must have shape \(9, 3\)"),
        (np.full((9, 3), np.nan), "coefficients must be finite"),
    ],
)
def test_harmonics_refuse(backend, coefficients, message):
    with pytest.raises(ValueError, match=message):
        SphericalHarmonics(coefficients)
