"""From a pixel's barycentric weights to depth and to a point on the face."""

import dataclasses

import taichi as ti
from taichi.math import vec3

SMALLEST_SUM = 1e-5  # of clipped weights (SoftRas)
SMALLEST_INVERSE_DEPTH = 1e-12  # beyond a plane's horizon, seen outside of the face alone


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


@dataclasses.dataclass(frozen=True)
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
def interpolate_depth(clipped: vec3, inverse_depths: vec3) -> float:
    """Depth is the harmonic mean of the corners' depths: 1 / sum_k w_k / z_k."""
    return 1.0 / ti.max(clipped.dot(inverse_depths), SMALLEST_INVERSE_DEPTH)


@ti.func
def interpolate_depth_on_screen(clipped: vec3, inverse_depths: vec3) -> float:
    """Depth is linear on the screen: sum_k w_k z_k, right for orthographic cameras alone."""
    return clipped.dot(1.0 / inverse_depths)


@ti.func
def screen_weights(clipped: vec3, inverse_depths: vec3, depth: float) -> vec3:
    """Attributes are linear on the screen (SoftRas)."""
    return clipped


@ti.func
def perspective_weights(clipped: vec3, inverse_depths: vec3, depth: float) -> vec3:
    """Attributes are linear on the face: u_k = w_k depth / z_k."""
    return clipped * inverse_depths * depth


@ti.func
def screen_weights_vjp(
    clipped: vec3,
    inverse_depths: vec3,
    depth: float,
    used: vec3,
    grad_used: vec3,
    grad_depth: float,
):
    """Gradients with respect to `clipped` and `inverse_depths`, through weights and depth."""
    pull = -grad_depth * depth * depth
    return grad_used + pull * inverse_depths, pull * clipped


@ti.func
def perspective_weights_vjp(
    clipped: vec3,
    inverse_depths: vec3,
    depth: float,
    used: vec3,
    grad_used: vec3,
    grad_depth: float,
):
    """Gradients with respect to `clipped` and `inverse_depths`, through weights and depth."""
    grad_product = (grad_used - (grad_depth * depth + grad_used.dot(used))) * depth
    return grad_product * inverse_depths, grad_product * clipped


@ti.func
def affine_weights_vjp(
    clipped: vec3,
    inverse_depths: vec3,
    depth: float,
    used: vec3,
    grad_used: vec3,
    grad_depth: float,
):
    """Gradients with respect to `clipped` and `inverse_depths`, through weights and depth."""
    depths = 1.0 / inverse_depths
    return grad_used + grad_depth * depths, -grad_depth * clipped * depths * depths


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """The depth of a point of the face, and how corner attributes are weighted there.

    Attributes:
        depth: (clipped, inverse_depths) -> depth.
        weights: (clipped, inverse_depths, depth) -> weights of the corners.
        weights_vjp: the adjoint of both together.
    """

    depth: object
    weights: object
    weights_vjp: object


SCREEN = Interpolation(interpolate_depth, screen_weights, screen_weights_vjp)
PERSPECTIVE = Interpolation(interpolate_depth, perspective_weights, perspective_weights_vjp)
AFFINE = Interpolation(interpolate_depth_on_screen, screen_weights, affine_weights_vjp)


@ti.func
def texel_index(weights: vec3, resolution: int) -> int:
    """Which of a face's R x R texels lies under a point (SoftRas `surface` textures).

    Corner a runs along columns, corner b along rows; the upper half of the square is
    the mirrored half of the face. The half is told by the third weight, which is an
    exact zero beyond the edge a-b, so rounding flips no texel there.
    """
    scale = ti.cast(resolution, float)
    column = ti.max(ti.min(ti.cast(weights.x * scale, ti.i32), resolution - 1), 0)
    row = ti.max(ti.min(ti.cast(weights.y * scale, ti.i32), resolution - 1), 0)
    is_lower = (1.0 - weights.z) * scale - ti.cast(column + row, float) <= 1.0
    last = resolution - 1
    return ti.select(is_lower, row * resolution + column, (last - row) * resolution + last - column)


@ti.func
def cube_entries(on_face: vec3, resolution: int, margin: float):
    """The entries of a texture cube around a point, and their trilinear weights (Kato et al.).

    Axis k of the resolution^3 cube is the weight of corner k, stretched to [0, resolution - 1];
    the last `margin` of it is cut off.
    """
    last = ti.cast(resolution - 1, float)
    place = ti.min(ti.max(on_face * last, 0.0), last - margin)
    low = ti.floor(place)
    upper = place - low
    entries = ti.Vector([0 for _ in ti.static(range(8))])
    shares = ti.Vector([1.0 for _ in ti.static(range(8))])
    for k in ti.static(range(8)):
        for axis in ti.static(range(3)):
            step = ti.static((k >> (2 - axis)) & 1)
            entries[k] = entries[k] * resolution + ti.cast(low[axis], ti.i32) + step
            shares[k] *= upper[axis] if ti.static(step == 1) else 1.0 - upper[axis]
    return entries, shares
