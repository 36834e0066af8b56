"""Clipping: faces in; those that reach behind the camera or too far are cut, and go out in pieces.

In clip space, before any division. A face that is cut becomes a polygon, and this a fan of pieces,
rows behind those of the mesh's faces; its own row is drawn no longer. Corners and varyings of a
piece are mixed from those of its face. Pieces know the edges of the mesh that are left of their
face: cuts, and edges between pieces, are no edges of a surface.

Where both faces of an edge are cut, they have the same points, to the last bit.
"""

import math
from typing import Any, Callable, NamedTuple, Optional

from taichi_softras.rasterizers.base import check_range
from taichi_softras.rasterizers.binning import SCAN_CHUNK, ClippingNeeded, scan
from taichi_softras.rasterizers.faces import (
    CUT_ROWS,
    ENDS,
    FAR_CUT,
    HALF,
    INNER,
    INNER_OPEN,
    MIXES,
    NEAR_CUT,
    NEAR_ENDS,
    ORIGIN,
    PIECES,
    WHOLE,
    is_in_front,
    place_face,
)
from taichi_softras.rasterizers.fragments import Shader, Surface, SurfaceNumbers, cut_shader
from taichi_softras.runtime import has_doubles, kernel, ti, vec3
from taichi_softras.workspace import Workspace, array

BEHIND = 0.0  # the depth of the near cut: just in front of the camera
# Of the larger depth of an edge's ends: where it is cut that goes behind the camera
NEAR_SHARE = 1e-5
# Times as far from the middle as the image and what reaches into it: where faces are cut that go
# further. Farther corners are nearer to the camera's plane, and by the square of this single
# precision loses where pixels are on the face: at 64 NDC depths in a room were wrong by 2e-4
GUARD = 4.0
NUM_PLANES = 5  # the near one; right, left, top, bottom of the guard band
MOST_CORNERS = 9  # of a polygon, and one to spare
NUM_POINTS = 9  # of a piece that are mixed: its corners, and the ends of its face's edges
FEWEST_ROWS = 8
AT_CORNER = -2


def check_near_clip(near_clip: Optional[float], far: Optional[float] = None) -> float:
    """The depth of the near cut, or a ValueError.

    Args:
        near_clip: a user's.
        far: the rasterizer's, if it has one.
    """
    if near_clip is None:
        return BEHIND
    check_range("near_clip", near_clip, above=0.0, below=math.inf if far is None else far)
    return float(near_clip)


class Pieces(NamedTuple):
    """Of each view the faces of the mesh, those that are cut as well, and the pieces of these."""

    corners: ti.Ndarray  # (B, F + E, CUT_ROWS, 4), see `faces`
    varyings: ti.Ndarray  # (B, F + E, 3, K), (1, 1, 1, 1) without
    # (B, E, NUM_POINTS) of pieces: 8 * edge + plane where a point cuts an edge of the mesh,
    # AT_CORNER - j at corner j of the face, and -1 within the face
    codes: ti.Ndarray


class Clipping:
    """Faces that are cut.

    Attributes:
        corners, shader, surface: what is drawn in place of what was given.
    """

    def __init__(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
        reach: float,
    ):
        """Cuts.

        Args:
            workspace: keeps the arrays, and has the depth of the near cut.
            corners: (B, F, 3, 3 or 4), see `binning.Bins`.
            shader: what is drawn.
            surface: of the faces.
            image_size: (H, W) in pixels.
            reach: NDC: how far a face covers pixels beyond its edges.
        """
        has_doubles()  # before a kernel asks
        self.workspace = workspace
        self._given, self._surface, self._shader = corners, surface, shader
        views, num_faces = corners.shape[:2]
        self.shader = cut_shader(shader)
        height, width = image_size
        guard = GUARD * (max(image_size) / min(image_size) + reach)
        self._limits = workspace.constants(
            "clip_limits", (workspace.near_clip, guard, float(height), float(width), reach)
        )
        count = views * num_faces
        self._firsts = workspace.get("piece_firsts", (count + 1,), int)
        status = workspace.get("clip_status", (2,), int)
        count_pieces_of_faces(
            corners,
            self._limits,
            count,
            self._firsts,
            workspace.get("clip_chunks", (-(-count // SCAN_CHUNK) + 1,), int),
            status,
        )
        rows = max(FEWEST_ROWS, 1 << max(status[0] - 1, 0).bit_length())
        workspace.num_cut_rows = rows
        total = num_faces + rows
        columns = self.shader.num_varyings
        self.pieces = Pieces(
            workspace.get("clipped_corners", (views, total, CUT_ROWS, 4)),
            workspace.get("clipped_varyings", (views, total, 3, columns) if columns else (1,) * 4),
            workspace.get("clip_codes", (views, rows, NUM_POINTS), int),
        )
        cut_faces(corners, surface.varyings, self._limits, self._firsts, *self.pieces)
        self.corners = self.pieces.corners
        self.surface = surface._replace(varyings=self.pieces.varyings)

    def backward(self, rasterization: Any) -> tuple:
        """The gradients at what was given, from those of what was drawn.

        Returns:
            Those of corners, and `SurfaceNumbers`.
        """
        get, grads = self.workspace.get, rasterization.grad_surface
        grad_corners = get("grad_given_corners", tuple(self._given.shape))
        grad_varyings = get("grad_given_varyings", tuple(self._surface.varyings.shape))
        join_pieces(
            self._given,
            self._surface.varyings,
            self._limits,
            self._firsts,
            *self.pieces,
            rasterization.grad_corners,
            grads.varyings,
            int(rasterization.moves_outlines),
            grad_corners,
            grad_varyings,
        )
        return grad_corners, grads._replace(varyings=grad_varyings)

    def push_forward(self, tangent_corners: ti.Ndarray, tangent_surface: SurfaceNumbers) -> tuple:
        """The tangents of what is drawn from those of what was given, see `Rasterization`."""
        get, count = self.workspace.get, tangent_corners.shape[0]
        corners = get("tangent_clipped_corners", (count, *self.pieces.corners.shape))
        varyings = get("tangent_clipped_varyings", (count, *self.pieces.varyings.shape))
        move_pieces(
            self._given,
            self._surface.varyings,
            self._limits,
            self._firsts,
            *self.pieces,
            tangent_corners,
            tangent_surface.varyings,
            corners,
            varyings,
        )
        return corners, tangent_surface._replace(varyings=varyings)


def draw_clipped(
    workspace: Workspace,
    corners: ti.Ndarray,
    shader: Shader,
    surface: Surface,
    image_size: tuple,
    draw: Callable,
) -> tuple:
    """What `draw` makes of corners, shader and surface, cut where it must be.

    Returns:
        That, and the `Clipping`, or None.
    """
    workspace.num_cut_rows = 0
    try:
        return draw(corners, shader, surface), None
    except ClippingNeeded as needed:
        reach = needed.reach
    clipping = Clipping(workspace, corners, shader, surface, image_size, reach)
    return draw(clipping.corners, clipping.shader, clipping.surface), clipping


@ti.func
def widen(value: ti.template()):
    """In double precision where the backend has it: cuts of far corners need its digits."""
    if ti.static(has_doubles()):
        return ti.cast(value, ti.f64)
    else:
        return ti.cast(value, float)


@ti.func
def load_points(corners: ti.template(), view: int, face: int):
    """(3, 4) x_clip, y_clip, depth, w_clip of a face's corners."""
    points = widen(ti.Matrix.zero(float, 3, 4))
    for j in ti.static(range(3)):
        depth = widen(corners[view, face, j, 2])
        scale = ti.select(corners.shape[3] == 3, depth, 1.0)
        points[j, 0] = corners[view, face, j, 0] * scale
        points[j, 1] = corners[view, face, j, 1] * scale
        points[j, 2] = depth
        points[j, 3] = corners[view, face, j, corners.shape[3] - 1]
    return points


@ti.func
def above_guard(points: ti.template(), j: int, plane: int, guard):
    """How far a corner is within a plane of the guard band: G w -+ x, or y."""
    axis = (plane - 1) // 2
    along = ti.select(axis == 0, points[j, 0], points[j, 1])
    return guard * points[j, 3] + ti.select(plane % 2 == 1, -along, along)


@ti.func
def find_cut(points: ti.template(), edge: int, plane: int, near, guard):
    """Where a plane cuts an edge of the mesh, counted from the end that comes first.

    Returns:
        A struct: the corners of the `first` end and the `second`; how far these are within the
        plane, and the place `t` of the cut, 0 to 1.
    """
    other = (edge + 1) % 3
    is_turned = False
    is_open = True
    for k in ti.static(range(4)):
        is_turned |= is_open & (points[other, k] < points[edge, k])
        is_open &= points[other, k] == points[edge, k]
    first = ti.select(is_turned, other, edge)
    second = ti.select(is_turned, edge, other)
    depths = ti.Vector([points[first, 2], points[second, 2]])
    limit = ti.select(near > 0.0, near, NEAR_SHARE * ti.abs(depths).max())
    of_first = ti.select(plane == 0, depths[0] - limit, 0.0)
    of_second = ti.select(plane == 0, depths[1] - limit, 0.0)
    if plane > 0:
        of_first = above_guard(points, first, plane, guard)
        of_second = above_guard(points, second, plane, guard)
    span = of_first - of_second
    t = of_first / ti.select(span == 0.0, 1.0, span)
    return ti.Struct(
        first=first,
        second=second,
        of_first=of_first,
        of_second=of_second,
        t=ti.min(ti.max(t, 0.0), 1.0),
    )


@ti.func
def cut_polygon(points: ti.template(), near, guard):
    """The part of a face that is in front, and within the guard band (Sutherland, Hodgman 1974).

    Returns:
        A struct: the `count` of its corners, of each the `weights` of the face's corners; the kind
        of the edge that begins there (`tags`), and its `codes`, see `Pieces`.
    """
    weights = widen(ti.Matrix.zero(float, MOST_CORNERS, 3))
    kept = widen(ti.Matrix.zero(float, MOST_CORNERS, 3))
    marks = ti.Matrix.zero(ti.i32, MOST_CORNERS, 2)  # tag and code
    kept_marks = ti.Matrix.zero(ti.i32, MOST_CORNERS, 2)
    for j in ti.static(range(3)):
        weights[j, j] = 1.0
        marks[j, 0], marks[j, 1] = j, AT_CORNER - j
    count = 3
    for plane in range(NUM_PLANES):
        num_kept = 0
        for i in range(count):
            after = (i + 1) % count
            here, there = 0.0 * guard, 0.0 * guard
            is_in, is_next_in = False, False
            if plane == 0:
                is_in = is_in_front(points[i, 2], points[i, 3], near)
                is_next_in = is_in_front(points[after, 2], points[after, 3], near)
            else:
                for j in ti.static(range(3)):
                    above = above_guard(points, j, plane, guard)
                    here += weights[i, j] * above
                    there += weights[after, j] * above
                is_in, is_next_in = here >= 0.0, there >= 0.0
            if is_in:
                for j in ti.static(range(3)):
                    kept[num_kept, j] = weights[i, j]
                kept_marks[num_kept, 0] = marks[i, 0]
                kept_marks[num_kept, 1] = marks[i, 1]
                num_kept += 1
            if is_in != is_next_in:
                edge = marks[i, 0]
                code = -1
                if edge < NEAR_CUT:
                    cut = find_cut(points, edge, plane, near, guard)
                    for j in ti.static(range(3)):
                        of_second = ti.select(cut.second == j, cut.t, 0.0)
                        kept[num_kept, j] = ti.select(cut.first == j, 1.0 - cut.t, of_second)
                    code = 8 * edge + plane
                else:
                    t = here / (here - there)
                    for j in ti.static(range(3)):
                        kept[num_kept, j] = weights[i, j] * (1.0 - t) + weights[after, j] * t
                of_cut = ti.select(plane == 0, NEAR_CUT, FAR_CUT)
                kept_marks[num_kept, 0] = ti.select(is_in, of_cut, edge)
                kept_marks[num_kept, 1] = code
                num_kept += 1
        count = num_kept
        for i in range(count):
            for j in ti.static(range(3)):
                weights[i, j] = kept[i, j]
            marks[i, 0], marks[i, 1] = kept_marks[i, 0], kept_marks[i, 1]
    return ti.Struct(count=count, weights=weights, marks=marks)


@ti.func
def must_cut(corners: ti.template(), limits: ti.template(), view: int, face: int) -> int:
    """Whether a face is drawn in pieces."""
    height, width = ti.cast(limits[2], ti.i32), ti.cast(limits[3], ti.i32)
    place = place_face(corners, view, face, height, width, limits[4], limits[0])
    return place.is_crossing


@ti.func
def cut_by_limits(corners: ti.template(), limits: ti.template(), view: int, face: int):
    """`cut_polygon` of a face that must be cut."""
    points = load_points(corners, view, face)
    return cut_polygon(points, widen(limits[0]), widen(limits[1]))


@kernel
def count_pieces_of_faces(
    corners: array(float, 4),  # (B, F, 3, 3 or 4)
    limits: array(float, 1),  # depth of the near cut, guard band in NDC; height, width, reach
    num_faces: int,  # B F, an argument: see `scan`
    firsts: array(int, 1),  # (B F + 1,) the pieces of all faces before this one
    chunks: array(int, 1),  # scratch
    status: array(int, 1),  # (2,) [0] the pieces of the view that has the most
):
    """How many pieces each face has."""
    for _ in range(1):
        status[1] = 0
    for i in range(num_faces):
        view = i // corners.shape[1]
        face = i - view * corners.shape[1]
        count = 0
        if must_cut(corners, limits, view, face):
            count = ti.max(cut_by_limits(corners, limits, view, face).count - 2, 0)
        firsts[i + 1] = count
    scan(num_faces, firsts, chunks, status)
    ti.loop_config(serialize=True)
    for view in range(corners.shape[0]):
        if view == 0:
            status[0] = 0
        most = firsts[(view + 1) * corners.shape[1]] - firsts[view * corners.shape[1]]
        status[0] = ti.max(status[0], most)


@kernel
def cut_faces(
    given: array(float, 4),  # (B, F, 3, 3 or 4)
    given_varyings: array(float, 4),  # (1 or B, F, 3, K)
    limits: array(float, 1),  # see `count_pieces_of_faces`
    firsts: array(int, 1),  # (B F + 1,)
    corners: array(float, 4),  # see `Pieces`, written
    varyings: array(float, 4),
    codes: array(int, 3),
):
    """A thread owns a face of the mesh and writes its pieces."""
    for view, row in ti.ndrange(corners.shape[0], corners.shape[1]):
        num_faces = given.shape[1]
        used = firsts[(view + 1) * num_faces] - firsts[view * num_faces]
        if row >= num_faces + used:
            for k, column in ti.ndrange(CUT_ROWS, 4):
                corners[view, row, k, column] = 0.0
    for view, face in ti.ndrange(given.shape[0], given.shape[1]):
        pieces = ti.static(Pieces(corners, varyings, codes))
        copy_face(given, given_varyings, limits, view, face, pieces)
        i = view * given.shape[1] + face
        num_pieces = firsts[i + 1] - firsts[i]
        if num_pieces > 0:
            first = firsts[i] - firsts[view * given.shape[1]]
            first_row = given.shape[1] + first
            corners[view, face, PIECES, 0] = ti.cast(first_row % HALF, float)
            corners[view, face, PIECES, 1] = ti.cast(first_row // HALF, float)
            corners[view, face, PIECES, 2] = ti.cast(num_pieces, float)
            polygon = cut_by_limits(given, limits, view, face)
            apex = 0  # at a corner of the guard band or the near cut, if there is one
            for corner in range(polygon.count):
                if polygon.marks[corner, 0] == FAR_CUT:
                    apex = corner
            for piece in range(num_pieces):
                write_piece(
                    given, given_varyings, limits, view, face, polygon, apex, first, piece, pieces
                )


@ti.func
def copy_face(
    given: ti.template(),
    given_varyings: ti.template(),
    limits: ti.template(),
    view: int,
    face: int,
    pieces: ti.template(),
):
    """A face of the mesh as it is."""
    points = load_points(given, view, face)
    for j, column in ti.static(ti.ndrange(3, 4)):
        value = ti.cast(points[j, column], float)
        pieces.corners[view, face, j, column] = value
        pieces.corners[view, face, ENDS + 2 * j, column] = value
        pieces.corners[view, face, ENDS + 2 * ((j + 2) % 3) + 1, column] = value
    for row, column in ti.static(ti.ndrange((NEAR_ENDS, CUT_ROWS), 4)):
        pieces.corners[view, face, row, column] = 0.0
    for j in ti.static(range(3)):
        pieces.corners[view, face, MIXES + j, j] = 1.0
    is_replaced = must_cut(given, limits, view, face)
    for j in ti.static(range(3)):
        is_replaced |= not is_in_front(
            given[view, face, j, 2], given[view, face, j, given.shape[3] - 1], limits[0]
        )
    write_origin(pieces.corners, view, face, face, WHOLE, is_replaced)
    of_view = view % given_varyings.shape[0]
    if pieces.varyings.shape[1] > 1:
        for j in ti.static(range(3)):
            weights = vec3(ti.static(j == 0), ti.static(j == 1), ti.static(j == 2))
            for k in range(pieces.varyings.shape[3]):
                value = mixed_varying(given_varyings, of_view, face, weights, k)
                pieces.varyings[view, face, j, k] = value


@ti.func
def write_origin(
    corners: ti.template(), view: int, row: int, face: int, kinds: int, is_replaced: int
):
    """Which face of the mesh a row shows."""
    corners[view, row, ORIGIN, 0] = ti.cast(face % HALF, float)
    corners[view, row, ORIGIN, 1] = ti.cast(face // HALF, float)
    corners[view, row, ORIGIN, 2] = ti.cast(kinds, float)
    corners[view, row, ORIGIN, 3] = ti.cast(is_replaced, float)


@ti.func
def mixed_varying(varyings: ti.template(), of_view: int, face: int, weights: vec3, k: int) -> float:
    """A varying of a point of a face; behind the face's own come the weights themselves."""
    own = k - num_own_varyings(varyings)
    result = 0.0
    for j in ti.static(range(3)):
        if own < 0:
            result += weights[j] * varyings[of_view, face, j, k]
        else:
            result += ti.select(own == j, weights[j], 0.0)
    return result


@ti.func
def num_own_varyings(varyings: ti.template()) -> int:
    """K; arrays of one face's row alone have none: (1, 1, 1, 1)."""
    return ti.select(varyings.shape[2] == 3, varyings.shape[3], 0)


@ti.func
def write_piece(  # groups of arrays make many arguments
    given: ti.template(),
    given_varyings: ti.template(),
    limits: ti.template(),
    view: int,
    face: int,
    polygon: ti.template(),
    apex: int,  # corner of the polygon
    first: int,  # piece of the face, of all of the view
    piece: int,
    pieces: ti.template(),
):
    """A triangle of the fan around the apex."""
    count = polygon.count
    row = given.shape[1] + first + piece
    left, right = (apex + piece + 1) % count, (apex + piece + 2) % count
    kind_ab = ti.select(piece == 0, polygon.marks[apex, 0], INNER_OPEN)
    kind_ca = ti.select(piece == count - 3, polygon.marks[right, 0], INNER)
    kinds = kind_ab + (polygon.marks[left, 0] << 3) + (kind_ca << 6)
    for k, column in ti.ndrange((ENDS, CUT_ROWS), 4):
        pieces.corners[view, row, k, column] = 0.0
    write_origin(pieces.corners, view, row, face, kinds, 0)
    at = ti.Vector([apex, left, right])
    for corner in ti.static(range(3)):
        write_point(given, limits, view, face, polygon, at[corner], row, corner, pieces)
        for j in ti.static(range(3)):
            weight = ti.cast(polygon.weights[at[corner], j], float)
            pieces.corners[view, row, MIXES + corner, j] = weight
        if pieces.varyings.shape[1] > 1:
            weights = vec3(
                polygon.weights[at[corner], 0],
                polygon.weights[at[corner], 1],
                polygon.weights[at[corner], 2],
            )
            for k in range(pieces.varyings.shape[3]):
                value = mixed_varying(
                    given_varyings, view % given_varyings.shape[0], face, weights, k
                )
                pieces.varyings[view, row, corner, k] = value
    for point in ti.static(range(ENDS, NUM_POINTS)):
        pieces.codes[view, row - given.shape[1], point] = -1
    for i in range(count):
        tag = polygon.marks[i, 0]
        if tag <= NEAR_CUT:  # its ends stand before those of the near cut
            for end in ti.static(range(2)):
                write_point(
                    given,
                    limits,
                    view,
                    face,
                    polygon,
                    (i + end) % count,
                    row,
                    ENDS + 2 * tag + end,
                    pieces,
                )


@ti.func
def write_point(
    given: ti.template(),
    limits: ti.template(),
    view: int,
    face: int,
    polygon: ti.template(),
    i: int,  # corner of the polygon
    row: int,
    point: int,
    pieces: ti.template(),
):
    """A corner of a polygon as a point of a piece."""
    points = load_points(given, view, face)
    code = polygon.marks[i, 1]
    near, guard = widen(limits[0]), widen(limits[1])
    cut = find_cut(points, ti.max(code, 0) // 8, ti.max(code, 0) % 8, near, guard)
    for column in ti.static(range(4)):
        value = 0.0 * guard
        for j in ti.static(range(3)):
            value += polygon.weights[i, j] * points[j, column]
        if code >= 0:
            start, end = points[cut.first, column], points[cut.second, column]
            value = start + cut.t * (end - start)
        pieces.corners[view, row, point, column] = ti.cast(value, float)
    if point < NUM_POINTS:
        pieces.codes[view, row - given.shape[1], point] = code


@kernel
def join_pieces(  # more than 12 parameters: three groups of arrays
    given: array(float, 4),  # (B, F, 3, 3 or 4)
    given_varyings: array(float, 4),  # (1 or B, F, 3, K)
    limits: array(float, 1),  # see `count_pieces_of_faces`
    firsts: array(int, 1),  # (B F + 1,)
    corners: array(float, 4),  # see `Pieces`
    varyings: array(float, 4),
    codes: array(int, 3),
    grad_corners: array(float, 4),  # of what was drawn
    grad_varyings: array(float, 4),
    moves_outlines: int,  # whether the ends of edges have a gradient of their own
    grad_given: array(float, 4),  # (B, F, 3, 3 or 4), written
    grad_given_varyings: array(float, 4),  # (1 or B, F, 3, K), written
):
    """The adjoint of `cut_faces`: a thread owns a face, in all views that share its varyings."""
    num_owners = ti.select(num_own_varyings(given_varyings) > 0, given_varyings.shape[0], 1)
    for owner, face in ti.ndrange(num_owners, given.shape[1]):
        for k in range(num_own_varyings(given_varyings)):
            for j in ti.static(range(3)):
                grad_given_varyings[owner, face, j, k] = 0.0
        for part in range(given.shape[0] // num_owners):
            view = owner + part * num_owners
            i = view * given.shape[1] + face
            grads = ti.static((grad_corners, grad_varyings, grad_given_varyings))
            by_points = ti.Matrix.zero(float, 3, 4)
            num_rows = ti.max(firsts[i + 1] - firsts[i], 1)
            for piece in range(num_rows):
                row = face
                if firsts[i + 1] > firsts[i]:
                    row = given.shape[1] + firsts[i] - firsts[view * given.shape[1]] + piece
                for point in range(ti.select(moves_outlines != 0, NUM_POINTS, ENDS)):
                    by_points += pull_point(
                        given,
                        given_varyings,
                        limits,
                        ti.static(Pieces(corners, varyings, codes)),
                        ti.Vector([view, face, row, point]),
                        grads,
                    )
            for j in ti.static(range(3)):
                if given.shape[3] == 3:
                    x, y, depth = given[view, face, j, 0], given[view, face, j, 1], 0.0
                    depth = given[view, face, j, 2]
                    grad_given[view, face, j, 0] = by_points[j, 0] * depth
                    grad_given[view, face, j, 1] = by_points[j, 1] * depth
                    by_depth = by_points[j, 0] * x + by_points[j, 1] * y
                    grad_given[view, face, j, 2] = by_depth + by_points[j, 2] + by_points[j, 3]
                else:
                    for column in ti.static(range(4)):
                        grad_given[view, face, j, column] = by_points[j, column]


@ti.func
def weights_of_point(
    given: ti.template(),
    limits: ti.template(),
    pieces: ti.template(),
    where: ti.math.ivec4,  # view, face, row, point
):
    """How a point of a row is mixed from the corners of its face.

    Returns:
        A struct: these `weights`; the `first` and `second` corner between which it moves with the
        gradient `by_first`, `by_second` of its place by how far they are within the cutting
        plane's side; its `code`, see `Pieces`.
    """
    view, face, row, point = where[0], where[1], where[2], where[3]
    code = AT_CORNER - point % 3
    if point >= ENDS:  # of an edge, of a face as it is
        code = AT_CORNER - ((point - ENDS) // 2 + (point - ENDS) % 2) % 3
    if row >= given.shape[1]:
        code = pieces.codes[view, row - given.shape[1], point]
    near, guard = widen(limits[0]), widen(limits[1])
    points = load_points(given, view, face)
    cut = find_cut(points, ti.max(code, 0) // 8, ti.max(code, 0) % 8, near, guard)
    t = ti.cast(cut.t, float)
    weights = vec3(0.0)
    for j in ti.static(range(3)):
        at_corner = ti.select(code == AT_CORNER - j, 1.0, 0.0)
        on_edge = ti.select(cut.first == j, 1.0 - t, ti.select(cut.second == j, t, 0.0))
        weights[j] = ti.select(code >= 0, on_edge, at_corner)
        if (code == -1) & (point < ENDS):
            weights[j] = pieces.corners[view, row, MIXES + ti.min(point, 2), j]
    span = cut.of_first - cut.of_second
    scale = 1.0 / ti.select(span == 0.0, 1.0, span * span)
    is_moving = (code >= 0) & (t > 0.0) & (t < 1.0)
    return ti.Struct(
        weights=weights,
        first=cut.first,
        second=cut.second,
        by_first=ti.cast(ti.select(is_moving, -cut.of_second * scale, 0.0), float),
        by_second=ti.cast(ti.select(is_moving, cut.of_first * scale, 0.0), float),
        code=code,
    )


@ti.func
def plane_of(code: int, guard: float) -> ti.math.vec4:
    """How far a point is within the plane of a cut, by its x, y, depth and w."""
    plane = ti.max(code, 0) % 8
    sign = ti.select(plane % 2 == 1, -1.0, 1.0)
    on_x, on_y = plane == 1 or plane == 2, plane == 3 or plane == 4
    return ti.Vector(
        [
            ti.select(on_x, sign, 0.0),
            ti.select(on_y, sign, 0.0),
            ti.select(plane == 0, 1.0, 0.0),
            ti.select(plane == 0, 0.0, guard),
        ]
    )


@ti.func
def pull_point(
    given: ti.template(),
    given_varyings: ti.template(),
    limits: ti.template(),
    pieces: ti.template(),
    where: ti.math.ivec4,  # view, face, row, point
    grads: ti.template(),  # of corners and varyings that were drawn, of varyings that were given
):
    """(3, 4) at the corners of a face, from the gradient of a point; adds to those of varyings."""
    grad_corners, grad_varyings, grad_given_varyings = ti.static(grads)
    view, face, row, point = where[0], where[1], where[2], where[3]
    mix = weights_of_point(given, limits, pieces, where)
    by_points = ti.Matrix.zero(float, 3, 4)
    by_weights = vec3(0.0)
    for column in ti.static(range(4)):
        grad = grad_corners[view, row, point, column]
        for j in ti.static(range(3)):
            by_points[j, column] += mix.weights[j] * grad
            by_weights[j] += grad * pieces.corners[view, face, j, column]
    if point < ENDS and pieces.varyings.shape[1] > 1:
        own = num_own_varyings(given_varyings)
        of_view = view % given_varyings.shape[0]
        for k in range(own):
            grad = grad_varyings[view, row, point, k]
            for j in ti.static(range(3)):
                by_weights[j] += grad * given_varyings[of_view, face, j, k]
                before = grad_given_varyings[of_view, face, j, k]
                grad_given_varyings[of_view, face, j, k] = before + mix.weights[j] * grad
        if pieces.varyings.shape[3] > own:
            for j in ti.static(range(3)):
                by_weights[j] += grad_varyings[view, row, point, own + j]
    by_place = 0.0
    for j in ti.static(range(3)):
        of_first = ti.select(mix.first == j, -by_weights[j], 0.0)
        by_place += ti.select(mix.second == j, by_weights[j], of_first)
    plane = plane_of(mix.code, limits[1])
    for j, column in ti.static(ti.ndrange(3, 4)):
        slope = ti.select(mix.first == j, mix.by_first, 0.0)
        slope = ti.select(mix.second == j, mix.by_second, slope)
        by_points[j, column] += by_place * slope * plane[column]
    return by_points


@kernel
def move_pieces(  # more than 12 parameters: three groups of arrays
    given: array(float, 4),  # (B, F, 3, 3 or 4)
    given_varyings: array(float, 4),  # (1 or B, F, 3, K)
    limits: array(float, 1),  # see `count_pieces_of_faces`
    firsts: array(int, 1),  # (B F + 1,)
    corners: array(float, 4),  # see `Pieces`
    varyings: array(float, 4),
    codes: array(int, 3),
    tangent_given: array(float, 5),  # (P, B, F, 3, 3 or 4)
    tangent_given_varyings: array(float, 5),  # (P, 1 or B, F, 3, K)
    tangent_corners: array(float, 5),  # (P, B, F + E, CUT_ROWS, 4), written
    tangent_varyings: array(float, 5),  # (P, B, F + E, 3, K), written
):
    """The tangent of `cut_faces`: a thread owns a face."""
    for view, face in ti.ndrange(given.shape[0], given.shape[1]):
        i = view * given.shape[1] + face
        tangents = ti.static(
            (tangent_given, tangent_given_varyings, tangent_corners, tangent_varyings)
        )
        for piece in range(ti.max(firsts[i + 1] - firsts[i], 1)):
            row = face
            if firsts[i + 1] > firsts[i]:
                row = given.shape[1] + firsts[i] - firsts[view * given.shape[1]] + piece
            for point, parameter in ti.ndrange(NUM_POINTS, tangent_given.shape[0]):
                push_point(
                    given,
                    given_varyings,
                    limits,
                    ti.static(Pieces(corners, varyings, codes)),
                    ti.Vector([view, face, row, point]),
                    parameter,
                    tangents,
                )


@ti.func
def push_point(
    given: ti.template(),
    given_varyings: ti.template(),
    limits: ti.template(),
    pieces: ti.template(),
    where: ti.math.ivec4,  # view, face, row, point
    parameter: int,
    tangents: ti.template(),  # of corners and varyings that are given, that are drawn
):
    """The tangents of a point, and of its varyings."""
    of_given, of_given_varyings, of_corners, of_varyings = ti.static(tangents)
    view, face, row, point = where[0], where[1], where[2], where[3]
    mix = weights_of_point(given, limits, pieces, where)
    plane = plane_of(mix.code, limits[1])
    moved = ti.Matrix.zero(float, 3, 4)
    of_place = 0.0
    for j in ti.static(range(3)):
        if given.shape[3] == 3:
            depth, of_depth = given[view, face, j, 2], of_given[parameter, view, face, j, 2]
            for column in ti.static(range(2)):
                moved[j, column] = of_given[parameter, view, face, j, column] * depth
                moved[j, column] += given[view, face, j, column] * of_depth
            moved[j, 2], moved[j, 3] = of_depth, of_depth
        else:
            for column in ti.static(range(4)):
                moved[j, column] = of_given[parameter, view, face, j, column]
        slope = ti.select(mix.first == j, mix.by_first, 0.0)
        slope = ti.select(mix.second == j, mix.by_second, slope)
        for column in ti.static(range(4)):
            of_place += slope * plane[column] * moved[j, column]
    of_weights = vec3(0.0)
    for j in ti.static(range(3)):
        of_first = ti.select(mix.first == j, -of_place, 0.0)
        of_weights[j] = ti.select(mix.second == j, of_place, of_first)
    for column in ti.static(range(4)):
        change = 0.0
        for j in ti.static(range(3)):
            change += mix.weights[j] * moved[j, column]
            change += of_weights[j] * pieces.corners[view, face, j, column]
        of_corners[parameter, view, row, point, column] = change
    if point < ENDS and pieces.varyings.shape[1] > 1:
        own = num_own_varyings(given_varyings)
        of_view = view % given_varyings.shape[0]
        for k in range(own):
            change = 0.0
            for j in ti.static(range(3)):
                change += mix.weights[j] * of_given_varyings[parameter, of_view, face, j, k]
                change += of_weights[j] * given_varyings[of_view, face, j, k]
            of_varyings[parameter, view, row, point, k] = change
        if pieces.varyings.shape[3] > own:
            for j in ti.static(range(3)):
                of_varyings[parameter, view, row, point, own + j] = of_weights[j]
