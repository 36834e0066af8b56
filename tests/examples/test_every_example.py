"""Every example runs, by itself or in the test of what it promises, and fits one screen."""

import numbers

import pytest

from tests.examples.loading import ROOT, load_example

MAX_LINES = {
    "fit_silhouettes": 300,  # the main job: presets, own data, film
    "nvdiffrast_samples": 270,  # five fits, each by two methods
    "train_reconstruction": 150,  # things, a network, a checkpoint, an examination
}
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
WITHOUT_A_TEST = ["lecture_figures", "sim_landscape"]  # of what `main` promises


@pytest.mark.cpu
@pytest.mark.filterwarnings("ignore:faces_per_pixel")
@pytest.mark.parametrize("name", WITHOUT_A_TEST)
def test_example_runs(backend, tmp_path, name):
    result = load_example(name).main(steps=2, output=tmp_path)
    assert any(isinstance(value, numbers.Real) for value in result.values())
    assert [path for path in tmp_path.iterdir() if path.suffix in (".png", ".gif")]


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_short(name):
    limit = MAX_LINES.get(name, 120 if name.startswith(("sim_", "control_")) else 79)
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) <= limit


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(WITHOUT_A_TEST)))
def test_example_is_held_to_its_promise(name):
    """By a test that calls its `main`."""
    texts = [path.read_text() for path in (ROOT / "tests").glob("*/test_*.py")]
    assert any(f'load_example("{name}")' in text and ".main" in text for text in texts)
