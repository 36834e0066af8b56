"""The example scripts as modules."""

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).parent.parent.parent


def load_example(name):
    """The module examples/<name>.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example
