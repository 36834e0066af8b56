"""Pictures of all directions in, nine harmonics a colour out: the light that comes from far away.

R. Ramamoorthi, P. Hanrahan, "An Efficient Representation for Irradiance Environment Maps",
SIGGRAPH 2001, equation 10. A picture is as wide as the horizon and as high as half a turn: row 0
is straight up (+y), the middle of a row is ahead (-z), the right of it is to the right (+x).

A texel is one colour over its piece of the sphere, so the integral of a harmonic over it has a
closed form: what a row gives times what a column gives, summed where a harmonic is no product.
"""

import numpy as np

from taichi_softras.funcs.harmonics import CONSTANT, LINEAR, QUADRATIC, QUADRATIC_Z
from taichi_softras.runtime import kernel, ti
from taichi_softras.workspace import array

HARMONIC_OF_PRODUCT = 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 8
NUM_PRODUCTS, NUM_HARMONICS = 11, 9


def integrals(height: int, width: int) -> tuple:
    """(H, NUM_PRODUCTS) and (W, NUM_PRODUCTS), whose products are those of texels.

    With x = sin t sin p, y = cos t, z = -sin t cos p, over sin t dt dp. The harmonics are those of
    `funcs.harmonics`, without what a matt surface keeps of each order.
    """
    polar = np.pi * np.arange(height + 1) / height
    azimuth = 2 * np.pi * (np.arange(width + 1) / width - 0.5)
    sine, cosine = np.sin(polar), np.cos(polar)
    once, twice = (polar - sine * cosine) / 2, cosine**3 / 3 - cosine  # of sin t, of sin^2 t
    mixed = sine**3 / 3  # of sin t cos t
    turn, swing = azimuth / 2, np.sin(2 * azimuth) / 4
    of_sine, of_cosine = -np.cos(azimuth), np.sin(azimuth)
    linear, quadratic = 3 / 2 * LINEAR, 4 * QUADRATIC
    products = (
        (CONSTANT, -cosine, azimuth),
        (linear, sine**2 / 2, azimuth),  # y
        (-linear, once, of_cosine),  # z
        (linear, once, of_sine),  # x
        (quadratic, mixed, of_sine),  # xy
        (-quadratic, mixed, of_cosine),  # yz
        (12 * QUADRATIC_Z, twice, turn + swing),  # 3 z^2
        (4 * QUADRATIC_Z, cosine, azimuth),  # -1
        (-quadratic, twice, np.sin(azimuth) ** 2 / 2),  # xz
        (quadratic / 2, twice, turn - swing),  # x^2
        (quadratic / 2, cosine**3 / 3, azimuth),  # -y^2
    )
    rows = np.stack([factor * np.diff(of_row) for factor, of_row, _ in products], axis=1)
    columns = np.stack([np.diff(of_column) for _, _, of_column in products], axis=1)
    return rows, columns


@kernel
def project(
    texels: array(float, 4),  # (1, 1, H W, 3)
    rows: array(float, 2),  # (H, NUM_PRODUCTS)
    columns: array(float, 2),  # (W, NUM_PRODUCTS)
    sums: array(float, 2),  # (H, 27), written
    start: int,  # of the light's numbers in `uniforms`; negative: not there
    uniforms: array(float, 1),
    column: int,  # of the light's numbers in `fragment_uniforms`; negative: not there
    fragment_uniforms: array(float, 2),  # (1 or B, N), all rows alike
):
    """Fills the numbers of a light of harmonics from its picture. It is linear."""
    for row, channel in ti.ndrange(rows.shape[0], 3):
        total = ti.Vector.zero(float, NUM_HARMONICS)
        for i in range(columns.shape[0]):
            texel = texels[0, 0, row * columns.shape[0] + i, channel]
            for k in ti.static(range(NUM_PRODUCTS)):
                total[ti.static(HARMONIC_OF_PRODUCT[k])] += rows[row, k] * columns[i, k] * texel
        for k in ti.static(range(NUM_HARMONICS)):
            sums[row, 3 * k + channel] = total[k]
    for number in range(3 * NUM_HARMONICS):
        coefficient = 0.0
        for row in range(rows.shape[0]):
            coefficient += sums[row, number]
        if start >= 0:
            uniforms[start + number] = coefficient
        if column >= 0:
            for row in range(fragment_uniforms.shape[0]):
                fragment_uniforms[row, column + number] = coefficient


@kernel
def project_vjp(
    grad_texels: array(float, 4),  # (1, 1, H W, 3), written
    rows: array(float, 2),  # as in `project`, and the following
    columns: array(float, 2),
    sums: array(float, 2),  # (H, 27), its first row is written: the gradient at the coefficients
    start: int,
    grad_uniforms: array(float, 1),
    column: int,
    grad_fragment_uniforms: array(float, 2),
):
    """The adjoint of `project`."""
    for number in range(3 * NUM_HARMONICS):
        grad = 0.0
        if start >= 0:
            grad += grad_uniforms[start + number]
        if column >= 0:
            for row in range(grad_fragment_uniforms.shape[0]):
                grad += grad_fragment_uniforms[row, column + number]
        sums[0, number] = grad
    for row, i in ti.ndrange(rows.shape[0], columns.shape[0]):
        grad = ti.Vector.zero(float, 3)
        for k in ti.static(range(NUM_PRODUCTS)):
            for channel in ti.static(range(3)):
                number = ti.static(3 * HARMONIC_OF_PRODUCT[k] + channel)
                grad[channel] += rows[row, k] * columns[i, k] * sums[0, number]
        for channel in ti.static(range(3)):
            grad_texels[0, 0, row * columns.shape[0] + i, channel] = grad[channel]
