"""A pose is found by PyTorch."""

import pytest

from tests.examples.loading import load_example


@pytest.mark.cpu
def test_the_pose_is_found(backend, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    result = load_example("torch_pose").main(output=tmp_path)
    assert result["degrees"] < 1.0
