"""Rotation vectors against the matrix exponential, in value and gradient, and at rotation 0."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from taichi_softras.runtime import ti
from tests import tolerances
from tests.gradcheck import check_gradient


@ti.kernel
def turn(points: ti.template(), rotations: ti.template(), turned: ti.template()):
    for i in points:
        turned[i] = tsr.rotate(points[i], rotations[i])


def exponential(matrix, terms=40):
    """By its series, for an eighth of the matrix."""
    total, term = np.eye(3), np.eye(3)
    for k in range(1, terms):
        term = term @ matrix / (8 * k)
        total = total + term
    return np.linalg.matrix_power(total, 8)


def twin(points, rotations):
    turned = []
    for point, (x, y, z) in zip(points, rotations):
        turned.append(exponential(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])) @ point)
    return np.array(turned)


# Where sines are hard (near 0), where their series ends (0.5), and beyond half a turn.
ANGLES = [0.0, 1e-20, 1e-8, 1e-4, 1e-2, 0.4999, 0.5, 1.0, 3.0, 6.0]


@pytest.fixture(scope="module")
def fields(backend):
    tree = FieldTree()
    fields = [tree.add((5,), (3,)) for _ in range(3)]
    tree.place()
    return fields


def check_rotation(fields, precision, angle):
    """At this angle about some axes, and about one axis of the frame."""
    points, rotations, turned = fields
    generator = np.random.default_rng(0)
    axes = generator.standard_normal(rotations.shape + (3,))
    axes[0] = [0, -1, 0]
    axes *= angle / np.linalg.norm(axes, axis=1, keepdims=True)
    rotations.from_numpy(axes.astype(precision))
    points.from_numpy(generator.standard_normal(axes.shape).astype(precision))
    inputs = {"points": points, "rotations": rotations}
    check_gradient(lambda: turn(points, rotations, turned), inputs, turned, twin)


@pytest.mark.parametrize("angle", ANGLES)
def test_rotation_in_single_precision(fields, angle):
    check_rotation(fields, np.float32, angle)


@pytest.mark.f64
@pytest.mark.parametrize("angle", ANGLES)
def test_rotation_in_double_precision(fields, angle):
    check_rotation(fields, np.float64, angle)
    points, rotations, turned = (field.to_numpy() for field in fields)
    np.testing.assert_allclose(turned, twin(points, rotations), atol=tolerances.DOUBLE_ROUNDING)


def test_a_small_turn_moves_a_point_by_its_angle(fields):
    """Relative to the angle, to which a sine may add its own rounding."""
    points, rotations, turned = fields
    points.fill(0.0)
    rotations.fill(1e-6)
    rotations[0] = [0, 0, 1e-6]
    points[0] = [1, 0, 0]
    turn(points, rotations, turned)
    np.testing.assert_allclose(turned[0][1], 1e-6, rtol=tolerances.SINGLE_PRECISION_RELATIVE)
