"""Depth in place of colour: the image is depth and alpha."""

import dataclasses
import types


@dataclasses.dataclass(frozen=True)
class Depth:
    """Renders (depth, alpha): the image has two components, lights and colours play no part.

    Depth is the distance along the view axis, in world units; that of the background is the
    rasterizer's `far`. See `rasterizers.depths` for what each rasterizer makes of it. Also
    `rasterize(corners, Depth(), ...)`.
    """

    def allocate(self, tree, mesh, num_shadings) -> types.SimpleNamespace:
        """Needs no buffers."""
        return types.SimpleNamespace(colors=None)

    def shade(self, mesh, lights, frames, views, buffers) -> None:
        """Does nothing."""
