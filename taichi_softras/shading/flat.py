"""One light a face, from the face's normal."""

import dataclasses

from taichi_softras.shading.base import BY_FACE
from taichi_softras.shading.unlit import Unlit


@dataclasses.dataclass(frozen=True)
class Flat(Unlit):
    """Every face is lit as a whole, and tints its colours."""

    light = BY_FACE
