"""Textures, lights, materials and a camera are recovered, in fewer steps than the full runs."""

import pytest

from tests import tolerances
from tests.examples.loading import load_example

pytestmark = [pytest.mark.slow, pytest.mark.cpu]


def test_a_turntable_of_a_file_that_was_written(backend, tmp_path):
    result = load_example("render_textured").main(steps=3, output=tmp_path)
    assert (result["materials"], result["textures"]) == (2, 1)
    assert result["largest_difference"] < tolerances.EIGHT_BITS
    assert {path.name for path in tmp_path.glob("turntable.*")} == {"turntable.gif", "turntable.png"}


def test_a_texture_from_twelve_views(backend, tmp_path):
    result = load_example("fit_texture").main(steps=40, output=tmp_path)
    assert result["psnr_start"] < 12
    assert result["psnr"] > 25 and result["psnr_unseen"] > 25
