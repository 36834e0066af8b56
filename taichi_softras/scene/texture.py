"""A picture that is laid on a mesh: an array or a file in, a Taichi field out."""

import os
from typing import Any, Union

import numpy as np

from taichi_softras.fields import FieldTree, upload
from taichi_softras.funcs.images import FILTERS, WRAPS
from taichi_softras.io.images import load_image
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import (
    check_field,
    finite_array,
    refuse_no_array,
    warn_of_bytes,
)


class Texture:
    """A picture, and how it is looked up.

    (u, v) = (0, 0) is the lower left corner of the picture and (1, 1) the upper right one. Centres
    of texels are at half integers: column u W - 1/2, row (1 - v) H - 1/2.

    Attributes:
        image: (H, W) field of C-vectors, with gradient unless told not to, row 0 on top.
        filter: "nearest", "bilinear" or "trilinear".
        wrap: "repeat", "mirror", "clamp" or "zero".

    An array that is assigned to `image` is written into the field.
    """

    image = FieldAttribute()

    def __init__(
        self,
        image: Any,
        filter: str = "bilinear",
        wrap: str = "repeat",
        needs_grad: bool = True,
    ):
        """Places the field.

        Args:
            image: (H, W) or (H, W, C) numbers of any C >= 1, colours in [0, 1]; of any size, powers
                of two or not.
            filter: "nearest": the texel under a point. "bilinear": the four around it, mixed.
                "trilinear": these of the two levels of a pyramid whose texels are about as large
                as a pixel, so that distant texture does not flicker; each level has half the sides
                of the one before (Williams, "Pyramidal Parametrics", 1983).
            wrap: what is outside of the picture. "repeat": it, again. "mirror": it, turned round
                at each border. "clamp": its border. "zero": zeros.
            needs_grad: whether `image` has a gradient; without, one of the scene takes less time.

        Raises:
            ValueError: another shape, nothing in it, entries that are not finite, another filter
                or wrap.
        """
        _check_choice("filter", filter, FILTERS)
        _check_choice("wrap", wrap, WRAPS)
        refuse_no_array("image", image, "Texture.load")
        if np.ndim(image) == 2:
            image = np.asarray(image)[..., None]
        values = finite_array("image", image, ("H", "W", "C"))
        if values.shape[-1] in (1, 3, 4):  # others are no colours
            warn_of_bytes("image", image)
        self.filter, self.wrap = filter, wrap
        tree = FieldTree()
        self.image = tree.add(values.shape[:2], values.shape[2:], needs_grad=needs_grad)
        tree.place()
        upload([self.image], [values])

    @classmethod
    def load(
        cls, path: Union[str, os.PathLike], filter: str = "bilinear", wrap: str = "repeat"
    ) -> "Texture":
        """Reads a picture file: PNG, JPEG and others, grey or colours, with alpha or without.

        8 and 16 bits a channel become numbers in [0, 1], floating-point formats are taken as they
        are; nothing is done about sRGB.

        Args:
            path: the file.
            filter: see `Texture`.
            wrap: see `Texture`.

        Raises:
            ValueError: no such file, it cannot be read, or it is no single picture.
        """
        image = load_image(path)
        if image.ndim == 4:  # of a format of films
            if len(image) > 1:
                raise ValueError(f"{path} holds {len(image)} pictures, a texture is one")
            image = image[0]
        return cls(image, filter, wrap)

    @property
    def layout(self) -> tuple:
        """(H, W, filter, wrap), numbers: what `lay_out_images` of shading/pyramids.py takes."""
        return (*self.image.shape, FILTERS.index(self.filter), WRAPS.index(self.wrap))

    @property
    def num_channels(self) -> int:
        """C."""
        return self.image.n

    def check(self) -> None:
        """Raises a ValueError if something that was written to the image is not finite."""
        check_field("texture.image", self.image)


def _check_choice(name: str, value: Any, choices: tuple) -> None:
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices[:-1])
        raise ValueError(f"{name} must be {wanted} or {choices[-1]!r}, got {value!r}")
