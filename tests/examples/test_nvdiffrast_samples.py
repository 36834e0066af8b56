"""The samples of nvdiffrast approach what they look for, by each method."""

from functools import partial

import pytest

from tests.examples.loading import load_example

STEPS = {"triangle": 20, "cube, 8 pixels": 20, "earth": 8, "pose": 8, "envphong": 60}
RISING = ("psnr", "part_within_2")


@pytest.mark.slow
@pytest.mark.cpu
def test_errors_fall(backend, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    example = load_example("nvdiffrast_samples")
    example.SAMPLES["pose"] = partial(example.pose, starts=8)
    for chosen, steps in STEPS.items():
        for name, methods in example.main(chosen, steps, tmp_path).items():
            assert set(methods) == {"nvdiffrast", "SoftAggregation"}
            for method, figures in methods.items():
                for key in [key for key in figures if f"start_{key}" in figures]:
                    begin, end = figures[f"start_{key}"], figures[key]
                    assert (end > begin) == (key in RISING), (name, method, key, begin, end)
    assert (tmp_path / "nvdiffrast_samples.png").exists()
