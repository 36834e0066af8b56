"""Shape and paint are found; the shortened run reaches what 100 steps promise."""

import pytest

from tests.examples.loading import load_example

fit_textured_mesh = load_example("fit_textured_mesh")


@pytest.mark.slow
@pytest.mark.cpu
@pytest.mark.parametrize("rasterizer", ["SoftAggregation"])
def test_shape_and_paint_are_found(backend, tmp_path, rasterizer):
    result = fit_textured_mesh.main(steps=130, rasterizer=rasterizer, output=tmp_path)
    assert result["iou"] > 0.94
    assert result["rgb_mse"] < 0.007
