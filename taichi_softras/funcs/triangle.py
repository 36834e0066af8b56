"""A projected triangle seen from a pixel: barycentric weights and the nearest outline point.

Positions are in half pixels from the image's centre, so that pixel centres are whole numbers.
`make_triangle` holds what is the same for all pixels of a face: corners a, b, c; inverse_area, of
the parallelogram, its sign is that of the winding; the edges ab, bc, ca; inverse_w and depth_over_w
of the corners.

On which side of an edge a pixel lies is exact: two rounded products of differences are compared,
and no compiler may join what stands between. Both faces of an edge start at its lesser end, so a
pixel is left of it in one face and right of it in the other, or on it in both.
"""

from taichi_softras.funcs.numeric import EPSILONS
from taichi_softras.funcs.vectors import dot
from taichi_softras.runtime import is_cpu, is_double, ti, vec2, vec3

TIED_ROUNDINGS = 16.0  # values that differ by no more roundings are equally small


@ti.func
def cross(u: vec2, v: vec2) -> float:
    """The area of the parallelogram from u to v, positive counter-clockwise."""
    return u.x * v.y - u.y * v.x


@ti.func
def is_before(one: vec2, other: vec2) -> int:
    """The order of corners: from left to right, then upwards."""
    return (one.x < other.x) | ((one.x == other.x) & (one.y < other.y))


@ti.func
def signed_area(a: vec2, b: vec2, c: vec2) -> float:
    """Of the parallelogram; of another order of corners the same number, or its negative."""
    ab, bc, ca = is_before(a, b), is_before(b, c), is_before(c, a)
    first = ti.select(ab, ti.select(ca, c, a), ti.select(bc, b, c))
    last = ti.select(ab, ti.select(bc, c, b), ti.select(ca, a, c))
    middle = ti.select(ab == ca, a, ti.select(ab == bc, b, c))
    area = cross(middle - first, last - first)
    return ti.select(
        ti.cast(ab, ti.i32) + ti.cast(bc, ti.i32) + ti.cast(ca, ti.i32) == 2, area, -area
    )


@ti.func
def make_edge(start: vec2, end: vec2, inverse_length: float, inverse_area: float):
    """An edge, of both its faces the same but for `turn`, -1 where it ends at its base, and `gain`.

    `gain` makes a weight of the area from the edge to a pixel.
    """
    is_ordered = is_before(start, end)
    turn = ti.select(is_ordered, 1.0, -1.0)
    return ti.Struct(
        base=ti.select(is_ordered, start, end),
        vector=ti.select(is_ordered, end - start, start - end),
        turn=turn,
        gain=turn * inverse_area,
        inverse_length=inverse_length,
    )


@ti.func
def make_triangle(
    a: vec2, b: vec2, c: vec2, inverse_area: float, inverse_lengths: vec3, planes: ti.template()
):
    """What the functions here take; `inverse_lengths` are those of ab, bc, ca."""
    return ti.Struct(
        a=a,
        b=b,
        c=c,
        inverse_area=inverse_area,
        ab=make_edge(a, b, inverse_lengths.x, inverse_area),
        bc=make_edge(b, c, inverse_lengths.y, inverse_area),
        ca=make_edge(c, a, inverse_lengths.z, inverse_area),
        inverse_w=planes.inverse_w,
        depth_over_w=planes.depth_over_w,
    )


@ti.func
def side_of(pixel: vec2, edge: ti.template()) -> float:
    """Above 0 left of an edge that starts at its base: the area from it to the pixel. Exact sign.

    On a GPU the difference may be that of a rounded and an unrounded product. Where the products
    are rounded to different numbers its sign is right all the same; where not, it is 0 by rule.
    """
    offset = pixel - edge.base
    left, right = edge.vector.x * offset.y, edge.vector.y * offset.x
    side = left - right
    if ti.static(not is_cpu()):
        side = ti.select(left == right, 0.0, side)
    return side


@ti.func
def barycentric(pixel: vec2, triangle: ti.template()) -> vec3:
    """Barycentric weights of a pixel, any sign, sum 1 but for rounding. Their signs are exact.

    So a pixel lies in a face, or on its outline, where the least weight is 0 or above, and none
    lies between two faces that share an edge. The weights are the same for the same corners in
    another order.
    """
    return vec3(
        side_of(pixel, triangle.bc) * triangle.bc.gain,
        side_of(pixel, triangle.ca) * triangle.ca.gain,
        side_of(pixel, triangle.ab) * triangle.ab.gain,
    )


@ti.func
def barycentric_vjp(triangle: ti.template(), grad_weights: vec3) -> vec2:
    """The gradient with respect to the PIXEL's position, sum_k g_k grad w_k.

    Moving corner j by u moves weight k by -w_j (grad w_k . u), so the gradient at
    corner j is -w_j times this vector.
    """
    slope_a = triangle.c - triangle.b
    slope_b = triangle.a - triangle.c
    g_a = (grad_weights.x - grad_weights.z) * triangle.inverse_area
    g_b = (grad_weights.y - grad_weights.z) * triangle.inverse_area
    return vec2(-slope_a.y * g_a - slope_b.y * g_b, slope_a.x * g_a + slope_b.x * g_b)


@ti.func
def settle_on_edge(weights: vec3, pixel: vec2, triangle: ti.template()) -> vec3:
    """Barycentric weights; on an edge, those of its two ends alone, from the edge alone.

    So both faces of an edge have the same depth at a pixel on it, to the last bit.
    """
    on_ab, on_bc, on_ca = weights.z == 0.0, weights.x == 0.0, weights.y == 0.0
    ab, bc, ca = triangle.ab, triangle.bc, triangle.ca
    base = ti.select(on_ab, ab.base, ti.select(on_bc, bc.base, ca.base))
    vector = ti.select(on_ab, ab.vector, ti.select(on_bc, bc.vector, ca.vector))
    turn = ti.select(on_ab, ab.turn, ti.select(on_bc, bc.turn, ca.turn))
    is_steep = ti.abs(vector.y) > ti.abs(vector.x)
    way = ti.select(is_steep, pixel.y - base.y, pixel.x - base.x)
    whole = ti.select(is_steep, vector.y, vector.x)
    at_other = ti.select(way == whole, 1.0, way / whole)
    at_base = 1.0 - at_other
    at_start, at_end = (
        ti.select(turn > 0.0, at_base, at_other),
        ti.select(turn > 0.0, at_other, at_base),
    )
    on_last = ti.select(on_ca, vec3(at_end, 0.0, at_start), weights)
    return ti.select(
        on_ab,
        vec3(at_start, at_end, 0.0),
        ti.select(on_bc, vec3(0.0, at_start, at_end), on_last),
    )


@ti.func
def nearest_on_edge(pixel: vec2, edge: ti.template()):
    """Where the point of an edge that is nearest to a pixel lies.

    Returns:
        A struct: the pixel's distances from it `across` and `along` the edge, with signs, and the
        place `t` of the point, 0 at the base, 1 at the other end.
    """
    direction = edge.vector * edge.inverse_length
    along = dot(pixel - edge.base, direction)
    nearest = ti.min(ti.max(along, 0.0), dot(edge.vector, direction))
    return ti.Struct(
        across=side_of(pixel, edge) * edge.inverse_length,
        along=along - nearest,
        t=nearest * edge.inverse_length,
    )


@ti.func
def squared_distance_to_edge(pixel: vec2, edge: ti.template()) -> float:
    """Half pixels squared."""
    nearest = nearest_on_edge(pixel, edge)
    return nearest.across * nearest.across + nearest.along * nearest.along


@ti.func
def squared_distance(pixel: vec2, triangle: ti.template()) -> float:
    """Squared distance to the triangle's outline, half pixels squared."""
    return ti.min(
        squared_distance_to_edge(pixel, triangle.ab),
        squared_distance_to_edge(pixel, triangle.bc),
        squared_distance_to_edge(pixel, triangle.ca),
    )


@ti.func
def squared_distance_vjp(pixel: vec2, triangle: ti.template(), grad: float):
    """The gradients at corners a, b, c, and what is left over: `grad` where two edges are nearest.

    There the first edge has it all, which `tied_distance_vjp` makes their mean: so rare that most
    pixels need not pay for it. d(d^2)/dstart = -2 (1 - t) r, d(d^2)/dend = -2 t r, with r the
    pixel minus the nearest point.
    """
    ab = nearest_on_edge(pixel, triangle.ab)
    bc = nearest_on_edge(pixel, triangle.bc)
    ca = nearest_on_edge(pixel, triangle.ca)
    to_ab = ab.across * ab.across + ab.along * ab.along
    to_bc = bc.across * bc.across + bc.along * bc.along
    to_ca = ca.across * ca.across + ca.along * ca.along
    is_ab = (to_ab <= to_bc) & (to_ab <= to_ca)
    is_bc = (to_bc < to_ab) & (to_bc <= to_ca)
    along_ab = triangle.ab.vector * triangle.ab.inverse_length
    along_bc = triangle.bc.vector * triangle.bc.inverse_length
    along_ca = triangle.ca.vector * triangle.ca.inverse_length
    ahead_x = ti.select(is_ab, along_ab.x, ti.select(is_bc, along_bc.x, along_ca.x))
    ahead_y = ti.select(is_ab, along_ab.y, ti.select(is_bc, along_bc.y, along_ca.y))
    along = -2.0 * grad * ti.select(is_ab, ab.along, ti.select(is_bc, bc.along, ca.along))
    across = -2.0 * grad * ti.select(is_ab, ab.across, ti.select(is_bc, bc.across, ca.across))
    end_ab = ti.select(triangle.ab.turn > 0.0, ab.t, 1.0 - ab.t)
    end_bc = ti.select(triangle.bc.turn > 0.0, bc.t, 1.0 - bc.t)
    end_ca = ti.select(triangle.ca.turn > 0.0, ca.t, 1.0 - ca.t)
    at_a = ti.select(is_ab, 1.0 - end_ab, ti.select(is_bc, 0.0, end_ca))
    at_b = ti.select(is_ab, end_ab, ti.select(is_bc, 1.0 - end_bc, 0.0))
    pull = vec2(along * ahead_x - across * ahead_y, along * ahead_y + across * ahead_x)
    middle = ti.max(ti.min(to_ab, to_bc), ti.min(ti.max(to_ab, to_bc), to_ca))
    at_c = 1.0 - at_a - at_b
    is_tied = middle <= tie_limit(ti.min(to_ab, to_bc, to_ca))
    is_tied &= ti.max(at_a, at_b, at_c) < 1.0  # a corner has one place in both of its edges
    return pull * at_a, pull * at_b, pull * at_c, ti.select(is_tied, grad, 0.0)


@ti.func
def tied_distance_vjp(pixel: vec2, triangle: ti.template(), grad: float):
    """What `squared_distance_vjp` lacks where edges are equally near, from first to mean."""
    distances = vec3(
        squared_distance_to_edge(pixel, triangle.ab),
        squared_distance_to_edge(pixel, triangle.bc),
        squared_distance_to_edge(pixel, triangle.ca),
    )
    least = distances.min()
    is_ab, is_bc = distances.x == least, (distances.x > least) & (distances.y == least)
    first = vec3(ti.select(is_ab, grad, 0.0), ti.select(is_bc, grad, 0.0), 0.0)
    first.z = grad - first.x - first.y
    grads = least_vjp(distances, grad) - first
    ab_start, ab_end = edge_vjp(pixel, triangle.ab, grads.x)
    bc_start, bc_end = edge_vjp(pixel, triangle.bc, grads.y)
    ca_start, ca_end = edge_vjp(pixel, triangle.ca, grads.z)
    return ab_start + ca_end, bc_start + ab_end, ca_start + bc_end


@ti.func
def outline_distance_vjp(pixel: vec2, outline: ti.template(), grad: float):
    """Of `squared_distance` to edges that need not meet: at start and end of ab, of bc, of ca."""
    distances = vec3(
        squared_distance_to_edge(pixel, outline.ab),
        squared_distance_to_edge(pixel, outline.bc),
        squared_distance_to_edge(pixel, outline.ca),
    )
    grads = least_vjp(distances, grad)
    ab_start, ab_end = edge_vjp(pixel, outline.ab, grads.x)
    bc_start, bc_end = edge_vjp(pixel, outline.bc, grads.y)
    ca_start, ca_end = edge_vjp(pixel, outline.ca, grads.z)
    return ab_start, ab_end, bc_start, bc_end, ca_start, ca_end


@ti.func
def edge_vjp(pixel: vec2, edge: ti.template(), grad: float):
    """The gradients of the squared distance to an edge at its start and its end."""
    nearest = nearest_on_edge(pixel, edge)
    ahead = edge.vector * (-2.0 * edge.inverse_length)
    pull = (grad * nearest.along) * ahead + (grad * nearest.across) * vec2(-ahead.y, ahead.x)
    at_end = ti.select(edge.turn > 0.0, nearest.t, 1.0 - nearest.t) * pull
    return pull - at_end, at_end


@ti.func
def tie_limit(least: float) -> float:
    """Values up to this one are as small as the least, but for rounding."""
    return least + ti.abs(least) * ti.static(TIED_ROUNDINGS * EPSILONS[is_double()])


@ti.func
def least_vjp(values: vec3, grad: float) -> vec3:
    """Of the least of three numbers: all to that one, half to each of two that rounding decides.

    So what is symmetric has a symmetric derivative at its kinks.
    """
    least = values.min()
    limit = tie_limit(least)
    is_x, is_y = values.x <= limit, values.y <= limit
    is_z = (values.z <= limit) & ((values.x > limit) | (values.y > limit))
    part = ti.select((is_x & is_y) | (is_z & (is_x | is_y)), 0.5 * grad, grad)
    return vec3(ti.select(is_x, part, 0.0), ti.select(is_y, part, 0.0), ti.select(is_z, part, 0.0))
