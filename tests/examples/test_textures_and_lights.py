"""Textures, lights, materials and a camera are recovered, in fewer steps than the full runs."""

import pytest

from tests import tolerances
from tests.examples.loading import load_example

pytestmark = [pytest.mark.slow, pytest.mark.cpu]


def test_a_turntable_of_a_file_that_was_written(backend, tmp_path):
    result = load_example("render_textured").main(steps=3, output=tmp_path)
    assert (result["materials"], result["textures"]) == (2, 1)
    assert result["largest_difference"] < tolerances.EIGHT_BITS
    written = {"globe.glb", "again.glb", "turntable.gif", "turntable.png", "result.json"}
    assert {path.name for path in tmp_path.iterdir()} == written


def test_a_texture_from_twelve_views(backend, tmp_path):
    result = load_example("fit_texture").main(steps=40, output=tmp_path)
    assert result["psnr_start"] < 12
    assert result["psnr"] > 25 and result["psnr_unseen"] > 25


def test_three_lights_from_six_views(backend, tmp_path):
    result = load_example("recover_lights").main(steps=60, output=tmp_path)
    assert result["largest_error_of_place"] < 0.3
    assert result["largest_error_of_color"] < 0.2


def test_materials_from_one_picture(backend, tmp_path):
    result = load_example("recover_material").main(steps=100, output=tmp_path)
    assert result["base_color"] < 0.1 and result["metallic"] < 0.2 and result["roughness"] < 0.2


def test_a_camera_in_a_room_finds_its_place(backend, tmp_path):
    result = load_example("look_inside").main(steps=100, output=tmp_path)
    assert result["error_of_eye"] < 0.1
    assert result["error_of_direction_degrees"] < 2
