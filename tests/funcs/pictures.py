"""Random pictures and cube maps with points to look at, and kernels that do."""

from typing import Callable

import numpy as np

from taichi_softras.funcs.cube_maps import (
    add_cube_to_texels,
    sample_cube,
    sample_cube_tangent,
    sample_cube_vjp,
)
from taichi_softras.funcs.images import (
    CUBE,
    FILTERS,
    WRAPS,
    add_to_texels,
    load_image,
    sample_image,
    sample_image_tangent,
    sample_image_vjp,
)
from taichi_softras.funcs.values import value
from taichi_softras.runtime import default_numpy_float, ti
from taichi_softras.shading.pyramids import lay_out_images
from taichi_softras.workspace import array
from tests.tolerances import FINITE_DIFFERENCE_STEP

CHANNELS = 2


@value
class Sampler:
    """The functions of a kind of pictures, and how many numbers a place in it has."""

    num_axes: int
    sample: Callable
    vjp: Callable  # its gradients as a tuple
    tangent: Callable
    add: Callable


@ti.func
def image_vjp(
    texels: ti.template(),
    plane: int,
    image: ti.template(),
    uv: ti.template(),
    dx: ti.template(),
    dy: ti.template(),
    bias: float,
    grad_sample: ti.template(),
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    grad = sample_image_vjp(
        texels, plane, image, uv, dx, dy, bias, grad_sample, num_channels, has_levels
    )
    return grad.uv, grad.uv_dx, grad.uv_dy, grad.level_bias


@ti.func
def cube_vjp(
    texels: ti.template(),
    plane: int,
    image: ti.template(),
    direction: ti.template(),
    dx: ti.template(),
    dy: ti.template(),
    bias: float,
    grad_sample: ti.template(),
    num_channels: ti.template(),
    has_levels: ti.template(),
):
    grad = sample_cube_vjp(
        texels, plane, image, direction, dx, dy, bias, grad_sample, num_channels, has_levels
    )
    return grad.direction, grad.direction_dx, grad.direction_dy, grad.level_bias


PLANAR = Sampler(2, sample_image, image_vjp, sample_image_tangent, add_to_texels)
CUBIC = Sampler(3, sample_cube, cube_vjp, sample_cube_tangent, add_cube_to_texels)


@ti.func
def place_of(sampler: ti.template(), points: ti.template(), i: int):
    n = ti.static(sampler.num_axes)
    return ti.Struct(
        place=ti.Vector([points[i, k] for k in ti.static(range(n))]),
        dx=ti.Vector([points[i, n + k] for k in ti.static(range(n))]),
        dy=ti.Vector([points[i, 2 * n + k] for k in ti.static(range(n))]),
        bias=points[i, 3 * n],
    )


@ti.kernel
def sample(
    sampler: ti.template(),
    has_levels: ti.template(),
    texels: array(float, 4),
    images: array(int, 1),
    pictures: array(int, 1),
    points: array(float, 2),
    samples: array(float, 2),
):
    for i in range(points.shape[0]):
        image, at = load_image(images, 0, pictures[i]), place_of(sampler, points, i)
        color = sampler.sample(
            texels, 0, image, at.place, at.dx, at.dy, at.bias, CHANNELS, has_levels
        )
        for c in ti.static(range(CHANNELS)):
            samples[i, c] = color[c]


@ti.kernel
def pull_back(
    sampler: ti.template(),
    has_levels: ti.template(),
    texels: array(float, 4),
    images: array(int, 1),
    pictures: array(int, 1),
    points: array(float, 2),
    grad_samples: array(float, 2),
    grad_points: array(float, 2),
    grad_texels: array(float, 4),
):
    for i in range(points.shape[0]):
        image, at = load_image(images, 0, pictures[i]), place_of(sampler, points, i)
        seed = ti.Vector([grad_samples[i, c] for c in ti.static(range(CHANNELS))])
        grad, grad_dx, grad_dy, grad_bias = sampler.vjp(
            texels, 0, image, at.place, at.dx, at.dy, at.bias, seed, CHANNELS, has_levels
        )
        for axis in ti.static(range(sampler.num_axes)):
            grad_points[i, axis] = grad[axis]
            grad_points[i, sampler.num_axes + axis] = grad_dx[axis]
            grad_points[i, 2 * sampler.num_axes + axis] = grad_dy[axis]
        grad_points[i, 3 * sampler.num_axes] = grad_bias
        sampler.add(
            grad_texels, 0, image, at.place, at.dx, at.dy, at.bias, seed, CHANNELS, has_levels
        )


@ti.kernel
def move(
    sampler: ti.template(),
    has_levels: ti.template(),
    texels: array(float, 4),
    tangent_texels: array(float, 5),
    images: array(int, 1),
    pictures: array(int, 1),
    points: array(float, 2),
    tangent_points: array(float, 2),
    moved: array(float, 2),
):
    for i in range(points.shape[0]):
        image, at = load_image(images, 0, pictures[i]), place_of(sampler, points, i)
        by = place_of(sampler, tangent_points, i)
        tangent = sampler.tangent(
            texels,
            tangent_texels,
            1,
            0,
            image,
            at.place,
            at.dx,
            at.dy,
            at.bias,
            by.place,
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
    """Pictures, and points at which they are looked at.

    Attributes:
        rows: six ints of each.
        texels: (1, 1, N, CHANNELS), with all levels.
        pictures: (P,) which one is looked at.
        points: (P, 3 * num_axes + 1) where: place, footprint along x and y, bias of the level.
    """

    def __init__(self, sampler: Sampler, kinds: list, pyramids: list, points, pictures):
        """`kinds` are (height, width, filter, wrap), the last by name; "cube" is a cube map."""
        self.sampler = sampler
        self.has_levels = any(kind[2] == "trilinear" for kind in kinds)
        sizes = [
            (height, width, FILTERS.index(filter), CUBE if wrap == "cube" else WRAPS.index(wrap))
            for height, width, filter, wrap in kinds
        ]
        self.rows, number = lay_out_images(sizes)
        self.texels = np.zeros((1, 1, number, CHANNELS))
        for row, levels in zip(self.rows, pyramids):
            values = np.concatenate([level.reshape(-1, CHANNELS) for level in levels[: row[3]]])
            self.texels[0, 0, row[0] : row[0] + len(values)] = values
        self.points, self.pictures = points, pictures

    def sample(self, points=None, texels=None):
        samples = ti.ndarray(float, (len(self.points), CHANNELS))
        sample(
            *self._start(self.texels if texels is None else texels),
            *self._where(self.points if points is None else points),
            samples,
        )
        return samples.to_numpy()

    def pull_back(self, grad_samples):
        """The gradients with respect to the points and the texels."""
        grad_points = ti.ndarray(float, self.points.shape)
        grad_texels = ti.ndarray(float, self.texels.shape)
        pull_back(
            *self._start(self.texels),
            *self._where(self.points),
            on_device(grad_samples),
            grad_points,
            grad_texels,
        )
        return grad_points.to_numpy(), grad_texels.to_numpy()

    def move(self, tangent_texels, tangent_points):
        moved = ti.ndarray(float, (len(self.points), CHANNELS))
        move(
            *self._start(self.texels),
            on_device(np.stack([np.zeros_like(tangent_texels), tangent_texels])),
            *self._where(self.points),
            on_device(tangent_points),
            moved,
        )
        return moved.to_numpy()

    def slopes(self, direction):
        """How samples change with points, by differences."""
        step = FINITE_DIFFERENCE_STEP * direction
        difference = self.sample(self.points + step) - self.sample(self.points - step)
        return difference / (2 * FINITE_DIFFERENCE_STEP)

    def _start(self, texels):
        return self.sampler, self.has_levels, on_device(texels)

    def _where(self, points):
        rows, pictures = on_device(np.ravel(self.rows), int), on_device(self.pictures, int)
        return rows, pictures, on_device(points)


def random_points(generator, num_axes: int, count: int) -> np.ndarray:
    """Places around 0, footprints of all sizes, no bias."""
    points = np.zeros((count, 3 * num_axes + 1))
    points[:, :num_axes] = generator.uniform(-3, 4, (count, num_axes))
    scale = 10.0 ** generator.uniform(-2, 0.5, (count, 1))
    points[:, num_axes : 3 * num_axes] = scale * generator.normal(size=(count, 2 * num_axes))
    return points
