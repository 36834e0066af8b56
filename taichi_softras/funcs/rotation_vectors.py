"""Rotations by quaternions and rotation vectors, and how they spin; adjoints.

A quaternion (w, x, y, z) of any length but zero turns as the one of length 1 does, so that an
optimizer may step in all four numbers. A rotation that moves has a spin, the vector about which it
turns further: through it go all derivatives.
"""

from taichi_softras.runtime import ti, vec3, vec4

SMALL_SQUARE = 0.25  # radians squared; below it the series of `sinc` is exact to rounding in f64


@ti.func
def sinc(square):
    """sin(a) / a of the angle a >= 0 whose square is given.

    A GPU's fast sine is 6e-8 off, whatever the angle, and the root has no derivative at 0: small
    angles take the series. Taichi differentiates this in users' kernels, so there is no branch, no
    local is assigned twice, and the side that is not taken is finite, with its derivative.
    """
    is_small = square < SMALL_SQUARE
    small, angle = ti.select(is_small, square, 0.0), ti.sqrt(ti.select(is_small, 1.0, square))
    last = 1.0 - small / 72.0 * (1.0 - small / 110.0 * (1.0 - small / 156.0))
    series = 1.0 - small / 6.0 * (1.0 - small / 20.0 * (1.0 - small / 42.0 * last))
    return ti.select(is_small, series, ti.sin(angle) / angle)


@ti.func
def sinc_rest(square: float) -> float:
    """(1 - sin(a) / a) / a^2 of the angle whose square is given."""
    is_small = square < SMALL_SQUARE
    small, large = ti.select(is_small, square, 0.0), ti.select(is_small, 1.0, square)
    last = 1.0 - small / 72.0 * (1.0 - small / 110.0 * (1.0 - small / 156.0))
    series = (1.0 - small / 20.0 * (1.0 - small / 42.0 * last)) / 6.0
    return ti.select(is_small, series, (1.0 - sinc(large)) / large)


@ti.func
def unit_quaternion(rotation: vec3) -> vec4:
    """Of a rotation vector: the cosine of half the angle, then the axis times the sine."""
    square = 0.25 * rotation.norm_sqr()
    return vec4(ti.cos(ti.sqrt(square)), 0.5 * sinc(square) * rotation)


@ti.func
def turn(quaternion: vec4):
    """The three rows of the matrix, 1 + s (w [u] + [u]^2) with s = 2 / length^2."""
    w, u = quaternion.x, quaternion.yzw
    s = 2.0 / quaternion.norm_sqr()
    x_row = vec3(-u.y * u.y - u.z * u.z, u.x * u.y - w * u.z, u.x * u.z + w * u.y)
    y_row = vec3(u.x * u.y + w * u.z, -u.x * u.x - u.z * u.z, u.y * u.z - w * u.x)
    z_row = vec3(u.x * u.z - w * u.y, u.y * u.z + w * u.x, -u.x * u.x - u.y * u.y)
    return (
        vec3(1.0, 0.0, 0.0) + s * x_row,
        vec3(0.0, 1.0, 0.0) + s * y_row,
        vec3(0.0, 0.0, 1.0) + s * z_row,
    )


@ti.func
def spin_rows(x_row: vec3, y_row: vec3, z_row: vec3, spin: vec3):
    """The tangents of the rows of a rotation R, [spin] R."""
    return (
        spin.y * z_row - spin.z * y_row,
        spin.z * x_row - spin.x * z_row,
        spin.x * y_row - spin.y * x_row,
    )


@ti.func
def spin_rows_vjp(
    x_row: vec3, y_row: vec3, z_row: vec3, grad_x: vec3, grad_y: vec3, grad_z: vec3
) -> vec3:
    """The gradient with respect to the spin, from those with respect to the rows."""
    return vec3(
        grad_z.dot(y_row) - grad_y.dot(z_row),
        grad_x.dot(z_row) - grad_z.dot(x_row),
        grad_y.dot(x_row) - grad_x.dot(y_row),
    )


@ti.func
def quaternion_spin(quaternion: vec4, moved: vec4) -> vec3:
    """The spin of a quaternion that moves; along itself it turns nothing."""
    w, u, dw, du = quaternion.x, quaternion.yzw, moved.x, moved.yzw
    return 2.0 / quaternion.norm_sqr() * (w * du - dw * u + u.cross(du))


@ti.func
def quaternion_spin_vjp(quaternion: vec4, grad_spin: vec3) -> vec4:
    """The gradient with respect to the quaternion."""
    w, u = quaternion.x, quaternion.yzw
    axis = w * grad_spin + grad_spin.cross(u)
    return 2.0 / quaternion.norm_sqr() * vec4(-u.dot(grad_spin), axis)


@ti.func
def vector_spin(rotation: vec3, moved: vec3) -> vec3:
    """The spin of a rotation vector that moves: the left Jacobian of SO(3)."""
    square, across = rotation.norm_sqr(), rotation.cross(moved)
    half = sinc(0.25 * square)
    return moved + 0.5 * half * half * across + sinc_rest(square) * rotation.cross(across)


@ti.func
def vector_spin_vjp(rotation: vec3, grad_spin: vec3) -> vec3:
    """The gradient with respect to the rotation vector: the Jacobian's transpose is that of -r."""
    return vector_spin(-rotation, grad_spin)
