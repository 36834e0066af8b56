"""Lights: colours and directions in, Taichi fields out."""

import numpy as np
import taichi as ti

from taichi_softras.fields import FieldTree
from taichi_softras.scene.checks import finite_array


class Lights:
    """One ambient light and L directional ones.

    Attributes:
        ambient: 0-D vec3 field with gradient, colour.
        directions: (L,) vec3 field with gradient, world space, from the surface towards the
            light; of any length but zero, the shading takes the direction alone.
        colors: (L,) vec3 field with gradient.
    """

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
        if (np.linalg.norm(directions, axis=-1) == 0).any():
            raise ValueError("directions must not be zero: give a vector towards the light")

        tree = FieldTree()
        self.ambient = tree.add((), (3,))
        self.directions = tree.add((len(directions),), (3,))
        self.colors = tree.add((len(directions),), (3,))
        tree.place()
        self.ambient.from_numpy(ambient)
        self.directions.from_numpy(directions)
        self.colors.from_numpy(colors)

    @ti.func
    def reflect(self, normal):
        """The light that a matt surface sends back, per channel: ambient and Lambert's cosines.

        Args:
            normal: vec3, world, length 1.
        """
        light = self.ambient[None]
        for index in ti.static(range(self.directions.shape[0])):
            direction = self.directions[index]
            cosine = normal.dot(direction) / direction.norm(1e-30)
            light += self.colors[index] * ti.max(cosine, 0.0)
        return light
