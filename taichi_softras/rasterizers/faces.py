"""Face set-up: projected corners in; what all pixels of a face share, and its pixel box, out.

Records are in half pixels from the image's centre, as many to one NDC as the image's shorter side
has pixels, so that pixel centres are whole numbers.
"""

from taichi_softras.funcs.numeric import LINE_HEIGHT, is_drawable
from taichi_softras.funcs.triangle import (
    is_before,
    make_edge,
    make_triangle,
    side_of,
    signed_area,
)
from taichi_softras.runtime import ti, vec2, vec3

# floats: corners a, b, c; 1 / area; 1 / length of ab, bc, ca; 1 / w and depth / w of the corners
RECORD_SIZE = 16
INVERSE_AREA, INVERSE_LENGTHS, INVERSE_W, DEPTH_OVER_W = 6, 7, 10, 13
# Of faces that may be pieces of cut ones, more: the edges of the mesh that are left of the face,
# start and end of each, 1 / length, 1 / w of the ends; base and vector of the line of the near cut;
# of each corner the weights of its face's corners
OUTLINE, OUTLINE_INVERSE_LENGTHS, OUTLINE_INVERSE_W, NEAR_LINE, MIX = 16, 28, 31, 37, 41
CUT_RECORD_SIZE = 50
# ints: first and last column, first and last row (empty: 1, 0); the face of the mesh whose
# textures this one shows; its row in its view, which has its varyings; what its edges are
BOX_SIZE = 7
SOURCE_FACE, ROW, EDGE_KINDS = 4, 5, 6
# Corners (B, F, 3, .) are those of the mesh's faces. With more rows they come from `clipping`:
# the ends of the edges of the mesh, of ab, bc, ca; those of the near cut; the face of the mesh, low
# and high half, what the edges are, and whether pieces are drawn in its place; these pieces' first
# row, low and high half, and their number; of each corner the weights of its face's corners
ENDS, NEAR_ENDS, ORIGIN, PIECES, MIXES = 3, 9, 11, 12, 13
CUT_ROWS = 16
HALF = 65536  # whole numbers in two floats
# Kinds of edges: 0 to 2, that edge of the mesh; a cut; two of them between pieces of a face, of
# which only one owns the pixels on it. Edge k stands in the bits 3 k
NEAR_CUT, FAR_CUT, INNER, INNER_OPEN = 3, 4, 5, 6
WHOLE = 0 + (1 << 3) + (2 << 6)
NOWHERE = 1e6  # half pixels: where an edge is that a face has not
SMALLEST_DEPTH = 1e-8  # nearer corners, or of a smaller w, are behind the camera
LARGEST_COORDINATE = 1e12  # NDC or depth: beyond it, products of coordinates overflow
# NDC: in single precision pixels near the edges of a face with a farther corner are wrong
GUARD_TRIGGER = 1024.0
CULL_SLACK = 1e-4  # relative: rounding takes no pixel away


@ti.func
def load_clip_corner(corners: ti.template(), view: int, face: int, corner: ti.template()):
    """A corner in NDC, its 1 / w and depth / w; two of the three kinds of `corners` differ in w."""
    x, y = corners[view, face, corner, 0], corners[view, face, corner, 1]
    depth = corners[view, face, corner, 2]
    w = corners[view, face, corner, corners.shape[3] - 1]  # of divided corners the depth
    inverse_w = 1.0 / w
    divisor = ti.select(corners.shape[3] == 4, inverse_w, 1.0)
    depth_over_w = ti.select(corners.shape[3] == 4, depth * inverse_w, 1.0)
    return ti.Struct(
        given=ti.abs(x) + ti.abs(y) + ti.abs(depth) + ti.abs(w),
        position=vec2(x, y) * divisor,
        depth=depth,
        w=w,
        inverse_w=inverse_w,
        depth_over_w=depth_over_w,
    )


@ti.func
def clip_corner_vjp(
    records: ti.template(),  # (B * F, RECORD_SIZE)
    shorter: float,  # half pixels in one NDC
    i: int,
    corner: ti.template(),
    num_components: int,  # 4: x_clip, y_clip, depth, w_clip; 3: x_ndc, y_ndc, depth
    grad_position: vec2,  # by half pixels
    grad_inverse_w: float,
    grad_depth_over_w: float,
):
    """The gradient at the components of a corner: the adjoint of `load_clip_corner`."""
    inverse_w = records[i, INVERSE_W + corner]
    depth_over_w = records[i, DEPTH_OVER_W + corner]
    position = load_corner(records, i, corner)
    by_w = grad_position.dot(position) + grad_depth_over_w * depth_over_w
    is_clip = num_components == 4
    divisor = ti.select(is_clip, inverse_w, 1.0) * shorter
    return ti.Vector(
        [
            grad_position.x * divisor,
            grad_position.y * divisor,
            ti.select(is_clip, grad_depth_over_w, -grad_inverse_w * inverse_w) * inverse_w,
            -inverse_w * (by_w + grad_inverse_w * inverse_w),
        ]
    )


@ti.func
def end_vjp(
    records: ti.template(),  # (B * F, CUT_RECORD_SIZE)
    shorter: float,  # half pixels in one NDC
    i: int,
    end: ti.template(),  # of the six of an outline
    grad_position: vec2,  # by half pixels
):
    """The gradient at x_clip, y_clip, depth and w_clip of an end of an edge: of `load_end`."""
    inverse_w = records[i, OUTLINE_INVERSE_W + end]
    position = vec2(records[i, OUTLINE + 2 * end], records[i, OUTLINE + 2 * end + 1])
    scaled = grad_position * (inverse_w * shorter)
    return ti.Vector([scaled.x, scaled.y, 0.0, -inverse_w * grad_position.dot(position)])


@ti.func
def write_corner_grad(
    records: ti.template(),  # (B * F, RECORD_SIZE)
    shorter: float,  # half pixels in one NDC
    i: int,
    corner: ti.template(),
    grad_position: vec2,  # by half pixels
    grad_inverse_w: float,
    grad_corners: ti.template(),  # (B, F, 3, 3 or 4)
):
    """Of a corner whose depth over w has no gradient, see `clip_corner_vjp`."""
    view = i // grad_corners.shape[1]
    face = i - view * grad_corners.shape[1]
    grad = clip_corner_vjp(
        records, shorter, i, corner, grad_corners.shape[3], grad_position, grad_inverse_w, 0.0
    )
    for k in ti.static(range(4)):
        if k < grad_corners.shape[3]:
            grad_corners[view, face, corner, k] = grad[k]


@ti.func
def set_up_faces(
    corners: ti.template(),  # (B, F, 3, 3) x_ndc, y_ndc, depth or (B, F, 3, 4) clip, see `Bins`
    height: int,
    width: int,
    reach: float,  # NDC: how far a face covers pixels beyond its edges
    near: float,  # depth at which faces are cut; 0: behind the camera; below 0: not at all
    records: ti.template(),  # (B * F, RECORD_SIZE)
    boxes: ti.template(),  # (B * F, BOX_SIZE)
    status: ti.template(),  # (3,) [1] becomes 1 + the index of a face that is not drawable, [2] 1
    # if a face must be cut
):
    """Faces out of sight or without area get an empty box."""
    for _ in range(1):
        status[1] = 0
        status[2] = 0
    for i in range(corners.shape[0] * corners.shape[1]):
        num_faces = corners.shape[1]
        view = i // num_faces
        face = i - view * num_faces
        shorter = ti.cast(ti.min(height, width), float)
        place = place_face(corners, view, face, height, width, reach, near)
        if not is_drawable(place.given):
            status[1] = 1 + i
        elif place.is_crossing:
            status[2] = 1
        boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3] = 1, 0, 1, 0
        boxes[i, SOURCE_FACE], boxes[i, ROW], boxes[i, EDGE_KINDS] = face, face, WHOLE
        if corners.shape[2] > 3:
            boxes[i, SOURCE_FACE] = load_whole(corners, view, face, ORIGIN)
            boxes[i, EDGE_KINDS] = ti.cast(corners[view, face, ORIGIN, 2], ti.i32)
        if place.is_in_sight:
            set_up_face(corners, view, face, height, width, reach * shorter, records, boxes)


@ti.func
def place_face(
    corners: ti.template(),
    view: int,
    face: int,
    height: int,
    width: int,
    reach: float,  # NDC
    near: float,  # depth
):
    """What is known of a face before any division.

    Returns:
        A struct: the sum of the corners' absolute values (`given`); whether the face `is_crossing`
        what it must be cut at, on the image; whether it `is_in_sight`: all of it is in front, and
        not all of it beside the image.
    """
    given = 0.0
    sides = ti.math.ivec4(1, 1, 1, 1)  # whether all corners are beyond a side of the image
    num_in_front, is_far, has_place = 0, False, True
    is_divided = corners.shape[3] == 3
    shorter = ti.cast(ti.min(height, width), float)
    right = (ti.cast(width, float) / shorter + reach) * ti.static(1.0 + CULL_SLACK)
    top = (ti.cast(height, float) / shorter + reach) * ti.static(1.0 + CULL_SLACK)
    for corner in ti.static(range(3)):
        x, y = corners[view, face, corner, 0], corners[view, face, corner, 1]
        depth = corners[view, face, corner, 2]
        w = corners[view, face, corner, corners.shape[3] - 1]  # of divided corners the depth
        given += ti.abs(x) + ti.abs(y) + ti.abs(depth) + ti.abs(w)
        unit = ti.select(is_divided, 1.0, w)
        sides.x &= ti.cast(x > right * unit, ti.i32)
        sides.y &= ti.cast(x < -right * unit, ti.i32)
        sides.z &= ti.cast(y > top * unit, ti.i32)
        sides.w &= ti.cast(y < -top * unit, ti.i32)
        is_far |= ti.max(ti.abs(x), ti.abs(y)) > GUARD_TRIGGER * unit
        has_place &= (not is_divided) | (depth > SMALLEST_DEPTH)
        num_in_front += ti.cast(is_in_front(depth, w, near), ti.i32)
    is_whole = num_in_front == 3
    is_beside = sides.max() == 1
    is_cut = (num_in_front > 0) & (not is_beside) & ((not is_whole) | is_far) & has_place
    is_replaced = False
    if corners.shape[2] > 3:
        is_replaced = corners[view, face, ORIGIN, 3] != 0.0
    return ti.Struct(
        given=given,
        is_crossing=is_cut & (near >= 0.0) & is_drawable(given),
        is_in_sight=is_whole & (not is_beside) & (not is_replaced) & is_drawable(given),
    )


@ti.func
def is_in_front(depth: float, w: float, near: float) -> int:
    """Whether a corner is in front of the camera, and not before the depth where faces are cut."""
    return (ti.min(depth, w) > SMALLEST_DEPTH) & (depth >= near)


@ti.func
def set_up_face(
    corners: ti.template(),
    view: int,
    face: int,
    height: int,
    width: int,
    reach: float,  # half pixels
    records: ti.template(),
    boxes: ti.template(),
):
    """Of a face in sight, unless it has no area."""
    i = view * corners.shape[1] + face
    corner_a = load_clip_corner(corners, view, face, 0)
    corner_b = load_clip_corner(corners, view, face, 1)
    corner_c = load_clip_corner(corners, view, face, 2)
    shorter = ti.cast(ti.min(height, width), float)
    a, b = corner_a.position * shorter, corner_b.position * shorter
    c = corner_c.position * shorter
    depths = vec3(corner_a.depth, corner_b.depth, corner_c.depth)
    area = signed_area(a, b, c)
    lengths = vec3((b - a).norm(), (c - b).norm(), (a - c).norm())
    size = ti.abs(a).sum() + ti.abs(b).sum() + ti.abs(c).sum() + shorter * ti.abs(depths).sum()
    extent = ti.max(ti.abs(a).max(), ti.abs(b).max(), ti.abs(c).max(), shorter)
    if boxes[i, EDGE_KINDS] != WHOLE:  # a thin piece may be of a wide face
        extent = shorter
    if (size < LARGEST_COORDINATE * shorter) & (
        ti.abs(area) > lengths.max() * extent * LINE_HEIGHT
    ):
        low, high = ti.min(a, b, c), ti.max(a, b, c)
        for k in ti.static(range(2)):
            records[i, k] = a[k]
            records[i, 2 + k] = b[k]
            records[i, 4 + k] = c[k]
        records[i, INVERSE_AREA] = 1.0 / area
        for k in ti.static(range(3)):
            records[i, INVERSE_LENGTHS + k] = 1.0 / lengths[k]
        for k, corner in ti.static(enumerate((corner_a, corner_b, corner_c))):
            records[i, INVERSE_W + k] = corner.inverse_w
            records[i, DEPTH_OVER_W + k] = corner.depth_over_w
        if corners.shape[2] > 3:
            box = set_up_outline(corners, view, face, shorter, records)
            low, high = ti.min(low, box.low), ti.max(high, box.high)
        low -= reach
        high += reach
        first_column = first_pixel((low.x + (width - 1.0)) * 0.5, width)
        last_column = last_pixel((high.x + (width - 1.0)) * 0.5, width)
        first_row = first_pixel(((height - 1.0) - high.y) * 0.5, height)
        last_row = last_pixel(((height - 1.0) - low.y) * 0.5, height)
        if (first_column <= last_column) & (first_row <= last_row):
            boxes[i, 0] = first_column
            boxes[i, 1] = last_column
            boxes[i, 2] = first_row
            boxes[i, 3] = last_row


@ti.func
def set_up_outline(
    corners: ti.template(), view: int, face: int, shorter: float, records: ti.template()
):
    """The edges of the mesh that a piece's face has, and its near cut; returns their box."""
    i = view * corners.shape[1] + face
    first = vec2(records[i, 0], records[i, 1])
    low, high = first, first
    for k in ti.static(range(3)):
        start = load_end(corners, view, face, ti.static(ENDS + 2 * k), shorter)
        end = load_end(corners, view, face, ti.static(ENDS + 2 * k + 1), shorter)
        is_there = start.inverse_w > 0.0
        a = ti.select(is_there, start.position, vec2(NOWHERE, NOWHERE))
        b = ti.select(is_there, end.position, vec2(NOWHERE, NOWHERE + 1.0))
        if is_there:
            low, high = ti.min(low, a, b), ti.max(high, a, b)
        for axis in ti.static(range(2)):
            records[i, OUTLINE + 4 * k + axis] = a[axis]
            records[i, OUTLINE + 4 * k + 2 + axis] = b[axis]
        length = (b - a).norm()
        records[i, OUTLINE_INVERSE_LENGTHS + k] = ti.select(
            length > 0.0, 1.0 / ti.select(length > 0.0, length, 1.0), 0.0
        )
        records[i, OUTLINE_INVERSE_W + 2 * k] = start.inverse_w
        records[i, OUTLINE_INVERSE_W + 2 * k + 1] = end.inverse_w
    p = load_end(corners, view, face, NEAR_ENDS, shorter)
    q = load_end(corners, view, face, NEAR_ENDS + 1, shorter)
    is_turned = ti.cast(not is_before(p.position, q.position), float)
    base = ti.select(is_turned > 0.0, q.position, p.position)
    vector = ti.select(is_turned > 0.0, p.position - q.position, q.position - p.position)
    is_left = (records[i, INVERSE_AREA] > 0.0) == (is_turned == 0.0)
    for axis in ti.static(range(2)):
        records[i, NEAR_LINE + axis] = base[axis]
        records[i, NEAR_LINE + 2 + axis] = ti.select(is_left, vector[axis], -vector[axis])
    for corner, j in ti.static(ti.ndrange(3, 3)):
        records[i, MIX + 3 * corner + j] = corners[view, face, MIXES + corner, j]
    return ti.Struct(low=low, high=high)


@ti.func
def load_whole(corners: ti.template(), view: int, face: int, row: int) -> int:
    """A whole number, from its low and high half."""
    low, high = corners[view, face, row, 0], corners[view, face, row, 1]
    return ti.cast(low, ti.i32) + HALF * ti.cast(high, ti.i32)


@ti.func
def load_end(corners: ti.template(), view: int, face: int, row: int, shorter: float):
    """The end of an edge in half pixels, and its 1 / w; 0 if there is no such edge."""
    w = corners[view, face, row, 3]
    inverse_w = ti.select(w > 0.0, 1.0 / ti.select(w > 0.0, w, 1.0), 0.0)
    scale = inverse_w
    position = vec2(corners[view, face, row, 0] * scale, corners[view, face, row, 1] * scale)
    return ti.Struct(position=position * shorter, inverse_w=inverse_w)


@ti.func
def first_pixel(position: float, extent: int) -> int:
    """The first pixel whose centre is not before `position` (clamped, then cast)."""
    return ti.cast(ti.ceil(ti.min(ti.max(position, 0.0), ti.cast(extent, float))), ti.i32)


@ti.func
def last_pixel(position: float, extent: int) -> int:
    """The last pixel whose centre is not behind `position` (clamped, then cast)."""
    return ti.cast(ti.floor(ti.min(ti.max(position, -1.0), ti.cast(extent - 1, float))), ti.i32)


@ti.func
def load_corner(records: ti.template(), i: int, corner: ti.template()) -> vec2:
    """A corner's position in half pixels."""
    return vec2(records[i, 2 * corner], records[i, 2 * corner + 1])


@ti.func
def load_planes(records: ti.template(), i: int):
    """What depths and attributes are interpolated by: 1 / w and depth / w of the corners."""
    return ti.Struct(
        inverse_w=vec3(records[i, INVERSE_W], records[i, INVERSE_W + 1], records[i, INVERSE_W + 2]),
        depth_over_w=vec3(
            records[i, DEPTH_OVER_W], records[i, DEPTH_OVER_W + 1], records[i, DEPTH_OVER_W + 2]
        ),
    )


@ti.func
def load_triangle(records: ti.template(), i: int):
    """One row of `records` as the struct that `funcs.triangle` describes."""
    return make_triangle(
        load_corner(records, i, 0),
        load_corner(records, i, 1),
        load_corner(records, i, 2),
        records[i, INVERSE_AREA],
        vec3(
            records[i, INVERSE_LENGTHS],
            records[i, INVERSE_LENGTHS + 1],
            records[i, INVERSE_LENGTHS + 2],
        ),
        load_planes(records, i),
    )


@ti.func
def load_cut_triangle(of_faces: ti.template(), i: int):
    """A face that may be a piece of another.

    Returns:
        The struct of `load_triangle`, and more: the `outline`, a struct of the edges ab, bc and ca
        of the mesh as far as the other has them; whether the edges that weights belong to are of
        them (`is_border`), or separate pieces, with those who own its pixels (`is_inner`,
        `is_inner_open`); the line of the near cut, `near_base` and `near_vector`.
    """
    records = ti.static(of_faces.records)
    kinds = of_faces.boxes[i, EDGE_KINDS]
    # of the edges bc, ca, ab, as weights come
    kind = ti.Vector([(kinds >> 3) & 7, (kinds >> 6) & 7, kinds & 7])
    whole = load_triangle(records, i)
    return ti.Struct(
        a=whole.a,
        b=whole.b,
        c=whole.c,
        inverse_area=whole.inverse_area,
        ab=whole.ab,
        bc=whole.bc,
        ca=whole.ca,
        inverse_w=whole.inverse_w,
        depth_over_w=whole.depth_over_w,
        outline=ti.Struct(
            ab=load_outline(records, i, 0),
            bc=load_outline(records, i, 1),
            ca=load_outline(records, i, 2),
        ),
        is_border=kind < NEAR_CUT,
        is_inner=kind == INNER,
        is_inner_open=kind == INNER_OPEN,
        near_base=vec2(records[i, NEAR_LINE], records[i, NEAR_LINE + 1]),
        near_vector=vec2(records[i, NEAR_LINE + 2], records[i, NEAR_LINE + 3]),
    )


@ti.func
def load_outline(records: ti.template(), i: int, k: ti.template()):
    """An edge of the mesh, or what a cut has left of it."""
    entry = ti.static(OUTLINE + 4 * k)
    return make_edge(
        vec2(records[i, entry], records[i, entry + 1]),
        vec2(records[i, entry + 2], records[i, entry + 3]),
        records[i, OUTLINE_INVERSE_LENGTHS + k],
        0.0,
    )


@ti.func
def owns_pixel(pixel: vec2, triangle: ti.template(), weights: vec3) -> int:
    """Whether of a face's pieces it is this one that a pixel looks at: one of them, or none.

    Pieces share the image by the lines between them; what lies beyond the near cut sees none.
    """
    is_own = True
    for k in ti.static(range(3)):
        is_own &= (not triangle.is_inner[k]) | (weights[k] >= 0.0)
        is_own &= (not triangle.is_inner_open[k]) | (weights[k] > 0.0)
    line = ti.Struct(base=triangle.near_base, vector=triangle.near_vector)
    return is_own & (side_of(pixel, line) >= 0.0)


@ti.func
def mix_on_source(records: ti.template(), i: int, used: vec3) -> vec3:
    """Weights of the corners of the face of which face i is a piece."""
    result = vec3(0.0)
    for corner, j in ti.static(ti.ndrange(3, 3)):
        result[j] += used[corner] * records[i, MIX + 3 * corner + j]
    return result


@ti.func
def is_in_box(boxes: ti.template(), i: int, row: int, column: int) -> int:
    """Whether the pixel lies in the box of face i."""
    is_in_columns = (column >= boxes[i, 0]) & (column <= boxes[i, 1])
    return is_in_columns & (row >= boxes[i, 2]) & (row <= boxes[i, 3])


@ti.func
def pixel_centre(column: int, row: int, height: int, width: int) -> vec2:
    """A pixel's centre in half pixels from the image's centre, y up; row 0 is on top."""
    return vec2(ti.cast(2 * column + 1 - width, float), ti.cast(height - 1 - 2 * row, float))
