"""`tsr.rasterize`: arrays of every shape that it takes, and its vjp as a function."""

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances
from tests.rasterizers.scenes import NUMBERS, draw_twin

IMAGE_SIZE = (7, 10)
RASTERIZER = tsr.SoftAggregation(**NUMBERS)


@pytest.fixture
def corners(backend):
    generator = np.random.default_rng(2)
    corners = generator.uniform(-1.2, 1.2, (2, 5, 3, 3))
    corners[..., 2] = generator.uniform(1.5, 4.5, corners.shape[:3])
    return corners.astype(backend.numpy_float)


def rasterize(corners, colors, rasterizer=RASTERIZER):
    return tsr.rasterize(corners, colors, image_size=IMAGE_SIZE, rasterizer=rasterizer)


def random_colors(*shape):
    return np.random.default_rng(6).uniform(size=shape).astype(np.float32)


def assert_close(gradient, expected):
    tolerance = tolerances.SAME_GRADIENT_SINGLE * np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "shape",
    [(2, 5, 3, 3), (1, 5, 3, 3), (2, 5, 3, 1), (2, 5, 4, 4, 3), (1, 5, 1, 1, 3), (1, 5, 3, 3, 3)],
    ids=str,
)
def test_colors_of_every_shape(backend, corners, shape):
    """At corners or as texels, for each view or for all, with one channel or three."""
    colors = random_colors(*shape)
    background = NUMBERS["background"][: shape[-1]]
    rasterizer = tsr.SoftAggregation(**{**NUMBERS, "background": background})
    image, vjp = rasterize(corners, colors, rasterizer)
    expected = draw_twin(corners, colors, IMAGE_SIZE, rasterizer)
    np.testing.assert_allclose(image, expected, atol=tolerances.SINGLE_PRECISION_RELATIVE)
    grad_corners, grad_colors = vjp(np.ones_like(image))
    assert grad_corners.shape == corners.shape and grad_colors.shape == colors.shape
    assert {array.dtype.type for array in (image, grad_corners, grad_colors)} == {np.float32}


def test_the_default_is_soft_aggregation(backend, corners):
    image, _ = rasterize(corners, None, None)
    twin = tsr.SoftAggregation(near=1.0, far=100.0)  # alpha asks for neither
    expected = draw_twin(corners, None, IMAGE_SIZE, twin)
    np.testing.assert_allclose(image, expected, atol=tolerances.SINGLE_PRECISION_RELATIVE)


@pytest.mark.f64
def test_double_precision(backend, corners):
    """Nothing on the way is single, whatever precision the package was imported or used in."""
    image, vjp = rasterize(corners, random_colors(1, 5, 3, 3))
    expected = draw_twin(corners, random_colors(1, 5, 3, 3), IMAGE_SIZE, RASTERIZER)
    np.testing.assert_allclose(image, expected, rtol=0, atol=tolerances.TWIN_DOUBLE)
    assert {array.dtype.type for array in (image, *vjp(image))} == {np.float64}


def test_vjp_is_a_function(backend, corners):
    """It returns the same again, whatever is drawn in between or written to the inputs."""
    colors = random_colors(1, 5, 3, 3)
    image, vjp = rasterize(corners, colors)
    first = vjp(np.ones_like(image))
    vjp(np.zeros_like(image))
    rasterize(corners[:, ::-1], colors[:, ::-1])
    corners += 1
    colors += 1
    for again, gradient in zip(vjp(np.ones_like(image)), first):
        assert_close(again, gradient)


def test_vjp_is_linear(backend, corners):
    colors = random_colors(1, 5, 3, 3)
    image, vjp = rasterize(corners, colors)
    one, other = np.random.default_rng(0).normal(size=(2, *image.shape))
    for of_sum, of_one, of_other in zip(vjp(one + 2 * other), vjp(one), vjp(other)):
        assert_close(of_sum, of_one + 2 * of_other)


def test_arrays_are_taken_as_they_come(backend, corners):
    """Lists, integers, other precisions, strides with gaps, arrays that are locked."""
    colors = random_colors(1, 5, 3, 3)
    expected, _ = rasterize(corners, colors)
    strided = np.repeat(corners, 2, axis=1)[:, ::2]
    locked = corners.copy()
    locked.flags.writeable = False
    for same in (corners.tolist(), corners.astype(np.float64), strided, locked):
        image, _ = rasterize(same, colors.tolist())
        np.testing.assert_allclose(image, expected, atol=tolerances.SAME_IMAGE_SINGLE)
    integers, _ = rasterize(np.ones((1, 5, 3, 3), int), np.ones((1, 5, 3, 3), int))
    assert integers.shape == (1, *IMAGE_SIZE, 4)


def test_one_background_for_all_channels(backend, corners):
    empty = corners[:, :0], np.zeros((1, 0, 3, 3))
    image, _ = rasterize(*empty, tsr.SoftAggregation(background=0.25))
    np.testing.assert_array_equal(image, np.broadcast_to([0.25, 0.25, 0.25, 0], image.shape))
    with pytest.raises(ValueError, match="background has 2 different values, but colours have 3"):
        rasterize(*empty, tsr.SoftAggregation(background=(0.25, 0.5)))


def test_a_silhouette_has_no_background(backend, corners):
    image, vjp = rasterize(corners, None, tsr.SoftAggregation(background=(0.1, 0.2, 0.3)))
    assert image.shape == (2, *IMAGE_SIZE, 1)
    assert vjp(image)[1] is None


def test_row_0_is_on_top_and_x_points_right(backend):
    """A small face at x = 0.6, y = 0.5 of an image whose shorter side spans [-1, 1]."""
    face = np.array([[0.5, 0.4, 2], [0.7, 0.4, 2], [0.6, 0.7, 2]])[None, None]
    rasterizer = tsr.SoftAggregation(sigma=1e-6)
    image, _ = tsr.rasterize(face, image_size=(40, 60), rasterizer=rasterizer)
    row, column = np.argwhere(image[0, ..., 0] > 0.5).mean(axis=0)
    centre = (column + 0.5 - 30) / 20, (20 - row - 0.5) / 20
    np.testing.assert_allclose(centre, (0.6, 0.5), atol=tolerances.CENTRE_OF_A_SMALL_FACE)
