"""Captures: pictures and what files say of their cameras, whoever has found them."""

import os
import pathlib
from typing import NamedTuple, Union

import numpy as np

from taichi_softras.io.lenses import Lens


class CameraArrays(NamedTuple):
    """The camera of a picture. Its axes are OpenCV's: x right, y down, z forward."""

    path: pathlib.Path  # of the picture
    camera_from_world: np.ndarray  # (4, 4)
    K: np.ndarray  # (3, 3) pixels; (1/2, 1/2) is the centre of the top left one
    distortion: tuple  # k1, k2, p1, p2, k3
    image_size: tuple  # (H, W)


def chosen(items: list, frames, path: Union[str, os.PathLike]) -> list:
    """Those that `frames` names: an index, several, a slice, or None for all.

    Raises:
        ValueError: one that is not there, or none at all.
    """
    if not items:
        raise ValueError(f"{path} has no pictures")
    indices = np.arange(len(items))
    try:
        taken = indices[slice(None) if frames is None else frames]
    except IndexError:
        raise ValueError(
            f"frames must be a slice or whole numbers from 0 to {len(items) - 1}: {path} has "
            f"{len(items)} pictures; got {frames}"
        ) from None
    if not np.size(taken):
        raise ValueError(f"frames={frames} takes none of the {len(items)} pictures of {path}")
    return [items[index] for index in np.ravel(taken)]


def lens_of(cameras: list, path: Union[str, os.PathLike]) -> Lens:
    """What the pictures were taken with.

    Raises:
        ValueError: pictures of several sizes.
    """
    sizes = sorted({camera.image_size for camera in cameras})
    if len(sizes) > 1:
        raise ValueError(
            f"{path} has pictures of {len(sizes)} sizes, {sizes[0]} and {sizes[1]} (H, W) among "
            "them: load those of one size at a time, by frames=[...]"
        )
    K = np.stack([camera.K for camera in cameras])
    return Lens(K, np.array([camera.distortion for camera in cameras], float), sizes[0])


def intrinsics(fx: float, fy: float, cx: float, cy: float, whose: str = "K") -> np.ndarray:
    """K (3, 3).

    Raises:
        ValueError: numbers that are not finite, a focal length that is not positive.
    """
    for name, number in (("fx", fx), ("fy", fy)):
        if not 0 < number < np.inf:
            raise ValueError(
                f"{whose}: {name} must be a focal length in pixels, above 0, got {number}"
            )
    if not np.isfinite([cx, cy]).all():
        raise ValueError(f"{whose}: the principal point must be finite, got {cx}, {cy}")
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], float)
