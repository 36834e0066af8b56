"""Meshes that move: every frame is a view, in passes of a few, alone or all on one tape."""

import functools
import resource

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from taichi_softras.runtime import ti
from tests import tolerances
from tests.gradcheck import check_gradient
from tests.rarely import rarely
from tests.rasterizers.scenes import NUMBERS, bumpy_torus

IMAGE_SIZE = (6, 7)
SOFT = tsr.SoftAggregation(**{**NUMBERS, "sigma": 0.05})
METHODS = [
    SOFT,
    tsr.KNearest(2, sigma=0.05, near=1.0, far=5.0),
    tsr.ApproximateGradient(),
    tsr.FilteredDerivative(),
]
EYE = (0.6, 1.0, 2.8)
NUM_FRAMES = 3


def positions():
    """(T, V, 3) and faces: a torus that tumbles."""
    vertices, faces = bumpy_torus(np.random.default_rng(5))
    angles = 0.4 * np.arange(NUM_FRAMES)
    turns = [[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angles]
    moves = [[0.3, 0.1, 0], [0, 0, 0], [-0.2, 0.1, 0.2]]
    return np.einsum("trc,vc->tvr", turns, vertices) + np.array(moves)[:, None], faces


def make_renderer(shading, rasterizer=SOFT, needs_grad=True, vertices=None, **arguments):
    moving, faces = positions()
    colors = np.random.default_rng(6).uniform(size=(moving.shape[1], 3))
    mesh = tsr.Mesh(moving if vertices is None else vertices, faces, vertex_colors=colors)
    cameras = tsr.Camera.look_at(EYE, fov_y_degrees=50, needs_grad=needs_grad)
    return tsr.Renderer(mesh, cameras, IMAGE_SIZE, rasterizer, shading, **arguments)


@pytest.fixture(scope="module")
def loss(backend):
    return ti.field(float, shape=(), needs_grad=True)


@pytest.fixture(scope="module")
def scene(backend):
    """A renderer for each shading, made once: compiling is what takes time here."""
    return functools.lru_cache(None)(make_renderer)


@pytest.fixture(scope="module")
def still(backend):
    """The renderer of a frame alone."""
    return make_renderer(tsr.Flat(), vertices=positions()[0][0])


@ti.kernel
def add_weighted(
    image: ti.template(), weights: ti.types.ndarray(needs_grad=False), loss: ti.template()
):
    for view, row, column in image:
        for k in ti.static(range(image.n)):
            loss[None] += weights[view, row, column, k] * image[view, row, column][k] ** 2


def weights_of(renderer):
    shape = (*renderer.image.shape, renderer.image.n)
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def gradients(loss, renderer, views=(None,)):
    """Of vertices and eye, by a tape with one render a view."""
    weights = weights_of(renderer)
    with ti.ad.Tape(loss):
        for view in views:
            renderer.render(view)
        add_weighted(renderer.image, weights, loss)
    return [field.grad.to_numpy() for field in (renderer.mesh.vertices, renderer.cameras.eye)]


def assert_same(found, expected):
    for one, other in zip(found, expected):
        tolerance = tolerances.SAME_GRADIENT_SINGLE * np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.f64
@pytest.mark.parametrize("shading", [tsr.Gouraud(), rarely(tsr.Depth())])
def test_gradients_in_passes_of_two(backend, shading):
    """The second pass overlaps the first."""
    renderer = make_renderer(shading, views_per_pass=2)
    fields = {"vertices": renderer.mesh.vertices, "eye": renderer.cameras.eye}
    check_gradient(renderer.render, fields, renderer.image)


def draw_frame(still, frame, eye=EYE):
    """(H, W, C + 1) image of one frame."""
    dtype = still.mesh.vertices.to_numpy().dtype
    still.mesh.vertices.from_numpy(frame.astype(dtype))
    still.cameras.eye[0] = eye
    return still.render().to_numpy()[0]


@pytest.mark.parametrize("rasterizer", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.filterwarnings("ignore:faces_per_pixel")
def test_frames_are_drawn_as_still_meshes_are(backend, scene, still, rasterizer):
    moving = scene(tsr.Flat())
    moving.rasterizer = still.rasterizer = rasterizer
    images = moving.render().to_numpy()
    moving.rasterizer = SOFT
    for frame, image in zip(positions()[0], images):
        expected = draw_frame(still, frame)
        np.testing.assert_allclose(image, expected, rtol=0, atol=tolerances.SAME_IMAGE_SINGLE)


@pytest.mark.parametrize("shading", [tsr.Unlit(), tsr.Flat(), tsr.Depth()])
def test_passes_and_single_views_change_nothing(backend, scene, loss, shading):
    renderer = scene(shading)
    assert renderer.views_per_pass > NUM_FRAMES
    expected = gradients(loss, renderer)
    assert all(np.abs(gradient).max() > 0 for gradient in expected)
    renderer.views_per_pass = 2
    assert_same(gradients(loss, renderer), expected)
    assert_same(gradients(loss, renderer, views=(2, 0, 1)), expected)
    renderer.views_per_pass = NUM_FRAMES


def test_a_view_that_was_not_rendered_has_no_gradient(backend, scene, loss):
    renderer = scene(tsr.Flat())
    renderer.render()
    by_vertices, _ = gradients(loss, renderer, views=(0, 2))
    assert np.abs(by_vertices[0]).max() > 0
    assert not by_vertices[1].any()
    assert np.abs(by_vertices[2]).max() > 0


@pytest.mark.cpu
def test_chosen_frames(backend, scene, loss):
    """In any order, also twice."""
    everything = scene(tsr.Flat())
    chosen = make_renderer(tsr.Flat(), frames=[2, 0, 2])
    images = everything.render().to_numpy()
    np.testing.assert_allclose(
        chosen.render().to_numpy(), images[[2, 0, 2]], atol=tolerances.SAME_IMAGE_SINGLE
    )
    by_vertices, _ = gradients(loss, chosen)
    assert not by_vertices[1].any()


@pytest.mark.cpu
def test_a_camera_for_each_frame(backend, still):
    moving, faces = positions()
    still.rasterizer = SOFT
    eyes = tsr.orbit(3.0, 20.0, [0.0, 40.0, 90.0])
    cameras = tsr.Camera.look_at(eyes, fov_y_degrees=50)
    mesh = tsr.Mesh(moving, faces, vertex_colors=still.mesh.vertex_colors.to_numpy())
    images = tsr.Renderer(mesh, cameras, IMAGE_SIZE, SOFT).render().to_numpy()
    for frame, eye, image in zip(moving, eyes, images):
        expected = draw_frame(still, frame, eye)
        np.testing.assert_allclose(image, expected, rtol=0, atol=tolerances.SAME_IMAGE_SINGLE)


def test_two_renderers_share_a_mesh_and_a_camera(backend, scene, loss):
    """In one tape; the camera's own gradient is not counted twice."""
    first = scene(tsr.Flat())
    second = tsr.Renderer(first.mesh, first.cameras, IMAGE_SIZE, SOFT, tsr.Silhouette())
    expected = [a + b for a, b in zip(gradients(loss, first), gradients(loss, second))]
    weights = [weights_of(renderer) for renderer in (first, second)]
    with ti.ad.Tape(loss):
        first.render()
        second.render()
        add_weighted(first.image, weights[0], loss)
        add_weighted(second.image, weights[1], loss)
    assert_same([first.mesh.vertices.grad.to_numpy(), first.cameras.eye.grad.to_numpy()], expected)


def test_backward_without_a_tape(backend, scene, loss):
    renderer = scene(tsr.Flat())
    expected = gradients(loss, renderer)
    image = renderer.render().to_numpy()
    renderer.backward(2 * weights_of(renderer) * image)
    assert_same(
        [renderer.mesh.vertices.grad.to_numpy(), renderer.cameras.eye.grad.to_numpy()], expected
    )


@pytest.mark.cpu
def test_a_simulations_field_is_used_as_it_is(backend, scene, loss):
    tree = FieldTree()
    field = tree.add((NUM_FRAMES, len(positions()[0][0])), (3,))
    tree.place()
    renderer = make_renderer(tsr.Flat(), vertices=field)
    assert renderer.mesh.vertices is field
    field.from_numpy(positions()[0].astype(backend.numpy_float))
    assert_same(gradients(loss, renderer), gradients(loss, scene(tsr.Flat())))


@pytest.mark.cpu
def test_five_hundred_tapes(backend, scene, loss):
    """Nothing grows: neither the workspace, nor what is remembered of tapes, nor the process."""
    renderer = scene(tsr.Flat())
    weights = weights_of(renderer)

    def one_tape():
        with ti.ad.Tape(loss):
            renderer.render()
            add_weighted(renderer.image, weights, loss)

    for _ in range(20):
        one_tape()
    arrays, drawings = dict(renderer._workspace._arrays), len(renderer._rasterizers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(500):
        one_tape()
    assert renderer._workspace._arrays == arrays
    assert len(renderer._rasterizers) == drawings
    grown_megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    assert grown_megabytes < tolerances.MEGABYTES_OF_500_TAPES


def test_fragments_in_a_tape_leave_it_alone(backend, scene, loss):
    """They are computed without gradients, which must not cut those of the camera."""
    renderer = scene(tsr.Flat())
    weights = weights_of(renderer)
    renderer.rasterizer = tsr.KNearest(100, sigma=0.05)  # of all faces
    expected = gradients(loss, renderer)
    with ti.ad.Tape(loss):
        renderer.fragments()
        renderer.render()
        add_weighted(renderer.image, weights, loss)
    assert_same(
        [renderer.mesh.vertices.grad.to_numpy(), renderer.cameras.eye.grad.to_numpy()], expected
    )
    renderer.rasterizer = SOFT


@pytest.mark.cpu
def test_film(backend, scene, tmp_path):
    renderer = scene(tsr.Flat())
    renderer.render_sequence(tmp_path / "film.gif", frames_per_second=10)
    assert (tmp_path / "film.gif").stat().st_size > 0


@pytest.mark.cpu
def test_saving_one_frame(backend, scene, tmp_path):
    renderer = scene(tsr.Flat())
    renderer.mesh.save(tmp_path / "frame.obj", frame=2)
    saved = tsr.Mesh.load(tmp_path / "frame.obj").vertices.to_numpy()
    np.testing.assert_allclose(saved, positions()[0][2], atol=tolerances.SAME_IMAGE_SINGLE)


# Bad input ---------------------------------------------------------------------------------------


@ti.kernel
def push(vertices: ti.template()):
    for index in ti.grouped(vertices):
        vertices[index] += 0.01


def test_vertices_that_are_overwritten_after_rendering(backend, scene, loss):
    renderer = scene(tsr.Flat())
    weights = weights_of(renderer)
    with pytest.raises(ValueError, match="vertices were overwritten after render"):
        with ti.ad.Tape(loss):
            renderer.render()
            push(renderer.mesh.vertices)
            add_weighted(renderer.image, weights, loss)
    renderer.mesh.vertices.from_numpy(positions()[0].astype(backend.numpy_float))
    gradients(loss, renderer)  # the next tape is right again


def test_the_same_view_twice_in_one_tape(backend, scene, loss):
    renderer = scene(tsr.Flat())
    with pytest.raises(ValueError, match="view 1 was rendered twice in one ti.ad.Tape"):
        with ti.ad.Tape(loss):
            renderer.render(1)
            renderer.render()


def test_one_camera_of_two_aspects_in_one_tape(backend, scene, loss):
    """Each renderer draws with its own, and gradients add up."""
    first = scene(tsr.Flat())
    second = tsr.Renderer(first.mesh, first.cameras, (5, 5), SOFT, tsr.Silhouette())
    alone = [gradients(loss, first), gradients(loss, second)]
    with ti.ad.Tape(loss):
        for renderer in (first, second):
            renderer.render()
        for renderer in (first, second):
            add_weighted(renderer.image, weights_of(renderer), loss)
    together = [field.grad.to_numpy() for field in (first.mesh.vertices, first.cameras.eye)]
    assert_same(together, [one + other for one, other in zip(*alone)])


def wrong_field(kind):
    components, dtype, needs_grad, shape = {
        "components": (2, float, True, (NUM_FRAMES, 9)),
        "axes": (3, float, True, (2, NUM_FRAMES, 9)),
        "precision": (3, ti.f16, True, (NUM_FRAMES, 9)),
        "gradient": (3, float, False, (NUM_FRAMES, 9)),
    }[kind]
    return ti.Vector.field(components, dtype, shape, needs_grad=needs_grad)


@pytest.mark.parametrize(
    "kind, message",
    [
        ("components", "field of 3-vectors of shape"),
        ("axes", "field of 3-vectors of shape"),
        ("precision", "default_fp"),
        ("gradient", "needs_grad=True"),
    ],
)
def test_a_field_that_cannot_be_vertices(backend, kind, message):
    with pytest.raises(ValueError, match=message):
        tsr.Mesh(wrong_field(kind), [[0, 1, 2]])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"frames": [0, 3]}, "frames must be a list of integers from 0 to 2"),
        ({"frames": []}, "frames must be a list"),
        ({"frames": [0.5]}, "frames must be a list"),
        ({"views_per_pass": 0}, "views_per_pass must be an integer of at least 1"),
    ],
)
def test_arguments_are_checked(backend, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_renderer(tsr.Flat(), **arguments)


def test_a_still_mesh_has_no_frames(backend, scene, still):
    with pytest.raises(ValueError, match="frames= is for a mesh that moves"):
        make_renderer(tsr.Flat(), vertices=positions()[0][0], frames=[0])
    with pytest.raises(ValueError, match="view= is for a mesh that moves"):
        still.render(0)
    with pytest.raises(ValueError, match="view must be at least 0 and below 3"):
        scene(tsr.Flat()).render(3)


def test_mesh_losses_want_a_still_mesh(backend, scene, loss):
    for name in ("laplacian", "flatten", "edge_length"):
        with pytest.raises(ValueError, match="still mesh"):
            getattr(tsr.losses, name)(scene(tsr.Flat()).mesh, loss)


def test_too_few_cameras(backend):
    moving, faces = positions()
    cameras = tsr.Camera.look_at(tsr.orbit(3.0, 20.0, [0.0, 40.0]), fov_y_degrees=50)
    with pytest.raises(ValueError, match="one camera, or one for each of 3 frames, got 2"):
        tsr.Renderer(tsr.Mesh(moving, faces), cameras, IMAGE_SIZE)
