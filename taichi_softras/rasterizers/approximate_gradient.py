"""Approximate gradients: a z-buffer image, and edges that move to where the loss wants them.

H. Kato, Y. Ushiku, T. Harada, "Neural 3D Mesh Renderer", CVPR 2018, with the gradient of its
code. It is no derivative of the image, nor linear in the gradient that comes in.
"""

import dataclasses
from typing import Optional, Union

from taichi_softras.rasterizers.base import (
    Rasterizer,
    check_color,
    check_depth_range,
    check_held,
    check_range,
)
from taichi_softras.rasterizers.binning import Bins, FaceArrays
from taichi_softras.rasterizers.edge_pulls import Lines, pull_edges, transpose
from taichi_softras.rasterizers.faces import (
    write_corner_grad,
)
from taichi_softras.rasterizers.fragments import (
    SILHOUETTE,
    Shader,
    Surface,
)
from taichi_softras.rasterizers.planes import average_blocks, average_blocks_backward
from taichi_softras.rasterizers.visible_colors import ZBufferRasterization, pull_within
from taichi_softras.rasterizers.z_buffer import Seen, bin_visible_faces
from taichi_softras.runtime import is_cpu, kernel, ti, vec2, vec3
from taichi_softras.workspace import Workspace, array

BLOCK = 8  # pixels: side of the blocks that are transposed on a CPU


@dataclasses.dataclass(frozen=True)
class ApproximateGradient(Rasterizer):
    """The Neural 3D Mesh Renderer (Kato et al., CVPR 2018).

    The image is that of a z-buffer. In the backward pass every edge of every face looks along
    the rows and columns of pixels that it crosses. With g the gradient that comes in, moving
    the edge over pixel q would lower the loss by G = sum of (I_q - I_beyond) g_q over channels
    and alpha together, where I_beyond is the colour at the other side of the edge. If G > 0,
    either end of the edge gets G over the distance that it would have to move; G <= 0 is
    dropped, and so the gradient of a sum of losses is not the sum of their gradients. Pixels
    outside count where the face is seen at the edge, pixels inside where the face is seen.
    Depths of corners get none of this; colours get the exact gradient. Channels of shadings that
    do not move edges, as `Depth`, do not pull: they have the exact gradient within faces, corners
    included, and none at edges.

    The original sees the front of a face where it is counter-clockwise on the image with y up,
    as here. Its maps begin with the bottom row; here as elsewhere row 0 is on top.

    Args:
        near: what is drawn is farther than this depth; left out, fitted to the scene.
        far: what is drawn is nearer than this depth, that of the background; left out, fitted to
            the scene.
        eps: NDC, added to the distances. Gradients of a pixel that an edge all but touches
            grow up to 1 / eps.
        background: colour of the background, one number or one for each channel.
        double_sided: whether faces that are clockwise on the image are drawn.
        anti_aliasing: draw at twice the size, and take 2 x 2 means.

    Raises:
        ValueError: for a number out of its range; when drawing, for one that the runtime's
            precision cannot hold.
    """

    near: Optional[float] = None
    far: Optional[float] = None
    eps: float = 1e-3
    background: Union[float, tuple] = (0.0, 0.0, 0.0)
    double_sided: bool = True
    anti_aliasing: bool = False

    def __post_init__(self):
        check_depth_range(self.near, self.far)
        check_color("background", self.background)
        check_range("eps", self.eps, above=0.0)

    def bin_faces(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple) -> Bins:
        """The faces of each tile, see `Rasterizer.bin_faces`."""
        return bin_visible_faces(workspace, corners, self.drawn_size(image_size))

    def drawn_size(self, image_size: tuple) -> tuple:
        """(H, W) that is drawn for an image of this size."""
        factor = 2 if self.anti_aliasing else 1
        return tuple(factor * extent for extent in image_size)

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ) -> "ApproximateRasterization":
        """Draws; see `Rasterizer.forward`."""
        return ApproximateRasterization(self, workspace, corners, shader, surface, image_size)


class ApproximateRasterization(ZBufferRasterization):
    """One image and what its gradient needs: the z-buffer."""

    def __init__(
        self,
        method: ApproximateGradient,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ):
        """Draws; see `Rasterizer.forward`."""
        check_held({"eps": method.eps}, {})
        self.eps = method.eps
        self.double_sided = int(method.double_sided)
        size = method.drawn_size(image_size)
        self.factor = size[0] // image_size[0]
        super().__init__(method, workspace, corners, shader, surface, size)
        self.paint()
        self.image = self.drawn
        if self.factor > 1:
            views, planes = self.drawn.shape[:2]
            self.image = workspace.get("image", (views, planes, *image_size))
            average_blocks(self.drawn, self.factor, self.image)

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_surface` from `grad_image`."""
        get, bins, seen = self.workspace.get, self.z_buffer.bins, self.z_buffer.seen
        grad_drawn = self.grad_image
        if self.factor > 1:
            grad_drawn = get("grad_drawn", tuple(self.drawn.shape))
            average_blocks_backward(self.grad_image, self.factor, grad_drawn)
        views, _, height, width = self.drawn.shape
        planes = self.shader.num_edge_channels + 1
        rows = Lines(seen.faces, self.drawn, grad_drawn)
        columns = Lines(
            get("faces_across", (views, width, height), int),
            get("image_across", (views, planes, width, height)),
            get("grad_image_across", (views, planes, width, height)),
        )
        transpose(*rows, *columns, BLOCK if is_cpu() else 1)
        grad_edges = get("grad_edges", (views * self.corners_shape[1], 3, 2, 2))
        for is_column, lines in enumerate((rows, columns)):
            ranges = get(f"grad_ranges_{is_column}", (*lines.faces.shape[:2], 2), int)
            pull_edges(
                *bins.of_faces,
                *lines,
                seen.depths,
                self.double_sided,
                ranges,
                self.eps,
                is_column,
                grad_edges,
                planes,
            )
        gather_corners(
            *bins.of_faces,
            *seen,
            *self.surface,
            grad_drawn,
            grad_edges,
            self.grad_corners,
            still_parts(self.shader),
        )
        self.pull_back_surface(grad_drawn)


def still_parts(shader: Shader) -> Shader:
    """The shader of those parts that do not move edges, at the channels that they have."""
    parts = tuple(part for part in shader.parts if not part.moves_edges)
    if not parts:
        return SILHOUETTE
    return Shader(
        parts,
        shader.num_varyings,
        shader.lookup,
        shader.num_samples,
        shader.num_uniforms,
        shader.num_channels,
        shader.images,
        shader.num_slots,
        shader.derived,
    )


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
    grad_image: array(float, 4),  # (B, C + 1, H, W)
    grad_edges: array(float, 4),  # (B * F, 3, 2, 2): edge, axis, its first and second end
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4)
    still: ti.template(),  # the shader of what does not move edges
):
    """A corner begins one edge and ends another; within a face its planes move the still parts."""
    for i in range(records.shape[0]):
        num_faces = grad_corners.shape[1]
        view = i // num_faces
        face = i - view * num_faces
        shorter = ti.cast(ti.min(faces.shape[1], faces.shape[2]), float)
        grads = ti.Struct(position=ti.Matrix.zero(float, 3, 2), inverse_w=vec3(0.0))
        if ti.static(len(still.parts) > 0):
            grads = pull_within(
                still,
                ti.static(FaceArrays(records, boxes)),
                ti.static(Seen(faces, weights, depths)),
                ti.static(Surface(varyings, textures, uniforms, images)),
                grad_image,
                view,
                face,
            )
        for corner in ti.static(range(3)):
            ended = ti.static((corner + 2) % 3)
            position = vec2(grads.position[corner, 0], grads.position[corner, 1])
            for axis in ti.static(range(2)):
                of_edges = grad_edges[i, corner, axis, 0] + grad_edges[i, ended, axis, 1]
                position[axis] += of_edges / shorter
            write_corner_grad(
                records, shorter, i, corner, position, grads.inverse_w[corner], grad_corners
            )
