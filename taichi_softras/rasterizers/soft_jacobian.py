"""Soft aggregation forward: derivatives of corners and surface in, those of the image out.

At a pixel, the gradient of one channel by a face, from the adjoint of that face's fragment, times
the derivatives of the face.
"""

from taichi_softras.rasterizers.binning import FaceArrays, TileArrays
from taichi_softras.rasterizers.faces import ENDS, is_in_box
from taichi_softras.rasterizers.fragments import (
    Surface,
    SurfaceNumbers,
    interpolate,
    load_uniforms,
    look_up_tangent,
)
from taichi_softras.rasterizers.soft_fragments import (
    HEIGHT,
    NUM_ENDS,
    VARYINGS,
    WIDTH,
    PixelArrays,
    has_lists,
    load_face,
    load_numbers,
    locate_pixel,
    pull_back_corner,
    pull_back_end,
    pull_back_fragment,
    settle_tie,
    tile_of,
)
from taichi_softras.runtime import kernel, ti
from taichi_softras.workspace import array


@kernel
def push_pixels_forward(  # more than 12 parameters, many lines: groups of arrays
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    starts: array(int, 1),  # see `TileArrays`
    bin_faces: array(int, 1),
    band: array(int, 1),
    varyings: array(float, 4),  # see `Surface`
    textures: array(float, 4),
    uniforms: array(float, 2),
    images: array(int, 1),
    floats: array(float, 1),  # `Numbers` and background
    sizes: array(int, 1),  # `Sizes`
    image: array(float, 4),  # see `PixelArrays`
    state: array(float, 4),
    pixel_faces: array(int, 4),
    tangent_corners: array(float, 5),  # (P, B, F, 3, 3 or 4)
    tangent_varyings: array(float, 5),  # (P, of the surface's arrays)
    tangent_textures: array(float, 5),
    tangent_uniforms: array(float, 3),
    tangent_image: array(float, 5),  # (P, B, C + 1, H, W)
    structure: ti.template(),
):
    """A thread owns a channel of a pixel of the band and walks its tile's faces."""
    for thread in range(image.shape[0] * image.shape[1] * sizes[HEIGHT] * sizes[WIDTH]):
        faces = ti.static(FaceArrays(records, boxes))
        surface = ti.static(Surface(varyings, textures, uniforms, images))
        planes = ti.static(PixelArrays(image, state, pixel_faces))
        tiles = ti.static(TileArrays(starts, bin_faces, band))
        tangents = ti.static(SurfaceNumbers(tangent_varyings, tangent_textures, tangent_uniforms))
        numbers = load_numbers(structure, floats, sizes)
        column = thread % numbers.width
        row = thread // numbers.width % numbers.height
        channel = thread // (numbers.width * numbers.height) % image.shape[1]
        view = thread // (numbers.width * numbers.height * image.shape[1])
        tile = tile_of(numbers, view, row, column)
        if not has_lists(tiles, tile):
            continue
        pixel = locate_pixel(numbers, view, row, column, 1)
        channels = ti.static(range(structure.shader.num_channels + 1))
        unit = ti.Vector([ti.select(channel == other, 1.0, 0.0) for other in channels])
        for parameter in range(tangent_image.shape[0]):
            tangent_image[parameter, view, channel, row, column] = 0.0
        of_view = load_uniforms(structure.shader, uniforms, view)
        for slot in range(starts[tile], starts[tile + 1]):
            index = bin_faces[slot]
            i = view * numbers.num_faces + index
            if is_in_box(boxes, i, row, column):
                face = load_face(structure, faces, surface, of_view, numbers.num_faces, view, index)
                sums = [ti.Vector([0.0]) for _ in ti.static(range(structure.num_sums))]
                pulled = pull_back_fragment(
                    structure, numbers, face, pixel, planes, unit, surface, sums, 0
                )
                if pulled.tied != 0.0:
                    settle_tie(structure, face, pixel, pulled.tied, sums, 0)
                totals = ti.Vector([sums[k][0] for k in ti.static(range(structure.num_sums))])
                grads = [
                    pull_back_corner(
                        structure, numbers, records, i, corner, tangent_corners.shape[4], totals
                    )
                    for corner in ti.static(range(3))
                ]
                for parameter in range(tangent_image.shape[0]):
                    change = push_corners(grads, parameter, view, index, tangent_corners)
                    if ti.static(structure.shader.is_cut):
                        for end in ti.static(range(NUM_ENDS)):
                            grad = pull_back_end(structure, numbers, records, i, end, totals)
                            for k in ti.static(range(4)):
                                moved = tangent_corners[parameter, view, index, ENDS + end, k]
                                change += grad[k] * moved
                    change += push_surface(
                        structure, face, totals, pulled, parameter, view, surface, tangents
                    )
                    before = tangent_image[parameter, view, channel, row, column]
                    tangent_image[parameter, view, channel, row, column] = before + change


@ti.func
def push_corners(
    grads: ti.template(),
    parameter: int,
    view: int,
    face: int,
    tangent_corners: ti.template(),
) -> float:
    """The gradients at a face's corners times their derivatives by one parameter."""
    change = 0.0
    for corner in ti.static(range(3)):
        for k in ti.static(range(3)):
            change += grads[corner][k] * tangent_corners[parameter, view, face, corner, k]
        if tangent_corners.shape[4] == 4:
            change += grads[corner][3] * tangent_corners[parameter, view, face, corner, 3]
    return change


@ti.func
def push_surface(
    structure: ti.template(),
    face: ti.template(),
    totals: ti.template(),
    pulled: ti.template(),
    parameter: int,
    view: int,
    surface: ti.template(),
    tangents: ti.template(),
) -> float:
    """The gradients at varyings, texture and uniforms times derivatives by one parameter."""
    change = 0.0
    of_view = view % tangents.varyings.shape[1]
    for corner in ti.static(range(3)):
        for k in ti.static(range(structure.shader.num_varyings)):
            entry = ti.static(VARYINGS + corner * structure.shader.num_varyings + k)
            change += totals[entry] * tangents.varyings[parameter, of_view, face.index, corner, k]
    if ti.static(structure.shader.has_textures):
        change += look_up_tangent(
            structure.shader,
            surface,
            tangents.textures,
            parameter,
            view,
            face.source,
            pulled.used,
            interpolate(structure.shader, pulled.used, face.varyings),
            pulled.samples,
        )
    of_view = view % tangents.uniforms.shape[1]
    for k in ti.static(range(structure.shader.num_uniforms)):
        entry = ti.static(structure.first_uniform + k)
        change += totals[entry] * tangents.uniforms[parameter, of_view, k]
    return change
