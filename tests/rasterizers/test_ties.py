"""Edges, corners and diagonals on pixel centres, faces in one place: one rule in every method."""

import itertools

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances
from tests.rasterizers.scenes import describe

SIZE = 40

SHARP = [
    tsr.SoftAggregation(color="hard", alpha="hard"),
    tsr.SoftAggregation(distance="hard", color="hard", alpha="hard"),
    tsr.KNearest(faces_per_pixel=1, blend="hard", blur_radius=0.0),
    tsr.ApproximateGradient(),
    tsr.FilteredDerivative(overdraw=False),
]
ALL = [
    tsr.SoftAggregation(),
    tsr.KNearest(),
    tsr.ApproximateGradient(),
    tsr.FilteredDerivative(),
]


def square(half):
    """Four corners, counter-clockwise, at depth 3."""
    flat = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    return np.concatenate([flat, np.full((4, 1), 3.0)], axis=1)


def centres():
    """x and y of pixel centres, (SIZE, SIZE)."""
    steps = (2 * np.arange(SIZE) + 1 - SIZE) / SIZE
    return np.meshgrid(steps, -steps)


@pytest.mark.parametrize("rasterizer", SHARP, ids=describe)
def test_no_hole_in_a_closed_surface(backend, rasterizer):
    """A cube seen along its axis, edges and diagonals on centres; corners in any order."""
    generator = np.random.default_rng(0)
    vertices, faces = tsr.primitives.cube()
    faces = np.stack([generator.permutation(face) for face in faces])
    depths = 3.0 - vertices[:, 2]
    scale = 2.0 * (27 / SIZE) * depths.min() / np.abs(vertices).max()
    flat = vertices[:, :2] * scale / depths[:, None] / 2
    corners = np.concatenate([flat, depths[:, None]], axis=1)[faces][None]
    image, _ = tsr.rasterize(
        corners, np.ones((1, len(faces), 3, 1)), image_size=(SIZE, SIZE), rasterizer=rasterizer
    )
    x, y = centres()
    inside = np.maximum(np.abs(x), np.abs(y)) < 26 / SIZE
    assert inside.sum() > 500
    np.testing.assert_allclose(image[0, inside], 1.0, rtol=tolerances.SAME_IMAGE_SINGLE)


@pytest.mark.parametrize("rasterizer", SHARP, ids=describe)
def test_of_faces_in_one_place_the_first_is_seen(backend, rasterizer):
    face = np.array([[-0.8, -0.7, 2.3], [0.7, -0.9, 3.1], [0.1, 0.9, 2.7]])
    corners = np.stack([face[list(order)] for order in itertools.permutations(range(3))])
    colors = np.zeros((1, 6, 3, 1))
    colors[:, 0] = 1.0
    for turn in range(3):  # another order is the first
        image, _ = tsr.rasterize(
            np.roll(corners, turn, axis=0)[None],
            colors,
            image_size=(SIZE, SIZE),
            rasterizer=rasterizer,
        )
        seen = image[..., 1] > 0
        assert seen.sum() > 300
        np.testing.assert_allclose(image[seen, 0], 1.0, rtol=tolerances.SAME_IMAGE_SINGLE)


@pytest.mark.parametrize("rasterizer", SHARP, ids=describe)
def test_a_diagonal_through_centres_belongs_to_the_first_face(backend, rasterizer):
    a, b, c, d = square(0.63)
    x, y = centres()
    diagonal = (x == y) & (np.abs(x) < 0.63)
    colors = np.zeros((1, 2, 3, 1))
    colors[:, 0] = 1.0
    for one, other in itertools.product(itertools.permutations([a, b, c]), ([a, c, d], [d, c, a])):
        for faces in ([one, other], [other, one]):
            image, _ = tsr.rasterize(
                np.array([faces]), colors, image_size=(SIZE, SIZE), rasterizer=rasterizer
            )
            np.testing.assert_allclose(image[0, diagonal], 1.0, rtol=tolerances.SAME_IMAGE_SINGLE)


def test_fragments_at_one_depth_are_in_the_order_of_faces(backend):
    face = np.array([[-0.8, -0.7, 2.3], [0.7, -0.9, 3.1], [0.1, 0.9, 2.7]])
    corners = np.stack([face[list(order)] for order in itertools.permutations(range(3))])[None]
    method = tsr.KNearest(faces_per_pixel=6, blur_radius=0.0)
    found = tsr.fragments(corners, image_size=(8, 8), rasterizer=method)
    covered = found.pix_to_face[..., 0] >= 0
    assert covered.sum() > 10
    expected = np.broadcast_to(np.arange(6), (covered.sum(), 6))
    np.testing.assert_array_equal(found.pix_to_face[covered], expected)


def inward_steps(half, rasterizer):
    """How far each side of a square goes inwards, down the gradient of its mean alpha.

    Cut along either diagonal, and the mean taken: so the scene has all symmetries of a square.
    """
    corners, gradient = square(half), np.zeros((4, 3))
    for faces in ([[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]):
        image, vjp = tsr.rasterize(
            corners[faces][None], image_size=(SIZE, SIZE), rasterizer=rasterizer
        )
        np.add.at(gradient, np.array(faces), vjp(np.ones_like(image))[0][0])
    x, y = -gradient[:, 0], -gradient[:, 1]
    return np.array([x[[0, 3]].sum(), -x[[1, 2]].sum(), y[[0, 1]].sum(), -y[[2, 3]].sum()])


@pytest.mark.f64
@pytest.mark.parametrize("rasterizer", ALL, ids=describe)
@pytest.mark.parametrize("half", [19 / SIZE, 0.48], ids=["on centres", "between"])
def test_a_symmetric_scene_has_a_symmetric_gradient(backend, rasterizer, half):
    """Outlines on centres, diagonals on centres, pixels as near to one edge as to another."""
    steps = inward_steps(half, rasterizer)
    assert steps.min() > 0
    assert np.ptp(steps) < tolerances.SYMMETRIC_SIDES * steps.max()


@pytest.mark.parametrize("axis, sign", [(0, -1), (0, 1), (1, -1), (1, 1)])
@pytest.mark.parametrize("offset", [0.0, 1e-4])
def test_a_side_on_a_centre_pulls_as_one_beside_it(backend, axis, sign, offset):
    """To uncover a pixel on a triangle's side, or just inside of it, the side goes inwards."""
    size, place = 32, 17
    triangle = np.full((3, 3), 2.0)
    triangle[:2, axis] = sign * (place + 2 * offset) / size
    triangle[:2, 1 - axis] = -0.71, 0.73
    triangle[2, axis], triangle[2, 1 - axis] = -sign * 0.61, 0.013
    image, vjp = tsr.rasterize(
        triangle[None, None], image_size=(size, size), rasterizer=tsr.ApproximateGradient()
    )
    cotangent = np.zeros_like(image)
    pixel = [16, (size - 1 + place * sign) // 2]
    if axis == 1:
        pixel = [(size - 1 - place * sign) // 2, 16]
    cotangent[0, pixel[0], pixel[1]] = 1
    assert image[0, pixel[0], pixel[1]] == 1
    inward = sign * vjp(cotangent)[0][0, 0, :2, axis].sum()
    assert inward == pytest.approx(2000, rel=0.02)  # 1 / eps for each end


def test_a_line_in_space_is_not_drawn_and_a_sliver_is(backend):
    """On an edge of a face, but for rounding; a sliver is 10 times as high as that allows."""
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    start, end = np.array([-0.7, -0.3, 0.2]), np.array([0.6, 0.4, -0.3])
    middles = start + generator.uniform(0.1, 0.9, (200, 1)) * (end - start)
    points = np.stack([np.broadcast_to(start, middles.shape), middles, middles * 0 + end], axis=1)
    points = np.float32(np.float32(points) @ np.float32(turn)) + np.float32([0, 0, 2.5])
    corners = np.concatenate([points[..., :2] / points[..., 2:] * 2, points[..., 2:]], axis=-1)
    image, vjp = tsr.rasterize(
        corners[None], image_size=(SIZE, SIZE), rasterizer=tsr.SoftAggregation()
    )
    assert not image.any() and not vjp(np.ones_like(image))[0].any()
    sliver = np.array([[-0.7, -0.02, 2.0], [0.7, -0.02, 2.0], [0.1, -0.02 + 1e-5, 2.0]])
    image, _ = tsr.rasterize(
        sliver[None, None], image_size=(SIZE, SIZE), rasterizer=tsr.SoftAggregation()
    )
    assert image.max() > 0.4
