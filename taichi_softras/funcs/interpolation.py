"""From a pixel's barycentric weights to depth and to a point on the face."""

from typing import Callable

from taichi_softras.funcs.numeric import EPSILONS, sum_of_three
from taichi_softras.funcs.values import value
from taichi_softras.funcs.vectors import dot
from taichi_softras.runtime import is_double, ti, vec3

WHOLE_ROUNDINGS = 8.0  # weights whose sum is off 1 by no more
SMALLEST_INVERSE_W = 1e-12  # beyond a plane's horizon, seen outside of the face alone
# weights add up to 1, or more if they are clipped; less is rounding, far from a tiny face
LEAST_SUM = 1e-3


@ti.func
def clip_weights(weights: vec3) -> vec3:
    """Moves a pixel outside onto the face: clip(w, 0, 1), up to a factor (SoftRas)."""
    return ti.min(ti.max(weights, 0.0), 1.0)


@ti.func
def clip_weights_vjp(weights: vec3, grad_clipped: vec3) -> vec3:
    """The gradient with respect to `weights`."""
    return vec3(
        ti.select((weights.x > 0.0) & (weights.x < 1.0), grad_clipped.x, 0.0),
        ti.select((weights.y > 0.0) & (weights.y < 1.0), grad_clipped.y, 0.0),
        ti.select((weights.z > 0.0) & (weights.z < 1.0), grad_clipped.z, 0.0),
    )


@ti.func
def clip_below(weights: vec3) -> vec3:
    """Moves a pixel outside onto the face: max(w, 0), up to a factor (PyTorch3D)."""
    return ti.max(weights, 0.0)


@ti.func
def clip_below_vjp(weights: vec3, grad_clipped: vec3) -> vec3:
    """The gradient with respect to `weights`."""
    return vec3(
        ti.select(weights.x > 0.0, grad_clipped.x, 0.0),
        ti.select(weights.y > 0.0, grad_clipped.y, 0.0),
        ti.select(weights.z > 0.0, grad_clipped.z, 0.0),
    )


@ti.func
def keep_weights(weights: vec3) -> vec3:
    """Continues a face beyond its edges."""
    return weights


@ti.func
def keep_weights_vjp(weights: vec3, grad_clipped: vec3) -> vec3:
    """The gradient with respect to `weights`."""
    return grad_clipped


@value
class Clipping:
    """Where on a face a pixel outside of it looks.

    Attributes:
        clip: weights -> weights of the point, up to a common factor: what they are for divides by
            their sum, and one division is enough.
        clip_vjp: (weights, grad_clipped) -> grad_weights.
    """

    clip: Callable
    clip_vjp: Callable


CLIP_TO_RANGE = Clipping(clip_weights, clip_weights_vjp)
CLIP_BELOW = Clipping(clip_below, clip_below_vjp)
UNCLIPPED = Clipping(keep_weights, keep_weights_vjp)


@ti.func
def place_in_perspective(weights: vec3, planes: ti.template()):
    """The point of the face: u_k = (l_k / w_k) / sum_j (l_j / w_j); its depth is sum_k u_k depth_k.

    Args:
        weights: l on the screen, of any sum.
        planes: has `inverse_w` and `depth_over_w` of the corners.

    Returns:
        A struct: the `used` weights of the corners' attributes, the `depth`, and `scale`, 1 over
        the sum.
    """
    scale = 1.0 / ti.max(dot(weights, planes.inverse_w), SMALLEST_INVERSE_W)
    return ti.Struct(
        used=weights * planes.inverse_w * scale,
        depth=dot(weights, planes.depth_over_w) * scale,
        scale=scale,
    )


@ti.func
def depth_in_perspective(weights: vec3, planes: ti.template()) -> float:
    """That of `place_in_perspective`, of the same corners in any order the same number."""
    whole = ti.max(sum_of_three(weights * planes.inverse_w), SMALLEST_INVERSE_W)
    return sum_of_three(weights * planes.depth_over_w) / whole


@ti.func
def place_in_perspective_vjp(
    weights: vec3, planes: ti.template(), point: ti.template(), grad_used: vec3, grad_depth: float
):
    """Gradients with respect to `weights`, `planes.inverse_w` and `planes.depth_over_w`."""
    grad_over = grad_depth * point.scale
    grad_sum = -(grad_depth * point.depth + dot(grad_used, point.used)) * point.scale
    grad_product = grad_used * point.scale + grad_sum
    grad_weights = grad_product * planes.inverse_w + grad_over * planes.depth_over_w
    return grad_weights, grad_product * weights, grad_over * weights


@ti.func
def place_on_screen(weights: vec3, planes: ti.template()):
    """As `place_in_perspective`, but attributes are linear on the screen (SoftRas)."""
    point = place_in_perspective(weights, planes)
    # within the face 1 but for rounding, which does not touch texels
    total = ti.max(sum_of_three(weights), LEAST_SUM)
    is_whole = ti.abs(total - 1.0) <= ti.static(WHOLE_ROUNDINGS * EPSILONS[is_double()])
    used = weights * ti.select(is_whole, 1.0, 1.0 / total)
    return ti.Struct(used=used, depth=point.depth, scale=point.scale)


@ti.func
def place_on_screen_vjp(
    weights: vec3, planes: ti.template(), point: ti.template(), grad_used: vec3, grad_depth: float
):
    """Gradients with respect to `weights`, `planes.inverse_w` and `planes.depth_over_w`."""
    grad_over = grad_depth * point.scale
    grad_sum = -grad_over * point.depth
    grad_weights = grad_used - dot(grad_used, point.used)
    grad_weights *= 1.0 / ti.max(weights.sum(), LEAST_SUM)
    grad_weights += grad_sum * planes.inverse_w + grad_over * planes.depth_over_w
    return grad_weights, grad_sum * weights, grad_over * weights


@ti.func
def place_affinely(weights: vec3, planes: ti.template()):
    """As `place_in_perspective`, but depths and attributes are linear on the screen.

    Right for orthographic cameras, where all w are equal.
    """
    scale = 1.0 / ti.max(weights.sum(), LEAST_SUM)
    depths = planes.depth_over_w / planes.inverse_w
    return ti.Struct(used=weights * scale, depth=dot(weights, depths) * scale, scale=scale)


@ti.func
def affine_depth(weights: vec3, planes: ti.template()) -> float:
    """That of `place_affinely`, of the same corners in any order the same number."""
    depths = planes.depth_over_w / planes.inverse_w
    return sum_of_three(weights * depths) / ti.max(sum_of_three(weights), LEAST_SUM)


@ti.func
def place_affinely_vjp(
    weights: vec3, planes: ti.template(), point: ti.template(), grad_used: vec3, grad_depth: float
):
    """Gradients with respect to `weights`, `planes.inverse_w` and `planes.depth_over_w`."""
    ws = 1.0 / planes.inverse_w
    depths = planes.depth_over_w * ws
    grad_over = grad_depth * point.used * ws
    grad_point = grad_used + grad_depth * depths
    grad_weights = (grad_point - dot(grad_point, point.used)) * point.scale
    return grad_weights, -grad_over * depths, grad_over


@ti.func
def divided_depth(weights: vec3, planes: ti.template()) -> float:
    """The depth / w, linear on the screen; of the same corners in any order the same number."""
    return sum_of_three(weights * planes.depth_over_w) / ti.max(sum_of_three(weights), LEAST_SUM)


@value
class Interpolation:
    """The depth of a point of the face, and how corner attributes are weighted there.

    Attributes:
        place: (weights, planes) -> struct of `used`, `depth` and `scale`.
        place_vjp: the adjoint.
        depth: (weights, planes) -> that `depth`, of the same corners in any order the same number:
            for methods where one of two faces is in front.
    """

    place: Callable
    place_vjp: Callable
    depth: Callable


PERSPECTIVE = Interpolation(place_in_perspective, place_in_perspective_vjp, depth_in_perspective)
SCREEN = Interpolation(place_on_screen, place_on_screen_vjp, depth_in_perspective)
AFFINE = Interpolation(place_affinely, place_affinely_vjp, affine_depth)
# for a z-buffer alone: points are where they are, and ordered as by OpenGL
CLIP_SPACE = Interpolation(place_in_perspective, place_in_perspective_vjp, divided_depth)
