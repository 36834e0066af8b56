"""Elementary functions that LLVM can vectorise."""

import math

from taichi_softras.runtime import is_double, ti, vec3

EPSILONS = {False: 2.0**-23, True: 2.0**-52}  # of single and double precision: by `is_double`
# A triangle that is no higher over its longest edge than this part of its largest coordinate is a
# line: eight roundings of single precision, in which most meshes are stored, in either precision.
LINE_HEIGHT = 1e-6

LARGEST = 1e37  # the sum of a few larger numbers is beyond single precision
UNDRAWABLE = 1e38  # what a stage writes in place of a coordinate, where its numbers are none


@ti.func
def is_drawable(total: float) -> int:
    """Whether numbers whose absolute values have this sum are finite, and not too large."""
    return not (ti.math.isnan(total) or ti.math.isinf(total) or total > LARGEST)


@ti.func
def exp(x: float) -> float:
    """The exponential, relative error 2e-7 in single precision; x is clamped to [-87, 88].

    Range reduction and polynomial of Cephes `expf`. `ti.exp` is a call into the C
    library and stops vectorisation; it serves double precision, for tests.
    """
    result = 0.0
    if ti.static(is_double()):
        result = ti.exp(ti.min(ti.max(x, -700.0), 700.0))
    else:
        clamped = ti.min(ti.max(x, -87.0), 88.0)
        exponent = ti.floor(clamped * 1.44269504 + 0.5)
        r = clamped - exponent * 0.693359375 + exponent * 2.12194440e-4
        p = 1.9875691500e-4
        p = p * r + 1.3981999507e-3
        p = p * r + 8.3334519073e-3
        p = p * r + 4.1665795894e-2
        p = p * r + 1.6666665459e-1
        p = p * r + 5.0000001201e-1
        p = p * r * r + r + 1.0
        result = p * ti.bit_cast((ti.cast(exponent, ti.i32) + 127) << 23, ti.f32)
    return result


@ti.func
def log(x: float) -> float:
    """The natural logarithm of a positive number that is not subnormal, as `exp`.

    Exponent and polynomial of Cephes `logf`.
    """
    result = 0.0
    if ti.static(is_double()):
        result = ti.log(x)
    else:
        bits = ti.bit_cast(ti.cast(x, ti.f32), ti.i32)
        exponent = ti.cast((bits >> 23) - 126, ti.f32)
        mantissa = ti.bit_cast((bits & 0x007FFFFF) | 0x3F000000, ti.f32)
        is_small = mantissa < 0.707106781
        exponent = ti.select(is_small, exponent - 1.0, exponent)
        m = ti.select(is_small, mantissa + mantissa, mantissa) - 1.0
        p = 7.0376836292e-2
        p = p * m - 1.1514610310e-1
        p = p * m + 1.1676998740e-1
        p = p * m - 1.2420140846e-1
        p = p * m + 1.4249322787e-1
        p = p * m - 1.6668057665e-1
        p = p * m + 2.0000714765e-1
        p = p * m - 2.4999993993e-1
        p = p * m + 3.3333331174e-1
        result = m + (p * m - 0.5) * m * m + exponent * 0.69314718
    return result


@ti.func
def cos_degrees(angle: float) -> float:
    """The cosine of an angle from 0 to 90 degrees; error 1e-7 in single precision."""
    x = angle * (math.pi / 180)
    result = 0.0
    if ti.static(is_double()):
        result = ti.cos(x)
    else:
        y = x * x
        p = 1 / 479001600
        p = p * y - 1 / 3628800
        p = p * y + 1 / 40320
        p = p * y - 1 / 720
        p = p * y + 1 / 24
        p = p * y - 0.5
        result = p * y + 1.0
    return result


@ti.func
def sin_degrees(angle: float) -> float:
    """The sine, as `cos_degrees`."""
    return cos_degrees(90.0 - angle)


@ti.func
def sigmoid(x: float):
    """1 / (1 + exp(-x)), and 1 minus it, which keeps its digits where it is small."""
    fade = exp(-x)
    value = 1.0 / (1.0 + fade)
    return value, ti.select(x > 0.0, fade * value, 1.0 - value)


@ti.func
def sum_of_three(terms: vec3) -> float:
    """Their sum, in any order the same number: from the ends to the middle."""
    low, high = ti.min(terms.x, terms.y), ti.max(terms.x, terms.y)
    middle = ti.max(low, ti.min(high, terms.z))
    return (ti.min(low, terms.z) + ti.max(high, terms.z)) + middle
