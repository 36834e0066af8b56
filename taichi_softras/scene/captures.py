"""Cameras of captures: what programs have found of the cameras of pictures, as a `Camera`."""

import os
import pathlib
from typing import Any, Union

import numpy as np

from taichi_softras.io.captures import lens_of
from taichi_softras.io.colmap import find_model, read_colmap
from taichi_softras.io.pictures import scaled
from taichi_softras.io.transforms import read_transforms
from taichi_softras.scene.camera import Camera
from taichi_softras.scene.camera_conventions import VIEW_FROM_OPENCV, clip_from_intrinsics


def load_cameras(
    path: Union[str, os.PathLike],
    frames: Any = None,
    scale: float = 1.0,
    needs_grad: bool = True,
) -> tuple:
    """The cameras of pictures, and where the pictures are.

        cameras, paths = tsr.io.load_cameras("capture/transforms.json", scale=0.25)
        pictures, masks = tsr.io.load_pictures(paths, cameras, mask="alpha")
        renderer = tsr.Renderer(mesh, cameras, cameras.image_size)

    Args:
        path: a `transforms.json` of NeRF, instant-ngp or nerfstudio, in the order of its frames;
            or a folder of COLMAP, text or binary, with the model in it, in `sparse/0` or in
            `sparse`, and the pictures in `images`, in the order of their names.
        frames: which pictures: an index, several, a slice, or None for all.
        scale: of the sides of the images that will be drawn, in (0, 1].
        needs_grad: as for `Camera.from_matrices`.

    Returns:
        A `Camera` of B views and a list of B paths. `cameras.image_size` is (H, W) of the pictures
        times `scale`; `cameras.lens` has K and distortion, which no renderer draws and
        `load_pictures` takes out.

    Raises:
        ValueError: no file of these kinds; a lens of another kind; no angle of view, or such as is
            none; pictures of several sizes; a size that only pictures say which are not there;
            frames that are not there.
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale must lie above 0 and up to 1, got {scale}")
    path = pathlib.Path(path)
    if path.is_dir() and (find_model(path) or not (path / "transforms.json").is_file()):
        arrays = read_colmap(path, frames)
    else:
        arrays = read_transforms(path / "transforms.json" if path.is_dir() else path, frames)
    lens = lens_of(arrays, path)
    camera = Camera.from_matrices(
        VIEW_FROM_OPENCV @ np.stack([one.camera_from_world for one in arrays]),
        clip_from_intrinsics(lens.K, lens.image_size, first_pixel_center=0.5),
        needs_grad=needs_grad,
        aspect=lens.image_size[1] / lens.image_size[0],
    )
    camera.lens, camera.image_size = lens, scaled(lens.image_size, scale)
    return camera, [one.path for one in arrays]
