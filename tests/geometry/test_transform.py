"""Projection against the formula in NumPy, in value and gradient."""

import functools

import numpy as np
import pytest

from taichi_softras.fields import FieldTree
from taichi_softras.geometry.transform import project_vertices
from taichi_softras.scene.camera import Camera
from tests.gradcheck import check_gradient, recorded_gradients


def project(vertices, view_from_world, clip_from_view, scale=(1.5, 1.0)):
    """The twin: x and y over w, depth against view space z."""
    view = np.einsum("brc,vc->bvr", view_from_world[:, :3, :3], vertices)
    view = view + view_from_world[:, None, :3, 3]
    clip = np.einsum("brc,bvc->bvr", clip_from_view[..., :3], view) + clip_from_view[:, None, :, 3]
    xy = clip[..., :2] / clip[..., 3:]
    return np.concatenate([xy * scale, -view[..., 2:3]], axis=-1)


def scene(clip_from_view, needs_grad, num_vertices=9):
    """Random vertices before three cameras of unlike lenses, frames, and the result's field."""
    generator = np.random.default_rng(1)
    view_from_world = np.tile(np.eye(4), (3, 1, 1))
    view_from_world[:, :3] += generator.uniform(-0.2, 0.2, (3, 3, 4))
    view_from_world[:, 2, 3] -= 3
    clip_from_view = clip_from_view * generator.uniform(0.8, 1.2, (3, 4, 4))
    camera = Camera.from_matrices(view_from_world, clip_from_view, needs_grad=needs_grad)
    tree = FieldTree()
    vertices = tree.add((num_vertices,), (3,))
    vertices_ndc = tree.add((3, num_vertices), (3,))
    frames = tree.add((3,), dtype=int, needs_grad=False)
    tree.place()
    vertices.from_numpy(generator.uniform(-1, 1, (num_vertices, 3)).astype(np.float32))
    return vertices, frames, camera, vertices_ndc


PINHOLE = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0]])
PERSPECTIVE = np.array([[1.2, 0.1, 0.2, 0], [0, 1.8, -0.1, 0], [0, 0, 0, 0], [0, 0, -1, 0]])
PARALLEL = np.diag([0.5, 0.7, 0.0, 1.0])


CASES = [(PERSPECTIVE, True), (PARALLEL, True), (PERSPECTIVE, False)]


@pytest.mark.parametrize("clip_from_view, needs_grad", CASES)
def test_projection_and_gradient_in_single_precision(backend, clip_from_view, needs_grad):
    check_projection(clip_from_view, needs_grad)


@pytest.mark.f64
@pytest.mark.parametrize("clip_from_view, needs_grad", CASES)
def test_projection_and_gradient_in_double_precision(backend, clip_from_view, needs_grad):
    check_projection(clip_from_view, needs_grad)


def check_projection(clip_from_view, needs_grad):
    """With respect to the vertices, and to the camera if it has gradients."""
    vertices, frames, camera, vertices_ndc = scene(clip_from_view, needs_grad)
    matrices = {"view_from_world": camera.view_from_world, "clip_from_view": camera.clip_from_view}
    constants = {} if needs_grad else {name: matrices[name].to_numpy() for name in matrices}
    check_gradient(
        lambda: project_vertices(
            vertices, frames, *matrices.values(), 1.5, 1.0, 0, 3, vertices_ndc
        ),
        {"vertices": vertices, **(matrices if needs_grad else {})},
        vertices_ndc,
        twin=functools.partial(project, **constants),
    )


def test_vertices_behind_the_camera_are_marked_by_their_depth(backend):
    """Two units behind, in the plane of the eye, and in front."""
    camera = Camera.from_matrices(np.eye(4), PINHOLE, needs_grad=False)
    tree = FieldTree()
    vertices, vertices_ndc = tree.add((3,), (3,)), tree.add((1, 3), (3,))
    frames = tree.add((1,), dtype=int, needs_grad=False)
    tree.place()
    matrices = camera.view_from_world, camera.clip_from_view
    vertices.from_numpy(np.array([[1, 1, 2], [1, 1, 0], [0, 0, -2]], backend.numpy_float))

    def run_forward():
        project_vertices(vertices, frames, *matrices, 1.0, 1.0, 0, 1, vertices_ndc)

    gradients = recorded_gradients(
        run_forward, {"vertices": vertices}, vertices_ndc, np.ones((1, 3, 3))
    )
    np.testing.assert_array_equal(vertices_ndc.to_numpy()[0], [[0, 0, -2], [0, 0, 0], [0, 0, 2]])
    np.testing.assert_array_equal(gradients["vertices"][:2], [[0, 0, -1], [0, 0, -1]])
