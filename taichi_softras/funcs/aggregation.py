"""How the faces over one pixel become one silhouette value and one colour.

Both are streams: a pixel keeps a few numbers, each face changes them, in any order.
"""

from typing import Callable

from taichi_softras.funcs.numeric import exp
from taichi_softras.funcs.values import value
from taichi_softras.runtime import ti

SMALLEST_TRANSMITTANCE = 1e-30  # below it a product of many is 0, not a slow denormal number


@value
class AlphaAggregation:
    """The silhouette A of a pixel from the coverages D of its faces.

    Attributes:
        start: the value that the pixel keeps when no face has come.
        add: (value, coverage, rest, is_inside) -> value; the rest is 1 - coverage.
        resolve: (value, num_faces) -> A.
        slope: (value, coverage, num_faces) -> dA/dx of D = sigmoid(x), from the last value.
    """

    start: float
    add: Callable
    resolve: Callable
    slope: Callable


@ti.func
def product_add(value: float, coverage: float, rest: float, is_inside: int) -> float:
    """Keeps the transmittance prod_j (1 - D_j)."""
    product = value * rest
    return ti.select(product > SMALLEST_TRANSMITTANCE, product, 0.0)


@ti.func
def product_resolve(value: float, num_faces: int) -> float:
    """A = 1 - prod_j (1 - D_j), SoftRas eq. 4."""
    return 1.0 - value


@ti.func
def product_slope(value: float, coverage: float, num_faces: int) -> float:
    """prod_k (1 - D_k) D_j: no division by 1 - D_j."""
    return value * coverage


@ti.func
def sum_add(value: float, coverage: float, rest: float, is_inside: int) -> float:
    """Keeps sum_j D_j."""
    return value + coverage


@ti.func
def sum_resolve(value: float, num_faces: int) -> float:
    """A = mean_j D_j over all faces of the mesh, as in SoftRas' code."""
    return value / ti.cast(num_faces, float)


@ti.func
def sum_slope(value: float, coverage: float, num_faces: int) -> float:
    """D_j (1 - D_j) / F."""
    return coverage * (1.0 - coverage) / ti.cast(num_faces, float)


@ti.func
def hard_add(value: float, coverage: float, rest: float, is_inside: int) -> float:
    """Keeps whether a face covers the pixel by a half or more: whether it is inside."""
    return ti.select((coverage > 0.0) & is_inside, 1.0, value)


@ti.func
def hard_resolve(value: float, num_faces: int) -> float:
    """A is 0 or 1."""
    return value


@ti.func
def hard_slope(value: float, coverage: float, num_faces: int) -> float:
    """Zero: a step has no useful derivative."""
    return 0.0


@ti.func
def any_add(value: float, coverage: float, rest: float, is_inside: int) -> float:
    """Keeps whether a face covers the pixel, however little."""
    return ti.select(coverage > 0.0, 1.0, value)


ALPHAS = {
    "product": AlphaAggregation(1.0, product_add, product_resolve, product_slope),
    "sum": AlphaAggregation(0.0, sum_add, sum_resolve, sum_slope),
    "hard": AlphaAggregation(0.0, hard_add, hard_resolve, hard_slope),
}
ANY = AlphaAggregation(0.0, any_add, hard_resolve, hard_slope)


@value
class ColorAggregation:
    """The weights w_j of the faces over a pixel, whose colour is sum_j w_j C_j.

    The pixel keeps the nearest depth so far, the front face, and the sum of weights
    relative to that depth. Depths are distances, not SoftRas' normalised inverse
    depth: their differences keep four more digits in single precision.

    Attributes:
        meet: (coverage, is_inside, depth, face, nearest, front, sharpness) -> (keep, gain,
            nearest, front): what was summed is multiplied by keep, the face adds gain.
        weight: (coverage, depth, face, nearest, front, inverse_sum, sharpness) -> w_j.
        is_soft: whether w_j moves with coverage and depth.
        background_floor: the background's weight, relative to the nearest face's
            exp(z / gamma), does not fall below this.
    """

    meet: Callable
    weight: Callable
    is_soft: bool
    background_floor: float = 0.0


@ti.func
def softmax_meet(
    coverage: float,
    is_inside: int,
    depth: float,
    face: int,
    nearest: float,
    front: int,
    sharpness: float,
):
    """D_j exp(z_j / gamma), rescaled when a nearer face comes (online softmax)."""
    is_nearer = (coverage > 0.0) & (depth < nearest)
    fade = exp(-ti.abs(nearest - depth) * sharpness)
    keep = ti.select(is_nearer, fade, 1.0)
    gain = ti.select(is_nearer, coverage, coverage * fade)
    return keep, gain, ti.select(is_nearer, depth, nearest), front


@ti.func
def softmax_weight(
    coverage: float,
    depth: float,
    face: int,
    nearest: float,
    front: int,
    inverse_sum: float,
    sharpness: float,
) -> float:
    """w_j = D_j exp(z_j / gamma) / sum, SoftRas eq. 3."""
    return coverage * exp(ti.min((nearest - depth) * sharpness, 0.0)) * inverse_sum


@ti.func
def nearest_meet(
    coverage: float,
    is_inside: int,
    depth: float,
    face: int,
    nearest: float,
    front: int,
    sharpness: float,
):
    """The nearest face that holds the pixel takes all; the lower index on a tie."""
    is_nearer = (coverage > 0.0) & is_inside
    is_nearer &= (depth < nearest) | ((depth == nearest) & (face < front))
    gain = ti.select(is_nearer, 1.0, 0.0)
    return 1.0 - gain, gain, ti.select(is_nearer, depth, nearest), ti.select(is_nearer, face, front)


@ti.func
def nearest_weight(
    coverage: float,
    depth: float,
    face: int,
    nearest: float,
    front: int,
    inverse_sum: float,
    sharpness: float,
) -> float:
    """1 for the front face."""
    return ti.select(face == front, 1.0, 0.0)


COLORS = {
    "softmax": ColorAggregation(softmax_meet, softmax_weight, is_soft=True),
    "hard": ColorAggregation(nearest_meet, nearest_weight, is_soft=False),
}


@ti.func
def floored_softmax_meet(
    coverage: float,
    is_inside: int,
    depth: float,
    face: int,
    nearest: float,
    front: int,
    sharpness: float,
):
    """As `softmax_meet`, and remembers the nearest face; the lower index on a tie."""
    is_first = (depth < nearest) | ((depth == nearest) & (face < front))
    is_first &= coverage > 0.0
    keep, gain, new_nearest, _ = softmax_meet(
        coverage, is_inside, depth, face, nearest, front, sharpness
    )
    return keep, gain, new_nearest, ti.select(is_first, face, front)


@ti.func
def first_meet(
    coverage: float,
    is_inside: int,
    depth: float,
    face: int,
    nearest: float,
    front: int,
    sharpness: float,
):
    """The nearest face takes all, also beyond its edges; the lower index on a tie."""
    return nearest_meet(coverage, 1, depth, face, nearest, front, sharpness)


FLOORED_SOFTMAX = ColorAggregation(
    floored_softmax_meet, softmax_weight, is_soft=True, background_floor=1e-10
)
FIRST = ColorAggregation(first_meet, nearest_weight, is_soft=False)
