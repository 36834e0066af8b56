"""Fragments of soft rasterizers: gradients of a shading that is not linear, by differences."""

import dataclasses

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.funcs.lookups import CUBES
from taichi_softras.rasterizers.fragments import SurfaceNumbers
from taichi_softras.shading.composition import Looks, compose
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rarely import mostly, rarely
from tests.rasterizers.scenes import lay_surface, nearest, soft, upload
from tests.rasterizers.test_approximate_gradient import assert_close
from tests.rasterizers.test_visible_colors import (
    SIZE,
    Glow,
    StillGlow,
    Tint,
    backward,
    make_scene,
)

WIDE = {"near": 0.5, "background": 0.25}
RASTERIZERS = {
    "perspective": soft("euclidean", "softmax", "product", True, True, **WIDE),
    "screen": soft("euclidean", "softmax", "sum", False, False, **WIDE),
    "hard": soft("barycentric", "hard", "product", True, True, **WIDE),
    "nearest": nearest("softmax", clip_barycentric_coords=False),
    "affine": nearest("softmax", perspective_correct=False),
    "floor": dataclasses.replace(nearest("softmax"), gamma=1e-2, faces_per_pixel=2),
}
NAMES = ("corners", "varyings", "textures", "uniforms")
FEW = [(name, (2, 1, 2)) for name in RASTERIZERS]
FEW += [("perspective", (1, 1, 1)), rarely("perspective", (2, 2, 1)), ("perspective", (2, 2, 2))]


def glow_scene(name, rows):
    """All that a face may have, in two parts; the background of colours is a number."""
    rasterizer = dataclasses.replace(RASTERIZERS[name], background=0.25)
    return make_scene(rasterizer, [Glow(), StillGlow(), tsr.Unlit()], rows)


def random_cotangent(generator, image, width=SIZE[1]):
    """Of the image's shape: rows are padded, and a gradient there must be zero."""
    cotangent = generator.normal(size=image.shape)
    cotangent[..., width:] = 0.0
    return cotangent


@pytest.mark.f64
@pytest.mark.filterwarnings("ignore:faces_per_pixel")
@pytest.mark.parametrize("name, rows", FEW)
def test_gradients(backend, name, rows):
    scene = glow_scene(name, rows)
    drawn = scene.draw()
    cotangent = random_cotangent(np.random.default_rng(0), drawn.image)
    grads = backward(drawn, cotangent)
    for array in NAMES:
        expected = scene.differences(array, cotangent)
        assert_close(array, grads[array], expected, tolerances.FRAGMENTS_BY_DIFFERENCES)


@pytest.mark.f64
@pytest.mark.filterwarnings("ignore:faces_per_pixel")
@pytest.mark.parametrize("name, rows", FEW[::2])
def test_push_forward_is_the_transpose_of_backward(backend, name, rows):
    drawn = glow_scene(name, rows).draw()
    generator = np.random.default_rng(0)
    cotangent = random_cotangent(generator, drawn.image)
    grads = backward(drawn, cotangent)
    tangents = {name: generator.normal(size=(3, *grad.shape)) for name, grad in grads.items()}
    corners, *tables = (upload(tangent, float) for tangent in tangents.values())
    pushed = drawn.push_forward(corners, SurfaceNumbers(*tables)).to_numpy()
    for parameter in range(3):
        expected = sum((grad * tangents[name][parameter]).sum() for name, grad in grads.items())
        actual = (pushed[parameter] * cotangent[..., : SIZE[1]]).sum()
        assert actual == pytest.approx(expected, rel=tolerances.TRANSPOSE_DOUBLE)


@pytest.mark.parametrize("lookup", [None, CUBES], ids=["corners", "cubes"])
@pytest.mark.parametrize("name", ["perspective", "nearest"])
def test_gradient_of_what_is_multiplied(backend, name, lookup):
    """On every device, of more faces than a task has: the image knows its gradients."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(-1, 1, (2, 300, 1, 3)) + [0, 0, 3]
    corners = corners + generator.uniform(-0.3, 0.3, (2, 300, 3, 3))
    colors = generator.uniform(0.5, 1.5, (1, 300, 3 if lookup is None else 8, 3))
    tints = generator.uniform(0.5, 1.5, (2, 3))
    shader = compose([Tint()], Looks(3, lookup)).shader
    nothing = np.zeros((1, 1, 1, 1))
    tables = (colors, nothing, tints) if lookup is None else (nothing, colors, tints)
    rasterizer = dataclasses.replace(RASTERIZERS[name], sigma=1e-3)
    drawn = rasterizer.forward(
        Workspace(),
        upload(corners, backend.numpy_float),
        shader,
        lay_surface(shader, *tables, backend.numpy_float),
        (20, 33),
    )
    cotangent = np.abs(random_cotangent(generator, drawn.image, 33))
    drawn.grad_image.from_numpy(cotangent.astype(backend.numpy_float))
    drawn.backward()
    grads = drawn.grad_surface
    grad_colors = (grads.varyings if lookup is None else grads.textures).to_numpy()
    expected = (drawn.image.to_numpy() * cotangent)[:, :3].sum(axis=(2, 3))
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    assert_close("tints", grads.uniforms.to_numpy() * tints, expected, tolerance)
    by_colors = (grad_colors * colors).sum(axis=(0, 1, 2))
    assert_close("colours", by_colors, expected.sum(axis=0), tolerance)


@pytest.mark.f64
@pytest.mark.parametrize("name", mostly(RASTERIZERS, ["perspective", "screen", "nearest"]))
@pytest.mark.parametrize("colors", ["colors", "depth", "silhouette"])
@pytest.mark.filterwarnings("ignore:faces_per_pixel")
def test_clip_corners_are_those_that_were_divided(backend, name, colors):
    """Under a perspective camera, where w is the depth."""
    generator = np.random.default_rng(2)
    divided = generator.uniform(-1.3, 1.3, (2, 12, 3, 3)) + [0, 0, 3]
    clip = np.concatenate([divided, divided[..., 2:]], axis=-1)
    clip[..., :2] *= divided[..., 2:]
    kinds = {"colors": generator.uniform(size=(1, 12, 3, 3)), "depth": tsr.Depth()}
    inputs = {
        "colors": kinds.get(colors),
        "image_size": (15, 26),
        "rasterizer": dataclasses.replace(RASTERIZERS[name], background=0.25),
    }
    image, vjp = tsr.rasterize(divided, **inputs)
    from_clip, vjp_clip = tsr.rasterize(clip, **inputs)
    np.testing.assert_allclose(from_clip, image, atol=tolerances.TWIN_DOUBLE)
    cotangent = generator.normal(size=image.shape)
    grad_divided, grad_clip = vjp(cotangent)[0], vjp_clip(cotangent)[0]
    by_position = grad_clip[..., :2] * divided[..., 2:]
    by_depth = (grad_clip[..., :2] * divided[..., :2]).sum(axis=-1) + grad_clip[..., 2:].sum(
        axis=-1
    )
    together = np.concatenate([by_position, by_depth[..., None]], axis=-1)
    assert_close("corners", together, grad_divided, tolerances.TWIN_DOUBLE)


@pytest.mark.f64
@pytest.mark.parametrize("name", RASTERIZERS)
def test_depth_and_colors_are_linear_under_an_orthographic_camera(backend, name):
    """Of a slanted face that fills the image, with w = 1."""
    corners = np.array([[-5, -4, 2, 1], [6, -5, 5, 1], [-1, 7, 3, 1.0]])
    plane = np.linalg.solve(np.column_stack([corners[:, :2], np.ones(3)]), corners[:, 2])
    height, width = 9, 14
    x = (2 * np.arange(width) + 1 - width) / height
    y = (height - 1 - 2 * np.arange(height)) / height
    expected = plane[0] * x + plane[1] * y[:, None] + plane[2]
    # a gamma at which the background has no weight
    rasterizer = dataclasses.replace(RASTERIZERS[name], background=0.0, sigma=1e-3, gamma=1e-3)
    floor = 1e-9 if isinstance(rasterizer, tsr.KNearest) else 0.0
    for colors in (tsr.Depth(), corners[None, None, :, 2:3]):
        image, _ = tsr.rasterize(
            corners[None, None], colors, image_size=(height, width), rasterizer=rasterizer
        )
        np.testing.assert_allclose(image[0, ..., 0], expected, rtol=floor + tolerances.TWIN_DOUBLE)


@pytest.mark.parametrize("name", ["perspective", "nearest"])
@pytest.mark.parametrize("sigma, gamma", [(1e-30, 1e-4), (1e-4, 1e-30), (1e-30, 1e-30)])
def test_the_least_softness(backend, name, sigma, gamma):
    """Far below what positions and depths tell: images and gradients are finite all the same."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(-1, 1, (1, 20, 3, 3)) + [0, 0, 3]
    rasterizer = dataclasses.replace(RASTERIZERS[name], sigma=sigma, gamma=gamma)
    inputs = {"image_size": (12, 17), "rasterizer": rasterizer}
    image, vjp = tsr.rasterize(corners, generator.uniform(size=(1, 20, 3, 3)), **inputs)
    for values in (image, *vjp(generator.normal(size=image.shape))):
        assert np.isfinite(values).all()


@pytest.mark.filterwarnings("ignore:near = ")
@pytest.mark.parametrize("name", ["perspective", "screen", "nearest"])
@pytest.mark.parametrize("depth", [1.0, 1e11])
def test_faces_far_behind_a_narrow_range(backend, name, depth):
    """0, times what is infinite together: compilers may multiply in another order, to NaN."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(-1, 1, (1, 4, 3, 3))
    corners[..., 2] = depth * generator.uniform(0.5, 1.5, (1, 4, 3))
    near = 1e-6
    narrow = {"near": near, "far": float(np.nextafter(near, 1.0)), "gamma": 1e-8}
    rasterizer = dataclasses.replace(RASTERIZERS[name], **narrow)
    inputs = {"image_size": (12, 17), "rasterizer": rasterizer}
    image, vjp = tsr.rasterize(corners, generator.uniform(size=(1, 4, 3, 3)), **inputs)
    for values in (image, *vjp(generator.normal(size=image.shape))):
        assert np.isfinite(values).all()


@pytest.mark.cpu
def test_gradients_of_texels_that_views_share_repeat_bit_by_bit(backend):
    vertices, faces = tsr.primitives.icosphere(3)
    corners = np.stack([vertices[faces] * 0.7 + [0.0, 0.0, 3.0 + 0.1 * k] for k in range(8)])
    texels = np.random.default_rng(0).random((1, len(faces), 2, 2, 3))
    image, vjp = tsr.rasterize(corners, texels, image_size=(64, 64))
    cotangent = np.cos(np.arange(image.size)).reshape(image.shape)
    _, first = vjp(cotangent)
    for _ in range(9):
        np.testing.assert_array_equal(vjp(cotangent)[1], first)


@pytest.mark.parametrize("name", ["perspective", "screen", "nearest", "affine"])
def test_a_face_that_is_far_smaller_than_a_pixel(backend, name):
    """Beside it weights are millions, and their sum is what rounding leaves."""
    corners = np.array([[0.6, -1.3, 3e6], [1.1, -0.1, 3e6], [-0.2, 0.1, 3e6]]) * 1e-6
    rasterizer = dataclasses.replace(RASTERIZERS[name], sigma=3.0)
    colors = np.random.default_rng(0).uniform(size=(1, 1, 3, 3))
    image, vjp = tsr.rasterize(
        corners[None, None], colors, image_size=(1, 1), rasterizer=rasterizer
    )
    for values in (image, *vjp(np.ones_like(image))):
        assert np.isfinite(values).all()
