"""Soft aggregation against images and gradients of the original SoftRas.

Colour gradients are held against the original's own, corner gradients against the true
derivative of its image, which the original leaves out parts of: see `test_softras_own_gradient`.
"""

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances
from tests.gradcheck import relative_error
from tests.reference.goldens import SOFTRAS_CASES, load_softras

pytestmark = pytest.mark.filterwarnings("ignore:near = ")  # a case is about faces beyond them

# Their centres lie on the border of two texels, by chance: (row, column) of the case surface5.
ON_A_TEXEL_BORDER = ([40, 41, 42], [41, 28, 15])


@pytest.fixture(params=SOFTRAS_CASES)
def golden(request):
    return load_softras(request.param)


def rasterize(golden):
    """The image in the golden's size, and the gradients of sum(weights * image)."""
    image, vjp = tsr.rasterize(
        golden.corners,
        golden.colors,
        image_size=golden.image_size,
        rasterizer=tsr.SoftAggregation(**golden.parameters),
    )
    weights = golden.weights
    if golden.anti_aliasing:  # the adjoint of the 2 x 2 mean
        weights = weights.repeat(2, axis=1).repeat(2, axis=2) / 4
    return golden.downsampled(image), *vjp(weights)


def check(golden, pixels, image_tolerance, gradient_tolerance):
    image, grad_corners, grad_colors = rasterize(golden)
    error = np.abs(image - golden.image)[pixels].max()
    color_error = relative_error(grad_colors, golden.grad_colors)
    print(f"{golden.name}: error of image {error:.1e}, gradient of colours {color_error:.1e}")
    assert error < image_tolerance
    assert color_error < gradient_tolerance
    if golden.grad_corners is not None:
        corner_error = relative_error(grad_corners, golden.grad_corners)
        print(f"{golden.name}: error of gradient of corners {corner_error:.1e}")
        assert corner_error < gradient_tolerance


@pytest.mark.f64
def test_softras_in_double_precision(backend, golden):
    if golden.image.dtype == np.float64:
        image_tolerance = tolerances.SOFTRAS_IMAGE
        gradient_tolerance = tolerances.SOFTRAS_GRADIENT
    else:
        image_tolerance = tolerances.SOFTRAS_IMAGE_STORED_AS_FLOAT32
        gradient_tolerance = tolerances.SOFTRAS_GRADIENT_STORED_AS_FLOAT32
    check(golden, golden.trusted, image_tolerance, gradient_tolerance)


def test_softras_in_single_precision(backend, golden):
    """Every backend comes so near that any two agree to 1e-4."""
    pixels = golden.trusted.copy()
    if golden.name == "tri2_euclid_softmax_prod_surface5":
        pixels[0][ON_A_TEXEL_BORDER] = False
    check(
        golden,
        pixels,
        tolerances.SOFTRAS_IMAGE_SINGLE,
        tolerances.SOFTRAS_GRADIENT_SINGLE,
    )


def test_softras_own_gradient(golden):
    """Prints how far SoftRas' corner gradient is from the derivative of its own image.

    Its gradient of depth is exact. That of x and y lacks what colour and depth change when a
    face moves under a pixel. |g - g_true| / |g_true| and the cosine between them, as printed:

        batch2_aa_euclid_hard_prod_clip    0.88     0.487
        ico3_bary_hard_sum_surface2        9.1e-14  1.000
        ico3_euclid_softmax_prod           0.5      0.868
        ico3_hard_hard_hard_surface1       both are 0
        tri2_bary_softmax_sum_culled       0.46     0.924
        tri2_euclid_softmax_prod_surface5  1.1e-06  1.000
        tri2_hard_softmax_hard             1        0.000
        tri_euclid_softmax_prod            0.17     0.987
    """
    if golden.grad_corners is None:
        pytest.skip("the true gradient of this case is not known")
    own, true = golden.grad_corners_softras, golden.grad_corners
    depth_error = np.abs(own - true)[..., 2].max()
    assert depth_error <= tolerances.SOFTRAS_GRADIENT * np.abs(true).max()
    own, true = own[..., :2], true[..., :2]
    length, true_length = np.linalg.norm(own), np.linalg.norm(true)
    if true_length == 0:
        assert length == 0
        print(f"{golden.name}: SoftRas' gradient of x and y is 0, and so is the true one")
        return
    missing = np.linalg.norm(own - true) / true_length
    cosine = (own * true).sum() / max(length * true_length, 1e-30)
    print(
        f"{golden.name}: SoftRas' gradient of x and y is off by {missing:.2g}, cosine {cosine:.3f}"
    )
