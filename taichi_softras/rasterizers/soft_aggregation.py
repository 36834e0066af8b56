"""Soft aggregation: every face counts, softly, at every pixel in its reach.

S. Liu, T. Li, W. Chen, H. Li, "Soft Rasterizer: A Differentiable Renderer for
Image-based 3D Reasoning", ICCV 2019. The gradient is the derivative of the image that
is drawn, with the terms that the paper's code leaves out (docs/gradients.md).
"""

import contextlib
import dataclasses
from typing import Any, ClassVar, Optional, Union

import taichi as ti

from taichi_softras.funcs.aggregation import ALPHAS, COLORS
from taichi_softras.funcs.coverage import ALWAYS, DISTANCES
from taichi_softras.funcs.interpolation import CLIP_TO_RANGE, PERSPECTIVE, SCREEN
from taichi_softras.rasterizers.base import (
    Rasterization,
    Rasterizer,
    check_color,
    check_range,
    choose,
)
from taichi_softras.rasterizers.binning import Bins
from taichi_softras.rasterizers.fragments import (
    Shader,
    Surface,
    background_of,
    texture_resolution,
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
from taichi_softras.runtime import CPU_BLOCK, is_cpu, is_double, lean_compilation
from taichi_softras.workspace import Workspace

MOST_FACES_PER_TASK = 64  # CPU backward: large enough to hide what a task costs
LARGEST_FACTOR = 1e37  # of 1 / sigma and the like: near where single precision ends
LEAST_SHARE = 1e-9  # far below what single precision tells; none in double, which is for tests


@dataclasses.dataclass(frozen=True)
class SoftAggregation(Rasterizer):
    """The Soft Rasterizer (Liu et al., ICCV 2019).

    Coverage of pixel i by face j is D_ij = sigmoid(delta_ij d_ij^2 / sigma). The colour is
    sum_j w_ij C_ij with w_ij proportional to D_ij exp(z_ij / gamma), where z is the
    normalised inverse depth (far - depth) / (far - near) and the background has weight
    exp(background_depth / gamma). The silhouette is 1 - prod_j (1 - D_ij).

    Args:
        sigma: softness of edges, NDC squared (the shorter image side spans 2).
        gamma: softness of depth, in normalised inverse depth.
        distance: "euclidean"; "barycentric" (a pure number, as in the paper's code); "hard".
        color: "softmax" over depth, or "hard": the nearest face.
        alpha: "product"; "sum": the mean of D over all faces; "hard": D >= 1/2, inside of a face.
        coverage_cutoff: a face ends where its coverage falls below this, in (0, 0.5).
        near: nearest depth that has colour; depth is the distance along the view axis.
        far: farthest depth that has colour. Faces before `near` or behind `far` still cover in
            alpha, as in the paper's code; those behind the camera never do.
        background: colour of the background, one number or one for each channel.
        background_depth: its z in the softmax (the paper's epsilon).
        double_sided: whether faces that are clockwise on the image have colour.
        perspective_correct: interpolate colours and look texels up on the face (the paper's code:
            on the image).
        sigma_pixels: sqrt(sigma) in pixels, instead of `sigma`.

    Raises:
        ValueError: for a number out of its range or an unknown name.
    """

    has_jacobian: ClassVar[bool] = True

    sigma: float = 1e-4
    gamma: float = 1e-4
    distance: str = "euclidean"
    color: str = "softmax"
    alpha: str = "product"
    coverage_cutoff: float = 1e-4
    near: float = 1.0
    far: float = 100.0
    background: Union[float, tuple] = (0.0, 0.0, 0.0)
    background_depth: float = 1e-3
    double_sided: bool = True
    perspective_correct: bool = True
    sigma_pixels: Optional[float] = None

    def __post_init__(self):
        choose("distance", self.distance, DISTANCES)
        choose("color", self.color, COLORS)
        choose("alpha", self.alpha, ALPHAS)
        check_range("sigma", self.sigma, above=0.0)
        check_range("gamma", self.gamma, above=0.0)
        check_range("coverage_cutoff", self.coverage_cutoff, above=0.0, below=0.5)
        check_range("near", self.near, above=0.0)
        check_range("far", self.far, above=self.near)
        check_range("background_depth", self.background_depth)
        check_color("background", self.background)
        if self.sigma_pixels is not None:
            check_range("sigma_pixels", self.sigma_pixels, above=0.0)

    def sigma_ndc(self, image_size: tuple) -> float:
        """Sigma in NDC squared for an image of (height, width) pixels."""
        if self.sigma_pixels is None:
            return self.sigma
        return (self.sigma_pixels * 2.0 / min(image_size)) ** 2

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
        sigma = self.sigma_ndc(image_size)
        reach = DISTANCES[self.distance].reach(sigma, self.coverage_cutoff)
        return numbers_of(self, sigma, reach, self.background_depth, COLORS[self.color].is_soft)

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
        method: has `near`, `far` and `gamma`.
        sigma: NDC squared.
        reach: NDC squared.
        background_depth: where the background stands in the softmax, as a normalised inverse depth.
        is_soft: whether there is a softmax; without one the background is behind everything.
    """
    depth_range = method.far - method.near
    return Numbers(
        inverse_sigma=min(1.0 / sigma, LARGEST_FACTOR),
        reach=reach,
        sharpness=min(1.0 / (method.gamma * depth_range), LARGEST_FACTOR),
        near=method.near,
        far=method.far,
        start_depth=method.far - background_depth * depth_range if is_soft else ALWAYS,
        least_share=0.0 if is_double() else LEAST_SHARE,
    )


class SoftRasterization(Rasterization):
    """One image and what its gradient needs: a few numbers a pixel, nothing a fragment.

    Construction sets up faces and bins; then `draw`, then `backward` as often as wanted.
    """

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
        self.bins = Bins(workspace, corners, image_size, numbers.reach**0.5)
        background = background_of(shader, method.background, method.far)
        self.numbers = workspace.constants("soft_numbers", (*numbers, *background))
        per_task = max(1, min(MOST_FACES_PER_TASK, views * num_faces // CPU_BLOCK))
        tasks_per_view = -(-num_faces // per_task)
        self.num_tasks = views * tasks_per_view
        sizes = Sizes(
            image_size[0],
            image_size[1],
            tile_rows=self.bins.rows,
            tile_columns=self.bins.columns,
            num_faces=num_faces,
            resolution=texture_resolution(shader, surface.textures),
            num_lanes=LANES if is_cpu() else 1,
            faces_per_task=per_task,
            tasks_per_view=tasks_per_view,
        )
        self.sizes = workspace.constants("soft_sizes", sizes, int)

        planes = (image_size[0], image_size[1] + LANES)
        is_limited, has_colors = self.structure.is_limited, shader.num_channels > 0
        self.image = workspace.get("image", (views, shader.num_channels + 1, *planes))
        num_planes = 5 if is_limited else 3 if has_colors else 1
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
        draw = draw_tiles if is_cpu() else draw_pixels
        with self.compilation:
            draw(
                *self.bins.of_faces,
                *self.bins.of_tiles,
                *self.surface,
                self.numbers,
                self.sizes,
                *self.planes,
                self.structure,
            )

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_surface` from `grad_image`."""
        grads = self.grad_surface
        inputs = (*self.surface, self.numbers, self.sizes, *self.planes, self.grad_image)
        outputs = (self.grad_corners, *grads, self.structure)
        with self.compilation:
            if is_cpu():
                parts = self.parts_of(grads)
                pull_back_faces(*self.bins.of_faces, *inputs, *parts, *outputs)
            else:
                pull_back_tiles(
                    *self.bins.of_faces,
                    self.bins.of_tiles.faces,
                    self.bins.tiles,
                    self.bins.num_pairs,
                    *inputs,
                    *outputs,
                )

    def parts_of(self, grads: Surface) -> tuple:
        """Scratch of the CPU: what each view gives to varyings, each task to uniforms."""
        of_views, of_tasks = grads.varyings, grads.uniforms
        views = self.corners_shape[0]
        if self.shader.num_varyings and of_views.shape[0] < views:
            shape = (views, *of_views.shape[1:])
            of_views = self.workspace.get("grad_varyings_of_views", shape)
        if self.shader.num_uniforms:
            shape = (self.num_tasks, self.shader.num_uniforms)
            of_tasks = self.workspace.get("grad_uniforms_of_tasks", shape)
        return of_views, of_tasks

    def push_forward(self, tangent_corners: ti.Ndarray, tangent_surface: Surface) -> ti.Ndarray:
        """(P, B, C + 1, H, W): the transpose of `backward`, see `Rasterization.push_forward`."""
        shape = (tangent_corners.shape[0], *self.image.shape[:2], *self.image_size)
        tangent_image = self.workspace.get("tangent_image", shape)
        with self.compilation:
            push_pixels_forward(
                *self.bins.of_faces,
                *self.bins.of_tiles,
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
