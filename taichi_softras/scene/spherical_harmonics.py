"""Light from all around: nine coefficients a colour in, a Taichi field out.

R. Ramamoorthi, P. Hanrahan, "An Efficient Representation for Irradiance Environment Maps",
SIGGRAPH 2001; OpenDR lights its scenes so.
"""

from taichi_softras.funcs.lights import LightStructure
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import finite_array
from taichi_softras.scene.lights import Light


class SphericalHarmonics(Light):
    """Distant light of order 2: real spherical harmonics, which a matt surface blurs.

    White reflects sum_k A_k c_k Y_k(normal), with Y_k in the order 1; y, z, x; xy, yz, 3z^2 - 1,
    xz, x^2 - y^2 of the world's axes and A = 1, 2/3, 1/4 by order. This is linear in the
    coefficients, and may be negative where no real light has such coefficients.

    Attributes:
        coefficients: (9,) vec3 field with gradient, of the light that arrives. An array that is
            assigned is written into it.
    """

    coefficients = FieldAttribute()
    structure = LightStructure(harmonics=1)
    parts = {"coefficients": ("harmonics", 0)}

    def __init__(self, coefficients):
        """Places the field.

        Args:
            coefficients: (9, 3), a row for each harmonic, a column for each colour. A first row of
                sqrt(4 pi) = 3.545 lights all as an ambient light of 1.

        Raises:
            ValueError: another shape, or entries that are not finite.
        """
        coefficients = finite_array("coefficients", coefficients, (9, 3))
        self._place(coefficients=coefficients)
