"""Face set-up: projected corners in; what all pixels of a face share, and its pixel box, out.

Records are in half pixels from the image's centre, as many to one NDC as the image's shorter side
has pixels, so that pixel centres are whole numbers.
"""

from taichi_softras.funcs.numeric import LINE_HEIGHT, is_drawable
from taichi_softras.funcs.triangle import make_triangle, signed_area
from taichi_softras.runtime import ti, vec2, vec3

# floats: corners a, b, c; 1 / area; 1 / length of ab, bc, ca; 1 / w and depth / w of the corners
RECORD_SIZE = 16
INVERSE_AREA, INVERSE_LENGTHS, INVERSE_W, DEPTH_OVER_W = 6, 7, 10, 13
# ints: first and last column, first and last row (empty: 1, 0); the face of the mesh whose
# attributes and textures this one shows
BOX_SIZE = 5
SOURCE_FACE = 4
SMALLEST_DEPTH = 1e-8  # nearer corners, or of a smaller w, are behind the camera
LARGEST_COORDINATE = 1e12  # NDC or depth: beyond it, products of coordinates overflow


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
    records: ti.template(),  # (B * F, RECORD_SIZE)
    boxes: ti.template(),  # (B * F, BOX_SIZE)
    status: ti.template(),  # (2,) [1] becomes 1 + the index of a face that is not drawable
):
    """Faces with a corner behind the camera or without area get an empty box."""
    for _ in range(1):
        status[1] = 0
    for i in range(corners.shape[0] * corners.shape[1]):
        num_faces = corners.shape[1]
        view = i // num_faces
        face = i - view * num_faces
        corner_a = load_clip_corner(corners, view, face, 0)
        corner_b = load_clip_corner(corners, view, face, 1)
        corner_c = load_clip_corner(corners, view, face, 2)
        shorter = ti.cast(ti.min(height, width), float)
        a, b = corner_a.position * shorter, corner_b.position * shorter
        c = corner_c.position * shorter
        depths = vec3(corner_a.depth, corner_b.depth, corner_c.depth)
        ws = vec3(corner_a.w, corner_b.w, corner_c.w)
        given = corner_a.given + corner_b.given + corner_c.given
        area = signed_area(a, b, c)
        lengths = vec3((b - a).norm(), (c - b).norm(), (a - c).norm())
        size = ti.abs(a).sum() + ti.abs(b).sum() + ti.abs(c).sum() + shorter * ti.abs(depths).sum()
        extent = ti.max(ti.abs(a).max(), ti.abs(b).max(), ti.abs(c).max(), shorter)
        first_column, last_column, first_row, last_row = 1, 0, 1, 0
        if not is_drawable(given):
            status[1] = 1 + i
        elif (
            ti.min(depths.min(), ws.min()) > SMALLEST_DEPTH
            and size < LARGEST_COORDINATE * shorter
            and ti.abs(area) > lengths.max() * extent * LINE_HEIGHT
        ):
            low = ti.min(a, b, c) - reach * shorter
            high = ti.max(a, b, c) + reach * shorter
            first_column = first_pixel((low.x + (width - 1.0)) * 0.5, width)
            last_column = last_pixel((high.x + (width - 1.0)) * 0.5, width)
            first_row = first_pixel(((height - 1.0) - high.y) * 0.5, height)
            last_row = last_pixel(((height - 1.0) - low.y) * 0.5, height)
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
        if first_column > last_column or first_row > last_row:
            first_column, last_column, first_row, last_row = 1, 0, 1, 0
        boxes[i, 0] = first_column
        boxes[i, 1] = last_column
        boxes[i, 2] = first_row
        boxes[i, 3] = last_row
        boxes[i, SOURCE_FACE] = face


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
def is_in_box(boxes: ti.template(), i: int, row: int, column: int) -> int:
    """Whether the pixel lies in the box of face i."""
    is_in_columns = (column >= boxes[i, 0]) & (column <= boxes[i, 1])
    return is_in_columns & (row >= boxes[i, 2]) & (row <= boxes[i, 3])


@ti.func
def pixel_centre(column: int, row: int, height: int, width: int) -> vec2:
    """A pixel's centre in half pixels from the image's centre, y up; row 0 is on top."""
    return vec2(ti.cast(2 * column + 1 - width, float), ti.cast(height - 1 - 2 * row, float))
