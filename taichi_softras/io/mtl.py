"""Material files of OBJ: the MTL format with the lines `Pr`, `Pm`, `norm` of its PBR extension."""

import contextlib
import os
import re
from typing import Any, NamedTuple, Optional

import numpy as np

from taichi_softras.io.contents import MaterialArrays, Picture
from taichi_softras.io.folder import Folder
from taichi_softras.io.textures import open_bytes

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
OPTION = re.compile(rf"-(imfchan|\w+)((?:\s+(?:{NUMBER}|on|off|(?<=imfchan\s)\w)(?=\s))*)\s+")
DEFAULTS = {"o": "0 0 0", "s": "1 1 1", "mm": "0 1", "t": "0 0 0"}  # of options that move pixels
COLORS = {"kd": "base_color", "ks": "specular", "ke": "emissive"}
NUMBERS = {"pr": "roughness", "pm": "metallic", "ns": "shininess"}
UNBOUNDED = ("emissive", "shininess")
MAPS = {
    "map_kd": "base_color_texture",
    "map_ke": "emissive_texture",
    "norm": "normal_texture",
    "map_pr": "roughness",
    "map_pm": "metallic",
}
# what changes a picture and is not followed, unless it has this value; Ka, Ni, illum change none
NOT_FOLLOWED = dict.fromkeys(
    "map_ks map_ns map_d map_bump bump disp decal refl map_refl ps pc aniso tr".split(), 0.0
) | {"d": 1.0}
ONE_IF_MAPPED = {  # numbers of a map that come without
    "emissive": ("emissive_texture", (1.0, 1.0, 1.0)),
    "metallic": ("metallic", 1.0),
}


class Map(NamedTuple):
    """A line `map_Kd -options name`."""

    name: str
    wrap: str
    scale: float  # -bm


def read_mtl(text: str, folder: Folder) -> dict:
    """The materials of a file by name: `MaterialArrays`, and the names of what is not followed."""
    materials: dict = {}
    lines: dict = {}
    for line in text.splitlines():
        key, value = (line.split(None, 1) + ["", ""])[:2]
        if key == "newmtl":
            lines = materials[value.strip()] = {}
        elif key:
            lines[key.lower()] = (key, value.strip())
    return {name: _material(name, lines, folder) for name, lines in materials.items()}


def _material(name: str, lines: dict, folder: Folder) -> tuple:
    """The material of lines by their keyword, and the names of what is not followed."""
    entries: dict[str, Any] = {}
    for key, slot in {**COLORS, **NUMBERS}.items():
        numbers = _numbers(lines[key][1])[:3] if key in lines else []
        clipped = np.clip(numbers, 0.0, np.inf if slot in UNBOUNDED else 1.0).tolist()
        if key in NUMBERS and clipped:
            entries[slot] = clipped[0]
        elif len(clipped) in (1, 3):  # one is a grey; none, a spectrum
            entries[slot] = tuple(clipped * (3 // len(clipped)))
    skipped: list = []
    maps = {
        slot: _map(lines[key][0], lines[key][1], skipped)
        for key, slot in MAPS.items()
        if key in lines and lines[key][1]
    }
    for slot, (of_map, one) in ONE_IF_MAPPED.items():
        if of_map in maps:
            entries.setdefault(slot, one)
    if "normal_texture" in maps:
        entries["normal_scale"] = maps["normal_texture"].scale
    for key, nothing in NOT_FOLLOWED.items():
        if key in lines and _numbers(lines[key][1])[:1] != [nothing]:
            skipped.append(lines[key][0])
    return MaterialArrays(name, **entries, **_textures(maps, folder)), skipped


def _numbers(value: str) -> list:
    """The finite numbers at the beginning of a line."""
    numbers: list = []
    with contextlib.suppress(ValueError):
        for word in value.split():
            numbers.append(float(word))
    return numbers if np.isfinite(numbers).all() else []


def _map(key: str, value: str, skipped: list) -> Map:
    """The picture of a line; options that are not followed are added to `skipped`."""
    options = {}
    while option := OPTION.match(value):
        options[option[1]] = option[2].strip()
        value = value[option.end() :]
    for name, default in DEFAULTS.items():
        given = _numbers(options.get(name, default))
        if given != _numbers(default)[: len(given)]:
            skipped.append(f"-{name} of {key}")
    wrap = "clamp" if options.get("clamp") == "on" else "repeat"
    scale = _numbers(options.get("bm", ""))
    return Map(value.strip(), wrap, scale[0] if scale else 1.0)


def _textures(maps: dict, folder: Folder) -> dict:
    """The `Picture`s of a material by slot."""
    textures = {
        slot: Picture(entry.name, Opened(folder, entry.name), wrap=entry.wrap)
        for slot, entry in maps.items()
        if slot.endswith("_texture")
    }
    roughness, metallic = maps.get("roughness"), maps.get("metallic")
    if roughness or metallic:
        pair = OpenedPair(folder, roughness and roughness.name, metallic and metallic.name)
        names = [name for name in pair[1:] if name]
        name = os.path.commonprefix(names).strip(" _-.") or " + ".join(names)
        wrap = (roughness or metallic).wrap
        textures["metallic_roughness_texture"] = Picture(name, pair, wrap=wrap)
    return textures


class Opened(NamedTuple):
    """Opens a picture of a folder."""

    folder: Folder
    name: str

    def __call__(self) -> Any:
        """A PIL image."""
        return open_bytes(self.folder.get(self.name))


class OpenedPair(NamedTuple):
    """Opens two grey pictures as the second and third channel of one, white where one is none."""

    folder: Folder
    roughness: Optional[str]
    metallic: Optional[str]

    def __call__(self) -> Any:
        """A PIL image."""
        import PIL.Image

        names = (self.roughness, self.metallic)
        opened = [Opened(self.folder, name)().convert("L") if name else None for name in names]
        size = max(image.size for image in opened if image)
        white = PIL.Image.new("L", size, 255)
        return PIL.Image.merge("RGB", [white, *(i.resize(size) if i else white for i in opened)])
