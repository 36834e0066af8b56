"""The main job runs with every preset, and reaches what is promised of it."""

import json

import pytest

from tests.examples.loading import ROOT, load_example

DEFORM = ROOT.parent / "shared" / "data" / "softras_deform"


@pytest.mark.cpu
@pytest.mark.parametrize("preset", ["sharpening", "softras-demo"])
def test_fit_silhouettes_writes_its_results(backend, tmp_path, preset):
    result = load_example("fit_silhouettes").main(steps=2, preset=preset, output=tmp_path)
    assert result["steps"] == 2
    assert json.loads((tmp_path / "result.json").read_text()) == result
    for name in ("fit.gif", "loss.png", "views.png", "mesh.obj", "history.csv"):
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.slow
@pytest.mark.cpu
@pytest.mark.exhaustive
def test_a_sphere_becomes_an_aeroplane(backend, tmp_path):
    result = load_example("fit_silhouettes").main(steps=200, output=tmp_path)
    assert result["iou_mean"] > 0.9


@pytest.mark.slow
@pytest.mark.skipif(not DEFORM.exists(), reason="the Soft Rasterizer's demo data is not here")
@pytest.mark.cpu
def test_demo_preset_follows_the_original(backend, tmp_path):
    """The original's mean IoU after 100 steps on all 120 views is 0.535 (0.519 soft)."""
    result = load_example("fit_silhouettes").main(
        images=DEFORM / "source.npy",
        cameras=DEFORM / "cameras.npy",
        template=DEFORM / "sphere_1352.obj",
        preset="softras-demo",
        steps=101,
        output=tmp_path,
    )
    assert result["iou_mean"] == pytest.approx(0.535, abs=0.02)
    assert result["soft_iou_mean"] == pytest.approx(0.519, abs=0.02)
