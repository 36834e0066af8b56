"""Environment maps: their projection against integrals, what they light, gradients, errors."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.funcs.harmonics import CONSTANT, LINEAR, QUADRATIC, QUADRATIC_Z
from taichi_softras.runtime import ti
from taichi_softras.shading.projection import HARMONIC_OF_PRODUCT, integrals
from tests import tolerances
from tests.gradcheck import relative_error
from tests.reference.lights import irradiance
from tests.test_extending import (
    assert_gradient_is_the_difference,
    cotangent_of,
    make_renderer,
    soft,
)

SIZE = (3, 5)
LIT = [tsr.Flat(), tsr.Gouraud(), tsr.Phong(), tsr.PhysicallyBased()]


def directions_of(height, width, order=12):
    """(H, W, order^2, 3) directions in each texel, (H, W, order^2) their pieces of the sphere."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    shares = (nodes + 1) / 2
    polar = np.pi * (np.arange(height)[:, None] + shares) / height
    azimuth = 2 * np.pi * ((np.arange(width)[:, None] + shares) / width - 0.5)
    polar, azimuth = polar[:, None, :, None], azimuth[None, :, None, :]
    x, y, z = np.broadcast_arrays(
        np.sin(polar) * np.sin(azimuth), np.cos(polar), -np.sin(polar) * np.cos(azimuth)
    )
    area = np.sin(polar) * np.outer(weights, weights) / 4 * 2 * np.pi**2 / (height * width)
    area = np.broadcast_to(area, x.shape)
    shape = (height, width, order**2)
    return np.stack([x, y, z], axis=-1).reshape(*shape, 3), area.reshape(shape)


def basis_of(directions):
    """(..., 9) real spherical harmonics."""
    x, y, z = np.moveaxis(directions, -1, 0)
    one, linear, quadratic = CONSTANT, 1.5 * LINEAR, 4 * QUADRATIC
    terms = [one + 0 * x, linear * y, linear * z, linear * x, quadratic * x * y, quadratic * y * z]
    terms += [4 * QUADRATIC_Z * (3 * z * z - 1), quadratic * x * z, quadratic / 2 * (x * x - y * y)]
    return np.stack(terms, axis=-1)


def projection(picture):
    """(9, 3) by a rule on each texel."""
    directions, area = directions_of(*picture.shape[:2])
    return np.einsum("hwnk,hwn,hwc->kc", basis_of(directions), area, picture)


def random_picture(size=SIZE):
    return np.random.default_rng(2).uniform(0.1, 1.5, (*size, 3))


def lights_with(light):
    """Among others."""
    return [tsr.AmbientLight(), tsr.SphericalHarmonics(np.full((9, 3), 0.1)), light]


@pytest.mark.parametrize("size", [(1, 1), (2, 1), SIZE, (8, 16)])
def test_integrals_over_texels(size):
    rows, columns = integrals(*size)
    actual = np.zeros((*size, 9))
    for product, harmonic in enumerate(HARMONIC_OF_PRODUCT):
        actual[..., harmonic] += rows[:, None, product] * columns[:, product]
    directions, area = directions_of(*size, order=24)
    expected = np.einsum("hwnk,hwn->hwk", basis_of(directions), area)
    np.testing.assert_allclose(actual, expected, atol=tolerances.TWIN_CLOSED_FORM)


@pytest.mark.f64
@pytest.mark.parametrize("shading", LIT, ids=repr)
def test_a_picture_lights_as_its_projection(backend, shading):
    """Both among other lights; values and gradients to texels, by a rule on each texel."""
    picture = random_picture()
    environment = tsr.EnvironmentMap(picture)
    harmonics = tsr.SphericalHarmonics(projection(picture))
    one, other = (
        make_renderer(soft(), shading, lights=lights_with(light))
        for light in (environment, harmonics)
    )
    image, expected = one.render().to_numpy(), other.render().to_numpy()
    np.testing.assert_allclose(image, expected, atol=tolerances.TWIN_DOUBLE)
    cotangent = cotangent_of(one.image)
    one.backward(cotangent)
    gradient = environment.image.grad.to_numpy()
    other.backward(cotangent)
    directions, area = directions_of(*SIZE)
    of_coefficients = harmonics.coefficients.grad.to_numpy()
    expected = np.einsum("hwnk,hwn,kc->hwc", basis_of(directions), area, of_coefficients)
    np.testing.assert_allclose(
        gradient, expected, atol=tolerances.TRANSPOSE_DOUBLE * np.abs(expected).max()
    )


@pytest.mark.f64
@pytest.mark.parametrize("shading", [tsr.Flat(), tsr.Phong()], ids=repr)
def test_gradients_are_differences(backend, shading):
    """Those to texels; and the Jacobian's, where it is quickly compiled."""
    environment = tsr.EnvironmentMap(random_picture())
    renderer = make_renderer(soft(), shading, lights=lights_with(environment))
    cotangent = cotangent_of(renderer.render())
    renderer.backward(cotangent)
    gradient = environment.image.grad.to_numpy()
    assert_gradient_is_the_difference(
        environment.image,
        gradient,
        lambda: (cotangent * renderer.render().to_numpy()).sum(),
        1e-5,
    )
    if shading != tsr.Flat():
        return
    jacobian = renderer.jacobian([environment.image])
    products = np.tensordot(cotangent, jacobian, cotangent.ndim)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(products, gradient.ravel(), atol=tolerances.TRANSPOSE_DOUBLE * scale)


@pytest.mark.parametrize("shading", LIT, ids=repr)
@pytest.mark.parametrize("size", [(1, 1), (16, 32)])
def test_a_constant_picture_is_an_ambient_light(backend, shading, size):
    color = (0.9, 0.6, 0.3)
    lights = tsr.EnvironmentMap(np.full((*size, 3), color)), tsr.AmbientLight(color)
    actual, expected = (
        make_renderer(soft(), shading, lights=light).render().to_numpy() for light in lights
    )
    assert expected.max() > 0.3
    error = tolerances.SINGLE_PRECISION_RELATIVE
    np.testing.assert_allclose(actual, expected, atol=error)


def test_matt_surfaces_under_a_sky(backend):
    """Nine harmonics against the integral of light times cosine: a few per cent of the largest."""
    normals = np.random.default_rng(3).normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    directions, area = directions_of(16, 32, order=4)
    polar, azimuth = np.mgrid[0.5:16, 0.5:32]
    picture = np.exp(-((polar - 4) ** 2 + (azimuth - 9) ** 2) / 8) + 0.3 * (polar < 8)
    cosines = np.maximum(np.einsum("hwnk,mk->mhwn", directions, normals), 0)
    expected = np.einsum("mhwn,hwn,hw->m", cosines, area, picture) / np.pi
    coefficients = projection(np.repeat(picture[..., None], 3, axis=-1))
    actual = irradiance(np.tile(coefficients, (50, 1, 1)), normals)[:, 0]
    print(np.abs(actual - expected).max() / expected.max())
    assert np.abs(actual - expected).max() < 0.04 * expected.max()


def test_where_the_sky_is(backend):
    """Up, ahead (-z) and the right (+x) of a picture light what faces there most."""
    corners = np.eye(3)
    size = (8, 16)
    for texel, direction in (((0, 3), (0, 1, 0)), ((4, 8), (0, 0, -1)), ((4, 12), (1, 0, 0))):
        picture = np.zeros((*size, 3))
        picture[texel] = 1
        light = irradiance(np.tile(projection(picture), (6, 1, 1)), np.vstack([corners, -corners]))
        sums = light.sum(axis=1)
        np.testing.assert_array_equal(np.vstack([corners, -corners])[np.argmax(sums)], direction)


def test_two_renderers_share_a_map_in_one_tape(backend):
    """Gradients add up; a picture that is assigned is drawn."""
    environment = tsr.EnvironmentMap(np.zeros((*SIZE, 3)))
    first, second = (make_renderer(soft(), tsr.Flat(), lights=environment) for _ in range(2))
    environment.image = random_picture()
    loss = ti.field(float, (), needs_grad=True)
    gradients = []
    for renderers in ([first], [second], [first, second]):
        with ti.ad.Tape(loss):
            for renderer in renderers:
                renderer.render()
                tsr.losses.mean_squared_error(renderer.image, np.zeros((1, 10, 14, 4)), loss)
        gradients.append(environment.image.grad.to_numpy())
    assert np.abs(gradients[0]).min() > 0
    assert relative_error(gradients[2], gradients[0] + gradients[1]) < 1e-6


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((4, 8)), r"image must have shape \(H, W, 3\), not empty, got \(4, 8\)"),
        (np.zeros((4, 8, 4)), r"image must have shape \(H, W, 3\), not empty, got \(4, 8, 4\)"),
        (np.zeros((0, 8, 3)), r"image must have shape \(H, W, 3\), not empty"),
        (np.full((4, 8, 3), np.nan), "image must be finite, got 96 entries that are NaN"),
        ("sky.hdr", r"got a path: write images.load_image\('sky.hdr'\)"),
    ],
)
def test_environment_maps_refuse(backend, image, message):
    with pytest.raises(ValueError, match=message):
        tsr.EnvironmentMap(image)


def test_numbers_that_are_not_finite_are_named(backend):
    environment = tsr.EnvironmentMap(np.ones((*SIZE, 3)))
    renderer = make_renderer(soft(), tsr.Flat(), lights=environment)
    environment.image[1, 2] = [np.nan, 1, 1]
    with pytest.raises(ValueError, match=r"lights.image\[1, 2, 0\] = nan"):
        renderer.render()
