"""Soft aggregation forward: derivatives of corners and colours in, those of the image out.

At a pixel, the gradient of one channel by a face, from the adjoint of that face's fragment, times
the derivatives of the face.
"""

import taichi as ti

from taichi_softras.rasterizers.binning import TILE
from taichi_softras.rasterizers.faces import is_in_box, load_triangle, pixel_centre
from taichi_softras.rasterizers.soft_kernels import (
    CORNER_COLORS,
    INVERSE_DEPTHS,
    POSITIONS,
    collect_numbers,
    load_corner_colors,
    pull_back_fragment,
)
from taichi_softras.workspace import array


@ti.func
def push_fragment(
    structure: ti.template(),
    triangle: ti.template(),
    parameter: int,
    view: int,
    face: int,
    channel: int,
    texel: int,
    share: float,
    tangent_corners: ti.template(),
    tangent_colors: ti.template(),
    sums: ti.template(),
) -> float:
    """The gradient in `sums`, at texel too, times the derivatives by one parameter."""
    change = 0.0
    of_view = view % tangent_colors.shape[1]
    for corner in ti.static(range(3)):
        for axis in ti.static(range(2)):
            at_corner = sums[POSITIONS + 2 * corner + axis][0]
            change += at_corner * tangent_corners[parameter, view, face, corner, axis]
        at_depth = -sums[INVERSE_DEPTHS + corner][0] * triangle.inverse_depths[corner] ** 2
        change += at_depth * tangent_corners[parameter, view, face, corner, 2]
        if ti.static(not structure.has_texels):
            for of_color in ti.static(range(structure.channels)):
                at_color = sums[CORNER_COLORS + corner * structure.channels + of_color][0]
                change += at_color * tangent_colors[parameter, of_view, face, corner, of_color]
    if ti.static(structure.has_texels):
        if channel < structure.channels:
            change += share * tangent_colors[parameter, of_view, face, texel, channel]
    return change


@ti.kernel
def push_channel_forward(
    channel: int,
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, 4) pixels
    starts: array(int, 1),  # (T + 1,)
    bin_faces: array(int, 1),  # (pairs,)
    colors: array(float, 4),  # (B or 1, F, 3 or R * R, C)
    texel_resolution: int,
    background: array(float, 1),  # (C,)
    image: array(float, 4),  # (B, C + 1, H, W + LANES)
    state: array(float, 4),  # (B, planes, H, W + LANES)
    pixel_faces: array(int, 4),  # (B, planes, H, W + LANES)
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
    tangent_corners: array(float, 5),  # (P, B, F, 3, 3)
    tangent_colors: array(float, 5),  # (P, B or 1, F, 3 or R * R, C)
    unit_image: array(float, 4),  # (B, C + 1, H, W + LANES), written: 1 in the channel
    tangent_image: array(float, 5),  # (P, B, C + 1, H, W), one channel of it
    structure: ti.template(),
):
    """A thread owns a pixel and walks its tile's faces."""
    for index in range(image.shape[0] * height * width):
        num_faces = records.shape[0] // image.shape[0]
        numbers = collect_numbers(
            inverse_sigma, reach, sharpness, near, far, start_depth, num_faces, texel_resolution
        )
        view = index // (height * width)
        row = index // width % height
        column = index % width
        inverse_shorter = 1.0 / ti.cast(ti.min(height, width), float)
        pixel = pixel_centre(column, row, height, width, inverse_shorter)
        for other in range(image.shape[1]):
            unit_image[view, other, row, column] = ti.select(other == channel, 1.0, 0.0)
        for parameter in range(tangent_image.shape[0]):
            tangent_image[parameter, view, channel, row, column] = 0.0
        tile = (view * tile_rows + row // TILE) * tile_columns + column // TILE
        for slot in range(starts[tile], starts[tile + 1]):
            face = bin_faces[slot]
            i = view * num_faces + face
            if is_in_box(boxes, i, row, column):
                triangle = load_triangle(records, i)
                sums = [
                    ti.Vector([0.0])
                    for _ in ti.static(range(CORNER_COLORS + 3 * structure.channels))
                ]
                texel, share = pull_back_fragment(
                    structure,
                    numbers,
                    triangle,
                    pixel,
                    1,
                    view,
                    row,
                    column,
                    face,
                    colors,
                    load_corner_colors(structure, colors, view % colors.shape[0], face),
                    background,
                    image,
                    state,
                    pixel_faces,
                    unit_image,
                    sums,
                    0,
                )
                for parameter in range(tangent_image.shape[0]):
                    tangent_image[parameter, view, channel, row, column] += push_fragment(
                        structure,
                        triangle,
                        parameter,
                        view,
                        face,
                        channel,
                        texel,
                        share,
                        tangent_corners,
                        tangent_colors,
                        sums,
                    )
