"""How far a pixel lies inside a face: the signed distance that the sigmoid takes.

A distance is a value: `signed` gives delta d^2 (positive inside) and `signed_vjp` its
adjoint. Coverage is D = sigmoid(delta d^2 / sigma), Soft Rasterizer eq. 1.
"""

import math
from typing import Callable

from taichi_softras.funcs.triangle import (
    barycentric_vjp,
    least_vjp,
    outline_distance_vjp,
    squared_distance,
    squared_distance_vjp,
    tied_distance_vjp,
)
from taichi_softras.funcs.values import value
from taichi_softras.runtime import ti, vec2, vec3

ALWAYS = 1e20  # a signed distance that no sigma and no cut-off changes


@value
class Distance:
    """The pair of functions that a coverage is made of.

    Attributes:
        signed: (pixel, triangle, weights) -> delta d^2.
        signed_vjp: (pixel, triangle, weights, grad) -> gradients at corners a, b, c, and a number
            that is not 0 where `tied_vjp` has more.
        tied_vjp: (pixel, triangle, that number) -> more gradients at the corners.
        piece_vjp: of a piece of a face: (pixel, triangle, weights, shown, grad) -> gradients at its
            corners, and at the ends of `triangle.outline`, from which `signed` took the distance;
            `shown` are the weights that it took.
        has_reach: whether a face covers pixels outside of its edges.
        is_length: whether it is measured on the image, in half pixels squared.
    """

    signed: Callable
    signed_vjp: Callable
    tied_vjp: Callable
    piece_vjp: Callable
    has_reach: bool
    is_length: bool

    def reach(self, sigma: float, cutoff: float) -> float:
        """The squared distance beyond which coverage falls below the cut-off."""
        return sigma * math.log(1.0 / cutoff - 1.0) if self.has_reach else 0.0


@ti.func
def euclidean(pixel: vec2, triangle: ti.template(), weights: vec3) -> float:
    """Squared distance to the outline in half pixels squared, negative outside. SoftRas 3.2."""
    distance = squared_distance(pixel, triangle)
    return ti.select(weights.min() >= 0.0, distance, -distance)


@ti.func
def euclidean_vjp(pixel: vec2, triangle: ti.template(), weights: vec3, grad: float):
    """The gradients at the three corners, and what two edges share."""
    return squared_distance_vjp(pixel, triangle, ti.select(weights.min() >= 0.0, grad, -grad))


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
    pull = -barycentric_vjp(triangle, least_vjp(weights, 2.0 * ti.abs(smallest) * grad))
    return weights.x * pull, weights.y * pull, weights.z * pull, 0.0


@ti.func
def inside_only(pixel: vec2, triangle: ti.template(), weights: vec3) -> float:
    """Covered inside, not covered outside: no distance, no gradient."""
    return ti.select(weights.min() >= 0.0, ALWAYS, -ALWAYS)


@ti.func
def inside_only_vjp(pixel: vec2, triangle: ti.template(), weights: vec3, grad: float):
    """Zero: a step has no useful derivative."""
    return vec2(0.0), vec2(0.0), vec2(0.0), 0.0


@ti.func
def no_ties(pixel: vec2, triangle: ti.template(), grad: float):
    """Of a distance that has none."""
    return vec2(0.0), vec2(0.0), vec2(0.0)


@ti.func
def euclidean_piece_vjp(
    pixel: vec2, triangle: ti.template(), weights: vec3, shown: vec3, grad: float
):
    """The gradients at the three corners, and at start and end of the outline's edges."""
    none = vec2(0.0)
    p, q, r, s, t, u = outline_distance_vjp(
        pixel, triangle.outline, ti.select(shown.min() >= 0.0, grad, -grad)
    )
    return none, none, none, p, q, r, s, t, u


@ti.func
def barycentric_piece_vjp(
    pixel: vec2, triangle: ti.template(), weights: vec3, shown: vec3, grad: float
):
    """The gradients at the three corners; the ends of edges have none."""
    none = vec2(0.0)
    smallest = shown.min()
    pull = -barycentric_vjp(triangle, least_vjp(shown, 2.0 * ti.abs(smallest) * grad))
    x, y, z = weights.x * pull, weights.y * pull, weights.z * pull
    return x, y, z, none, none, none, none, none, none


@ti.func
def inside_only_piece_vjp(
    pixel: vec2, triangle: ti.template(), weights: vec3, shown: vec3, grad: float
):
    """Zero, as `inside_only_vjp`."""
    none = vec2(0.0)
    return none, none, none, none, none, none, none, none, none


DISTANCES = {
    "euclidean": Distance(
        euclidean,
        euclidean_vjp,
        tied_distance_vjp,
        euclidean_piece_vjp,
        has_reach=True,
        is_length=True,
    ),
    "barycentric": Distance(
        barycentric_distance,
        barycentric_distance_vjp,
        no_ties,
        barycentric_piece_vjp,
        has_reach=True,
        is_length=False,
    ),
    "hard": Distance(
        inside_only,
        inside_only_vjp,
        no_ties,
        inside_only_piece_vjp,
        has_reach=False,
        is_length=False,
    ),
}
