"""B cameras: poses and projections in, `view_from_world` and `clip_from_view` out.

View space is OpenGL's: x right, y up, the camera looks along -z; depth = -z_view.
"""

import dataclasses
from typing import Any, Union

import numpy as np
import taichi as ti

from taichi_softras.fields import FieldTree
from taichi_softras.scene.checks import finite_array
from taichi_softras.tape import TapeMemory


@dataclasses.dataclass(frozen=True)
class Perspective:
    """A pinhole; `fov_y_degrees`, scalar or (B,), is the angle from bottom to top of the image."""

    fov_y_degrees: Any = 60.0

    def arrays(self) -> dict:
        """The checked parameter by its name; ValueError unless all angles lie in (0, 180)."""
        fov_y_degrees = finite_array("fov_y_degrees", np.atleast_1d(self.fov_y_degrees), ("B",))
        if fov_y_degrees.min() <= 0 or fov_y_degrees.max() >= 180:
            raise ValueError(f"fov_y_degrees must lie between 0 and 180, got {fov_y_degrees}")
        return {"fov_y_degrees": fov_y_degrees}


@dataclasses.dataclass(frozen=True)
class Orthographic:
    """Parallel rays; `height`, scalar or (B,), is the world length from bottom to top."""

    height: Any = 2.0

    def arrays(self) -> dict:
        """The checked parameter by its name; ValueError unless all heights are positive."""
        height = finite_array("height", np.atleast_1d(self.height), ("B",))
        if height.min() <= 0:
            raise ValueError(f"height must be positive, got {height}")
        return {"height": height}


class Camera:
    """B views of one scene; made by `look_at`, `from_matrices` or `camera_conventions`.

    Attributes:
        num_views: B.
        needs_grad: whether the fields below carry gradients.
        eye, target, up: (B,) vec3 fields, world space; None unless made by `look_at`.
        fov_y_degrees: (B,) field; None unless the projection is `Perspective`.
        height: (B,) field; None unless the projection is `Orthographic`.
        view_from_world: (B,) mat4 field.
        clip_from_view: (B,) mat4 field, OpenGL clip space of the whole image. Its third row is
            not read: depth is that of view space.
    """

    def __init__(self, pose: dict, projection: dict, needs_grad: bool):
        """Places checked arrays, each of 1 or B views, as the fields that the keys name."""
        arrays = {**pose, **projection}
        self.needs_grad = needs_grad
        self.num_views = _count_views(arrays)
        self.eye = self.target = self.up = self.fov_y_degrees = self.height = None
        self._on_tape = TapeMemory()
        tree = FieldTree()
        for name in ("view_from_world", "clip_from_view"):
            if name not in arrays:  # computed by `update`
                setattr(self, name, tree.add((self.num_views,), (4, 4), needs_grad=needs_grad))
        for name, array in arrays.items():
            field = tree.add((self.num_views,), array.shape[1:], needs_grad=needs_grad)
            setattr(self, name, field)
        tree.place()
        for name, array in arrays.items():
            repeats = self.num_views // len(array)
            getattr(self, name).from_numpy(np.repeat(array, repeats, axis=0))

    @classmethod
    def look_at(
        cls,
        eye,
        target=(0.0, 0.0, 0.0),
        up=(0.0, 1.0, 0.0),
        projection: Union[Perspective, Orthographic] = Perspective(),
        fov_y_degrees=None,
        needs_grad: bool = True,
    ) -> "Camera":
        """Cameras at `eye` that look at `target`, with `up` upright in the image.

        A camera that looks along `up` keeps world x at its right (world y where up is x), as a
        camera of azimuth 0 does that rises to the pole.

        Args:
            eye: (3,) or (B, 3), world space; `orbit` makes some.
            target: (3,) or (B, 3), world space.
            up: (3,) or (B, 3), of any length but zero.
            projection: `Perspective` or `Orthographic`.
            fov_y_degrees: short for `projection=Perspective(fov_y_degrees)`.
            needs_grad: whether the camera's fields carry gradients; without them a backward pass
                is cheaper.

        Raises:
            ValueError: wrong shapes, different numbers of views, eye equal to target, up zero.
        """
        pose = {"eye": eye, "target": target, "up": up}
        pose = {name: finite_array(name, np.atleast_2d(pose[name]), ("B", 3)) for name in pose}
        if fov_y_degrees is not None:
            projection = Perspective(fov_y_degrees)
        _count_views(pose)
        if (np.linalg.norm(pose["eye"] - pose["target"], axis=-1) == 0).any():
            raise ValueError("eye must differ from target: no direction to look in")
        if (np.linalg.norm(pose["up"], axis=-1) == 0).any():
            raise ValueError("up must not be zero")
        is_up_x = np.abs(pose["up"] @ [1, 0, 0]) > 0.9 * np.linalg.norm(pose["up"], axis=-1)
        rights = np.where(is_up_x[:, None], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0])
        pose["_pole_right"] = rights.astype(pose["up"].dtype)
        return cls(pose, projection.arrays(), needs_grad)

    @classmethod
    def from_matrices(
        cls,
        view_from_world,
        clip_from_view=None,
        projection: Union[Perspective, Orthographic, None] = None,
        needs_grad: bool = True,
    ) -> "Camera":
        """Cameras given by matrices that act on columns.

        Args:
            view_from_world: (4, 4) or (B, 4, 4); a determinant of -1 mirrors the image.
            clip_from_view: (4, 4) or (B, 4, 4), OpenGL clip space of the whole image, made for
                the image's aspect.
            projection: `Perspective` or `Orthographic` in place of `clip_from_view`.
            needs_grad: whether the camera's fields carry gradients.

        Raises:
            ValueError: wrong shapes, different numbers of views, not exactly one projection.
        """
        if (clip_from_view is None) == (projection is None):
            raise ValueError("give either clip_from_view or projection")
        pose = {"view_from_world": _matrices("view_from_world", view_from_world)}
        if projection is None:
            arrays = {"clip_from_view": _matrices("clip_from_view", clip_from_view)}
        else:
            arrays = projection.arrays()
        return cls(pose, arrays, needs_grad)

    @property
    def _has_projection(self) -> bool:
        """Whether `clip_from_view` comes from a parameter, and the image's aspect."""
        return self.fov_y_degrees is not None or self.height is not None

    def update(self, aspect: float) -> None:
        """Computes the matrices from the parameters; under a tape, differentiably and once.

        Args:
            aspect: width over height of the image.

        Raises:
            ValueError: under a tape that has seen these cameras with another aspect.
        """
        done = self._on_tape.values()
        if "aspect" in done:
            if done["aspect"] != aspect and self._has_projection:
                raise ValueError(
                    f"these cameras drew images of aspect {done['aspect']:g} and {aspect:g} in "
                    "one ti.ad.Tape: make a Camera for each aspect"
                )
            return
        done["aspect"] = aspect
        if self.eye is not None:
            pose = self.eye, self.target, self.up, self._pole_right
            self._run(look_at, *pose, self.view_from_world)
        if self.fov_y_degrees is not None:
            self._run(project_in_perspective, self.fov_y_degrees, aspect, self.clip_from_view)
        if self.height is not None:
            self._run(project_in_parallel, self.height, aspect, self.clip_from_view)

    def _run(self, kernel, *arguments) -> None:
        (kernel if self.needs_grad else ti.ad.no_grad(kernel))(*arguments)


def orbit(distance, elevation_degrees, azimuth_degrees) -> np.ndarray:
    """Eyes on a sphere around the origin, y up; azimuth 0 is +z, azimuth 90 degrees is +x.

    Args:
        distance: from the origin, scalar or (B,).
        elevation_degrees: above the plane y = 0, scalar or (B,).
        azimuth_degrees: around y, scalar or (B,).

    Returns:
        (B, 3) world space.
    """
    distance, elevation, azimuth = np.broadcast_arrays(
        np.atleast_1d(distance).astype(float),
        np.radians(np.asarray(elevation_degrees, float)),
        np.radians(np.asarray(azimuth_degrees, float)),
    )
    across = distance * np.cos(elevation)
    return np.stack(
        [across * np.sin(azimuth), distance * np.sin(elevation), across * np.cos(azimuth)], axis=-1
    )


def _count_views(arrays: dict) -> int:
    num_views = max(len(array) for array in arrays.values())
    for name, array in arrays.items():
        if len(array) not in (1, num_views):
            raise ValueError(f"{name} has {len(array)} views, expected 1 or {num_views}")
    return num_views


def _matrices(name: str, value) -> np.ndarray:
    value = np.asarray(value)
    return finite_array(name, value[None] if value.ndim == 2 else value, ("B", 4, 4))


@ti.kernel
def look_at(
    eye: ti.template(),  # (B,) vec3 world
    target: ti.template(),  # (B,) vec3 world
    up: ti.template(),  # (B,) vec3 world
    pole_right: ti.template(),  # (B,) vec3 world: stands at the right if the camera looks along up
    view_from_world: ti.template(),  # (B,) mat4
):
    """Rows right, up, backward of the camera, and the eye at the origin."""
    for view in eye:
        forward = _unit(target[view] - eye[view])
        right = forward.cross(_unit(up[view]))
        if right.norm_sqr() < 1e-10:  # looks along up
            right = pole_right[view] - forward * forward.dot(pole_right[view])
        right = _unit(right)
        above = right.cross(forward)
        view_from_world[view] = ti.Matrix(
            [
                [right.x, right.y, right.z, -right.dot(eye[view])],
                [above.x, above.y, above.z, -above.dot(eye[view])],
                [-forward.x, -forward.y, -forward.z, forward.dot(eye[view])],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )


@ti.kernel
def project_in_perspective(
    fov_y_degrees: ti.template(),  # (B,)
    aspect: float,  # W / H
    clip_from_view: ti.template(),  # (B,) mat4
):
    """Divides x and y by depth; the image spans [-1, 1]."""
    for view in fov_y_degrees:
        half_angle = fov_y_degrees[view] * (np.pi / 360)
        focal_length = ti.cos(half_angle) / ti.sin(half_angle)  # ti.tan has no derivative
        clip_from_view[view] = ti.Matrix(
            [
                [focal_length / aspect, 0.0, 0.0, 0.0],
                [0.0, focal_length, 0.0, 0.0],
                [0.0, 0.0, 0.0, 0.0],
                [0.0, 0.0, -1.0, 0.0],
            ]
        )


@ti.kernel
def project_in_parallel(
    height: ti.template(),  # (B,)
    aspect: float,  # W / H
    clip_from_view: ti.template(),  # (B,) mat4
):
    """Keeps x and y; the image spans [-1, 1]."""
    for view in height:
        scale = 2.0 / height[view]
        clip_from_view[view] = ti.Matrix(
            [
                [scale / aspect, 0.0, 0.0, 0.0],
                [0.0, scale, 0.0, 0.0],
                [0.0, 0.0, 0.0, 0.0],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )


@ti.func
def _unit(vector):
    return vector / vector.norm(1e-30)
