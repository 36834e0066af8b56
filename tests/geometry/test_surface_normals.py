"""Normals of lines, and of vertices whose faces cancel, are 0, and so are their gradients."""

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances


@pytest.fixture(scope="module")
def draw(backend):
    """Image and gradient of vertices of a mesh with light at its vertices."""
    camera = tsr.Camera.look_at((1.0, 0.7, 2.5))

    def draw_mesh(vertices, faces):
        mesh = tsr.Mesh(vertices, faces)
        renderer = tsr.Renderer(mesh, camera, (24, 24), shading=tsr.Gouraud(), lights=tsr.Lights())
        image = renderer.render().to_numpy()
        renderer.backward(np.random.default_rng(0).normal(size=image.shape).astype(image.dtype))
        return image, mesh.vertices.grad.to_numpy()

    return draw_mesh


def test_a_face_without_area_changes_nothing(draw):
    """Not even the gradients at its corners, two of which have other faces."""
    vertices, faces = tsr.primitives.icosphere(1)
    image, gradient = draw(vertices, faces)
    middle = vertices[faces[0, 0]] * 0.37 + vertices[faces[0, 1]] * 0.63
    line = [faces[0, 0], len(vertices), faces[0, 1]]
    actual, actual_gradient = draw(np.vstack([vertices, middle]), np.vstack([faces, [line]]))
    np.testing.assert_allclose(actual, image, atol=tolerances.SAME_IMAGE_SINGLE)
    tolerance = tolerances.SAME_GRADIENT_SINGLE * np.abs(gradient).max()
    np.testing.assert_allclose(actual_gradient[:-1], gradient, rtol=0, atol=tolerance)
    assert not actual_gradient[-1].any()


def test_faces_back_to_back_have_no_normals_at_their_corners(draw):
    """Light is that from all around, and as it does not move, nor does anything with it."""
    vertices = np.array([[-0.7, -0.5, 0.1], [0.8, -0.4, -0.2], [0.1, 0.9, 0.3]])
    image, gradient = draw(vertices, np.array([[0, 1, 2], [1, 0, 2]]))
    covered = image[..., 3] > 0.9
    ambient = np.broadcast_to(tsr.Lights().ambient.to_numpy(), image[covered, :3].shape)
    np.testing.assert_allclose(
        image[covered, :3], ambient, rtol=tolerances.SINGLE_PRECISION_RELATIVE
    )
    assert np.isfinite(gradient).all() and gradient.any()
