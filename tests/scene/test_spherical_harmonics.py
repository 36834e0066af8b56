"""Spherical harmonics against integrals over the sphere, and closed forms."""

import numpy as np
import pytest

from taichi_softras.funcs.harmonics import harmonics
from taichi_softras.runtime import ti
from taichi_softras.scene.spherical_harmonics import SphericalHarmonics
from taichi_softras.workspace import array
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
def reflect_all(normals: array(float, 2), reflected: array(float, 2)):
    for i in range(normals.shape[0]):
        basis = harmonics(load_vec3(normals, i))
        for k in ti.static(range(9)):
            reflected[i, k] = basis[k]


@ti.func
def load_vec3(rows: ti.template(), i: int):
    return ti.math.vec3(rows[i, 0], rows[i, 1], rows[i, 2])


def reflections(points):
    """(N, 9): what each harmonic alone gives."""
    normals, reflected = ti.ndarray(float, points.shape), ti.ndarray(float, (len(points), 9))
    normals.from_numpy(np.ascontiguousarray(points))
    reflect_all(normals, reflected)
    return reflected.to_numpy()


@pytest.mark.f64
def test_the_harmonics_are_orthonormal(backend):
    points, weights = sphere_rule(4)
    basis = reflections(points) / KEPT
    products = (basis * weights[:, None]).T @ basis
    np.testing.assert_allclose(products, np.eye(9), rtol=0, atol=tolerances.TWIN_CLOSED_FORM)


@pytest.mark.f64
def test_a_matt_surface_sees_the_hemisphere(backend):
    """The integral of light times cosine over pi; the cosine's edge costs the rule its digits."""
    points, weights = sphere_rule(120)
    basis = reflections(points) / KEPT
    normals = np.random.default_rng(0).normal(size=(10, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    expected = np.maximum(normals @ points.T, 0) * weights @ basis / np.pi
    np.testing.assert_allclose(reflections(normals), expected, atol=tolerances.SPHERE_RULE)


def test_the_constant_term_lights_all_alike_and_the_linear_ones_are_cosines(backend):
    points, _ = sphere_rule(6)
    basis = reflections(points.astype(backend.numpy_float))
    tolerance = tolerances.SIGMOID_SINGLE
    np.testing.assert_allclose(basis[:, 0] * np.sqrt(4 * np.pi), 1, atol=tolerance)
    cosines = basis[:, [3, 1, 2]] * np.sqrt(4 * np.pi / 3) * 3 / 2
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
