"""glTF 2.0, binary or with everything in its JSON, as bytes."""

import base64
import json
import pathlib
import struct
from typing import Any, Optional

import numpy as np

from taichi_softras.io.contents import TEXTURES, MaterialArrays, MeshArrays, TextureArrays
from taichi_softras.io.gltf import UV, VERTEX
from taichi_softras.io.gltf_file import BINARY_CHUNK, DTYPES, GLB_MAGIC, JSON_CHUNK, WIDTHS
from taichi_softras.io.gltf_materials import EXTRAS, LINEAR, NEAREST, STRENGTH, WRAPS
from taichi_softras.io.textures import png, to_bytes

FILTERS = {"nearest": (NEAREST, NEAREST), "bilinear": (LINEAR, LINEAR), "trilinear": (LINEAR, 9987)}
CODES = {dtype: code for code, dtype in DTYPES.items()}
SHAPES = {width: shape for shape, width in WIDTHS.items()}
VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963
LARGEST_FLOAT_INDEX = 2**24  # whole numbers up to it are exact in single precision


def gltf_files(path: pathlib.Path, mesh: MeshArrays, problems: list) -> dict:
    """The file of a mesh, by its path; `problems` gets what it does not hold."""
    document = _Document(problems)
    materials = [document.add_material(material) for material in mesh.materials]
    attributes, faces = document.add_corners(mesh)
    primitives = []
    for number in range(max(len(materials), 1)):
        chosen = faces[mesh.face_materials == number] if materials else faces
        if not len(chosen):
            continue
        primitive = {"attributes": attributes, "indices": document.add_indices(chosen)}
        primitives.append({**primitive, "material": number} if materials else primitive)
    tree = {
        "asset": {"version": "2.0", "generator": "taichi_softras"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "materials": materials,
        **document.lists,
    }
    tree = {key: value for key, value in tree.items() if value}  # glTF has no empty lists
    if path.suffix.lower() == ".glb":
        return {path: _binary({**tree, "scene": 0}, document.data)}
    uri = "data:application/octet-stream;base64," + base64.b64encode(document.data).decode()
    buffers = [{"byteLength": len(document.data), "uri": uri}]
    return {path: json.dumps({**tree, "scene": 0, "buffers": buffers}).encode()}


def _binary(tree: dict, data: bytes) -> bytes:
    """GLB: a head, the JSON, and the buffer."""
    text = json.dumps({**tree, "buffers": [{"byteLength": len(data)}]}).encode()
    text += b" " * (-len(text) % 4)
    size = 12 + 8 + len(text) + 8 + len(data)
    head = struct.pack("<5I", GLB_MAGIC, 2, size, len(text), JSON_CHUNK)
    return b"".join([head, text, struct.pack("<2I", len(data), BINARY_CHUNK), data])


class _Document:
    """A file as it grows.

    Attributes:
        lists: its accessors, views, textures and so on, by their names in the file.
    """

    def __init__(self, problems: list):
        names = "accessors bufferViews textures images samplers extensionsUsed".split()
        self.lists: dict = {name: [] for name in names}
        self._data = bytearray()
        self._problems = problems
        self._textures: dict = {}  # numbers by id

    @property
    def data(self) -> bytes:
        """The buffer."""
        return bytes(self._data)

    def add(self, name: str, entry: Any) -> int:
        """Adds an entry to a list; gives its number."""
        self.lists[name].append(entry)
        return len(self.lists[name]) - 1

    def add_view(self, data: bytes, target: Optional[int] = None) -> int:
        """Adds bytes to the buffer, which stays a multiple of four bytes long."""
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(data)}
        self._data += data + b"\0" * (-len(data) % 4)
        return self.add("bufferViews", {**view, "target": target} if target else view)

    def add_attribute(self, array: np.ndarray, **entries: Any) -> int:
        """Adds an accessor of (N, C) numbers of vertices."""
        accessor = {
            "bufferView": self.add_view(array.tobytes(), VERTEX_BUFFER),
            "componentType": CODES[array.dtype],
            "count": len(array),
            "type": SHAPES[array.shape[1]],
        }
        return self.add("accessors", {**accessor, **entries})

    def add_indices(self, faces: np.ndarray) -> int:
        """Adds an accessor of the corners of faces."""
        indices = faces.astype("<u2" if faces.max() < 0xFFFF else "<u4")
        accessor = {
            "bufferView": self.add_view(indices.tobytes(), INDEX_BUFFER),
            "componentType": CODES[indices.dtype],
            "count": indices.size,
            "type": "SCALAR",
        }
        return self.add("accessors", accessor)

    def add_corners(self, mesh: MeshArrays) -> tuple:
        """Adds the vertices, once for each UV that they have.

        Returns:
            numbers of accessors by attribute, and (F, 3) faces.
        """
        vertices = np.arange(len(mesh.vertices))
        uvs, faces = vertices, mesh.faces
        if mesh.uvs is not None:
            vertices, uvs, faces = _corners(mesh)
        positions = mesh.vertices[vertices].astype("<f4")
        bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
        attributes = {"POSITION": self.add_attribute(positions, **bounds)}
        if mesh.vertex_colors is not None:
            colors = to_bytes(mesh.vertex_colors[vertices])
            colors = np.pad(colors, ((0, 0), (0, 1)), constant_values=255)  # four bytes each
            attributes["COLOR_0"] = self.add_attribute(colors, normalized=True)
        if mesh.uvs is not None:
            coordinates = mesh.uvs[uvs] * [1.0, -1.0] + [0.0, 1.0]  # v is down
            attributes["TEXCOORD_0"] = self.add_attribute(coordinates.astype("<f4"))
            if faces is not mesh.faces and max(vertices.max(), uvs.max()) < LARGEST_FLOAT_INDEX:
                for name, numbers in ((VERTEX, vertices), (UV, uvs)):
                    attributes[name] = self.add_attribute(numbers[:, None].astype("<f4"))
        return attributes, faces

    def add_material(self, material: MaterialArrays) -> dict:
        """The entry of a material; adds its textures."""
        infos: dict[str, Any] = {}
        for slot in TEXTURES:
            texture = getattr(material, slot)
            infos[slot] = None if texture is None else {"index": self._add_texture(texture)}
        strength = max(1.0, float(np.max(material.emissive)))
        normal = infos["normal_texture"]
        metal = {
            "baseColorFactor": [*_floats(material.base_color), 1.0],
            "metallicFactor": float(material.metallic),
            "roughnessFactor": float(material.roughness),
            "baseColorTexture": infos["base_color_texture"],
            "metallicRoughnessTexture": infos["metallic_roughness_texture"],
        }
        entry = {
            "name": material.name or None,
            "pbrMetallicRoughness": _without_none(metal),
            "normalTexture": normal and {**normal, "scale": float(material.normal_scale)},
            "emissiveTexture": infos["emissive_texture"],
            "emissiveFactor": [value / strength for value in _floats(material.emissive)],
            "doubleSided": bool(material.double_sided),
            "extras": {
                EXTRAS: {
                    "specular": _floats(material.specular),
                    "shininess": float(material.shininess),
                }
            },
        }
        if strength > 1.0:
            entry["extensions"] = {STRENGTH: {"emissiveStrength": strength}}
            self.lists["extensionsUsed"] = [STRENGTH]
        return _without_none(entry)

    def _add_texture(self, texture: TextureArrays) -> int:
        """The number of a texture; the same one is written once."""
        if id(texture) in self._textures:
            return self._textures[id(texture)]
        wrap = texture.wrap
        if wrap not in WRAPS.values():
            self._problems.append(
                f"glTF has no wrap={wrap!r}: the texture {texture.name} is written as 'clamp'"
            )
            wrap = "clamp"
        code = next(code for code, name in WRAPS.items() if name == wrap)
        near, far = FILTERS[texture.filter]
        sampler = {"magFilter": near, "minFilter": far, "wrapS": code, "wrapT": code}
        image = {"mimeType": "image/png", "bufferView": self.add_view(png(texture.image))}
        image = {**image, "name": texture.name} if texture.name else image
        entry = {"sampler": self.add("samplers", sampler), "source": self.add("images", image)}
        self._textures[id(texture)] = self.add("textures", entry)
        return self._textures[id(texture)]


def _corners(mesh: MeshArrays) -> tuple:
    """Each vertex with each of its UVs: two lists of numbers, and (F, 3) faces of these.

    All vertices and UVs are in the lists, also those that no face has. Where a UV belongs to each
    vertex, in their order, the faces are the mesh's own.
    """
    num_uvs = len(mesh.uvs)
    if num_uvs == len(mesh.vertices) and np.array_equal(mesh.uv_faces, mesh.faces):
        return np.arange(num_uvs), np.arange(num_uvs), mesh.faces
    pairs, faces = np.unique(
        mesh.faces.astype(np.int64) * num_uvs + mesh.uv_faces, return_inverse=True
    )
    vertices, uvs = np.divmod(pairs, num_uvs)
    lonely = np.setdiff1d(np.arange(len(mesh.vertices)), vertices)
    unused = np.setdiff1d(np.arange(num_uvs), uvs)
    vertices = np.concatenate([vertices, lonely, np.zeros(len(unused), int)])
    uvs = np.concatenate([uvs, np.zeros(len(lonely), int), unused])
    return vertices, uvs, faces.reshape(-1, 3)


def _floats(values: Any) -> list:
    return [float(value) for value in values]


def _without_none(entry: dict) -> dict:
    return {key: value for key, value in entry.items() if value is not None}
