"""Lenses: where they put points of a picture, and pictures without their distortion."""

from typing import NamedTuple

import numpy as np

NO_DISTORTION = (0.0,) * 5


class Lens(NamedTuple):
    """How B pictures were taken: pinholes, and what bends their pictures.

    Pixels are counted from the top left border: (1/2, 1/2) is the centre of the first.
    """

    K: np.ndarray  # (B, 3, 3) pixels
    distortion: np.ndarray  # (B, 5) k1, k2, p1, p2, k3 of OpenCV
    image_size: tuple  # (H, W) of the pictures in their files

    @property
    def is_distorted(self) -> bool:
        """Whether any picture is bent."""
        return bool(np.any(self.distortion))


def distort(points: np.ndarray, distortion) -> np.ndarray:
    """Where a lens puts what a pinhole has at `points`.

    Args:
        points: (.., 2) x / z and y / z of the camera's space: x right, y down, z forward.
        distortion: k1, k2, p1, p2, k3.

    Returns:
        (.., 2) likewise.

    Source: Brown, "Decentering distortion of lenses", 1966, as in OpenCV's `projectPoints`.
    """
    k1, k2, p1, p2, k3 = distortion
    x, y = points[..., 0], points[..., 1]
    square = x * x + y * y
    radial = 1.0 + square * (k1 + square * (k2 + square * k3))
    return np.stack(
        [
            x * radial + 2.0 * p1 * x * y + p2 * (square + 2.0 * x * x),
            y * radial + p1 * (square + 2.0 * y * y) + 2.0 * p2 * x * y,
        ],
        axis=-1,
    )


def undistorted(image: np.ndarray, K: np.ndarray, distortion) -> np.ndarray:
    """The picture that a pinhole of the same K takes; bilinear.

    Args:
        image: (H, W, C).
        K: (3, 3) pixels, for this size of the picture.
        distortion: k1, k2, p1, p2, k3.

    Returns:
        (H, W, C), 0 where the lens has seen nothing.
    """
    height, width = image.shape[:2]
    if not np.any(distortion):
        return image
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    points = (pixels @ np.linalg.inv(K).T)[..., :2]
    bent = distort(points, distortion)
    column, row = np.moveaxis(bent @ K[:2, :2].T + K[:2, 2], -1, 0)
    is_seen = (column >= 0) & (column <= width) & (row >= 0) & (row <= height)
    is_seen &= np.square(points).sum(-1) < largest_square(distortion)
    sampled = _bilinear(image, np.where(is_seen, column, 0.0), np.where(is_seen, row, 0.0))
    return np.where(is_seen[..., None], sampled, 0.0)


def shrunk(image: np.ndarray, image_size: tuple) -> np.ndarray:
    """A picture (H, W, C) of fewer pixels, each the mean of what it covers."""
    for length in image_size:
        image = _means(image, length).swapaxes(0, 1)  # rows, then columns
    return image


def _means(image: np.ndarray, length: int) -> np.ndarray:
    """`length` rows in place of those there are: differences of sums up to the borders."""
    num_rows = len(image)
    if length == num_rows:
        return image
    borders = np.linspace(0, num_rows, length + 1)
    rows = np.minimum(borders.astype(int), num_rows - 1)
    sums = np.concatenate([np.zeros_like(image[:1]), np.cumsum(image, axis=0)])
    sums_at_borders = sums[rows] + (borders - rows)[:, None, None] * image[rows]
    return np.diff(sums_at_borders, axis=0) * (length / num_rows)


def largest_square(distortion) -> float:
    """x^2 + y^2 up to which a lens puts points further out that are further out."""
    k1, k2, _, _, k3 = distortion
    roots = np.roots([7.0 * k3, 5.0 * k2, 3.0 * k1, 1.0])  # d (r radial(r^2)) / dr, in r^2
    real = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return real.min(initial=np.inf)


def _bilinear(image: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Samples at pixels from the top left border; the outermost half pixels are flat."""
    height, width = image.shape[:2]
    column, row = np.clip(column - 0.5, 0, width - 1), np.clip(row - 0.5, 0, height - 1)
    left, above = column.astype(int), row.astype(int)
    right, below = np.minimum(left + 1, width - 1), np.minimum(above + 1, height - 1)
    across, down = (column - left)[..., None], (row - above)[..., None]
    upper = image[above, left] * (1 - across) + image[above, right] * across
    lower = image[below, left] * (1 - across) + image[below, right] * across
    return upper * (1 - down) + lower * down
