"""What a shading is, and how those of one pass become the shader of a rasterizer.

A shading is a frozen value. Its class says what it reads of a face at a point (`varyings`) and of
the whole scene (`uniforms`), and holds the function that makes a colour of these, with its adjoint.
What needs no pixel, light of faces or vertices, is its `light`: an array stage before rasterizing.

What a shading reads by one name may be made of several things: a colour is the vertices' times the
material's times its texture. `compose` says of which (`Derived`), so no shading knows.
"""

import functools
import numbers
from typing import Callable, ClassVar, NamedTuple, Optional

import numpy as np

from taichi_softras.funcs.lookups import Lookup
from taichi_softras.funcs.tangent_space import bend_normal, bend_normal_vjp
from taichi_softras.rasterizers.fragments import Derived, ImageLookup, Part, Shader
from taichi_softras.runtime import ti
from taichi_softras.shading.materials import FOOTPRINT_SIZE, NUMBERS, Columns

# What a face has at a point, by name; the mesh's colour has as many numbers as the mesh says
COLOR = "color"
NORMAL, POSITION, DEPTH, UV = "normal_world", "position_world", "depth", "uv"
VARYINGS = {
    COLOR: None,
    NORMAL: 3,
    POSITION: 3,
    DEPTH: 1,
    UV: 2,
    "metallic": 1,
    "roughness": 1,
    "emissive": 3,
    "specular": 3,
    "shininess": 1,
}
# Textures of a material, in the order of `Looks.slots`
SLOTS = ("base_color_texture", "metallic_roughness_texture", "normal_texture", "emissive_texture")
BASE_COLOR, METALLIC_ROUGHNESS, NORMALS, EMISSIVE = range(len(SLOTS))
# Of what is multiplied with a texture: the slot and the channels, as glTF 2.0 has them
TEXTURED = {
    COLOR: (BASE_COLOR, (0, 1, 2)),
    "metallic": (METALLIC_ROUGHNESS, (2,)),
    "roughness": (METALLIC_ROUGHNESS, (1,)),
    "emissive": (EMISSIVE, (0, 1, 2)),
}
BY_FACE, BY_VERTEX = "face", "vertex"
# What is interpolated: what placement fills, colours first; and what serves look-ups alone
_PLACED = (COLOR, NORMAL, POSITION, DEPTH)
_FOOTPRINT, _TANGENT = "footprint", "tangent"


class Shading:
    """The contract; a shading is a frozen dataclass that inherits from it.

    Attributes:
        varyings: by name, how many numbers a point of a face has: of "color" (the mesh's own, from
            vertices, texels, texture cubes or materials; None for as many as there are),
            "normal_world" (3, smooth, not of unit length between vertices, bent by normal
            textures), "position_world" (3), "depth" (1), "uv" (2); and of materials, times their
            textures, "metallic" (1), "roughness" (1), "emissive" (3), "specular" (3), "shininess"
            (1).
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


class Looks(NamedTuple):
    """What kind of colours, textures and materials a mesh has.

    Attributes:
        num_color: how many numbers its colour has.
        lookup: how that is looked up in face textures; None if corners have it.
        has_uvs: whether there are UV coordinates.
        has_materials: whether materials tint the colours.
        slots: for each of `SLOTS`, None if no material has such a texture; else whether one of
            them has coarser levels.
        is_feature: whether base colour textures have `num_color` numbers that are no colours, and
            stand for the colour alone.
    """

    num_color: int
    lookup: Optional[Lookup] = None
    has_uvs: bool = False
    has_materials: bool = False
    slots: tuple = (None,) * len(SLOTS)
    is_feature: bool = False

    def size_of(self, name: str) -> int:
        """How many numbers a varying has."""
        return self.num_color if name == COLOR else VARYINGS[name]


class Composition(NamedTuple):
    """The shader of some shadings, and what must be laid before it.

    Attributes:
        shader: what rasterizers compile in.
        channels: of each shading, which of the shader's.
        columns: by name of a varying that is interpolated, its first column of the varyings.
        material_columns: of those, the columns that `materials.lay_materials` fills; the last.
        slots: which of `SLOTS` are looked up.
        uniforms: (shading, name, first index) of each uniform.
        light: None, "face" or "vertex": of the colours.
        reads_color: whether the colours of vertices or faces are read.
    """

    shader: Shader
    channels: list
    columns: dict
    material_columns: Columns
    slots: tuple
    uniforms: list
    light: Optional[str]
    reads_color: bool

    @property
    def num_placed(self) -> int:
        """How many columns are filled before `materials.lay_materials`."""
        of_materials = [place for name, place in self.columns.items() if name not in _PLACED]
        return min(of_materials, default=self.shader.num_varyings)


def compose(shadings: list, looks: Looks) -> Composition:
    """All shadings of one pass; one without channels is the silhouette.

    Args:
        shadings: values, or classes, of `Shading`.
        looks: of the mesh.

    Raises:
        ValueError: for a shading without `fragment` or `fragment_vjp`, unknown varyings or of
            another number of components, colours that are lit in two ways; for UVs that are not
            there.
    """
    order = [k for k, shading in enumerate(shadings) if getattr(shading, "channels", None) != 0]
    for k in order:
        _check_shading(shadings[k], looks)
    order.sort(key=lambda k: not shadings[k].moves_edges)  # as rasterizers want their parts
    drawn = [shadings[k] for k in order]
    values = _Values(dict.fromkeys(name for one in drawn for name in one.varyings), looks)

    parts, uniforms, channels = [], [], [range(0)] * len(shadings)
    num_uniforms = num_channels = 0
    for k, shading in zip(order, drawn):
        own = []
        for name, size in shading.uniforms.items():
            uniforms.append((shading, name, num_uniforms))
            own += range(num_uniforms, num_uniforms + size)
            num_uniforms += size
        count = looks.num_color if shading.channels is None else shading.channels
        parts.append(
            Part(
                shading.fragment,
                shading.fragment_vjp,
                tuple(index for name in shading.varyings for index in values.places[name]),
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
        values.num_varyings,
        looks.lookup if values.reads_color else None,
        values.num_samples,
        num_uniforms,
        num_channels,
        values.images,
        len(values.slots),
        tuple(values.derived),
    )
    return Composition(
        shader,
        channels,
        values.columns,
        values.material_columns,
        values.slots,
        uniforms,
        _light_of(drawn),
        values.reads_color,
    )


class _Values:
    """Where the values that shadings read stand: varyings, then samples, then derived ones.

    Attributes:
        places: by the names that shadings use, the indices of their numbers.
        columns: by name, the first column of what is interpolated.
        num_varyings, num_samples, images, derived: see `Shader`.
        material_columns, slots, reads_color: see `Composition`.
    """

    def __init__(self, names: dict, looks: Looks):
        self.looks = looks
        self.slots = self._needed_slots(names)
        self.reads_color = COLOR in names and not (looks.is_feature and BASE_COLOR in self.slots)
        self.columns: dict = {}
        self.num_varyings = 0
        for name in self._needed_columns(names):
            self.columns[name] = self.num_varyings
            self.num_varyings += self._width(name)
        self.images, self.num_samples = self._look_ups()
        self.material_columns = Columns(
            tuple(
                (self.columns[name] + k, first + k)
                for name, (first, size) in NUMBERS.items()
                if name in self.columns
                for k in range(size)
            ),
            self.columns.get(UV, -1),
            self.columns.get(_FOOTPRINT, -1),
            self.columns.get(_TANGENT, -1),
            self.columns.get(POSITION, -1) if _TANGENT in self.columns else -1,
        )
        self.derived: list = []
        self._num_derived = 0
        self.places = {name: self._place(name) for name in names}

    def _needed_slots(self, names: dict) -> tuple:
        needed = {TEXTURED[name][0] for name in names if name in TEXTURED}
        needed |= {NORMALS} if NORMAL in names else set()
        return tuple(slot for slot in sorted(needed) if self.looks.slots[slot] is not None)

    def _needed_columns(self, names: dict) -> list:
        """What is interpolated: colours first, then what placement fills, then the rest."""
        looks, needed = self.looks, set(names) - {COLOR}
        if self.reads_color and looks.lookup is None:
            needed.add(COLOR)
        if self.reads_color and looks.has_materials:
            needed.add("base_color")
        if self.slots:
            needed.add(UV)
        if any(looks.slots[slot] for slot in self.slots):
            needed.add(_FOOTPRINT)
        if NORMALS in self.slots:
            needed |= {_TANGENT, "normal_scale", POSITION}
        return [name for name in (*_PLACED, *NUMBERS, UV, _FOOTPRINT, _TANGENT) if name in needed]

    def _width(self, name: str) -> int:
        widths = {_FOOTPRINT: FOOTPRINT_SIZE, _TANGENT: 4}
        if name in NUMBERS:
            return NUMBERS[name][1]
        return widths[name] if name in widths else self.looks.size_of(name)

    def _look_ups(self) -> tuple:
        """The look-ups in images, and how many samples there are, with those of face textures."""
        if self.looks.lookup is not None:
            return (), self.looks.num_color if self.reads_color else 0
        images = tuple(
            ImageLookup(
                place,
                self.columns[UV],
                self.columns[_FOOTPRINT] if self.looks.slots[slot] else -1,
                self._channels(slot),
            )
            for place, slot in enumerate(self.slots)
        )
        return images, sum(image.num_channels for image in images)

    def _channels(self, slot: int) -> int:
        return self.looks.num_color if slot == BASE_COLOR and self.looks.is_feature else 3

    def _samples(self, slot: int, channels: tuple) -> tuple:
        first = self.num_varyings + sum(
            self._channels(other) for other in self.slots if other < slot
        )
        return tuple(first + channel for channel in channels)

    def _place(self, name: str) -> tuple:
        """The indices of the numbers of a name."""
        if name == COLOR and not self.reads_color:
            return self._samples(BASE_COLOR, tuple(range(self.looks.num_color)))
        if name == COLOR and self.looks.lookup is not None:
            return tuple(range(self.num_varyings, self.num_varyings + self.looks.num_color))
        own = tuple(range(self.columns[name], self.columns[name] + self._width(name)))
        if name == NORMAL and NORMALS in self.slots:
            inputs = (
                *own,
                *range(self.columns[_TANGENT], self.columns[_TANGENT] + 4),
                *self._samples(NORMALS, (0, 1, 2)),
                self.columns["normal_scale"],
            )
            return self._derive(bend_normal, bend_normal_vjp, inputs, 3)
        factors = [own]
        if name == COLOR and "base_color" in self.columns:
            factors.append(tuple(self.columns["base_color"] + k for k in range(3)))
        if name in TEXTURED and TEXTURED[name][0] in self.slots:
            factors.append(self._samples(*TEXTURED[name]))
        if len(factors) == 1:
            return own
        product, product_vjp = multiply(len(own), len(factors))
        inputs = tuple(k for factor in factors for k in factor)
        return self._derive(product, product_vjp, inputs, len(own))

    def _derive(self, fragment: Callable, fragment_vjp: Callable, inputs: tuple, size: int):
        self.derived.append(Derived(fragment, fragment_vjp, inputs, size))
        first = self.num_varyings + self.num_samples + self._num_derived
        self._num_derived += size
        return tuple(range(first, first + size))


@functools.cache
def multiply(size: int, num_factors: int) -> tuple:
    """The functions of a `Derived` of `size` numbers, products of as many factors each."""

    @ti.func
    def product(inputs, uniforms):
        result = ti.Vector([1.0 for _ in ti.static(range(size))])
        for factor, k in ti.static(ti.ndrange(num_factors, size)):
            result[k] *= inputs[factor * size + k]
        return result

    @ti.func
    def product_vjp(inputs, uniforms, grad):
        grads = inputs * 0.0
        for factor, k in ti.static(ti.ndrange(num_factors, size)):
            others = grad[k]
            for other in ti.static(range(num_factors)):
                if ti.static(other != factor):
                    others *= inputs[other * size + k]
            grads[factor * size + k] = others
        return ti.Struct(varyings=grads)

    return product, product_vjp


def _light_of(drawn: list) -> Optional[str]:
    lights = {shading.light for shading in drawn if COLOR in shading.varyings}
    if len(lights) > 1:
        raise ValueError(
            f"the mesh's colours cannot be lit by {' and '.join(map(str, sorted(lights, key=str)))}"
            " in one pass: draw one of the shadings with a renderer of its own"
        )
    return lights.pop() if lights else None


def _check_shading(shading: Shading, looks: Looks) -> None:
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
        wanted = looks.size_of(varying)
        if varying == UV and not looks.has_uvs:
            raise ValueError(f"{name} reads UVs, and this mesh has none: give Mesh(..., uvs=)")
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
