"""Samples of pictures and cube maps, texel by texel: slow and obvious."""

import numpy as np


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
