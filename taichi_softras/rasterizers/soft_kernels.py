"""The kernels of soft aggregation: faces and bins in, image and its gradient out.

What a CPU and a GPU do to one face at one pixel is the same function; they differ in who
owns what. On a CPU a task owns a tile and keeps its 64 pixels in local vectors, which LLVM
turns into vector code: no branch and no store to an array in the inner loop. On a GPU a
thread owns a pixel.
"""

import dataclasses
from typing import Optional

import taichi as ti
from taichi.math import vec2, vec3

from taichi_softras.funcs.aggregation import AlphaAggregation, ColorAggregation
from taichi_softras.funcs.coverage import Distance
from taichi_softras.funcs.interpolation import (
    Interpolation,
    clip_weights,
    clip_weights_vjp,
    interpolate_depth,
    texel_index,
)
from taichi_softras.funcs.numeric import sigmoid
from taichi_softras.funcs.triangle import barycentric, barycentric_vjp
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import CPU_BLOCK, TILE, TILE_BITS
from taichi_softras.rasterizers.faces import load_triangle, pixel_centre
from taichi_softras.rasterizers.workspace import array

LANES = 8  # neighbouring pixels that a CPU handles as one vector; image rows are padded by it
TILES_PER_TASK = 4  # CPU forward: small, so that threads end together

# What a pixel keeps while faces come, one local vector each: alpha's number, the nearest depth,
# the sum of weights, the front face, and the weighted sum of each channel.
KEPT, NEAREST, TOTAL, FRONT, MIXED = 0, 1, 2, 3, 4
# What a face sums up over its pixels, one local vector each: gradients at x, y of the corners,
# at the inverse depths, at the colours of the corners.
POSITIONS, INVERSE_DEPTHS, CORNER_COLORS = 0, 6, 9


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


@ti.func
def collect_numbers(
    inverse_sigma: float,  # 1 / NDC squared
    reach: float,  # NDC squared: where coverage is cut off
    sharpness: float,  # 1 / (gamma (far - near)), per unit of depth
    near: float,  # depth
    far: float,  # depth
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
    """D = sigmoid(delta d^2 / sigma), zero beyond the cut-off. SoftRas eq. 1."""
    signed = structure.distance.signed(pixel, triangle, weights)
    is_near = is_in_box & (signed > -numbers.reach)
    return ti.select(is_near, sigmoid(signed * numbers.inverse_sigma), 0.0)


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
    weights = barycentric(pixel, triangle)
    coverage = cover(structure, numbers, triangle, pixel, weights, is_in_box)
    pixels[KEPT][lane] = structure.alpha.add(pixels[KEPT][lane], coverage)
    if ti.static(structure.channels > 0):
        clipped = clip_weights(weights)
        depth = interpolate_depth(clipped, triangle.inverse_depths)
        seen = visible(structure, numbers, triangle, coverage, depth)
        keep, gain, nearest, front = structure.color.meet(
            seen,
            weights.min() >= 0.0,
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
    image: ti.template(),
    state: ti.template(),
    front_faces: ti.template(),
):
    """Writes entry `lane` of `pixels` to the image, and what the gradient needs of it."""
    kept = pixels[KEPT][lane]
    image[view, ti.static(structure.channels), row, column] = structure.alpha.resolve(
        kept, numbers.num_faces
    )
    state[view, 0, row, column] = kept
    if ti.static(structure.channels > 0):
        inverse_total = 1.0 / pixels[TOTAL][lane]
        state[view, 1, row, column] = inverse_total
        state[view, 2, row, column] = pixels[NEAREST][lane]
        front_faces[view, row, column] = pixels[FRONT][lane]
        for channel in ti.static(range(structure.channels)):
            image[view, channel, row, column] = pixels[MIXED + channel][lane] * inverse_total


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
    image: ti.template(),
    state: ti.template(),
    front_faces: ti.template(),
    grad_image: ti.template(),
    sums: ti.template(),
    lane: int,
):
    """The adjoint of `blend` and `store_pixel`: adds to entry `lane` of the face's `sums`.

    With x = delta d^2 / sigma, G the gradient at the colour I, s = w (C - I) . G:
    the gradient is dA/dx G_alpha + s (1 - D) at x, -s / (gamma (far - near)) at the depth
    and w G at the colour C. No division by D or 1 - D.

    Returns:
        The texel under the pixel, and w.
    """
    weights = barycentric(pixel, triangle)
    coverage = cover(structure, numbers, triangle, pixel, weights, is_in_box)
    slope = structure.alpha.slope(state[view, 0, row, column], coverage, numbers.num_faces)
    grad_x = grad_image[view, ti.static(structure.channels), row, column] * slope
    pull = vec2(0.0)
    texel = 0
    share = 0.0
    if ti.static(structure.channels > 0):
        clipped = clip_weights(weights)
        depth = interpolate_depth(clipped, triangle.inverse_depths)
        used = structure.interpolation.weights(clipped, triangle.inverse_depths, depth)
        texel = texel_index(used, numbers.texel_resolution)
        share = structure.color.weight(
            visible(structure, numbers, triangle, coverage, depth),
            depth,
            face,
            state[view, 2, row, column],
            front_faces[view, row, column],
            state[view, 1, row, column],
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
        grad_clipped, grad_inverse = structure.interpolation.weights_vjp(
            clipped, triangle.inverse_depths, depth, used, grad_used, grad_depth
        )
        for corner in ti.static(range(3)):
            entry = ti.static(INVERSE_DEPTHS + corner)
            sums[entry][lane] = sums[entry][lane] + grad_inverse[corner]
        pull = barycentric_vjp(triangle, clip_weights_vjp(weights, clipped, grad_clipped))
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
    """CPU: for each face of a tile, the rows of the tile that its box meets in one flat loop."""
    for task in range((starts.shape[0] - 1 + TILES_PER_TASK - 1) // TILES_PER_TASK * CPU_BLOCK):
        if task & (CPU_BLOCK - 1) == 0:
            num_faces = records.shape[0] // image.shape[0]
            numbers = collect_numbers(
                inverse_sigma, reach, sharpness, near, far, num_faces, texel_resolution
            )
            inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
            first_tile = task // CPU_BLOCK * TILES_PER_TASK
            for tile in range(first_tile, ti.min(first_tile + TILES_PER_TASK, starts.shape[0] - 1)):
                view = tile // (tile_rows * tile_columns)
                top = tile // tile_columns % tile_rows * TILE
                left = tile % tile_columns * TILE
                lanes = ti.static(range(TILE * TILE))
                pixels = [
                    ti.Vector([structure.alpha.start for _ in lanes]),
                    ti.Vector([start_depth for _ in lanes]),
                    ti.Vector([1.0 for _ in lanes]),
                    ti.Vector([NO_FACE for _ in lanes]),
                ] + [
                    ti.Vector([background[channel] for _ in lanes])
                    for channel in ti.static(range(structure.channels))
                ]
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
        num_faces = records.shape[0] // image.shape[0]
        numbers = collect_numbers(
            inverse_sigma, reach, sharpness, near, far, num_faces, texel_resolution
        )
        view = index // (height * width)
        row = index // width % height
        column = index % width
        pixel = pixel_centre(
            column, row, height, width, 1.0 / ti.cast(ti.min(height, width), float)
        )
        pixels = [
            ti.Vector([structure.alpha.start]),
            ti.Vector([start_depth]),
            ti.Vector([1.0]),
            ti.Vector([NO_FACE]),
        ] + [ti.Vector([background[channel]]) for channel in ti.static(range(structure.channels))]
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
                    view,
                    face,
                    colors,
                    load_corner_colors(structure, colors, view % colors.shape[0], face),
                    pixels,
                    0,
                )
        store_pixel(structure, numbers, view, row, column, pixels, 0, image, state, front_faces)


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
                inverse_sigma, reach, sharpness, near, far, num_faces, texel_resolution
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
                                image,
                                state,
                                front_faces,
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
        num_faces = grad_corners.shape[1]
        numbers = collect_numbers(
            inverse_sigma, reach, sharpness, near, far, num_faces, texel_resolution
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
                    image,
                    state,
                    front_faces,
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
