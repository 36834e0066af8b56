"""`transforms.json` of NeRF, instant-ngp and nerfstudio: a pose and a lens for each picture."""

import json
import os
import pathlib
from typing import Any, Union

import numpy as np

from taichi_softras.io.captures import CameraArrays, chosen, intrinsics
from taichi_softras.io.folder import PICTURES
from taichi_softras.io.images import image_size_of
from taichi_softras.io.text import decode

CAMERA_FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y up, looks along -z
DISTORTION = ("k1", "k2", "p1", "p2", "k3")
MODELS = ("", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")


def read_transforms(path: Union[str, os.PathLike], frames: Any = None) -> list:
    """The `CameraArrays` of a file's frames, in its order.

    Raises:
        ValueError: no such file, none of these, another lens; frames that are not there.
    """
    path = pathlib.Path(path)
    try:
        transforms = json.loads(decode(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a transforms.json: {error}") from None
    listed = frames_of(transforms, str(path))
    numbered = [{**frame, "_name": f"{path}, frame {k}"} for k, frame in enumerate(listed)]
    sizes: dict = {}  # of folders of pictures: of the first of each that was opened
    return [_read_frame(frame, path.parent, sizes) for frame in chosen(numbered, frames, path)]


def frames_of(transforms: Any, name: str) -> list:
    """Frames with all that the file says of each: a frame's own entries go before the file's."""
    frames = transforms.get("frames") if isinstance(transforms, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(f'{name} must be an object with a list "frames" of objects')
    return [{**transforms, **frame} for frame in frames]


def pose_of(frame: dict, name: str) -> np.ndarray:
    """camera_from_world (4, 4), OpenCV's axes.

    Raises:
        ValueError: no matrix that can be inverted.
    """
    try:
        world_from_camera = np.array(frame["transform_matrix"], float)
        inverse = np.linalg.inv(np.concatenate([world_from_camera[:3], [[0, 0, 0, 1]]]))
    except (KeyError, ValueError, TypeError, np.linalg.LinAlgError):
        inverse = np.full((4, 4), np.nan)
    if not np.isfinite(inverse).all():
        raise ValueError(
            f"{name} needs a transform_matrix, 4 x 4, world from camera, which has an inverse; got "
            f"{frame.get('transform_matrix')}"
        )
    return CAMERA_FROM_BLENDER @ inverse


def intrinsics_of(frame: dict, image_size: tuple, name: str) -> np.ndarray:
    """K (3, 3) from `fl_x`, `fl_y`, `cx`, `cy`, or from angles of view.

    Raises:
        ValueError: neither focal lengths nor angles, or such as are none.
    """
    height, width = image_size
    focal_lengths = [
        _focal_length(frame, axis, length, name) for axis, length in (("x", width), ("y", height))
    ]
    fx, fy = focal_lengths[0] or focal_lengths[1], focal_lengths[1] or focal_lengths[0]
    if fx is None:
        raise ValueError(
            f"{name} has neither camera_angle_x (radians) nor fl_x (pixels): no angle of view"
        )
    cx, cy = _number(frame, "cx", name, width / 2), _number(frame, "cy", name, height / 2)
    return intrinsics(fx, fy, cx, cy, name)


def distortion_of(frame: dict, name: str) -> tuple:
    """k1, k2, p1, p2, k3.

    Raises:
        ValueError: a lens of another kind.
    """
    model = "OPENCV_FISHEYE" if frame.get("is_fisheye") else frame.get("camera_model", "")
    if model not in MODELS or _number(frame, "k4", name):
        raise ValueError(
            f"{name} has a lens of the kind {model or 'with k4'}, and only k1, k2, p1, p2, k3 of "
            "OpenCV are known: undistort the pictures by the program that they came from"
        )
    return tuple(_number(frame, key, name) for key in DISTORTION)


def check_radians(name: str, angles) -> None:
    """Raises a ValueError unless all lie in (0, pi)."""
    if not (0 < np.min(angles) and np.max(angles) < np.pi):
        raise ValueError(
            f"{name} is in radians and must lie between 0 and pi, got {angles}: write "
            "np.radians(...) if these are degrees"
        )


def _read_frame(frame: dict, folder: pathlib.Path, sizes: dict) -> CameraArrays:
    name = frame["_name"]
    if not isinstance(frame.get("file_path"), str):
        raise ValueError(f"{name} needs a file_path, the picture, got {frame.get('file_path')}")
    path = _find_picture(folder / frame["file_path"])
    if "w" in frame and "h" in frame:
        image_size = int(_number(frame, "h", name)), int(_number(frame, "w", name))
    else:
        if path.parent not in sizes:
            sizes[path.parent] = image_size_of(path)
        image_size = sizes[path.parent]
    if min(image_size) < 1:
        raise ValueError(f"{name}: w and h must be 1 or more, got {image_size[1], image_size[0]}")
    K = intrinsics_of(frame, image_size, name)
    return CameraArrays(path, pose_of(frame, name), K, distortion_of(frame, name), image_size)


def _find_picture(path: pathlib.Path) -> pathlib.Path:
    """A path that may lack its suffix, as those of NeRF's own scenes do."""
    candidates = [path, *(path.with_name(path.name + suffix) for suffix in PICTURES)]
    return next((candidate for candidate in candidates if candidate.is_file()), path)


def _focal_length(frame: dict, axis: str, length: int, name: str):
    """Pixels along an axis, or None where nothing is said of it."""
    if f"fl_{axis}" in frame:
        focal_length = _number(frame, f"fl_{axis}", name)
        if not focal_length > 0:
            raise ValueError(f"{name}: fl_{axis} must be above 0 pixels, got {focal_length}")
        return focal_length
    if f"camera_angle_{axis}" not in frame:
        return None
    angle = _number(frame, f"camera_angle_{axis}", name)
    check_radians(f"{name}: camera_angle_{axis}", angle)
    return 0.5 * length / np.tan(0.5 * angle)


def _number(frame: dict, key: str, name: str, default: float = 0.0) -> float:
    try:
        return float(frame.get(key, default))
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {key} must be a number, got {frame[key]!r}") from None
