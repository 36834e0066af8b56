"""Where a camera looks, and how wide: unit vectors and scales, with adjoints and tangents."""

import math

from taichi_softras.funcs.vectors import unit, unit_vjp
from taichi_softras.runtime import ti, vec3

HALF_RADIANS_PER_DEGREE = math.pi / 360
ALONG_UP = 1e-10  # squared sine of the angle between `forward` and `up`: looks along up below it


@ti.func
def look_at(eye: vec3, target: vec3, up: vec3, pole_right: vec3):
    """The camera's axes in the world: right, above, forward, each of length 1.

    Args:
        eye: world.
        target: world, not the eye.
        up: world, upright in the image; of any length but zero.
        pole_right: world, stands at the right where the camera looks along `up`.
    """
    forward = unit(target - eye)
    right = unit(sideways(forward, unit(up), pole_right))
    return right, right.cross(forward), forward


@ti.func
def look_at_vjp(
    eye: vec3,
    target: vec3,
    up: vec3,
    pole_right: vec3,
    grad_right: vec3,
    grad_above: vec3,
    grad_forward: vec3,
):
    """Gradients with respect to `eye`, `target` and `up`, a struct; `pole_right` is constant."""
    along = target - eye
    forward = unit(along)
    upright = unit(up)
    side = sideways(forward, upright, pole_right)
    right = unit(side)
    grad_side = unit_vjp(side, grad_right + forward.cross(grad_above))
    is_pole = looks_along(forward, upright)
    at_pole = -(grad_side * forward.dot(pole_right) + pole_right * forward.dot(grad_side))
    through_side = ti.select(is_pole, at_pole, upright.cross(grad_side))
    grad_along = unit_vjp(along, grad_forward + grad_above.cross(right) + through_side)
    grad_upright = ti.select(is_pole, vec3(0.0), grad_side.cross(forward))
    return ti.Struct(eye=-grad_along, target=grad_along, up=unit_vjp(up, grad_upright))


@ti.func
def look_at_jvp(
    eye: vec3,
    target: vec3,
    up: vec3,
    pole_right: vec3,
    tangent_eye: vec3,
    tangent_target: vec3,
    tangent_up: vec3,
):
    """The tangents of right, above, forward."""
    along = target - eye
    forward = unit(along)
    upright = unit(up)
    side = sideways(forward, upright, pole_right)
    right = unit(side)
    moved_forward = unit_vjp(along, tangent_target - tangent_eye)
    at_pole = -(moved_forward * forward.dot(pole_right) + forward * moved_forward.dot(pole_right))
    beside = moved_forward.cross(upright) + forward.cross(unit_vjp(up, tangent_up))
    moved_right = unit_vjp(side, ti.select(looks_along(forward, upright), at_pole, beside))
    moved_above = moved_right.cross(forward) + right.cross(moved_forward)
    return moved_right, moved_above, moved_forward


@ti.func
def sideways(forward: vec3, upright: vec3, pole_right: vec3) -> vec3:
    """What stands at right angles to both unit vectors; along the pole, to `forward` alone."""
    at_pole = pole_right - forward * forward.dot(pole_right)
    return ti.select(looks_along(forward, upright), at_pole, forward.cross(upright))


@ti.func
def looks_along(forward: vec3, upright: vec3) -> int:
    """Whether two unit vectors are parallel."""
    return forward.cross(upright).norm_sqr() < ALONG_UP


@ti.func
def focal_length(fov_y_degrees: float) -> float:
    """The distance at which the image's height is 2: cot(fov / 2)."""
    half_angle = fov_y_degrees * HALF_RADIANS_PER_DEGREE
    return ti.cos(half_angle) / ti.sin(half_angle)


@ti.func
def focal_length_vjp(fov_y_degrees: float, grad_focal_length: float) -> float:
    """The gradient with respect to the angle; of a tangent, the tangent of `focal_length`."""
    sine = ti.sin(fov_y_degrees * HALF_RADIANS_PER_DEGREE)
    return -grad_focal_length * HALF_RADIANS_PER_DEGREE / (sine * sine)


@ti.func
def parallel_scale(height: float) -> float:
    """What makes `height` span [-1, 1]."""
    return 2.0 / height


@ti.func
def parallel_scale_vjp(height: float, grad_scale: float) -> float:
    """The gradient with respect to `height`; of a tangent, the tangent of `parallel_scale`."""
    return -2.0 * grad_scale / (height * height)
