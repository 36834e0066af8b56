"""Rotation vectors: an axis times an angle."""

import taichi as ti


@ti.func
def rotate(point, rotation):
    """A point turned about the origin; for kernels of your own, differentiable also at rotation 0.

    Args:
        point: 3-vector.
        rotation: 3-vector, the axis times the angle in radians, right-handed.

    Source: Rodrigues' formula.
    """
    angle = rotation.norm(1e-12)
    axis = rotation / angle
    turned = ti.cos(angle) * point + ti.sin(angle) * axis.cross(point)
    return turned + (1.0 - ti.cos(angle)) * axis.dot(point) * axis
