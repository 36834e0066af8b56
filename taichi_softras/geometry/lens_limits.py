"""What lenses cannot draw: faces in, a word about those whose edges would be curves.

On the host: a lens moves vertices, and edges stay straight between them.
"""

import warnings
from collections.abc import Iterable
from typing import Callable, NamedTuple

import numpy as np

from taichi_softras.workspace import is_due

UNSEEN = 0.5  # pixels that an edge may lie beside its curve


class LensWatch:
    """That of a scene which is drawn again and again: a word once, by a look at few draws."""

    def __init__(self):
        self._num_draws = 0
        self._has_warned = False

    def watch(self, image_size: tuple, look: Callable) -> None:
        """Warns once of faces that are too large; looks at the draws 1, 2, 4, 8 and so on.

        Args:
            image_size: (H, W) in pixels.
            look: returns the `views` of `measure`.
        """
        self._num_draws += 1
        if self._has_warned or not is_due(self._num_draws):
            return
        found = measure(look(), image_size)
        self._has_warned = found.num_bent + found.num_beyond > 0
        if self._has_warned:
            warn_of_faces(found)


class Found(NamedTuple):
    """Faces that may reach into an image, of all views."""

    num_faces: int
    num_beyond: int  # with a corner beyond the edge of the lens, or behind the camera
    num_bent: int  # with an edge that should be a curve
    deviation: float  # pixels, the largest: how far the middle of an edge lies beside its curve


def measure(views: Iterable[tuple], image_size: tuple) -> Found:
    """Looks at all faces.

    Args:
        views: of each view the corners of its faces (F, 3, 4) in clip space, as its pinhole has
            them; and its lens (3, 4), see `geometry.lenses`.
        image_size: (H, W) in pixels.
    """
    num_faces, num_beyond, num_bent, largest = 0, 0, 0, 0.0
    half = np.array(image_size[::-1]) / min(image_size)  # of the image, NDC
    for corners, lens in views:
        window, edge, w = lens[0], lens[1, 3], corners[..., 3]
        places = (corners[..., :2] - w[..., None] * window[2:]) / window[:2]
        squares = np.square(places).sum(-1)
        is_beyond = (w <= 0) | (squares > edge * w * w)
        heights = np.where(is_beyond, np.sqrt(squares / edge), w)
        drawn = w[..., None] * window[2:] + window[:2] * _bent(places, heights, lens)
        limits = w[..., None] * half
        is_outside = (drawn > limits).all(axis=1) | (drawn < -limits).all(axis=1)
        is_seen = ~is_outside.any(axis=1) & (w > 0).any(axis=1)
        is_beyond = is_beyond.any(axis=1) & is_seen
        points = (places / w[..., None])[is_seen & ~is_beyond]
        ends = window[2:] + window[:2] * _bent(points, 1.0, lens)
        middles = 0.5 * (points + np.roll(points, -1, axis=1))
        curves = window[2:] + window[:2] * _bent(middles, 1.0, lens)
        deviations = _beside(ends, np.roll(ends, -1, axis=1), curves, half)
        deviations *= 0.5 * min(image_size)
        num_faces += int(is_seen.sum())
        num_beyond += int(is_beyond.sum())
        num_bent += int((deviations.max(axis=1, initial=0) > UNSEEN).sum())
        largest = max(largest, deviations.max(initial=0))
    return Found(num_faces, num_beyond, num_bent, float(largest))


def warn_of_faces(found: Found) -> None:
    """A UserWarning about what edges do not follow."""
    reasons = []
    if found.num_bent:
        reasons.append(
            f"{found.num_bent} have edges that should be curves, up to {found.deviation:.3g} "
            "pixels beside the straight line"
        )
    if found.num_beyond:
        reasons.append(
            f"{found.num_beyond} reach behind the camera, or further off its axis than the "
            "coefficients hold"
        )
    warnings.warn(
        "the distortion of a camera moves vertices alone, and of the "
        f"{found.num_faces} faces in the image {' and '.join(reasons)}: subdivide the mesh "
        "(trimesh.Trimesh.subdivide), or undistort the pictures",
        stacklevel=2,
    )


def _bent(places: np.ndarray, heights, lens: np.ndarray) -> np.ndarray:
    """(.., 2) of `places` (.., 2) at `heights` (..): as `funcs.distortion.bend`, in X and Y."""
    heights = np.maximum(heights, 1e-18)[..., None] if np.ndim(heights) else heights
    points = places / heights
    k1, k2, k3 = lens[1, :3]
    turned = lens[2, 1::-1]  # p2, p1
    square = np.square(points).sum(-1, keepdims=True)
    growth = square * (k1 + square * (k2 + square * k3)) + 2.0 * (points @ turned)[..., None]
    return places + heights * (growth * points + square * turned)


def _beside(starts: np.ndarray, ends: np.ndarray, points: np.ndarray, half: np.ndarray):
    """How far points lie beside lines (.., 2), NDC; 0 of lines that do not reach the image."""
    along, to_point = ends - starts, points - starts
    lengths = np.linalg.norm(along, axis=-1)
    across = np.abs(along[..., 0] * to_point[..., 1] - along[..., 1] * to_point[..., 0])
    is_outside = (np.minimum(starts, ends) > half) | (np.maximum(starts, ends) < -half)
    return np.where(is_outside.any(axis=-1), 0.0, across / np.maximum(lengths, 1e-18))
