"""What a shading is.

A shading is a frozen value. Its class says what it reads of a face at a point (`varyings`) and of
the whole scene (`uniforms`), and holds the function that makes a colour of these, with its adjoint.
What needs no pixel, light of faces or vertices, is its `light`: an array stage before rasterizing.

How those of one pass become the shader of a rasterizer, `composition.py` says.
"""

import numbers
from typing import Callable, ClassVar, Optional

import numpy as np

from taichi_softras.funcs.lights import LightStructure
from taichi_softras.runtime import refuse_other, ti

# What a face has at a point, by name; the mesh's colour has as many numbers as the mesh says
COLOR = "color"
NORMAL, POSITION, DEPTH, UV = "normal_world", "position_world", "depth", "uv"
FACE_NORMAL, BARYCENTRIC = "face_normal_world", "barycentric"
ROUGHNESS, MIRRORED = "roughness", "mirrored"
VARYINGS = {
    COLOR: None,
    NORMAL: 3,
    FACE_NORMAL: 3,
    POSITION: 3,
    DEPTH: 1,
    BARYCENTRIC: 3,
    UV: 2,
    "metallic": 1,
    ROUGHNESS: 1,
    "emissive": 3,
    "specular": 3,
    "shininess": 1,
    MIRRORED: 3,
}
BY_FACE, BY_VERTEX = "face", "vertex"
EYE, VIEW_ROTATION = "eye_world", "view_rotation"  # the uniforms that are the camera's


class Shading:
    """The contract; a shading is a frozen dataclass that inherits from it.

    Attributes:
        varyings: by name, how many numbers a point of a face has: of "color" (the mesh's own, from
            vertices, texels, texture cubes or materials; None for as many as there are),
            "normal_world" (3, smooth, not of unit length between vertices, bent by normal
            textures), "face_normal_world" (3, of length 1, without gradient; 0 where the back of a
            face is not lit as its front), "position_world" (3), "depth" (1), "barycentric" (3, the
            weights of the face's corners), "uv" (2); and of materials, times their textures,
            "metallic" (1), "roughness" (1), "emissive" (3), "specular" (3), "shininess" (1); and
            "mirrored" (3), what environment maps show where the eye sees them mirrored, blurred by
            the roughness: with it come "normal_world", "position_world", "roughness", "eye_world".
        uniforms: by name, how many numbers; "eye_world" (3) is the camera's position,
            "view_rotation" (9) the rows of the matrix that turns world to view space; any other is
            the attribute of that name of the value: a number, a tuple, or a field with gradient of
            so many numbers.
        channels: of the result; None for as many as "color" has; 0 for none beside alpha.
        light: None; "face" or "vertex" if "color" comes lit by one light a face or a vertex.
        lights: whether the fragment reads the scene's lights; see `bind`.
        background: behind all faces: a number, "far", or None for the rasterizer's background.
        moves_edges: whether methods that approximate gradients let these channels pull at edges.
        of_nearest_face: whether it shows, by any rasterizer, the nearest face that contains the
            pixel's centre, with the exact gradient within it and none at edges. Such a shading
            can be an output.
        fragment: ti.func (varyings, uniforms) -> colour; vectors, in the order of the names above.
        fragment_vjp: ti.func (varyings, uniforms, grad_color) -> ti.Struct(varyings=, uniforms=),
            the gradients; `uniforms` may be left out if there are none.
    """

    varyings: ClassVar[dict] = {}
    uniforms: ClassVar[dict] = {}
    channels: ClassVar[Optional[int]] = None
    light: ClassVar[Optional[str]] = None
    lights: ClassVar[bool] = False
    background: ClassVar[object] = None
    moves_edges: ClassVar[bool] = True
    of_nearest_face: ClassVar[bool] = False
    fragment: ClassVar[Optional[Callable]] = None
    fragment_vjp: ClassVar[Optional[Callable]] = None

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name in ("fragment", "fragment_vjp"):  # functions of the class, not of its values
            function = cls.__dict__.get(name)
            if function is not None and not isinstance(function, staticmethod):
                setattr(cls, name, staticmethod(function))

    def under(self, lights: LightStructure) -> "Shading":
        """The value that is drawn under the lights of a scene: another one may read more."""
        return self

    def bind(self, lights: LightStructure) -> tuple:
        """The functions (fragment, fragment_vjp) for the lights of a scene.

        A shading that says `lights = True` makes its functions here; the numbers of the lights
        follow its own among the uniforms, see `funcs.lights`. For equal shadings and structures
        they must be the same functions (`functools.cache`): so kernels are shared.
        """
        return self.fragment, self.fragment_vjp


def uniform_values(shading: Shading, name: str, size: int) -> object:
    """The uniform of a shading as a field, or as a tuple of numbers.

    Raises:
        ValueError: if the value has no attribute of that name, or one of another size.
    """
    value = getattr(shading, name, None)
    refuse_other(name, value)
    if isinstance(value, ti.Field):
        return value
    values = np.ravel(value) if value is not None else ()
    if len(values) != size or not all(isinstance(entry, numbers.Real) for entry in values):
        raise ValueError(
            f"shading {type(shading).__name__}: uniform {name!r} must be an attribute of {size} "
            f"numbers, got {value!r}"
        )
    return tuple(float(entry) for entry in values)
