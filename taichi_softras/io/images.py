"""Image files in, float arrays in [0, 1] out, and back; imageio reads and writes them.

imageio is imported when a file is touched: rendering should start without it.
"""

import importlib.util
import os
import pathlib
import warnings
from typing import Any, Union

import numpy as np

from taichi_softras.io.files import written_beside


def load_image(path: Union[str, os.PathLike]) -> np.ndarray:
    """Reads an image as float64 in [0, 1]: (H, W) grey, or (H, W, C); row 0 on top.

    Of floating-point formats the numbers are taken as they are.

    Raises:
        ValueError: names the file and the reason why there is no image.
    """
    import imageio.v3 as imageio

    try:
        with warnings.catch_warnings():  # of the readers
            warnings.simplefilter("ignore")
            path = pathlib.Path(path)
            image = imageio.imread(path.read_bytes(), extension=path.suffix or None)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    is_integer = np.issubdtype(image.dtype, np.integer)
    return image / np.iinfo(image.dtype).max if is_integer else image.astype(np.float64)


def image_size_of(path: Union[str, os.PathLike]) -> tuple:
    """(H, W) of an image file.

    Raises:
        ValueError: names the file and the reason why there is no image.
    """
    import imageio.v3 as imageio

    try:
        with warnings.catch_warnings():  # of the readers
            warnings.simplefilter("ignore")
            height, width = imageio.improps(pathlib.Path(path)).shape[:2]
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    return height, width


def save_image(path: Union[str, os.PathLike], image: Any) -> None:
    """Writes an image with 8 bits a channel.

    Args:
        path: its suffix names the format.
        image: (H, W) or (H, W, 1) grey, (H, W, 3) or (H, W, 4); in [0, 1], clipped to it, or
            uint8, as it is. Or `renderer.image`, or one of `renderer.outputs`, of one view.

    Raises:
        ValueError: another shape, several views, a path that is none.
        OSError: it cannot be written; what was there before stays, as with the functions below.
    """
    import imageio.v3 as imageio

    _check_path(path)
    pixels = _bytes(_only_view(image))
    with written_beside(path) as beside:
        imageio.imwrite(beside, pixels)


def save_gif(path: Union[str, os.PathLike], images: Any, frames_per_second: float = 20.0) -> None:
    """Writes an endless animation.

    Args:
        path: ends in `.gif`.
        images: (N, H, W, C) or (N, H, W), frames as `save_image` takes them, or the field
            `renderer.image`; of four channels the last, alpha, is left out.
        frames_per_second: rounded by the format to hundredths of a second a frame.

    Raises:
        ValueError: another shape.
    """
    import imageio.v3 as imageio

    _check_path(path)
    frames = _frames(images)
    with written_beside(path) as beside:
        imageio.imwrite(beside, frames, duration=1000 / frames_per_second, loop=0)


def save_video(path: Union[str, os.PathLike], images: Any, frames_per_second: float = 30.0) -> None:
    """Writes an animation: `.gif` as `save_gif` does, `.mp4` and others with imageio-ffmpeg.

    Args:
        path: its suffix names the format.
        images: (N, H, W, C) or (N, H, W), frames as `save_gif` takes them; of an odd height or
            width the last row or column is left out, which most video formats ask for.
        frames_per_second: of the film.

    Raises:
        ValueError: another shape.
        ImportError: a format other than GIF without imageio-ffmpeg.
    """
    _check_path(path)
    check_film(path)
    if _is_gif(path):
        save_gif(path, images, frames_per_second)
        return
    import imageio.v2 as imageio

    frames = _frames(images)
    rows, columns = (extent // 2 * 2 for extent in frames.shape[1:3])
    with written_beside(path) as beside:
        writer = imageio.get_writer(beside, fps=frames_per_second, macro_block_size=1)
        with writer:
            for image in frames:
                writer.append_data(image[:rows, :columns])


def check_film(path: Union[str, os.PathLike]) -> None:
    """Raises an ImportError if a film of this suffix needs a package that is not installed."""
    if not _is_gif(path) and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ImportError(f"{path} needs `pip install imageio-ffmpeg`; .gif does not")


def _is_gif(path: Union[str, os.PathLike]) -> bool:
    return pathlib.Path(path).suffix.lower() == ".gif"


def over_background(images: Any, background: tuple = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Rendered images, (..., 4) or (..., 1), over a colour: (..., 3).

    They may be the field `renderer.image`. Colours count by their alpha; what has alpha alone is
    black.

    Raises:
        ValueError: another number of components.
    """
    images = _array(images)
    if images.shape[-1] not in (1, 4):
        raise ValueError(f"images must have 1 or 4 components, got shape {images.shape}")
    alpha = images[..., -1:]
    colors = images[..., :3] if images.shape[-1] == 4 else np.zeros(3)
    return colors * alpha + np.asarray(background) * (1.0 - alpha)


def _frames(images: Any) -> np.ndarray:
    images = _array(images)
    if images.ndim == 4 and images.shape[-1] == 4:
        images = images[..., :3]
    return np.stack([_bytes(image) for image in images])


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


def _array(images: Any) -> np.ndarray:
    """What is given, a field of Taichi's, too, as an array."""
    return images.to_numpy() if hasattr(images, "to_numpy") else np.asarray(images)


def _only_view(image: Any) -> np.ndarray:
    """An image as it is; that of a field of one view."""
    array = _array(image)
    if not hasattr(image, "to_numpy"):
        return array
    if len(array) != 1:
        raise ValueError(
            f"the field holds {len(array)} views, save_image writes one: give "
            "image.to_numpy()[view], or save_gif all"
        )
    return array[0]


def _check_path(path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"the path comes first, then the image; got a {type(path).__name__}")


def _bytes(image: np.ndarray) -> np.ndarray:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"image must have shape (H, W) or (H, W, 1, 3 or 4), got {image.shape}")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.dtype == np.uint8:
        return image
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
