"""A z-buffer image filtered at its edges, in NumPy float64: every edge against every other, and
every piece against every face and every pixel. The twin of `rasterizers.prefiltered`.

Positions are in pixels from the image's centre, y up.
"""

import itertools

import numpy as np

from tests.reference.approximate_gradient import samples
from tests.reference.soft_aggregation import cross
from tests.reference.z_buffer import z_buffer


def prefiltered(
    corners,
    colors,
    image_size,
    *,
    sigma_pixels,
    near,
    far,
    background,
    double_sided,
    inner_edges,
):
    """(B, H, W, C + 1) image, alpha last, row 0 on top; arguments as of `Prefiltered`."""
    if colors is None:
        colors, background = np.zeros((1, corners.shape[1], 3, 0)), ()
    limits = {"near": near, "far": far, "double_sided": double_sided}
    return np.stack(
        [
            View(
                corners[view],
                colors[view % len(colors)],
                image_size,
                np.array([*background, 0.0]),
                limits,
                connect(corners[0]),
            ).draw(2.35 * sigma_pixels, inner_edges)
            for view in range(len(corners))
        ]
    )


def connect(corners):
    """{ends: [(face, corner)]}: which faces share an edge, by the positions of its ends."""
    edges = {}
    for face, corner in np.ndindex(len(corners), 3):
        ends = frozenset(map(tuple, corners[face, [corner, (corner + 1) % 3]]))
        edges.setdefault(ends, []).append((face, corner))
    return edges


class View:
    """One view: faces on the image, what is seen, and the edges."""

    def __init__(self, corners, colors, image_size, background, limits, edges):
        self.points = corners[..., :2] * min(image_size) / 2
        self.depths, self.colors, self.background = corners[..., 2], colors, background
        self.image_size, self.limits, self.edges = image_size, limits, edges
        sides = self.points[:, 1:] - self.points[:, :1]
        self.areas = cross(sides[:, 0], sides[:, 1])
        self.is_drawn = (self.depths > 0).all(axis=1) & (self.areas != 0)
        if not limits["double_sided"]:
            self.is_drawn &= self.areas > 0
        self.seen, self.weights, _ = z_buffer(corners, image_size, **limits)

    def draw(self, radius, inner_edges):
        """(H, W, C + 1)."""
        image = np.tile(self.background, (*self.image_size, 1))
        for row, column in np.argwhere(self.seen >= 0):
            image[row, column] = self.color(self.seen[row, column], self.weights[row, column])
        lines = [
            line for line in map(lambda e: self.line(e, inner_edges), self.edges.values()) if line
        ]
        pieces = [piece for line in lines for piece in self.cut(line, lines, radius)]
        in_sight = [image.reshape(-1, image.shape[2]).copy()]
        for line, first, last, front, behind in pieces:
            in_sight += [front, behind]
            for row, column in np.ndindex(*self.image_size):
                share = self.shares(line, first, last, row, column, radius)
                image[row, column] += share @ (front - behind)
        in_sight = np.concatenate(in_sight)
        return np.clip(image, in_sight.min(axis=0), in_sight.max(axis=0))

    def color(self, face, weights):
        """(C + 1,) at a point of a face; 1 last."""
        on_face = weights / self.depths[face]
        on_face = on_face / on_face.sum()
        shares = samples(self.colors[face].shape, on_face, 1e-3)
        return np.append(sum(share * self.colors[(face, *index)] for index, share in shares), 1.0)

    def barycentric(self, face, point):
        """(3,) weights of any sign."""
        a, b, c = self.points[face]
        first, second = cross(b - point, c - point), cross(c - point, a - point)
        return np.array([first, second, self.areas[face] - first - second]) / self.areas[face]

    def depth(self, face, point):
        """On the plane of a face."""
        return 1 / (self.barycentric(face, point) / self.depths[face]).sum()

    def line(self, of_edge, inner_edges):
        """(face in front, its two corners with the face on their left, face across) or None."""
        drawn = [(face, corner) for face, corner in of_edge if self.is_drawn[face]]
        if not drawn or len(of_edge) > 2:
            assert len(of_edge) <= 2, "the twin knows surfaces alone"
            return None
        across = None
        (face, corner) = drawn[0]
        if len(drawn) == 2:
            one, other = drawn
            across = other[0]
            if self.areas[one[0]] * self.areas[other[0]] > 0:
                if not inner_edges:
                    return None
            else:
                ends = self.points[face, [corner, (corner + 1) % 3]]
                wide = max(one[0], other[0], key=lambda f: abs(self.areas[f]))
                inside = ends.mean(axis=0)
                inside = inside + 1e-3 * (self.points[wide].mean(axis=0) - inside)
                if self.depth(one[0], inside) > self.depth(other[0], inside):
                    (face, corner), across = other, one[0]
        elif len(of_edge) == 2:
            across = next(f for f, _ in of_edge if f != face)
        ends = [corner, (corner + 1) % 3]
        return face, ends if self.areas[face] > 0 else ends[::-1], across

    def ends(self, line):
        """(2, 2) of an edge."""
        face, corners, _ = line
        return self.points[face, corners]

    def cut(self, line, lines, radius):
        """[(line, first, last, colours in front, behind)] of the parts in sight."""
        a, b = self.ends(line)
        height, width = self.image_size
        half = np.array([width, height]) / 2 + radius
        with np.errstate(divide="ignore"):
            sides = np.sort(np.stack([(-half - a), (half - a)]) / (b - a), axis=0)
        low, high = max(0.0, sides[0].max()), min(1.0, sides[1].min())
        if low >= high:
            return []
        count = max(1, int(np.ceil(np.linalg.norm(b - a))))
        low, high = (min(int(place * count), count - 1) for place in (low, high))
        places = [k / count for k in range(low, high + 2)]
        low, high = places[0], places[-1]
        for other in lines:
            c, d = self.ends(other)
            area = cross(b - a, d - c)
            is_joined = any((p == q).all() for p, q in itertools.product((a, b), (c, d)))
            if other is line or is_joined or area == 0:
                continue
            place, of_other = cross(c - a, d - c) / area, cross(c - a, b - a) / area
            if low < place < high and 0 < of_other < 1:
                places.append(place)
        parts = []
        for first, last in itertools.pairwise(sorted(places)):
            behind = self.look_behind(line, (first + last) / 2)
            if behind is not None:
                ends = [self.end_colors(line, place, behind) for place in (first, last)]
                parts.append((line, first, last, *np.stack(ends, axis=1)))
        return parts

    def look_behind(self, line, place):
        """The face behind a point of an edge, -1 for none; None if one is before it."""
        face, corners, across = line
        a, b = self.ends(line)
        point = a + (b - a) * place
        one, other = 1 / self.depths[face, corners]
        depth = 1 / (one + (other - one) * place)
        if not self.limits["near"] < depth < self.limits["far"]:
            return None
        x, y = (b - a) / np.linalg.norm(b - a) * 1e-10
        nearest, behind = np.inf, -1
        for f, side in itertools.product(np.flatnonzero(self.is_drawn), (-1, 1)):
            beside = point + side * np.array([y, -x])  # 1 is beyond the edge
            if f in (face, across) or (self.barycentric(f, beside) < 0).any():
                continue
            there = self.depth(f, beside)
            if not self.limits["near"] < there < self.limits["far"]:
                continue
            is_equal = there < depth * (1 + 1e-5) and self.areas[f] * self.areas[face] > 0
            if there < depth * (1 - 1e-5) or (is_equal and side < 0 and f < face):
                return None
            if side == 1 and there < nearest:
                nearest, behind = there, f
        if across is not None and self.is_drawn[across]:
            if self.areas[face] * self.areas[across] > 0:
                return across
        return behind

    def end_colors(self, line, place, behind):
        """(2, C + 1) in front and behind at a place of an edge."""
        face, corners, _ = line
        weights = np.zeros(3)
        weights[corners] = 1 - place, place
        color = self.background
        if behind >= 0:
            a, b = self.ends(line)
            color = self.color(behind, np.maximum(self.barycentric(behind, a + (b - a) * place), 0))
        return np.stack([self.color(face, weights), color])

    def shares(self, line, first, last, row, column, radius):
        """(2,) that a pixel has of the jumps at both ends of a part."""
        height, width = self.image_size
        centre = np.array([column + 0.5 - width / 2, height / 2 - row - 0.5])
        a, b = self.ends(line)
        length = np.linalg.norm(b - a)
        direction = (b - a) / length
        distance = cross(direction, centre - a)  # positive on the left, in the face
        foot = (centre - a) @ direction
        low, high = first * length - foot, last * length - foot
        start, part = low, high - low
        half = np.sqrt(max(radius**2 - distance**2, 0))
        low, high = max(low, -half), min(high, half)
        if high <= low:
            return np.zeros(2)
        sign, distance = (-1 if distance >= 0 else 1), abs(distance)
        angle = np.arctan2(high, distance) - np.arctan2(low, distance)
        whole = angle - distance * (high - low) / radius**2
        ratio = (distance**2 + high**2) / (distance**2 + low**2)
        tilt = distance * (np.log(ratio) / 2 - (high**2 - low**2) / 2 / radius**2)
        at_end = (tilt - start * whole) / part
        return sign * np.array([whole - at_end, at_end]) / (2 * np.pi)
