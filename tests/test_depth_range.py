"""near and far around a scene: fitted, kept, and a word where given ones cut faces away."""

import math
import warnings

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.rasterizers import depth_range
from taichi_softras.runtime import ti
from tests import tolerances
from tests.rasterizers.scenes import bumpy_torus

pytestmark = pytest.mark.cpu  # what the host does

SIZE = (24, 32)
PERSPECTIVE, UNLIT = tsr.Perspective(50.0), tsr.Unlit()
METHODS = [
    tsr.SoftAggregation(background=(0.0, 0.0, 1.0)),
    tsr.KNearest(50, background=(0.0, 0.0, 1.0)),
    tsr.ApproximateGradient(background=(0.0, 0.0, 1.0)),
    tsr.FilteredDerivative(background=(0.0, 0.0, 1.0)),
]
by_method = pytest.mark.parametrize("rasterizer", METHODS, ids=lambda m: type(m).__name__)

# one view: two faces on the image, one beside it, one behind the camera, one that is NaN
FLAT = np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0]])
CORNERS = np.stack(
    [
        FLAT + [0, 0, 2.0],
        FLAT + [[0, 0, 3.0], [0, 0, 3.5], [0, 0, 4.0]],
        FLAT + [9, 0, 7.0],
        FLAT + [[0, 0, -1.0], [0, 0, 1.0], [0, 0, 99.0]],
        FLAT + [0, 0, np.nan],
    ]
)[None]


@pytest.mark.parametrize(
    "drawn, share",
    [
        ((-math.inf, math.inf), 0.0),
        ((2.0, 7.0), 0.0),
        ((1.0, 5.0), 0.0),  # what is cut is not on the image
        ((2.5, 5.0), 1 / 3),
        ((1.0, 3.2), 1 / 3),
        ((8.0, 9.0), 2 / 3),
    ],
)
def test_depths_are_those_of_faces_in_front(drawn, share):
    expected = depth_range.FaceDepths(2.0, 7.0, share)
    assert depth_range.measure(CORNERS, SIZE, drawn) == expected
    clip = np.concatenate([CORNERS, CORNERS[..., 2:]], axis=-1)
    clip[..., :2] *= clip[..., 3:]
    assert depth_range.measure(clip[:, [0, 1, 2, 4]], SIZE, drawn) == expected


def test_faces_that_reach_behind_the_camera_are_seen(backend):
    clip = np.concatenate([CORNERS, CORNERS[..., 2:]], axis=-1)
    clip[..., :2] *= clip[..., 3:]
    nearest = depth_range.NEAREST_OF_CUT * 99.0
    assert depth_range.measure(clip, SIZE, (0.5, 50.0)) == (nearest, 99.0, 0.25)
    assert depth_range.measure(clip[:, 3:4], SIZE) == (nearest, 99.0, 0.0)


def test_a_range_has_room_on_both_sides():
    """Ten sizes of the scene, and a twentieth of its depth; never the camera's own place."""
    depths = depth_range.FaceDepths(50.0, 52.0, 0.0)
    margin = 10 * 4.0 + 0.05 * 52.0
    assert depth_range.fit(depths, 4.0) == (50.0 - margin, 52.0 + margin)
    assert depth_range.fit(depths, 400.0)[0] == 0.5
    assert depth_range.fit(depth_range.measure([], SIZE), 4.0) is None
    assert depth_range.fit(depths, math.nan) is None


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, (2.0, 9.0)),
        ({"near": 3.0}, (3.0, 9.0)),
        ({"far": 4.0}, (2.0, 4.0)),
        ({"near": 3.0, "far": 4.0}, (3.0, 4.0)),
        ({"near": 10.0}, (10.0, 1000.0)),
        ({"far": 1.0}, (0.01, 1.0)),
    ],
    ids=str,
)
def test_what_is_given_goes_first(given, expected):
    rasterizer = depth_range.complete(tsr.SoftAggregation(**given), (2.0, 9.0))
    assert (rasterizer.near, rasterizer.far) == expected


@pytest.fixture(scope="module")
def torus(backend):
    """Its mesh; every test moves it as it likes."""
    vertices, faces = bumpy_torus(np.random.default_rng(8))
    return tsr.Mesh(vertices, faces, vertex_colors=np.linspace(0, 1, 36).reshape(12, 3))


@pytest.fixture
def place(torus):
    """Makes a camera that looks at the mesh, both `scale` times as large."""
    rest, _ = bumpy_torus(np.random.default_rng(8))

    def place(scale=1.0, projection=PERSPECTIVE, eye=(1.0, 1.5, 2.5)):
        torus.vertices = scale * rest
        return tsr.Camera.look_at(np.multiply(scale, eye), projection=projection, needs_grad=False)

    return place


def make_renderer(torus, camera, rasterizer=METHODS[0], shading=UNLIT):
    return tsr.Renderer(torus, camera, SIZE, rasterizer, shading)


@by_method
@pytest.mark.parametrize("is_parallel", [False, True], ids=["perspective", "orthographic"])
def test_a_mesh_of_any_size_is_the_same_picture(backend, torus, place, rasterizer, is_parallel):
    def draw(scale):
        projection = tsr.Orthographic(3.0 * scale) if is_parallel else PERSPECTIVE
        return make_renderer(torus, place(scale, projection), rasterizer).render().to_numpy()

    expected = draw(1.0)
    is_covered = expected[..., 3] > 0.5
    assert is_covered.mean() > 0.1
    assert expected[is_covered][:, 2].mean() < 0.9  # no blue background
    for scale in (1e-4, 1e5):
        np.testing.assert_allclose(draw(scale), expected, atol=tolerances.SAME_IMAGE_OF_ANY_SIZE)


def test_the_range_is_fitted_once_and_kept(backend, torus, place):
    renderer = make_renderer(torus, place())
    assert renderer.depth_range is None
    renderer.render()
    near, far = renderer.depth_range
    depths = renderer.vertices_ndc.to_numpy()[..., 2]
    assert 0 < near < depths.min() and depths.max() < far
    torus.vertices = torus.vertices.to_numpy() + 0.5
    renderer.rasterizer = METHODS[2]
    renderer.render()
    assert renderer.depth_range == (near, far)
    renderer.rasterizer = tsr.SoftAggregation(far=7.0)
    assert renderer.depth_range == (near, 7.0)
    renderer.rasterizer = METHODS[0]
    renderer.depth_range = None
    assert renderer.depth_range is None
    renderer.render()
    assert renderer.depth_range != (near, far)


def test_a_range_can_be_set(backend, torus, place):
    renderer = make_renderer(torus, place(), tsr.FilteredDerivative(overdraw=False), tsr.Depth())
    renderer.depth_range = 1, 6.5
    image = renderer.render().to_numpy()
    assert renderer.depth_range == (1.0, 6.5) and image[0, 0, 0, 0] == 6.5
    for wrong in (3.0, (1.0, 2.0, 3.0), (0.0, 2.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="depth_range must|near must|far must"):
            renderer.depth_range = wrong
    assert renderer.depth_range == (1.0, 6.5)


def test_a_scene_all_around_the_camera(backend, torus, place):
    """Faces behind it are not asked; near is in front of the nearest of the others."""
    renderer = make_renderer(torus, place(eye=(0.2, 0.1, 0.3)))
    image = renderer.render().to_numpy()
    near, far = renderer.depth_range
    faces = renderer.vertices_ndc.to_numpy()[0, :, 2][torus.faces_array]
    in_front = faces[faces.min(axis=1) > 0]
    assert 0 < len(in_front) < len(faces)
    assert 0 < near < in_front.min() and in_front.max() < far
    assert image[..., 3].max() > 0.5


def test_nothing_in_front_of_the_camera_fits_nothing(backend, torus, place):
    renderer = make_renderer(torus, place())
    torus.vertices = torus.vertices.to_numpy() + [3.0, 4.5, 7.5]
    np.testing.assert_array_equal(renderer.render().to_numpy()[..., 3], 0)
    assert renderer.depth_range is None
    place()
    renderer.render()
    assert renderer.depth_range is not None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_vertex_that_is_not_finite_leaves_no_range(backend, torus, place, value):
    renderer = make_renderer(torus, place())
    torus.vertices[0] = (value, 0, 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        renderer.render()
    assert renderer.depth_range is None


def test_gradients_take_the_range_as_constant(backend, torus, place):
    """They are those of the same numbers, given."""
    renderer = make_renderer(torus, place(), tsr.SoftAggregation(sigma=0.01, gamma=0.1))
    cotangent = np.random.default_rng(0).normal(size=(1, *SIZE, 4))
    results = []
    for _ in range(2):
        image = renderer.render().to_numpy()
        renderer.backward(cotangent)
        results.append((image, torus.vertices.grad.to_numpy()))
        near, far = renderer.depth_range
        renderer.rasterizer = tsr.SoftAggregation(sigma=0.01, gamma=0.1, near=near, far=far)
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


@ti.kernel
def sum_of_images(image: ti.template(), loss: ti.template()):
    for pixel in ti.grouped(image):
        loss[None] += image[pixel].sum()


def test_the_first_draw_may_be_in_a_tape(backend, torus, place):
    loss = ti.field(float, (), needs_grad=True)
    gradients = []
    for renders_before in (True, False):
        renderer = make_renderer(torus, place(), tsr.SoftAggregation(sigma=0.01))
        if renders_before:
            renderer.render()
        with ti.ad.Tape(loss):
            renderer.render()
            sum_of_images(renderer.image, loss)
        gradients.append(torus.vertices.grad.to_numpy())
    np.testing.assert_array_equal(*gradients)
    assert np.abs(gradients[0]).max() > 0


def test_frames_that_are_drawn_are_fitted(backend, place):
    camera = place()
    rest, faces = bumpy_torus(np.random.default_rng(8))
    frames = np.stack([rest, rest - [2, 3, 5]])
    renderer = tsr.Renderer(tsr.Mesh(frames, faces), camera, SIZE, shading=tsr.Unlit())
    renderer.render(view=0)
    only_one = renderer.depth_range
    renderer.depth_range = None
    renderer.render()
    farthest = renderer.vertices_ndc.to_numpy()[1, :, 2].max()
    assert only_one[1] < renderer.depth_range[1] and farthest < renderer.depth_range[1]


def test_fragments_need_no_draw(backend, torus, place):
    renderer = make_renderer(torus, place(), METHODS[1])
    assert (renderer.fragments().pix_to_face >= 0).any()


@by_method
def test_given_ones_that_cut_say_so_once(backend, torus, place, rasterizer):
    """Depths are thousandths; the soft methods' alpha is not cut, and no word is said."""
    renderer = make_renderer(torus, place(1e-3), type(rasterizer)(near=1e-5, far=2e-3))
    with pytest.warns(UserWarning, match="far = 0.002 cut away .* 100.00% .* 0.00194 to 0.0") as w:
        for _ in range(4):
            renderer.render()
    assert len([one for one in w if "cut away" in str(one.message)]) == 1
    silhouette = make_renderer(torus, place(1e-3), renderer.rasterizer, tsr.Silhouette())
    if isinstance(rasterizer, (tsr.SoftAggregation, tsr.KNearest)):
        assert silhouette.render().to_numpy().max() > 0.5
    else:
        with pytest.warns(UserWarning, match="leave out near and far"):
            silhouette.render()


def test_a_mesh_in_front_of_near(backend, torus, place):
    renderer = make_renderer(torus, place(), tsr.SoftAggregation(near=50.0))
    with pytest.warns(UserWarning, match="near = 50 .* 100.00% .* their depths are 1.94"):
        renderer.render()
    renderer.rasterizer = tsr.KNearest(50, near=50.0, far=100.0)  # cuts nothing there
    renderer.render()


def test_a_mesh_that_leaves_the_range_says_so(backend, torus, place):
    """At one of the draws 2, 4, 8 and so on."""
    renderer = make_renderer(torus, place())
    renderer.render()
    torus.vertices = torus.vertices.to_numpy() - [20, 30, 50]
    with pytest.warns(UserWarning, match="renderer.depth_range = None fits them anew"):
        renderer.render()
    renderer.depth_range = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        renderer.render()


@by_method
def test_rasterize_fits_a_call(backend, rasterizer, monkeypatch):
    """Two triangles, one before the other, at depths of any scale."""
    corners = CORNERS[:, :2].copy()
    colors = np.broadcast_to(np.array([[1.0, 0, 0], [0, 1.0, 0]])[None, :, None], (1, 2, 3, 3))
    expected, _ = tsr.rasterize(corners, colors, image_size=SIZE, rasterizer=rasterizer)
    np.testing.assert_allclose(expected[0, 12, 16, :3], (1, 0, 0), atol=1e-6)
    for scale in (1e-4, 1e5):
        image, _ = tsr.rasterize(
            corners * [1, 1, scale], colors, image_size=SIZE, rasterizer=rasterizer
        )
        np.testing.assert_allclose(image, expected, atol=tolerances.SAME_IMAGE_OF_ANY_SIZE)
    background = {"image_size": SIZE, "rasterizer": type(rasterizer)(near=0.125, far=0.25)}
    monkeypatch.setattr("taichi_softras.functional._warned", set())  # another backend has heard it
    with pytest.warns(UserWarning, match="far = 0.25 cut away .* 100.00% .* are 2 to 4") as caught:
        tsr.rasterize(corners, colors, **background)
        tsr.rasterize(corners, colors, **background)
    assert len([one for one in caught if "cut away" in str(one.message)]) == 1
