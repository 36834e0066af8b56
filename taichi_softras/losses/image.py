"""Image losses: a rendered image and a target in; adds to `loss`, on the way back to `image.grad`.

A task sums a run of neighbouring pixels in local variables, then the runs are added up: fast on
every backend, and the rounding of a million additions does not pile up in single precision. The
gradient goes to each pixel by itself.

Targets that stay: a `ti.ndarray` is read where it lies. A NumPy array is read where it lies on a
CPU; elsewhere the last few of each image stay on the device, and one is uploaded again only when
its numbers have changed, which is looked up at each call. A field is copied on the device at each
call.
"""

import math
import weakref
from typing import NamedTuple

import numpy as np

from taichi_softras.fields import body
from taichi_softras.losses.sums import NUM_RUNS, add_terms, start_of_run
from taichi_softras.runtime import (
    default_numpy_float,
    has_gradient,
    is_cpu,
    kernel,
    refuse_other,
    shape_of_numbers,
    ti,
    vec2,
)
from taichi_softras.workspace import write_array

SMALLEST_UNION = 1e-12  # pixels; below it image and target are both empty
# Neighbouring pixels of a row that a task owns: a GPU wants many tasks
CPU_RUN, GPU_RUN, GPU_RUN_BACKWARD = 64, 32, 1
TARGETS_ON_DEVICE = 4  # NumPy arrays that stay there, for each image

# `_Scratch` of each image that a loss has seen
_scratch_of_image: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class _Scratch:
    """What the losses of one image keep between calls.

    Attributes:
        sums: (N,) of its runs of pixels.
        overlaps: (B, N / B + G) vec2, intersections and unions: of a view's runs, then of G
            groups of runs, about as many groups as there are runs in each.
        targets: up to `TARGETS_ON_DEVICE` pairs (NumPy array, its copy on the device), last used
            last.
    """

    def __init__(self, image):
        views, height, width = image.shape
        num_runs = height * -(-width // run_length())
        num_groups = round(num_runs**0.5)
        self.sums = ti.ndarray(float, views * num_runs)
        self.overlaps = ti.Vector.ndarray(2, float, (views, num_runs + num_groups))
        self.targets = []


def run_length(is_backward: bool = False) -> int:
    """How many pixels a task owns."""
    return CPU_RUN if is_cpu() else GPU_RUN_BACKWARD if is_backward else GPU_RUN


def _scratch(image) -> _Scratch:
    if image not in _scratch_of_image:
        _scratch_of_image[image] = _Scratch(image)
    return _scratch_of_image[image]


def silhouette_iou(image, target, loss, weight: float = 1.0) -> None:
    """Adds the mean over views of 1 - IoU of silhouettes, sum(p t) / sum(p + t - p t).

    p is the last component of the image (alpha). A view that is empty in image and target has
    IoU 1. A view with an empty target has no gradient: its IoU is 0 however little is drawn.

    Args:
        image: (B, H, W) vector field with gradient, as `renderer.image`.
        target: (B, H, W) silhouettes in [0, 1]: `ti.ndarray` of scalars, NumPy array of floats or
            booleans, or scalar field. On a CPU a contiguous NumPy array of the default float type
            is used as it is, and a `ti.ndarray` everywhere: leave these alone until the tape ends.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: wrong kind or shape of image, target or loss.

    Source: the silhouette loss of Liu et al. 2019, Soft Rasterizer.
    """
    check_image(image)
    check_loss(loss)
    target = _as_array("target", image, target, [image.shape])
    totals = ti.Vector.ndarray(2, float, image.shape[0])  # for the gradient of this very call
    _silhouette_iou(image, target, _scratch(image).overlaps, totals, loss, float(weight))


def mean_squared_error(image, target, loss, weight: float = 1.0, mask=None) -> None:
    """Adds the mean of (image - target)^2 over views, pixels and components.

    With a mask m it is the mean of what the mask keeps, sum(m e) / sum(m) of the errors e of
    pixels: half a picture counts as much as a whole one, and a factor of m changes nothing.

    Args:
        image: (B, H, W) vector field of C + 1 components with gradient, as `renderer.image`.
        target: (B, H, W, C + 1), or (B, H, W, C) to leave alpha out, as RGB pictures do, or
            (B, H, W) to compare alpha alone; NumPy array, `ti.ndarray` of scalars or field, as in
            `silhouette_iou`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.
        mask: (B, H, W), 0 or above, of any kind that a target may have: what each pixel counts.
            Where it is 0 the target may be NaN; where all of it is 0, nothing is added.

    Raises:
        ValueError: wrong kind or shape of image, target, loss or mask.
    """
    _mean_error(image, target, loss, weight, mask, squared, squared_vjp)


def mean_absolute_error(image, target, loss, weight: float = 1.0, mask=None) -> None:
    """Adds the mean of |image - target|; arguments as in `mean_squared_error`.

    The gradient of a component that equals its target is 0.
    """
    _mean_error(image, target, loss, weight, mask, absolute, absolute_vjp)


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
    refuse_other("image", image)
    is_image = isinstance(image, ti.MatrixField) and image.ndim == 1 and len(image.shape) == 3
    if not is_image or not has_gradient(image):
        raise ValueError(
            "image must be a vector field of shape (B, H, W) with needs_grad=True, "
            f"as renderer.image, got {_describe(image)}"
        )


def check_loss(loss) -> None:
    """Raises a ValueError unless `loss` is a 0-D scalar field with gradient."""
    refuse_other("loss", loss)
    is_scalar = isinstance(loss, ti.ScalarField) and loss.shape == ()
    if not is_scalar or not has_gradient(loss):
        raise ValueError(
            "loss must be ti.field(float, shape=(), needs_grad=True), "
            f"a 0-D field with gradient, got {_describe(loss)}"
        )


def _describe(value) -> str:
    if not isinstance(value, ti.Field):
        return type(value).__name__
    gradient = "with gradient" if has_gradient(value) else "without gradient"
    return f"{type(value).__name__} of shape {value.shape} {gradient}"


# Targets -----------------------------------------------------------------------------------------


def _as_array(name: str, image, target, shapes: list):
    """A target or mask as a kernel takes it: a ti.ndarray of scalars, or on a CPU a NumPy array."""
    is_field = isinstance(target, (ti.ScalarField, ti.MatrixField))
    if not (is_field or isinstance(target, ti.ScalarNdarray)):
        target = np.asarray(target.to_numpy() if hasattr(target, "to_numpy") else target)
        if target.dtype.kind in "fb":
            target = np.ascontiguousarray(target, default_numpy_float())
    if target.dtype not in (ti.f16, ti.f32, ti.f64, np.float32, np.float64):
        raise ValueError(
            f"{name} must hold floats in [0, 1] or booleans, got {target.dtype}: "
            "divide 8-bit pictures by 255"
        )
    shape = shape_of_numbers(target) if is_field else tuple(target.shape)
    if shape not in shapes:
        wanted = " or ".join(str(shape) for shape in shapes)
        raise ValueError(f"{name} must have shape {wanted} as the image has, got {shape}")
    if is_field:
        array = ti.ndarray(float, shape)  # a new one: it stays as it is until the tape ends
        _copy_on_device(body(target), array)
        return array
    if isinstance(target, np.ndarray) and not is_cpu():
        return _uploaded(_scratch(image).targets, target)
    return target


def _uploaded(targets: list, target: np.ndarray):
    """The target on the device; an array there is never written again, as a tape may read it."""
    for i, (values, array) in enumerate(targets):
        if values.shape == target.shape and np.array_equal(values, target):
            targets.append(targets.pop(i))
            return array
    array = ti.ndarray(float, target.shape)
    write_array(array, target)
    targets.append((target.copy(), array))
    del targets[:-TARGETS_ON_DEVICE]
    return array


@ti.ad.no_grad
def _copy_on_device(target, array):
    copy_field(target, array)


@kernel
def copy_field(
    field: ti.template(),  # (B, H, W) of scalars, or of C + 1 components
    array: ti.types.ndarray(needs_grad=False),  # (B, H, W), or (B, H, W, C + 1) out
):
    """The numbers of a field in an array."""
    for view, row, column in ti.ndrange(array.shape[0], array.shape[1], array.shape[2]):
        if ti.static(len(array.shape) == 4):
            for k in ti.static(range(field.n)):
                array[view, row, column, k] = field[view, row, column][k]
        else:
            array[view, row, column] = field[view, row, column]


# Intersection over union -------------------------------------------------------------------------


@ti.func
def intersection_over_union(overlap: vec2) -> float:
    """IoU of (intersection, union); 1 where there is nothing."""
    is_empty = overlap[1] <= SMALLEST_UNION
    return ti.select(is_empty, 1.0, overlap[0] / ti.select(is_empty, 1.0, overlap[1]))


@ti.func
def intersection_over_union_vjp(overlap: vec2, grad: float) -> vec2:
    """Gradient of (intersection, union); 0 where there is nothing."""
    is_empty = overlap[1] <= SMALLEST_UNION
    inverse = ti.select(is_empty, 0.0, 1.0 / ti.select(is_empty, 1.0, overlap[1]))
    return grad * inverse * ti.Vector([1.0, -overlap[0] * inverse])


@ti.ad.grad_replaced
def _silhouette_iou(image, target, overlaps, totals, loss, weight):
    add_iou_loss(body(image), target, overlaps, totals, body(loss), weight, run_length())


@ti.ad.grad_for(_silhouette_iou)
def _silhouette_iou_backward(image, target, overlaps, totals, loss, weight):
    add_iou_loss_backward(body(image), target, totals, body(loss), weight, run_length(True))


@kernel
def add_iou_loss(
    image: ti.template(),  # (B, H, W), alpha last
    target: ti.types.ndarray(ndim=3, needs_grad=False),  # (B, H, W)
    overlaps: ti.types.ndarray(ndim=2, needs_grad=False),  # (B, N / B + G) scratch
    totals: ti.types.ndarray(ndim=1, needs_grad=False),  # (B,) out: intersection, union
    loss: ti.template(),  # () out
    weight: float,
    length: int,  # pixels a task owns
):
    """Adds weight * mean over views of 1 - IoU."""
    views, height, width = target.shape[0], target.shape[1], target.shape[2]
    runs_of_row = (width + length - 1) // length
    num_runs = height * runs_of_row
    num_groups = overlaps.shape[1] - num_runs
    for view, row, run in ti.ndrange(views, height, runs_of_row):
        overlap = ti.Vector([0.0, 0.0])
        for column in range(run * length, ti.min((run + 1) * length, width)):
            p = image[view, row, column][image.n - 1]
            t = target[view, row, column]
            overlap += ti.Vector([p * t, p + t - p * t])
        overlaps[view, row * runs_of_row + run] = overlap
    for view, group in ti.ndrange(views, num_groups):
        overlap = ti.Vector([0.0, 0.0])
        start = start_of_run(group, num_groups, num_runs)
        for run in range(start, start_of_run(group + 1, num_groups, num_runs)):
            overlap += overlaps[view, run]
        overlaps[view, num_runs + group] = overlap
    for run in range(NUM_RUNS):  # of views
        start = start_of_run(run, NUM_RUNS, views)
        for view in range(start, start_of_run(run + 1, NUM_RUNS, views)):
            overlap = ti.Vector([0.0, 0.0])
            for group in range(num_groups):
                overlap += overlaps[view, num_runs + group]
            totals[view] = overlap
            loss[None] += weight / views * (1.0 - intersection_over_union(overlap))


@kernel
def add_iou_loss_backward(
    image: ti.template(),  # (B, H, W); adds to its gradient
    target: ti.types.ndarray(ndim=3, needs_grad=False),  # (B, H, W)
    totals: ti.types.ndarray(ndim=1, needs_grad=False),  # (B,) intersection, union
    loss: ti.template(),  # ()
    weight: float,
    length: int,  # pixels a task owns
):
    """Adjoint of `add_iou_loss`."""
    views, height, width = target.shape[0], target.shape[1], target.shape[2]
    alpha = ti.static(image.n - 1)
    for view, row, run in ti.ndrange(views, height, (width + length - 1) // length):
        grad_iou = -weight / views * loss.grad[None]
        grad_overlap = intersection_over_union_vjp(totals[view], grad_iou)
        for column in range(run * length, ti.min((run + 1) * length, width)):
            t = target[view, row, column]
            grad_alpha = grad_overlap[0] * t + grad_overlap[1] * (1.0 - t)
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


def _mean_error(image, target, loss, weight, mask, penalty, penalty_vjp):
    check_image(image)
    check_loss(loss)
    shapes = [(*image.shape, count) for count in (image.n, image.n - 1) if count > 0]
    target = _as_array("target", image, target, [*shapes, image.shape])
    sums, scale = _scratch(image).sums, float(weight / math.prod(target.shape))
    if mask is None:
        shares = Shares(target, sums, False)  # neither is read
    else:
        mask = _as_array("mask", image, mask, [image.shape])
        shares = Shares(mask, ti.ndarray(float, ()), True)  # for the gradient of this very call
        _sum_mask(mask, sums, shares.total)
        scale *= math.prod(image.shape)
    _sum_of_penalties(image, target, shares, sums, loss, scale, penalty, penalty_vjp)


class Shares(NamedTuple):
    """What each pixel has of a mean.

    Attributes:
        mask: (B, H, W).
        total: () the sum of the mask.
        is_given: whether there is a mask; otherwise all pixels count 1, and the sum is part of the
            scale.
    """

    mask: object
    total: object
    is_given: bool


@ti.ad.no_grad
def _sum_mask(mask, sums, total):
    sum_mask(mask, sums, total, run_length())


@ti.ad.grad_replaced
def _sum_of_penalties(image, target, shares, sums, loss, scale, penalty, penalty_vjp):
    inputs = body(image), target, *shares, components_of(image, target)
    add_penalties(*inputs, sums, body(loss), scale, run_length(), penalty)


@ti.ad.grad_for(_sum_of_penalties)
def _sum_of_penalties_backward(image, target, shares, sums, loss, scale, penalty, penalty_vjp):
    inputs = body(image), target, *shares, components_of(image, target)
    add_penalties_backward(*inputs, body(loss), scale, run_length(True), penalty_vjp)


@kernel
def sum_mask(
    mask: ti.types.ndarray(ndim=3, needs_grad=False),  # (B, H, W)
    sums: ti.types.ndarray(ndim=1, needs_grad=False),  # (N,) scratch
    total: ti.types.ndarray(ndim=0, needs_grad=False),  # () 0, out
    length: int,  # pixels a task owns
):
    """Adds the sum of the mask to `total`."""
    views, height, width = mask.shape[0], mask.shape[1], mask.shape[2]
    runs_of_row = (width + length - 1) // length
    for view, row, run in ti.ndrange(views, height, runs_of_row):
        of_run = 0.0
        for column in range(run * length, ti.min((run + 1) * length, width)):
            of_run += mask[view, row, column]
        sums[(view * height + row) * runs_of_row + run] = of_run
    add_terms(sums, sums.shape[0], 1.0, total)


@ti.func
def share_of(
    mask: ti.template(),
    total: ti.template(),
    is_given: ti.template(),
    view: int,
    row: int,
    column: int,
) -> float:
    """What a pixel has of a mean, up to the scale; 0 where the mask keeps nothing."""
    share = 1.0
    if ti.static(is_given):
        share = mask[view, row, column] / ti.select(total[None] > 0.0, total[None], 1.0)
    return share


@ti.func
def target_value(target: ti.template(), view: int, row: int, column: int, component: ti.template()):
    """The target of a component, whether there is one for each or for alpha alone."""
    value = 0.0
    if ti.static(len(target.shape) == 4):
        value = target[view, row, column, component]
    else:
        value = target[view, row, column]
    return value


def components_of(image, target) -> tuple:
    """First and end of the image's components that the target has: alpha alone, or the first."""
    return (0, target.shape[3]) if len(target.shape) == 4 else (image.n - 1, image.n)


@kernel
def add_penalties(
    image: ti.template(),  # (B, H, W) of C + 1 components
    target: ti.types.ndarray(needs_grad=False),  # (B, H, W, C + 1 or C), or (B, H, W) alpha
    mask: ti.types.ndarray(needs_grad=False),  # see `Shares`
    mask_total: ti.types.ndarray(needs_grad=False),
    is_masked: ti.template(),
    components: ti.template(),  # first and end of those of the image that the target has
    sums: ti.types.ndarray(ndim=1, needs_grad=False),  # (N,) scratch
    loss: ti.template(),  # () out
    scale: float,
    length: int,  # pixels a task owns
    penalty: ti.template(),  # ti.func of a difference
):
    """Adds scale * sum of shares of penalty(image - target)."""
    views, height, width = target.shape[0], target.shape[1], target.shape[2]
    runs_of_row = (width + length - 1) // length
    for view, row, run in ti.ndrange(views, height, runs_of_row):
        total = 0.0
        for column in range(run * length, ti.min((run + 1) * length, width)):
            share = share_of(mask, mask_total, is_masked, view, row, column)
            if share > 0.0:
                for k in ti.static(range(components[0], components[1])):
                    t = target_value(target, view, row, column, k)
                    total += share * penalty(image[view, row, column][k] - t)
        sums[(view * height + row) * runs_of_row + run] = total
    add_terms(sums, sums.shape[0], scale, loss)


@kernel
def add_penalties_backward(
    image: ti.template(),  # (B, H, W) of C + 1 components; adds to its gradient
    target: ti.types.ndarray(needs_grad=False),  # (B, H, W, C + 1 or C), or (B, H, W) alpha
    mask: ti.types.ndarray(needs_grad=False),  # see `Shares`
    mask_total: ti.types.ndarray(needs_grad=False),
    is_masked: ti.template(),
    components: ti.template(),  # first and end of those of the image that the target has
    loss: ti.template(),  # ()
    scale: float,
    length: int,  # pixels a task owns
    penalty_vjp: ti.template(),  # ti.func of a difference and the gradient of its penalty
):
    """Adjoint of `add_penalties`."""
    views, height, width = target.shape[0], target.shape[1], target.shape[2]
    for view, row, run in ti.ndrange(views, height, (width + length - 1) // length):
        for column in range(run * length, ti.min((run + 1) * length, width)):
            share = share_of(mask, mask_total, is_masked, view, row, column)
            if share > 0.0:
                grad_penalty = share * scale * loss.grad[None]
                for k in ti.static(range(components[0], components[1])):
                    t = target_value(target, view, row, column, k)
                    slope = penalty_vjp(image[view, row, column][k] - t, grad_penalty)
                    image.grad[view, row, column][k] = image.grad[view, row, column][k] + slope
