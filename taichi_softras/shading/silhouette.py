"""No colour at all: the image is its alpha channel."""

import dataclasses
import types


@dataclasses.dataclass(frozen=True)
class Silhouette:
    """Renders alpha alone: the image has one channel."""

    def allocate(self, tree, mesh, num_shadings) -> types.SimpleNamespace:
        """Needs no buffers."""
        return types.SimpleNamespace(colors=None)

    def shade(self, mesh, lights, frames, views, buffers) -> None:
        """Does nothing."""
