"""Further channels that a pass may draw beside its image, by name."""

import dataclasses
from collections.abc import Sequence
from typing import Union

from taichi_softras.rasterizers.fragments import pass_on, pass_on_vjp
from taichi_softras.shading.base import Shading
from taichi_softras.shading.depth import Depth


@dataclasses.dataclass(frozen=True)
class VertexNormal(Shading):
    """The smooth normal in world space, linear between vertices; 0 where no face is."""

    varyings = {"normal_world": 3}
    channels = 3
    background = 0.0
    moves_edges = False
    fragment = pass_on
    fragment_vjp = pass_on_vjp


@dataclasses.dataclass(frozen=True)
class Position(Shading):
    """The point of the surface in world space; 0 where no face is."""

    varyings = {"position_world": 3}
    channels = 3
    background = 0.0
    moves_edges = False
    fragment = pass_on
    fragment_vjp = pass_on_vjp


OUTPUTS = {
    "depth": Depth(),
    "normal_world": VertexNormal(),
    "position_world": Position(),
}


def choose_outputs(outputs: Union[str, Sequence[str], dict]) -> dict:
    """The shadings of outputs by their names.

    Args:
        outputs: names of `OUTPUTS`, or a dictionary of names and shadings.

    Raises:
        ValueError: for a name that is unknown, a shading that draws nothing.
    """
    if isinstance(outputs, dict):
        for name, shading in outputs.items():
            if getattr(shading, "channels", None) == 0:
                raise ValueError(f"output {name!r} has no channels: alpha is the image's last")
        return dict(outputs)
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for name in names:
        if name not in OUTPUTS:
            raise ValueError(
                f"outputs must be names of {', '.join(map(repr, OUTPUTS))}, or a dictionary "
                f"{{name: shading}}, got {name!r}"
            )
    return {name: OUTPUTS[name] for name in names}
