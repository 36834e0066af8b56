"""Rotation vectors: an axis times an angle."""

from taichi_softras.runtime import ti

SMALL_SQUARE = 0.25  # radians squared; below it the series of `sinc` is exact to rounding in f64


@ti.func
def rotate(point, rotation):
    """A point turned about the origin; for kernels of your own, differentiable everywhere.

    Args:
        point: 3-vector.
        rotation: 3-vector, the axis times the angle in radians, right-handed.

    Source: Rodrigues' formula, whose coefficients are smooth functions of the squared angle.
    """
    square = rotation.norm_sqr()
    across = rotation.cross(point)
    half = sinc(0.25 * square)  # (1 - cos a) / a^2 = (sin(a / 2) / (a / 2))^2 / 2
    return point + sinc(square) * across + 0.5 * half * half * rotation.cross(across)


@ti.func
def sinc(square):
    """sin(a) / a of the angle a >= 0 whose square is given.

    A GPU's fast sine is 6e-8 off, whatever the angle, and the root has no derivative at 0: small
    angles take the series. Taichi differentiates this in users' kernels, so there is no branch, no
    local is assigned twice, and the side that is not taken is finite, with its derivative.
    """
    is_small = square < SMALL_SQUARE
    small, angle = ti.select(is_small, square, 0.0), ti.sqrt(ti.select(is_small, 1.0, square))
    last = 1.0 - small / 72.0 * (1.0 - small / 110.0 * (1.0 - small / 156.0))
    series = 1.0 - small / 6.0 * (1.0 - small / 20.0 * (1.0 - small / 42.0 * last))
    return ti.select(is_small, series, ti.sin(angle) / angle)
