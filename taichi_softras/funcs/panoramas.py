"""Pictures of all directions, in latitudes and longitudes: a direction in, texels and shares out.

The upper edge of a picture is straight up (+y), its middle ahead (-z), the right of that to the
right (+x). Columns go on behind the edge, rows end at the poles. A picture has a pyramid, whose
levels (`funcs.images`) are the blurred ones.
"""

import math

from taichi_softras.funcs.images import (
    BILINEAR,
    CLAMP,
    LARGEST_FOOTPRINT,
    LARGEST_UV,
    REPEAT,
    add_to_levels,
    weigh_levels,
    weigh_levels_vjp,
    within,
    wrapped_taps,
)
from taichi_softras.runtime import ti, vec2, vec3, vec4

NUM_CHANNELS = 3
POLE = 1e-6  # the square of the distance to the axis up to which longitudes do not turn faster
PER_TURN, PER_HALF_TURN = 0.5 / math.pi, 1.0 / math.pi
PER_LOG_2 = 1.0 / math.log(2.0)


@ti.func
def panorama_uv(direction: vec3) -> vec2:
    """Where a direction of any length is in a picture; NaN is taken for 0."""
    x, y, z = direction.x, direction.y, direction.z
    flat = ti.sqrt(ti.max(x * x + z * z, POLE))
    across, up = PER_TURN * ti.atan2(x, -z), PER_HALF_TURN * ti.atan2(y, flat)
    return vec2(within(0.5 + across, LARGEST_UV), within(0.5 + up, LARGEST_UV))


@ti.func
def panorama_uv_vjp(direction: vec3, grad_uv: vec2) -> vec3:
    """The gradient with respect to `direction`."""
    x, y, z = direction.x, direction.y, direction.z
    squared = x * x + z * z
    safe = ti.max(squared, POLE)
    flat = ti.sqrt(safe)
    turn = PER_TURN * grad_uv.x / safe
    rise = PER_HALF_TURN * grad_uv.y / (safe + y * y)
    sink = ti.select(squared > POLE, -rise * y / flat, 0.0)
    return vec3(sink * x - turn * z, rise * flat, sink * z + turn * x)


@ti.func
def blur_level(image: ti.template(), blur: float):
    """The level whose texels are `blur` of half a turn high, and its slope by `blur`."""
    rows = within(blur, LARGEST_FOOTPRINT) * ti.cast(image.height, float)
    last = ti.cast(image.levels - 1, float)
    level = PER_LOG_2 * ti.log(ti.max(rows, 1.0))
    slope = ti.select((rows > 1.0) & (level < last), PER_LOG_2 / blur, 0.0)
    return ti.min(level, last), slope


@ti.func
def panorama_taps(image: ti.template(), first: int, size: ti.template(), uv: ti.template()):
    """The taps of a level: round the turn, and up to the poles."""
    return wrapped_taps(first, size, uv, BILINEAR, ti.Vector([REPEAT, CLAMP]))


@ti.func
def sample_panorama(texels: ti.template(), parameter: int, image: ti.template(), place: vec4):
    """A picture in a direction, and how wide it is blurred, which together are the `place`.

    With tangents of texels, (parameters, 1, 1, N, C), its tangent.
    """
    level, _ = blur_level(image, place.w)
    uv = panorama_uv(place.xyz)
    return weigh_levels(panorama_taps, texels, parameter, 0, image, uv, level, NUM_CHANNELS, True)


@ti.func
def sample_panorama_vjp(
    texels: ti.template(), image: ti.template(), place: vec4, grad_sample: ti.template()
) -> vec4:
    """The gradient with respect to `place`."""
    level, slope = blur_level(image, place.w)
    uv = panorama_uv(place.xyz)
    grad_uv, grad_level = weigh_levels_vjp(
        panorama_taps, texels, 0, image, uv, level, grad_sample, NUM_CHANNELS, True
    )
    return vec4(panorama_uv_vjp(place.xyz, grad_uv), grad_level * slope)


@ti.func
def add_to_panorama(
    grad_texels: ti.template(), image: ti.template(), place: vec4, grad_sample: ti.template()
):
    """Adds the gradient of a sample with respect to the texels, which faces share."""
    level, _ = blur_level(image, place.w)
    uv = panorama_uv(place.xyz)
    add_to_levels(panorama_taps, grad_texels, 0, image, uv, level, grad_sample, NUM_CHANNELS, True)
