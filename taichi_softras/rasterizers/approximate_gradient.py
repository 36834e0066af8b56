"""Approximate gradients: a z-buffer image, and edges that move to where the loss wants them.

H. Kato, Y. Ushiku, T. Harada, "Neural 3D Mesh Renderer", CVPR 2018, with the gradient of its
code. It is no derivative of the image, nor linear in the gradient that comes in.
"""

import dataclasses
from typing import ClassVar, Optional, Union

import taichi as ti
from taichi.math import vec2

from taichi_softras.funcs.triangle import cross
from taichi_softras.rasterizers.base import Rasterization, check_color, check_range
from taichi_softras.rasterizers.depths import copy_plane
from taichi_softras.rasterizers.faces import first_pixel, last_pixel
from taichi_softras.rasterizers.planes import average_blocks, average_blocks_backward
from taichi_softras.rasterizers.visible_colors import ZBufferRasterization
from taichi_softras.rasterizers.z_buffer import ZBuffer, pull_back_depths
from taichi_softras.workspace import Workspace, array

BLOCK = 8  # pixels: side of the blocks that are transposed


@dataclasses.dataclass(frozen=True)
class ApproximateGradient:
    """The Neural 3D Mesh Renderer (Kato et al., CVPR 2018).

    The image is that of a z-buffer. In the backward pass every edge of every face looks along
    the rows and columns of pixels that it crosses. With g the gradient that comes in, moving
    the edge over pixel q would lower the loss by G = sum of (I_q - I_beyond) g_q over channels
    and alpha together, where I_beyond is the colour at the other side of the edge. If G > 0,
    either end of the edge gets G over the distance that it would have to move; G <= 0 is
    dropped, and so the gradient of a sum of losses is not the sum of their gradients. Pixels
    outside count where the face is seen at the edge, pixels inside where the face is seen.
    Depths of corners get none of this; colours get the exact gradient.

    The original sees the front of a face where it is counter-clockwise on the image with y up,
    as here. Its maps begin with the bottom row; here as elsewhere row 0 is on top.

    Args:
        near: what is drawn is farther than this depth.
        far: what is drawn is nearer than this depth; the depth of the background.
        eps: NDC, added to the distances. Gradients of a pixel that an edge all but touches
            grow up to 1 / eps.
        background: colour of the background, one number or one for each channel.
        double_sided: whether faces that are clockwise on the image are drawn.
        anti_aliasing: draw at twice the size, and take 2 x 2 means.

    Raises:
        ValueError: for a number out of its range.
    """

    reads_texture_cubes: ClassVar[bool] = True
    has_jacobian: ClassVar[bool] = False

    near: float = 0.1
    far: float = 100.0
    eps: float = 1e-3
    background: Union[float, tuple] = (0.0, 0.0, 0.0)
    double_sided: bool = True
    anti_aliasing: bool = False

    def __post_init__(self):
        check_range("near", self.near, above=0.0)
        check_range("far", self.far, above=self.near)
        check_color("background", self.background)
        check_range("eps", self.eps, above=0.0)

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        colors: Optional[ti.Ndarray],
        texel_resolution: int,
        image_size: tuple,
    ) -> "ApproximateRasterization":
        """Draws; see `Rasterizer.forward`.

        Colours may also be (B or 1, F, R * R * R, C) texture cubes, axis k of which is the
        barycentric weight of corner k.
        """
        return ApproximateRasterization(
            self, workspace, corners, colors, texel_resolution, image_size
        )

    def forward_depths(
        self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple
    ) -> "ApproximateDepthRasterization":
        """Draws (depth, alpha): depths have an exact gradient within faces, outlines have none."""
        return ApproximateDepthRasterization(self.forward(workspace, corners, None, 0, image_size))


class ApproximateRasterization(ZBufferRasterization):
    """One image and what its gradient needs: the z-buffer."""

    def __init__(
        self,
        method: ApproximateGradient,
        workspace: Workspace,
        corners: ti.Ndarray,
        colors: Optional[ti.Ndarray],
        texel_resolution: int,
        image_size: tuple,
    ):
        self.eps = method.eps
        self.factor = 2 if method.anti_aliasing else 1
        size = tuple(self.factor * extent for extent in image_size)
        z_buffer = ZBuffer(workspace, corners, size, method.near, method.far, method.double_sided)
        super().__init__(
            workspace, corners, colors, texel_resolution, z_buffer, method.background, method.eps
        )
        self.paint()
        self.image = self._average("image", self.drawn)

    @property
    def depths(self) -> ti.Ndarray:
        """(B, 1, H, W), `far` where no face is."""
        return self._average("depths", self.z_buffer.depths)

    def backward(self, grad_depths: Optional[ti.Ndarray] = None) -> None:
        """Fills `grad_corners` and `grad_colors` from `grad_image`.

        Args:
            grad_depths: (B, 1, H, W) gradient at `depths`, or None. It moves the inside of
                faces, exactly; outlines feel nothing of it.
        """
        z_buffer = self.z_buffer
        grad_drawn = self._spread("grad_drawn", self.grad_image)
        by_edges = self.workspace.get("grad_edges", (z_buffer.records.shape[0], 3, 2, 2))
        rows = z_buffer.faces, self.drawn, grad_drawn
        columns = self._across(*rows)
        transpose(*rows, *columns)
        for is_column, (faces, drawn, grads) in enumerate((rows, columns)):
            ranges = self.workspace.get(f"grad_ranges_{is_column}", (*faces.shape[:2], 2), int)
            find_ranges(grads, ranges)
            scan_edges(
                z_buffer.records,
                z_buffer.boxes,
                faces,
                drawn,
                grads,
                ranges,
                self.eps,
                is_column,
                by_edges,
                drawn.shape[1],
            )
        sum_edges(by_edges, self.grad_corners)
        if grad_depths is not None:
            pull_back_depths(
                z_buffer.records,
                z_buffer.boxes,
                z_buffer.faces,
                z_buffer.weights,
                z_buffer.depths,
                self._spread("grad_drawn_depths", grad_depths),
                self.grad_corners,
            )
        self.pull_back_colors(grad_drawn)

    def _across(self, faces: ti.Ndarray, image: ti.Ndarray, grad_image: ti.Ndarray) -> tuple:
        """Arrays of the same kind whose rows are columns."""
        (views, planes, height, width), get = image.shape, self.workspace.get
        return (
            get("faces_across", (views, width, height), int),
            get("image_across", (views, planes, width, height)),
            get("grad_image_across", (views, planes, width, height)),
        )

    def _average(self, name: str, drawn: ti.Ndarray) -> ti.Ndarray:
        """What was drawn, in the size of the image."""
        if self.factor == 1:
            return drawn
        views, channels, height, width = drawn.shape
        shape = (views, channels, height // self.factor, width // self.factor)
        average = self.workspace.get(name, shape)
        average_blocks(drawn, self.factor, average)
        return average

    def _spread(self, name: str, grad_average: ti.Ndarray) -> ti.Ndarray:
        """The adjoint of `_average`."""
        if self.factor == 1:
            return grad_average
        views, channels, height, width = grad_average.shape
        shape = (views, channels, height * self.factor, width * self.factor)
        grad_drawn = self.workspace.get(name, shape)
        average_blocks_backward(grad_average, self.factor, grad_drawn)
        return grad_drawn


class ApproximateDepthRasterization(Rasterization):
    """A silhouette, with its depths in the image."""

    grad_colors = None

    def __init__(self, silhouette: ApproximateRasterization):
        self.silhouette = silhouette
        views, _, height, width = silhouette.image.shape
        self.image = silhouette.workspace.get("depth_image", (views, 2, height, width))
        copy_plane(silhouette.depths, 0, self.image, 0)
        copy_plane(silhouette.image, 0, self.image, 1)

    @property
    def grad_image(self) -> ti.Ndarray:
        """(B, 2, H, W): written by the caller before `backward`."""
        return self.silhouette.workspace.get("grad_depth_image", tuple(self.image.shape))

    @property
    def grad_corners(self) -> ti.Ndarray:
        """(B, F, 3, 3): written by `backward`."""
        return self.silhouette.grad_corners

    def backward(self) -> None:
        """Fills `grad_corners` from `grad_image`."""
        shape = tuple(self.silhouette.image.shape)
        grad_depths = self.silhouette.workspace.get("grad_depths", shape)
        copy_plane(self.grad_image, 0, grad_depths, 0)
        copy_plane(self.grad_image, 1, self.silhouette.grad_image, 0)
        self.silhouette.backward(grad_depths)


@ti.kernel
def transpose(
    faces: array(int, 3),  # (B, H, W)
    image: array(float, 4),  # (B, C + 1, H, W)
    grad_image: array(float, 4),  # (B, C + 1, H, W)
    faces_across: array(int, 3),  # (B, W, H)
    image_across: array(float, 4),  # (B, C + 1, W, H)
    grad_image_across: array(float, 4),  # (B, C + 1, W, H)
):
    """Columns become lines; a thread owns a block, so that it uses what it has in the cache."""
    views, columns, rows = faces_across.shape
    block_columns = (columns + BLOCK - 1) // BLOCK
    block_rows = (rows + BLOCK - 1) // BLOCK
    for view, i, j in ti.ndrange(views, block_columns, block_rows):
        for column in range(BLOCK * i, ti.min(BLOCK * (i + 1), columns)):
            for row in range(BLOCK * j, ti.min(BLOCK * (j + 1), rows)):
                faces_across[view, column, row] = faces[view, row, column]
        for plane in range(image.shape[1]):
            for column in range(BLOCK * i, ti.min(BLOCK * (i + 1), columns)):
                for row in range(BLOCK * j, ti.min(BLOCK * (j + 1), rows)):
                    image_across[view, plane, column, row] = image[view, plane, row, column]
                    grad = grad_image[view, plane, row, column]
                    grad_image_across[view, plane, column, row] = grad


@ti.kernel
def find_ranges(
    grad_image: array(float, 4),  # (B, C + 1, lines, places)
    ranges: array(int, 3),  # (B, lines, 2) first and last place with a gradient
):
    """A thread owns a line. Places without a gradient pull at nothing."""
    for view, line in ti.ndrange(grad_image.shape[0], grad_image.shape[2]):
        first = grad_image.shape[3]
        last = -1
        for plane in range(grad_image.shape[1]):
            for place in range(grad_image.shape[3]):
                if grad_image[view, plane, line, place] != 0.0:
                    first = ti.min(first, place)
                    last = ti.max(last, place)
        ranges[view, line, 0] = first
        ranges[view, line, 1] = last


@ti.func
def pulls(
    faces: ti.template(),
    image: ti.template(),
    grad_image: ti.template(),
    view: int,
    line: int,
    first: int,
    last: int,
    face: int,
    beyond: int,
    crossing: float,
    scales: vec2,
    eps: float,
    planes: ti.template(),
    is_inside: ti.template(),
) -> vec2:
    """Gradients at both ends of an edge from places first..last: each has G over a distance.

    G = (I - I_beyond) . g, over all channels and alpha; inside, only where the face is seen. The
    distance is how far the end must move for the edge to be there, pushed away from 0 by eps; 0
    counts as negative. A scale of 0 is an end that does not move the edge here.

    The loop reads arrays and writes locals alone, so that it is vectorised.
    """
    reference = ti.Vector([image[view, k, line, beyond] for k in ti.static(range(planes))])
    sums = vec2(0.0)
    for place in range(first, last + 1):
        change = 0.0
        for k in ti.static(range(planes)):
            step = image[view, k, line, place] - reference[k]
            change += step * grad_image[view, k, line, place]
        gain = ti.max(change, 0.0)
        if ti.static(is_inside):
            gain = ti.select(faces[view, line, place] == face, gain, 0.0)
        distances = scales * (ti.cast(place, float) - crossing)
        sums -= gain / (distances + ti.select(distances > 0.0, eps, -eps))
    return ti.select(scales == 0.0, 0.0, sums)


@ti.kernel
def scan_edges(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    faces: array(int, 3),  # (B, lines, places)
    image: array(float, 4),  # (B, C + 1, lines, places)
    grad_image: array(float, 4),  # (B, C + 1, lines, places)
    ranges: array(int, 3),  # (B, lines, 2) first and last place with a gradient
    eps: float,  # NDC
    is_column: int,  # 0: lines are rows, x moves; 1: lines are columns, y moves
    grad_edges: array(float, 4),  # (B * F, 3, 2, 2): edge, axis, its first and second end
    planes: ti.template(),  # C + 1
):
    """A thread owns an edge and walks the lines that it crosses.

    Places are pixels and integers at centres. The edge crosses a line between the pixels
    `inside` and `outside`.
    """
    for task in range(records.shape[0] * 3):
        i = task // 3
        edge = task - 3 * i
        sums = vec2(0.0)  # at the ends
        if boxes[i, 0] <= boxes[i, 1]:
            num_faces = records.shape[0] // faces.shape[0]
            view = i // num_faces
            face = i - view * num_faces
            lines = faces.shape[1]
            length = faces.shape[2]
            height = ti.select(is_column, length, lines)
            width = ti.select(is_column, lines, length)
            shorter = ti.cast(ti.min(height, width), float)
            pixel = 2.0 / shorter  # NDC
            start = line_place(records, i, edge, height, width, shorter, is_column)
            end = line_place(records, i, (edge + 1) % 3, height, width, shorter, is_column)
            third = line_place(records, i, (edge + 2) % 3, height, width, shorter, is_column)
            span = end.x - start.x
            slope = (end.y - start.y) / ti.select(span == 0.0, 1.0, span)
            first_line = first_pixel(ti.min(start.x, end.x), lines)
            last_line = last_pixel(ti.max(start.x, end.x), lines)
            if span == 0.0:  # along a line: crosses none
                last_line = first_line - 1
            outward = ti.select(cross(end - start, third - start) * span > 0.0, -1, 1)
            for line in range(first_line, last_line + 1):
                at = ti.cast(line, float)
                crossing = slope * (at - start.x) + start.y
                nearest = ti.select(outward > 0, ti.floor(crossing), ti.ceil(crossing))
                inside = ti.cast(ti.min(ti.max(nearest, -1.0), ti.cast(length, float)), ti.i32)
                outside = inside + outward
                if (inside >= 0) & (inside < length) & (outside >= 0) & (outside < length):
                    # how far each end must move for the edge to move by one pixel, NDC
                    spans = vec2(end.x - at, at - start.x)
                    divisors = ti.select(spans == 0.0, 1.0, spans)
                    scales = ti.select(spans == 0.0, 0.0, span / divisors * pixel)
                    first = ranges[view, line, 0]
                    last = ranges[view, line, 1]
                    if faces[view, line, inside] == face:
                        sums += pulls(
                            faces,
                            image,
                            grad_image,
                            view,
                            line,
                            ti.max(first, ti.select(outward > 0, outside, 0)),
                            ti.min(last, ti.select(outward > 0, length - 1, outside)),
                            face,
                            inside,
                            crossing,
                            scales,
                            eps,
                            planes,
                            False,
                        )
                    opposite = opposite_place(start, end, third, at)
                    limit = ti.select(outward > 0, ti.ceil(opposite), ti.floor(opposite))
                    far = ti.cast(ti.min(ti.max(limit, 0.0), ti.cast(length - 1, float)), ti.i32)
                    sums += pulls(
                        faces,
                        image,
                        grad_image,
                        view,
                        line,
                        ti.max(first, ti.min(inside, far)),
                        ti.min(last, ti.max(inside, far)),
                        face,
                        outside,
                        crossing,
                        scales,
                        eps,
                        planes,
                        True,
                    )
        up = ti.select(is_column, -1.0, 1.0)  # places on a column run down, y up
        for k in ti.static(range(2)):
            grad_edges[i, edge, is_column, k] = up * sums[k]


@ti.func
def line_place(
    records: ti.template(),
    i: int,
    corner: int,
    height: int,
    width: int,
    shorter: float,
    is_column: int,
) -> vec2:
    """(which line, where on the line) a corner is, in pixels."""
    x = (records[i, 2 * corner] * shorter + ti.cast(width - 1, float)) * 0.5
    y = (ti.cast(height - 1, float) - records[i, 2 * corner + 1] * shorter) * 0.5
    return ti.select(is_column, vec2(x, y), vec2(y, x))


@ti.func
def opposite_place(start: vec2, end: vec2, third: vec2, at: float) -> float:
    """Where a line crosses one of the other two edges: that at `start`, or else that at `end`."""
    on_start = (at - start.x) * (at - third.x) < 0.0
    base = ti.select(on_start, start, end)
    span = third.x - base.x
    place = third.y
    if span != 0.0:
        place = (third.y - base.y) / span * (at - third.x) + third.y
    return place


@ti.kernel
def sum_edges(
    grad_edges: array(float, 4),  # (B * F, 3, 2, 2): edge, axis, its first and second end
    grad_corners: array(float, 4),  # (B, F, 3, 3)
):
    """A corner begins one edge and ends another; its depth gets nothing."""
    for view, face in ti.ndrange(grad_corners.shape[0], grad_corners.shape[1]):
        i = view * grad_corners.shape[1] + face
        for corner in ti.static(range(3)):
            ended = ti.static((corner + 2) % 3)
            for axis in ti.static(range(2)):
                begun = grad_edges[i, corner, axis, 0]
                grad_corners[view, face, corner, axis] = begun + grad_edges[i, ended, axis, 1]
            grad_corners[view, face, corner, 2] = 0.0
