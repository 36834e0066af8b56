"""Crossings: where outlines pass between the centres of neighbouring pixels, and how they move.

From a z-buffer: two neighbours that show different faces are a pair; the surface of the nearer
one is followed towards the other pixel, to the edge that ends it on the image.
"""

from typing import NamedTuple

from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import FaceArrays
from taichi_softras.rasterizers.edge_pieces import load_edge
from taichi_softras.rasterizers.edge_tangents import edge_tangent
from taichi_softras.rasterizers.faces import ROW, pixel_centre
from taichi_softras.rasterizers.neighbours import NO_EDGE
from taichi_softras.rasterizers.outlines import is_silhouette
from taichi_softras.runtime import kernel, ti, vec2
from taichi_softras.workspace import Workspace, array

IS_SEEN, IS_CROSSED = 1, 2  # marks of faces: a pixel shows it; an edge is crossed, maybe seen, too


class Crossings(NamedTuple):
    """Of each pixel and its neighbour, [:, 0] that to the right and [:, 1] that below."""

    edges: ti.Ndarray  # (B, 2, H, W) int: 3 i + k, edge k of face i of all views, or NO_EDGE
    # (B, 2, H, W) 1/2 less the place of the crossing, from 0 at the pixel to 1 at the neighbour:
    # how much of the neighbour the pixel shows; below 0, of the pixel the neighbour; 0 without
    shares: ti.Ndarray
    marks: ti.Ndarray  # (B * F,) int: IS_CROSSED of a face with such an edge; else IS_SEEN, or 0

    @classmethod
    def allocate(cls, workspace: Workspace, num_faces: int, seen: ti.Ndarray) -> "Crossings":
        """Arrays for the faces of all views, and for what pixels see, (B, H, W)."""
        views, *image_size = seen.shape
        shape = (views, 2, *image_size)
        return cls(
            workspace.get("crossing_edges", shape, int),
            workspace.get("shares", shape),
            workspace.get("face_marks", (num_faces,), int),
        )


@kernel
def find_crossings(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    neighbours: array(int, 2),  # see `connect_faces`
    faces: array(int, 3),  # (B, H, W) index, or NO_FACE
    depths: array(float, 3),  # (B, H, W), of no face larger than any
    most_faces: int,  # that are followed; 1: an outline is that of a face which a pixel shows
    edges: array(int, 4),  # see `Crossings`, written
    shares: array(float, 4),
    marks: array(int, 1),
):
    """A thread owns a pixel, and its pairs with those to the right and below."""
    for i in range(marks.shape[0]):
        marks[i] = 0
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        face = faces[view, row, column]
        if face != NO_FACE:  # threads write the same, here and below
            marks[view * (records.shape[0] // faces.shape[0]) + face] = IS_SEEN
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        first_face = view * (records.shape[0] // faces.shape[0])
        for axis in ti.static(range(2)):
            edge, share = NO_EDGE, 0.0
            other_row, other_column = row + ti.static(axis), column + ti.static(1 - axis)
            if (other_row < faces.shape[1]) & (other_column < faces.shape[2]):
                here, there = faces[view, row, column], faces[view, other_row, other_column]
                if here != there:
                    is_here = depths[view, row, column] <= depths[view, other_row, other_column]
                    centre = pixel_centre(column, row, faces.shape[1], faces.shape[2])
                    found = follow_surface(
                        ti.static(FaceArrays(records, boxes)),
                        neighbours,
                        first_face + ti.select(is_here, here, there),
                        centre,
                        axis,
                        is_here,
                        most_faces,
                    )
                    edge = found.edge
                    if edge != NO_EDGE:
                        share = 0.5 - ti.min(ti.max(found.place, 0.0), 1.0)
                        marks[edge // 3] = IS_CROSSED
            edges[view, axis, row, column] = edge
            shares[view, axis, row, column] = share


@ti.func
def follow_surface(
    of_faces: ti.template(),  # `FaceArrays`
    neighbours: ti.template(),  # see `connect_faces`
    first_face: int,  # of those of all views
    centre: vec2,  # of the pixel that has the pair
    axis: ti.template(),  # 0: right, 1: down
    is_forward: int,  # whether it is this pixel that shows the face, not its neighbour
    most_faces: int,
):
    """From face to face on the line between two pixels, to the edge that ends the surface.

    Returns:
        A struct: the `edge` (NO_EDGE if none is between the pixels, or one that is nearer to the
        direction of the line than to that across it), and its `place`, see `place_on_line`.
    """
    edge, place = NO_EDGE, 0.0
    face, faces_left = first_face, most_faces
    while faces_left > 0:
        i = face
        faces_left -= 1
        way_out = find_way_out(of_faces.records, i, centre, axis, is_forward)
        is_between = ti.select(is_forward, way_out.place <= 1.0, way_out.place >= 0.0)
        across = NO_EDGE
        if (way_out.k != NO_EDGE) & is_between:
            across = neighbours[i % neighbours.shape[0], way_out.k]
        if across == NO_EDGE:
            faces_left = 0
        elif is_silhouette(of_faces, neighbours, i, way_out.k):
            faces_left = 0
            if way_out.is_across:
                edge, place = 3 * i + way_out.k, way_out.place
        else:
            face = i - of_faces.boxes[i, ROW] + across // 3
    return ti.Struct(edge=edge, place=place)


@ti.func
def find_way_out(
    records: ti.template(), i: int, centre: vec2, axis: ti.template(), is_forward: int
):
    """The edge `k` by which a line leaves face i (or NO_EDGE), and what `cross_line` says of it."""
    k, place, is_across = NO_EDGE, 0.0, False
    for candidate in ti.static(range(3)):
        met = cross_line(load_edge(records, i, candidate), centre, axis)
        if met.is_met & (met.is_way_out == (is_forward != 0)) & (k == NO_EDGE):
            k, place, is_across = candidate, met.place, met.is_across
    return ti.Struct(k=k, place=place, is_across=is_across)


@ti.func
def cross_line(edge: ti.template(), centre: vec2, axis: ti.template()):
    """Where an edge crosses the line from a pixel's centre to that of its neighbour.

    Args:
        edge: of `load_edge`.
        centre: of the pixel.
        axis: 0: the neighbour is to the right, 1: below.

    Returns:
        A struct: whether the line `is_met`, and from within the face (`is_way_out`); whether the
        edge `is_across`, nearer to the line's normal than to the line; the `place` on the line,
        0 at the pixel, 1 at the neighbour; that on the edge (`on_edge`); and how much the first
        changes when the edge moves along x and y (`slope`).
    """
    level = ti.static(1 - axis)
    per_pixel = ti.static(0.5 if axis == 0 else -0.5)  # half pixels, y up
    vector = edge.b - edge.a
    span = vector[level]
    divisor = ti.select(span == 0.0, 1.0, span)
    on_edge = (centre[level] - edge.a[level]) / divisor
    place = (edge.a[axis] + on_edge * vector[axis] - centre[axis]) * per_pixel
    tilt = vector[axis] / divisor
    is_across = ti.abs(vector[axis]) < ti.abs(span)
    slope = vec2(-tilt, 1.0) * per_pixel
    if ti.static(axis == 0):
        is_across |= ti.abs(vector[axis]) == ti.abs(span)  # a diagonal edge belongs to the rows
        slope = vec2(1.0, -tilt) * per_pixel
    return ti.Struct(
        is_met=(span != 0.0) & (on_edge >= 0.0) & (on_edge <= 1.0),
        is_way_out=span > 0.0,
        is_across=is_across,
        place=place,
        on_edge=on_edge,
        slope=slope,
    )


@ti.func
def pull_crossings(
    of_faces: ti.template(),  # `FaceArrays`
    edges: ti.template(),  # see `Crossings`
    grad_shares: ti.template(),  # (B, 2, H, W), read where there is an edge
    view: int,
    i: int,  # a face of those of all views
):
    """(3, 2) at the corners of a face, by half pixels, from the crossings that its edges have."""
    result = ti.Matrix.zero(float, 3, 2)
    for row in range(of_faces.boxes[i, 2], of_faces.boxes[i, 3] + 1):
        for column in range(of_faces.boxes[i, 0], of_faces.boxes[i, 1] + 1):
            for axis in ti.static(range(2)):
                edge = edges[view, axis, row, column]
                if edge // 3 == i:
                    line = load_edge(of_faces.records, i, edge % 3)
                    centre = pixel_centre(column, row, edges.shape[2], edges.shape[3])
                    met = cross_line(line, centre, axis)
                    grad = -grad_shares[view, axis, row, column] * met.slope
                    for corner, k in ti.static(ti.ndrange(3, 2)):
                        at_a, at_b = line.of_a[corner], line.of_b[corner]
                        result[corner, k] += ti.math.mix(at_a, at_b, met.on_edge) * grad[k]
    return result


@kernel
def push_crossings(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    edges: array(int, 4),  # see `Crossings`
    tangent_corners: array(float, 5),  # (P, B, F, 3, 3 or 4)
    tangent_shares: array(float, 5),  # (P, B, 2, H, W), written
):
    """The transpose of `pull_crossings`: a thread owns a pixel."""
    for view, row, column in ti.ndrange(edges.shape[0], edges.shape[2], edges.shape[3]):
        shorter = ti.cast(ti.min(edges.shape[2], edges.shape[3]), float)
        centre = pixel_centre(column, row, edges.shape[2], edges.shape[3])
        for axis in ti.static(range(2)):
            edge = edges[view, axis, row, column]
            for parameter in range(tangent_shares.shape[0]):
                change = 0.0
                if edge != NO_EDGE:
                    line = load_edge(records, edge // 3, edge % 3)
                    met = cross_line(line, centre, axis)
                    of_a, of_b = edge_tangent(
                        records, shorter, edge // 3, line, tangent_corners, parameter
                    )
                    change = -met.slope.dot(ti.math.mix(of_a, of_b, met.on_edge))
                tangent_shares[parameter, view, axis, row, column] = change
