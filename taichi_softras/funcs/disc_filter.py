"""The share that a piece of an edge has of a disc: how far a pixel's mean colour is from its own.

An image of flat colours, averaged over a disc around a pixel's centre, differs from the colour at
the centre by a sum over the edges in the disc (Gauss' theorem). With r from the centre to a point
of an edge, and s along the edge, a piece adds

    (1 / 2 pi) int (C_left - C_right) h (1 / |r|^2 - 1 / R^2) ds,

h the distance of the centre from the edge's line, positive on its right. Where the jump of
colours is linear along a piece, its shares at both ends are closed formulas.
"""

from taichi_softras.funcs.triangle import cross
from taichi_softras.runtime import ti, vec2

SMALLEST_DISTANCE = 1e-12  # over the radius
SMALLEST_SQUARE = 1e-18  # of a distance over the radius: the logarithm of less is cut off


@ti.func
def moments(start: vec2, end: vec2, centre: vec2, radius: float, is_left: int):
    """Integrals over the part of a piece that lies in the disc, with k = 1 / |r|^2 - 1 / R^2.

    Args:
        start: of the piece.
        end: of the piece.
        centre: of the disc.
        radius: R.
        is_left: whether the centre counts as left of the piece; it decides where it is on it.

    Returns:
        A struct: the `direction` of the piece and its `length`; `first`, the place of its start
        along its line, from the foot of the centre; `distance` h; `start` and `end` of the part
        in the disc (equal where it misses it); `zeroth` h int k ds, `linear` int k s ds and
        `square` int k s^2 ds.
    """
    offset = end - start
    length = offset.norm()
    direction = offset / ti.max(length, 1e-30)
    to_start = start - centre
    first = to_start.dot(direction)
    distance = ti.abs(cross(direction, to_start))
    half = ti.sqrt(ti.max(radius * radius - distance * distance, 0.0))
    low = ti.max(first, -half)
    high = ti.max(ti.min(first + length, half), low)
    span = high - low
    # seen from the centre; from a centre on the piece's line, from a little beside it
    beside = ti.max(distance, SMALLEST_DISTANCE * radius)
    angle = ti.atan2(beside * span, beside * beside + low * high)
    inverse = 1.0 / (radius * radius)
    least = SMALLEST_SQUARE * radius * radius
    before = ti.max(distance * distance + low * low, least)
    behind = ti.max(distance * distance + high * high, least)
    sign = ti.select(is_left != 0, -1.0, 1.0)
    return ti.Struct(
        direction=direction,
        length=ti.max(length, 1e-30),
        first=first,
        distance=sign * distance,
        start=low,
        end=high,
        zeroth=sign * (angle - distance * span * inverse),
        linear=0.5 * (ti.log(behind / before) - (high * high - low * low) * inverse),
        square=span - distance * angle - (high**3 - low**3) * inverse / 3.0,
    )


@ti.func
def disc_shares(of_piece: ti.template()) -> vec2:
    """The pixel's shares of the jumps at start and end, from the `moments`."""
    at_end = of_piece.distance * of_piece.linear - of_piece.first * of_piece.zeroth
    at_end /= of_piece.length
    return vec2(of_piece.zeroth - at_end, at_end) / (2.0 * ti.math.pi)


@ti.func
def disc_shares_vjp(of_piece: ti.template(), radius: float, grad: vec2):
    """The gradients at start and end, vec2 each.

    The field r k has the divergence -2 / R^2 and is 0 on the circle. So when a piece moves, what
    it sweeps counts, then its ends, and the slope of the jump along it.
    """
    direction, length = of_piece.direction, of_piece.length
    left = vec2(-direction.y, direction.x)
    low = (of_piece.start - of_piece.first) / length  # in [0, 1], along the piece
    high = (of_piece.end - of_piece.first) / length
    slope = grad.y - grad.x
    # int g dt, int g t dt over the part, g = grad.x + slope t
    flat = grad.x * (high - low) + slope * (high**2 - low**2) / 2.0
    tilted = grad.x * (high**2 - low**2) / 2.0 + slope * (high**3 - low**3) / 3.0
    swept = -left * length / (ti.math.pi * radius * radius)
    grad_start, grad_end = swept * (flat - tilted), swept * tilted
    # int k s dt, int k s t dt; h int k dt, h int k t dt
    turn = of_piece.linear / length
    turn_end = (of_piece.square - of_piece.first * of_piece.linear) / length**2
    stretch = of_piece.zeroth / length
    stretch_end = of_piece.distance * of_piece.linear - of_piece.first * of_piece.zeroth
    stretch_end /= length**2
    share = slope / (2.0 * ti.math.pi)
    grad_start += share * (left * (turn - turn_end) - direction * (stretch - stretch_end))
    grad_end += share * (left * turn_end - direction * stretch_end)
    last = of_piece.first + length
    grad_start += grad.x * end_pull(of_piece, of_piece.first, radius)
    grad_end -= grad.y * end_pull(of_piece, last, radius)
    return grad_start, grad_end


@ti.func
def end_pull(of_piece: ti.template(), place: float, radius: float) -> vec2:
    """What an end of a piece, at this place along its line, adds by being where it is."""
    direction, distance = of_piece.direction, of_piece.distance
    left = vec2(-direction.y, direction.x)
    square = ti.max(place * place + distance * distance, SMALLEST_SQUARE * radius * radius)
    slope = ti.max(1.0 / square - 1.0 / (radius * radius), 0.0) / (2.0 * ti.math.pi)
    return slope * (place * left - distance * direction)
