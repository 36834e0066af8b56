"""B cameras: poses and projections in, the fields that say them out.

View space is OpenGL's: x right, y up, the camera looks along -z; depth = -z_view.
"""

import dataclasses
from typing import Any, Optional, Union

import numpy as np

from taichi_softras.fields import FieldTree, upload
from taichi_softras.funcs.vectors import SMALLEST_SQUARED_LENGTH
from taichi_softras.geometry.inspection import compute_view_and_projection
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    DISTORTION_START,
    INTRINSICS,
    LOOK_AT,
    PARALLEL,
    PERSPECTIVE,
    POSE_MATRIX,
    PROJECTION_MATRIX,
    PROJECTION_START,
    QUATERNION,
    ROTATION_VECTOR,
    TRANSLATION_START,
    Layout,
)
from taichi_softras.io.lenses import Lens
from taichi_softras.runtime import default_numpy_float, ti
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.camera_description import describe_views
from taichi_softras.scene.checks import (
    check_field,
    check_kind,
    finite_array,
    warn_of_degrees,
    warn_of_radians,
)
from taichi_softras.scene.mesh import Mesh
from taichi_softras.scene.scene import Scene, world_vertices
from taichi_softras.workspace import write_array

FILLED = 0.9  # of the picture, by a mesh that is framed
CLEARANCE = 0.25  # of its radius: how far it stays from a camera that frames it
LARGEST_RADIANS = 3.2  # an angle of view in degrees is hardly as small


@dataclasses.dataclass(frozen=True)
class Perspective:
    """A pinhole; `fov_y_degrees`, scalar or (B,), is the angle from bottom to top of the image."""

    fov_y_degrees: Any = 60.0

    def arrays(self) -> dict:
        """The checked parameter by its name; ValueError unless all angles lie in (0, 180)."""
        fov_y_degrees = finite_array("fov_y_degrees", np.atleast_1d(self.fov_y_degrees), ("B",))
        if fov_y_degrees.min() <= 0 or fov_y_degrees.max() >= 180:
            raise ValueError(f"fov_y_degrees must lie between 0 and 180, got {fov_y_degrees}")
        if fov_y_degrees.max() < LARGEST_RADIANS:
            warn_of_degrees("fov_y_degrees", fov_y_degrees)
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


@dataclasses.dataclass(frozen=True)
class Intrinsics:
    """A pinhole measured in pixels, or a lens: K, for images of one size.

    `K`, (3, 3) or (B, 3, 3), counts pixels from the top left border, where (1/2, 1/2) is the centre
    of the first: add 1/2 to cx and cy of OpenCV. `image_size` is (H, W); images of another size
    with this aspect show the same.

    `distortion`, (5,) or (B, 5), or four of them, is k1, k2, p1, p2, k3 of OpenCV. It moves
    vertices; faces whose edges should be seen as curves are a warning. Left out, and not zeros,
    nothing is computed of it.
    """

    K: Any
    image_size: tuple
    distortion: Any = None

    def arrays(self) -> dict:
        """The checked parameters by their names.

        Raises:
            ValueError: another shape, focal lengths that are not positive, skew, a size below 1.
        """
        K = np.asarray(self.K)
        K = finite_array("K", K[None] if K.ndim == 2 else K, ("B", 3, 3))
        if np.any(K[:, [0, 1, 2, 2], [1, 0, 0, 1]]) or np.any(K[:, 2, 2] != 1):
            raise ValueError(
                f"K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {K.tolist()}: skew goes to "
                "camera_conventions.opencv"
            )
        focal_lengths, size = K[:, [0, 1], [0, 1]], np.asarray(self.image_size)
        _check_focal_lengths("K", focal_lengths)
        if size.shape != (2,) or not (size >= 1).all():
            raise ValueError(f"image_size must be (height, width) in pixels, got {self.image_size}")
        width_and_height = size[None, ::-1].astype(K.dtype)
        arrays = {
            "focal_lengths": focal_lengths,
            "principal_point": K[:, :2, 2],
            "_width_and_height": width_and_height,
        }
        if self.distortion is not None:
            arrays["distortion"] = _checked_distortion(self.distortion)
        return arrays


Projection = Union[Perspective, Orthographic, Intrinsics]


class Camera:
    """B views of one scene; made by `look_at`, `from_pose`, `from_matrices`, `framing`.

    Those of other programs come from `camera_conventions` and `tsr.io.load_cameras`.

    Attributes:
        num_views: B.
        needs_grad: whether the fields below carry gradients.
        eye, target, up: (B,) vec3 fields, world space; None unless made by `look_at`.
        rotation: (B,) vec3, rotation vector, or vec4, quaternion; None unless made by `from_pose`.
        translation: (B,) vec3; likewise.
        fov_y_degrees: (B,) field; None unless the projection is `Perspective`.
        height: (B,) field; None unless the projection is `Orthographic`.
        focal_lengths: (B,) vec2, fx and fy in pixels; None unless the projection is `Intrinsics`.
        principal_point: (B,) vec2, cx and cy; likewise.
        distortion: (B,) vectors k1, k2, p1, p2, k3; None unless `Intrinsics` have it.
        view_from_world: (B,) mat4; a field if it was given, an array with `to_numpy` if it is
            computed.
        clip_from_view: (B,) mat4, likewise; OpenGL clip space of the whole image, before any
            distortion. Its third row is not read: depth is that of view space.
        aspect: width over height of the images that the projection is for, which others are not
            drawn for; None for any. May be written: with None another image is squashed.
        image_size: (H, W) of `Intrinsics`, or what `load_cameras` was asked for; None otherwise.
        lens: K, distortion and size of the pictures that these are the cameras of, see `io.lenses`;
            None unless they come from `load_cameras`. What is drawn depends on `distortion` alone.
    """

    eye, target, up = FieldAttribute(), FieldAttribute(), FieldAttribute()
    rotation, translation = FieldAttribute(), FieldAttribute()
    fov_y_degrees, height = FieldAttribute(), FieldAttribute()
    focal_lengths, principal_point = FieldAttribute(), FieldAttribute()
    distortion = FieldAttribute()

    def __init__(
        self, pose: dict, projection: dict, needs_grad: bool, aspect: Optional[float] = None
    ):
        """Places checked arrays, each of 1 or B views, as the fields that the keys name."""
        self.aspect = aspect
        self.image_size: Optional[tuple] = None
        if "_width_and_height" in projection:
            width, height = projection["_width_and_height"][0].tolist()
            self.aspect, self.image_size = width / height, (round(height), round(width))
        self.lens: Optional[Lens] = None
        arrays = {**pose, **projection}
        self.needs_grad = needs_grad
        self.num_views = _count_views(arrays)
        self._view_from_world = self._clip_from_view = None
        self._aspect = 1.0
        tree = FieldTree()
        self._fields = {
            name: tree.add((self.num_views,), array.shape[1:], needs_grad=needs_grad)
            for name, array in arrays.items()
        }
        tree.place()
        repeated = [np.repeat(array, self.num_views // len(array), 0) for array in arrays.values()]
        upload(list(self._fields.values()), repeated)
        for name, field in self._fields.items():
            is_matrix = name in ("view_from_world", "clip_from_view")
            setattr(self, f"_{name}" if is_matrix else name, field)

    @classmethod
    def look_at(
        cls,
        eye,
        target=(0.0, 0.0, 0.0),
        up=(0.0, 1.0, 0.0),
        projection: Projection = Perspective(),
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
            projection: `Perspective`, `Orthographic` or `Intrinsics`.
            fov_y_degrees: short for `projection=Perspective(fov_y_degrees)`, in degrees.
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
        _check_directions(**pose)
        is_up_x = np.abs(pose["up"] @ [1, 0, 0]) > 0.9 * np.linalg.norm(pose["up"], axis=-1)
        rights = np.where(is_up_x[:, None], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0])
        pose["_pole_right"] = rights.astype(pose["up"].dtype)
        return cls(pose, _projection_arrays(projection), needs_grad)

    @classmethod
    def framing(
        cls,
        mesh: Union[Mesh, Scene],
        elevation_degrees=20.0,
        azimuth_degrees=30.0,
        fov_y_degrees=50.0,
        aspect: float = 1.0,
        needs_grad: bool = True,
    ) -> "Camera":
        """Cameras from which a mesh of any size, at any place, fills nine tenths of the picture.

        They look at the middle of the box around the vertices that faces have, of all frames as
        they are now, from where the mesh just fits; y is up.

        Args:
            mesh: what is looked at, or a scene.
            elevation_degrees: of the cameras above the mesh, scalar or (B,), as for `orbit`.
            azimuth_degrees: around it, scalar or (B,), as for `orbit`.
            fov_y_degrees: scalar or (B,).
            aspect: width over height of the image; 1 does for one that is wider than high, too.
            needs_grad: as for `look_at`.

        Raises:
            ValueError: for vertices that are all in one place, or not finite; for angles of view
                out of (0, 180), an aspect of 0 or below.
        """
        check_kind("mesh", mesh, (Mesh, Scene), "a Mesh or a Scene")
        vertices = world_vertices(mesh).astype(float)
        points = vertices[..., np.unique(mesh.faces_array), :].reshape(-1, 3)
        center = 0.5 * (points.min(axis=0) + points.max(axis=0))
        points = points - center
        radius = np.linalg.norm(points, axis=1).max()
        if not 0 < radius < np.inf or not aspect > 0:
            raise ValueError(
                "framing needs vertices that are finite and not all in one place, and an aspect "
                f"above 0: got vertices within {radius:g} of {center} and aspect {aspect!r}"
            )
        fov_y_degrees = Perspective(fov_y_degrees).arrays()["fov_y_degrees"]
        backward = orbit(1.0, elevation_degrees, azimuth_degrees)
        backward, slopes = np.broadcast_arrays(
            backward, FILLED * np.tan(np.radians(fov_y_degrees) / 2)[:, None]
        )
        right = np.broadcast_to(orbit(1.0, 0.0, np.add(azimuth_degrees, 90.0)), backward.shape)
        distances = []
        for slope, x_axis, z_axis in zip(slopes[:, 0], right, backward):
            x, y, z = (points @ axis for axis in (x_axis, np.cross(z_axis, x_axis), z_axis))
            across = np.maximum(np.abs(x) / aspect, np.abs(y)) / slope
            distances.append(max((across + z).max(), z.max() + CLEARANCE * radius))
        eye = center + np.array(distances)[:, None] * backward
        return cls.look_at(eye, center, fov_y_degrees=fov_y_degrees, needs_grad=needs_grad)

    @classmethod
    def from_pose(
        cls,
        rotation,
        translation,
        projection: Projection = Perspective(),
        needs_grad: bool = True,
    ) -> "Camera":
        """Cameras that turn the world, then shift it: x_view = R x_world + translation.

        View space has x at the right and y above, and the camera looks along -z.

        Args:
            rotation: (3,) or (B, 3), the axis times the angle in radians, right-handed; or (4,) or
                (B, 4), a quaternion w, x, y, z of any length but zero.
            translation: (3,) or (B, 3).
            projection: `Perspective`, `Orthographic` or `Intrinsics`.
            needs_grad: whether the camera's fields carry gradients.

        Raises:
            ValueError: wrong shapes, different numbers of views, a quaternion that is zero.
        """
        rotation = np.atleast_2d(rotation)
        size = 4 if rotation.shape[-1] == 4 else 3
        pose = {
            "rotation": finite_array("rotation", rotation, ("B", size)),
            "translation": finite_array("translation", np.atleast_2d(translation), ("B", 3)),
        }
        _check_quaternions(pose["rotation"])
        return cls(pose, _projection_arrays(projection), needs_grad)

    @classmethod
    def from_matrices(
        cls,
        view_from_world,
        clip_from_view=None,
        projection: Optional[Projection] = None,
        needs_grad: bool = True,
        aspect: Optional[float] = None,
    ) -> "Camera":
        """Cameras given by matrices that act on columns.

        Args:
            view_from_world: (4, 4) or (B, 4, 4); a determinant of -1 mirrors the image.
            clip_from_view: (4, 4) or (B, 4, 4), OpenGL clip space of the whole image, made for
                the image's aspect.
            projection: `Perspective`, `Orthographic` or `Intrinsics` in place of `clip_from_view`.
            needs_grad: whether the camera's fields carry gradients.
            aspect: width over height of the images that are drawn; None for any.

        Raises:
            ValueError: wrong shapes, different numbers of views, not exactly one projection.
        """
        if (clip_from_view is None) == (projection is None):
            raise ValueError("give either clip_from_view or projection")
        pose = {"view_from_world": _matrices("view_from_world", view_from_world)}
        if projection is None:
            arrays = {"clip_from_view": _matrices("clip_from_view", clip_from_view)}
        else:
            arrays = _projection_arrays(projection)
        return cls(pose, arrays, needs_grad, aspect)

    @property
    def kinds(self) -> tuple[int, int]:
        """What pose and projection are given by, see `geometry.scene_arrays`."""
        pose = POSE_MATRIX if self.eye is None else LOOK_AT
        if self.rotation is not None:
            pose = QUATERNION if self.rotation.n == 4 else ROTATION_VECTOR
        kinds = {"fov_y_degrees": PERSPECTIVE, "height": PARALLEL, "focal_lengths": INTRINSICS}
        given = (kind for name, kind in kinds.items() if name in self._fields)
        return pose, next(given, PROJECTION_MATRIX)

    @property
    def uniform_fields(self) -> list:
        """(field, where its numbers begin, how far those of two views are apart)."""
        return [(self._fields[name], COLUMNS[name], CAMERA_SIZE) for name in self._fields]

    @property
    def view_from_world(self):
        """(B,) mat4."""
        if self._view_from_world is not None:
            return self._view_from_world
        return self._compute_matrices(self._aspect)[0]

    @property
    def clip_from_view(self):
        """(B,) mat4; for the aspect of `update`, or of the image that was drawn last."""
        if self._clip_from_view is not None:
            return self._clip_from_view
        return self._compute_matrices(self._aspect)[1]

    def take(self, views) -> "Camera":
        """A camera of some of the views, as they are now, with fields of its own.

        Args:
            views: an index, several, or a slice.

        Raises:
            IndexError: for a view that is not there.
        """
        indices = np.atleast_1d(np.arange(self.num_views)[views])
        arrays = {name: field.to_numpy()[indices] for name, field in self._fields.items()}
        camera = Camera({}, arrays, self.needs_grad, self.aspect)
        camera.aspect, camera.image_size = self.aspect, self.image_size
        if self.lens is not None:
            K, distortion = self.lens.K[indices], self.lens.distortion[indices]
            camera.lens = self.lens._replace(K=K, distortion=distortion)
        return camera

    def copy_from(self, other: "Camera") -> None:
        """Writes the numbers of another camera, made the same way, into the fields.

        Args:
            other: of as many views, such as `take` gives.
        """
        values = [other._fields[name].to_numpy() for name in self._fields]
        upload(list(self._fields.values()), values)

    def check_image_size(self, image_size: tuple) -> None:
        """Raises a ValueError for an image of another aspect than `aspect`.

        Up to one pixel of the longer side it is the same: sizes are whole pixels.

        Args:
            image_size: (H, W) in pixels.
        """
        height, width = image_size
        if self.aspect is None or abs(width - self.aspect * height) < max(1.0, self.aspect):
            return
        raise ValueError(
            f"these cameras are for images whose width is {self.aspect:.4g} times the height, "
            f"image_size = ({height}, {width}) is (height, width) of an image where it is "
            f"{width / height:.4g} times: draw the aspect that the cameras were made for, or "
            "write camera.aspect = None to have the picture squashed"
        )

    def check(self) -> None:
        """Raises a ValueError if what was written to the fields is no camera."""
        for name, field in self._fields.items():
            check_field(f"camera.{name}", field)
        if self.eye is not None:
            _check_directions(self.eye.to_numpy(), self.target.to_numpy(), self.up.to_numpy())
        if self.fov_y_degrees is not None:
            Perspective(self.fov_y_degrees.to_numpy()).arrays()
        if self.rotation is not None:
            _check_quaternions(self.rotation.to_numpy())
        if self.focal_lengths is not None:
            _check_focal_lengths("camera.focal_lengths", self.focal_lengths.to_numpy())
        if self.height is not None:
            Orthographic(self.height.to_numpy()).arrays()

    def update(self, aspect: float) -> None:
        """Says for which images `clip_from_view` is.

        Args:
            aspect: width over height.
        """
        self._aspect = aspect

    def matrices(self, aspect: float) -> tuple[np.ndarray, np.ndarray]:
        """view_from_world and clip_from_view as NumPy arrays (B, 4, 4), without distortion.

        Args:
            aspect: width over height of the image.
        """
        view_from_world, clip_from_view = self._compute_matrices(aspect)
        return view_from_world.to_numpy(), clip_from_view.to_numpy()

    def describe(
        self, aspect: Optional[float] = None, mesh: Union[Mesh, Scene, None] = None
    ) -> str:
        """Where each view stands and what it sees, in a few lines to be printed.

        Args:
            aspect: width over height of the image; by default `camera.aspect`, or else 1.
            mesh: a `Mesh` or `Scene` whose vertices are told from those out of the image; of what
                moves all frames, of a batch those of the view.
        """
        aspect, points = aspect or self.aspect or 1.0, None
        if mesh is not None:
            vertices, rows = world_vertices(mesh), mesh.table.rows
            of_meshes = (vertices[..., first : first + count, :] for *_, first, count in rows)
            points = [one.reshape(-1, 3) for one in of_meshes]
        distortion = None if self.distortion is None else self.distortion.to_numpy()
        return describe_views(*self.matrices(aspect), aspect, self.lens, distortion, points)

    def _compute_matrices(self, aspect: float) -> tuple:
        """Both, from the fields as they are."""
        uniforms = np.zeros((self.num_views, CAMERA_SIZE), default_numpy_float())
        for name, field in self._fields.items():
            values = field.to_numpy().reshape(self.num_views, -1)
            uniforms[:, COLUMNS[name] : COLUMNS[name] + values.shape[1]] = values
        given = ti.ndarray(float, uniforms.size)
        write_array(given, uniforms)
        matrices = [ti.ndarray(float, (self.num_views, 4, 4)) for _ in range(2)]
        compute_view_and_projection(given, Layout(*self.kinds).array(), aspect, *matrices)
        return tuple(matrices)


# where the numbers of a camera stand, see `geometry.scene_arrays`
COLUMNS = {
    "eye": 0,
    "target": 3,
    "up": 6,
    "_pole_right": 9,
    "rotation": 0,
    "translation": TRANSLATION_START,
    "view_from_world": 0,
    "fov_y_degrees": PROJECTION_START,
    "height": PROJECTION_START,
    "focal_lengths": PROJECTION_START,
    "principal_point": PROJECTION_START + 2,
    "_width_and_height": PROJECTION_START + 4,
    "distortion": DISTORTION_START,
    "clip_from_view": PROJECTION_START,
}


def orbit(distance, elevation_degrees, azimuth_degrees) -> np.ndarray:
    """Eyes on a sphere around the origin, y up; azimuth 0 is +z, azimuth 90 degrees is +x.

    Args:
        distance: from the origin, scalar or (B,).
        elevation_degrees: above the plane y = 0, scalar or (B,).
        azimuth_degrees: around y, scalar or (B,).

    Returns:
        (B, 3) world space.
    """
    warn_of_radians("elevation_degrees", elevation_degrees)
    warn_of_radians("azimuth_degrees", azimuth_degrees)
    distance, elevation, azimuth = np.broadcast_arrays(
        np.atleast_1d(distance).astype(float),
        np.radians(np.asarray(elevation_degrees, float)),
        np.radians(np.asarray(azimuth_degrees, float)),
    )
    across = distance * np.cos(elevation)
    return np.stack(
        [across * np.sin(azimuth), distance * np.sin(elevation), across * np.cos(azimuth)], axis=-1
    )


def _projection_arrays(projection: Projection) -> dict:
    """The checked parameters of a projection by their names."""
    kinds = (Perspective, Orthographic, Intrinsics)
    check_kind("projection", projection, kinds, "Perspective(degrees)")
    return projection.arrays()


def _count_views(arrays: dict) -> int:
    num_views = max(len(array) for array in arrays.values())
    for name, array in arrays.items():
        if len(array) not in (1, num_views):
            raise ValueError(f"{name} has {len(array)} views, expected 1 or {num_views}")
    return num_views


def _check_directions(eye: np.ndarray, target: np.ndarray, up: np.ndarray) -> None:
    """Raises a ValueError for a camera that looks nowhere, or has no upright."""
    if (np.square(eye - target).sum(-1) <= SMALLEST_SQUARED_LENGTH).any():
        raise ValueError("eye must differ from target: no direction to look in")
    if (np.square(up).sum(-1) <= SMALLEST_SQUARED_LENGTH).any():
        raise ValueError("up must not be zero")


def _check_quaternions(rotation: np.ndarray) -> None:
    """Raises a ValueError for one of length 0; rotation vectors may have it."""
    if rotation.shape[-1] == 4 and (np.square(rotation).sum(-1) <= SMALLEST_SQUARED_LENGTH).any():
        raise ValueError("rotation must not be a quaternion of length 0; no turn is (1, 0, 0, 0)")


def _check_focal_lengths(name: str, focal_lengths: np.ndarray) -> None:
    """Raises a ValueError unless all are positive."""
    if focal_lengths.min() <= 0:
        raise ValueError(f"{name} must have fx and fy above 0 pixels, got {focal_lengths.tolist()}")


def _checked_distortion(distortion) -> np.ndarray:
    """(B, 5), of five or four coefficients."""
    distortion = np.atleast_2d(np.asarray(distortion, float))
    if distortion.shape[-1] == 4:
        distortion = np.pad(distortion, ((0, 0), (0, 1)))
    if distortion.shape[-1] != 5:
        raise ValueError(
            "distortion must be k1, k2, p1, p2, k3 of OpenCV, (5,) or (B, 5), got shape "
            f"{distortion.shape}: lenses of more coefficients and fisheyes are not drawn, "
            "undistort their pictures"
        )
    return finite_array("distortion", distortion, ("B", 5))


def _matrices(name: str, value) -> np.ndarray:
    value = np.asarray(value)
    return finite_array(name, value[None] if value.ndim == 2 else value, ("B", 4, 4))
