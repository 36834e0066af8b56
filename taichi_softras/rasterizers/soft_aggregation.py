"""Soft aggregation: every face counts, softly, at every pixel in its reach.

S. Liu, T. Li, W. Chen, H. Li, "Soft Rasterizer: A Differentiable Renderer for
Image-based 3D Reasoning", ICCV 2019. The gradient is the derivative of the image that
is drawn, with the terms that the paper's code leaves out (docs/gradients.md).
"""

import contextlib
import dataclasses
import math
from typing import Any, ClassVar, Optional, Union

from taichi_softras.funcs.aggregation import ALPHAS, COLORS
from taichi_softras.funcs.coverage import ALWAYS, DISTANCES
from taichi_softras.funcs.interpolation import CLIP_TO_RANGE, PERSPECTIVE, SCREEN
from taichi_softras.rasterizers.base import (
    Rasterization,
    Rasterizer,
    check_color,
    check_depth_range,
    check_held,
    check_range,
    choose,
)
from taichi_softras.rasterizers.binning import Bins, TileArrays
from taichi_softras.rasterizers.fragments import (
    Shader,
    Surface,
    SurfaceNumbers,
    background_of,
)
from taichi_softras.rasterizers.soft_fragments import Numbers, PixelArrays, Sizes, Structure
from taichi_softras.rasterizers.soft_jacobian import push_pixels_forward
from taichi_softras.rasterizers.soft_kernels import (
    LANES,
    draw_pixels,
    draw_tiles,
    pull_back_faces,
    pull_back_tiles,
)
from taichi_softras.runtime import CPU_BLOCK, is_cpu, is_double, lean_compilation, ti
from taichi_softras.workspace import Workspace, check_entries

MOST_FACES_PER_TASK = 64  # CPU backward: large enough to hide what a task costs
LEAST_SHARE = 1e-9  # far below what single precision tells; none in double, which is for tests
# sqrt(sigma) where neither `sigma` nor `sigma_pixels` is given: the papers' at their 64 x 64. It is
# told from an equal number of a user's by `is`
SIGMA_PIXELS = 1.0 / 3.0


class SoftRasterizer(Rasterizer):
    """A method with soft edges.

    Attributes:
        sigma: NDC squared, or None.
        sigma_pixels: sqrt(sigma) in pixels, or None.
    """

    sigma: Optional[float]
    sigma_pixels: Optional[float]

    def check_sigma(self) -> None:
        """Leaves one of the two; a ValueError unless one is given, or none, and is above 0."""
        if self.sigma is not None and self.sigma_pixels is SIGMA_PIXELS:
            object.__setattr__(self, "sigma_pixels", None)  # the way to write to a frozen dataclass
        if (self.sigma is None) == (self.sigma_pixels is None):
            raise ValueError(
                "give sigma (NDC squared) or sigma_pixels, and None for the other, got "
                f"sigma = {self.sigma!r} and sigma_pixels = {self.sigma_pixels!r}"
            )
        name = "sigma" if self.sigma_pixels is None else "sigma_pixels"
        check_range(name, getattr(self, name), above=0.0)

    @property
    def sigma_name(self) -> str:
        """What the user calls `sigma_ndc`."""
        if self.sigma is not None:
            return "sigma"
        return f"the sigma of sigma_pixels = {self.sigma_pixels!r}, in NDC squared,"

    def sigma_ndc(self, image_size: tuple) -> float:
        """Sigma in NDC squared for an image of (height, width) pixels."""
        if self.sigma is not None:
            return self.sigma
        root = self.sigma_pixels * 2.0 / min(image_size)
        return root * root


@dataclasses.dataclass(frozen=True)
class SoftAggregation(SoftRasterizer):
    """The Soft Rasterizer (Liu et al., ICCV 2019); `liu2019` has its numbers.

    Coverage of pixel i by face j is D_ij = sigmoid(delta_ij d_ij^2 / sigma). The colour is
    sum_j w_ij C_ij with w_ij proportional to D_ij exp(z_ij / gamma), where z is the
    normalised inverse depth (far - depth) / (far - near) and the background has weight
    exp(background_depth / gamma). The silhouette is 1 - prod_j (1 - D_ij).

    With the paper's gamma, near and far any face outweighs the background, wherever it covers a
    pixel at all: colours end in a hard edge outside of the shape, and a loss of RGB has gradient 0
    at silhouettes. What moves outlines is alpha; or, for RGB alone, near=1, far=5, gamma=0.1 and
    background_depth=0.4 around a scene at depth 3. Inner edges of a surface of one layer show in
    alpha, 0.75 on the diagonal of a quad. See docs/gradients.md.

    Args:
        sigma: softness of edges, NDC squared (the shorter image side spans 2); in place of
            `sigma_pixels`.
        gamma: softness of depth, in normalised inverse depth.
        distance: "euclidean"; "barycentric" (a pure number, as in the paper's code: give `sigma`);
            "hard".
        color: "softmax" over depth, or "hard": the nearest face.
        alpha: "product"; "sum": the mean of D over all faces; "hard": D >= 1/2, inside of a face.
        coverage_cutoff: a face ends where its coverage falls below this, in (0, 0.5).
        near: nearest depth that has colour; depth is the distance along the view axis. Left out,
            `near` and `far` are fitted to the scene; gamma is relative to them.
        far: farthest depth that has colour. Faces before `near` or behind `far` still cover in
            alpha, as in the paper's code; those behind the camera never do.
        background: colour of the background, one number or one for each channel.
        background_depth: its z in the softmax (the paper's epsilon).
        double_sided: whether faces that are clockwise on the image have colour.
        perspective_correct: interpolate colours and look texels up on the face (the paper's code:
            on the image).
        sigma_pixels: sqrt(sigma) in pixels, 1/3 unless `sigma` is given.

    Raises:
        ValueError: for a number out of its range or an unknown name, for both `sigma` and
            `sigma_pixels`; when drawing, for a number that the runtime's precision cannot hold.
    """

    has_jacobian: ClassVar[bool] = True

    sigma: Optional[float] = None
    gamma: float = 1e-4
    distance: str = "euclidean"
    color: str = "softmax"
    alpha: str = "product"
    coverage_cutoff: float = 1e-4
    near: Optional[float] = None
    far: Optional[float] = None
    background: Union[float, tuple] = (0.0, 0.0, 0.0)
    background_depth: float = 1e-3
    double_sided: bool = True
    perspective_correct: bool = True
    sigma_pixels: Optional[float] = SIGMA_PIXELS

    def __post_init__(self):
        choose("distance", self.distance, DISTANCES)
        choose("color", self.color, COLORS)
        choose("alpha", self.alpha, ALPHAS)
        self.check_sigma()
        check_range("gamma", self.gamma, above=0.0)
        check_range("coverage_cutoff", self.coverage_cutoff, above=0.0, below=0.5)
        check_depth_range(self.near, self.far)
        check_range("background_depth", self.background_depth)
        check_color("background", self.background)

    def drawn_depths(self, has_color: bool) -> tuple:
        """See `Rasterizer.drawn_depths`."""
        return (self.near, self.far) if has_color else (-math.inf, math.inf)

    @classmethod
    def liu2019(cls, **changes: Any) -> "SoftAggregation":
        """The numbers of the paper, whatever the defaults are: sigma is 1e-4 NDC squared.

        They are made for silhouettes of 64 x 64 pixels; for what the colours get see
        docs/gradients.md. The paper's code also has `perspective_correct=False`.

        Args:
            changes: arguments that are to be others.
        """
        numbers = {
            "sigma": None if "sigma_pixels" in changes else 1e-4,
            "gamma": 1e-4,
            "distance": "euclidean",
            "color": "softmax",
            "alpha": "product",
            "coverage_cutoff": 1e-4,
            "near": 1.0,
            "far": 100.0,
            "background": (0.0, 0.0, 0.0),
            "background_depth": 1e-3,
            "double_sided": True,
            "perspective_correct": True,
        }
        return cls(**{**numbers, **changes})

    def reach(self, image_size: tuple) -> float:
        """Where coverage is cut off, NDC squared, for an image of (height, width) pixels."""
        return DISTANCES[self.distance].reach(self.sigma_ndc(image_size), self.coverage_cutoff)

    def structure(self, shader: Shader) -> Structure:
        """The functions behind the names."""
        return Structure(
            shader=shader,
            distance=DISTANCES[self.distance],
            alpha=ALPHAS[self.alpha],
            color=COLORS[self.color] if shader.num_channels else None,
            clipping=CLIP_TO_RANGE,
            interpolation=PERSPECTIVE if self.perspective_correct else SCREEN,
            is_limited=False,
            is_double_sided=self.double_sided,
        )

    def numbers(self, image_size: tuple) -> Numbers:
        """What the kernels take as arguments."""
        check_held({"coverage_cutoff": self.coverage_cutoff}, {})
        has_reach = DISTANCES[self.distance].has_reach
        sigma = self.sigma_ndc(image_size) if has_reach else 1.0
        reach = self.reach(image_size)
        return numbers_of(self, sigma, reach, self.background_depth, COLORS[self.color].is_soft)

    def bin_faces(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple) -> Bins:
        """The faces of each tile, see `Rasterizer.bin_faces`."""
        return Bins(workspace, corners, image_size, self.reach(image_size) ** 0.5)

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ) -> "SoftRasterization":
        """Draws; see `Rasterizer.forward`."""
        rasterization = SoftRasterization(self, workspace, corners, shader, surface, image_size)
        rasterization.draw()
        return rasterization


def numbers_of(
    method: Any, sigma: float, reach: float, background_depth: float, is_soft: bool
) -> Numbers:
    """What the kernels of a method take as arguments.

    Args:
        method: a `SoftRasterizer` with `near`, `far`, `gamma` and `background`.
        sigma: NDC squared.
        reach: NDC squared.
        background_depth: where the background stands in the softmax, as a normalised inverse depth.
        is_soft: whether there is a softmax; without one the background is behind everything.

    Raises:
        ValueError: for a number that the runtime's precision cannot hold.
    """
    depth_range = method.far - method.near
    check_held(
        {
            method.sigma_name: sigma,
            "gamma": method.gamma,
            "near": method.near,
            "far": method.far,
            "gamma * (far - near)": method.gamma * depth_range,
        },
        {
            "background": method.background,
            "background_depth * (far - near)": background_depth * depth_range,
        },
    )
    return Numbers(
        inverse_sigma=1.0 / sigma,
        reach=reach,
        sharpness=1.0 / (method.gamma * depth_range),
        near=method.near,
        far=method.far,
        start_depth=method.far - background_depth * depth_range if is_soft else ALWAYS,
        least_share=0.0 if is_double() else LEAST_SHARE,
    )


class SoftRasterization(Rasterization):
    """One image and what its gradient needs: a few numbers a pixel, nothing a fragment.

    Construction sets up faces and bins; then `draw`, then `backward` as often as wanted.
    """

    moves_outlines = True

    def __init__(
        self,
        method: Any,  # `SoftAggregation` or `KNearest`
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ):
        super().__init__(workspace, corners, shader, surface)
        self.image_size = image_size
        views, num_faces = self.corners_shape[:2]
        numbers = method.numbers(image_size)
        self.structure = method.structure(shader)
        is_limited, has_colors = self.structure.is_limited, shader.num_channels > 0
        num_planes = 5 if is_limited else 3 if has_colors else 1
        planes = (image_size[0], image_size[1] + LANES)
        most_planes = max(shader.num_channels + 1, num_planes)
        check_entries(workspace.scene, "pixels", (views, most_planes, *planes))
        self.bins = method.bin_faces(workspace, corners, image_size)
        background = background_of(shader, method.background, method.far)
        self.numbers = workspace.constants("soft_numbers", (*numbers, *background))
        is_shared = shader.is_textured_by_face and surface.textures.shape[0] < views
        views_per_task = views if is_shared else 1
        num_owned = views // views_per_task * num_faces
        per_task = max(1, min(MOST_FACES_PER_TASK, num_owned // CPU_BLOCK))
        tasks_per_view = -(-num_faces // per_task)
        # times CPU_BLOCK it is no more than entries of `face_records`, or that `check_size` allows
        self.num_parts = views * tasks_per_view
        sizes = Sizes(
            image_size[0],
            image_size[1],
            tile_rows=self.bins.rows,
            tile_columns=self.bins.columns,
            num_faces=num_faces,
            num_counted=num_faces - workspace.num_cut_rows,
            num_lanes=LANES if is_cpu() else 1,
            faces_per_task=per_task,
            tasks_per_view=tasks_per_view,
            views_per_task=views_per_task,
        )
        self.sizes = workspace.constants("soft_sizes", sizes, int)

        self.image = workspace.get("image", (views, shader.num_channels + 1, *planes))
        shape = (views, 1 + is_limited, *planes) if is_limited or has_colors else (1, 1, 1, 1)
        self.planes = PixelArrays(
            self.image,
            workspace.get("state", (views, num_planes, *planes)),
            workspace.get("pixel_faces", shape, int),
        )

    @property
    def compilation(self) -> contextlib.AbstractContextManager:
        """How kernels compile; those of silhouettes are small."""
        return lean_compilation() if self.structure.has_color else contextlib.nullcontext()

    def draw(self) -> None:
        """Fills `image`, and the state that `backward` reads."""
        for of_tiles in self.bins.bands():
            self.draw_band(of_tiles)

    def draw_band(self, of_tiles: TileArrays) -> None:
        """Draws the tiles of a band."""
        draw = draw_tiles if is_cpu() else draw_pixels
        with self.compilation:
            draw(
                *self.bins.of_faces,
                *of_tiles,
                *self.surface,
                self.numbers,
                self.sizes,
                *self.planes,
                self.structure,
            )

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_surface` from `grad_image`."""
        self.clear_grad_textures()
        grads = self.grad_surface
        inputs = (*self.surface, self.numbers, self.sizes, *self.planes, self.grad_image)
        outputs = (self.grad_corners, *grads, self.structure)
        with self.compilation:
            if is_cpu():
                parts = self.parts_of(grads)
                pull_back_faces(*self.bins.of_faces, *inputs, *parts, *outputs)
                return
            for of_tiles in self.bins.bands():
                tiles = self.bins.tiles
                pull_back_tiles(*self.bins.of_faces, *of_tiles, tiles, *inputs, *outputs)

    def parts_of(self, grads: SurfaceNumbers) -> tuple:
        """Scratch of the CPU: what each view gives to varyings, each task to uniforms."""
        of_views, of_parts = grads.varyings, grads.uniforms
        views = self.corners_shape[0]
        if self.shader.num_varyings and of_views.shape[0] < views:
            shape = (views, *of_views.shape[1:])
            of_views = self.workspace.get("grad_varyings_of_views", shape)
        if self.shader.num_uniforms:
            shape = (self.num_parts, self.shader.num_uniforms)
            of_parts = self.workspace.get("grad_uniforms_of_parts", shape)
        return of_views, of_parts

    def push_forward(
        self, tangent_corners: ti.Ndarray, tangent_surface: SurfaceNumbers
    ) -> ti.Ndarray:
        """(P, B, C + 1, H, W): the transpose of `backward`, see `Rasterization.push_forward`."""
        shape = (tangent_corners.shape[0], *self.image.shape[:2], *self.image_size)
        tangent_image = self.workspace.get("tangent_image", shape)
        with self.compilation:
            for of_tiles in self.bins.bands():
                push_pixels_forward(
                    *self.bins.of_faces,
                    *of_tiles,
                    *self.surface,
                    self.numbers,
                    self.sizes,
                    *self.planes,
                    tangent_corners,
                    *tangent_surface,
                    tangent_image,
                    self.structure,
                )
        return tangent_image
