"""Taichi or Quadrants: which one it is, what is refused, and that both compute the same."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras import forward_mode
from taichi_softras.runtime import choice
from tests import tolerances
from tests.rarely import rarely
from tests.test_bad_input import run_python

ROOT = pathlib.Path(__file__).resolve().parent.parent
THERE = [name for name in choice.TITLES if importlib.util.find_spec(name)]
with_both = pytest.mark.skipif(len(THERE) < 2, reason="one of the two runtimes is not installed")


@pytest.fixture
def world(monkeypatch):
    """A function that sets what is imported, what is installed, and the variable."""

    def make(imported=(), installed=(), variable=""):
        monkeypatch.setenv(choice.VARIABLE, variable)
        monkeypatch.setattr(choice, "is_installed", lambda name: name in (*imported, *installed))
        for name in choice.TITLES:
            monkeypatch.delitem(sys.modules, name, raising=False)
        for name in imported:
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    return make


BOTH = ("taichi", "quadrants")


@pytest.mark.parametrize(
    ("imported", "installed", "variable", "chosen"),
    [
        ((), ("taichi",), "", "taichi"),
        ((), ("quadrants",), "", "quadrants"),
        ((), BOTH, "", "taichi"),
        (("quadrants",), BOTH, "", "quadrants"),
        (BOTH, (), "", "taichi"),
        ((), BOTH, "quadrants", "quadrants"),
        (("taichi",), BOTH, " Quadrants", "quadrants"),
        (("quadrants",), BOTH, "taichi", "taichi"),
    ],
)
def test_choice(world, imported, installed, variable, chosen):
    world(imported, installed, variable)
    assert choice.choose() == chosen


@pytest.mark.parametrize(
    ("installed", "variable", "sentence"),
    [
        ((), "", "neither is installed: pip install 'taichi>=1.7.3,<1.8', or 'quadrants>="),
        (("taichi",), "quadrants", "Quadrants is not installed: pip install 'quadrants>="),
        (BOTH, "tachi", "must be taichi or quadrants, got 'tachi'"),
    ],
)
def test_choices_that_cannot_be(world, installed, variable, sentence):
    world((), installed, variable)
    with pytest.raises(ImportError, match=re.escape(sentence)):
        choice.choose()


@pytest.mark.parametrize("name", BOTH)
def test_versions_that_were_not_tried(name):
    module = types.ModuleType(name)
    first, end = choice.VERSIONS[name]
    for module.__version__ in (first, (*end[:1], end[1] - 1, 99)):
        choice.check_version(module)
    for module.__version__ in ((1, 0, 9), (*end, 0)):
        installed = ".".join(map(str, module.__version__))
        with pytest.raises(ImportError, match=f"runs on {name}>=.*, and {installed} is installed"):
            choice.check_version(module)


def test_pyproject_says_the_same_of_versions():
    text = (ROOT / "pyproject.toml").read_text()
    for name in BOTH:
        wanted = re.findall(rf'"({name}[<>=][^;"]*)', text)
        assert wanted and set(wanted) == {choice.requirement(name)}


def test_a_folder_of_that_name_is_no_runtime(tmp_path, monkeypatch):
    (tmp_path / "nothing_but_a_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not choice.is_installed("nothing_but_a_folder")
    assert not choice.is_installed("not_there_at_all")


def test_no_other_file_imports_a_runtime():
    """Also not in a string that is run, but for those here; in pages and README users do."""
    importing = re.compile(r"^\s*(import|from)\s+(taichi|quadrants)\b", re.MULTILINE)
    files = [
        path
        for folder in ("taichi_softras", "tests", "examples", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != pathlib.Path(__file__).name
    ]
    found = [str(path.relative_to(ROOT)) for path in files if importing.search(path.read_text())]
    assert found == ["taichi_softras/runtime/choice.py"]  # for type checkers


# --- what the other one made ---


@pytest.fixture
def foreign():
    """What looks like a field of the runtime that was not chosen."""
    return type("MatrixField", (), {"__module__": f"{choice.OTHER}.lang.matrix"})()


def test_fields_of_the_other_runtime(backend, foreign):
    mesh = tsr.Mesh(*tsr.primitives.triangle())
    camera = tsr.Camera.look_at((0, 0, 3))
    renderer = tsr.Renderer(mesh, camera, (4, 4), shading=tsr.Silhouette())
    image, target = renderer.image, np.zeros((1, 4, 4))
    sentence = f"of {choice.TITLES[choice.OTHER]}, and taichi_softras runs on {choice.TITLE}: "
    for use in (
        lambda: tsr.Mesh(foreign, [[0, 1, 2]]),
        lambda: tsr.Mesh(mesh.vertices, [[0, 1, 2]], vertex_colors=foreign),
        lambda: setattr(mesh, "vertices", foreign),
        lambda: tsr.Adam([foreign]),
        lambda: tsr.SGD(foreign, 0.1),
        lambda: tsr.GaussNewton([foreign], lambda: 0, lambda: 0),
        lambda: forward_mode.check_parameters([camera.eye, foreign]),
        lambda: tsr.losses.silhouette_iou(foreign, target, image),
        lambda: tsr.losses.silhouette_iou(image, target, foreign),
        lambda: tsr.losses.laplacian(mesh, foreign),
    ):
        with pytest.raises(ValueError, match=sentence):
            use()


@with_both
def test_the_other_one_initialised():
    """Later, alone, and beside ours; the variable says who draws."""
    run_python(
        """
        import os
        os.environ.pop("TAICHI_SOFTRAS_RUNTIME", None)
        import quadrants as qd
        import taichi as ti
        import taichi_softras as tsr

        def refused(use, kind, sentence):
            try:
                use()
            except kind as error:
                assert sentence in str(error), error
            else:
                raise AssertionError("no error")

        assert tsr.runtime.ti is ti
        vertices, faces = tsr.primitives.triangle()
        qd.init(arch=qd.cpu)
        theirs = qd.Vector.field(3, float, 3, needs_grad=True)
        advice = "import quadrants before taichi_softras, or set TAICHI_SOFTRAS_RUNTIME=quadrants"
        refused(lambda: tsr.Mesh(theirs, faces), ValueError, "a MatrixField of Quadrants")
        refused(tsr.Lights, RuntimeError, "Quadrants was initialised, but taichi_softras runs on")
        refused(tsr.Lights, RuntimeError, advice)
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        refused(tsr.Lights, RuntimeError, "Taichi and Quadrants are both initialised")
        os.environ["TAICHI_SOFTRAS_RUNTIME"] = "taichi"
        camera = tsr.Camera.look_at((0, 0, 3))
        renderer = tsr.Renderer(tsr.Mesh(vertices, faces), camera, (8, 8), shading=tsr.Silhouette())
        assert renderer.render().to_numpy().sum() > 1
        """
    )


# --- both compute the same ---


@with_both
@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "fast_math", "image", "loss"),
    [
        ("f64", "exact", tolerances.TWO_RUNTIMES_DOUBLE, tolerances.TWO_RUNTIMES_LOSSES_DOUBLE),
        rarely(
            "f32", "exact", tolerances.TWO_RUNTIMES_SINGLE, tolerances.TWO_RUNTIMES_LOSSES_SINGLE
        ),
        rarely("f64", "fast", tolerances.TWO_RUNTIMES_DOUBLE, None),
    ],
)
def test_both_compute_the_same(tmp_path, precision, fast_math, image, loss):
    """Images of every method, and 100 steps of README's program: docs/runtimes.md.

    With `fast_math` the compilers round differently, and a fit of 100 steps multiplies that.
    """
    command = [sys.executable, "-m", "tests.runtime_figures", precision, fast_math]
    running = [
        subprocess.Popen(
            [*command, tmp_path / f"{name}.npz"],
            env={**os.environ, choice.VARIABLE: name},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        for name in BOTH
    ]
    assert [process.wait() for process in running] == [0, 0]
    figures = [dict(np.load(tmp_path / f"{name}.npz")) for name in BOTH]
    if loss is not None:
        losses = [one.pop("losses") for one in figures]
        assert len(losses[0]) == 100 and losses[0][-1] < losses[0][0] / 2
        np.testing.assert_allclose(losses[1], losses[0], rtol=loss)
    for name, expected in figures[0].items():
        assert expected.std() > 0.01
        limit = image * max(1.0, np.abs(expected).max())  # a depth is a number of tens
        np.testing.assert_allclose(figures[1][name], expected, rtol=0, atol=limit, err_msg=name)
