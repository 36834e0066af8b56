"""One light a vertex, from the vertex's normal, interpolated over the faces (Gouraud 1971)."""

import dataclasses

from taichi_softras.shading.base import BY_VERTEX
from taichi_softras.shading.unlit import Unlit


@dataclasses.dataclass(frozen=True)
class Gouraud(Unlit):
    """Every vertex is lit; the light between them is linear and tints the colours.

    Texels are tinted with the light at their centres.
    """

    light = BY_VERTEX
