"""The kernels of soft aggregation: faces and bins in, image and its gradient out.

What a CPU and a GPU do to one face at one pixel is the same function (`soft_fragments`); they
differ in who owns what. On a CPU a task owns a tile and keeps its 64 pixels in local vectors,
which LLVM turns into vector code: no branch, no store to an array and no look-up in the inner
loop. On a GPU a thread owns a pixel. Backwards a task owns faces of a view, a thread a face in a
tile.
"""

from typing import NamedTuple

from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import (
    TILE,
    TILE_BITS,
    TILES_PER_TASK,
    FaceArrays,
    TileArrays,
)
from taichi_softras.rasterizers.faces import ENDS, is_in_box
from taichi_softras.rasterizers.fragments import (
    Surface,
    interpolate,
    load_uniforms,
    look_up,
    look_up_vjp,
    no_samples,
    shade,
)
from taichi_softras.rasterizers.soft_fragments import (
    HEIGHT,
    LIMIT_FACE_PLANE,
    LIMIT_PLANE,
    NO_LIMIT,
    TASKS_PER_VIEW,
    VARYINGS,
    VIEWS_PER_TASK,
    WIDTH,
    PixelArrays,
    Pixels,
    blend,
    has_lists,
    load_face,
    load_grad_pixel,
    load_numbers,
    locate_pixel,
    meet_again,
    mix,
    pull_back_corner,
    pull_back_end,
    pull_back_fragment,
    pull_back_look,
    pull_back_shape,
    settle_tie,
    share_of,
    store_pixel,
    tile_of,
    weigh,
)
from taichi_softras.runtime import CPU_BLOCK, kernel, ti, vec3
from taichi_softras.workspace import array

LANES = 8  # neighbouring pixels that a CPU handles as one vector; image rows are padded by it


class Looks(NamedTuple):
    """A face's fragments over a tile on the way to their colours, a local vector each."""

    keep: object
    gain: object
    used: list  # of 3
    samples: list  # of the face's texture


class Pulls(NamedTuple):
    """What a row of fragments gets of the gradient, a local vector each."""

    shares: object  # of the pixels
    used: list  # of 3
    gains: object  # see `pull_back_look`, as the next
    by_used: list  # of 3, gradients


@kernel
def draw_tiles(  # more than 12 parameters: groups of arrays
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
    structure: ti.template(),
):
    """CPU: a task owns tiles of the band."""
    for task in range((band[1] - band[0] + TILES_PER_TASK - 1) // TILES_PER_TASK * CPU_BLOCK):
        if task & (CPU_BLOCK - 1) == 0:
            faces = ti.static(FaceArrays(records, boxes))
            tiles = ti.static(TileArrays(starts, bin_faces, band))
            surface = ti.static(Surface(varyings, textures, uniforms, images))
            planes = ti.static(PixelArrays(image, state, pixel_faces))
            numbers = load_numbers(structure, floats, sizes)
            first_tile = band[0] + task // CPU_BLOCK * TILES_PER_TASK
            for tile in range(first_tile, ti.min(first_tile + TILES_PER_TASK, band[1])):
                draw_tile(structure, numbers, faces, tiles, surface, planes, tile)


@ti.func
def draw_tile(
    structure: ti.template(),
    numbers: ti.template(),
    faces: ti.template(),
    tiles: ti.template(),
    surface: ti.template(),
    planes: ti.template(),
    tile: int,
):
    """All faces of a tile, and its pixels of the image."""
    view = tile // (numbers.tile_rows * numbers.tile_columns)
    top = tile // numbers.tile_columns % numbers.tile_rows * TILE
    left = tile % numbers.tile_columns * TILE
    lanes = ti.static(range(TILE * TILE))
    kept = ti.Vector([structure.alpha.start for _ in lanes])
    nearest = ti.Vector([numbers.start_depth for _ in lanes])
    total = ti.Vector([1.0 for _ in lanes])
    front = ti.Vector([NO_FACE for _ in lanes])
    mixed = [
        ti.Vector([numbers.background[channel] for _ in lanes])
        for channel in ti.static(range(structure.shader.num_channels))
    ]
    limits = [
        ti.Vector([start for _ in lanes])
        for start in ti.static([NO_LIMIT, NO_FACE] if structure.is_limited else [])
    ]
    pixels = ti.static(Pixels(kept, nearest, total, front, mixed, limits))
    if ti.static(structure.is_limited):
        for lane in range(TILE * TILE):
            row = ti.min(top + (lane >> TILE_BITS), numbers.height - 1)
            column = ti.min(left + (lane & (TILE - 1)), numbers.width - 1)
            limits[0][lane] = planes.state[view, LIMIT_PLANE, row, column]
            limits[1][lane] = planes.faces[view, LIMIT_FACE_PLANE, row, column]
    num_samples = ti.static(structure.shader.num_samples)
    num_stashed = ti.static(5 + num_samples if structure.shader.is_costly else 0)
    stash = [ti.Vector([0.0 for _ in lanes]) for _ in ti.static(range(num_stashed))]
    uniforms = load_uniforms(structure.shader, surface.uniforms, view)
    for slot in range(tiles.starts[tile], tiles.starts[tile + 1]):
        face = load_face(
            structure, faces, surface, uniforms, numbers.num_faces, view, tiles.faces[slot]
        )
        part = find_part(faces, view * numbers.num_faces + face.index, view, top, left)
        if ti.static(structure.shader.is_costly):
            looks = ti.static(Looks(stash[0], stash[1], stash[2:5], stash[5:]))
            blend_where_seen(structure, numbers, face, part, surface, pixels, looks)
        else:
            for lane in range(part.first_lane, part.end_lane):
                pixel = locate_in_part(numbers, part, lane)
                blend(structure, numbers, face, pixel, surface, pixels, lane)
    for row in range(ti.min(TILE, numbers.height - top)):
        for column in range(ti.min(TILE, numbers.width - left)):
            lane = row * TILE + column
            store_pixel(structure, numbers, view, top + row, left + column, pixels, lane, planes)


@ti.func
def find_part(faces: ti.template(), i: int, view: int, top: int, left: int):
    """What the box of a face has of a tile: its rows, one flat range of lanes, and columns."""
    first_row = ti.min(ti.max(faces.boxes[i, 2] - top, 0), TILE - 1)
    last_row = ti.min(ti.max(faces.boxes[i, 3] - top, 0), TILE - 1)
    return ti.Struct(
        view=view,
        top=top,
        left=left,
        first_column=faces.boxes[i, 0] - left,
        last_column=faces.boxes[i, 1] - left,
        first_lane=first_row * TILE,  # clamped at both ends: LLVM must see that the loop is short
        end_lane=last_row * TILE + TILE,
    )


@ti.func
def locate_in_part(numbers: ti.template(), part: ti.template(), lane: int):
    """The pixel of a lane."""
    column = lane & (TILE - 1)
    is_in_box = (column >= part.first_column) & (column <= part.last_column)
    row = lane >> TILE_BITS
    return locate_pixel(numbers, part.view, part.top + row, part.left + column, is_in_box)


@ti.func
def blend_where_seen(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    part: ti.template(),
    surface: ti.template(),
    pixels: ti.template(),
    looks: ti.template(),
):
    """`blend` in loops of its parts: what none of the pixels shows is not shaded.

    A look-up or a reduction would keep a loop from becoming vector code.
    """
    for lane in range(part.first_lane, part.end_lane):
        pixel = locate_in_part(numbers, part, lane)
        weighed = weigh(structure, numbers, face, pixel, pixels, lane)
        is_notable = weighed.gain > numbers.least_share * pixels.total[lane]
        looks.keep[lane] = weighed.keep
        looks.gain[lane] = ti.select(is_notable, weighed.gain, 0.0)
        for corner in ti.static(range(3)):
            looks.used[corner][lane] = weighed.used[corner]
    change = 0.0
    for lane in range(part.first_lane, part.end_lane):
        change += looks.gain[lane] + ti.abs(1.0 - looks.keep[lane])
    if ti.static(structure.shader.has_textures):
        for lane in range(part.first_lane, part.end_lane):
            if looks.gain[lane] > 0.0:
                used = vec3(looks.used[0][lane], looks.used[1][lane], looks.used[2][lane])
                here = interpolate(structure.shader, used, face.varyings)
                samples = look_up(structure.shader, surface, part.view, face.source, used, here)
                for channel in ti.static(range(structure.shader.num_samples)):
                    looks.samples[channel][lane] = samples[channel]
    if change > 0.0:
        for lane in range(part.first_lane, part.end_lane):
            used = vec3(looks.used[0][lane], looks.used[1][lane], looks.used[2][lane])
            samples = no_samples(structure.shader)
            for channel in ti.static(range(structure.shader.num_samples)):
                samples[channel] = looks.samples[channel][lane]
            varyings = interpolate(structure.shader, used, face.varyings)
            color = shade(structure.shader, varyings, samples, face.uniforms)
            mix(structure, looks.keep[lane], looks.gain[lane], color, pixels, lane)


@kernel
def draw_pixels(  # more than 12 parameters: groups of arrays
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
    structure: ti.template(),
):
    """GPU: a thread owns a pixel of the band and walks its tile's faces."""
    for thread in range(image.shape[0] * sizes[HEIGHT] * sizes[WIDTH]):
        faces = ti.static(FaceArrays(records, boxes))
        surface = ti.static(Surface(varyings, textures, uniforms, images))
        tiles = ti.static(TileArrays(starts, bin_faces, band))
        planes = ti.static(PixelArrays(image, state, pixel_faces))
        numbers = load_numbers(structure, floats, sizes)
        view = thread // (numbers.height * numbers.width)
        row = thread // numbers.width % numbers.height
        column = thread % numbers.width
        tile = tile_of(numbers, view, row, column)
        if not has_lists(tiles, tile):
            continue
        kept = ti.Vector([structure.alpha.start])
        nearest = ti.Vector([numbers.start_depth])
        total = ti.Vector([1.0])
        front = ti.Vector([NO_FACE])
        mixed = [
            ti.Vector([numbers.background[channel]])
            for channel in ti.static(range(structure.shader.num_channels))
        ]
        limits = [
            ti.Vector([start])
            for start in ti.static([NO_LIMIT, NO_FACE] if structure.is_limited else [])
        ]
        if ti.static(structure.is_limited):
            limits[0][0] = state[view, LIMIT_PLANE, row, column]
            limits[1][0] = pixel_faces[view, LIMIT_FACE_PLANE, row, column]
        pixels = ti.static(Pixels(kept, nearest, total, front, mixed, limits))
        of_view = load_uniforms(structure.shader, uniforms, view)
        for slot in range(starts[tile], starts[tile + 1]):
            index = bin_faces[slot]
            if is_in_box(boxes, view * numbers.num_faces + index, row, column):
                face = load_face(structure, faces, surface, of_view, numbers.num_faces, view, index)
                pixel = locate_pixel(numbers, view, row, column, 1)
                blend(structure, numbers, face, pixel, surface, pixels, 0)
        store_pixel(structure, numbers, view, row, column, pixels, 0, planes)


@kernel
def pull_back_faces(  # more than 12 parameters: groups of arrays
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    varyings: array(float, 4),  # see `Surface`
    textures: array(float, 4),
    uniforms: array(float, 2),
    images: array(int, 1),
    floats: array(float, 1),  # `Numbers` and background
    sizes: array(int, 1),  # `Sizes`
    image: array(float, 4),  # see `PixelArrays`
    state: array(float, 4),
    pixel_faces: array(int, 4),
    grad_image: array(float, 4),  # (B, C + 1, H, W + LANES), zero in the padding
    varyings_of_views: array(float, 4),  # (B, F, 3, K) scratch: `grad_varyings` if S = B
    uniforms_of_parts: array(float, 2),  # (views x tasks of a view, N) scratch
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4)
    grad_varyings: array(float, 4),  # as the surface's arrays
    grad_textures: array(float, 4),
    grad_uniforms: array(float, 2),
    structure: ti.template(),
):
    """CPU: a task owns faces, of one view or all; each face gathers over its pixels."""
    num_tasks = image.shape[0] // sizes[VIEWS_PER_TASK] * sizes[TASKS_PER_VIEW]
    for thread in range(num_tasks * CPU_BLOCK):
        if thread & (CPU_BLOCK - 1) == 0:
            faces = ti.static(FaceArrays(records, boxes))
            surface = ti.static(Surface(varyings, textures, uniforms, images))
            planes = ti.static(PixelArrays(image, state, pixel_faces))
            numbers = load_numbers(structure, floats, sizes)
            task = thread // CPU_BLOCK
            first = task % numbers.tasks_per_view * numbers.faces_per_task
            first_view = task // numbers.tasks_per_view * numbers.views_per_task
            lanes = ti.static(range(LANES))
            for view in range(first_view, first_view + numbers.views_per_task):
                of_view = load_uniforms(structure.shader, uniforms, view)
                sums = [
                    ti.Vector([0.0 for _ in lanes]) for _ in ti.static(range(structure.num_sums))
                ]
                for index in range(
                    first, ti.min(first + numbers.faces_per_task, numbers.num_faces)
                ):
                    face = load_face(
                        structure, faces, surface, of_view, numbers.num_faces, view, index
                    )
                    pull_back_face(
                        structure,
                        numbers,
                        face,
                        view,
                        boxes,
                        planes,
                        grad_image,
                        surface,
                        sums,
                        grad_textures,
                    )
                    i = view * numbers.num_faces + index
                    totals = sum_lanes(sums, 0, structure.first_uniform)
                    for corner in ti.static(range(3)):
                        grad = pull_back_corner(
                            structure, numbers, records, i, corner, grad_corners.shape[3], totals
                        )
                        for k in ti.static(range(3)):
                            grad_corners[view, index, corner, k] = grad[k]
                        if grad_corners.shape[3] == 4:
                            grad_corners[view, index, corner, 3] = grad[3]
                        if ti.static(structure.shader.is_cut):
                            for end in ti.static(range(2 * corner, 2 * corner + 2)):
                                by_end = pull_back_end(structure, numbers, records, i, end, totals)
                                for k in ti.static(range(4)):
                                    grad_corners[view, index, ENDS + end, k] = by_end[k]
                        for k in ti.static(range(structure.shader.num_varyings)):
                            entry = ti.static(VARYINGS + corner * structure.shader.num_varyings + k)
                            varyings_of_views[view, index, corner, k] = totals[entry]
                if ti.static(structure.shader.num_uniforms > 0):
                    totals = sum_lanes(sums, structure.first_uniform, structure.num_sums)
                    part = view * numbers.tasks_per_view + task % numbers.tasks_per_view
                    for k in ti.static(range(structure.shader.num_uniforms)):
                        uniforms_of_parts[part, k] = totals[k]
    if ti.static(structure.shader.num_varyings > 0):
        sum_views(varyings_of_views, grad_varyings)
    if ti.static(structure.shader.num_uniforms > 0):
        sum_parts(uniforms_of_parts, sizes[TASKS_PER_VIEW] * image.shape[0], grad_uniforms)


@ti.func
def pull_back_face(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    view: int,
    boxes: ti.template(),
    planes: ti.template(),
    grad_image: ti.template(),
    surface: ti.template(),
    sums: ti.template(),
    grad_textures: ti.template(),
):
    """Sums over the pixels of a face, a row of lanes at a time."""
    for lane in range(LANES):  # a loop at run time compiles faster than entry by entry
        for entry in ti.static(range(structure.first_uniform)):
            sums[entry][lane] = 0.0
    lanes = ti.static(range(LANES))
    tied = ti.Vector([0.0 for _ in lanes])
    num_stashed = ti.static(8 if structure.shader.is_costly else 0)
    stash = [ti.Vector([0.0 for _ in lanes]) for _ in ti.static(range(num_stashed))]
    i = view * numbers.num_faces + face.index
    first_column, last_column = boxes[i, 0], boxes[i, 1]
    for packet in range((last_column - first_column) // LANES + 1):
        left = first_column + packet * LANES
        for row in range(boxes[i, 2], boxes[i, 3] + 1):
            part = ti.Struct(view=view, row=row, left=left, last_column=last_column)
            if ti.static(structure.shader.is_costly):
                pulls = ti.static(Pulls(stash[0], stash[1:4], stash[4], stash[5:8]))
                meet_row(structure, numbers, face, part, planes, pulls)
                if pulls.shares.max() > numbers.least_share:
                    pull_back_looks(
                        structure,
                        numbers,
                        face,
                        part,
                        planes,
                        grad_image,
                        surface,
                        pulls,
                        sums,
                        grad_textures,
                    )
                pull_back_shapes(
                    structure, numbers, face, part, planes, grad_image, pulls, tied, sums
                )
            else:
                for lane in range(ti.max(0, ti.min(numbers.num_lanes, 8 * LANES))):
                    pixel = locate_in_row(numbers, part, lane)
                    grad_pixel = load_grad_pixel(structure, grad_image, pixel)
                    pulled = pull_back_fragment(
                        structure, numbers, face, pixel, planes, grad_pixel, surface, sums, lane
                    )
                    tied[lane] = pulled.tied
            if ti.abs(tied).max() > 0.0:
                for lane in range(LANES):
                    if tied[lane] != 0.0:
                        pixel = locate_in_row(numbers, part, lane)
                        settle_tie(structure, face, pixel, tied[lane], sums, lane)


@ti.func
def locate_in_row(numbers: ti.template(), part: ti.template(), lane: int):
    """The pixel of a lane."""
    column = part.left + lane
    return locate_pixel(numbers, part.view, part.row, column, column <= part.last_column)


@ti.func
def meet_row(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    part: ti.template(),
    planes: ti.template(),
    pulls: ti.template(),
):
    """Which pixels of a row show the face, and where."""
    for lane in range(ti.max(0, ti.min(numbers.num_lanes, 8 * LANES))):
        pixel = locate_in_row(numbers, part, lane)
        fragment = meet_again(structure, numbers, face, pixel, planes)
        pulls.shares[lane] = share_of(structure, numbers, face, pixel, planes, fragment)
        pulls.gains[lane] = 0.0
        for corner in ti.static(range(3)):
            pulls.used[corner][lane] = fragment.point.used[corner]
            pulls.by_used[corner][lane] = 0.0


@ti.func
def pull_back_looks(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    part: ti.template(),
    planes: ti.template(),
    grad_image: ti.template(),
    surface: ti.template(),
    pulls: ti.template(),
    sums: ti.template(),
    grad_textures: ti.template(),
):
    """What the colours of a row give; one by one if they are looked up, else as vector code."""
    for lane in range(ti.max(0, ti.min(numbers.num_lanes, 8 * LANES))):
        share = pulls.shares[lane]
        if ti.static(not structure.shader.has_textures) or share > numbers.least_share:
            pixel = locate_in_row(numbers, part, lane)
            grad_pixel = load_grad_pixel(structure, grad_image, pixel)
            used = vec3(pulls.used[0][lane], pulls.used[1][lane], pulls.used[2][lane])
            look = pull_back_look(
                structure,
                numbers,
                face,
                pixel,
                planes,
                grad_pixel,
                surface,
                used,
                share,
                sums,
                lane,
            )
            pulls.gains[lane] = look.gain
            for corner in ti.static(range(3)):
                pulls.by_used[corner][lane] = look.used[corner]
            if ti.static(structure.shader.moves_textures):
                look_up_vjp(
                    structure.shader,
                    surface,
                    grad_textures,
                    part.view,
                    face.source,
                    used,
                    interpolate(structure.shader, used, face.varyings),
                    look.samples,
                    structure.shader.is_cut,  # tasks may have pieces of one face
                )


@ti.func
def pull_back_shapes(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    part: ti.template(),
    planes: ti.template(),
    grad_image: ti.template(),
    pulls: ti.template(),
    tied: ti.template(),
    sums: ti.template(),
):
    """What the shape of a face gets of a row."""
    for lane in range(ti.max(0, ti.min(numbers.num_lanes, 8 * LANES))):
        pixel = locate_in_row(numbers, part, lane)
        grad_pixel = load_grad_pixel(structure, grad_image, pixel)
        fragment = meet_again(structure, numbers, face, pixel, planes)
        by_used = vec3(pulls.by_used[0][lane], pulls.by_used[1][lane], pulls.by_used[2][lane])
        tied[lane] = pull_back_shape(
            structure,
            numbers,
            face,
            pixel,
            planes,
            grad_pixel,
            fragment,
            pulls.gains[lane],
            by_used,
            sums,
            lane,
        )


@ti.func
def sum_lanes(sums: ti.template(), first: ti.template(), end: ti.template()):
    """The sum over lanes of each entry from `first` to `end`."""
    totals = ti.Vector([0.0 for _ in ti.static(range(first, end))])
    for lane in range(LANES):
        for entry in ti.static(range(first, end)):
            totals[entry - first] += sums[entry][lane]
    return totals


@kernel
def pull_back_tiles(  # more than 12 parameters: groups of arrays
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    starts: array(int, 1),  # see `TileArrays`
    bin_faces: array(int, 1),
    band: array(int, 1),
    bin_tiles: array(int, 1),  # the tile of each of `bin_faces`
    varyings: array(float, 4),  # see `Surface`
    textures: array(float, 4),
    uniforms: array(float, 2),
    images: array(int, 1),
    floats: array(float, 1),  # `Numbers` and background
    sizes: array(int, 1),  # `Sizes`
    image: array(float, 4),  # see `PixelArrays`
    state: array(float, 4),
    pixel_faces: array(int, 4),
    grad_image: array(float, 4),  # (B, C + 1, H, W + LANES)
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4)
    grad_varyings: array(float, 4),  # as the surface's arrays
    grad_textures: array(float, 4),
    grad_uniforms: array(float, 2),
    structure: ti.template(),
):
    """GPU: a thread owns a (tile, face) pair, sums over its pixels and adds the sums at the end."""
    clear(grad_corners, band[0])
    if ti.static(structure.shader.num_varyings > 0):
        clear(grad_varyings, band[0])
    if ti.static(structure.shader.num_uniforms > 0):
        clear(grad_uniforms, band[0])
    for pair in range(starts[band[1]]):
        faces = ti.static(FaceArrays(records, boxes))
        surface = ti.static(Surface(varyings, textures, uniforms, images))
        planes = ti.static(PixelArrays(image, state, pixel_faces))
        numbers = load_numbers(structure, floats, sizes)
        tile = bin_tiles[pair]
        index = bin_faces[pair]
        view = tile // (numbers.tile_rows * numbers.tile_columns)
        top = tile // numbers.tile_columns % numbers.tile_rows * TILE
        left = tile % numbers.tile_columns * TILE
        of_view = load_uniforms(structure.shader, uniforms, view)
        face = load_face(structure, faces, surface, of_view, numbers.num_faces, view, index)
        i = view * numbers.num_faces + index
        sums = [ti.Vector([0.0]) for _ in ti.static(range(structure.num_sums))]
        for row in range(ti.max(boxes[i, 2], top), ti.min(boxes[i, 3], top + TILE - 1) + 1):
            first_column = ti.max(boxes[i, 0], left)
            for column in range(first_column, ti.min(boxes[i, 1], left + TILE - 1) + 1):
                pixel = locate_pixel(numbers, view, row, column, 1)
                grad_pixel = load_grad_pixel(structure, grad_image, pixel)
                pulled = pull_back_fragment(
                    structure, numbers, face, pixel, planes, grad_pixel, surface, sums, 0
                )
                if pulled.tied != 0.0:
                    settle_tie(structure, face, pixel, pulled.tied, sums, 0)
                if ti.static(structure.shader.moves_textures):
                    if pulled.share > 0.0:
                        look_up_vjp(
                            structure.shader,
                            surface,
                            grad_textures,
                            view,
                            face.source,
                            pulled.used,
                            interpolate(structure.shader, pulled.used, face.varyings),
                            pulled.samples,
                            True,
                        )
        totals = ti.Vector([sums[entry][0] for entry in ti.static(range(structure.num_sums))])
        for corner in ti.static(range(3)):
            grad = pull_back_corner(
                structure, numbers, records, i, corner, grad_corners.shape[3], totals
            )
            for k in ti.static(range(3)):
                ti.atomic_add(grad_corners[view, index, corner, k], grad[k])
            if grad_corners.shape[3] == 4:
                ti.atomic_add(grad_corners[view, index, corner, 3], grad[3])
            if ti.static(structure.shader.is_cut):
                for end in ti.static(range(2 * corner, 2 * corner + 2)):
                    by_end = pull_back_end(structure, numbers, records, i, end, totals)
                    for k in ti.static(range(4)):
                        ti.atomic_add(grad_corners[view, index, ENDS + end, k], by_end[k])
            for k in ti.static(range(structure.shader.num_varyings)):
                entry = ti.static(VARYINGS + corner * structure.shader.num_varyings + k)
                of_varyings = view % grad_varyings.shape[0]
                ti.atomic_add(grad_varyings[of_varyings, index, corner, k], totals[entry])
        for k in ti.static(range(structure.shader.num_uniforms)):
            of_uniforms = view % grad_uniforms.shape[0]
            ti.atomic_add(
                grad_uniforms[of_uniforms, k], totals[ti.static(structure.first_uniform + k)]
            )


@ti.func
def clear(values: ti.template(), first_tile: int):
    """Sets all to zero, before the band of the first tile."""
    for i in ti.grouped(values):
        if first_tile == 0:
            values[i] = 0.0


@ti.func
def sum_views(
    parts: ti.template(),  # (B, F, 3, K)
    total: ti.template(),  # (1 or B, F, 3, K), `parts` itself if B
):
    """Adds up what each view gives to varyings that views share."""
    size = total.shape[1] * total.shape[2] * total.shape[3]
    for entry in range(ti.select(total.shape[0] < parts.shape[0], size, 0)):
        k = entry % total.shape[3]
        corner = entry // total.shape[3] % 3
        face = entry // (total.shape[3] * 3)
        value = 0.0
        for view in range(parts.shape[0]):
            value += parts[view, face, corner, k]
        total[0, face, corner, k] = value


@ti.func
def sum_parts(
    parts: ti.template(),  # (parts, N), view by view
    num_parts: int,
    total: ti.template(),  # (1 or B, N)
):
    """Adds up what the faces of each task give to the uniforms of their view, or of all."""
    for entry in range(total.shape[0] * total.shape[1]):
        k = entry % total.shape[1]
        per_row = num_parts // total.shape[0]
        first = entry // total.shape[1] * per_row
        value = 0.0
        for part in range(first, first + per_row):
            value += parts[part, k]
        total[entry // total.shape[1], k] = value
