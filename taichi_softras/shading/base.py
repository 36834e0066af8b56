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
from taichi_softras.runtime import ti

# What a face has at a point, by name; the mesh's colour has as many numbers as the mesh says
COLOR = "color"
VARYINGS = {COLOR: None, "normal_world": 3, "position_world": 3, "depth": 1, "barycentric": 3}
BY_FACE, BY_VERTEX = "face", "vertex"
EYE, VIEW_ROTATION = "eye_world", "view_rotation"  # the uniforms that are the camera's


class Shading:
    """The contract; a shading is a frozen dataclass that inherits from it.

    Attributes:
        varyings: by name, how many numbers a point of a face has: of "color" (the mesh's own, from
            vertices, texels or texture cubes; None for as many as there are), "normal_world" (3,
            smooth, not of unit length between vertices), "position_world" (3), "depth" (1),
            "barycentric" (3, the weights of the face's corners).
        uniforms: by name, how many numbers; "eye_world" (3) is the camera's position,
            "view_rotation" (9) the rows of the matrix that turns world to view space; any other is
            the attribute of that name of the value: a number, a tuple, or a field with gradient of
            so many numbers.
        channels: of the result; None for as many as "color" has; 0 for none beside alpha.
        light: None; "face" or "vertex" if "color" comes lit by one light a face or a vertex.
        background: behind all faces: a number, "far", or None for the rasterizer's background.
        moves_edges: whether methods that approximate gradients let these channels pull at edges.
        of_nearest_face: whether it shows, by any rasterizer, the nearest face that contains the
            pixel's centre, with the exact gradient within it and none at edges. Such a shading
            can be an output.
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
    of_nearest_face: ClassVar[bool] = False
    fragment: ClassVar[Optional[Callable]] = None
    fragment_vjp: ClassVar[Optional[Callable]] = None

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name in ("fragment", "fragment_vjp"):  # functions of the class, not of its values
            function = cls.__dict__.get(name)
            if function is not None and not isinstance(function, staticmethod):
                setattr(cls, name, staticmethod(function))


@ti.func
def no_color(varyings, uniforms):
    """The fragment of a face's part in what is behind all faces."""
    return ti.Vector([0.0])


@ti.func
def no_color_vjp(varyings, uniforms, grad_color):
    """The adjoint of `no_color`."""
    return ti.Struct(varyings=varyings * 0.0)


class BackgroundShare(Shading):
    """How much of a pixel the background has: what an image behind all faces is multiplied by."""

    channels = 1
    background = 1.0
    fragment, fragment_vjp = no_color, no_color_vjp


class Composition(NamedTuple):
    """The shaders of some shadings, and what must be laid before them.

    Attributes:
        shader: what rasterizers compile in.
        nearest: what is drawn of the nearest face at each pixel, on the same surface; None if that
            face is not asked for.
        channels: of each shading, which of its shader's.
        share: the channel of the background's share, None if there is no image behind all faces.
        lookup: how face textures are read; None if nothing reads any.
        num_varyings: of the surface; the shader reads the first ones, `nearest` all of them.
        columns: by name of a varying that is interpolated, its first column of the varyings.
        uniforms: (shading, name, first index) of each uniform.
        light: None, "face" or "vertex": of the colours.
        reads_color: whether the mesh's colours are read.
    """

    shader: Shader
    nearest: Optional[Shader]
    channels: list
    share: Optional[int]
    lookup: Optional[Lookup]
    num_varyings: int
    columns: dict
    uniforms: list
    light: Optional[str]
    reads_color: bool


def compose(
    shadings: list, num_color: int, lookup: Optional[Lookup], is_over_image: bool = False
) -> Composition:
    """All shadings of one pass; one without channels is the silhouette.

    Args:
        shadings: values, or classes, of `Shading`.
        num_color: how many numbers the mesh's colour has.
        lookup: how it is looked up in face textures; None if corners have it.
        is_over_image: whether an image is laid behind the colours of the first shading, which are
            0 where no face is, and times the background's share behind all of it.

    Raises:
        ValueError: for a shading without `fragment` or `fragment_vjp`, unknown varyings or of
            another number of components, colours that are lit in two ways.
    """
    order = [k for k, shading in enumerate(shadings) if getattr(shading, "channels", None) != 0]
    for k in order:
        _check_shading(shadings[k], num_color)
    backgrounds = {k: shadings[k].background for k in order}
    if is_over_image:
        order.append(len(shadings))
        shadings = [*shadings, BackgroundShare]
        backgrounds.update({0: 0.0, order[-1]: BackgroundShare.background})
    # as rasterizers want their parts
    order.sort(key=lambda k: (shadings[k].of_nearest_face, not shadings[k].moves_edges))
    layers, uniforms, num_uniforms = [], [], 0
    for k in order:
        layers.append(_Layer(k, shadings[k], backgrounds[k], num_uniforms))
        for name, size in shadings[k].uniforms.items():
            uniforms.append((shadings[k], name, num_uniforms))
            num_uniforms += size

    blended = [layer for layer in layers if not layer.shading.of_nearest_face]
    sizes = {**VARYINGS, COLOR: num_color}
    columns, num_varyings = _place_varyings(layers, sizes, lookup)
    names = {name for layer in blended for name in layer.shading.varyings if name in columns}
    num_blended = max((columns[name] + sizes[name] for name in names), default=0)
    inputs = columns, sizes, lookup
    shader = _make_shader(blended, *inputs, num_blended, num_uniforms)
    nearest = None
    if any(getattr(shading, "of_nearest_face", False) for shading in shadings):
        nearest = _make_shader(layers[len(blended) :], *inputs, num_varyings, num_uniforms)
    channels = [range(0)] * len(shadings)
    parts = (*shader.parts, *(nearest.parts if nearest else ()))
    for layer, part in zip(layers, parts):
        channels[layer.place] = range(part.first_channel, part.first_channel + part.num_channels)
    share = channels.pop()[0] if is_over_image else None
    drawn = [layer.shading for layer in layers]
    reads_color = any(COLOR in shading.varyings for shading in drawn)
    return Composition(
        shader,
        nearest,
        channels,
        share,
        lookup if reads_color else None,
        num_varyings,
        columns,
        uniforms,
        _light_of(drawn),
        reads_color,
    )


class _Layer(NamedTuple):
    """A shading that has channels.

    Attributes:
        place: among all shadings.
        shading: of them.
        background: of its part.
        first_uniform: of its own.
    """

    place: int
    shading: Shading
    background: object
    first_uniform: int


def _make_shader(
    layers: list,
    columns: dict,
    sizes: dict,
    lookup: Optional[Lookup],
    num_varyings: int,
    num_uniforms: int,
) -> Shader:
    """The shader of some layers of a pass; `_place_varyings` has made the columns."""
    parts, num_channels = [], 0
    for layer in layers:
        shading, first = layer.shading, layer.first_uniform
        inputs = [
            columns.get(name, num_varyings) + i  # samples are behind all that is interpolated
            for name in shading.varyings
            for i in range(sizes[name])
        ]
        count = sizes[COLOR] if shading.channels is None else shading.channels
        parts.append(
            Part(
                shading.fragment,
                shading.fragment_vjp,
                tuple(inputs),
                tuple(range(first, first + sum(shading.uniforms.values()))),
                num_channels,
                count,
                shading.moves_edges,
                layer.background,
            )
        )
        num_channels += count
    has_samples = lookup is not None and any(COLOR in layer.shading.varyings for layer in layers)
    return Shader(
        tuple(parts),
        num_varyings,
        lookup if has_samples else None,
        sizes[COLOR] if has_samples else 0,
        num_uniforms,
        num_channels,
    )


def _place_varyings(layers: list, sizes: dict, lookup: Optional[Lookup]) -> tuple:
    """Where the numbers of each name begin that are interpolated, and how many there are."""
    names = dict.fromkeys(name for layer in layers for name in layer.shading.varyings)
    columns, num_varyings = {}, 0
    for name in sorted(names, key=lambda name: name != COLOR):  # colours have the first columns
        if name != COLOR or lookup is None:
            columns[name] = num_varyings
            num_varyings += sizes[name]
    return columns, num_varyings


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
    if isinstance(value, ti.Field):
        return value
    values = np.ravel(value) if value is not None else ()
    if len(values) != size or not all(isinstance(entry, numbers.Real) for entry in values):
        raise ValueError(
            f"shading {type(shading).__name__}: uniform {name!r} must be an attribute of {size} "
            f"numbers, got {value!r}"
        )
    return tuple(float(entry) for entry in values)
