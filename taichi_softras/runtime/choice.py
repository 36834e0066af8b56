"""Which of the two runtimes: Taichi, or Quadrants, its living successor.

The one that the program imported before this package; of both, or of none, Taichi if it is
installed, else Quadrants. The environment variable TAICHI_SOFTRAS_RUNTIME overrides. A process
stays with its choice: docs/runtimes.md.
"""

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any, Optional

VARIABLE = "TAICHI_SOFTRAS_RUNTIME"
TITLES = {"taichi": "Taichi", "quadrants": "Quadrants"}
# First version that was tried, and the first that was not: private names are used, see `runtime`.
# pyproject.toml says the same
VERSIONS = {"taichi": ((1, 7, 3), (1, 8)), "quadrants": ((1, 3, 3), (1, 5))}


def choose() -> str:
    """The module's name, `taichi` or `quadrants`.

    Raises:
        ImportError: the variable names none of them, or what is wanted is not installed.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted:
        if wanted not in TITLES:
            raise ImportError(f"{VARIABLE} must be taichi or quadrants, got {wanted!r}")
        if not is_installed(wanted):
            raise ImportError(
                f"{VARIABLE} is {wanted}, and {TITLES[wanted]} is not installed: "
                f"pip install '{requirement(wanted)}'"
            )
        return wanted
    for is_there in (sys.modules.__contains__, is_installed):
        found = [name for name in TITLES if is_there(name)]
        if found:
            return found[0]
    raise ImportError(
        "taichi_softras runs on Taichi or on Quadrants, and neither is installed: "
        f"pip install '{requirement('taichi')}', or '{requirement('quadrants')}'"
    )


def is_installed(name: str) -> bool:
    """Whether a runtime can be imported; a folder that is called so is none."""
    if name in sys.modules:
        return True
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None


def requirement(name: str) -> str:
    """What pip is asked for: the versions that were tried."""
    first, end = (".".join(map(str, version)) for version in VERSIONS[name])
    return f"{name}>={first},<{end}"


def check_version(module: Any) -> None:
    """Raises an ImportError for a version that was not tried."""
    name, version = module.__name__, tuple(module.__version__)
    first, end = VERSIONS[name]
    if not first <= version < end:
        raise ImportError(
            f"taichi_softras runs on {requirement(name)}, and {'.'.join(map(str, version))} is "
            f"installed: pip install '{requirement(name)}'"
        )


def import_without_banner(name: str) -> Any:
    """Imports a runtime: what a program prints is its own."""
    variable = f"ENABLE_{name.upper()}_HEADER_PRINT"
    if variable in os.environ:
        return importlib.import_module(name)
    os.environ[variable] = "False"
    try:
        return importlib.import_module(name)
    finally:
        del os.environ[variable]


NAME = choose()
IS_QUADRANTS = NAME == "quadrants"
TITLE = TITLES[NAME]
OTHER = "taichi" if IS_QUADRANTS else "quadrants"

if TYPE_CHECKING:
    import taichi as ti
else:
    ti = import_without_banner(NAME)
check_version(ti)


def part(path: str) -> Any:
    """A module of the runtime: `part("lang.impl")`."""
    return importlib.import_module(f"{NAME}.{path}")


def other_is_initialised() -> bool:
    """Whether the program called `init` of the runtime that was not chosen."""
    impl: Any = sys.modules.get(f"{OTHER}.lang.impl")
    if impl is None or not hasattr(impl, "get_runtime"):
        return False
    runtime = vars(impl.get_runtime())
    return runtime.get("prog", runtime.get("_prog")) is not None


def how_to_choose(name: str) -> str:
    """What to write for the other one."""
    return f"import {name} before taichi_softras, or set {VARIABLE}={name}"


def explain_no_program() -> Optional[str]:
    """Why there is no program, if it is because the other runtime has one."""
    if not other_is_initialised():
        return None
    return (
        f"{TITLES[OTHER]} was initialised, but taichi_softras runs on {TITLE}: "
        f"{how_to_choose(OTHER)}, or call init of {TITLE}"
    )


def refuse_both() -> None:
    """Raises a RuntimeError if both have programs, and nobody said which one draws."""
    if other_is_initialised() and not os.environ.get(VARIABLE):
        raise RuntimeError(
            f"Taichi and Quadrants are both initialised, and taichi_softras runs on {TITLE}: call "
            f"init of one alone, or set {VARIABLE} to the one that draws"
        )


def refuse_other(name: str, value: object) -> None:
    """Raises a ValueError for what the other runtime made.

    Args:
        name: of the argument.
        value: anything, or a list of it.
    """
    for one in value if isinstance(value, (list, tuple)) else (value,):
        if type(one).__module__.partition(".")[0] == OTHER:
            raise ValueError(
                f"{name}: a {type(one).__name__} of {TITLES[OTHER]}, and taichi_softras runs on "
                f"{TITLE}: {how_to_choose(OTHER)}, or make it with {TITLE}"
            )
