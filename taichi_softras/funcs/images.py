"""Pictures and their pyramids: a point of a picture in, the texels around it and their shares out.

A picture is some rows of `texels`, an array (plane, 0, entry, channel): texel (row, column) of
level 0 is entry `first + row * width + column`, row 0 on top, and each level of a pyramid lies
right behind the finer one, with sides of max(1, n // 2). uv = (0, 0) is the lower left corner, and
centres of texels are at half integers.

What is drawn is a sum of texels times shares. Samples, adjoints and tangents are made of `taps`
alone, so they hold for every filter, wrap and for cube maps: the `entries` that are summed, their
`shares`, and how those change with the place (`slopes`) and with the level (`by_level`).
"""

import math

from taichi_softras.runtime import ti, vec2

IMAGE_SIZE = 6  # ints of a picture: see `load_image`
# A table of pictures: how many materials of faces follow; how far those of a view are behind those
# of the view before, 0 if all views have the same faces; the materials; then pictures
NUM_MATERIALS, BY_VIEW, MATERIALS = range(3)
FILTERS = ("nearest", "bilinear", "trilinear")
WRAPS = ("repeat", "mirror", "clamp", "zero")
NEAREST, BILINEAR, TRILINEAR = range(3)
REPEAT, MIRROR, CLAMP, ZERO, CUBE = range(5)
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
    texels: ti.template(), parameter: int, plane: int, entry: int, channel: int
) -> float:
    """A number of a texel; tangents of texels have one more axis in front, `parameter`."""
    texel = 0.0
    if ti.static(len(texels.shape) == 5):
        texel = texels[parameter, plane, 0, entry, channel]
    else:
        texel = texels[plane, 0, entry, channel]
    return texel


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
def weigh_texels(
    texels: ti.template(),
    parameter: int,
    plane: int,
    entries: ti.template(),
    shares: ti.template(),
    num_channels: ti.template(),
):
    """The sum of texels times shares."""
    sample = ti.Vector([0.0 for _ in ti.static(range(num_channels))])
    for k in ti.static(range(entries.n)):
        for channel in ti.static(range(num_channels)):
            texel = load_texel(texels, parameter, plane, entries[k], channel)
            sample[channel] += shares[k] * texel
    return sample


@ti.func
def weigh_texels_vjp(
    texels: ti.template(),
    plane: int,
    entries: ti.template(),
    grad_sample: ti.template(),
    num_channels: ti.template(),
):
    """The gradient with respect to the shares."""
    grad_shares = ti.Vector([0.0 for _ in ti.static(range(entries.n))])
    for k in ti.static(range(entries.n)):
        for channel in ti.static(range(num_channels)):
            grad_shares[k] += grad_sample[channel] * load_texel(
                texels, 0, plane, entries[k], channel
            )
    return grad_shares


@ti.func
def add_shares(
    grad_texels: ti.template(),
    plane: int,
    taps: ti.template(),
    grad_sample: ti.template(),
    num_channels: ti.template(),
    is_atomic: ti.template(),
):
    """Adds the gradient with respect to the texels."""
    for k in ti.static(range(taps.entries.n)):
        for channel in ti.static(range(num_channels)):
            share = taps.shares[k] * grad_sample[channel]
            if ti.static(is_atomic):
                grad_texels[plane, 0, taps.entries[k], channel] += share
            else:
                grad_texels[plane, 0, taps.entries[k], channel] = (
                    grad_texels[plane, 0, taps.entries[k], channel] + share
                )


@ti.func
def moved_shares(taps: ti.template(), tangent_place: vec2, tangent_level: float):
    """The tangent of the shares."""
    moved = taps.by_level * tangent_level
    for k in ti.static(range(taps.entries.n)):
        moved[k] += taps.slopes[k, 0] * tangent_place.x + taps.slopes[k, 1] * tangent_place.y
    return moved


@ti.func
def moved_shares_vjp(taps: ti.template(), grad_shares: ti.template()) -> vec2:
    """The gradient with respect to the place."""
    grad_place = vec2(0.0)
    for k in ti.static(range(taps.entries.n)):
        grad_place += vec2(taps.slopes[k, 0], taps.slopes[k, 1]) * grad_shares[k]
    return grad_place


# --- the level of a pyramid ---


@ti.func
def footprint(image: ti.template(), uv_dx: vec2, uv_dy: vec2):
    """What a pixel covers of level 0, in texels: an ellipse.

    `squared` is the square of its half major axis, the largest singular value of the Jacobian
    with the columns `along_x` and `along_y`.
    """
    size = vec2(ti.cast(image.width, float), ti.cast(image.height, float))
    along_x, along_y = bounded(uv_dx * size), bounded(uv_dy * size)
    difference = along_x.norm_sqr() - along_y.norm_sqr()
    product = 2.0 * along_x.dot(along_y)
    spread = ti.sqrt(difference * difference + product * product)
    squared = 0.5 * (along_x.norm_sqr() + along_y.norm_sqr() + spread)
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
def level_of(image: ti.template(), uv_dx: vec2, uv_dy: vec2, level_bias: float) -> float:
    """log2 of the half major axis, in [0, levels - 1]; 0 unless the filter is trilinear."""
    level = sharpness_level(footprint(image, uv_dx, uv_dy), level_bias)
    last = ti.cast(image.levels - 1, float)
    return ti.select(image.filter == TRILINEAR, ti.min(ti.max(level, 0.0), last), 0.0)


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
def level_image(image: ti.template(), level: int, has_levels: ti.template()):
    """Where a level begins, and its sides."""
    part = ti.Struct(first=image.first, height=image.height, width=image.width)
    if ti.static(has_levels):
        for k in ti.static(range(MOST_LEVELS - 1)):
            part = coarser_level(image, part, k < level)
    return part


@ti.func
def coarser_level(image: ti.template(), part: ti.template(), is_there: int):
    """The level behind one; itself where it is the last."""
    num_texels = part.height * part.width * ti.select(image.wrap == CUBE, 6, 1)
    return ti.Struct(
        first=part.first + ti.select(is_there, num_texels, 0),
        height=ti.select(is_there, ti.max(part.height // 2, 1), part.height),
        width=ti.select(is_there, ti.max(part.width // 2, 1), part.width),
    )


# --- the texels around a point of a picture ---


@ti.func
def axis_taps(coordinate: float, size: int, image: ti.template()):
    """Along one axis: the two texels around a point, their shares, and the slopes of those.

    Index 0 is at the coordinate 0. A mirrored picture is one that ends with its edge texels, looked
    at in a folded place.
    """
    folded = coordinate - 2.0 * ti.floor(0.5 * coordinate)
    is_back = (image.wrap == MIRROR) & (folded >= 1.0)
    slope = ti.select(is_back, -1.0, 1.0) * ti.cast(size, float)
    folded = ti.select(is_back, 2.0 - folded, folded)
    place = ti.select(
        image.wrap == REPEAT,
        coordinate - ti.floor(coordinate),
        ti.select(image.wrap == MIRROR, folded, ti.min(ti.max(coordinate, -1.0), 2.0)),
    )
    taps = texels_around(place * ti.cast(size, float) - 0.5, slope, image.filter)
    for k in ti.static(range(2)):
        index = taps.indices[k]
        inside = ti.min(ti.max(index, 0), size - 1)
        around = index + ti.select(index < 0, size, 0) - ti.select(index >= size, size, 0)
        taps.indices[k] = ti.select(image.wrap == REPEAT, around, inside)
        is_lost = (image.wrap == ZERO) & (inside != index)
        taps.shares[k] = ti.select(is_lost, 0.0, taps.shares[k])
        taps.slopes[k] = ti.select(is_lost, 0.0, taps.slopes[k])
    return taps


@ti.func
def texels_around(place: float, slope: float, filter: int):
    """The two texels around a place, the centre of texel 0 at 0: wherever they are."""
    is_nearest = filter == NEAREST
    low = ti.floor(ti.select(is_nearest, place + 0.5, place))
    upper = ti.select(is_nearest, 0.0, place - low)
    rise = ti.select(is_nearest, 0.0, slope)
    index = ti.cast(low, ti.i32)
    return ti.Struct(
        indices=ti.Vector([index, index + 1]),
        shares=vec2(1.0 - upper, upper),
        slopes=vec2(-rise, rise),
    )


@ti.func
def level_taps(image: ti.template(), part: ti.template(), uv: vec2):
    """The four texels around a point of one level, their shares, and slopes by u and v."""
    columns = axis_taps(within(uv.x, LARGEST_UV), part.width, image)
    rows = axis_taps(1.0 - within(uv.y, LARGEST_UV), part.height, image)
    return grid_taps(part, rows, columns)


@ti.func
def grid_taps(part: ti.template(), rows: ti.template(), columns: ti.template()):
    """The texels where two rows and two columns of a level meet."""
    entries = ti.Vector([0 for _ in ti.static(range(4))])
    shares = ti.Vector([0.0 for _ in ti.static(range(4))])
    slopes = ti.Matrix.zero(float, 4, 2)
    for k in ti.static(range(4)):
        row, column = ti.static(k // 2, k % 2)
        entries[k] = part.first + rows.indices[row] * part.width + columns.indices[column]
        shares[k] = rows.shares[row] * columns.shares[column]
        slopes[k, 0] = rows.shares[row] * columns.slopes[column]
        slopes[k, 1] = -rows.slopes[row] * columns.shares[column]
    return ti.Struct(entries=entries, shares=shares, slopes=slopes)


@ti.func
def levels_around(image: ti.template(), level: float):
    """The two levels around one, and how far it is from the first to the second."""
    low = ti.cast(ti.floor(level), ti.i32)
    fine = level_image(image, low, True)
    coarse = coarser_level(image, fine, low + 1 < image.levels)
    return ti.Struct(fine=fine, coarse=coarse, fade=level - ti.cast(low, float))


@ti.func
def only_level(taps: ti.template()):
    """The taps of one level, which is the only one."""
    by_level = 0.0 * taps.shares
    return ti.Struct(
        entries=taps.entries, shares=taps.shares, slopes=taps.slopes, by_level=by_level
    )


@ti.func
def mix_levels(fine: ti.template(), coarse: ti.template(), fade: float):
    """The taps of two levels, `fade` of the way from one to the other."""
    count = ti.static(fine.entries.n)
    entries = ti.Vector([0 for _ in ti.static(range(2 * count))])
    shares = ti.Vector([0.0 for _ in ti.static(range(2 * count))])
    by_level = ti.Vector([0.0 for _ in ti.static(range(2 * count))])
    slopes = ti.Matrix.zero(float, 2 * count, 2)
    for k in ti.static(range(count)):
        entries[k], entries[count + k] = fine.entries[k], coarse.entries[k]
        shares[k], shares[count + k] = (1.0 - fade) * fine.shares[k], fade * coarse.shares[k]
        by_level[k], by_level[count + k] = -fine.shares[k], coarse.shares[k]
        for axis in ti.static(range(2)):
            slopes[k, axis] = (1.0 - fade) * fine.slopes[k, axis]
            slopes[count + k, axis] = fade * coarse.slopes[k, axis]
    return ti.Struct(entries=entries, shares=shares, slopes=slopes, by_level=by_level)


@ti.func
def image_taps(
    image: ti.template(),
    uv: vec2,
    uv_dx: vec2,
    uv_dy: vec2,
    level_bias: float,
    has_levels: ti.template(),
):
    """All texels that make a sample, their shares, and the slopes of those by uv and level."""
    if ti.static(has_levels):
        levels = levels_around(image, level_of(image, uv_dx, uv_dy, level_bias))
        fine = level_taps(image, levels.fine, uv)
        coarse = level_taps(image, levels.coarse, uv)
        return mix_levels(fine, coarse, levels.fade)
    else:
        return only_level(level_taps(image, level_image(image, 0, False), uv))


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
    taps = image_taps(image, uv, uv_dx, uv_dy, level_bias, has_levels)
    return weigh_texels(texels, 0, plane, taps.entries, taps.shares, num_channels)


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
    taps = image_taps(image, uv, uv_dx, uv_dy, level_bias, has_levels)
    grad_shares = weigh_texels_vjp(texels, plane, taps.entries, grad_sample, num_channels)
    grad_uv = moved_shares_vjp(taps, grad_shares)
    grad_level, grad_dx, grad_dy = 0.0, vec2(0.0), vec2(0.0)
    if ti.static(has_levels):
        slopes = level_slopes(image, uv_dx, uv_dy, level_bias)
        grad_level = taps.by_level.dot(grad_shares)
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
    taps = image_taps(image, uv, uv_dx, uv_dy, level_bias, has_levels)
    tangent_level = 0.0
    if ti.static(has_levels):
        slopes = level_slopes(image, uv_dx, uv_dy, level_bias)
        tangent_level = slopes.uv_dx.dot(tangent_dx) + slopes.uv_dy.dot(tangent_dy)
    moved = moved_shares(taps, tangent_uv, tangent_level)
    by_texels = weigh_texels(
        tangent_texels, parameter, plane, taps.entries, taps.shares, num_channels
    )
    return by_texels + weigh_texels(texels, 0, plane, taps.entries, moved, num_channels)


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
    is_atomic: ti.template(),
):
    """Adds the gradient of a sample with respect to the texels.

    `grad_texels` is as the `texels` of `sample_image`, and `is_atomic` whether others add to the
    same texels at the same time.
    """
    taps = image_taps(image, uv, uv_dx, uv_dy, level_bias, has_levels)
    add_shares(grad_texels, plane, taps, grad_sample, num_channels, is_atomic)
