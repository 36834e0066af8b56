"""Approximate gradients against the original Neural 3D Mesh Renderer and against the twin."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.funcs.lookups import CUBES
from taichi_softras.shading.composition import Looks, compose
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rasterizers.scenes import lay_surface, upload
from tests.reference.approximate_gradient import render
from tests.reference.nmr_goldens import NMR_CASES, load_nmr


@pytest.fixture(params=NMR_CASES)
def golden(request):
    return load_nmr(request.param)


def draw(golden, dtype):
    """Image, depth, faces and gradients, in the shapes of the golden."""
    views, num_faces = golden.corners.shape[:2]
    has_colors, has_depth = golden.colors is not None, golden.depth is not None
    shadings = [tsr.Unlit()] * has_colors + [tsr.Depth()] * has_depth
    shader = compose(shadings, Looks(3, CUBES if has_colors else None)).shader
    textures = golden.colors if has_colors else np.zeros(1)
    textures = textures.reshape((views, num_faces, -1, 3) if has_colors else (1, 1, 1, 1))
    varyings = golden.corners[..., 2:] if has_depth else np.zeros((1, 1, 1, 1))
    surface = lay_surface(shader, varyings, textures, np.zeros((1, 1)), dtype)
    rasterization = tsr.ApproximateGradient(**golden.parameters).forward(
        Workspace(), upload(golden.corners, dtype), shader, surface, golden.image_size
    )
    weights = np.split(golden.weights, [3 * has_colors], axis=-1)
    if has_depth:
        weights.insert(1, golden.weights_depth[..., None])
    cotangent = np.moveaxis(np.concatenate(weights, axis=-1), -1, 1)
    rasterization.grad_image.from_numpy(np.ascontiguousarray(cotangent, dtype))
    rasterization.backward()
    grad_corners, grad_surface = rasterization.grad_corners.to_numpy(), rasterization.grad_surface
    grad_colors = None
    if has_colors:
        grad_colors = grad_surface.textures.to_numpy().reshape(golden.colors.shape)
    if has_depth:
        grad_corners[..., 2:] += grad_surface.varyings.to_numpy()
    image = np.moveaxis(rasterization.image.to_numpy(), 1, -1)
    return (
        image[..., : 3 * has_colors],
        image[..., -1],
        image[..., -2] if has_depth else None,
        rasterization.z_buffer.seen.faces.to_numpy(),
        grad_corners,
        grad_colors,
    )


def assert_close(what, actual, expected, tolerance):
    """Relative to the largest entry."""
    if expected is not None:
        error = relative_error(actual, expected)
        print(f"{what}: largest relative error {error:.1e}")
        assert error < tolerance


def check(golden, dtype, image_tolerance, gradient_tolerance):
    rgb, alpha, depth, faces, grad_corners, grad_colors = draw(golden, dtype)
    np.testing.assert_array_equal(faces, golden.faces)
    assert_close("rgb", rgb, golden.rgb, image_tolerance)
    assert_close("alpha", alpha, golden.alpha, image_tolerance)
    assert_close("depth", depth, golden.depth, image_tolerance)
    assert_close("gradient of corners", grad_corners, golden.grad_corners, gradient_tolerance)
    assert_close("gradient of colours", grad_colors, golden.grad_colors, image_tolerance)


@pytest.mark.f64
def test_nmr_in_double_precision(backend, golden):
    check(golden, np.float64, tolerances.NMR_DOUBLE, tolerances.NMR_DOUBLE)


def test_nmr_in_single_precision(backend, golden):
    check(golden, np.float32, tolerances.NMR_IMAGE_SINGLE, tolerances.NMR_GRADIENT_SINGLE)


def random_scene(layout):
    """Two views of 12 faces of either winding, in a wide image; some are partly outside."""
    generator = np.random.default_rng(3)
    corners = generator.uniform(-1.3, 1.3, (2, 12, 3, 3)) + [0, 0, 3]
    shapes = {"corners": (3,), "texels": (4, 4), "cubes": (3, 3, 3)}
    if layout not in shapes:
        return corners, None
    return corners, generator.uniform(size=(1, 12, *shapes[layout], 3))


@pytest.mark.f64
@pytest.mark.filterwarnings("ignore:near = ")
@pytest.mark.parametrize("layout", ["corners", "texels", "cubes", "none"])
@pytest.mark.parametrize("settings", [{}, {"double_sided": False, "anti_aliasing": True}])
def test_image_and_gradients_are_those_of_the_twin(backend, layout, settings):
    corners, colors = random_scene(layout)
    rasterizer = tsr.ApproximateGradient(
        background=(0.2, 0.5, 0.1), near=2.0, far=100.0, **settings
    )
    image, vjp = tsr.rasterize(corners, colors, image_size=(15, 26), rasterizer=rasterizer)
    cotangent = np.random.default_rng(1).normal(size=image.shape)
    grad_corners, grad_colors = vjp(cotangent)
    expected, _, expected_corners, expected_colors = render(
        corners, colors, (15, 26), **vars(rasterizer), grad_image=cotangent
    )
    assert_close("image", image, expected, tolerances.NMR_DOUBLE)
    assert_close("gradient of corners", grad_corners, expected_corners, tolerances.NMR_DOUBLE)
    if colors is not None:
        assert_close("gradient of colours", grad_colors, expected_colors, tolerances.NMR_DOUBLE)


@pytest.mark.f64
@pytest.mark.filterwarnings("ignore:near = ")
@pytest.mark.parametrize("settings", [{}, {"double_sided": False, "anti_aliasing": True}])
def test_depth_and_its_gradient_are_those_of_the_twin(backend, settings):
    """Alpha pulls at outlines, depth within faces."""
    corners, _ = random_scene("none")
    rasterizer = tsr.ApproximateGradient(near=2.0, far=5.0, **settings)
    image, vjp = tsr.rasterize(corners, tsr.Depth(), image_size=(15, 26), rasterizer=rasterizer)
    cotangent = np.random.default_rng(1).normal(size=image.shape)
    expected_alpha, expected_depth, expected_corners, _ = render(
        corners,
        None,
        (15, 26),
        **vars(rasterizer),
        grad_image=cotangent[..., 1:],
        grad_depth=cotangent[..., 0],
    )
    grad_corners, grad_colors = vjp(cotangent)
    assert grad_colors is None
    assert_close("depth", image[..., 0], expected_depth, tolerances.NMR_DOUBLE)
    assert_close("alpha", image[..., 1:], expected_alpha, tolerances.NMR_DOUBLE)
    assert_close("gradient of corners", grad_corners, expected_corners, tolerances.NMR_DOUBLE)


@pytest.mark.f64
def test_nmr_depth_at_the_front_door(backend):
    golden = load_nmr("ico3_depth")
    image, vjp = tsr.rasterize(
        golden.corners,
        tsr.Depth(),
        image_size=golden.image_size,
        rasterizer=tsr.ApproximateGradient(**golden.parameters),
    )
    assert_close("depth", image[..., 0], golden.depth, tolerances.NMR_DOUBLE)
    cotangent = np.stack([golden.weights_depth, np.zeros_like(golden.weights_depth)], axis=-1)
    grad_corners, _ = vjp(cotangent)
    assert_close("gradient of corners", grad_corners, golden.grad_corners, tolerances.NMR_DOUBLE)


def test_gradient_steps_move_a_silhouette_onto_another(backend):
    """A rigid triangle that stands apart from its target, where the true gradient is 0."""
    corners = np.array([[-0.81, -0.69, 2], [-0.22, -0.61, 2], [-0.49, 0.02, 2]])[None, None]
    inputs = {"image_size": (32, 32), "rasterizer": tsr.ApproximateGradient()}
    target, _ = tsr.rasterize(corners + [0.4, 0.3, 0], **inputs)
    losses = []
    for _ in range(60):
        image, vjp = tsr.rasterize(corners, **inputs)
        losses.append(((image - target) ** 2).sum())
        gradient = vjp(2 * (image - target))[0].sum(axis=2)
        corners = corners - 0.02 * gradient / max(np.linalg.norm(gradient), 1e-9)
    print(f"{losses[-1]:g} of {losses[0]:g} pixels are left")
    assert losses[-1] < 0.1 * losses[0]


def test_the_gradient_is_the_same_on_every_run(backend):
    corners, colors = random_scene("corners")
    gradients = []
    for _ in range(2):
        image, vjp = tsr.rasterize(
            corners, colors, image_size=(40, 40), rasterizer=tsr.ApproximateGradient()
        )
        gradients.append(vjp(image - 0.5))
    for one, other in zip(*gradients):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("eps", [1e-8, 1.0, 3.0, 100.0])
def test_eps_has_no_part_in_texture_cubes(backend, eps):
    """It is a distance on the image, not the margin of a cube: entries stay within the cube."""
    corners = np.array([[[[-1, -1, 2], [1, -1, 2], [-1, 1, 2.0]]]])
    image, vjp = tsr.rasterize(
        corners,
        np.full((1, 1, 2, 2, 2, 3), 0.5),
        image_size=(8, 8),
        rasterizer=tsr.ApproximateGradient(eps=eps),
    )
    covered = image[..., 3]
    np.testing.assert_array_equal(image[..., :3], np.repeat(covered[..., None] * 0.5, 3, axis=-1))
    assert vjp(np.ones_like(image))[1].sum() == pytest.approx(3 * covered.sum(), rel=1e-6)


@pytest.mark.parametrize(
    "bad", [{"near": 0.0}, {"far": 0.0}, {"near": 1.0, "far": 1.0}, {"eps": 0.0}]
)
def test_bad_numbers(bad):
    with pytest.raises(ValueError, match=list(bad)[-1]):
        tsr.ApproximateGradient(**bad)
