"""How the shadings of one pass become the shader of a rasterizer, and what must be laid before it.

What a shading reads by one name may be made of several things: a colour is the vertices' times the
material's times its texture. Here it is said of which (`fragments.Derived`), so no shading knows.
"""

import functools
from typing import Callable, NamedTuple, Optional

from taichi_softras.funcs.lights import NO_LIGHTS, LightStructure
from taichi_softras.funcs.lookups import Lookup
from taichi_softras.funcs.panoramas import NUM_CHANNELS
from taichi_softras.funcs.reflection import mirrored_place, mirrored_place_vjp
from taichi_softras.funcs.tangent_space import bend_normal, bend_normal_vjp
from taichi_softras.rasterizers.fragments import (
    SILHOUETTE,
    Derived,
    ImageLookup,
    Panoramas,
    Part,
    Shader,
)
from taichi_softras.runtime import ti
from taichi_softras.shading.base import (
    BARYCENTRIC,
    BY_FACE,
    BY_VERTEX,
    COLOR,
    DEPTH,
    EYE,
    FACE_NORMAL,
    MIRRORED,
    NORMAL,
    POSITION,
    ROUGHNESS,
    UV,
    VARYINGS,
    Shading,
)
from taichi_softras.shading.materials import FOOTPRINT_SIZE, NUMBERS, Columns

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
# What is interpolated: what placement fills, colours first; and what serves look-ups alone
_PLACED = (COLOR, NORMAL, FACE_NORMAL, POSITION, DEPTH, BARYCENTRIC)
_FOOTPRINT, _TANGENT = "footprint", "tangent"


class Looks(NamedTuple):
    """What kind of colours, textures and materials a mesh has.

    Attributes:
        num_color: how many numbers its colour has.
        lookup: how that is looked up in face textures; None if corners have it.
        has_uvs: whether there are UV coordinates.
        has_materials: whether there are materials, which tint the colours; otherwise the numbers of
            the default one are the same everywhere, and laid as uniforms.
        slots: for each of `SLOTS`, None if no material has such a texture; else whether one of
            them has coarser levels.
        constant: which of `SLOTS` have textures without gradient alone.
        is_feature: whether base colour textures have `num_color` numbers that are no colours, and
            stand for the colour alone.
    """

    num_color: int
    lookup: Optional[Lookup] = None
    has_uvs: bool = False
    has_materials: bool = False
    slots: tuple = (None,) * len(SLOTS)
    constant: tuple = ()
    is_feature: bool = False

    def size_of(self, name: str) -> int:
        """How many numbers a varying has."""
        return self.num_color if name == COLOR else VARYINGS[name]


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
        num_varyings: K, laid for both shaders.
        num_uniforms: N, laid for both.
        lookup: how face textures are read; None if nothing reads any.
        columns: by name of a varying that is interpolated, its first column of the varyings.
        material_columns: of those, the columns that `materials.lay_materials` fills; the last.
        slots: which of `SLOTS` are looked up.
        num_panoramas: environments that are looked up.
        uniforms: (shading, name, first index) of each uniform.
        constants: (name, first uniform) of the numbers of a material that is everywhere.
        first_light: the first uniform of the lights; -1 where no fragment reads them.
        light: None, "face" or "vertex": of the colours.
        reads_color: whether the colours of vertices or faces are read.
    """

    shader: Shader
    nearest: Optional[Shader]
    channels: list
    share: Optional[int]
    num_varyings: int
    num_uniforms: int
    lookup: Optional[Lookup]
    columns: dict
    material_columns: Columns
    slots: tuple
    num_panoramas: int
    uniforms: list
    constants: list
    first_light: int
    light: Optional[str]
    reads_color: bool

    @property
    def has_images(self) -> bool:
        """Whether pictures are looked up, and so not face textures."""
        return len(self.slots) > 0 or self.num_panoramas > 0

    @property
    def moves_images(self) -> bool:
        """Whether any picture has a gradient."""
        shaders = [self.shader, *([self.nearest] if self.nearest else ())]
        return self.has_images and any(shader.moves_textures for shader in shaders)

    @property
    def num_placed(self) -> int:
        """How many columns are filled before `materials.lay_materials`."""
        of_materials = [place for name, place in self.columns.items() if name not in _PLACED]
        return min(of_materials, default=self.num_varyings)


def compose(
    shadings: list,
    looks: Looks,
    lights: LightStructure = NO_LIGHTS,
    is_over_image: bool = False,
) -> Composition:
    """All shadings of one pass; one without channels is the silhouette.

    Args:
        shadings: values, or classes, of `Shading`.
        looks: of the mesh.
        lights: of the scene, for fragments that read them.
        is_over_image: whether an image is laid behind the colours of the first shading, which are
            0 where no face is, and times the background's share behind all of it.

    Raises:
        ValueError: for a shading without `fragment` or `fragment_vjp`, unknown varyings or of
            another number of components, colours that are lit in two ways; for UVs that are not
            there.
    """
    shadings = [
        one if isinstance(one, type) or not getattr(one, "lights", False) else one.under(lights)
        for one in shadings
    ]
    order = [k for k, shading in enumerate(shadings) if getattr(shading, "channels", None) != 0]
    for k in order:
        _check_shading(shadings[k], looks)
    backgrounds = {k: shadings[k].background for k in order}
    if is_over_image:
        order.append(len(shadings))
        shadings = [*shadings, BackgroundShare()]
        backgrounds.update({0: 0.0, order[-1]: BackgroundShare.background})
    # as rasterizers want their parts
    order.sort(key=lambda k: (shadings[k].of_nearest_face, not shadings[k].moves_edges))
    drawn = [shadings[k] for k in order]
    values = _Values(dict.fromkeys(name for one in drawn for name in one.varyings), looks)
    places = _Uniforms(drawn, values.constants, lights)
    if MIRRORED in values.places:
        values.place_mirror(places, lights.environment)
    layers = [_Layer(k, shadings[k], backgrounds[k], own) for k, own in zip(order, places.own)]

    blended = [layer for layer in layers if not layer.shading.of_nearest_face]
    shader = _make_shader(blended, values, places, lights)
    nearest = None
    if any(getattr(shading, "of_nearest_face", False) for shading in shadings):
        nearest = _make_shader(layers[len(blended) :], values, places, lights)
    channels = [range(0)] * len(shadings)
    parts = (*shader.parts, *(nearest.parts if nearest else ()))
    for layer, part in zip(layers, parts):
        channels[layer.place] = range(part.first_channel, part.first_channel + part.num_channels)
    share = channels.pop()[0] if is_over_image else None
    return Composition(
        shader,
        nearest,
        channels,
        share,
        values.num_varyings,
        places.count,
        looks.lookup if values.reads_color else None,
        values.columns,
        values.material_columns,
        values.slots,
        0 if values.panoramas is None else values.panoramas.count,
        places.of_shadings,
        places.constants,
        places.first_light,
        _light_of(drawn),
        values.reads_color,
    )


class _Layer(NamedTuple):
    """A shading that has channels.

    Attributes:
        place: among all shadings.
        shading: of them.
        background: of its part.
        uniforms: indices of its own, and of the lights if it reads them.
    """

    place: int
    shading: Shading
    background: object
    uniforms: tuple


class _Uniforms:
    """Where the uniforms of a pass stand: constants, lights, then those of each shading.

    Attributes:
        constants, first_light: see `Composition`.
        of_shadings: `Composition.uniforms`.
        own: of each shading, the indices of its own uniforms, and of the lights if it reads them.
        count: N.
    """

    def __init__(self, drawn: list, constants: list, lights: LightStructure):
        self.constants, self.count = [], 0
        for name in constants:
            self.constants.append((name, self.count))
            self.count += VARYINGS[name]
        self.first_light = self.count if any(shading.lights for shading in drawn) else -1
        of_lights = range(self.count, self.count + lights.size * (self.first_light >= 0))
        self.count += len(of_lights)
        self.of_shadings, self.own = [], []
        for shading in drawn:
            first = self.count
            for name, size in shading.uniforms.items():
                self.of_shadings.append((shading, name, self.count))
                self.count += size
            own = range(first, self.count)
            self.own.append((*own, *of_lights) if shading.lights else tuple(own))


def _make_shader(
    layers: list, values: "_Values", uniforms: _Uniforms, lights: LightStructure
) -> Shader:
    """The shader of some layers of a pass; of none it reads nothing, whatever is laid."""
    if not layers:
        return SILHOUETTE
    parts, num_channels = [], 0
    at_constants = {name: values.num_values + place for name, place in uniforms.constants}
    for layer in layers:
        shading = layer.shading
        functions = shading.fragment, shading.fragment_vjp
        if shading.lights:
            functions = shading.bind(lights)
        inputs: list = []
        for name in shading.varyings:
            if name in at_constants:
                inputs += range(at_constants[name], at_constants[name] + VARYINGS[name])
            else:
                inputs += values.places[name]
        count = values.looks.num_color if shading.channels is None else shading.channels
        parts.append(
            Part(
                functions[0],
                functions[1],
                tuple(inputs),
                layer.uniforms,
                num_channels,
                count,
                shading.moves_edges,
                layer.background,
            )
        )
        num_channels += count
    has_samples = any(values.reads_samples(layer.shading.varyings) for layer in layers)
    return Shader(
        tuple(parts),
        values.num_varyings,
        values.looks.lookup if has_samples and values.reads_color else None,
        values.num_samples,
        uniforms.count,
        num_channels,
        values.images if has_samples else (),
        len(values.slots),
        tuple(values.derived),
        values.panoramas if any(MIRRORED in one.shading.varyings for one in layers) else None,
    )


class _Values:
    """Where the values that shadings read stand: varyings, then samples, then derived ones.

    Attributes:
        places: by the names that shadings use, the indices of their numbers.
        columns: by name, the first column of what is interpolated.
        num_varyings, num_samples, images, derived, panoramas: see `Shader`.
        material_columns, slots, reads_color: see `Composition`.
        constants: names of what is the same everywhere, a uniform.
    """

    def __init__(self, names: dict, looks: Looks):
        self.looks = looks
        is_plain = not looks.has_materials
        self.constants = [name for name in names if name in NUMBERS and is_plain]
        self.slots = self._needed_slots(names)
        self.reads_color = COLOR in names and not (looks.is_feature and BASE_COLOR in self.slots)
        self.columns: dict = {}
        self.num_varyings = 0
        for name in self._needed_columns(names):
            self.columns[name] = self.num_varyings
            self.num_varyings += self._width(name)
        self.images, self._num_image_samples = self._look_ups()
        self.num_samples = self._num_image_samples + (NUM_CHANNELS if MIRRORED in names else 0)
        self.panoramas: Optional[Panoramas] = None
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
            self.columns.get(FACE_NORMAL, -1) if looks.has_materials else -1,
        )
        self.derived: list = []
        self._num_derived = 0
        self.places = {name: self._place(name) for name in names if name not in self.constants}

    @property
    def num_values(self) -> int:
        """Of varyings, samples and derived values together."""
        return self.num_varyings + self.num_samples + self._num_derived

    def reads_samples(self, names: dict) -> bool:
        """Whether any of these is looked up, or made of what is."""
        if self.looks.lookup is not None:
            return COLOR in names
        return any(TEXTURED[name][0] in self.slots for name in names if name in TEXTURED) or (
            NORMAL in names and NORMALS in self.slots
        )

    def place_mirror(self, uniforms: _Uniforms, count: int) -> None:
        """Derives where environments are mirrored, from the eye that a shading reads."""
        first = self.num_values + 4  # of uniforms, behind all values
        constants = dict(uniforms.constants)
        roughness = self.places.get(ROUGHNESS) or (first + constants[ROUGHNESS],)
        eye = next(
            place
            for shading, name, place in uniforms.of_shadings
            if name == EYE and MIRRORED in shading.varyings
        )
        inputs = (*self.places[NORMAL], *self.places[POSITION], *roughness)
        self.panoramas = Panoramas(len(self.derived), count)
        eyes = range(first + eye, first + eye + 3)
        self._derive(mirrored_place, mirrored_place_vjp, (*inputs, *eyes), 4)

    def _needed_slots(self, names: dict) -> tuple:
        needed = {TEXTURED[name][0] for name in names if name in TEXTURED}
        needed |= {NORMALS} if NORMAL in names else set()
        return tuple(slot for slot in sorted(needed) if self.looks.slots[slot] is not None)

    def _needed_columns(self, names: dict) -> list:
        """What is interpolated: colours first, then what placement fills, then the rest."""
        looks, needed = self.looks, set(names) - {COLOR, *self.constants}
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
                slot in self.looks.constant,
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
        if name == MIRRORED:
            first = self.num_varyings + self._num_image_samples
            return tuple(range(first, first + NUM_CHANNELS))
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
    duties = ("varyings", "uniforms", "channels", "light", "lights", "fragment", "fragment_vjp")
    missing = [duty for duty in duties if not hasattr(shading, duty)]
    if getattr(shading, "lights", False) and isinstance(shading, type):
        raise ValueError(f"shading must be a value, got a class: write {name}(), with brackets")
    if not getattr(shading, "lights", False):
        functions = "fragment", "fragment_vjp"
        missing += [duty for duty in functions if getattr(shading, duty, None) is None]
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
            raise ValueError(
                f"this mesh has no uvs, which {name} reads: give Mesh(..., uvs=, uv_faces=)"
            )
        if size not in (None, wanted):
            raise ValueError(
                f"shading {name}: varyings[{varying!r}] must be {wanted}, as many numbers as there "
                f"are, got {size!r}"
            )
    if not shading.varyings:
        raise ValueError(f"shading {name} reads no varyings: name at least one")
    if shading.light not in (None, BY_FACE, BY_VERTEX):
        raise ValueError(f'shading {name}: light must be None, "face" or "vertex"')
