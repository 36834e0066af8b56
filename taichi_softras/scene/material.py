"""Materials: what a surface does with light."""

from collections.abc import Sequence
from typing import Optional

import numpy as np

from taichi_softras.fields import FieldTree, upload
from taichi_softras.io.contents import MaterialArrays, TextureArrays
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import check_field, check_kind, finite_array
from taichi_softras.scene.texture import Texture
from taichi_softras.shading.composition import SLOTS
from taichi_softras.shading.materials import DEFAULTS, NUMBERS


class Material:
    """The numbers and textures of a surface, as glTF 2.0 has them, and those of Phong (1975).

    A texture multiplies the numbers of the same name: base colour, emission, metallic by its blue
    and roughness by its green channel. Which of them play a part, the shading says.

    Attributes:
        base_color: 0-D vec3 field with gradient, linear, tints the mesh's colours.
        metallic, roughness: 0-D fields with gradient, 0 to 1; for `PhysicallyBased`.
        emissive: 0-D vec3 field with gradient: light of its own.
        specular: 0-D vec3 field with gradient: the colour of highlights; for `Phong`.
        shininess: 0-D field with gradient: how small highlights are; for `Phong`.
        normal_scale: 0-D field with gradient: how far normal textures bend normals.
        base_color_texture, metallic_roughness_texture, normal_texture, emissive_texture:
            `Texture`s or None. Normals are in [0, 1], (1/2, 1/2, 1) bends none; x is where u rises,
            y where v does.
        double_sided: whether its back is lit as its front, by `Phong` and `PhysicallyBased`; a
            `Renderer` reads it when it is made.
        name: for people.

    An array that is assigned to a field is written into it.
    """

    base_color, metallic, roughness = FieldAttribute(), FieldAttribute(), FieldAttribute()
    emissive, specular, shininess = FieldAttribute(), FieldAttribute(), FieldAttribute()
    normal_scale = FieldAttribute()

    def __init__(  # all that a material has
        self,
        base_color: Sequence = DEFAULTS["base_color"],
        metallic: float = DEFAULTS["metallic"],
        roughness: float = DEFAULTS["roughness"],
        emissive: Sequence = DEFAULTS["emissive"],
        specular: Sequence = DEFAULTS["specular"],
        shininess: float = DEFAULTS["shininess"],
        normal_scale: float = DEFAULTS["normal_scale"],
        base_color_texture: Optional[Texture] = None,
        metallic_roughness_texture: Optional[Texture] = None,
        normal_texture: Optional[Texture] = None,
        emissive_texture: Optional[Texture] = None,
        double_sided: bool = True,
        name: str = "",
    ):
        """Places the fields.

        Raises:
            ValueError: wrong shapes, entries that are not finite, what is no `Texture`, textures of
                another number of channels than 1, 3 or 4 where colours or normals are asked for.
        """
        given = {
            "base_color": base_color,
            "metallic": metallic,
            "roughness": roughness,
            "emissive": emissive,
            "specular": specular,
            "shininess": shininess,
            "normal_scale": normal_scale,
        }
        textures = (
            base_color_texture,
            metallic_roughness_texture,
            normal_texture,
            emissive_texture,
        )
        for slot, texture in zip(SLOTS, textures):
            _check_texture(slot, texture)
            setattr(self, slot, texture)
        self.double_sided, self.name = double_sided, name
        shapes = {key: (size,) if size > 1 else () for key, (_, size) in NUMBERS.items()}
        arrays = [finite_array(key, given[key], shapes[key]) for key in shapes]
        tree = FieldTree()
        for key, shape in shapes.items():
            setattr(self, key, tree.add((), shape))
        tree.place()
        upload([getattr(self, key) for key in shapes], arrays)

    @property
    def textures(self) -> tuple:
        """In the order of `SLOTS`, None where there is none."""
        return tuple(getattr(self, slot) for slot in SLOTS)

    def check(self, name: str = "material") -> None:
        """Raises a ValueError if something that was written to the fields is not finite."""
        for key in NUMBERS:
            check_field(f"{name}.{key}", getattr(self, key))
        for slot, texture in zip(SLOTS, self.textures):
            if texture is not None:
                check_field(f"{name}.{slot}.image", texture.image)


def materials_from_arrays(given: Sequence[MaterialArrays]) -> list:
    """`Material`s of what a file holds; a picture that several have is one `Texture`."""
    textures: dict = {}

    def texture(arrays):
        if arrays is None:
            return None
        if id(arrays) not in textures:
            textures[id(arrays)] = Texture(arrays.image, arrays.filter, arrays.wrap)
        return textures[id(arrays)]

    return [
        Material(
            **{key: getattr(one, key) for key in NUMBERS},
            **{slot: texture(getattr(one, slot)) for slot in SLOTS},
            double_sided=one.double_sided,
            name=one.name,
        )
        for one in given
    ]


def materials_to_arrays(materials: Sequence[Material]) -> list:
    """The inverse of `materials_from_arrays`."""
    textures: dict = {}

    def arrays(name, texture):
        if texture is None:
            return None
        if texture not in textures:
            image = np.asarray(texture.image.to_numpy(), np.float32)
            textures[texture] = TextureArrays(name, image, texture.filter, texture.wrap)
        return textures[texture]

    return [
        MaterialArrays(
            one.name or f"material_{row}",
            **{key: getattr(one, key).to_numpy().tolist() for key in NUMBERS},
            **{slot: arrays(f"{one.name or row}_{slot}", getattr(one, slot)) for slot in SLOTS},
            double_sided=one.double_sided,
        )
        for row, one in enumerate(materials)
    ]


def _check_texture(slot: str, texture: Optional[Texture]) -> None:
    if texture is None:
        return
    check_kind(slot, texture, (Texture,), "a Texture, such as Texture(image), or None")
    channels = texture.num_channels
    if slot != SLOTS[0] and channels not in (1, 3, 4):
        raise ValueError(f"{slot} must have 1, 3 or 4 channels, got {channels}")
