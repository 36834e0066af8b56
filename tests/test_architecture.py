"""The floors of the house: every room imports only from floors below it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "taichi_softras"
FLOORS = [
    {"fields", "funcs", "io", "tape"},
    {"scene", "geometry", "rasterizers", "losses", "optim", "forward_mode"},
    {"shading", "gauss_newton"},
    {"functional", "placement"},
    {"renderer"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOOR_OF_ROOM = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    """The package's subfolder or module that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].split(".")[0]


def imported_rooms(path: Path) -> set:
    """The rooms of the package that a file imports, wherever in the file."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {m.split(".")[1] for m in modules if m.startswith("taichi_softras.")}
    return rooms


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_from_floors_below(path):
    room = room_of(path)
    for imported in imported_rooms(path) - {room}:
        is_below = FLOOR_OF_ROOM[imported] < FLOOR_OF_ROOM[room]
        assert is_below, f"{room} imports {imported}, which is not on a floor below it"


def test_rasterizers_see_no_scene():
    """Nor shading nor lights: only projected corners and colours."""
    for path in (PACKAGE / "rasterizers").glob("*.py"):
        assert imported_rooms(path) <= {"fields", "funcs", "rasterizers"}


def names_in(path: Path) -> set:
    """Everything that the file takes from a module or object: `kernel` of `ti.kernel`."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_funcs_are_pure():
    """No kernels, fields or arrays."""
    for path in (PACKAGE / "funcs").glob("*.py"):
        assert imported_rooms(path) <= {"funcs"}
        assert not names_in(path) & {"kernel", "field", "ndarray"}


def test_the_library_never_calls_ti_init():
    for path in FILES:
        assert not names_in(path) & {"init"}, path
