"""Lights: their numbers in, what arrives at a point or what a matt surface sends back out.

A scene's lights are one run of numbers, kind after kind, and a `LightStructure` that says how many
of each kind there are. Every function has its adjoint below it.

    ambient      colour 3
    directional  direction 3, from the surface towards the light; colour 3
    point        position 3, colour 3, falloff 3 (constant, linear, quadratic)
    spot         position 3, colour 3, falloff 3, direction 3 (where it shines), inner and outer
                 half angle of its cone in degrees
    harmonics    nine coefficients of 3 colours each
    environment  the same, of a picture that shadings may mirror besides
"""

from taichi_softras.funcs.harmonics import harmonics, harmonics_vjp
from taichi_softras.funcs.numeric import cos_degrees, sin_degrees
from taichi_softras.funcs.values import value
from taichi_softras.funcs.vectors import (
    dot,
    inverse_length,
    unit,
    unit_normal,
    unit_normal_vjp,
    unit_vjp,
)
from taichi_softras.runtime import ti, vec3

KINDS = AMBIENT, DIRECTIONAL, POINT, SPOT, HARMONICS, ENVIRONMENT = range(6)
# in a `LightStructure`
KIND_NAMES = "ambient", "directional", "point", "spot", "harmonics", "environment"
SIZES = 3, 6, 9, 14, 27, 27  # numbers of a light of each kind
AROUND, INCIDENT = (AMBIENT, HARMONICS, ENVIRONMENT), (DIRECTIONAL, POINT, SPOT)

LEAST_FALLOFF = 1e-6  # what a light's colour is divided by, at least
NARROWEST_CONE = 1e-3  # between the cosines of a cone's half angles, as glTF's has it
RADIANS = 0.017453292519943295


@value
class LightStructure:
    """How many lights of each kind there are; equal structures share kernels.

    A light that is all zeros is none: it pads the numbers to a few, see `padded`.
    """

    ambient: int = 0
    directional: int = 0
    point: int = 0
    spot: int = 0
    harmonics: int = 0
    environment: int = 0

    @property
    def counts(self) -> tuple:
        """By kind."""
        return tuple(getattr(self, name) for name in KIND_NAMES)

    @property
    def size(self) -> int:
        """Numbers of all lights."""
        return sum(count * size for count, size in zip(self.counts, SIZES))

    def start(self, kind: int) -> int:
        """Where the numbers of a kind begin."""
        return sum(count * size for count, size in zip(self.counts[:kind], SIZES))

    def places(self, kinds: tuple) -> tuple:
        """(kind, where its numbers begin) of each light of some kinds."""
        return tuple(
            (kind, self.start(kind) + SIZES[kind] * index)
            for kind in kinds
            for index in range(self.counts[kind])
        )

    def padded(self) -> "LightStructure":
        """With 0, 1, 2, 4, 8, ... of each kind: scenes of a few more lights share kernels.

        But for environments, each of which has a picture.
        """
        padded = [1 << (n - 1).bit_length() if n else 0 for n in self.counts]
        padded[ENVIRONMENT] = self.environment
        return LightStructure(*padded)


NO_LIGHTS = LightStructure()


@ti.func
def numbers_of(kind: ti.template(), numbers: ti.template(), start: ti.template()):
    """The numbers of one light, of a vector or an array of many."""
    return ti.Vector([numbers[start + k] for k in ti.static(range(SIZES[kind]))])


@ti.func
def incident(kind: ti.template(), light: ti.template(), point: vec3):
    """What arrives at a point from one light.

    Args:
        kind: DIRECTIONAL, POINT or SPOT.
        light: its numbers.
        point: world.

    Returns:
        A struct: `direction`, of length 1, towards the light, 0 at the very place of it; `color`,
        of which a white matt surface sends back its cosine.
    """
    direction, color = vec3(0.0), vec3(light[3], light[4], light[5])
    if ti.static(kind == DIRECTIONAL):
        direction = unit(vec3(light[0], light[1], light[2]))
    else:
        offset = vec3(light[0], light[1], light[2]) - point
        direction = unit_normal(offset)
        distance = dot(offset, offset) * inverse_length(offset)
        color /= ti.max(falloff(light, distance), LEAST_FALLOFF)
    if ti.static(kind == SPOT):
        inside = ti.min(ti.max(cone(light, direction).inside, 0.0), 1.0)
        color *= inside * inside
    return ti.Struct(direction=direction, color=color)


@ti.func
def incident_vjp(
    kind: ti.template(),
    light: ti.template(),
    point: vec3,
    grad_direction: vec3,
    grad_color: vec3,
):
    """Gradients with respect to `light` and `point`, a struct."""
    grad_light, grad_point = light * 0.0, vec3(0.0)
    color = vec3(light[3], light[4], light[5])
    if ti.static(kind == DIRECTIONAL):
        grad = unit_vjp(vec3(light[0], light[1], light[2]), grad_direction)
        for k in ti.static(range(3)):
            grad_light[k] = grad[k]
            grad_light[3 + k] = grad_color[k]
    else:
        offset = vec3(light[0], light[1], light[2]) - point
        direction = unit_normal(offset)
        distance = dot(offset, offset) * inverse_length(offset)
        divisor = falloff(light, distance)
        safe = ti.max(divisor, LEAST_FALLOFF)
        share, grad_towards = 1.0 / safe, grad_direction
        if ti.static(kind == SPOT):
            at = cone(light, direction)
            inside = ti.min(ti.max(at.inside, 0.0), 1.0)
            slope = ti.select((at.inside > 0.0) & (at.inside < 1.0), 2.0 * inside, 0.0)
            grads = cone_vjp(light, direction, at, slope * dot(grad_color, color) / safe)
            grad_towards += grads.direction
            share *= inside * inside
            for k in ti.static(range(3)):
                grad_light[9 + k] = grads.axis[k]
            grad_light[12] = grads.inner
            grad_light[13] = grads.outer
        grad_divisor = -dot(grad_color, color) * share / safe
        grad_divisor = ti.select(divisor > LEAST_FALLOFF, grad_divisor, 0.0)
        nearing = grad_divisor * (light[7] + 2.0 * distance * light[8])
        grad_offset = unit_normal_vjp(offset, grad_towards) + nearing * direction
        for k in ti.static(range(3)):
            grad_light[k] = grad_offset[k]
            grad_light[3 + k] = grad_color[k] * share
        grad_light[6] = grad_divisor
        grad_light[7] = grad_divisor * distance
        grad_light[8] = grad_divisor * distance * distance
        grad_point = -grad_offset
    return ti.Struct(light=grad_light, point=grad_point)


@ti.func
def falloff(light: ti.template(), distance: float) -> float:
    """What the colour of a point light is divided by."""
    return light[6] + distance * (light[7] + distance * light[8])


@ti.func
def cone(light: ti.template(), direction: vec3):
    """How far a point is within a spot's cone: `inside` is 0 at the outer angle, 1 at the inner.

    Linear in the cosine; the light is its square (glTF's KHR_lights_punctual).
    """
    outer = cos_degrees(light[13])
    width = cos_degrees(light[12]) - outer
    cosine = -dot(direction, unit(vec3(light[9], light[10], light[11])))
    safe = ti.max(width, NARROWEST_CONE)
    return ti.Struct(inside=(cosine - outer) / safe, width=width, safe=safe)


@ti.func
def cone_vjp(light: ti.template(), direction: vec3, at: ti.template(), grad_inside: float):
    """Gradients by `direction` and the spot's `axis`, `inner` and `outer`; `at` is the value."""
    axis = vec3(light[9], light[10], light[11])
    grad_cosine = grad_inside / at.safe
    grad_width = ti.select(at.width > NARROWEST_CONE, -at.inside * grad_cosine, 0.0)
    return ti.Struct(
        direction=-grad_cosine * unit(axis),
        axis=unit_vjp(axis, -grad_cosine * direction),
        inner=-RADIANS * sin_degrees(light[12]) * grad_width,
        outer=RADIANS * sin_degrees(light[13]) * (grad_cosine + grad_width),
    )


@ti.func
def around(kind: ti.template(), light: ti.template(), normal: vec3) -> vec3:
    """What a white matt surface sends back of light that comes from all around.

    Args:
        kind: AMBIENT, HARMONICS or ENVIRONMENT.
        light: its numbers.
        normal: world, length 1.
    """
    color = vec3(light[0], light[1], light[2])
    if ti.static(kind != AMBIENT):
        basis = harmonics(normal)
        color *= basis[0]
        for k in ti.static(range(1, 9)):
            color += basis[k] * vec3(light[3 * k], light[3 * k + 1], light[3 * k + 2])
    return color


@ti.func
def around_vjp(kind: ti.template(), light: ti.template(), normal: vec3, grad_color: vec3):
    """Gradients with respect to `light` and `normal`, a struct."""
    grad_light, grad_normal = light * 0.0, vec3(0.0)
    if ti.static(kind != AMBIENT):
        basis, grad_basis = harmonics(normal), ti.Vector.zero(float, 9)
        for k in ti.static(range(9)):
            row = vec3(light[3 * k], light[3 * k + 1], light[3 * k + 2])
            grad_basis[k] = dot(grad_color, row)
            for channel in ti.static(range(3)):
                grad_light[3 * k + channel] = basis[k] * grad_color[channel]
        grad_normal = harmonics_vjp(normal, grad_basis)
    else:
        for channel in ti.static(range(3)):
            grad_light[channel] = grad_color[channel]
    return ti.Struct(light=grad_light, normal=grad_normal)


@ti.func
def matt(kind: ti.template(), light: ti.template(), normal: vec3, point: vec3) -> vec3:
    """What a white matt surface sends back of one light of any kind.

    Args:
        kind: one of `KINDS`.
        light: its numbers.
        normal: world, length 1 (or 0: of light with a direction it sends nothing back).
        point: world.
    """
    color = vec3(0.0)
    if ti.static(kind in AROUND):
        color = around(kind, light, normal)
    else:
        arriving = incident(kind, light, point)
        color = arriving.color * ti.max(dot(normal, arriving.direction), 0.0)
    return color


@ti.func
def matt_vjp(
    kind: ti.template(), light: ti.template(), normal: vec3, point: vec3, grad_color: vec3
):
    """Gradients with respect to `light`, `normal` and `point`, a struct."""
    grad_light, grad_normal, grad_point = light * 0.0, vec3(0.0), vec3(0.0)
    if ti.static(kind in AROUND):
        grads = around_vjp(kind, light, normal, grad_color)
        grad_light, grad_normal = grads.light, grads.normal
    else:
        arriving = incident(kind, light, point)
        cosine = ti.max(dot(normal, arriving.direction), 0.0)
        grad_cosine = ti.select(cosine > 0.0, dot(grad_color, arriving.color), 0.0)
        of_incident = incident_vjp(kind, light, point, grad_cosine * normal, grad_color * cosine)
        grad_light, grad_point = of_incident.light, of_incident.point
        grad_normal = grad_cosine * arriving.direction
    return ti.Struct(light=grad_light, normal=grad_normal, point=grad_point)


# For fragments: lights among the uniforms, a vector, from `first` on ------------------------------


@ti.func
def light_around(
    structure: ti.template(), uniforms: ti.template(), first: ti.template(), normal: vec3
) -> vec3:
    """What a white matt surface sends back of all light from all around."""
    return light_of(structure, AROUND, uniforms, first, normal)


@ti.func
def light_of(
    structure: ti.template(),
    kinds: ti.template(),  # of `AROUND`
    uniforms: ti.template(),
    first: ti.template(),
    normal: vec3,
) -> vec3:
    """`light_around` of some kinds."""
    color = vec3(0.0)
    for kind, start in ti.static(structure.places(kinds)):
        color += around(kind, numbers_of(kind, uniforms, first + start), normal)
    return color


@ti.func
def light_around_vjp(
    structure: ti.template(),
    uniforms: ti.template(),
    first: ti.template(),
    normal: vec3,
    grad_color: vec3,
    grad_uniforms: ti.template(),  # added to
) -> vec3:
    """The gradient with respect to `normal`."""
    return light_of_vjp(structure, AROUND, uniforms, first, normal, grad_color, grad_uniforms)


@ti.func
def light_of_vjp(
    structure: ti.template(),
    kinds: ti.template(),
    uniforms: ti.template(),
    first: ti.template(),
    normal: vec3,
    grad_color: vec3,
    grad_uniforms: ti.template(),  # added to
) -> vec3:
    """The gradient with respect to `normal`."""
    grad_normal = vec3(0.0)
    for kind, start in ti.static(structure.places(kinds)):
        light = numbers_of(kind, uniforms, first + start)
        grads = around_vjp(kind, light, normal, grad_color)
        add_numbers(kind, grad_uniforms, first + start, grads.light)
        grad_normal += grads.normal
    return grad_normal


@ti.func
def light_from(place: ti.template(), uniforms: ti.template(), first: ti.template(), point: vec3):
    """What arrives at a point from the light at a place: `incident` for fragments.

    Args:
        place: one of `structure.places(INCIDENT)`.
        uniforms: of the fragment.
        first: where the numbers of all lights begin in them.
        point: world.
    """
    return incident(place[0], numbers_of(place[0], uniforms, first + place[1]), point)


@ti.func
def light_from_vjp(
    place: ti.template(),
    uniforms: ti.template(),
    first: ti.template(),
    point: vec3,
    grad_direction: vec3,
    grad_color: vec3,
    grad_uniforms: ti.template(),  # added to
) -> vec3:
    """The gradient with respect to `point`."""
    light = numbers_of(place[0], uniforms, first + place[1])
    grads = incident_vjp(place[0], light, point, grad_direction, grad_color)
    add_numbers(place[0], grad_uniforms, first + place[1], grads.light)
    return grads.point


@ti.func
def add_numbers(
    kind: ti.template(), numbers: ti.template(), start: ti.template(), light: ti.template()
):
    """To those of one light among many."""
    for k in ti.static(range(SIZES[kind])):
        numbers[start + k] += light[k]
