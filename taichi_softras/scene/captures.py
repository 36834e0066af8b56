"""Cameras of captures: what programs have found of the cameras of pictures, as a `Camera`."""

import os
import pathlib
from typing import Any, Union

import numpy as np

from taichi_softras.io.captures import lens_of
from taichi_softras.io.colmap import find_model, quaternion_of, read_colmap
from taichi_softras.io.pictures import scaled
from taichi_softras.io.transforms import read_transforms
from taichi_softras.scene.camera import Camera, Intrinsics
from taichi_softras.scene.camera_conventions import VIEW_FROM_OPENCV

SKEWED = 1e-3  # of axes of length 1: more than the digits of a file leave


def load_cameras(
    path: Union[str, os.PathLike],
    frames: Any = None,
    scale: float = 1.0,
    needs_grad: bool = True,
    undistort: bool = True,
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
        needs_grad: as for `Camera.from_pose`.
        undistort: whether the cameras are pinholes, of pictures that `load_pictures` takes the
            distortion out of. Otherwise they draw it, to be held against pictures as they are: the
            choice for a fine mesh, and where the coefficients are to be refined.

    Returns:
        A `Camera` of B views, by quaternions and `Intrinsics`, and a list of B paths.
        `cameras.image_size` is (H, W) of the pictures
        times `scale`; `cameras.lens` has K and distortion, as the file says.

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
    turns, translations = _split(np.stack([one.camera_from_world for one in arrays]), path)
    distortion = lens.distortion if lens.is_distorted and not undistort else None
    intrinsics = Intrinsics(lens.K, lens.image_size, distortion)
    camera = Camera.from_pose(quaternion_of(turns), translations, intrinsics, needs_grad)
    camera.lens, camera.image_size = lens, scaled(lens.image_size, scale)
    return camera, [one.path for one in arrays]


def _split(camera_from_world: np.ndarray, path: pathlib.Path) -> tuple:
    """Rotations (B, 3, 3) and translations (B, 3) into view space; one scale in all axes goes.

    It changes no picture: what is seen and its distance are scaled alike.

    Raises:
        ValueError: another matrix than a rotation, a shift and a scale.
    """
    view_from_world = VIEW_FROM_OPENCV @ camera_from_world
    scales = np.cbrt(np.linalg.det(view_from_world[:, :3, :3]))[:, None, None]
    turns = view_from_world[:, :3, :3] / scales
    errors = np.abs(turns @ turns.swapaxes(-1, -2) - np.eye(3)).max(axis=(1, 2))
    is_wrong = (scales[:, 0, 0] <= 0) | (errors > SKEWED)
    if is_wrong.any():
        raise ValueError(
            f"{path}: the pose of picture {is_wrong.argmax()} of those taken is no rotation: it "
            "mirrors, or has a shear"
        )
    return turns, view_from_world[:, :3, 3] / scales[:, 0]
