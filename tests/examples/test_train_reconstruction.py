"""A network learns to reconstruct; what it has learnt is there in the next run."""

import numpy as np
import pytest

from tests.examples.loading import load_example


@pytest.mark.cpu
@pytest.mark.slow
def test_it_learns_and_goes_on_where_it_ended(backend, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    example = load_example("train_reconstruction")
    settings = {"size": 16, "count": 6}
    whole = example.main(steps=80, output=tmp_path / "whole", **settings)
    assert np.mean(whole["losses"][-10:]) < 0.8 * np.mean(whole["losses"][:10])
    assert whole["silhouette_iou"] > whole["constant_silhouette_iou"]  # by 0.24 after a whole run
    first = example.main(steps=5, output=tmp_path / "parts", **settings)
    second = example.main(steps=10, output=tmp_path / "parts", **settings)
    assert (first["resumed_at"], second["resumed_at"]) == (0, 5)
    np.testing.assert_allclose(second["losses"], whole["losses"][:10], rtol=1e-3)
    assert len(torch.load(tmp_path / "parts" / "checkpoint.pt")[-1]) == 10
    names = {path.name for path in (tmp_path / "parts").iterdir()}
    assert names == {"checkpoint.pt", "result.json", "train_reconstruction.png"}


def test_voxels_are_as_many_as_the_volume_says():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    example = load_example("train_reconstruction")
    for ball in (example.BALL, example.FINE):
        vertices = ball * torch.tensor([1.0, 0.7, 0.9])
        volume = vertices[example.FACES[len(ball)]].det().sum() / 6
        voxels = example.voxels_of(vertices[None]).sum() * (2.6 / 19) ** 3  # of 20 from -1.3 to 1.3
        assert float(voxels) == pytest.approx(float(volume), rel=0.02)
