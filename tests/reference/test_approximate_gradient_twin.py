"""The NumPy twin against images and gradients of the original Neural 3D Mesh Renderer."""

import numpy as np
import pytest

from tests import tolerances
from tests.gradcheck import relative_error
from tests.reference.approximate_gradient import render
from tests.reference.nmr_goldens import NMR_CASES, load_nmr
from tests.reference.z_buffer import z_buffer


def assert_close(actual, expected):
    if expected is not None:
        error = relative_error(actual, expected)
        print(f"largest error {error:.1e}")
        assert error < tolerances.NMR_DOUBLE


@pytest.mark.parametrize("name", NMR_CASES)
def test_twin_is_the_original(name):
    golden = load_nmr(name)
    image, depth, grad_corners, grad_colors = render(
        golden.corners,
        golden.colors,
        golden.image_size,
        **golden.parameters,
        grad_image=golden.weights,
        grad_depth=golden.weights_depth,
    )
    assert_close(image[..., :3], golden.rgb)
    assert_close(image[..., -1], golden.alpha)
    assert_close(depth, golden.depth)
    assert_close(grad_corners, golden.grad_corners)
    assert_close(grad_colors, golden.grad_colors)


@pytest.mark.parametrize("name", NMR_CASES)
def test_twin_sees_the_same_faces(name):
    golden = load_nmr(name)
    near, far = golden.parameters["near"], golden.parameters["far"]
    faces, _, _ = z_buffer(golden.corners[0], golden.faces.shape[1:], near, far, False)
    np.testing.assert_array_equal(faces, golden.faces[0])
