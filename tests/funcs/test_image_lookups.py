"""Samples of pictures and cube maps against slow twins, every derivative against differences."""

import itertools

import numpy as np
import pytest

from taichi_softras.funcs.images import FILTERS, WRAPS
from taichi_softras.shading.pyramids import build_levels, build_levels_vjp, num_texels
from taichi_softras.workspace import Workspace
from tests import measured
from tests.funcs.pictures import CHANNELS, CUBIC, PLANAR, Pictures, on_device, random_points
from tests.gradcheck import relative_error
from tests.reference import images as twin
from tests.tolerances import (
    BY_HAND_AND_BY_TAICHI,
    DOUBLE_ROUNDING,
    FINITE_DIFFERENCE_RELATIVE,
    FINITE_DIFFERENCE_STEP,
    SINGLE_PRECISION_RELATIVE,
    TRANSPOSE_DOUBLE,
    TWIN_DOUBLE,
)

SIZES = [(1, 1), (1, 5), (4, 4), (5, 3), (8, 16), (7, 12)]
SIDES = [1, 2, 5, 8]  # of cube maps
POINTS = 40  # of a picture


class Planes(Pictures):
    """Pictures of all sizes, filters and wraps, and points on and around them."""

    def __init__(self, filters=FILTERS):
        generator = np.random.default_rng(0)
        self.kinds = [
            (*size, filter, wrap) for size, filter, wrap in itertools.product(SIZES, filters, WRAPS)
        ]
        self.images = [generator.uniform(size=(*kind[:2], CHANNELS)) for kind in self.kinds]
        pyramids = [twin.pyramid_of(image) for image in self.images]
        pictures = np.repeat(np.arange(len(self.kinds)), POINTS)
        points = random_points(generator, 2, len(pictures))
        super().__init__(PLANAR, self.kinds, pyramids, points, pictures)

    def expected(self):
        return [
            twin.sample_image(self.images[k], p[:2], p[2:4], p[4:6], *self.kinds[k][2:])
            for k, p in zip(self.pictures, self.points)
        ]


class Cubes(Pictures):
    """Cube maps of all sizes and filters, and directions, many of them near edges and corners."""

    def __init__(self, filters=FILTERS):
        generator = np.random.default_rng(0)
        self.kinds = [(n, n, filter, "cube") for n in SIDES for filter in filters]
        self.images = [generator.uniform(size=(6, n, n, CHANNELS)) for n, *_ in self.kinds]
        pyramids = [twin.cube_pyramid_of(image) for image in self.images]
        pictures = np.repeat(np.arange(len(self.kinds)), 4 * POINTS)
        points = random_points(generator, 3, len(pictures))
        corners = generator.choice([-1.0, 1.0], (len(pictures), 3))
        near = generator.uniform(size=len(pictures)) < 0.5
        points[near, :3] = (corners * generator.uniform(0.9, 1.1, corners.shape))[near]
        super().__init__(CUBIC, self.kinds, pyramids, points, pictures)

    def expected(self):
        return [
            twin.sample_cube(self.images[k], p[:3], p[3:6], p[6:9], self.kinds[k][2])
            for k, p in zip(self.pictures, self.points)
        ]


@pytest.fixture(scope="module")
def generator():
    return np.random.default_rng(1)


all_kinds = pytest.mark.parametrize(
    "kind, filters", [(Planes, FILTERS[:2]), (Planes, FILTERS), (Cubes, FILTERS)]
)
both_kinds = pytest.mark.parametrize("kind", [Planes, Cubes])


@all_kinds
def test_samples_are_those_of_the_twin(backend, kind, filters):
    pictures = kind(filters)
    error = relative_error(pictures.sample(), np.array(pictures.expected()))
    assert error < SINGLE_PRECISION_RELATIVE


@pytest.mark.gradients
@pytest.mark.f64
@all_kinds
def test_gradients(backend, kind, filters, generator):
    pictures = kind(filters)
    weights = generator.normal(size=(len(pictures.points), CHANNELS))
    grad_points, grad_texels = pictures.pull_back(weights)
    directions = np.eye(pictures.points.shape[1])
    num_axes = len(directions) // 3  # place, footprint along a row and down a column, bias
    parts = (*["place"] * num_axes, *["footprint"] * (2 * num_axes), "level")
    for axis, along in enumerate(directions):
        expected = (weights * pictures.slopes(along)).sum(axis=1)
        error = relative_error(grad_points[:, axis], expected)
        measured.errors.append((f"{parts[axis]} of a sample ({kind.__name__.lower()})", error))
        assert error < FINITE_DIFFERENCE_RELATIVE, axis
    # samples are linear in texels
    others = generator.normal(size=pictures.texels.shape)
    by_samples = (weights * pictures.sample(texels=others)).sum()
    assert (grad_texels * others).sum() == pytest.approx(by_samples, rel=BY_HAND_AND_BY_TAICHI)


@pytest.mark.f64
@all_kinds
def test_tangents(backend, kind, filters, generator):
    pictures = kind(filters)
    tangent_texels = generator.normal(size=pictures.texels.shape)
    tangent_points = generator.normal(size=pictures.points.shape)
    tangent_points[:, -1] = 0  # the bias is constant
    moved = pictures.move(tangent_texels, tangent_points)
    expected = pictures.sample(texels=tangent_texels) + pictures.slopes(tangent_points)
    assert relative_error(moved, expected) < FINITE_DIFFERENCE_RELATIVE


@both_kinds
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0])
def test_places_that_are_no_places(backend, kind, number):
    """NaN is taken for 0, and nothing is looked up outside of a picture."""
    pictures = kind()
    columns = np.arange(len(pictures.points)) % (pictures.points.shape[1] - 1)
    pictures.points[np.arange(len(columns)), columns] = number
    pictures.points[:3] = number
    samples = pictures.sample()
    assert (samples >= 0).all() and (samples < 1 + SINGLE_PRECISION_RELATIVE).all()
    for gradients in pictures.pull_back(np.ones_like(samples)):
        assert np.isfinite(gradients).all()
    if np.isnan(number):
        pictures.points = np.nan_to_num(pictures.points)
        np.testing.assert_array_equal(pictures.sample(), samples)


@pytest.mark.f64
def test_the_level_of_a_footprint(backend):
    """A pixel over 2^k texels looks at level k, whatever its other axis and however it is turned.

    At the ends of the pyramid nothing moves. Of a circle the axes move evenly: enlarging it is
    right.
    """
    values = np.arange(4.0)  # of the levels of an 8 x 8 picture
    pyramid = [np.full((8 >> k, 8 >> k, CHANNELS), value) for k, value in enumerate(values)]
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    footprints = [(1, 0.1), (2, 0.1), (4, 4), (8, 1), (2**0.5, 1), (3, 3), (0, 0), (100, 0)]
    points = np.zeros((len(footprints), 7))
    for point, axes in zip(points, footprints):
        point[2:6] = (np.diag(axes) @ turn).T.ravel("F") / 8
    kinds = [(8, 8, "trilinear", "repeat")]
    pictures = Pictures(PLANAR, kinds, [pyramid], points, np.zeros(len(points), int))
    levels = [0, 1, 2, 3, 0.5, np.log2(3), 0, 3]
    np.testing.assert_allclose(pictures.sample()[:, 0], levels, atol=DOUBLE_ROUNDING)
    gradients, _ = pictures.pull_back(np.ones((len(points), CHANNELS)) / CHANNELS)
    by_scale = (gradients[:, 2:6] * points[:, 2:6]).sum(axis=1)
    is_free = [1, 2, 4, 5]
    np.testing.assert_allclose(by_scale[is_free], 1 / np.log(2), atol=TWIN_DOUBLE)
    assert not gradients[[6, 7]].any()


@pytest.mark.f64
def test_cube_maps_have_no_seams(backend, generator):
    """On both sides of the cube's edges the sample is the same."""
    cubes = Cubes(("bilinear", "trilinear"))
    edges = generator.uniform(-1, 1, (len(cubes.points), 3))
    rows = np.arange(len(edges))
    first, second = generator.permuted(np.tile(np.arange(3), (len(edges), 1)), axis=1)[:, :2].T
    edges[rows, first] = np.sign(edges[rows, first])
    edges[rows, second] = np.sign(edges[rows, second])
    step = np.zeros_like(edges)
    step[rows, first] = FINITE_DIFFERENCE_STEP * edges[rows, first]
    cubes.points[:, :3] = edges + step
    cubes.points[:, 3:] = 0
    one = cubes.sample()
    cubes.points[:, :3] = edges - step
    steepest = 4 * max(SIDES) * FINITE_DIFFERENCE_STEP
    assert np.abs(cubes.sample() - one).max() < steepest


def test_a_ramp_is_its_place(backend, generator):
    """uv = (0, 0) is the lower left corner, row 0 is on top, between centres all is linear."""
    height, width = 4, 8
    v, u = np.meshgrid(1 - (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width)
    image = np.stack([u.T, v.T], axis=-1)
    points = random_points(generator, 2, POINTS)
    points[:, :2] = generator.uniform(0.5 / height, 1 - 0.5 / height, (POINTS, 2))
    kinds = [(height, width, "bilinear", "zero")]
    pictures = Pictures(PLANAR, kinds, [[image]], points, np.zeros(POINTS, int))
    error = relative_error(pictures.sample(), points[:, :2])
    assert error < SINGLE_PRECISION_RELATIVE


def only_finest(pictures) -> np.ndarray:
    """Which of the texels are those of pictures, not of coarser levels."""
    is_finest = np.zeros(pictures.texels.shape, bool)
    for row in pictures.rows:
        is_finest[0, 0, row[0] : row[0] + num_texels(row, 0)] = True
    return is_finest


@both_kinds
def test_levels_are_those_of_the_twin_and_keep_the_mean(backend, kind):
    """Of sides that are odd, too."""
    pictures = kind()
    finest = pictures.texels * only_finest(pictures)
    texels = on_device(finest)
    build_levels(Workspace(), texels, pictures.rows)
    assert relative_error(texels.to_numpy(), pictures.texels) < SINGLE_PRECISION_RELATIVE
    tangents = on_device(np.stack([finest, 2 * finest]))
    build_levels(Workspace(), tangents, pictures.rows)
    np.testing.assert_array_equal(tangents.to_numpy()[1], 2 * texels.to_numpy())
    for row, image in zip(pictures.rows, pictures.images):
        first = row[0] + sum(num_texels(row, level) for level in range(row[3] - 1))
        coarsest = texels.to_numpy()[0, 0, first : first + num_texels(row, row[3] - 1)]
        mean = image.reshape(-1, CHANNELS).mean(axis=0)
        assert relative_error(coarsest.mean(axis=0), mean) < SINGLE_PRECISION_RELATIVE


@pytest.mark.f64
@both_kinds
def test_adjoint_of_levels(backend, kind, generator):
    """<build(x), w> = <x, build_vjp(w)>, x without coarse levels."""
    pictures = kind()
    texels = generator.normal(size=pictures.texels.shape) * only_finest(pictures)
    weights = generator.normal(size=pictures.texels.shape)
    built, grad = on_device(texels), on_device(weights)
    build_levels(Workspace(), built, pictures.rows)
    build_levels_vjp(Workspace(), grad, pictures.rows)
    expected = (built.to_numpy() * weights).sum()
    assert (texels * grad.to_numpy()).sum() == pytest.approx(expected, rel=TRANSPOSE_DOUBLE)
