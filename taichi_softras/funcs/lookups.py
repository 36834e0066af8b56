"""Textures of single faces: a point of a face in, the entries around it and their shares out."""

from typing import Callable

from taichi_softras.funcs.values import value
from taichi_softras.runtime import ti, vec3

CUBE_MARGIN = 1e-3  # of an entry: what is cut off a texture cube at its far ends (Kato et al.)


@value
class Lookup:
    """How a face's texture makes the value at a point.

    Attributes:
        num_axes: of a texture, each of `resolution` entries.
        count: of the entries around a point.
        entries: (on_face, resolution) -> their indices and shares, `count` of each; on_face is
            the barycentric weights of the point.
        slopes: (on_face, resolution) -> (count, 3) derivatives of the shares by on_face.
        is_smooth: whether shares move with the point; otherwise `slopes` is not called.
        place: (entry, resolution) -> the barycentric weights at which light falls on an entry.
    """

    num_axes: int
    count: int
    entries: Callable
    slopes: Callable
    is_smooth: bool
    place: Callable


@ti.func
def texel_index(weights: vec3, resolution: int) -> int:
    """Which of a face's R x R texels lies under a point (SoftRas `surface` textures).

    Corner a runs along columns, corner b along rows; the upper half of the square is
    the mirrored half of the face. The half is told by the third weight, which is an
    exact zero beyond the edge a-b, so rounding flips no texel there.
    """
    scale = ti.cast(resolution, float)
    column = ti.max(ti.min(ti.cast(weights.x * scale, ti.i32), resolution - 1), 0)
    row = ti.max(ti.min(ti.cast(weights.y * scale, ti.i32), resolution - 1), 0)
    is_lower = (1.0 - weights.z) * scale - ti.cast(column + row, float) <= 1.0
    last = resolution - 1
    return ti.select(is_lower, row * resolution + column, (last - row) * resolution + last - column)


@ti.func
def texel_entries(on_face: vec3, resolution: int):
    """The texel under the point."""
    return ti.Vector([texel_index(on_face, resolution)]), ti.Vector([1.0])


@ti.func
def texel_slopes(on_face: vec3, resolution: int):
    """Zero: a texel is a step."""
    return ti.Matrix.zero(float, 1, 3)


@ti.func
def texel_place(entry: int, resolution: int) -> vec3:
    """The centre of a texel on the face: that of a cell, or of a mirrored one."""
    column = entry % resolution
    row = entry // resolution
    last = resolution - 1
    is_mirrored = column + row > last
    third = 1.0 / 3.0
    a = ti.select(is_mirrored, ti.cast(last - column, float) + 2.0 * third, column + third)
    b = ti.select(is_mirrored, ti.cast(last - row, float) + 2.0 * third, row + third)
    scale = ti.cast(resolution, float)
    return vec3(a, b, scale - a - b) / scale


@ti.func
def cube_entries(on_face: vec3, resolution: int):
    """The entries of a texture cube around a point, and their trilinear shares (Kato et al. 2018).

    Axis k of the resolution^3 cube is the weight of corner k, stretched to [0, resolution - 1];
    the last `CUBE_MARGIN` of it is cut off.
    """
    last = ti.cast(resolution - 1, float)
    place = ti.min(ti.max(on_face * last, 0.0), last - CUBE_MARGIN)
    low = ti.floor(place)
    upper = place - low
    entries = ti.Vector([0 for _ in ti.static(range(8))])
    shares = ti.Vector([1.0 for _ in ti.static(range(8))])
    for k in ti.static(range(8)):
        for axis in ti.static(range(3)):
            step = ti.static((k >> (2 - axis)) & 1)
            entries[k] = entries[k] * resolution + ti.cast(low[axis], ti.i32) + step
            shares[k] *= upper[axis] if ti.static(step == 1) else 1.0 - upper[axis]
    return entries, shares


@ti.func
def cube_slopes(on_face: vec3, resolution: int):
    """The derivative of `cube_entries`' shares; 0 along an axis where the cube ends."""
    last = ti.cast(resolution - 1, float)
    stretched = on_face * last
    place = ti.min(ti.max(stretched, 0.0), last - CUBE_MARGIN)
    upper = place - ti.floor(place)
    slopes = ti.Matrix.zero(float, 8, 3)
    for k in ti.static(range(8)):
        for axis in ti.static(range(3)):
            slope = ti.select(stretched[axis] == place[axis], last, 0.0)
            if ti.static((k >> (2 - axis)) & 1 == 0):
                slope = -slope
            for other in ti.static(range(3)):
                if ti.static(other != axis):
                    is_upper = ti.static((k >> (2 - other)) & 1 == 1)
                    slope *= upper[other] if ti.static(is_upper) else 1.0 - upper[other]
            slopes[k, axis] = slope
    return slopes


@ti.func
def cube_place(entry: int, resolution: int) -> vec3:
    """The barycentric weights of an entry; their sum is 1 on the face alone.

    Between entries a cube is trilinear, so what is linear on the face stays as it is.
    """
    scale = 1.0 / ti.cast(resolution - 1, float)
    a = entry // (resolution * resolution)
    b = entry // resolution % resolution
    c = entry % resolution
    return vec3(ti.cast(a, float), ti.cast(b, float), ti.cast(c, float)) * scale


TEXELS = Lookup(2, 1, texel_entries, texel_slopes, False, texel_place)
CUBES = Lookup(3, 8, cube_entries, cube_slopes, True, cube_place)
