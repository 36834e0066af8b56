"""Image losses: a rendered image and a target in; adds to `loss`, on the way back to `image.grad`.

Pixels are summed a row at a time in local variables: fast on every backend, and
the rounding of a million additions does not pile up in single precision.
"""

import weakref

import numpy as np
import taichi as ti

from taichi_softras.runtime import default_numpy_float

SMALLEST_UNION = 1e-12  # pixels; below it image and target are both empty

_overlaps_of_image = weakref.WeakKeyDictionary()  # scratch of silhouette_iou, one an image


def silhouette_iou(image, target, loss, weight: float = 1.0) -> None:
    """Adds the mean over views of 1 - IoU of silhouettes, sum(p t) / sum(p + t - p t).

    p is the last component of the image (alpha). A view that is empty in image and target has
    IoU 1. A view with an empty target has no gradient: its IoU is 0 however little is drawn.

    Args:
        image: (B, H, W) vector field with gradient, as `renderer.image`.
        target: (B, H, W) silhouettes in [0, 1]: NumPy array of floats or booleans, `ti.ndarray`
            of scalars (stays on the device) or scalar field (is read back at each call). A
            contiguous NumPy array of the default float type is used as it is, without a copy:
            leave it alone until the tape ends.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: wrong kind or shape of image, target or loss.

    Source: the silhouette loss of Liu et al. 2019, Soft Rasterizer.
    """
    check_image(image)
    check_loss(loss)
    target = _as_array(target, [image.shape])
    if image not in _overlaps_of_image:
        views, height, _ = image.shape
        _overlaps_of_image[image] = ti.Vector.ndarray(2, float, (views, height + 1))
    _silhouette_iou(image, target, _overlaps_of_image[image], loss, float(weight))


def mean_squared_error(image, target, loss, weight: float = 1.0) -> None:
    """Adds the mean of (image - target)^2 over views, pixels and components.

    Args:
        image: (B, H, W) vector field of C + 1 components with gradient, as `renderer.image`.
        target: (B, H, W, C + 1), or (B, H, W) to compare alpha alone; NumPy array, `ti.ndarray`
            of scalars or field, as in `silhouette_iou`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: wrong kind or shape of image, target or loss.
    """
    _mean_error(image, target, loss, weight, squared, squared_vjp)


def mean_absolute_error(image, target, loss, weight: float = 1.0) -> None:
    """Adds the mean of |image - target|; arguments as in `mean_squared_error`.

    The gradient of a component that equals its target is 0.
    """
    _mean_error(image, target, loss, weight, absolute, absolute_vjp)


def silhouette_ious(image: np.ndarray, target: np.ndarray, threshold=None) -> np.ndarray:
    """The IoU of each view, (B,), to report how good a fit is; not a loss.

    Args:
        image: (B, H, W) silhouettes or (B, H, W, C + 1) pictures, alpha last.
        target: the same choice of shapes.
        threshold: None for the soft IoU of `silhouette_iou`, or the value above which a
            pixel counts as covered.

    Raises:
        ValueError: the silhouettes are not of one shape (B, H, W).
    """
    p, t = (
        array[..., -1] if array.ndim == 4 else array
        for array in (np.asarray(image, float), np.asarray(target, float))
    )
    if p.shape != t.shape or p.ndim != 3:
        raise ValueError(
            "image and target must have shape (B, H, W) or (B, H, W, C + 1) with equal B, H and W, "
            f"got {np.shape(image)} and {np.shape(target)}"
        )
    if threshold is not None:
        p, t = p > threshold, t > threshold
    intersections = (p * t).sum(axis=(1, 2))
    unions = (p + t - p * t if threshold is None else p | t).sum(axis=(1, 2))
    is_empty = unions <= SMALLEST_UNION
    return np.where(is_empty, 1.0, intersections / np.where(is_empty, 1.0, unions))


def check_image(image) -> None:
    """Raises a ValueError unless `image` is a (B, H, W) vector field with gradient."""
    is_image = isinstance(image, ti.MatrixField) and image.ndim == 1 and len(image.shape) == 3
    if not is_image or not image.snode.ptr.has_adjoint():
        raise ValueError(
            "image must be a vector field of shape (B, H, W) with needs_grad=True, "
            f"as renderer.image, got {_describe(image)}"
        )


def check_loss(loss) -> None:
    """Raises a ValueError unless `loss` is a 0-D scalar field with gradient."""
    is_scalar = isinstance(loss, ti.ScalarField) and loss.shape == ()
    if not is_scalar or not loss.snode.ptr.has_adjoint():
        raise ValueError(
            "loss must be ti.field(float, shape=(), needs_grad=True), "
            f"a 0-D field with gradient, got {_describe(loss)}"
        )


def _describe(value) -> str:
    if not isinstance(value, ti.Field):
        return type(value).__name__
    gradient = "with gradient" if value.snode.ptr.has_adjoint() else "without gradient"
    return f"{type(value).__name__} of shape {value.shape} {gradient}"


def _as_array(target, shapes: list):
    """The target as a kernel takes it: a ti.ndarray of scalars, or a NumPy array of floats."""
    if not isinstance(target, ti.ScalarNdarray):
        target = np.asarray(target.to_numpy() if hasattr(target, "to_numpy") else target)
        if target.dtype.kind not in "fb":
            raise ValueError(
                f"target must hold floats in [0, 1] or booleans, got {target.dtype}: "
                "divide 8-bit pictures by 255"
            )
        target = np.ascontiguousarray(target, default_numpy_float())
    if tuple(target.shape) not in shapes:
        wanted = " or ".join(str(shape) for shape in shapes)
        raise ValueError(f"target must have shape {wanted} as the image has, got {target.shape}")
    return target


# Intersection over union -------------------------------------------------------------------------


@ti.ad.grad_replaced
def _silhouette_iou(image, target, overlaps, loss, weight):
    sum_overlaps(image, target, overlaps)
    add_iou_loss(overlaps, loss, weight)


@ti.ad.grad_for(_silhouette_iou)
def _silhouette_iou_backward(image, target, overlaps, loss, weight):
    sum_overlaps(image, target, overlaps)  # a later call with another target overwrote them
    add_iou_loss_backward(image, target, overlaps, loss, weight)


@ti.kernel
def sum_overlaps(
    image: ti.template(),  # (B, H, W), alpha last
    target: ti.types.ndarray(ndim=3, needs_grad=False),  # (B, H, W)
    overlaps: ti.types.ndarray(ndim=2, needs_grad=False),  # (B, H + 1) out: intersection, union
):
    """Sums p t and p + t - p t over each row of pixels, then over the rows into overlaps[:, H]."""
    views, height, width = image.shape
    for view, row in ti.ndrange(views, height):
        overlap = ti.Vector([0.0, 0.0])
        for column in range(width):
            p = image[view, row, column][image.n - 1]
            t = target[view, row, column]
            overlap += ti.Vector([p * t, p + t - p * t])
        overlaps[view, row] = overlap
    for view in range(views):
        overlap = ti.Vector([0.0, 0.0])
        for row in range(height):
            overlap += overlaps[view, row]
        overlaps[view, height] = overlap


@ti.func
def intersection_over_union(overlap):
    """IoU of (intersection, union); 1 where there is nothing."""
    iou = 1.0
    if overlap[1] > SMALLEST_UNION:
        iou = overlap[0] / overlap[1]
    return iou


@ti.func
def intersection_over_union_vjp(overlap, grad_iou):
    """Gradient of (intersection, union); 0 where there is nothing."""
    grad_overlap = ti.Vector([0.0, 0.0])
    if overlap[1] > SMALLEST_UNION:
        grad_overlap = ti.Vector([1.0, -overlap[0] / overlap[1]]) * grad_iou / overlap[1]
    return grad_overlap


@ti.kernel
def add_iou_loss(
    overlaps: ti.types.ndarray(ndim=2, needs_grad=False),  # (B, H + 1)
    loss: ti.template(),  # () out
    weight: float,
):
    """Adds weight * mean over views of 1 - IoU."""
    views, rows = overlaps.shape
    for view in range(views):
        loss[None] += weight / views * (1.0 - intersection_over_union(overlaps[view, rows - 1]))


@ti.kernel
def add_iou_loss_backward(
    image: ti.template(),  # (B, H, W); adds to its gradient
    target: ti.types.ndarray(ndim=3, needs_grad=False),  # (B, H, W)
    overlaps: ti.types.ndarray(ndim=2, needs_grad=False),  # (B, H + 1)
    loss: ti.template(),  # ()
    weight: float,
):
    """Adjoint of `sum_overlaps` and `add_iou_loss`."""
    views, height, width = image.shape
    for view, row in ti.ndrange(views, height):
        grad_iou = -weight / views * loss.grad[None]
        grad_overlap = intersection_over_union_vjp(overlaps[view, height], grad_iou)
        for column in range(width):
            t = target[view, row, column]
            grad_alpha = grad_overlap[0] * t + grad_overlap[1] * (1.0 - t)
            alpha = ti.static(image.n - 1)
            image.grad[view, row, column][alpha] = image.grad[view, row, column][alpha] + grad_alpha


# Mean error -------------------------------------------------------------------------------------


@ti.func
def squared(difference):
    """The penalty of `mean_squared_error`."""
    return difference * difference


@ti.func
def squared_vjp(difference, grad):
    """Adjoint of `squared`."""
    return 2.0 * difference * grad


@ti.func
def absolute(difference):
    """The penalty of `mean_absolute_error`."""
    return ti.abs(difference)


@ti.func
def absolute_vjp(difference, grad):
    """Adjoint of `absolute`, 0 at 0."""
    return ti.math.sign(difference) * grad


def _mean_error(image, target, loss, weight, penalty, penalty_vjp):
    check_image(image)
    check_loss(loss)
    target = _as_array(target, [(*image.shape, image.n), image.shape])
    scale = weight / np.prod(target.shape)
    _sum_of_penalties(image, target, loss, float(scale), penalty, penalty_vjp)


@ti.ad.grad_replaced
def _sum_of_penalties(image, target, loss, scale, penalty, penalty_vjp):
    add_penalties(image, target, loss, scale, penalty)


@ti.ad.grad_for(_sum_of_penalties)
def _sum_of_penalties_backward(image, target, loss, scale, penalty, penalty_vjp):
    add_penalties_backward(image, target, loss, scale, penalty_vjp)


@ti.func
def target_value(target: ti.template(), view, row, column, component):
    """The target of a component, whether there is one for each or for alpha alone."""
    value = 0.0
    if ti.static(len(target.shape) == 4):
        value = target[view, row, column, component]
    else:
        value = target[view, row, column]
    return value


@ti.kernel
def add_penalties(
    image: ti.template(),  # (B, H, W) of C + 1 components
    target: ti.types.ndarray(needs_grad=False),  # (B, H, W, C + 1), or (B, H, W) alpha
    loss: ti.template(),  # () out
    scale: float,
    penalty: ti.template(),  # ti.func of a difference
):
    """Adds scale * sum of penalty(image - target)."""
    views, height, width = image.shape
    first = ti.static(0 if len(target.shape) == 4 else image.n - 1)
    for view, row in ti.ndrange(views, height):
        total = 0.0
        for column in range(width):
            for k in ti.static(range(first, image.n)):
                t = target_value(target, view, row, column, k)
                total += penalty(image[view, row, column][k] - t)
        loss[None] += scale * total


@ti.kernel
def add_penalties_backward(
    image: ti.template(),  # (B, H, W) of C + 1 components; adds to its gradient
    target: ti.types.ndarray(needs_grad=False),  # (B, H, W, C + 1), or (B, H, W) alpha
    loss: ti.template(),  # ()
    scale: float,
    penalty_vjp: ti.template(),  # ti.func of a difference and the gradient of its penalty
):
    """Adjoint of `add_penalties`."""
    views, height, width = image.shape
    first = ti.static(0 if len(target.shape) == 4 else image.n - 1)
    for view, row in ti.ndrange(views, height):
        grad_penalty = scale * loss.grad[None]
        for column in range(width):
            for k in ti.static(range(first, image.n)):
                t = target_value(target, view, row, column, k)
                slope = penalty_vjp(image[view, row, column][k] - t, grad_penalty)
                image.grad[view, row, column][k] = image.grad[view, row, column][k] + slope
