"""What a shading is, and how those of one pass become the shader of a rasterizer.

A shading is a frozen value. Its class says what it reads of a face at a point (`varyings`) and of
the whole scene (`uniforms`), and holds the function that makes a colour of these, with its adjoint.
What needs no pixel, light of faces or vertices, is its `light`: an array stage before rasterizing.
"""

import numbers
from typing import Callable, ClassVar, NamedTuple, Optional

import numpy as np

from taichi_softras.funcs.lookups import Lookup
from taichi_softras.rasterizers.fragments import Part, Shader
from taichi_softras.runtime import refuse_other, ti

# What a face has at a point, by name; the mesh's colour has as many numbers as the mesh says
COLOR = "color"
VARYINGS = {COLOR: None, "normal_world": 3, "position_world": 3, "depth": 1}
BY_FACE, BY_VERTEX = "face", "vertex"


class Shading:
    """The contract; a shading is a frozen dataclass that inherits from it.

    Attributes:
        varyings: by name, how many numbers a point of a face has: of "color" (the mesh's own, from
            vertices, texels or texture cubes; None for as many as there are), "normal_world" (3,
            smooth, not of unit length between vertices), "position_world" (3), "depth" (1).
        uniforms: by name, how many numbers; "eye_world" (3) is the camera's position, any other is
            the attribute of that name of the value: a number, a tuple, or a field with gradient of
            so many numbers.
        channels: of the result; None for as many as "color" has.
        light: None; "face" or "vertex" if "color" comes lit by one light a face or a vertex.
        background: behind all faces: a number, "far", or None for the rasterizer's background.
        moves_edges: whether methods that approximate gradients let these channels pull at edges.
        fragment: ti.func (varyings, uniforms) -> colour; vectors, in the order of the names above.
        fragment_vjp: ti.func (varyings, uniforms, grad_color) -> ti.Struct(varyings=, uniforms=),
            the gradients; `uniforms` may be left out if there are none.
    """

    varyings: ClassVar[dict] = {}
    uniforms: ClassVar[dict] = {}
    channels: ClassVar[Optional[int]] = None
    light: ClassVar[Optional[str]] = None
    background: ClassVar[object] = None
    moves_edges: ClassVar[bool] = True
    fragment: ClassVar[Optional[Callable]] = None
    fragment_vjp: ClassVar[Optional[Callable]] = None

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name in ("fragment", "fragment_vjp"):  # functions of the class, not of its values
            function = cls.__dict__.get(name)
            if function is not None and not isinstance(function, staticmethod):
                setattr(cls, name, staticmethod(function))


class Composition(NamedTuple):
    """The shader of some shadings, and what must be laid before it.

    Attributes:
        shader: what rasterizers compile in.
        channels: of each shading, which of the shader's.
        columns: by name of a varying that is interpolated, its first column of the varyings.
        uniforms: (shading, name, first index) of each uniform.
        light: None, "face" or "vertex": of the colours.
        reads_color: whether the mesh's colours are read.
    """

    shader: Shader
    channels: list
    columns: dict
    uniforms: list
    light: Optional[str]
    reads_color: bool


def compose(shadings: list, num_color: int, lookup: Optional[Lookup]) -> Composition:
    """All shadings of one pass; one without channels is the silhouette.

    Args:
        shadings: values, or classes, of `Shading`.
        num_color: how many numbers the mesh's colour has.
        lookup: how it is looked up in face textures; None if corners have it.

    Raises:
        ValueError: for a shading without `fragment` or `fragment_vjp`, unknown varyings or of
            another number of components, colours that are lit in two ways.
    """
    order = [k for k, shading in enumerate(shadings) if getattr(shading, "channels", None) != 0]
    for k in order:
        _check_shading(shadings[k], num_color)
    order.sort(key=lambda k: not shadings[k].moves_edges)  # as rasterizers want their parts
    drawn = [shadings[k] for k in order]
    sizes = {**VARYINGS, COLOR: num_color}
    places, num_varyings = _place_varyings(drawn, sizes, lookup)
    reads_color = COLOR in places

    parts, uniforms, channels = [], [], [range(0)] * len(shadings)
    num_uniforms = num_channels = 0
    for k, shading in zip(order, drawn):
        own = []
        for name, size in shading.uniforms.items():
            uniforms.append((shading, name, num_uniforms))
            own += range(num_uniforms, num_uniforms + size)
            num_uniforms += size
        inputs = [places[name] + i for name in shading.varyings for i in range(sizes[name])]
        count = num_color if shading.channels is None else shading.channels
        parts.append(
            Part(
                shading.fragment,
                shading.fragment_vjp,
                tuple(inputs),
                tuple(own),
                num_channels,
                count,
                shading.moves_edges,
                shading.background,
            )
        )
        channels[k] = range(num_channels, num_channels + count)
        num_channels += count
    shader = Shader(
        tuple(parts),
        num_varyings,
        lookup if reads_color else None,
        num_color if reads_color and lookup is not None else 0,
        num_uniforms,
        num_channels,
    )
    columns = {name: place for name, place in places.items() if place < num_varyings}
    return Composition(shader, channels, columns, uniforms, _light_of(drawn), reads_color)


def _place_varyings(drawn: list, sizes: dict, lookup: Optional[Lookup]) -> tuple:
    """Where the numbers of each name begin, and how many are interpolated; samples follow them."""
    names = dict.fromkeys(name for shading in drawn for name in shading.varyings)
    places, num_varyings = {}, 0
    for name in sorted(names, key=lambda name: name != COLOR):  # colours have the first columns
        if name != COLOR or lookup is None:
            places[name] = num_varyings
            num_varyings += sizes[name]
    if COLOR in names:
        places.setdefault(COLOR, num_varyings)
    return places, num_varyings


def _light_of(drawn: list) -> Optional[str]:
    lights = {shading.light for shading in drawn if COLOR in shading.varyings}
    if len(lights) > 1:
        raise ValueError(
            f"the mesh's colours cannot be lit by {' and '.join(map(str, sorted(lights, key=str)))}"
            " in one pass: draw one of the shadings with a renderer of its own"
        )
    return lights.pop() if lights else None


def _check_shading(shading: Shading, num_color: int) -> None:
    name = shading.__name__ if isinstance(shading, type) else type(shading).__name__
    duties = ("varyings", "uniforms", "channels", "light", "fragment", "fragment_vjp")
    missing = [duty for duty in duties if not hasattr(shading, duty)]
    missing += [
        duty for duty in ("fragment", "fragment_vjp") if getattr(shading, duty, None) is None
    ]
    if missing:
        raise ValueError(
            f"shading {name} has no {' and no '.join(dict.fromkeys(missing))}: a shading inherits "
            "from tsr.Shading and gives both, see docs/architecture.md"
        )
    for varying, size in shading.varyings.items():
        if varying not in VARYINGS:
            known = ", ".join(map(repr, VARYINGS))
            raise ValueError(f"shading {name}: no varying is called {varying!r}, only {known}")
        wanted = num_color if varying == COLOR else VARYINGS[varying]
        if size not in (None, wanted):
            raise ValueError(
                f"shading {name}: varyings[{varying!r}] must be {wanted}, as many numbers as there "
                f"are, got {size!r}"
            )
    if not shading.varyings:
        raise ValueError(f"shading {name} reads no varyings: name at least one")
    if shading.light not in (None, BY_FACE, BY_VERTEX):
        raise ValueError(f'shading {name}: light must be None, "face" or "vertex"')


def uniform_values(shading: Shading, name: str, size: int) -> object:
    """The uniform of a shading as a field, or as a tuple of numbers.

    Raises:
        ValueError: if the value has no attribute of that name, or one of another size.
    """
    value = getattr(shading, name, None)
    refuse_other(name, value)
    if isinstance(value, ti.Field):
        return value
    values = np.ravel(value) if value is not None else ()
    if len(values) != size or not all(isinstance(entry, numbers.Real) for entry in values):
        raise ValueError(
            f"shading {type(shading).__name__}: uniform {name!r} must be an attribute of {size} "
            f"numbers, got {value!r}"
        )
    return tuple(float(entry) for entry in values)
