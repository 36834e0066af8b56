"""The first example prints what a triangle's area is, and its derivative."""

import math

import imageio.v3 as imageio
import pytest

from tests import tolerances
from tests.examples.loading import load_example


@pytest.mark.cpu
def test_hello_triangle(backend, tmp_path):
    """An equilateral triangle on the unit circle has area 3 sqrt(3) / 4, half base sqrt(3) / 2."""
    result = load_example("hello_triangle").main(output=tmp_path)
    pixels = 128 / math.tan(math.radians(25)) / 3  # of a unit of length at distance 3
    area = pixels**2 * 3 * math.sqrt(3) / 4
    slope = pixels**2 * math.sqrt(3) / 2
    assert result["area"] == pytest.approx(area, rel=tolerances.AREA_OF_SOFT_TRIANGLE)
    assert result["slope"] == pytest.approx(slope, rel=tolerances.AREA_OF_SOFT_TRIANGLE)
    picture = imageio.imread(tmp_path / "triangle.png")
    assert picture.shape == (256, 256, 4)
    assert tuple(picture[128, 128]) != (0, 0, 0, 0)
