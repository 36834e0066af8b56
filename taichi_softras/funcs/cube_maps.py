"""Cube maps: a direction in, the texels around it out, across the edges of the cube.

A cube map is a picture of funcs/images.py with the wrap `CUBE`, whose level is six squares, one
below the other: +x, -x, +y, -y, +z, -z, with the columns and rows of OpenGL, seen from inside.
Texels beyond an edge are those of the neighbouring square, so there are no seams. At the corners
of the cube, where three texels meet and a fourth is missing, that is the mean of the three.
"""

from taichi_softras.funcs.images import (
    LARGEST_UV,
    NEAREST,
    add_shares,
    level_image,
    level_of,
    level_slopes,
    levels_around,
    mix_levels,
    moved_shares,
    moved_shares_vjp,
    only_level,
    texels_around,
    weigh_texels,
    weigh_texels_vjp,
    within,
)
from taichi_softras.runtime import ti, vec2, vec3

SMALLEST_DIRECTION = 1e-12  # shorter ones point to the middle of +x, and do not turn


@ti.func
def side_of(direction: vec3) -> int:
    """The side of the cube that a direction meets; of NaN or zero the first one."""
    length = ti.abs(direction)
    is_x = (length.x >= length.y) & (length.x >= length.z)
    is_y = length.y >= length.z
    along = ti.select(is_x, direction.x, ti.select(is_y, direction.y, direction.z))
    axis = ti.select(is_x, 0, ti.select(is_y, 1, 2))
    return 2 * axis + ti.select(along < 0.0, 1, 0)


@ti.func
def axes_of(side: int):
    """Unit vectors of a side: out of the cube, along its columns and along its rows."""
    sign = ti.select(side % 2 == 0, 1.0, -1.0)
    is_x, is_y = side // 2 == 0, side // 2 == 1
    x, y, z = vec3(1.0, 0.0, 0.0), vec3(0.0, 1.0, 0.0), vec3(0.0, 0.0, 1.0)
    return ti.Struct(
        outward=sign * ti.select(is_x, x, ti.select(is_y, y, z)),
        rightward=ti.select(is_x, -sign * z, ti.select(is_y, x, sign * x)),
        downward=ti.select(is_y, sign * z, -y),
    )


@ti.func
def numbers_of(vector: vec3) -> vec3:
    """The vector, bounded, with 0 in place of NaN."""
    return vec3(
        within(vector.x, LARGEST_UV), within(vector.y, LARGEST_UV), within(vector.z, LARGEST_UV)
    )


@ti.func
def edge_of(outward: vec3, towards: vec3, along: vec3):
    """The side beyond an edge of another one, and how its texels at the edge are counted.

    `outward` points out of the one side, `towards` out of the other, `along` is the edge. Column
    and row of a texel there either stay at the edge, `_across` says at which end, or go along with
    it, `_along` says in which direction; the other one is 0.
    """
    side = side_of(towards)
    axes = axes_of(side)
    return ti.Struct(
        side=side,
        column_across=ti.cast(axes.rightward.dot(outward), ti.i32),
        column_along=ti.cast(axes.rightward.dot(along), ti.i32),
        row_across=ti.cast(axes.downward.dot(outward), ti.i32),
        row_along=ti.cast(axes.downward.dot(along), ti.i32),
    )


@ti.func
def place_on_cube(direction: vec3):
    """Where a direction meets the cube.

    The side, x and y of [-1, 1] on it, the slopes of these by the direction, and the edges that are
    next to the place.
    """
    safe = numbers_of(direction)
    side = side_of(safe)
    axes = axes_of(side)
    depth = axes.outward.dot(safe)
    scale = ti.select(depth > SMALLEST_DIRECTION, 1.0 / ti.max(depth, SMALLEST_DIRECTION), 0.0)
    x = within(axes.rightward.dot(safe) * scale, 1.0)
    y = within(axes.downward.dot(safe) * scale, 1.0)
    beside = ti.select(x < 0.0, -axes.rightward, axes.rightward)
    above = ti.select(y < 0.0, -axes.downward, axes.downward)
    return ti.Struct(
        side=side,
        x=x,
        y=y,
        x_slope=(axes.rightward - x * axes.outward) * scale,
        y_slope=(axes.downward - y * axes.outward) * scale,
        outward=axes.outward * scale,
        beside=edge_of(axes.outward, beside, axes.downward),
        above=edge_of(axes.outward, above, axes.rightward),
    )


@ti.func
def moved_on_cube(place: ti.template(), moved: vec3) -> vec2:
    """How far a place moves on its side, of length 1, when the direction does."""
    safe = numbers_of(moved)
    return 0.5 * vec2(place.x_slope.dot(safe), place.y_slope.dot(safe))


@ti.func
def moved_on_cube_vjp(place: ti.template(), moved: vec3, grad: vec2):
    """The gradients with respect to the direction and to `moved`."""
    of_moved = 0.5 * (grad.x * place.x_slope + grad.y * place.y_slope)
    of_outward = -grad.dot(moved_on_cube(place, moved)) * place.outward
    return of_outward - place.outward.dot(numbers_of(moved)) * of_moved, of_moved


@ti.func
def entry_of(part: ti.template(), side: int, row: int, column: int) -> int:
    """Of a texel of a side."""
    return part.first + (side * part.width + row) * part.width + column


@ti.func
def entry_beyond(part: ti.template(), edge: ti.template(), index: int) -> int:
    """Of the texel beyond an edge that is next to texel `index` of it."""
    last = part.width - 1
    along = 2 * ti.min(ti.max(index, 0), last) - last
    column = (edge.column_across * last + edge.column_along * along + last) // 2
    row = (edge.row_across * last + edge.row_along * along + last) // 2
    return entry_of(part, edge.side, row, column)


@ti.func
def cube_level_taps(image: ti.template(), part: ti.template(), place: ti.template()):
    """The four texels around a point of one level, their shares, and slopes on its side.

    The share of a texel beyond a corner of the cube goes to the other three.
    """
    size = ti.cast(part.width, float)
    # where a side ends; the nearest texel is always within it
    largest = size - ti.select(image.filter == NEAREST, 1.0, 0.5)
    columns = texels_around(ti.min(0.5 * (place.x + 1.0) * size - 0.5, largest), size, image.filter)
    rows = texels_around(ti.min(0.5 * (place.y + 1.0) * size - 0.5, largest), size, image.filter)
    entries = ti.Vector([0 for _ in ti.static(range(4))])
    is_missing = ti.Vector([0 for _ in ti.static(range(4))])
    products = ti.Matrix.zero(float, 4, 3)  # the shares, and their slopes
    lost = vec3(0.0)
    for k in ti.static(range(4)):
        i, j = ti.static(k // 2, k % 2)
        row, column = rows.indices[i], columns.indices[j]
        is_beside, is_above = is_outside(column, part.width), is_outside(row, part.width)
        beyond = ti.select(
            is_beside,
            entry_beyond(part, place.beside, row),
            entry_beyond(part, place.above, column),
        )
        inside = entry_of(part, place.side, row, column)
        entries[k] = ti.select(is_beside | is_above, beyond, inside)
        is_missing[k] = is_beside & is_above
        three = vec3(
            rows.shares[i] * columns.shares[j],
            rows.shares[i] * columns.slopes[j],
            rows.slopes[i] * columns.shares[j],
        )
        lost += ti.select(is_missing[k], three, vec3(0.0)) / 3.0
        for n in ti.static(range(3)):
            products[k, n] = three[n]
    for k in ti.static(range(4)):
        for n in ti.static(range(3)):
            products[k, n] = ti.select(is_missing[k], 0.0, products[k, n] + lost[n])
    shares = ti.Vector([products[k, 0] for k in ti.static(range(4))])
    slopes = ti.Matrix([[products[k, 1], products[k, 2]] for k in ti.static(range(4))])
    return ti.Struct(entries=entries, shares=shares, slopes=slopes)


@ti.func
def is_outside(index: int, size: int) -> int:
    """Whether a side ends before a texel."""
    return (index < 0) | (index >= size)


@ti.func
def cube_taps(
    image: ti.template(),
    place: ti.template(),
    direction_dx: vec3,
    direction_dy: vec3,
    level_bias: float,
    has_levels: ti.template(),
):
    """`images.image_taps` of a cube map."""
    if ti.static(has_levels):
        along_x, along_y = moved_on_cube(place, direction_dx), moved_on_cube(place, direction_dy)
        levels = levels_around(image, level_of(image, along_x, along_y, level_bias))
        fine = cube_level_taps(image, levels.fine, place)
        coarse = cube_level_taps(image, levels.coarse, place)
        return mix_levels(fine, coarse, levels.fade)
    else:
        return only_level(cube_level_taps(image, level_image(image, 0, False), place))


@ti.func
def sample_cube(
    texels: ti.template(),
    plane: int,
    image: ti.template(),
    direction: vec3,
    direction_dx: vec3,
    direction_dy: vec3,
    level_bias: float,
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """A cube map in a direction, of any length; the rest as `images.sample_image`."""
    place = place_on_cube(direction)
    taps = cube_taps(image, place, direction_dx, direction_dy, level_bias, has_levels)
    return weigh_texels(texels, 0, plane, taps.entries, taps.shares, num_channels)


@ti.func
def sample_cube_vjp(
    texels: ti.template(),
    plane: int,
    image: ti.template(),
    direction: vec3,
    direction_dx: vec3,
    direction_dy: vec3,
    level_bias: float,
    grad_sample: ti.template(),
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """The gradients with respect to direction, direction_dx, direction_dy and level_bias."""
    place = place_on_cube(direction)
    taps = cube_taps(image, place, direction_dx, direction_dy, level_bias, has_levels)
    grad_shares = weigh_texels_vjp(texels, plane, taps.entries, grad_sample, num_channels)
    grad_place = moved_shares_vjp(taps, grad_shares)
    _, grad = moved_on_cube_vjp(place, vec3(0.0), grad_place)
    grad_level, grad_dx, grad_dy = 0.0, vec3(0.0), vec3(0.0)
    if ti.static(has_levels):
        along_x, along_y = moved_on_cube(place, direction_dx), moved_on_cube(place, direction_dy)
        slopes = level_slopes(image, along_x, along_y, level_bias)
        grad_level = taps.by_level.dot(grad_shares)
        by_x, grad_dx = moved_on_cube_vjp(place, direction_dx, grad_level * slopes.uv_dx)
        by_y, grad_dy = moved_on_cube_vjp(place, direction_dy, grad_level * slopes.uv_dy)
        grad += by_x + by_y
        grad_level *= slopes.level_bias
    return ti.Struct(
        direction=grad, direction_dx=grad_dx, direction_dy=grad_dy, level_bias=grad_level
    )


@ti.func
def sample_cube_tangent(  # as `images.sample_image_tangent`
    texels: ti.template(),
    tangent_texels: ti.template(),
    parameter: int,
    plane: int,
    image: ti.template(),
    direction: vec3,
    direction_dx: vec3,
    direction_dy: vec3,
    level_bias: float,
    tangent_direction: vec3,
    tangent_dx: vec3,
    tangent_dy: vec3,
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    """How `sample_cube` moves with the texels, direction, direction_dx and direction_dy."""
    place = place_on_cube(direction)
    taps = cube_taps(image, place, direction_dx, direction_dy, level_bias, has_levels)
    tangent_level = 0.0
    if ti.static(has_levels):
        along_x, along_y = moved_on_cube(place, direction_dx), moved_on_cube(place, direction_dy)
        slopes = level_slopes(image, along_x, along_y, level_bias)
        by_x, by_dx = moved_on_cube_vjp(place, direction_dx, slopes.uv_dx)
        by_y, by_dy = moved_on_cube_vjp(place, direction_dy, slopes.uv_dy)
        tangent_level = (by_x + by_y).dot(tangent_direction)
        tangent_level += by_dx.dot(tangent_dx) + by_dy.dot(tangent_dy)
    moved = moved_shares(taps, moved_on_cube(place, tangent_direction), tangent_level)
    by_texels = weigh_texels(
        tangent_texels, parameter, plane, taps.entries, taps.shares, num_channels
    )
    return by_texels + weigh_texels(texels, 0, plane, taps.entries, moved, num_channels)


@ti.func
def add_cube_to_texels(
    grad_texels: ti.template(),
    plane: int,
    image: ti.template(),
    direction: vec3,
    direction_dx: vec3,
    direction_dy: vec3,
    level_bias: float,
    grad_sample: ti.template(),
    num_channels: ti.template(),
    has_levels: ti.template(),
    is_atomic: ti.template(),
):
    """`images.add_to_texels` of a cube map."""
    place = place_on_cube(direction)
    taps = cube_taps(image, place, direction_dx, direction_dy, level_bias, has_levels)
    add_shares(grad_texels, plane, taps, grad_sample, num_channels, is_atomic)
