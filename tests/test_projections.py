"""Depth, colour and visibility under projections whose w is not the depth."""

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances

SIZE = 32
METHODS = [
    tsr.SoftAggregation(sigma=1e-7),
    tsr.SoftAggregation(sigma=1e-7, perspective_correct=False),
    tsr.KNearest(sigma=1e-7),
    tsr.KNearest(sigma=1e-7, perspective_correct=False),
    tsr.ApproximateGradient(),
    tsr.FilteredDerivative(),
]
by_method = pytest.mark.parametrize(
    "rasterizer",
    METHODS,
    ids=lambda m: f"{type(m).__name__}-{getattr(m, 'perspective_correct', '')}",
)
# a plane tilted about y, 7 deep at the left and 3 at the right of a camera at z = 5
PLANE = np.array([[-1.5, -1.5, -2], [1.5, -1.5, 2], [1.5, 1.5, 2], [-1.5, 1.5, -2]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
X_WORLD = (2 * np.arange(SIZE) + 1 - SIZE) / SIZE  # of the columns of an image 2 high


def draw(mesh, cameras, rasterizer, shading):
    return tsr.Renderer(mesh, cameras, (SIZE, SIZE), rasterizer, shading).render().to_numpy()[0]


@pytest.fixture(scope="module")
def orthographic(backend):
    return tsr.Camera.look_at((0, 0, 5), projection=tsr.Orthographic(2.0))


@by_method
def test_depth_and_colour_are_linear_under_an_orthographic_camera(
    backend, orthographic, rasterizer
):
    red = np.stack([(PLANE[:, 0] + 1.5) / 3] * 3, axis=1)
    mesh = tsr.Mesh(PLANE, FACES, vertex_colors=red)
    depth = draw(mesh, orthographic, rasterizer, tsr.Depth())[SIZE // 2, :, 0]
    color = draw(mesh, orthographic, rasterizer, tsr.Unlit())[SIZE // 2, :, 0]
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    np.testing.assert_allclose(depth, 5 - X_WORLD * 2 / 1.5, rtol=tolerance)
    np.testing.assert_allclose(color, (X_WORLD + 1.5) / 3, rtol=tolerance)


@by_method
def test_the_nearer_of_two_crossing_planes_is_seen(backend, orthographic, rasterizer):
    """They cross in the middle; only there may a column be either."""
    vertices = np.concatenate([PLANE, PLANE * [1, 1, 0]])
    colors = np.repeat([[1.0, 0, 0], [0, 1.0, 0]], 4, axis=0)
    mesh = tsr.Mesh(vertices, np.concatenate([FACES, FACES + 4]), vertex_colors=colors)
    is_red = draw(mesh, orthographic, rasterizer, tsr.Unlit())[SIZE // 2 + 3, :, 0] > 0.5
    assert np.count_nonzero(is_red != (X_WORLD > 0)) <= 1


@by_method
def test_a_projection_whose_w_is_twice_the_depth(backend, rasterizer):
    """The same image as of the projection divided by two: only x / w and y / w are positions."""
    view_from_world = np.eye(4)
    view_from_world[2, 3] = -5
    clip = np.array([[1.5, 0, 0.1, 0], [0, 1.5, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0]])
    mesh = tsr.Mesh(PLANE, FACES, vertex_colors=np.abs(PLANE) / 2)
    images = [
        draw(mesh, tsr.Camera.from_matrices(view_from_world, scale * clip), rasterizer, shading)
        for shading in (tsr.Unlit(), tsr.Depth())
        for scale in (1, 2)
    ]
    for one, other in (images[:2], images[2:]):
        np.testing.assert_allclose(one, other, rtol=tolerances.SAME_IMAGE_SINGLE)
