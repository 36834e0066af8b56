"""What the picture of gradients says is so: of pixels, and of the true direction."""

import numpy as np
import pytest

from tests import tolerances
from tests.examples.loading import load_example


@pytest.mark.slow
@pytest.mark.cpu
def test_gradients_point_where_they_should(backend, tmp_path):
    result = load_example("compare_gradients").main(steps=10, output=tmp_path)
    assert result["Z-buffer: pixels a row"] == result["Z-buffer: cosine"] == 0
    assert result["OpenDR: pixels a row"] == 2  # one an edge
    assert result["NMR: pixels a row"] == 40  # all
    assert 4 < result["PyTorch3D: pixels a row"] < result["Soft Rasterizer: pixels a row"] < 40
    assert result["OpenDR: cosine"] > 0.7
    assert result["NMR: cosine"] > 0.85
    for name in ("Soft Rasterizer", "PyTorch3D"):
        assert result[f"{name}: cosine"] > 0.9
    assert result["Antialiased: pixels a row"] < result["PyTorch3D: pixels a row"]
    assert result["Antialiased: cosine"] > 0.95


@pytest.mark.f64
def test_soft_pixels_are_derivatives(backend):
    example = load_example("compare_gradients")
    method = dict(entry[:2] for entry in example.METHODS)["Soft Rasterizer"]
    image, derivatives = example.pixel_derivatives(method)
    step = np.array([tolerances.FINITE_DIFFERENCE_STEP, 0, 0])
    views = [[example.BLUE + step, example.AMBER], [example.BLUE - step, example.AMBER]]
    plus, minus = example.tsr.rasterize(
        np.array(views), example.COLORS, image_size=image.shape[:2], rasterizer=method
    )[0][..., :3].mean(axis=-1)
    expected = (plus - minus) / (2 * step[0]) * 2 / example.SIZE
    error = abs(derivatives - expected).max() / abs(expected).max()
    assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


@pytest.mark.cpu
def test_true_direction(backend):
    """Against central differences of the area in which the two triangles differ."""
    example = load_example("compare_gradients")
    move, step = np.array([0.22, 0.14, 0]), 1e-4
    actual = example.corner_direction(
        example.tsr.SoftAggregation(sigma_pixels=0.5), move, (32 * example.SIZE,) * 2
    )
    expected = np.zeros((3, 2))
    for corner, axis in np.ndindex(3, 2):
        areas = []
        for sign in (1, -1):
            triangle = example.BLUE.copy()
            triangle[corner, axis] += sign * step
            areas.append(area_of_difference(triangle, example.BLUE + move))
        expected[corner, axis] = areas[0] - areas[1]
    expected /= np.linalg.norm(expected)
    assert (actual * expected).sum() > 1 - tolerances.SHARP_SILHOUETTE_COSINE


def area_of_difference(one, other, lines=4000):
    """Of two triangles in [-1, 1]^2, exact on each of many lines of equal y."""
    y = (np.arange(lines)[:, None] + 0.5) * 2 / lines - 1

    def span(triangle):
        a, b = triangle[:, :2], np.roll(triangle, -1, axis=0)[:, :2]
        t = (y - a[:, 1]) / (b - a)[:, 1]
        x = a[:, 0] + t * (b - a)[:, 0]
        is_met = (t >= 0) & (t <= 1)
        return np.where(is_met, x, np.inf).min(1), np.where(is_met, x, -np.inf).max(1)

    def length(start, end):
        return np.clip(end - start, 0, None)

    (a, b), (c, d) = span(one), span(other)
    common = length(np.maximum(a, c), np.minimum(b, d))
    return (length(a, b) + length(c, d) - 2 * common).mean() * 2
