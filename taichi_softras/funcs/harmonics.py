"""Spherical harmonics as a matt surface blurs them, with their adjoint."""

import math

from taichi_softras.runtime import ti, vec3

# the factors of the real harmonics, times what a matt surface keeps of each order: the
# coefficients of its cosine kernel over pi are 1, 2/3, 1/4 (equation 8)
CONSTANT = math.sqrt(1 / (4 * math.pi))
LINEAR = math.sqrt(3 / (4 * math.pi)) * 2 / 3
QUADRATIC = math.sqrt(15 / (4 * math.pi)) / 4
QUADRATIC_Z = QUADRATIC / math.sqrt(12)


@ti.func
def harmonics(normal: vec3):
    """The nine real spherical harmonics of order 2 as a matt surface blurs them, over pi.

    In the order 1; y, z, x; xy, yz, 3z^2 - 1, xz, x^2 - y^2. R. Ramamoorthi, P. Hanrahan, "An
    Efficient Representation for Irradiance Environment Maps", SIGGRAPH 2001, equation 12.

    Args:
        normal: world, length 1.
    """
    x, y, z = normal.x, normal.y, normal.z
    return ti.Vector(
        [
            CONSTANT,
            LINEAR * y,
            LINEAR * z,
            LINEAR * x,
            QUADRATIC * x * y,
            QUADRATIC * y * z,
            QUADRATIC_Z * (3.0 * z * z - 1.0),
            QUADRATIC * x * z,
            QUADRATIC / 2.0 * (x * x - y * y),
        ]
    )


@ti.func
def harmonics_vjp(normal: vec3, g: ti.template()) -> vec3:
    """The gradient with respect to `normal`; `g` (9) is that of the harmonics."""
    x, y, z = normal.x, normal.y, normal.z
    return vec3(
        LINEAR * g[3] + QUADRATIC * (y * g[4] + z * g[7] + x * g[8]),
        LINEAR * g[1] + QUADRATIC * (x * g[4] + z * g[5] - y * g[8]),
        LINEAR * g[2] + QUADRATIC * (y * g[5] + x * g[7]) + 6.0 * QUADRATIC_Z * z * g[6],
    )
