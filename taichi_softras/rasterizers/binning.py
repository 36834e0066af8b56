"""Binning: corners of faces in, for each 8x8 tile the list of faces that may touch it, out.

Exact: count, prefix sum, fill. No face is dropped. The lists have the size that they need; those
that are too long for the memory come band by band.
"""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple, Optional

import numpy as np

from taichi_softras.rasterizers.faces import (
    BOX_SIZE,
    CUT_RECORD_SIZE,
    RECORD_SIZE,
    set_up_faces,
)
from taichi_softras.runtime import CPU_BLOCK, is_cpu, kernel, ti
from taichi_softras.workspace import MOST_ENTRIES, Workspace, array, check_entries, write_array

TILE_BITS = 3
TILE = 1 << TILE_BITS  # pixels a side
TILES_PER_TASK = 4  # that draws on a CPU: small, so that threads end together
SCAN_CHUNK = 512
NEEDS_CLIPPING = -(2**31)  # in place of a number of pairs
# lavapipe ends loops of unequal length early around integer atomics unless groups have 8 threads
ATOMIC_BLOCK_DIM = 8


class CornerError(ValueError):
    """A corner that cannot be drawn.

    Attributes:
        view, face: of the corner.
    """

    def __init__(self, view: int, face: int, is_finite: bool):
        self.view, self.face = view, face
        what = "too large" if is_finite else "NaN or infinite"
        super().__init__(
            f"face {face} of view {view} has a corner that is {what}: check the vertices and the "
            "camera (a step size that is too large often does this)"
        )


class ClippingNeeded(Exception):  # noqa: N818, it is no error
    """A face on the image reaches behind the camera, or too far: `clipping` cuts such faces.

    Attributes:
        reach: NDC: how far faces cover pixels beyond their edges.
    """

    def __init__(self, reach: float):
        super().__init__(reach)
        self.reach = reach


class FaceArrays(NamedTuple):
    """What all pixels of a face share, see `rasterizers.faces`."""

    records: ti.Ndarray  # (B * F, RECORD_SIZE)
    boxes: ti.Ndarray  # (B * F, BOX_SIZE)


class TileArrays(NamedTuple):
    """The faces of tile t are `faces[starts[t]:starts[t + 1]]`, of the tiles of a band."""

    starts: ti.Ndarray  # (T + 1,), T = B * tile rows * tile columns
    faces: ti.Ndarray  # (>= pairs of the band,)
    band: ti.Ndarray  # (2,) the first tile, and that behind the last


class Bins:
    """Faces that are set up, and those of each tile.

    Attributes:
        of_faces: records and boxes of all faces.
        tiles: (>= pairs of the band,) the tile of each entry of `TileArrays.faces`; only filled
            off the CPU.
        num_pairs: number of (tile, face) pairs. Who asks first waits for the device.
        rows, columns: of tiles.
    """

    def __init__(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple, reach: float):
        """Sets up and counts.

        Args:
            workspace: keeps the arrays.
            corners: (B, F, 3, 4): x_clip, y_clip, depth, w_clip of each corner, undivided, x and y
                scaled to NDC (the shorter image side spans [-1, 1]); or (B, F, 3, 3): x_ndc,
                y_ndc, depth, divided, where w is the depth. Those of `clipping` have more rows.
            image_size: (H, W) in pixels.
            reach: NDC: how far a face covers pixels beyond its edges.

        Raises:
            ValueError: for more faces, pixels or views than kernels can count.
        """
        views, num_faces = corners.shape[:2]
        height, width = image_size
        self.rows, self.columns = -(-height // TILE), -(-width // TILE)
        self._num_tiles = num_tiles = views * self.rows * self.columns
        check_size(workspace.scene, views, num_faces, image_size)
        self._workspace = workspace
        self._grid = views, self.rows, self.columns
        is_clipped = corners.shape[2] > 3
        near = -1.0 if is_clipped or workspace.near_clip is None else workspace.near_clip
        size = CUT_RECORD_SIZE if is_clipped else RECORD_SIZE
        of = "piece" if is_clipped else "face"  # a scene with pieces is counted twice in a draw
        records = workspace.get(f"{of}_records", (views * num_faces, size))
        boxes = workspace.get(f"{of}_boxes", (views * num_faces, BOX_SIZE), int)
        self.of_faces = FaceArrays(records, boxes)
        self._starts = workspace.get("bin_starts", (num_tiles + 1,), int)
        self._cursors = workspace.get("bin_cursors", (num_tiles,), int)
        self._corners, self._reach = corners, reach
        self._status = workspace.get("bin_status", (3,), int)
        set_up_and_count(
            corners,
            *image_size,
            reach,
            near,
            num_tiles,
            self.rows,
            self.columns,
            *self.of_faces,
            self._starts,
            workspace.get("bin_chunks", (-(-num_tiles // SCAN_CHUNK) + 1,), int),
            self._cursors,
            self._status,
            is_cpu(),
        )
        self._tiles: Optional[TileArrays] = None  # the lists, where one band has all
        self._before: Optional[np.ndarray] = (
            None  # where there are more, the number of pairs before each tile
        )

    @functools.cached_property
    def num_pairs(self) -> int:
        """See `Bins`.

        Raises:
            CornerError: for a corner that is NaN, infinite or too large.
            ClippingNeeded: for a face that must be cut, if the workspace says where.
        """
        num_pairs = self._status[0]  # the only thing that the host reads of a draw
        if num_pairs == NEEDS_CLIPPING:
            raise ClippingNeeded(self._reach)
        if num_pairs < 0:
            view, face = divmod(-1 - num_pairs, self._corners.shape[1])
            is_finite = np.isfinite(self._corners.to_numpy()[view, face]).all()
            raise CornerError(view, face, is_finite)
        if num_pairs > self._workspace.max_pairs:
            counts = count_in_boxes(self.of_faces.boxes.to_numpy(), *self._grid)
            self._before = np.concatenate([[0], np.cumsum(counts)])
            num_pairs = int(self._before[-1])
        return num_pairs

    def bands(self) -> Iterator[TileArrays]:
        """The lists of all tiles; if these have more than `max_pairs`, of one band after the other.

        A band is as many tiles as have no more pairs than that, at least one. Its lists are there
        until the next band.

        Raises:
            CornerError: for a corner that is NaN, infinite or too large.
        """
        num_pairs = self.num_pairs
        if self._before is None:
            if self._tiles is None:
                self._tiles = self._fill(0, self._num_tiles, num_pairs)
            yield self._tiles
            return
        before, first = self._before, 0
        while first < self._num_tiles:
            most = before[first] + self._workspace.max_pairs
            end = max(first + 1, int(np.searchsorted(before, most, side="right")) - 1)
            starts = np.clip(before, before[first], before[end]) - before[first]
            write_array(self._starts, starts)
            write_array(self._cursors, starts[:-1])
            yield self._fill(first, end, int(starts[-1]))
            first = end

    def _fill(self, first: int, end: int, num_pairs: int) -> TileArrays:
        """The lists of tiles from `first` to `end`, whose starts are known."""
        workspace = self._workspace
        faces = workspace.get_list("bin_faces", num_pairs, workspace.max_pairs)
        self.tiles = faces
        if not is_cpu():
            self.tiles = workspace.get_list("bin_tiles", num_pairs, workspace.max_pairs)
        band = workspace.constants("bin_band", (first, end), int)
        fill = fill_by_view if is_cpu() else fill_by_face
        fill(self.of_faces.boxes, *self._grid, band, self._cursors, faces, self.tiles)
        return TileArrays(self._starts, faces, band)


def check_size(scene: str, num_views: int, num_faces: int, image_size: tuple) -> None:
    """Raises a ValueError for more faces, pixels or views than kernels can count.

    Args:
        scene: what it is, in words.
        num_views: B.
        num_faces: F.
        image_size: (H, W) in pixels.
    """
    num_tiles = num_views * math.prod(-(-extent // TILE) for extent in image_size)
    check_entries(scene, "face_records", (num_views * num_faces, RECORD_SIZE))
    tasks = max(num_views, -(-num_tiles // TILES_PER_TASK))
    check_entries(scene, "steps over tiles", (tasks, CPU_BLOCK))


def count_in_boxes(boxes: np.ndarray, num_views: int, rows: int, columns: int) -> np.ndarray:
    """(B, tile rows, tile columns) faces in each tile, in 64 bits.

    One more where a box begins, one less where it has ended, added up along both axes.

    Args:
        boxes: (B * F, BOX_SIZE) pixels.
        num_views: B.
        rows: of tiles.
        columns: of tiles.
    """
    counts = np.zeros((num_views, rows + 1, columns + 1), np.int64)
    faces = np.flatnonzero(boxes[:, 0] <= boxes[:, 1])
    view = faces // (len(boxes) // num_views)
    left, right, top, bottom = boxes[faces, :4].T // TILE + [[0], [1], [0], [1]]
    for row, column, step in (
        (top, left, 1),
        (top, right, -1),
        (bottom, left, -1),
        (bottom, right, 1),
    ):
        np.add.at(counts, (view, row, column), step)
    return counts.cumsum(axis=1).cumsum(axis=2)[:, :-1, :-1]


@kernel
def set_up_and_count(  # one launch for three stages
    corners: array(float, 4),  # (B, F, 3, 3 or 4)
    height: int,
    width: int,
    reach: float,  # NDC
    near: float,  # depth, see `set_up_faces`
    num_tiles: int,
    tile_rows: int,
    tile_columns: int,
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    starts: array(int, 1),  # (T + 1,)
    chunks: array(int, 1),  # (chunks + 1,) scratch
    cursors: array(int, 1),  # (T,) a copy of the starts
    # (3,) number of pairs, or -1 - the index of a face that is not drawable, or NEEDS_CLIPPING
    status: array(int, 1),
    on_cpu: ti.template(),
):
    """Faces, how many there are in each tile, and where each tile's begin."""
    set_up_faces(corners, height, width, reach, near, records, boxes, status)
    if ti.static(on_cpu):
        count_by_view(boxes, corners.shape[0], tile_rows, tile_columns, starts)
    else:
        count_by_face(boxes, corners.shape[0], tile_rows, tile_columns, starts)
    scan(num_tiles, starts, chunks, status)
    for tile in range(num_tiles):
        cursors[tile] = starts[tile]
    for _ in range(1):
        if (status[1] == 0) & (status[2] != 0):
            status[0] = NEEDS_CLIPPING


@ti.func
def count_by_view(
    boxes: ti.template(),  # (B * F, BOX_SIZE) pixels
    num_views: int,
    tile_rows: int,
    tile_columns: int,
    counts: ti.template(),  # (T + 1,) the count of tile t goes to t + 1
):
    """On a CPU one thread counts for one view: no atomics."""
    for task in range(num_views * CPU_BLOCK):
        if task % CPU_BLOCK == 0:
            view = task // CPU_BLOCK
            num_faces = boxes.shape[0] // num_views
            first_tile = view * tile_rows * tile_columns
            for tile in range(first_tile, first_tile + tile_rows * tile_columns):
                counts[tile + 1] = 0
            for i in range(view * num_faces, (view + 1) * num_faces):
                if boxes[i, 0] <= boxes[i, 1]:
                    for row in range(boxes[i, 2] // TILE, boxes[i, 3] // TILE + 1):
                        for column in range(boxes[i, 0] // TILE, boxes[i, 1] // TILE + 1):
                            slot = first_tile + row * tile_columns + column + 1
                            counts[slot] = counts[slot] + 1


@ti.func
def count_by_face(
    boxes: ti.template(),  # (B * F, BOX_SIZE) pixels
    num_views: int,
    tile_rows: int,
    tile_columns: int,
    counts: ti.template(),  # (T + 1,) the count of tile t goes to t + 1
):
    """On a GPU one thread counts for one face."""
    for slot in range(counts.shape[0]):
        counts[slot] = 0
    ti.loop_config(block_dim=ATOMIC_BLOCK_DIM)
    for i in range(boxes.shape[0]):
        view = i // (boxes.shape[0] // num_views)
        if boxes[i, 0] <= boxes[i, 1]:
            for row in range(boxes[i, 2] // TILE, boxes[i, 3] // TILE + 1):
                for column in range(boxes[i, 0] // TILE, boxes[i, 1] // TILE + 1):
                    tile = (view * tile_rows + row) * tile_columns + column
                    ti.atomic_add(counts[tile + 1], 1)


@ti.func
def scan(
    num_tiles: int,  # an argument: a bound that comes from a shape does not compile on Vulkan
    starts: ti.template(),  # (T + 1,) counts, from [1] on, become running sums
    chunks: ti.template(),  # (chunks + 1,) scratch
    status: ti.template(),  # (2,)
):
    """Prefix sum in three passes: within chunks, over chunks, add. Sums end at MOST_ENTRIES."""
    num_chunks = (num_tiles + SCAN_CHUNK - 1) // SCAN_CHUNK
    for chunk in range(num_chunks):
        total = 0
        for tile in range(chunk * SCAN_CHUNK, ti.min((chunk + 1) * SCAN_CHUNK, num_tiles)):
            total = add_up(total, starts[tile + 1])
            starts[tile + 1] = total
        chunks[chunk + 1] = total
    ti.loop_config(serialize=True)
    for chunk in range(num_chunks):
        if chunk == 0:
            starts[0] = 0
            chunks[0] = 0
        chunks[chunk + 1] = add_up(chunks[chunk + 1], chunks[chunk])
    for tile in range(num_tiles):
        starts[tile + 1] = add_up(starts[tile + 1], chunks[tile // SCAN_CHUNK])
        if tile == num_tiles - 1:
            status[0] = ti.select(status[1] > 0, -status[1], starts[tile + 1])


@ti.func
def add_up(first: int, second: int) -> int:
    """The sum of two numbers that are not negative, MOST_ENTRIES if it is larger."""
    return first + ti.min(second, MOST_ENTRIES - first)


@kernel
def fill_by_view(
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    num_views: int,
    tile_rows: int,
    tile_columns: int,
    band: array(int, 1),  # (2,) first tile, and that behind the last
    cursors: array(int, 1),  # (T,) starts as each tile's begin
    faces: array(int, 1),  # (>= pairs of the band,)
    tiles: array(int, 1),  # not used on a CPU
):
    """Faces come in the order of their indices."""
    for task in range(num_views * CPU_BLOCK):
        if task % CPU_BLOCK == 0:
            view = task // CPU_BLOCK
            num_faces = boxes.shape[0] // num_views
            for face in range(num_faces):
                i = view * num_faces + face
                if boxes[i, 0] <= boxes[i, 1]:
                    for row in range(boxes[i, 2] // TILE, boxes[i, 3] // TILE + 1):
                        left = (view * tile_rows + row) * tile_columns
                        first = ti.max(left + boxes[i, 0] // TILE, band[0])
                        end = ti.min(left + boxes[i, 1] // TILE + 1, band[1])
                        for tile in range(first, end):
                            slot = cursors[tile]
                            cursors[tile] = slot + 1
                            faces[slot] = face


@kernel
def fill_by_face(
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    num_views: int,
    tile_rows: int,
    tile_columns: int,
    band: array(int, 1),  # (2,) first tile, and that behind the last
    cursors: array(int, 1),  # (T,) starts as each tile's begin
    faces: array(int, 1),  # (>= pairs of the band,)
    tiles: array(int, 1),  # (>= pairs of the band,)
):
    """The order of a tile's faces may differ from run to run: images do by rounding alone.

    Threads walk all tiles, not those of the band alone: so neighbours keep step, and the order is
    that of one band.
    """
    ti.loop_config(block_dim=ATOMIC_BLOCK_DIM)
    for i in range(boxes.shape[0]):
        num_faces = boxes.shape[0] // num_views
        view = i // num_faces
        if boxes[i, 0] <= boxes[i, 1]:
            for row in range(boxes[i, 2] // TILE, boxes[i, 3] // TILE + 1):
                for column in range(boxes[i, 0] // TILE, boxes[i, 1] // TILE + 1):
                    tile = (view * tile_rows + row) * tile_columns + column
                    if (tile >= band[0]) & (tile < band[1]):
                        slot = ti.atomic_add(cursors[tile], 1)
                        faces[slot] = i - view * num_faces
                        tiles[slot] = tile
