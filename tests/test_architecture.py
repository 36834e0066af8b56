"""The floors of the house (docs/architecture.md): every room imports only from floors below it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "taichi_softras"
FLOORS = [
    {"runtime", "io"},
    {"workspace", "funcs", "tape", "scripts"},
    {"fields", "geometry", "rasterizers"},
    {"shading", "copies", "optim", "forward_mode"},
    {"scene", "placement", "testing"},
    {"losses", "gauss_newton", "pipeline", "functional"},
    {"atlas"},
    {"environments"},
    {"renderer"},
    {"preview", "smoke", "torch"},
    {"cli", "nvdiffrast"},
    {"__init__", "__main__"},
]
FLOOR_OF_ROOM = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
CORE = {"funcs", "workspace", "geometry", "rasterizers", "shading", "placement", "pipeline"}
JOINTS_OF_THE_TAPE = {"renderer", "losses", "runtime"}
PRIVATE_NAMES = {"lang", "impl", "get_runtime", "current_cfg", "snode", "ptr", "prog"}
MOST_LINES, MOST_PARAMETERS = 60, 12  # of a function, without its docstring
PRIVATE_MODULES = ("taichi", "quadrants")  # `ti` comes from taichi_softras.runtime


def room_of(path: Path) -> str:
    """The package's subfolder or module that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].split(".")[0]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported_modules(path: Path) -> set:
    """Everything that a file imports, wherever in the file, by its full name."""
    modules = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def imported_rooms(path: Path) -> set:
    """The rooms of the package that a file imports."""
    modules = imported_modules(path)
    return {m.split(".")[1] for m in modules if m.startswith("taichi_softras.")}


def names_in(path: Path) -> set:
    """Everything that the file takes from a module or object: `kernel` of `ti.kernel`."""
    nodes = ast.walk(tree_of(path))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def is_called_ti(node: ast.AST, *names: str) -> bool:
    """Whether an expression is one of `ti.<name>`."""
    return isinstance(node, ast.Attribute) and ast.unparse(node) in {f"ti.{n}" for n in names}


def kernels_in(path: Path) -> list:
    """The functions of a file that are Taichi kernels."""
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef)]
    kernels = {"kernel", "ti.kernel"}
    return [f for f in functions if kernels & {ast.unparse(d) for d in f.decorator_list}]


FILES = sorted(PACKAGE.rglob("*.py"))
CORE_FILES = [path for path in FILES if room_of(path) in CORE]
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
each_core_file = pytest.mark.parametrize(
    "path", CORE_FILES, ids=lambda path: str(path.relative_to(PACKAGE))
)


@each_file
def test_rooms_import_only_from_floors_below(path):
    room = room_of(path)
    for imported in imported_rooms(path) - {room}:
        is_below = FLOOR_OF_ROOM[imported] < FLOOR_OF_ROOM[room]
        assert is_below, f"{room} imports {imported}, which is not on a floor below it"


def test_rasterizers_see_no_scene():
    """Nor shadings nor lights: corners and what faces look like."""
    for path in (PACKAGE / "rasterizers").glob("*.py"):
        assert imported_rooms(path) <= {"funcs", "rasterizers", "runtime", "workspace"}


def test_funcs_are_pure():
    """No kernels, fields or arrays."""
    for path in (PACKAGE / "funcs").glob("*.py"):
        assert imported_rooms(path) <= {"funcs", "runtime"}
        assert not names_in(path) & {"kernel", "field", "ndarray"}


@each_file
def test_private_names_of_taichi_are_in_runtime_alone(path):
    if room_of(path) == "runtime":
        assert names_in(path) & PRIVATE_NAMES or "part(" in path.read_text()  # it must be there
        return
    private = {m for m in imported_modules(path) if m.split(".")[0] in PRIVATE_MODULES}
    assert not private, f"{path.name} imports {private}: ask runtime/"
    private = names_in(path) & PRIVATE_NAMES
    assert not private, f"{path.name} uses {private}: ask runtime/"


@each_file
def test_taichi_differentiates_nothing_below_the_doors(path):
    """`ti.ad` joins adjoints written by hand to a user's tape, where it begins and ends."""
    if room_of(path) not in JOINTS_OF_THE_TAPE:
        used = {ast.unparse(node) for node in ast.walk(tree_of(path)) if is_called_ti(node, "ad")}
        assert not used, f"{path.name} uses ti.ad"
        return
    joints = {"grad_replaced", "grad_for", "no_grad"}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and is_called_ti(node.value, "ad"):
            assert node.attr in joints, f"{path.name} uses ti.ad.{node.attr}"


@each_file
def test_a_kernel_on_fields_is_run_within_a_joint(path):
    """Every `ti.ad.grad_replaced` has its `grad_for`: none is left to Taichi's own adjoint."""
    decorators = [
        ast.unparse(decorator)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
    ]
    replaced = decorators.count("ti.ad.grad_replaced")
    assert replaced == sum(name.startswith("ti.ad.grad_for(") for name in decorators)


@each_core_file
def test_the_core_knows_arrays_only(path):
    """It imports nothing that has fields, and no kernel of it takes one as a template."""
    assert imported_rooms(path) <= CORE | {"runtime"}
    assert not names_in(path) & {"field", "FieldsBuilder"}
    for kernel in kernels_in(path):
        templates = {
            argument.arg
            for argument in kernel.args.args
            if isinstance(argument.annotation, ast.Call)
            and is_called_ti(argument.annotation.func, "template")
        }
        indexed = {
            node.value.id
            for node in ast.walk(kernel)
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
        }
        assert not templates & indexed, f"{kernel.name} takes a field: {templates & indexed}"


@each_core_file
def test_arrays_of_the_core_are_closed_to_autodiff(path):
    """Taichi's gradients of arrays are wrong on Vulkan: `workspace.array` says that there are none.

    No other annotation of an array is in the core.
    """
    for kernel in kernels_in(path):
        for argument in kernel.args.args:
            annotation = ast.unparse(argument.annotation)
            is_closed = "ndarray" not in annotation
            assert is_closed, f"{kernel.name}: {argument.arg} should be array(dtype, ndim)"


def test_what_is_compiled_in_is_a_plain_object():
    """Dataclasses of the core are methods and shadings, which no kernel sees.

    What kernels take as a template is a `funcs.values.value`: Taichi's successors flatten
    dataclasses into kernel arguments.
    """
    classes = {
        node.name: node
        for path in CORE_FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    }

    def ancestors(name: str) -> set:
        bases = {ast.unparse(base) for base in classes[name].bases} if name in classes else set()
        return bases.union(*map(ancestors, bases))

    for name, node in classes.items():
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
            assert ancestors(name) & {"Rasterizer", "Shading"}, f"{name} needs @value"


@each_file
def test_long_functions_say_why(path):
    """More than 60 lines or 12 parameters: with a reason, a comment where the function begins."""
    lines = path.read_text().splitlines()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno - docstring.count("\n")
            parameters = len(node.args.args) + len(node.args.kwonlyargs)
            is_long = length > MOST_LINES or parameters > MOST_PARAMETERS
            first = lines[node.lineno - 1]
            assert not is_long or "#" in first, f"{node.name}: {length} lines, {parameters} inputs"


def test_the_library_never_calls_ti_init():
    """But where it is the program, and for tensors, whose users need no Taichi of their own."""
    for path in FILES:
        assert room_of(path) in {"smoke", "torch"} or not names_in(path) & {"init"}, path


def test_pytorch_is_imported_by_its_door_alone():
    for path in FILES:
        modules = {module.split(".")[0] for module in imported_modules(path)}
        assert room_of(path) == "torch" or "torch" not in modules, path
