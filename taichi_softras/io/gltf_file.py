"""The container of glTF and GLB: JSON, buffers, and accessors as arrays."""

import base64
import importlib.util
import json
import struct
import urllib.parse
from typing import Any, NamedTuple

import numpy as np

from taichi_softras.io.folder import Folder
from taichi_softras.io.textures import open_bytes

GLB_MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
BYTE, UNSIGNED_BYTE, SHORT, UNSIGNED_SHORT, UNSIGNED_INT, FLOAT = *range(5120, 5124), 5125, 5126
DTYPES: dict[int, np.dtype] = {
    BYTE: np.dtype("i1"),
    UNSIGNED_BYTE: np.dtype("u1"),
    SHORT: np.dtype("<i2"),
    UNSIGNED_SHORT: np.dtype("<u2"),
    UNSIGNED_INT: np.dtype("<u4"),
    FLOAT: np.dtype("<f4"),
}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
DRACO = "KHR_draco_mesh_compression"


class NotRead(Exception):
    """What a part is that is not read: `it is ...`."""


class GltfFile:
    """A file in parts.

    Attributes:
        tree: its JSON.
        folder: of the files that it names.
    """

    def __init__(self, data: bytes, folder: Folder):
        """Takes a file apart.

        Raises:
            ValueError: no JSON in it, or another version of GLB.
        """
        self.folder = folder
        self._binary = b""
        text = data
        if data[:4] == struct.pack("<I", GLB_MAGIC):
            version = struct.unpack_from("<I", data, 4)[0]
            chunks = _chunks(data)
            if version != 2 or JSON_CHUNK not in chunks:
                raise ValueError(f"it is GLB of version {version}, only 2 is read")
            text, self._binary = chunks[JSON_CHUNK], chunks.get(BINARY_CHUNK, b"")
        try:
            self.tree = json.loads(text.decode("utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"its JSON cannot be read: {error}") from error
        self._buffers: dict = {}

    def entries(self, name: str) -> list:
        """A list of the file, empty if it has none."""
        return self.tree.get(name, [])

    def view(self, number: int) -> memoryview:
        """The bytes of a buffer view."""
        view = self.tree["bufferViews"][number]
        if "EXT_meshopt_compression" in view.get("extensions", {}):
            raise NotRead("compressed by meshopt")
        index = view["buffer"]
        if index not in self._buffers:
            buffer = self.tree["buffers"][index]
            self._buffers[index] = self.named(buffer["uri"]) if "uri" in buffer else self._binary
        start = view.get("byteOffset", 0)
        return memoryview(self._buffers[index])[start : start + view["byteLength"]]

    def named(self, uri: str) -> bytes:
        """What a URI holds or names."""
        if not uri.startswith("data:"):
            return self.folder.get(uri)
        head, _, text = uri.partition(",")
        if head.endswith(";base64"):
            return base64.b64decode(text)
        return urllib.parse.unquote_to_bytes(text)

    def accessor(self, number: int) -> np.ndarray:
        """(N, C) numbers; normalised integers are floats.

        Raises:
            NotRead: it has no data.
        """
        accessor = self.tree["accessors"][number]
        dtype, width = DTYPES[accessor["componentType"]], WIDTHS[accessor["type"]]
        count, sparse = accessor["count"], accessor.get("sparse")
        if "bufferView" in accessor:
            values = self._elements(accessor, dtype, count, width)
        elif sparse is None:
            raise NotRead("without data")
        elif count > sum(buffer["byteLength"] for buffer in self.tree["buffers"]):
            raise ValueError(f"an accessor of {count} zeros")
        else:
            values = np.zeros((count, width), dtype)
        if sparse is not None:
            indices, given = sparse["indices"], sparse["values"]
            kind = DTYPES[indices["componentType"]]
            at = self._elements(indices, kind, sparse["count"], 1)[:, 0]
            values = values.copy()
            values[at] = self._elements(given, dtype, sparse["count"], width)
        return normalised(values) if accessor.get("normalized") else values

    def _elements(self, place: dict, dtype: np.dtype, count: int, width: int) -> np.ndarray:
        """(count, width) numbers of a buffer view."""
        size = dtype.itemsize * width
        stride = self.tree["bufferViews"][place["bufferView"]].get("byteStride", size)
        if stride < size:
            raise ValueError(f"a stride of {stride} bytes for elements of {size}")
        view, offset = self.view(place["bufferView"]), place.get("byteOffset", 0)
        if offset + (count - 1) * stride + size > len(view):
            raise ValueError(f"{count} elements are more than a buffer view of {len(view)} bytes")
        return np.ndarray((count, width), dtype, view, offset, (stride, dtype.itemsize))


class OpenedImage(NamedTuple):
    """Opens an image of a file."""

    file: GltfFile
    number: Any

    def __call__(self) -> Any:
        """A PIL image."""
        image = {} if self.number is None else self.file.tree["images"][self.number]
        if "bufferView" in image:
            return open_bytes(self.file.view(image["bufferView"]).tobytes())
        if "uri" not in image:
            raise ValueError("the file has no picture for it")
        return open_bytes(self.file.named(image["uri"]))


def normalised(values: np.ndarray) -> np.ndarray:
    """Integers of a type as numbers in [-1, 1]."""
    return np.maximum(values / np.iinfo(values.dtype).max, -1.0)


def read_draco(file: GltfFile, primitive: dict) -> dict:
    """The attributes by name, and `indices`, of a primitive that Draco has compressed.

    Raises:
        NotRead: DracoPy is not installed.
    """
    if not importlib.util.find_spec("DracoPy"):
        raise NotRead("compressed by Draco, which needs `pip install DracoPy`")
    import DracoPy

    extension = primitive["extensions"][DRACO]
    decoded = DracoPy.decode(file.view(extension["bufferView"]).tobytes())
    data = {attribute["unique_id"]: attribute["data"] for attribute in decoded.attributes}
    arrays = {"indices": np.asarray(decoded.faces).reshape(-1, 1)}
    for name, number in extension["attributes"].items():
        if number in data:
            accessor = file.tree["accessors"][primitive["attributes"][name]]
            values = np.asarray(data[number]).reshape(len(data[number]), -1)
            arrays[name] = normalised(values) if accessor.get("normalized") else values
    return arrays


def _chunks(data: bytes) -> dict:
    """The first chunk of each kind of a GLB file."""
    chunks: dict = {}
    at = 12
    while at + 8 <= len(data):
        length, kind = struct.unpack_from("<2I", data, at)
        chunks.setdefault(kind, data[at + 8 : at + 8 + length])
        at += 8 + length
    return chunks
