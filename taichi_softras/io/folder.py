"""The folder of a mesh file: textures, materials and buffers that it names."""

import os
import pathlib
import urllib.parse
from typing import Union

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tga", ".tif", ".tiff", ".gif", ".webp")


class Folder:
    """Files that a mesh file names; none outside of its own folder is read.

    It is also what trimesh calls a resolver.

    Attributes:
        missing: the names that were not found, and why.
    """

    def __init__(self, path: Union[str, os.PathLike]):
        self.root = pathlib.Path(path).resolve().parent
        self.file_name = os.path.basename(path)
        self.missing: dict = {}
        self._read: list = []

    def find(self, name: str) -> pathlib.Path:
        """The path of a file; of a name from elsewhere the file of this name beside the mesh.

        Raises:
            FileNotFoundError: it is not there, or outside of the folder.
        """
        written = name.strip().strip('"').replace("\\", "/")
        last = written.rpartition("/")[2]
        for candidate in (written, urllib.parse.unquote(written), last):
            try:
                path = (self.root / candidate).resolve()
                if path.is_relative_to(self.root) and path.is_file():
                    return path
                is_outside = not (self.root / written).resolve().is_relative_to(self.root)
            except (OSError, RuntimeError, ValueError):  # no path at all, to this system
                is_outside = False
        reason = "lies outside of the folder of the mesh" if is_outside else "is not there"
        self.missing[name] = reason
        raise FileNotFoundError(f"{name} {reason}")

    def get(self, name: str) -> bytes:
        """The bytes of a file; raises as `find` does."""
        self._read.append(name)
        return self.find(name).read_bytes()

    __getitem__ = get

    def pictures(self) -> list:
        """The names that were read and look like pictures."""
        names = (name for name in self._read if name not in self.missing)
        return [name for name in names if name.lower().endswith(PICTURES)]

    def broken_pictures(self) -> list:
        """Those of `pictures` that are none."""
        import PIL.Image

        broken = []
        for name in self.pictures():
            try:
                PIL.Image.open(self.find(name)).close()  # its head alone
            except Exception:  # whatever Pillow throws
                broken.append(name)
        return broken
