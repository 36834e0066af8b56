"""Quaternions of rotation vectors, matrices of quaternions; adjoints and tangents.

A quaternion (w, x, y, z) of any length but zero turns as the one of length 1 does, so that an
optimizer may step in all four numbers.
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
def sinc_slope(square: float) -> float:
    """The derivative of `sinc` by the square."""
    is_small = square < SMALL_SQUARE
    small, large = ti.select(is_small, square, 0.0), ti.select(is_small, 1.0, square)
    last = 1.0 / 90720.0 - small * (1.0 / 7983360.0 - small / 1037836800.0)
    series = -1.0 / 6.0 + small * (1.0 / 60.0 - small * (1.0 / 1680.0 - small * last))
    return ti.select(is_small, series, 0.5 * (ti.cos(ti.sqrt(large)) - sinc(large)) / large)


@ti.func
def unit_quaternion(rotation: vec3) -> vec4:
    """Of a rotation vector: the cosine of half the angle, then the axis times the sine."""
    square = 0.25 * rotation.norm_sqr()
    return vec4(ti.cos(ti.sqrt(square)), 0.5 * sinc(square) * rotation)


@ti.func
def unit_quaternion_vjp(rotation: vec3, grad: vec4) -> vec3:
    """The gradient with respect to the rotation vector."""
    square, grad_axis = 0.25 * rotation.norm_sqr(), grad.yzw
    along = sinc_slope(square) * rotation.dot(grad_axis) - sinc(square) * grad.x
    return 0.5 * sinc(square) * grad_axis + 0.25 * along * rotation


@ti.func
def unit_quaternion_jvp(rotation: vec3, moved: vec3) -> vec4:
    """The tangent of `unit_quaternion`."""
    square, along = 0.25 * rotation.norm_sqr(), 0.25 * rotation.dot(moved)
    axis = 0.5 * sinc(square) * moved + sinc_slope(square) * along * rotation
    return vec4(-sinc(square) * along, axis)


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
def turn_vjp(quaternion: vec4, grad_x: vec3, grad_y: vec3, grad_z: vec3) -> vec4:
    """The gradient with respect to the quaternion; it is at right angles to it."""
    w, u = quaternion.x, quaternion.yzw
    s = 2.0 / quaternion.norm_sqr()
    twist = vec3(grad_z.y - grad_y.z, grad_x.z - grad_z.x, grad_y.x - grad_x.y)
    trace = grad_x.x + grad_y.y + grad_z.z
    along = vec3(grad_x.dot(u), grad_y.dot(u), grad_z.dot(u))
    along += u.x * grad_x + u.y * grad_y + u.z * grad_z
    grad = s * vec4(u.dot(twist), w * twist + along - 2.0 * trace * u)
    return grad - 0.5 * s * quaternion.dot(grad) * quaternion


@ti.func
def turn_jvp(quaternion: vec4, moved: vec4):
    """The tangents of the three rows."""
    # the part along the quaternion turns nothing
    aside = moved - quaternion * (quaternion.dot(moved) / quaternion.norm_sqr())
    w, u, dw, du = quaternion.x, quaternion.yzw, aside.x, aside.yzw
    s = 2.0 / quaternion.norm_sqr()
    twist = dw * u + w * du
    square = 2.0 * u.dot(du)
    x_row = u.x * du + du.x * u + vec3(-square, -twist.z, twist.y)
    y_row = u.y * du + du.y * u + vec3(twist.z, -square, -twist.x)
    z_row = u.z * du + du.z * u + vec3(-twist.y, twist.x, -square)
    return s * x_row, s * y_row, s * z_row
