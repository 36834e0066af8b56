"""Lights: colours, directions and places in, Taichi fields out.

A renderer takes any number and mix of them: `Renderer(..., lights=[...])`. All fields have
gradients. The colour of a light is what a white matt surface that faces it sends back.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import numpy as np

from taichi_softras.fields import FieldTree, upload
from taichi_softras.funcs.lights import (
    HARMONICS,
    KIND_NAMES,
    KINDS,
    NO_LIGHTS,
    SIZES,
    LightStructure,
)
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import check_field, check_kind, finite_array, warn_of_bytes


class Light:
    """What all lights have in common.

    Attributes:
        structure: how many lights of each kind these are.
        parts: of each field, by name, (kind, where its numbers begin in those of one light).
        is_picture: whether they are the projection of a picture, and not the field's own.
    """

    structure: LightStructure
    parts: dict
    is_picture = False

    def _place(self, **arrays) -> None:
        """Fields of these arrays, (3,) of ambient light, otherwise (L,) or (L, 3)."""
        tree = FieldTree()
        for name, values in arrays.items():
            kind, _ = self.parts[name]
            shape = values.shape if kind == "ambient" else values.shape[1:]
            setattr(self, name, tree.add(values.shape[: values.ndim - len(shape)], shape))
        tree.place()
        upload([getattr(self, name) for name in arrays], list(arrays.values()))

    def check(self) -> None:
        """Raises a ValueError if something that was written to the fields is not finite."""
        for name in self.parts:
            check_field(f"lights.{name}", getattr(self, name))


class AmbientLight(Light):
    """The same light from all around.

    Attributes:
        color: 0-D vec3 field with gradient. An array that is assigned is written into it, as with
            all fields of lights.
    """

    color = FieldAttribute()
    structure = LightStructure(ambient=1)
    parts = {"color": ("ambient", 0)}

    def __init__(self, color=(0.5, 0.5, 0.5)):
        """Places the field.

        Args:
            color: (3,).

        Raises:
            ValueError: another shape, or entries that are not finite.
        """
        self._place(color=_colors("color", color, (3,)))


class DirectionalLights(Light):
    """L lights that are far away.

    Attributes:
        directions: (L,) vec3 field with gradient, world space, from the surface towards the
            light; of any length but zero, the direction alone counts.
        colors: (L,) vec3 field with gradient.
    """

    directions, colors = FieldAttribute(), FieldAttribute()
    parts = {"directions": ("directional", 0), "colors": ("directional", 3)}

    def __init__(self, directions, colors):
        """Places the fields.

        Args:
            directions: (L, 3).
            colors: (L, 3).

        Raises:
            ValueError: wrong shapes, entries that are not finite, a direction of length zero.
        """
        directions = _directions(directions, "towards the light")
        colors = _colors("colors", colors, (len(directions), 3))
        self.structure = LightStructure(directional=len(directions))
        self._place(directions=directions, colors=colors)


class Lights(Light):
    """One ambient light and L directional ones: `AmbientLight` and `DirectionalLights` in one.

    Attributes:
        ambient: 0-D vec3 field with gradient, colour.
        directions: (L,) vec3 field with gradient, world space, from the surface towards the
            light; of any length but zero, the direction alone counts.
        colors: (L,) vec3 field with gradient.
    """

    ambient, directions, colors = FieldAttribute(), FieldAttribute(), FieldAttribute()
    parts = {"ambient": ("ambient", 0), **DirectionalLights.parts}

    def __init__(
        self, ambient=(0.5, 0.5, 0.5), directions=((0.0, 1.0, 0.0),), colors=((0.5, 0.5, 0.5),)
    ):
        """Places the fields; without any directional light one black light stands in.

        Args:
            ambient: (3,) colour.
            directions: (L, 3) or empty.
            colors: (L, 3) or empty.

        Raises:
            ValueError: wrong shapes, entries that are not finite, a direction of length zero.
        """
        if np.size(directions) == 0 and np.size(colors) == 0:
            directions, colors = [[0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]
        ambient = _colors("ambient", ambient, (3,))
        directions = _directions(directions, "towards the light")
        colors = _colors("colors", colors, (len(directions), 3))
        self.structure = LightStructure(ambient=1, directional=len(directions))
        self._place(ambient=ambient, directions=directions, colors=colors)


class PointLights(Light):
    """L lights at places of the scene.

    What arrives at the distance d is the colour over constant + linear d + quadratic d^2, which
    counts as 1e-6 at least. At the very place of a light there is no direction: a surface there
    sends nothing back, with the gradient 0.

    Attributes:
        positions: (L,) vec3 field with gradient, world space.
        colors: (L,) vec3 field with gradient.
        falloff: (L,) vec3 field with gradient: constant, linear, quadratic.
    """

    positions, colors, falloff = FieldAttribute(), FieldAttribute(), FieldAttribute()
    parts = {"positions": ("point", 0), "colors": ("point", 3), "falloff": ("point", 6)}

    def __init__(self, positions, colors, falloff=(1.0, 0.0, 0.0)):
        """Places the fields.

        Args:
            positions: (L, 3).
            colors: (L, 3).
            falloff: (3,) of all, or (L, 3).

        Raises:
            ValueError: wrong shapes, entries that are not finite, a negative or an all zero
                falloff.
        """
        positions, colors, falloff = _placed_lights(positions, colors, falloff)
        self.structure = LightStructure(point=len(positions))
        self._place(positions=positions, colors=colors, falloff=falloff)


class SpotLights(Light):
    """L lights at places, each of which shines into a cone.

    Within the inner half angle they are point lights; from there to the outer one the light fades
    as the square of a ramp in the cosine (glTF's KHR_lights_punctual).

    Attributes:
        positions: (L,) vec3 field with gradient, world space.
        directions: (L,) vec3 field with gradient, where they shine: away from the light; of any
            length but zero.
        colors: (L,) vec3 field with gradient.
        inner_degrees: (L,) field with gradient, half the angle of the cone that is fully lit.
        outer_degrees: (L,) field with gradient, half the angle beyond which it is dark.
        falloff: (L,) vec3 field with gradient, see `PointLights`.
    """

    positions, directions, colors = FieldAttribute(), FieldAttribute(), FieldAttribute()
    inner_degrees, outer_degrees = FieldAttribute(), FieldAttribute()
    falloff = FieldAttribute()
    parts = {
        "positions": ("spot", 0),
        "colors": ("spot", 3),
        "falloff": ("spot", 6),
        "directions": ("spot", 9),
        "inner_degrees": ("spot", 12),
        "outer_degrees": ("spot", 13),
    }

    def __init__(  # the numbers of a spot
        self,
        positions,
        directions,
        colors,
        inner_degrees=20.0,
        outer_degrees=30.0,
        falloff=(1.0, 0.0, 0.0),
    ):
        """Places the fields.

        Args:
            positions: (L, 3).
            directions: (L, 3).
            colors: (L, 3).
            inner_degrees: of all, or (L,).
            outer_degrees: of all, or (L,); at least as large, at most 90.
            falloff: (3,) of all, or (L, 3).

        Raises:
            ValueError: wrong shapes, entries that are not finite, a direction of length zero,
                angles that are no cone, a negative or an all zero falloff.
        """
        positions, colors, falloff = _placed_lights(positions, colors, falloff)
        count = len(positions)
        directions = _directions(directions, "where the light shines", count)
        inner, outer = (
            finite_array(name, _for_each(angle, (), count), (count,))
            for name, angle in (("inner_degrees", inner_degrees), ("outer_degrees", outer_degrees))
        )
        if (inner < 0).any() or (outer > 90).any() or (inner > outer).any():
            raise ValueError(
                "a spot's angles must be 0 <= inner_degrees <= outer_degrees <= 90, half of its "
                f"cone, got {inner} and {outer}"
            )
        self.structure = LightStructure(spot=count)
        self._place(
            positions=positions,
            directions=directions,
            colors=colors,
            inner_degrees=inner,
            outer_degrees=outer,
            falloff=falloff,
        )


class LightGroup(NamedTuple):
    """All lights of a scene as one run of numbers.

    Attributes:
        lights: each as the user made it.
        structure: how many of each kind, padded.
        uniform_fields: (field, where its numbers begin, how far those of two lights are apart).
        pictures: (picture, where the numbers of its projection begin).
    """

    lights: tuple
    structure: LightStructure
    uniform_fields: list
    pictures: list

    @property
    def environments(self) -> list:
        """The lights that are pictures."""
        return [light for light in self.lights if light.is_picture]

    def check(self) -> None:
        """Raises a ValueError if something that was written to the fields is not finite."""
        for light in self.lights:
            light.check()


def group_lights(lights: Union[Light, Sequence], is_mirrored: bool = True) -> LightGroup:
    """Lights one after another, those of a kind together.

    Args:
        lights: one, or a list of any number and mix.
        is_mirrored: whether environments may be looked up; otherwise they are harmonics alone.

    Raises:
        ValueError: for what is no light.
    """
    wanted = (
        "a list of lights: AmbientLight, DirectionalLights, PointLights, SpotLights, "
        "SphericalHarmonics, EnvironmentMap, Lights"
    )
    lights = tuple(lights) if isinstance(lights, (list, tuple)) else (lights,)
    for light in lights:
        check_kind("lights", light, (Light,), wanted)
    structures = [_structure_of(light, is_mirrored) for light in lights]
    structure = LightStructure(*map(sum, zip(NO_LIGHTS.counts, *(s.counts for s in structures))))
    structure = structure.padded()
    used, fields, pictures = [0] * len(KINDS), [], []
    for light, own in zip(lights, structures):
        for name, (kind_name, offset) in light.parts.items():
            kind = KIND_NAMES.index(kind_name)
            if light.is_picture and not is_mirrored:
                kind = HARMONICS
            start = structure.start(kind) + SIZES[kind] * used[kind] + offset
            step = 3 if kind == HARMONICS else SIZES[kind]
            if light.is_picture:
                pictures.append((getattr(light, name), start))
            else:
                fields.append((getattr(light, name), start, step))
        used = [before + count for before, count in zip(used, own.counts)]
    return LightGroup(lights, structure, fields, pictures)


def _structure_of(light: Light, is_mirrored: bool) -> LightStructure:
    """What a light is in a scene whose environments may be looked up, or may not."""
    is_plain = light.is_picture and not is_mirrored
    return LightStructure(harmonics=1) if is_plain else light.structure


def _colors(name: str, colors: Any, shape: tuple) -> np.ndarray:
    colors = finite_array(name, colors, shape)
    warn_of_bytes(name, colors)
    return colors


def _directions(directions: Any, meaning: str, count: Union[int, str] = "L") -> np.ndarray:
    directions = finite_array("directions", directions, (count, 3))
    if (np.linalg.norm(directions, axis=-1) == 0).any():
        raise ValueError(f"directions must not be zero: give a vector {meaning}")
    return directions


def _for_each(value: Any, shape: tuple, count: int) -> Any:
    """A value of this shape for each of L lights; what is of another shape is left as it is."""
    return np.broadcast_to(value, (count, *shape)) if np.shape(value) == shape else value


def _placed_lights(positions: Any, colors: Any, falloff: Any) -> tuple:
    """Checked positions, colours and falloffs, (L, 3) each."""
    positions = finite_array("positions", positions, ("L", 3))
    count = len(positions)
    colors = _colors("colors", colors, (count, 3))
    falloff = finite_array("falloff", _for_each(falloff, (3,), count), (count, 3))
    if (falloff < 0).any() or (falloff.sum(axis=1) == 0).any():
        raise ValueError(
            "falloff must be (constant, linear, quadratic), none negative and not all zero, got "
            f"{falloff[(falloff < 0).any(axis=1) | (falloff.sum(axis=1) == 0)][0]}"
        )
    return positions, colors, falloff
