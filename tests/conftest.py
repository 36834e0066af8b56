"""One runtime at a time: `pytest --arch cpu,vulkan`, or `pytest --runtime quadrants`.

A test asks for the fixture `backend` and runs once in f32 on every arch that was named. A test
marked `@pytest.mark.f64` runs in double precision on the CPU instead: that is where derivatives are
held against central differences. `@pytest.mark.cpu` is for long runs that would take minutes on a
software GPU.

Compiling kernels is most of the work, so tests that need the same ones share a runtime. The whole
suite runs in several processes (pytest-xdist), a runtime in each.
"""

import dataclasses
import os

import numpy as np
import pytest

from tests import measured

# What says which runtime it is; the package itself is imported by tests, when that is settled
VARIABLE = "TAICHI_SOFTRAS_RUNTIME"
MOST_PROCESSES = 4
FEW_PROCESSORS = 2  # as many as a run on the CPU has backends
MOST_TREES = 380  # of fields, at the beginning of a file of tests: a file adds 50


@dataclasses.dataclass(frozen=True)
class Backend:
    """Where and in which precision a test runs."""

    arch: str
    precision: str
    part: str  # of the tests: see `part_of`

    @property
    def numpy_float(self) -> type:
        return {"f32": np.float32, "f64": np.float64}[self.precision]


def pytest_addoption(parser):
    parser.addoption(
        "--arch", default="cpu", help="backends, comma-separated: cpu,vulkan,cuda,metal"
    )
    parser.addoption(
        "--runtime",
        choices=("taichi", "quadrants"),
        help="what runs kernels; default: what is installed",
    )


def pytest_configure(config):
    """Also in the processes of pytest-xdist; those that tests start inherit it."""
    if config.option.runtime:
        os.environ[VARIABLE] = config.option.runtime


def pytest_xdist_auto_num_workers(config) -> int:
    """Of `-n auto`, the default: as many as there are processors; a part of the tests runs here."""
    is_part = config.args_source is not config.ArgsSource.TESTPATHS or config.option.keyword
    return 0 if is_part else min(os.cpu_count(), MOST_PROCESSES)


def part_of(path) -> str:
    """Which tests of a backend share a runtime: all; on many processors those of the methods.

    What two runtimes need is compiled twice.
    """
    if os.cpu_count() <= FEW_PROCESSORS:
        return "all"
    return "methods" if path.parent.name in ("rasterizers", "reference") else "rest"


def pytest_generate_tests(metafunc):
    if "backend" not in metafunc.fixturenames:
        return
    archs = metafunc.config.getoption("--arch").split(",")
    part = part_of(metafunc.definition.path)
    if metafunc.definition.get_closest_marker("f64"):
        backends = [Backend("cpu", "f64", part)]
    elif metafunc.definition.get_closest_marker("cpu"):
        backends = [Backend("cpu", "f32", part)]
    else:
        backends = [Backend(arch, "f32", part) for arch in archs]
    names = [f"{backend.arch}-{backend.precision}" for backend in backends]
    metafunc.parametrize("backend", backends, ids=names, indirect=True, scope="session")


def pytest_collection_modifyitems(config, items):
    """Tests of one runtime stay in one process; those without one go wherever there is time."""
    for item in items:
        if hasattr(item, "callspec") and "backend" in item.callspec.params:
            item.add_marker(pytest.mark.xdist_group(str(item.callspec.params["backend"])))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """What a test measures of gradients goes with its report."""
    measured.errors.clear()
    yield
    item.user_properties += [("gradient", [name, float(e)]) for name, e in measured.errors]


def pytest_terminal_summary(terminalreporter, config):
    if "gradients" not in config.option.markexpr:
        return
    rows = [
        (*pair, report.nodeid)
        for report in terminalreporter.stats.get("passed", [])
        for key, pair in report.user_properties
        if key == "gradient"
    ]
    terminalreporter.section("gradients against central differences in double precision")
    for line in measured.table(rows):
        terminalreporter.line(line)


def begin(wanted: Backend) -> None:
    """Starts the runtime."""
    from taichi_softras.runtime import ti

    ti.init(
        arch=getattr(ti, wanted.arch),
        default_fp=getattr(ti, wanted.precision),
        log_level=ti.ERROR,
        random_seed=0,
    )


@pytest.fixture(scope="module", autouse=True)
def room_for_fields(request):
    """A runtime that many tests have placed fields in begins anew: it holds 512 trees of them."""
    if "backend" not in request.fixturenames:
        return
    from taichi_softras.runtime import num_trees

    wanted = request.getfixturevalue("backend")
    if num_trees() > MOST_TREES:
        begin(wanted)


@pytest.fixture(scope="session")
def backend(request):
    """Starts the runtime on the backend that the test was parametrised with."""
    from taichi_softras.runtime import ti

    wanted = request.param
    begin(wanted)
    running = ti.lang.impl.current_cfg().arch
    if running != getattr(ti, wanted.arch) and wanted.arch != "cpu":
        pytest.skip(f"{wanted.arch} is not available here (started: {running})")
    yield wanted
    ti.reset()
