"""Textures where pixels look at them: a place for each pixel in, its sample out, and back.

Laine et al. 2020, section 3.4. A look-up is that of funcs/images.py and funcs/cube_maps.py, with
row 0 of a texture at v = 0.
"""

from taichi_softras.funcs.cube_maps import (
    cube_taps,
    moved_on_cube,
    moved_on_cube_vjp,
    place_on_cube,
)
from taichi_softras.funcs.images import (
    NUM_TAPS,
    count_levels,
    count_texels,
    is_met,
    level_of,
    level_share,
    level_size,
    level_slope,
    level_slopes,
    load_channel,
    load_image,
    picture_taps,
)
from taichi_softras.funcs.values import value
from taichi_softras.funcs.vectors import dot
from taichi_softras.runtime import kernel, ti, vec2, vec3
from taichi_softras.workspace import array

NO_MIPMAPS, NEAREST_MIPMAP, LINEAR_MIPMAP = range(3)


@value
class TextureLookup:
    """How pixels look at a texture.

    Attributes:
        is_cube: whether at a cube map, in a direction.
        mipmaps: NO_MIPMAPS, the nearest one, or between two.
        has_footprints: whether the level comes from what a pixel covers, or is the bias alone.
        has_biases: whether there is a bias.
    """

    is_cube: bool
    mipmaps: int
    has_footprints: bool
    has_biases: bool


@ti.func
def load_look(
    uv: ti.template(), footprints: ti.template(), view: int, pixel: int, how: ti.template()
):
    """Where a pixel looks, `along_x` and `along_y` what it covers, and the `place` on a cube."""
    if ti.static(how.is_cube):
        place = place_on_cube(load_direction(uv, view, pixel, 0, 1))
        covered = load_covered_directions(footprints, view, pixel, how)
        return ti.Struct(
            place=place,
            uv=vec2(place.x, place.y),
            along_x=moved_on_cube(place, covered.by_x),
            along_y=moved_on_cube(place, covered.by_y),
            by_x=covered.by_x,
            by_y=covered.by_y,
        )
    else:
        along_x, along_y = vec2(0.0), vec2(0.0)
        if ti.static(how.has_footprints):
            # rows of a picture are counted down
            along_x = vec2(footprints[view, pixel, 0], -footprints[view, pixel, 2])
            along_y = vec2(footprints[view, pixel, 1], -footprints[view, pixel, 3])
        return ti.Struct(
            uv=vec2(uv[view, pixel, 0], 1.0 - uv[view, pixel, 1]), along_x=along_x, along_y=along_y
        )


@ti.func
def load_direction(
    numbers: ti.template(), view: int, pixel: int, first: ti.template(), step: ti.template()
) -> vec3:
    """Every `step`-th number of a pixel."""
    return vec3(
        numbers[view, pixel, first],
        numbers[view, pixel, first + step],
        numbers[view, pixel, first + 2 * step],
    )


@ti.func
def load_covered_directions(footprints: ti.template(), view: int, pixel: int, how: ti.template()):
    """How the direction changes to the next column and the next row."""
    by_x, by_y = vec3(0.0), vec3(0.0)
    if ti.static(how.has_footprints):
        by_x = load_direction(footprints, view, pixel, 0, 2)
        by_y = load_direction(footprints, view, pixel, 1, 2)
    return ti.Struct(by_x=by_x, by_y=by_y)


@ti.func
def look_level(image: ti.template(), look: ti.template(), bias: float, how: ti.template()) -> float:
    """The level of a pyramid, a whole number if only one is looked at."""
    last = ti.cast(image.levels - 1, float)
    level = ti.min(ti.max(bias, 0.0), last)
    if ti.static(how.has_footprints):
        level = level_of(image, look.along_x, look.along_y, bias, True)
    if ti.static(how.mipmaps == NO_MIPMAPS):
        level = 0.0
    elif ti.static(how.mipmaps == NEAREST_MIPMAP):
        level = ti.floor(level + 0.5)
    return level


@ti.func
def look_taps(
    image: ti.template(), first: int, size: ti.template(), look: ti.template(), how: ti.template()
):
    """The texels of a level that a pixel sees, their shares and slopes, see funcs/images.py."""
    if ti.static(how.is_cube):
        return cube_taps(image, first, size, look.place)
    else:
        return picture_taps(image, first, size, look.uv)


@kernel
def look_up_textures(
    texels: array(float, 4),  # (B or 1, 1, N, C), see `pyramids.lay_out_images`
    images: array(int, 1),  # six ints
    uv: array(float, 3),  # (B, P, 2), or (B, P, 3) directions
    footprints: array(float, 3),  # (B, P, 4 or 6) of each number by column and by row
    biases: array(float, 2),  # (B, P) are added to levels
    samples: array(float, 3),  # (B, P, C)
    how: ti.template(),
):
    """What each pixel sees."""
    for view, pixel in ti.ndrange(samples.shape[0], samples.shape[1]):
        image = load_image(images, 0, 0)
        look = load_look(uv, footprints, view, pixel, how)
        bias = 0.0
        if ti.static(how.has_biases):
            bias = biases[view, pixel]
        level, first = look_level(image, look, bias, how), image.first
        plane = ti.min(view, texels.shape[0] - 1)
        for channel in range(texels.shape[3]):
            samples[view, pixel, channel] = 0.0
        for k in range(count_levels(image, how.mipmaps != NO_MIPMAPS)):
            size, share = level_size(image, k), level_share(level, k)
            if share > 0.0:
                entries, shares, _, _ = look_taps(image, first, size, look, how)
                shares *= share
                for channel in range(texels.shape[3]):
                    sample = dot(shares, load_channel(texels, 0, plane, entries, channel))
                    samples[view, pixel, channel] = samples[view, pixel, channel] + sample
            first += count_texels(image, size)


@kernel
def look_up_textures_backward(
    texels: array(float, 4),
    images: array(int, 1),
    uv: array(float, 3),
    footprints: array(float, 3),
    biases: array(float, 2),
    grad_samples: array(float, 3),  # (B, P, C)
    grad_texels: array(float, 4),
    grad_uv: array(float, 3),
    grad_footprints: array(float, 3),
    grad_biases: array(float, 2),
    how: ti.template(),
):
    """The adjoint of `look_up_textures`."""
    for plane, entry, channel in ti.ndrange(texels.shape[0], texels.shape[2], texels.shape[3]):
        grad_texels[plane, 0, entry, channel] = 0.0
    for view, pixel in ti.ndrange(grad_samples.shape[0], grad_samples.shape[1]):
        image = load_image(images, 0, 0)
        look = load_look(uv, footprints, view, pixel, how)
        bias = 0.0
        if ti.static(how.has_biases):
            bias = biases[view, pixel]
        level, first = look_level(image, look, bias, how), image.first
        plane = ti.min(view, texels.shape[0] - 1)
        grad_place, grad_level = vec2(0.0), 0.0
        for k in range(count_levels(image, how.mipmaps != NO_MIPMAPS)):
            size = level_size(image, k)
            if is_met(level, k):
                entries, shares, by_x, by_y = look_taps(image, first, size, look, how)
                share, grad_shares = level_share(level, k), shares * 0.0
                for channel in range(texels.shape[3]):
                    grad = grad_samples[view, pixel, channel]
                    grad_shares += grad * load_channel(texels, 0, plane, entries, channel)
                    for tap in ti.static(range(NUM_TAPS)):
                        grad_texel = grad * share * shares[tap]
                        grad_texels[plane, 0, entries[tap], channel] += grad_texel
                grad_place += share * vec2(dot(by_x, grad_shares), dot(by_y, grad_shares))
                if ti.static(how.mipmaps == LINEAR_MIPMAP):
                    grad_level += level_slope(level, k) * dot(shares, grad_shares)
            first += count_texels(image, size)
        slopes = look_slopes(image, look, bias, how)
        grad_along_x, grad_along_y = grad_level * slopes.uv_dx, grad_level * slopes.uv_dy
        if ti.static(how.has_biases):
            grad_biases[view, pixel] = grad_level * slopes.level_bias
        store_look_grads(
            look, how, view, pixel, grad_place, grad_along_x, grad_along_y, grad_uv, grad_footprints
        )


@ti.func
def store_look_grads(
    look: ti.template(),
    how: ti.template(),
    view: int,
    pixel: int,
    grad_place: vec2,
    grad_along_x: vec2,
    grad_along_y: vec2,
    grad_uv: ti.template(),
    grad_footprints: ti.template(),
):
    """The adjoint of `load_look`."""
    if ti.static(how.is_cube):
        _, of_uv = moved_on_cube_vjp(look.place, vec3(0.0), grad_place)
        if ti.static(how.has_footprints):
            by_x, of_x = moved_on_cube_vjp(look.place, look.by_x, grad_along_x)
            by_y, of_y = moved_on_cube_vjp(look.place, look.by_y, grad_along_y)
            of_uv += by_x + by_y
            for k in ti.static(range(3)):
                grad_footprints[view, pixel, 2 * k] = of_x[k]
                grad_footprints[view, pixel, 2 * k + 1] = of_y[k]
        for k in ti.static(range(3)):
            grad_uv[view, pixel, k] = of_uv[k]
    else:
        grad_uv[view, pixel, 0] = grad_place.x
        grad_uv[view, pixel, 1] = -grad_place.y
        if ti.static(how.has_footprints):
            grad_footprints[view, pixel, 0] = grad_along_x.x
            grad_footprints[view, pixel, 1] = grad_along_y.x
            grad_footprints[view, pixel, 2] = -grad_along_x.y
            grad_footprints[view, pixel, 3] = -grad_along_y.y


@ti.func
def look_slopes(image: ti.template(), look: ti.template(), bias: float, how: ti.template()):
    """The derivatives of `look_level`; of levels that are rounded nothing asks for them."""
    if ti.static(how.has_footprints):
        return level_slopes(image, look.along_x, look.along_y, bias)
    else:
        is_free = (bias > 0.0) & (bias < ti.cast(image.levels - 1, float))
        return ti.Struct(uv_dx=vec2(0.0), uv_dy=vec2(0.0), level_bias=ti.select(is_free, 1.0, 0.0))
