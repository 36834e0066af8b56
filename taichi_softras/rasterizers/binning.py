"""Binning: pixel boxes of faces in, for each 8x8 tile the list of faces that may touch it, out.

Exact: count, prefix sum, fill. The lists have the size that they need; no face is dropped.
"""

import taichi as ti

from taichi_softras.fields import is_cpu
from taichi_softras.rasterizers.workspace import Workspace, array

TILE_BITS = 3
TILE = 1 << TILE_BITS  # pixels a side
SCAN_CHUNK = 512
CPU_BLOCK = 512  # Taichi runs this many neighbouring iterations of a CPU loop on one thread
# lavapipe ends loops of unequal length early around integer atomics unless groups have 8 threads
ATOMIC_BLOCK_DIM = 8


class Bins:
    """The faces of each tile.

    Attributes:
        starts: (T + 1,) where each tile's faces begin; T = B * tile rows * tile columns.
        faces: (>= num_pairs,) face indices, tile after tile.
        tiles: (>= num_pairs,) the tile of each entry; only filled off the CPU.
        num_pairs: number of (tile, face) pairs.
    """

    def __init__(self, workspace: Workspace, boxes: ti.Ndarray, num_views: int, image_size: tuple):
        height, width = image_size
        self.rows, self.columns = -(-height // TILE), -(-width // TILE)
        self.num_tiles = num_views * self.rows * self.columns
        self.starts = workspace.get("bin_starts", (self.num_tiles + 1,), int)
        cursors = workspace.get("bin_cursors", (self.num_tiles,), int)
        chunks = workspace.get("bin_chunks", (-(-self.num_tiles // SCAN_CHUNK) + 1,), int)
        count, fill = (count_by_view, fill_by_view) if is_cpu() else (count_by_face, fill_by_face)
        grid = (num_views, self.rows, self.columns)
        count(boxes, *grid, self.starts)
        scan(self.num_tiles, self.starts, chunks, cursors)
        self.num_pairs = self.starts[self.num_tiles]
        self.faces = workspace.get_list("bin_faces", self.num_pairs)
        self.tiles = self.faces if is_cpu() else workspace.get_list("bin_tiles", self.num_pairs)
        fill(boxes, *grid, cursors, self.faces, self.tiles)


@ti.kernel
def count_by_view(
    boxes: array(int, 2),  # (B * F, 4) pixels
    num_views: int,
    tile_rows: int,
    tile_columns: int,
    counts: array(int, 1),  # (T + 1,) the count of tile t goes to t + 1
):
    """On a CPU one thread counts for one view: no atomics."""
    counts[0] = 0
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


@ti.kernel
def fill_by_view(
    boxes: array(int, 2),  # (B * F, 4) pixels
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


@ti.kernel
def count_by_face(
    boxes: array(int, 2),  # (B * F, 4) pixels
    num_views: int,
    tile_rows: int,
    tile_columns: int,
    counts: array(int, 1),  # (T + 1,) the count of tile t goes to t + 1
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


@ti.kernel
def fill_by_face(
    boxes: array(int, 2),  # (B * F, 4) pixels
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


@ti.kernel
def scan(
    num_tiles: int,
    starts: array(int, 1),  # (T + 1,) counts become running sums
    chunks: array(int, 1),  # (chunks + 1,) scratch
    cursors: array(int, 1),  # (T,) a copy of the starts
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
            chunks[0] = 0
        chunks[chunk + 1] = chunks[chunk + 1] + chunks[chunk]
    for tile in range(num_tiles):
        before = chunks[tile // SCAN_CHUNK]
        starts[tile + 1] = starts[tile + 1] + before
    for tile in range(num_tiles):
        cursors[tile] = starts[tile]
