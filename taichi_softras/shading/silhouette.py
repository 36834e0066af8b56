"""No colour at all: the image is its alpha channel."""

import dataclasses

from taichi_softras.shading.base import Shading


@dataclasses.dataclass(frozen=True)
class Silhouette(Shading):
    """Renders alpha alone: the image has one channel."""

    channels = 0
