"""A loss of colours alone has no gradient at silhouettes, or one: by the numbers."""

import pytest

from tests import tolerances
from tests.examples.loading import load_example


@pytest.mark.cpu
def test_gradient_of_rgb(backend, tmp_path):
    result = load_example("rgb_silhouettes").main(steps=4, output=tmp_path)
    papers, others = result["the paper's numbers"], result["numbers for RGB"]
    assert papers["quotient"] < -7000 and abs(papers["gradient"]) < 1
    assert others["gradient"] == pytest.approx(others["quotient"], rel=tolerances.RGB_QUOTIENT)
    assert result["alpha on the diagonal"] == pytest.approx(0.75, abs=1e-6)  # 1 - (1 - 1/2)^2
    assert (tmp_path / "rgb_silhouettes.png").exists()
