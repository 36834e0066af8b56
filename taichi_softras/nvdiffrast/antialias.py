"""Silhouettes: an image of sharp pixels in, the antialiased one out, with gradients to vertices."""

import math
from typing import Any, Optional

from taichi_softras.nvdiffrast.operation import (
    Operation,
    check_device,
    check_not_empty,
    check_shape,
    checked_indices,
    takes_arrays,
)
from taichi_softras.nvdiffrast.rasterize import ids_of
from taichi_softras.rasterizers.clip_space import (
    place_clip_corners,
    place_clip_corners_backward,
)
from taichi_softras.rasterizers.clip_space_edges import OutlinedImage
from taichi_softras.torch.tensors import Tensors, begin, torch


class _Antialias(Operation):
    """Of triangles that pixels show."""

    def __init__(self, pos: torch.Tensor, tri: torch.Tensor, ids: torch.Tensor, boost: float):
        shapes = (tuple(pos.shape), tuple(tri.shape), tuple(ids.shape))
        super().__init__(["color", "rast", "pos"], shapes)
        self.workspace.near_clip = 0.0
        self._triangles, self._ids = self.upload("triangles", tri), self.upload("ids", ids)
        ranges = torch.tensor([[0, len(tri)]] * len(ids), dtype=torch.int32)
        self._ranges = self.upload("ranges", ranges)
        self._boost, self._num_places = boost, max(len(tri), 1)

    def forward(self, color: torch.Tensor, rast: torch.Tensor, pos: torch.Tensor) -> tuple:
        get, (views, *size, channels) = self.workspace.get, color.shape
        self._vertices = self.upload("vertices", pos)
        corners = get("corners", (views, self._num_places, 3, 4))
        place_clip_corners(self._vertices, self._triangles, self._ranges, *size, corners)
        plain = get("plain", (views, channels, *size))
        Tensors.load_pixels(color, plain)
        fragments = self.upload("fragments", rast)
        inputs = (corners, self._ids, fragments, self._ranges, plain)
        self._drawn = OutlinedImage(self.workspace, *inputs)
        return (Tensors.read_pixels(self._drawn.image, size[1]),)

    def backward(self, grad_image: torch.Tensor) -> tuple:
        views, *size, channels = grad_image.shape
        grad = self.workspace.get("grad_image", (views, channels, *size))
        Tensors.load_pixels(grad_image, grad)
        grad_plain, grad_corners = self._drawn.backward(grad)
        grad_vertices = self.workspace.get("grad_vertices", tuple(self._vertices.shape))
        inputs = (self._vertices, self._triangles, self._ranges, *size)
        place_clip_corners_backward(*inputs, grad_corners, grad_vertices)
        of_color = Tensors.read_pixels(grad_plain, size[1])
        return of_color, None, Tensors.read(grad_vertices) * self._boost


@takes_arrays
def antialias(
    color: torch.Tensor,
    rast: torch.Tensor,
    pos: torch.Tensor,
    tri: torch.Tensor,
    topology_hash: Optional["TopologyHash"] = None,
    pos_gradient_boost: float = 1.0,
) -> torch.Tensor:
    """Blends pixels at silhouettes, which gives vertices the gradient of what they hide and show.

    Laine et al. 2020, section 3.5, as `Antialiased`: see what it has of its own.

    Args:
        color: (B, H, W, C).
        rast: (B, H, W, 4) of `rasterize`.
        pos: (B, V, 4), or (V, 4) for all images, as for `rasterize`.
        tri: (T, 3) int32.
        topology_hash: of `antialias_construct_topology_hash`, of the same `tri`. It saves no time:
            triangles are connected where their corners are in one place.
        pos_gradient_boost: times which the gradient at `pos` is given.

    Returns:
        (B, H, W, C), with gradients to `color` and `pos`.

    Raises:
        TypeError: for what is no tensor or array, or of another type of numbers.
        ValueError: for wrong shapes, devices, triangles, or values that are not finite.
    """
    check_shape("color", color, ("B", "H", "W", "C"))
    check_shape("rast", rast, (*color.shape[:3], 4))
    check_shape("pos", pos, (color.shape[0], "V", 4), ("V", 4))
    check_shape("tri", tri, ("T", 3))
    check_not_empty("color", color)
    if not isinstance(pos_gradient_boost, (int, float)) or not math.isfinite(pos_gradient_boost):
        raise ValueError(f"pos_gradient_boost must be a number, got {pos_gradient_boost!r}")
    for name, one in (("rast", rast), ("pos", pos), ("tri", tri)):
        check_device(name, one, "color", color)
    begin(color)
    pos = pos[None] if pos.ndim == 2 else pos
    tri = checked_indices("tri", tri, pos.shape[1], "vertices")
    if topology_hash is not None and topology_hash.shape != tuple(tri.shape):
        raise ValueError(
            f"topology_hash is of tri with shape {topology_hash.shape}, and tri has shape "
            f"{tuple(tri.shape)}: construct it of this tri"
        )
    ids = ids_of(rast, len(tri))
    return _Antialias(pos, tri, ids, pos_gradient_boost)(color, rast.detach(), pos)[0]


class TopologyHash:
    """What `antialias_construct_topology_hash` gives: which `tri` it is of, by shape."""

    def __init__(self, shape: tuple):
        """Of a `tri` of this shape."""
        self.shape = shape


def antialias_construct_topology_hash(tri: Any) -> TopologyHash:
    """Stands for the connections of triangles, which `antialias` finds itself.

    Args:
        tri: (T, 3) int32.

    Raises:
        TypeError, ValueError: for another type or shape.
    """
    if not hasattr(tri, "shape") or len(tri.shape) != 2 or tri.shape[1] != 3:
        raise ValueError(f"tri must have shape (T, 3), got {getattr(tri, 'shape', tri)!r}")
    return TopologyHash(tuple(tri.shape))
