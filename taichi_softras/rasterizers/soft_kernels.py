"""The kernels of soft aggregation: faces and bins in, image and its gradient out.

What a CPU and a GPU do to one face at one pixel is the same function; they differ in who
owns what. On a CPU a task owns a tile and keeps its 64 pixels in local vectors, which LLVM
turns into vector code: no branch and no store to an array in the inner loop. On a GPU a
thread owns a pixel.
"""

import dataclasses
from typing import NamedTuple, Optional

import taichi as ti
from taichi.math import vec2, vec3

from taichi_softras.funcs.aggregation import AlphaAggregation, ColorAggregation
from taichi_softras.funcs.coverage import Distance
from taichi_softras.funcs.interpolation import Clipping, Interpolation, texel_index
from taichi_softras.funcs.numeric import exp, sigmoid
from taichi_softras.funcs.triangle import barycentric, barycentric_vjp
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import CPU_BLOCK, TILE, TILE_BITS
from taichi_softras.rasterizers.faces import is_in_box, load_triangle, pixel_centre
from taichi_softras.workspace import array

LANES = 8  # neighbouring pixels that a CPU handles as one vector; image rows are padded by it
TILES_PER_TASK = 4  # CPU forward: small, so that threads end together

# What a pixel keeps while faces come, one local vector each: alpha's number, the nearest depth,
# the sum of weights, the front face, and the weighted sum of each channel.
# Where faces are limited to the nearest, their limit's depth and face follow.
KEPT, NEAREST, TOTAL, FRONT, MIXED = 0, 1, 2, 3, 4
# The planes of `state` and of `pixel_faces`: what a pixel keeps until the gradient comes.
KEPT_PLANE, TOTAL_PLANE, NEAREST_PLANE, LIMIT_PLANE = 0, 1, 2, 3
FRONT_PLANE, LIMIT_FACE_PLANE = 0, 1
SMALLEST_COVERAGE = 1e-30  # of a face in reach: coverage also tells whether there is one
# relative: depths that rounding may give either order, and not the same in each kernel. Neighbours
# meet at such depths where their common edge or corner is nearest to a pixel outside of both.
SAME_DEPTH = 2e-5
NO_LIMIT = 1e11  # depth; nearer than the horizon of a face that is seen edge-on
# What a face sums up over its pixels, one local vector each: gradients at x, y of the corners,
# at the inverse depths, at the colours of the corners.
POSITIONS, INVERSE_DEPTHS, CORNER_COLORS = 0, 6, 9


@dataclasses.dataclass(frozen=True)
class Structure:
    """What of the method is compiled in; numbers are arguments. Equal structures share kernels."""

    distance: Distance
    alpha: AlphaAggregation
    color: Optional[ColorAggregation]  # None: silhouette only
    clipping: Clipping
    interpolation: Interpolation
    is_limited: bool  # to faces up to a depth, each pixel's own
    is_double_sided: bool
    has_texels: bool
    channels: int


class Numbers(NamedTuple):
    """The numbers of the method: float arguments of every kernel, in this order."""

    inverse_sigma: float  # 1 / NDC squared
    reach: float  # NDC squared: where coverage is cut off
    sharpness: float  # 1 / (gamma (far - near)), per unit of depth
    near: float  # depth
    far: float  # depth
    start_depth: float  # of the background


@ti.func
def collect_numbers(
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared: where coverage is cut off
    sharpness: float,  # 1 / (gamma (far - near)), per unit of depth
    near: float,  # depth
    far: float,  # depth
    start_depth: float,  # of the background
    num_faces: int,
    texel_resolution: int,
):
    """Scalar arguments as one struct, on their way through the functions of a kernel."""
    return ti.Struct(
        inverse_sigma=inverse_sigma,
        reach=reach,
        sharpness=sharpness,
        near=near,
        far=far,
        start_depth=start_depth,
        num_faces=num_faces,
        texel_resolution=texel_resolution,
    )


@ti.func
def cover(
    structure: ti.template(),
    numbers: ti.template(),
    triangle: ti.template(),
    pixel: vec2,
    weights: vec3,
    is_in_box: int,
) -> float:
    """D = sigmoid(delta d^2 / sigma), zero beyond the cut-off alone. SoftRas eq. 1."""
    signed = structure.distance.signed(pixel, triangle, weights)
    is_near = is_in_box & (signed > -numbers.reach)
    coverage = sigmoid(signed * numbers.inverse_sigma)
    return ti.select(is_near, ti.max(coverage, SMALLEST_COVERAGE), 0.0)


@ti.func
def visible(
    structure: ti.template(),
    numbers: ti.template(),
    triangle: ti.template(),
    coverage: float,
    depth: float,
) -> float:
    """The coverage that counts for colour: between near and far, and facing the camera."""
    is_seen = (depth >= numbers.near) & (depth <= numbers.far)
    if ti.static(not structure.is_double_sided):
        is_seen &= triangle.inverse_area > 0.0
    return ti.select(is_seen, coverage, 0.0)


@ti.func
def meet(
    structure: ti.template(),
    numbers: ti.template(),
    triangle: ti.template(),
    pixel: vec2,
    is_in_box: int,
    face: int,
    limit_depth: float,
    limit_face: int,
):
    """The fragment of a face at a pixel.

    Returns:
        A struct: barycentric `weights` of the pixel, those of the point on the face, its depth,
        the `coverage` that counts for alpha, and `seen`, the one that counts for colour.
    """
    weights = barycentric(pixel, triangle)
    clipped = structure.clipping.clip(weights)
    depth = structure.interpolation.depth(clipped, triangle.inverse_depths)
    coverage = cover(structure, numbers, triangle, pixel, weights, is_in_box)
    seen = coverage
    if ti.static(structure.is_limited):
        is_kept = depth < limit_depth * (1.0 - SAME_DEPTH)
        is_kept |= (depth <= limit_depth * (1.0 + SAME_DEPTH)) & (face <= limit_face)
        is_kept &= depth >= 0.0
        if ti.static(not structure.is_double_sided):
            is_kept &= triangle.inverse_area > 0.0
        coverage = ti.select(is_kept, coverage, 0.0)
        seen = coverage
    else:
        seen = visible(structure, numbers, triangle, coverage, depth)
    return ti.Struct(weights=weights, clipped=clipped, depth=depth, coverage=coverage, seen=seen)


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
    numbers: ti.template(),
    triangle: ti.template(),
    pixel: vec2,
    is_in_box: int,
    view: int,
    face: int,
    colors: ti.template(),
    corner_colors: ti.template(),
    pixels: ti.template(),
    lane: int,
):
    """One face meets one pixel: changes entry `lane` of what `pixels` keep."""
    limit_depth, limit_face = NO_LIMIT, 0
    if ti.static(structure.is_limited):
        limit_depth = pixels[MIXED + structure.channels][lane]
        limit_face = pixels[MIXED + structure.channels + 1][lane]
    fragment = meet(structure, numbers, triangle, pixel, is_in_box, face, limit_depth, limit_face)
    pixels[KEPT][lane] = structure.alpha.add(pixels[KEPT][lane], fragment.coverage)
    if ti.static(structure.channels > 0):
        clipped, depth = fragment.clipped, fragment.depth
        keep, gain, nearest, front = structure.color.meet(
            fragment.seen,
            fragment.weights.min() >= 0.0,
            depth,
            face,
            pixels[NEAREST][lane],
            pixels[FRONT][lane],
            numbers.sharpness,
        )
        pixels[NEAREST][lane] = nearest
        pixels[FRONT][lane] = front
        pixels[TOTAL][lane] = pixels[TOTAL][lane] * keep + gain
        used = structure.interpolation.weights(clipped, triangle.inverse_depths, depth)
        texel = texel_index(used, numbers.texel_resolution)
        for channel in ti.static(range(structure.channels)):
            color = 0.0
            if ti.static(structure.has_texels):
                color = colors[view % colors.shape[0], face, texel, channel]
            else:
                for corner in ti.static(range(3)):
                    color += used[corner] * corner_colors[corner, channel]
            mixed = pixels[MIXED + channel][lane]
            pixels[MIXED + channel][lane] = mixed * keep + gain * color


@ti.func
def store_pixel(
    structure: ti.template(),
    numbers: ti.template(),
    view: int,
    row: int,
    column: int,
    pixels: ti.template(),
    lane: int,
    background: ti.template(),
    image: ti.template(),
    state: ti.template(),
    pixel_faces: ti.template(),
):
    """Writes entry `lane` of `pixels` to the image, and what the gradient needs of it."""
    kept = pixels[KEPT][lane]
    image[view, ti.static(structure.channels), row, column] = structure.alpha.resolve(
        kept, numbers.num_faces
    )
    state[view, KEPT_PLANE, row, column] = kept
    if ti.static(structure.channels > 0):
        lifted = 0.0  # what the background's weight lacks to its floor
        if ti.static(structure.color.background_floor > 0.0):
            fade = exp((pixels[NEAREST][lane] - numbers.start_depth) * numbers.sharpness)
            lifted = ti.max(structure.color.background_floor - fade, 0.0)
        inverse_total = 1.0 / (pixels[TOTAL][lane] + lifted)
        state[view, TOTAL_PLANE, row, column] = inverse_total
        state[view, NEAREST_PLANE, row, column] = pixels[NEAREST][lane]
        pixel_faces[view, FRONT_PLANE, row, column] = pixels[FRONT][lane]
        for channel in ti.static(range(structure.channels)):
            mixed = pixels[MIXED + channel][lane] + lifted * background[channel]
            image[view, channel, row, column] = mixed * inverse_total


@ti.func
def pull_back_fragment(
    structure: ti.template(),
    numbers: ti.template(),
    triangle: ti.template(),
    pixel: vec2,
    is_in_box: int,
    view: int,
    row: int,
    column: int,
    face: int,
    colors: ti.template(),
    corner_colors: ti.template(),
    background: ti.template(),
    image: ti.template(),
    state: ti.template(),
    pixel_faces: ti.template(),
    grad_image: ti.template(),
    sums: ti.template(),
    lane: int,
):
    """The adjoint of `blend` and `store_pixel`: adds to entry `lane` of the face's `sums`.

    With x = delta d^2 / sigma, G the gradient at the colour I, s = w (C - I) . G:
    the gradient is dA/dx G_alpha + s (1 - D) at x, -s / (gamma (far - near)) at the depth
    and w G at the colour C. No division by D or 1 - D. Where the background's weight w_b is at
    its floor, relative to the front face, the front's depth also moves it against all others:
    the gradient at that depth has one more term, -w_b (C_b - I) . G / (gamma (far - near)).

    Returns:
        The texel under the pixel, and w.
    """
    limit_depth, limit_face = NO_LIMIT, 0
    if ti.static(structure.is_limited):
        limit_depth = state[view, LIMIT_PLANE, row, column]
        limit_face = pixel_faces[view, LIMIT_FACE_PLANE, row, column]
    fragment = meet(structure, numbers, triangle, pixel, is_in_box, face, limit_depth, limit_face)
    weights, coverage = fragment.weights, fragment.coverage
    slope = structure.alpha.slope(state[view, KEPT_PLANE, row, column], coverage, numbers.num_faces)
    grad_x = grad_image[view, ti.static(structure.channels), row, column] * slope
    pull = vec2(0.0)
    texel = 0
    share = 0.0
    if ti.static(structure.channels > 0):
        clipped, depth = fragment.clipped, fragment.depth
        used = structure.interpolation.weights(clipped, triangle.inverse_depths, depth)
        texel = texel_index(used, numbers.texel_resolution)
        share = structure.color.weight(
            fragment.seen,
            depth,
            face,
            state[view, NEAREST_PLANE, row, column],
            pixel_faces[view, FRONT_PLANE, row, column],
            state[view, TOTAL_PLANE, row, column],
            numbers.sharpness,
        )
        gain = 0.0  # w (C - I) . G
        grad_used = vec3(0.0)
        for channel in ti.static(range(structure.channels)):
            grad_color = share * grad_image[view, channel, row, column]
            color = 0.0
            if ti.static(structure.has_texels):
                color = colors[view % colors.shape[0], face, texel, channel]
            else:
                for corner in ti.static(range(3)):
                    color += used[corner] * corner_colors[corner, channel]
                    grad_used[corner] += grad_color * corner_colors[corner, channel]
                    entry = ti.static(CORNER_COLORS + corner * structure.channels + channel)
                    sums[entry][lane] = sums[entry][lane] + grad_color * used[corner]
            gain += grad_color * (color - image[view, channel, row, column])
        grad_depth = 0.0
        if ti.static(structure.color.is_soft):
            grad_x += gain * (1.0 - coverage)
            grad_depth = -gain * numbers.sharpness
        if ti.static(structure.color.background_floor > 0.0):
            fade = exp(
                (state[view, NEAREST_PLANE, row, column] - numbers.start_depth) * numbers.sharpness
            )
            is_front = pixel_faces[view, FRONT_PLANE, row, column] == face
            is_front &= fade < structure.color.background_floor
            gain_of_background = 0.0
            for channel in ti.static(range(structure.channels)):
                grad_channel = grad_image[view, channel, row, column]
                gain_of_background += grad_channel * (
                    background[channel] - image[view, channel, row, column]
                )
            share_of_background = (
                structure.color.background_floor * state[view, TOTAL_PLANE, row, column]
            )
            grad_floor = -gain_of_background * share_of_background * numbers.sharpness
            grad_depth += ti.select(is_front, grad_floor, 0.0)
        grad_clipped, grad_inverse = structure.interpolation.weights_vjp(
            clipped, triangle.inverse_depths, depth, used, grad_used, grad_depth
        )
        for corner in ti.static(range(3)):
            entry = ti.static(INVERSE_DEPTHS + corner)
            sums[entry][lane] = sums[entry][lane] + grad_inverse[corner]
        pull = barycentric_vjp(
            triangle, structure.clipping.clip_vjp(weights, clipped, grad_clipped)
        )
    pulls = structure.distance.signed_vjp(pixel, triangle, weights, grad_x * numbers.inverse_sigma)
    for corner in ti.static(range(3)):
        for axis in ti.static(range(2)):
            entry = ti.static(POSITIONS + 2 * corner + axis)
            at_corner = pulls[corner][axis] - weights[corner] * pull[axis]
            sums[entry][lane] = sums[entry][lane] + at_corner
    return texel, share


@ti.func
def scatter_to_texel(
    structure: ti.template(),
    view: int,
    row: int,
    column: int,
    face: int,
    texel: int,
    share: float,
    grad_image: ti.template(),
    grad_colors: ti.template(),
):
    """Adds a pixel's gradient to the texel under it; threads may share a texel: atomic."""
    if share > 0.0:
        for channel in ti.static(range(structure.channels)):
            grad_color = share * grad_image[view, channel, row, column]
            ti.atomic_add(
                grad_colors[view % grad_colors.shape[0], face, texel, channel], grad_color
            )


@ti.kernel
def draw_tiles(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    starts: array(int, 1),  # (T + 1,)
    bin_faces: array(int, 1),  # (pairs,)
    colors: array(float, 4),  # (B or 1, F, 3 or R * R, C)
    texel_resolution: int,
    background: array(float, 1),  # (C,)
    height: int,
    width: int,
    tile_rows: int,
    tile_columns: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    start_depth: float,  # of the background
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, planes, H, W + LANES), see KEPT_PLANE
    pixel_faces: array(int, 4),  # (B, planes, H, W + LANES), see FRONT_PLANE
    structure: ti.template(),
):
    """CPU: for each face of a tile, the rows of the tile that its box meets in one flat loop."""
    for task in range((starts.shape[0] - 1 + TILES_PER_TASK - 1) // TILES_PER_TASK * CPU_BLOCK):
        if task & (CPU_BLOCK - 1) == 0:
            num_faces = records.shape[0] // image.shape[0]
            numbers = collect_numbers(
                inverse_sigma,
                reach,
                sharpness,
                near,
                far,
                start_depth,
                num_faces,
                texel_resolution,
            )
            inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
            first_tile = task // CPU_BLOCK * TILES_PER_TASK
            for tile in range(first_tile, ti.min(first_tile + TILES_PER_TASK, starts.shape[0] - 1)):
                view = tile // (tile_rows * tile_columns)
                top = tile // tile_columns % tile_rows * TILE
                left = tile % tile_columns * TILE
                lanes = ti.static(range(TILE * TILE))
                pixels = (
                    [
                        ti.Vector([structure.alpha.start for _ in lanes]),
                        ti.Vector([start_depth for _ in lanes]),
                        ti.Vector([1.0 for _ in lanes]),
                        ti.Vector([NO_FACE for _ in lanes]),
                    ]
                    + [
                        ti.Vector([background[channel] for _ in lanes])
                        for channel in ti.static(range(structure.channels))
                    ]
                    + [
                        ti.Vector([start for _ in lanes])
                        for start in ti.static([NO_LIMIT, NO_FACE] if structure.is_limited else [])
                    ]
                )
                if ti.static(structure.is_limited):
                    for lane in range(TILE * TILE):
                        row = ti.min(top + (lane >> TILE_BITS), height - 1)
                        column = ti.min(left + (lane & (TILE - 1)), width - 1)
                        entry = ti.static(MIXED + structure.channels)
                        pixels[entry][lane] = state[view, LIMIT_PLANE, row, column]
                        pixels[entry + 1][lane] = pixel_faces[view, LIMIT_FACE_PLANE, row, column]
                for slot in range(starts[tile], starts[tile + 1]):
                    face = bin_faces[slot]
                    i = view * num_faces + face
                    triangle = load_triangle(records, i)
                    corner_colors = load_corner_colors(
                        structure, colors, view % colors.shape[0], face
                    )
                    first_column = boxes[i, 0] - left
                    last_column = boxes[i, 1] - left
                    # clamped at both ends: LLVM must see that the loop is short
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
                            view,
                            face,
                            colors,
                            corner_colors,
                            pixels,
                            lane,
                        )
                for row in range(ti.min(TILE, height - top)):
                    for column in range(ti.min(TILE, width - left)):
                        store_pixel(
                            structure,
                            numbers,
                            view,
                            top + row,
                            left + column,
                            pixels,
                            row * TILE + column,
                            background,
                            image,
                            state,
                            pixel_faces,
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
    height: int,
    width: int,
    tile_rows: int,
    tile_columns: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    start_depth: float,  # of the background
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, planes, H, W + LANES), see KEPT_PLANE
    pixel_faces: array(int, 4),  # (B, planes, H, W + LANES), see FRONT_PLANE
    structure: ti.template(),
):
    """GPU: a thread owns a pixel and walks its tile's faces."""
    for index in range(image.shape[0] * height * width):
        num_faces = records.shape[0] // image.shape[0]
        numbers = collect_numbers(
            inverse_sigma,
            reach,
            sharpness,
            near,
            far,
            start_depth,
            num_faces,
            texel_resolution,
        )
        view = index // (height * width)
        row = index // width % height
        column = index % width
        pixel = pixel_centre(
            column, row, height, width, 1.0 / ti.cast(ti.min(height, width), float)
        )
        pixels = (
            [
                ti.Vector([structure.alpha.start]),
                ti.Vector([start_depth]),
                ti.Vector([1.0]),
                ti.Vector([NO_FACE]),
            ]
            + [ti.Vector([background[channel]]) for channel in ti.static(range(structure.channels))]
            + [
                ti.Vector([start])
                for start in ti.static([NO_LIMIT, NO_FACE] if structure.is_limited else [])
            ]
        )
        if ti.static(structure.is_limited):
            entry = ti.static(MIXED + structure.channels)
            pixels[entry][0] = state[view, LIMIT_PLANE, row, column]
            pixels[entry + 1][0] = pixel_faces[view, LIMIT_FACE_PLANE, row, column]
        tile = (view * tile_rows + row // TILE) * tile_columns + column // TILE
        for slot in range(starts[tile], starts[tile + 1]):
            face = bin_faces[slot]
            i = view * num_faces + face
            if is_in_box(boxes, i, row, column):
                blend(
                    structure,
                    numbers,
                    load_triangle(records, i),
                    pixel,
                    1,
                    view,
                    face,
                    colors,
                    load_corner_colors(structure, colors, view % colors.shape[0], face),
                    pixels,
                    0,
                )
        store_pixel(
            structure, numbers, view, row, column, pixels, 0, background, image, state, pixel_faces
        )


@ti.kernel
def pull_back_faces(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    colors: array(float, 4),  # (B or 1, F, 3 or R * R, C)
    texel_resolution: int,
    background: array(float, 1),  # (C,)
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, planes, H, W + LANES)
    pixel_faces: array(int, 4),  # (B, planes, H, W + LANES)
    grad_image: array(float, 4),  # (B, C + 1, H, W + LANES), zero in the padding
    height: int,
    width: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    start_depth: float,  # of the background
    faces_per_task: int,
    num_lanes: int,  # LANES; an argument, or LLVM unrolls the loop that it should vectorise
    grad_corners: array(float, 4),  # (B, F, 3, 3)
    grad_colors: array(float, 4),  # (B, F, 3, C), or (B or 1, F, R * R, C) to be added to
    structure: ti.template(),
):
    """CPU: a task owns faces and gathers over the pixels of each, a row of lanes at a time."""
    for task in range((records.shape[0] + faces_per_task - 1) // faces_per_task * CPU_BLOCK):
        if task & (CPU_BLOCK - 1) == 0:
            num_faces = grad_corners.shape[1]
            numbers = collect_numbers(
                inverse_sigma,
                reach,
                sharpness,
                near,
                far,
                start_depth,
                num_faces,
                texel_resolution,
            )
            inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
            first = task // CPU_BLOCK * faces_per_task
            for i in range(first, ti.min(first + faces_per_task, records.shape[0])):
                view = i // num_faces
                face = i - view * num_faces
                triangle = load_triangle(records, i)
                corner_colors = load_corner_colors(structure, colors, view % colors.shape[0], face)
                lanes = ti.static(range(LANES))
                sums = [
                    ti.Vector([0.0 for _ in lanes])
                    for _ in ti.static(range(CORNER_COLORS + 3 * structure.channels))
                ]
                texels = ti.Vector([0 for _ in lanes])
                shares = ti.Vector([0.0 for _ in lanes])
                for packet in range((boxes[i, 1] - boxes[i, 0]) // LANES + 1):
                    left = boxes[i, 0] + packet * LANES
                    for row in range(boxes[i, 2], boxes[i, 3] + 1):
                        for lane in range(ti.max(0, ti.min(num_lanes, 8 * LANES))):
                            column = left + lane
                            texel, share = pull_back_fragment(
                                structure,
                                numbers,
                                triangle,
                                pixel_centre(column, row, height, width, inverse_shorter),
                                column <= boxes[i, 1],
                                view,
                                row,
                                column,
                                face,
                                colors,
                                corner_colors,
                                background,
                                image,
                                state,
                                pixel_faces,
                                grad_image,
                                sums,
                                lane,
                            )
                            if ti.static(structure.has_texels):
                                texels[lane] = texel
                                shares[lane] = share
                        if ti.static(structure.has_texels):
                            for lane in range(LANES):
                                scatter_to_texel(
                                    structure,
                                    view,
                                    row,
                                    left + lane,
                                    face,
                                    texels[lane],
                                    shares[lane],
                                    grad_image,
                                    grad_colors,
                                )
                for corner in ti.static(range(3)):
                    for axis in ti.static(range(2)):
                        grad_corners[view, face, corner, axis] = sums[
                            POSITIONS + 2 * corner + axis
                        ].sum()
                    grad_inverse = sums[INVERSE_DEPTHS + corner].sum()
                    inverse_depth = triangle.inverse_depths[corner]
                    grad_corners[view, face, corner, 2] = -grad_inverse * inverse_depth**2
                    if ti.static(not structure.has_texels):
                        for channel in ti.static(range(structure.channels)):
                            entry = ti.static(CORNER_COLORS + corner * structure.channels + channel)
                            grad_colors[view, face, corner, channel] = sums[entry].sum()


@ti.kernel
def pull_back_tiles(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    colors: array(float, 4),  # (B or 1, F, 3 or R * R, C)
    texel_resolution: int,
    background: array(float, 1),  # (C,)
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, planes, H, W + LANES)
    pixel_faces: array(int, 4),  # (B, planes, H, W + LANES)
    grad_image: array(float, 4),  # (B, C + 1, H, W + LANES)
    height: int,
    width: int,
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared
    sharpness: float,  # 1 / depth
    near: float,  # depth
    far: float,  # depth
    start_depth: float,  # of the background
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
        num_faces = grad_corners.shape[1]
        numbers = collect_numbers(
            inverse_sigma,
            reach,
            sharpness,
            near,
            far,
            start_depth,
            num_faces,
            texel_resolution,
        )
        inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
        tile = bin_tiles[pair]
        face = bin_faces[pair]
        view = tile // (tile_rows * tile_columns)
        top = tile // tile_columns % tile_rows * TILE
        left = tile % tile_columns * TILE
        i = view * num_faces + face
        triangle = load_triangle(records, i)
        corner_colors = load_corner_colors(structure, colors, view % colors.shape[0], face)
        sums = [ti.Vector([0.0]) for _ in ti.static(range(CORNER_COLORS + 3 * structure.channels))]
        for row in range(ti.max(boxes[i, 2], top), ti.min(boxes[i, 3], top + TILE - 1) + 1):
            for column in range(
                ti.max(boxes[i, 0], left), ti.min(boxes[i, 1], left + TILE - 1) + 1
            ):
                texel, share = pull_back_fragment(
                    structure,
                    numbers,
                    triangle,
                    pixel_centre(column, row, height, width, inverse_shorter),
                    1,
                    view,
                    row,
                    column,
                    face,
                    colors,
                    corner_colors,
                    background,
                    image,
                    state,
                    pixel_faces,
                    grad_image,
                    sums,
                    0,
                )
                if ti.static(structure.has_texels):
                    scatter_to_texel(
                        structure, view, row, column, face, texel, share, grad_image, grad_colors
                    )
        for corner in ti.static(range(3)):
            for axis in ti.static(range(2)):
                entry = ti.static(POSITIONS + 2 * corner + axis)
                ti.atomic_add(grad_corners[view, face, corner, axis], sums[entry][0])
            grad_inverse = sums[INVERSE_DEPTHS + corner][0]
            inverse_depth = triangle.inverse_depths[corner]
            ti.atomic_add(grad_corners[view, face, corner, 2], -grad_inverse * inverse_depth**2)
            if ti.static(not structure.has_texels):
                for channel in ti.static(range(structure.channels)):
                    entry = ti.static(CORNER_COLORS + corner * structure.channels + channel)
                    ti.atomic_add(grad_colors[view, face, corner, channel], sums[entry][0])


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
