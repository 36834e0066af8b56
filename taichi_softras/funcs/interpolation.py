"""From a pixel's barycentric weights to depth and to a point on the face."""

import taichi as ti
from taichi.math import vec3

from taichi_softras.funcs.values import value

SMALLEST_SUM = 1e-5  # of clipped weights (SoftRas)
SMALLEST_INVERSE_W = 1e-12  # beyond a plane's horizon, seen outside of the face alone


@ti.func
def clip_weights(weights: vec3) -> vec3:
    """Moves a pixel outside onto the face: clip(w, 0, 1) / sum (SoftRas)."""
    clipped = ti.min(ti.max(weights, 0.0), 1.0)
    return clipped * (1.0 / ti.max(clipped.x + clipped.y + clipped.z, SMALLEST_SUM))


@ti.func
def clip_weights_vjp(weights: vec3, clipped: vec3, grad_clipped: vec3) -> vec3:
    """The gradient with respect to `weights`; `clipped` is the primal's result."""
    total = ti.min(ti.max(weights, 0.0), 1.0)
    scale = 1.0 / ti.max(total.x + total.y + total.z, SMALLEST_SUM)
    mean = grad_clipped.dot(clipped)
    passes = vec3(
        ti.select((weights.x > 0.0) & (weights.x < 1.0), scale, 0.0),
        ti.select((weights.y > 0.0) & (weights.y < 1.0), scale, 0.0),
        ti.select((weights.z > 0.0) & (weights.z < 1.0), scale, 0.0),
    )
    return (grad_clipped - mean) * passes


@ti.func
def clip_below(weights: vec3) -> vec3:
    """Moves a pixel outside onto the face: max(w, 0) / sum (PyTorch3D)."""
    clipped = ti.max(weights, 0.0)
    return clipped * (1.0 / (clipped.x + clipped.y + clipped.z))


@ti.func
def clip_below_vjp(weights: vec3, clipped: vec3, grad_clipped: vec3) -> vec3:
    """The gradient with respect to `weights`; `clipped` is the primal's result."""
    total = ti.max(weights, 0.0)
    scale = 1.0 / (total.x + total.y + total.z)
    mean = grad_clipped.dot(clipped)
    passes = vec3(
        ti.select(weights.x > 0.0, scale, 0.0),
        ti.select(weights.y > 0.0, scale, 0.0),
        ti.select(weights.z > 0.0, scale, 0.0),
    )
    return (grad_clipped - mean) * passes


@ti.func
def keep_weights(weights: vec3) -> vec3:
    """Continues a face beyond its edges."""
    return weights


@ti.func
def keep_weights_vjp(weights: vec3, clipped: vec3, grad_clipped: vec3) -> vec3:
    """The gradient with respect to `weights`."""
    return grad_clipped


@value
class Clipping:
    """Where on a face a pixel outside of it looks.

    Attributes:
        clip: weights -> weights of the point.
        clip_vjp: (weights, clipped, grad_clipped) -> grad_weights.
    """

    clip: object
    clip_vjp: object


CLIP_TO_RANGE = Clipping(clip_weights, clip_weights_vjp)
CLIP_BELOW = Clipping(clip_below, clip_below_vjp)
UNCLIPPED = Clipping(keep_weights, keep_weights_vjp)


@ti.func
def place_in_perspective(clipped: vec3, planes: ti.template()):
    """The point of the face: u_k = (l_k / w_k) / sum_j (l_j / w_j); its depth is sum_k u_k depth_k.

    Args:
        clipped: weights l on the screen.
        planes: has `inverse_w` and `depth_over_w` of the corners.

    Returns:
        A struct: the `used` weights of the corners' attributes, the `depth`, and `per_w`, 1 over
        the sum.
    """
    per_w = 1.0 / ti.max(clipped.dot(planes.inverse_w), SMALLEST_INVERSE_W)
    return ti.Struct(
        used=clipped * planes.inverse_w * per_w,
        depth=clipped.dot(planes.depth_over_w) * per_w,
        per_w=per_w,
    )


@ti.func
def place_in_perspective_vjp(
    clipped: vec3, planes: ti.template(), point: ti.template(), grad_used: vec3, grad_depth: float
):
    """Gradients with respect to `clipped`, `planes.inverse_w` and `planes.depth_over_w`."""
    grad_over = grad_depth * point.per_w
    grad_sum = -(grad_depth * point.depth + grad_used.dot(point.used)) * point.per_w
    grad_product = grad_used * point.per_w + grad_sum
    grad_clipped = grad_product * planes.inverse_w + grad_over * planes.depth_over_w
    return grad_clipped, grad_product * clipped, grad_over * clipped


@ti.func
def place_on_screen(clipped: vec3, planes: ti.template()):
    """As `place_in_perspective`, but attributes are linear on the screen (SoftRas)."""
    point = place_in_perspective(clipped, planes)
    return ti.Struct(used=clipped, depth=point.depth, per_w=point.per_w)


@ti.func
def place_on_screen_vjp(
    clipped: vec3, planes: ti.template(), point: ti.template(), grad_used: vec3, grad_depth: float
):
    """Gradients with respect to `clipped`, `planes.inverse_w` and `planes.depth_over_w`."""
    grad_over = grad_depth * point.per_w
    grad_sum = -grad_over * point.depth
    grad_clipped = grad_used + grad_sum * planes.inverse_w + grad_over * planes.depth_over_w
    return grad_clipped, grad_sum * clipped, grad_over * clipped


@ti.func
def place_affinely(clipped: vec3, planes: ti.template()):
    """As `place_in_perspective`, but depths and attributes are linear on the screen.

    Right for orthographic cameras, where all w are equal.
    """
    return ti.Struct(
        used=clipped, depth=clipped.dot(planes.depth_over_w / planes.inverse_w), per_w=1.0
    )


@ti.func
def place_affinely_vjp(
    clipped: vec3, planes: ti.template(), point: ti.template(), grad_used: vec3, grad_depth: float
):
    """Gradients with respect to `clipped`, `planes.inverse_w` and `planes.depth_over_w`."""
    ws = 1.0 / planes.inverse_w
    depths = planes.depth_over_w * ws
    grad_over = grad_depth * clipped * ws
    return grad_used + grad_depth * depths, -grad_over * depths, grad_over


@value
class Interpolation:
    """The depth of a point of the face, and how corner attributes are weighted there.

    Attributes:
        place: (clipped, planes) -> struct of `used`, `depth` and `per_w`.
        place_vjp: the adjoint.
    """

    place: object
    place_vjp: object


PERSPECTIVE = Interpolation(place_in_perspective, place_in_perspective_vjp)
SCREEN = Interpolation(place_on_screen, place_on_screen_vjp)
AFFINE = Interpolation(place_affinely, place_affinely_vjp)
