"""Other programs' cameras in, `Camera` out: one function a convention.

Each turns the convention's axes into view space (x right, y up, looking along -z) and its
projection into `Perspective` or into clip space. `image_size` is (H, W) in pixels throughout;
`camera.aspect` is then W / H, and images of another aspect are refused.
"""

import json
import os
import pathlib
from typing import Optional, Union

import numpy as np

from taichi_softras.scene.camera import Camera, Perspective, orbit


def opencv(K, R, t, image_size: tuple, needs_grad: bool = True) -> Camera:
    """OpenCV: x right, y down, z forward; x_camera = R x_world + t.

    Pixels are counted as in `cv2.projectPoints`: (0, 0) is the centre of the top left pixel.

    Args:
        K: (3, 3) or (B, 3, 3) intrinsics in pixels.
        R: (3, 3) or (B, 3, 3) rotation.
        t: (3,) or (B, 3) translation.
        image_size: (H, W).
        needs_grad: as for `Camera.from_matrices`.
    """
    clip_from_view = _clip_from_intrinsics(K, image_size, first_pixel_center=0.0)
    return Camera.from_matrices(
        _FLIP_Y_Z @ _rigid(R, t),
        clip_from_view,
        needs_grad=needs_grad,
        aspect=_aspect(image_size),
    )


def colmap(quaternion, t, K, image_size: tuple, needs_grad: bool = True) -> Camera:
    """COLMAP: the axes of OpenCV; the centre of the top left pixel is (1/2, 1/2).

    Args:
        quaternion: (4,) or (B, 4): w, x, y, z of `images.txt`, camera from world.
        t: (3,) or (B, 3) translation.
        K: (3, 3) or (B, 3, 3) intrinsics in pixels.
        image_size: (H, W).
        needs_grad: as for `Camera.from_matrices`.
    """
    clip_from_view = _clip_from_intrinsics(K, image_size, first_pixel_center=0.5)
    view_from_world = _FLIP_Y_Z @ _rigid(_rotation(quaternion), t)
    return Camera.from_matrices(
        view_from_world, clip_from_view, needs_grad=needs_grad, aspect=_aspect(image_size)
    )


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
    _check_radians("fov_x", fov_x)
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
    A frame's own entries go before those of the file; distortion is left out.

    Args:
        transforms: the file or what it holds.
        image_size: (H, W); by default `h` and `w` of the file, or else a square.
        needs_grad: as for `Camera.from_matrices`.

    Raises:
        ValueError: for an angle that is not between 0 and pi, frames of several aspects.
    """
    if not isinstance(transforms, dict):
        transforms = json.loads(pathlib.Path(transforms).read_text())
    frames = [{**transforms, **frame} for frame in transforms["frames"]]
    sizes = [image_size or (frame.get("h", 1), frame.get("w", 1)) for frame in frames]
    aspects = {round(_aspect(size), 6) for size in sizes}
    if len(aspects) > 1:
        raise ValueError(
            f"frames must have one aspect (w / h), got {sorted(aspects)}: make cameras of each"
        )
    clip_from_view = [_clip_from_nerf(frame, size) for frame, size in zip(frames, sizes)]
    world_from_camera = np.array([frame["transform_matrix"] for frame in frames], float)
    return Camera.from_matrices(
        np.linalg.inv(world_from_camera),
        np.stack(clip_from_view),
        needs_grad=needs_grad,
        aspect=_aspect(sizes[0]),
    )


_FLIP_Y_Z = np.diag([1.0, -1.0, -1.0, 1.0])  # view space from OpenCV's camera space


def _clip_from_nerf(frame: dict, image_size: tuple) -> np.ndarray:
    height, width = image_size
    focal_length = frame.get("fl_x")
    if not focal_length:
        _check_radians("camera_angle_x", frame["camera_angle_x"])
        focal_length = 0.5 * width / np.tan(0.5 * frame["camera_angle_x"])
    K = np.array(
        [
            [focal_length, 0, frame.get("cx", width / 2)],
            [0, frame.get("fl_y", focal_length), frame.get("cy", height / 2)],
            [0, 0, 1],
        ]
    )
    return _clip_from_intrinsics(K, (height, width), first_pixel_center=0.5)


def _clip_from_intrinsics(K, image_size: tuple, first_pixel_center: float) -> np.ndarray:
    """Clip space of the image from view space; K counts pixels from `first_pixel_center`."""
    height, width = image_size
    margin = 0.5 - first_pixel_center  # from the image's border to pixel coordinate 0
    ndc_from_pixel = np.array(
        [
            [2 / width, 0, 2 * margin / width - 1],
            [0, -2 / height, 1 - 2 * margin / height],
            [0, 0, 0],
            [0, 0, 1],
        ]
    )
    rows = ndc_from_pixel @ np.asarray(K, float)
    return np.concatenate([rows, np.zeros_like(rows[..., :1])], axis=-1) @ _FLIP_Y_Z


def _aspect(image_size: tuple) -> float:
    """Width over height."""
    return image_size[1] / image_size[0]


def _check_radians(name: str, angles) -> None:
    """Raises a ValueError unless all lie in (0, pi)."""
    if not (0 < np.min(angles) and np.max(angles) < np.pi):
        raise ValueError(
            f"{name} is in radians and must lie between 0 and pi, got {angles}: write "
            "np.radians(...) if these are degrees"
        )


def _rigid(rotation, translation) -> np.ndarray:
    """(B, 4, 4) that rotates, then translates; either may be given once for all views."""
    rotation, translation = np.asarray(rotation, float), np.asarray(translation, float)
    columns = np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    matrix = np.zeros((*columns, 4, 4))
    matrix[..., :3, :3], matrix[..., :3, 3], matrix[..., 3, 3] = rotation, translation, 1
    return matrix


def _rotation(quaternion) -> np.ndarray:
    """(.., 3, 3) of unit quaternions (.., 4), w first; they are normalised here."""
    w, x, y, z = np.moveaxis(_unit(np.asarray(quaternion, float)), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def _scaled_fov(fov_degrees, factor: float) -> np.ndarray:
    """The angle of a field of view that is `factor` times as long."""
    return np.degrees(2 * np.arctan(factor * np.tan(np.radians(fov_degrees) / 2)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
