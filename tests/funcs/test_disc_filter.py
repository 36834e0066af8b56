"""Shares of a disc: against sums along the piece; their adjoint against differences."""

import numpy as np
import pytest

from taichi_softras.funcs.disc_filter import disc_shares, disc_shares_vjp, moments
from taichi_softras.runtime import ti, vec2
from taichi_softras.workspace import array
from tests import tolerances

RADIUS = 1.5
STEP = 1e-6


@ti.kernel
def share(
    pieces: array(float, 2),  # (N, 6) start, end, centre
    radius: float,
    grad: array(float, 2),  # (N, 2)
    results: array(float, 2),  # (N, 6) shares, gradients of start and end
):
    for i in range(pieces.shape[0]):
        start, end = vec2(pieces[i, 0], pieces[i, 1]), vec2(pieces[i, 2], pieces[i, 3])
        centre = vec2(pieces[i, 4], pieces[i, 5])
        offset, to_centre = end - start, centre - start
        is_left = ti.cast(offset.x * to_centre.y - offset.y * to_centre.x >= 0.0, ti.i32)
        met = moments(start, end, centre, radius, is_left)
        shares = disc_shares(met)
        by_start, by_end = disc_shares_vjp(met, radius, vec2(grad[i, 0], grad[i, 1]))
        for k in ti.static(range(2)):
            results[i, k] = shares[k]
            results[i, 2 + k] = by_start[k]
            results[i, 4 + k] = by_end[k]


def run(pieces, grad):
    arrays = [ti.ndarray(float, a.shape) for a in (pieces, grad, np.zeros((len(pieces), 6)))]
    arrays[0].from_numpy(pieces)
    arrays[1].from_numpy(grad)
    share(arrays[0], RADIUS, arrays[1], arrays[2])
    return arrays[2].to_numpy()


def by_points(piece, number=100_000):
    """The shares by the midpoint rule."""
    start, end, centre = piece.reshape(3, 2)
    t = (np.arange(number) + 0.5) / number
    offsets = start + (end - start) * t[:, None] - centre
    squares = (offsets**2).sum(axis=1)
    flux = -(offsets[:, 0] * (end - start)[1] - offsets[:, 1] * (end - start)[0])
    density = np.where(squares < RADIUS**2, flux * (1 / squares - 1 / RADIUS**2), 0) / (2 * np.pi)
    return np.array([(density * (1 - t)).mean(), (density * t).mean()])


@pytest.fixture(scope="module")
def pieces():
    return np.random.default_rng(0).normal(size=(12, 6))


@pytest.mark.f64
def test_shares_are_integrals_along_the_piece(backend, pieces):
    shares = run(pieces, np.zeros((12, 2)))[:, :2]
    np.testing.assert_allclose(shares, [by_points(piece) for piece in pieces], atol=1e-8)


@pytest.mark.f64
def test_the_adjoint_is_the_central_difference(backend, pieces):
    grad = np.random.default_rng(1).normal(size=(12, 2))
    adjoint = run(pieces, grad)[:, 2:]
    for k in range(4):
        move = STEP * np.eye(6)[k]
        ahead, back = (run(pieces + sign * move, grad)[:, :2] for sign in (1, -1))
        difference = ((ahead - back) * grad).sum(axis=1) / (2 * STEP)
        scale = np.abs(adjoint).max()
        assert (
            np.abs(adjoint[:, k] - difference).max() < tolerances.FINITE_DIFFERENCE_RELATIVE * scale
        )


@pytest.mark.f64
def test_the_edges_of_a_polygon_around_the_disc_have_all_of_it(backend):
    """A triangle whose corner is in the disc: by the sector and two triangles that it has of it."""
    corners = np.array([[0.3, 0.2], [9.0, 0.2], [0.3, 9.0]])
    rolled = np.roll(corners, -1, axis=0)
    pieces = np.concatenate([corners, rolled, np.zeros((3, 2))], axis=1)
    share_of_disc = run(pieces, np.zeros((3, 2)))[:, :2].sum()
    points = (np.indices((3000, 3000)).reshape(2, -1).T + 0.5) / 1000 - 1.5
    in_disc = (points**2).sum(axis=1) < RADIUS**2
    covered = (points > corners[0]).all(axis=1)
    assert share_of_disc == pytest.approx(covered[in_disc].mean(), abs=1e-4)
