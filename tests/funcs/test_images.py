"""Samples of pictures against a slow twin, and every derivative against differences."""

import itertools

import numpy as np
import pytest

from taichi_softras.funcs.images import (
    FILTERS,
    WRAPS,
    add_to_texels,
    load_image,
    sample_image,
    sample_image_tangent,
    sample_image_vjp,
)
from taichi_softras.runtime import default_numpy_float, ti, vec2
from taichi_softras.shading.pyramids import (
    build_levels,
    build_levels_vjp,
    lay_out_images,
    num_texels,
)
from taichi_softras.workspace import Workspace, array
from tests.gradcheck import relative_error
from tests.reference import images as twin
from tests.tolerances import (
    BY_HAND_AND_BY_TAICHI,
    FINITE_DIFFERENCE_RELATIVE,
    FINITE_DIFFERENCE_STEP,
    SINGLE_PRECISION_RELATIVE,
    TRANSPOSE_DOUBLE,
)

CHANNELS = 2
SIZES = [(1, 1), (1, 5), (4, 4), (5, 3), (8, 16), (7, 12)]
POINTS = 40  # of a picture
UV, DX, DY, BIAS, ALL = slice(0, 2), slice(2, 4), slice(4, 6), 6, 7  # columns of `points`


@ti.func
def place_of(points: ti.template(), i: int):
    return ti.Struct(
        uv=vec2(points[i, 0], points[i, 1]),
        dx=vec2(points[i, 2], points[i, 3]),
        dy=vec2(points[i, 4], points[i, 5]),
        bias=points[i, 6],
    )


@ti.func
def row_of(values: ti.template(), i: int):
    return ti.Vector([values[i, c] for c in ti.static(range(CHANNELS))])


@ti.kernel
def sample(
    texels: array(float, 4),
    images: array(int, 1),
    pictures: array(int, 1),
    points: array(float, 2),
    samples: array(float, 2),
    has_levels: ti.template(),
):
    for i in range(points.shape[0]):
        image, at = load_image(images, 0, pictures[i]), place_of(points, i)
        color = sample_image(texels, 0, image, at.uv, at.dx, at.dy, at.bias, CHANNELS, has_levels)
        for c in ti.static(range(CHANNELS)):
            samples[i, c] = color[c]


@ti.kernel
def pull_back(
    texels: array(float, 4),
    images: array(int, 1),
    pictures: array(int, 1),
    points: array(float, 2),
    grad_samples: array(float, 2),
    grad_points: array(float, 2),
    grad_texels: array(float, 4),
    has_levels: ti.template(),
):
    for i in range(points.shape[0]):
        image, at = load_image(images, 0, pictures[i]), place_of(points, i)
        grad_sample = row_of(grad_samples, i)
        grad = sample_image_vjp(
            texels, 0, image, at.uv, at.dx, at.dy, at.bias, grad_sample, CHANNELS, has_levels
        )
        for axis in ti.static(range(2)):
            grad_points[i, axis] = grad.uv[axis]
            grad_points[i, 2 + axis] = grad.uv_dx[axis]
            grad_points[i, 4 + axis] = grad.uv_dy[axis]
        grad_points[i, 6] = grad.level_bias
        add_to_texels(
            grad_texels,
            0,
            image,
            at.uv,
            at.dx,
            at.dy,
            at.bias,
            grad_sample,
            CHANNELS,
            has_levels,
            True,
        )


@ti.kernel
def move(
    texels: array(float, 4),
    tangent_texels: array(float, 5),
    images: array(int, 1),
    pictures: array(int, 1),
    points: array(float, 2),
    tangent_points: array(float, 2),
    moved: array(float, 2),
    has_levels: ti.template(),
):
    for i in range(points.shape[0]):
        image, at = load_image(images, 0, pictures[i]), place_of(points, i)
        by = place_of(tangent_points, i)
        tangent = sample_image_tangent(
            texels,
            tangent_texels,
            1,
            0,
            image,
            at.uv,
            at.dx,
            at.dy,
            at.bias,
            by.uv,
            by.dx,
            by.dy,
            CHANNELS,
            has_levels,
        )
        for c in ti.static(range(CHANNELS)):
            moved[i, c] = tangent[c]


def on_device(values, dtype=float):
    values = np.ascontiguousarray(values, default_numpy_float() if dtype is float else np.int32)
    result = ti.ndarray(dtype, values.shape)
    result.from_numpy(values)
    return result


class Pictures:
    """Random pictures of all sizes, filters and wraps, and points on and around them."""

    def __init__(self, filters=FILTERS, generator=None):
        generator = generator or np.random.default_rng(0)
        self.has_levels = "trilinear" in filters
        self.kinds = list(itertools.product(SIZES, filters, WRAPS))
        sizes = [(*size, FILTERS.index(f), WRAPS.index(w)) for size, f, w in self.kinds]
        self.images = [generator.uniform(size=(*size, CHANNELS)) for size, _, _ in self.kinds]
        self.rows, number = lay_out_images(sizes)
        self.texels = np.zeros((1, 1, number, CHANNELS))
        for row, image in zip(self.rows, self.images):
            levels = twin.pyramid_of(image)[: row[3]]
            values = np.concatenate([level.reshape(-1, CHANNELS) for level in levels])
            self.texels[0, 0, row[0] : row[0] + len(values)] = values
        self.pictures = np.repeat(np.arange(len(self.kinds)), POINTS)
        count = len(self.pictures)
        self.points = np.zeros((count, ALL))
        self.points[:, UV] = generator.uniform(-3, 4, (count, 2))
        scale = 10.0 ** generator.uniform(-2, 0.5, (count, 1))
        self.points[:, DX.start : DY.stop] = scale * generator.normal(size=(count, 4))

    def sample(self, points=None, texels=None):
        points = self.points if points is None else points
        samples = ti.ndarray(float, (len(points), CHANNELS))
        sample(
            on_device(self.texels if texels is None else texels),
            on_device(np.ravel(self.rows), int),
            on_device(self.pictures, int),
            on_device(points),
            samples,
            self.has_levels,
        )
        return samples.to_numpy()

    def pull_back(self, grad_samples):
        grad_points = ti.ndarray(float, self.points.shape)
        grad_texels = ti.ndarray(float, self.texels.shape)
        pull_back(
            on_device(self.texels),
            on_device(np.ravel(self.rows), int),
            on_device(self.pictures, int),
            on_device(self.points),
            on_device(grad_samples),
            grad_points,
            grad_texels,
            self.has_levels,
        )
        return grad_points.to_numpy(), grad_texels.to_numpy()

    def move(self, tangent_texels, tangent_points):
        moved = ti.ndarray(float, (len(self.points), CHANNELS))
        move(
            on_device(self.texels),
            on_device(np.stack([np.zeros_like(tangent_texels), tangent_texels])),
            on_device(np.ravel(self.rows), int),
            on_device(self.pictures, int),
            on_device(self.points),
            on_device(tangent_points),
            moved,
            self.has_levels,
        )
        return moved.to_numpy()

    def slopes(self, direction):
        """How samples change with points, by differences."""
        step = FINITE_DIFFERENCE_STEP * direction
        difference = self.sample(self.points + step) - self.sample(self.points - step)
        return difference / (2 * FINITE_DIFFERENCE_STEP)


@pytest.fixture(scope="module")
def generator():
    return np.random.default_rng(1)


without_and_with_levels = pytest.mark.parametrize("filters", [FILTERS[:2], FILTERS])


@without_and_with_levels
def test_samples_are_those_of_the_twin(backend, filters):
    pictures = Pictures(filters)
    expected = [
        twin.sample_image(pictures.images[k], p[UV], p[DX], p[DY], *pictures.kinds[k][1:])
        for k, p in zip(pictures.pictures, pictures.points)
    ]
    error = relative_error(pictures.sample(), np.array(expected))
    assert error < SINGLE_PRECISION_RELATIVE


@pytest.mark.f64
@without_and_with_levels
def test_gradients(backend, filters, generator):
    pictures = Pictures(filters)
    weights = generator.normal(size=(len(pictures.points), CHANNELS))
    grad_points, grad_texels = pictures.pull_back(weights)
    for axis, name in enumerate(["u", "v", "u_dx", "v_dx", "u_dy", "v_dy", "bias"]):
        expected = (weights * pictures.slopes(np.eye(ALL)[axis])).sum(axis=1)
        error = relative_error(grad_points[:, axis], expected)
        print(f"{name}: {error:.1e}")
        assert error < FINITE_DIFFERENCE_RELATIVE, name
    # samples are linear in texels
    others = generator.normal(size=pictures.texels.shape)
    by_samples = (weights * pictures.sample(texels=others)).sum()
    assert (grad_texels * others).sum() == pytest.approx(by_samples, rel=BY_HAND_AND_BY_TAICHI)


@pytest.mark.f64
@without_and_with_levels
def test_tangents(backend, filters, generator):
    pictures = Pictures(filters)
    tangent_texels = generator.normal(size=pictures.texels.shape)
    tangent_points = generator.normal(size=pictures.points.shape)
    tangent_points[:, BIAS] = 0
    moved = pictures.move(tangent_texels, tangent_points)
    expected = pictures.sample(texels=tangent_texels) + pictures.slopes(tangent_points)
    assert relative_error(moved, expected) < FINITE_DIFFERENCE_RELATIVE


def test_levels_are_those_of_the_twin_and_keep_the_mean(backend):
    """Of sides that are odd, too."""
    pictures = Pictures()
    only_finest = np.zeros_like(pictures.texels)
    for row, image in zip(pictures.rows, pictures.images):
        first, height, width = row[:3]
        only_finest[0, 0, first : first + height * width] = image.reshape(-1, CHANNELS)
    texels = on_device(only_finest)
    build_levels(Workspace(), texels, pictures.rows)
    assert relative_error(texels.to_numpy(), pictures.texels) < SINGLE_PRECISION_RELATIVE
    tangents = on_device(np.stack([only_finest, 2 * only_finest]))
    build_levels(Workspace(), tangents, pictures.rows)
    np.testing.assert_array_equal(tangents.to_numpy()[1], 2 * texels.to_numpy())
    for row, image in zip(pictures.rows, pictures.images):
        if row[3] > 1:
            last = row[0] + sum(num_texels(row, level) for level in range(row[3])) - 1
            mean = image.mean(axis=(0, 1))
            error = relative_error(texels.to_numpy()[0, 0, last], mean)
            assert error < SINGLE_PRECISION_RELATIVE


@pytest.mark.f64
def test_adjoint_of_levels(backend, generator):
    """<build(x), w> = <x, build_vjp(w)>, x without coarse levels."""
    pictures = Pictures()
    is_finest = np.zeros(pictures.texels.shape, bool)
    for first, height, width, *_ in pictures.rows:
        is_finest[0, 0, first : first + height * width] = True
    texels = generator.normal(size=pictures.texels.shape) * is_finest
    weights = generator.normal(size=pictures.texels.shape)
    built, grad = on_device(texels), on_device(weights)
    build_levels(Workspace(), built, pictures.rows)
    build_levels_vjp(Workspace(), grad, pictures.rows)
    expected = (built.to_numpy() * weights).sum()
    assert (texels * grad.to_numpy()).sum() == pytest.approx(expected, rel=TRANSPOSE_DOUBLE)
