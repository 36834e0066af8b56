"""What a mesh file holds, whatever its format: what the readers give and `meshes.py` takes."""

from typing import Any, Callable, NamedTuple, Optional

import numpy as np


class MeshFileError(ValueError):
    """There is no mesh: the message names the file and the reason."""


class Picture(NamedTuple):
    """A texture, opened when it is used."""

    name: str
    open: Callable[[], Any]  # a PIL image


class Contents(NamedTuple):
    """The triangles of a file and their colours, linear in [0, 1].

    Colours of vertices and of faces are multiplied. A picture takes their place, or is multiplied
    by them, too, if `tinted`.
    """

    vertices: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int64
    vertex_colors: Optional[np.ndarray] = None  # (V, 3)
    face_colors: Optional[np.ndarray] = None  # (F, 3)
    corner_uvs: Optional[np.ndarray] = None  # (F, 3, 2), NaN where a corner has none
    pictures: tuple = ()  # of `Picture`
    picture_of_face: Optional[np.ndarray] = None  # (F,) int, -1 for none
    tinted: bool = False
    problems: tuple = ()  # sentences: what of the file is missing here
