"""A z-buffer image blended at outlines, in NumPy float64: pair after pair of neighbouring pixels.

The twin of `rasterizers.antialiased`. Positions are in pixels from the image's centre, y up.
"""

import numpy as np

from tests.reference.prefiltered import View, connect
from tests.reference.soft_aggregation import cross

SIDES = {(0, 1): np.array([1.0, 0.0]), (1, 0): np.array([0.0, -1.0])}  # row, column: direction


def antialiased(corners, colors, image_size, *, near, far, background, double_sided):
    """(B, H, W, C + 1) image, alpha last, row 0 on top; arguments as of `Antialiased`."""
    if colors is None:
        colors, background = np.zeros((1, corners.shape[1], 3, 0)), ()
    limits = {"near": near, "far": far, "double_sided": double_sided}
    edges = {place: met for met in connect(corners[0]).values() for place in met}
    return np.stack(
        [
            draw(
                View(
                    corners[view],
                    colors[view % len(colors)],
                    image_size,
                    np.array([*background, 0.0]),
                    limits,
                    edges,
                )
            )
            for view in range(len(corners))
        ]
    )


def draw(view):
    """(H, W, C + 1)."""
    plain = np.tile(view.background, (*view.image_size, 1))
    for row, column in np.argwhere(view.seen >= 0):
        plain[row, column] = view.color(view.seen[row, column], view.weights[row, column])
    total = np.zeros((*view.image_size, 1))
    jumps = np.zeros_like(plain)
    for here in np.ndindex(*view.image_size):
        for step in SIDES:
            there = (here[0] + step[0], here[1] + step[1])
            if there[0] < view.image_size[0] and there[1] < view.image_size[1]:
                place = find_crossing(view, here, there, SIDES[step])
                if place is not None:
                    shown_in, shown = (here, there) if place < 0.5 else (there, here)
                    total[shown_in] += abs(0.5 - place)
                    jumps[shown_in] += abs(0.5 - place) * (plain[shown] - plain[shown_in])
    return plain + jumps / np.maximum(total, 1)


def find_crossing(view, here, there, direction):
    """From 0 at the centre of `here` to 1 at that of `there`; None without a crossing."""
    if view.seen[here] == view.seen[there]:
        return None
    centres = [centre(view, here), centre(view, here) + direction]
    depths = [
        view.depth(view.seen[pixel], at) if view.seen[pixel] >= 0 else np.inf
        for pixel, at in zip((here, there), centres)
    ]
    first = int(depths[1] < depths[0])
    start, towards = centres[first], direction * (1 - 2 * first)
    face = view.seen[(here, there)[first]]
    while True:
        place, corner, edge = leave(view, face, start, towards)
        if place is None or place > 1:
            return None
        others = [other for other, _ in view.edges[face, corner] if other != face]
        assert len(others) < 2, "the twin knows surfaces alone"
        folds = not others or not view.is_drawn[others[0]]
        if folds or view.areas[face] * view.areas[others[0]] < 0:
            along, across = abs(edge) if direction[0] else abs(edge)[::-1]
            is_across = along < across or (along == across and direction[0] != 0)
            return abs(first - place) if is_across else None
        face = others[0]


def leave(view, face, start, towards):
    """By which edge a ray leaves a face: its place on the ray, its first corner, its vector."""
    for corner in range(3):
        a, b = view.points[face, [corner, (corner + 1) % 3]]
        if view.areas[face] < 0:
            a, b = b, a
        turn = cross(towards, b - a)
        if turn > 0 and 0 <= cross(a - start, towards) / turn <= 1:
            return cross(a - start, b - a) / turn, corner, b - a
    return None, None, None


def centre(view, pixel):
    """(2,) of a row and column."""
    height, width = view.image_size
    return np.array([pixel[1] + 0.5 - width / 2, height / 2 - pixel[0] - 0.5])
