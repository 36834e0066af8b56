"""A projected triangle seen from a pixel: barycentric weights and the nearest outline point.

`triangle` holds what is the same for all pixels of a face (`rasterizers.faces.load_triangle`):
corners a, b, c in NDC; inverse_area, of the parallelogram, its sign is that of the winding;
inverse_edges, 1 / squared length of a-b, b-c, c-a; inverse_w and depth_over_w of the corners.
"""

import taichi as ti
from taichi.math import vec2, vec3  # these follow `default_fp`; own vector types would not


@ti.func
def cross(u: vec2, v: vec2) -> float:
    """The area of the parallelogram from u to v, positive counter-clockwise."""
    return u.x * v.y - u.y * v.x


@ti.func
def barycentric(pixel: vec2, triangle: ti.template()) -> vec3:
    """Barycentric weights of a pixel, any sign, sum 1."""
    weight_a = cross(triangle.c - triangle.b, pixel - triangle.b) * triangle.inverse_area
    weight_b = cross(triangle.a - triangle.c, pixel - triangle.c) * triangle.inverse_area
    return vec3(weight_a, weight_b, 1.0 - weight_a - weight_b)


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
def nearest_on_segment(pixel: vec2, start: vec2, end: vec2, inverse_squared_length: float):
    """The position t in [0, 1] of the nearest point, and pixel minus that point."""
    edge = end - start
    offset = pixel - start
    t = ti.min(ti.max(offset.dot(edge) * inverse_squared_length, 0.0), 1.0)
    return t, offset - t * edge


@ti.func
def squared_distance(pixel: vec2, triangle: ti.template()) -> float:
    """Squared distance to the triangle's outline, NDC squared."""
    _t0, to_ab = nearest_on_segment(pixel, triangle.a, triangle.b, triangle.inverse_edges.x)
    _t1, to_bc = nearest_on_segment(pixel, triangle.b, triangle.c, triangle.inverse_edges.y)
    _t2, to_ca = nearest_on_segment(pixel, triangle.c, triangle.a, triangle.inverse_edges.z)
    return ti.min(to_ab.dot(to_ab), to_bc.dot(to_bc), to_ca.dot(to_ca))


@ti.func
def squared_distance_vjp(pixel: vec2, triangle: ti.template()):
    """(r, t): the gradient with respect to corner j is -2 t_j r (DESIGN: p = (1-t) a + t b).

    Returns pixel minus the nearest outline point, and that point's barycentric weights.
    """
    t0, to_ab = nearest_on_segment(pixel, triangle.a, triangle.b, triangle.inverse_edges.x)
    t1, to_bc = nearest_on_segment(pixel, triangle.b, triangle.c, triangle.inverse_edges.y)
    t2, to_ca = nearest_on_segment(pixel, triangle.c, triangle.a, triangle.inverse_edges.z)
    on_ab = to_ab.dot(to_ab)
    on_bc = to_bc.dot(to_bc)
    on_ca = to_ca.dot(to_ca)
    is_ab = (on_ab <= on_bc) & (on_ab <= on_ca)
    is_bc = (on_bc < on_ab) & (on_bc <= on_ca)
    residual_x = ti.select(is_ab, to_ab.x, ti.select(is_bc, to_bc.x, to_ca.x))
    residual_y = ti.select(is_ab, to_ab.y, ti.select(is_bc, to_bc.y, to_ca.y))
    weight_a = ti.select(is_ab, 1.0 - t0, ti.select(is_bc, 0.0, t2))
    weight_b = ti.select(is_ab, t0, ti.select(is_bc, 1.0 - t1, 0.0))
    return vec2(residual_x, residual_y), vec3(weight_a, weight_b, 1.0 - weight_a - weight_b)
