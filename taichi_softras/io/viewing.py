"""Numbers that were drawn, as pictures for people: colours in [0, 1]."""

import io
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from taichi_softras.io.images import over_background
from taichi_softras.io.textures import to_bytes

NEAREST, FARTHEST = 1.0, 0.2  # the greys of depths; where nothing is is black
STEPS_OF_HUE = np.array([0.618034, 0.754878, 0.569840])  # from one index to the next


def as_pictures(images: np.ndarray, background: tuple = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Images of any shading, (B, H, W, C + 1) with alpha last, on a colour: (B, H, W, 3).

    Alpha alone is black, one channel grey by the numbers that it has; of others the first three
    are red, green, blue, and missing ones are 0.
    """
    colors, alpha = images[..., :-1], images[..., -1:]
    channels = colors.shape[-1]
    if channels == 0:
        return over_background(images, background)
    if channels == 1:
        shown = colors[alpha > 0.5]
        colors = grey(colors[..., 0], (shown.min(), shown.max()) if len(shown) else (0.0, 1.0))
    elif channels == 2:
        colors = np.pad(colors, [(0, 0)] * (colors.ndim - 1) + [(0, 1)])
    return over_background(np.concatenate([colors[..., :3], alpha], axis=-1), background)


def as_picture(
    name: str,
    values: np.ndarray,
    alpha: np.ndarray,
    depths: Optional[Sequence] = None,
    box: Optional[Sequence] = None,
) -> np.ndarray:
    """One of the outputs of a renderer on black.

    Args:
        name: "depth" is grey, light is near; normals point to red, green and blue, that towards
            the camera is light blue; positions are colours within the box, each index has a colour
            of its own, and others are red, green, blue as they are.
        values: (H, W) or (H, W, C), of the output.
        alpha: (H, W).
        depths: the least and the largest, for "depth".
        box: the lower and the upper corner, for "position_world".

    Returns:
        (H, W, 3) in [0, 1].
    """
    if name.endswith("_id"):
        hues = np.mod(0.1 + values[..., None] * STEPS_OF_HUE, 1.0)
        return np.where(values[..., None] < 0, 0.0, 0.25 + 0.75 * hues)
    if name == "depth":
        colors = grey(values, depths)
    elif name.startswith("normal"):
        length = np.linalg.norm(values, axis=-1, keepdims=True)
        colors = 0.5 + 0.5 * values / np.maximum(length, 1e-9)
    elif name == "position_world":
        lower, upper = np.asarray(box)
        colors = (values - lower) / np.maximum(upper - lower, 1e-30)
    else:
        colors = np.pad(values, [(0, 0), (0, 0), (0, 3 - values.shape[-1])])
    return np.clip(colors, 0.0, 1.0) * alpha[..., None]


def grey(depths: np.ndarray, limits: Sequence) -> np.ndarray:
    """(..., 3): from `NEAREST` to `FARTHEST` within the limits."""
    nearest, farthest = limits
    share = np.clip((depths - nearest) / max(farthest - nearest, 1e-30), 0.0, 1.0)
    return np.repeat((NEAREST + (FARTHEST - NEAREST) * share)[..., None], 3, axis=-1)


def sheet(pictures: Any) -> np.ndarray:
    """Pictures, (N, H, W, C), side by side in rows, as nearly as many as columns, on white."""
    pictures = np.asarray(pictures)
    count, height, width, channels = pictures.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    blank = 255 if pictures.dtype == np.uint8 else 1.0
    missing = np.full((rows * columns - count, height, width, channels), blank, pictures.dtype)
    cells = np.concatenate([pictures, missing]).reshape(rows, columns, height, width, channels)
    return cells.swapaxes(1, 2).reshape(rows * height, columns * width, channels)


def png(picture: np.ndarray) -> bytes:
    """The file of a picture, (H, W, 3) in [0, 1]."""
    import imageio.v3 as imageio

    file = io.BytesIO()
    imageio.imwrite(file, to_bytes(picture), extension=".png")
    return file.getvalue()
