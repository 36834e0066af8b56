"""Attributes of vertices at the points that pixels show."""

from typing import Any, Optional

from taichi_softras.nvdiffrast.operation import (
    Operation,
    check_batch,
    check_device,
    check_not_empty,
    check_shape,
    checked_indices,
    takes_arrays,
)
from taichi_softras.nvdiffrast.rasterize import ids_of
from taichi_softras.rasterizers.attributes import (
    differentiate_attributes,
    differentiate_attributes_backward,
    interpolate_attributes,
    interpolate_attributes_backward,
)
from taichi_softras.runtime import ti
from taichi_softras.torch.tensors import Tensors, begin, torch


class _Interpolate(Operation):
    """Of some triangles."""

    def __init__(self, attr: torch.Tensor, tri: torch.Tensor, ids: torch.Tensor, chosen: list):
        shapes = (tuple(attr.shape), tuple(tri.shape), tuple(ids.shape), len(chosen))
        super().__init__(["attr", "rast", "rast_db"], shapes)
        self._faces = self.upload("triangles", tri), self.upload("ids", ids)
        self._chosen = chosen

    def forward(self, attr: torch.Tensor, rast: torch.Tensor, *rast_db: torch.Tensor) -> tuple:
        get, shape = self.workspace.get, tuple(rast.shape[:3])
        attributes, fragments = self.upload("attributes", attr), self.upload("fragments", rast)
        self._inputs = (attributes, *self._faces, fragments)
        pixels = get("pixels", (*shape, attr.shape[-1]))
        interpolate_attributes(*self._inputs, pixels)
        if not rast_db:
            return (Tensors.read(pixels),)
        chosen = self.workspace.constants("chosen", tuple(self._chosen), int)
        self._slope_inputs = (*self._inputs[:3], self.upload("slopes", rast_db[0]), chosen)
        changes = get("changes", (*shape, 2 * len(self._chosen)))
        differentiate_attributes(*self._slope_inputs, changes)
        return Tensors.read(pixels), Tensors.read(changes)

    def backward(self, grad_pixels: torch.Tensor, *grad_changes: torch.Tensor) -> tuple:
        def grad_of(array: ti.Ndarray, name: str) -> ti.Ndarray:
            return self.workspace.get(name, tuple(array.shape))

        grads = (
            grad_of(self._inputs[0], "grad_attributes"),
            grad_of(self._inputs[3], "grad_fragments"),
        )
        interpolate_attributes_backward(
            *self._inputs, self.upload("grad_pixels", grad_pixels), *grads
        )
        if grad_changes:
            grads = (*grads, grad_of(self._slope_inputs[3], "grad_slopes"))
            differentiate_attributes_backward(
                *self._slope_inputs,
                self.upload("grad_changes", grad_changes[0]),
                grads[0],
                grads[2],
            )
        return tuple(map(Tensors.read, grads))


@takes_arrays
def interpolate(
    attr: torch.Tensor,
    rast: torch.Tensor,
    tri: torch.Tensor,
    rast_db: Optional[torch.Tensor] = None,
    diff_attrs: Any = None,
) -> tuple:
    """Interpolates attributes of vertices, and says how they change on the screen.

    Laine et al. 2020, section 3.3.

    Args:
        attr: (B or 1, V, C), or (V, C) for all images.
        rast: (B, H, W, 4) of `rasterize`.
        tri: (T, 3) int32, as for `rasterize`.
        rast_db: (B, H, W, 4) of `rasterize`; where `diff_attrs` is given.
        diff_attrs: "all", or the channels whose changes are wanted.

    Returns:
        out: (B, H, W, C), 0 where no triangle is.
        out_da: (B, H, W, 2 K) dA/dX and dA/dY by pixels of each of K channels; K is 0 without
            `diff_attrs`.

        Gradients go to `attr`, to u and v in `rast`, and to `rast_db`.

    Raises:
        TypeError: for what is no tensor or array, or of another type of numbers.
        ValueError: for wrong shapes, devices, channels, triangles, or values that are not finite.
    """
    check_shape("attr", attr, ("B", "V", "C"), ("V", "C"))
    check_shape("rast", rast, ("B", "H", "W", 4))
    check_shape("tri", tri, ("T", 3))
    check_not_empty("attr", attr)
    check_not_empty("rast", rast)
    attr = attr[None] if attr.ndim == 2 else attr
    check_batch("attr", attr, len(rast))
    for name, one in (("rast", rast), ("tri", tri)):
        check_device(name, one, "attr", attr)
    begin(attr)
    tri = checked_indices("tri", tri, attr.shape[1], "vertices")
    ids = ids_of(rast, len(tri))
    chosen = _checked_channels(diff_attrs, attr.shape[-1])
    operation = _Interpolate(attr, tri, ids, chosen)
    if not chosen:
        (out,) = operation(attr, rast)
        return out, out.new_zeros((*out.shape[:3], 0))
    if rast_db is None:
        raise ValueError("diff_attrs needs rast_db=, the second result of rasterize")
    check_shape("rast_db", rast_db, tuple(rast.shape))
    return operation(attr, rast, rast_db)


def _checked_channels(diff_attrs: Any, channels: int) -> list:
    """Indices of channels."""
    if diff_attrs is None:
        return []
    if isinstance(diff_attrs, str) and diff_attrs == "all":
        return list(range(channels))
    is_list = isinstance(diff_attrs, (list, tuple)) and all(type(k) is int for k in diff_attrs)
    if not is_list or not all(0 <= k < channels for k in diff_attrs):
        raise ValueError(
            f"diff_attrs must be 'all' or a list of channels from 0 to {channels - 1}, "
            f"got {diff_attrs!r}"
        )
    return list(diff_attrs)
