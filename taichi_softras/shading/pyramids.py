"""Pyramids of pictures: each level the means of the finer one."""

from collections.abc import Sequence

from taichi_softras.funcs.images import (
    CUBE,
    IMAGE_SIZE,
    MOST_LEVELS,
    TRILINEAR,
    level_image,
    load_image,
    load_texel,
    store_texel,
)
from taichi_softras.runtime import kernel, ti, vec3
from taichi_softras.workspace import Workspace, array


def lay_out_images(sizes: Sequence) -> tuple:
    """Where pictures and their pyramids lie in one array of texels.

    Args:
        sizes: (height, width, filter, wrap) of each, numbers as in funcs/images.py; of a cube map
            height and width are those of a side.

    Returns:
        (rows, num_texels): six ints for each, what `funcs.images.load_image` reads, and how many
        texels there are of all. Trilinear pictures have all levels, others one.
    """
    rows, first = [], 0
    for height, width, filter, wrap in sizes:
        levels = 1
        if filter == TRILINEAR:
            levels = min(max(height, width).bit_length(), MOST_LEVELS)
        rows.append((first, height, width, levels, filter, wrap))
        first += sum(num_texels(rows[-1], level) for level in range(levels))
    return rows, first


def num_texels(row: tuple, level: int) -> int:
    """Of one level of a picture, all sides of a cube map."""
    _, height, width, _, _, wrap = row
    return max(height >> level, 1) * max(width >> level, 1) * (6 if wrap == CUBE else 1)


def build_levels(workspace: Workspace, texels: ti.Ndarray, rows: Sequence) -> None:
    """Fills the levels of pyramids from their finest ones.

    Args:
        workspace: keeps `rows` on the device.
        texels: (planes, 1, N, C); or (parameters, planes, 1, N, C), tangents.
        rows: of `lay_out_images`, each picture once.
    """
    for level, most in _levels(rows):
        reduce_level(texels, _table(workspace, rows), level, most)


def build_levels_vjp(workspace: Workspace, grad_texels: ti.Ndarray, rows: Sequence) -> None:
    """Adds the gradients of coarse levels to the finer ones, in the end to the pictures."""
    for level, most in reversed(_levels(rows)):
        reduce_level_vjp(grad_texels, _table(workspace, rows), level, most)


def _levels(rows: Sequence) -> list:
    """(level, most texels of a picture in it or in the finer one) of all but the finest."""
    highest = max((row[3] for row in rows), default=1)
    return [
        (level, max(num_texels(row, level - 1) for row in rows if row[3] > level))
        for level in range(1, highest)
    ]


def _table(workspace: Workspace, rows: Sequence) -> ti.Ndarray:
    numbers = tuple(number for row in rows for number in row)
    return workspace.constants("pyramids", numbers, int)


@ti.func
def reduction(index: int, size: int):
    """Shares of the texels 2 index, + 1, + 2 of a finer level in a texel, along one axis.

    The coarse texel covers size / max(1, size // 2) fine ones, two or up to three. Each fine texel
    counts as much as any other, so the mean stays.
    """
    half = ti.cast(ti.max(size // 2, 1), float)
    covered = ti.cast(size, float) / half
    begins, ends = 0.0, 0.0
    if size % 2 == 1:
        begins, ends = ti.cast(index, float) / half, ti.cast(index + 1, float) / half
    shares = vec3(1.0 - begins, 1.0, ends) / covered
    return ti.select(size == 1, vec3(1.0, 0.0, 0.0), shares)


@ti.func
def reduction_vjp(index: int, size: int):
    """The texels of the coarse level that a texel of the finer one is in, and its shares in them.

    It is the first or second texel of one, and may be the third one of that before.
    """
    half = ti.max(size // 2, 1)
    last = index // 2
    shares = ti.Vector([0.0, 0.0])
    if last < half:
        of_last = reduction(last, size)
        shares[0] = ti.select(index % 2 == 0, of_last[0], of_last[1])
    if (index % 2 == 0) & (last > 0):
        shares[1] = reduction(last - 1, size)[2]
    return ti.Vector([ti.min(last, half - 1), ti.max(last - 1, 0)]), shares


@ti.func
def image_with(images: ti.template(), index: int, level: int, texel: int):
    """A picture, a level and the finer one of it, whether there is this texel in the level.

    `row` is counted within the `side` of a cube map, whose sides lie one below the other.
    """
    image = load_image(images, 0, index)
    part = level_image(image, level)
    num_sides = ti.select(image.wrap == CUBE, 6, 1)
    has_texel = (level < image.levels) & (texel < num_sides * part.height * part.width)
    row = texel // part.width
    return image, part, has_texel, row // part.height, row % part.height, texel % part.width


@ti.func
def reduce_texel(
    texels: ti.template(),
    images: ti.template(),
    parameter: int,
    plane: int,
    index: int,
    level: int,
    texel: int,
):
    """Fills a texel of a level, the mean of up to 3 x 3 texels of the finer one."""
    image, coarse, is_there, side, row, column = image_with(images, index, level, texel)
    if is_there:
        fine = level_image(image, level - 1)
        rows, columns = reduction(row, fine.height), reduction(column, fine.width)
        for channel in range(texels.shape[ti.static(len(texels.shape) - 1)]):
            mean = 0.0
            for i, k in ti.static(ti.ndrange(3, 3)):
                fine_row = ti.min(2 * row + i, fine.height - 1)
                fine_column = ti.min(2 * column + k, fine.width - 1)
                entry = fine.first + (side * fine.height + fine_row) * fine.width + fine_column
                share = rows[i] * columns[k]
                mean += share * load_texel(texels, parameter, plane, entry, channel)
            store_texel(texels, parameter, plane, coarse.first + texel, channel, mean)


@ti.func
def reduce_texel_vjp(
    grad_texels: ti.template(),
    images: ti.template(),
    plane: int,
    index: int,
    level: int,
    texel: int,
):
    """Adds the gradients of a level to a texel of the finer one."""
    image, fine, is_there, side, row, column = image_with(images, index, level - 1, texel)
    if is_there & (level < image.levels):
        coarse = level_image(image, level)
        rows, row_shares = reduction_vjp(row, fine.height)
        columns, column_shares = reduction_vjp(column, fine.width)
        for channel in range(grad_texels.shape[3]):
            grad = grad_texels[plane, 0, fine.first + texel, channel]
            for i, k in ti.static(ti.ndrange(2, 2)):
                coarse_row = side * coarse.height + rows[i]
                entry = coarse.first + coarse_row * coarse.width + columns[k]
                grad += row_shares[i] * column_shares[k] * grad_texels[plane, 0, entry, channel]
            grad_texels[plane, 0, fine.first + texel, channel] = grad


@kernel
def reduce_level(
    texels: array(float, None),  # (planes, 1, N, C), or one more axis in front, parameters
    images: array(int, 1),  # six ints each
    level: int,
    most: int,  # texels of a picture that are looked at
):
    """Fills a level of all pictures."""
    num_axes = ti.static(len(texels.shape))
    num_parameters = texels.shape[0] if ti.static(num_axes == 5) else 1
    num_images = images.shape[0] // IMAGE_SIZE
    for parameter, plane, index, texel in ti.ndrange(
        num_parameters, texels.shape[num_axes - 4], num_images, most
    ):
        reduce_texel(texels, images, parameter, plane, index, level, texel)


@kernel
def reduce_level_vjp(
    grad_texels: array(float, 4),  # (planes, 1, N, C)
    images: array(int, 1),  # six ints each
    level: int,
    most: int,  # texels of a picture that are looked at
):
    """Adds the gradients of a level to the finer one, of all pictures."""
    num_images = images.shape[0] // IMAGE_SIZE
    for plane, index, texel in ti.ndrange(grad_texels.shape[0], num_images, most):
        reduce_texel_vjp(grad_texels, images, plane, index, level, texel)
