"""PLY, OFF, STL, GLB, glTF, COLLADA and whatever else trimesh reads.

trimesh takes longer to import than all else, so it waits until a file is touched.
"""

import io
import logging
import pathlib
from typing import Optional

import numpy as np

from taichi_softras.io.contents import Contents, Picture
from taichi_softras.io.folder import Folder
from taichi_softras.io.gltf import prepare
from taichi_softras.io.text import decode

# warnings of ours say what is missing; trimesh would print its own to a program without logging
logging.getLogger("trimesh").addHandler(logging.NullHandler())

GLTF = (".gltf", ".glb")
IDENTITY = np.eye(3)
# COLLADA 1.5, up_axis: the columns are its x, y and z axes, ours are x right and y up
TURNS = {
    "X_UP": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "Y_UP": IDENTITY,
    "Z_UP": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


def read_via_trimesh(path: pathlib.Path) -> Contents:
    """Reads a file; the meshes of its scene are placed and joined.

    STL knows no shared vertices: equal ones are merged.
    """
    import trimesh

    folder, suffix = Folder(path), path.suffix.lower()
    source, file_type, textures, problems, turn = str(path), None, {}, [], IDENTITY
    pictures: dict = {}  # by the number of the image: meshes share them
    if suffix in GLTF:
        data, file_type, textures, problems = prepare(path.read_bytes())
        source = io.BytesIO(data)
    elif suffix in (".dae", ".zae"):
        turn, problems = _scan_collada(path)
    elif suffix == ".ply":  # whose comments may be in any encoding
        head, end, rest = path.read_bytes().partition(b"end_header")
        source, file_type = io.BytesIO(decode(head).encode() + end + rest), "ply"
    elif suffix == ".off" and b"COFF" in path.read_bytes()[:100]:
        problems = ["its colours are not read"]
    is_soup = suffix == ".stl"
    scene = trimesh.load_scene(source, file_type=file_type, resolver=folder, process=is_soup)
    parts = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        part = scene.geometry[name]
        if not isinstance(part, trimesh.Trimesh):
            problems.append(f"{name} is not read: it is no triangles but {type(part).__name__}")
        elif len(part.faces):
            parts.append(_part(part, turn @ matrix[:3], textures, pictures, problems))
    problems += [f"the file {name} {reason}" for name, reason in folder.missing.items()]
    problems += [f"the texture {name} could not be read" for name in folder.broken_pictures()]
    joined = _joined(parts) if parts else Contents(np.empty((0, 3)), np.empty((0, 3), int))
    return joined._replace(tinted=suffix in GLTF, problems=tuple(dict.fromkeys(problems)))


def _part(mesh, matrix: np.ndarray, textures: dict, pictures: dict, problems: list) -> Contents:
    """One mesh of a scene, moved by a (3, 4) matrix."""
    vertices = np.asarray(mesh.vertices, float)
    if not np.array_equal(matrix, np.eye(3, 4)):
        vertices = vertices @ matrix[:, :3].T + matrix[:, 3]
    is_mirrored = np.linalg.det(matrix[:, :3]) < 0
    faces = np.asarray(mesh.faces[:, ::-1] if is_mirrored else mesh.faces, np.int64)
    part = Contents(vertices, faces)
    visual = mesh.visual
    if visual.kind == "vertex":
        return part._replace(vertex_colors=visual.vertex_colors[:, :3] / 255)
    if visual.kind == "face":
        return part._replace(face_colors=visual.face_colors[:, :3] / 255)
    if visual.kind != "texture":
        return part
    material, colors = visual.material, visual.vertex_attributes.get("color")
    if colors is not None:
        part = part._replace(vertex_colors=_unit(np.asarray(colors))[:, :3])
    part = part._replace(face_colors=np.tile(_color(material), (len(faces), 1)))
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if image is None and material.name in textures:
        problems.append(f"the texture {textures[material.name]} could not be read")
    if image is None or image.format is None:  # trimesh makes one where there is none
        return part
    uvs = np.full((len(vertices), 2), np.nan) if visual.uv is None else visual.uv
    name = textures.get(material.name) or image.info.get("file_path") or "of the file"
    return part._replace(
        corner_uvs=uvs[faces],
        pictures=(pictures.setdefault(id(image), Picture(name, lambda: image)),),
    )


def _joined(parts: list) -> Contents:
    """Parts one after another; what only some of them have is filled."""
    if len(parts) == 1:
        return parts[0]._replace(picture_of_face=np.zeros(len(parts[0].faces), int))
    counts = [len(part.vertices) for part in parts]
    starts = np.cumsum([0, *counts[:-1]])
    faces = [part.faces + start for part, start in zip(parts, starts)]
    pictures = list(dict.fromkeys(picture for part in parts for picture in part.pictures))
    of_part = [pictures.index(part.pictures[0]) if part.pictures else -1 for part in parts]
    return Contents(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate(faces),
        _filled([part.vertex_colors for part in parts], counts, (3,), 1.0),
        _filled([part.face_colors for part in parts], map(len, faces), (3,), 1.0),
        _filled([part.corner_uvs for part in parts], map(len, faces), (3, 2), np.nan),
        tuple(pictures),
        np.repeat(of_part, [len(part.faces) for part in parts]),
    )


def _filled(arrays: list, lengths, shape: tuple, value: float) -> Optional[np.ndarray]:
    """Arrays one after another, a value where one is None; None if all are."""
    if all(array is None for array in arrays):
        return None
    return np.concatenate(
        [
            np.full((length, *shape), value) if array is None else array
            for array, length in zip(arrays, lengths)
        ]
    )


def _color(material) -> np.ndarray:
    """The colour (3,) of a material; white if it says none."""
    import trimesh

    if hasattr(material, "baseColorFactor"):
        given = material.baseColorFactor
    else:  # trimesh gives a colour of its own to a material without one
        given = getattr(material, "diffuse", None)
        given = None if np.array_equal(given, trimesh.visual.color.DEFAULT_COLOR) else given
    return np.ones(3) if given is None else _unit(np.asarray(given))[:3]


def _unit(colors: np.ndarray) -> np.ndarray:
    """Colours of integers or floats in [0, 1]."""
    is_integer = np.issubdtype(colors.dtype, np.integer)
    return colors / np.iinfo(colors.dtype).max if is_integer else np.clip(colors, 0.0, 1.0)


def _scan_collada(path: pathlib.Path) -> tuple:
    """What trimesh does not look at: (3, 3) to metres with y up, and lines, as sentences."""
    import xml.etree.ElementTree
    import zipfile

    data = path.read_bytes()
    if path.suffix.lower() == ".zae":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".dae")]
            data = archive.read(names[0])
    # the first asset is the file's own, others are of its parts
    meters, axis, is_own, num_lines = 1.0, "Y_UP", True, 0
    for _, element in xml.etree.ElementTree.iterparse(io.BytesIO(data)):
        tag = element.tag.rpartition("}")[2]
        if tag == "unit" and is_own:
            meters = float(element.get("meter", 1.0))
        elif tag == "up_axis" and is_own:
            axis = element.text.strip()
        elif tag == "asset":
            is_own = False
        elif tag in ("lines", "linestrips"):
            num_lines += 1
    problems = [f"{num_lines} primitives are not read: they are lines"] if num_lines else []
    return meters * TURNS[axis], problems
