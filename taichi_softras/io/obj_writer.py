"""Wavefront OBJ with its MTL file and pictures, as bytes by path."""

import pathlib
import re

import numpy as np

from taichi_softras.io.contents import MaterialArrays, MeshArrays, TextureArrays
from taichi_softras.io.textures import png, to_bytes

CHANNELS = ("occlusion", "roughness", "metallic")
NOT_IN_A_NAME = re.compile(r"[^\w.+-]+")


def obj_files(path: pathlib.Path, mesh: MeshArrays, problems: list) -> dict:
    """The files of a mesh, the OBJ file first; `problems` gets what they do not hold."""
    files = {path: b""}
    lines = ""
    names: list = []
    if mesh.materials:
        library = path.with_suffix(".mtl")
        names = _distinct([_word(m.name) for m in mesh.materials], "material")
        pictures = _Pictures(path, problems)
        text = "".join(_material(*pair, pictures, problems) for pair in zip(names, mesh.materials))
        files |= {library: text.encode(), **pictures.files}
        lines = f"mtllib {library.name}\n"
    rows = [mesh.vertices]
    if mesh.vertex_colors is not None:
        rows.append(to_bytes(mesh.vertex_colors) / 255)
    lines += _rows("v", rows)
    indices = mesh.faces[..., None] + 1
    if mesh.uvs is not None:
        lines += _rows("vt", [mesh.uvs])
        indices = np.concatenate([indices, mesh.uv_faces[..., None] + 1], axis=-1)
    files[path] = (lines + _faces(indices, mesh.face_materials, names)).encode()
    return files


def _rows(key: str, arrays: list) -> str:
    """Lines of numbers that are read again as they were."""
    formats = ["%.9g" if array.dtype == np.float32 else "%r" for array in arrays]
    row = " ".join([key, *(f for f, array in zip(formats, arrays) for _ in range(array.shape[1]))])
    numbers = np.concatenate([array.astype(float) for array in arrays], axis=1)
    return (row + "\n") * len(numbers) % tuple(numbers.ravel().tolist())


def _faces(indices: np.ndarray, face_materials, names: list) -> str:
    """Lines of faces; indices (F, 3, 1 or 2) count from 1."""
    row = "f" + (" " + "/".join(["%d"] * indices.shape[-1])) * 3 + "\n"
    if not names:
        return row * len(indices) % tuple(indices.ravel().tolist())
    starts = np.flatnonzero(np.diff(face_materials, prepend=-1))
    parts = []
    for start, end in zip(starts, [*starts[1:], len(indices)]):
        run = indices[start:end]
        parts.append(f"usemtl {names[face_materials[start]]}\n")
        parts.append(row * len(run) % tuple(run.ravel().tolist()))
    return "".join(parts)


class _Pictures:
    """The pictures of materials, each one file.

    Attributes:
        files: bytes by path.
    """

    def __init__(self, path: pathlib.Path, problems: list):
        self.files: dict = {}
        self._path = path
        self._problems = problems
        self._lines: dict = {}

    def line(self, texture: TextureArrays, key: str, channel=None, options: str = "") -> str:
        """The line of a material for a texture, or for one channel of it."""
        if (id(texture), channel) not in self._lines:
            self._lines[id(texture), channel] = self._add(texture, channel)
        name, wrap = self._lines[id(texture), channel]
        return f"{key} {wrap}{options}{name}\n"

    def _add(self, texture: TextureArrays, channel) -> tuple:
        """Adds a file: its name, and the option for its wrap."""
        if texture.wrap in ("mirror", "zero"):
            self._problems.append(
                f"OBJ has no wrap={texture.wrap!r}: the texture {texture.name} repeats"
            )
        if texture.filter != "bilinear":
            self._problems.append(
                f"OBJ has no filters: {texture.filter!r} of the texture {texture.name} is left out"
            )
        word = _word(pathlib.PurePath(texture.name.replace("\\", "/")).stem) or "texture"
        word = word.removeprefix(_word(self._path.stem)).strip("_") or word  # of a mesh read before
        parts = [self._path.stem, word, "" if channel is None else CHANNELS[channel]]
        taken = [path.stem for path in self.files]
        stem = _distinct([*taken, "_".join(filter(None, parts))], "texture")[-1]
        path = self._path.with_name(f"{stem}.png")
        image = texture.image
        if channel is not None:
            image = image[..., [min(channel, image.shape[-1] - 1)]]
        self.files[path] = png(image)
        return path.name, "-clamp on " if texture.wrap == "clamp" else ""


def _material(name: str, material: MaterialArrays, pictures: _Pictures, problems: list) -> str:
    """The lines of a material."""
    if not material.double_sided:
        problems.append("OBJ does not say that a material has one side")
    lines = [f"newmtl {name}\n"]
    for key, values in (
        ("Kd", material.base_color),
        ("Ks", material.specular),
        ("Ke", material.emissive),
        ("Ns", [material.shininess]),
        ("Pr", [material.roughness]),
        ("Pm", [material.metallic]),
    ):
        lines.append(" ".join([key, *(repr(float(value)) for value in values)]) + "\n")
    if material.base_color_texture:
        lines.append(pictures.line(material.base_color_texture, "map_Kd"))
    if material.metallic_roughness_texture:
        lines.append(pictures.line(material.metallic_roughness_texture, "map_Pr", 1))
        lines.append(pictures.line(material.metallic_roughness_texture, "map_Pm", 2))
    if material.normal_texture:
        scale = float(material.normal_scale)
        options = "" if scale == 1.0 else f"-bm {scale!r} "
        lines.append(pictures.line(material.normal_texture, "norm", options=options))
    if material.emissive_texture:
        lines.append(pictures.line(material.emissive_texture, "map_Ke"))
    return "".join(lines)


def _word(name: str) -> str:
    """A name without what ends a word in one of the many readers of OBJ."""
    return NOT_IN_A_NAME.sub("_", name).strip("_")


def _distinct(names: list, default: str) -> list:
    """Names none of which is empty or twice."""
    distinct: list = []
    for name in names:
        name, number = name or default, 1
        candidate = name
        while candidate in distinct:
            candidate, number = f"{name}_{number}", number + 1
        distinct.append(candidate)
    return distinct
