"""A pose and a light are recovered from one image, as OpenDR's users do."""

import pytest

from tests.examples.loading import load_example
from tests.rarely import rarely


@pytest.mark.slow
@pytest.mark.cpu
@pytest.mark.parametrize("rasterizer", ["filtered", rarely("soft")])
def test_pose_and_light_are_recovered(backend, tmp_path, rasterizer):
    main = load_example("opendr_pose_and_light").main
    result = main(output=tmp_path, rasterizer=rasterizer)
    assert result["steps"] < 40
    assert result["translation_error"] < 0.01
    assert result["rotation_error_degrees"] < 0.5
