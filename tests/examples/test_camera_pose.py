"""The camera is found by every rasterizer that can."""

import pytest

from tests.examples.loading import load_example
from tests.rarely import mostly

camera_pose = load_example("camera_pose")


@pytest.mark.slow
@pytest.mark.cpu
@pytest.mark.parametrize("rasterizer", mostly(camera_pose.RASTERIZERS, ["KNearest"]))
def test_the_camera_is_found(backend, tmp_path, rasterizer):
    result = camera_pose.main(rasterizer=rasterizer, output=tmp_path)
    assert result["sum_of_squares"] < 200
    assert result["distance_to_truth"] < 0.15
