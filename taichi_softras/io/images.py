"""Image files in, float arrays in [0, 1] out, and back; imageio reads and writes them.

imageio is imported when a file is touched: rendering should start without it.
"""

import os
from typing import Union

import numpy as np


def load_image(path: Union[str, os.PathLike]) -> np.ndarray:
    """Reads an image as float64 in [0, 1]: (H, W) grey, or (H, W, C); row 0 on top."""
    import imageio.v3 as imageio

    image = imageio.imread(path)
    return image / np.iinfo(image.dtype).max


def save_image(path: Union[str, os.PathLike], image: np.ndarray) -> None:
    """Writes an image with 8 bits a channel.

    Args:
        path: its suffix names the format.
        image: (H, W) or (H, W, 1) grey, (H, W, 3) or (H, W, 4); in [0, 1], clipped to it.

    Raises:
        ValueError: another shape.
    """
    import imageio.v3 as imageio

    imageio.imwrite(path, _bytes(image))


def save_gif(
    path: Union[str, os.PathLike], images: np.ndarray, frames_per_second: float = 20.0
) -> None:
    """Writes an endless animation.

    Args:
        path: ends in `.gif`.
        images: (N, H, W, C) or (N, H, W), frames as `save_image` takes them; of four channels
            the last, alpha, is left out.
        frames_per_second: rounded by the format to hundredths of a second a frame.

    Raises:
        ValueError: another shape.
    """
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 4:
        images = images[..., :3]
    frames = np.stack([_bytes(image) for image in images])
    import imageio.v3 as imageio

    imageio.imwrite(path, frames, duration=1000 / frames_per_second, loop=0)


def gaussian_pyramid(image: np.ndarray, levels: int) -> np.ndarray:
    """Wide and narrow views of an image at once: what residuals far from the minimum need.

    Linear, so that of a Jacobian is the Jacobian of that of an image.

    Args:
        image: (H, W, ...).
        levels: how many, >= 1; 1 is the image alone. Each is the one before, blurred by
            (1, 4, 6, 4, 1) / 16 and half as high and wide.

    Returns:
        (N, ...): the pixels of all levels, those of a level divided by their number, as OpenDR
        does: the coarsest level weighs most.
    """
    parts = []
    for _ in range(levels):
        number = image.shape[0] * image.shape[1]
        parts.append(image.reshape(number, *image.shape[2:]) / number)
        for _ in range(2):  # rows, then columns
            padded = np.concatenate([image[:1], image[:1], image, image[-1:], image[-1:]])
            taps = [padded[k : len(image) + k : 2] for k in range(5)]
            image = (taps[0] + 4 * taps[1] + 6 * taps[2] + 4 * taps[3] + taps[4]) / 16
            image = image.swapaxes(0, 1)
    return np.concatenate(parts)


def _bytes(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"image must have shape (H, W) or (H, W, 1, 3 or 4), got {image.shape}")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
