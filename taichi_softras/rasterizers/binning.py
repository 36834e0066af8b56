"""Binning: corners of faces in, for each 8x8 tile the list of faces that may touch it, out.

Exact: count, prefix sum, fill. The lists have the size that they need; no face is dropped.
"""

from typing import NamedTuple

import numpy as np
import taichi as ti

from taichi_softras.rasterizers.faces import BOX_SIZE, RECORD_SIZE, set_up_faces
from taichi_softras.runtime import CPU_BLOCK, is_cpu, kernel
from taichi_softras.workspace import Workspace, array

TILE_BITS = 3
TILE = 1 << TILE_BITS  # pixels a side
SCAN_CHUNK = 512
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


class FaceArrays(NamedTuple):
    """What all pixels of a face share, see `rasterizers.faces`."""

    records: ti.Ndarray  # (B * F, RECORD_SIZE)
    boxes: ti.Ndarray  # (B * F, BOX_SIZE)


class TileArrays(NamedTuple):
    """The faces of tile t are `faces[starts[t]:starts[t + 1]]`."""

    starts: ti.Ndarray  # (T + 1,), T = B * tile rows * tile columns
    faces: ti.Ndarray  # (>= pairs,)


class Bins:
    """Faces that are set up, and those of each tile.

    Attributes:
        of_faces: records and boxes of all faces.
        of_tiles: the faces of each tile.
        tiles: (>= num_pairs,) the tile of each entry of `of_tiles.faces`; only filled off the CPU.
        num_pairs: number of (tile, face) pairs.
        rows, columns: of tiles.
    """

    def __init__(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple, reach: float):
        """Sets up and sorts.

        Args:
            workspace: keeps the arrays.
            corners: (B, F, 3, 4): x_clip, y_clip, depth, w_clip of each corner, undivided, x and y
                scaled to NDC (the shorter image side spans [-1, 1]); or (B, F, 3, 3): x_ndc,
                y_ndc, depth, divided, where w is the depth.
            image_size: (H, W) in pixels.
            reach: NDC: how far a face covers pixels beyond its edges.

        Raises:
            CornerError: for a corner that is NaN, infinite or too large.
        """
        views, num_faces = corners.shape[:2]
        height, width = image_size
        self.rows, self.columns = -(-height // TILE), -(-width // TILE)
        num_tiles = views * self.rows * self.columns
        records = workspace.get("face_records", (views * num_faces, RECORD_SIZE))
        boxes = workspace.get("face_boxes", (views * num_faces, BOX_SIZE), int)
        starts = workspace.get("bin_starts", (num_tiles + 1,), int)
        cursors = workspace.get("bin_cursors", (num_tiles,), int)
        chunks = workspace.get("bin_chunks", (-(-num_tiles // SCAN_CHUNK) + 1,), int)
        status = workspace.get("bin_status", (2,), int)
        grid = (self.rows, self.columns)
        set_up_and_count(
            corners,
            *image_size,
            reach,
            num_tiles,
            *grid,
            records,
            boxes,
            starts,
            chunks,
            cursors,
            status,
            is_cpu(),
        )
        self.num_pairs = status[0]  # the only thing that the host reads of a draw
        if self.num_pairs < 0:
            view, face = divmod(-1 - self.num_pairs, num_faces)
            is_finite = np.isfinite(corners.to_numpy()[view, face]).all()
            raise CornerError(view, face, is_finite)
        faces = workspace.get_list("bin_faces", self.num_pairs)
        self.tiles = faces if is_cpu() else workspace.get_list("bin_tiles", self.num_pairs)
        fill = fill_by_view if is_cpu() else fill_by_face
        fill(boxes, views, *grid, cursors, faces, self.tiles)
        self.of_faces = FaceArrays(records, boxes)
        self.of_tiles = TileArrays(starts, faces)


@kernel
def set_up_and_count(  # one launch for three stages
    corners: array(float, 4),  # (B, F, 3, 3 or 4)
    height: int,
    width: int,
    reach: float,  # NDC
    num_tiles: int,
    tile_rows: int,
    tile_columns: int,
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    starts: array(int, 1),  # (T + 1,)
    chunks: array(int, 1),  # (chunks + 1,) scratch
    cursors: array(int, 1),  # (T,) a copy of the starts
    status: array(int, 1),  # (2,) number of pairs, or -1 - the index of a face that is not drawable
    on_cpu: ti.template(),
):
    """Faces, how many there are in each tile, and where each tile's begin."""
    set_up_faces(corners, height, width, reach, records, boxes, status)
    if ti.static(on_cpu):
        count_by_view(boxes, corners.shape[0], tile_rows, tile_columns, starts)
    else:
        count_by_face(boxes, corners.shape[0], tile_rows, tile_columns, starts)
    scan(num_tiles, starts, chunks, cursors, status)


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
    cursors: ti.template(),  # (T,) a copy of the starts
    status: ti.template(),  # (2,)
):
    """Prefix sum in three passes: within chunks, over chunks, add."""
    num_chunks = (num_tiles + SCAN_CHUNK - 1) // SCAN_CHUNK
    for chunk in range(num_chunks):
        total = 0
        for tile in range(chunk * SCAN_CHUNK, ti.min((chunk + 1) * SCAN_CHUNK, num_tiles)):
            total += starts[tile + 1]
            starts[tile + 1] = total
        chunks[chunk + 1] = total
    ti.loop_config(serialize=True)
    for chunk in range(num_chunks):
        if chunk == 0:
            starts[0] = 0
            chunks[0] = 0
        chunks[chunk + 1] = chunks[chunk + 1] + chunks[chunk]
    for tile in range(num_tiles):
        before = starts[tile]  # of its own chunk but for the first tile of one
        if tile % SCAN_CHUNK == 0:
            before = 0
        cursors[tile] = chunks[tile // SCAN_CHUNK] + before
    for tile in range(num_tiles):
        starts[tile + 1] = starts[tile + 1] + chunks[tile // SCAN_CHUNK]
        if tile == num_tiles - 1:
            status[0] = ti.select(status[1] > 0, -status[1], starts[tile + 1])


@kernel
def fill_by_view(
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    num_views: int,
    tile_rows: int,
    tile_columns: int,
    cursors: array(int, 1),  # (T,) starts as each tile's begin
    faces: array(int, 1),  # (>= pairs,)
    tiles: array(int, 1),  # not used on a CPU
):
    """Faces come in the order of their indices."""
    for task in range(num_views * CPU_BLOCK):
        if task % CPU_BLOCK == 0:
            view = task // CPU_BLOCK
            num_faces = boxes.shape[0] // num_views
            first_tile = view * tile_rows * tile_columns
            for face in range(num_faces):
                i = view * num_faces + face
                if boxes[i, 0] <= boxes[i, 1]:
                    for row in range(boxes[i, 2] // TILE, boxes[i, 3] // TILE + 1):
                        for column in range(boxes[i, 0] // TILE, boxes[i, 1] // TILE + 1):
                            tile = first_tile + row * tile_columns + column
                            slot = cursors[tile]
                            cursors[tile] = slot + 1
                            faces[slot] = face


@kernel
def fill_by_face(
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    num_views: int,
    tile_rows: int,
    tile_columns: int,
    cursors: array(int, 1),  # (T,) starts as each tile's begin
    faces: array(int, 1),  # (>= pairs,)
    tiles: array(int, 1),  # (>= pairs,)
):
    """The order of a tile's faces differs from run to run; images do not depend on it."""
    ti.loop_config(block_dim=ATOMIC_BLOCK_DIM)
    for i in range(boxes.shape[0]):
        num_faces = boxes.shape[0] // num_views
        view = i // num_faces
        if boxes[i, 0] <= boxes[i, 1]:
            for row in range(boxes[i, 2] // TILE, boxes[i, 3] // TILE + 1):
                for column in range(boxes[i, 0] // TILE, boxes[i, 1] // TILE + 1):
                    tile = (view * tile_rows + row) * tile_columns + column
                    slot = ti.atomic_add(cursors[tile], 1)
                    faces[slot] = i - view * num_faces
                    tiles[slot] = tile
