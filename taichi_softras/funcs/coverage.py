"""How far a pixel lies inside a face: the signed distance that the sigmoid takes.

A distance is a value: `signed` gives delta d^2 (positive inside) and `signed_vjp` its
adjoint. Coverage is D = sigmoid(delta d^2 / sigma), Soft Rasterizer eq. 1.
"""

import math
from typing import Callable

import taichi as ti
from taichi.math import vec2, vec3

from taichi_softras.funcs.triangle import barycentric_vjp, squared_distance, squared_distance_vjp
from taichi_softras.funcs.values import value

ALWAYS = 1e20  # a signed distance that no sigma and no cut-off changes


@value
class Distance:
    """The pair of functions that a coverage is made of.

    Attributes:
        signed: (pixel, triangle, weights) -> delta d^2.
        signed_vjp: (pixel, triangle, weights, grad) -> gradients at corners a, b, c.
        has_reach: whether a face covers pixels outside of its edges.
    """

    signed: Callable
    signed_vjp: Callable
    has_reach: bool

    def reach(self, sigma: float, cutoff: float) -> float:
        """The squared distance beyond which coverage falls below the cut-off."""
        return sigma * math.log(1.0 / cutoff - 1.0) if self.has_reach else 0.0


@ti.func
def euclidean(pixel: vec2, triangle: ti.template(), weights: vec3) -> float:
    """Squared distance to the outline in NDC squared, negative outside. SoftRas section 3.2."""
    distance = squared_distance(pixel, triangle)
    return ti.select(weights.min() >= 0.0, distance, -distance)


@ti.func
def euclidean_vjp(pixel: vec2, triangle: ti.template(), weights: vec3, grad: float):
    """The gradients at the three corners."""
    residual, nearest = squared_distance_vjp(pixel, triangle)
    pull = residual * ti.select(weights.min() >= 0.0, -2.0 * grad, 2.0 * grad)
    return nearest.x * pull, nearest.y * pull, nearest.z * pull


@ti.func
def barycentric_distance(pixel: vec2, triangle: ti.template(), weights: vec3) -> float:
    """sign(q) q^2 of the smallest weight q: a pure number, not a length (SoftRas' code).

    It has no bound in NDC, so a face also ends at its box grown by the cut-off.
    """
    smallest = weights.min()
    return smallest * ti.abs(smallest)


@ti.func
def barycentric_distance_vjp(pixel: vec2, triangle: ti.template(), weights: vec3, grad: float):
    """The gradients at the three corners."""
    smallest = weights.min()
    slope = 2.0 * ti.abs(smallest) * grad
    is_a = (weights.x <= weights.y) & (weights.x <= weights.z)
    is_b = (weights.y < weights.x) & (weights.y <= weights.z)
    pull = -barycentric_vjp(
        triangle,
        vec3(
            ti.select(is_a, slope, 0.0),
            ti.select(is_b, slope, 0.0),
            ti.select(is_a | is_b, 0.0, slope),
        ),
    )
    return weights.x * pull, weights.y * pull, weights.z * pull


@ti.func
def inside_only(pixel: vec2, triangle: ti.template(), weights: vec3) -> float:
    """Covered inside, not covered outside: no distance, no gradient."""
    return ti.select(weights.min() >= 0.0, ALWAYS, -ALWAYS)


@ti.func
def inside_only_vjp(pixel: vec2, triangle: ti.template(), weights: vec3, grad: float):
    """Zero: a step has no useful derivative."""
    return vec2(0.0), vec2(0.0), vec2(0.0)


DISTANCES = {
    "euclidean": Distance(euclidean, euclidean_vjp, has_reach=True),
    "barycentric": Distance(barycentric_distance, barycentric_distance_vjp, has_reach=True),
    "hard": Distance(inside_only, inside_only_vjp, has_reach=False),
}
