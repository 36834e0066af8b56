"""Sparse models of COLMAP, text and binary: cameras and images, without points.

Source: https://colmap.github.io/format.html; the models of cameras as in its `models.h`.
"""

import os
import pathlib
import struct
from typing import Any, NamedTuple, Union

import numpy as np

from taichi_softras.io.captures import CameraArrays, chosen, intrinsics
from taichi_softras.io.text import decode

# the models in the order of their numbers in binary files, and how many parameters they have
MODELS = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
}
KNOWN = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
MODEL_FOLDERS = ("", "sparse/0", "sparse", "0")  # in the folder that a user names
BYTES_OF_A_POINT = 24  # of an image's list of points: x, y, index


class CameraModel(NamedTuple):
    """A camera of COLMAP, which several images may share."""

    model: str
    image_size: tuple  # (H, W)
    parameters: tuple


class Image(NamedTuple):
    """A picture of COLMAP."""

    quaternion: tuple  # w, x, y, z, camera from world
    translation: tuple
    camera: int
    name: str


def read_colmap(folder: Union[str, os.PathLike], frames: Any = None) -> list:
    """The `CameraArrays` of a model's pictures, sorted by their names.

    Args:
        folder: the model's, or one with the model in `sparse/0` or `sparse`. Pictures are looked
            for in `images` beside the model or up to two folders above.
        frames: see `chosen`.

    Raises:
        ValueError: no model, one that cannot be read, other lenses; frames that are not there.
    """
    model = find_model(folder)
    if model is None:
        raise ValueError(
            f"{folder} has no model of COLMAP: neither cameras.bin and images.bin nor cameras.txt "
            "and images.txt, in it or in sparse/0"
        )
    suffix = ".bin" if (model / "cameras.bin").is_file() else ".txt"
    readers = (_read_cameras, _read_images) if suffix == ".bin" else (_parse_cameras, _parse_images)
    cameras, images = (
        _read(model / f"{name}{suffix}", read) for name, read in zip(("cameras", "images"), readers)
    )
    pictures = _find_pictures(model)
    images = chosen(sorted(images, key=lambda image: image.name), frames, folder)
    return [_camera(image, cameras, pictures, model) for image in images]


def find_model(folder: Union[str, os.PathLike]):
    """The folder in which cameras and images lie, or None."""
    for inner in MODEL_FOLDERS:
        model = pathlib.Path(folder) / inner
        for suffix in (".bin", ".txt"):
            if all((model / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
                return model
    return None


def rotation_of(quaternion) -> np.ndarray:
    """(.., 3, 3) of quaternions (.., 4), w first; they are normalised here."""
    quaternion = np.asarray(quaternion, float)
    lengths = np.linalg.norm(quaternion, axis=-1, keepdims=True)
    if not (lengths > 0).all():
        raise ValueError(f"a quaternion must not be 0, got {quaternion}")
    w, x, y, z = np.moveaxis(quaternion / lengths, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """(.., 4), w first and not negative, of rotations (.., 3, 3).

    Source: Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix", 2000:
    the eigenvector of the largest eigenvalue, which is right for all angles.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.moveaxis(rotation, (-2, -1), (0, 1))
    rows = [
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ]
    quaternion = np.linalg.eigh(np.moveaxis(np.array(rows), (0, 1), (-2, -1)))[1][..., -1]
    return np.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def _read(path: pathlib.Path, read):
    try:
        return read(path.read_bytes())
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise ValueError(f"{path} cannot be read as a file of COLMAP: {error}") from None


def _camera(image: Image, cameras: dict, pictures: pathlib.Path, model: pathlib.Path):
    if image.camera not in cameras:
        raise ValueError(f"{model}: {image.name} names camera {image.camera}, which is not there")
    kind, image_size, parameters = cameras[image.camera]
    name = f"{model}, camera {image.camera}"
    if kind not in KNOWN:
        raise ValueError(
            f"{name} has the model {kind}, of which nothing is known here; {', '.join(KNOWN)} are: "
            "run `colmap image_undistorter` and load what it writes"
        )
    num_focal_lengths = 1 if kind.startswith(("SIMPLE", "RADIAL")) else 2
    focal_lengths, rest = parameters[:num_focal_lengths], parameters[num_focal_lengths:]
    distortion = np.zeros(5)
    distortion[: len(rest) - 2] = rest[2:]  # k1, k2, p1, p2, as far as there are
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = rotation_of(image.quaternion)
    camera_from_world[:3, 3] = image.translation
    K = intrinsics(focal_lengths[0], focal_lengths[-1], rest[0], rest[1], name)
    return CameraArrays(pictures / image.name, camera_from_world, K, tuple(distortion), image_size)


def _find_pictures(model: pathlib.Path) -> pathlib.Path:
    folders = [folder / "images" for folder in (model, *model.resolve().parents[:2])]
    return next((folder for folder in folders if folder.is_dir()), folders[-1])


def _parse_cameras(data: bytes) -> dict:
    cameras = {}
    for line in _lines(data):
        if line.strip():
            index, model, width, height, *parameters = line.split()
            numbers = tuple(map(float, parameters))
            if len(numbers) != MODELS.get(model, len(numbers)):
                raise ValueError(f"{model} has {MODELS[model]} parameters, got {len(numbers)}")
            cameras[int(index)] = CameraModel(model, (int(height), int(width)), numbers)
    return cameras


def _parse_images(data: bytes) -> list:
    """Two lines an image; the second, its points, may be empty."""
    images = []
    for line in _lines(data)[::2]:
        if line.strip():
            _, *numbers, camera, name = line.split(maxsplit=9)
            numbers = tuple(map(float, numbers))
            images.append(Image(numbers[:4], numbers[4:], int(camera), name.strip()))
    return images


def _lines(data: bytes) -> list:
    return [line for line in decode(data).splitlines() if not line.startswith("#")]


def _read_cameras(data: bytes) -> dict:
    (count,), at, cameras = struct.unpack_from("<Q", data), 8, {}
    for _ in range(count):
        index, kind, width, height = struct.unpack_from("<iiQQ", data, at)
        if not 0 <= kind < len(MODELS):
            raise ValueError(f"camera {index} has model {kind}, which is unknown")
        model = list(MODELS)[kind]
        parameters = struct.unpack_from(f"<{MODELS[model]}d", data, at + 24)
        cameras[index] = CameraModel(model, (height, width), parameters)
        at += 24 + 8 * MODELS[model]
    return cameras


def _read_images(data: bytes) -> list:
    (count,), at, images = struct.unpack_from("<Q", data), 8, []
    for _ in range(count):
        _, *numbers, camera = struct.unpack_from("<i7di", data, at)
        end = data.index(b"\0", at + 64)
        name = decode(data[at + 64 : end])
        (num_points,) = struct.unpack_from("<Q", data, end + 1)
        images.append(Image(tuple(numbers[:4]), tuple(numbers[4:]), camera, name))
        at = end + 9 + BYTES_OF_A_POINT * num_points
    return images
