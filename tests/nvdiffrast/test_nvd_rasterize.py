"""Clip space to pixels, and attributes there: against a NumPy twin, and in double precision against
differences."""

import importlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import taichi_softras.nvdiffrast as dr  # noqa: E402, after the check

SIZE = (6, 7)
CONTEXT = dr.RasterizeCudaContext()
TRIANGLES = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]], dtype=torch.int32)


def clip_points(backend, seed=1, views=2):
    """(B, 9, 4) three triangles, in front of the camera, that reach beyond the image."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-2.0, 2.0, (views, 9, 4))
    points[..., 2] *= 0.3
    points[..., 3] = rng.uniform(0.6, 3.0, (views, 9))
    return torch.tensor(points.astype(backend.numpy_float))


def weights_at(pixel, triangle):
    """(3,) barycentric weights of a point of a triangle that projects to (x, y), or None behind."""
    weights = np.linalg.solve(triangle[:, [0, 1, 3]].T, [*pixel, 1.0])
    return None if weights.sum() <= 0.0 else weights / weights.sum()


def twin(points, triangles, size, step=1e-4):
    """`rasterize` in double precision, pixel by pixel; derivatives by central differences."""
    height, width = size
    rast, slopes = np.zeros((*size, 4)), np.zeros((*size, 4))

    def place(row, column):
        return (2.0 * column + 1.0) / width - 1.0, (2.0 * row + 1.0) / height - 1.0

    for row, column in np.ndindex(size):
        nearest = np.inf
        for number, triangle in enumerate(points[triangles], start=1):
            weights = weights_at(place(row, column), triangle)
            if weights is None or weights.min() < 0.0:
                continue
            depth = weights @ triangle[:, 2] / (weights @ triangle[:, 3])
            if abs(depth) <= 1.0 and depth < nearest:
                nearest = depth
                rast[row, column] = (*weights[:2], depth, number)
                for axis, (down, right) in enumerate([(0.0, step), (step, 0.0)]):
                    ahead = weights_at(place(row + down, column + right), triangle)
                    behind = weights_at(place(row - down, column - right), triangle)
                    slopes[row, column, axis::2] = (ahead - behind)[:2] / (2.0 * step)
    return rast, slopes


@pytest.mark.parametrize("size", [SIZE, (9, 5)])
def test_a_twin_in_numpy(backend, size):
    points = clip_points(backend)
    rast, slopes = dr.rasterize(CONTEXT, points, TRIANGLES, size)
    for view, expected in enumerate(points.double().numpy()):
        wanted, wanted_slopes = twin(expected, TRIANGLES.numpy(), size)
        assert (wanted[..., 3] > 0).sum() > 5
        np.testing.assert_allclose(rast[view], wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(slopes[view], wanted_slopes, rtol=1e-3, atol=1e-4)


def test_row_0_is_at_the_bottom_and_the_nearer_by_z_over_w_wins(backend):
    """One triangle fills the image, another its lower half, nearer by z / w and farther by z."""
    whole = np.array([[-1.0, -1, 0.5, 1], [3, -1, 0.5, 1], [-1, 3, 0.5, 1]])
    half = np.array([[-9.0, 0, 0.3, 1], [9, 0, 0.3, 1], [0, -9, 0.3, 1]]) * 4.0
    points = np.concatenate([whole, half])[None].astype(backend.numpy_float)
    triangles = np.arange(6, dtype=np.int32).reshape(2, 3)
    rast, _ = dr.rasterize(CONTEXT, points, triangles, (4, 6))
    assert isinstance(rast, np.ndarray)
    assert (rast[0, :2, :, 3] == 2).all() and (rast[0, 2:, :, 3] == 1).all()
    np.testing.assert_allclose(rast[0, :, :, 2], [[0.3] * 6] * 2 + [[0.5] * 6] * 2, atol=1e-5)
    # weights of the corners at the left, -1, and the right, 3, at the middle of the third row
    np.testing.assert_allclose(rast[0, 2, 0, :2], [1 - 1 / 24 - 2.5 / 8 * 1, 1 / 24], atol=1e-5)


def test_near_and_far_planes_cut(backend):
    """z from -2 to 2 along x: what is drawn lies within -1 and 1, planes themselves included."""
    points = np.array([[-1.0, -1, -2, 1], [1, -1, 2, 1], [1, 3, 2, 1], [-1, 3, -2, 1]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    settings = (triangles, (4, 8))
    rast, _ = dr.rasterize(CONTEXT, points[None].astype(backend.numpy_float), *settings)
    assert (rast[0, 0, :, 3] > 0).tolist() == [False] * 2 + [True] * 4 + [False] * 2
    np.testing.assert_allclose(rast[0, 0, 2:6, 2], [-0.75, -0.25, 0.25, 0.75], atol=1e-5)
    for plane in (-1.0, 1.0):
        points[:, 2] = plane
        rast, _ = dr.rasterize(CONTEXT, points[None].astype(backend.numpy_float), *settings)
        assert (rast[..., 3] > 0).all()


def test_behind_the_camera(backend):
    """A floor that reaches behind the camera: each pixel is where a ray meets it."""
    near, far = 0.1, 10.0
    floor = np.array([[-9.0, -1, 9], [9, -1, 9], [0, -1, -9]])  # x, y, z in front
    scale, offset = (far + near) / (far - near), -2.0 * far * near / (far - near)
    z = floor[:, 2:]
    points = np.concatenate([floor[:, :2], scale * z + offset, z], axis=1)
    triangles = np.array([[0, 1, 2]], np.int32)
    rast, _ = dr.rasterize(CONTEXT, points[None].astype(backend.numpy_float), triangles, (8, 8))
    wanted, _ = twin(points, triangles, (8, 8))
    assert (wanted[..., 3] > 0).sum() == 32  # the lower half
    np.testing.assert_allclose(rast[0], wanted, atol=2e-5)


def test_ranges_are_images_of_some_triangles(backend):
    points = clip_points(backend)[0]
    ranges = torch.tensor([[1, 2], [0, 1], [2, 0]], dtype=torch.int32)
    rast, slopes = dr.rasterize(CONTEXT, points, TRIANGLES, SIZE, ranges)
    for view, (first, count) in enumerate(ranges.tolist()):
        part = TRIANGLES[first : first + count]
        alone, slopes_alone = dr.rasterize(CONTEXT, points[None], part, SIZE)
        alone[..., 3] += first * (alone[..., 3] > 0)
        assert torch.equal(rast[view], alone[0])
        assert torch.equal(slopes[view], slopes_alone[0])
    assert torch.equal(rast[..., 3].int(), rast.triangle_ids)


@pytest.mark.f64
@pytest.mark.parametrize("in_ranges", [False, True])
def test_gradients_of_rasterize(backend, in_ranges):
    """Of z / w there is none."""
    points = clip_points(backend)
    ranges = torch.tensor([[0, 2], [1, 2]]) if in_ranges else None
    points = (points[0] if in_ranges else points).requires_grad_()

    def draw(points):
        rast, slopes = dr.rasterize(CONTEXT, points, TRIANGLES, SIZE, ranges)
        return rast[..., :2], slopes

    assert torch.autograd.gradcheck(draw, points, eps=1e-7, atol=1e-5)
    rast, slopes = dr.rasterize(CONTEXT, points, TRIANGLES, SIZE, ranges, grad_db=False)
    assert not slopes.requires_grad
    rast[..., 2].sum().backward()
    assert (points.grad == 0).all()


@pytest.mark.f64
@pytest.mark.parametrize("views", [1, 2])
def test_gradients_of_interpolate(backend, views):
    points = clip_points(backend)
    rast, slopes = dr.rasterize(CONTEXT, points, TRIANGLES, SIZE)
    attributes = torch.rand(views, 9, 3, dtype=torch.float64, requires_grad=True)

    def interpolate(attributes, uv, slopes):
        given = torch.cat([uv, rast[..., 2:]], dim=-1)
        return dr.interpolate(attributes, given, TRIANGLES, slopes, [2, 0])

    inputs = (rast[..., :2].clone().requires_grad_(), slopes.clone().requires_grad_())
    assert torch.autograd.gradcheck(interpolate, (attributes, *inputs))


def test_interpolate(backend):
    """Against NumPy, and all changes against some."""
    points = clip_points(backend)
    rast, slopes = dr.rasterize(CONTEXT, points, TRIANGLES, SIZE)
    attributes = torch.rand(9, 3, dtype=points.dtype)
    out, changes = dr.interpolate(attributes, rast, TRIANGLES, slopes, "all")
    ids = rast[..., 3].int().numpy()
    at_corners = attributes.numpy()[TRIANGLES.numpy()][ids - 1]
    u, v = rast[..., 0:1].numpy(), rast[..., 1:2].numpy()
    shares = np.stack([u, v, 1 - u - v], axis=-2)
    covered = (ids > 0)[..., None]
    np.testing.assert_allclose(out, (at_corners * shares).sum(axis=-2) * covered, atol=1e-6)
    edges = at_corners[..., :2, :] - at_corners[..., 2:, :]
    wanted = np.einsum("bhwkc,bhwka->bhwca", edges, slopes.numpy().reshape(*ids.shape, 2, 2))
    np.testing.assert_allclose(changes.reshape(wanted.shape), wanted, atol=1e-5)
    same, none = dr.interpolate(attributes[None], rast, TRIANGLES)
    assert torch.equal(same, out) and none.shape == (*ids.shape, 0)
    arrays = [one.numpy() for one in (attributes, rast, TRIANGLES, slopes)]
    from_arrays = dr.interpolate(*arrays, "all")
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(from_arrays, (out, changes)))


def test_layers(backend):
    """Each pixel goes through its triangles, nearest first; two that coincide are two layers."""
    points = clip_points(backend)
    triangles = torch.cat([TRIANGLES, TRIANGLES[1:2]])
    points.requires_grad_()
    with dr.DepthPeeler(CONTEXT, points, triangles, SIZE) as peeler:
        layers = [peeler.rasterize_next_layer() for _ in range(5)]
    rasts = torch.stack([rast for rast, _ in layers]).detach()
    first, slopes = dr.rasterize(CONTEXT, points, triangles, SIZE)
    assert torch.equal(rasts[0], first) and torch.equal(layers[0][1], slopes)
    alone = [dr.rasterize(CONTEXT, points, one[None], SIZE)[0].detach() for one in triangles]
    for pixel in np.ndindex(*rasts.shape[1:4]):
        here = [(float(one[pixel][2]), k + 1) for k, one in enumerate(alone) if one[pixel][3] > 0]
        wanted = [number for _, number in sorted(here)] + [0] * (5 - len(here))
        assert [int(rast[pixel][3]) for rast in rasts] == wanted
    second = layers[1][0]
    assert 0 < (second[..., 3] > 0).sum() < (first[..., 3] > 0).sum()
    found = torch.autograd.grad(second[..., 0].sum(), points)[0]
    masks = [second[..., 3].detach() == k + 1 for k in range(4)]
    sums = [
        (dr.rasterize(CONTEXT, points, one[None], SIZE)[0][..., 0] * mask).sum()
        for one, mask in zip(triangles, masks)
    ]
    torch.testing.assert_close(found, torch.autograd.grad(sum(sums), points)[0])
    arrays = points.detach().numpy(), triangles.numpy()
    with dr.DepthPeeler(CONTEXT, *arrays, SIZE) as peeler:
        assert np.array_equal(peeler.rasterize_next_layer()[0], first.detach().numpy())
    with pytest.raises(RuntimeError, match="with DepthPeeler"):
        peeler.rasterize_next_layer()


def test_several_images_before_a_gradient(backend):
    points = clip_points(backend).requires_grad_()
    one = dr.rasterize(CONTEXT, points, TRIANGLES, SIZE)[0]
    two = dr.rasterize(CONTEXT, points * 0.5, TRIANGLES, SIZE)[0]
    both = torch.autograd.grad(one[..., :2].sum() + two[..., :2].sum(), points)[0]
    parts = []
    for scale in (1.0, 0.5):
        rast = dr.rasterize(CONTEXT, points * scale, TRIANGLES, SIZE)[0]
        parts.append(torch.autograd.grad(rast[..., :2].sum(), points)[0])
    torch.testing.assert_close(both, sum(parts), rtol=1e-4, atol=1e-5)


def test_numbers_beyond_single_precision_are_beside_the_image(backend, monkeypatch):
    """As if it counted to 2."""
    points = clip_points(backend)
    rast, _ = dr.rasterize(CONTEXT, points, TRIANGLES, SIZE)
    attributes = torch.rand(1, 9, 2)
    wanted, _ = dr.interpolate(attributes, rast, TRIANGLES)
    module = importlib.import_module("taichi_softras.nvdiffrast.rasterize")
    monkeypatch.setattr(module, "EXACT_IDS", 2)
    rast[..., 3].clamp_(max=2.0)
    assert torch.equal(dr.interpolate(attributes, rast, TRIANGLES)[0], wanted)
    with pytest.raises(ValueError, match="rast.triangle_ids"):
        dr.interpolate(attributes, rast.clone(), TRIANGLES)


def test_slivers_give_numbers(backend):
    """Triangles whose corners are on a line, but for rounding."""
    rng = np.random.default_rng(7)
    ends = rng.uniform(-1.0, 1.0, (200, 2, 4))
    ends[..., 3] = rng.uniform(0.5, 2.0, (200, 2))
    ends[..., 2] = 0.0
    between = ends[:, :1] + rng.random((200, 1, 1)) * (ends[:, 1:] - ends[:, :1])
    points = np.concatenate([ends, between], axis=1) + rng.choice([0.0, 1e-7, 1e-3], (200, 1, 1))
    points = torch.tensor(points.reshape(1, -1, 4).astype(backend.numpy_float), requires_grad=True)
    triangles = torch.arange(600).reshape(200, 3)
    rast, slopes = dr.rasterize(CONTEXT, points, triangles, (64, 64))
    out, changes = dr.interpolate(torch.rand(1, 600, 2), rast, triangles, slopes, "all")
    (out.sum() + changes.sum()).backward()
    assert all(one.isfinite().all() for one in (rast, slopes, out, changes, points.grad))


def test_no_triangles(backend):
    points = clip_points(backend)
    rast, slopes = dr.rasterize(CONTEXT, points, TRIANGLES[:0], SIZE)
    assert rast.shape == slopes.shape == (2, *SIZE, 4)
    assert not rast.any() and not slopes.any()


def test_bad_input_is_one_sentence(backend):
    points = clip_points(backend)

    def raises(error, words, operation, *arguments, **named):
        with pytest.raises(error, match=words) as raised:
            operation(*arguments, **named)
        assert "\n" not in str(raised.value)

    good = (CONTEXT, points, TRIANGLES, SIZE)
    raises(TypeError, "glctx must be", dr.rasterize, None, *good[1:])
    raises(TypeError, "pos must be a tensor", dr.rasterize, CONTEXT, [1.0], *good[2:])
    raises(TypeError, "dtype", dr.rasterize, CONTEXT, points.to(torch.float16), *good[2:])
    raises(
        ValueError, r"pos must have shape \(B, V, 4\)", dr.rasterize, CONTEXT, points[0], *good[2:]
    )
    raises(ValueError, "pos must have entries", dr.rasterize, CONTEXT, points[:0], *good[2:])
    raises(ValueError, "NaN", dr.rasterize, CONTEXT, points * np.nan, *good[2:])
    raises(ValueError, "tri has 9", dr.rasterize, CONTEXT, points, TRIANGLES + 1, SIZE)
    raises(ValueError, "tri has -1", dr.rasterize, CONTEXT, points, TRIANGLES - 1, SIZE)
    raises(TypeError, "int32", dr.rasterize, CONTEXT, points, TRIANGLES.float(), SIZE)
    raises(ValueError, r"\(T, 3\)", dr.rasterize, CONTEXT, points, TRIANGLES[0], SIZE)
    raises(ValueError, "image_size", dr.rasterize, CONTEXT, points, TRIANGLES, (0, 4))
    raises(ValueError, "meta", dr.rasterize, CONTEXT, points.to("meta"), *good[2:])
    elsewhere = dr.RasterizeCudaContext("cuda:0")
    raises(ValueError, "the context is for cuda:0", dr.rasterize, elsewhere, *good[1:])
    beyond = (([[0, 1], [1, 3]], "1. has 3 triangles from 1"), ([[4, 0]], "from 4"))
    for ranges, words in (
        *beyond,
        ([[0, -1]], "has -1"),
        ([1, 2], "B, 2"),
        ([[0.0, 1.0]], "int32"),
    ):
        ranges = torch.tensor(ranges)
        error = TypeError if ranges.is_floating_point() else ValueError
        raises(error, words, dr.rasterize, CONTEXT, points[0], *good[2:], ranges)
    rast, slopes = dr.rasterize(*good)
    attr = torch.rand(1, 9, 3, dtype=points.dtype)
    raises(
        ValueError,
        "rast has triangle 7, and tri has 3",
        dr.interpolate,
        attr,
        rast * 0 + 7,
        TRIANGLES,
    )
    raises(ValueError, "for 2 images", dr.interpolate, attr.expand(3, 9, 3), rast, TRIANGLES)
    raises(ValueError, "tri has 8", dr.interpolate, attr[:, :8], rast, TRIANGLES)
    raises(ValueError, "rast must have entries", dr.interpolate, attr, rast[:0], TRIANGLES)
    raises(ValueError, "rast_db=", dr.interpolate, attr, rast, TRIANGLES, None, "all")
    for wrong in ([3], "some", [0.5]):
        raises(ValueError, "diff_attrs", dr.interpolate, attr, rast, TRIANGLES, slopes, wrong)


def test_contexts(backend):
    points = clip_points(backend)
    plain = dr.RasterizeGLContext(output_db=False, device="cpu")
    plain.set_context()
    rast, slopes = dr.rasterize(plain, points, TRIANGLES, SIZE)
    plain.release_context()
    assert slopes.shape == (2, *SIZE, 0)
    assert torch.equal(rast, dr.rasterize(CONTEXT, points, TRIANGLES, SIZE)[0])
    with pytest.raises(ValueError, match="mode"):
        dr.RasterizeGLContext(mode="other")
