"""Meshes out: OBJ and glTF are written here, everything else by trimesh."""

import os
import pathlib
import warnings
from typing import Any, Optional, Union

import numpy as np

from taichi_softras.io.contents import TEXTURES, MeshArrays
from taichi_softras.io.files import written_together
from taichi_softras.io.gltf_writer import gltf_files
from taichi_softras.io.obj_writer import obj_files
from taichi_softras.io.textures import to_bytes

WRITERS = {".obj": obj_files, ".glb": gltf_files, ".gltf": gltf_files}
HALF_A_STEP = 0.5 / 255


def save_mesh(
    path: Union[str, os.PathLike],
    vertices: Any,
    faces: Any,
    vertex_colors: Optional[Any] = None,
    texels: Optional[Any] = None,
    uvs: Optional[Any] = None,
    uv_faces: Optional[Any] = None,
    materials: Any = (),
    face_materials: Optional[Any] = None,
) -> None:
    """Writes a mesh: `save_mesh(path, *load_mesh(other))`.

    OBJ comes with an MTL file and a PNG file for each texture, of its name; GLB and glTF hold all
    of it. What is read again is the same mesh: vertices in single precision in GLB, colours of
    vertices and textures in 8 bits. GLB keeps the faces of a material together: if they were not,
    their order changes.

    A `UserWarning` names what the format does not hold, and colours outside of [0, 1], which are
    clipped.

    Args:
        path: its suffix names the format: OBJ, GLB, glTF, or PLY, OFF, STL without UVs and
            materials.
        vertices: (V, 3).
        faces: (F, 3).
        vertex_colors: (V, 3) in [0, 1].
        texels: what no format holds.
        uvs: (U, 2), (0, 0) is the lower left corner of a picture.
        uv_faces: (F, 3) int; `faces`, if it is left out.
        materials: of `MaterialArrays`.
        face_materials: (F,) int; all the first, if it is left out.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    path = pathlib.Path(path)
    mesh = MeshArrays(
        np.asarray(vertices),
        np.asarray(faces),
        None if vertex_colors is None else np.asarray(vertex_colors),
        texels,
        None if uvs is None else np.asarray(uvs),
        None if uv_faces is None else np.asarray(uv_faces),
        tuple(materials),
        None if face_materials is None else np.asarray(face_materials),
    )
    problems: list = []
    mesh = _storable(mesh, path.suffix.lower(), problems)
    files = WRITERS.get(path.suffix.lower(), _trimesh_files)(path, mesh, problems)
    with written_together(list(files)) as besides:
        for beside, data in zip(besides, files.values()):
            beside.write_bytes(data)
    for problem in dict.fromkeys(problems):
        warnings.warn(f"{path}: {problem}", UserWarning, stacklevel=2)


def _storable(mesh: MeshArrays, suffix: str, problems: list) -> MeshArrays:
    """A mesh as a file of such a suffix holds it, colours in [0, 1]."""
    dropped = ["texels"] if mesh.texels is not None else []
    if suffix not in WRITERS:
        dropped += [name for name in ("uvs", "materials") if _is_there(getattr(mesh, name))]
        mesh = MeshArrays(mesh.vertices, mesh.faces, mesh.vertex_colors)
    colors = mesh.vertex_colors
    if colors is not None and colors.shape[-1] != 3:
        dropped.append(f"vertex colours of {colors.shape[-1]} components")
        colors = None
    if dropped:
        problems.append(f"the format does not hold {' and '.join(dropped)}")
    if colors is not None:
        colors = clipped(colors, "vertex colours", problems)
    if mesh.uvs is not None and mesh.uv_faces is None:
        mesh = mesh._replace(uv_faces=mesh.faces)
    if mesh.materials and mesh.face_materials is None:
        mesh = mesh._replace(face_materials=np.zeros(len(mesh.faces), int))
    textures = _storable_textures(mesh.materials, problems)
    materials = []
    for material in mesh.materials:
        entries: dict = {slot: textures[id(getattr(material, slot))] for slot in TEXTURES}
        for name in ("base_color", "specular", "metallic", "roughness"):
            values = clipped(getattr(material, name), f"{name} of {material.name!r}", problems)
            entries[name] = values.tolist()
        materials.append(material._replace(**entries))
    return mesh._replace(vertex_colors=colors, materials=tuple(materials))


def _storable_textures(materials: tuple, problems: list) -> dict:
    """The textures of materials as a file holds them, by the ids of those given."""
    textures: dict = {id(None): None}
    for texture in (getattr(material, slot) for material in materials for slot in TEXTURES):
        if id(texture) not in textures:
            image = clipped(texture.image, f"the texture {texture.name!r}", problems)
            textures[id(texture)] = texture._replace(image=_channels(image))
    return textures


def clipped(values: Any, name: str, problems: list) -> np.ndarray:
    """Values in [0, 1]; of those that are more than a rounding outside of it, a sentence."""
    values = np.nan_to_num(np.asarray(values, float))
    least, most = values.min(initial=0.0), values.max(initial=1.0)
    if least < -HALF_A_STEP or most > 1.0 + HALF_A_STEP:
        problems.append(f"{name}: numbers from {least:.4g} to {most:.4g} are clipped to [0, 1]")
    return np.clip(values, 0.0, 1.0)


def _is_there(value: Any) -> bool:
    return value is not None and len(value) > 0


def _channels(image: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3): what a picture without alpha holds."""
    image = image[..., :3]
    return np.pad(image, ((0, 0), (0, 0), (0, 1))) if image.shape[-1] == 2 else image


def _trimesh_files(path: pathlib.Path, mesh: MeshArrays, problems: list) -> dict:
    """The bytes of a file of another format."""
    import trimesh

    colors = None if mesh.vertex_colors is None else to_bytes(mesh.vertex_colors)
    shape = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=colors, process=False)
    data = shape.export(file_type=path.suffix[1:].lower())
    return {path: data.encode() if isinstance(data, str) else data}
