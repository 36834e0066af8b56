"""What the lecture says of the two steps: who has a gradient, and of what."""

import pytest

from tests import tolerances
from tests.examples.loading import load_example


@pytest.mark.slow
@pytest.mark.cpu
def test_step_changes(backend, tmp_path):
    result = load_example("step_changes").main(steps=60, output=tmp_path)
    for motion in "xz":
        assert result[f"Z-buffer: largest by {motion}"] < tolerances.SAME_IMAGE_SINGLE
        assert result[f"Soft Rasterizer: largest by {motion}"] > 0.5
        assert result[f"Soft Rasterizer: error by {motion}"] < tolerances.CURVE_SLOPE_SINGLE
    for name in ("OpenDR", "NMR"):
        assert result[f"{name}: largest by x"] > 1
        assert result[f"{name}: error by x"] == 1  # the hard curve's slope is 0
        assert result[f"{name}: largest by z"] == 0
    assert result["PyTorch3D, K = 1: error by x"] < tolerances.CURVE_SLOPE_SINGLE
