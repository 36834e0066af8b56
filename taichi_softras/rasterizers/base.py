"""What every rasterizer offers: draw, and pull an image gradient back to corners and surface."""

import abc
import math
import numbers
from typing import Any, ClassVar, Optional, Union

import numpy as np

from taichi_softras.rasterizers.binning import Bins
from taichi_softras.rasterizers.fragments import Shader, Surface, SurfaceNumbers
from taichi_softras.runtime import is_double, ti
from taichi_softras.workspace import Workspace

NO_FACE = -1
# The least and the largest setting, by the precision of the runtime: their inverses, and products
# with coordinates and colours, are numbers, too
HELD = {False: ("single", 1e-30, 1e30), True: ("double", 1e-250, 1e250)}  # whether it is double


class Rasterization(abc.ABC):
    """One drawn image, with what its gradient needs.

    Attributes:
        image: (B, C + 1, H, >= W) planes, the shader's channels, alpha last, row 0 on top.
        grad_image: same shape; its user writes the first W columns before `backward`.
        grad_corners: the shape of the corners, written by `backward`.
        grad_surface: the shapes of the surface's arrays, written by `backward`; what views share
            is summed over them.
        moves_outlines: whether, of faces that are cut, `backward` also writes what the ends of the
            mesh's edges get, see `faces.ENDS`.
    """

    moves_outlines: ClassVar[bool] = False

    image: ti.Ndarray

    def __init__(self, workspace: Workspace, corners: ti.Ndarray, shader: Shader, surface: Surface):
        """Keeps what is drawn; see `Rasterizer.forward`."""
        self.workspace = workspace
        self.corners_shape = tuple(corners.shape)
        self.shader, self.surface = shader, surface

    @property
    def grad_image(self) -> ti.Ndarray:
        """The shape of `image`: written by the caller before `backward`."""
        return self.workspace.get("grad_image", tuple(self.image.shape))

    @property
    def grad_corners(self) -> ti.Ndarray:
        """The shape of the corners: written by `backward`."""
        return self.workspace.get("grad_corners", self.corners_shape)

    @property
    def grad_surface(self) -> SurfaceNumbers:
        """The shapes of the surface's arrays: written by `backward`."""
        return self.surface.numbers.like(self.workspace, "grad")

    def clear_grad_textures(self) -> None:
        """For `backward`, which adds to them: a texture may be shared by faces and by views."""
        if self.shader.moves_textures:
            self.grad_surface.textures.fill(0.0)

    @abc.abstractmethod
    def backward(self) -> None:
        """Fills `grad_corners` and `grad_surface` from `grad_image`."""

    def push_forward(
        self, tangent_corners: ti.Ndarray, tangent_surface: SurfaceNumbers
    ) -> ti.Ndarray:
        """The transpose of `backward`, of rasterizers with `has_jacobian`.

        Args:
            tangent_corners: (P, *corners.shape), derivatives of the corners by P parameters.
            tangent_surface: likewise (P, *shape) of each array of the surface.

        Returns:
            (P, B, C + 1, H, W): derivatives of the image. `grad_image` may be overwritten.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no push_forward: its rasterizer must say "
            "has_jacobian = False"
        )


class Rasterizer(abc.ABC):
    """A method: a frozen dataclass of its settings, in a file of its own.

    Attributes:
        has_jacobian: whether the gradient is linear in the gradient that comes in, and its
            rasterizations have `push_forward`.
        background: what is behind all faces, one number or one for each channel of a colour.
        near: see `drawn_depths`; a method may have none.
        far: the depth of the background. None as `near` is left to the scene: whoever calls
            `forward` has put a number there (`depth_range.complete`).
    """

    has_jacobian: ClassVar[bool] = False

    background: Union[float, tuple]
    near: Optional[float]
    far: Optional[float]

    def drawn_depths(self, has_color: bool) -> tuple:
        """The least and the largest depth that is drawn.

        Args:
            has_color: whether there is more to draw than alpha.
        """
        return getattr(self, "near", -math.inf), self.far

    @property
    def draws_both_sides(self) -> bool:
        """Whether faces that are clockwise on the image have a colour."""
        return getattr(self, "double_sided", True)

    @abc.abstractmethod
    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ) -> Rasterization:
        """Draws.

        Args:
            workspace: keeps the arrays; the returned value is good until its next use.
            corners: (B, F, 3, 4) clip coordinates or (B, F, 3, 3) divided ones, see
                `binning.Bins`.
            shader: which functions make colours of the surface.
            surface: varyings, textures and uniforms of the faces.
            image_size: (H, W) in pixels.
        """

    def bin_faces(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple) -> Bins:
        """The faces of each tile, counted; a ValueError of rasterizers that do not look for them.

        Args:
            workspace: keeps the arrays; what was drawn with it is lost.
            corners: as for `forward`.
            image_size: (H, W) in pixels.
        """
        raise ValueError(f"{type(self).__name__} has no bin_faces, and so no pairs to count")

    def fragments(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        image_size: tuple,
        faces_per_pixel: Optional[int] = None,
    ) -> Any:
        """The nearest faces of each pixel; a ValueError of rasterizers that do not look for them.

        Args:
            workspace: keeps the arrays; what was drawn with it is lost.
            corners: as for `forward`.
            image_size: (H, W) in pixels.
            faces_per_pixel: K; that of the rasterizer when left out.
        """
        raise ValueError(
            f"{type(self).__name__} has no fragments: every face counts, or the nearest "
            "alone; use KNearest"
        )


def check_rasterizer(rasterizer: object) -> None:
    """Raises a ValueError that names what is missing, unless it is a `Rasterizer`."""
    duties = ("forward", "fragments", "has_jacobian", "background", "far", "drawn_depths")
    missing = [duty for duty in duties if not hasattr(rasterizer, duty)]
    if isinstance(rasterizer, type) or missing:
        what = f"has no {', '.join(missing)}"
        if isinstance(rasterizer, type):
            what = f"is a class, write {rasterizer.__name__}()"
        raise ValueError(
            "rasterizer must be a value such as SoftAggregation(), or of a subclass of "
            f"rasterizers.base.Rasterizer: {rasterizer!r} {what}"
        )


def check_has_jacobian(rasterizer: Rasterizer) -> None:
    """Raises a ValueError for a rasterizer without a Jacobian."""
    check_rasterizer(rasterizer)
    if not rasterizer.has_jacobian:
        raise ValueError(
            f"{type(rasterizer).__name__} has no Jacobian: its gradient is not linear in the "
            "gradient that comes in; use FilteredDerivative, SoftAggregation or KNearest"
        )


def choose(name: str, value: str, choices: dict) -> object:
    """The choice of that name, or a ValueError that lists the choices."""
    if not isinstance(value, str) or value not in choices:
        options = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {options}, got {value!r}")
    return choices[value]


def check_range(name: str, value: float, above: float = -math.inf, below: float = math.inf) -> None:
    """Raises a ValueError unless value is a number with above < value < below."""
    if not isinstance(value, numbers.Real) or not above < value < below:
        wanted = "a finite number"
        if above > -math.inf:
            wanted += f" above {above:g}"
        if below < math.inf:
            wanted += f" and below {below:g}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_depth_range(near: Optional[float], far: Optional[float]) -> None:
    """Raises a ValueError unless 0 < near < far, as far as they are given."""
    if near is not None:
        check_range("near", near, above=0.0)
    if far is not None:
        check_range("far", far, above=0.0 if near is None else near)


def check_held(positive: dict, others: dict) -> None:
    """Raises a ValueError for settings that the runtime's precision cannot hold.

    Drawing asks, as the precision is not known before.

    Args:
        positive: numbers by what the user calls them; too small is as bad as too large.
        others: numbers, or one for each channel, of either sign.
    """
    precision, least, largest = HELD[is_double()]
    for low, numbers_of_kind in ((least, positive), (-largest, others)):
        for name, value in numbers_of_kind.items():
            if not all(low <= entry <= largest for entry in np.atleast_1d(value)):
                raise ValueError(
                    f"{name} must be from {low:g} to {largest:g} in {precision} precision, got "
                    f"{value!r}"
                )


def check_color(name: str, value: Any) -> None:
    """Raises a ValueError unless value is a finite number or a sequence of such."""
    values = value if isinstance(value, (tuple, list, np.ndarray)) else (value,)
    is_finite = all(isinstance(entry, numbers.Real) and math.isfinite(entry) for entry in values)
    if len(values) == 0 or not is_finite:
        if np.ndim(value) > 1:
            raise ValueError(
                f"{name} must be a number, or one for each channel, got an array of shape "
                f"{np.shape(value)}: an image is Renderer(background=) or rasterize(background=)"
            )
        raise ValueError(f"{name} must be a number, or one for each channel, got {value!r}")
