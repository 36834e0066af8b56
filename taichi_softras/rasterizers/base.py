"""What every rasterizer offers: draw, and pull an image gradient back to corners and colours."""

import math
from typing import Optional, Protocol, Union

import taichi as ti

from taichi_softras.rasterizers.workspace import Workspace

NO_FACE = -1


class Rasterization(Protocol):
    """One drawn image, with what its gradient needs.

    Attributes:
        image: (B, C + 1, H, >= W) planes, alpha last, row 0 on top.
        grad_image: same shape; its user writes the first W columns before `backward`.
        grad_corners: (B, F, 3, 3), written by `backward`.
        grad_colors: same shape as the colours, written by `backward`; None without colours.
    """

    image: ti.Ndarray
    grad_image: ti.Ndarray
    grad_corners: ti.Ndarray
    grad_colors: Optional[ti.Ndarray]

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_colors` from `grad_image`."""


class Rasterizer(Protocol):
    """A method: a frozen dataclass of its settings, in a file of its own."""

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        colors: Optional[ti.Ndarray],
        texel_resolution: int,
        image_size: tuple,
    ) -> Rasterization:
        """Draws.

        Args:
            workspace: keeps the arrays; the returned value is good until its next use.
            corners: (B, F, 3, 3): x_ndc, y_ndc, depth of the corners of each face.
            colors: (B or 1, F, 3, C) at the corners, (B or 1, F, R * R, C) texels, or None
                for the silhouette alone.
            texel_resolution: R, or 0 when colours are at the corners.
            image_size: (H, W) in pixels.
        """


def choose(name: str, value: str, choices: dict) -> object:
    """The choice of that name, or a ValueError that lists the choices."""
    if value not in choices:
        options = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {options}, got {value!r}")
    return choices[value]


def background_colors(background: Union[float, tuple], channels: int) -> tuple:
    """The background's colour, a number for each channel; a silhouette has none."""
    if not channels:
        return ()
    values = background if hasattr(background, "__len__") else (background,)
    if len(values) == channels:
        return tuple(values)
    if len(set(values)) > 1:
        raise ValueError(
            f"background has {len(values)} different values, but colours have {channels} "
            "channels: give one number, or one for each channel"
        )
    return (values[0],) * channels


def check_range(name: str, value: float, above: float = -math.inf, below: float = math.inf) -> None:
    """Raises a ValueError unless above < value < below."""
    if not above < value < below:
        bounds = f"above {above:g}" if below == math.inf else f"between {above:g} and {below:g}"
        if above == -math.inf:
            bounds = "finite"
        raise ValueError(f"{name} must be {bounds}, got {value!r}")
