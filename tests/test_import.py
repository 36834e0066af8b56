"""`import taichi_softras` is quick: what only files and examples need waits until it is used."""

import subprocess
import sys

import pytest

from taichi_softras.runtime import ti

SLOW_AND_SELDOM = ("matplotlib", "rich", "trimesh", "imageio", "torch", "scipy", "PIL")
CODE = f"""
import sys
before = set(sys.modules)
import {ti.__name__}
of_runtime = {{name.split(".")[0] for name in set(sys.modules) - before}}
import taichi_softras
loaded = {{name.split(".")[0] for name in set(sys.modules) - before}} - of_runtime
print("LOADED", *sorted(loaded))
"""


@pytest.fixture(scope="module")
def loaded():
    """What the package loads beyond the runtime, which loads some of these itself."""
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return run.stdout.split("LOADED")[1].split()


def test_the_package_is_loaded(loaded):
    assert "taichi_softras" in loaded


@pytest.mark.parametrize("name", SLOW_AND_SELDOM)
def test_import_loads_no(loaded, name):
    assert name not in loaded
