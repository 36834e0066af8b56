"""Sides of edges, weights and depths: exact, and the same for the same corners in any order."""

import itertools

import numpy as np

from taichi_softras.funcs.interpolation import PERSPECTIVE, clip_weights
from taichi_softras.funcs.triangle import (
    barycentric,
    make_triangle,
    settle_on_edge,
    signed_area,
    squared_distance,
)
from taichi_softras.runtime import ti
from taichi_softras.workspace import array
from tests import tolerances

POINTS = 500


@ti.kernel
def look(
    corners: array(None, 3),  # (N, 3, 4) x, y, 1 / w, depth / w
    pixels: array(None, 2),  # (N, 2)
    looks: array(None, 2),  # (N, 5) out: weights, depth, squared distance
):
    for i in range(corners.shape[0]):
        a = ti.math.vec2(corners[i, 0, 0], corners[i, 0, 1])
        b = ti.math.vec2(corners[i, 1, 0], corners[i, 1, 1])
        c = ti.math.vec2(corners[i, 2, 0], corners[i, 2, 1])
        planes = ti.Struct(
            inverse_w=ti.math.vec3(corners[i, 0, 2], corners[i, 1, 2], corners[i, 2, 2]),
            depth_over_w=ti.math.vec3(corners[i, 0, 3], corners[i, 1, 3], corners[i, 2, 3]),
        )
        lengths = ti.math.vec3((b - a).norm(), (c - b).norm(), (a - c).norm())
        triangle = make_triangle(a, b, c, 1.0 / signed_area(a, b, c), 1.0 / lengths, planes)
        pixel = ti.math.vec2(pixels[i, 0], pixels[i, 1])
        weights = barycentric(pixel, triangle)
        for k in ti.static(range(3)):
            looks[i, k] = weights[k]
        settled = clip_weights(settle_on_edge(weights, pixel, triangle))
        looks[i, 3] = PERSPECTIVE.depth(settled, triangle)
        looks[i, 4] = squared_distance(pixel, triangle)


def look_at(corners, pixels):
    """Weights (N, 3), depths (N,) and squared distances (N,), in single precision."""
    looks = np.zeros((len(corners), 5), np.float32)
    look(*(np.ascontiguousarray(values, np.float32) for values in (corners, pixels)), looks)
    return looks[:, :3], looks[:, 3], looks[:, 4]


def random_corners(generator):
    """(N, 3, 4) in half pixels; every second has whole coordinates, so that pixels lie on edges."""
    corners = generator.uniform(-20, 20, (POINTS, 3, 4))
    corners[::2, :, :2] = np.round(corners[::2, :, :2] / 8) * 8
    corners[..., 2:] = generator.uniform(0.2, 1.5, (POINTS, 3, 2))
    areas = np.linalg.det(corners[:, 1:, :2] - corners[:, :1, :2])
    return corners[np.abs(areas) > 1.0]


def test_the_order_of_corners_does_not_matter(backend):
    generator = np.random.default_rng(0)
    corners = random_corners(generator)
    pixels = np.round(generator.uniform(-12, 12, (len(corners), 2)) / 4) * 4
    weights, depths, distances = look_at(corners, pixels)
    assert ((weights == 0).any(axis=1) & (weights.min(axis=1) >= 0)).sum() > 10, "none on edges"
    for order in itertools.permutations(range(3)):
        others = look_at(corners[:, order], pixels)
        np.testing.assert_array_equal(others[0], weights[:, order])
        np.testing.assert_array_equal(others[1], depths)
        np.testing.assert_array_equal(others[2], distances)


def test_a_pixel_on_an_edge_has_its_depth_in_both_faces(backend):
    """And none is between them: what is outside of one is inside of the other."""
    generator = np.random.default_rng(1)
    start, end, left, right = generator.uniform(0.2, 1.5, (4, POINTS, 4))
    start[:, :2], end[:, :2] = generator.integers(-9, 9, (2, POINTS, 2)) * 2
    end[:, :2] += (start[:, :2] == end[:, :2]).all(axis=1, keepdims=True) * 2
    across = (end - start)[:, [1, 0]] * [-1, 1]
    along = generator.uniform(-1, 2, (2, POINTS, 1)) * (end - start)[:, :2]
    left[:, :2] = start[:, :2] + along[0] + across * generator.uniform(0.5, 2, (POINTS, 1))
    right[:, :2] = start[:, :2] + along[1] - across * generator.uniform(0.5, 2, (POINTS, 1))
    pixels = (start + end)[:, :2] / 2  # whole numbers
    one, depths, _ = look_at(np.stack([start, end, left], axis=1), pixels)
    other, other_depths, _ = look_at(np.stack([right, end, start], axis=1), pixels)
    assert (one[:, 2] == 0).all() and (other[:, 0] == 0).all()
    np.testing.assert_array_equal(depths, other_depths)
    inverse_w, depth_over_w = (start + end)[:, 2:].T
    np.testing.assert_allclose(
        depths, depth_over_w / inverse_w, rtol=tolerances.SINGLE_PRECISION_RELATIVE
    )
    beside = np.round(pixels + generator.normal(size=pixels.shape))
    one, _, _ = look_at(np.stack([start, end, left], axis=1), beside)
    other, _, _ = look_at(np.stack([end, start, right], axis=1), beside)
    np.testing.assert_array_equal(np.sign(one[:, 2]), -np.sign(other[:, 2]))
