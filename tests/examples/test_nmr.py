"""The examples of Kato et al. reach what is promised of them, in fewer steps than the full runs."""

import pytest

from tests.examples.loading import load_example

pytestmark = [pytest.mark.slow, pytest.mark.cpu]


def test_a_silhouette_becomes_a_picture(backend, tmp_path):
    result = load_example("nmr_silhouette").main(steps=100, output=tmp_path)
    assert result["error"] < 0.6 * result["error_start"]


def test_a_texture_from_one_picture(backend, tmp_path):
    result = load_example("nmr_texture").main(steps=60, output=tmp_path)
    assert result["error"] < 0.5 * result["error_start"]


def test_a_camera_from_one_silhouette(backend, tmp_path):
    result = load_example("nmr_camera").main(steps=300, output=tmp_path)
    assert result["error"] < 70
    assert result["eye_error"] < 0.1
