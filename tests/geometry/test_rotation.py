"""Rotation vectors against the matrix exponential, in value and gradient, and at rotation 0."""

import numpy as np
import pytest
import taichi as ti

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from tests.gradcheck import check_gradient


@ti.kernel
def turn(points: ti.template(), rotations: ti.template(), turned: ti.template()):
    for i in points:
        turned[i] = tsr.rotate(points[i], rotations[i])


def exponential(matrix, terms=40):
    """By its series."""
    total, term = np.eye(3), np.eye(3)
    for k in range(1, terms):
        term = term @ matrix / k
        total = total + term
    return total


def twin(points, rotations):
    turned = []
    for point, (x, y, z) in zip(points, rotations):
        turned.append(exponential(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])) @ point)
    return np.array(turned)


def check_rotation(precision):
    tree = FieldTree()
    points, rotations, turned = (tree.add((3,), (3,)) for _ in range(3))
    tree.place()
    points.from_numpy(np.array([[0.3, -0.5, 0.8], [1.0, 0.2, 0.1], [-0.4, 0.6, 0.5]], precision))
    rotations.from_numpy(np.array([[0.4, -1.1, 0.7], [2.0, 1.0, -1.5], [0.0, 0.0, 0.0]], precision))
    fields = {"points": points, "rotations": rotations}
    check_gradient(lambda: turn(points, rotations, turned), fields, turned, twin)


def test_rotation_in_single_precision(backend):
    check_rotation(np.float32)


@pytest.mark.f64
def test_rotation_in_double_precision(backend):
    check_rotation(np.float64)
