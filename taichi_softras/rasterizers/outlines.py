"""Outlines: a z-buffer comes in; it goes out with one pixel of line on every silhouette edge.

OpenDR (Loper & Black 2014) calls this overdraw: faces that turn away between two pixels get a
pixel where they are seen edge-on, and the image's filters know where outlines are.
"""

import weakref

import numpy as np
import taichi as ti
from taichi.math import vec2, vec3

from taichi_softras.funcs.triangle import barycentric_vjp, cross
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import TILE
from taichi_softras.rasterizers.faces import (
    is_in_box,
    load_corner,
    load_inverse_depths,
    load_triangle,
)
from taichi_softras.rasterizers.z_buffer import ZBuffer
from taichi_softras.workspace import Workspace, array

SLACK_PIXELS = 10.0  # a line is hidden if a face is nearer by its slope over so many pixels


def draw_outlines(workspace: Workspace, corners: ti.Ndarray, z_buffer: ZBuffer) -> ti.Ndarray:
    """Draws into the z-buffer; returns (B, H, W), 1 on outlines.

    An edge is on the silhouette if it has one face, or two that face opposite ways. Two faces
    share an edge if its ends have the same positions in the first view: when a workspace draws
    first, and again when corners of one place have parted.
    """
    views, faces = corners.shape[:2]
    neighbours = workspace.get("face_neighbours", (faces, 3), int)
    points = corners.to_numpy()[0].reshape(-1, 3)
    places = welded.get(workspace)
    if places is None or len(places) != len(points) or (points != points[places]).any():
        places = welded[workspace] = weld(points)
        neighbours.from_numpy(find_neighbours(places))
    is_seen = workspace.get("is_face_seen", (views, faces), int)
    boundary = workspace.get("boundary", tuple(z_buffer.faces.shape), int)
    find_seen_faces(z_buffer.faces, is_seen)
    overdraw(
        corners,
        neighbours,
        z_buffer.records,
        z_buffer.boxes,
        z_buffer.bins.starts,
        z_buffer.bins.faces,
        z_buffer.bins.rows,
        z_buffer.bins.columns,
        is_seen,
        z_buffer.faces,
        z_buffer.weights,
        z_buffer.depths,
        boundary,
    )
    return boundary


welded = weakref.WeakKeyDictionary()  # of a workspace: the places whose neighbours it keeps


def weld(points: np.ndarray) -> np.ndarray:
    """(N,): of each point (N, 3), the index of the one that stands for all in the same place."""
    order = np.lexsort(points.T)
    is_new = np.concatenate([[True], (np.diff(points[order], axis=0) != 0).any(axis=1)])
    firsts = np.empty(len(points), np.int64)
    firsts[order] = order[is_new][np.cumsum(is_new) - 1]
    return firsts


def find_neighbours(places: np.ndarray) -> np.ndarray:
    """(F, 3): the face across edge k, from corner k to k + 1, or NO_FACE; from (3F,) places."""
    starts = places.reshape(-1, 3)
    ends = np.roll(starts, -1, axis=1)
    edges = (np.minimum(starts, ends) * len(places) + np.maximum(starts, ends)).ravel()
    order = np.argsort(edges, kind="stable")
    sorted_ids = edges[order]
    neighbours = np.full(len(order), NO_FACE, np.int32)
    is_pair = sorted_ids[1:] == sorted_ids[:-1]
    neighbours[order[1:][is_pair]] = order[:-1][is_pair] // 3
    neighbours[order[:-1][is_pair]] = order[1:][is_pair] // 3
    return neighbours.reshape(-1, 3)


@ti.kernel
def find_seen_faces(
    faces: array(int, 3),  # (B, H, W)
    is_seen: array(int, 2),  # (B, F)
):
    """Whether a face has a pixel. Threads write the same 1."""
    for view, face in ti.ndrange(is_seen.shape[0], is_seen.shape[1]):
        is_seen[view, face] = 0
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        if faces[view, row, column] != NO_FACE:
            is_seen[view, faces[view, row, column]] = 1


@ti.func
def signed_area(corners: ti.template(), view: int, face: int) -> float:
    """Of the parallelogram, on the image."""
    a = vec2(corners[view, face, 0, 0], corners[view, face, 0, 1])
    b = vec2(corners[view, face, 1, 0], corners[view, face, 1, 1])
    c = vec2(corners[view, face, 2, 0], corners[view, face, 2, 1])
    return cross(b - a, c - a)


@ti.func
def meet_line(first: vec2, second: vec2, row: int, column: int):
    """Whether the line between two points, in pixels, has a pixel, and where on it, in [0, 1].

    A line has one pixel in each column, or in each row if it is steep, from that nearest to
    one end to that nearest to the other; it does not reach beyond its ends.
    """
    offset = second - first
    place = vec2(ti.cast(column, float), ti.cast(row, float))
    is_steep = ti.abs(offset.y) > ti.abs(offset.x)
    along = ti.select(is_steep, offset.y, offset.x)
    before = ti.select(is_steep, place.y - first.y, place.x - first.x)
    t = ti.min(ti.max(before / ti.select(along == 0.0, 1.0, along), 0.0), 1.0)
    nearest = ti.floor(first + t * offset + 0.5)
    return (nearest.x == place.x) & (nearest.y == place.y), t


@ti.kernel
def overdraw(
    corners: array(float, 4),  # (B, F, 3, 3)
    neighbours: array(int, 2),  # (F, 3)
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    starts: array(int, 1),  # (T + 1,)
    bin_faces: array(int, 1),  # (pairs,)
    tile_rows: int,
    tile_columns: int,
    is_seen: array(int, 2),  # (B, F)
    faces: array(int, 3),  # (B, H, W) and the next two: changed on outlines
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 4),  # (B, 1, H, W)
    boundary: array(int, 3),  # (B, H, W)
):
    """A thread owns a pixel: is it on the outline, and which edge of a seen face is nearest."""
    for index in range(faces.shape[0] * faces.shape[1] * faces.shape[2]):
        height = faces.shape[1]
        width = faces.shape[2]
        num_faces = corners.shape[1]
        view = index // (height * width)
        row = index // width % height
        column = index % width
        shorter = ti.cast(ti.min(height, width), float)
        shift = vec2(ti.cast(width - 1, float), ti.cast(height - 1, float)) * 0.5
        filled = faces[view, row, column]
        limit = depths[view, 0, row, column]  # of lines that are not hidden
        if filled != NO_FACE:
            triangle = load_triangle(records, view * num_faces + filled)
            slope = barycentric_vjp(triangle, triangle.inverse_depths) * limit * limit
            limit += SLACK_PIXELS * ti.max(ti.abs(slope.x), ti.abs(slope.y)) * 2.0 / shorter
        is_outline = 0
        nearest = 0.0
        largest = 0.0
        front = NO_FACE
        front_weights = vec3(0.0)
        tile = (view * tile_rows + row // TILE) * tile_columns + column // TILE
        for slot in range(starts[tile], starts[tile + 1]):
            face = bin_faces[slot]
            i = view * num_faces + face
            if is_in_box(boxes, i, row, column):
                area = signed_area(corners, view, face)
                for edge in ti.static(range(3)):
                    end = ti.static((edge + 1) % 3)
                    a = load_corner(records, i, edge) * vec2(1.0, -1.0)
                    b = load_corner(records, i, end) * vec2(1.0, -1.0)
                    # both faces of an edge see the same line, to the last bit
                    is_ordered = (a.x < b.x) | ((a.x == b.x) & (a.y < b.y))
                    first = ti.select(is_ordered, a, b) * shorter * 0.5 + shift
                    second = ti.select(is_ordered, b, a) * shorter * 0.5 + shift
                    is_met, t = meet_line(first, second, row, column)
                    if is_met:
                        at_a = ti.select(is_ordered, 1.0 - t, t)
                        at_b = ti.select(is_ordered, t, 1.0 - t)
                        inverse = load_inverse_depths(records, i)
                        depth = 1.0 / (at_a * inverse[edge] + at_b * inverse[end])
                        neighbour = neighbours[face, edge]
                        is_silhouette = neighbour == NO_FACE
                        if neighbour != NO_FACE:
                            is_silhouette = area * signed_area(corners, view, neighbour) <= 0.0
                        if is_silhouette & (depth <= limit):
                            is_outline = 1
                        # of equal depths the larger face, whatever the order of faces
                        size = ti.abs(area)
                        is_first = (size > largest) | ((size == largest) & (face < front))
                        is_nearer = (depth < nearest) | ((depth == nearest) & is_first)
                        if (is_seen[view, face] != 0) & (is_nearer | (front == NO_FACE)):
                            nearest = depth
                            largest = size
                            front = face
                            front_weights = vec3(0.0)
                            front_weights[edge] = at_a
                            front_weights[end] = at_b
        boundary[view, row, column] = is_outline
        if (is_outline != 0) & (front != NO_FACE):
            faces[view, row, column] = front
            depths[view, 0, row, column] = nearest
            for corner in ti.static(range(3)):
                weights[view, corner, row, column] = front_weights[corner]
