"""Every public name has its entry in docs/reference, and every entry is there.

That entries are drawn without a warning is for `mkdocs build --strict`.
"""

import ast
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import taichi_softras as tsr

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference"
FOR_TENSORS = ("torch", "nvdiffrast")


def public(module: ModuleType) -> dict:
    """What a module offers by name: `__all__`, or else its own functions and classes."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {
        name: member
        for name, member in vars(module).items()
        if (inspect.isfunction(member) or inspect.isclass(member))
        and member.__module__.startswith(module.__name__)
        and not name.startswith("_")
    }


def names_for_tensors() -> list:
    """Of the doors that need PyTorch, by their `__all__`, also where it is not installed."""
    names = []
    for room in FOR_TENSORS:
        source = (ROOT / "taichi_softras" / room / "__init__.py").read_text(encoding="utf-8")
        inside = ast.literal_eval(re.search(r"__all__ = (\[.*?\])", source, re.DOTALL)[1])
        names += [f"taichi_softras.{room}.{name}" for name in inside]
    return names


def entries() -> list:
    """The names that pages of the reference show."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.md"))]
    return re.findall(r"(?m)^::: (\S+)$", "\n".join(pages))


def test_every_public_name_has_one_entry():
    wanted = public(tsr) | {"io": tsr.io}
    modules = {name: member for name, member in wanted.items() if inspect.ismodule(member)}
    members = {name: member for name, member in wanted.items() if name not in modules}
    for module, inside in modules.items():
        members |= {f"{module}.{name}": member for name, member in public(inside).items()}
    for_tensors = [name for name in entries() if name.split(".")[1] in FOR_TENSORS]
    assert sorted(for_tensors) == sorted(names_for_tensors())
    shown = [pkgutil.resolve_name(name) for name in entries() if name not in for_tensors]
    assert [name for name, member in members.items() if shown.count(member) != 1] == []
    assert len(shown) == len(members), "the reference shows what is not public"


def test_every_page_has_its_place_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/**/*.md"))]
    assert [page for page in pages if f" {page}\n" not in navigation] == []
