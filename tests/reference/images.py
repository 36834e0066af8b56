"""Samples of pictures and cube maps, texel by texel: slow and obvious."""

import numpy as np

# (s, t, outward) as signed axes, from OpenGL's table of cube maps: x, y, z are 1, 2, 3
CUBE_AXES = [(-3, -2, 1), (3, -2, -1), (1, 3, 2), (1, -3, -2), (1, -2, 3), (-1, -2, -3)]


def wrapped_index(index: int, size: int, wrap: str):
    """The texel that stands at an index of an endless picture; None where there is nothing."""
    if wrap == "repeat":
        return index % size
    if wrap == "mirror":
        index %= 2 * size
        return index if index < size else 2 * size - 1 - index
    if wrap == "zero" and not 0 <= index < size:
        return None
    return min(max(index, 0), size - 1)


def texel(image: np.ndarray, row: int, column: int, wrap: str) -> np.ndarray:
    row = wrapped_index(row, image.shape[0], wrap)
    column = wrapped_index(column, image.shape[1], wrap)
    return np.zeros(image.shape[2]) if row is None or column is None else image[row, column]


def sample_level(image: np.ndarray, uv, filter: str, wrap: str) -> np.ndarray:
    """One level: the nearest texel, or four, bilinearly."""
    x, y = uv[0] * image.shape[1], (1 - uv[1]) * image.shape[0]
    if filter == "nearest":
        return texel(image, int(np.floor(y)), int(np.floor(x)), wrap)
    column, row = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    right, below = x - 0.5 - column, y - 0.5 - row
    top = (1 - right) * texel(image, row, column, wrap)
    top = top + right * texel(image, row, column + 1, wrap)
    bottom = (1 - right) * texel(image, row + 1, column, wrap)
    bottom = bottom + right * texel(image, row + 1, column + 1, wrap)
    return (1 - below) * top + below * bottom


def reduced_axis(values: np.ndarray) -> np.ndarray:
    """Half as many along the first axis, each the mean of the interval that it covers."""
    size = len(values)
    half = max(1, size // 2)
    matrix = np.zeros((half, size))
    for j in range(half):
        low, high = j * size / half, (j + 1) * size / half
        for i in range(size):
            matrix[j, i] = max(0.0, min(high, i + 1) - max(low, i)) * half / size
    return np.tensordot(matrix, values, 1)


def pyramid_of(image: np.ndarray) -> list:
    """All levels, from the picture to one texel."""
    levels = [image]
    while max(levels[-1].shape[:2]) > 1:
        rows = reduced_axis(levels[-1])
        levels.append(reduced_axis(rows.swapaxes(0, 1)).swapaxes(0, 1))
    return levels


def level_of(image: np.ndarray, uv_dx, uv_dy, num_levels: int) -> float:
    size = np.array([image.shape[1], image.shape[0]])
    jacobian = np.stack([uv_dx * size, uv_dy * size], axis=1)
    longest = np.linalg.svd(jacobian, compute_uv=False)[0]
    return float(np.clip(np.log2(max(longest, 1e-15)), 0, num_levels - 1))


def sample_image(image: np.ndarray, uv, uv_dx, uv_dy, filter: str, wrap: str) -> np.ndarray:
    """A picture (H, W, C) at a point."""
    if filter != "trilinear":
        return sample_level(image, uv, filter, wrap)
    levels = pyramid_of(image)
    level = level_of(image, uv_dx, uv_dy, len(levels))
    low = int(level)
    high = min(low + 1, len(levels) - 1)
    fine = sample_level(levels[low], uv, filter, wrap)
    coarse = sample_level(levels[high], uv, filter, wrap)
    return fine + (level - low) * (coarse - fine)


def axes_of_side(side: int) -> np.ndarray:
    """Rows: along columns, along rows, outward."""
    return np.array([np.sign(axis) * np.eye(3)[abs(axis) - 1] for axis in CUBE_AXES[side]])


def cube_texel(cube: np.ndarray, side: int, row: int, column: int):
    """A texel of a cube (6, N, N, C); beyond an edge the one around it; None beyond a corner."""
    size = cube.shape[1]
    beyond = [not 0 <= index < size for index in (column, row)]
    if all(beyond):
        return None
    if not any(beyond):
        return cube[side, row, column]
    right, down, outward = axes_of_side(side)
    centres = (2 * np.arange(size) + 1) / size - 1
    x = np.clip((2 * column + 1) / size - 1, -1, 1)
    y = np.clip((2 * row + 1) / size - 1, -1, 1)
    wanted = x * right + y * down + (1 - 1 / size) * outward
    for other in range(6):
        right, down, outward = axes_of_side(other)
        for i, y in enumerate(centres):
            for k, x in enumerate(centres):
                if np.abs(x * right + y * down + outward - wanted).max() < 1e-9:
                    return cube[other, i, k]
    raise AssertionError("no texel there")


def place_on_cube(direction: np.ndarray) -> tuple:
    """Side, and x and y of [-1, 1]."""
    axis = np.abs(direction).argmax()
    side = 2 * axis + (direction[axis] < 0)
    right, down, outward = axes_of_side(side) @ direction
    return side, right / outward, down / outward


def sample_cube_level(cube: np.ndarray, direction, filter: str) -> np.ndarray:
    size = cube.shape[1]
    side, x, y = place_on_cube(direction)
    x, y = (x + 1) / 2 * size, (y + 1) / 2 * size
    if filter == "nearest":
        return cube[side, min(int(y), size - 1), min(int(x), size - 1)]
    column, row = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    right, below = x - 0.5 - column, y - 0.5 - row
    corners = [cube_texel(cube, side, row + i, column + k) for i in (0, 1) for k in (0, 1)]
    known = np.mean([corner for corner in corners if corner is not None], axis=0)
    a, b, c, d = [known if corner is None else corner for corner in corners]
    return (1 - below) * ((1 - right) * a + right * b) + below * ((1 - right) * c + right * d)


def cube_pyramid_of(cube: np.ndarray) -> list:
    sides = [pyramid_of(side) for side in cube]
    return [np.stack(levels) for levels in zip(*sides)]


def sample_cube(cube: np.ndarray, direction, direction_dx, direction_dy, filter: str):
    """A cube map (6, N, N, C) in a direction."""
    if filter != "trilinear":
        return sample_cube_level(cube, direction, filter)
    right, down, outward = axes_of_side(place_on_cube(direction)[0])
    depth = outward @ direction
    moved = []
    for step in (direction_dx, direction_dy):
        x = (right @ step * depth - right @ direction * (outward @ step)) / depth**2
        y = (down @ step * depth - down @ direction * (outward @ step)) / depth**2
        moved.append(np.array([x, y]) / 2)
    levels = cube_pyramid_of(cube)
    level = level_of(cube[0], *moved, len(levels))
    low = int(level)
    fine = sample_cube_level(levels[low], direction, filter)
    coarse = sample_cube_level(levels[min(low + 1, len(levels) - 1)], direction, filter)
    return fine + (level - low) * (coarse - fine)
