"""Files: meshes, cameras and images in and out.

What is read is NumPy arrays, on the lowest floor; `load_cameras` makes a `Camera` of it, which
stands above, and is looked up when it is asked for.
"""

import importlib
from typing import Any

from taichi_softras.io.contents import MeshFileError as MeshFileError
from taichi_softras.io.pictures import load_pictures as load_pictures

__all__ = ["MeshFileError", "load_cameras", "load_pictures"]


def __getattr__(name: str) -> Any:
    if name == "load_cameras":
        return importlib.import_module("taichi_softras.scene.captures").load_cameras
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
