"""Fragments: what a rasterizer asks about the colour of a face at a point, and its adjoint.

A face brings values at its corners (varyings, which are interpolated) and textures, which are
looked up: one of its own, or images of its material. From these come further values (`Derived`). A
shader turns all of them, with uniforms that are the same on all faces, into the channels of the
image. It is compiled into the rasterizer's kernels.

    varyings -> samples of textures -> derived values -> colours of the parts

Where a panorama is looked at is a derived value; its sample is among those that parts read.
"""

import contextlib
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np

from taichi_softras.funcs.images import (
    IMAGE_SIZE,
    MATERIALS,
    NUM_MATERIALS,
    add_to_texels,
    load_image,
    load_material,
    sample_image,
    sample_image_tangent,
    sample_image_vjp,
)
from taichi_softras.funcs.lookups import Lookup
from taichi_softras.funcs.panoramas import (
    NUM_CHANNELS,
    add_to_panorama,
    sample_panorama,
    sample_panorama_vjp,
)
from taichi_softras.funcs.values import value
from taichi_softras.runtime import lean_compilation, ti, vec2, vec3, vec4
from taichi_softras.workspace import Workspace


@value
class Part:
    """One shading within a shader.

    Attributes:
        fragment: ti.func (varyings, uniforms) -> colour, vectors.
        fragment_vjp: ti.func (varyings, uniforms, grad_color) -> struct of the gradients
            `varyings` and, if there are uniforms, `uniforms`.
        inputs: which of all varyings, samples, derived values and uniforms, in this order, are its
            varyings: what is the same at every point is a uniform.
        uniforms: which of all uniforms are its own.
        first_channel, num_channels: which of all channels are its colour.
        moves_edges: whether methods that approximate a gradient let its channels pull at edges;
            otherwise these have the exact gradient within faces, and none at edges.
        background: the value behind all faces: a number, "far" for the rasterizer's far, or None
            for the rasterizer's background.
    """

    fragment: Callable
    fragment_vjp: Callable
    inputs: tuple
    uniforms: tuple
    first_channel: int
    num_channels: int
    moves_edges: bool = True
    background: Union[float, str, None] = None


@value
class Derived:
    """Values that parts read in place of what they are made of: a colour times its texture, say.

    Attributes:
        fragment, fragment_vjp: as those of `Part`, without uniforms of its own.
        inputs: which of all varyings, samples, derived values before these, and uniforms.
        num_values: how many these are.
    """

    fragment: Callable
    fragment_vjp: Callable
    inputs: tuple
    num_values: int


@value
class ImageLookup:
    """An image of a face's material that is looked up.

    Attributes:
        slot: which of the material's images.
        uv: first of the two varyings that say where.
        footprint: first of the `FOOTPRINT_SIZE` varyings that say how wide; -1 without levels.
        num_channels: that are read.
        is_constant: whether no image of the slot has a gradient.
    """

    slot: int
    uv: int
    footprint: int
    num_channels: int
    is_constant: bool = False

    @property
    def has_levels(self) -> bool:
        """Whether any image of the slot has coarser levels."""
        return self.footprint >= 0


@value
class Panoramas:
    """Pictures of all directions that are looked up together: the sample is the sum of all.

    Attributes:
        place: which of the derived values are the direction and the blur, see `funcs.panoramas`. It
            is not made of the sample.
        count: how many pictures, the last of `Surface.images`.
    """

    place: int
    count: int


@value
class Shader:
    """All that is drawn in one pass: compiled in. Equal shaders share kernels.

    Attributes:
        parts: each a shading.
        num_varyings: K, numbers at each corner.
        lookup: how face textures are read, or None if there are none.
        num_samples: S, channels of a face's texture, or of all images together, then of panoramas;
            0 without.
        num_uniforms: N.
        num_channels: C, of all parts; alpha is not among them. 0 draws the silhouette alone.
        images: of `ImageLookup`, whose samples follow each other; none beside face textures.
        num_slots: images of a material.
        derived: of `Derived`, which may read those before.
        panoramas: `Panoramas`, or None; none beside face textures.
        is_cut: whether faces may be pieces of others, see `clipping`. With face textures their last
            three varyings are the weights of the corners of these.
    """

    parts: tuple
    num_varyings: int
    lookup: Optional[Lookup]
    num_samples: int
    num_uniforms: int
    num_channels: int
    images: tuple = ()
    num_slots: int = 0
    derived: tuple = ()
    panoramas: Optional[Panoramas] = None
    is_cut: bool = False

    @property
    def num_values(self) -> int:
        """Of varyings, samples and derived values together."""
        return self.num_varyings + self.num_samples + sum(one.num_values for one in self.derived)

    @property
    def num_edge_channels(self) -> int:
        """Of the parts that move edges: they come first."""
        return sum(part.num_channels for part in self.parts if part.moves_edges)

    @property
    def has_textures(self) -> bool:
        """Whether anything is looked up."""
        return self.lookup is not None or len(self.images) > 0 or self.has_panoramas

    @property
    def has_panoramas(self) -> bool:
        """Whether pictures of all directions are looked up."""
        return self.panoramas is not None

    @property
    def panorama_sample(self) -> int:
        """The first sample of panoramas."""
        return self.num_samples - NUM_CHANNELS

    @property
    def panorama_place(self) -> int:
        """The first value of where panoramas are looked up."""
        return places_of_derived(self)[self.panoramas.place][1] if self.panoramas else -1

    @property
    def moves_textures(self) -> bool:
        """Whether anything that is looked up has a gradient."""
        images_move = any(not image.is_constant for image in self.images)
        return self.has_textures and (images_move or not self.images or self.panoramas is not None)

    @property
    def is_costly(self) -> bool:
        """Whether a colour is worth finding out first where it counts: looked up, or lit."""
        return self.has_textures or any(part.uniforms for part in self.parts)

    @property
    def is_textured_by_face(self) -> bool:
        """Whether each face has a texture of its own."""
        return self.lookup is not None

    @property
    def has_slopes(self) -> bool:
        """Whether what textures show moves with the point on the face."""
        return self.lookup is not None and self.lookup.is_smooth


SILHOUETTE = Shader((), 0, None, 0, 0, 0)


def cut_shader(shader: Shader) -> Shader:
    """The same for faces that may be pieces of others."""
    first_sample, added = shader.num_varyings, 3 if shader.is_textured_by_face else 0

    def moved(part: Any) -> Any:
        inputs = tuple(k + added if k >= first_sample else k for k in part.inputs)
        return type(part)(**{**vars(part), "inputs": inputs})

    changes = {
        "parts": tuple(map(moved, shader.parts)),
        "derived": tuple(map(moved, shader.derived)),
        "num_varyings": shader.num_varyings + added,
        "is_cut": True,
    }
    return Shader(**{**vars(shader), **changes})


@ti.func
def pass_on(varyings, uniforms):
    """The fragment of colours that are ready: they are the varyings."""
    return varyings


@ti.func
def pass_on_vjp(varyings, uniforms, grad_color):
    """The adjoint of `pass_on`."""
    return ti.Struct(varyings=grad_color)


class SurfaceNumbers(NamedTuple):
    """What of a surface has a gradient and a tangent, in the shapes of `Surface`."""

    varyings: ti.Ndarray
    textures: ti.Ndarray
    uniforms: ti.Ndarray

    def like(self, workspace: Workspace, name: str, *before: int) -> "SurfaceNumbers":
        """Arrays of the same shapes, with axes `before` them: for gradients and tangents."""
        shapes = ((*before, *array.shape) for array in self)
        names = (f"{name}_{field}" for field in self._fields)
        return SurfaceNumbers(*(workspace.get(*pair) for pair in zip(names, shapes)))


class Surface(NamedTuple):
    """What faces look like: arrays that a shader reads."""

    varyings: ti.Ndarray  # (1 or B, F, 3, K) at the corners; (1, 1, 1, 1) if K = 0
    # (1 or B, F, entries, S) of each face; or (1, 1, texels of all images, channels of the widest)
    textures: ti.Ndarray  # (1, 1, 1, 1) without
    uniforms: ti.Ndarray  # (1 or B, N); (1, 1) if N = 0
    # int, [R] of face textures; or a table of `funcs.images`, in which the pictures of a material's
    # slots stand together
    images: ti.Ndarray

    @property
    def numbers(self) -> SurfaceNumbers:
        """Without `images`, which have no gradient."""
        return SurfaceNumbers(self.varyings, self.textures, self.uniforms)


def no_surface(workspace: Workspace) -> Surface:
    """Of faces that have no looks; give it what they have with `_replace`."""
    nothing = workspace.get("nothing", (1, 1, 1, 1))
    images = workspace.constants("no_images", (0,), int)
    return Surface(nothing, nothing, workspace.get("no_uniforms", (1, 1)), images)


def lay_face_textures(workspace: Workspace, lookup: Optional[Lookup], entries: int) -> ti.Ndarray:
    """`Surface.images` of face textures, which have R * R texels or R * R * R; R is 0 without."""
    resolution = 0 if lookup is None else round(entries ** (1 / lookup.num_axes))
    return workspace.constants("texture_resolution", (resolution,), int)


def compilation_of(shader: Shader) -> contextlib.AbstractContextManager:
    """How kernels of a z-buffer compile; those of costly fragments are long."""
    is_long = shader.is_costly or shader.num_uniforms > 0
    return lean_compilation() if is_long else contextlib.nullcontext()


def background_of(shader: Shader, background: Any, far: float) -> tuple:
    """(C,) what each channel shows where no face is.

    Args:
        shader: what is drawn.
        background: the rasterizer's, one number or one for each channel of a part.
        far: the rasterizer's.

    Raises:
        ValueError: for another number of values than of channels.
    """
    given = background if hasattr(background, "__len__") else (background,)
    values = []
    for part in shader.parts:
        if part.background is not None:
            of_part = (far if part.background == "far" else part.background,)
        else:
            of_part = given
        channels = part.num_channels
        if len(of_part) != channels and len(set(of_part)) > 1:
            raise ValueError(
                f"background has {len(of_part)} different values, but colours have {channels} "
                "channels: give one number, or one for each channel"
            )
        values += of_part if len(of_part) == channels else [of_part[0]] * channels
    return tuple(float(np.asarray(value)) for value in values)


@ti.func
def load_corner_varyings(shader: ti.template(), varyings: ti.template(), view: int, face: int):
    """(3, K) those of a face's corners."""
    if ti.static(shader.num_varyings == 0):
        return ti.Matrix.zero(float, 3, 1)
    else:
        table = view % varyings.shape[0]
        return ti.Matrix(
            [
                [varyings[table, face, corner, k] for k in ti.static(range(shader.num_varyings))]
                for corner in ti.static(range(3))
            ]
        )


@ti.func
def load_uniforms(shader: ti.template(), uniforms: ti.template(), view: int):
    """(N,) those of a view."""
    if ti.static(shader.num_uniforms == 0):
        return ti.Vector([0.0])
    else:
        table = view % uniforms.shape[0]
        return ti.Vector([uniforms[table, k] for k in ti.static(range(shader.num_uniforms))])


@ti.func
def interpolate(shader: ti.template(), used: vec3, corner_varyings: ti.template()):
    """(K,) at the point of a face with the weights `used`."""
    return ti.Vector(
        [
            used.x * corner_varyings[0, k]
            + used.y * corner_varyings[1, k]
            + used.z * corner_varyings[2, k]
            for k in ti.static(range(max(shader.num_varyings, 1)))
        ]
    )


@ti.func
def place_on_source(shader: ti.template(), used: vec3, varyings: ti.template()) -> vec3:
    """The weights of the corners of the face whose texture a point with these varyings shows."""
    result = used
    if ti.static(shader.is_cut and shader.is_textured_by_face):
        for j in ti.static(range(3)):
            result[j] = varyings[ti.static(shader.num_varyings - 3 + j)]
    return result


@ti.func
def place_on_source_vjp(
    shader: ti.template(),
    grad_on_source: vec3,
    grad_used: ti.template(),  # (3,) added to
    grad_varyings: ti.template(),  # (K,) added to
):
    """The adjoint: weights of a face's pieces are varyings, whose gradient goes on to `used`."""
    if ti.static(shader.is_cut and shader.is_textured_by_face):
        for j in ti.static(range(3)):
            grad_varyings[shader.num_varyings - 3 + j] += grad_on_source[j]
    else:
        for j in ti.static(range(3)):
            grad_used[j] += grad_on_source[j]


@ti.func
def no_samples(shader: ti.template()):
    """(num_samples,) zeros."""
    return ti.Vector([0.0 for _ in ti.static(range(max(shader.num_samples, 1)))])


@ti.func
def look_up(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    view: int,
    face: int,
    used: vec3,
    varyings: ti.template(),
):
    """(S,) of a face's texture, or of images, at the point with these weights and varyings."""
    samples = look_up_surface(shader, surface, view, face, used, varyings)
    if ti.static(shader.has_panoramas):
        place = find_panorama_place(shader, surface, view, varyings, samples)
        for k in ti.static(range(shader.panoramas.count)):
            image = load_panorama(shader, surface.images, k)
            sample = sample_panorama(surface.textures, 0, image, place)
            for channel in ti.static(range(NUM_CHANNELS)):
                samples[shader.panorama_sample + channel] += sample[channel]
    return samples


@ti.func
def look_up_surface(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    view: int,
    face: int,
    used: vec3,
    varyings: ti.template(),
):
    """`look_up` without panoramas, whose samples are 0."""
    samples = no_samples(shader)
    if ti.static(shader.is_textured_by_face):
        table = ti.static(surface.textures)
        on_source = place_on_source(shader, used, varyings)
        entries, shares = shader.lookup.entries(on_source, surface.images[0])
        for k in ti.static(range(shader.lookup.count)):
            for channel in ti.static(range(shader.num_samples)):
                value = table[view % table.shape[0], face, entries[k], channel]
                samples[channel] += shares[k] * value
    for lookup, first in ti.static(numbered(shader)):
        place = image_place(lookup, varyings)
        sample = sample_image(
            surface.textures,
            0,
            load_image_of(shader, lookup, surface.images, view, face),
            place[0],
            place[1],
            place[2],
            0.0,
            lookup.num_channels,
            lookup.has_levels,
        )
        for channel in ti.static(range(lookup.num_channels)):
            samples[first + channel] = sample[channel]
    return samples


@ti.func
def look_up_vjp(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    grad_textures: ti.template(),  # as the surface's, added to
    view: int,
    face: int,
    used: vec3,
    varyings: ti.template(),
    grad_samples: ti.template(),
    is_atomic: ti.template(),  # where threads share a face's texture
):
    """The adjoint of `look_up` with respect to the textures."""
    if ti.static(shader.is_textured_by_face):
        on_source = place_on_source(shader, used, varyings)
        entries, shares = shader.lookup.entries(on_source, surface.images[0])
        shared = view % grad_textures.shape[0]
        for k in ti.static(range(shader.lookup.count)):
            for channel in ti.static(range(shader.num_samples)):
                grad = shares[k] * grad_samples[channel]
                if ti.static(is_atomic):
                    ti.atomic_add(grad_textures[shared, face, entries[k], channel], grad)
                else:
                    before = grad_textures[shared, face, entries[k], channel]
                    grad_textures[shared, face, entries[k], channel] = before + grad
    for lookup, first in ti.static(of_moving(shader)):
        place = image_place(lookup, varyings)
        add_to_texels(
            grad_textures,
            0,
            load_image_of(shader, lookup, surface.images, view, face),
            place[0],
            place[1],
            place[2],
            0.0,
            grad_of_image(lookup, first, grad_samples),
            lookup.num_channels,
            lookup.has_levels,
        )
    if ti.static(shader.has_panoramas):
        samples = look_up_surface(shader, surface, view, face, used, varyings)
        place = find_panorama_place(shader, surface, view, varyings, samples)
        for k in ti.static(range(shader.panoramas.count)):
            image = load_panorama(shader, surface.images, k)
            add_to_panorama(grad_textures, image, place, grad_of_panorama(shader, 0, grad_samples))


@ti.func
def look_up_tangent(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    tangent_textures: ti.template(),  # as the surface's, with a first axis of parameters
    parameter: int,
    view: int,
    face: int,
    used: vec3,
    varyings: ti.template(),
    grad_samples: ti.template(),
) -> float:
    """The change of a channel with the textures, from its gradients at the samples."""
    change = 0.0
    if ti.static(shader.is_textured_by_face):
        on_source = place_on_source(shader, used, varyings)
        entries, shares = shader.lookup.entries(on_source, surface.images[0])
        shared = view % tangent_textures.shape[1]
        for k in ti.static(range(shader.lookup.count)):
            for channel in ti.static(range(shader.num_samples)):
                moved = tangent_textures[parameter, shared, face, entries[k], channel]
                change += shares[k] * grad_samples[channel] * moved
    for lookup, first in ti.static(numbered(shader)):
        place = image_place(lookup, varyings)
        moved = sample_image_tangent(
            surface.textures,
            tangent_textures,
            parameter,
            0,
            load_image_of(shader, lookup, surface.images, view, face),
            place[0],
            place[1],
            place[2],
            0.0,
            vec2(0.0),
            vec2(0.0),
            vec2(0.0),
            lookup.num_channels,
            lookup.has_levels,
        )
        change += moved.dot(grad_of_image(lookup, first, grad_samples))
    if ti.static(shader.has_panoramas):
        samples = look_up_surface(shader, surface, view, face, used, varyings)
        place = find_panorama_place(shader, surface, view, varyings, samples)
        for k in ti.static(range(shader.panoramas.count)):
            image = load_panorama(shader, surface.images, k)
            moved = sample_panorama(tangent_textures, parameter, image, place)
            change += moved.dot(grad_of_panorama(shader, 0, grad_samples))
    return change


@ti.func
def look_up_slopes(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    view: int,
    face: int,
    on_source: vec3,
):
    """(S, 3) the derivatives of `look_up` in face textures by the weights of their corners."""
    slopes = ti.Matrix.zero(float, ti.static(max(shader.num_samples, 1)), 3)
    if ti.static(shader.has_slopes):
        table = ti.static(surface.textures)
        entries, _ = shader.lookup.entries(on_source, surface.images[0])
        by_weights = shader.lookup.slopes(on_source, surface.images[0])
        for k in ti.static(range(shader.lookup.count)):
            for channel in ti.static(range(shader.num_samples)):
                value = table[view % table.shape[0], face, entries[k], channel]
                for corner in ti.static(range(3)):
                    slopes[channel, corner] += by_weights[k, corner] * value
    return slopes


@ti.func
def pull_back_places(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    view: int,
    face: int,
    varyings: ti.template(),
    grad_samples: ti.template(),
    grad_varyings: ti.template(),  # added to
):
    """The adjoint of `look_up` in images with respect to where they are looked up."""
    for lookup, first in ti.static(numbered(shader)):
        uv, uv_dx, uv_dy = image_place(lookup, varyings)
        grads = sample_image_vjp(
            surface.textures,
            0,
            load_image_of(shader, lookup, surface.images, view, face),
            uv,
            uv_dx,
            uv_dy,
            0.0,
            grad_of_image(lookup, first, grad_samples),
            lookup.num_channels,
            lookup.has_levels,
        )
        for axis in ti.static(range(2)):
            grad_varyings[lookup.uv + axis] += grads.uv[axis]
        if ti.static(lookup.has_levels):
            add_footprint_grads(lookup, uv, varyings, grads, grad_varyings)


def numbered(shader: Shader) -> list:
    """Of all look-ups in images: (lookup, its first sample)."""
    found, first = [], 0
    for lookup in shader.images:
        found.append((lookup, first))
        first += lookup.num_channels
    return found


def of_moving(shader: Shader) -> list:
    """As `numbered`, those whose images have a gradient."""
    return [(lookup, first) for lookup, first in numbered(shader) if not lookup.is_constant]


@ti.func
def load_image_of(
    shader: ti.template(), lookup: ti.template(), images: ti.template(), view: int, face: int
):
    """What stands in `Surface.images` of an image of a face's material."""
    index = load_material(images, view, face) * shader.num_slots + lookup.slot
    return load_image(images, MATERIALS + images[NUM_MATERIALS], index)


@ti.func
def image_place(lookup: ti.template(), varyings: ti.template()):
    """uv, and how it changes from pixel to pixel along a row and down a column of the image.

    On the image u / w and 1 / w are linear, of the slopes a_u and a_1 on a face; so du = w (a_u - u
    a_1) (Heckbert 1989, section 3.4).
    """
    uv = vec2(varyings[lookup.uv], varyings[lookup.uv + 1])
    uv_dx, uv_dy = vec2(0.0), vec2(0.0)
    if ti.static(lookup.has_levels):
        w, slopes = load_footprint(lookup, varyings)
        uv_dx = w * (vec2(slopes[0], slopes[1]) - uv * slopes[2])
        uv_dy = w * (vec2(slopes[3], slopes[4]) - uv * slopes[5])
    return uv, uv_dx, uv_dy


@ti.func
def add_footprint_grads(
    lookup: ti.template(),
    uv: vec2,
    varyings: ti.template(),
    grads: ti.template(),  # has those of `uv_dx` and `uv_dy`
    grad_varyings: ti.template(),  # added to
):
    """The adjoint of `image_place` but for the uv itself."""
    w, slopes = load_footprint(lookup, varyings)
    for axis, grad in ti.static(((0, grads.uv_dx), (1, grads.uv_dy))):
        at = ti.static(lookup.footprint + 1 + 3 * axis)
        of_uv = vec2(slopes[3 * axis], slopes[3 * axis + 1])
        grad_varyings[lookup.footprint] += grad.dot(of_uv - uv * slopes[3 * axis + 2])
        grad_varyings[at] += w * grad.x
        grad_varyings[at + 1] += w * grad.y
        grad_varyings[at + 2] -= w * grad.dot(uv)
        for k in ti.static(range(2)):
            grad_varyings[lookup.uv + k] -= w * slopes[3 * axis + 2] * grad[k]


@ti.func
def load_footprint(lookup: ti.template(), varyings: ti.template()):
    """w, and the slopes of u / w, v / w and 1 / w by pixel: along a row, then down a column."""
    first = ti.static(lookup.footprint)
    return varyings[first], ti.Vector([varyings[first + 1 + k] for k in ti.static(range(6))])


@ti.func
def grad_of_image(lookup: ti.template(), first: ti.template(), grad_samples: ti.template()):
    """(num_channels,) of one image."""
    return ti.Vector([grad_samples[first + k] for k in ti.static(range(lookup.num_channels))])


@ti.func
def load_panorama(shader: ti.template(), images: ti.template(), k: ti.template()):
    """What stands in `Surface.images` of a picture of all directions."""
    return load_image(images, images.shape[0] - IMAGE_SIZE * (shader.panoramas.count - k), 0)


@ti.func
def find_panorama_place(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    view: int,
    varyings: ti.template(),
    samples: ti.template(),  # of images
) -> vec4:
    """The direction and the blur."""
    uniforms = load_uniforms(shader, surface.uniforms, view)
    return load_panorama_place(shader, derive(shader, varyings, samples, uniforms))


@ti.func
def load_panorama_place(shader: ti.template(), values: ti.template()) -> vec4:
    """The direction and the blur among derived values."""
    return vec4([values[shader.panorama_place + k] for k in ti.static(range(4))])


@ti.func
def grad_of_panorama(shader: ti.template(), first: ti.template(), grads: ti.template()):
    """(NUM_CHANNELS,) among the gradients of samples, which begin at `first`."""
    at = ti.static(first + shader.panorama_sample)
    return ti.Vector([grads[at + k] for k in ti.static(range(NUM_CHANNELS))])


@ti.func
def pull_back_panoramas(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    values: ti.template(),
    grad_values: ti.template(),  # at samples; added to at the place
):
    """The adjoint of looking up panoramas with respect to where that is done."""
    if ti.static(shader.has_panoramas):
        place = load_panorama_place(shader, values)
        grad = grad_of_panorama(shader, ti.static(shader.num_varyings), grad_values)
        for k in ti.static(range(shader.panoramas.count)):
            image = load_panorama(shader, surface.images, k)
            grad_place = sample_panorama_vjp(surface.textures, image, place, grad)
            for j in ti.static(range(4)):
                grad_values[shader.panorama_place + j] += grad_place[j]


@ti.func
def shade(
    shader: ti.template(), varyings: ti.template(), samples: ti.template(), uniforms: ti.template()
):
    """(C,) the colour of a fragment, all parts together."""
    values = derive(shader, varyings, samples, uniforms)
    color = ti.Vector([0.0 for _ in ti.static(range(max(shader.num_channels, 1)))])
    for part in ti.static(shader.parts):
        inputs = load_inputs(shader, part, values, uniforms)
        of_part = part.fragment(inputs, load_own_uniforms(part, uniforms))
        for channel in ti.static(range(part.num_channels)):
            color[part.first_channel + channel] = of_part[channel]
    return color


@ti.func
def shade_vjp(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    varyings: ti.template(),
    samples: ti.template(),
    uniforms: ti.template(),
    grad_color: ti.template(),
):
    """The adjoint of `shade`: a struct of the gradients `varyings`, `samples` and `uniforms`."""
    values = derive(shader, varyings, samples, uniforms)
    grad_values = values * 0.0
    grad_uniforms = ti.Vector([0.0 for _ in ti.static(range(max(shader.num_uniforms, 1)))])
    for part in ti.static(shader.parts):
        grad = ti.Vector(
            [grad_color[part.first_channel + c] for c in ti.static(range(part.num_channels))]
        )
        inputs = load_inputs(shader, part, values, uniforms)
        grads = part.fragment_vjp(inputs, load_own_uniforms(part, uniforms), grad)
        for k, index in ti.static(tuple(enumerate(part.inputs))):
            if ti.static(index < shader.num_values):
                grad_values[index] += grads.varyings[k]
            else:
                grad_uniforms[index - shader.num_values] += grads.varyings[k]
        for k, index in ti.static(tuple(enumerate(part.uniforms))):
            grad_uniforms[index] += grads.uniforms[k]
    pull_back_panoramas(shader, surface, values, grad_values)
    derive_vjp(shader, values, uniforms, grad_values, grad_uniforms)
    grad_varyings = ti.Vector(
        [grad_values[k] for k in ti.static(range(max(shader.num_varyings, 1)))]
    )
    grad_samples = no_samples(shader)
    for k in ti.static(range(shader.num_samples)):
        grad_samples[k] = grad_values[shader.num_varyings + k]
    return ti.Struct(varyings=grad_varyings, samples=grad_samples, uniforms=grad_uniforms)


@ti.func
def derive(
    shader: ti.template(), varyings: ti.template(), samples: ti.template(), uniforms: ti.template()
):
    """Varyings, samples and derived values in one vector."""
    values = ti.Vector(
        [
            given_value(shader, varyings, samples, k)
            for k in ti.static(range(max(shader.num_values, 1)))
        ]
    )
    for derived, first in ti.static(places_of_derived(shader)):
        made = derived.fragment(load_inputs(shader, derived, values, uniforms), 0.0)
        for k in ti.static(range(derived.num_values)):
            values[first + k] = made[k]
    return values


@ti.func
def given_value(
    shader: ti.template(), varyings: ti.template(), samples: ti.template(), k: ti.template()
):
    """One of all values; 0 of one that is derived."""
    if ti.static(k < shader.num_varyings):
        return varyings[k]
    elif ti.static(k < shader.num_varyings + shader.num_samples):
        return samples[k - shader.num_varyings]
    else:
        return 0.0


@ti.func
def derive_vjp(
    shader: ti.template(),
    values: ti.template(),
    uniforms: ti.template(),
    grad_values: ti.template(),  # added to, as the next
    grad_uniforms: ti.template(),
):
    """The adjoint of `derive`: from gradients at derived values to those at what they are of."""
    for derived, first in ti.static(places_of_derived(shader)[::-1]):
        grad = ti.Vector([grad_values[first + k] for k in ti.static(range(derived.num_values))])
        grads = derived.fragment_vjp(load_inputs(shader, derived, values, uniforms), 0.0, grad)
        for k, index in ti.static(tuple(enumerate(derived.inputs))):
            if ti.static(index < shader.num_values):
                grad_values[index] += grads.varyings[k]
            else:
                grad_uniforms[index - shader.num_values] += grads.varyings[k]


def places_of_derived(shader: Shader) -> list:
    """Of all derived values: (derived, its first value)."""
    found, first = [], shader.num_varyings + shader.num_samples
    for derived in shader.derived:
        found.append((derived, first))
        first += derived.num_values
    return found


@ti.func
def load_inputs(
    shader: ti.template(), part: ti.template(), values: ti.template(), uniforms: ti.template()
):
    """The values that a part, or a derived value, reads; beyond them are uniforms."""
    if ti.static(len(part.inputs) == 0):
        return ti.Vector([0.0])
    else:
        return ti.Vector(
            [load_input(shader, values, uniforms, index) for index in ti.static(part.inputs)]
        )


@ti.func
def load_input(
    shader: ti.template(), values: ti.template(), uniforms: ti.template(), index: ti.template()
):
    """One of them."""
    if ti.static(index < shader.num_values):
        return values[index]
    else:
        return uniforms[index - shader.num_values]


@ti.func
def shade_point(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    view: int,
    face: int,  # of the mesh
    used: vec3,
    at_corners: ti.template(),  # (3, K)
    uniforms: ti.template(),
):
    """(C,) the colour of a face at the point with the weights `used`."""
    varyings = interpolate(shader, used, at_corners)
    samples = look_up(shader, surface, view, face, used, varyings)
    return shade(shader, varyings, samples, uniforms)


@ti.func
def shade_point_vjp(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    view: int,
    face: int,  # of the mesh
    used: vec3,
    at_corners: ti.template(),  # (3, K)
    uniforms: ti.template(),
    grad_color: ti.template(),
):
    """The adjoint of `shade_point`.

    Returns:
        A struct: the varyings at the point, `here`, and the gradients at the weights, `used`, at
        interpolated `varyings`, at `samples` and `uniforms`.
    """
    here = interpolate(shader, used, at_corners)
    samples = look_up(shader, surface, view, face, used, here)
    return shade_with_vjp(
        shader, surface, view, face, used, at_corners, uniforms, here, samples, grad_color
    )


@ti.func
def shade_with_vjp(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    view: int,
    face: int,
    used: vec3,
    at_corners: ti.template(),
    uniforms: ti.template(),
    here: ti.template(),
    samples: ti.template(),
    grad_color: ti.template(),
):
    """`shade_point_vjp` where the varyings at the point, `here`, and `samples` are known."""
    grads = shade_vjp(shader, surface, here, samples, uniforms, grad_color)
    grad_varyings = grads.varyings
    pull_back_places(shader, surface, view, face, here, grads.samples, grad_varyings)
    grad_used = vec3(0.0)
    if ti.static(shader.has_slopes):
        on_source = place_on_source(shader, used, here)
        slopes = look_up_slopes(shader, surface, view, face, on_source)
        by_place = vec3(0.0)
        for corner in ti.static(range(3)):
            for k in ti.static(range(shader.num_samples)):
                by_place[corner] += grads.samples[k] * slopes[k, corner]
        place_on_source_vjp(shader, by_place, grad_used, grad_varyings)
    for corner in ti.static(range(3)):
        for k in ti.static(range(shader.num_varyings)):
            grad_used[corner] += grad_varyings[k] * at_corners[corner, k]
    return ti.Struct(
        here=here,
        used=grad_used,
        varyings=grad_varyings,
        samples=grads.samples,
        uniforms=grads.uniforms,
    )


@ti.func
def load_own_uniforms(part: ti.template(), uniforms: ti.template()):
    """The uniforms of a part."""
    if ti.static(len(part.uniforms) == 0):
        return ti.Vector([0.0])
    else:
        return ti.Vector([uniforms[index] for index in ti.static(part.uniforms)])
