"""Distortion of lenses: clip space of a pinhole in, that of a lens out; adjoint and tangent.

With X / w and Y / w for x / z and y / z of OpenCV's camera space (y down) a pinhole has
x_clip = scale X + offset w. The numbers of a lens are three vectors: `window`, scale and offset of
x_clip and y_clip; `radial`, k1, k2, k3 and the edge; `tangential`, p1 and p2.

The polynomial holds up to the edge, the square of the radius where points that are further out stop
to be drawn further out (`find_edge`). Beyond it, and behind the camera, a point is moved as one at
the edge is, h shift(X / h, Y / h) with h = |X, Y| / sqrt(edge) in place of w. So nothing folds back
into the picture, and a line that goes behind the camera goes on in clip space.

Source: Brown, "Decentering distortion of lenses", 1966, as in OpenCV's `projectPoints`.
"""

from taichi_softras.runtime import ti, vec2, vec3, vec4

LARGEST_SQUARE = 25.0  # of an edge: 79 degrees off the axis, further than lenses of this kind see
SMALLEST = 1e-18
HALVINGS = 60  # more than a double has bits


@ti.func
def bend(clip: vec4, window: vec4, radial: vec4, tangential: vec2) -> vec4:
    """Where a lens puts what a pinhole has at x_clip, y_clip, depth, w_clip."""
    place = place_of(clip, window)
    height = height_of(place, clip.w, radial.w)
    moved = height * window.xy * shift(place / height, radial.xyz, tangential)
    return clip + vec4(moved, 0.0, 0.0)


@ti.func
def bend_vjp(clip: vec4, window: vec4, radial: vec4, tangential: vec2, grad: vec4):
    """Gradients with respect to the four arguments, a struct."""
    place = place_of(clip, window)
    height = height_of(place, clip.w, radial.w)
    point = place / height
    shifted = shift(point, radial.xyz, tangential)
    through = shift_vjp(point, radial.xyz, tangential, height * window.xy * grad.xy)
    grad_height = (window.xy * shifted).dot(grad.xy) - through.point.dot(point) / height
    is_beyond = lies_beyond(place, clip.w, radial.w)
    of_edge = ti.select(is_beyond, grad_height / radial.w, 0.0)
    grad_x_y = (through.point / height + of_edge * point) / window.xy  # through `place`
    grad_w = ti.select(is_beyond, 0.0, grad_height) - window.zw.dot(grad_x_y)
    return ti.Struct(
        clip=grad + vec4(grad_x_y, 0.0, grad_w),
        window=vec4(height * shifted * grad.xy - place * grad_x_y, -clip.w * grad_x_y),
        radial=vec4(through.radial, -0.5 * height * of_edge),
        tangential=through.tangential,
    )


@ti.func
def bend_jvp(
    clip: vec4,
    window: vec4,
    radial: vec4,
    tangential: vec2,
    moved_clip: vec4,
    moved_window: vec4,
    moved_radial: vec4,
    moved_tangential: vec2,
) -> vec4:
    """The tangent of `bend`."""
    place = place_of(clip, window)
    height = height_of(place, clip.w, radial.w)
    moved_place = moved_clip.xy - moved_clip.w * window.zw - clip.w * moved_window.zw
    moved_place = (moved_place - moved_window.xy * place) / window.xy
    beyond = place.dot(moved_place) / (radial.w * height) - 0.5 * height * moved_radial.w / radial.w
    moved_height = ti.select(lies_beyond(place, clip.w, radial.w), beyond, moved_clip.w)
    point = place / height
    moved_point = (moved_place - moved_height * point) / height
    shifted = shift(point, radial.xyz, tangential)
    moved_shift = shift_jvp(
        point, radial.xyz, tangential, moved_point, moved_radial.xyz, moved_tangential
    )
    moved = (moved_height * window.xy + height * moved_window.xy) * shifted
    return moved_clip + vec4(moved + height * window.xy * moved_shift, 0.0, 0.0)


@ti.func
def place_of(clip: vec4, window: vec4) -> vec2:
    """X and Y: times w what OpenCV has as x / z and y / z."""
    return (clip.xy - clip.w * window.zw) / window.xy


@ti.func
def height_of(place: vec2, w: float, edge: float) -> float:
    """What X and Y are divided by: w, or what puts them at the edge."""
    beyond = ti.sqrt(place.norm_sqr() / edge)
    return ti.max(ti.select(lies_beyond(place, w, edge), beyond, w), SMALLEST)


@ti.func
def lies_beyond(place: vec2, w: float, edge: float) -> int:
    """Whether a point is beyond the edge, or behind the camera."""
    return (w <= 0.0) | (place.norm_sqr() > edge * w * w)


@ti.func
def shift(point: vec2, radial: vec3, tangential: vec2) -> vec2:
    """By how much x / z and y / z are moved."""
    square = point.norm_sqr()
    growth = square * (radial.x + square * (radial.y + square * radial.z))
    lean = 2.0 * (tangential.x * point.y + tangential.y * point.x)
    return (growth + lean) * point + square * vec2(tangential.y, tangential.x)


@ti.func
def shift_vjp(point: vec2, radial: vec3, tangential: vec2, grad: vec2):
    """Gradients with respect to the three arguments, a struct."""
    square = point.norm_sqr()
    growth = square * (radial.x + square * (radial.y + square * radial.z))
    slope = radial.x + square * (2.0 * radial.y + 3.0 * square * radial.z)
    lean = 2.0 * (tangential.x * point.y + tangential.y * point.x)
    turned, along = vec2(tangential.y, tangential.x), grad.dot(point)
    grad_square = slope * along + turned.dot(grad)
    return ti.Struct(
        point=(growth + lean) * grad + 2.0 * (along * turned + grad_square * point),
        radial=along * vec3(square, square * square, square * square * square),
        tangential=2.0 * along * vec2(point.y, point.x) + square * vec2(grad.y, grad.x),
    )


@ti.func
def shift_jvp(
    point: vec2,
    radial: vec3,
    tangential: vec2,
    moved_point: vec2,
    moved_radial: vec3,
    moved_tangential: vec2,
) -> vec2:
    """The tangent of `shift`."""
    square, moved_square = point.norm_sqr(), 2.0 * point.dot(moved_point)
    growth = square * (radial.x + square * (radial.y + square * radial.z))
    slope = radial.x + square * (2.0 * radial.y + 3.0 * square * radial.z)
    powers = vec3(square, square * square, square * square * square)
    turned = vec2(tangential.y, tangential.x)
    moved_turned = vec2(moved_tangential.y, moved_tangential.x)
    lean = growth + 2.0 * turned.dot(point)
    moved_lean = slope * moved_square + powers.dot(moved_radial)
    moved_lean += 2.0 * (moved_turned.dot(point) + turned.dot(moved_point))
    moved = lean * moved_point + moved_lean * point
    return moved + moved_square * turned + square * moved_turned


@ti.func
def find_edge(radial: vec3) -> float:
    """The smallest x^2 + y^2 at which the radius that is drawn stops to grow with the true one.

    That is a root of `slope_of`, between the places where the slope itself turns round; at most
    LARGEST_SQUARE.
    """
    a, b, c = 21.0 * radial.z, 5.0 * radial.y, 3.0 * radial.x  # slope' = a s^2 + 2 b s + c
    square = b * b - a * c
    sign = ti.select(b < 0.0, -1.0, 1.0)
    stable = -(b + sign * ti.sqrt(ti.max(square, 0.0)))
    turns = vec2(LARGEST_SQUARE)
    turns[0] = turn_at(stable, a, square)
    turns[1] = turn_at(c, stable, square)
    first, second = ti.min(turns.x, turns.y), ti.max(turns.x, turns.y)
    low, high = 0.0, first
    is_found = slope_of(high, radial) <= 0.0
    low, high = ti.select(is_found, low, first), ti.select(is_found, high, second)
    is_found |= slope_of(high, radial) <= 0.0
    low, high = ti.select(is_found, low, second), ti.select(is_found, high, LARGEST_SQUARE)
    is_found |= slope_of(high, radial) <= 0.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        is_falling = slope_of(middle, radial) <= 0.0
        low, high = ti.select(is_falling, low, middle), ti.select(is_falling, middle, high)
    return ti.select(is_found, high, LARGEST_SQUARE)


@ti.func
def find_edge_vjp(radial: vec3, edge: float, grad_edge: float) -> vec3:
    """The gradient with respect to k1, k2, k3; 0 where the edge is the largest.

    The edge is the root of `slope_of`; its tangent by `moved` is `find_edge_vjp(.., 1).dot(moved)`.
    """
    turn = 3.0 * radial.x + edge * (10.0 * radial.y + 21.0 * edge * radial.z)  # below 0 at a root
    grad_slope = ti.select(edge < LARGEST_SQUARE, -grad_edge / ti.min(turn, -SMALLEST), 0.0)
    return grad_slope * vec3(3.0 * edge, 5.0 * edge * edge, 7.0 * edge * edge * edge)


@ti.func
def turn_at(numerator: float, denominator: float, square: float) -> float:
    """A root between 0 and LARGEST_SQUARE, or else that."""
    is_root = (square >= 0.0) & (numerator * denominator > 0.0)
    is_root &= ti.abs(numerator) < LARGEST_SQUARE * ti.abs(denominator)
    return ti.select(is_root, numerator / denominator, LARGEST_SQUARE)


@ti.func
def slope_of(square: float, radial: vec3) -> float:
    """How fast the radius that is drawn grows with the true one, whose square is given."""
    return 1.0 + square * (3.0 * radial.x + square * (5.0 * radial.y + 7.0 * square * radial.z))
