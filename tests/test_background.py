"""An image behind all faces: what a constant one draws, and gradients at it and before it."""

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances
from tests.gradcheck import check_gradient, relative_error
from tests.rarely import rarely
from tests.rasterizers.scenes import DEPTHS, NUMBERS, bumpy_torus, describe, soft

IMAGE_SIZE = (12, 20)
COLOR = (-1.0, -2.0, -3.0)  # below all colours: `Prefiltered` clamps no pixel
SOFT = soft("euclidean", "softmax", "product", True, True, background=COLOR)
METHODS = [
    SOFT,
    tsr.KNearest(50, **{name: NUMBERS[name] for name in ("sigma", "gamma", "near", "far")}),
    tsr.ApproximateGradient(**DEPTHS, anti_aliasing=True),
    tsr.FilteredDerivative(**DEPTHS),
    tsr.Prefiltered(**DEPTHS),
    tsr.Antialiased(**DEPTHS),
]


def projected_torus():
    """(2, F, 3, 3) corners, (F, 3) which vertices they are, (1, F, 3, 3) colours."""
    vertices, faces = bumpy_torus(np.random.default_rng(4))
    depths = 3.0 - np.stack([vertices[:, 2], vertices[:, 1]])[..., None]
    flat = np.stack([vertices[:, :2], vertices[:, [0, 2]]]) * 1.8 / depths
    colors = np.random.default_rng(5).uniform(0.3, 1.0, (1, *faces.shape, 3))
    return np.concatenate([flat, depths], axis=-1)[:, faces], faces, colors


def rasterize(rasterizer, background, corners, colors):
    return tsr.rasterize(
        corners, colors, image_size=IMAGE_SIZE, rasterizer=rasterizer, background=background
    )


def with_color(rasterizer):
    return type(rasterizer)(**{**vars(rasterizer), "background": COLOR})


@pytest.mark.parametrize("rasterizer", METHODS, ids=describe)
def test_a_constant_image_is_the_colour_of_the_rasterizer(backend, rasterizer):
    """The image, and gradients as each method defines them; of the image's colours the sum."""
    corners, _, colors = projected_torus()
    expected, expected_vjp = rasterize(with_color(rasterizer), None, corners, colors)
    background = np.broadcast_to(COLOR, (*IMAGE_SIZE, 3))
    image, vjp = rasterize(rasterizer, background, corners, colors)
    np.testing.assert_allclose(image, expected, rtol=0, atol=tolerances.SAME_IMAGE_SINGLE)
    cotangent = np.random.default_rng(1).normal(size=image.shape)
    *gradients, of_background = vjp(cotangent)
    assert of_background.shape == (1, *IMAGE_SIZE, 3)
    for gradient, of_color in zip(gradients, expected_vjp(cotangent)):
        assert relative_error(gradient, of_color) < tolerances.SAME_GRADIENT_SINGLE
    if isinstance(rasterizer, tsr.KNearest):
        return  # the background has a share of 1e-10 wherever a face is
    seen = image[..., -1] == 0  # where no face is, the background alone
    np.testing.assert_allclose(image[seen][:, :3], np.broadcast_to(COLOR, (seen.sum(), 3)))


@pytest.mark.f64
@pytest.mark.parametrize(
    "rasterizer",
    [method for method in METHODS if describe(method)[:3] in ("Sof", "KNe", "Pre")],
    ids=describe,
)
def test_gradients_in_front_of_an_image(backend, rasterizer):
    """By the image's colours, in which the picture is linear, and along moves of all vertices."""
    corners, faces, colors = projected_torus()
    generator = np.random.default_rng(7)
    background = generator.uniform(size=(2, *IMAGE_SIZE, 3)) - 2.0  # below all: nothing is clamped
    image, vjp = rasterize(rasterizer, background, corners, colors)
    cotangent = generator.normal(size=image.shape)
    grad_corners, _, grad_background = vjp(cotangent)

    change = generator.normal(size=background.shape)
    changed, _ = rasterize(rasterizer, background + change, corners, colors)
    expected = (cotangent * (changed - image)).sum()
    assert (grad_background * change).sum() == pytest.approx(expected, rel=1e-9)

    step = tolerances.FINITE_DIFFERENCE_STEP
    move = generator.normal(size=(2, faces.max() + 1, 3))[:, faces]
    sums = [
        (cotangent * rasterize(rasterizer, background, corners + sign * step * move, colors)[0])
        for sign in (1, -1)
    ]
    expected = (sums[0] - sums[1]).sum() / (2 * step)
    found = (grad_corners * move).sum()
    assert found == pytest.approx(expected, rel=tolerances.FINITE_DIFFERENCE_RELATIVE)


def make_renderer(background, num_views=2, **options):
    vertices, faces = bumpy_torus(np.random.default_rng(3))
    colors = np.random.default_rng(4).uniform(size=vertices.shape)
    eyes = [[0.6, 1.0, 2.8], [-1.0, 0.5, 2.5], [0.3, 0.4, 2.7]]
    if num_views > 2:
        vertices = np.stack([vertices, 1.1 * vertices, 0.9 * vertices])
    mesh = tsr.Mesh(vertices, faces, vertex_colors=colors)
    cameras = tsr.Camera.look_at(eyes[:num_views], fov_y_degrees=50)
    options = {"rasterizer": SOFT, "shading": tsr.Unlit(), **options}
    return tsr.Renderer(mesh, cameras, (6, 9), background=background, **options)


@pytest.mark.gradients
@pytest.mark.f64
@pytest.mark.parametrize("shape", [rarely((6, 9, 3)), (2, 6, 9, 3)], ids=["one", "of each view"])
def test_gradients_of_a_scene_in_front_of_an_image(backend, shape):
    """Beside an output whose background is its own; in a tape."""
    background = np.random.default_rng(6).uniform(size=shape)
    renderer = make_renderer(background, outputs=("depth",))
    assert renderer.background.shape == ((1, 6, 9) if len(shape) == 3 else (2, 6, 9))
    fields = {"background": renderer.background, "vertices": renderer.mesh.vertices}
    check_gradient(renderer.render, fields, renderer.image)


@pytest.mark.parametrize("views", [rarely(1), 3], ids=["one", "of each view"])
def test_in_passes_as_at_once(backend, views):
    """Of three views by two at a time the last pass draws one again, whose gradient counts once."""
    background = np.random.default_rng(6).uniform(size=(views, 6, 9, 3))
    found = []
    for views_per_pass in (3, 2):
        renderer = make_renderer(background, num_views=3, views_per_pass=views_per_pass)
        image = renderer.render().to_numpy()
        renderer.backward(np.random.default_rng(1).normal(size=image.shape))
        found.append((image, renderer.background.grad.to_numpy()))
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, atol=tolerances.SAME_IMAGE_SINGLE)
    assert np.abs(found[0][1]).max() > 0.1


def test_a_renderer_draws_what_rasterize_draws(backend):
    """With an image that is written anew before each draw."""
    renderer = make_renderer(np.zeros((6, 9, 3)))
    background = np.random.default_rng(6).uniform(size=(1, 6, 9, 3)).astype(np.float32)
    renderer.background = background
    image = renderer.render().to_numpy()
    faces = renderer.mesh.faces_array
    corners = renderer.vertices_ndc.to_numpy()[:, faces]
    colors = renderer.mesh.vertex_colors.to_numpy()[faces][None]
    expected, _ = tsr.rasterize(
        corners, colors, image_size=(6, 9), rasterizer=SOFT, background=background
    )
    np.testing.assert_allclose(image, expected, atol=tolerances.SAME_IMAGE_SINGLE)


@pytest.mark.f64
def test_a_jacobian_in_front_of_an_image(backend):
    """Its transpose is what the backward pass applies."""
    renderer = make_renderer(np.random.default_rng(6).uniform(size=(6, 9, 3)))
    eye = renderer.cameras.eye
    jacobian = renderer.jacobian([eye])
    cotangent = np.random.default_rng(1).normal(size=jacobian.shape[:-1])
    renderer.backward(cotangent)
    found = np.tensordot(cotangent, jacobian, axes=4)
    error = relative_error(found, eye.grad.to_numpy().ravel())
    assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"background": np.zeros((9, 6, 3))}, r"must have shape \(6, 9, 3\) or \(2 or 1, 6, 9, 3"),
        ({"background": np.zeros((3, 6, 9, 3))}, r"got \(3, 6, 9, 3\)"),
        ({"background": np.zeros((6, 9, 4))}, r"got \(6, 9, 4\)"),
        ({"background": (0.1, 0.2, 0.3)}, r"got \(3,\); one colour is the rasterizer's background"),
        ({"background": np.full((6, 9, 3), np.nan)}, "background has entries that are NaN"),
        ({"background": "beach.png"}, "background must be an array of numbers"),
        ({"shading": tsr.Silhouette()}, "behind colours, and Silhouette has none: leave it out"),
        ({"shading": tsr.Depth()}, "behind colours, and Depth has none: leave it out"),
    ],
)
def test_what_cannot_be_behind_is_refused(backend, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_renderer(**{"background": np.zeros((6, 9, 3)), **options})


def test_rasterize_refuses_it_behind_a_silhouette(backend):
    corners, _, _ = projected_torus()
    for colors, name in ((None, "the silhouette"), (tsr.Depth(), "Depth")):
        with pytest.raises(ValueError, match=f"behind colours, and {name} has none"):
            rasterize(SOFT, np.zeros((*IMAGE_SIZE, 3)), corners, colors)


def test_a_rasterizer_has_one_colour():
    with pytest.raises(ValueError, match=r"shape \(4, 4, 3\): an image is Renderer\(background=\)"):
        tsr.SoftAggregation(background=np.zeros((4, 4, 3)))


def test_an_outline_pulls_where_the_image_behind_differs(backend):
    """A white square before half white, half black: its sides at the white half show nothing."""
    half = np.array([[-0.5, -0.5, 2], [0.5, -0.5, 2], [0.5, 0.5, 2], [-0.5, 0.5, 2]])
    corners = half[[[0, 1, 2], [0, 2, 3]]][None]
    background = np.zeros((20, 20, 3))
    background[:, :10] = 1.0
    image, vjp = tsr.rasterize(
        corners,
        np.ones((1, 2, 3, 3)),
        image_size=(20, 20),
        rasterizer=tsr.Prefiltered(**DEPTHS),
        background=background,
    )
    np.testing.assert_allclose(image[0, :, :10, :3], 1.0, atol=tolerances.SAME_IMAGE_SINGLE)
    cotangent = np.zeros_like(image)
    cotangent[..., 0] = 1.0
    gradient = vjp(cotangent)[0][0, ..., 0]
    right, left = gradient[[0, 0, 1], [1, 2, 1]].sum(), gradient[[0, 1, 1], [0, 0, 2]].sum()
    assert right > 1.0 and abs(left) < tolerances.SAME_IMAGE_SINGLE
