"""Vertices in clip space to the triangle of each pixel, and where on it that is."""

from typing import Any, Optional

from taichi_softras.functional import check_image_size
from taichi_softras.nvdiffrast.contexts import RasterizeCudaContext
from taichi_softras.nvdiffrast.operation import (
    Operation,
    as_arrays,
    as_tensor,
    check_device,
    check_not_empty,
    check_shape,
    checked_indices,
    of_arrays,
    range_of,
    takes_arrays,
    whole_numbers,
)
from taichi_softras.rasterizers.binning import check_size
from taichi_softras.rasterizers.clip_space import (
    Layers,
    measure_fragments,
    measure_fragments_backward,
    place_clip_corners,
)
from taichi_softras.runtime import is_double
from taichi_softras.torch.tensors import Tensors, begin, torch
from taichi_softras.workspace import describe_scene

EXACT_IDS = 2**24  # whole numbers that single precision has


class _Rasterize(Operation):
    """Of triangles and ranges of them.

    Attributes:
        layers: what was found, or what another operation found of the same inputs.
    """

    num_without_gradient = 1

    def __init__(self, pos: torch.Tensor, tri: torch.Tensor, ranges: torch.Tensor, size: tuple):
        views, most = len(ranges), max(int(ranges[:, 1].max()), 1)
        scene = describe_scene(size, views, most)
        check_size(scene, views, most, size)  # before anything is allocated
        super().__init__(["pos"], (scene, tuple(pos.shape), tuple(tri.shape)))
        self.workspace.scene, self.workspace.near_clip = scene, 0.0
        self._triangles = self.upload("triangles", tri)
        self._ranges = self.upload("ranges", ranges)
        self._size, self._views, self._most = size, views, most
        self.layers: Optional[Layers] = None

    def forward(self, pos: torch.Tensor) -> tuple:
        get = self.workspace.get
        vertices = self.upload("vertices", pos)
        shape = (self._views, *self._size)
        places = get("places", shape, int)
        if self.layers is None:
            corners = get("corners", (self._views, self._most, 3, 4))
            place_clip_corners(vertices, self._triangles, self._ranges, *self._size, corners)
            self.layers = Layers(self.workspace, corners, self._size)
        self.layers.name(places)
        self._inputs = (vertices, self._triangles, self._ranges, places)
        results = (
            get("fragments", (*shape, 4)),
            get("slopes", (*shape, 4)),
            get("ids", shape, int),
        )
        measure_fragments(*self._inputs, *results)
        return tuple(map(Tensors.read, results))

    def backward(self, grad_fragments: torch.Tensor, grad_slopes: torch.Tensor) -> tuple:
        grads = (
            self.upload("grad_fragments", grad_fragments),
            self.upload("grad_slopes", grad_slopes),
        )
        grad_vertices = self.workspace.get("grad_vertices", tuple(self._inputs[0].shape))
        measure_fragments_backward(*self._inputs, *grads, grad_vertices)
        return (Tensors.read(grad_vertices),)


@takes_arrays
def rasterize(  # the interface of another package
    glctx: RasterizeCudaContext,
    pos: torch.Tensor,
    tri: torch.Tensor,
    resolution: tuple,
    ranges: Optional[torch.Tensor] = None,
    grad_db: bool = True,
) -> tuple:
    """Finds the triangle that each pixel's centre shows, and where on it.

    Laine et al. 2020, section 3.2. Visibility has no gradient: `antialias` has.

    Args:
        glctx: a `RasterizeCudaContext` or `RasterizeGLContext`.
        pos: (B, V, 4) x, y, z, w in OpenGL's clip space, of each image; or (V, 4) with `ranges`.
        tri: (T, 3) int32, vertices of triangles.
        resolution: (H, W) in pixels.
        ranges: (B, 2) int32, of each image the first triangle and how many.
        grad_db: whether gradients of the second result reach `pos`.

    Returns:
        rast: (B, H, W, 4) u, v, z / w and triangle + 1; 0 where none is. Row 0 is at the bottom. u
            and v are the weights of the first two corners, right in perspective. They have
            gradients, z / w has none.
        rast_db: (B, H, W, 4) du/dX, du/dY, dv/dX and dv/dY by pixels; (B, H, W, 0) of a context
            with `output_db=False`.

        `rast.triangle_ids`, (B, H, W) int32, are the numbers of the last channel, exact beyond the
        16,777,216 that single precision counts to.

    Raises:
        TypeError: for what is no tensor or array, or of another type of numbers.
        ValueError: for wrong shapes, devices, indices, ranges, or values that are not finite.
    """
    inputs = _checked(glctx, pos, tri, resolution, ranges)
    return _results(glctx, _Rasterize(*inputs)(inputs[0]), grad_db)


class DepthPeeler:
    """Layers of triangles, one behind the other.

        with dr.DepthPeeler(glctx, pos, tri, resolution) as peeler:
            for _ in range(num_layers):
                rast, rast_db = peeler.rasterize_next_layer()

    Of triangles that meet at one z / w each is in a layer of its own, in their order.
    """

    def __init__(  # as `rasterize`
        self,
        glctx: RasterizeCudaContext,
        pos: torch.Tensor,
        tri: torch.Tensor,
        resolution: tuple,
        ranges: Optional[torch.Tensor] = None,
        grad_db: bool = True,
    ):
        """See `rasterize`, as for errors."""
        self._glctx, self._grad_db, self._is_of_arrays = glctx, grad_db, of_arrays([pos, tri])
        given = map(as_tensor, (pos, tri, resolution, ranges))
        self._inputs = _checked(glctx, *given)
        self._first: Optional[_Rasterize] = None
        self._is_open = False

    def __enter__(self) -> "DepthPeeler":
        self._is_open = True
        return self

    def __exit__(self, *_: Any) -> None:
        self._first, self._is_open = None, False

    def rasterize_next_layer(self) -> tuple:
        """As `rasterize`, the first time; then what is behind the layer before.

        Raises:
            RuntimeError: outside of `with`.
        """
        if not self._is_open:
            raise RuntimeError("layers are drawn inside of `with DepthPeeler(...) as peeler:`")
        layers = None if self._first is None else self._first.layers
        if layers is not None:
            layers.peel()
        operation = _Rasterize(*self._inputs)
        operation.layers = layers
        self._first = self._first or operation  # in whose working memory the layers are
        results = _results(self._glctx, operation(self._inputs[0]), self._grad_db)
        return as_arrays(results) if self._is_of_arrays else results


def _checked(
    glctx: Any, pos: torch.Tensor, tri: torch.Tensor, resolution: tuple, ranges: Any
) -> tuple:
    """The inputs of a `_Rasterize`, from those of `rasterize`."""
    if not isinstance(glctx, RasterizeCudaContext):
        kind = type(glctx).__name__
        raise TypeError(f"glctx must be a RasterizeCudaContext or RasterizeGLContext, got {kind}")
    size = check_image_size(resolution)
    check_shape("pos", pos, ("B", "V", 4) if ranges is None else ("V", 4))
    check_shape("tri", tri, ("T", 3))
    check_not_empty("pos", pos)
    glctx.check(pos)
    check_device("tri", tri, "pos", pos)
    begin(pos)
    tri = checked_indices("tri", tri, pos.shape[-2], "vertices")
    if ranges is not None:
        return pos[None], tri, _checked_ranges(ranges, len(tri)), size
    return pos, tri, torch.tensor([[0, len(tri)]] * len(pos), dtype=torch.int32), size


def _results(glctx: RasterizeCudaContext, drawn: tuple, grad_db: bool) -> tuple:
    """What `rasterize` gives."""
    rast, rast_db, ids = drawn
    rast.triangle_ids = ids
    if not glctx.output_db:
        return rast, rast_db[..., :0].detach()
    return rast, rast_db if grad_db else rast_db.detach()


def _checked_ranges(ranges: Any, num_triangles: int) -> torch.Tensor:
    """(B, 2) on the host, within the triangles."""
    check_shape("ranges", ranges, ("B", 2))
    ranges = whole_numbers("ranges", ranges).cpu()
    check_not_empty("ranges", ranges)
    for view, (first, count) in enumerate(ranges.tolist()):
        if min(first, count) < 0 or first + count > num_triangles:
            raise ValueError(
                f"ranges[{view}] has {count} triangles from {first} on, and tri has {num_triangles}"
            )
    return ranges


def ids_of(rast: torch.Tensor, num_triangles: int) -> torch.Tensor:
    """(B, H, W) triangle + 1, checked: of the last channel, or beside it where that is not exact.

    Raises:
        ValueError: for numbers of more triangles than there are; for more triangles than the
            channel counts, if the numbers are not beside it.
    """
    if num_triangles <= EXACT_IDS or is_double():
        ids = rast.detach()[..., 3].to(torch.int32)
    else:
        ids = getattr(rast, "triangle_ids", None)
        if ids is None:
            raise ValueError(
                f"rast counts triangles to {EXACT_IDS:,} and tri has {num_triangles:,}: give rast "
                "as rasterize returned it, with rast.triangle_ids"
            )
    least, most = range_of(ids)
    if least < 0 or most > num_triangles:
        wrong = least if least < 0 else most
        raise ValueError(
            f"rast has triangle {wrong}, and tri has {num_triangles}, counted from 1: give the tri "
            "that was rasterized"
        )
    return ids
