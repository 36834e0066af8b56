"""The depth range: depths of faces in; near and far around them out, or a word about what they cut.

On the host, from corners as rasterizers get them; constant for gradients.
"""

import dataclasses
import math
import warnings
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from taichi_softras.rasterizers.base import check_depth_range
from taichi_softras.workspace import is_due

# Sizes of the scene by which a fitted range is longer at both ends. A camera that moves may begin
# at several times its distance; a scene takes a twentieth of the range, or more
MARGIN = 10.0
LEAST_MARGIN = 0.05  # of the largest depth: single precision tells depths apart in such a range
SPREAD = 100.0  # far over near where only one of them has a reason
WITHOUT_FACES = (1.0, SPREAD)
NEAREST_OF_CUT = 0.01  # of the largest depth: where faces may begin that reach behind the camera
ALL_DEPTHS = (-math.inf, math.inf)


class KeptRange:
    """That of a scene which is drawn again and again: fitted once, then watched at few draws.

    Attributes:
        fitted: (near, far) for what a rasterizer leaves out; None before the first draw.
    """

    def __init__(self):
        self.fitted: Optional[tuple] = None
        self._watched: Optional[tuple] = None
        self._num_draws = 0
        self._has_warned = False

    def complete(self, rasterizer: Any, image_size: tuple, look: Callable) -> Any:
        """The rasterizer with a number for near and far.

        Args:
            rasterizer: any.
            image_size: (H, W) in pixels.
            look: returns the `views` of `measure` and the `size` of `fit`.
        """
        if self.fitted is None and needs_fit(rasterizer):
            views, size = look()
            self.fitted = fit(measure(views, image_size), size)
        return complete(rasterizer, self.fitted)

    def watch(self, rasterizer: Any, drawn: tuple, image_size: tuple, look: Callable) -> None:
        """Warns once if what is drawn reaches beyond the range.

        Looks at the draws 1, 2, 4, 8 and so on: what is read back waits for the device.

        Args:
            rasterizer: as it was before it was completed.
            drawn: the least and the largest depth that is drawn.
            image_size: (H, W) in pixels.
            look: see `complete`.
        """
        if drawn != self._watched:
            self._watched, self._num_draws, self._has_warned = drawn, 0, False
        self._num_draws += 1
        if self._has_warned or not is_due(self._num_draws) or drawn == ALL_DEPTHS:
            return
        depths = measure(look()[0], image_size, drawn)
        if depths.share_cut > 0:
            self._has_warned = True
            warn_of_cut(depths, drawn, _given(rasterizer) == (None, None))


class FaceDepths(NamedTuple):
    """Depths of the faces in front of the camera, as far as they are.

    Attributes:
        nearest, farthest: of all their corners; infinity and -infinity if there is no such face. Of
            faces that reach behind the camera the nearest depth is small, whatever is seen of them.
        share_cut: how many of these, 0 to 1, reach beyond the depths that are drawn, where the
            image would show them.
    """

    nearest: float
    farthest: float
    share_cut: float


def measure(
    views: Iterable[np.ndarray], image_size: tuple, drawn: tuple = ALL_DEPTHS
) -> FaceDepths:
    """What depths there are.

    Args:
        views: of each view the corners of its faces, (F, 3, 4) clip coordinates or (F, 3, 3)
            divided ones, see `binning.Bins`.
        image_size: (H, W) in pixels.
        drawn: the least and the largest depth that has a colour.
    """
    nearest, farthest, num_faces, num_cut = math.inf, -math.inf, 0, 0
    for corners in views:
        first, last = _extremes(corners[..., 2])
        is_in_front = (first > 0) & np.isfinite(last)  # no face with a NaN is
        is_seen = is_in_front
        if corners.shape[-1] == 4:
            is_in_front = is_in_front & (_extremes(corners[..., 3])[0] > 0)
            is_seen = (last > 0) & np.isfinite(last - first)
        nearest = min(nearest, first.min(where=is_in_front, initial=math.inf))
        farthest = max(farthest, last.max(where=is_seen, initial=-math.inf))
        if (is_seen & ~is_in_front).any():
            nearest = min(nearest, NEAREST_OF_CUT * farthest)
        is_cut = is_in_front & (first < np.float64(drawn[0]))
        is_cut |= is_seen & (last > np.float64(drawn[1]))
        num_faces += np.count_nonzero(is_seen)
        num_cut += np.count_nonzero(_is_on_image(corners[is_cut], image_size))
    return FaceDepths(float(nearest), float(farthest), float(num_cut / max(num_faces, 1)))


def fit(depths: FaceDepths, size: float) -> Optional[tuple]:
    """(near, far) around all faces, None where there are none.

    Args:
        depths: of the scene.
        size: of the scene, in units of depth: it may turn, and move `MARGIN` as far.
    """
    if not depths.nearest <= depths.farthest or not math.isfinite(size):
        return None
    margin = MARGIN * size + LEAST_MARGIN * depths.farthest
    near = max(depths.nearest - margin, depths.nearest / SPREAD)
    return float(near), float(depths.farthest + margin)


def checked_depth_range(depth_range: Any) -> tuple:
    """(near, far) as floats, or a ValueError."""
    if not isinstance(depth_range, (tuple, list, np.ndarray)) or len(depth_range) != 2:
        raise ValueError(
            f"depth_range must be (near, far), or None to have it fitted, got {depth_range!r}"
        )
    check_depth_range(*depth_range)
    return float(depth_range[0]), float(depth_range[1])


def needs_fit(rasterizer: Any) -> bool:
    """Whether near or far of a rasterizer are left to the scene."""
    return None in _given(rasterizer)


def _given(rasterizer: Any) -> tuple:
    """(near, far), each a number or None; 0 for near if the rasterizer has none."""
    return getattr(rasterizer, "near", 0.0), rasterizer.far


def complete(rasterizer: Any, fitted: Optional[tuple]) -> Any:
    """The rasterizer with a number for near and for far; those that it has go first.

    Args:
        rasterizer: any.
        fitted: (near, far) for what is None; None if the scene has no faces.
    """
    if not needs_fit(rasterizer):
        return rasterizer
    near, far = WITHOUT_FACES if fitted is None else fitted
    if rasterizer.far is not None:
        far = rasterizer.far
        near = near if near < far else far / SPREAD
    if rasterizer.near is not None:
        near = rasterizer.near
        far = far if far > near else near * SPREAD
    return dataclasses.replace(rasterizer, near=near, far=far)


def warn_of_cut(depths: FaceDepths, drawn: tuple, is_fitted: bool) -> None:
    """A UserWarning about faces that the range cuts away.

    Args:
        depths: of the scene.
        drawn: the least and the largest depth that has a colour.
        is_fitted: whether both were fitted, to the scene as it was.
    """
    advice = "leave out near and far, which are then fitted to the scene, or give others"
    if is_fitted:
        advice = "renderer.depth_range = None fits them anew"
    warnings.warn(
        f"near = {drawn[0]:.4g} and far = {drawn[1]:.4g} cut away all or a part of "
        f"{depths.share_cut:.2%} of the faces in front of the camera: their depths are "
        f"{depths.nearest:.4g} to {depths.farthest:.4g}; {advice}",
        stacklevel=2,
    )


def _extremes(corners: np.ndarray) -> tuple:
    """Least and largest of the three numbers of each face, (F, 3); NaN if one is."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def _is_on_image(corners: np.ndarray, image_size: tuple) -> np.ndarray:
    """(F,) whether a face may reach into the image: all corners beyond one side do not."""
    is_seen = np.ones(len(corners), bool)
    for axis, extent in enumerate(image_size[::-1]):
        limit = extent / min(image_size) * (corners[..., 3] if corners.shape[-1] == 4 else 1.0)
        is_seen &= ~(corners[..., axis] > limit).all(axis=1)
        is_seen &= ~(corners[..., axis] < -limit).all(axis=1)
    return is_seen
