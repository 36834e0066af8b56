"""The pictures of a capture: as its cameras see them, with masks of what counts."""

import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from taichi_softras.io.folder import PICTURES
from taichi_softras.io.images import load_image
from taichi_softras.io.lenses import Lens, shrunk, undistorted

SAME_COLOR = (
    1.5 / 255
)  # in each channel: what a background differs by from the colour that is named


def load_pictures(
    paths: Sequence,
    cameras: Any,
    scale: Optional[float] = None,
    undistort: Optional[bool] = None,
    mask: Union[None, str, os.PathLike, Sequence] = None,
) -> tuple:
    """The pictures of `load_cameras`, as these cameras take them, and masks.

    Args:
        paths: B of them, of pictures of any format.
        cameras: the `Camera` of B views that `load_cameras` gave with them.
        scale: of the pictures' sides, in (0, 1]; left out, pictures have `cameras.image_size`.
            Pixels are means of what they cover.
        undistort: whether to take the lens's distortion out; left out, where `cameras` do not draw
            it. The other choice is warned of.
        mask: "alpha", that of the pictures; a folder of masks, grey, named as the pictures are; or
            the colour of the background, three numbers in [0, 1]. Left out, masks are 1 wherever
            the lens has seen something.

    Returns:
        Pictures (B, H, W, 3) and masks (B, H, W), float32 in [0, 1], row 0 on top. Pictures with
        alpha lie over black; `pictures + (1 - masks[..., None]) * color` puts them over another
        colour. Where taking the distortion out leaves nothing of a picture, both are 0.

    Raises:
        ValueError: pictures or masks that are not there, not as many as cameras, of another shape
            than the cameras are for; "alpha" of a picture without.
    """
    paths = [pathlib.Path(path) for path in paths]
    lens = cameras.lens
    if len(paths) != cameras.num_views:
        raise ValueError(f"{len(paths)} paths, but cameras of {cameras.num_views} views")
    if scale is not None and not 0 < scale <= 1:
        raise ValueError(f"scale must lie above 0 and up to 1, got {scale}")
    _check_presence(paths)
    if lens is not None and lens.is_distorted:
        is_drawn = cameras.distortion is not None
        undistort = not is_drawn if undistort is None else undistort
        if undistort == is_drawn:
            warnings.warn(
                f"these pictures are {'un' * undistort}distorted, as their cameras are not: leave "
                f"undistort out, or load_cameras(..., undistort={undistort})",
                stacklevel=2,
            )
        if not undistort:
            lens = lens._replace(distortion=np.zeros_like(lens.distortion))
    views = []
    for view, path in enumerate(paths):
        picture = np.dstack(_load(path, mask))
        if lens is not None:
            K = _intrinsics_of(picture.shape[:2], lens, view, path)
            picture = undistorted(picture, K, lens.distortion[view])
        whole = picture.shape[:2] if lens is None else lens.image_size
        size = scaled(whole, scale) if scale else cameras.image_size or whole
        views.append(shrunk(picture, size).astype(np.float32))
        _check_alike(views, paths)
    stacked = np.stack(views)
    return stacked[..., :3], stacked[..., 3]


def scaled(image_size: tuple, scale: float) -> tuple:
    """(H, W) in whole pixels, at least one."""
    height, width = (max(1, round(length * scale)) for length in image_size)
    return height, width


def _check_presence(paths: list) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(paths)} pictures are not there, the first is {missing[0]}: "
            "put them there, or leave them out by load_cameras(..., frames=[...])"
        )


def _check_alike(views: list, paths: list) -> None:
    if views[-1].shape != views[0].shape:
        raise ValueError(
            f"pictures must have one size, got {views[0].shape[:2]} of {paths[0]} and "
            f"{views[-1].shape[:2]} of {paths[len(views) - 1]} (H, W)"
        )


def _intrinsics_of(image_size: tuple, lens: Lens, view: int, path: pathlib.Path) -> np.ndarray:
    """K for the size that a picture has, which may be smaller than the lens's."""
    (height, width), (full_height, full_width) = image_size, lens.image_size
    if abs(width * full_height - height * full_width) > max(full_height, full_width):
        raise ValueError(
            f"{path} is {height} x {width} pixels high and wide, its camera is for "
            f"{full_height} x {full_width}: another picture, or turned by its viewer"
        )
    return np.diag([width / full_width, height / full_height, 1.0]) @ lens.K[view]


def _load(path: pathlib.Path, mask: Any) -> tuple:
    """Colours (H, W, 3), over black by the picture's alpha, and the mask (H, W)."""
    image = load_image(path)
    image = image[..., None] if image.ndim == 2 else image
    num_colors = (image.shape[-1] - 1) // 2 * 2 + 1  # 1 of grey, 3 of colours; then alpha
    alpha = image[..., num_colors] if image.shape[-1] > num_colors else None
    colors = np.broadcast_to(image[..., :num_colors], (*image.shape[:2], 3))
    if alpha is not None:
        colors = colors * alpha[..., None]
    if mask is None:
        return colors, np.ones(image.shape[:2])
    if isinstance(mask, str) and mask == "alpha":
        if alpha is None:
            raise ValueError(f'{path} has no alpha, which mask="alpha" asks for')
        return colors, alpha
    if isinstance(mask, (str, os.PathLike)):
        return colors, _load_mask(path, pathlib.Path(mask), image.shape[:2])
    background = np.asarray(mask, float)
    if background.shape != (3,):
        raise ValueError(f'mask must be "alpha", a folder or a colour of 3 numbers, got {mask!r}')
    return colors, (np.abs(colors - background) > SAME_COLOR).any(axis=-1).astype(float)


def _load_mask(path: pathlib.Path, folder: pathlib.Path, image_size: tuple) -> np.ndarray:
    """The mask of a picture: of its name, with any suffix, or one after its own."""
    names = [path.name, *(name + suffix for name in (path.stem, path.name) for suffix in PICTURES)]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise ValueError(
            f"{folder} has no mask for {path.name}, neither {path.stem}.png nor others"
        )
    mask = load_image(found)
    mask = mask[..., 0] if mask.ndim == 3 else mask
    if mask.shape != image_size:
        raise ValueError(f"{found} is {mask.shape} pixels (H, W), its picture {image_size}")
    return mask
