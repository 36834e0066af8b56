"""The z-buffer against its twin, and where rounding would show: ties and shared edges."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.z_buffer import ZBuffer
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rasterizers.scenes import upload
from tests.reference.z_buffer import z_buffer


def see(corners, image_size, backend, near=0.1, far=100.0, double_sided=True):
    """Faces (H, W), weights (H, W, 3) and depths (H, W) of one view."""
    corners = upload(corners[None], backend.numpy_float)
    drawn = ZBuffer(Workspace(), corners, image_size, near, far, double_sided)
    faces, weights, depths = (array.to_numpy()[0] for array in drawn.seen)
    return faces, np.moveaxis(weights, 0, -1), depths


@pytest.mark.parametrize("double_sided", [True, False])
def test_many_faces_are_those_of_the_twin(backend, double_sided):
    generator = np.random.default_rng(0)
    centres = generator.uniform(-1.5, 1.5, (200, 1, 3)) + [0, 0, 3]
    corners = centres + generator.uniform(-0.4, 0.4, (200, 3, 3))
    corners = corners.astype(np.float32).astype(float)
    faces, weights, depths = see(corners, (37, 70), backend, 2.0, 4.0, double_sided)
    expected, expected_weights, expected_depths = z_buffer(
        corners, (37, 70), 2.0, 4.0, double_sided
    )
    np.testing.assert_array_equal(faces, expected)
    assert len(np.unique(faces)) > 50
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    np.testing.assert_allclose(weights, expected_weights, atol=tolerance)
    np.testing.assert_allclose(depths, expected_depths, rtol=tolerance)


def test_of_equal_depths_the_first_face_is_seen(backend):
    one = np.array([[-0.9, -0.8, 2.3], [0.7, -0.9, 3.1], [0.1, 0.9, 2.7]])
    for _ in range(3):
        faces, _, _ = see(np.stack([one] * 40), (33, 33), backend)
        assert set(np.unique(faces)) == {NO_FACE, 0}


def test_no_pixel_falls_between_faces_that_share_an_edge(backend):
    """A disc of slivers around a pixel's centre; edges run through many centres."""
    angles = np.linspace(0, 2 * np.pi, 361)
    rim = np.stack([0.97 * np.cos(angles), 0.97 * np.sin(angles), np.full(361, 2)], axis=1)
    centre = np.broadcast_to([0, 0, 2], (360, 3))
    corners = np.stack([centre, rim[:-1], rim[1:]], axis=1)
    faces, _, _ = see(corners, (65, 65), backend)
    x, y = np.meshgrid(*[(2 * np.arange(65) + 1 - 65) / 65] * 2)
    assert (faces[np.hypot(x, y) < 0.96] != NO_FACE).all()


def test_near_and_far_are_not_drawn(backend):
    flat = np.array([[-3, -3, 2], [3, -3, 2], [0, 3, 2]])
    for near, far, is_seen in ((2.0, 3.0, False), (1.0, 2.0, False), (1.9, 2.1, True)):
        faces, _, depths = see(flat[None], (5, 5), backend, near, far)
        assert (faces[2, 2] == 0) == is_seen
        assert depths[2, 2] == pytest.approx(2.0 if is_seen else far)


def test_a_corner_that_is_not_finite_is_refused(backend):
    corners = np.zeros((1, 3, 3))
    corners[0, 1, 0] = np.nan
    with pytest.raises(ValueError, match="face 0 of view 0"):
        see(corners, (4, 4), backend)


def test_the_image_is_that_of_hard_soft_aggregation(backend):
    generator = np.random.default_rng(5)
    corners = generator.uniform(-1, 1, (2, 30, 3, 3)) + [0, 0, 3]
    colors = generator.uniform(size=(2, 30, 3, 3))
    shared = {"near": 0.1, "far": 100.0, "background": 0.3}
    hard = tsr.SoftAggregation(distance="hard", color="hard", alpha="hard", **shared)
    expected, _ = tsr.rasterize(corners, colors, image_size=(20, 30), rasterizer=hard)
    image, _ = tsr.rasterize(
        corners, colors, image_size=(20, 30), rasterizer=tsr.ApproximateGradient(**shared)
    )
    np.testing.assert_allclose(image, expected, atol=tolerances.SAME_IMAGE_SINGLE)
