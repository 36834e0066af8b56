"""Antialiasing: of an edge at a known place, against `Antialiased`, and against differences."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import taichi_softras as tsr  # noqa: E402, after the check
import taichi_softras.nvdiffrast as dr  # noqa: E402
from taichi_softras.torch import rasterize  # noqa: E402

CONTEXT = dr.RasterizeCudaContext()
SIZE = (12, 10)
NEAR, FAR = 0.1, 10.0


def ball(backend):
    """(1, V, 4) of a ball before a perspective camera, and its triangles."""
    vertices, faces = tsr.primitives.icosphere(1)
    depth = 2.0 - vertices[:, 2]
    x, y = 1.5 * vertices[:, 0] + 0.1 * depth, 1.3 * vertices[:, 1]
    scale, offset = (FAR + NEAR) / (FAR - NEAR), -2.0 * FAR * NEAR / (FAR - NEAR)
    points = np.stack([x, y, scale * depth + offset, depth], axis=1)[None]
    return torch.tensor(points.astype(backend.numpy_float), requires_grad=True), torch.tensor(faces)


def behind_the_camera(backend):
    """One triangle with a corner behind the camera."""
    points = [[[-0.5, -0.9, 0.3, 1.0], [0.6, -0.7, 0.2, 1.3], [0.1, 0.5, -1.6, -1.0]]]
    points = torch.tensor(np.array(points, backend.numpy_float), requires_grad=True)
    return points, torch.tensor([[0, 1, 2]])


def test_an_edge_at_a_known_place(backend):
    """Upright, 0.2 pixels behind the centre of column 1, then 0.8: who shows how much of whom."""
    tri = np.array([[0, 1, 2]], np.int32)
    for place, wanted in ((0.2, [1.0, 0.7, 0.0, 0.0]), (0.8, [1.0, 1.0, 0.3, 0.0])):
        x = (1.5 + place) / 2.0 - 1.0
        points = np.array([[[x, -9, 0, 1], [x, 9, 0, 1], [-9, 0, 0, 1]]], backend.numpy_float)
        rast, _ = dr.rasterize(CONTEXT, points, tri, (3, 4))
        color = (rast[..., 3:] > 0).astype(backend.numpy_float)
        drawn = dr.antialias(color, rast, points, tri)
        np.testing.assert_allclose(drawn[0, :, :, 0], [wanted] * 3, atol=1e-5)


def test_the_image_of_antialiased(backend):
    """Upside down, with its gradients: the same pixels by another door."""
    points, tri = ball(backend)
    colors = torch.rand(1, points.shape[1], 3, dtype=points.dtype, requires_grad=True)
    rast, _ = dr.rasterize(CONTEXT, points, tri, SIZE)
    sharp, _ = dr.interpolate(colors, rast, tri)
    drawn = dr.antialias(sharp, rast, points, tri)
    assert float((drawn - sharp).detach().abs().max()) > 0.1

    corners = points[:, tri]
    x, y, z, w = corners.unbind(-1)
    corners = torch.stack([x, y * (SIZE[0] / SIZE[1]), w, w], dim=-1)
    method = tsr.Antialiased(near=NEAR, far=FAR)
    wanted = rasterize(corners, colors[:, tri], image_size=SIZE, rasterizer=method)
    wanted = wanted[..., :3].flip(1)
    torch.testing.assert_close(drawn, wanted, rtol=1e-4, atol=1e-4)
    grad = torch.rand_like(drawn)
    found = torch.autograd.grad(drawn, (points, colors), grad)
    expected = torch.autograd.grad(wanted, (points, colors), grad)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.f64
@pytest.mark.parametrize("scene", [ball, behind_the_camera])
def test_gradients(backend, scene):
    points, tri = scene(backend)
    rast, _ = dr.rasterize(CONTEXT, points, tri, SIZE)
    color = torch.rand(1, *SIZE, 2, dtype=torch.float64, requires_grad=True)

    def draw(color, points):
        return dr.antialias(color, rast, points, tri)

    assert float((draw(color, points) - color).detach().abs().max()) > 0.1
    assert torch.autograd.gradcheck(draw, (color, points), eps=1e-7, atol=1e-5)


def test_ranges_and_boost(backend):
    """Vertices of all images together; and a gradient times a number."""
    points, tri = ball(backend)
    ranges = torch.tensor([[0, len(tri)], [0, 0]])
    rast, _ = dr.rasterize(CONTEXT, points[0], tri, SIZE, ranges)
    color = (rast[..., 3:] > 0).to(points.dtype)
    topology = dr.antialias_construct_topology_hash(tri)
    drawn = dr.antialias(color, rast, points[0], tri, topology, pos_gradient_boost=3.0)
    alone = dr.antialias(color[:1], rast[:1], points, tri)
    assert torch.equal(drawn[:1], alone) and not drawn[1].any()
    found, wanted = (torch.autograd.grad(one.sum(), points)[0] for one in (drawn, alone))
    assert float(wanted.abs().max()) > 0.1
    torch.testing.assert_close(found, 3.0 * wanted, rtol=1e-4, atol=1e-4)


def test_bad_input_is_one_sentence(backend):
    points, tri = behind_the_camera(backend)
    rast, _ = dr.rasterize(CONTEXT, points, tri, SIZE)
    color = torch.rand(1, *SIZE, 2, dtype=points.dtype)

    def raises(error, words, *arguments, **named):
        with pytest.raises(error, match=words) as raised:
            dr.antialias(*arguments, **named)
        assert "\n" not in str(raised.value)

    raises(ValueError, "color must have shape", color[0], rast, points, tri)
    raises(ValueError, "color must have entries", color[..., :0], rast, points, tri)
    raises(ValueError, "rast must have shape", color, rast[:, 1:], points, tri)
    raises(ValueError, "pos must have shape", color, rast, points[..., :3], tri)
    raises(ValueError, "tri has 3", color, rast, points, tri + 1)
    raises(ValueError, "rast has triangle 2", color, rast * 2, points, tri)
    raises(ValueError, "NaN", color * np.nan, rast, points, tri)
    raises(TypeError, "dtype", color.to(torch.float16), rast, points, tri)
    raises(ValueError, "pos_gradient_boost", color, rast, points, tri, pos_gradient_boost="more")
    other = dr.antialias_construct_topology_hash(tri.expand(2, 3))
    raises(ValueError, "construct it of this tri", color, rast, points, tri, other)
    with pytest.raises(ValueError, match="T, 3"):
        dr.antialias_construct_topology_hash(tri[0])
