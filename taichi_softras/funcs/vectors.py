"""Vectors of length 1, and normals that may be zero.

The Jacobian of either normalisation is symmetric, so the adjoint is the tangent as well:
`unit_vjp(vector, tangent_vector)` is how `unit(vector)` moves.
"""

from taichi_softras.funcs.numeric import LINE_HEIGHT
from taichi_softras.runtime import ti, vec3, vec4

SMALLEST_SQUARED_LENGTH = 1e-30  # of a vector that has a direction
SMALLEST_SQUARED_NORMAL = 1e-36  # world units^4: that of a face without area is 0


@ti.func
def dot(a: ti.template(), b: ti.template()):
    """The scalar product of two vectors of 2, 3 or 4 numbers.

    Taichi's own is written out in many more statements, and those make its compilation slow.
    """
    products = a * b
    if ti.static(products.n == 2):
        return products[0] + products[1]
    elif ti.static(products.n == 3):
        return products[0] + products[1] + products[2]
    else:
        return products[0] + products[1] + products[2] + products[3]


@ti.func
def spans_area(a: vec3, b: vec3, c: vec3) -> int:
    """Whether a triangle is no line, as far as the rounding of its corners lets one tell."""
    normal, longest = (b - a).cross(c - a), ti.max((b - a).norm(), (c - b).norm(), (a - c).norm())
    extent = ti.max(ti.abs(a).max(), ti.abs(b).max(), ti.abs(c).max())
    return normal.norm() > longest * extent * LINE_HEIGHT


@ti.func
def area_normal(a: vec3, b: vec3, c: vec3) -> vec3:
    """The normal of a triangle, twice as long as its area is large; of one without area 0."""
    return ti.select(spans_area(a, b, c), (b - a).cross(c - a), vec3(0.0))


@ti.func
def unit(vector: vec3) -> vec3:
    """The vector with length 1; of a zero vector 0."""
    return vector / vector.norm(SMALLEST_SQUARED_LENGTH)


@ti.func
def unit_vjp(vector: vec3, grad_unit: vec3) -> vec3:
    """The gradient with respect to `vector`; of a tangent, the tangent of `unit`."""
    length = vector.norm(SMALLEST_SQUARED_LENGTH)
    direction = vector / length
    return (grad_unit - direction * dot(direction, grad_unit)) / length


@ti.func
def unit_normal(normal: vec3) -> vec3:
    """The normal with length 1; of a face without area 0, with a gradient of 0."""
    return normal * inverse_length(normal)


@ti.func
def unit_normal_vjp(normal: vec3, grad_unit: vec3) -> vec3:
    """The gradient with respect to `normal`; of a tangent, the tangent of `unit_normal`."""
    scale = inverse_length(normal)
    direction = normal * scale
    return (grad_unit - direction * dot(direction, grad_unit)) * scale


@ti.func
def inverse_length(normal: vec3) -> float:
    """1 / length, and 0 for the normal of a face without area."""
    squared = dot(normal, normal)
    is_proper = squared > SMALLEST_SQUARED_NORMAL
    return ti.select(is_proper, 1.0 / ti.sqrt(ti.max(squared, SMALLEST_SQUARED_NORMAL)), 0.0)


@ti.func
def component(vector: vec3, k: int) -> float:
    """vector[k]: an index at run time would keep the vector in memory."""
    return ti.select(k == 0, vector.x, ti.select(k == 1, vector.y, vector.z))


@ti.func
def load_vec3(numbers: ti.template(), start: int) -> vec3:
    """Three neighbours of a one-dimensional array."""
    return vec3(numbers[start], numbers[start + 1], numbers[start + 2])


@ti.func
def load_vec4(numbers: ti.template(), start: int) -> vec4:
    """Four neighbours of a one-dimensional array."""
    return vec4(numbers[start], numbers[start + 1], numbers[start + 2], numbers[start + 3])


@ti.func
def add_vec3(numbers: ti.template(), start: int, vector: vec3):
    """To three neighbours that no other thread adds to."""
    for k in ti.static(range(3)):
        numbers[start + k] = numbers[start + k] + vector[k]


@ti.func
def add_vec4(numbers: ti.template(), start: int, vector: vec4):
    """To four neighbours that no other thread adds to."""
    for k in ti.static(range(4)):
        numbers[start + k] = numbers[start + k] + vector[k]
