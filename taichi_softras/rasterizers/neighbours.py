"""Neighbours: which faces share an edge, from where their corners are.

A corner's root is the first corner in its place; edges between the same roots are one edge of the
mesh. So wherever faces go, they keep their neighbours as long as corners keep their roots. Both are
kept from draw to draw. A draw asks whether corners are where their roots are, and whether roots are
apart; only if that has changed the device searches for neighbours.
"""

from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import ATOMIC_BLOCK_DIM, SCAN_CHUNK, scan
from taichi_softras.rasterizers.faces import NEAR_CUT, ORIGIN, PIECES, load_whole
from taichi_softras.runtime import kernel, ti
from taichi_softras.workspace import MOST_ENTRIES, Workspace, array

NO_EDGE = -2  # where a face has a cut, or touches another piece of the same face
NO_CORNER = MOST_ENTRIES  # in a free slot: larger than all corners


def connect_faces(workspace: Workspace, corners: ti.Ndarray) -> ti.Ndarray:
    """(F, 3) for edge k, from corner k to k + 1, that of the face across: 3 * face + its k.

    NO_FACE without such a face, NO_EDGE of what is no edge of the mesh. Two faces share an edge if
    its ends have the same positions in the first view. Of several that do, an edge has the next;
    the last has the one before. An edge whose ends are in one place is none: its face is not drawn.
    Of views with faces of their own, and of faces in pieces, it is (B * F, 3).

    The workspace keeps it, and the corners' roots, 12 bytes a face each; what it keeps changes how
    long this takes, not what it finds.
    """
    num_faces = corners.shape[1] - workspace.num_cut_rows
    num_meshes = corners.shape[0] if workspace.has_own_faces else 1
    num_corners = 3 * num_faces * num_meshes
    num_slots = 1 << (num_corners + num_corners // 2).bit_length()  # as `table_size`
    neighbours = workspace.get("face_neighbours", (num_meshes * num_faces, 3), int)
    find_neighbours(
        corners,
        num_faces,
        num_corners,
        num_slots,
        workspace.get("corner_roots", (num_corners + 1,), int),
        workspace.get("corner_slots", (num_slots + 1,), int),
        workspace.get("edge_ranks", (num_corners,), int),
        workspace.get("edge_chunks", (-(-num_slots // SCAN_CHUNK) + 1,), int),
        workspace.get("edge_status", (4,), int),
        workspace.get("sorted_edges", (num_corners,), int),
        neighbours,
    )
    if not workspace.num_cut_rows:
        return neighbours
    of_pieces = workspace.get("piece_neighbours", (corners.shape[0] * corners.shape[1], 3), int)
    connect_pieces(corners, neighbours, num_faces, of_pieces)
    return of_pieces


@kernel
def find_neighbours(
    corners: array(float, 4),  # (B, F, 3, 3 or 4)
    num_faces: int,  # of a mesh
    num_corners: int,  # 3 M F, M 1 or B: an argument, see `scan`; the next, too
    num_slots: int,  # a power of 2
    roots: array(int, 1),  # (3 M F + 1,) kept; behind them the F that they are of, 0 of none
    slots: array(int, 1),  # (slots + 1,) scratch, the next four, too: of corners, then of edges
    ranks: array(int, 1),  # (3 M F,) of an edge among those of its slot; NO_EDGE of a point
    chunks: array(int, 1),  # (chunks + 1,)
    status: array(int, 1),  # (4,) two of `scan`, two of `find_roots`
    edges: array(int, 1),  # (3 M F,) sorted by their slot
    neighbours: array(int, 2),  # kept, see `connect_faces`
):
    """Edges are counted, scanned and sorted by a code of their ends; those of one slot compared."""
    find_roots(corners, num_faces, num_corners, roots, slots, status)
    num_edges = num_corners * status[2]  # none if neighbours are what they were
    num_starts = num_slots * status[2]
    for slot in range(num_starts + 1):
        slots[slot] = 0
    ti.loop_config(block_dim=ATOMIC_BLOCK_DIM)
    for edge in range(num_edges):
        ends = ends_of(roots, edge)
        rank = NO_EDGE
        if ends.first != ends.second:
            rank = ti.atomic_add(slots[edge_slot(ends, num_slots) + 1], 1)
        ranks[edge] = rank
        neighbours[edge // 3, edge % 3] = NO_FACE
    scan(num_starts, slots, chunks, status)
    for edge in range(num_edges):
        if ranks[edge] != NO_EDGE:
            edges[slots[edge_slot(ends_of(roots, edge), num_slots)] + ranks[edge]] = edge
    for place in range(num_edges):  # in their order: what is compared is in the cache
        edge = -1
        following, last = num_corners, -1  # by index, whatever the order of the sorted
        if place < slots[num_slots]:
            edge = edges[place]
            ends = ends_of(roots, edge)
            slot = edge_slot(ends, num_slots)
            for k in range(slots[slot], slots[slot + 1]):
                other = edges[k]
                if other > edge:
                    others = ends_of(roots, other)
                    if (others.first == ends.first) & (others.second == ends.second):
                        following = ti.min(following, other)
                        last = ti.max(last, other)
        if last >= 0:
            first = edge - edge % (3 * num_faces)  # of the mesh
            neighbours[edge // 3, edge % 3] = following - first
            if following == last:
                neighbours[last // 3, last % 3] = edge - first


@ti.func
def find_roots(
    corners: ti.template(),  # (B, F, 3, 3 or 4)
    num_faces: int,
    num_corners: int,
    roots: ti.template(),  # see `find_neighbours`
    slots: ti.template(),  # scratch
    status: ti.template(),  # (4,) [2] whether a root has changed; [3] how many corners are entered
):
    """Those of corners that have left theirs, and of roots, are looked up in a table of places."""
    for _ in range(1):
        status[2] = ti.cast(roots[num_corners] != num_faces, ti.i32)
        status[3] = 0
    chunks_of_mesh = (3 * num_faces + SCAN_CHUNK - 1) // SCAN_CHUNK
    for task in range(num_corners // (3 * num_faces) * chunks_of_mesh):
        view = task // chunks_of_mesh
        first, end = view * 3 * num_faces, (view + 1) * 3 * num_faces  # of the mesh
        start = first + (task - view * chunks_of_mesh) * SCAN_CHUNK
        num_entries = 0
        for corner in range(start, ti.min(start + SCAN_CHUNK, end)):
            root = corner
            if roots[num_corners] == num_faces:
                root = roots[corner]
            if root != corner:
                if not are_together(corners, num_faces, view, corner, root):
                    root = corner
                    status[2] = 1  # threads write the same
            if root == corner:
                roots[corner] = root
                num_entries += 1
        ti.atomic_add(status[3], num_entries)
    size = table_size(status[3])
    for slot in range(size):
        slots[slot] = NO_CORNER
    ti.loop_config(block_dim=ATOMIC_BLOCK_DIM)
    for corner in range(num_corners):
        if roots[corner] == corner:
            root = enter(corners, num_faces, corner, size, slots)
            if root != corner:
                roots[corner] = root
                status[2] = 1
    for corner in range(num_corners):
        if roots[corner] == corner:
            root = look_up(corners, num_faces, corner, size, slots)
            if root != corner:
                roots[corner] = ti.min(root, corner)  # if NaN is nowhere, not even in its place
                status[2] = 1
    for corner in range(num_corners * status[2]):
        roots[corner] = roots[roots[corner]]  # of a root that is at another's place now, that one
        if corner == 0:
            roots[num_corners] = num_faces


@ti.func
def table_size(num_entries: int) -> int:
    """A power of 2: a third is free, so that all is found in a few steps."""
    size = 1
    while size <= num_entries + num_entries // 2:
        size *= 2
    return size


@ti.func
def enter(
    corners: ti.template(), num_faces: int, corner: int, size: int, slots: ti.template()
) -> int:
    """A corner into the table: from its slot on, the first of those in its place is met first.

    Of two that meet in a slot the larger goes on to the next one. It ends there if they are
    together; else in a free slot. So the order of threads changes nothing but where corners are
    that come behind the first in their place (J. Shun, G. Blelloch, "Phase-Concurrent Hash Tables
    for Determinism", SPAA 2014).

    Returns:
        Who is there in its place, and comes before it: then it is not entered. Or the corner.
    """
    root, moving = corner, corner
    view = corner // (3 * num_faces)
    slot = corner_slot(corners, num_faces, view, corner, size)
    while slot >= 0:
        other = slots[slot]
        if other > moving:  # only then: who writes waits
            other = ti.atomic_min(slots[slot], moving)
        slot = (slot + 1) & (size - 1)
        if other == NO_CORNER:
            slot = -1
        elif are_together(corners, num_faces, view, moving, other):
            slot = -1
            if moving == corner:
                root = ti.min(corner, other)
        elif other > moving:
            moving = other
            view = moving // (3 * num_faces)
    return root


@ti.func
def look_up(
    corners: ti.template(), num_faces: int, corner: int, size: int, slots: ti.template()
) -> int:
    """The first in the place of a corner that has been entered."""
    view = corner // (3 * num_faces)
    slot = corner_slot(corners, num_faces, view, corner, size)
    root = slots[slot]
    while root < corner:
        if are_together(corners, num_faces, view, corner, root):
            break
        slot = (slot + 1) & (size - 1)
        root = slots[slot]
    return root


@ti.func
def corner_slot(corners: ti.template(), num_faces: int, view: int, corner: int, size: int) -> int:
    """Where a corner is looked for first, by the bits of its place, well mixed."""
    code = view
    place = place_of(corners, view, corner - view * 3 * num_faces)
    for k in ti.static(range(4)):
        single = ti.cast(place[k], ti.f32)
        # 0 and -0 are one place; other signs tell mirrored corners apart
        code ^= ti.select(single == 0.0, 0, ti.bit_cast(single, ti.i32))
        code = (code ^ (code >> 16)) * 0x45D9F3B
        code ^= code >> 16
    return code & (size - 1)


@ti.func
def are_together(corners: ti.template(), num_faces: int, view: int, corner: int, other: int) -> int:
    """Whether a corner of a view and any other are of one mesh, and in one place."""
    first = view * 3 * num_faces
    result = (other >= first) & (other < first + 3 * num_faces)
    if result:
        here, there = (
            place_of(corners, view, corner - first),
            place_of(corners, view, other - first),
        )
        result = (here == there).all()
    return result


@ti.func
def place_of(corners: ti.template(), view: int, k: int):
    """(4,) of corner k of those of a view; of three components the last one twice."""
    face, last = k // 3, corners.shape[3] - 1
    return ti.Vector(
        [corners[view, face, k - 3 * face, ti.min(axis, last)] for axis in ti.static(range(4))]
    )


@ti.func
def ends_of(roots: ti.template(), edge: int):
    """The roots of an edge's ends, the lesser one first."""
    a, b = roots[edge], roots[edge + ti.select(edge % 3 == 2, -2, 1)]
    return ti.Struct(first=ti.min(a, b), second=ti.max(a, b))


@ti.func
def edge_slot(ends: ti.template(), num_slots: int) -> int:
    """By both ends, as one may have any number of edges; near where the ends are near."""
    return (ends.first + 7 * ends.second) & (num_slots - 1)


@kernel
def connect_pieces(
    corners: array(float, 4),  # (B, F, CUT_ROWS, 4), see `faces`
    of_mesh: array(int, 2),  # (faces of the mesh or of all views, 3)
    num_faces: int,  # of the mesh
    neighbours: array(int, 2),  # (B * F, 3), written
):
    """Edges of the mesh that pieces have are those of the pieces across."""
    for view, row in ti.ndrange(corners.shape[0], corners.shape[1]):
        face = load_whole(corners, view, row, ORIGIN)
        kinds = ti.cast(corners[view, row, ORIGIN, 2], ti.i32)
        for k in range(3):
            kind = (kinds >> (3 * k)) & 7
            result = NO_EDGE
            if kind < NEAR_CUT:
                of_view = (view * num_faces + face) % of_mesh.shape[0]
                result = find_piece(corners, view, of_mesh[of_view, kind])
            neighbours[view * corners.shape[1] + row, k] = result


@ti.func
def find_piece(corners: ti.template(), view: int, edge: int) -> int:
    """The edge of a piece that shows an edge of the mesh in a view; NO_FACE if no piece does."""
    result = edge
    if edge >= 0:
        face = edge // 3
        if corners[view, face, ORIGIN, 3] != 0.0:
            result = NO_FACE
            first = load_whole(corners, view, face, PIECES)
            count = ti.cast(corners[view, face, PIECES, 2], ti.i32)
            rows = corners.shape[1]
            for row in range(ti.min(first, rows), ti.min(first + count, rows)):
                kinds = ti.cast(corners[view, row, ORIGIN, 2], ti.i32)
                for k in range(3):
                    if (kinds >> (3 * k)) & 7 == edge - 3 * face:
                        result = 3 * row + k
    return result
