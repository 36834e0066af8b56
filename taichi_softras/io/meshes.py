"""Mesh files in, NumPy arrays out, and back.

OBJ is read here, everything else by trimesh, which also writes. It takes longer to import than all
else, so it waits until it is needed.
"""

import os
import pathlib
import warnings
from typing import NamedTuple, Optional, Union

import numpy as np

from taichi_softras.io.contents import Contents
from taichi_softras.io.contents import MeshFileError as MeshFileError
from taichi_softras.io.files import written_beside
from taichi_softras.io.obj import read_obj
from taichi_softras.io.texels import bake_texels
from taichi_softras.io.texels import sample_image as sample_image
from taichi_softras.io.texels import texel_barycentrics as texel_barycentrics
from taichi_softras.io.via_trimesh import read_via_trimesh


class MeshArrays(NamedTuple):
    """What a file holds, in the order in which `Mesh` takes it."""

    vertices: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int64
    vertex_colors: Optional[np.ndarray]  # (V, 3) in [0, 1]
    texels: Optional[np.ndarray]  # (F, R, R, 3) in [0, 1]


def load_mesh(path: Union[str, os.PathLike], texel_resolution: int = 0) -> MeshArrays:
    """Reads a mesh; the meshes of one file are joined.

    Vertices and faces keep the order of the file; a vertex of an OBJ file with several UV
    coordinates stays one vertex. STL knows no shared vertices: equal ones are merged. COLLADA comes
    in metres, y up. Materials, textures and buffers are read from the file's own folder and those
    in it, none from outside.

    A `UserWarning` names the file and what is missing or not shown: a material file, a texture,
    compressed or sparse glTF, what is no triangle, and, with `texel_resolution` 0, textures and the
    colours of materials and faces.

    Args:
        path: OBJ, PLY, OFF, STL, GLB, glTF; with `pip install 'taichi_softras[formats]'` COLLADA,
            3MF and any format of trimesh.
        texel_resolution: with R > 0 the file's texture, face colours or vertex colours are baked
            to R x R texels a face; otherwise only vertex colours are read.

    Raises:
        MeshFileError: a ValueError; there is no such file, no triangle in it, or it cannot be read.
    """
    contents = _read(pathlib.Path(path))
    problems = list(contents.problems)
    texels, vertex_colors = None, contents.vertex_colors
    if texel_resolution > 0:
        texels, not_sampled = bake_texels(contents, texel_resolution)
        problems, vertex_colors = problems + not_sampled, None
    else:
        problems += [
            f"{item} not drawn: give texel_resolution=R for R x R texels a face"
            for item in _only_in_texels(contents)
        ]
    for problem in problems:
        warnings.warn(f"{path}: {problem}", UserWarning, stacklevel=2)
    return MeshArrays(contents.vertices, contents.faces, vertex_colors, texels)


def save_mesh(
    path: Union[str, os.PathLike],
    vertices: np.ndarray,
    faces: np.ndarray,
    vertex_colors: Optional[np.ndarray] = None,
) -> None:
    """Writes a mesh.

    Args:
        path: its suffix names the format: OBJ, PLY, OFF, STL, GLB.
        vertices: (V, 3).
        faces: (F, 3).
        vertex_colors: (V, 3) in [0, 1], stored in 8 bits where the format has colours.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    import trimesh

    if vertex_colors is not None:
        vertex_colors = np.floor(np.clip(vertex_colors, 0, 1) * 255 + 0.5).astype(np.uint8)
    mesh = trimesh.Trimesh(vertices, faces, vertex_colors=vertex_colors, process=False)
    with written_beside(path) as beside:
        mesh.export(beside)


def _read(path: pathlib.Path) -> Contents:
    """What the file holds, checked; a MeshFileError that names it whatever a reader throws."""
    if not path.is_file():
        raise MeshFileError(f"{path} is {'no file' if path.exists() else 'not there'}")
    read = read_obj if path.suffix.lower() == ".obj" else read_via_trimesh
    try:
        with warnings.catch_warnings():  # of the readers, about their arrays
            warnings.simplefilter("ignore")
            contents = read(path)
    except ImportError as error:
        raise MeshFileError(
            f"{path} needs a package: {error}; "
            "`pip install 'taichi_softras[formats]'` brings lxml, networkx and pycollada"
        ) from error
    except Exception as error:  # whatever a reader throws
        says_why = isinstance(error, (ValueError, OSError, NotImplementedError)) and str(error)
        text = " ".join(str(error if says_why else repr(error)).split())
        raise MeshFileError(f"{path} cannot be read: {text}") from error
    reason = _why_no_mesh(contents)
    if reason:
        raise MeshFileError("; ".join([f"{path} {reason}", *contents.problems]))
    return contents


def _why_no_mesh(contents: Contents) -> str:
    """What is wrong with the triangles of a file; empty if nothing is."""
    vertices, faces = contents.vertices, contents.faces
    if not len(faces):
        return "holds no triangles"
    if faces.min() < 0 or faces.max() >= len(vertices):
        return f"has {len(vertices)} vertices, but faces of indices {faces.min()} to {faces.max()}"
    is_finite = np.isfinite(vertices).all(axis=-1)
    if not is_finite.all():
        return f"has a vertex that is not finite: number {is_finite.argmin()}, from 0"
    return ""


def _only_in_texels(contents: Contents) -> list:
    """What is drawn by texels alone: textures by name, and colours of faces that are not white."""
    items = [f"the texture {picture.name} is" for picture in contents.pictures]
    if contents.face_colors is not None and (contents.face_colors != 1).any():
        items.append("colours of its faces or materials are")
    return items
