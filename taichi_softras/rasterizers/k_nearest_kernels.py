"""The nearest faces of each pixel: faces and bins in, the K-th one or all K of them out.

A pixel finds its faces in order, `CHUNK` of them each time that it walks its tile's list, so
that K has no limit and costs no memory.
"""

from typing import NamedTuple

from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE, FaceArrays, TileArrays
from taichi_softras.rasterizers.faces import SOURCE_FACE, is_in_box, mix_on_source
from taichi_softras.rasterizers.soft_fragments import (
    HEIGHT,
    KEPT_PLANE,
    LIMIT_FACE_PLANE,
    LIMIT_PLANE,
    NO_LIMIT,
    NUM_LANES,
    SAME_DEPTH,
    WIDTH,
    has_lists,
    load_numbers,
    load_shape,
    locate_pixel,
    meet,
    signed_distance,
    tile_of,
)
from taichi_softras.runtime import kernel, ti
from taichi_softras.workspace import array

CHUNK = 8
ALL_KEPT_PLANE = 4  # of `state`: what alpha keeps when no face is left out
LAST_FACE = 2**31 - 1


class Walks(NamedTuple):
    """What a packet of pixels knows of its faces, a local vector each."""

    nearest: object  # depths that are looked at
    farthest: object
    lasts: object  # keys: depths, or faces where depths are the same
    ahead: object  # fragments up to these keys
    counts: object  # fragments
    kept: object  # what alpha keeps of all
    keys: list  # the CHUNK smallest behind `lasts`, in order


@kernel
def find_limits(  # many lines: a pixel's state, and groups of arrays
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    starts: array(int, 1),  # see `TileArrays`
    bin_faces: array(int, 1),
    band: array(int, 1),
    floats: array(float, 1),  # `Numbers`
    sizes: array(int, 1),  # `Sizes`
    faces_per_pixel: int,
    state: array(float, 4),  # (B, planes, H, W + LANES): the limit's depth, and what alpha keeps
    pixel_faces: array(int, 4),  # (B, planes, H, W + LANES): the limit's face
    lanes: ti.template(),  # neighbouring pixels in a packet: TILE on a CPU, 1 on a GPU
    structure: ti.template(),
):
    """The last face that each pixel keeps; NO_LIMIT where it has no more than K.

    A packet of pixels walks its tile's list, and again, until it has the K-th depth; then until
    it has those of the faces at that depth that are kept, which have the lowest indices. A walk
    gives the CHUNK smallest keys (depths, then faces) behind the last one.
    """
    packet_columns = (sizes[WIDTH] + sizes[NUM_LANES] - 1) // sizes[NUM_LANES]
    for thread in range(state.shape[0] * sizes[HEIGHT] * packet_columns):
        faces = ti.static(FaceArrays(records, boxes))
        tiles = ti.static(TileArrays(starts, bin_faces, band))
        numbers = load_numbers(structure, floats, sizes)
        columns = (numbers.width + numbers.num_lanes - 1) // numbers.num_lanes
        view = thread // (numbers.height * columns)
        row = thread // columns % numbers.height
        left = thread % columns * numbers.num_lanes
        tile = tile_of(numbers, view, row, left)
        if not has_lists(tiles, tile):
            continue

        limits = ti.Vector([NO_LIMIT for _ in ti.static(range(lanes))])
        limit_faces = ti.Vector([NO_FACE for _ in ti.static(range(lanes))])
        nearest = ti.Vector([0.0 for _ in ti.static(range(lanes))])
        farthest = ti.Vector([NO_LIMIT for _ in ti.static(range(lanes))])
        lasts = ti.Vector([-1.0 for _ in ti.static(range(lanes))])
        ahead = ti.Vector([0 for _ in ti.static(range(lanes))])
        counts = ti.Vector([0 for _ in ti.static(range(lanes))])
        kept = ti.Vector([0.0 for _ in ti.static(range(lanes))])
        keys = [ti.Vector([0.0 for _ in range(lanes)]) for _ in ti.static(range(CHUNK))]
        walks = ti.static(Walks(nearest, farthest, lasts, ahead, counts, kept, keys))

        in_reach = count_in_reach(numbers, faces, tiles, view, row, left)
        walks_left = ti.select(in_reach > faces_per_pixel, 1, 0)
        is_by_face = 0
        while walks_left > 0:
            walk(structure, numbers, faces, tiles, view, row, left, is_by_face, walks)
            found = find_lasts(numbers, faces_per_pixel, walks)
            walks_left = found.walks_left
            if walks_left == 0:
                for lane in range(numbers.num_lanes):
                    if counts[lane] > faces_per_pixel:
                        if is_by_face == 1:
                            limit_faces[lane] = ti.cast(lasts[lane], ti.i32)
                        else:
                            limits[lane] = lasts[lane]
                            limit_faces[lane] = LAST_FACE
                            nearest[lane] = lasts[lane] * (1.0 - SAME_DEPTH)
                            farthest[lane] = lasts[lane] * (1.0 + SAME_DEPTH)
                            lasts[lane] = -1.0
                walks_left = found.has_ties * (1 - is_by_face)
                is_by_face = 1
        for lane in range(numbers.num_lanes):
            if left + lane < numbers.width:
                state[view, LIMIT_PLANE, row, left + lane] = limits[lane]
                state[view, ALL_KEPT_PLANE, row, left + lane] = kept[lane]
                pixel_faces[view, LIMIT_FACE_PLANE, row, left + lane] = limit_faces[lane]


@ti.func
def meets_packet(boxes: ti.template(), i: int, row: int, left: int, num_lanes: int) -> int:
    """Whether the pixel box of face i and view has pixels of a packet."""
    is_met = (boxes[i, 0] < left + num_lanes) & (left <= boxes[i, 1])
    return is_met & (boxes[i, 2] <= row) & (row <= boxes[i, 3])


@ti.func
def count_in_reach(
    numbers: ti.template(),
    faces: ti.template(),
    tiles: ti.template(),
    view: int,
    row: int,
    left: int,
) -> int:
    """How many faces may have fragments in a packet."""
    in_reach = 0
    tile = tile_of(numbers, view, row, left)
    for slot in range(tiles.starts[tile], tiles.starts[tile + 1]):
        i = view * numbers.num_faces + tiles.faces[slot]
        is_met = meets_packet(faces.boxes, i, row, left, numbers.num_lanes)
        in_reach += ti.cast(is_met, ti.i32)
    return in_reach


@ti.func
def walk(
    structure: ti.template(),
    numbers: ti.template(),
    faces: ti.template(),
    tiles: ti.template(),
    view: int,
    row: int,
    left: int,
    is_by_face: int,
    walks: ti.template(),
):
    """Fills counts, what alpha keeps, and the keys behind the last ones."""
    for lane in range(numbers.num_lanes):
        walks.ahead[lane] = 0
        walks.counts[lane] = 0
        walks.kept[lane] = structure.alpha.start
        for k in ti.static(range(CHUNK)):
            walks.keys[k][lane] = NO_LIMIT
    tile = tile_of(numbers, view, row, left)
    for slot in range(tiles.starts[tile], tiles.starts[tile + 1]):
        index = tiles.faces[slot]
        i = view * numbers.num_faces + index
        if meets_packet(faces.boxes, i, row, left, numbers.num_lanes):
            face = ti.Struct(index=index, triangle=load_shape(structure, faces, i))
            first_column, last_column = faces.boxes[i, 0], faces.boxes[i, 1]
            # clamped at both ends: LLVM must see that the loop is short
            for lane in range(ti.max(0, ti.min(numbers.num_lanes, 8 * TILE))):
                column = left + lane
                is_in_columns = (first_column <= column) & (column <= last_column)
                pixel = locate_pixel(numbers, view, row, column, is_in_columns)
                fragment = meet(structure, numbers, face, pixel, NO_LIMIT, NO_FACE)
                depth = fragment.point.depth
                key = ti.select(is_by_face == 1, ti.cast(index, float), depth)
                is_met = fragment.coverage > 0.0
                is_ahead = (depth < walks.nearest[lane]) | (key <= walks.lasts[lane])
                is_ahead &= is_met & (depth <= walks.farthest[lane])
                is_next = is_met & (depth >= walks.nearest[lane]) & (depth <= walks.farthest[lane])
                is_next &= key > walks.lasts[lane]
                walks.counts[lane] = walks.counts[lane] + ti.select(is_met, 1, 0)
                walks.ahead[lane] = walks.ahead[lane] + ti.select(is_ahead, 1, 0)
                walks.kept[lane] = structure.alpha.add(
                    walks.kept[lane], fragment.coverage, fragment.rest, fragment.is_inside
                )
                insert(walks.keys, lane, ti.select(is_next, key, NO_LIMIT))


@ti.func
def find_lasts(numbers: ti.template(), faces_per_pixel: int, walks: ti.template()):
    """Moves each pixel's last key to that of its K-th face, or as far as the keys go.

    Returns:
        A struct: `walks_left`, 1 if a pixel's keys did not reach; `has_ties`, 1 if a pixel's next
        key may be the same.
    """
    walks_left, has_ties = 0, 0
    for lane in range(numbers.num_lanes):
        missing = faces_per_pixel - walks.ahead[lane]
        if walks.counts[lane] > faces_per_pixel:
            if missing > CHUNK:
                walks.lasts[lane] = walks.keys[CHUNK - 1][lane]
                walks_left = 1
            else:
                following = pick(walks.keys, lane, missing)
                if missing > 0:
                    walks.lasts[lane] = pick(walks.keys, lane, missing - 1)
                is_tie = following <= walks.lasts[lane] * (1.0 + SAME_DEPTH)
                is_tie |= (missing < 0) | (missing == CHUNK)
                has_ties |= ti.cast(is_tie, ti.i32)
    return ti.Struct(walks_left=walks_left, has_ties=has_ties)


@ti.func
def insert(keys: ti.template(), lane: int, key: float):
    """Puts a key among the CHUNK smallest of a lane, in order; the largest drops out."""
    larger = key
    for k in ti.static(range(CHUNK)):
        smaller = ti.min(keys[k][lane], larger)
        larger = ti.max(keys[k][lane], larger)
        keys[k][lane] = smaller


@ti.func
def pick(keys: ti.template(), lane: int, position: int) -> float:
    """The key of a lane at a position below CHUNK."""
    key = keys[0][lane]
    for k in ti.static(range(1, CHUNK)):
        key = ti.select(position == k, keys[k][lane], key)
    return key


@ti.kernel
def store_fragments(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    starts: array(int, 1),  # see `TileArrays`
    bin_faces: array(int, 1),
    band: array(int, 1),
    floats: array(float, 1),  # `Numbers`
    sizes: array(int, 1),  # `Sizes`
    faces: array(int, 4),  # (B, H, W, K)
    depths: array(float, 4),  # (B, H, W, K)
    barycentrics: array(float, 5),  # (B, H, W, K, 3)
    distances: array(float, 4),  # (B, H, W, K) NDC squared, negative inside
    structure: ti.template(),
):
    """The nearest faces of each pixel, in order; -1 where there are no more."""
    for thread in range(faces.shape[0] * sizes[HEIGHT] * sizes[WIDTH]):
        face_arrays = ti.static(FaceArrays(records, boxes))
        tiles = ti.static(TileArrays(starts, bin_faces, band))
        numbers = load_numbers(structure, floats, sizes)
        view = thread // (numbers.height * numbers.width)
        row = thread // numbers.width % numbers.height
        column = thread % numbers.width
        tile = tile_of(numbers, view, row, column)
        if not has_lists(tiles, tile):
            continue
        pixel = locate_pixel(numbers, view, row, column, 1)
        for entry in range(faces.shape[3]):
            faces[view, row, column, entry] = NO_FACE
            depths[view, row, column, entry] = -1.0
            distances[view, row, column, entry] = -1.0
            for corner in ti.static(range(3)):
                barycentrics[view, row, column, entry, corner] = -1.0
        last_depth, last_face = -1.0, NO_FACE
        first = 0
        while first < faces.shape[3]:
            found = next_nearest(
                structure, numbers, face_arrays, tiles, pixel, last_depth, last_face
            )
            for k in range(ti.min(CHUNK, found.count, faces.shape[3] - first)):
                entry = first + k
                i = view * numbers.num_faces + found.faces[k]
                face = ti.Struct(
                    index=found.faces[k], triangle=load_shape(structure, face_arrays, i)
                )
                fragment = meet(structure, numbers, face, pixel, NO_LIMIT, NO_FACE)
                faces[view, row, column, entry] = boxes[i, SOURCE_FACE]
                depths[view, row, column, entry] = fragment.point.depth
                signed = signed_distance(structure, pixel, face.triangle, fragment.weights)
                distances[view, row, column, entry] = -signed / (numbers.shorter * numbers.shorter)
                used = fragment.point.used
                if ti.static(structure.shader.is_cut):
                    used = mix_on_source(records, i, used)
                for corner in ti.static(range(3)):
                    barycentrics[view, row, column, entry, corner] = used[corner]
            last_depth = found.depths[CHUNK - 1]
            last_face = found.faces[CHUNK - 1]
            first = ti.select(found.count > CHUNK, first + CHUNK, faces.shape[3])


@ti.func
def next_nearest(
    structure: ti.template(),
    numbers: ti.template(),
    faces: ti.template(),
    tiles: ti.template(),
    pixel: ti.template(),
    last_depth: float,
    last_face: int,
):
    """The nearest faces behind (last_depth, last_face), in order.

    Returns:
        A struct: `depths` and `faces` of the first CHUNK, NO_LIMIT and LAST_FACE where there are
        no more; `count` of all.
    """
    nearest_depths = ti.Vector([NO_LIMIT for _ in ti.static(range(CHUNK))])
    nearest_faces = ti.Vector([LAST_FACE for _ in ti.static(range(CHUNK))])
    count = 0
    tile = tile_of(numbers, pixel.view, pixel.row, pixel.column)
    for slot in range(tiles.starts[tile], tiles.starts[tile + 1]):
        index = tiles.faces[slot]
        i = pixel.view * numbers.num_faces + index
        if is_in_box(faces.boxes, i, pixel.row, pixel.column):
            face = ti.Struct(index=index, triangle=load_shape(structure, faces, i))
            fragment = meet(structure, numbers, face, pixel, NO_LIMIT, NO_FACE)
            depth = fragment.point.depth
            if (fragment.coverage > 0.0) & is_before(last_depth, last_face, depth, index):
                count += 1
                for k in ti.static(range(CHUNK)):  # insertion: the farther of two goes on
                    other_depth, other_face = nearest_depths[k], nearest_faces[k]
                    is_first = is_before(depth, index, other_depth, other_face)
                    nearest_depths[k] = ti.select(is_first, depth, other_depth)
                    nearest_faces[k] = ti.select(is_first, index, other_face)
                    depth = ti.select(is_first, other_depth, depth)
                    index = ti.select(is_first, other_face, index)
    return ti.Struct(depths=nearest_depths, faces=nearest_faces, count=count)


@ti.func
def is_before(depth: float, face: int, other_depth: float, other_face: int) -> int:
    """The order of faces over a pixel: by depth, by index where depths are equal."""
    return (depth < other_depth) | ((depth == other_depth) & (face < other_face))


@kernel
def count_truncated(
    state: array(float, 4),  # (B, planes, H, W + LANES)
    width: int,
    tolerance: float,
    count: array(int, 1),  # (1,)
):
    """How many pixels' transmittance changed by more than `tolerance` for want of faces."""
    count[0] = 0
    for view, row, column in ti.ndrange(state.shape[0], state.shape[2], width):
        change = state[view, KEPT_PLANE, row, column] - state[view, ALL_KEPT_PLANE, row, column]
        is_limited = state[view, LIMIT_PLANE, row, column] < NO_LIMIT
        if is_limited & (ti.abs(change) > tolerance):
            ti.atomic_add(count[0], 1)
