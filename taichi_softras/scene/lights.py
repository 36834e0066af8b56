"""Lights: colours and directions in, Taichi fields out."""

import numpy as np

from taichi_softras.fields import FieldTree, upload
from taichi_softras.geometry.scene_arrays import DIRECTIONAL
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import check_field, finite_array, warn_of_bytes


class Lights:
    """One ambient light and L directional ones.

    Attributes:
        ambient: 0-D vec3 field with gradient, colour.
        directions: (L,) vec3 field with gradient, world space, from the surface towards the
            light; of any length but zero, the shading takes the direction alone.
        colors: (L,) vec3 field with gradient.

    An array that is assigned to one of them is written into the field.
    """

    ambient, directions, colors = FieldAttribute(), FieldAttribute(), FieldAttribute()

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
        ambient = finite_array("ambient", ambient, (3,))
        directions = finite_array("directions", directions, ("L", 3))
        colors = finite_array("colors", colors, (len(directions), 3))
        warn_of_bytes("ambient", ambient)
        warn_of_bytes("colors", colors)
        if (np.linalg.norm(directions, axis=-1) == 0).any():
            raise ValueError("directions must not be zero: give a vector towards the light")

        tree = FieldTree()
        self.ambient = tree.add((), (3,))
        self.directions = tree.add((len(directions),), (3,))
        self.colors = tree.add((len(directions),), (3,))
        tree.place()
        upload([self.ambient, self.directions, self.colors], [ambient, directions, colors])

    kind = DIRECTIONAL

    @property
    def num_lights(self) -> int:
        """L."""
        return self.directions.shape[0]

    def check(self) -> None:
        """Raises a ValueError if something that was written to the fields is not finite."""
        for name in ("ambient", "directions", "colors"):
            check_field(f"lights.{name}", getattr(self, name))

    @property
    def uniform_fields(self) -> list:
        """(field, where its numbers begin, how far those of two lights are apart)."""
        return [(self.ambient, 0, 3), (self.directions, 3, 6), (self.colors, 6, 6)]
