"""Antialiased: a z-buffer image whose pixels are blended where outlines pass between them.

S. Laine, J. Hellsten, T. Karras, Y. Seol, J. Lehtinen, T. Aila, "Modular Primitives for
High-Performance Differentiable Rendering", ACM Transactions on Graphics 39 (6), 2020.
"""

import dataclasses
from typing import ClassVar, Optional, Union

from taichi_softras.rasterizers.antialiased_blend import blend, blend_backward, push_blend
from taichi_softras.rasterizers.antialiased_crossings import (
    IS_CROSSED,
    Crossings,
    find_crossings,
    pull_crossings,
    push_crossings,
)
from taichi_softras.rasterizers.base import Rasterizer, check_color, check_depth_range
from taichi_softras.rasterizers.binning import Bins, FaceArrays
from taichi_softras.rasterizers.edge_tangents import push_faces
from taichi_softras.rasterizers.faces import write_corner_grad
from taichi_softras.rasterizers.fragments import Shader, Surface, SurfaceNumbers, compilation_of
from taichi_softras.rasterizers.neighbours import connect_faces
from taichi_softras.rasterizers.visible_colors import ZBufferRasterization, pull_within
from taichi_softras.rasterizers.z_buffer import Seen, bin_visible_faces
from taichi_softras.runtime import kernel, ti, vec2, vec3
from taichi_softras.workspace import Workspace, array

MOST_FACES = 64  # on the way from a pixel to its neighbour
MOST_SHARE = 1.0  # of neighbours at a pixel: it stays a mean of colours in sight


@dataclasses.dataclass(frozen=True)
class Antialiased(Rasterizer):
    """The z-buffer's image with outlines antialiased, and its exact derivative (Laine et al. 2020).

    Two neighbouring pixels that show different faces are a pair. Where an edge that ends the
    surface of the nearer one crosses the line between their centres, at the place t from 0 at one
    pixel to 1 at the other, colours and alpha are blended:

        t < 1/2: the first pixel shows (1/2 - t) of the second,
        t > 1/2: the second pixel shows (t - 1/2) of the first.

    An edge ends a surface if one face has it, or two that face opposite ways on the image. It
    counts for pairs in a row if it is nearer to vertical, else for those in a column. So the image
    is continuous as an edge moves, and outlines are one pixel wide.

    Two things are ours. The surface is followed over faces that no pixel shows, 64 at most, as
    at a round outline they are narrower than a pixel; the paper looks at the visible face alone.
    And a pixel's four shares, if they add up to more than 1, are divided by their sum, so that
    alpha stays within 0 and 1.

    Not differentiable, and without gradient: what hides what; faces that pierce each other have
    no edge there. See docs/gradients.md.

    Args:
        near: what is drawn is farther than this depth; left out, fitted to the scene.
        far: what is drawn is nearer than this depth; left out, fitted to the scene.
        background: colour of the background, one number or one for each channel.
        double_sided: whether faces that are clockwise on the image are drawn.

    Raises:
        ValueError: for a number out of its range; when drawing, for one that the runtime's
            precision cannot hold.
    """

    has_jacobian: ClassVar[bool] = True

    near: Optional[float] = None
    far: Optional[float] = None
    background: Union[float, tuple] = 0.0
    double_sided: bool = True

    def __post_init__(self):
        check_depth_range(self.near, self.far)
        check_color("background", self.background)

    def bin_faces(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple) -> Bins:
        """The faces of each tile, see `Rasterizer.bin_faces`."""
        return bin_visible_faces(workspace, corners, image_size)

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ) -> "AntialiasedRasterization":
        """Draws; see `Rasterizer.forward`."""
        return AntialiasedRasterization(self, workspace, corners, shader, surface, image_size)


class AntialiasedRasterization(ZBufferRasterization):
    """One image and what its gradient needs: the z-buffer, its image, and the crossings."""

    def __init__(
        self,
        method: Antialiased,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ):
        """Draws; see `Rasterizer.forward`."""
        super().__init__(method, workspace, corners, shader, surface, image_size)
        self.paint()
        of_faces, seen = self.z_buffer.bins.of_faces, self.z_buffer.seen
        self.crossings = Crossings.allocate(workspace, of_faces.records.shape[0], seen.faces)
        find_crossings(
            *of_faces,
            connect_faces(workspace, corners),
            seen.faces,
            seen.depths,
            MOST_FACES,
            *self.crossings,
        )
        self.image = workspace.get("image", tuple(self.drawn.shape))
        blend(self.crossings.shares, self.drawn, MOST_SHARE, self.image)

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_surface` from `grad_image`."""
        grad_drawn = self.workspace.get("grad_drawn", tuple(self.drawn.shape))
        grad_shares = self.workspace.get("grad_shares", tuple(self.crossings.shares.shape))
        blend_backward(
            self.crossings.edges,
            self.crossings.shares,
            self.drawn,
            MOST_SHARE,
            self.image,
            self.grad_image,
            grad_drawn,
            grad_shares,
        )
        gather_corners(
            *self.z_buffer.bins.of_faces,
            *self.z_buffer.seen,
            *self.surface,
            grad_drawn,
            self.crossings.edges,
            self.crossings.marks,
            grad_shares,
            self.grad_corners,
            self.shader,
        )
        self.pull_back_surface(grad_drawn)

    def push_forward(
        self, tangent_corners: ti.Ndarray, tangent_surface: SurfaceNumbers
    ) -> ti.Ndarray:
        """(P, B, C + 1, H, W): the transpose of `backward`, see `Rasterization.push_forward`."""
        get, count = self.workspace.get, tangent_corners.shape[0]
        tangent_drawn = get("tangent_drawn", (count, *self.drawn.shape))
        tangent_shares = get("tangent_shares", (count, *self.crossings.shares.shape))
        tangent_image = get("tangent_image", (count, *self.image.shape))
        of_faces = self.z_buffer.bins.of_faces
        with compilation_of(self.shader):
            push_faces(
                *of_faces,
                *self.z_buffer.seen,
                *self.surface,
                tangent_corners,
                *tangent_surface,
                tangent_drawn,
                self.shader,
            )
        push_crossings(of_faces.records, self.crossings.edges, tangent_corners, tangent_shares)
        push_blend(
            self.crossings.shares,
            self.drawn,
            MOST_SHARE,
            self.image,
            tangent_shares,
            tangent_drawn,
            tangent_image,
        )
        return tangent_image


@kernel
def gather_corners(  # groups of arrays make more than 12 parameters: faces, what is seen, surface
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    images: array(int, 1),  # see `Surface`
    grad_drawn: array(float, 4),  # (B, C + 1, H, W)
    edges: array(int, 4),  # see `Crossings`
    marks: array(int, 1),
    grad_shares: array(float, 4),  # (B, 2, H, W)
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4), written
    shader: ti.template(),
):
    """What the pixels that show a face, and the crossings of its edges, do to its corners."""
    for i in range(records.shape[0]):
        num_faces = grad_corners.shape[1]
        view = i // num_faces
        of_faces = ti.static(FaceArrays(records, boxes))
        shorter = ti.cast(ti.min(faces.shape[1], faces.shape[2]), float)
        position, by_inverse_w = ti.Matrix.zero(float, 3, 2), vec3(0.0)
        if marks[i] == IS_CROSSED:
            position = pull_crossings(of_faces, edges, grad_shares, view, i)
        if marks[i] != 0:
            if ti.static(shader.num_channels > 0):
                within = pull_within(
                    shader,
                    of_faces,
                    ti.static(Seen(faces, weights, depths)),
                    ti.static(Surface(varyings, textures, uniforms, images)),
                    grad_drawn,
                    view,
                    i - view * num_faces,
                )
                position += within.position
                by_inverse_w = within.inverse_w
        for corner in ti.static(range(3)):
            by_position = vec2(position[corner, 0], position[corner, 1])
            write_corner_grad(
                records, shorter, i, corner, by_position, by_inverse_w[corner], grad_corners
            )
