"""glTF and GLB: what trimesh would read as zeros or drop silently is found, and taken out.

trimesh reads the rest.
"""

import importlib.util
import json
import struct
from typing import NamedTuple

TRIANGLES, STRIP, FLOAT = 4, 5, 5126
MODES = {0: "points", 1: "lines", 2: "a line loop", 3: "a line strip", 6: "a triangle fan"}
GLB_MAGIC, JSON_CHUNK = 0x46546C67, 0x4E4F534A


class Prepared(NamedTuple):
    """A file without what trimesh does not read."""

    data: bytes
    file_type: str  # what trimesh calls it
    textures: dict  # name of a material: of its colour texture. Materials are named by number
    problems: list  # sentences


def prepare(data: bytes) -> Prepared:
    """Takes primitives and attributes that cannot be read out of a glTF or GLB file."""
    is_binary = data[:4] == struct.pack("<I", GLB_MAGIC)
    text, rest = data, b""
    if is_binary:
        _, version, _, length, kind = struct.unpack_from("<5I", data)
        if version != 2 or kind != JSON_CHUNK:
            raise ValueError(f"it is GLB of version {version}, only 2 is read")
        text, rest = data[20 : 20 + length], memoryview(data)[20 + length :]
    try:
        tree = json.loads(text.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"its JSON cannot be read: {error}") from error
    problems: list = []
    for number, mesh in enumerate(tree.get("meshes", [])):
        name = mesh.get("name", f"mesh {number}")
        mesh["primitives"] = [
            primitive
            for primitive in mesh["primitives"]
            if _is_readable(primitive, tree, name, problems)
        ]
    textures = _textures(tree, problems)
    text = json.dumps(tree).encode()
    if is_binary:
        text += b" " * (-len(text) % 4)
        head = (GLB_MAGIC, 2, 20 + len(text) + len(rest), len(text), JSON_CHUNK)
        text = b"".join([struct.pack("<5I", *head), text, rest])
    return Prepared(text, "glb" if is_binary else "gltf", textures, problems)


def _textures(tree: dict, problems: list) -> dict:
    """Names the materials by their number, and finds the colour textures of those in use."""
    primitives = [primitive for mesh in tree.get("meshes", []) for primitive in mesh["primitives"]]
    used = {primitive.get("material") for primitive in primitives}
    textures = {}
    for number, material in enumerate(tree.get("materials", [])):
        material["name"] = str(number)
        texture = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
        if texture is not None and number in used:
            textures[material["name"]] = name = _picture_name(tree, texture["index"])
            if "KHR_texture_transform" in texture.get("extensions", {}):
                problems.append(f"the texture {name} is not moved, scaled or turned")
    return textures


def _is_readable(primitive: dict, tree: dict, name: str, problems: list) -> bool:
    """Whether trimesh reads its triangles; attributes that it would not read are taken out."""
    attributes = primitive["attributes"]
    mode = primitive.get("mode", TRIANGLES)
    reason = MODES.get(mode) if mode not in (TRIANGLES, STRIP) else None
    geometry = [attributes.get("POSITION"), primitive.get("indices")]
    for index in geometry:
        reason = reason or _why_unreadable(index, primitive, tree)
    position = attributes.get("POSITION")
    if position is None:
        reason = reason or "without positions"
    elif tree["accessors"][position].get("normalized"):
        reason = reason or "of quantised positions"
    if reason:
        problems.append(f"a primitive of {name} is not read: it is {reason}")
        return False
    _choose_coordinates(primitive, tree)
    for key in [key for key in attributes if key != "POSITION"]:
        reason = _why_unreadable(attributes[key], primitive, tree)
        is_float = tree["accessors"][attributes[key]]["componentType"] == FLOAT
        if key.startswith("TEXCOORD") and not is_float:
            reason = reason or "quantised"
        if reason:
            del attributes[key]
            problems.append(f"{key} of {name} is not read: it is {reason}")
    return True


def _why_unreadable(index, primitive: dict, tree: dict) -> str:
    """What an accessor is that trimesh reads as zeros; empty if it is none."""
    if index is None:
        return ""
    accessor = tree["accessors"][index]
    if "sparse" in accessor:
        return "sparse"
    if "bufferView" in accessor:
        view = tree["bufferViews"][accessor["bufferView"]]
        return "compressed by meshopt" if "EXT_meshopt_compression" in str(view) else ""
    if "KHR_draco_mesh_compression" not in primitive.get("extensions", {}):
        return "without data"
    has_decoder = importlib.util.find_spec("DracoPy")
    return "" if has_decoder else "compressed by Draco, which needs `pip install DracoPy`"


def _choose_coordinates(primitive: dict, tree: dict) -> None:
    """Makes the texture coordinates of the material's colour the first, which trimesh reads."""
    if "material" not in primitive:
        return
    material = tree["materials"][primitive["material"]].get("pbrMetallicRoughness", {})
    chosen = material.get("baseColorTexture", {}).get("texCoord", 0)
    attributes = primitive["attributes"]
    if chosen and f"TEXCOORD_{chosen}" in attributes:
        attributes["TEXCOORD_0"] = attributes[f"TEXCOORD_{chosen}"]


def _picture_name(tree: dict, texture: int) -> str:
    """What the file calls the picture of a texture."""
    entry = tree["textures"][texture]
    extensions = entry.get("extensions", {}).values()  # pictures of other formats
    source = next((e["source"] for e in (*extensions, entry) if "source" in e), None)
    image = {} if source is None else tree["images"][source]
    uri = image.get("uri", "data:")
    return image.get("name", f"of image {source}") if uri.startswith("data:") else uri
