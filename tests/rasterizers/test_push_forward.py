"""The transpose of every backward pass: <push_forward(t), g> = <t, backward(g)>."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.rasterizers.planes import planes_from_pixels
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rasterizers.scenes import ALL_RASTERIZERS, describe, nearest, soft
from tests.rasterizers.test_approximate_gradient import random_scene, upload

WITH_JACOBIAN = [r for r in ALL_RASTERIZERS if not isinstance(r, tsr.ApproximateGradient)]
KINDS = ["corners", "texels", "none"]
FEW = [
    soft("euclidean", "softmax", "product", True, True),
    nearest("softmax"),
    tsr.FilteredDerivative(overdraw=False),
    tsr.FilteredDerivative(),
]
CASES = [("corners", FEW[0]), ("texels", FEW[1]), ("none", FEW[2]), ("corners", FEW[3])]
IMAGE_SIZE = (15, 26)


def check_transpose(backend, rasterizer, kind, tolerance):
    """Random tangents, three at once, and a random gradient of the image."""
    random = np.random.default_rng(2)
    corners, colors = random_scene(kind)
    resolution = 0 if kind == "corners" or colors is None else colors.shape[2]
    if colors is not None:
        colors = colors.reshape(*colors.shape[:2], -1, colors.shape[-1])
    arrays = [None if a is None else upload(a, backend.numpy_float) for a in (corners, colors)]
    rasterization = rasterizer.forward(Workspace(), *arrays, resolution, IMAGE_SIZE)
    values = [a for a in (corners, colors) if a is not None]
    tangents = [random.normal(size=(3, *a.shape)) for a in values]
    pushed = [upload(t, backend.numpy_float) for t in tangents] + [None]
    image = rasterization.push_forward(*pushed[:2]).to_numpy().astype(float)

    gradient = random.normal(size=(len(corners), *IMAGE_SIZE, image.shape[2]))
    planes_from_pixels(gradient.astype(backend.numpy_float), rasterization.grad_image)
    rasterization.backward()
    gradients = [rasterization.grad_corners, rasterization.grad_colors]
    for k in range(3):
        terms = np.moveaxis(image[k], 1, -1) * gradient
        pulled = [(t[k] * g.to_numpy()).sum() for t, g in zip(tangents, gradients)]
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


@pytest.mark.slow
@pytest.mark.f64
@pytest.mark.parametrize("rasterizer", WITH_JACOBIAN, ids=describe)
def test_transpose_of_all_modes(backend, rasterizer):
    check_transpose(backend, rasterizer, "corners", tolerances.TRANSPOSE_DOUBLE)
