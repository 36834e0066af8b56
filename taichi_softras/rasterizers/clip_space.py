"""Clip space, as OpenGL has it: vertices in, the triangle of each pixel and the place on it out.

z is in [-w, w], row 0 of an image is at the bottom. What is seen is the z-buffer's, by z / w. The
weights u and v of a triangle's first two corners, and how they change on the screen, are those of
Laine et al. 2020, section 3.2: with a corner (x, y, w) seen from the pixel, q = (x - X w, y - Y w,
w), and n_k = q_(k + 1) x q_(k + 2), the weight k is n_k.z / s.z, where s is the sum of the n_k; and
(n_k.x, n_k.y) are the derivatives of n_k.z by X and Y.
"""

from taichi_softras.funcs.images import within
from taichi_softras.funcs.interpolation import CLIP_SPACE
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.clipping import draw_clipped
from taichi_softras.rasterizers.fragments import SILHOUETTE, Shader, Surface, no_surface
from taichi_softras.rasterizers.nearest_face import NEAREST, name_faces
from taichi_softras.rasterizers.z_buffer import ZBuffer
from taichi_softras.runtime import kernel, ti, vec2, vec3
from taichi_softras.workspace import Workspace, array

SLACK = 2e-6  # of w: what lies on the near or the far plane is drawn
FARTHEST = 2.0 + 2.0 * SLACK  # depth / w of the core on the far plane: see `place_clip_corners`
LARGEST_SLOPE = 1e9  # of a weight by pixels: no face is as narrow, but by rounding


class Layers:
    """The nearest triangles, then those behind them, and so on.

    Attributes:
        z_buffer: what is seen.
        corners: what is drawn, see `clipping.draw_clipped`.
        clipping: of triangles that are cut, or None.
    """

    def __init__(self, workspace: Workspace, corners: ti.Ndarray, image_size: tuple):
        """Finds the first layer.

        Args:
            workspace: keeps the arrays.
            corners: (B, F, 3, 4) of `place_clip_corners`.
            image_size: (H, W) in pixels.
        """

        def draw(corners: ti.Ndarray, shader: Shader, surface: Surface) -> ZBuffer:
            limits = (NEAREST, FARTHEST, True)
            return ZBuffer(workspace, corners, image_size, *limits, interpolation=CLIP_SPACE)

        inputs = (workspace, corners, SILHOUETTE, no_surface(workspace), image_size)
        self.z_buffer, self.clipping = draw_clipped(*inputs, draw)
        self.corners = corners if self.clipping is None else self.clipping.corners

    def peel(self) -> None:
        """Finds the next layer."""
        self.z_buffer.peel()

    def name(self, places: ti.Ndarray) -> None:
        """Fills (B, H, W) with places among the triangles of a view, or NO_FACE."""
        name_faces(self.z_buffer.bins.of_faces.boxes, self.z_buffer.seen.faces, places)


@kernel
def place_clip_corners(
    vertices: array(float, 3),  # (B or 1, V, 4) x, y, z, w
    triangles: array(int, 2),  # (T, 3)
    ranges: array(int, 2),  # (B, 2) the first triangle of each view, and how many
    height: int,
    width: int,
    corners: array(float, 4),  # (B, F, 3, 4) x, y, depth, w of the core; 0 where is no triangle
):
    """Corners of which the core's row 0, on top, is row 0 at the bottom.

    The depth is z + w: 0 on the near plane, 2 w on the far one.
    """
    shorter = ti.cast(ti.min(height, width), float)
    for view, place, corner in ti.ndrange(corners.shape[0], corners.shape[1], 3):
        x, y, depth, w = 0.0, 0.0, 0.0, 0.0
        if place < ranges[view, 1]:
            plane = ti.min(view, vertices.shape[0] - 1)
            vertex = triangles[ranges[view, 0] + place, corner]
            w = vertices[plane, vertex, 3]
            x = vertices[plane, vertex, 0] * ti.cast(width, float) / shorter
            y = -vertices[plane, vertex, 1] * ti.cast(height, float) / shorter
            depth = vertices[plane, vertex, 2] + (1.0 + SLACK) * w
        corners[view, place, corner, 0] = x
        corners[view, place, corner, 1] = y
        corners[view, place, corner, 2] = depth
        corners[view, place, corner, 3] = w


@kernel
def place_clip_corners_backward(
    vertices: array(float, 3),
    triangles: array(int, 2),
    ranges: array(int, 2),
    height: int,
    width: int,
    grad_corners: array(float, 4),  # (B, F, 3, 4)
    grad_vertices: array(float, 3),  # (B or 1, V, 4)
):
    """The adjoint of `place_clip_corners`."""
    for plane, vertex, k in ti.ndrange(vertices.shape[0], vertices.shape[1], 4):
        grad_vertices[plane, vertex, k] = 0.0
    shorter = ti.cast(ti.min(height, width), float)
    for view, place, corner in ti.ndrange(grad_corners.shape[0], grad_corners.shape[1], 3):
        if place < ranges[view, 1]:
            plane = ti.min(view, vertices.shape[0] - 1)
            vertex = triangles[ranges[view, 0] + place, corner]
            by_x, by_y = grad_corners[view, place, corner, 0], grad_corners[view, place, corner, 1]
            by_depth = grad_corners[view, place, corner, 2]
            by_w = grad_corners[view, place, corner, 3] + (1.0 + SLACK) * by_depth
            grad_vertices[plane, vertex, 0] += by_x * ti.cast(width, float) / shorter
            grad_vertices[plane, vertex, 1] -= by_y * ti.cast(height, float) / shorter
            grad_vertices[plane, vertex, 2] += by_depth
            grad_vertices[plane, vertex, 3] += by_w


@ti.func
def place_of_pixel(row: int, column: int, height: int, width: int) -> vec2:
    """The x / w and y / w of a pixel's centre."""
    return vec2(
        (2.0 * ti.cast(column, float) + 1.0) / ti.cast(width, float) - 1.0,
        (2.0 * ti.cast(row, float) + 1.0) / ti.cast(height, float) - 1.0,
    )


@ti.func
def see_triangle(
    vertices: ti.template(), triangles: ti.template(), plane: int, triangle: int, pixel: vec2
):
    """A triangle, seen from a pixel.

    Returns:
        A struct: `corners`, q of each in a row; `normals`, the n_k in rows, their `total`, and u
        and v with their slopes by X and Y in the rows of `weights`.
    """
    q = ti.Matrix.zero(float, 3, 3)
    for k in ti.static(range(3)):
        vertex = triangles[triangle, k]
        w = vertices[plane, vertex, 3]
        q[k, 0] = vertices[plane, vertex, 0] - pixel.x * w
        q[k, 1] = vertices[plane, vertex, 1] - pixel.y * w
        q[k, 2] = w
    normals = ti.Matrix.zero(float, 3, 3)
    for k in ti.static(range(3)):
        normal = row_of(q, (k + 1) % 3).cross(row_of(q, (k + 2) % 3))
        for axis in ti.static(range(3)):
            normals[k, axis] = normal[axis]
    total = row_of(normals, 0) + row_of(normals, 1) + row_of(normals, 2)
    scale = 1.0 / ti.select(total.z == 0.0, 1.0, total.z)
    weights = ti.Matrix.zero(float, 2, 3)
    for k in ti.static(range(2)):
        weights[k, 0] = normals[k, 2] * scale
        weights[k, 1] = (normals[k, 0] - weights[k, 0] * total.x) * scale
        weights[k, 2] = (normals[k, 1] - weights[k, 0] * total.y) * scale
    return ti.Struct(corners=q, total=total, scale=scale, weights=weights)


@ti.func
def see_triangle_vjp(seen: ti.template(), grad_weights: ti.template()):
    """The gradient at `corners`, in rows, from that at `weights`."""
    grad_total = vec3(0.0)
    grad_normals = ti.Matrix.zero(float, 3, 3)
    for k in ti.static(range(2)):
        along_x, along_y = grad_weights[k, 1] * seen.scale, grad_weights[k, 2] * seen.scale
        grad_weight = grad_weights[k, 0] - along_x * seen.total.x - along_y * seen.total.y
        by_scale = grad_weight * seen.weights[k, 0]
        by_scale += grad_weights[k, 1] * seen.weights[k, 1]
        by_scale += grad_weights[k, 2] * seen.weights[k, 2]
        grad_normals[k, 0] = along_x
        grad_normals[k, 1] = along_y
        grad_normals[k, 2] = grad_weight * seen.scale
        grad_total -= vec3(along_x * seen.weights[k, 0], along_y * seen.weights[k, 0], 0.0)
        grad_total.z -= by_scale * seen.scale
    grad_corners = ti.Matrix.zero(float, 3, 3)
    for k in ti.static(range(3)):
        grad_normal = row_of(grad_normals, k) + grad_total
        i, j = ti.static((k + 1) % 3, (k + 2) % 3)
        by_i = row_of(seen.corners, j).cross(grad_normal)
        by_j = grad_normal.cross(row_of(seen.corners, i))
        for axis in ti.static(range(3)):
            grad_corners[i, axis] += by_i[axis]
            grad_corners[j, axis] += by_j[axis]
    return grad_corners


@ti.func
def row_of(matrix: ti.template(), row: ti.template()) -> vec3:
    """A row of three numbers."""
    return vec3(matrix[row, 0], matrix[row, 1], matrix[row, 2])


@kernel
def measure_fragments(
    vertices: array(float, 3),  # (B or 1, V, 4)
    triangles: array(int, 2),  # (T, 3)
    ranges: array(int, 2),  # (B, 2)
    places: array(int, 3),  # (B, H, W) of `Layers`
    fragments: array(float, 4),  # (B, H, W, 4) u, v, z / w, triangle + 1; 0 where none is
    slopes: array(float, 4),  # (B, H, W, 4) of u by column and row, of v by column and row
    ids: array(int, 3),  # (B, H, W) triangle + 1
):
    """What is at each pixel."""
    for view, row, column in ti.ndrange(places.shape[0], places.shape[1], places.shape[2]):
        height, width = places.shape[1], places.shape[2]
        u, v, z = 0.0, 0.0, 0.0
        by_pixel = ti.Matrix.zero(float, 2, 2)
        number = 0
        if places[view, row, column] != NO_FACE:
            plane = ti.min(view, vertices.shape[0] - 1)
            triangle = ranges[view, 0] + places[view, row, column]
            number = triangle + 1
            pixel = place_of_pixel(row, column, height, width)
            seen = see_triangle(vertices, triangles, plane, triangle, pixel)
            u = ti.min(ti.max(seen.weights[0, 0], 0.0), 1.0)
            v = ti.min(ti.max(seen.weights[1, 0], 0.0), 1.0 - u)
            for k in ti.static(range(2)):
                by_column = seen.weights[k, 1] * 2.0 / ti.cast(width, float)
                by_row = seen.weights[k, 2] * 2.0 / ti.cast(height, float)
                by_pixel[k, 0] = within(by_column, LARGEST_SLOPE)
                by_pixel[k, 1] = within(by_row, LARGEST_SLOPE)
            w = 0.0
            shares = vec3(u, v, 1.0 - u - v)
            for k in ti.static(range(3)):
                z += shares[k] * vertices[plane, triangles[triangle, k], 2]
                w += shares[k] * vertices[plane, triangles[triangle, k], 3]
            z = within(z / w, 1.0)
        fragments[view, row, column, 0] = u
        fragments[view, row, column, 1] = v
        fragments[view, row, column, 2] = z
        fragments[view, row, column, 3] = ti.cast(number, float)
        ids[view, row, column] = number
        for k, axis in ti.static(ti.ndrange(2, 2)):
            slopes[view, row, column, 2 * k + axis] = by_pixel[k, axis]


@kernel
def measure_fragments_backward(
    vertices: array(float, 3),
    triangles: array(int, 2),
    ranges: array(int, 2),
    places: array(int, 3),
    grad_fragments: array(float, 4),  # of u and v; those of z / w and of triangles do not count
    grad_slopes: array(float, 4),
    grad_vertices: array(float, 3),  # (B or 1, V, 4)
):
    """The adjoint of `measure_fragments`."""
    for plane, vertex, k in ti.ndrange(vertices.shape[0], vertices.shape[1], 4):
        grad_vertices[plane, vertex, k] = 0.0
    for view, row, column in ti.ndrange(places.shape[0], places.shape[1], places.shape[2]):
        height, width = places.shape[1], places.shape[2]
        if places[view, row, column] != NO_FACE:
            plane = ti.min(view, vertices.shape[0] - 1)
            triangle = ranges[view, 0] + places[view, row, column]
            pixel = place_of_pixel(row, column, height, width)
            seen = see_triangle(vertices, triangles, plane, triangle, pixel)
            grad_weights = ti.Matrix.zero(float, 2, 3)
            for k in ti.static(range(2)):
                by_column = grad_slopes[view, row, column, 2 * k]
                by_row = grad_slopes[view, row, column, 2 * k + 1]
                grad_weights[k, 0] = grad_fragments[view, row, column, k]
                grad_weights[k, 1] = by_column * 2.0 / ti.cast(width, float)
                grad_weights[k, 2] = by_row * 2.0 / ti.cast(height, float)
            grad_corners = see_triangle_vjp(seen, grad_weights)
            for k in ti.static(range(3)):
                vertex = triangles[triangle, k]
                grad = row_of(grad_corners, k)
                grad_vertices[plane, vertex, 0] += grad.x
                grad_vertices[plane, vertex, 1] += grad.y
                grad_vertices[plane, vertex, 3] += grad.z - pixel.dot(vec2(grad.x, grad.y))
