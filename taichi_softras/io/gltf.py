"""glTF 2.0 and GLB: the meshes of the scene, placed and joined."""

import pathlib
from typing import NamedTuple, Optional

import numpy as np

from taichi_softras.io.contents import Contents, joined, placed, said_of_uvs, said_once, unit
from taichi_softras.io.folder import Folder
from taichi_softras.io.gltf_file import DRACO, GltfFile, NotRead, read_draco
from taichi_softras.io.gltf_materials import STRENGTH, TRANSFORM, Placement, read_material

TRIANGLES, STRIP, FAN = 4, 5, 6
OTHER_MODES = {0: "points", 1: "lines", 2: "a line loop", 3: "a line strip"}
FOLLOWED = {TRANSFORM, STRENGTH, DRACO, "KHR_mesh_quantization", "EXT_meshopt_compression"}
FOLLOWED |= {"EXT_texture_webp", "KHR_texture_basisu", "EXT_texture_avif"}  # a warning, if any
VERTEX, UV = "_VERTEX", "_UV"  # our own attributes: the vertex and the UV of a corner


class Primitive(NamedTuple):
    """A primitive, and what tells its vertices and UVs from others of the mesh."""

    part: Contents
    attributes: dict  # arrays by name
    vertex_source: tuple  # numbers of accessors
    uv_source: tuple


def read_gltf(path: pathlib.Path) -> Contents:
    """Reads a file; vertices that differ in UVs alone are one vertex.

    Raises:
        ValueError, OSError and others: it is damaged, or a file that it names is missing.
    """
    file = GltfFile(path.read_bytes(), Folder(path))
    problems: list = []
    materials = [read_material(file, number) for number in range(len(file.entries("materials")))]
    placements = [material.placement for material in materials]
    meshes: dict = {}
    parts = []
    for number, matrix in _placed_meshes(file):
        if number not in meshes:
            meshes[number] = _read_mesh(file, number, placements, problems)
        mesh = meshes[number]
        if len(mesh.faces):
            vertices, faces = placed(mesh.vertices, mesh.faces, matrix)
            part = mesh._replace(vertices=vertices, faces=faces)
            if mesh.uvs is not None:
                _, uv_faces = placed(mesh.vertices, mesh.uv_faces, matrix)
                part = part._replace(uv_faces=uv_faces)
            parts.append(part)
    contents = joined(parts)
    skipped = _not_followed(file)
    if contents.face_materials is not None:
        for number in np.unique(contents.face_materials[contents.face_materials >= 0]):
            skipped += materials[number].not_followed
    return contents._replace(
        materials=tuple(entry.material for entry in materials),
        alpha_counts=False,  # materials that blend are named
        problems=tuple(dict.fromkeys(problems + said_once(skipped))),
    )


def _not_followed(file: GltfFile) -> list:
    """Names of extensions and others that change the picture."""
    names = sorted(map(str, set(file.entries("extensionsUsed")) - FOLLOWED))
    if any("skin" in node for node in file.entries("nodes")):
        names.append("skins")
    if any("targets" in p for mesh in file.entries("meshes") for p in mesh["primitives"]):
        names.append("morph targets")
    return names


def _placed_meshes(file: GltfFile) -> list:
    """The meshes of the scene: their numbers and (3, 4) matrices, in the order of the file."""
    nodes = file.entries("nodes")
    scenes = file.entries("scenes")
    if not nodes:
        return [(number, np.eye(3, 4)) for number in range(len(file.entries("meshes")))]
    children = {child for node in nodes for child in node.get("children", [])}
    roots = [number for number in range(len(nodes)) if number not in children]
    if scenes:
        roots = scenes[file.tree.get("scene", 0)].get("nodes", [])
    found, seen = [], set()
    waiting = [(number, np.eye(4)) for number in reversed(roots)]
    while waiting:
        number, above = waiting.pop()
        if number in seen:  # no tree
            continue
        seen.add(number)
        node = nodes[number]
        matrix = above @ _matrix(node)
        if "mesh" in node:
            found.append((node["mesh"], matrix[:3]))
        waiting += [(child, matrix) for child in reversed(node.get("children", []))]
    return found


def _matrix(node: dict) -> np.ndarray:
    """(4, 4), parent from node."""
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), float)
    length = x * x + y * y + z * z + w * w
    s = 2.0 / length if length > 0 else 0.0
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), float)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _read_mesh(file: GltfFile, number: int, placements: list, problems: list) -> Contents:
    """The triangles of a mesh."""
    mesh = file.tree["meshes"][number]
    name = mesh.get("name", f"mesh {number}")
    primitives = []
    for entry in mesh["primitives"]:
        try:
            primitives.append(_read_primitive(file, entry, name, placements, problems))
        except NotRead as reason:
            problems.append(f"a primitive of {name} is not read: it is {reason}")
    contents = joined([primitive.part for primitive in primitives])
    if primitives:
        contents = _with_one_vertex_each(contents, primitives)
    return contents if contents.uvs is None else _with_one_uv_each(contents, primitives)


def _read_primitive(
    file: GltfFile, entry: dict, name: str, placements: list, problems: list
) -> Primitive:
    """The triangles of a primitive."""
    mode, attributes = entry.get("mode", TRIANGLES), entry["attributes"]
    if mode in OTHER_MODES:
        raise NotRead(OTHER_MODES[mode])
    if "POSITION" not in attributes:
        raise NotRead("without positions")
    number = entry.get("material", -1)
    placement = placements[number] if number >= 0 else Placement()
    uv_name = f"TEXCOORD_{placement.uv_set}"
    arrays = _read_arrays(file, entry, (uv_name, "COLOR_0", "NORMAL", VERTEX, UV), name, problems)
    vertices = arrays["POSITION"].astype(float)
    indices = arrays.get("indices", np.arange(len(vertices))[:, None])[:, 0].astype(np.int64)
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(vertices):
        raise ValueError(
            f"{name} has {len(vertices)} vertices, but indices {indices.min()} to {indices.max()}"
        )
    faces = _triangles(indices, TRIANGLES if _is_packed(file, entry) else mode)
    colors, uvs = arrays.get("COLOR_0"), arrays.get(uv_name)
    if uvs is not None:
        problems += said_of_uvs(uvs)
        uvs = placement.moved(uvs.astype(float)[:, :2])
    part = Contents(
        vertices,
        faces,
        None if colors is None else unit(colors)[:, :3],
        uvs=uvs,
        uv_faces=None if uvs is None else faces,
        face_materials=np.full(len(faces), number),
    )
    vertex_source = (attributes["POSITION"], attributes.get("COLOR_0", -1))
    return Primitive(part, arrays, vertex_source, (attributes.get(uv_name, -1), placement))


def _is_packed(file: GltfFile, entry: dict) -> bool:
    """Whether the data of a primitive is that of Draco alone, which has triangles in any mode."""
    has_data = "bufferView" in file.tree["accessors"][entry["attributes"]["POSITION"]]
    return DRACO in entry.get("extensions", {}) and not has_data


def _read_arrays(file: GltfFile, entry: dict, names: tuple, mesh: str, problems: list) -> dict:
    """POSITION, `indices` and attributes of these names, as far as they are there and readable."""
    attributes = entry["attributes"]
    arrays = read_draco(file, entry) if _is_packed(file, entry) else {}
    if "POSITION" not in arrays:
        arrays["POSITION"] = file.accessor(attributes["POSITION"])
    if "indices" in entry and "indices" not in arrays:
        arrays["indices"] = file.accessor(entry["indices"])
    for name in names:
        if name not in attributes or name in arrays:
            continue
        try:
            arrays[name] = file.accessor(attributes[name])
        except NotRead as reason:
            problems.append(f"{name} of {mesh} is not read: it is {reason}")
            continue
        if len(arrays[name]) != len(arrays["POSITION"]):
            del arrays[name]
            problems.append(f"{name} of {mesh} is not read: it is of another length")
    return arrays


def _triangles(indices: np.ndarray, mode: int) -> np.ndarray:
    """(F, 3) of a list, a strip or a fan."""
    if mode == TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if mode not in (STRIP, FAN):
        raise ValueError(f"a primitive of mode {mode}")
    nth = np.arange(max(len(indices) - 2, 0))
    odd = nth % 2
    if mode == FAN:
        corners = [np.zeros_like(nth), nth + 1, nth + 2]
    else:
        corners = [nth, nth + 1 + odd, nth + 2 - odd]
    faces = indices[np.stack(corners, axis=1)]
    repeated = (faces == np.roll(faces, 1, axis=1)).any(axis=1)  # where a strip begins anew
    return faces[~repeated]


def _with_one_vertex_each(contents: Contents, primitives: list) -> Contents:
    """Joins vertices that glTF has several times because their UVs differ.

    Our own files number the vertices. Otherwise it is one of one place, normal and colour, if
    there are normals, which say where a surface is smooth; without them, one of the same accessors.
    """
    colors = contents.vertex_colors
    rows = _by_number(VERTEX, primitives, contents.vertices)
    if rows is None and all("NORMAL" in primitive.attributes for primitive in primitives):
        keys = [_all_rows("POSITION", primitives), _all_rows("NORMAL", primitives)]
        rows = _by_value(np.concatenate(keys if colors is None else [*keys, colors], axis=1))
    elif rows is None:
        lengths = [len(primitive.part.vertices) for primitive in primitives]
        rows = _by_source([primitive.vertex_source for primitive in primitives], lengths)
    first, number_of = rows
    return contents._replace(
        vertices=contents.vertices[first],
        faces=number_of[contents.faces],
        vertex_colors=None if colors is None else colors[first],
    )


def _with_one_uv_each(contents: Contents, primitives: list) -> Contents:
    """Joins UVs that our own files number, or that are of the same accessors."""
    rows = None
    if all(primitive.part.uvs is not None for primitive in primitives):
        rows = _by_number(UV, primitives, contents.uvs)
    if rows is None:
        lengths = [1 if p.part.uvs is None else len(p.part.uvs) for p in primitives]
        rows = _by_source([primitive.uv_source for primitive in primitives], lengths)
    first, number_of = rows
    return contents._replace(uvs=contents.uvs[first], uv_faces=number_of[contents.uv_faces])


def _all_rows(name: str, primitives: list) -> np.ndarray:
    """(N, C) of all primitives."""
    return np.concatenate([primitive.attributes[name] for primitive in primitives])


def _by_number(name: str, primitives: list, values: np.ndarray) -> Optional[tuple]:
    """The first row of each number, in their order, and which of these each row is.

    None if there are no numbers, or if they are of another mesh: equal ones, and other values.
    """
    if not all(name in primitive.attributes for primitive in primitives):
        return None
    numbers = _all_rows(name, primitives)[:, 0]
    _, first, number_of = np.unique(numbers, return_index=True, return_inverse=True)
    return (first, number_of) if np.array_equal(values[first][number_of], values) else None


def _by_value(rows: np.ndarray) -> tuple:
    """The first of all equal rows, in the order of the file, and which of these each row is."""
    rows = np.ascontiguousarray(rows, np.float32) + np.float32(0.0)  # -0 is 0
    as_bytes = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))[:, 0]
    _, first, number_of = np.unique(as_bytes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[number_of]


def _by_source(sources: list, lengths: list) -> tuple:
    """The rows of each source once, and which of these each row is."""
    starts: dict = {}
    first, number_of = [], []
    kept, at = 0, 0
    for source in zip(sources, lengths):
        rows = np.arange(source[1])
        if source not in starts:
            starts[source] = kept
            kept += len(rows)
            first.append(rows + at)
        number_of.append(rows + starts[source])
        at += len(rows)
    return np.concatenate(first), np.concatenate(number_of)
