"""Fragments: what a rasterizer asks about the colour of a face at a point, and its adjoint.

A face brings values at its corners (varyings, which are interpolated) and a texture of its own
(which is looked up). A shader turns these, with uniforms that are the same on all faces, into the
channels of the image. It is compiled into the rasterizer's kernels.
"""

from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np

from taichi_softras.funcs.lookups import Lookup
from taichi_softras.funcs.values import value
from taichi_softras.runtime import ti, vec3
from taichi_softras.workspace import Workspace


@value
class Part:
    """One shading within a shader.

    Attributes:
        fragment: ti.func (varyings, uniforms) -> colour, vectors.
        fragment_vjp: ti.func (varyings, uniforms, grad_color) -> struct of the gradients
            `varyings` and, if there are uniforms, `uniforms`.
        inputs: which of all varyings and samples, in this order, are its varyings.
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
class Shader:
    """All that is drawn in one pass: compiled in. Equal shaders share kernels.

    Attributes:
        parts: each a shading.
        num_varyings: K, numbers at each corner.
        lookup: how face textures are read, or None if there are none.
        num_samples: channels of a texture, 0 without.
        num_uniforms: N.
        num_channels: C, of all parts; alpha is not among them. 0 draws the silhouette alone.
        is_cut: whether faces may be pieces of others, see `clipping`. With textures their last
            three varyings are the weights of the corners of these.
    """

    parts: tuple
    num_varyings: int
    lookup: Optional[Lookup]
    num_samples: int
    num_uniforms: int
    num_channels: int
    is_cut: bool = False

    @property
    def num_edge_channels(self) -> int:
        """Of the parts that move edges: they come first."""
        return sum(part.num_channels for part in self.parts if part.moves_edges)

    @property
    def has_textures(self) -> bool:
        """Whether faces have textures."""
        return self.lookup is not None

    @property
    def has_slopes(self) -> bool:
        """Whether what textures show moves with the point on the face."""
        return self.lookup is not None and self.lookup.is_smooth


SILHOUETTE = Shader((), 0, None, 0, 0, 0)


def cut_shader(shader: Shader) -> Shader:
    """The same for faces that may be pieces of others."""
    first_sample, added = shader.num_varyings, 3 if shader.has_textures else 0

    def moved(part: Part) -> Part:
        inputs = tuple(k + added if k >= first_sample else k for k in part.inputs)
        return Part(**{**vars(part), "inputs": inputs})

    changes = {
        "parts": tuple(map(moved, shader.parts)),
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


class Surface(NamedTuple):
    """What faces look like: arrays that a shader reads."""

    varyings: ti.Ndarray  # (1 or B, F, 3, K) at the corners; (1, 1, 1, 1) if K = 0
    textures: ti.Ndarray  # (1 or B, F, entries, num_samples); (1, 1, 1, 1) without
    uniforms: ti.Ndarray  # (1 or B, N); (1, 1) if N = 0

    def like(self, workspace: Workspace, name: str, *before: int) -> "Surface":
        """Arrays of the same shapes, with axes `before` them: for gradients and tangents."""
        shapes = ((*before, *array.shape) for array in self)
        names = (f"{name}_{field}" for field in self._fields)
        return Surface(*(workspace.get(*pair) for pair in zip(names, shapes)))


def texture_resolution(shader: Shader, textures: ti.Ndarray) -> int:
    """R of face textures, whose entries are R * R texels or R * R * R; 0 without."""
    return round(textures.shape[2] ** (1 / shader.lookup.num_axes)) if shader.lookup else 0


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
    corner_varyings = ti.Matrix.zero(float, 3, ti.static(max(shader.num_varyings, 1)))
    for corner in ti.static(range(3)):
        for k in ti.static(range(shader.num_varyings)):
            corner_varyings[corner, k] = varyings[view % varyings.shape[0], face, corner, k]
    return corner_varyings


@ti.func
def load_uniforms(shader: ti.template(), uniforms: ti.template(), view: int):
    """(N,) those of a view."""
    of_view = ti.Vector([0.0 for _ in ti.static(range(max(shader.num_uniforms, 1)))])
    for k in ti.static(range(shader.num_uniforms)):
        of_view[k] = uniforms[view % uniforms.shape[0], k]
    return of_view


@ti.func
def interpolate(shader: ti.template(), used: vec3, corner_varyings: ti.template()):
    """(K,) at the point of a face with the weights `used`."""
    result = ti.Vector([0.0 for _ in ti.static(range(max(shader.num_varyings, 1)))])
    for k in ti.static(range(shader.num_varyings)):
        for corner in ti.static(range(3)):
            result[k] += used[corner] * corner_varyings[corner, k]
    return result


@ti.func
def place_on_source(shader: ti.template(), used: vec3, corner_varyings: ti.template()) -> vec3:
    """The weights of the corners of the face whose texture a point shows."""
    result = used
    if ti.static(shader.is_cut and shader.has_textures):
        for j in ti.static(range(3)):
            column = ti.static(shader.num_varyings - 3 + j)
            of_corners = vec3(
                corner_varyings[0, column], corner_varyings[1, column], corner_varyings[2, column]
            )
            result[j] = used.dot(of_corners)
    return result


@ti.func
def place_on_source_vjp(
    shader: ti.template(),
    grad_on_source: vec3,
    grad_used: ti.template(),  # (3,) added to
    grad_varyings: ti.template(),  # (K,) added to
):
    """The adjoint: weights of a face's pieces are varyings, whose gradient goes on to `used`."""
    if ti.static(shader.is_cut and shader.has_textures):
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
    textures: ti.template(),
    view: int,
    face: int,
    used: vec3,
    resolution: int,
):
    """(num_samples,) of a face's texture at the point with the weights `used`."""
    samples = no_samples(shader)
    if ti.static(shader.has_textures):
        entries, shares = shader.lookup.entries(used, resolution)
        for k in ti.static(range(shader.lookup.count)):
            for channel in ti.static(range(shader.num_samples)):
                value = textures[view % textures.shape[0], face, entries[k], channel]
                samples[channel] += shares[k] * value
    return samples


@ti.func
def look_up_vjp(
    shader: ti.template(),
    grad_textures: ti.template(),  # (B or 1, F, entries, samples), added to
    view: int,
    face: int,
    used: vec3,
    resolution: int,
    grad_samples: ti.template(),
    is_atomic: ti.template(),  # where threads share a texture
):
    """The adjoint of `look_up` with respect to the texture."""
    if ti.static(shader.has_textures):
        entries, shares = shader.lookup.entries(used, resolution)
        shared = view % grad_textures.shape[0]
        for k in ti.static(range(shader.lookup.count)):
            for channel in ti.static(range(shader.num_samples)):
                grad = shares[k] * grad_samples[channel]
                if ti.static(is_atomic):
                    ti.atomic_add(grad_textures[shared, face, entries[k], channel], grad)
                else:
                    before = grad_textures[shared, face, entries[k], channel]
                    grad_textures[shared, face, entries[k], channel] = before + grad


@ti.func
def look_up_slopes(
    shader: ti.template(),
    textures: ti.template(),
    view: int,
    face: int,
    used: vec3,
    resolution: int,
):
    """(num_samples, 3) the derivatives of `look_up` by the weights."""
    slopes = ti.Matrix.zero(float, ti.static(max(shader.num_samples, 1)), 3)
    if ti.static(shader.has_slopes):
        entries, _ = shader.lookup.entries(used, resolution)
        by_weights = shader.lookup.slopes(used, resolution)
        for k in ti.static(range(shader.lookup.count)):
            for channel in ti.static(range(shader.num_samples)):
                value = textures[view % textures.shape[0], face, entries[k], channel]
                for corner in ti.static(range(3)):
                    slopes[channel, corner] += by_weights[k, corner] * value
    return slopes


@ti.func
def shade(shader: ti.template(), varyings: ti.template(), samples: ti.template(), uniforms):
    """(C,) the colour of a fragment, all parts together."""
    color = ti.Vector([0.0 for _ in ti.static(range(max(shader.num_channels, 1)))])
    for part in ti.static(shader.parts):
        inputs = load_inputs(shader, part, varyings, samples)
        of_part = part.fragment(inputs, load_own_uniforms(part, uniforms))
        for channel in ti.static(range(part.num_channels)):
            color[part.first_channel + channel] = of_part[channel]
    return color


@ti.func
def shade_vjp(
    shader: ti.template(),
    varyings: ti.template(),
    samples: ti.template(),
    uniforms,
    grad_color: ti.template(),
):
    """The adjoint of `shade`: a struct of the gradients `varyings`, `samples` and `uniforms`."""
    grad_varyings = ti.Vector([0.0 for _ in ti.static(range(max(shader.num_varyings, 1)))])
    grad_samples = no_samples(shader)
    grad_uniforms = ti.Vector([0.0 for _ in ti.static(range(max(shader.num_uniforms, 1)))])
    for part in ti.static(shader.parts):
        inputs = load_inputs(shader, part, varyings, samples)
        grad = ti.Vector(
            [grad_color[part.first_channel + c] for c in ti.static(range(part.num_channels))]
        )
        grads = part.fragment_vjp(inputs, load_own_uniforms(part, uniforms), grad)
        for k, index in ti.static(tuple(enumerate(part.inputs))):
            if ti.static(index < shader.num_varyings):
                grad_varyings[index] += grads.varyings[k]
            else:
                grad_samples[index - shader.num_varyings] += grads.varyings[k]
        for k, index in ti.static(tuple(enumerate(part.uniforms))):
            grad_uniforms[index] += grads.uniforms[k]
    return ti.Struct(varyings=grad_varyings, samples=grad_samples, uniforms=grad_uniforms)


@ti.func
def load_inputs(
    shader: ti.template(), part: ti.template(), varyings: ti.template(), samples: ti.template()
):
    """The varyings of a part, from all that were interpolated or looked up."""
    inputs = ti.Vector([0.0 for _ in ti.static(range(len(part.inputs)))])
    for k, index in ti.static(tuple(enumerate(part.inputs))):
        if ti.static(index < shader.num_varyings):
            inputs[k] = varyings[index]
        else:
            inputs[k] = samples[index - shader.num_varyings]
    return inputs


@ti.func
def load_own_uniforms(part: ti.template(), uniforms):
    """The uniforms of a part."""
    own = ti.Vector([0.0 for _ in ti.static(range(max(len(part.uniforms), 1)))])
    for k, index in ti.static(tuple(enumerate(part.uniforms))):
        own[k] = uniforms[index]
    return own
