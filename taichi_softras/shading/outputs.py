"""Further channels that a pass may draw beside its image, by name."""

import dataclasses
from collections.abc import Sequence
from typing import Union

from taichi_softras.rasterizers.fragments import pass_on, pass_on_vjp
from taichi_softras.runtime import ti
from taichi_softras.shading.base import VIEW_ROTATION, Shading
from taichi_softras.shading.depth import Depth


class Value(Shading):
    """What is no colour: 0 where no face is, and it pulls at no edge. As it is, unless said."""

    background = 0.0
    moves_edges = False
    fragment = pass_on
    fragment_vjp = pass_on_vjp


@dataclasses.dataclass(frozen=True)
class VertexNormal(Value):
    """The smooth normal in world space, linear between vertices; 0 where no face is."""

    varyings = {"normal_world": 3}
    channels = 3


@dataclasses.dataclass(frozen=True)
class Position(Value):
    """The point of the surface in world space; 0 where no face is."""

    varyings = {"position_world": 3}
    channels = 3


@ti.func
def view_normal(varyings, uniforms):
    """The normal by the axes of the camera."""
    return ti.Vector([varyings.dot(uniforms[3 * k : 3 * k + 3]) for k in ti.static(range(3))])


@ti.func
def view_normal_vjp(varyings, uniforms, grad_color):
    """The adjoint of `view_normal`."""
    grad_varyings, grad_uniforms = varyings * 0.0, uniforms * 0.0
    for k in ti.static(range(3)):
        grad_varyings += grad_color[k] * uniforms[3 * k : 3 * k + 3]
        grad_uniforms[3 * k : 3 * k + 3] = grad_color[k] * varyings
    return ti.Struct(varyings=grad_varyings, uniforms=grad_uniforms)


@dataclasses.dataclass(frozen=True)
class ViewNormal(Value):
    """The smooth normal in view space (x right, y up, z towards the camera); 0 without a face."""

    varyings = {"normal_world": 3}
    uniforms = {VIEW_ROTATION: 9}
    channels = 3
    fragment = view_normal
    fragment_vjp = view_normal_vjp


@dataclasses.dataclass(frozen=True)
class TextureCoordinates(Value):
    """The mesh's u and v; 0 where no face is."""

    varyings = {"uv": 2}
    channels = 2


@dataclasses.dataclass(frozen=True)
class Barycentric(Value):
    """The weights of the corners of the nearest face, right in perspective; 0 where no face is."""

    varyings = {"barycentric": 3}
    channels = 3
    of_nearest_face = True


@dataclasses.dataclass(frozen=True)
class Index(Shading):
    """A whole number of the nearest face, without gradient; -1 where no face is.

    Attributes:
        of_mesh: whether it is that of the mesh, which is 0, not that of the face.
    """

    channels = 0
    of_nearest_face = True

    of_mesh: bool = False


OUTPUTS = {
    "depth": Depth(),
    "normal_view": ViewNormal(),
    "normal_world": VertexNormal(),
    "position_world": Position(),
    "uv": TextureCoordinates(),
    "face_id": Index(),
    "mesh_id": Index(of_mesh=True),
    "barycentric": Barycentric(),
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
            if getattr(shading, "channels", None) == 0 and not isinstance(shading, Index):
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
