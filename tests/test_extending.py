"""docs/architecture.md is true: what its blocks add works, a step launches what its table says."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import taichi_softras as tsr
from benchmarks.launches import metered
from taichi_softras.fields import FieldTree
from taichi_softras.funcs.lights import LightStructure
from taichi_softras.renderer import Renderer
from taichi_softras.runtime import ti
from taichi_softras.shading.base import Shading
from taichi_softras.shading.outputs import VertexNormal
from tests import measured, tolerances

PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
SIZE = (10, 14)


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """A module of the code blocks under "How to add": Taichi reads sources from files."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.split("## How to add")[1], re.DOTALL)
    path = tmp_path_factory.mktemp("added") / "added.py"
    source = "\n".join(blocks).replace("import taichi as ti", f"import {ti.__name__} as ti")
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("added", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_renderer(rasterizer=None, shading=None, **settings):
    """An icosphere, a vertex of which is as good as any other: nothing is symmetric to the eye."""
    vertices, faces = tsr.primitives.icosphere(1)
    colors = np.random.default_rng(0).uniform(0.2, 0.8, vertices.shape)
    cameras = tsr.Camera.look_at((1.0, 0.7, 3.0), fov_y_degrees=45)
    mesh = tsr.Mesh(vertices * [1.0, 0.8, 0.9], faces, vertex_colors=colors)
    return Renderer(mesh, cameras, SIZE, rasterizer, shading, **settings)


def soft():
    return tsr.SoftAggregation(sigma=1e-2, gamma=1e-1)


def cotangent_of(field) -> np.ndarray:
    return np.random.default_rng(1).normal(size=field.to_numpy().shape)


def assert_gradient_is_the_difference(
    field, gradient, value_of, step=tolerances.FINITE_DIFFERENCE_STEP, name="field"
):
    """Of `value_of()` by some numbers of a field, each moved by itself."""
    values = field.to_numpy()
    expected, actual = [], []
    for index in list(np.ndindex(values.shape))[:9]:
        sums = []
        for sign in (1, -1):
            moved = values.copy()
            moved[index] += sign * step
            field.from_numpy(moved)
            sums.append(value_of())
        expected.append((sums[0] - sums[1]) / (2 * step))
        actual.append(gradient[index])
    field.from_numpy(values)
    scale = np.abs(expected).max()
    assert scale > 0, "nothing moves: the test is empty"
    measured.errors.append((name, np.abs(np.subtract(actual, expected)).max() / scale))
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerances.FINITE_DIFFERENCE_RELATIVE * scale
    )


@pytest.mark.f64
def test_a_shading(backend, added):
    """Gradients of all that it reads, its own field and the camera's eye among them; a Jacobian."""
    tree = FieldTree()
    strength = tree.add(())
    tree.place()
    strength[None] = 0.7
    renderer = make_renderer(soft(), added.RimLight(strength))
    cotangent = cotangent_of(renderer.render())
    renderer.backward(cotangent)
    mesh, cameras = renderer.mesh, renderer.cameras
    fields = [strength, cameras.eye, mesh.vertices, mesh.vertex_colors]
    gradients = [field.grad.to_numpy() for field in fields]
    for field, gradient in zip(fields, gradients):
        assert_gradient_is_the_difference(
            field, gradient, lambda: (cotangent * renderer.render().to_numpy()).sum()
        )
    jacobian = renderer.jacobian([strength, cameras.eye])
    products = np.tensordot(cotangent, jacobian, cotangent.ndim)
    expected = np.concatenate([np.ravel(gradient) for gradient in gradients[:2]])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(products, expected, atol=tolerances.TRANSPOSE_DOUBLE * scale)


@pytest.mark.f64
def test_adjoints_of_the_shadings(backend, added):
    """As a user would hold them."""
    tsr.testing.check_shading(added.RimLight())
    lights = LightStructure(directional=1, point=1)
    errors = tsr.testing.check_shading(added.WrappedLight(), lights=lights)
    assert list(errors)[-2:] == ["directional 0", "point 0"]


def test_a_shading_that_reads_lights(backend, added):
    """A sphere under one light is dark nowhere, and brightest where it faces it."""
    lights = tsr.DirectionalLights([(0, 0, 1)], [(1, 1, 1)])
    outputs = {"color": tsr.Unlit(), "normal": VertexNormal()}
    renderer = make_renderer(
        tsr.ApproximateGradient(), added.WrappedLight(), lights=lights, outputs=outputs
    )
    image = renderer.render().to_numpy()
    colors, normals = (field.to_numpy() for field in renderer.outputs.values())
    cosines = normals[..., 2:] / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    seen = image[..., 3] == 1
    expected = (colors * (0.5 + 0.5 * cosines))[seen]
    np.testing.assert_allclose(image[seen][:, :3], expected, atol=1e-5)


@pytest.mark.cpu
@pytest.mark.parametrize(
    "rasterizer",
    [tsr.KNearest(), tsr.ApproximateGradient(), tsr.FilteredDerivative()],
    ids=lambda value: type(value).__name__,
)
def test_a_shading_is_drawn_by_every_rasterizer(backend, added, rasterizer):
    renderer = make_renderer(rasterizer, added.RimLight())
    rim = renderer.render().to_numpy()
    renderer.backward(np.ones_like(rim))
    gradients = [renderer.mesh.vertex_colors.grad, renderer.cameras.eye.grad]
    assert all(np.abs(gradient.to_numpy()).max() > 0 for gradient in gradients)
    plain = make_renderer(rasterizer, tsr.Unlit()).render().to_numpy()
    added_light = (rim - plain)[..., :3]
    assert added_light.min() > -1e-5 and added_light.max() > 0.1
    np.testing.assert_allclose(added_light[..., 0], added_light[..., 1], atol=1e-5)  # it is white


@pytest.mark.f64
def test_an_output(backend, added):
    renderer = make_renderer(soft(), tsr.Depth(), outputs=added.outputs)
    output, vertices = renderer.outputs["disparity"], renderer.mesh.vertices
    cotangent = cotangent_of(output)

    def loss():
        renderer.render()
        return (cotangent * output.to_numpy()).sum()

    gradients = pull_back(renderer, output, cotangent)
    assert_gradient_is_the_difference(vertices, gradients, loss)
    hard = make_renderer(added.Sharp(), tsr.Depth(), outputs=added.outputs)
    depth, alpha = np.moveaxis(hard.render().to_numpy(), -1, 0)
    expected = np.where(alpha == 1, 1 / depth, 0)
    np.testing.assert_allclose(hard.outputs["disparity"].to_numpy(), expected, atol=1e-12)


def pull_back(renderer, output, cotangent) -> np.ndarray:
    """The gradient of sum(cotangent * output) at the vertices, in a tape."""
    tree = FieldTree()
    loss, factors = tree.add(()), tree.add(output.shape, needs_grad=False)
    tree.place()
    factors.from_numpy(cotangent)
    with ti.ad.Tape(loss):
        renderer.render()
        add_products(output, factors, loss)
    return renderer.mesh.vertices.grad.to_numpy()


@ti.kernel
def add_products(output: ti.template(), factors: ti.template(), loss: ti.template()):
    """A user's own loss."""
    for pixel in ti.grouped(output):
        loss[None] += output[pixel] * factors[pixel]


@pytest.mark.cpu
def test_one_value_is_drawn_more_than_once(backend, added):
    """As image and as outputs, each with a gradient of its own."""
    disparity = added.Disparity()
    pair = {"one": disparity, "other": disparity}
    renderer = make_renderer(tsr.ApproximateGradient(), disparity, outputs=pair)
    cotangent = cotangent_of(renderer.outputs["one"]).astype(np.float32)
    one, other = (pull_back(renderer, renderer.outputs[name], cotangent) for name in pair)
    assert np.abs(one).max() > 0
    np.testing.assert_array_equal(one, other)


@pytest.mark.f64
def test_a_rasterizer(backend, added):
    """Its image is OpenDR's without outlines; colours have a gradient, vertices have none."""
    renderer = make_renderer(added.Sharp(), tsr.Unlit())
    image = renderer.render().to_numpy()
    others = make_renderer(tsr.FilteredDerivative(overdraw=False), tsr.Unlit()).render().to_numpy()
    np.testing.assert_array_equal(image, others)
    cotangent = cotangent_of(renderer.image)
    renderer.backward(cotangent)
    assert not renderer.mesh.vertices.grad.to_numpy().any()
    colors = renderer.mesh.vertex_colors
    assert_gradient_is_the_difference(
        colors,
        colors.grad.to_numpy(),
        lambda: (cotangent * renderer.render().to_numpy()).sum(),
    )
    with pytest.raises(ValueError, match="Sharp has no Jacobian"):
        renderer.jacobian([colors])
    with pytest.raises(ValueError, match="Sharp has no fragments"):
        renderer.fragments()


@pytest.mark.f64
def test_a_loss(backend, added):
    renderer = make_renderer(soft(), tsr.Silhouette())
    tree = FieldTree()
    loss = tree.add(())
    tree.place()

    def run():
        with ti.ad.Tape(loss):
            renderer.render()
            added.ink(renderer.image, loss, weight=0.5)
        return loss[None]

    alpha = renderer.render().to_numpy()
    np.testing.assert_allclose(run(), 0.5 * (alpha**2).mean(), rtol=1e-12)
    vertices = renderer.mesh.vertices
    assert_gradient_is_the_difference(vertices, vertices.grad.to_numpy(), run)


# Bad input ---------------------------------------------------------------------------------------


def shading_of(**members):
    return type("Wrong", (Shading,), {"channels": 1, **members})()


@pytest.mark.cpu
def test_wrong_shadings_are_named(backend, added):
    """A ValueError says what is missing, before anything is compiled."""
    functions = {
        "fragment": added.disparity_fragment,
        "fragment_vjp": added.disparity_fragment_vjp,
    }
    cases = {
        "no fragment_vjp": {"varyings": {"depth": 1}, "fragment": added.disparity_fragment},
        "no fragment and no fragment_vjp": {"varyings": {"depth": 1}},
        r"varyings\['depth'\] must be 1": {"varyings": {"depth": 2}, **functions},
        "no varying is called 'height'": {"varyings": {"height": 1}, **functions},
        "reads no varyings": functions,
        "uniform 'strength' must be an attribute of 1": {
            "varyings": {"depth": 1},
            "uniforms": {"strength": 1},
            **functions,
        },
        'light must be None, "face" or "vertex"': {
            "varyings": {"depth": 1},
            "light": "pixel",
            **functions,
        },
    }
    for message, members in cases.items():
        with pytest.raises(ValueError, match=message):
            make_renderer(shading=shading_of(**members))
        with pytest.raises(ValueError, match=message):
            make_renderer(outputs={"wrong": shading_of(**members)})
    with pytest.raises(ValueError, match="shading object has no varyings"):
        make_renderer(shading=object())
    with pytest.raises(ValueError, match="'dpeth'"):
        make_renderer(outputs=["dpeth"])
    with pytest.raises(ValueError, match="output 'mask' has no channels"):
        make_renderer(outputs={"mask": tsr.Silhouette()})


@pytest.mark.cpu
def test_rasterize_knows_depths_alone(backend, added):
    corners = np.array([[[[-1, -1, 2], [1, -1, 2], [0, 1, 2]]]])
    image, _ = tsr.rasterize(
        corners, added.Disparity(), image_size=(4, 4), rasterizer=added.Sharp()
    )
    assert set(image[..., 0].ravel().tolist()) == {0.0, 0.5}
    for shading, names in (
        (added.RimLight(), "color, normal_world, position_world, eye_world, strength"),
        (depth_with_uniform(added), "strength"),
    ):
        with pytest.raises(ValueError, match=f"reads {names}: use a Renderer"):
            tsr.rasterize(corners, shading, image_size=(4, 4))


def depth_with_uniform(added):
    functions = {"fragment": added.disparity_fragment, "fragment_vjp": added.disparity_fragment_vjp}
    return shading_of(varyings={"depth": 1}, uniforms={"strength": 1}, strength=1.0, **functions)


@pytest.mark.cpu
def test_wrong_rasterizers_are_named(backend, added):
    class Incomplete:
        background = 0.0

        def forward(self):
            pass

    renderer = make_renderer()
    renderer.rasterizer = Incomplete()
    with pytest.raises(ValueError, match="has no fragments, has_jacobian, far"):
        renderer.render()
    renderer.rasterizer = added.Sharp
    with pytest.raises(ValueError, match="is a class"):
        renderer.render()


# One step ----------------------------------------------------------------------------------------


def test_a_step_launches_what_the_page_says(backend):
    """In this order; Taichi's own clearing of gradients comes before."""
    table = PAGE.split("## One step")[1].split("Beside them")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    which = 0 if backend.arch == "cpu" else -1  # the name on a GPU comes last
    expected = [re.findall(r"`(\w+)`", cell)[which] for cell in cells]
    assert len(expected) == 15
    renderer = make_renderer()
    tree = FieldTree()
    loss = tree.add(())
    tree.place()
    target = np.zeros((1, *SIZE, 4), np.float32)
    optimizer = tsr.Adam([renderer.mesh.vertices])

    def step():
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss)
            tsr.losses.laplacian(renderer.mesh, loss, weight=0.01)
        optimizer.step()

    step()
    with metered() as meter:
        step()
    assert meter.launches == expected
