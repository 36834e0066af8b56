"""Prefiltered: a z-buffer image, averaged exactly over a disc where surfaces end on the image."""

import dataclasses
from typing import ClassVar, Union

import taichi as ti
from taichi.math import vec2, vec3

from taichi_softras.funcs.disc_filter import disc_shares, disc_shares_vjp, moments
from taichi_softras.funcs.interpolation import clip_below, clip_below_vjp
from taichi_softras.funcs.triangle import barycentric, barycentric_vjp
from taichi_softras.rasterizers.base import NO_FACE, Rasterizer, check_color, check_range
from taichi_softras.rasterizers.binning import TILE, FaceArrays
from taichi_softras.rasterizers.edge_pieces import (
    EdgePieces,
    clip_to_box,
    clip_to_image,
    cross_edges,
    cut_edges,
    load_edge,
)
from taichi_softras.rasterizers.faces import (
    SOURCE_FACE,
    clip_corner_vjp,
    load_triangle,
    pixel_centre,
)
from taichi_softras.rasterizers.fragments import Shader, Surface
from taichi_softras.rasterizers.visible_colors import (
    ZBufferRasterization,
    color_at_vjp,
    pull_within,
)
from taichi_softras.rasterizers.z_buffer import Seen, block_of, side
from taichi_softras.runtime import is_cpu, kernel
from taichi_softras.workspace import Workspace, array

RADIUS_PER_SIGMA = 2.35  # the disc's variance is that of the soft rasterizer's ramp
HULL_SLACK = 1e-4  # of the range of colours: less than rounding is no clamping, and has a gradient
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
        near: what is drawn is farther than this depth.
        far: what is drawn is nearer than this depth.
        background: colour of the background, one number or one for each channel.
        double_sided: whether faces that are clockwise on the image are drawn.
        inner_edges: whether jumps of colour between faces that face the same way are filtered too:
            for light or colours by face.

    Raises:
        ValueError: for a number out of its range.
    """

    has_jacobian: ClassVar[bool] = False

    sigma_pixels: float = 1 / 3
    near: float = 0.1
    far: float = 100.0
    background: Union[float, tuple] = 0.0
    double_sided: bool = True
    inner_edges: bool = False

    def __post_init__(self):
        check_range("near", self.near, above=0.0)
        check_range("far", self.far, above=self.near)
        check_color("background", self.background)
        check_range("sigma_pixels", self.sigma_pixels, above=0.0)
        if self.sigma_pixels < LEAST_SIGMA_PIXELS:
            raise ValueError(
                f"sigma_pixels must be at least {LEAST_SIGMA_PIXELS}, got {self.sigma_pixels}: "
                "discs that are smaller miss outlines between pixels"
            )

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
        self.radius = RADIUS_PER_SIGMA * method.sigma_pixels
        super().__init__(
            method, workspace, corners, shader, surface, image_size, max(1.0, self.radius + 0.5)
        )
        self.paint()
        self.image = self.drawn
        bins = self.z_buffer.bins
        self.pieces = cut_edges(
            workspace,
            corners,
            self.z_buffer,
            surface,
            self.resolution,
            self.background,
            method,
            self.radius,
            shader,
        )
        num_tiles = bins.of_tiles.starts.shape[0] - 1
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
        filter_edges(
            *bins.of_faces,
            *bins.of_tiles,
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
        grad_colors = get("grad_piece_colors", tuple(self.pieces.colors.shape))
        pull_pieces(
            *bins.of_faces,
            *self.pieces,
            self.is_clamped,
            self.radius,
            self.grad_image,
            grad_places,
            grad_colors,
            self.shader.num_channels,
        )
        pull_faces(
            *bins.of_faces,
            *self.z_buffer.seen,
            *self.surface,
            self.resolution,
            self.grad_image,
            self.grad_corners,
            self.shader,
        )
        self.pull_back_surface(self.grad_image)
        scatter_pieces(
            *bins.of_faces,
            *self.surface,
            self.resolution,
            *self.pieces,
            grad_places,
            grad_colors,
            0.5 * min(self.image.shape[2:]),
            self.owners if is_cpu() else 0,
            self.grad_corners,
            *self.grad_surface,
            self.shader,
        )


@kernel
def find_hulls(
    starts: array(int, 1),  # see `EdgePieces`
    num_parts: array(int, 1),
    colors: array(float, 5),
    image: array(float, 4),  # (B, C + 1, H, W)
    hulls_of_tiles: array(float, 3),  # (T, C, 2) scratch
    hulls: array(float, 3),  # (B, C, 2) least and largest number of a view
):
    """Of all colours in sight: at pixels, then at edges."""
    for tile in range(hulls_of_tiles.shape[0]):
        block = block_of(tile * TILE * TILE, image.shape[2], image.shape[3], TILE)
        for channel in range(hulls_of_tiles.shape[1]):
            first = image[block.view, channel, block.row, block.column]
            low, high = first, first
            for row in range(block.row, ti.min(block.row + TILE, image.shape[2])):
                for column in range(block.column, ti.min(block.column + TILE, image.shape[3])):
                    low = ti.min(low, image[block.view, channel, row, column])
                    high = ti.max(high, image[block.view, channel, row, column])
            hulls_of_tiles[tile, channel, 0] = low
            hulls_of_tiles[tile, channel, 1] = high
    for view, channel in ti.ndrange(hulls.shape[0], hulls.shape[1]):
        tiles = hulls_of_tiles.shape[0] // hulls.shape[0]
        low = hulls_of_tiles[view * tiles, channel, 0]
        high = hulls_of_tiles[view * tiles, channel, 1]
        for tile in range(view * tiles, (view + 1) * tiles):
            low = ti.min(low, hulls_of_tiles[tile, channel, 0])
            high = ti.max(high, hulls_of_tiles[tile, channel, 1])
        per_view = (starts.shape[0] - 1) // hulls.shape[0]
        for piece in range(starts[view * per_view], starts[(view + 1) * per_view]):
            for part, end, layer in ti.ndrange(num_parts[piece], 2, 2):
                low = ti.min(low, colors[piece, part, end, layer, channel])
                high = ti.max(high, colors[piece, part, end, layer, channel])
        hulls[view, channel, 0] = low
        hulls[view, channel, 1] = high


@kernel
def filter_edges(  # groups of arrays make more than 12 parameters: faces, tiles, pieces
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    tile_starts: array(int, 1),  # (T + 1,)
    tile_faces: array(int, 1),  # (>= pairs,)
    starts: array(int, 1),  # see `EdgePieces`
    edges: array(int, 1),
    num_parts: array(int, 1),
    places: array(float, 3),
    links: array(int, 3),
    colors: array(float, 5),
    radius: float,  # pixels
    hulls: array(float, 3),  # (B, C, 2)
    image: array(float, 4),  # (B, C + 1, H, W) in and out
    is_clamped: array(int, 3),  # (B, H, W) bit c for channel c
    side: ti.template(),  # of the blocks that threads own: 1 or TILE
    channels: ti.template(),
):
    """A thread owns a block of pixels and walks the pieces of its tile's faces."""
    for index in range((tile_starts.shape[0] - 1) * TILE * TILE):
        of_faces = ti.static(FaceArrays(records, boxes))
        pieces = ti.static(EdgePieces(starts, edges, num_parts, places, links, colors))
        height, width = image.shape[2], image.shape[3]
        block = block_of(index, height, width, side)
        if block.is_own:
            for k in range(side * side):
                row, column = block.row + k // side, block.column + k % side
                if (row < height) & (column < width):
                    is_clamped[block.view, row, column] = 0
            num_faces = records.shape[0] // image.shape[0]
            is_reached = 0
            for slot in range(tile_starts[block.tile], tile_starts[block.tile + 1]):
                i = block.view * num_faces + tile_faces[slot]
                if starts[3 * i] < starts[3 * i + 3]:
                    is_reached = 1
                    filter_face(of_faces, pieces, block, i, radius, image, side, channels)
            if is_reached != 0:
                clamp_block(block, hulls, image, is_clamped, side, channels)


@ti.func
def clamp_block(
    block: ti.template(),
    hulls: ti.template(),
    image: ti.template(),
    is_clamped: ti.template(),
    side: ti.template(),
    channels: ti.template(),
):
    """Faces that pierce each other have no edge there: pixels keep to the colours in sight."""
    for k in range(side * side):
        row, column = block.row + k // side, block.column + k % side
        if (row < image.shape[2]) & (column < image.shape[3]):
            bits = 0
            for channel in range(channels + 1):
                low, high = 0.0, 1.0
                if channel < channels:
                    low, high = hulls[block.view, channel, 0], hulls[block.view, channel, 1]
                now = image[block.view, channel, row, column]
                slack = HULL_SLACK * (high - low)
                if (now < low - slack) | (now > high + slack):
                    bits |= 1 << ti.min(channel, 30)
                image[block.view, channel, row, column] = ti.min(ti.max(now, low), high)
            is_clamped[block.view, row, column] = bits


@ti.func
def filter_face(
    of_faces: ti.template(),
    pieces: ti.template(),
    block: ti.template(),
    i: int,
    radius: float,
    image: ti.template(),
    side: ti.template(),
    channels: ti.template(),
):
    """Adds the shares of a face's edges to the pixels of a block."""
    height, width = image.shape[2], image.shape[3]
    shorter = ti.cast(ti.min(height, width), float)
    for k in range(3):
        first, end = pieces.starts[3 * i + k], pieces.starts[3 * i + k + 1]
        if first < end:
            line = load_edge(of_faces.records, i, k)
            corner = pixel_centre(block.column, block.row + side - 1, height, width, 1.0 / shorter)
            low = corner - radius * 2.0 / shorter
            high = corner + (radius + ti.cast(side - 1, float)) * 2.0 / shorter
            whole = clip_to_image(line.a, line.b, height, width, radius)
            near = clip_to_box(line.a, line.b, low, high)
            if (near.x <= near.y) & (near.x <= whole.y) & (near.y >= whole.x):
                count = ti.cast(end - first, float)
                scale = count / (whole.y - whole.x)
                before = ti.min(ti.max(ti.floor((near.x - whole.x) * scale), 0.0), count - 1.0)
                behind = ti.min(ti.max(ti.floor((near.y - whole.x) * scale), 0.0), count - 1.0)
                from_, to = first + ti.cast(before, ti.i32), first + ti.cast(behind, ti.i32)
                for piece in range(from_, to + 1):
                    for part in range(pieces.num_parts[piece]):
                        filter_part(
                            pieces,
                            line,
                            block,
                            piece,
                            part,
                            radius,
                            image,
                            side,
                            channels,
                        )


@ti.func
def pixels_of(start: vec2, end: vec2, height: int, width: int, radius: float):
    """First and last row, first and last column whose discs a part may meet; may be empty."""
    half = vec2(ti.cast(width, float), ti.cast(height, float)) * 0.5
    low, high = ti.min(start, end) - radius, ti.max(start, end) + radius
    columns = vec2(low.x, high.x) + half.x - 0.5
    rows = half.y - vec2(high.y, low.y) - 0.5
    return ti.Vector(
        [
            ti.max(ti.cast(ti.ceil(rows.x), ti.i32), 0),
            ti.min(ti.cast(ti.floor(rows.y), ti.i32), height - 1),
            ti.max(ti.cast(ti.ceil(columns.x), ti.i32), 0),
            ti.min(ti.cast(ti.floor(columns.y), ti.i32), width - 1),
        ]
    )


@ti.func
def measure(
    line: ti.template(),
    start: vec2,
    end: vec2,
    row: int,
    column: int,
    height: int,
    width: int,
    radius,
):
    """The `moments` of a part at a pixel; left of it is where the z-buffer sees the face."""
    shorter = ti.cast(ti.min(height, width), float)
    centre = pixel_centre(column, row, height, width, 1.0 / shorter)
    is_left = ti.cast(side(centre, line.a, line.b) >= 0.0, ti.i32)
    return moments(start, end, centre * (0.5 * shorter), radius, is_left)


@ti.func
def place_ends(pieces: ti.template(), line: ti.template(), piece: int, part: int, shorter: float):
    """Start and end of a part in pixels, from the image's centre, y up."""
    a, offset = line.a * (0.5 * shorter), (line.b - line.a) * (0.5 * shorter)
    start = a + offset * pieces.places[piece, part, 0]
    end = a + offset * pieces.places[piece, part, 1]
    return start, end


@ti.func
def filter_part(
    pieces: ti.template(),
    line: ti.template(),
    block: ti.template(),
    piece: int,
    part: int,
    radius: float,
    image: ti.template(),
    side: ti.template(),
    channels: ti.template(),
):
    """Adds the shares of a part of a piece to the pixels of a block."""
    view, height, width = block.view, image.shape[2], image.shape[3]
    shorter = ti.cast(ti.min(height, width), float)
    start, end = place_ends(pieces, line, piece, part, shorter)
    pixels = pixels_of(start, end, height, width, radius)
    for row in range(ti.max(pixels[0], block.row), ti.min(pixels[1], block.row + side - 1) + 1):
        for column in range(
            ti.max(pixels[2], block.column), ti.min(pixels[3], block.column + side - 1) + 1
        ):
            met = measure(line, start, end, row, column, height, width, radius)
            if met.end > met.start:
                shares = disc_shares(met)
                for c in ti.static(range(channels)):
                    jump = vec2(0.0)
                    for k in ti.static(range(2)):
                        front = pieces.colors[piece, part, k, 0, c]
                        behind = pieces.colors[piece, part, k, 1, c]
                        jump[k] = front - behind
                    now = image[view, c, row, column]
                    image[view, c, row, column] = now + shares.dot(jump)
                if pieces.links[piece, part, 0] == NO_FACE:
                    now = image[view, channels, row, column]
                    image[view, channels, row, column] = now + shares.sum()


@kernel
def pull_pieces(  # groups of arrays make more than 12 parameters: faces, pieces, gradients
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    starts: array(int, 1),  # see `EdgePieces`
    edges: array(int, 1),
    num_parts: array(int, 1),
    places: array(float, 3),
    links: array(int, 3),
    colors: array(float, 5),
    is_clamped: array(int, 3),  # (B, H, W)
    radius: float,  # pixels
    grad_image: array(float, 4),  # (B, C + 1, H, W); becomes 0 where the image is clamped
    grad_places: array(float, 4),  # (P, parts, 2, 2) of start and end, pixels
    grad_colors: array(float, 5),  # as the colours
    channels: ti.template(),
):
    """The adjoint of `filter_edges`: a thread owns a piece and gathers over its discs."""
    for view, row, column in ti.ndrange(
        is_clamped.shape[0], is_clamped.shape[1], is_clamped.shape[2]
    ):
        if is_clamped[view, row, column] != 0:
            for channel in range(grad_image.shape[1]):
                if (is_clamped[view, row, column] >> ti.min(channel, 30)) & 1 != 0:
                    grad_image[view, channel, row, column] = 0.0
    for piece in range(starts[starts.shape[0] - 1]):
        pieces = ti.static(EdgePieces(starts, edges, num_parts, places, links, colors))
        i = edges[piece] // 3
        line = load_edge(records, i, edges[piece] % 3)
        view = i // (records.shape[0] // grad_image.shape[0])
        for part in range(num_parts[piece]):
            pull_part(
                pieces,
                line,
                view,
                piece,
                part,
                radius,
                grad_image,
                grad_places,
                grad_colors,
                channels,
            )


@ti.func
def pull_part(
    pieces: ti.template(),
    line: ti.template(),
    view: int,
    piece: int,
    part: int,
    radius: float,
    grad_image: ti.template(),
    grad_places: ti.template(),
    grad_colors: ti.template(),
    channels: ti.template(),
):
    """Of a part of a piece: over the pixels whose discs it meets."""
    height, width = grad_image.shape[2], grad_image.shape[3]
    start, end = place_ends(pieces, line, piece, part, ti.cast(ti.min(height, width), float))
    has_alpha = ti.cast(pieces.links[piece, part, 0] == NO_FACE, float)
    by_start, by_end = vec2(0.0), vec2(0.0)
    by_jump = ti.Matrix.zero(float, ti.static(max(channels, 1)), 2)
    pixels = pixels_of(start, end, height, width, radius)
    for row in range(pixels[0], pixels[1] + 1):
        for column in range(pixels[2], pixels[3] + 1):
            met = measure(line, start, end, row, column, height, width, radius)
            if met.end > met.start:
                shares = disc_shares(met)
                of_alpha = has_alpha * grad_image[view, channels, row, column]
                grad = vec2(of_alpha, of_alpha)
                for c in ti.static(range(channels)):
                    of_pixel = grad_image[view, c, row, column]
                    for k in ti.static(range(2)):
                        front = pieces.colors[piece, part, k, 0, c]
                        grad[k] += of_pixel * (front - pieces.colors[piece, part, k, 1, c])
                        by_jump[c, k] += of_pixel * shares[k]
                of_start, of_end = disc_shares_vjp(met, radius, grad)
                by_start += of_start
                by_end += of_end
    for axis in ti.static(range(2)):
        grad_places[piece, part, 0, axis] = by_start[axis]
        grad_places[piece, part, 1, axis] = by_end[axis]
    for c in ti.static(range(channels)):
        for k in ti.static(range(2)):
            grad_colors[piece, part, k, 0, c] = by_jump[c, k]
            grad_colors[piece, part, k, 1, c] = -by_jump[c, k]


@kernel
def pull_faces(  # groups of arrays make more than 12 parameters: faces, what is seen, surface
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    resolution: int,  # of textures
    grad_image: array(float, 4),  # (B, C + 1, H, W)
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4), written
    shader: ti.template(),
):
    """What the pixels that show a face do to its corners."""
    for i in range(records.shape[0]):
        num_faces = grad_corners.shape[1]
        view = i // num_faces
        face = i - view * num_faces
        grads = ti.Struct(position=ti.Matrix.zero(float, 3, 2), inverse_w=vec3(0.0))
        if ti.static(shader.num_channels > 0):
            grads = pull_within(
                shader,
                ti.static(FaceArrays(records, boxes)),
                ti.static(Seen(faces, weights, depths)),
                ti.static(Surface(varyings, textures, uniforms)),
                resolution,
                grad_image,
                view,
                face,
            )
        for corner in ti.static(range(3)):
            position = vec2(grads.position[corner, 0], grads.position[corner, 1])
            of_corner = clip_corner_vjp(
                records, i, corner, grad_corners.shape[3], position, grads.inverse_w[corner], 0.0
            )
            for k in ti.static(range(4)):
                if k < grad_corners.shape[3]:
                    grad_corners[view, face, corner, k] = of_corner[k]


@kernel
def scatter_pieces(  # groups of arrays make more than 12 parameters: faces, surface, pieces
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    resolution: int,  # of textures
    starts: array(int, 1),  # see `EdgePieces`
    edges: array(int, 1),
    num_parts: array(int, 1),
    places: array(float, 3),
    links: array(int, 3),
    colors: array(float, 5),
    grad_places: array(float, 4),  # of `pull_pieces`
    grad_colors: array(float, 5),
    pixels: float,  # in one NDC
    owners: int,  # on a CPU 1 if views share anything, else B; 0 on a GPU
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4) and the following: added to
    grad_varyings: array(float, 4),
    grad_textures: array(float, 4),
    grad_uniforms: array(float, 2),
    shader: ti.template(),
):
    """From pieces to faces: on a CPU a thread owns views and adds in order, on a GPU a piece."""
    count = starts[starts.shape[0] - 1]
    for task in range(ti.select(owners > 0, owners, count)):
        pieces = ti.static(EdgePieces(starts, edges, num_parts, places, links, colors))
        grads = ti.static((grad_places, grad_colors, grad_corners))
        first, end = task, task + 1
        if owners > 0:
            per_task = (starts.shape[0] - 1) // owners
            first, end = starts[task * per_task], starts[(task + 1) * per_task]
        for piece in range(first, end):
            for part in range(num_parts[piece]):
                scatter_part(
                    shader,
                    ti.static(FaceArrays(records, boxes)),
                    ti.static(Surface(varyings, textures, uniforms)),
                    resolution,
                    pixels,
                    pieces,
                    piece,
                    part,
                    grads,
                    ti.static(Surface(grad_varyings, grad_textures, grad_uniforms)),
                )


@ti.func
def scatter_part(
    shader: ti.template(),
    of_faces: ti.template(),
    surface: ti.template(),
    resolution: int,
    pixels: float,  # in one NDC
    pieces: ti.template(),
    piece: int,
    part: int,
    grads: ti.template(),  # of places, of colours, of corners
    grad_surface: ti.template(),
):
    """Positions and colours of the faces in front and behind, and of edges that cut the part."""
    grad_places, grad_colors, grad_corners = ti.static(grads)
    records = ti.static(of_faces.records)
    edge = pieces.edges[piece]
    i = edge // 3
    view = i // grad_corners.shape[1]
    line = load_edge(records, i, edge % 3)
    behind = pieces.links[piece, part, 0]
    by_a, by_b, by_inverse_w = vec2(0.0), vec2(0.0), vec3(0.0)
    for end in ti.static(range(2)):
        place = pieces.places[piece, part, end]
        by_point = vec2(grad_places[piece, part, end, 0], grad_places[piece, part, end, 1])
        by_point *= pixels
        by_place = 0.0
        if ti.static(shader.num_channels > 0):
            on_front = line.of_a * (1.0 - place) + line.of_b * place
            channels = ti.static(range(shader.num_channels))
            grad = ti.Vector([grad_colors[piece, part, end, 0, c] for c in channels])
            front = color_at_vjp(shader, of_faces, surface, resolution, view, i, on_front, grad)
            add_to_surface(shader, of_faces, resolution, view, i, front, grad_surface)
            by_inverse_w += front.inverse_w
            by_place += front.weights.dot(line.of_b - line.of_a)
            if behind != NO_FACE:
                triangle = load_triangle(records, behind)
                at = line.a + (line.b - line.a) * place
                weights = barycentric(at, triangle)
                of_behind = color_at_vjp(
                    shader, of_faces, surface, resolution, view, behind, clip_below(weights), -grad
                )
                add_to_surface(shader, of_faces, resolution, view, behind, of_behind, grad_surface)
                slope = barycentric_vjp(triangle, clip_below_vjp(weights, of_behind.weights))
                by_point += slope
                for corner in ti.static(range(3)):
                    add_to_corner(
                        records,
                        behind,
                        corner,
                        -weights[corner] * slope,
                        of_behind.inverse_w[corner],
                        grad_corners,
                    )
        by_a += by_point * (1.0 - place)
        by_b += by_point * place
        other = pieces.links[piece, part, 1 + end]
        if other >= 0:
            by_place += by_point.dot(line.b - line.a)
            cutting = load_edge(records, other // 3, other % 3)
            crossing = cross_edges(line, cutting)
            along = cutting.b - cutting.a
            pull = vec2(along.y, -along.x) * (by_place / crossing.area)
            by_a -= pull * (1.0 - place)
            by_b -= pull * place
            add_to_edge(
                records,
                other // 3,
                cutting,
                pull * (1.0 - crossing.place_of_other),
                pull * crossing.place_of_other,
                vec3(0.0),
                grad_corners,
            )
    add_to_edge(records, i, line, by_a, by_b, by_inverse_w, grad_corners)


@ti.func
def add_to_edge(
    records: ti.template(),
    i: int,
    line: ti.template(),
    by_a: vec2,
    by_b: vec2,
    by_inverse_w: vec3,
    grad_corners: ti.template(),
):
    """At the corners of face i, from gradients at the ends of one of its edges."""
    for corner in ti.static(range(3)):
        position = line.of_a[corner] * by_a + line.of_b[corner] * by_b
        add_to_corner(records, i, corner, position, by_inverse_w[corner], grad_corners)


@ti.func
def add_to_corner(
    records: ti.template(),
    i: int,
    corner: ti.template(),
    by_position: vec2,
    by_inverse_w: float,
    grad_corners: ti.template(),
):
    """From NDC and 1 / w to the components that corners are given in."""
    grad = clip_corner_vjp(
        records, i, corner, grad_corners.shape[3], by_position, by_inverse_w, 0.0
    )
    view = i // grad_corners.shape[1]
    for k in ti.static(range(4)):
        if k < grad_corners.shape[3]:
            ti.atomic_add(grad_corners[view, i - view * grad_corners.shape[1], corner, k], grad[k])


@ti.func
def add_to_surface(
    shader: ti.template(),
    of_faces: ti.template(),
    resolution: int,
    view: int,
    i: int,
    grads: ti.template(),  # of `color_at_vjp`
    grad_surface: ti.template(),
):
    """At the varyings, texture and uniforms that a point's colour came from."""
    source = of_faces.boxes[i, SOURCE_FACE]
    for corner in ti.static(range(3)):
        for k in ti.static(range(shader.num_varyings)):
            table = ti.static(grad_surface.varyings)
            grad = grads.used[corner] * grads.varyings[k]
            ti.atomic_add(table[view % table.shape[0], source, corner, k], grad)
    if ti.static(shader.has_textures):
        table = ti.static(grad_surface.textures)
        entries, shares = shader.lookup.entries(grads.used, resolution)
        for k in ti.static(range(shader.lookup.count)):
            for channel in ti.static(range(shader.num_samples)):
                grad = shares[k] * grads.samples[channel]
                ti.atomic_add(table[view % table.shape[0], source, entries[k], channel], grad)
    for k in ti.static(range(shader.num_uniforms)):
        table = ti.static(grad_surface.uniforms)
        ti.atomic_add(table[view % table.shape[0], k], grads.uniforms[k])
