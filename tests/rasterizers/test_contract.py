"""What every rasterizer keeps under every shading."""

import numpy as np
import pytest

from tests import tolerances
from tests.rasterizers.scenes import (
    APPROXIMATE_IN_VERTICES,
    EACH_PAIR,
    describe,
    draw_twin,
    gradient_error,
    make_scenes,
)

IMAGE_SIZE = (12, 20)  # not square, two by three tiles

pytestmark = pytest.mark.parametrize("rasterizer, shading", EACH_PAIR, ids=describe)


@pytest.fixture(scope="module")
def scenes(backend):
    return make_scenes(IMAGE_SIZE)


@pytest.fixture
def scene(scenes, shading):
    return scenes[shading]


def cotangent_of(image, dtype=None):
    return np.random.default_rng(1).normal(size=image.shape).astype(dtype or image.dtype)


def assert_close(actual, expected, tolerance):
    """Relative to the largest entry; zeros must be met exactly."""
    tolerance = tolerance * np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def test_an_empty_scene_is_background(backend, scene, rasterizer, shading):
    colors = scene.colors_of(slice(0))
    image, vjp = scene.rasterize(rasterizer, scene.corners[:, :0], colors)
    background = np.float32(scene.background(rasterizer))
    np.testing.assert_array_equal(image, np.broadcast_to(background, image.shape))
    grad_corners, grad_colors = vjp(np.ones_like(image))
    assert grad_corners.shape == (2, 0, 3, 3)
    assert (grad_colors is not None) == isinstance(colors, np.ndarray)


def test_nothing_is_nan_and_alpha_is_within_0_and_1(backend, scene, rasterizer, shading):
    image, vjp = scene.rasterize(rasterizer)
    gradients = vjp(cotangent_of(image))
    assert all(np.isfinite(array).all() for array in (image, *gradients) if array is not None)
    alpha = image[..., -1]
    assert alpha.min() >= 0 and alpha.max() <= 1
    assert alpha.max() > 0, "the scene is empty"


def test_the_order_of_faces_does_not_matter(backend, scene, rasterizer, shading):
    order = np.random.default_rng(0).permutation(scene.corners.shape[1])
    image, vjp = scene.rasterize(rasterizer)
    permuted, permuted_vjp = scene.rasterize(
        rasterizer, scene.corners[:, order], scene.colors_of(order)
    )
    assert_close(permuted, image, tolerances.SAME_IMAGE_SINGLE)
    cotangent = cotangent_of(image)
    for gradient, of_permuted in zip(vjp(cotangent), permuted_vjp(cotangent)):
        if gradient is not None:
            assert_close(of_permuted, gradient[:, order], tolerances.SAME_GRADIENT_SINGLE)


def test_tiles_and_brute_force_draw_the_same_image(backend, scene, rasterizer, shading):
    expected = draw_twin(scene.corners, scene.colors, scene.image_size, rasterizer)
    image, _ = scene.rasterize(rasterizer)
    assert_close(image, expected, tolerances.SINGLE_PRECISION_RELATIVE)


def test_the_renderer_draws_the_same_image(backend, scene, rasterizer, shading):
    scene.renderer.rasterizer = rasterizer
    expected, _ = scene.rasterize(rasterizer)
    image = scene.renderer.render().to_numpy()
    assert_close(image, expected, tolerances.SAME_IMAGE_SINGLE)


def test_views_in_one_call_are_views_one_by_one(backend, scene, rasterizer, shading):
    """Colours are shared by the views, so their gradients add up."""
    image, vjp = scene.rasterize(rasterizer)
    cotangent = cotangent_of(image)
    grad_corners, grad_colors = vjp(cotangent)
    sum_of_views = 0
    for view in range(len(image)):
        one = slice(view, view + 1)
        image_of_one, vjp_of_one = scene.rasterize(rasterizer, scene.corners[one])
        assert_close(image_of_one, image[one], tolerances.SAME_IMAGE_SINGLE)
        gradient, of_colors = vjp_of_one(cotangent[one])
        assert_close(gradient, grad_corners[one], tolerances.SAME_GRADIENT_SINGLE)
        if grad_colors is not None:
            sum_of_views = sum_of_views + of_colors
    if grad_colors is not None:
        assert_close(grad_colors, sum_of_views, tolerances.SAME_GRADIENT_SINGLE)


def test_gradient_of_colors_is_the_central_difference(backend, scene, rasterizer, shading):
    if not isinstance(scene.colors, np.ndarray):
        pytest.skip("silhouettes and depths have no colours")
    error = gradient_error(scene.corners[:1], scene.colors, "colors", scene.image_size, rasterizer)
    assert error < tolerances.SINGLE_PRECISION_RELATIVE


@pytest.mark.f64
def test_gradient_of_corners_is_the_central_difference(backend, scene, rasterizer, shading):
    if isinstance(rasterizer, APPROXIMATE_IN_VERTICES):
        pytest.skip("approximates the gradient")
    error = gradient_error(scene.corners[:1], scene.colors, "corners", scene.image_size, rasterizer)
    assert error < tolerances.FINITE_DIFFERENCE_RELATIVE
