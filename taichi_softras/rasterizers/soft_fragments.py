"""One face at one pixel, softly: its share of the image, and what it gets of the gradient."""

from typing import NamedTuple, Optional

from taichi_softras.funcs.aggregation import AlphaAggregation, ColorAggregation
from taichi_softras.funcs.coverage import Distance
from taichi_softras.funcs.interpolation import Clipping, Interpolation
from taichi_softras.funcs.numeric import exp, sigmoid
from taichi_softras.funcs.triangle import barycentric, barycentric_vjp, settle_on_edge
from taichi_softras.funcs.values import value
from taichi_softras.rasterizers.binning import TILE
from taichi_softras.rasterizers.faces import (
    SOURCE_FACE,
    clip_corner_vjp,
    end_vjp,
    load_cut_triangle,
    load_triangle,
    owns_pixel,
    pixel_centre,
)
from taichi_softras.rasterizers.fragments import (
    Shader,
    interpolate,
    load_corner_varyings,
    look_up,
    no_samples,
    shade,
    shade_point,
    shade_with_vjp,
)
from taichi_softras.runtime import ti, vec2, vec3

# The planes of `state` and of `pixel_faces`: what a pixel keeps until the gradient comes.
KEPT_PLANE, TOTAL_PLANE, NEAREST_PLANE, LIMIT_PLANE = 0, 1, 2, 3
FRONT_PLANE, LIMIT_FACE_PLANE = 0, 1
SMALLEST_COVERAGE = 1e-30  # of a face in reach: coverage also tells whether there is one
# relative: depths that rounding may give either order, and not the same in each kernel. Neighbours
# meet at such depths where their common edge or corner is nearest to a pixel outside of both.
SAME_DEPTH = 2e-5
NO_LIMIT = 1e11  # depth; nearer than the horizon of a face that is seen edge-on
# What a face sums up over its pixels: gradients at x, y of the corners, at their 1 / w and
# depth / w, at their varyings, and at the uniforms.
POSITIONS, INVERSE_WS, DEPTHS_OVER_W, VARYINGS = 0, 6, 9, 12
NUM_ENDS = 6  # of the edges of a face that is cut: two numbers each


@value
class Structure:
    """What of the method is compiled in; numbers are arguments. Equal structures share kernels.

    Attributes:
        shader: makes the colours.
        distance, alpha, clipping, interpolation: functions, see `funcs`.
        color: weighs the colours; None if there are none.
        is_limited: to faces up to a depth, each pixel's own.
        is_double_sided: whether faces that are clockwise on the image are seen.
    """

    shader: Shader
    distance: Distance
    alpha: AlphaAggregation
    color: Optional[ColorAggregation]
    clipping: Clipping
    interpolation: Interpolation
    is_limited: bool
    is_double_sided: bool

    @property
    def has_color(self) -> bool:
        """Whether there is more to draw than alpha."""
        return self.color is not None

    @property
    def ranks_faces(self) -> bool:
        """Whether one face is in front, so that equal depths must be equal numbers."""
        return self.has_color and not self.color.is_soft

    @property
    def first_end(self) -> int:
        """Of a face's sums; a silhouette has those of positions alone before it."""
        return VARYINGS + 3 * self.shader.num_varyings if self.has_color else INVERSE_WS

    @property
    def first_uniform(self) -> int:
        """Of a face's sums; before it those of the ends of edges, of pieces of faces."""
        return self.first_end + (2 * NUM_ENDS if self.shader.is_cut else 0)

    @property
    def num_sums(self) -> int:
        """Of a face."""
        return self.first_uniform + self.shader.num_uniforms


class Numbers(NamedTuple):
    """The numbers of the method; kernels get them, and the background, in one array."""

    inverse_sigma: float  # 1 / NDC squared
    reach: float  # NDC squared: where coverage is cut off
    sharpness: float  # 1 / (gamma (far - near)), per unit of depth
    near: float  # depth
    far: float  # depth
    start_depth: float  # of the background
    least_share: float  # of a pixel: textures of faces that have less are not looked up on a CPU


class Sizes(NamedTuple):
    """Whole numbers; kernels get them in one array."""

    height: int
    width: int
    tile_rows: int
    tile_columns: int
    num_faces: int  # of a view
    num_counted: int  # of them, those of the mesh
    # LANES on a CPU, 1 on a GPU; from an array, or LLVM unrolls the loop that it should vectorise
    num_lanes: int
    faces_per_task: int
    tasks_per_view: int
    views_per_task: int  # all where views share textures, whose gradients a task adds up


HEIGHT, WIDTH, NUM_LANES, TASKS_PER_VIEW, VIEWS_PER_TASK = (
    Sizes._fields.index(name)
    for name in ("height", "width", "num_lanes", "tasks_per_view", "views_per_task")
)
NAMES = (*Numbers._fields, *Sizes._fields, "background", "shorter")  # of what a kernel loads


class PixelArrays(NamedTuple):
    """What is drawn, and what the gradient needs of it."""

    image: ti.Ndarray  # (B, C + 1, H, W + LANES)
    state: ti.Ndarray  # (B, planes, H, W + LANES), see KEPT_PLANE
    faces: ti.Ndarray  # (B, planes, H, W + LANES), see FRONT_PLANE


@ti.func
def load_numbers(structure: ti.template(), numbers: ti.template(), sizes: ti.template()):
    """`Numbers`, `Sizes` and background as one struct, on its way through a kernel's functions."""
    first = ti.static(len(Numbers._fields))
    shorter = ti.cast(ti.min(sizes[HEIGHT], sizes[WIDTH]), float)
    channels = ti.static(range(structure.shader.num_channels))
    values = ti.static(
        [numbers[k] for k in range(first)]
        + [sizes[k] for k in range(len(Sizes._fields))]
        + [ti.Vector([numbers[first + channel] for channel in channels] + [0.0]), shorter]
    )
    loaded = ti.Struct({name: value for name, value in ti.static(zip(NAMES, values))})
    if ti.static(structure.distance.is_length):  # from NDC squared to half pixels squared
        loaded.reach *= shorter * shorter
        loaded.inverse_sigma /= shorter * shorter
    return loaded


@ti.func
def locate_pixel(numbers: ti.template(), view: int, row: int, column: int, is_in_box: int):
    """A pixel, its centre, and whether it lies in the box of the face that it meets."""
    return ti.Struct(
        view=view,
        row=row,
        column=column,
        centre=pixel_centre(column, row, numbers.height, numbers.width),
        is_in_box=is_in_box,
    )


@ti.func
def tile_of(numbers: ti.template(), view: int, row: int, column: int) -> int:
    """The tile of a pixel."""
    return (view * numbers.tile_rows + row // TILE) * numbers.tile_columns + column // TILE


@ti.func
def has_lists(tiles: ti.template(), tile: int) -> int:
    """Whether the tile is in the band whose lists are there."""
    return (tile >= tiles.band[0]) & (tile < tiles.band[1])


@ti.func
def load_face(
    structure: ti.template(),
    faces: ti.template(),
    surface: ti.template(),
    uniforms: ti.template(),
    num_faces: int,
    view: int,
    index: int,
):
    """What all pixels of a face of a view share.

    Returns:
        A struct: `index`, `triangle`; `source`, the face of the mesh whose texture it shows; its
        (3, K) `varyings`; the `uniforms` of the view.
    """
    i = view * num_faces + index
    return ti.Struct(
        index=index,
        source=faces.boxes[i, SOURCE_FACE],
        triangle=load_shape(structure, faces, i),
        varyings=load_corner_varyings(structure.shader, surface.varyings, view, index),
        uniforms=uniforms,
    )


@ti.func
def load_shape(structure: ti.template(), faces: ti.template(), i: int):
    """The triangle of a face; of one that may be a piece, with the outline that it is part of."""
    if ti.static(structure.shader.is_cut):
        return load_cut_triangle(faces, i)
    else:
        return load_triangle(faces.records, i)


@ti.func
def cover(
    structure: ti.template(),
    numbers: ti.template(),
    triangle: ti.template(),
    pixel: ti.template(),
    weights: vec3,
):
    """D = sigmoid(delta d^2 / sigma), zero beyond the cut-off alone, and 1 - D. SoftRas eq. 1."""
    signed = signed_distance(structure, pixel, triangle, weights)
    is_near = pixel.is_in_box & (signed >= -numbers.reach)
    if ti.static(structure.shader.is_cut):
        is_near &= owns_pixel(pixel.centre, triangle, weights)
    coverage, rest = sigmoid(signed * numbers.inverse_sigma)
    coverage = ti.select(is_near, ti.max(coverage, SMALLEST_COVERAGE), 0.0)
    return coverage, ti.select(is_near, rest, 1.0)


@ti.func
def signed_distance(
    structure: ti.template(), pixel: ti.template(), triangle: ti.template(), weights: vec3
) -> float:
    """That of the method; cuts and edges between pieces of a face are no outline."""
    signed = 0.0
    if ti.static(structure.shader.is_cut):
        shown = ti.select(triangle.is_border, weights, 1.0)
        signed = structure.distance.signed(pixel.centre, triangle.outline, shown)
    else:
        signed = structure.distance.signed(pixel.centre, triangle, weights)
    return signed


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
    face: ti.template(),
    pixel: ti.template(),
    limit_depth: float,
    limit_face: int,
):
    """The fragment of a face at a pixel; of the face, `index` and `triangle` are used.

    Returns:
        A struct: barycentric `weights` of the pixel, and whether it `is_inside`; those of the point
        on the face (`clipped`), the `point` by `Interpolation.place`; the `coverage` that counts
        for alpha, its `rest` to 1, and `seen`, the coverage that counts for colour.
    """
    triangle = face.triangle
    weights = barycentric(pixel.centre, triangle)
    clipped = structure.clipping.clip(weights)
    point = structure.interpolation.place(clipped, triangle)
    if ti.static(structure.ranks_faces):
        settled = structure.clipping.clip(settle_on_edge(weights, pixel.centre, triangle))
        point.depth = structure.interpolation.depth(settled, triangle)
    coverage, rest = cover(structure, numbers, triangle, pixel, weights)
    seen = coverage
    if ti.static(structure.is_limited):
        is_kept = point.depth < limit_depth * (1.0 - SAME_DEPTH)
        is_kept |= (point.depth <= limit_depth * (1.0 + SAME_DEPTH)) & (face.index <= limit_face)
        is_kept &= point.depth >= 0.0
        if ti.static(not structure.is_double_sided):
            is_kept &= triangle.inverse_area > 0.0
        coverage = ti.select(is_kept, coverage, 0.0)
        rest = ti.select(is_kept, rest, 1.0)
        seen = coverage
    else:
        seen = visible(structure, numbers, triangle, coverage, point.depth)
    return ti.Struct(
        weights=weights,
        is_inside=weights.min() >= 0.0,
        clipped=clipped,
        point=point,
        coverage=coverage,
        rest=rest,
        seen=seen,
    )


class Pixels(NamedTuple):
    """What pixels keep while faces come, a local vector each with an entry for each pixel."""

    kept: object  # alpha's number
    nearest: object  # depth
    total: object  # sum of weights
    front: object  # face
    mixed: list  # weighted sum of each channel
    limits: list  # depth and face of the last face that counts, of structures that are limited


@ti.func
def weigh(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    pixels: ti.template(),
    lane: int,
):
    """One face meets one pixel, all but its colour: changes entry `lane` of `pixels`.

    Returns:
        A struct: what was mixed so far is multiplied by `keep`, the face adds `gain` times its
        colour at the point with the weights `used`.
    """
    limit_depth, limit_face = NO_LIMIT, 0
    if ti.static(structure.is_limited):
        limit_depth, limit_face = pixels.limits[0][lane], pixels.limits[1][lane]
    fragment = meet(structure, numbers, face, pixel, limit_depth, limit_face)
    pixels.kept[lane] = structure.alpha.add(
        pixels.kept[lane], fragment.coverage, fragment.rest, fragment.is_inside
    )
    keep, gain = 1.0, 0.0
    if ti.static(structure.has_color):
        keep, gain, nearest, front = structure.color.meet(
            fragment.seen,
            fragment.is_inside,
            fragment.point.depth,
            face.index,
            pixels.nearest[lane],
            pixels.front[lane],
            numbers.sharpness,
        )
        pixels.nearest[lane] = nearest
        pixels.front[lane] = front
        pixels.total[lane] = pixels.total[lane] * keep + gain
    return ti.Struct(keep=keep, gain=gain, used=fragment.point.used)


@ti.func
def mix(
    structure: ti.template(),
    keep: float,
    gain: float,
    color: ti.template(),
    pixels: ti.template(),
    lane: int,
):
    """Adds the colour of a face that was weighed to entry `lane` of `pixels`."""
    for channel in ti.static(range(structure.shader.num_channels)):
        mixed = pixels.mixed[channel][lane]
        pixels.mixed[channel][lane] = mixed * keep + gain * color[channel]


@ti.func
def blend(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    surface: ti.template(),
    pixels: ti.template(),
    lane: int,
):
    """One face meets one pixel: changes entry `lane` of `pixels`."""
    weighed = weigh(structure, numbers, face, pixel, pixels, lane)
    if ti.static(structure.has_color):
        color = shade_point(
            structure.shader,
            surface,
            pixel.view,
            face.source,
            weighed.used,
            face.varyings,
            face.uniforms,
        )
        mix(structure, weighed.keep, weighed.gain, color, pixels, lane)


@ti.func
def store_pixel(
    structure: ti.template(),
    numbers: ti.template(),
    view: int,
    row: int,
    column: int,
    pixels: ti.template(),
    lane: int,
    planes: ti.template(),
):
    """Writes entry `lane` of `pixels` to the image, and what the gradient needs of it."""
    channels = ti.static(structure.shader.num_channels)
    kept = pixels.kept[lane]
    planes.image[view, channels, row, column] = structure.alpha.resolve(kept, numbers.num_counted)
    planes.state[view, KEPT_PLANE, row, column] = kept
    if ti.static(structure.has_color):
        lifted = 0.0  # what the background's weight lacks to its floor
        if ti.static(structure.color.background_floor > 0.0):
            fade = exp((pixels.nearest[lane] - numbers.start_depth) * numbers.sharpness)
            lifted = ti.max(structure.color.background_floor - fade, 0.0)
        inverse_total = 1.0 / (pixels.total[lane] + lifted)
        planes.state[view, TOTAL_PLANE, row, column] = inverse_total
        planes.state[view, NEAREST_PLANE, row, column] = pixels.nearest[lane]
        planes.faces[view, FRONT_PLANE, row, column] = pixels.front[lane]
        for channel in ti.static(range(channels)):
            mixed = pixels.mixed[channel][lane] + lifted * numbers.background[channel]
            planes.image[view, channel, row, column] = mixed * inverse_total


@ti.func
def load_grad_pixel(structure: ti.template(), grad_image: ti.template(), pixel: ti.template()):
    """(C + 1,) the gradient that comes in at a pixel."""
    channels = ti.static(range(structure.shader.num_channels + 1))
    return ti.Vector([grad_image[pixel.view, c, pixel.row, pixel.column] for c in channels])


@ti.func
def meet_again(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    planes: ti.template(),
):
    """The fragment of a face at a pixel that is drawn."""
    limit_depth, limit_face = NO_LIMIT, 0
    if ti.static(structure.is_limited):
        limit_depth = planes.state[pixel.view, LIMIT_PLANE, pixel.row, pixel.column]
        limit_face = planes.faces[pixel.view, LIMIT_FACE_PLANE, pixel.row, pixel.column]
    return meet(structure, numbers, face, pixel, limit_depth, limit_face)


@ti.func
def share_of(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    planes: ti.template(),
    fragment: ti.template(),
) -> float:
    """w, what a fragment's colour has of a pixel that is drawn."""
    view, row, column = pixel.view, pixel.row, pixel.column
    return structure.color.weight(
        fragment.seen,
        fragment.point.depth,
        face.index,
        planes.state[view, NEAREST_PLANE, row, column],
        planes.faces[view, FRONT_PLANE, row, column],
        planes.state[view, TOTAL_PLANE, row, column],
        numbers.sharpness,
    )


@ti.func
def pull_back_fragment(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    planes: ti.template(),
    grad_pixel: ti.template(),
    surface: ti.template(),
    sums: ti.template(),
    lane: int,
):
    """The adjoint of a face's way into a pixel: adds to entry `lane` of `sums`.

    With x = delta d^2 / sigma, G the gradient at the colour I, s = w (C - I) . G:
    the gradient is dA/dx G_alpha + s (1 - D) at x, -s / (gamma (far - near)) at the depth
    and w G at the colour C. No division by D or 1 - D.

    Returns:
        A struct: the `share` w, the weights `used` of the point on the face, the gradient at the
        `samples` of its texture there, and what is `tied`, for `settle_tie` unless it is 0.
    """
    fragment = meet_again(structure, numbers, face, pixel, planes)
    used = fragment.point.used
    share, gain, by_used = 0.0, 0.0, vec3(0.0)
    grad_samples = no_samples(structure.shader)
    if ti.static(structure.has_color):
        share = share_of(structure, numbers, face, pixel, planes, fragment)
        look = pull_back_look(
            structure, numbers, face, pixel, planes, grad_pixel, surface, used, share, sums, lane
        )
        grad_samples = look.samples
        gain, by_used = look.gain, look.used
    tied = pull_back_shape(
        structure, numbers, face, pixel, planes, grad_pixel, fragment, gain, by_used, sums, lane
    )
    return ti.Struct(share=share, used=used, samples=grad_samples, tied=tied)


@ti.func
def pull_back_look(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    planes: ti.template(),
    grad_pixel: ti.template(),
    surface: ti.template(),
    used: vec3,
    share: float,
    sums: ti.template(),
    lane: int,
):
    """What a face's varyings and the uniforms get: adds to entry `lane` of `sums`.

    Returns:
        A struct: `gain`, w (C - I) . G; the gradients at the weights `used` and at `samples`.
    """
    grads = pull_back_color(
        structure.shader, numbers, face, pixel, planes, grad_pixel, surface, used, share
    )
    for k in ti.static(range(structure.shader.num_varyings)):
        for corner in ti.static(range(3)):
            entry = ti.static(VARYINGS + corner * structure.shader.num_varyings + k)
            add(sums, entry, lane, grads.varyings[k] * used[corner])
    for k in ti.static(range(structure.shader.num_uniforms)):
        add(sums, structure.first_uniform + k, lane, grads.uniforms[k])
    return ti.Struct(gain=grads.gain, used=grads.used, samples=grads.samples)


@ti.func
def pull_back_shape(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    planes: ti.template(),
    grad_pixel: ti.template(),
    fragment: ti.template(),
    gain: float,  # of `pull_back_look`, as the next
    grad_used: vec3,
    sums: ti.template(),
    lane: int,
):
    """What a face's corners get: adds to entry `lane` of `sums`; returns what is tied."""
    weights = fragment.weights
    kept = planes.state[pixel.view, KEPT_PLANE, pixel.row, pixel.column]
    slope = structure.alpha.slope(kept, fragment.coverage, numbers.num_counted)
    grad_x = grad_pixel[structure.shader.num_channels] * slope
    pull = vec2(0.0)
    if ti.static(structure.has_color):
        nearing = 0.0
        if ti.static(structure.color.is_soft):
            grad_x += gain * (1.0 - fragment.coverage)
            nearing = gain
        if ti.static(structure.color.background_floor > 0.0):
            nearing += pull_back_floor(structure, numbers, face, pixel, planes, grad_pixel)
        # not 0 times a number: fast_math may multiply the others first, beyond what a float holds
        grad_depth = ti.select(nearing == 0.0, 0.0, -nearing * numbers.sharpness)
        grad_clipped, grad_inverse_w, grad_depth_over_w = structure.interpolation.place_vjp(
            fragment.clipped, face.triangle, fragment.point, grad_used, grad_depth
        )
        for corner in ti.static(range(3)):
            add(sums, INVERSE_WS + corner, lane, grad_inverse_w[corner])
            if ti.static(structure.color.is_soft):
                add(sums, DEPTHS_OVER_W + corner, lane, grad_depth_over_w[corner])
        pull = barycentric_vjp(face.triangle, structure.clipping.clip_vjp(weights, grad_clipped))
    grad_signed = grad_x * numbers.inverse_sigma
    tied = 0.0
    if ti.static(structure.shader.is_cut):
        pull_back_outline(structure, face, pixel, weights, pull, grad_signed, sums, lane)
    else:
        pulls = structure.distance.signed_vjp(pixel.centre, face.triangle, weights, grad_signed)
        tied = pulls[3]
        for corner in ti.static(range(3)):
            for axis in ti.static(range(2)):
                at_corner = pulls[corner][axis] - weights[corner] * pull[axis]
                add(sums, POSITIONS + 2 * corner + axis, lane, at_corner)
    return tied


@ti.func
def pull_back_outline(
    structure: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    weights: vec3,
    pull: vec2,  # what its weights get, see `barycentric_vjp`
    grad_signed: float,
    sums: ti.template(),
    lane: int,
):
    """What a piece of a face gets: at its corners, and at the ends of its face's edges."""
    shown = ti.select(face.triangle.is_border, weights, 1.0)
    pulls = structure.distance.piece_vjp(pixel.centre, face.triangle, weights, shown, grad_signed)
    for axis in ti.static(range(2)):
        for corner in ti.static(range(3)):
            at_corner = pulls[corner][axis] - weights[corner] * pull[axis]
            add(sums, POSITIONS + 2 * corner + axis, lane, at_corner)
        for end in ti.static(range(NUM_ENDS)):
            add(sums, structure.first_end + 2 * end + axis, lane, pulls[3 + end][axis])


@ti.func
def settle_tie(
    structure: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    tied: float,
    sums: ti.template(),
    lane: int,
):
    """Adds what `pull_back_fragment` has left over, where it says so: see `Distance.tied_vjp`."""
    pulls = structure.distance.tied_vjp(pixel.centre, face.triangle, tied)
    for corner in ti.static(range(3)):
        for axis in ti.static(range(2)):
            add(sums, POSITIONS + 2 * corner + axis, lane, pulls[corner][axis])


@ti.func
def add(sums: ti.template(), entry: ti.template(), lane: ti.template(), value: ti.template()):
    """Adds to an entry of a lane."""
    sums[entry][lane] = sums[entry][lane] + value


@ti.func
def pull_back_color(
    shader: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    planes: ti.template(),
    grad_pixel: ti.template(),
    surface: ti.template(),
    used: vec3,
    share: float,
):
    """The adjoint of the colour of a fragment that has the `share` w of a pixel.

    Returns:
        A struct: `gain`, w (C - I) . G; the gradients at the `varyings`, `samples` and `uniforms`
        at the point with the weights `used`, and at these.
    """
    here = interpolate(shader, used, face.varyings)
    samples = look_up(shader, surface, pixel.view, face.source, used, here)
    color = shade(shader, here, samples, face.uniforms)
    grad_color = ti.Vector([0.0 for _ in ti.static(range(shader.num_channels))])
    gain = 0.0
    for channel in ti.static(range(shader.num_channels)):
        grad_color[channel] = share * grad_pixel[channel]
        mixed = planes.image[pixel.view, channel, pixel.row, pixel.column]
        gain += grad_color[channel] * (color[channel] - mixed)
    grads = shade_with_vjp(
        shader,
        surface,
        pixel.view,
        face.source,
        used,
        face.varyings,
        face.uniforms,
        here,
        samples,
        grad_color,
    )
    return ti.Struct(
        gain=gain,
        varyings=grads.varyings,
        samples=grads.samples,
        uniforms=grads.uniforms,
        used=grads.used,
    )


@ti.func
def pull_back_floor(
    structure: ti.template(),
    numbers: ti.template(),
    face: ti.template(),
    pixel: ti.template(),
    planes: ti.template(),
    grad_pixel: ti.template(),
) -> float:
    """What the front face's depth gets where the background's weight w_b is at its floor.

    The floor is relative to the front face, whose depth also moves w_b against all others:
    w_b (C_b - I) . G, times -1 / (gamma (far - near)).
    """
    view, row, column = pixel.view, pixel.row, pixel.column
    floor = ti.static(structure.color.background_floor)
    nearest = planes.state[view, NEAREST_PLANE, row, column]
    fade = exp((nearest - numbers.start_depth) * numbers.sharpness)
    is_front = (planes.faces[view, FRONT_PLANE, row, column] == face.index) & (fade < floor)
    gain = 0.0
    for channel in ti.static(range(structure.shader.num_channels)):
        mixed = planes.image[view, channel, row, column]
        gain += grad_pixel[channel] * (numbers.background[channel] - mixed)
    share = floor * planes.state[view, TOTAL_PLANE, row, column]
    return ti.select(is_front, gain * share, 0.0)


@ti.func
def pull_back_corner(
    structure: ti.template(),
    numbers: ti.template(),
    records: ti.template(),
    i: int,
    corner: ti.template(),
    num_components: int,
    totals: ti.template(),
):
    """The gradient at a corner's components from the `totals` of a face's sums."""
    grad_inverse_w, grad_depth_over_w = 0.0, 0.0
    if ti.static(structure.has_color):
        grad_inverse_w = totals[INVERSE_WS + corner]
        grad_depth_over_w = totals[DEPTHS_OVER_W + corner]
    grad_position = vec2(totals[POSITIONS + 2 * corner], totals[POSITIONS + 2 * corner + 1])
    return clip_corner_vjp(
        records,
        numbers.shorter,
        i,
        corner,
        num_components,
        grad_position,
        grad_inverse_w,
        grad_depth_over_w,
    )


@ti.func
def pull_back_end(
    structure: ti.template(),
    numbers: ti.template(),
    records: ti.template(),
    i: int,
    end: ti.template(),
    totals: ti.template(),
):
    """The gradient at x, y, depth, w of an end of an edge, from the `totals` of a piece's sums."""
    entry = ti.static(structure.first_end + 2 * end)
    return end_vjp(records, numbers.shorter, i, end, vec2(totals[entry], totals[entry + 1]))
