"""The door for PyTorch: its images and gradients are those of NumPy's door, and of differences."""

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras import functional

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from taichi_softras.torch import rasterize  # noqa: E402, after the check

SIZE = (10, 12)
RASTERIZERS = [
    tsr.SoftAggregation(sigma=1e-2, gamma=0.1, near=1.0, far=10.0),
    tsr.KNearest(sigma=1e-2, gamma=0.1, near=1.0, far=10.0),
    tsr.ApproximateGradient(near=1.0, far=10.0),
    tsr.FilteredDerivative(near=1.0, far=10.0),
    tsr.Prefiltered(near=1.0, far=10.0),
    tsr.Antialiased(near=1.0, far=10.0),
]


@pytest.fixture
def scene(backend):
    """Corners and colours of a few triangles, in the precision of the runtime."""
    rng = np.random.default_rng(4)
    corners = rng.uniform(-1.0, 1.0, (2, 4, 3, 3))
    corners[..., 2] += 3.0
    colors = rng.random((1, 4, 3, 3))
    return tuple(
        torch.tensor(values.astype(backend.numpy_float), requires_grad=True)
        for values in (corners, colors)
    )


@pytest.mark.parametrize("rasterizer", RASTERIZERS, ids=lambda one: type(one).__name__)
def test_images_and_gradients_are_those_of_numpy(scene, rasterizer):
    image = rasterize(*scene, image_size=SIZE, rasterizer=rasterizer)
    grad = torch.rand_like(image)
    image.backward(grad)
    arrays = [tensor.detach().numpy() for tensor in scene]
    wanted, vjp = tsr.rasterize(*arrays, image_size=SIZE, rasterizer=rasterizer)
    assert np.array_equal(image.detach().numpy(), wanted)
    for tensor, expected in zip(scene, vjp(grad.numpy())):
        np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rasterizer", RASTERIZERS[:2], ids=lambda one: type(one).__name__)
@pytest.mark.f64
def test_gradcheck(scene, backend, rasterizer):
    background = torch.rand((*SIZE, 3), dtype=torch.float64, requires_grad=True)

    def draw(corners, colors, background):
        return rasterize(
            corners, colors, image_size=SIZE, rasterizer=rasterizer, background=background
        )

    assert torch.autograd.gradcheck(draw, (*scene, background), eps=1e-6, atol=1e-6)


def test_several_images_before_a_gradient_and_a_second_gradient(scene):
    corners, colors = scene
    settings = {"image_size": SIZE, "rasterizer": RASTERIZERS[0]}
    first, second = rasterize(corners, colors, **settings), rasterize(corners * 0.5, **settings)
    (first.sum() + second.sum()).backward(retain_graph=True)
    together = corners.grad.clone()
    corners.grad = None
    first.sum().backward()
    rasterize(corners * 0.5, **settings).sum().backward()
    assert torch.equal(corners.grad, together)


def test_no_grad_a_part_and_strides(scene):
    corners, colors = scene
    settings = {"image_size": SIZE, "rasterizer": RASTERIZERS[0]}
    with torch.no_grad():
        assert not rasterize(corners, colors, **settings).requires_grad
    image = rasterize(corners.detach(), colors, **settings)
    image.sum().backward()
    assert corners.grad is None and colors.grad is not None
    turned = corners.detach().transpose(1, 2).contiguous().transpose(1, 2)
    assert not turned.is_contiguous()
    assert torch.equal(rasterize(turned, colors, **settings), image)


def test_memory_is_lent_again(scene):
    counts = []
    for _ in range(4):
        rasterize(*scene, image_size=(9, 9), rasterizer=RASTERIZERS[0]).sum().backward()
        counts.append(len(functional._workspaces._free))
    assert len(set(counts)) == 1


def test_what_is_no_tensor_of_this_runtime(scene):
    corners, colors = scene
    with pytest.raises(TypeError, match="must be a tensor, got ndarray"):
        rasterize(corners.detach().numpy(), image_size=SIZE)
    with pytest.raises(TypeError, match="float16.*initialised for"):
        rasterize(corners.half(), image_size=SIZE)
    with pytest.raises(ValueError, match="corners must have shape"):
        rasterize(corners[0], image_size=SIZE)
    with pytest.raises(ValueError, match="NaN"):
        rasterize(corners * float("nan"), image_size=SIZE)
    with pytest.raises(ValueError, match="meta"):
        rasterize(corners.detach().to("meta"), image_size=SIZE)
    with pytest.raises(ValueError, match="taichi_softras.torch.rasterize"):
        tsr.rasterize(corners, image_size=SIZE)


def _draw_in_a_process(seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    corners = 2.0 * torch.rand((1, 3, 3, 3), generator=generator) - 1.0
    corners[..., 2] = 2.0
    return float(rasterize(corners, image_size=SIZE).sum())


def test_workers_that_are_spawned():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_draw_in_a_process, [1])[0] > 0.0


def test_it_begins_the_runtime_and_the_package_does_not_import_it():
    program = (
        "import sys, taichi_softras; assert 'torch' not in sys.modules\n"
        "import torch; from taichi_softras.torch import rasterize\n"
        "corners = torch.rand((1, 3, 3, 3), dtype=torch.float64) + 1.0\n"
        "print(rasterize(corners, image_size=(4, 4)).dtype)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.split()[-1] == "torch.float64", run.stderr
