"""An aeroplane from photographs of a lens that bends its pictures."""

import numpy as np
import pytest

import taichi_softras as tsr
from tests.examples.loading import load_example


@pytest.mark.cpu
def test_the_capture_is_what_the_camera_sees(backend, tmp_path):
    """Pictures without distortion are those that were drawn: masks overlap but for their edges."""
    example = load_example("fit_from_cameras")
    path = example.write_capture(tmp_path)
    cameras, paths = tsr.io.load_cameras(path, [2, 4, 7], needs_grad=False)
    _, masks = tsr.io.load_pictures(paths, cameras, mask="alpha")
    plane = tsr.Mesh(*tsr.primitives.aeroplane())
    renderer = tsr.Renderer(plane, cameras, example.SIZE, shading=tsr.Silhouette())
    drawn = renderer.render().to_numpy()[..., 0]
    assert tsr.losses.silhouette_ious(drawn, masks, threshold=0.5).min() > 0.97
    cameras.lens = cameras.lens._replace(distortion=np.zeros((3, 5)))
    _, bent = tsr.io.load_pictures(paths, cameras, mask="alpha")
    assert tsr.losses.silhouette_ious(drawn, bent, threshold=0.5).mean() < 0.95


@pytest.mark.cpu
def test_the_mesh_has_the_masks(backend, tmp_path):
    result = load_example("fit_from_cameras").main(steps=80, output=tmp_path)
    assert result["iou_mean"] > 0.85
    assert tsr.Mesh.load(tmp_path / "mesh.obj").num_faces == 1280
    assert (tmp_path / "views.png").exists()
