"""Every adjoint against central differences of its primal, in f64, at random points."""

import numpy as np
import pytest
import taichi as ti

from taichi_softras.funcs.aggregation import ALPHAS
from taichi_softras.funcs.coverage import DISTANCES
from taichi_softras.funcs.interpolation import (
    PERSPECTIVE,
    SCREEN,
    clip_weights,
    clip_weights_vjp,
    interpolate_depth,
)
from taichi_softras.funcs.numeric import sigmoid
from taichi_softras.funcs.triangle import (
    barycentric,
    barycentric_vjp,
    squared_distance,
    squared_distance_vjp,
)
from taichi_softras.rasterizers.faces import RECORD_SIZE, load_triangle, set_up_faces
from taichi_softras.workspace import array
from tests import tolerances
from tests.gradcheck import relative_error

POINTS = 200
STEP = tolerances.FINITE_DIFFERENCE_STEP

pytestmark = pytest.mark.f64


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def check(primal, vjp, inputs: list, num_outputs: int):
    """`primal(*inputs)` is (N, outputs); `vjp(*inputs, cotangent)` a list like the inputs."""
    cotangent = np.random.default_rng(1).normal(size=(POINTS, num_outputs))
    for index, gradient in enumerate(vjp(*inputs, cotangent)):
        expected = np.zeros_like(inputs[index])
        for column in range(expected.shape[1]):
            values = []
            for step in (STEP, -STEP):
                moved = [values_of_input.copy() for values_of_input in inputs]
                moved[index][:, column] += step
                values.append((cotangent * primal(*moved)).sum(axis=1))
            expected[:, column] = (values[0] - values[1]) / (2 * STEP)
        error = relative_error(gradient, expected)
        print(f"input {index}: largest relative error {error:.1e}")
        assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


def records_of(corners):
    """What the kernels below load triangles from; `corners` (N, 6) are x, y of a, b, c."""
    full = ti.ndarray(float, (1, len(corners), 3, 3))
    full.from_numpy(
        np.pad(corners.reshape(1, -1, 3, 2), [(0, 0)] * 3 + [(0, 1)], constant_values=1)
    )
    records = ti.ndarray(float, (len(corners), RECORD_SIZE))
    boxes, problems = ti.ndarray(int, (len(corners), 4)), ti.ndarray(int, 1)
    set_up_faces(full, 8, 8, 0.1, records, boxes, problems)
    return records.to_numpy()


def random_triangles(generator):
    """Corners (N, 6) and pixels (N, 2), some inside, some outside."""
    corners = generator.uniform(-1, 1, (POINTS, 6))
    areas = np.linalg.det(corners.reshape(-1, 3, 2)[:, 1:] - corners.reshape(-1, 3, 2)[:, :1])
    corners[np.abs(areas) < 0.2] = [-1, -0.9, 1, -0.8, 0.1, 0.9]
    return corners, generator.uniform(-1, 1, (POINTS, 2))


# --- the distance to a triangle ---


@ti.kernel
def measure(
    records: array(None, 2),  # (N, RECORD_SIZE)
    pixels: array(None, 2),  # (N, 2) NDC
    values: array(None, 2),  # (N, 1)
    distance: ti.template(),
):
    for i in range(pixels.shape[0]):
        triangle = load_triangle(records, i)
        pixel = ti.Vector([pixels[i, 0], pixels[i, 1]])
        values[i, 0] = distance.signed(pixel, triangle, barycentric(pixel, triangle))


@ti.kernel
def measure_backward(
    records: array(None, 2),  # (N, RECORD_SIZE)
    pixels: array(None, 2),  # (N, 2) NDC
    grad_values: array(None, 2),  # (N, 1)
    grad_corners: array(None, 2),  # (N, 6)
    distance: ti.template(),
):
    for i in range(pixels.shape[0]):
        triangle = load_triangle(records, i)
        pixel = ti.Vector([pixels[i, 0], pixels[i, 1]])
        weights = barycentric(pixel, triangle)
        at_a, at_b, at_c = distance.signed_vjp(pixel, triangle, weights, grad_values[i, 0])
        for k in ti.static(range(2)):
            grad_corners[i, k] = at_a[k]
            grad_corners[i, 2 + k] = at_b[k]
            grad_corners[i, 4 + k] = at_c[k]


@pytest.mark.parametrize("distance", DISTANCES)
def test_signed_distance(backend, generator, distance):
    corners, pixels = random_triangles(generator)

    def primal(corners):
        values = np.zeros((POINTS, 1))
        measure(records_of(corners), pixels, values, DISTANCES[distance])
        return values

    def vjp(corners, cotangent):
        gradient = np.zeros((POINTS, 6))
        measure_backward(records_of(corners), pixels, cotangent, gradient, DISTANCES[distance])
        return [gradient]

    check(primal, vjp, [corners], 1)
    inside = (primal(corners) > 0).mean()
    assert 0.1 < inside < 0.9, "the points are not what the test is about"


@ti.kernel
def locate(
    records: array(None, 2),  # (N, RECORD_SIZE)
    pixels: array(None, 2),  # (N, 2) NDC
    values: array(None, 2),  # (N, 4): weights, squared distance
):
    for i in range(pixels.shape[0]):
        triangle = load_triangle(records, i)
        pixel = ti.Vector([pixels[i, 0], pixels[i, 1]])
        weights = barycentric(pixel, triangle)
        for k in ti.static(range(3)):
            values[i, k] = weights[k]
        values[i, 3] = squared_distance(pixel, triangle)


@ti.kernel
def locate_backward(
    records: array(None, 2),  # (N, RECORD_SIZE)
    pixels: array(None, 2),  # (N, 2) NDC
    grad_values: array(None, 2),  # (N, 4)
    grad_corners: array(None, 2),  # (N, 6)
    grad_pixels: array(None, 2),  # (N, 2)
):
    """As the docstrings say: corner j gets -w_j pull, and -2 t_j r."""
    for i in range(pixels.shape[0]):
        triangle = load_triangle(records, i)
        pixel = ti.Vector([pixels[i, 0], pixels[i, 1]])
        weights = barycentric(pixel, triangle)
        grad_weights = ti.Vector([grad_values[i, 0], grad_values[i, 1], grad_values[i, 2]])
        pull = barycentric_vjp(triangle, grad_weights)
        residual, nearest = squared_distance_vjp(pixel, triangle)
        push = 2.0 * grad_values[i, 3] * residual
        for k in ti.static(range(2)):
            grad_pixels[i, k] = pull[k] + push[k]
            for corner in ti.static(range(3)):
                grad_corners[i, 2 * corner + k] = (
                    -weights[corner] * pull[k] - nearest[corner] * push[k]
                )


def test_barycentric_and_squared_distance(backend, generator):
    def primal(corners, pixels):
        values = np.zeros((POINTS, 4))
        locate(records_of(corners), pixels, values)
        return values

    def vjp(corners, pixels, cotangent):
        gradients = np.zeros((POINTS, 6)), np.zeros((POINTS, 2))
        locate_backward(records_of(corners), pixels, cotangent, *gradients)
        return gradients

    check(primal, vjp, list(random_triangles(generator)), 4)


# --- weights on a triangle ---


@ti.func
def load(values: ti.template(), i: int):
    return ti.Vector([values[i, 0], values[i, 1], values[i, 2]])


@ti.kernel
def clip(
    weights: array(None, 2),  # (N, 3)
    clipped: array(None, 2),  # (N, 3)
):
    for i in range(weights.shape[0]):
        result = clip_weights(load(weights, i))
        for k in ti.static(range(3)):
            clipped[i, k] = result[k]


@ti.kernel
def clip_backward(
    weights: array(None, 2),  # (N, 3)
    grad_clipped: array(None, 2),  # (N, 3)
    grad_weights: array(None, 2),  # (N, 3)
):
    for i in range(weights.shape[0]):
        clipped = clip_weights(load(weights, i))
        result = clip_weights_vjp(load(weights, i), clipped, load(grad_clipped, i))
        for k in ti.static(range(3)):
            grad_weights[i, k] = result[k]


def test_clip_weights(backend, generator):
    def primal(weights):
        clipped = np.zeros((POINTS, 3))
        clip(weights, clipped)
        return clipped

    def vjp(weights, cotangent):
        gradient = np.zeros((POINTS, 3))
        clip_backward(weights, cotangent, gradient)
        return [gradient]

    weights = generator.uniform(-1.5, 2, (POINTS, 3))
    weights[:, 2] = 1 - weights[:, 0] - weights[:, 1]
    check(primal, vjp, [weights], 3)


@ti.kernel
def interpolate(
    clipped: array(None, 2),  # (N, 3)
    inverse_depths: array(None, 2),  # (N, 3)
    values: array(None, 2),  # (N, 4): weights, depth
    interpolation: ti.template(),
):
    for i in range(clipped.shape[0]):
        depth = interpolate_depth(load(clipped, i), load(inverse_depths, i))
        used = interpolation.weights(load(clipped, i), load(inverse_depths, i), depth)
        for k in ti.static(range(3)):
            values[i, k] = used[k]
        values[i, 3] = depth


@ti.kernel
def interpolate_backward(
    clipped: array(None, 2),  # (N, 3)
    inverse_depths: array(None, 2),  # (N, 3)
    grad_values: array(None, 2),  # (N, 4)
    grad_clipped: array(None, 2),  # (N, 3)
    grad_inverse_depths: array(None, 2),  # (N, 3)
    interpolation: ti.template(),
):
    for i in range(clipped.shape[0]):
        depth = interpolate_depth(load(clipped, i), load(inverse_depths, i))
        used = interpolation.weights(load(clipped, i), load(inverse_depths, i), depth)
        at_clipped, at_inverse_depths = interpolation.weights_vjp(
            load(clipped, i),
            load(inverse_depths, i),
            depth,
            used,
            load(grad_values, i),
            grad_values[i, 3],
        )
        for k in ti.static(range(3)):
            grad_clipped[i, k] = at_clipped[k]
            grad_inverse_depths[i, k] = at_inverse_depths[k]


@pytest.mark.parametrize("interpolation", [SCREEN, PERSPECTIVE], ids=["screen", "perspective"])
def test_interpolation(backend, generator, interpolation):
    def primal(clipped, inverse_depths):
        values = np.zeros((POINTS, 4))
        interpolate(clipped, inverse_depths, values, interpolation)
        return values

    def vjp(clipped, inverse_depths, cotangent):
        gradients = np.zeros((POINTS, 3)), np.zeros((POINTS, 3))
        interpolate_backward(clipped, inverse_depths, cotangent, *gradients, interpolation)
        return gradients

    clipped = generator.dirichlet(np.ones(3), POINTS)
    check(primal, vjp, [clipped, generator.uniform(0.2, 2, (POINTS, 3))], 4)


# --- the silhouette of three faces ---


@ti.kernel
def aggregate(
    x: array(None, 2),  # (N, 3) in front of the sigmoid
    values: array(None, 2),  # (N, 1)
    slopes: array(None, 2),  # (N, 3)
    alpha: ti.template(),
):
    for i in range(x.shape[0]):
        kept = alpha.start
        for face in ti.static(range(3)):
            kept = alpha.add(kept, sigmoid(x[i, face]))
        values[i, 0] = alpha.resolve(kept, 3)
        for face in ti.static(range(3)):
            slopes[i, face] = alpha.slope(kept, sigmoid(x[i, face]), 3)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_alpha(backend, generator, alpha):
    def results(x):
        values, slopes = np.zeros((POINTS, 1)), np.zeros((POINTS, 3))
        aggregate(x, values, slopes, ALPHAS[alpha])
        return values, slopes

    check(
        lambda x: results(x)[0],
        lambda x, cotangent: [cotangent * results(x)[1]],
        [generator.normal(0, 3, (POINTS, 3))],
        1,
    )
