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


@pytest.mark.cpu
def test_the_papers_sigma_is_enough(backend):
    """Over 0.01 world units; more, and the quotient is that of pixels that come and go."""
    example = load_example("rgb_silhouettes")
    ball, numbers = example.Ball(), {**example.FOR_RGB, "sigma_pixels": None}
    ball.renderer.rasterizer = example.tsr.SoftAggregation.liu2019(
        **{**numbers, "sigma": 1e-4}, background=1.0
    )
    quotient = (ball.loss(0.005)[0] - ball.loss(-0.005)[0]) / 0.01
    assert ball.loss(0.0)[1] == pytest.approx(quotient, rel=tolerances.RGB_QUOTIENT)
