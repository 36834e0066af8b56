"""One Taichi runtime at a time: tests are grouped by backend, `pytest --arch cpu,vulkan`.

A test asks for the fixture `backend` and runs once in f32 on every arch that was
named. A test marked `@pytest.mark.f64` runs in double precision on the CPU instead:
that is where derivatives are held against central differences. `@pytest.mark.cpu` is
for long runs that would take minutes on a software GPU.
"""

import dataclasses

import numpy as np
import pytest
import taichi as ti


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


def part_of(path) -> str:
    """The folder or file whose tests share a Taichi runtime.

    Fields are never freed and every tape clears all that there are: hundreds of tests in one
    runtime slow each other down.
    """
    folder = path.parent.name
    return path.stem if folder in ("tests", "examples", "simulation") else folder


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
    """With pytest-xdist (`-n 2 --dist loadgroup`): tests of one runtime stay in one process."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        backend = item.callspec.params.get("backend") if hasattr(item, "callspec") else None
        item.add_marker(pytest.mark.xdist_group(f"{backend or part_of(item.path)}"))


@pytest.fixture(scope="session")
def backend(request):
    """Starts Taichi on the backend that the test was parametrised with."""
    wanted = request.param
    ti.init(
        arch=getattr(ti, wanted.arch),
        default_fp=getattr(ti, wanted.precision),
        log_level=ti.ERROR,
        random_seed=0,
    )
    running = ti.lang.impl.current_cfg().arch
    if running != getattr(ti, wanted.arch) and wanted.arch != "cpu":
        pytest.skip(f"{wanted.arch} is not available here (Taichi started {running})")
    yield wanted
    ti.reset()
