"""The z-buffer: projected corners in; the nearest face at each pixel's centre, and where, out.

Exact: a pixel takes the smallest depth and, of equal depths, the smallest face index, whatever
the order in which its faces come. The methods differ in how they differentiate this image.
"""

from typing import NamedTuple, Optional

from taichi_softras.funcs.interpolation import PERSPECTIVE, Interpolation, clip_weights
from taichi_softras.funcs.triangle import barycentric, settle_on_edge
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE, Bins, FaceArrays
from taichi_softras.rasterizers.faces import load_triangle, pixel_centre
from taichi_softras.runtime import is_cpu, kernel, ti, vec3
from taichi_softras.workspace import Workspace, array

PADDING_PIXELS = 1  # of a face's box: rounding must not take away a pixel on its outline


class Seen(NamedTuple):
    """What is at each pixel."""

    faces: ti.Ndarray  # (B, H, W) index, or NO_FACE
    weights: ti.Ndarray  # (B, 3, H, W) barycentric on the screen, in [0, 1], sum 1
    depths: ti.Ndarray  # (B, H, W), `far` where no face is


class ZBuffer:
    """What is seen at each pixel.

    Attributes:
        bins: the faces, and those of each tile.
        seen: what is seen.
    """

    def __init__(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        image_size: tuple,
        near: float,
        far: float,
        double_sided: bool,
        bins: Optional[Bins] = None,
        interpolation: Interpolation = PERSPECTIVE,
    ):
        """Finds the nearest faces.

        Args:
            workspace: keeps the arrays.
            corners: (B, F, 3, 4) clip coordinates or (B, F, 3, 3) divided ones, see `Bins`.
            image_size: (H, W) in pixels.
            near: depth that is too near; what is drawn lies behind it.
            far: depth that is too far; what is drawn lies before it.
            double_sided: whether faces that are clockwise on the image are drawn.
            bins: of these corners, if they have been counted already.
            interpolation: says the depth on a face.

        Raises:
            ValueError: for a corner that is NaN or infinite.
        """
        shape = (corners.shape[0], *image_size)
        self.bins = bins or bin_visible_faces(workspace, corners, image_size)
        self.seen = Seen(
            workspace.get("seen_faces", shape, int),
            workspace.get("seen_weights", (shape[0], 3, *image_size)),
            workspace.get("seen_depths", shape),
        )
        limits = workspace.constants("z_buffer_limits", (near, far, float(double_sided)))
        self._settings = (TILE if is_cpu() else 1, interpolation)
        self._workspace, self._limits = workspace, limits
        for of_tiles in self.bins.bands():
            find_nearest_faces(*self.bins.of_faces, *of_tiles, limits, *self.seen, *self._settings)

    def peel(self) -> None:
        """What is right behind what is `seen` takes its place."""
        shape = tuple(self.seen.faces.shape)
        before = (
            self._workspace.get("peeled_faces", shape, int),
            self._workspace.get("peeled_depths", shape),
        )
        keep_layer(self.seen.faces, self.seen.depths, *before)
        for of_tiles in self.bins.bands():
            find_faces_behind(
                *self.bins.of_faces,
                *of_tiles,
                self._limits,
                *before,
                *self.seen,
                *self._settings,
            )


def bin_visible_faces(
    workspace: Workspace,
    corners: ti.Ndarray,
    image_size: tuple,
    reach_pixels: float = PADDING_PIXELS,
) -> Bins:
    """The faces of each tile, as far as `reach_pixels` beyond their edges; see `Bins`."""
    return Bins(workspace, corners, image_size, reach_pixels * 2.0 / min(image_size))


@ti.func
def contains(weights: vec3, triangle: ti.template(), is_double_sided: int) -> int:
    """Whether a pixel with these weights is in the triangle or on its outline, and sees it."""
    return (weights.min() >= 0.0) & ((triangle.inverse_area > 0.0) | (is_double_sided != 0))


@ti.func
def block_of(first_tile: int, index: int, height: int, width: int, side: ti.template()):
    """The block of pixels that one thread owns: side x side, in the order of their tiles.

    Returns:
        A struct: whether the index begins a block (`is_own`); its `view`, first `row` and
        `column`; the `tile` that holds it, of all views' tiles.
    """
    tile_rows = (height + TILE - 1) // TILE
    tile_columns = (width + TILE - 1) // TILE
    tile = first_tile + index // (TILE * TILE)
    within = index % (TILE * TILE)
    return ti.Struct(
        is_own=within % (side * side) == 0,
        view=tile // (tile_rows * tile_columns),
        row=(tile // tile_columns % tile_rows) * TILE + within // TILE,
        column=tile % tile_columns * TILE + within % TILE,
        tile=tile,
    )


@kernel
def find_nearest_faces(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    starts: array(int, 1),  # see `TileArrays`
    tile_faces: array(int, 1),
    band: array(int, 1),
    limits: array(float, 1),  # (3,) near and far depth; not 0 if clockwise faces are drawn
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    side: ti.template(),  # of the blocks that threads own: 1 or TILE
    interpolation: ti.template(),  # its depth is that of faces
):
    """A thread owns a block of pixels of the band and walks its tile's faces."""
    for index in range((band[1] - band[0]) * TILE * TILE):
        block = block_of(band[0], index, faces.shape[1], faces.shape[2], side)
        if block.is_own:
            of_faces = ti.static(FaceArrays(records, boxes))
            of_tiles = ti.static((starts, tile_faces))
            seen = ti.static(Seen(faces, weights, depths))
            settings = ti.static((side, interpolation))
            see_in_block(of_faces, of_tiles, limits, seen, None, block, settings)


@kernel
def find_faces_behind(  # as `find_nearest_faces`, and two arrays more
    records: array(float, 2),
    boxes: array(int, 2),
    starts: array(int, 1),
    tile_faces: array(int, 1),
    band: array(int, 1),
    limits: array(float, 1),
    faces_before: array(int, 3),  # (B, H, W) of the layer before
    depths_before: array(float, 3),
    faces: array(int, 3),
    weights: array(float, 4),
    depths: array(float, 3),
    side: ti.template(),
    interpolation: ti.template(),
):
    """The next layer: the nearest of what is behind another, or beside it and of a higher index."""
    for index in range((band[1] - band[0]) * TILE * TILE):
        block = block_of(band[0], index, faces.shape[1], faces.shape[2], side)
        if block.is_own:
            of_faces = ti.static(FaceArrays(records, boxes))
            of_tiles = ti.static((starts, tile_faces))
            seen = ti.static(Seen(faces, weights, depths))
            before = ti.static((faces_before, depths_before))
            settings = ti.static((side, interpolation))
            see_in_block(of_faces, of_tiles, limits, seen, before, block, settings)


@ti.func
def see_in_block(
    of_faces: ti.template(),
    of_tiles: ti.template(),  # starts, tile_faces
    limits: ti.template(),
    seen: ti.template(),
    before: ti.template(),  # faces and depths of the layer before, or None
    block: ti.template(),
    settings: ti.template(),  # side and interpolation
):
    """Fills a block with the nearest of the faces of its tile."""
    side, interpolation = ti.static(settings)
    starts, tile_faces = ti.static(of_tiles)
    records, boxes = ti.static(of_faces)
    clear_block(seen, block, limits[1], side)
    height, width = seen.faces.shape[1], seen.faces.shape[2]
    num_faces = records.shape[0] // seen.faces.shape[0]
    view = block.view
    for slot in range(starts[block.tile], starts[block.tile + 1]):
        face = tile_faces[slot]
        i = view * num_faces + face
        first_row = ti.max(boxes[i, 2], block.row)
        last_row = ti.min(boxes[i, 3], block.row + side - 1)
        first_column = ti.max(boxes[i, 0], block.column)
        last_column = ti.min(boxes[i, 1], block.column + side - 1)
        triangle = load_triangle(records, i)
        for row in range(first_row, last_row + 1):
            for column in range(first_column, last_column + 1):
                pixel = pixel_centre(column, row, height, width)
                on_screen = barycentric(pixel, triangle)
                if contains(on_screen, triangle, ti.cast(limits[2], ti.i32)):
                    if on_screen.min() == 0.0:
                        on_screen = settle_on_edge(on_screen, pixel, triangle)
                    clipped = clip_weights(on_screen)
                    depth = interpolation.depth(clipped, triangle)
                    nearest = seen.depths[view, row, column]
                    front = seen.faces[view, row, column]
                    is_first = (depth == nearest) & (front != NO_FACE) & (face < front)
                    is_seen = (depth > limits[0]) & ((depth < nearest) | is_first)
                    if ti.static(before):
                        is_seen &= is_behind(before, view, row, column, face, depth)
                    if is_seen:
                        seen.faces[view, row, column] = face
                        seen.depths[view, row, column] = depth
                        for corner in ti.static(range(3)):
                            seen.weights[view, corner, row, column] = clipped[corner]


@ti.func
def is_behind(
    before: ti.template(), view: int, row: int, column: int, face: int, depth: float
) -> int:
    """Whether a face comes after that of a layer; nothing comes after a layer without one."""
    faces, depths = ti.static(before)
    last, last_depth = faces[view, row, column], depths[view, row, column]
    is_later = (depth > last_depth) | ((depth == last_depth) & (face > last))
    return is_later & (last != NO_FACE) & (face != last)


@kernel
def keep_layer(
    faces: array(int, 3),
    depths: array(float, 3),
    faces_before: array(int, 3),
    depths_before: array(float, 3),
):
    """A copy of what is seen."""
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        faces_before[view, row, column] = faces[view, row, column]
        depths_before[view, row, column] = depths[view, row, column]


@ti.func
def clear_block(seen: ti.template(), block: ti.template(), far: float, side: ti.template()):
    """No face is seen in the block."""
    for k in range(side * side):
        row = block.row + k // side
        column = block.column + k % side
        if (row < seen.faces.shape[1]) & (column < seen.faces.shape[2]):
            seen.faces[block.view, row, column] = NO_FACE
            seen.depths[block.view, row, column] = far
            for corner in ti.static(range(3)):
                seen.weights[block.view, corner, row, column] = 0.0


@ti.func
def load_weights(weights: ti.template(), view: int, row: int, column: int) -> vec3:
    """Barycentric weights on the screen of what is seen at a pixel."""
    return vec3(
        weights[view, 0, row, column], weights[view, 1, row, column], weights[view, 2, row, column]
    )
