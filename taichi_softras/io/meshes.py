"""Mesh files in, NumPy arrays out.

OBJ and glTF are read here, everything else by trimesh. It takes longer to import than all else, so
it waits until it is needed.
"""

import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Union

import numpy as np

from taichi_softras.io.contents import Contents, MeshArrays, joined
from taichi_softras.io.contents import MaterialArrays as MaterialArrays
from taichi_softras.io.contents import MeshFileError as MeshFileError
from taichi_softras.io.contents import TextureArrays as TextureArrays
from taichi_softras.io.gltf import read_gltf
from taichi_softras.io.materials import read_materials
from taichi_softras.io.obj import read_obj
from taichi_softras.io.save import save_mesh as save_mesh
from taichi_softras.io.texels import bake_texels
from taichi_softras.io.texels import sample_image as sample_image
from taichi_softras.io.texels import texel_barycentrics as texel_barycentrics
from taichi_softras.io.via_trimesh import read_via_trimesh

READERS = {".obj": read_obj, ".gltf": read_gltf, ".glb": read_gltf}


def load_mesh(path: Union[str, os.PathLike], texel_resolution: int = 0) -> MeshArrays:
    """Reads a mesh as it stands in the file; the meshes of one file are joined.

    Vertices and faces keep the order of the file; a vertex with several UV coordinates is one
    vertex. STL knows no shared vertices: equal ones are merged. glTF and COLLADA come in metres, y
    up. Materials, textures and buffers are read from the file's own folder and those in it, none
    from outside.

    The colour of a point is all that the file says of it, multiplied: the colours of its vertices
    (COLOR_0), its material's (`Kd`, the factor) and its texture's. No sRGB curve is applied.

    A `UserWarning` names the file and what is missing or not followed: a material file, a texture,
    compressed glTF, what is no triangle, extensions.

    Args:
        path: OBJ, PLY, OFF, STL, GLB, glTF; with `pip install 'taichi_softras[formats]'` COLLADA,
            3MF and any format of trimesh.
        texel_resolution: with R > 0 all colours are baked to R x R texels a face, in place of
            colours of vertices, UVs and materials.

    Raises:
        MeshFileError: a ValueError; there is no such file, no triangle in it, or it cannot be read.
    """
    contents = _read(pathlib.Path(path))
    if texel_resolution > 0:
        texels, problems = bake_texels(contents, texel_resolution)
        mesh = MeshArrays(contents.vertices, contents.faces, texels=texels)
    else:
        mesh, problems = _as_it_stands(contents)
    for problem in dict.fromkeys([*contents.problems, *problems]):
        warnings.warn(f"{path}: {problem}", UserWarning, stacklevel=2)
    return mesh


def join_meshes(meshes: Sequence[MeshArrays]) -> MeshArrays:
    """Several meshes as one, each at its place and with its own materials; without texels."""
    if len(meshes) == 1:
        return meshes[0]
    parts, materials = [], []
    for mesh in meshes:
        of_faces = np.zeros(len(mesh.faces), int)
        if mesh.face_materials is not None:
            of_faces = mesh.face_materials
        parts.append(
            Contents(
                mesh.vertices,
                mesh.faces,
                mesh.vertex_colors,
                uvs=mesh.uvs,
                uv_faces=mesh.uv_faces,
                face_materials=of_faces + len(materials),
            )
        )
        materials += mesh.materials or (MaterialArrays(),)
    whole = joined(parts)
    return MeshArrays(
        whole.vertices,
        whole.faces,
        whole.vertex_colors,
        uvs=None if whole.uvs is None else np.nan_to_num(whole.uvs),
        uv_faces=whole.uv_faces,
        materials=tuple(materials),
        face_materials=whole.face_materials,
    )


def _as_it_stands(contents: Contents) -> tuple:
    """A mesh with its materials, and sentences."""
    materials, face_materials, problems = read_materials(contents)
    if contents.face_colors is not None and (contents.face_colors != 1).any():
        problems.append(
            "colours of its faces are not drawn: give texel_resolution=R for R x R texels a face"
        )
    uvs = contents.uvs
    if uvs is not None:
        uvs = np.where(contents.has_uvs()[:, None], uvs, 0.0)
    mesh = MeshArrays(
        contents.vertices,
        contents.faces,
        contents.vertex_colors,
        None,
        uvs,
        contents.uv_faces,
        materials,
        face_materials,
    )
    return mesh, problems


def _read(path: pathlib.Path) -> Contents:
    """What the file holds, checked; a MeshFileError that names it whatever a reader throws."""
    if not path.is_file():
        raise MeshFileError(f"{path} is {'no file' if path.exists() else 'not there'}")
    read = READERS.get(path.suffix.lower(), read_via_trimesh)
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
