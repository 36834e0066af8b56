"""PLY, OFF, STL, COLLADA and whatever else trimesh reads.

trimesh takes longer to import than all else, so it waits until a file is touched.
"""

import io
import logging
import pathlib

import numpy as np

from taichi_softras.io.contents import (
    Contents,
    MaterialArrays,
    Picture,
    joined,
    placed,
    unit,
)
from taichi_softras.io.folder import Folder
from taichi_softras.io.text import decode

# warnings of ours say what is missing; trimesh would print its own to a program without logging
logging.getLogger("trimesh").addHandler(logging.NullHandler())

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
    source, file_type, problems, turn = str(path), None, [], IDENTITY
    if suffix in (".dae", ".zae"):
        turn, problems = _scan_collada(path)
    elif suffix == ".ply":  # whose comments may be in any encoding
        head, end, rest = path.read_bytes().partition(b"end_header")
        source, file_type = io.BytesIO(decode(head).encode() + end + rest), "ply"
    elif suffix == ".off" and b"COFF" in path.read_bytes()[:100]:
        problems = ["its colours are not read"]
    is_soup = suffix == ".stl"
    scene = trimesh.load_scene(source, file_type=file_type, resolver=folder, process=is_soup)
    parts: list = []
    materials: dict = {}  # of trimesh, by their ids: its number, ours
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        part = scene.geometry[name]
        if not isinstance(part, trimesh.Trimesh):
            problems.append(f"{name} is not read: it is no triangles but {type(part).__name__}")
        elif len(part.faces):
            parts.append(_part(part, turn @ matrix[:3], materials, folder))
    problems += [f"the file {name} {reason}" for name, reason in folder.missing.items()]
    problems += [f"the texture {name} could not be read" for name in folder.broken_pictures()]
    return joined(parts)._replace(
        materials=tuple(material for _, material in materials.values()),
        problems=tuple(dict.fromkeys(problems)),
    )


def _part(mesh, matrix: np.ndarray, materials: dict, folder: Folder) -> Contents:
    """One mesh of a scene, moved by a (3, 4) matrix; its material is added to `materials`."""
    vertices, faces = placed(np.asarray(mesh.vertices, float), mesh.faces, matrix)
    part = Contents(vertices, faces.astype(np.int64))
    visual = mesh.visual
    if visual.kind == "vertex":
        return part._replace(vertex_colors=visual.vertex_colors[:, :3] / 255)
    if visual.kind == "face":
        return part._replace(face_colors=visual.face_colors[:, :3] / 255)
    if visual.kind != "texture":
        return part
    colors = visual.vertex_attributes.get("color")
    if colors is not None:
        part = part._replace(vertex_colors=unit(np.asarray(colors))[:, :3])
    if visual.uv is not None and len(visual.uv) == len(vertices):
        part = part._replace(uvs=np.asarray(visual.uv, float)[:, :2], uv_faces=part.faces)
    material = visual.material
    number, _ = materials.setdefault(id(material), (len(materials), _material(material, folder)))
    return part._replace(face_materials=np.full(len(faces), number))


def _material(material, folder: Folder) -> MaterialArrays:
    """The colour and the texture of a material of trimesh."""
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    picture = None
    if image is not None and image.format is not None:  # trimesh makes one where there is none
        names = folder.pictures()  # trimesh does not say which
        name = names[0] if len(names) == 1 else "of the file"
        picture = Picture(image.info.get("file_path", name), image.copy)
    color = tuple(_color(material).tolist())
    return MaterialArrays(str(material.name or ""), color, base_color_texture=picture)


def _color(material) -> np.ndarray:
    """The colour (3,) of a material; white if it says none."""
    import trimesh

    if hasattr(material, "baseColorFactor"):
        given = material.baseColorFactor
    else:  # trimesh gives a colour of its own to a material without one
        given = getattr(material, "diffuse", None)
        given = None if np.array_equal(given, trimesh.visual.color.DEFAULT_COLOR) else given
    return np.ones(3) if given is None else unit(np.asarray(given))[:3]


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
