"""The mesh's own colours, without light."""

import dataclasses

from taichi_softras.rasterizers.fragments import pass_on, pass_on_vjp
from taichi_softras.shading.base import Shading


@dataclasses.dataclass(frozen=True)
class Unlit(Shading):
    """The mesh's colours as they are, of any number of channels."""

    varyings = {"color": None}
    fragment = pass_on
    fragment_vjp = pass_on_vjp
