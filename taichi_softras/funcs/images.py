"""Pictures and their pyramids: a point of a picture in, the texels around it and their shares out.

A picture is some rows of `texels`, an array (plane, 0, entry, channel): texel (row, column) of
level 0 is entry `first + row * width + column`, row 0 on top, and each level of a pyramid lies
right behind the finer one, with sides of max(1, n // 2). uv = (0, 0) is the lower left corner, and
centres of texels are at half integers.

What is drawn is a sum of texels times shares. Samples, adjoints and tangents are made of `taps`
alone, so they hold for every filter, wrap and for cube maps: of each level the four `entries` that
are summed, their `shares`, and how those change with the place (`by_x`, `by_y`).
"""

import math

from taichi_softras.funcs.vectors import dot
from taichi_softras.runtime import ti, vec2

IMAGE_SIZE = 6  # ints of a picture: see `load_image`
# A table of pictures: how many materials of faces follow; how far those of a view are behind those
# of the view before, 0 if all views have the same faces; the materials; then pictures
NUM_MATERIALS, BY_VIEW, MATERIALS = range(3)
FILTERS = ("nearest", "bilinear", "trilinear")
WRAPS = ("repeat", "mirror", "clamp", "zero")
NEAREST, BILINEAR, TRILINEAR = range(3)
REPEAT, MIRROR, CLAMP, ZERO, CUBE = range(5)
NUM_TAPS = 4  # of a level: two rows and two columns
MOST_LEVELS = 16  # of a pyramid: sides up to 65,535 end in one texel

LARGEST_UV = 1e9  # no fraction is left of it, in single precision, long before
LARGEST_FOOTPRINT = 1e9  # texels; its fourth power is below the largest number
SMALLEST_SQUARED_FOOTPRINT = 1e-30
HALF_PER_LOG_2 = 0.5 / math.log(2.0)


@ti.func
def load_material(images: ti.template(), view: int, face: int) -> int:
    """Of a face, in a table that begins with the materials of faces."""
    return images[MATERIALS + images[BY_VIEW] * view + face]


@ti.func
def load_image(images: ti.template(), first: int, index: int):
    """Picture `index` of a table, of those that begin at `first`."""
    start = first + index * IMAGE_SIZE
    return ti.Struct(
        first=images[start],
        height=images[start + 1],
        width=images[start + 2],
        levels=images[start + 3],
        filter=images[start + 4],
        wrap=images[start + 5],
    )


# --- what is drawn: texels times shares ---


@ti.func
def load_texel(
    texels: ti.template(),
    parameter: ti.template(),
    plane: ti.template(),
    entry: ti.template(),
    channel: ti.template(),
):
    """A number of a texel; tangents of texels have one more axis in front, `parameter`."""
    if ti.static(len(texels.shape) == 5):
        return texels[parameter, plane, 0, entry, channel]
    else:
        return texels[plane, 0, entry, channel]


@ti.func
def store_texel(
    texels: ti.template(), parameter: int, plane: int, entry: int, channel: int, texel: float
):
    """Writes what `load_texel` reads."""
    if ti.static(len(texels.shape) == 5):
        texels[parameter, plane, 0, entry, channel] = texel
    else:
        texels[plane, 0, entry, channel] = texel


@ti.func
def load_channel(
    texels: ti.template(),
    parameter: ti.template(),
    plane: ti.template(),
    entries: ti.template(),
    channel: ti.template(),
):
    """One number of each of four texels."""
    return ti.Vector(
        [
            load_texel(texels, parameter, plane, entries[k], channel)
            for k in ti.static(range(NUM_TAPS))
        ]
    )


# Of all four, `find_taps` (image, first, size, place) makes the taps of the level that begins at
# entry `first` and has the `size` (width, height), and `level` is where between levels one looks:
# a level that is less than one away counts.


@ti.func
def weigh_levels(
    find_taps: ti.template(),
    texels: ti.template(),
    parameter: ti.template(),
    plane: ti.template(),
    image: ti.template(),
    place: ti.template(),
    level: float,
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """The sum of texels times shares."""
    sample = ti.Vector([0.0 for _ in ti.static(range(num_channels))])
    first = image.first
    for k in range(count_levels(image, has_levels)):
        size, share = level_size(image, k), level_share(level, k)
        if share > 0.0:
            entries, shares, _, _ = find_taps(image, first, size, place)
            shares *= share
            for channel in ti.static(range(num_channels)):
                numbers = load_channel(texels, parameter, plane, entries, channel)
                sample[channel] += dot(shares, numbers)
        first += count_texels(image, size)
    return sample


@ti.func
def weigh_levels_vjp(
    find_taps: ti.template(),
    texels: ti.template(),
    plane: ti.template(),
    image: ti.template(),
    place: ti.template(),
    level: float,
    grad_sample: ti.template(),
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """The gradients with respect to the place, two numbers, and the level."""
    grad_place, grad_level, first = vec2(0.0), 0.0, image.first
    for k in range(count_levels(image, has_levels)):
        size = level_size(image, k)
        if is_met(level, k):
            entries, shares, by_x, by_y = find_taps(image, first, size, place)
            grad_shares = shares * 0.0
            for channel in ti.static(range(num_channels)):
                numbers = load_channel(texels, 0, plane, entries, channel)
                grad_shares += grad_sample[channel] * numbers
            share = level_share(level, k)
            grad_place += share * vec2(dot(by_x, grad_shares), dot(by_y, grad_shares))
            if ti.static(has_levels):
                grad_level += level_slope(level, k) * dot(shares, grad_shares)
        first += count_texels(image, size)
    return grad_place, grad_level


@ti.func
def weigh_levels_tangent(
    find_taps: ti.template(),
    texels: ti.template(),
    plane: ti.template(),
    image: ti.template(),
    place: ti.template(),
    level: float,
    tangent_place: vec2,
    tangent_level: float,
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """How the sum moves with the place and the level."""
    moved = ti.Vector([0.0 for _ in ti.static(range(num_channels))])
    first = image.first
    for k in range(count_levels(image, has_levels)):
        size = level_size(image, k)
        if is_met(level, k):
            entries, shares, by_x, by_y = find_taps(image, first, size, place)
            shares *= level_slope(level, k) * tangent_level
            moved_in_level = tangent_place.x * by_x + tangent_place.y * by_y
            shares += level_share(level, k) * moved_in_level
            for channel in ti.static(range(num_channels)):
                numbers = load_channel(texels, 0, plane, entries, channel)
                moved[channel] += dot(shares, numbers)
        first += count_texels(image, size)
    return moved


@ti.func
def add_to_levels(
    find_taps: ti.template(),
    grad_texels: ti.template(),
    plane: ti.template(),
    image: ti.template(),
    place: ti.template(),
    level: float,
    grad_sample: ti.template(),
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """Adds the gradient with respect to the texels, which others add to at the same time."""
    first = image.first
    for k in range(count_levels(image, has_levels)):
        size, share = level_size(image, k), level_share(level, k)
        if share > 0.0:
            entries, shares, _, _ = find_taps(image, first, size, place)
            shares *= share
            for tap in ti.static(range(NUM_TAPS)):
                for channel in ti.static(range(num_channels)):
                    grad = shares[tap] * grad_sample[channel]
                    grad_texels[plane, 0, entries[tap], channel] += grad
        first += count_texels(image, size)


# --- the level of a pyramid ---


@ti.func
def level_share(level: ti.template(), k: ti.template()):
    """How much of a sample comes from level `k` if one looks at `level`, a float; else below 0."""
    return 1.0 - ti.abs(ti.cast(k, float) - level)


@ti.func
def level_slope(level: ti.template(), k: ti.template()):
    """The derivative of `level_share` by `level`."""
    return ti.select(ti.cast(k, float) > level, 1.0, -1.0)


@ti.func
def is_met(level: ti.template(), k: ti.template()):
    """Whether a share of level `k` is there, or comes when `level` rises."""
    behind = ti.cast(k, float) - level
    return (behind > -1.0) & (behind <= 1.0)


@ti.func
def footprint(image: ti.template(), uv_dx: vec2, uv_dy: vec2):
    """What a pixel covers of level 0, in texels: an ellipse.

    `squared` is the square of its half major axis, the largest singular value of the Jacobian
    with the columns `along_x` and `along_y`.
    """
    size = vec2(ti.cast(image.width, float), ti.cast(image.height, float))
    along_x, along_y = bounded(uv_dx * size), bounded(uv_dy * size)
    difference = dot(along_x, along_x) - dot(along_y, along_y)
    product = 2.0 * dot(along_x, along_y)
    spread = ti.sqrt(difference * difference + product * product)
    squared = 0.5 * (dot(along_x, along_x) + dot(along_y, along_y) + spread)
    return ti.Struct(
        along_x=along_x,
        along_y=along_y,
        difference=difference,
        product=product,
        spread=spread,
        squared=squared,
    )


@ti.func
def bounded(lengths: vec2) -> vec2:
    """Numbers of which fourth powers can be taken; 0 in place of NaN."""
    return vec2(
        within(lengths.x, LARGEST_FOOTPRINT),
        within(lengths.y, LARGEST_FOOTPRINT),
    )


@ti.func
def within(number: float, largest: float) -> float:
    """A number of [-largest, largest]; 0 in place of NaN."""
    return ti.min(ti.max(ti.select(ti.math.isnan(number), 0.0, number), -largest), largest)


@ti.func
def sharpness_level(covered: ti.template(), level_bias: float) -> float:
    """The level whose texels are as large as the footprint, before it is cut to the pyramid."""
    squared = ti.max(covered.squared, SMALLEST_SQUARED_FOOTPRINT)
    return HALF_PER_LOG_2 * ti.log(squared) + level_bias


@ti.func
def level_of(
    image: ti.template(), uv_dx: vec2, uv_dy: vec2, level_bias: float, has_levels: ti.template()
) -> float:
    """log2 of the half major axis, in [0, levels - 1]; 0 unless the filter is trilinear."""
    level = 0.0
    if ti.static(has_levels):
        sharpness = sharpness_level(footprint(image, uv_dx, uv_dy), level_bias)
        within_pyramid = ti.min(ti.max(sharpness, 0.0), ti.cast(image.levels - 1, float))
        level = ti.select(image.filter == TRILINEAR, within_pyramid, 0.0)
    return level


@ti.func
def level_slopes(image: ti.template(), uv_dx: vec2, uv_dy: vec2, level_bias: float):
    """The derivatives of `level_of`; 0 at the ends of the pyramid.

    Of a circle, whose axes turn at once, it is the mean of those of all directions.
    """
    covered = footprint(image, uv_dx, uv_dy)
    level = sharpness_level(covered, level_bias)
    last = ti.cast(image.levels - 1, float)
    is_free = (image.filter == TRILINEAR) & (level > 0.0) & (level < last)
    squared = ti.max(covered.squared, SMALLEST_SQUARED_FOOTPRINT)
    is_circle = covered.spread <= SMALLEST_SQUARED_FOOTPRINT
    spread = ti.max(covered.spread, SMALLEST_SQUARED_FOOTPRINT)
    cosine = ti.select(is_circle, 0.0, covered.difference / spread)
    sine = ti.select(is_circle, 0.0, covered.product / spread)
    scale = ti.select(is_free, HALF_PER_LOG_2 / squared, 0.0)
    size = vec2(ti.cast(image.width, float), ti.cast(image.height, float)) * scale
    along_x, along_y = covered.along_x, covered.along_y
    return ti.Struct(
        uv_dx=size * ((1.0 + cosine) * along_x + sine * along_y),
        uv_dy=size * ((1.0 - cosine) * along_y + sine * along_x),
        level_bias=ti.select(is_free, 1.0, 0.0),
    )


@ti.func
def count_levels(image: ti.template(), has_levels: ti.template()) -> int:
    """Of a picture, if pictures have levels at all."""
    count = 1
    if ti.static(has_levels):
        count = image.levels
    return count


@ti.func
def level_size(image: ti.template(), level: ti.template()):
    """Width and height of a level; of a cube map those of a side."""
    return ti.Vector([ti.max(image.width >> level, 1), ti.max(image.height >> level, 1)])


@ti.func
def count_texels(image: ti.template(), size: ti.template()):
    """Of a level of this size."""
    return size.x * size.y * ti.select(image.wrap == CUBE, 6, 1)


@ti.func
def level_image(image: ti.template(), level: int):
    """Where a level begins, and its sides."""
    first = image.first
    for k in range(level):
        first += count_texels(image, level_size(image, k))
    size = level_size(image, level)
    return ti.Struct(first=first, height=size.y, width=size.x)


# --- the texels around a point of a picture ---


@ti.func
def picture_taps(image: ti.template(), first: int, size: ti.template(), uv: ti.template()):
    """The taps of a level of a flat picture."""
    safe = vec2(within(uv.x, LARGEST_UV), within(uv.y, LARGEST_UV))
    return wrapped_taps(first, size, safe, image.filter, ti.Vector([image.wrap, image.wrap]))


@ti.func
def wrapped_taps(first: int, size: ti.template(), uv: vec2, filter: int, wraps):
    """The taps of a level around a point: two rows and two columns.

    The axes may have different `wraps`. A mirrored picture is one that ends with its edge texels,
    looked at in a folded place.
    """
    point, extent = vec2(uv.x, 1.0 - uv.y), ti.cast(size, float)
    is_mirrored = wraps == MIRROR
    folded = point - 2.0 * ti.floor(0.5 * point)
    is_back = is_mirrored & (folded >= 1.0)
    folded = ti.select(is_back, 2.0 - folded, folded)
    ended = ti.select(is_mirrored, folded, ti.min(ti.max(point, -1.0), 2.0))
    place = ti.select(wraps == REPEAT, point - ti.floor(point), ended)
    slope = ti.select(is_back, -extent, extent) * vec2(1.0, -1.0)
    low, upper, rise = texels_around(place * extent - 0.5, slope, filter)
    near, near_counts = wrapped_index(low, size, wraps)
    far, far_counts = wrapped_index(low + 1, size, wraps)
    shares, by_x, by_y = grid_shares(
        (1.0 - upper) * near_counts, upper * far_counts, -rise * near_counts, rise * far_counts
    )
    return first + down(near, far) * size.x + across(near, far), shares, by_x, by_y


@ti.func
def wrapped_index(index, size: ti.template(), wraps: ti.template()):
    """Along both axes, which texel an index stands for, and 0 where nothing is there, else 1."""
    inside = ti.min(ti.max(index, 0), size - 1)
    around = index + ti.select(index < 0, size, 0) - ti.select(index >= size, size, 0)
    counts = ti.select((wraps == ZERO) & (inside != index), 0.0, 1.0)
    return ti.select(wraps == REPEAT, around, inside), counts


@ti.func
def texels_around(place: vec2, slope: vec2, filter: int):
    """Along both axes, the texel before a place, the centre of texel 0 at 0, wherever it is.

    Then the share of the next texel, and how that rises.
    """
    is_nearest = filter == NEAREST
    low = ti.floor(ti.select(is_nearest, place + 0.5, place))
    upper = ti.select(is_nearest, 0.0, place - low)
    return ti.cast(low, ti.i32), upper, ti.select(is_nearest, 0.0, slope)


@ti.func
def grid_shares(near: vec2, far: vec2, near_slopes: vec2, far_slopes: vec2):
    """Of four texels, their shares and slopes, from those of two columns (x) and two rows (y)."""
    columns, rows = across(near, far), down(near, far)
    return (
        rows * columns,
        rows * across(near_slopes, far_slopes),
        down(near_slopes, far_slopes) * columns,
    )


@ti.func
def across(near: ti.template(), far: ti.template()):
    """Of four texels, row by row, what their columns have."""
    return ti.Vector([near.x, far.x, near.x, far.x])


@ti.func
def down(near: ti.template(), far: ti.template()):
    """Of four texels, row by row, what their rows have."""
    return ti.Vector([near.y, near.y, far.y, far.y])


@ti.func
def sample_image(
    texels: ti.template(),
    plane: int,
    image: ti.template(),
    uv: vec2,
    uv_dx: vec2,
    uv_dy: vec2,
    level_bias: float,
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """A picture at a point, by its filter and wrap.

    Args:
        texels: (planes, 1, entries, channels).
        plane: of `texels`.
        image: of `load_image`.
        uv: the point; NaN is taken for 0.
        uv_dx: how uv changes from a pixel to the next, along x of the screen.
        uv_dy: the same along y.
        level_bias: is added to the level of a pyramid.
        num_channels: that are looked up, the first ones.
        has_levels: whether some picture is trilinear; without it uv_dx and uv_dy do not matter.
    """
    level = level_of(image, uv_dx, uv_dy, level_bias, has_levels)
    return weigh_levels(picture_taps, texels, 0, plane, image, uv, level, num_channels, has_levels)


@ti.func
def sample_image_vjp(
    texels: ti.template(),
    plane: int,
    image: ti.template(),
    uv: vec2,
    uv_dx: vec2,
    uv_dy: vec2,
    level_bias: float,
    grad_sample: ti.template(),
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """The gradients with respect to uv, uv_dx, uv_dy and level_bias (`level`)."""
    level = level_of(image, uv_dx, uv_dy, level_bias, has_levels)
    grad_uv, grad_level = weigh_levels_vjp(
        picture_taps, texels, plane, image, uv, level, grad_sample, num_channels, has_levels
    )
    grad_dx, grad_dy = vec2(0.0), vec2(0.0)
    if ti.static(has_levels):
        slopes = level_slopes(image, uv_dx, uv_dy, level_bias)
        grad_dx, grad_dy = grad_level * slopes.uv_dx, grad_level * slopes.uv_dy
        grad_level *= slopes.level_bias
    return ti.Struct(uv=grad_uv, uv_dx=grad_dx, uv_dy=grad_dy, level_bias=grad_level)


@ti.func
def sample_image_tangent(  # what a picture is, where it is looked at, and how both move
    texels: ti.template(),
    tangent_texels: ti.template(),
    parameter: int,
    plane: int,
    image: ti.template(),
    uv: vec2,
    uv_dx: vec2,
    uv_dy: vec2,
    level_bias: float,
    tangent_uv: vec2,
    tangent_dx: vec2,
    tangent_dy: vec2,
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """How `sample_image` moves with the texels, uv, uv_dx and uv_dy.

    `tangent_texels` is (parameters, planes, 1, entries, channels), or as `texels` are, and then
    `parameter` does not matter.
    """
    level = level_of(image, uv_dx, uv_dy, level_bias, has_levels)
    tangent_level = 0.0
    if ti.static(has_levels):
        slopes = level_slopes(image, uv_dx, uv_dy, level_bias)
        tangent_level = dot(slopes.uv_dx, tangent_dx) + dot(slopes.uv_dy, tangent_dy)
    by_texels = weigh_levels(
        picture_taps, tangent_texels, parameter, plane, image, uv, level, num_channels, has_levels
    )
    return by_texels + weigh_levels_tangent(
        picture_taps,
        texels,
        plane,
        image,
        uv,
        level,
        tangent_uv,
        tangent_level,
        num_channels,
        has_levels,
    )


@ti.func
def add_to_texels(
    grad_texels: ti.template(),
    plane: int,
    image: ti.template(),
    uv: vec2,
    uv_dx: vec2,
    uv_dy: vec2,
    level_bias: float,
    grad_sample: ti.template(),
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """Adds the gradient of a sample with respect to the texels, as those of `sample_image`."""
    level = level_of(image, uv_dx, uv_dy, level_bias, has_levels)
    add_to_levels(
        picture_taps, grad_texels, plane, image, uv, level, grad_sample, num_channels, has_levels
    )
