"""Textures: against a slow look-up in NumPy, and in double precision against differences."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import taichi_softras.nvdiffrast as dr  # noqa: E402, after the check

VIEWS = 2


@pytest.fixture
def looks(backend):
    """A texture with sides that are powers of two, places, footprints and biases."""
    rng = np.random.default_rng(3)
    tex, uv = rng.random((1, 8, 16, 3)), rng.uniform(-1.0, 2.0, (VIEWS, 3, 4, 2))
    uv_da, bias = rng.uniform(-0.2, 0.2, (VIEWS, 3, 4, 4)), rng.random((VIEWS, 3, 4))
    return [torch.tensor(one.astype(backend.numpy_float)) for one in (tex, uv, uv_da, bias)]


def texel(tex, row, column, mode):
    height, width = tex.shape[:2]
    if mode == "wrap":
        return tex[row % height, column % width]
    if mode == "clamp":
        return tex[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return tex[row, column] if 0 <= row < height and 0 <= column < width else 0.0 * tex[0, 0]


def sample(tex, uv, mode, is_nearest=False):
    """Of one level; texel (0, 0) is at uv = (0, 0)."""
    x, y = uv[0] * tex.shape[1], uv[1] * tex.shape[0]
    if is_nearest:
        return texel(tex, math.floor(y), math.floor(x), mode)
    left, low = math.floor(x - 0.5), math.floor(y - 0.5)
    across, up = x - 0.5 - left, y - 0.5 - low
    rows = [
        (1 - across) * texel(tex, row, left, mode) + across * texel(tex, row, left + 1, mode)
        for row in (low, low + 1)
    ]
    return (1 - up) * rows[0] + up * rows[1]


def halved(tex):
    return tex.reshape(tex.shape[0] // 2, 2, tex.shape[1] // 2, 2, -1).mean(axis=(1, 3))


def level_of(shape, uv_da, bias):
    jacobian = uv_da.reshape(2, 2) * np.array([[shape[1]], [shape[0]]])
    return math.log2(np.linalg.svd(jacobian)[1][0]) + bias


@pytest.mark.parametrize("mode", ["wrap", "clamp", "zero"])
@pytest.mark.parametrize("filter_mode", ["nearest", "linear"])
def test_one_level(looks, mode, filter_mode):
    tex, uv = looks[:2]
    drawn = dr.texture(tex, uv, filter_mode=filter_mode, boundary_mode=mode).numpy()
    for index in np.ndindex(drawn.shape[:3]):
        wanted = sample(tex[0].numpy(), uv[index].numpy(), mode, filter_mode == "nearest")
        np.testing.assert_allclose(drawn[index], wanted, atol=1e-5)


@pytest.mark.parametrize("filter_mode", ["linear-mipmap-nearest", "linear-mipmap-linear"])
def test_levels(looks, filter_mode):
    tex, uv, uv_da, bias = looks
    levels = [tex[0].numpy()]
    while min(levels[-1].shape[:2]) > 1:
        levels.append(halved(levels[-1]))
    settings = {"filter_mode": filter_mode, "max_mip_level": 3}
    drawn = dr.texture(tex, uv, uv_da, bias, **settings).numpy()
    seen = set()
    for index in np.ndindex(drawn.shape[:3]):
        level = level_of(tex.shape[1:3], uv_da[index].numpy(), float(bias[index]))
        level = min(max(level, 0.0), 3.0)
        if filter_mode == "linear-mipmap-nearest":
            level = math.floor(level + 0.5)
        low = math.floor(level)
        seen.add(low)
        samples = [sample(levels[min(k, 3)], uv[index].numpy(), "wrap") for k in (low, low + 1)]
        wanted = (1 - level + low) * samples[0] + (level - low) * samples[1]
        np.testing.assert_allclose(drawn[index], wanted, atol=1e-5)
    assert len(seen) > 2
    stack = [torch.tensor(one)[None] for one in levels[1:]]
    for mip in (stack, dr.texture_construct_mip(tex, 3)):
        again = dr.texture(tex, uv, uv_da, bias, mip, filter_mode)
        np.testing.assert_allclose(again, drawn, atol=1e-6)
    alone = dr.texture(tex, uv, mip_level_bias=bias * 0 + 1, filter_mode=filter_mode)
    np.testing.assert_allclose(alone, dr.texture(stack[0], uv, filter_mode="linear"), atol=1e-5)


def test_a_cube_map_is_opengl_s(backend):
    """The middle of each side, and the row of +x that begins in memory looks up, -y being down."""
    tex = np.arange(6 * 4, dtype=backend.numpy_float).reshape(1, 6, 2, 2, 1)
    axes = np.concatenate([np.eye(3), -np.eye(3)])[[0, 3, 1, 4, 2, 5]]
    directions = np.concatenate([axes, [[1, 0.5, 0.5]]]).astype(backend.numpy_float)
    drawn = dr.texture(tex, directions[None, None], boundary_mode="cube")
    np.testing.assert_allclose(drawn[0, 0, :6, 0], np.arange(6) * 4 + 1.5, atol=1e-5)
    np.testing.assert_allclose(drawn[0, 0, 6, 0], 0.0, atol=1e-5)


@pytest.mark.f64
@pytest.mark.parametrize("given", ["uv", "uv_da", "bias", "both", "nearest level"])
def test_gradients(looks, given):
    tex, uv, uv_da, bias = (one.requires_grad_() for one in looks)
    draw, inputs = {
        "uv": (dr.texture, (tex, uv)),
        "uv_da": (dr.texture, (tex, uv, uv_da)),
        "bias": (lambda tex, uv, bias: dr.texture(tex, uv, None, bias), (tex, uv, bias)),
        "both": (dr.texture, (tex, uv, uv_da, bias)),
        "nearest level": (
            lambda *inputs: dr.texture(*inputs, filter_mode="linear-mipmap-nearest"),
            (tex, uv, uv_da),
        ),
    }[given]
    assert torch.autograd.gradcheck(draw, inputs)


@pytest.mark.f64
def test_gradients_of_a_stack_and_of_a_constructed_one(looks):
    tex, uv, uv_da, _ = (one.requires_grad_() for one in looks)
    stack = [
        torch.rand(1, 8 >> k, 16 >> k, 3, dtype=torch.float64, requires_grad=True) for k in (1, 2)
    ]
    assert torch.autograd.gradcheck(
        lambda tex, *stack: dr.texture(tex, uv, uv_da, mip=list(stack)), (tex, *stack)
    )
    wanted, found = (
        torch.autograd.grad(dr.texture(tex, uv, uv_da, mip=mip).square().sum(), tex)[0]
        for mip in (None, dr.texture_construct_mip(tex))
    )
    torch.testing.assert_close(found, wanted)


@pytest.mark.f64
@pytest.mark.parametrize("has_levels", [False, True])
def test_gradients_of_a_cube_map(backend, has_levels):
    torch.manual_seed(5)

    def numbers(*shape):
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    inputs = (numbers(1, 6, 4, 4, 2), numbers(VIEWS, 2, 3, 3), numbers(VIEWS, 2, 3, 6))
    assert torch.autograd.gradcheck(
        lambda *inputs: dr.texture(*inputs, boundary_mode="cube"),
        inputs if has_levels else inputs[:2],
    )


def test_bad_input_is_one_sentence(looks):
    tex, uv, uv_da, bias = looks

    def raises(words, *arguments, error=ValueError, **named):
        with pytest.raises(error, match=words) as raised:
            dr.texture(*arguments, **named)
        assert "\n" not in str(raised.value)

    raises("tex must have shape", tex[0], uv)
    raises("tex must have entries", tex[:, :0], uv)
    raises("uv must have entries", tex, uv[:0])
    raises("for 2 images", tex.expand(3, -1, -1, -1), uv)
    raises("uv must have shape", tex, uv[..., :1])
    raises("NaN", tex, uv * np.nan)
    raises("dtype", tex, uv.to(torch.float16), error=TypeError)
    raises("uv is on meta", tex, uv.to("meta"))
    raises("uv_da must have shape", tex, uv, uv_da[..., :2])
    raises("mip_level_bias must have shape", tex, uv, uv_da, bias[..., :1])
    raises("filter_mode must be", tex, uv, filter_mode="cubic")
    raises("boundary_mode must be", tex, uv, boundary_mode="mirror")
    raises("needs uv_da= or", tex, uv, filter_mode="linear-mipmap-linear")
    raises("max_mip_level", tex, uv, uv_da, max_mip_level=-1)
    raises(r"mip\[0\] must have shape \(1, 4, 8, 3\)", tex, uv, uv_da, mip=[tex])
    raises("at most 4", tex, uv, uv_da, mip=[tex] * 5)
    raises("mip must be", tex, uv, uv_da, mip=tex, error=TypeError)
    raises("construct it of this", tex, uv, uv_da, mip=dr.texture_construct_mip(tex[:, ::2]))
    raises(
        "tex must have square sides", tex[:, None].expand(1, 6, 8, 16, 3), uv, boundary_mode="cube"
    )
