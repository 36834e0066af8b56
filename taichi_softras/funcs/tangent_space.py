"""How UV coordinates lie on a face, in the world and on the image; adjoints and tangents.

A face is `points`, (3, 3): a corner in each row; `uvs`, (3, 2), are those of its corners.
"""

from taichi_softras.funcs.vectors import dot, unit, unit_vjp
from taichi_softras.runtime import ti, vec2, vec3


@ti.func
def row_of(matrix: ti.template(), row: ti.template()) -> vec3:
    """A row of a matrix with three columns."""
    return vec3(matrix[row, 0], matrix[row, 1], matrix[row, 2])


@ti.func
def solve_columns(points: ti.template()):
    """(3, 3) whose row k times b_k, summed, solves `points` x = b; 0 for points on one line."""
    a, b, c = row_of(points, 0), row_of(points, 1), row_of(points, 2)
    of_a, of_b, of_c = b.cross(c), c.cross(a), a.cross(b)
    determinant = dot(a, of_a)
    scale = ti.select(
        determinant == 0.0, 0.0, 1.0 / ti.select(determinant == 0.0, 1.0, determinant)
    )
    return ti.Matrix.rows([of_a * scale, of_b * scale, of_c * scale])


@ti.func
def image_slopes(points: ti.template(), uvs: ti.template()):
    """(3, 3) the slopes of u / w, v / w and 1 / w on the image, a row each: by x, by y, at 0.

    They are linear there, also where a corner is behind the camera (Olano & Greer 1997).

    Args:
        points: x_clip, y_clip, w_clip of the corners.
        uvs: of the corners.
    """
    columns = solve_columns(points)
    slopes = ti.Matrix.zero(float, 3, 3)
    for corner, k in ti.static(ti.ndrange(3, 3)):
        slopes[0, k] += uvs[corner, 0] * columns[corner, k]
        slopes[1, k] += uvs[corner, 1] * columns[corner, k]
        slopes[2, k] += columns[corner, k]
    return slopes


@ti.func
def image_slopes_vjp(points: ti.template(), uvs: ti.template(), grad_slopes: ti.template()):
    """Gradients with respect to `points` and `uvs`, a struct."""
    columns = solve_columns(points)
    slopes = image_slopes(points, uvs)
    grad_points, grad_uvs = ti.Matrix.zero(float, 3, 3), ti.Matrix.zero(float, 3, 2)
    for corner in ti.static(range(3)):
        column = row_of(columns, corner)
        for row in ti.static(range(3)):
            at_value = dot(column, row_of(grad_slopes, row))
            if ti.static(row < 2):
                grad_uvs[corner, row] = at_value
            for k in ti.static(range(3)):
                grad_points[corner, k] -= at_value * slopes[row, k]
    return ti.Struct(points=grad_points, uvs=grad_uvs)


@ti.func
def image_slopes_jvp(
    points: ti.template(), uvs: ti.template(), moved_points: ti.template(), moved_uvs: ti.template()
):
    """(3, 3) the tangent of `image_slopes`."""
    columns = solve_columns(points)
    slopes = image_slopes(points, uvs)
    moved = ti.Matrix.zero(float, 3, 3)
    for corner in ti.static(range(3)):
        for row in ti.static(range(3)):
            change = -dot(row_of(moved_points, corner), row_of(slopes, row))
            if ti.static(row < 2):
                change += moved_uvs[corner, row]
            for k in ti.static(range(3)):
                moved[row, k] += change * columns[corner, k]
    return moved


@ti.func
def face_tangent(points: ti.template(), uvs: ti.template()):
    """(4,) the direction of rising u on a face, of length 1, and 1, or -1 where UVs are mirrored.

    glTF 2.0, section 3.7.2.1: normal x tangent times the last number is where v rises. 0 for
    corners whose UVs lie on one line.

    Args:
        points: of the corners, world.
        uvs: of the corners.
    """
    along, handedness = rise(points, uvs)
    direction = unit(along * handedness)
    return ti.Vector([direction.x, direction.y, direction.z, handedness])


@ti.func
def rise(points: ti.template(), uvs: ti.template()):
    """The direction of rising u times the area of the UVs, and the sign of that."""
    ab, ac = row_of(points, 1) - row_of(points, 0), row_of(points, 2) - row_of(points, 0)
    of_ab = vec2(uvs[1, 0] - uvs[0, 0], uvs[1, 1] - uvs[0, 1])
    of_ac = vec2(uvs[2, 0] - uvs[0, 0], uvs[2, 1] - uvs[0, 1])
    area = of_ab.x * of_ac.y - of_ac.x * of_ab.y
    handedness = ti.select(area < 0.0, -1.0, 1.0)
    return ab * of_ac.y - ac * of_ab.y, ti.select(area == 0.0, 0.0, handedness)


@ti.func
def face_tangent_vjp(points: ti.template(), uvs: ti.template(), grad_tangent: ti.template()):
    """Gradients with respect to `points` and `uvs`, a struct."""
    along, handedness = rise(points, uvs)
    grad_direction = vec3(grad_tangent[0], grad_tangent[1], grad_tangent[2])
    grad = unit_vjp(along * handedness, grad_direction) * handedness
    ab, ac = row_of(points, 1) - row_of(points, 0), row_of(points, 2) - row_of(points, 0)
    grad_ab, grad_ac = grad * (uvs[2, 1] - uvs[0, 1]), -grad * (uvs[1, 1] - uvs[0, 1])
    by_b, by_c = -dot(grad, ac), dot(grad, ab)
    grad_points = ti.Matrix.rows([-grad_ab - grad_ac, grad_ab, grad_ac])
    grad_uvs = ti.Matrix([[0.0, -by_b - by_c], [0.0, by_b], [0.0, by_c]])
    return ti.Struct(points=grad_points, uvs=grad_uvs)


@ti.func
def face_tangent_jvp(
    points: ti.template(), uvs: ti.template(), moved_points: ti.template(), moved_uvs: ti.template()
):
    """(4,) the tangent of `face_tangent`."""
    along, handedness = rise(points, uvs)
    ab, ac = row_of(points, 1) - row_of(points, 0), row_of(points, 2) - row_of(points, 0)
    moved_ab = row_of(moved_points, 1) - row_of(moved_points, 0)
    moved_ac = row_of(moved_points, 2) - row_of(moved_points, 0)
    moved = moved_ab * (uvs[2, 1] - uvs[0, 1]) - moved_ac * (uvs[1, 1] - uvs[0, 1])
    moved += ab * (moved_uvs[2, 1] - moved_uvs[0, 1]) - ac * (moved_uvs[1, 1] - moved_uvs[0, 1])
    direction = unit_vjp(along * handedness, moved * handedness)
    return ti.Vector([direction.x, direction.y, direction.z, 0.0])


@ti.func
def bend_normal(inputs, uniforms):
    """(3,) the normal that a normal texture asks for; not of length 1.

    Args:
        inputs: normal 3, world; tangent 4, see `face_tangent`; sample 3 of the texture, in [0, 1];
            scale 1, see glTF 2.0, section 3.9.3.
        uniforms: none.
    """
    normal = unit(vec3(inputs[0], inputs[1], inputs[2]))
    tangent = vec3(inputs[3], inputs[4], inputs[5])
    along = unit(tangent - normal * dot(normal, tangent))
    x = (2.0 * inputs[7] - 1.0) * inputs[10]
    y = (2.0 * inputs[8] - 1.0) * inputs[10]
    return along * x + normal.cross(along) * (y * inputs[6]) + normal * (2.0 * inputs[9] - 1.0)


@ti.func
def bend_normal_vjp(inputs, uniforms, grad):
    """The adjoint of `bend_normal`: a struct of the gradient at `varyings`."""
    given = vec3(inputs[0], inputs[1], inputs[2])
    normal = unit(given)
    tangent = vec3(inputs[3], inputs[4], inputs[5])
    flat = tangent - normal * dot(normal, tangent)
    along = unit(flat)
    across = normal.cross(along)
    sample = vec3(2.0 * inputs[7] - 1.0, 2.0 * inputs[8] - 1.0, 2.0 * inputs[9] - 1.0)
    x, y = sample.x * inputs[10], sample.y * inputs[10]
    grad_across = grad * (y * inputs[6])
    grad_along = grad * x + grad_across.cross(normal)
    grad_normal = grad * sample.z + along.cross(grad_across)
    grad_flat = unit_vjp(flat, grad_along)
    grad_normal -= tangent * dot(normal, grad_flat) + grad_flat * dot(normal, tangent)
    grad_tangent = grad_flat - normal * dot(normal, grad_flat)
    grad_given = unit_vjp(given, grad_normal)
    at_x, at_y = dot(grad, along), dot(grad, across) * inputs[6]
    return ti.Struct(
        varyings=ti.Vector(
            [
                grad_given.x,
                grad_given.y,
                grad_given.z,
                grad_tangent.x,
                grad_tangent.y,
                grad_tangent.z,
                dot(grad, across) * y,
                2.0 * inputs[10] * at_x,
                2.0 * inputs[10] * at_y,
                2.0 * dot(grad, normal),
                at_x * sample.x + at_y * sample.y,
            ]
        )
    )
