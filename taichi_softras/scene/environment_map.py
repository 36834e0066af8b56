"""Light from all around, as a picture of all directions shows it: an array in, a field out."""

import numpy as np

from taichi_softras.fields import FieldTree, upload
from taichi_softras.funcs.images import REPEAT, TRILINEAR
from taichi_softras.funcs.lights import LightStructure
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import finite_array, refuse_no_array, warn_of_bytes
from taichi_softras.scene.lights import Light


class EnvironmentMap(Light):
    """Distant light in all directions, as a picture in latitudes and longitudes.

    The upper edge is straight up (+y), the lower one straight down; the middle is what is seen
    along -z, and the right of it lies towards +x, as in a photograph from within. A surface is lit
    by the picture's projection on nine spherical harmonics, as by `SphericalHarmonics`: each texel
    counts by its piece of the sphere, with the exact integrals of the harmonics over it. What a
    matt surface sends back of positive light is then right to a few per cent (Ramamoorthi and
    Hanrahan 2001), and may be below 0 opposite to one small bright light. `PhysicallyBased` mirrors
    the picture besides, blurred by the roughness, unless colours are face textures.

    Attributes:
        image: (H, W) vec3 field with gradient, linear colours, row 0 on top. An array that is
            assigned is written into it.
    """

    image = FieldAttribute()
    structure = LightStructure(environment=1)
    parts = {"image": ("environment", 0)}
    is_picture = True

    def __init__(self, image):
        """Places the field.

        Args:
            image: (H, W, 3), linear colours of any size and brightness. One of 1 everywhere lights
                as an ambient light of 1.

        Raises:
            ValueError: another shape, nothing in it, or entries that are not finite.
        """
        refuse_no_array("image", image, "images.load_image")
        values = finite_array("image", image, ("H", "W", 3))
        if np.issubdtype(np.asarray(image).dtype, np.integer):  # the sun is above any bound
            warn_of_bytes("image", image)
        tree = FieldTree()
        self.image = tree.add(values.shape[:2], (3,))
        tree.place()
        upload([self.image], [values])

    @property
    def layout(self) -> tuple:
        """As that of a `Texture`: with all levels of a pyramid."""
        return (*self.image.shape, TRILINEAR, REPEAT)
