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
def place_on_cube(direction: vec3):
    """Where a direction meets the cube: the side, and x and y of [-1, 1], with slopes by it."""
    safe = numbers_of(direction)
    side = side_of(safe)
    axes = axes_of(side)
    depth = axes.outward.dot(safe)
    scale = ti.select(depth > SMALLEST_DIRECTION, 1.0 / ti.max(depth, SMALLEST_DIRECTION), 0.0)
    x = within(axes.rightward.dot(safe) * scale, 1.0)
    y = within(axes.downward.dot(safe) * scale, 1.0)
    return ti.Struct(
        side=side,
        axes=axes,
        scale=scale,
        x=x,
        y=y,
        x_slope=(axes.rightward - x * axes.outward) * scale,
        y_slope=(axes.downward - y * axes.outward) * scale,
    )


@ti.func
def cube_footprint(place: ti.template(), moved: vec3) -> vec2:
    """How far a place moves on its side, of length 1, with the direction."""
    safe = numbers_of(moved)
    return 0.5 * vec2(place.x_slope.dot(safe), place.y_slope.dot(safe))


@ti.func
def cube_footprint_vjp(place: ti.template(), moved: vec3, grad: vec2):
    """The gradients with respect to the direction and to `moved`."""
    of_moved = 0.5 * (grad.x * place.x_slope + grad.y * place.y_slope)
    outward = place.axes.outward * place.scale
    of_outward = -grad.dot(cube_footprint(place, moved)) * outward
    return of_outward - outward.dot(numbers_of(moved)) * of_moved, of_moved


@ti.func
def cube_entry(part: ti.template(), place: ti.template(), row: int, column: int) -> int:
    """The entry of a texel of a side, which may be one beyond an edge.

    The centre of such a texel lies behind the edge as far as the last one before it: on the cube
    it is the centre of a texel of another side.
    """
    size = ti.cast(part.width, float)
    x = ti.cast(2 * column + 1, float) / size - 1.0
    y = ti.cast(2 * row + 1, float) / size - 1.0
    is_beyond = ti.max(ti.abs(x), ti.abs(y)) > 1.0
    x, y = ti.min(ti.max(x, -1.0), 1.0), ti.min(ti.max(y, -1.0), 1.0)
    depth = ti.select(is_beyond, 1.0 - 1.0 / size, 1.0)
    axes = place.axes
    centre = depth * axes.outward + x * axes.rightward + y * axes.downward
    side = side_of(centre)
    there = axes_of(side)
    at = vec2(there.rightward.dot(centre), there.downward.dot(centre))
    indices = ti.cast(ti.floor(0.5 * (at + 1.0) * size), ti.i32)
    indices = ti.min(ti.max(indices, 0), part.width - 1)
    return part.first + (side * part.width + indices.y) * part.width + indices.x


@ti.func
def cube_level_taps(
    image: ti.template(), place: ti.template(), level: int, has_levels: ti.template()
):
    """The four texels around a point of one level, their shares, and slopes by the direction."""
    part = level_image(image, level, has_levels)
    half = 0.5 * ti.cast(part.width, float)
    # where a side ends; the nearest texel is always within it
    largest = 2.0 * half - ti.select(image.filter == NEAREST, 1.0, 0.5)
    columns = texels_around(ti.min((place.x + 1.0) * half - 0.5, largest), half, image.filter)
    rows = texels_around(ti.min((place.y + 1.0) * half - 0.5, largest), half, image.filter)
    entries = ti.Vector([0 for _ in ti.static(range(4))])
    shares = ti.Vector([0.0 for _ in ti.static(range(4))])
    slopes = ti.Matrix.zero(float, 4, 3)
    for k in ti.static(range(4)):
        row, column = ti.static(k // 2, k % 2)
        entries[k] = cube_entry(part, place, rows.indices[row], columns.indices[column])
        shares[k] = rows.shares[row] * columns.shares[column]
        by_x = rows.shares[row] * columns.slopes[column]
        by_y = rows.slopes[row] * columns.shares[column]
        slope = by_x * place.x_slope + by_y * place.y_slope
        for axis in ti.static(range(3)):
            slopes[k, axis] = slope[axis]
    share_corner(part.width, columns.indices, rows.indices, shares, slopes)
    return ti.Struct(entries=entries, shares=shares, slopes=slopes)


@ti.func
def share_corner(
    size: int,
    columns: ti.template(),
    rows: ti.template(),
    shares: ti.template(),
    slopes: ti.template(),
):
    """Gives the share of a texel beyond a corner of the cube to the other three."""
    for k in ti.static(range(4)):
        row, column = rows[ti.static(k // 2)], columns[ti.static(k % 2)]
        is_missing = ((row < 0) | (row >= size)) & ((column < 0) | (column >= size))
        if is_missing:
            for other in ti.static(range(4)):
                if ti.static(other != k):
                    shares[other] += shares[k] / 3.0
                    for axis in ti.static(range(3)):
                        slopes[other, axis] += slopes[k, axis] / 3.0
            shares[k] = 0.0
            for axis in ti.static(range(3)):
                slopes[k, axis] = 0.0


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
        along_x, along_y = cube_footprint(place, direction_dx), cube_footprint(place, direction_dy)
        levels = levels_around(image, level_of(image, along_x, along_y, level_bias))
        fine = cube_level_taps(image, place, levels.fine, True)
        coarse = cube_level_taps(image, place, levels.coarse, True)
        return mix_levels(fine, coarse, levels.fade, 3)
    else:
        return only_level(cube_level_taps(image, place, 0, False))


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
    grad = moved_shares_vjp(taps, grad_shares, 3)
    grad_level, grad_dx, grad_dy = 0.0, vec3(0.0), vec3(0.0)
    if ti.static(has_levels):
        along_x, along_y = cube_footprint(place, direction_dx), cube_footprint(place, direction_dy)
        slopes = level_slopes(image, along_x, along_y, level_bias)
        grad_level = taps.by_level.dot(grad_shares)
        by_x, grad_dx = cube_footprint_vjp(place, direction_dx, grad_level * slopes.uv_dx)
        by_y, grad_dy = cube_footprint_vjp(place, direction_dy, grad_level * slopes.uv_dy)
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
        along_x, along_y = cube_footprint(place, direction_dx), cube_footprint(place, direction_dy)
        slopes = level_slopes(image, along_x, along_y, level_bias)
        by_x, by_dx = cube_footprint_vjp(place, direction_dx, slopes.uv_dx)
        by_y, by_dy = cube_footprint_vjp(place, direction_dy, slopes.uv_dy)
        tangent_level = (by_x + by_y).dot(tangent_direction)
        tangent_level += by_dx.dot(tangent_dx) + by_dy.dot(tangent_dy)
    moved = moved_shares(taps, tangent_direction, tangent_level)
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
