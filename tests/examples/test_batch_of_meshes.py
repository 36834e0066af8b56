"""Eight different meshes are fitted at once."""

import pytest

from tests.examples.loading import load_example


@pytest.mark.cpu
def test_batch_of_meshes(backend, tmp_path):
    result = load_example("batch_of_meshes").main(steps=60, output=tmp_path)
    assert len(set(result["faces"])) == 8
    assert result["iou_before"] < 0.6 < 0.85 < result["iou"]
    assert (tmp_path / "batch_of_meshes.png").exists()
