"""Pictures of textures: files in, arrays out, and back."""

import io
import warnings
from typing import Any

import numpy as np

from taichi_softras.io.contents import Picture, TextureArrays


class Unreadable(Exception):
    """A sentence: the picture cannot be read."""


def open_bytes(data: bytes) -> Any:
    """A PIL image of the bytes of a file."""
    import PIL.Image

    return PIL.Image.open(io.BytesIO(data))


def read_pixels(picture: Picture, problems: list, alpha_counts: bool = False) -> np.ndarray:
    """(H, W, 3) integers of 8 or 16 bits, or floats in [0, 1]; grey has three equal channels.

    Args:
        picture: opened here.
        problems: a sentence is added if alpha, which nothing draws, is left out.
        alpha_counts: whether it would be seen.

    Raises:
        Unreadable: whatever Pillow says.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with picture.open() as image:
                image.load()
                if alpha_counts and _is_transparent(image):
                    problems.append(f"the alpha of the texture {picture.name} is not drawn")
                return _three_channels(image)
    except Exception as error:  # whatever Pillow throws
        message = f"the texture {picture.name} could not be read: {error}"
        raise Unreadable(message) from error


def white_of(pixels: np.ndarray) -> int:
    """What 1 is among such pixels."""
    return np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1


def read_texture(picture: Picture, problems: list, alpha_counts: bool = False) -> TextureArrays:
    """A picture as an array; as `read_pixels`."""
    pixels = read_pixels(picture, problems, alpha_counts)
    image = pixels / np.float32(white_of(pixels))
    return TextureArrays(
        picture.name, image.astype(np.float32, copy=False), picture.filter, picture.wrap
    )


def png(image: np.ndarray) -> bytes:
    """A PNG file of 8 bits: (H, W, C), C from 1 to 4, clipped to [0, 1], row 0 on top."""
    import PIL.Image

    pixels = to_bytes(image)
    data = io.BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(data, "png")
    return data.getvalue()


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1], clipped to it, in 8 bits."""
    return np.floor(np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def _is_transparent(image: Any) -> bool:
    """Whether some pixel is not opaque."""
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode not in ("RGBA", "LA", "PA"):
        return False
    return image.convert("RGBA").getchannel("A").getextrema()[0] < 255


def _three_channels(image: Any) -> np.ndarray:
    """A PIL image as `read_pixels` gives it."""
    if image.mode == "F":
        grey = np.clip(np.nan_to_num(np.asarray(image)), 0, 1)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode.startswith("I"):  # 16 bits, which `convert` would clip
        grey = np.clip(np.asarray(image), 0, 0xFFFF).astype(np.uint16)
        return np.repeat(grey[..., None], 3, axis=-1)
    return np.asarray(image.convert("RGB"))
