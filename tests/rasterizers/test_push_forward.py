"""The transpose of every backward pass: <push_forward(t), g> = <t, backward(g)>."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.functional import lay_colors
from taichi_softras.rasterizers.fragments import SurfaceNumbers
from taichi_softras.rasterizers.planes import planes_from_pixels
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rasterizers.scenes import ALL_RASTERIZERS, DEPTHS, describe, nearest, soft, upload
from tests.rasterizers.test_approximate_gradient import random_scene

WITH_JACOBIAN = [r for r in ALL_RASTERIZERS if not isinstance(r, tsr.ApproximateGradient)]
KINDS = ["corners", "texels", "none"]
FEW = [
    soft("euclidean", "softmax", "product", True, True),
    nearest("softmax"),
    tsr.FilteredDerivative(**DEPTHS, overdraw=False),
    tsr.FilteredDerivative(**DEPTHS),
    tsr.Antialiased(**DEPTHS),
]
CASES = [
    ("corners", FEW[0]),
    ("texels", FEW[1]),
    ("none", FEW[2]),
    ("corners", FEW[3]),
    ("texels", FEW[4]),
]
IMAGE_SIZE = (15, 26)


def check_transpose(backend, rasterizer, kind, tolerance):
    """Random tangents of all that is drawn, three at once, and a random gradient of the image."""
    random = np.random.default_rng(2)
    corners, colors = random_scene(kind)
    workspace = Workspace()
    if colors is not None:
        colors = colors.astype(backend.numpy_float)
    shader, surface = lay_colors(workspace, colors)
    corners_array = upload(corners, backend.numpy_float)
    rasterization = rasterizer.forward(workspace, corners_array, shader, surface, IMAGE_SIZE)
    arrays = corners_array, *surface.numbers
    tangents = [random.normal(size=(3, *array.shape)) for array in arrays]
    pushed = [upload(tangent, backend.numpy_float) for tangent in tangents]
    image = (
        rasterization.push_forward(pushed[0], SurfaceNumbers(*pushed[1:])).to_numpy().astype(float)
    )

    gradient = random.normal(size=(len(corners), *IMAGE_SIZE, image.shape[2]))
    planes_from_pixels(gradient.astype(backend.numpy_float), rasterization.grad_image)
    rasterization.backward()
    gradients = [rasterization.grad_corners, *rasterization.grad_surface]
    is_read = [True, shader.num_varyings > 0, shader.has_textures, False]
    for k in range(3):
        terms = np.moveaxis(image[k], 1, -1) * gradient
        pulled = [
            (tangent[k] * grad.to_numpy()).sum()
            for tangent, grad, reads in zip(tangents, gradients, is_read)
            if reads
        ]
        error = abs(terms.sum() - sum(pulled)) / np.linalg.norm(terms)
        print(f"{describe(rasterizer)} {kind}: {error:.1e}")
        assert error < tolerance


@pytest.mark.parametrize("kind, rasterizer", CASES)
def test_transpose(backend, rasterizer, kind):
    check_transpose(backend, rasterizer, kind, tolerances.SINGLE_PRECISION_RELATIVE)


@pytest.mark.f64
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rasterizer", FEW, ids=describe)
def test_transpose_in_double_precision(backend, rasterizer, kind):
    check_transpose(backend, rasterizer, kind, tolerances.TRANSPOSE_DOUBLE)


@pytest.mark.f64
@pytest.mark.parametrize("rasterizer", WITH_JACOBIAN, ids=describe)
def test_transpose_of_all_modes(backend, rasterizer):
    check_transpose(backend, rasterizer, "corners", tolerances.TRANSPOSE_DOUBLE)
