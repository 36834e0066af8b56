"""Faces across edges: what a workspace keeps of earlier draws changes nothing that is found."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.fragments import no_surface
from taichi_softras.rasterizers.neighbours import connect_faces
from taichi_softras.shading.composition import Looks, compose
from taichi_softras.workspace import Workspace
from tests.rasterizers.scenes import DEPTHS, upload

VERTICES, FACES = tsr.primitives.icosphere(2)
SIZE = 24


def neighbours_of(corners):
    """(F, 3) of corners (F, 3, 3 or 4): the next edge with the same ends, or that before."""
    edges = {}  # the two ends: places of edges
    for face, k in np.ndindex(len(corners), 3):
        ends = frozenset(tuple(corners[face, end] + 0.0) for end in (k, (k + 1) % 3))
        if len(ends) == 2:
            edges.setdefault(ends, []).append((face, k))
    expected = np.full((len(corners), 3), NO_FACE)
    for places in edges.values():
        for place, following in zip(places, [*places[1:], *places[-2:-1]]):
            expected[place] = 3 * following[0] + following[1]
    return expected


class Kept:
    """One workspace that sees one mesh after the other."""

    def __init__(self, dtype):
        self.dtype, self.workspace = dtype, Workspace()

    def check(self, corners):
        """Corners (B, F, 3, 3 or 4) have their neighbours; returns whether they were searched."""
        corners = np.ascontiguousarray(corners, self.dtype)
        actual = connect_faces(self.workspace, upload(corners, self.dtype)).to_numpy()
        views = corners if self.workspace.has_own_faces else corners[:1]
        np.testing.assert_array_equal(actual, np.concatenate([*map(neighbours_of, views)]))
        return bool(self.workspace.get("edge_status", (4,), int).to_numpy()[2])


def check_changes(dtype):
    """Of a mesh that moves, is replaced, comes together and parts."""
    rng, kept = np.random.default_rng(0), Kept(dtype)
    assert kept.check(VERTICES[FACES][None])
    for _ in range(3):
        moved = VERTICES + rng.normal(size=VERTICES.shape) * 0.01
        assert not kept.check(moved[FACES][None])
    shuffled = rng.permutation(FACES)  # as many faces
    assert kept.check(moved[shuffled][None])
    together = moved.copy()
    together[shuffled[7, 0]] = moved[shuffled[90, 1]]
    assert kept.check(together[shuffled][None])
    assert not kept.check(together[shuffled][None] * 0.9)
    assert kept.check(moved[shuffled][None])  # they part again
    point = moved.copy()
    point[shuffled[5]] = 0.5  # a face in one place, its neighbours are lines
    assert kept.check(point[shuffled][None])
    torn = moved[shuffled]
    torn[:160] += 2.0
    assert kept.check(torn[None])
    torn[:160] += 0.1
    assert not kept.check(torn[None])
    assert kept.check(np.zeros_like(torn[None]))
    assert kept.check(torn[None])
    assert kept.check(moved[FACES[:-1]][None])  # fewer faces


@pytest.mark.parametrize("components", [3, 4])
def test_neighbours_are_the_next_edges_with_the_same_ends(backend, components):
    """Of a sphere, its first faces once more, and faces of which some coordinates are 0 or -0."""
    faces = np.concatenate([FACES, FACES[:100], FACES[50:70, ::-1]])
    corners = np.dstack([VERTICES[faces], np.ones_like(VERTICES[faces])])[None, ..., :components]
    corners[corners == 0] *= np.random.default_rng(0).choice([-1, 1], (corners == 0).sum())
    assert Kept(backend.numpy_float).check(corners)


def test_neighbours_are_kept_while_corners_keep_together(backend):
    check_changes(backend.numpy_float)


@pytest.mark.f64
def test_neighbours_are_kept_in_double_precision(backend):
    check_changes(backend.numpy_float)


@pytest.mark.parametrize("num_places", [2, 5, 40])
def test_faces_at_few_places(backend, num_places):
    """Random faces that share corners, have them twice or lie on each other; a few move at once."""
    rng, kept = np.random.default_rng(num_places), Kept(backend.numpy_float)
    places = rng.choice([-1.0, -0.0, 0.0, 0.5, 3.0], (num_places, 4))
    indices = rng.integers(num_places, size=(60, 3))
    for _ in range(12):
        kept.check(places[indices][None])
        few = rng.integers(60, size=rng.integers(4))
        indices[few] = rng.integers(num_places, size=(len(few), 3))


def test_the_first_view_says_what_is_together(backend):
    """Of views that share a mesh. Meshes of their own have their own, wherever the others are."""
    ball, kept = VERTICES[FACES], Kept(backend.numpy_float)
    other = VERTICES[np.roll(FACES, 3, axis=0)]
    kept.check(np.stack([ball, other]))
    assert not kept.check(np.stack([ball, other * 0.0]))
    assert kept.check(np.stack([other, ball]))
    kept.workspace.has_own_faces = True
    assert kept.check(np.stack([ball, ball]))
    assert not kept.check(np.stack([ball, ball * 0.9]))
    other[200:] = 0.0  # as in a batch of meshes with fewer faces
    assert kept.check(np.stack([ball, other]))
    assert not kept.check(np.stack([ball * 0.9, other]))
    apart = np.stack([ball, ball + 10.0])
    assert kept.check(apart)
    kept.workspace.has_own_faces = False
    assert kept.check(apart.reshape(1, -1, 3, 3))  # as many corners, one mesh
    kept.workspace.has_own_faces = True
    assert kept.check(apart)


def test_threads_meet_corners_in_any_order(backend):
    """Of two thousand faces, and the same once more, which other threads take."""
    rng, kept = np.random.default_rng(0), Kept(backend.numpy_float)
    for _ in range(3):
        faces = rng.integers(8000, size=(2000, 3))
        assert kept.check(rng.normal(size=(8000, 3))[np.concatenate([faces, faces])][None])


@pytest.mark.parametrize("method", [tsr.Antialiased, tsr.Prefiltered, tsr.FilteredDerivative])
def test_images_and_gradients_are_those_of_an_empty_workspace(backend, method):
    """To the last bit, while a mesh moves, is torn, and closes again."""
    dtype, rng, kept = backend.numpy_float, np.random.default_rng(1), Workspace()
    rasterizer, shader = method(**DEPTHS), compose([tsr.Unlit()], Looks(3)).shader
    colors = rng.uniform(size=(1, len(FACES), 3, 3))
    ball = np.concatenate([VERTICES * [0.7, 0.7, 1] + [0, 0, 5], np.ones((len(VERTICES), 1))], 1)
    torn = ball[FACES] + np.where(np.arange(len(FACES)) < 99, 0.1, 0.0)[:, None, None]
    grad = rng.normal(size=(1, 4, SIZE, SIZE)).astype(dtype)
    for corners in (ball[FACES], 1.01 * ball[FACES], torn, 1.02 * torn, ball[FACES]):
        results = []
        for workspace in (kept, Workspace()):
            surface = no_surface(workspace)._replace(varyings=upload(colors, dtype))
            drawn = rasterizer.forward(
                workspace, upload(corners[None], dtype), shader, surface, (SIZE, SIZE)
            )
            drawn.grad_image.from_numpy(np.resize(grad, drawn.grad_image.shape))
            drawn.backward()
            results.append((drawn.image.to_numpy(), drawn.grad_corners.to_numpy()))
        for actual, expected in zip(*results):
            np.testing.assert_array_equal(actual, expected)
        assert np.abs(results[0][1]).max() > 0
