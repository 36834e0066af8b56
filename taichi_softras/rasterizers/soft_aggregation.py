"""Soft aggregation: every face counts, softly, at every pixel in its reach.

S. Liu, T. Li, W. Chen, H. Li, "Soft Rasterizer: A Differentiable Renderer for
Image-based 3D Reasoning", ICCV 2019. The gradient is the derivative of the image that
is drawn, with the terms that the paper's code leaves out (docs/gradients.md).
"""

import dataclasses
from typing import Optional, Union

import taichi as ti

from taichi_softras.funcs.aggregation import ALPHAS, COLORS, AlphaAggregation, ColorAggregation
from taichi_softras.funcs.coverage import ALWAYS, DISTANCES, Distance
from taichi_softras.funcs.interpolation import (
    PERSPECTIVE,
    SCREEN,
    Interpolation,
    clip_weights,
    clip_weights_vjp,
    interpolate_depth,
    texel_index,
)
from taichi_softras.funcs.numeric import sigmoid
from taichi_softras.funcs.triangle import Triangle, barycentric, barycentric_vjp, vec2, vec3
from taichi_softras.rasterizers.base import NO_FACE, Rasterization, check_range, choose
from taichi_softras.rasterizers.binning import CPU_BLOCK, TILE, TILE_BITS, Bins
from taichi_softras.rasterizers.faces import RECORD_SIZE, load_triangle, pixel_centre, set_up_faces
from taichi_softras.rasterizers.workspace import Workspace, array, is_cpu

LANES = 8  # neighbouring pixels that a CPU handles as one vector; image rows are padded by it
TILES_PER_TASK = 4  # CPU forward: small, so that threads end together
MOST_FACES_PER_TASK = 64  # CPU backward: large enough to hide what a task costs


@dataclasses.dataclass(frozen=True)
class Structure:
    """What of the method is compiled in; numbers are arguments. Equal structures share kernels."""

    distance: Distance
    alpha: AlphaAggregation
    color: Optional[ColorAggregation]  # None: silhouette only
    interpolation: Interpolation
    is_double_sided: bool
    has_texels: bool
    channels: int


@ti.dataclass
class Numbers:
    """The method's scalars on their way through the functions of a kernel."""

    inverse_sigma: float  # 1 / NDC squared
    reach: float  # NDC squared: where coverage is cut off
    sharpness: float  # 1 / (gamma (far - near)), per unit of depth
    near: float  # depth
    far: float  # depth


@dataclasses.dataclass(frozen=True)
class SoftAggregation:
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
        alpha: "product"; "sum": the mean of D over all faces; "hard": D > 1/2.
        coverage_cutoff: a face ends where its coverage falls below this, in (0, 0.5).
        near: nearest depth that has colour; depth is the distance along the view axis.
        far: farthest depth that has colour. Faces before `near` or behind `far` still cover in
            alpha, as in the paper's code; those behind the camera never do.
        background: colour of the background, one number or one for each channel.
        background_depth: its z in the softmax (the paper's epsilon).
        double_sided: whether faces that are clockwise on the image have colour.
        perspective_correct: interpolate colours on the face (the paper's code: on the image).
        sigma_pixels: sqrt(sigma) in pixels, instead of `sigma`.

    Raises:
        ValueError: for a number out of its range or an unknown name.
    """

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
        if self.sigma_pixels is not None:
            check_range("sigma_pixels", self.sigma_pixels, above=0.0)

    def sigma_ndc(self, image_size: tuple) -> float:
        """Sigma in NDC squared for an image of (height, width) pixels."""
        if self.sigma_pixels is None:
            return self.sigma
        return (self.sigma_pixels * 2.0 / min(image_size)) ** 2

    def structure(self, channels: int, has_texels: bool) -> Structure:
        """The functions behind the names; channels = 0 means silhouette only."""
        return Structure(
            distance=DISTANCES[self.distance],
            alpha=ALPHAS[self.alpha],
            color=COLORS[self.color] if channels else None,
            interpolation=PERSPECTIVE if self.perspective_correct else SCREEN,
            is_double_sided=self.double_sided,
            has_texels=has_texels,
            channels=channels,
        )

    def background_colors(self, channels: int) -> tuple:
        """The background's colour, a number for each channel."""
        values = self.background if hasattr(self.background, "__len__") else (self.background,)
        if len(values) == channels:
            return tuple(values)
        if len(set(values)) > 1:
            raise ValueError(
                f"background has {len(values)} different values, but colours have {channels} "
                "channels: give one number, or one for each channel"
            )
        return (values[0],) * channels

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        colors: Optional[ti.Ndarray],
        texel_resolution: int,
        image_size: tuple,
    ) -> "SoftRasterization":
        """Draws; see `Rasterizer.forward`."""
        rasterization = SoftRasterization(
            self, workspace, corners, colors, texel_resolution, image_size
        )
        rasterization.draw()
        return rasterization


class SoftRasterization(Rasterization):
    """One image and what its gradient needs: a few numbers a pixel, nothing a fragment.

    Construction sets up faces and bins; then `draw`, then `backward` as often as wanted.
    """

    def __init__(
        self,
        method: SoftAggregation,
        workspace: Workspace,
        corners: ti.Ndarray,
        colors: Optional[ti.Ndarray],
        texel_resolution: int,
        image_size: tuple,
    ):
        self.workspace = workspace
        self.image_size = image_size
        self.corners_shape = corners.shape
        views, faces = corners.shape[:2]
        channels = colors.shape[-1] if colors is not None else 0
        self.structure = method.structure(channels, texel_resolution > 0)
        self.has_colors = colors is not None
        self.colors = colors if self.has_colors else workspace.get("no_colors", (1, 1, 1, 1))
        self.texel_resolution = texel_resolution

        sigma = method.sigma_ndc(image_size)
        reach = self.structure.distance.reach(sigma, method.coverage_cutoff)
        depth_range = method.far - method.near
        sharpness = 1.0 / (method.gamma * depth_range)
        self.numbers = (1.0 / sigma, reach, sharpness, method.near, method.far)
        self.records = workspace.get("face_records", (views * faces, RECORD_SIZE))
        self.boxes = workspace.get("face_boxes", (views * faces, 4), int)
        problems = workspace.get("face_problems", (1,), int)
        set_up_faces(corners, *image_size, reach**0.5, self.records, self.boxes, problems)
        if problems[0]:
            view, face = divmod(problems[0] - 1, faces)
            raise ValueError(
                f"face {face} of view {view} has a corner that is NaN or infinite: check the "
                "vertices and the camera (a step size that is too large often does this)"
            )
        self.bins = Bins(workspace, self.boxes, views, image_size)

        height, width = image_size
        planes = (height, width + LANES)
        self.image = workspace.get("image", (views, channels + 1, *planes))
        self.state = workspace.get("state", (views, 3 if self.has_colors else 1, *planes))
        self.front = workspace.get("front", (views, *planes) if self.has_colors else (1, 1, 1), int)
        # where the background stands in the softmax; a hard z-buffer begins behind everything
        is_soft = self.has_colors and self.structure.color.is_soft
        self.start_depth = method.far - method.background_depth * depth_range if is_soft else ALWAYS
        self.background = workspace.get("background", (max(channels, 1),))
        for channel, value in enumerate(method.background_colors(channels)):
            self.background[channel] = value

    def draw(self) -> None:
        """Fills `image`, and the state that `backward` reads."""
        draw = draw_tiles if is_cpu() else draw_pixels
        draw(
            self.records,
            self.boxes,
            self.bins.starts,
            self.bins.faces,
            self.colors,
            self.texel_resolution,
            self.background,
            self.start_depth,
            *self.image_size,
            self.bins.rows,
            self.bins.columns,
            *self.numbers,
            self.image,
            self.state,
            self.front,
            self.structure,
        )

    @property
    def grad_image(self) -> ti.Ndarray:
        """(B, C + 1, H, W + padding): written by the caller before `backward`."""
        return self.workspace.get("grad_image", tuple(self.image.shape))

    @property
    def grad_corners(self) -> ti.Ndarray:
        """(B, F, 3, 3): written by `backward`."""
        return self.workspace.get("grad_corners", tuple(self.corners_shape))

    @property
    def grad_colors(self) -> Optional[ti.Ndarray]:
        """The shape of the colours: written by `backward`; None for a silhouette."""
        if not self.has_colors:
            return None
        return self.workspace.get("grad_colors", tuple(self.colors.shape))

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_colors` from `grad_image`."""
        views, faces = self.corners_shape[:2]
        grad_colors = self.workspace.get("no_colors", (1, 1, 1, 1))
        is_summed = False
        if self.has_colors:
            grad_colors = self.grad_colors
            is_summed = self.colors.shape[0] < views and not self.texel_resolution
            if is_summed:  # colours at corners that views share: add up after, without atomics
                shape = (views, *self.colors.shape[1:])
                grad_colors = self.workspace.get("grad_colors_of_views", shape)
            if self.texel_resolution or not is_cpu():
                clear(grad_colors)
        inputs = (
            self.records,
            self.boxes,
            self.colors,
            self.texel_resolution,
            self.image,
            self.state,
            self.front,
            self.grad_image,
            *self.image_size,
            *self.numbers,
        )
        outputs = (self.grad_corners, grad_colors, self.structure)
        if is_cpu():
            per_task = max(1, min(MOST_FACES_PER_TASK, views * faces // CPU_BLOCK))
            pull_back_faces(*inputs, per_task, LANES, *outputs)
        else:
            clear(self.grad_corners)
            pull_back_tiles(
                *inputs,
                self.bins.faces,
                self.bins.tiles,
                self.bins.num_pairs,
                self.bins.rows,
                self.bins.columns,
                *outputs,
            )
        if is_summed:
            sum_views(grad_colors, self.grad_colors)


@ti.func
def cover(
    structure: ti.template(),
    numbers: Numbers,
    triangle: Triangle,
    pixel: vec2,
    weights: vec3,
    is_in_box: int,
) -> float:
    """D = sigmoid(delta d^2 / sigma), zero beyond the cut-off. SoftRas eq. 1."""
    signed = structure.distance.signed(pixel, triangle, weights)
    is_near = is_in_box & (signed > -numbers.reach)
    return ti.select(is_near, sigmoid(signed * numbers.inverse_sigma), 0.0)


@ti.func
def visible(
    structure: ti.template(), numbers: Numbers, triangle: Triangle, coverage: float, depth: float
) -> float:
    """The coverage that counts for colour: between near and far, and facing the camera."""
    is_seen = (depth >= numbers.near) & (depth <= numbers.far)
    if ti.static(not structure.is_double_sided):
        is_seen &= triangle.inverse_area > 0.0
    return ti.select(is_seen, coverage, 0.0)


@ti.func
def load_corner_colors(structure: ti.template(), colors: ti.template(), view: int, face: int):
    """The (3, C) colours of a face's corners; zeros where it has texels or no colour."""
    corner_colors = ti.Matrix.zero(float, 3, ti.static(max(structure.channels, 1)))
    if ti.static(structure.channels > 0 and not structure.has_texels):
        for corner in ti.static(range(3)):
            for channel in ti.static(range(structure.channels)):
                corner_colors[corner, channel] = colors[view, face, corner, channel]
    return corner_colors


@ti.func
def blend(
    structure: ti.template(),
    numbers: Numbers,
    triangle: Triangle,
    pixel: vec2,
    is_in_box: int,
    face: int,
    colors: ti.template(),
    color_view: int,
    corner_colors: ti.template(),
    texel_resolution: int,
    lane: int,
    kept: ti.template(),
    nearest: ti.template(),
    total: ti.template(),
    mixed: ti.template(),
    front: ti.template(),
):
    """One face meets one pixel: changes what entry `lane` of the pixel vectors keeps."""
    weights = barycentric(pixel, triangle)
    coverage = cover(structure, numbers, triangle, pixel, weights, is_in_box)
    kept[lane] = structure.alpha.add(kept[lane], coverage)
    if ti.static(structure.channels > 0):
        clipped = clip_weights(weights)
        depth = interpolate_depth(clipped, triangle.inverse_depths)
        keep, gain, nearest[lane], front[lane] = structure.color.meet(
            visible(structure, numbers, triangle, coverage, depth),
            weights.min() >= 0.0,
            depth,
            face,
            nearest[lane],
            front[lane],
            numbers.sharpness,
        )
        total[lane] = total[lane] * keep + gain
        used = structure.interpolation.weights(clipped, triangle.inverse_depths, depth)
        texel = texel_index(clipped, texel_resolution)
        for channel in ti.static(range(structure.channels)):
            color = 0.0
            if ti.static(structure.has_texels):
                color = colors[color_view, face, texel, channel]
            else:
                for corner in ti.static(range(3)):
                    color += used[corner] * corner_colors[corner, channel]
            mixed[channel][lane] = mixed[channel][lane] * keep + gain * color


@ti.func
def store_pixel(
    structure: ti.template(),
    view: int,
    row: int,
    column: int,
    num_faces: int,
    lane: int,
    kept: ti.template(),
    nearest: ti.template(),
    total: ti.template(),
    mixed: ti.template(),
    front: ti.template(),
    image: ti.template(),
    state: ti.template(),
    front_faces: ti.template(),
):
    """Writes entry `lane` of the pixel vectors to the image, and what the gradient needs."""
    alpha = structure.alpha.resolve(kept[lane], num_faces)
    image[view, ti.static(structure.channels), row, column] = alpha
    state[view, 0, row, column] = kept[lane]
    if ti.static(structure.channels > 0):
        inverse_total = 1.0 / total[lane]
        state[view, 1, row, column] = inverse_total
        state[view, 2, row, column] = nearest[lane]
        front_faces[view, row, column] = front[lane]
        for channel in ti.static(range(structure.channels)):
            image[view, channel, row, column] = mixed[channel][lane] * inverse_total


@ti.kernel
def draw_tiles(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    starts: array(int, 1),  # (T + 1,)
    bin_faces: array(int, 1),  # (pairs,)
    colors: array(float, 4),  # (B or 1, F, 3 or R * R, C)
    texel_resolution: int,
    background: array(float, 1),  # (C,)
    start_depth: float,  # of the background
    height: int,
    width: int,
    tile_rows: int,
    tile_columns: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, 3 or 1, H, W + LANES): kept, 1 / total, nearest depth
    front_faces: array(int, 3),  # (B, H, W + LANES)
    structure: ti.template(),
):
    """CPU: a task owns tiles and keeps a tile's 64 pixels in local vectors.

    Rows of the tile that the face's box meets are one flat loop without branches or stores
    to arrays: LLVM turns it into vector code.
    """
    for task in range((starts.shape[0] - 1 + TILES_PER_TASK - 1) // TILES_PER_TASK * CPU_BLOCK):
        if task & (CPU_BLOCK - 1) == 0:
            numbers = Numbers(inverse_sigma, reach, sharpness, near, far)
            inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
            num_faces = records.shape[0] // image.shape[0]
            first_tile = task // CPU_BLOCK * TILES_PER_TASK
            for tile in range(first_tile, ti.min(first_tile + TILES_PER_TASK, starts.shape[0] - 1)):
                view = tile // (tile_rows * tile_columns)
                color_view = view % colors.shape[0]
                top = tile // tile_columns % tile_rows * TILE
                left = tile % tile_columns * TILE
                pixels = ti.static(range(TILE * TILE))
                kept = ti.Vector([structure.alpha.start for _ in pixels])
                nearest = ti.Vector([start_depth for _ in pixels])
                total = ti.Vector([1.0 for _ in pixels])
                front = ti.Vector([NO_FACE for _ in pixels])
                mixed = [
                    ti.Vector([background[channel] for _ in pixels])
                    for channel in ti.static(range(structure.channels))
                ]
                for slot in range(starts[tile], starts[tile + 1]):
                    face = bin_faces[slot]
                    i = view * num_faces + face
                    triangle = load_triangle(records, i)
                    corner_colors = load_corner_colors(structure, colors, color_view, face)
                    first_column = boxes[i, 0] - left
                    last_column = boxes[i, 1] - left
                    first_row = ti.min(ti.max(boxes[i, 2] - top, 0), TILE - 1)
                    last_row = ti.min(ti.max(boxes[i, 3] - top, 0), TILE - 1)
                    for lane in range(first_row * TILE, last_row * TILE + TILE):
                        row = lane >> TILE_BITS
                        column = lane & (TILE - 1)
                        blend(
                            structure,
                            numbers,
                            triangle,
                            pixel_centre(left + column, top + row, height, width, inverse_shorter),
                            (column >= first_column) & (column <= last_column),
                            face,
                            colors,
                            color_view,
                            corner_colors,
                            texel_resolution,
                            lane,
                            kept,
                            nearest,
                            total,
                            mixed,
                            front,
                        )
                for row in range(ti.min(TILE, height - top)):
                    for column in range(ti.min(TILE, width - left)):
                        store_pixel(
                            structure,
                            view,
                            top + row,
                            left + column,
                            num_faces,
                            row * TILE + column,
                            kept,
                            nearest,
                            total,
                            mixed,
                            front,
                            image,
                            state,
                            front_faces,
                        )


@ti.kernel
def draw_pixels(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    starts: array(int, 1),  # (T + 1,)
    bin_faces: array(int, 1),  # (pairs,)
    colors: array(float, 4),  # (B or 1, F, 3 or R * R, C)
    texel_resolution: int,
    background: array(float, 1),  # (C,)
    start_depth: float,  # of the background
    height: int,
    width: int,
    tile_rows: int,
    tile_columns: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, 3 or 1, H, W + LANES): kept, 1 / total, nearest depth
    front_faces: array(int, 3),  # (B, H, W + LANES)
    structure: ti.template(),
):
    """GPU: a thread owns a pixel and walks its tile's faces."""
    for index in range(image.shape[0] * height * width):
        numbers = Numbers(inverse_sigma, reach, sharpness, near, far)
        inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
        num_faces = records.shape[0] // image.shape[0]
        view = index // (height * width)
        row = index // width % height
        column = index % width
        color_view = view % colors.shape[0]
        pixel = pixel_centre(column, row, height, width, inverse_shorter)
        kept = ti.Vector([structure.alpha.start])
        nearest = ti.Vector([start_depth])
        total = ti.Vector([1.0])
        front = ti.Vector([NO_FACE])
        mixed = [
            ti.Vector([background[channel]]) for channel in ti.static(range(structure.channels))
        ]
        tile = (view * tile_rows + row // TILE) * tile_columns + column // TILE
        for slot in range(starts[tile], starts[tile + 1]):
            face = bin_faces[slot]
            i = view * num_faces + face
            is_in_columns = (column >= boxes[i, 0]) & (column <= boxes[i, 1])
            if is_in_columns & (row >= boxes[i, 2]) & (row <= boxes[i, 3]):
                blend(
                    structure,
                    numbers,
                    load_triangle(records, i),
                    pixel,
                    1,
                    face,
                    colors,
                    color_view,
                    load_corner_colors(structure, colors, color_view, face),
                    texel_resolution,
                    0,
                    kept,
                    nearest,
                    total,
                    mixed,
                    front,
                )
        store_pixel(
            structure,
            view,
            row,
            column,
            num_faces,
            0,
            kept,
            nearest,
            total,
            mixed,
            front,
            image,
            state,
            front_faces,
        )


@ti.func
def pull_back_fragment(
    structure: ti.template(),
    numbers: Numbers,
    triangle: Triangle,
    pixel: vec2,
    is_in_box: int,
    view: int,
    row: int,
    column: int,
    face: int,
    num_faces: int,
    colors: ti.template(),
    color_view: int,
    corner_colors: ti.template(),
    texel_resolution: int,
    image: ti.template(),
    state: ti.template(),
    front_faces: ti.template(),
    grad_image: ti.template(),
    lane: int,
    grad_positions: ti.template(),
    grad_inverse_depths: ti.template(),
    grad_corner_colors: ti.template(),
    texel_hit: ti.template(),
    texel_weight: ti.template(),
):
    """The adjoint of `blend` and `store_pixel` for one face at one pixel.

    With x = delta d^2 / sigma, G the gradient of the colour I, s = w (C - I) . G:
    the gradient is dA/dx G_alpha + s (1 - D) at x, -s / (gamma (far - near)) at the depth
    and w G at the colour C. No division by D or 1 - D.
    """
    weights = barycentric(pixel, triangle)
    coverage = cover(structure, numbers, triangle, pixel, weights, is_in_box)
    grad_alpha = grad_image[view, ti.static(structure.channels), row, column]
    slope = structure.alpha.slope(state[view, 0, row, column], coverage, num_faces)
    grad_x = grad_alpha * slope
    pull = vec2(0.0)
    if ti.static(structure.channels > 0):
        clipped = clip_weights(weights)
        depth = interpolate_depth(clipped, triangle.inverse_depths)
        used = structure.interpolation.weights(clipped, triangle.inverse_depths, depth)
        share = structure.color.weight(
            visible(structure, numbers, triangle, coverage, depth),
            depth,
            face,
            state[view, 2, row, column],
            front_faces[view, row, column],
            state[view, 1, row, column],
            numbers.sharpness,
        )
        texel = texel_index(clipped, texel_resolution)
        gain = 0.0  # w (C - I) . G
        grad_used = vec3(0.0)
        for channel in ti.static(range(structure.channels)):
            grad_color = share * grad_image[view, channel, row, column]
            color = 0.0
            if ti.static(structure.has_texels):
                color = colors[color_view, face, texel, channel]
            else:
                for corner in ti.static(range(3)):
                    color += used[corner] * corner_colors[corner, channel]
                    grad_used[corner] += grad_color * corner_colors[corner, channel]
                    entry = ti.static(corner * structure.channels + channel)
                    add_at(grad_corner_colors[entry], lane, grad_color * used[corner])
            gain += grad_color * (color - image[view, channel, row, column])
        if ti.static(structure.has_texels):
            texel_hit[lane] = texel
            texel_weight[lane] = share
        grad_depth = 0.0
        if ti.static(structure.color.is_soft):
            grad_x += gain * (1.0 - coverage)
            grad_depth = -gain * numbers.sharpness
        grad_clipped, grad_inverse = structure.interpolation.weights_vjp(
            clipped, triangle.inverse_depths, depth, used, grad_used, grad_depth
        )
        for corner in ti.static(range(3)):
            add_at(grad_inverse_depths[corner], lane, grad_inverse[corner])
        pull = barycentric_vjp(triangle, clip_weights_vjp(weights, clipped, grad_clipped))
    at_a, at_b, at_c = structure.distance.signed_vjp(
        pixel, triangle, weights, grad_x * numbers.inverse_sigma
    )
    for axis in ti.static(range(2)):
        add_at(grad_positions[axis], lane, at_a[axis] - weights[0] * pull[axis])
        add_at(grad_positions[2 + axis], lane, at_b[axis] - weights[1] * pull[axis])
        add_at(grad_positions[4 + axis], lane, at_c[axis] - weights[2] * pull[axis])


@ti.func
def add_at(vector: ti.template(), lane: int, value: float):
    """`vector[lane] += value`, which Taichi would make atomic."""
    vector[lane] = vector[lane] + value


@ti.kernel
def pull_back_faces(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    colors: array(float, 4),  # (B or 1, F, 3 or R * R, C)
    texel_resolution: int,
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, 3 or 1, H, W + LANES)
    front_faces: array(int, 3),  # (B, H, W + LANES)
    grad_image: array(float, 4),  # (B, C + 1, H, W + LANES), zero in the padding
    height: int,
    width: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    faces_per_task: int,
    lanes: int,  # LANES; an argument, or LLVM unrolls the loop that it should vectorise
    grad_corners: array(float, 4),  # (B, F, 3, 3)
    grad_colors: array(float, 4),  # (B, F, 3, C), or (B or 1, F, R * R, C) to be added to
    structure: ti.template(),
):
    """CPU: a task owns faces and gathers over the pixels of each, a row of lanes at a time."""
    for task in range((records.shape[0] + faces_per_task - 1) // faces_per_task * CPU_BLOCK):
        if task & (CPU_BLOCK - 1) == 0:
            numbers = Numbers(inverse_sigma, reach, sharpness, near, far)
            inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
            num_faces = grad_corners.shape[1]
            first = task // CPU_BLOCK * faces_per_task
            for i in range(first, ti.min(first + faces_per_task, records.shape[0])):
                view = i // num_faces
                face = i - view * num_faces
                color_view = view % colors.shape[0]
                triangle = load_triangle(records, i)
                corner_colors = load_corner_colors(structure, colors, color_view, face)
                zeros = ti.static(range(LANES))
                grad_positions = [ti.Vector([0.0 for _ in zeros]) for _ in ti.static(range(6))]
                grad_inverse_depths = [ti.Vector([0.0 for _ in zeros]) for _ in ti.static(range(3))]
                grad_corner_colors = [
                    ti.Vector([0.0 for _ in zeros])
                    for _ in ti.static(range(3 * structure.channels))
                ]
                texel_hit = ti.Vector([0 for _ in zeros])
                texel_weight = ti.Vector([0.0 for _ in zeros])
                for packet in range((boxes[i, 1] - boxes[i, 0]) // LANES + 1):
                    left = boxes[i, 0] + packet * LANES
                    for row in range(boxes[i, 2], boxes[i, 3] + 1):
                        for lane in range(ti.max(0, ti.min(lanes, 8 * LANES))):
                            column = left + lane
                            pull_back_fragment(
                                structure,
                                numbers,
                                triangle,
                                pixel_centre(column, row, height, width, inverse_shorter),
                                column <= boxes[i, 1],
                                view,
                                row,
                                column,
                                face,
                                num_faces,
                                colors,
                                color_view,
                                corner_colors,
                                texel_resolution,
                                image,
                                state,
                                front_faces,
                                grad_image,
                                lane,
                                grad_positions,
                                grad_inverse_depths,
                                grad_corner_colors,
                                texel_hit,
                                texel_weight,
                            )
                        if ti.static(structure.has_texels):
                            for lane in range(LANES):
                                if texel_weight[lane] > 0.0:
                                    for channel in ti.static(range(structure.channels)):
                                        ti.atomic_add(
                                            grad_colors[color_view, face, texel_hit[lane], channel],
                                            texel_weight[lane]
                                            * grad_image[view, channel, row, left + lane],
                                        )
                for corner in ti.static(range(3)):
                    for axis in ti.static(range(2)):
                        grad_corners[view, face, corner, axis] = grad_positions[
                            2 * corner + axis
                        ].sum()
                    grad_corners[view, face, corner, 2] = (
                        -grad_inverse_depths[corner].sum() * triangle.inverse_depths[corner] ** 2
                    )
                    if ti.static(not structure.has_texels):
                        for channel in ti.static(range(structure.channels)):
                            grad_colors[view, face, corner, channel] = grad_corner_colors[
                                corner * structure.channels + channel
                            ].sum()


@ti.kernel
def pull_back_tiles(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    colors: array(float, 4),  # (B or 1, F, 3 or R * R, C)
    texel_resolution: int,
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, 3 or 1, H, W + LANES)
    front_faces: array(int, 3),  # (B, H, W + LANES)
    grad_image: array(float, 4),  # (B, C + 1, H, W + LANES)
    height: int,
    width: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    bin_faces: array(int, 1),  # (pairs,)
    bin_tiles: array(int, 1),  # (pairs,)
    num_pairs: int,
    tile_rows: int,
    tile_columns: int,
    grad_corners: array(float, 4),  # (B, F, 3, 3), to be added to
    grad_colors: array(float, 4),  # (B, F, 3, C) or (B or 1, F, R * R, C), to be added to
    structure: ti.template(),
):
    """GPU: a thread owns a (tile, face) pair, sums over its pixels and adds the sums at the end."""
    for pair in range(num_pairs):
        numbers = Numbers(inverse_sigma, reach, sharpness, near, far)
        inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
        num_faces = grad_corners.shape[1]
        tile = bin_tiles[pair]
        face = bin_faces[pair]
        view = tile // (tile_rows * tile_columns)
        top = tile // tile_columns % tile_rows * TILE
        left = tile % tile_columns * TILE
        i = view * num_faces + face
        color_view = view % colors.shape[0]
        triangle = load_triangle(records, i)
        corner_colors = load_corner_colors(structure, colors, color_view, face)
        grad_positions = [ti.Vector([0.0]) for _ in ti.static(range(6))]
        grad_inverse_depths = [ti.Vector([0.0]) for _ in ti.static(range(3))]
        grad_corner_colors = [ti.Vector([0.0]) for _ in ti.static(range(3 * structure.channels))]
        texel_hit = ti.Vector([0])
        texel_weight = ti.Vector([0.0])
        for row in range(ti.max(boxes[i, 2], top), ti.min(boxes[i, 3], top + TILE - 1) + 1):
            for column in range(
                ti.max(boxes[i, 0], left), ti.min(boxes[i, 1], left + TILE - 1) + 1
            ):
                pull_back_fragment(
                    structure,
                    numbers,
                    triangle,
                    pixel_centre(column, row, height, width, inverse_shorter),
                    1,
                    view,
                    row,
                    column,
                    face,
                    num_faces,
                    colors,
                    color_view,
                    corner_colors,
                    texel_resolution,
                    image,
                    state,
                    front_faces,
                    grad_image,
                    0,
                    grad_positions,
                    grad_inverse_depths,
                    grad_corner_colors,
                    texel_hit,
                    texel_weight,
                )
                if ti.static(structure.has_texels):
                    if texel_weight[0] > 0.0:
                        for channel in ti.static(range(structure.channels)):
                            grad_colors[color_view, face, texel_hit[0], channel] += (
                                texel_weight[0] * grad_image[view, channel, row, column]
                            )
        for corner in ti.static(range(3)):
            for axis in ti.static(range(2)):
                grad_corners[view, face, corner, axis] += grad_positions[2 * corner + axis][0]
            grad_corners[view, face, corner, 2] += (
                -grad_inverse_depths[corner][0] * triangle.inverse_depths[corner] ** 2
            )
            if ti.static(not structure.has_texels):
                for channel in ti.static(range(structure.channels)):
                    entry = ti.static(corner * structure.channels + channel)
                    grad_colors[view, face, corner, channel] += grad_corner_colors[entry][0]


@ti.kernel
def clear(
    values: array(float, 4),
):
    """Sets all to zero."""
    for i in ti.grouped(values):
        values[i] = 0.0


@ti.kernel
def sum_views(
    parts: array(float, 4),  # (B, F, N, C)
    total: array(float, 4),  # (1, F, N, C)
):
    """Adds up what each view gives to colours that views share."""
    for face, corner, channel in ti.ndrange(total.shape[1], total.shape[2], total.shape[3]):
        value = 0.0
        for view in range(parts.shape[0]):
            value += parts[view, face, corner, channel]
        total[0, face, corner, channel] = value
