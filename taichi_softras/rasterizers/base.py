"""What every rasterizer offers: draw, and pull an image gradient back to corners and colours."""

import math
import numbers
from typing import Optional, Protocol, Union

import numpy as np
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

    def push_forward(
        self, tangent_corners: ti.Ndarray, tangent_colors: Optional[ti.Ndarray]
    ) -> ti.Ndarray:
        """The transpose of `backward`, where that is linear; other methods do not have it.

        Args:
            tangent_corners: (P, B, F, 3, 3), derivatives of the corners by P parameters.
            tangent_colors: P times the shape of the colours; None without colours.

        Returns:
            (P, B, C + 1, H, W): derivatives of the image. `grad_image` may be overwritten.
        """


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
    if not isinstance(value, str) or value not in choices:
        options = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {options}, got {value!r}")
    return choices[value]


def check_range(name: str, value: float, above: float = -math.inf, below: float = math.inf) -> None:
    """Raises a ValueError unless value is a number with above < value < below."""
    if not isinstance(value, numbers.Real) or not above < value < below:
        wanted = "a finite number"
        if above > -math.inf:
            wanted += f" above {above:g}"
        if below < math.inf:
            wanted += f" and below {below:g}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_color(name: str, value: object) -> None:
    """Raises a ValueError unless value is a finite number or a sequence of such."""
    values = value if isinstance(value, (tuple, list, np.ndarray)) else (value,)
    is_finite = all(isinstance(entry, numbers.Real) and math.isfinite(entry) for entry in values)
    if len(values) == 0 or not is_finite:
        raise ValueError(f"{name} must be a number, or one for each channel, got {value!r}")


def upload_background(
    workspace: Workspace,
    background: Union[float, tuple],
    channels: int,
) -> ti.Ndarray:
    """(C,) the background's colour from one number, or from one for each channel."""
    values = background if hasattr(background, "__len__") else (background,)
    if channels and len(values) != channels and len(set(values)) > 1:
        raise ValueError(
            f"background has {len(values)} different values, but colours have {channels} "
            "channels: give one number, or one for each channel"
        )
    array = workspace.get("background", (max(channels, 1),))
    for channel in range(channels):
        array[channel] = values[channel if len(values) == channels else 0]
    return array
