"""Meshes into one: lists of vertices, faces and what they look like, one after another."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from taichi_softras.scene.checks import finite_array
from taichi_softras.scene.material import Material
from taichi_softras.scene.mesh_contents import checked_faces, white

COLORS = ("vertex_colors", "texels", "texture_cubes")


class Part(NamedTuple):
    """One of the meshes."""

    vertices: np.ndarray
    faces: np.ndarray
    colors: dict  # of none or one kind
    uvs: Optional[np.ndarray] = None
    uv_faces: Optional[np.ndarray] = None
    materials: tuple = ()
    face_materials: Optional[np.ndarray] = None


def pack_meshes(meshes: Sequence, vertex_colors: Optional[Sequence]) -> tuple:
    """The arguments of one `Mesh`, and the numbers of vertices and of faces of each.

    Args:
        meshes: see `Mesh.batch`.
        vertex_colors: see `Mesh.batch`.

    Raises:
        ValueError: see `Mesh.batch`.
    """
    if not isinstance(meshes, (list, tuple)) or not meshes:
        raise ValueError(
            "meshes must be a list of at least one, [(vertices, faces), ...] or of Mesh, got "
            f"{type(meshes).__name__} of {np.size(meshes)}"
        )
    if vertex_colors is not None and len(vertex_colors) != len(meshes):
        raise ValueError(
            f"vertex_colors must be a list of {len(meshes)}, an array or None for each mesh, got "
            f"{len(vertex_colors)}"
        )
    colors = [None] * len(meshes) if vertex_colors is None else vertex_colors
    parts = [_checked_part(*item) for item in zip(range(len(meshes)), meshes, colors)]
    counts = [len(part.vertices) for part in parts]
    arguments = {
        "vertices": np.concatenate([part.vertices for part in parts]),
        "faces": _after_each_other([part.faces for part in parts], counts),
        **_joined_colors(parts),
        **_joined_looks(parts),
    }
    return arguments, counts, [len(part.faces) for part in parts]


def _checked_part(index: int, mesh: Any, vertex_colors: Any) -> Part:
    name = f"meshes[{index}]"
    if hasattr(mesh, "faces_array"):
        return _part_of(name, mesh, vertex_colors)
    if not isinstance(mesh, (list, tuple)) or len(mesh) != 2:
        raise ValueError(f"{name} must be (vertices, faces) or a Mesh, got {type(mesh).__name__}")
    vertices, faces = mesh
    if np.size(faces) == 0:
        raise ValueError(f"{name} has no faces, so its view would be empty: leave it out")
    vertices = finite_array(f"vertices of {name}", vertices, ("V", 3))
    faces = checked_faces(faces, len(vertices), f"faces of {name}")
    return Part(vertices, faces, _colors_of(name, vertex_colors, len(vertices)))


def _part_of(name: str, mesh: Any, vertex_colors: Any) -> Part:
    """Of a `Mesh`, as its fields are now."""
    if mesh.is_moving or mesh.num_meshes > 1:
        kind = "moves" if mesh.is_moving else "is a batch"
        raise ValueError(f"{name} {kind}: a batch is of still, single meshes")
    vertices = mesh.vertices.to_numpy()[: mesh.num_vertices]
    colors = _colors_of(name, vertex_colors, len(vertices))
    if not colors:
        kind, field = mesh.color_kind, mesh.colors
        count = len(vertices) if kind == "vertex_colors" else mesh.num_faces
        colors = {kind: field.to_numpy()[:count]}
    uvs = None if mesh.uvs is None else mesh.uvs.to_numpy()
    return Part(
        vertices,
        mesh.faces_array,
        colors,
        uvs,
        mesh.uv_faces_array,
        mesh.materials,
        mesh.face_materials_array,
    )


def _colors_of(name: str, vertex_colors: Any, num_vertices: int) -> dict:
    if vertex_colors is None:
        return {}
    shape = (num_vertices, "C")
    return {"vertex_colors": finite_array(f"vertex_colors of {name}", vertex_colors, shape)}


def _joined_colors(parts: list) -> dict:
    """Of one kind; white where a part has none, None where no part has any."""
    rows = {(kind, *rows.shape[1:]) for part in parts for kind, rows in part.colors.items()}
    if len(rows) > 1:
        kinds = " and ".join(f"{kind} (.., {', '.join(map(str, row))})" for kind, *row in rows)
        raise ValueError(f"meshes of a batch have one kind and size of colours, got {kinds}")
    if not rows:
        return {}
    kind, *row = rows.pop()
    all_colors = [
        part.colors.get(kind, white(kind, len(part.vertices), len(part.faces), row))
        for part in parts
    ]
    return {kind: np.concatenate(all_colors)}


def _joined_looks(parts: list) -> dict:
    """UVs and materials; of parts without, one UV at the origin and a plain material."""
    looks: dict = {}
    if any(part.uvs is not None for part in parts):
        uvs = [np.zeros((1, 2)) if part.uvs is None else part.uvs for part in parts]
        lists = [np.zeros_like(p.faces) if p.uvs is None else p.uv_faces for p in parts]
        looks["uvs"] = np.concatenate(uvs)
        looks["uv_faces"] = _after_each_other(lists, list(map(len, uvs)))
    if any(part.materials for part in parts):
        plain = Material()
        materials = [part.materials or (plain,) for part in parts]
        indices = [
            part.face_materials if part.materials else np.zeros(len(part.faces), int)
            for part in parts
        ]
        looks["materials"] = [one for of_part in materials for one in of_part]
        looks["face_materials"] = _after_each_other(indices, list(map(len, materials)))
    return looks


def _after_each_other(lists: list, counts: list) -> np.ndarray:
    """Lists of indices into arrays that are joined."""
    starts = np.cumsum([0, *counts])
    return np.concatenate([indices + start for indices, start in zip(lists, starts)])
