"""Rotation vectors: an axis times an angle."""

from taichi_softras.funcs.rotation_vectors import sinc
from taichi_softras.runtime import ti


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
