"""What a mesh is made of: a user's arrays in, checked ones out; nothing is a field yet."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from taichi_softras.scene.checks import check_kind, check_shape, finite_array, warn_of_bytes
from taichi_softras.scene.material import Material


class MeshContents(NamedTuple):
    """The arrays of a mesh.

    Attributes:
        num_vertices: V.
        faces: (F, 3) int32.
        color_kind: "vertex_colors", "texels" or "texture_cubes".
        colors: of that kind.
        uvs: (U, 2), or None.
        uv_faces: (F, 3) int32, or None.
        materials: tuple of `Material`.
        face_materials: (F,) int32.
    """

    num_vertices: int
    faces: np.ndarray
    color_kind: str
    colors: np.ndarray
    uvs: Optional[np.ndarray]
    uv_faces: Optional[np.ndarray]
    materials: tuple
    face_materials: np.ndarray


def check_contents(
    num_vertices: int,
    faces: Any,
    colors: dict,
    uvs: Any,
    uv_faces: Any,
    materials: Any,
    face_materials: Any,
    plain: tuple = ("vertex_colors", (3,)),
) -> MeshContents:
    """All but the vertices; arguments as those of `Mesh`, colours by the names of their kinds.

    Args:
        num_vertices: V.
        faces: see `Mesh`, and the next five.
        colors: of which no more than one is not None.
        uvs: or None.
        uv_faces: or None.
        materials: or None.
        face_materials: or None.
        plain: kind and shape of a row of colours where none are given: white.

    Raises:
        ValueError: see `Mesh`.
    """
    faces = checked_faces(faces, num_vertices)
    kind, of_kind = _checked_colors(num_vertices, len(faces), colors, plain)
    materials = (materials,) if isinstance(materials, Material) else tuple(materials or ())
    for one in materials:
        check_kind("materials", one, (Material,), "Materials, such as [Material(...)]")
    if materials and (kind != "vertex_colors" or of_kind.shape[-1] != 3):
        raise ValueError(
            f"materials tint vertex colours of 3 channels, got {kind} of {of_kind.shape[-1]}: "
            "leave them out, or the materials"
        )
    face_materials = _checked_face_materials(face_materials, len(faces), max(len(materials), 1))
    uvs, uv_faces = _checked_uvs(uvs, uv_faces, num_vertices, faces, materials)
    return MeshContents(
        num_vertices, faces, kind, of_kind, uvs, uv_faces, materials, face_materials
    )


def checked_faces(faces, count: int, name: str = "faces", what: str = "vertices") -> np.ndarray:
    """(F, 3) int32, or a ValueError.

    Args:
        faces: a user's.
        count: how many there are of what they index.
        name: what the user calls them.
        what: they index.
    """
    faces = np.asarray(faces)
    check_shape(name, faces, ("F", 3))
    if not np.issubdtype(faces.dtype, np.integer):
        raise ValueError(f"{name} must be integers, got {faces.dtype}: convert with astype(int)")
    if faces.min() < 0 or faces.max() >= count:
        raise ValueError(
            f"{name} must index {count} {what} from 0, "
            f"got indices from {faces.min()} to {faces.max()}"
        )
    return np.array(faces, np.int32, order="C")


def white(kind: str, num_vertices: int, num_faces: int, shape: Sequence) -> np.ndarray:
    """Colours of a kind.

    Args:
        kind: see `MeshContents`.
        num_vertices: V.
        num_faces: F.
        shape: of a row.
    """
    return np.ones((num_vertices if kind == "vertex_colors" else num_faces, *shape))


def _checked_colors(num_vertices: int, num_faces: int, colors: dict, plain: tuple) -> tuple:
    """The name of the kind that is given, and its array; white if there is none."""
    shapes = {
        "vertex_colors": (num_vertices, "C"),
        "texels": (num_faces, "R", "R", 3),
        "texture_cubes": (num_faces, "R", "R", "R", 3),
    }
    given = [name for name, values in colors.items() if values is not None]
    if len(given) > 1:
        raise ValueError(f"a mesh has one kind of colours, got {' and '.join(given)}")
    if not given:
        kind, row = plain
        return kind, white(kind, num_vertices, num_faces, row)
    kind = given[0]
    checked = finite_array(kind, colors[kind], shapes[kind])
    if checked.shape[-1] in (3, 4):  # others are no colours
        warn_of_bytes(kind, colors[kind])
    if kind == "texture_cubes" and checked.shape[1] < 2:
        raise ValueError(f"texture_cubes must have R >= 2, got shape {checked.shape}")
    return kind, checked


def _checked_face_materials(face_materials: Any, num_faces: int, count: int) -> np.ndarray:
    """(F,) int32."""
    if face_materials is None:
        if count > 1:
            raise ValueError(f"face_materials (F,) must say which of {count} each face has")
        face_materials = np.zeros(num_faces, int)
    indices = np.asarray(face_materials)
    check_shape("face_materials", indices, (num_faces,))
    if not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"face_materials must be integers, got {indices.dtype}")
    if indices.min() < 0 or indices.max() >= count:
        raise ValueError(
            f"face_materials must index {count} materials from 0, got indices from "
            f"{indices.min()} to {indices.max()}"
        )
    return indices.astype(np.int32)


def _checked_uvs(
    uvs: Any, uv_faces: Any, num_vertices: int, faces: np.ndarray, materials: tuple
) -> tuple:
    """(U, 2) and (F, 3), or (None, None)."""
    if uvs is None:
        textured = [one for one in materials if any(one.textures)]
        if textured:
            raise ValueError(
                f"{len(textured)} of the materials have textures, and the mesh has no UVs to "
                "look them up: give Mesh(..., uvs=)"
            )
        if uv_faces is not None:
            raise ValueError("uv_faces are indices of uvs, which are missing")
        return None, None
    uvs = finite_array("uvs", uvs, ("U", 2))
    if uv_faces is None and len(uvs) != num_vertices:
        raise ValueError(
            f"uvs are those of {num_vertices} vertices without uv_faces, got {len(uvs)}"
        )
    uv_faces = checked_faces(faces if uv_faces is None else uv_faces, len(uvs), "uv_faces", "UVs")
    if len(uv_faces) != len(faces):
        raise ValueError(
            f"uv_faces must have shape ({len(faces)}, 3), as faces have, got {uv_faces.shape}"
        )
    return uvs, uv_faces
