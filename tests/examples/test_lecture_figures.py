"""The probability map that is drawn is the formula."""

import numpy as np
import pytest

from tests import tolerances
from tests.examples.loading import load_example


@pytest.mark.cpu
def test_probability_map(backend):
    example = load_example("lecture_figures")
    size, triangle = 64, example.TRIANGLE
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    pixels = np.stack(np.meshgrid(axis, -axis), axis=-1)[..., None, :]
    a, b = triangle[:, :2], np.roll(triangle, -1, axis=0)[:, :2]
    along = ((pixels - a) * (b - a)).sum(-1) / ((b - a) ** 2).sum(-1)
    residual = pixels - a - along.clip(0, 1)[..., None] * (b - a)
    square = (residual**2).sum(-1).min(-1)
    to_pixel, edge = pixels - a, b - a
    is_inside = (edge[:, 0] * to_pixel[..., 1] > edge[:, 1] * to_pixel[..., 0]).all(-1)
    for sigma in example.SIGMAS:
        expected = 1 / (1 + np.exp(np.where(is_inside, -square, square) / sigma))
        expected[expected < 1e-4] = 0
        actual = example.coverage(triangle, sigma, size)[..., 0]
        np.testing.assert_allclose(actual, expected, atol=tolerances.SINGLE_PRECISION_RELATIVE)
