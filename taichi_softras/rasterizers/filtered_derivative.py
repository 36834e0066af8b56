"""Filtered derivatives: a z-buffer image, differentiated by filters over its pixels.

M. Loper, M. Black, "OpenDR: An Approximate Differentiable Renderer", ECCV 2014, with the
derivative of its code.
"""

import dataclasses
from typing import Callable, ClassVar, Optional, Union

from taichi_softras.funcs.interpolation import PERSPECTIVE
from taichi_softras.funcs.values import value
from taichi_softras.rasterizers.base import NO_FACE, Rasterizer, check_color, check_depth_range
from taichi_softras.rasterizers.binning import Bins
from taichi_softras.rasterizers.faces import (
    SOURCE_FACE,
    clip_corner_vjp,
    load_planes,
    write_corner_grad,
)
from taichi_softras.rasterizers.fragments import (
    Shader,
    Surface,
    SurfaceNumbers,
    load_corner_varyings,
    load_uniforms,
    shade_point_vjp,
)
from taichi_softras.rasterizers.outlines import draw_outlines
from taichi_softras.rasterizers.visible_colors import ZBufferRasterization, move_fragment, unit
from taichi_softras.rasterizers.z_buffer import bin_visible_faces, load_weights
from taichi_softras.runtime import kernel, ti, vec2, vec3
from taichi_softras.workspace import Workspace, array


@dataclasses.dataclass(frozen=True)
class FilteredDerivative(Rasterizer):
    """OpenDR (Loper & Black, ECCV 2014).

    The image is that of a z-buffer. Where a face is seen, the image moves with it: with S the
    slope of the image at a pixel, from its neighbours, and u_k the weight of corner k there,
    dI/d(x, y)_k = -S u_k. Pixels of the background move with nothing, and no gradient reaches
    the depths of corners. Colours get the exact gradient.

    With `overdraw` silhouette edges are drawn as lines of one pixel (see `outlines`), and S is
    the mean of those of I[i+1] - I[i] and I[i] - I[i-1] that touch no line; where both do, it
    is I[i+1] - I[i-1]. Without, S is (I[i+1] - I[i-1]) / 2, and 0 across the image's border.

    OpenDR counts in pixels, with y down and centres at integers; here as elsewhere gradients
    are by NDC, y up, the shorter side of the image spanning 2.

    Args:
        near: what is drawn is farther than this depth; left out, fitted to the scene.
        far: what is drawn is nearer than this depth; left out, fitted to the scene.
        background: colour of the background, one number or one for each channel.
        double_sided: whether faces that are clockwise on the image are drawn.
        overdraw: whether outlines are drawn.

    Raises:
        ValueError: for a number out of its range; when drawing, for one that the runtime's
            precision cannot hold.
    """

    has_jacobian: ClassVar[bool] = True

    near: Optional[float] = None
    far: Optional[float] = None
    background: Union[float, tuple] = (0.0, 0.0, 0.0)
    double_sided: bool = True
    overdraw: bool = True

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
    ) -> "FilteredRasterization":
        """Draws; see `Rasterizer.forward`."""
        return FilteredRasterization(self, workspace, corners, shader, surface, image_size)


class FilteredRasterization(ZBufferRasterization):
    """One image and what its gradient needs: the z-buffer.

    Attributes:
        boundary: (B, H, W), 1 on outlines, or None if they are not drawn.
    """

    def __init__(
        self,
        method: FilteredDerivative,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ):
        """Draws; see `Rasterizer.forward`."""
        super().__init__(method, workspace, corners, shader, surface, image_size)
        self.boundary = None
        if method.overdraw:
            self.boundary = draw_outlines(workspace, corners, self.z_buffer)
        self.paint()
        self.image = self.drawn

    @property
    def _slopes(self) -> tuple:
        """The outlines, and the rule that reads them."""
        if self.boundary is None:
            return self.z_buffer.seen.faces, PLAIN
        return self.boundary, OUTLINED

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_surface` from `grad_image`."""
        boundary, rule = self._slopes
        views, _, height, width = self.image.shape
        pull_corners(
            *self.z_buffer.bins.of_faces,
            *self.z_buffer.seen,
            self.image,
            boundary,
            self.grad_image,
            self.workspace.get("flow", (views, 2, height, width)),
            self.grad_corners,
            rule,
        )
        self.pull_back_surface(self.grad_image)

    def push_forward(
        self, tangent_corners: ti.Ndarray, tangent_surface: SurfaceNumbers
    ) -> ti.Ndarray:
        """(P, B, C + 1, H, W): the transpose of `backward`, see `Rasterization.push_forward`."""
        boundary, rule = self._slopes
        tangent_image = self.workspace.get(
            "tangent_image", (tangent_corners.shape[0], *self.image.shape)
        )
        move_image(
            *self.z_buffer.bins.of_faces,
            *self.z_buffer.seen,
            *self.surface,
            self.image,
            boundary,
            tangent_corners,
            *tangent_surface,
            tangent_image,
            rule,
            self.shader,
        )
        return tangent_image


@ti.func
def plain_shares(has_before: int, has_after: int, crosses_before: int, crosses_after: int) -> vec2:
    """Central differences, 0 at the border."""
    share = ti.select((has_before != 0) & (has_after != 0), 0.5, 0.0)
    return vec2(share, share)


@ti.func
def outlined_shares(
    has_before: int, has_after: int, crosses_before: int, crosses_after: int
) -> vec2:
    """The mean of the differences that touch no outline; of none, twice the mean of all.

    An outline is a line of one pixel: over it the image changes twice as fast.
    """
    before = ti.select((has_before != 0) & (crosses_before == 0), 1.0, 0.0)
    after = ti.select((has_after != 0) & (crosses_after == 0), 1.0, 0.0)
    factor = 1.0
    if before + after == 0.0:
        before = ti.select(has_before != 0, 1.0, 0.0)
        after = ti.select(has_after != 0, 1.0, 0.0)
        factor = 2.0
    return vec2(before, after) * (factor / ti.max(before + after, 1.0))


@value
class SlopeRule:
    """How the slope at a pixel is made of I[i] - I[i-1] and I[i+1] - I[i].

    Attributes:
        shares: (has_before, has_after, crosses_before, crosses_after) -> shares of the two,
            from whether these pixels exist and whether an outline is at either end.
        has_outlines: whether there are outlines.
    """

    shares: Callable
    has_outlines: bool


PLAIN = SlopeRule(plain_shares, False)
OUTLINED = SlopeRule(outlined_shares, True)


@ti.func
def find_stencil(
    boundary: ti.template(),  # (B, H, W)
    view: int,
    row: int,
    column: int,
    axis: ti.template(),  # 0: right, 1: down
    rule: ti.template(),
):
    """The slope at a pixel along an axis, as shares of I[i] - I[i-1] and of I[i+1] - I[i].

    Returns:
        A struct: the two `shares`, and the `before` and `after` pixels (row, column); across
        the border these are the pixel itself.
    """
    right = ti.static(1 - axis)
    down = ti.static(axis)
    has_before = ti.select(column * right + row * down > 0, 1, 0)
    is_inside = (row + down < boundary.shape[1]) & (column + right < boundary.shape[2])
    has_after = ti.select(is_inside, 1, 0)
    before = ti.Vector([row - down * has_before, column - right * has_before])
    after = ti.Vector([row + down * has_after, column + right * has_after])
    crosses_before = 0
    crosses_after = 0
    if ti.static(rule.has_outlines):
        here = boundary[view, row, column]
        crosses_before = here | boundary[view, before[0], before[1]]
        crosses_after = here | boundary[view, after[0], after[1]]
    shares = rule.shares(has_before, has_after, crosses_before, crosses_after)
    return ti.Struct(shares=shares, before=before, after=after)


@ti.func
def image_slope(
    image: ti.template(),  # (B, C + 1, H, W)
    stencil: ti.template(),
    view: int,
    channel: int,
    row: int,
    column: int,
) -> float:
    """The change of the image over one pixel."""
    here = image[view, channel, row, column]
    before = here - image[view, channel, stencil.before[0], stencil.before[1]]
    after = image[view, channel, stencil.after[0], stencil.after[1]] - here
    return stencil.shares.x * before + stencil.shares.y * after


@kernel
def pull_corners(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    image: array(float, 4),  # (B, C + 1, H, W)
    boundary: array(int, 3),  # (B, H, W) 1 on outlines; read if the rule has them
    grad_image: array(float, 4),  # (B, C + 1, H, W)
    flow: array(float, 4),  # (B, 2, H, W) scratch
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4)
    rule: ti.template(),
):
    """A thread owns a face: its pixels move with its corners, in pixels, and these by NDC."""
    find_flow(faces, image, boundary, grad_image, flow, rule)
    for i in range(records.shape[0]):
        num_faces = grad_corners.shape[1]
        view = i // num_faces
        face = i - view * num_faces
        planes = load_planes(records, i)
        sums = ti.Matrix.zero(float, 3, 2)
        for row in range(boxes[i, 2], boxes[i, 3] + 1):
            for column in range(boxes[i, 0], boxes[i, 1] + 1):
                if faces[view, row, column] == face:
                    used = PERSPECTIVE.place(load_weights(weights, view, row, column), planes).used
                    for corner, axis in ti.static(ti.ndrange(3, 2)):
                        sums[corner, axis] -= used[corner] * flow[view, axis, row, column]
        shorter = ti.cast(ti.min(faces.shape[1], faces.shape[2]), float)
        for corner in ti.static(range(3)):
            position = vec2(sums[corner, 0], -sums[corner, 1]) * 0.5  # by half pixels, y up
            write_corner_grad(records, shorter, i, corner, position, 0.0, grad_corners)


@ti.func
def find_flow(
    faces: ti.template(),  # (B, H, W)
    image: ti.template(),  # (B, C + 1, H, W)
    boundary: ti.template(),  # (B, H, W) 1 on outlines; read if the rule has them
    grad_image: ti.template(),  # (B, C + 1, H, W)
    flow: ti.template(),  # (B, 2, H, W) slope . grad_image: right, down; a pixel
    rule: ti.template(),
):
    """What the loss gains when the image at a pixel moves left or up by one pixel."""
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        for axis in ti.static(range(2)):
            total = 0.0
            if faces[view, row, column] != NO_FACE:
                stencil = find_stencil(boundary, view, row, column, axis, rule)
                for channel in range(image.shape[1]):
                    slope = image_slope(image, stencil, view, channel, row, column)
                    total += slope * grad_image[view, channel, row, column]
            flow[view, axis, row, column] = total


@kernel
def move_image(  # more than 12 parameters, many lines: four groups of arrays
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    images: array(int, 1),  # see `Surface`
    image: array(float, 4),  # (B, C + 1, H, W)
    boundary: array(int, 3),  # (B, H, W) 1 on outlines; read if the rule has them
    tangent_corners: array(float, 5),  # (P, B, F, 3, 3 or 4)
    tangent_varyings: array(float, 5),  # (P, B or 1, F, 3, K)
    tangent_textures: array(float, 5),  # (P, B or 1, F, entries, samples)
    tangent_uniforms: array(float, 3),  # (P, B or 1, N)
    tangent_image: array(float, 5),  # (P, B, C + 1, H, W)
    rule: ti.template(),
    shader: ti.template(),
):
    """The transpose of `pull_corners` and `paint_backward`: a thread owns a pixel."""
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        surface = ti.static(Surface(varyings, textures, uniforms, images))
        tangents = ti.static(SurfaceNumbers(tangent_varyings, tangent_textures, tangent_uniforms))
        face = faces[view, row, column]
        for parameter, channel in ti.ndrange(tangent_image.shape[0], tangent_image.shape[2]):
            tangent_image[parameter, view, channel, row, column] = 0.0
        if face != NO_FACE:
            i = view * tangent_corners.shape[2] + face
            source = boxes[i, SOURCE_FACE]
            planes = load_planes(records, i)
            used = PERSPECTIVE.place(load_weights(weights, view, row, column), planes).used
            right = find_stencil(boundary, view, row, column, 0, rule)
            down = find_stencil(boundary, view, row, column, 1, rule)
            shorter = ti.cast(ti.min(faces.shape[1], faces.shape[2]), float)
            for channel in range(image.shape[1]):
                slope_x = image_slope(image, right, view, channel, row, column)
                slope_y = -image_slope(image, down, view, channel, row, column)
                moved_back = vec2(slope_x, slope_y) * -0.5  # by half pixels, y up
                grads = corner_grads(
                    records, shorter, i, used, moved_back, tangent_corners.shape[4]
                )
                for parameter in range(tangent_image.shape[0]):
                    change = 0.0
                    for corner, k in ti.static(ti.ndrange(3, 4)):
                        if k < tangent_corners.shape[4]:
                            moved = tangent_corners[parameter, view, face, corner, k]
                            change += grads[corner, k] * moved
                    tangent_image[parameter, view, channel, row, column] = change
            at_corners = load_corner_varyings(shader, surface.varyings, view, face)
            of_view = load_uniforms(shader, surface.uniforms, view)
            for channel in range(shader.num_channels):
                grads = shade_point_vjp(
                    shader,
                    surface,
                    view,
                    source,
                    used,
                    at_corners,
                    of_view,
                    unit(shader.num_channels, channel),
                )
                for parameter in range(tangent_image.shape[0]):
                    tangent_image[parameter, view, channel, row, column] += move_fragment(
                        shader,
                        surface,
                        tangents,
                        ti.Vector([parameter, view, face, source]),
                        used,
                        grads,
                    )


@ti.func
def corner_grads(
    records: ti.template(),
    shorter: float,
    i: int,
    used: vec3,
    grad_position: vec2,  # by half pixels
    num_components: int,
):
    """(3, 4) at the components of a face's corners, of a pixel that moves with the face."""
    grads = ti.Matrix.zero(float, 3, 4)
    for corner in ti.static(range(3)):
        of_corner = clip_corner_vjp(
            records, shorter, i, corner, num_components, used[corner] * grad_position, 0.0, 0.0
        )
        for k in ti.static(range(4)):
            grads[corner, k] = of_corner[k]
    return grads
