"""The nearest faces of each pixel: faces and bins in, the K-th one or all K of them out.

A pixel finds its faces in order, `CHUNK` of them each time that it walks its tile's list, so
that K has no limit and costs no memory.
"""

import taichi as ti
from taichi.math import vec2

from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE
from taichi_softras.rasterizers.faces import is_in_box, load_triangle, pixel_centre
from taichi_softras.rasterizers.soft_kernels import (
    KEPT_PLANE,
    LIMIT_FACE_PLANE,
    LIMIT_PLANE,
    NO_LIMIT,
    SAME_DEPTH,
    collect_numbers,
    meet,
)
from taichi_softras.workspace import array

CHUNK = 8
ALL_KEPT_PLANE = 4  # of `state`: what alpha keeps when no face is left out
LAST_FACE = 2**31 - 1


@ti.func
def is_before(depth: float, face: int, other_depth: float, other_face: int) -> int:
    """The order of faces over a pixel: by depth, by index where depths are equal."""
    return (depth < other_depth) | ((depth == other_depth) & (face < other_face))


@ti.func
def meet_at(
    structure: ti.template(),
    numbers: ti.template(),
    records: ti.template(),
    boxes: ti.template(),
    view: int,
    face: int,
    row: int,
    column: int,
    pixel: vec2,
):
    """Coverage and depth of a face at a pixel, without a limit."""
    coverage, depth = 0.0, 0.0
    i = view * numbers.num_faces + face
    if is_in_box(boxes, i, row, column):
        triangle = load_triangle(records, i)
        fragment = meet(structure, numbers, triangle, pixel, 1, face, NO_LIMIT, NO_FACE)
        coverage = fragment.coverage
        depth = fragment.depth
    return ti.Struct(coverage=coverage, depth=depth)


@ti.func
def next_nearest(
    structure: ti.template(),
    numbers: ti.template(),
    records: ti.template(),
    boxes: ti.template(),
    bin_faces: ti.template(),
    first_slot: int,
    end_slot: int,
    view: int,
    row: int,
    column: int,
    pixel: vec2,
    last_depth: float,
    last_face: int,
):
    """The nearest faces behind (last_depth, last_face), in order.

    Returns:
        A struct: `depths` and `faces` of the first CHUNK, NO_LIMIT and LAST_FACE where there are
        no more; `count` of all; `kept`, what alpha keeps of all.
    """
    depths = ti.Vector([NO_LIMIT for _ in ti.static(range(CHUNK))])
    faces = ti.Vector([LAST_FACE for _ in ti.static(range(CHUNK))])
    count = 0
    kept = structure.alpha.start
    for slot in range(first_slot, end_slot):
        face = bin_faces[slot]
        fragment = meet_at(structure, numbers, records, boxes, view, face, row, column, pixel)
        depth = fragment.depth
        if (fragment.coverage > 0.0) & is_before(last_depth, last_face, depth, face):
            count += 1
            kept = structure.alpha.add(kept, fragment.coverage)
            for k in ti.static(range(CHUNK)):  # insertion: the farther of two goes on
                other_depth, other_face = depths[k], faces[k]
                is_first = is_before(depth, face, other_depth, other_face)
                depths[k] = ti.select(is_first, depth, other_depth)
                faces[k] = ti.select(is_first, face, other_face)
                depth = ti.select(is_first, other_depth, depth)
                face = ti.select(is_first, other_face, face)
    return ti.Struct(depths=depths, faces=faces, count=count, kept=kept)


@ti.func
def meets_packet(boxes: ti.template(), i: int, row: int, left: int, num_lanes: int) -> int:
    """Whether the pixel box of face i and view has pixels of a packet."""
    is_met = (boxes[i, 0] < left + num_lanes) & (left <= boxes[i, 1])
    return is_met & (boxes[i, 2] <= row) & (row <= boxes[i, 3])


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
def find_limits(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    starts: array(int, 1),  # (T + 1,)
    bin_faces: array(int, 1),  # (pairs,)
    height: int,
    width: int,
    tile_rows: int,
    tile_columns: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    start_depth: float,  # of the background
    faces_per_pixel: int,
    num_lanes: int,  # `lanes`; an argument, or LLVM unrolls the loops that it should vectorise
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
    packet_columns = (width + num_lanes - 1) // num_lanes
    for packet in range(state.shape[0] * height * packet_columns):
        num_faces = records.shape[0] // state.shape[0]
        numbers = collect_numbers(
            inverse_sigma, reach, sharpness, near, far, start_depth, num_faces, 0
        )
        inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
        view = packet // (height * packet_columns)
        row = packet // packet_columns % height
        left = packet % packet_columns * num_lanes
        tile = (view * tile_rows + row // TILE) * tile_columns + left // TILE

        limits = ti.Vector([NO_LIMIT for _ in ti.static(range(lanes))])
        limit_faces = ti.Vector([NO_FACE for _ in ti.static(range(lanes))])
        nearest = ti.Vector([0.0 for _ in ti.static(range(lanes))])  # depths that are looked at
        farthest = ti.Vector([NO_LIMIT for _ in ti.static(range(lanes))])
        lasts = ti.Vector([-1.0 for _ in ti.static(range(lanes))])  # keys
        ahead = ti.Vector([0 for _ in ti.static(range(lanes))])  # fragments before these keys
        counts = ti.Vector([0 for _ in ti.static(range(lanes))])  # fragments
        kept = ti.Vector([0.0 for _ in ti.static(range(lanes))])
        keys = [ti.Vector([0.0 for _ in range(lanes)]) for _ in ti.static(range(CHUNK))]

        in_reach = 0
        for slot in range(starts[tile], starts[tile + 1]):
            i = view * num_faces + bin_faces[slot]
            in_reach += ti.cast(meets_packet(boxes, i, row, left, num_lanes), ti.i32)
        walks_left = ti.select(in_reach > faces_per_pixel, 1, 0)
        is_by_face = 0
        while walks_left > 0:
            for lane in range(num_lanes):
                ahead[lane] = 0
                counts[lane] = 0
                kept[lane] = structure.alpha.start
                for k in ti.static(range(CHUNK)):
                    keys[k][lane] = NO_LIMIT
            for slot in range(starts[tile], starts[tile + 1]):
                face = bin_faces[slot]
                i = view * num_faces + face
                if meets_packet(boxes, i, row, left, num_lanes):
                    triangle = load_triangle(records, i)
                    first_column, last_column = boxes[i, 0], boxes[i, 1]
                    # clamped at both ends: LLVM must see that the loop is short
                    for lane in range(ti.max(0, ti.min(num_lanes, 8 * TILE))):
                        column = left + lane
                        fragment = meet(
                            structure,
                            numbers,
                            triangle,
                            pixel_centre(column, row, height, width, inverse_shorter),
                            (first_column <= column) & (column <= last_column),
                            face,
                            NO_LIMIT,
                            NO_FACE,
                        )
                        depth = fragment.depth
                        key = ti.select(is_by_face == 1, ti.cast(face, float), depth)
                        is_met = fragment.coverage > 0.0
                        is_ahead = (depth < nearest[lane]) | (key <= lasts[lane])
                        is_ahead &= is_met & (depth <= farthest[lane])
                        is_next = is_met & (depth >= nearest[lane]) & (depth <= farthest[lane])
                        is_next &= key > lasts[lane]
                        counts[lane] = counts[lane] + ti.select(is_met, 1, 0)
                        ahead[lane] = ahead[lane] + ti.select(is_ahead, 1, 0)
                        kept[lane] = structure.alpha.add(kept[lane], fragment.coverage)
                        insert(keys, lane, ti.select(is_next, key, NO_LIMIT))
            walks_left = 0
            has_ties = 0
            for lane in range(num_lanes):
                missing = faces_per_pixel - ahead[lane]
                if counts[lane] > faces_per_pixel:
                    if missing > CHUNK:
                        lasts[lane] = keys[CHUNK - 1][lane]
                        walks_left = 1
                    else:
                        following = pick(keys, lane, missing)
                        if missing > 0:
                            lasts[lane] = pick(keys, lane, missing - 1)
                        is_tie = following <= lasts[lane] * (1.0 + SAME_DEPTH)
                        is_tie |= (missing < 0) | (missing == CHUNK)
                        has_ties |= ti.cast(is_tie, ti.i32)
            if walks_left == 0:
                for lane in range(num_lanes):
                    if counts[lane] > faces_per_pixel:
                        if is_by_face == 1:
                            limit_faces[lane] = ti.cast(lasts[lane], ti.i32)
                        else:
                            limits[lane] = lasts[lane]
                            limit_faces[lane] = LAST_FACE
                            nearest[lane] = lasts[lane] * (1.0 - SAME_DEPTH)
                            farthest[lane] = lasts[lane] * (1.0 + SAME_DEPTH)
                            lasts[lane] = -1.0
                walks_left = has_ties * (1 - is_by_face)
                is_by_face = 1
        for lane in range(num_lanes):
            if left + lane < width:
                state[view, LIMIT_PLANE, row, left + lane] = limits[lane]
                state[view, ALL_KEPT_PLANE, row, left + lane] = kept[lane]
                pixel_faces[view, LIMIT_FACE_PLANE, row, left + lane] = limit_faces[lane]


@ti.kernel
def store_fragments(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    starts: array(int, 1),  # (T + 1,)
    bin_faces: array(int, 1),  # (pairs,)
    height: int,
    width: int,
    tile_rows: int,
    tile_columns: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    start_depth: float,  # of the background
    faces: array(None, 4),  # (B, H, W, K), a NumPy array
    depths: array(None, 4),  # (B, H, W, K), as the following
    barycentrics: array(None, 5),  # (B, H, W, K, 3)
    distances: array(None, 4),  # (B, H, W, K) NDC squared, negative inside
    structure: ti.template(),
):
    """The nearest faces of each pixel, in order; -1 where there are no more."""
    for index in range(faces.shape[0] * height * width):
        num_faces = records.shape[0] // faces.shape[0]
        numbers = collect_numbers(
            inverse_sigma, reach, sharpness, near, far, start_depth, num_faces, 0
        )
        view = index // (height * width)
        row = index // width % height
        column = index % width
        pixel = pixel_centre(
            column, row, height, width, 1.0 / ti.cast(ti.min(height, width), float)
        )
        tile = (view * tile_rows + row // TILE) * tile_columns + column // TILE
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
                structure,
                numbers,
                records,
                boxes,
                bin_faces,
                starts[tile],
                starts[tile + 1],
                view,
                row,
                column,
                pixel,
                last_depth,
                last_face,
            )
            for k in range(ti.min(CHUNK, found.count, faces.shape[3] - first)):
                entry = first + k
                face = found.faces[k]
                triangle = load_triangle(records, view * num_faces + face)
                fragment = meet(structure, numbers, triangle, pixel, 1, face, NO_LIMIT, NO_FACE)
                used = structure.interpolation.weights(
                    fragment.clipped, triangle.inverse_depths, fragment.depth
                )
                faces[view, row, column, entry] = face
                depths[view, row, column, entry] = fragment.depth
                distances[view, row, column, entry] = -structure.distance.signed(
                    pixel, triangle, fragment.weights
                )
                for corner in ti.static(range(3)):
                    barycentrics[view, row, column, entry, corner] = used[corner]
            last_depth = found.depths[CHUNK - 1]
            last_face = found.faces[CHUNK - 1]
            first = ti.select(found.count > CHUNK, first + CHUNK, faces.shape[3])


@ti.kernel
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
