"""Fragments of z-buffers: gradients of a shading that is not linear, against differences."""

import dataclasses

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.funcs.lookups import CUBES
from taichi_softras.rasterizers.fragments import SurfaceNumbers
from taichi_softras.runtime import ti
from taichi_softras.shading.base import Shading
from taichi_softras.shading.composition import Looks, compose
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rasterizers.scenes import DEPTHS, lay_surface, upload
from tests.rasterizers.test_approximate_gradient import assert_close

SIZE = (9, 14)


@ti.func
def glow(varyings, uniforms):
    color, normal = varyings[0:3], varyings[3:6]
    return ti.Vector(
        [
            color[0] * normal[0] * uniforms[0] + color[1] ** 2,
            ti.sin(normal[1]) * color[2] + uniforms[1] ** 2 * normal[2] * color[0],
        ]
    )


@ti.func
def glow_vjp(varyings, uniforms, grad):
    color, normal = varyings[0:3], varyings[3:6]
    return ti.Struct(
        varyings=ti.Vector(
            [
                grad[0] * normal[0] * uniforms[0] + grad[1] * uniforms[1] ** 2 * normal[2],
                2 * grad[0] * color[1],
                grad[1] * ti.sin(normal[1]),
                grad[0] * color[0] * uniforms[0],
                grad[1] * ti.cos(normal[1]) * color[2],
                grad[1] * uniforms[1] ** 2 * color[0],
            ]
        ),
        uniforms=ti.Vector(
            [
                grad[0] * color[0] * normal[0],
                2 * grad[1] * uniforms[1] * normal[2] * color[0],
            ]
        ),
    )


@dataclasses.dataclass(frozen=True)
class Glow(Shading):
    """Colour, normals and two uniforms, multiplied with each other."""

    varyings = {"color": 3, "normal_world": 3}
    uniforms = {"strength": 2}
    channels = 2
    background = 0.25
    fragment = glow
    fragment_vjp = glow_vjp


@dataclasses.dataclass(frozen=True)
class StillGlow(Glow):
    """It has the exact gradient within faces, also where edges pull."""

    moves_edges = False


@ti.func
def tint(varyings, uniforms):
    return varyings * uniforms


@ti.func
def tint_vjp(varyings, uniforms, grad):
    return ti.Struct(varyings=grad * uniforms, uniforms=grad * varyings)


@dataclasses.dataclass(frozen=True)
class Tint(Shading):
    """Colour times a uniform."""

    varyings = {"color": 3}
    uniforms = {"tint": 3}
    channels = 3
    background = 0.0
    fragment = tint
    fragment_vjp = tint_vjp


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is drawn, as NumPy arrays."""

    rasterizer: object
    shader: object
    corners: np.ndarray
    varyings: np.ndarray
    textures: np.ndarray
    uniforms: np.ndarray

    def draw(self, **changes):
        scene = dataclasses.replace(self, **changes)
        tables = scene.varyings, scene.textures, scene.uniforms
        return scene.rasterizer.forward(
            Workspace(),
            upload(scene.corners, float),
            scene.shader,
            lay_surface(scene.shader, *tables, float),
            SIZE,
        )

    def differences(self, name, cotangent, step=1e-6):
        """The derivative of sum(cotangent * image) by each entry of an array.

        Every moved scene is two views of its own, and all are drawn in one call.
        """
        values = getattr(self, name)
        moves = step * np.eye(values.size).reshape(-1, *values.shape)
        copies = 2 * values.size
        arrays = {name: values + np.concatenate([moves, -moves])}
        for other in ("corners", "varyings", "textures", "uniforms"):
            tables = arrays.get(other, np.stack([getattr(self, other)] * copies))
            both_views = np.broadcast_to(tables, (copies, 2, *tables.shape[2:]))
            arrays[other] = both_views.reshape(2 * copies, *tables.shape[2:])
        images = self.draw(**arrays).image.to_numpy().reshape(copies, *cotangent.shape)
        sums = (images * cotangent).sum(axis=(1, 2, 3, 4))
        return ((sums[: values.size] - sums[values.size :]) / (2 * step)).reshape(values.shape)


def make_scene(rasterizer, shadings, rows=(1, 1, 1), num_faces=5):
    """Two views of clip corners whose depths are not their w; rows of the surface's arrays."""
    generator = np.random.default_rng(6)
    corners = generator.uniform(-1.3, 1.3, (2, num_faces, 3, 4))
    corners[..., 2:] = generator.uniform(1.5, 3.5, (2, num_faces, 3, 2))
    corners[..., :2] *= corners[..., 3:]
    shader = compose(shadings, Looks(3, CUBES)).shader
    shapes = (num_faces, 3, shader.num_varyings), (num_faces, 8, 3), (shader.num_uniforms,)
    tables = (generator.uniform(0.3, 1.5, (n, *shape)) for n, shape in zip(rows, shapes))
    return Scene(rasterizer, shader, corners, *tables)


def backward(drawn, cotangent):
    """Gradients by name."""
    drawn.grad_image.from_numpy(cotangent)
    drawn.backward()
    grads = {"corners": drawn.grad_corners, **drawn.grad_surface._asdict()}
    return {name: grad.to_numpy() for name, grad in grads.items()}


RASTERIZERS = [
    tsr.ApproximateGradient(**DEPTHS),
    tsr.ApproximateGradient(**DEPTHS, anti_aliasing=True, double_sided=False),
    tsr.FilteredDerivative(**DEPTHS),
]
NAMES = ["approximate", "approximate-aa", "filtered"]


@pytest.mark.f64
@pytest.mark.parametrize("rows", [(1, 1, 1), (2, 1, 2), (2, 2, 1), (2, 2, 2)])
@pytest.mark.parametrize("rasterizer", RASTERIZERS, ids=NAMES)
def test_gradient_of_the_surface(backend, rasterizer, rows):
    scene = make_scene(rasterizer, [Glow(), StillGlow()], rows)
    drawn = scene.draw()
    cotangent = np.random.default_rng(0).normal(size=drawn.image.shape)
    grads = backward(drawn, cotangent)
    for name in ("varyings", "textures", "uniforms"):
        expected = scene.differences(name, cotangent)
        assert_close(name, grads[name], expected, tolerances.FRAGMENTS_BY_DIFFERENCES)


@pytest.mark.parametrize("lookup", [None, CUBES], ids=["corners", "cubes"])
@pytest.mark.parametrize("rasterizer", RASTERIZERS, ids=NAMES)
def test_gradient_of_what_is_multiplied(backend, rasterizer, lookup):
    """On every device, of more faces than one thread adds up: the image knows its gradients."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(-1, 1, (2, 300, 1, 3)) + [0, 0, 3]
    corners = corners + generator.uniform(-0.3, 0.3, (2, 300, 3, 3))
    colors = generator.uniform(0.5, 1.5, (1, 300, 3 if lookup is None else 8, 3))
    tints = generator.uniform(0.5, 1.5, (1, 3))
    shader = compose([Tint()], Looks(3, lookup)).shader
    nothing = np.zeros((1, 1, 1, 1))
    tables = (colors, nothing, tints) if lookup is None else (nothing, colors, tints)
    drawn = rasterizer.forward(
        Workspace(),
        upload(corners, backend.numpy_float),
        shader,
        lay_surface(shader, *tables, backend.numpy_float),
        (20, 33),
    )
    image = drawn.image.to_numpy()
    cotangent = np.abs(generator.normal(size=image.shape)).astype(backend.numpy_float)
    drawn.grad_image.from_numpy(cotangent)
    drawn.backward()
    grads = drawn.grad_surface
    grad_colors = (grads.varyings if lookup is None else grads.textures).to_numpy()
    expected = (image * cotangent)[:, :3].sum(axis=(0, 2, 3))
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    assert_close("tints", grads.uniforms.to_numpy()[0] * tints[0], expected, tolerance)
    assert_close("colours", (grad_colors * colors).sum(axis=(0, 1, 2)), expected, tolerance)


def test_uniforms_that_views_share_have_the_same_bits(backend):
    """Where nothing else is shared, and threads could add for a view each."""
    if backend.arch != "cpu":
        pytest.skip("a GPU adds in any order")
    generator = np.random.default_rng(0)
    corners = generator.uniform(-1, 1, (8, 60, 1, 3)) + [0, 0, 3]
    corners = corners + generator.uniform(-0.4, 0.4, (8, 60, 3, 3))
    colors, tints = generator.uniform(0.5, 1.5, (8, 60, 3, 3)), generator.uniform(0.5, 1.5, (1, 3))
    tables = colors, np.zeros((1, 1, 1, 1)), tints
    shader = compose([Tint()], Looks(3)).shader
    drawn = tsr.Prefiltered(**DEPTHS).forward(
        Workspace(),
        upload(corners, backend.numpy_float),
        shader,
        lay_surface(shader, *tables, backend.numpy_float),
        (64, 64),
    )
    cotangent = generator.normal(size=drawn.image.shape).astype(backend.numpy_float)
    first = backward(drawn, cotangent)["uniforms"]
    for _ in range(4):
        np.testing.assert_array_equal(backward(drawn, cotangent)["uniforms"], first)


@pytest.mark.f64
def test_gradient_within_faces(backend):
    """Of a face that fills the image: there nothing is approximated."""
    scene = make_scene(tsr.ApproximateGradient(**DEPTHS), [StillGlow(), tsr.Depth()], num_faces=1)
    corners = scene.corners.copy()
    corners[..., :2] = np.array([[-5, -4], [6, -5], [-1, 7]]) * corners[..., 3:]
    scene = dataclasses.replace(scene, corners=corners)
    drawn = scene.draw()
    assert drawn.image.to_numpy()[:, -1].all()
    cotangent = np.random.default_rng(0).normal(size=drawn.image.shape)
    grad_corners = backward(drawn, cotangent)["corners"]
    expected = scene.differences("corners", cotangent)
    assert_close("corners", grad_corners, expected, tolerances.FRAGMENTS_BY_DIFFERENCES)


@pytest.mark.f64
@pytest.mark.parametrize("rows", [(1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("overdraw", [False, True])
def test_push_forward_is_the_transpose_of_backward(backend, overdraw, rows):
    scene = make_scene(
        tsr.FilteredDerivative(**DEPTHS, overdraw=overdraw), [Glow(), StillGlow()], rows
    )
    drawn = scene.draw()
    generator = np.random.default_rng(0)
    cotangent = generator.normal(size=drawn.image.shape)
    grads = backward(drawn, cotangent)
    tangents = {name: generator.normal(size=(3, *grad.shape)) for name, grad in grads.items()}
    corners, *tables = (upload(tangent, float) for tangent in tangents.values())
    pushed = drawn.push_forward(corners, SurfaceNumbers(*tables)).to_numpy()
    for parameter in range(3):
        expected = sum((grad * tangents[name][parameter]).sum() for name, grad in grads.items())
        actual = (pushed[parameter] * cotangent).sum()
        assert actual == pytest.approx(expected, rel=tolerances.TRANSPOSE_DOUBLE)


@pytest.mark.f64
@pytest.mark.parametrize("rasterizer", RASTERIZERS, ids=NAMES)
@pytest.mark.parametrize("colors", ["colors", "depth"])
def test_clip_corners_are_those_that_were_divided(backend, rasterizer, colors):
    """Under a perspective camera, where w is the depth."""
    generator = np.random.default_rng(2)
    divided = generator.uniform(-1.3, 1.3, (2, 12, 3, 3)) + [0, 0, 3]
    clip = np.concatenate([divided, divided[..., 2:]], axis=-1)
    clip[..., :2] *= divided[..., 2:]
    colors = tsr.Depth() if colors == "depth" else generator.uniform(size=(1, 12, 3, 3))
    inputs = {"colors": colors, "image_size": (15, 26), "rasterizer": rasterizer}
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
@pytest.mark.parametrize("rasterizer", RASTERIZERS, ids=NAMES)
def test_depth_and_colors_are_linear_under_an_orthographic_camera(backend, rasterizer):
    """Of a slanted face that fills the image, with w = 1."""
    corners = np.array([[-5, -4, 2, 1], [6, -5, 5, 1], [-1, 7, 3, 1.0]])
    plane = np.linalg.solve(np.column_stack([corners[:, :2], np.ones(3)]), corners[:, 2])
    height, width = 9, 14
    x = (2 * np.arange(width) + 1 - width) / height
    y = (height - 1 - 2 * np.arange(height)) / height
    expected = plane[0] * x + plane[1] * y[:, None] + plane[2]
    for colors in (tsr.Depth(), corners[None, None, :, 2:3]):
        rasterizer = dataclasses.replace(rasterizer, background=0.0)
        image, _ = tsr.rasterize(
            corners[None, None], colors, image_size=(height, width), rasterizer=rasterizer
        )
        np.testing.assert_allclose(image[0, ..., 0], expected, rtol=tolerances.TWIN_DOUBLE)
