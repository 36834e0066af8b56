"""The door for people with NumPy arrays and no scene: rasterize, and the image's vjp."""

import math
import operator
from typing import Optional, Union

import numpy as np
import taichi as ti

from taichi_softras.fields import default_numpy_float
from taichi_softras.rasterizers.base import Rasterizer
from taichi_softras.rasterizers.depths import draw_depths
from taichi_softras.rasterizers.k_nearest import Fragments, KNearest
from taichi_softras.rasterizers.planes import pixels_from_planes, planes_from_pixels
from taichi_softras.rasterizers.soft_aggregation import SoftAggregation
from taichi_softras.rasterizers.workspace import Workspace
from taichi_softras.shading.depth import Depth


def rasterize(
    corners: np.ndarray,
    colors: Union[np.ndarray, Depth, None] = None,
    *,
    image_size: tuple,
    rasterizer: Optional[Rasterizer] = None,
) -> tuple:
    """Draws projected triangles and returns the image with its vector-Jacobian product.

    Arrays are taken in the precision that `ti.init(default_fp=...)` set.

    Args:
        corners: (B, F, 3, 3) x_ndc, y_ndc and depth of each corner. The shorter image side
            spans [-1, 1], x points right, y up, depth is positive in front of the camera.
        colors: (B or 1, F, 3, C) at the corners; or (B or 1, F, R, R, C) texels of each face,
            texel [row][column] with corner 0 along columns and corner 1 along rows, the upper
            half mirrored (SoftRas' surface textures); or None for the silhouette alone. Some
            rasterizers (`reads_texture_cubes`) also take (B or 1, F, R, R, R, C), R >= 2:
            cubes, axis k of which is the barycentric weight of corner k. Or `Depth()`: one
            channel, the depth, with the rasterizer's `far` as background.
        image_size: (H, W) in pixels.
        rasterizer: the method; `SoftAggregation()` when left out.

    Returns:
        image: (B, H, W, C + 1), alpha last, row 0 on top.
        vjp: grad_image (B, H, W, C + 1) -> (grad_corners, grad_colors) in the shapes of the
            inputs (grad_colors is None without colours). May be called more than once.

    Raises:
        ValueError: for wrong shapes, sizes or values that are not finite.
    """
    rasterizer = rasterizer or SoftAggregation()
    dtype = default_numpy_float()
    corners = _checked_corners(corners, dtype)
    height, width = check_image_size(image_size)
    views, faces = corners.shape[:2]
    texel_resolution = 0
    draws_depths = isinstance(colors, Depth)
    if draws_depths:
        colors = None
    if colors is not None:
        colors = _checked("colors", colors, dtype)
        texel_resolution = _texel_resolution(colors.shape, views, faces)
        if colors.ndim == 6:
            check_reads_texture_cubes(rasterizer)
    channels = colors.shape[-1] if colors is not None else 0

    workspace = Workspace()
    drawn_faces = max(faces, 1)  # Taichi has no empty arrays: one face at depth 0 draws nothing
    corners_array = _upload(corners, (views, drawn_faces, 3, 3), dtype)
    colors_array = None
    if colors is not None:
        entries = math.prod(colors.shape[2:-1])  # of a face
        shape = (colors.shape[0], drawn_faces, entries, channels)
        colors_array = _upload(colors, shape, dtype)
    if draws_depths:
        rasterization = draw_depths(rasterizer, workspace, corners_array, (height, width))
    else:
        rasterization = rasterizer.forward(
            workspace, corners_array, colors_array, texel_resolution, (height, width)
        )
    image = np.empty((views, height, width, rasterization.image.shape[1]), dtype)
    pixels_from_planes(rasterization.image, image)

    def vjp(grad_image: np.ndarray) -> tuple:
        grad_image = _checked("grad_image", grad_image, dtype)
        if grad_image.shape != image.shape:
            raise ValueError(f"grad_image must have shape {image.shape}, got {grad_image.shape}")
        planes_from_pixels(grad_image, rasterization.grad_image)
        rasterization.backward()
        grad_corners = rasterization.grad_corners.to_numpy()[:, :faces]
        grad_colors = None
        if colors is not None:
            grad_colors = rasterization.grad_colors.to_numpy()[:, :faces].reshape(colors.shape)
        return grad_corners, grad_colors

    return image, vjp


def fragments(
    corners: np.ndarray, *, image_size: tuple, rasterizer: Optional[KNearest] = None
) -> Fragments:
    """The K nearest faces of each pixel, sorted by depth, -1 where there are no more.

    Args:
        corners: (B, F, 3, 3) as for `rasterize`.
        image_size: (H, W) in pixels.
        rasterizer: gives K, the blur radius and how depths are interpolated; `KNearest()` when
            left out.

    Raises:
        ValueError: for wrong shapes, sizes or values that are not finite; for a rasterizer
            that has no fragments.
    """
    dtype = default_numpy_float()
    rasterizer = KNearest() if rasterizer is None else rasterizer
    check_has_fragments(rasterizer)
    corners = _checked_corners(corners, dtype)
    image_size = check_image_size(image_size)
    views, faces = corners.shape[:2]
    corners_array = _upload(corners, (views, max(faces, 1), 3, 3), dtype)
    return rasterizer.fragments(Workspace(), corners_array, image_size)


def check_has_fragments(rasterizer: Rasterizer) -> None:
    """Raises a ValueError for a rasterizer without `fragments`."""
    if not hasattr(rasterizer, "fragments"):
        raise ValueError(
            f"{type(rasterizer).__name__} has no fragments: every face counts, or the nearest "
            "alone; use KNearest"
        )


def check_reads_texture_cubes(rasterizer: Rasterizer) -> None:
    """Raises a ValueError for a rasterizer that has no texture cubes."""
    if not getattr(rasterizer, "reads_texture_cubes", False):
        raise ValueError(
            f"{type(rasterizer).__name__} has no texture cubes: give colours at corners or R x R "
            "texels, or use ApproximateGradient or FilteredDerivative"
        )


def check_has_push_forward(rasterizer: Rasterizer) -> None:
    """Raises a ValueError for a rasterizer without a Jacobian."""
    if not getattr(rasterizer, "has_jacobian", True):
        raise ValueError(
            f"{type(rasterizer).__name__} has no Jacobian: its gradient is not linear in the "
            "gradient that comes in; use FilteredDerivative, SoftAggregation or KNearest"
        )


def check_image_size(image_size: tuple) -> tuple:
    """(H, W) as two ints >= 1, or a ValueError."""
    try:
        height, width = (operator.index(extent) for extent in image_size)
    except (TypeError, ValueError):
        raise ValueError(
            f"image_size must be (height, width) in whole pixels, got {image_size!r}"
        ) from None
    if height < 1 or width < 1:
        raise ValueError(f"image_size must be at least (1, 1), got {image_size!r}")
    return height, width


def _checked_corners(corners: np.ndarray, dtype: type) -> np.ndarray:
    """Projected corners, finite and (B, F, 3, 3)."""
    corners = _checked("corners", corners, dtype)
    if corners.ndim != 4 or corners.shape[2:] != (3, 3) or corners.shape[0] < 1:
        raise ValueError(f"corners must have shape (B, F, 3, 3), got {corners.shape}")
    return corners


def _checked(name: str, values: np.ndarray, dtype: type) -> np.ndarray:
    """A contiguous array of finite numbers in the precision of the runtime."""
    try:
        values = np.ascontiguousarray(values, dtype)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers, got {type(values)}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has entries that are NaN or infinite")
    return values


def _texel_resolution(shape: tuple, views: int, faces: int) -> int:
    """R of texels or cubes, 0 for colours at corners; checks the shape."""
    is_corners = len(shape) == 4 and shape[2] == 3
    is_texels = len(shape) == 5 and shape[2] == shape[3] >= 1
    is_cubes = len(shape) == 6 and shape[2] == shape[3] == shape[4] >= 2
    if not (is_corners or is_texels or is_cubes) or shape[0] not in (1, views) or shape[1] != faces:
        raise ValueError(
            f"colors must have shape ({views} or 1, {faces}, 3, C) at corners or "
            f"({views} or 1, {faces}, R, R, C) texels, got {shape}"
        )
    if shape[-1] < 1:
        raise ValueError(f"colors need at least one channel, got shape {shape}")
    return 0 if is_corners else shape[2]


def _upload(values: np.ndarray, shape: tuple, dtype: type) -> ti.Ndarray:
    """An array of `shape` on the device, zeros where there are no values."""
    array = ti.ndarray(float, shape)
    array.from_numpy(values.reshape(shape) if values.size else np.zeros(shape, dtype))
    return array
