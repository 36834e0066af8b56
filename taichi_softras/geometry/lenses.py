"""Lenses of cameras: rows behind those of a camera's matrix, and corners that they bend.

The three rows of a lens are the vectors of `funcs.distortion`: window, radial with the edge,
tangential. They are there where `Stages.is_distorted`; the matrix is that of the pinhole.
"""

from taichi_softras.funcs.distortion import (
    bend,
    bend_jvp,
    bend_vjp,
    find_edge,
    find_edge_vjp,
)
from taichi_softras.geometry.scene_arrays import DISTORTION_START, load_row
from taichi_softras.runtime import ti, vec2, vec3, vec4


@ti.func
def store_lens(
    uniforms: ti.template(), matrices: ti.template(), camera: int, at: int, window: vec4
):
    """Fills the rows of a lens; the numbers of its camera begin at `at`."""
    radial, tangential = load_coefficients(uniforms, at)
    rows = (window, vec4(radial, find_edge(radial)), vec4(tangential, 0.0, 0.0))
    for row, numbers in ti.static(enumerate(rows)):
        for k in ti.static(range(4)):
            matrices[camera, 4 + row, k] = numbers[k]


@ti.func
def store_lens_vjp(
    uniforms: ti.template(),
    at: int,
    grad_radial: vec4,
    grad_tangential: vec4,
    grad_uniforms: ti.template(),
):
    """From the rows of a lens but its window to the coefficients; adds."""
    radial, _ = load_coefficients(uniforms, at)
    edge = find_edge(radial)
    grad = grad_radial.xyz + find_edge_vjp(radial, edge, grad_radial.w)
    for k, number in ti.static(
        enumerate((grad.x, grad.y, grad_tangential.x, grad_tangential.y, grad.z))
    ):
        column = at + DISTORTION_START + k
        grad_uniforms[column] = grad_uniforms[column] + number


@ti.func
def store_lens_jvp(
    uniforms: ti.template(),
    tangent_uniforms: ti.template(),
    tangent_matrices: ti.template(),
    camera: int,
    at: int,
    moved_window: vec4,
):
    """The tangent of `store_lens`."""
    radial, _ = load_coefficients(uniforms, at)
    moved_radial, moved_tangential = load_coefficients(tangent_uniforms, at)
    moved_edge = find_edge_vjp(radial, find_edge(radial), 1.0).dot(moved_radial)
    rows = (moved_window, vec4(moved_radial, moved_edge), vec4(moved_tangential, 0.0, 0.0))
    for row, numbers in ti.static(enumerate(rows)):
        for k in ti.static(range(4)):
            tangent_matrices[camera, 4 + row, k] = numbers[k]


@ti.func
def load_coefficients(uniforms: ti.template(), at: int):
    """k1, k2, k3; and p1, p2."""
    start = at + DISTORTION_START  # where they are k1, k2, p1, p2, k3
    radial = vec3(uniforms[start], uniforms[start + 1], uniforms[start + 4])
    return radial, vec2(uniforms[start + 2], uniforms[start + 3])


@ti.func
def bend_by(matrices: ti.template(), camera: int, clip: vec4) -> vec4:
    """Where the lens of a camera puts what its pinhole has at `clip`."""
    window, radial = load_row(matrices, camera, 4), load_row(matrices, camera, 5)
    return bend(clip, window, radial, load_row(matrices, camera, 6).xy)


@ti.func
def bend_by_vjp(matrices: ti.template(), camera: int, clip: vec4, grad: vec4):
    """Gradients with respect to `clip` and the rows of the lens, a struct: see `bend_vjp`."""
    window, radial = load_row(matrices, camera, 4), load_row(matrices, camera, 5)
    return bend_vjp(clip, window, radial, load_row(matrices, camera, 6).xy, grad)


@ti.func
def bend_by_jvp(
    matrices: ti.template(), tangent_matrices: ti.template(), camera: int, clip: vec4, moved: vec4
) -> vec4:
    """The tangent of `bend_by`."""
    return bend_jvp(
        clip,
        load_row(matrices, camera, 4),
        load_row(matrices, camera, 5),
        load_row(matrices, camera, 6).xy,
        moved,
        load_row(tangent_matrices, camera, 4),
        load_row(tangent_matrices, camera, 5),
        load_row(tangent_matrices, camera, 6).xy,
    )
