"""Materials, textures and samplers of glTF 2.0."""

from typing import Any, NamedTuple

import numpy as np

from taichi_softras.io.contents import MaterialArrays, Picture
from taichi_softras.io.gltf_file import GltfFile, OpenedImage

NEAREST, LINEAR = 9728, 9729
NEAREST_WITHIN_MIPMAPS, LINEAR_WITHIN_MIPMAPS = (9984, 9986), (9985, 9987)
WRAPS = {10497: "repeat", 33648: "mirror", 33071: "clamp"}
GLOSSINESS = "KHR_materials_pbrSpecularGlossiness"
EXTRAS = "taichi_softras"  # our numbers of a material that glTF does not have
TRANSFORM, STRENGTH = "KHR_texture_transform", "KHR_materials_emissive_strength"


class Placement(NamedTuple):
    """Which coordinates a texture has, and how KHR_texture_transform moves them."""

    uv_set: int = 0
    offset: tuple = (0.0, 0.0)
    rotation: float = 0.0
    scale: tuple = (1.0, 1.0)

    def moved(self, uvs: np.ndarray) -> np.ndarray:
        """(U, 2) of glTF, v down, to coordinates in the picture, v up.

        Seen with v down, a positive rotation is counter-clockwise, as Khronos' viewer has it.
        """
        cosine, sine = np.cos(self.rotation), np.sin(self.rotation)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        moved = (uvs * self.scale) @ turn.T + self.offset
        return np.stack([moved[:, 0], 1.0 - moved[:, 1]], axis=1)


class PlacedMaterial(NamedTuple):
    """A material whose textures have one kind of coordinates."""

    material: MaterialArrays
    placement: Placement
    not_followed: tuple  # names


def read_material(file: GltfFile, number: int) -> PlacedMaterial:
    """A material of the file; textures that lie elsewhere than the first of it are left out."""
    entry = file.tree["materials"][number]
    metal, extensions = entry.get("pbrMetallicRoughness", {}), entry.get("extensions", {})
    gloss = extensions.get(GLOSSINESS)
    if gloss is not None:  # the model before this one: what is diffuse is drawn
        metal = {
            "baseColorFactor": gloss.get("diffuseFactor", (1.0, 1.0, 1.0)),
            "baseColorTexture": gloss.get("diffuseTexture"),
            "metallicFactor": 0.0,
            "roughnessFactor": 1.0 - gloss.get("glossinessFactor", 1.0),
        }
    infos = {
        "base_color_texture": metal.get("baseColorTexture"),
        "metallic_roughness_texture": metal.get("metallicRoughnessTexture"),
        "normal_texture": entry.get("normalTexture"),
        "emissive_texture": entry.get("emissiveTexture"),
    }
    skipped = ["occlusionTexture"] if "occlusionTexture" in entry else []
    if entry.get("alphaMode", "OPAQUE") != "OPAQUE":
        skipped.append(f"{entry['alphaMode']} alpha")
    placement, textures = _textures(file, infos, skipped)
    strength = _number(extensions.get(STRENGTH, {}), "emissiveStrength", 1.0, 0.0, np.inf)
    emissive = _color(entry.get("emissiveFactor", (0.0, 0.0, 0.0)))
    extras = entry.get("extras")
    extras = extras.get(EXTRAS, {}) if isinstance(extras, dict) else {}
    default = MaterialArrays()
    material = MaterialArrays(
        name=str(entry.get("name", "")),
        base_color=_color(metal.get("baseColorFactor", (1.0, 1.0, 1.0))),
        metallic=_number(metal, "metallicFactor", 1.0, 0.0, 1.0),
        roughness=_number(metal, "roughnessFactor", 1.0, 0.0, 1.0),
        emissive=tuple(strength * value for value in emissive),
        specular=_color(extras.get("specular", default.specular)),
        shininess=_number(extras, "shininess", default.shininess, 0.0, np.inf),
        normal_scale=_number(infos["normal_texture"] or {}, "scale", 1.0, -np.inf, np.inf),
        double_sided=bool(entry.get("doubleSided", False)),
        **textures,
    )
    return PlacedMaterial(material, placement, tuple(skipped))


def _textures(file: GltfFile, infos: dict, skipped: list) -> tuple:
    """The placement of the first texture, and the `Picture`s of all that lie where it lies."""
    textures: dict = {}
    chosen = None
    for slot, info in infos.items():
        if info is None:
            continue
        placement, picture = _placement(info), _picture(file, info["index"], skipped)
        chosen = chosen or placement
        if placement == chosen:
            textures[slot] = picture
        else:
            name = f"the {slot.replace('_', ' ')} {picture.name}"
            skipped.append(f"{name}, whose coordinates are others than the first")
    return chosen or Placement(), textures


def _number(entry: dict, key: str, default: float, least: float, most: float) -> float:
    """A number of the file within its bounds."""
    number = float(entry.get(key, default))
    return float(np.clip(number if np.isfinite(number) else default, least, most))


def _color(values: Any) -> tuple:
    """Red, green, blue in [0, 1]."""
    red, green, blue = np.clip(np.nan_to_num(np.array(values, float)), 0.0, 1.0)[:3].tolist()
    return red, green, blue


def _placement(info: dict) -> Placement:
    """Of a texture that a material names."""
    transform = info.get("extensions", {}).get(TRANSFORM, {})
    return Placement(
        int(transform.get("texCoord", info.get("texCoord", 0))),
        tuple(float(value) for value in transform.get("offset", (0.0, 0.0))),
        float(transform.get("rotation", 0.0)),
        tuple(float(value) for value in transform.get("scale", (1.0, 1.0))),
    )


def _picture(file: GltfFile, number: int, skipped: list) -> Picture:
    """The picture of a texture and its sampler."""
    texture = file.tree["textures"][number]
    extensions = texture.get("extensions", {}).values()  # of other formats
    source = next((e["source"] for e in (texture, *extensions) if "source" in e), None)
    image: dict = {} if source is None else file.tree["images"][source]
    uri = image.get("uri", "data:")
    name = image.get("name", f"of image {source}") if uri.startswith("data:") else uri
    sampler = file.tree["samplers"][texture["sampler"]] if "sampler" in texture else {}
    wraps = [WRAPS.get(sampler.get(key), "repeat") for key in ("wrapS", "wrapT")]
    if wraps[0] != wraps[1]:
        skipped.append(f"wrapT of {name}")
    return Picture(str(name), OpenedImage(file, source), _filter(sampler), wraps[0])


def _filter(sampler: dict) -> str:
    """The nearest of ours: mipmaps are mixed, and a texture that is nearest near by has none."""
    near, far = sampler.get("magFilter"), sampler.get("minFilter")
    if near == NEAREST or (near is None and far in (NEAREST, *NEAREST_WITHIN_MIPMAPS)):
        return "nearest"
    has_mipmaps = far in (*NEAREST_WITHIN_MIPMAPS, *LINEAR_WITHIN_MIPMAPS)
    return "trilinear" if has_mipmaps else "bilinear"
