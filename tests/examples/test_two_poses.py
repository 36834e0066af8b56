"""Both poses are found from one picture."""

import pytest

from tests.examples.loading import load_example


@pytest.mark.slow
@pytest.mark.cpu
def test_both_poses_are_found(backend, tmp_path):
    result = load_example("two_poses").main(output=tmp_path)
    assert max(result["degrees_away"]) < 0.1
    assert max(result["distance_away"]) < 1e-3  # the objects are 1 long
