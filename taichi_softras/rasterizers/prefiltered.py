"""Prefiltered: a z-buffer image, averaged exactly over a disc where surfaces end on the image."""

import dataclasses
from typing import ClassVar, Optional, Union

from taichi_softras.rasterizers.base import (
    Rasterizer,
    check_color,
    check_depth_range,
    check_held,
    check_range,
)
from taichi_softras.rasterizers.binning import TILE, Bins
from taichi_softras.rasterizers.edge_filter import filter_edges, find_hulls, pull_pieces
from taichi_softras.rasterizers.edge_pieces import count_edges, cut_edges
from taichi_softras.rasterizers.edge_scatter import scatter_pieces
from taichi_softras.rasterizers.edge_tangents import push_edges, push_faces, push_pieces
from taichi_softras.rasterizers.fragments import Shader, Surface, SurfaceNumbers, compilation_of
from taichi_softras.rasterizers.visible_colors import ZBufferRasterization, pull_faces
from taichi_softras.rasterizers.z_buffer import bin_visible_faces
from taichi_softras.runtime import is_cpu, ti
from taichi_softras.workspace import Workspace

RADIUS_PER_SIGMA = 2.35  # the disc's variance is that of the soft rasterizer's ramp
LEAST_SIGMA_PIXELS = 0.3  # outlines slip between discs that do not overlap


@dataclasses.dataclass(frozen=True)
class Prefiltered(Rasterizer):
    """The z-buffer's image, filtered at the edges that end surfaces, with its exact derivative.

    Where a surface ends on the image, each pixel is the mean over a disc of radius R =
    2.35 sigma_pixels around its centre; elsewhere it is the z-buffer's. With p the pieces of
    edges that are in sight,

        I = Z + sum_p w_p (C_front - C_behind)_p,

    w_p the exact share of the disc (`funcs.disc_filter`). So outlines are as wide as the shape
    and have a gradient in every channel, inner edges do not show, textures stay sharp.

    Not differentiable, and without gradient: what hides what; faces that pierce each other have
    no edge there. See docs/gradients.md.

    Args:
        sigma_pixels: the blur of outlines, as that of `SoftAggregation`; at least 0.3.
        near: what is drawn is farther than this depth; left out, fitted to the scene.
        far: what is drawn is nearer than this depth; left out, fitted to the scene.
        background: colour of the background, one number or one for each channel.
        double_sided: whether faces that are clockwise on the image are drawn.
        inner_edges: whether jumps of colour between faces that face the same way are filtered too:
            for light or colours by face.

    Raises:
        ValueError: for a number out of its range; when drawing, for one that the runtime's
            precision cannot hold.
    """

    has_jacobian: ClassVar[bool] = True

    sigma_pixels: float = 1 / 3
    near: Optional[float] = None
    far: Optional[float] = None
    background: Union[float, tuple] = 0.0
    double_sided: bool = True
    inner_edges: bool = False

    def __post_init__(self):
        check_depth_range(self.near, self.far)
        check_color("background", self.background)
        check_range("sigma_pixels", self.sigma_pixels, above=0.0)
        if self.sigma_pixels < LEAST_SIGMA_PIXELS:
            raise ValueError(
                f"sigma_pixels must be at least {LEAST_SIGMA_PIXELS}, got {self.sigma_pixels}: "
                "discs that are smaller miss outlines between pixels"
            )

    @property
    def reach_pixels(self) -> float:
        """How far from a face its edges are looked up, by discs and by pieces off the image."""
        return RADIUS_PER_SIGMA * self.sigma_pixels + 0.5

    def bin_faces(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple) -> Bins:
        """The faces of each tile, see `Rasterizer.bin_faces`."""
        return bin_visible_faces(workspace, corners, image_size, self.reach_pixels)

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ) -> "PrefilteredRasterization":
        """Draws; see `Rasterizer.forward`."""
        return PrefilteredRasterization(self, workspace, corners, shader, surface, image_size)


class PrefilteredRasterization(ZBufferRasterization):
    """One image and what its gradient needs: the z-buffer and the pieces of edges."""

    def __init__(
        self,
        method: Prefiltered,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ):
        """Draws; see `Rasterizer.forward`."""
        check_held({"sigma_pixels": method.sigma_pixels}, {})
        self.radius = 2.0 * RADIUS_PER_SIGMA * method.sigma_pixels  # half pixels
        bins = method.bin_faces(workspace, corners, image_size)
        counts = count_edges(workspace, corners, bins, image_size, method, self.radius)
        super().__init__(method, workspace, corners, shader, surface, image_size, bins)
        self.paint()
        self.image = self.drawn
        self.pieces = cut_edges(
            workspace,
            counts,
            self.z_buffer,
            surface,
            self.background,
            method,
            self.radius,
            shader,
        )
        num_tiles = corners.shape[0] * bins.rows * bins.columns
        channels = max(shader.num_channels, 1)
        hulls = workspace.get("hulls", (corners.shape[0], channels, 2))
        if shader.num_channels:
            find_hulls(
                self.pieces.starts,
                self.pieces.num_parts,
                self.pieces.colors,
                self.image,
                workspace.get("hulls_of_tiles", (num_tiles, channels, 2)),
                hulls,
            )
        self.is_clamped = workspace.get("is_clamped", tuple(self.z_buffer.seen.faces.shape), int)
        for of_tiles in bins.bands():
            filter_edges(
                *bins.of_faces,
                *of_tiles,
                *self.pieces,
                self.radius,
                hulls,
                self.image,
                self.is_clamped,
                TILE if is_cpu() else 1,
                shader.num_channels,
            )

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_surface` from `grad_image`."""
        bins, get = self.z_buffer.bins, self.workspace.get
        grad_places = get("grad_piece_ends", (*self.pieces.places.shape, 2))
        channels = max(self.shader.num_channels, 1)
        grad_jumps = get("grad_piece_jumps", (*self.pieces.places.shape, channels))
        pull_pieces(
            *bins.of_faces,
            *self.pieces,
            self.is_clamped,
            self.radius,
            self.grad_image,
            grad_places,
            grad_jumps,
            self.shader.num_channels,
        )
        pull_faces(
            *bins.of_faces,
            *self.z_buffer.seen,
            *self.surface,
            self.grad_image,
            self.grad_corners,
            self.shader,
        )
        self.pull_back_surface(self.grad_image)
        with compilation_of(self.shader):
            scatter_pieces(
                *bins.of_faces,
                *self.surface,
                *self.pieces,
                grad_places,
                grad_jumps,
                float(min(self.image.shape[2:])),
                self.scatter_owners if is_cpu() else 0,
                self.grad_corners,
                *self.grad_surface,
                self.shader,
            )

    @property
    def scatter_owners(self) -> int:
        """As `owners`, where uniforms are added to, too."""
        surface, has_uniforms = self.surface, self.shader.num_uniforms > 0
        return min(self.owners, surface.uniforms.shape[0]) if has_uniforms else self.owners

    def push_forward(
        self, tangent_corners: ti.Ndarray, tangent_surface: SurfaceNumbers
    ) -> ti.Ndarray:
        """(P, B, C + 1, H, W): the transpose of `backward`, see `Rasterization.push_forward`."""
        bins, get = self.z_buffer.bins, self.workspace.get
        count, channels = tangent_corners.shape[0], self.shader.num_channels
        tangent_image = get("tangent_image", (count, *self.image.shape))
        tangents = (tangent_corners, *tangent_surface)
        tangent_ends = get("tangent_piece_ends", (count, *self.pieces.places.shape, 2))
        tangent_jumps = get(
            "tangent_piece_jumps", (count, *self.pieces.places.shape, max(channels, 1))
        )
        push_faces(
            *bins.of_faces,
            *self.z_buffer.seen,
            *self.surface,
            *tangents,
            tangent_image,
            self.shader,
        )
        push_pieces(
            *bins.of_faces,
            *self.surface,
            *self.pieces,
            float(min(self.image.shape[2:])),
            *tangents,
            tangent_ends,
            tangent_jumps,
            self.shader,
        )
        for of_tiles in bins.bands():
            push_edges(
                *bins.of_faces,
                *of_tiles,
                *self.pieces,
                self.radius,
                self.is_clamped,
                tangent_ends,
                tangent_jumps,
                tangent_image,
                channels,
            )
        return tangent_image
