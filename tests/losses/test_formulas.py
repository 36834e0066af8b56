"""Adjoints of the losses' formulas, in f64: against Taichi's autodiff and central differences."""

import numpy as np
import pytest

from taichi_softras.fields import FieldTree
from taichi_softras.losses.image import (
    absolute,
    absolute_vjp,
    intersection_over_union,
    intersection_over_union_vjp,
    squared,
    squared_vjp,
)
from taichi_softras.losses.mesh import (
    bend,
    bend_vjp,
    cosine,
    cosine_vjp,
    fold,
    fold_vjp,
    height,
    height_vjp,
    length,
    length_vjp,
    square,
    square_vjp,
    stretch,
    stretch_vjp,
)
from taichi_softras.runtime import ti
from tests import tolerances

POINTS = 100
STEP = tolerances.FINITE_DIFFERENCE_STEP
TARGET_LENGTH = 0.7
# Rows of `values`: which belong to a formula.
FORMULAS = {
    "square": [0],
    "length": [1],
    "stretch": [2],
    "fold": [3],
    "bend": [4],
    "cosine": [5],
    "height": [6, 7, 8],
    "squared": [9],
    "absolute": [10],
    "intersection_over_union": [11],
}
NUM_VALUES = 12
# Rows of `vectors` and of `numbers`.
EDGE, SIDE_1, SIDE_2 = 0, 1, 2
GUARD, DIFFERENCE, INTERSECTION, UNION = 0, 1, 2, 3

pytestmark = pytest.mark.f64


@ti.kernel
def evaluate(
    vectors: ti.template(),  # (3, N)
    numbers: ti.template(),  # (4, N)
    values: ti.template(),  # (NUM_VALUES, N) out
):
    for i in range(POINTS):
        edge, side_1, side_2 = vectors[EDGE, i], vectors[SIDE_1, i], vectors[SIDE_2, i]
        guard, difference = numbers[GUARD, i], numbers[DIFFERENCE, i]
        overlap = ti.Vector([numbers[INTERSECTION, i], numbers[UNION, i]])
        values[0, i] = square(edge)
        values[1, i] = length(edge)
        values[2, i] = stretch(edge, TARGET_LENGTH)
        values[3, i] = fold(edge, side_1, side_2)
        values[4, i] = bend(edge, side_1, side_2)
        values[5, i] = cosine(edge, side_1, guard)
        perpendicular = height(side_1, edge, guard)
        for k in ti.static(range(3)):
            values[6 + k, i] = perpendicular[k]
        values[9, i] = squared(difference)
        values[10, i] = absolute(difference)
        values[11, i] = intersection_over_union(overlap)


@ti.kernel
def weigh(values: ti.template(), cotangents: ti.template(), loss: ti.template()):
    for k, i in ti.ndrange(NUM_VALUES, POINTS):
        loss[None] += values[k, i] * cotangents[k, i]


@ti.kernel
def pull_back(
    vectors: ti.template(),  # (3, N)
    numbers: ti.template(),  # (4, N)
    cotangents: ti.template(),  # (NUM_VALUES, N)
    at_vectors: ti.template(),  # (3, N) out
    at_numbers: ti.template(),  # (4, N) out
):
    """Adjoint of `evaluate` by the adjoints of the formulas."""
    for i in range(POINTS):
        edge, side_1, side_2 = vectors[EDGE, i], vectors[SIDE_1, i], vectors[SIDE_2, i]
        guard, difference = numbers[GUARD, i], numbers[DIFFERENCE, i]
        overlap = ti.Vector([numbers[INTERSECTION, i], numbers[UNION, i]])
        at_edge = square_vjp(edge, cotangents[0, i]) + length_vjp(edge, cotangents[1, i])
        at_edge += stretch_vjp(edge, TARGET_LENGTH, cotangents[2, i])
        by_fold = fold_vjp(edge, side_1, side_2, cotangents[3, i])
        by_bend = bend_vjp(edge, side_1, side_2, cotangents[4, i])
        by_cosine = cosine_vjp(edge, side_1, guard, cotangents[5, i])
        at_height = ti.Vector([cotangents[6, i], cotangents[7, i], cotangents[8, i]])
        by_height = height_vjp(side_1, edge, guard, at_height)
        at_vectors[EDGE, i] = at_edge + by_fold[0] + by_bend[0] + by_cosine[0] + by_height[1]
        at_vectors[SIDE_1, i] = by_fold[1] + by_bend[1] + by_cosine[1] + by_height[0]
        at_vectors[SIDE_2, i] = by_fold[2] + by_bend[2]
        at_numbers[GUARD, i] = by_cosine[2] + by_height[2]
        at_difference = squared_vjp(difference, cotangents[9, i])
        at_numbers[DIFFERENCE, i] = at_difference + absolute_vjp(difference, cotangents[10, i])
        at_overlap = intersection_over_union_vjp(overlap, cotangents[11, i])
        at_numbers[INTERSECTION, i], at_numbers[UNION, i] = at_overlap[0], at_overlap[1]


class Formulas:
    """All of them at random points."""

    def __init__(self):
        generator = np.random.default_rng(0)
        tree = FieldTree()
        self.vectors, self.at_vectors = (tree.add((3, POINTS), (3,)) for _ in range(2))
        self.numbers, self.at_numbers = (tree.add((4, POINTS)) for _ in range(2))
        self.values, self.cotangents = (tree.add((NUM_VALUES, POINTS)) for _ in range(2))
        self.loss = tree.add(())
        tree.place()
        self.vectors.from_numpy(generator.uniform(-1, 1, (3, POINTS, 3)))
        numbers = generator.uniform(0.1, 1, (4, POINTS))
        numbers[DIFFERENCE] *= generator.choice([-1, 1], POINTS)
        self.numbers.from_numpy(numbers)

    def give_cotangents(self, rows: list) -> None:
        """Random ones for these rows of `values`, 0 for the others."""
        cotangents = np.zeros((NUM_VALUES, POINTS))
        cotangents[rows] = np.random.default_rng(1).normal(size=(len(rows), POINTS))
        self.cotangents.from_numpy(cotangents)

    def gradient_by_hand(self) -> np.ndarray:
        """(13, N) at the components of `vectors`, then at `numbers`."""
        pull_back(self.vectors, self.numbers, self.cotangents, self.at_vectors, self.at_numbers)
        return stack(self.at_vectors.to_numpy(), self.at_numbers.to_numpy())

    def gradient_by_taichi(self) -> np.ndarray:
        """The same by reverse mode."""
        with ti.ad.Tape(self.loss):
            evaluate(self.vectors, self.numbers, self.values)
            weigh(self.values, self.cotangents, self.loss)
        return stack(self.vectors.grad.to_numpy(), self.numbers.grad.to_numpy())

    def gradient_by_differences(self) -> np.ndarray:
        """The same by central differences: all points at once, as none depends on another."""
        start = stack(self.vectors.to_numpy(), self.numbers.to_numpy())
        gradient = np.zeros_like(start)
        for row in range(len(start)):
            sums = []
            for step in (STEP, -STEP):
                moved = start.copy()
                moved[row] += step
                sums.append(self._weighed_values(moved))
            gradient[row] = (sums[0] - sums[1]) / (2 * STEP)
        self._weighed_values(start)
        return gradient

    def _weighed_values(self, inputs: np.ndarray) -> np.ndarray:
        vectors = np.ascontiguousarray(inputs[:9].reshape(3, 3, POINTS).transpose(0, 2, 1))
        self.vectors.from_numpy(vectors)
        self.numbers.from_numpy(np.ascontiguousarray(inputs[9:]))
        evaluate(self.vectors, self.numbers, self.values)
        return (self.values.to_numpy() * self.cotangents.to_numpy()).sum(axis=0)


def stack(vectors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return np.concatenate([vectors.transpose(0, 2, 1).reshape(9, POINTS), numbers])


@pytest.fixture(scope="module")
def formulas(backend):
    return Formulas()


@pytest.mark.parametrize("name", FORMULAS)
def test_adjoint_is_that_of_differences_and_of_taichi(formulas, name):
    formulas.give_cotangents(FORMULAS[name])
    by_hand = formulas.gradient_by_hand()
    for other, tolerance in (
        (formulas.gradient_by_differences(), tolerances.FINITE_DIFFERENCE_RELATIVE),
        (formulas.gradient_by_taichi(), tolerances.BY_HAND_AND_BY_TAICHI),
    ):
        inputs = np.abs(other).max(axis=1) > STEP  # that the formula depends on
        largest = np.abs(other[inputs]).max(axis=1, keepdims=True)
        error = np.abs(by_hand[inputs] - other[inputs]) / largest
        print(f"largest relative error {error.max():.1e}")
        assert error.max() < tolerance
        assert np.all(by_hand[~inputs] == 0)
    assert np.abs(by_hand).max() > 0


@ti.kernel
def pull_back_at_kinks(gradients: ti.types.ndarray(ndim=2)):
    """Of formulas that are not differentiable there."""
    zero = ti.Vector([0.0, 0.0, 0.0])
    for _ in range(1):
        at_absolute = absolute_vjp(0.0, 1.0)
        at_overlap = intersection_over_union_vjp(ti.Vector([0.0, 0.0]), 1.0)
        for k in ti.static(range(3)):
            gradients[0, k] = length_vjp(zero, 1.0)[k]
            gradients[1, k] = stretch_vjp(zero, TARGET_LENGTH, 1.0)[k]
            gradients[2, k] = at_absolute
        for k in ti.static(range(2)):
            gradients[3, k] = at_overlap[k]


def test_gradients_at_kinks_are_0(formulas):
    gradients = np.ones((4, 3))
    gradients[3, 2] = 0
    pull_back_at_kinks(gradients)
    assert np.all(gradients == 0)
