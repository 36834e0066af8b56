"""The materials of a mesh file with their pictures read: those that faces have."""

from collections.abc import Iterable
from typing import NamedTuple, Optional

import numpy as np

from taichi_softras.io.contents import TEXTURES, Contents, MaterialArrays
from taichi_softras.io.texels import without_uvs
from taichi_softras.io.textures import Unreadable, read_texture


class Materials(NamedTuple):
    """The materials of faces."""

    materials: tuple  # of `MaterialArrays`, their textures `TextureArrays`
    face_materials: Optional[np.ndarray]  # (F,) int64
    problems: list  # sentences


def read_materials(contents: Contents) -> Materials:
    """Reads the pictures of the materials that faces have; the others are left out.

    Materials keep the order of the file, a face without one gets a white one, the last. A face
    without UVs gets its material without textures. Where a texture is missing, its factor is left,
    but not that of emission: nothing shines all over that shone in a few spots.
    """
    numbers = contents.face_materials
    if numbers is None or (numbers < 0).all():
        return Materials((), None, [])
    choices = [*contents.materials, MaterialArrays()]
    used, numbers = np.unique(numbers % len(choices), return_inverse=True)  # -1 is the last
    problems: list = []
    materials = _with_textures([choices[number] for number in used], contents, problems)
    has_coordinates = contents.has_coordinates()
    for number, material in enumerate(tuple(materials)):
        textures = [texture for texture in map(material.__getattribute__, TEXTURES) if texture]
        is_own = numbers == number
        lost = is_own & ~has_coordinates
        if not textures or not lost.any():
            continue
        problems.append(without_uvs(lost.sum(), textures[0].name))
        bare = _without(material, TEXTURES)
        if lost.sum() == is_own.sum():
            materials[number] = bare
        else:
            numbers[lost] = len(materials)
            materials.append(bare)
    return Materials(tuple(materials), numbers, problems)


def _with_textures(materials: list, contents: Contents, problems: list) -> list:
    """Reads each picture once; one that cannot be read is None."""
    textures: dict = {None: None}
    for slot in TEXTURES:
        for picture in (getattr(material, slot) for material in materials):
            if picture not in textures:
                alpha_counts = contents.alpha_counts and slot == "base_color_texture"
                textures[picture] = None
                try:
                    textures[picture] = read_texture(picture, problems, alpha_counts)
                except Unreadable as error:
                    problems.append(str(error))
    read = []
    for material in materials:
        found = {slot: textures[getattr(material, slot)] for slot in TEXTURES}
        material = _without(material, [slot for slot in TEXTURES if found[slot] is None])
        read.append(material._replace(**found))
    return read


def _without(material: MaterialArrays, slots: Iterable) -> MaterialArrays:
    """A material without some textures, and without the emission of one of them."""
    is_dark = "emissive_texture" in slots and material.emissive_texture is not None
    entries = {**dict.fromkeys(slots), **({"emissive": (0.0, 0.0, 0.0)} if is_dark else {})}
    return material._replace(**entries)
