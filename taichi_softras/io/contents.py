"""What a mesh file holds, whatever its format: what the readers give and `meshes.py` takes."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Optional

import numpy as np

TEXTURES = (
    "base_color_texture",
    "metallic_roughness_texture",
    "normal_texture",
    "emissive_texture",
)


class MeshFileError(ValueError):
    """There is no mesh: the message names the file and the reason."""


class TextureArrays(NamedTuple):
    """A picture and how it is read: what `Texture` takes."""

    name: str  # what the file calls it
    image: np.ndarray  # (H, W, C) float32 in [0, 1], row 0 on top
    filter: str = "bilinear"  # or "nearest", "trilinear"
    wrap: str = "repeat"  # or "mirror", "clamp", "zero"


class Picture(NamedTuple):
    """A texture of a file, opened when it is used."""

    name: str
    open: Any  # () -> a PIL image; equal for equal pictures
    filter: str = TextureArrays._field_defaults["filter"]
    wrap: str = TextureArrays._field_defaults["wrap"]


class MaterialArrays(NamedTuple):
    """How faces look, in the words of `Material`; numbers are those of a material without any.

    What a factor and a texture say is multiplied; colours are red, green, blue. Textures are
    `TextureArrays`, in `Contents` a `Picture`. Roughness is the second channel of its texture,
    metallic the third, as in glTF.
    """

    name: str = ""
    base_color: tuple = (1.0, 1.0, 1.0)
    metallic: float = 0.0
    roughness: float = 1.0
    emissive: tuple = (0.0, 0.0, 0.0)
    specular: tuple = (0.0, 0.0, 0.0)
    shininess: float = 32.0
    base_color_texture: Optional[Any] = None
    metallic_roughness_texture: Optional[Any] = None
    normal_texture: Optional[Any] = None
    emissive_texture: Optional[Any] = None
    normal_scale: float = 1.0
    double_sided: bool = True


class MeshArrays(NamedTuple):
    """A mesh as arrays: what a file holds, and what is written."""

    vertices: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int64
    vertex_colors: Optional[np.ndarray] = None  # (V, 3) in [0, 1]
    texels: Optional[np.ndarray] = None  # (F, R, R, 3) in [0, 1]
    uvs: Optional[np.ndarray] = None  # (U, 2), (0, 0) at the lower left of a picture
    uv_faces: Optional[np.ndarray] = None  # (F, 3) int64
    materials: tuple = ()  # of `MaterialArrays`
    face_materials: Optional[np.ndarray] = None  # (F,) int64


class Contents(NamedTuple):
    """The triangles of a file and how they look, numbers of colours as they stand in the file.

    The colour of a point is all of it multiplied: colours of vertices, of faces, of the material
    and of its texture.
    """

    vertices: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int64
    vertex_colors: Optional[np.ndarray] = None  # (V, 3) in [0, 1]
    face_colors: Optional[np.ndarray] = None  # (F, 3) in [0, 1]
    uvs: Optional[np.ndarray] = None  # (U, 2), (0, 0) at the lower left; NaN where there is none
    uv_faces: Optional[np.ndarray] = None  # (F, 3) int64
    materials: tuple = ()  # of `MaterialArrays`, also those that no face has
    face_materials: Optional[np.ndarray] = None  # (F,) int, -1 for none
    alpha_counts: bool = True  # whether the alpha of a colour's picture is meant to be seen
    problems: tuple = ()  # sentences: what of the file is missing here

    def has_uvs(self) -> np.ndarray:
        """(U,): whether UVs are finite in single precision."""
        with np.errstate(over="ignore"):
            return np.all(np.isfinite(self.uvs.astype(np.float32)), axis=-1)

    def has_coordinates(self) -> np.ndarray:
        """(F,): whether the three corners of a face have UVs."""
        if self.uvs is None:
            return np.zeros(len(self.faces), bool)
        return self.has_uvs()[self.uv_faces].all(axis=-1)


def joined(parts: list) -> Contents:
    """Parts one after another, without materials and problems; what only some have is filled."""
    if not parts:
        return Contents(np.empty((0, 3)), np.empty((0, 3), int))
    counts = [len(part.vertices) for part in parts]
    num_faces = [len(part.faces) for part in parts]
    uvs, uv_faces = None, None
    if any(part.uvs is not None for part in parts):
        nowhere = np.full((1, 2), np.nan)
        parts_uvs = [nowhere if part.uvs is None else part.uvs for part in parts]
        lists = [np.zeros_like(p.faces) if p.uvs is None else p.uv_faces for p in parts]
        uvs, uv_faces = np.concatenate(parts_uvs), _after_each_other(lists, map(len, parts_uvs))
    return Contents(
        np.concatenate([part.vertices for part in parts]),
        _after_each_other([part.faces for part in parts], counts),
        _filled([part.vertex_colors for part in parts], counts, (3,), 1.0),
        _filled([part.face_colors for part in parts], num_faces, (3,), 1.0),
        uvs,
        uv_faces,
        face_materials=_filled([part.face_materials for part in parts], num_faces, (), -1),
    )


def placed(vertices: np.ndarray, faces: np.ndarray, matrix: np.ndarray) -> tuple:
    """Vertices moved by a (3, 4) matrix; a mirror turns the faces round, the last corner first."""
    if not np.array_equal(matrix, np.eye(3, 4)):
        vertices = vertices @ matrix[:, :3].T + matrix[:, 3]
    is_mirror = np.linalg.det(matrix[:, :3]) < 0
    return vertices, np.asarray(faces[:, ::-1] if is_mirror else faces)


def _after_each_other(lists: list, counts) -> np.ndarray:
    """Lists of indices into arrays that are joined."""
    starts = np.cumsum([0, *counts])
    return np.concatenate([indices + start for indices, start in zip(lists, starts)])


def _filled(arrays: list, lengths, shape: tuple, value) -> Optional[np.ndarray]:
    """Arrays one after another, a value where one is None; None if all are."""
    if all(array is None for array in arrays):
        return None
    return np.concatenate(
        [
            np.full((length, *shape), value) if array is None else array
            for array, length in zip(arrays, lengths)
        ]
    )


def unit(colors: np.ndarray) -> np.ndarray:
    """Colours of integers or floats in [0, 1]; 1 where one is not finite."""
    if np.issubdtype(colors.dtype, np.integer):
        return colors / np.iinfo(colors.dtype).max
    return np.clip(np.nan_to_num(colors.astype(float), nan=1.0), 0.0, 1.0)


def said_of_uvs(uvs: np.ndarray) -> list:
    """A list of the sentence that UVs of a file are no numbers; empty if all are."""
    count = np.count_nonzero(~np.isfinite(uvs).all(axis=-1))
    return [f"{count} texture coordinates are not finite"] if count else []


def said_once(items: Iterable) -> list:
    """A list of the sentence that names what no reader follows; empty if there is nothing."""
    names = ", ".join(dict.fromkeys(items))
    return [f"not followed: {names}"] if names else []
