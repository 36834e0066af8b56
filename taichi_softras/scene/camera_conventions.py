"""Other programs' cameras in, `Camera` out, and back: two functions a convention.

Each turns the convention's axes into view space (x right, y up, looking along -z) and its
projection into `Perspective` or into clip space. `image_size` is (H, W) in pixels throughout;
`camera.aspect` is then W / H, and images of another aspect are refused. `to_...` gives back what
the function of that name takes.
"""

import json
import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from taichi_softras.io.colmap import quaternion_of, rotation_of
from taichi_softras.io.transforms import (
    DISTORTION,
    check_radians,
    distortion_of,
    frames_of,
    intrinsics_of,
    pose_of,
)
from taichi_softras.scene.camera import Camera, Intrinsics, Perspective, orbit

SAME = 1e-5  # relative: what single precision leaves of numbers that should be equal
VIEW_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])  # from x right, y down, z forward


def opencv(K, R, t, image_size: tuple, distortion: Any = None, needs_grad: bool = True) -> Camera:
    """OpenCV: x right, y down, z forward; x_camera = R x_world + t.

    Pixels are counted as in `cv2.projectPoints`: (0, 0) is the centre of the top left pixel.

    Args:
        K: (3, 3) or (B, 3, 3) intrinsics in pixels.
        R: (3, 3) or (B, 3, 3) rotation.
        t: (3,) or (B, 3) translation.
        image_size: (H, W).
        distortion: (5,) or (B, 5), k1, k2, p1, p2, k3, or the first four. With any that is not 0
            the projection is `Intrinsics`, which have no skew, else a matrix.
        needs_grad: as for `Camera.from_matrices`.
    """
    return _camera(_rigid(R, t), K, image_size, 0.0, distortion, needs_grad)


def colmap(
    quaternion, t, K, image_size: tuple, distortion: Any = None, needs_grad: bool = True
) -> Camera:
    """COLMAP: the axes of OpenCV; the centre of the top left pixel is (1/2, 1/2).

    Args:
        quaternion: (4,) or (B, 4): w, x, y, z of `images.txt`, camera from world.
        t: (3,) or (B, 3) translation.
        K: (3, 3) or (B, 3, 3) intrinsics in pixels.
        image_size: (H, W).
        distortion: as for `opencv`; of the model OPENCV k1, k2, p1, p2.
        needs_grad: as for `Camera.from_matrices`.
    """
    pose = _rigid(rotation_of(quaternion), t)
    return _camera(pose, K, image_size, 0.5, distortion, needs_grad)


def pytorch3d(R, T, fov, image_size: Optional[tuple] = None, needs_grad: bool = True) -> Camera:
    """PyTorch3D's FoVPerspectiveCameras: x left, y up, z forward; x_view = x_world R + T.

    Args:
        R: (3, 3) or (B, 3, 3), acts on row vectors.
        T: (3,) or (B, 3).
        fov: scalar or (B,), degrees across the shorter side of the image.
        image_size: (H, W); only its aspect counts. Left out: any that is not higher than wide.
        needs_grad: as for `Camera.from_matrices`.
    """
    height, width = image_size or (1, 1)
    fov_y_degrees = _scaled_fov(fov, height / min(height, width))
    return Camera.from_matrices(
        np.diag([-1.0, 1.0, -1.0, 1.0]) @ _rigid(np.swapaxes(R, -1, -2), T),
        projection=Perspective(fov_y_degrees),
        needs_grad=needs_grad,
        aspect=_aspect(image_size) if image_size else None,
    )


def softras(
    distance,
    elevation_degrees,
    azimuth_degrees,
    half_angle_degrees: float = 30.0,
    needs_grad: bool = True,
) -> Camera:
    """Soft Rasterizer and Neural 3D Mesh Renderer: an eye on a sphere that looks at the origin.

    Their image is mirrored: azimuth 0 puts the eye at -z, and +x lies at the right of the image,
    which a right-handed camera sees at its left. So `view_from_world` has determinant -1, and
    faces that run counter-clockwise seen from outside run clockwise in the image.

    Args:
        distance: of the eye from the origin, scalar or (B,).
        elevation_degrees: above the plane y = 0, between -90 and 90, scalar or (B,).
        azimuth_degrees: around y, scalar or (B,).
        half_angle_degrees: their `viewing_angle`, half of the field of view.
        needs_grad: as for `Camera.from_matrices`.
    """
    eye = orbit(distance, elevation_degrees, azimuth_degrees) * [1, 1, -1]
    forward = -eye / np.linalg.norm(eye, axis=-1, keepdims=True)
    right = _unit(np.cross([0.0, 1.0, 0.0], forward))
    axes = np.stack([right, np.cross(forward, right), -forward], axis=-2)
    translation = -np.einsum("brc,bc->br", axes, eye)
    projection = Perspective(2 * np.asarray(half_angle_degrees))
    return Camera.from_matrices(
        _rigid(axes, translation), projection=projection, needs_grad=needs_grad
    )


def blender(
    world_from_camera, fov_x, image_size: tuple = (1, 1), needs_grad: bool = True
) -> Camera:
    """Blender: the axes of view space; the pose is `camera.matrix_world`.

    Args:
        world_from_camera: (4, 4) or (B, 4, 4), without scale.
        fov_x: scalar or (B,), horizontal field of view in radians: `camera.data.angle_x`.
        image_size: (H, W); only its aspect counts.
        needs_grad: as for `Camera.from_matrices`.

    Raises:
        ValueError: for an angle that is not between 0 and pi.
    """
    check_radians("fov_x", fov_x)
    fov_y_degrees = _scaled_fov(np.degrees(fov_x), image_size[0] / image_size[1])
    return Camera.from_matrices(
        np.linalg.inv(world_from_camera),
        projection=Perspective(fov_y_degrees),
        needs_grad=needs_grad,
        aspect=_aspect(image_size),
    )


def nerf(
    transforms: Union[dict, str, os.PathLike],
    image_size: Union[tuple, None] = None,
    needs_grad: bool = True,
) -> Camera:
    """NeRF: `transforms.json` with one `transform_matrix` (world from camera) a frame.

    The axes are those of view space. Intrinsics are `camera_angle_x` (radians), or `fl_x` and the
    optional `fl_y`, `cx`, `cy` in pixels, of which (1/2, 1/2) is the centre of the top left one.
    A frame's own entries go before those of the file. With distortion (`k1`, `k2`, `p1`, `p2`,
    `k3`) the projection is `Intrinsics`, see `opencv`.

    Args:
        transforms: the file or what it holds.
        image_size: (H, W); by default `h` and `w` of the file, or else a square.
        needs_grad: as for `Camera.from_matrices`.

    Raises:
        ValueError: for an angle that is not between 0 and pi, frames of several aspects.
    """
    name = "transforms" if isinstance(transforms, dict) else str(transforms)
    if not isinstance(transforms, dict):
        transforms = json.loads(pathlib.Path(transforms).read_text())
    frames = frames_of(transforms, name)
    names = [f"{name}, frame {index}" for index in range(len(frames))]
    sizes = [image_size or (frame.get("h", 1), frame.get("w", 1)) for frame in frames]
    aspects = {round(_aspect(size), 6) for size in sizes}
    if len(aspects) > 1:
        raise ValueError(
            f"frames must have one aspect (w / h), got {sorted(aspects)}: make cameras of each"
        )
    K = np.stack(list(map(intrinsics_of, frames, sizes, names)))
    scales = np.array([[sizes[0][1] / w, sizes[0][0] / h, 1.0] for h, w in sizes])
    poses = np.stack(list(map(pose_of, frames, names)))
    distortion = np.array(list(map(distortion_of, frames, names)))
    return _camera(poses, scales[..., None] * K, sizes[0], 0.5, distortion, needs_grad)


def to_opencv(camera: Camera, image_size: Optional[tuple] = None) -> tuple:
    """What `opencv` takes: K (B, 3, 3), R (B, 3, 3), t (B, 3), distortion (B, 5).

    Args:
        camera: of pinholes, not mirrored.
        image_size: (H, W); by default `camera.image_size`. So it is in all that follow.

    Raises:
        ValueError: parallel rays, a pose that mirrors or has a scale, images of another aspect. So
            do all that follow; what a convention has no place for is a warning.
    """
    return *_pinhole(camera, image_size, 0.0, "to_opencv")[:3], _distortion_of(camera)


def to_colmap(camera: Camera, image_size: Optional[tuple] = None) -> tuple:
    """What `colmap` takes: quaternions (B, 4), w >= 0 first, t (B, 3), K, distortion (B, 5).

    COLMAP's model OPENCV has no k3, which is the last: FULL_OPENCV has it.
    """
    K, R, t, _ = _pinhole(camera, image_size, 0.5, "to_colmap")
    return quaternion_of(R), t, K, _distortion_of(camera)


def to_nerf(
    camera: Camera, image_size: Optional[tuple] = None, paths: Optional[Sequence] = None
) -> dict:
    """What `nerf` and `tsr.io.load_cameras` take, for `json.dump`.

    Args:
        camera: see `to_opencv`.
        image_size: likewise.
        paths: of B pictures, `file_path` of the frames.
    """
    K, R, t, (height, width) = _pinhole(camera, image_size, 0.5, "to_nerf")
    if (np.abs(K[:, 0, 1]) > SAME * K[:, 0, 0]).any():
        warnings.warn("to_nerf leaves out skew, K[0, 1]", stacklevel=2)
    world_from_camera = np.linalg.inv(_rigid(R, t)) @ VIEW_FROM_OPENCV
    distortion = _distortion_of(camera)
    frames = [
        {
            "transform_matrix": world_from_camera[view].tolist(),
            "fl_x": K[view, 0, 0],
            "fl_y": K[view, 1, 1],
            "cx": K[view, 0, 2],
            "cy": K[view, 1, 2],
            **(dict(zip(DISTORTION, distortion[view].tolist())) if distortion.any() else {}),
        }
        for view in range(len(K))
    ]
    for frame, path in zip(frames, paths if paths is not None else ()):
        frame["file_path"] = str(path)
    return {"w": width, "h": height, "frames": frames}


def to_blender(camera: Camera, image_size: Optional[tuple] = None) -> tuple:
    """What `blender` takes: world_from_camera (B, 4, 4), fov_x (B,) in radians."""
    K, R, t, image_size = _pinhole(camera, image_size, 0.5, "to_blender")
    _check_straight(camera, "to_blender")
    fov_x = np.radians(_angles(K, image_size, "to_blender")[:, 1])
    return np.linalg.inv(_rigid(R, t)) @ VIEW_FROM_OPENCV, fov_x


def to_pytorch3d(camera: Camera, image_size: Optional[tuple] = None) -> tuple:
    """What `pytorch3d` takes: R (B, 3, 3) for rows, T (B, 3), fov (B,) in degrees."""
    K, R, t, image_size = _pinhole(camera, image_size, 0.5, "to_pytorch3d")
    _check_straight(camera, "to_pytorch3d")
    fov = _angles(K, image_size, "to_pytorch3d").min(axis=1)
    pytorch3d_from_opencv = np.diag([-1.0, -1.0, 1.0])
    return (pytorch3d_from_opencv @ R).swapaxes(-1, -2), t @ pytorch3d_from_opencv, fov


def clip_from_intrinsics(K, image_size: tuple, first_pixel_center: float) -> np.ndarray:
    """Clip space of the image from view space; K counts pixels from `first_pixel_center`.

    Raises:
        ValueError: a focal length that is not positive.
    """
    K = np.asarray(K, float)
    if K.shape[-2:] != (3, 3) or not np.isfinite(K).all():
        raise ValueError(f"K must be (3, 3) or (B, 3, 3) finite numbers, got shape {K.shape}: {K}")
    focal_lengths = K[..., [0, 1], [0, 1]]
    if not (focal_lengths > 0).all():
        raise ValueError(f"K must have focal lengths fx and fy above 0 pixels, got {focal_lengths}")
    rows = _ndc_from_pixel(image_size, first_pixel_center)[[0, 1, 1, 2]] * [[1], [1], [0], [1]] @ K
    return np.concatenate([rows, np.zeros_like(rows[..., :1])], axis=-1) @ VIEW_FROM_OPENCV


def _ndc_from_pixel(image_size: tuple, first_pixel_center: float) -> np.ndarray:
    """(3, 3): the whole image spans [-1, 1], pixels are counted from `first_pixel_center`."""
    height, width = image_size
    margin = 0.5 - first_pixel_center  # from the image's border to pixel coordinate 0
    return np.array(
        [
            [2 / width, 0, 2 * margin / width - 1],
            [0, -2 / height, 1 - 2 * margin / height],
            [0, 0, 1],
        ]
    )


def _pinhole(camera: Camera, image_size: Optional[tuple], first_pixel_center: float, name: str):
    """(K, R, t, image_size) of a camera, in OpenCV's axes; says what `name` leaves out.

    Raises:
        ValueError: no size of images; no pinhole; a pose that is no rotation.
    """
    image_size = image_size or camera.image_size
    if image_size is None:
        raise ValueError(f"{name} needs image_size, (H, W) in pixels")
    camera.check_image_size(image_size)
    view_from_world, clip_from_view = camera.matrices(_aspect(image_size))
    if (np.abs(clip_from_view[:, 3, [0, 1, 3]]) > SAME).any() or (
        clip_from_view[:, 3, 2] >= 0
    ).any():
        raise ValueError(f"{name} has pinholes alone: this camera's rays do not meet in its eye")
    camera_from_world = VIEW_FROM_OPENCV @ view_from_world.astype(float)
    R = camera_from_world[:, :3, :3]
    is_turned = np.abs(R @ R.swapaxes(-1, -2) - np.eye(3)).max() < SAME
    if not is_turned or (np.linalg.det(R) < 0).any():
        raise ValueError(f"{name} has rotations alone: this camera's pose mirrors, or has a scale")
    if camera.distortion is None and camera.lens is not None and camera.lens.is_distorted:
        _warn_of_what_is_left_out(name, "distortion, camera.lens.distortion")
    pixel_from_ndc = np.linalg.inv(_ndc_from_pixel(image_size, first_pixel_center))
    rows = (clip_from_view.astype(float) @ VIEW_FROM_OPENCV)[:, [0, 1, 3], :3]
    K = pixel_from_ndc @ (rows / rows[:, 2:, 2:])
    return K, R, camera_from_world[:, :3, 3], image_size


def _camera(
    camera_from_world, K, image_size: tuple, first_pixel_center: float, distortion, needs_grad: bool
) -> Camera:
    """Of OpenCV's axes; `Intrinsics` where there is distortion, otherwise any K in a matrix."""
    clip_from_view = clip_from_intrinsics(K, image_size, first_pixel_center)
    view_from_world = VIEW_FROM_OPENCV @ camera_from_world
    if distortion is None or not np.any(distortion):
        aspect = _aspect(image_size)
        return Camera.from_matrices(
            view_from_world, clip_from_view, needs_grad=needs_grad, aspect=aspect
        )
    K = np.array(K, float)
    if K[..., 0, 1].any():
        raise ValueError(
            "K with skew and distortion are not drawn together, got K[0, 1] = "
            f"{K[..., 0, 1].tolist()}: undistort the pictures"
        )
    K[..., :2, 2] += 0.5 - first_pixel_center
    projection = Intrinsics(K, image_size, distortion)
    return Camera.from_matrices(view_from_world, projection=projection, needs_grad=needs_grad)


def _distortion_of(camera: Camera) -> np.ndarray:
    """(B, 5) that is drawn."""
    if camera.distortion is None:
        return np.zeros((camera.num_views, 5))
    return camera.distortion.to_numpy().astype(float)


def _check_straight(camera: Camera, name: str) -> None:
    """A warning for a camera with distortion."""
    if _distortion_of(camera).any():
        _warn_of_what_is_left_out(name, "distortion, camera.distortion")


def _angles(K: np.ndarray, image_size: tuple, name: str) -> np.ndarray:
    """(B, 2): degrees from bottom to top and from left to right; says what they do not."""
    sides = np.array(image_size, float)
    focal_lengths = K[:, [1, 0], [1, 0]]
    off_center = K[:, [1, 0], 2] - sides / 2
    if np.abs(off_center).max() > SAME * sides.max():
        _warn_of_what_is_left_out(name, "the principal point, which is not the middle of the image")
    if (
        np.abs(focal_lengths[:, 0] / focal_lengths[:, 1] - 1).max() > SAME
        or (np.abs(K[:, 0, 1]) > SAME * K[:, 0, 0]).any()
    ):
        _warn_of_what_is_left_out(name, "that pixels are not square: fx and fy differ, or skew")
    return np.degrees(2 * np.arctan(sides / 2 / focal_lengths))


def _warn_of_what_is_left_out(name: str, what: str) -> None:
    warnings.warn(f"{name} leaves out {what}", stacklevel=4)


def _aspect(image_size: tuple) -> float:
    """Width over height."""
    return image_size[1] / image_size[0]


def _rigid(rotation, translation) -> np.ndarray:
    """(B, 4, 4) that rotates, then translates; either may be given once for all views."""
    rotation, translation = np.asarray(rotation, float), np.asarray(translation, float)
    columns = np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    matrix = np.zeros((*columns, 4, 4))
    matrix[..., :3, :3], matrix[..., :3, 3], matrix[..., 3, 3] = rotation, translation, 1
    return matrix


def _scaled_fov(fov_degrees, factor: float) -> np.ndarray:
    """The angle of a field of view that is `factor` times as long."""
    return np.degrees(2 * np.arctan(factor * np.tan(np.radians(fov_degrees) / 2)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
