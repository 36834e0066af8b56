"""Depth in place of colour."""

import dataclasses

from taichi_softras.rasterizers.fragments import pass_on, pass_on_vjp
from taichi_softras.shading.base import Shading


@dataclasses.dataclass(frozen=True)
class Depth(Shading):
    """Renders (depth, alpha): the image has two components, lights and colours play no part.

    Depth is the distance along the view axis, in world units; that of the background is the
    rasterizer's `far`. It is blended and differentiated as a colour is, but
    `ApproximateGradient` gives it the exact gradient within faces, and none at edges. Also
    `rasterize(corners, Depth(), ...)`.
    """

    varyings = {"depth": 1}
    channels = 1
    background = "far"
    moves_edges = False
    fragment = pass_on
    fragment_vjp = pass_on_vjp
