"""Cube maps: a direction in, the texels around it out, across the edges of the cube.

A cube map is a picture of funcs/images.py with the wrap `CUBE`, whose level is six squares, one
below the other: +x, -x, +y, -y, +z, -z, with the columns and rows of OpenGL, seen from inside.
Texels beyond an edge are those of the neighbouring square, so there are no seams. At the corners
of the cube, where three texels meet and a fourth is missing, that is the mean of the three.
"""

from taichi_softras.funcs.images import (
    LARGEST_UV,
    NEAREST,
    NUM_TAPS,
    across,
    add_to_levels,
    down,
    grid_shares,
    level_of,
    level_slopes,
    texels_around,
    weigh_levels,
    weigh_levels_tangent,
    weigh_levels_vjp,
    within,
)
from taichi_softras.funcs.vectors import dot
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
        column_across=ti.cast(dot(axes.rightward, outward), ti.i32),
        column_along=ti.cast(dot(axes.rightward, along), ti.i32),
        row_across=ti.cast(dot(axes.downward, outward), ti.i32),
        row_along=ti.cast(dot(axes.downward, along), ti.i32),
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
    depth = dot(axes.outward, safe)
    scale = ti.select(depth > SMALLEST_DIRECTION, 1.0 / ti.max(depth, SMALLEST_DIRECTION), 0.0)
    x = within(dot(axes.rightward, safe) * scale, 1.0)
    y = within(dot(axes.downward, safe) * scale, 1.0)
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
    return 0.5 * vec2(dot(place.x_slope, safe), dot(place.y_slope, safe))


@ti.func
def moved_on_cube_vjp(place: ti.template(), moved: vec3, grad: vec2):
    """The gradients with respect to the direction and to `moved`."""
    of_moved = 0.5 * (grad.x * place.x_slope + grad.y * place.y_slope)
    of_outward = -dot(grad, moved_on_cube(place, moved)) * place.outward
    return of_outward - dot(place.outward, numbers_of(moved)) * of_moved, of_moved


@ti.func
def entry_of(first: int, width: int, side: int, row: int, column: int) -> int:
    """Of a texel of a side."""
    return first + (side * width + row) * width + column


@ti.func
def entry_beyond(first: int, width: int, edge: ti.template(), index: int) -> int:
    """Of the texel beyond an edge that is next to texel `index` of it."""
    last = width - 1
    along = 2 * ti.min(ti.max(index, 0), last) - last
    column = (edge.column_across * last + edge.column_along * along + last) // 2
    row = (edge.row_across * last + edge.row_along * along + last) // 2
    return entry_of(first, width, edge.side, row, column)


@ti.func
def cube_taps(image: ti.template(), first: int, size: ti.template(), place: ti.template()):
    """The taps of a level, see `images`, with slopes on the side of the `place`.

    The share of a texel beyond a corner of the cube goes to the other three.
    """
    width, extent = size.x, ti.cast(size.x, float)
    # where a side ends; the nearest texel is always within it
    largest = extent - ti.select(image.filter == NEAREST, 1.0, 0.5)
    at = ti.min(0.5 * (vec2(place.x, place.y) + 1.0) * extent - 0.5, largest)
    low, upper, rise = texels_around(at, vec2(extent), image.filter)
    columns, rows = across(low, low + 1), down(low, low + 1)
    shares, by_x, by_y = grid_shares(1.0 - upper, upper, -rise, rise)
    entries = ti.Vector([0 for _ in ti.static(range(NUM_TAPS))])
    is_missing = ti.Vector([0 for _ in ti.static(range(NUM_TAPS))])
    for k in ti.static(range(NUM_TAPS)):
        row, column = rows[k], columns[k]
        is_beside, is_above = is_outside(column, width), is_outside(row, width)
        beyond = ti.select(
            is_beside,
            entry_beyond(first, width, place.beside, row),
            entry_beyond(first, width, place.above, column),
        )
        inside = entry_of(first, width, place.side, row, column)
        entries[k] = ti.select(is_beside | is_above, beyond, inside)
        is_missing[k] = is_beside & is_above
    return (
        entries,
        shared_out(shares, is_missing),
        shared_out(by_x, is_missing),
        shared_out(by_y, is_missing),
    )


@ti.func
def shared_out(shares: ti.template(), is_missing: ti.template()):
    """What the missing one of four has goes to the other three."""
    lost = ti.select(is_missing, shares, 0.0)
    return ti.select(is_missing, 0.0, shares + lost.sum() / 3.0)


@ti.func
def is_outside(index: int, size: int) -> int:
    """Whether a side ends before a texel."""
    return (index < 0) | (index >= size)


@ti.func
def cube_level(
    image: ti.template(),
    place: ti.template(),
    direction_dx: vec3,
    direction_dy: vec3,
    level_bias: float,
    has_levels: ti.template(),
) -> float:
    """`images.level_of` of a cube map."""
    along_x, along_y = moved_on_cube(place, direction_dx), moved_on_cube(place, direction_dy)
    return level_of(image, along_x, along_y, level_bias, has_levels)


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
    level = cube_level(image, place, direction_dx, direction_dy, level_bias, has_levels)
    return weigh_levels(cube_taps, texels, 0, plane, image, place, level, num_channels, has_levels)


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
    level = cube_level(image, place, direction_dx, direction_dy, level_bias, has_levels)
    grad_place, grad_level = weigh_levels_vjp(
        cube_taps, texels, plane, image, place, level, grad_sample, num_channels, has_levels
    )
    _, grad = moved_on_cube_vjp(place, vec3(0.0), grad_place)
    grad_dx, grad_dy = vec3(0.0), vec3(0.0)
    if ti.static(has_levels):
        along_x, along_y = moved_on_cube(place, direction_dx), moved_on_cube(place, direction_dy)
        slopes = level_slopes(image, along_x, along_y, level_bias)
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
    level = cube_level(image, place, direction_dx, direction_dy, level_bias, has_levels)
    tangent_level = 0.0
    if ti.static(has_levels):
        along_x, along_y = moved_on_cube(place, direction_dx), moved_on_cube(place, direction_dy)
        slopes = level_slopes(image, along_x, along_y, level_bias)
        by_x, by_dx = moved_on_cube_vjp(place, direction_dx, slopes.uv_dx)
        by_y, by_dy = moved_on_cube_vjp(place, direction_dy, slopes.uv_dy)
        tangent_level = dot(by_x + by_y, tangent_direction)
        tangent_level += dot(by_dx, tangent_dx) + dot(by_dy, tangent_dy)
    by_texels = weigh_levels(
        cube_taps, tangent_texels, parameter, plane, image, place, level, num_channels, has_levels
    )
    return by_texels + weigh_levels_tangent(
        cube_taps,
        texels,
        plane,
        image,
        place,
        level,
        moved_on_cube(place, tangent_direction),
        tangent_level,
        num_channels,
        has_levels,
    )


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
):
    """`images.add_to_texels` of a cube map."""
    place = place_on_cube(direction)
    level = cube_level(image, place, direction_dx, direction_dy, level_bias, has_levels)
    add_to_levels(
        cube_taps, grad_texels, plane, image, place, level, grad_sample, num_channels, has_levels
    )
