"""The door for people with NumPy arrays and no scene: rasterize, and the image's vjp."""

import collections
import functools
import math
import operator
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np

from taichi_softras.funcs.lookups import CUBES, TEXELS, Lookup
from taichi_softras.funcs.numeric import LARGEST
from taichi_softras.rasterizers.base import Rasterization, Rasterizer, check_rasterizer
from taichi_softras.rasterizers.binning import check_size
from taichi_softras.rasterizers.clipping import check_near_clip, draw_clipped
from taichi_softras.rasterizers.depth_range import (
    ALL_DEPTHS,
    complete,
    fit,
    measure,
    needs_fit,
    warn_of_cut,
)
from taichi_softras.rasterizers.fragments import (
    SILHOUETTE,
    Shader,
    Surface,
    lay_face_textures,
    no_surface,
)
from taichi_softras.rasterizers.k_nearest import Fragments, KNearest
from taichi_softras.rasterizers.nearest_face import NearestFace
from taichi_softras.rasterizers.planes import pixels_from_planes, planes_from_pixels
from taichi_softras.rasterizers.soft_aggregation import SoftAggregation
from taichi_softras.runtime import default_numpy_float, kernel, ti
from taichi_softras.shading.base import Shading
from taichi_softras.shading.composition import Looks, compose
from taichi_softras.shading.outputs import Barycentric
from taichi_softras.shading.unlit import Unlit
from taichi_softras.workspace import (
    MAX_PAIRS,
    Pool,
    Workspace,
    array,
    describe_scene,
    is_due,
    read_array,
    write_array,
)


def rasterize(  # the image and its adjoint, which know the same
    corners: np.ndarray,
    colors: Union[np.ndarray, Shading, None] = None,
    *,
    image_size: tuple,
    rasterizer: Optional[Rasterizer] = None,
    max_pairs: int = MAX_PAIRS,
    background: Optional[np.ndarray] = None,
    near_clip: Optional[float] = None,
) -> tuple:
    """Draws projected triangles and returns the image with its vector-Jacobian product.

    Arrays are taken in the precision that `ti.init(default_fp=...)` set.

    Args:
        corners: (B, F, 3, 3) x_ndc, y_ndc and depth of each corner, under a perspective camera; or
            (B, F, 3, 4) x_clip, y_clip, depth and w_clip, undivided, of any camera. The shorter
            image side spans [-1, 1] in x / w and y / w, x points right, y up, depth is positive in
            front of the camera.
        colors: (B or 1, F, 3, C) at the corners; or (B or 1, F, R, R, C) texels of each face,
            texel `[row, column]` with corner 0 along columns and corner 1 along rows, the upper
            half mirrored (SoftRas' surface textures); or (B or 1, F, R, R, R, C), R >= 2: texture
            cubes, axis k of which is the barycentric weight of corner k (Kato et al.); or None for
            the silhouette alone. Or `Depth()`: one channel, the depth, with the rasterizer's `far`
            as background.
        image_size: (H, W) in pixels.
        rasterizer: the method; `SoftAggregation()` when left out. `near` and `far` that it leaves
            out are fitted to the corners of this call.
        max_pairs: how many (tile, face) pairs are in memory at a time, see `Renderer`.
        background: (H, W, C) or (1 or B, H, W, C), an image behind all faces, in place of the
            colour that the rasterizer has.
        near_clip: the depth at which faces are cut, see `Renderer`. A divided corner (x_ndc, y_ndc,
            depth) behind the camera has no place, so its face is left out.

    Returns:
        image: (B, H, W, C + 1), alpha last, row 0 on top.
        vjp: grad_image (B, H, W, C + 1) -> (grad_corners, grad_colors) in the shapes of the
            inputs (grad_colors is None without colours); with a background (grad_corners,
            grad_colors, grad_background). May be called more than once.

    Raises:
        ValueError: for wrong shapes, sizes or values that are not finite; for a scene with an
            array of more than 2^31 - 1 entries.
    """
    is_over_image = background is not None
    drawing = Drawing(
        HOST, corners, colors, image_size, rasterizer, max_pairs, background, near_clip
    )
    drawn, background = drawing.read_image(), drawing.background
    image = _lay_behind(drawn, background) if is_over_image else drawn

    def vjp(grad_image: np.ndarray) -> tuple:
        grad_image = HOST.checked("grad_image", grad_image)
        if grad_image.shape != image.shape:
            raise ValueError(f"grad_image must have shape {image.shape}, got {grad_image.shape}")
        if not is_over_image:
            return drawing.pull_back(grad_image)
        grad_drawn, grad_background = _lay_behind_vjp(drawn, background, grad_image)
        return (*drawing.pull_back(grad_drawn), grad_background)

    return image, vjp


class Drawing:
    """Triangles that were drawn for a door; what comes in and goes out are arrays of its kind.

    Attributes:
        background: (1 or B, H, W, C) as it was given, checked; or None.
    """

    def __init__(  # what `rasterize` takes
        self,
        kind: Any,
        corners: Any,
        colors: Any,
        image_size: tuple,
        rasterizer: Optional[Rasterizer],
        max_pairs: int = MAX_PAIRS,
        background: Any = None,
        near_clip: Optional[float] = None,
    ):
        """Draws; see `rasterize`.

        Args:
            kind: `HostArrays`, or what has its methods.
            corners: as for `rasterize`, of that kind, as are the colours.
            colors: or a `Shading`, or None.
            image_size: (H, W) in pixels.
            rasterizer: None for `SoftAggregation()`.
            max_pairs: see `Renderer`.
            background: an image behind all faces, whose share is then drawn, too; or None.
            near_clip: see `rasterize`.
        """
        rasterizer = SoftAggregation() if rasterizer is None else rasterizer
        check_rasterizer(rasterizer)
        image_size = check_image_size(image_size)
        near_clip = check_near_clip(near_clip, rasterizer.far)

        def lend(key: tuple, make: Callable) -> Workspace:
            return _workspaces.lend(self, (type(rasterizer), *key), make)

        workspace, corners, corners_array = _lay_corners(
            kind, corners, image_size, max_pairs, near_clip, lend
        )
        self._kind, self._colors_shape, self.background = kind, None, background
        self._num_faces = corners.shape[1]
        self._is_depth = isinstance(colors, Shading)
        if colors is not None and not self._is_depth:
            colors = kind.checked("colors", colors)
            self._colors_shape = tuple(colors.shape)
            _check_colors(self._colors_shape, *corners.shape[:2])
        if background is not None:
            channels = self._colors_shape[-1] if self._colors_shape else 0
            image_shape = (corners.shape[0], *image_size)
            self.background = check_background(background, image_shape, channels, colors, kind)
        if self._is_depth:
            shader, surface = _lay_depths(workspace, colors, corners_array)
        else:
            shader, surface = lay_colors(workspace, colors, background is not None, kind)
        on_host = functools.cache(lambda: kind.on_host(corners))
        rasterizer = _fitted(rasterizer, on_host, image_size)

        def draw(corners: ti.Ndarray, shader: Shader, surface: Surface) -> Rasterization:
            return rasterizer.forward(workspace, corners, shader, surface, image_size)

        inputs = (workspace, corners_array, shader, surface, image_size)
        self._rasterization, self._clipping = draw_clipped(*inputs, draw)
        self._width = image_size[1]
        has_color = shader.num_channels > 0
        _warn_once_of_cut(rasterizer, on_host, tuple(corners.shape), image_size, has_color)

    def read_image(self) -> Any:
        """(B, H, W, channels), alpha last; over an image behind all faces its share before it."""
        return self._kind.read_pixels(self._rasterization.image, self._width)

    def pull_back(self, grad_image: Any) -> tuple:
        """(grad_corners, grad_colors), in the shapes of what was given, from that of `image`."""
        kind, drawn = self._kind, self._rasterization
        kind.load_pixels(grad_image, drawn.grad_image)
        drawn.backward()
        by_corners, grad_surface = drawn.grad_corners, drawn.grad_surface
        if self._clipping is not None:
            by_corners, grad_surface = self._clipping.backward(drawn)
        if self._is_depth and drawn.shader.num_varyings:
            load_depths_backward(grad_surface.varyings, by_corners)
        grad_corners = kind.read(by_corners)[:, : self._num_faces]
        if self._colors_shape is None:
            return grad_corners, None
        has_textures = drawn.shader.has_textures
        grad_table = kind.read(grad_surface.textures if has_textures else grad_surface.varyings)
        return grad_corners, grad_table[:, : self._num_faces].reshape(self._colors_shape)


class HostArrays:
    """How NumPy arrays of users and arrays of the core become each other."""

    @staticmethod
    def checked(name: str, values: Any) -> np.ndarray:
        """A contiguous array of finite numbers in the precision of the runtime."""
        if isinstance(values, type):
            raise ValueError(f"{name} must be a value, got a class: write {values.__name__}()")
        if getattr(values, "requires_grad", False):
            raise ValueError(
                f"{name} is a tensor that requires a gradient, which would be lost here: use "
                "taichi_softras.torch.rasterize"
            )
        try:
            with np.errstate(over="ignore"):
                array = np.ascontiguousarray(values, default_numpy_float())
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be an array of numbers, got {type(values)}") from None
        if not np.abs(array).max(initial=0.0) <= LARGEST:
            is_finite = np.isfinite(np.asarray(values, np.float64)).all()
            what = f"too large: above {LARGEST:g}" if is_finite else "NaN or infinite"
            raise ValueError(f"{name} has entries that are {what}")
        return array

    @staticmethod
    def load(values: np.ndarray, array: ti.Ndarray) -> None:
        """Writes the array of the core."""
        write_array(array, values)

    @staticmethod
    def read(array: ti.Ndarray) -> np.ndarray:
        """A copy."""
        return read_array(array)

    @staticmethod
    def load_pixels(pixels: np.ndarray, planes: ti.Ndarray) -> None:
        """Writes the first columns of (B, C, H, >= W) from (B, H, W, C)."""
        planes_from_pixels(pixels, planes)

    @staticmethod
    def read_pixels(planes: ti.Ndarray, width: int) -> np.ndarray:
        """(B, H, W, C) of the first W columns."""
        views, channels, height, _ = planes.shape
        pixels = np.empty((views, height, width, channels), default_numpy_float())
        pixels_from_planes(planes, pixels)
        return pixels

    @staticmethod
    def on_host(values: np.ndarray) -> np.ndarray:
        """As NumPy."""
        return values


HOST = HostArrays
_workspaces = Pool()


def _lay_behind(drawn: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(B, H, W, C + 1) the image.

    Args:
        drawn: (B, H, W, C + 2): colours, the background's share, alpha.
        background: (1 or B, H, W, C).
    """
    colors = drawn[..., :-2] + drawn[..., -2:-1] * background
    return np.concatenate([colors, drawn[..., -1:]], axis=-1)


def _lay_behind_vjp(drawn: np.ndarray, background: np.ndarray, grad_image: np.ndarray) -> tuple:
    """The gradients with respect to `drawn` and `background`: the adjoint of `_lay_behind`."""
    grad_colors = grad_image[..., :-1]
    grad_share = (grad_colors * background).sum(axis=-1, keepdims=True)
    grad_drawn = np.concatenate([grad_colors, grad_share, grad_image[..., -1:]], axis=-1)
    grad_background = drawn[..., -2:-1] * grad_colors
    if len(background) == 1:
        grad_background = grad_background.sum(axis=0, keepdims=True)
    return grad_drawn, grad_background


class VisibleFaces(NamedTuple):
    """The nearest face that contains each pixel's centre.

    Attributes:
        face_ids: (B, H, W) int32, NO_FACE = -1 where none is.
        barycentrics: (B, H, W, 3) weights of its corners, right in perspective; 0 where none is.
        vjp: grad_barycentrics (B, H, W, 3) -> grad_corners, in the shape of the corners.
    """

    face_ids: np.ndarray
    barycentrics: np.ndarray
    vjp: Callable


def visible_faces(
    corners: np.ndarray,
    *,
    image_size: tuple,
    rasterizer: Optional[Rasterizer] = None,
    max_pairs: int = MAX_PAIRS,
    near_clip: Optional[float] = None,
) -> VisibleFaces:
    """Which face each pixel shows, and where on it; of equal depths the face of lower index.

    Args:
        corners: (B, F, 3, 3) or (B, F, 3, 4) as for `rasterize`.
        image_size: (H, W) in pixels.
        rasterizer: which depths, and which sides of faces, have a colour; all when left out.
        max_pairs: how many (tile, face) pairs are in memory at a time, see `Renderer`.
        near_clip: the depth at which faces are cut, see `rasterize`.

    Raises:
        ValueError: for wrong shapes, sizes or values that are not finite.
    """
    image_size = check_image_size(image_size)
    near_clip = check_near_clip(near_clip)
    workspace, corners, corners_array = _lay_corners(
        HOST, corners, image_size, max_pairs, near_clip
    )
    method = NearestFace()
    if rasterizer is not None:
        check_rasterizer(rasterizer)
        method = NearestFace.as_seen_by(_fitted(rasterizer, lambda: corners, image_size))
    dtype, (views, faces) = default_numpy_float(), corners.shape[:2]
    weights = np.broadcast_to(np.eye(3, dtype=dtype), (1, max(faces, 1), 3, 3))
    surface = lay_colors(workspace, None)[1]
    surface = surface._replace(
        varyings=_upload(HOST, workspace, "varyings", weights, weights.shape)
    )
    shader = compose([Barycentric()], Looks(0)).nearest

    def draw(corners: ti.Ndarray, shader: Shader, surface: Surface) -> Rasterization:
        return method.forward(workspace, corners, shader, surface, image_size)

    inputs = (workspace, corners_array, shader, surface, image_size)
    drawn, clipping = draw_clipped(*inputs, draw)
    image = np.empty((views, *image_size, 4), dtype)
    pixels_from_planes(drawn.image, image)

    def vjp(grad_barycentrics: np.ndarray) -> np.ndarray:
        grad = HOST.checked("grad_barycentrics", grad_barycentrics)
        if grad.shape != (*image.shape[:3], 3):
            shape = (*image.shape[:3], 3)
            raise ValueError(f"grad_barycentrics must have shape {shape}, got {grad.shape}")
        planes_from_pixels(np.concatenate([grad, grad[..., :1] * 0], axis=-1), drawn.grad_image)
        drawn.backward()
        by_corners = drawn.grad_corners if clipping is None else clipping.backward(drawn)[0]
        return by_corners.to_numpy()[:, :faces]

    return VisibleFaces(drawn.face_ids.to_numpy(), image[..., :3], vjp)


def fragments(
    corners: np.ndarray,
    *,
    image_size: tuple,
    rasterizer: Optional[KNearest] = None,
    max_pairs: int = MAX_PAIRS,
    near_clip: Optional[float] = None,
) -> Fragments:
    """The K nearest faces of each pixel, sorted by depth, -1 where there are no more.

    Args:
        corners: (B, F, 3, 3) or (B, F, 3, 4) as for `rasterize`.
        image_size: (H, W) in pixels.
        rasterizer: gives K, the blur radius and how depths are interpolated; `KNearest()` when
            left out.
        max_pairs: how many (tile, face) pairs are in memory at a time, see `Renderer`.
        near_clip: as for `rasterize`. Of a face that is cut, the index and the weights are those of
            the whole face.

    Raises:
        ValueError: for wrong shapes, sizes or values that are not finite; for a rasterizer
            that has no fragments; for more than 2^31 - 1 entries.
        MemoryError: for more bytes than are free.
    """
    rasterizer = KNearest() if rasterizer is None else rasterizer
    check_rasterizer(rasterizer)
    image_size = check_image_size(image_size)
    near_clip = check_near_clip(near_clip, rasterizer.far)
    workspace, corners, corners_array = _lay_corners(
        HOST, corners, image_size, max_pairs, near_clip
    )
    rasterizer = _fitted(rasterizer, lambda: corners, image_size)
    result = rasterizer.fragments(workspace, corners_array, image_size)
    _warn_once_of_cut(rasterizer, lambda: corners, corners.shape, image_size, has_color=False)
    return result


# methods, ranges and shapes of corners, and how often they came: a loop hears of its faces once,
# and is looked at the first time, the second, the fourth and so on
_calls: collections.Counter = collections.Counter()
_warned: set = set()


def _fitted(rasterizer: Rasterizer, corners: Callable, image_size: tuple) -> Rasterizer:
    """With a number for near and far; `corners()` are those on the host."""
    if not needs_fit(rasterizer):
        return rasterizer
    depths = measure(corners(), image_size)
    return complete(rasterizer, fit(depths, depths.farthest - depths.nearest))


def _warn_once_of_cut(
    rasterizer: Rasterizer, corners: Callable, shape: tuple, image_size: tuple, has_color: bool
) -> None:
    """Warns of faces that the range of depths has cut away; `corners()` are those on the host."""
    drawn = rasterizer.drawn_depths(has_color)
    if drawn == ALL_DEPTHS:
        return
    case = type(rasterizer), drawn, shape
    _calls[case] += 1
    if case not in _warned and is_due(_calls[case]):
        depths = measure(corners(), image_size, drawn)
        if depths.share_cut > 0:
            _warned.add(case)
            warn_of_cut(depths, drawn, is_fitted=False)


def lay_colors(
    workspace: Workspace, colors: Any, is_over_image: bool = False, kind: Any = HOST
) -> tuple:
    """The shader that draws colours as they are, and a surface that has them.

    Args:
        workspace: keeps what is empty.
        colors: as for `rasterize`, checked; None for the silhouette.
        is_over_image: see `compose`.
        kind: of arrays, see `Drawing`.
    """
    surface = no_surface(workspace)
    if colors is None:
        return SILHOUETTE, surface
    lookup = {4: None, 5: TEXELS, 6: CUBES}[colors.ndim]
    entries, channels = math.prod(colors.shape[2:-1]), colors.shape[-1]
    shape = (colors.shape[0], max(colors.shape[1], 1), entries, channels)
    name = "varyings" if lookup is None else "textures"
    table = _upload(kind, workspace, name, colors, shape)
    images = lay_face_textures(workspace, lookup, entries)
    surface = surface._replace(images=images, **{name: table})
    return _unlit(channels, lookup, is_over_image), surface


@functools.cache
def _unlit(channels: int, lookup: Optional[Lookup], is_over_image: bool) -> Shader:
    """Of colours as they are."""
    return compose([Unlit()], Looks(channels, lookup), is_over_image=is_over_image).shader


def _lay_depths(workspace: Workspace, shading: Shading, corners: ti.Ndarray) -> tuple:
    """As `lay_colors`, for a shading of the depths of corners."""
    unknown = [name for name in (*shading.varyings, *shading.uniforms) if name != "depth"]
    if unknown:
        raise ValueError(
            f"rasterize knows the depth of corners alone, {type(shading).__name__} reads "
            f"{', '.join(unknown)}: use a Renderer"
        )
    shader, surface = compose([shading], Looks(0)).shader, lay_colors(workspace, None)[1]
    if shader.num_varyings:
        depths = workspace.get("corner_depths", (*corners.shape[:3], 1))
        load_depths(corners, depths)
        surface = surface._replace(varyings=depths)
    return shader, surface


@kernel
def load_depths(
    corners: array(float, 4),  # (B, F, 3, 3 or 4)
    depths: array(float, 4),  # (B, F, 3, 1)
):
    """The depths of corners as their varying."""
    for view, face, corner in ti.ndrange(corners.shape[0], corners.shape[1], 3):
        depths[view, face, corner, 0] = corners[view, face, corner, 2]


@kernel
def load_depths_backward(
    grad_depths: array(float, 4),  # (B, F, 3, 1)
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4), added to
):
    """The adjoint of `load_depths`."""
    for view, face, corner in ti.ndrange(grad_depths.shape[0], grad_depths.shape[1], 3):
        grad = grad_corners[view, face, corner, 2] + grad_depths[view, face, corner, 0]
        grad_corners[view, face, corner, 2] = grad


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


def check_background(
    background: Any, image_shape: tuple, channels: int, drawn: object, kind: Any = HOST
) -> Any:
    """An image behind all faces as (1 or B, H, W, C), or a ValueError.

    Args:
        background: as users give it.
        image_shape: (B, H, W).
        channels: C, 0 where there are no colours.
        drawn: the shading or the colours, for the sentence.
        kind: of arrays, see `Drawing`.
    """
    array = kind.checked("background", background)
    given = tuple(array.shape)
    if getattr(drawn, "background", None) is not None or channels < 1:
        what = "the silhouette" if drawn is None else type(drawn).__name__
        raise ValueError(
            f"background= is an image behind colours, and {what} has none: leave it out"
        )
    array = array[None] if array.ndim == 3 else array
    views, height, width = image_shape
    if tuple(array.shape) not in ((1, height, width, channels), (*image_shape, channels)):
        raise ValueError(
            f"background must have shape ({height}, {width}, {channels}) or ({views} or 1, "
            f"{height}, {width}, {channels}), got {given}; one colour is the "
            "rasterizer's background"
        )
    return array


def _lay_corners(
    kind: Any,
    corners: Any,
    image_size: tuple,
    max_pairs: int,
    near_clip: Optional[float],
    lend: Callable = lambda _, make: make(),
) -> tuple:
    """The workspace of a call; projected corners, finite and (B, F, 3, 3 or 4); their array."""
    if not hasattr(corners, "shape"):
        corners = kind.checked("corners", corners)
    shape = tuple(corners.shape)
    if len(shape) != 4 or shape[0] < 1 or shape[2] != 3 or shape[3] not in (3, 4):
        raise ValueError(f"corners must have shape (B, F, 3, 3) or (B, F, 3, 4), got {shape}")
    scene = describe_scene(image_size, *shape[:2])
    key = (scene, shape, max_pairs, near_clip)
    workspace = lend(key, lambda: Workspace(scene, max_pairs, near_clip))
    check_size(workspace.scene, *shape[:2], image_size)  # before any copy
    corners = kind.checked("corners", corners)
    drawn_faces = max(shape[1], 1)  # Taichi has no empty arrays: one face at depth 0 draws nothing
    shape = (shape[0], drawn_faces, *shape[2:])
    return workspace, corners, _upload(kind, workspace, "corners", corners, shape)


def _check_colors(shape: tuple, views: int, faces: int) -> None:
    is_corners = len(shape) == 4 and shape[2] == 3
    is_texels = len(shape) == 5 and shape[2] == shape[3] >= 1
    is_cubes = len(shape) == 6 and shape[2] == shape[3] == shape[4] >= 2
    if not (is_corners or is_texels or is_cubes) or shape[0] not in (1, views) or shape[1] != faces:
        raise ValueError(
            f"colors must have shape ({views} or 1, {faces}, 3, C) at corners, "
            f"({views} or 1, {faces}, R, R, C) texels or ({views} or 1, {faces}, R, R, R, C) "
            f"texture cubes with R >= 2, got {shape}"
        )
    if shape[-1] < 1:
        raise ValueError(f"colors need at least one channel, got shape {shape}")


def _upload(kind: Any, workspace: Workspace, name: str, values: Any, shape: tuple) -> ti.Ndarray:
    """An array of `shape` on the device, zeros where there are no values."""
    result = workspace.get(name, shape)
    if 0 not in values.shape:
        kind.load(values, result)
    return result
