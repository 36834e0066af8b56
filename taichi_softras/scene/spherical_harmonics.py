"""Light from all around: nine coefficients a colour in, a Taichi field out.

R. Ramamoorthi, P. Hanrahan, "An Efficient Representation for Irradiance Environment Maps",
SIGGRAPH 2001; OpenDR lights its scenes so.
"""

import math

import taichi as ti

from taichi_softras.fields import FieldTree
from taichi_softras.scene.checks import finite_array

# the factors of the real harmonics, times what a matt surface keeps of each order: the
# coefficients of its cosine kernel over pi are 1, 2/3, 1/4 (equation 8)
CONSTANT = math.sqrt(1 / (4 * math.pi))
LINEAR = math.sqrt(3 / (4 * math.pi)) * 2 / 3
QUADRATIC = math.sqrt(15 / (4 * math.pi)) / 4
QUADRATIC_Z = QUADRATIC / math.sqrt(12)


class SphericalHarmonics:
    """Distant light of order 2: real spherical harmonics, which a matt surface blurs.

    White reflects sum_k A_k c_k Y_k(normal), with Y_k in the order 1; y, z, x; xy, yz, 3z^2 - 1,
    xz, x^2 - y^2 of the world's axes and A = 1, 2/3, 1/4 by order. This is linear in the
    coefficients, and may be negative where no real light has such coefficients.

    Attributes:
        coefficients: (9,) vec3 field with gradient, of the light that arrives.
    """

    def __init__(self, coefficients):
        """Places the field.

        Args:
            coefficients: (9, 3), a row for each harmonic, a column for each colour. A first row of
                sqrt(4 pi) = 3.545 lights all as an ambient light of 1.

        Raises:
            ValueError: another shape, or entries that are not finite.
        """
        coefficients = finite_array("coefficients", coefficients, (9, 3))
        tree = FieldTree()
        self.coefficients = tree.add((9,), (3,))
        tree.place()
        self.coefficients.from_numpy(coefficients)

    @ti.func
    def reflect(self, normal):
        """The light that a matt surface sends back, per channel: equation 12, over pi.

        Args:
            normal: vec3, world, length 1.
        """
        x, y, z = normal.x, normal.y, normal.z
        light = CONSTANT * self.coefficients[0]
        light += LINEAR * y * self.coefficients[1]
        light += LINEAR * z * self.coefficients[2]
        light += LINEAR * x * self.coefficients[3]
        light += QUADRATIC * x * y * self.coefficients[4]
        light += QUADRATIC * y * z * self.coefficients[5]
        light += QUADRATIC_Z * (3.0 * z * z - 1.0) * self.coefficients[6]
        light += QUADRATIC * x * z * self.coefficients[7]
        light += QUADRATIC / 2.0 * (x * x - y * y) * self.coefficients[8]
        return light
