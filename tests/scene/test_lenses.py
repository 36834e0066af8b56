"""Cameras with lenses: points where OpenCV has them, derivatives, and words about large faces."""

import re
import warnings

import numpy as np
import pytest

import taichi_softras as tsr
from tests.reference.placement import opencv_shift, rodrigues
from tests.tolerances import (
    FINITE_DIFFERENCE_RELATIVE,
    FINITE_DIFFERENCE_STEP,
    PIXEL,
    SAME_IMAGE_SINGLE,
)

HEIGHT, WIDTH = 48, 64
K = np.array([[50.0, 0, 30.5], [0, 55, 25], [0, 0, 1]])
LENS = (-0.25, 0.1, 0.01, -0.02, 0.03)
TURN, SHIFT = (0.4, -0.3, 0.2), (0.1, -0.2, -3.0)


def make_camera(distortion=LENS, rotation=TURN, translation=SHIFT):
    projection = tsr.Intrinsics(K, (HEIGHT, WIDTH), distortion)
    return tsr.Camera.from_pose(rotation, translation, projection)


def project_points(points, distortion):
    """Pixels from the top left border, in OpenCV's axes."""
    in_camera = (points @ rodrigues(np.array(TURN)).T + SHIFT) * [1, -1, -1]
    slopes = in_camera[:, :2] / in_camera[:, 2:]
    return (slopes + opencv_shift(slopes, distortion)) @ K[:2, :2].T + K[:2, 2]


@pytest.mark.parametrize("distortion", [LENS, (0.3, 0, 0, 0, 0.1), (0,) * 5])
def test_points_of_opencv(backend, distortion):
    vertices, faces = tsr.primitives.icosphere(2)
    renderer = tsr.Renderer(tsr.Mesh(vertices, faces), make_camera(distortion), (HEIGHT, WIDTH))
    ndc = renderer.vertices_ndc.to_numpy()[0]
    pixels = 0.5 * (ndc[:, :2] * [1, -1] * HEIGHT + [WIDTH, HEIGHT])
    assert np.abs(pixels - project_points(vertices, distortion)).max() < PIXEL
    tops = renderer.render().to_numpy()[0, ..., 3].any(axis=0)
    columns = project_points(vertices, distortion)[:, 0]
    np.testing.assert_allclose(
        np.flatnonzero(tops)[[0, -1]], [columns.min(), columns.max()], atol=2
    )


def test_no_distortion_is_a_pinhole(backend):
    """Zeros draw what is drawn without."""
    mesh = tsr.Mesh(*tsr.primitives.icosphere(1))
    images = [
        tsr.Renderer(mesh, make_camera(distortion), (HEIGHT, WIDTH)).render().to_numpy()
        for distortion in ((0,) * 5, None)
    ]
    np.testing.assert_allclose(*images, rtol=0, atol=SAME_IMAGE_SINGLE)


@pytest.mark.f64
def test_gradients_and_the_jacobian(backend):
    """Through the image, to the lens, the pose and the vertices; a face is behind the camera."""
    vertices, faces = tsr.primitives.icosphere(1)
    vertices = np.concatenate([vertices, [[0.5, -1, 0], [-0.5, -1, 0], [0, -1.5, 4]]])
    mesh = tsr.Mesh(vertices, np.concatenate([faces, [[42, 43, 44]]]))
    camera = make_camera()
    renderer = tsr.Renderer(mesh, camera, (12, 16), tsr.SoftAggregation(sigma=0.02))
    weights = np.random.default_rng(0).normal(size=(1, 12, 16, 4))
    names = ("distortion", "rotation", "translation", "focal_lengths", "principal_point")
    fields = {name: getattr(camera, name) for name in names} | {"vertices": mesh.vertices}
    with pytest.warns(UserWarning, match="1 reach behind the camera"):
        renderer.render()
    renderer.backward(weights)
    gradients = {name: field.grad.to_numpy() for name, field in fields.items()}
    numbers = [fields["distortion"], fields["translation"]]
    rows = np.tensordot(weights, renderer.jacobian(numbers), 4)
    expected = np.concatenate([gradients[name].ravel() for name in ("distortion", "translation")])
    np.testing.assert_allclose(rows, expected, rtol=FINITE_DIFFERENCE_RELATIVE)
    for name, field in fields.items():
        start = field.to_numpy()
        indices = list(np.ndindex(start.shape))
        indices = indices[:6] + indices[-9:]
        slopes = np.zeros(len(indices))
        for row, index in enumerate(indices):
            for sign in (1, -1):
                moved = start.copy()
                moved[index] += sign * FINITE_DIFFERENCE_STEP
                field.from_numpy(moved)
                value = (renderer.render().to_numpy() * weights).sum()
                slopes[row] += sign * value / (2 * FINITE_DIFFERENCE_STEP)
        field.from_numpy(start)
        gradient = np.array([gradients[name][index] for index in indices])
        error = np.abs(gradient - slopes).max() / np.abs(slopes).max()
        print(f"gradient of {name}: error {error:.1e}")
        assert error < FINITE_DIFFERENCE_RELATIVE


def square(side, depth, steps):
    """In front of a camera at the origin."""
    x, y = np.meshgrid(*[np.linspace(-side, side, steps + 1)] * 2)
    corners = np.arange((steps + 1) ** 2).reshape(steps + 1, -1)
    a, b, c, d = (corners[i, j].ravel() for i, j in zip(*FOUR))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return tsr.Mesh(np.stack([x, y, np.full_like(x, -depth)], -1).reshape(-1, 3), faces)


FOUR = (
    [slice(-1), slice(-1), slice(1, None), slice(1, None)],
    [slice(-1), slice(1, None), slice(1, None), slice(-1)],
)


@pytest.mark.parametrize(
    "side, steps, distortion, message",
    [
        (0.4, 1, (-0.3, 0, 0, 0, 0), r"2 faces in the image 2 have edges .* 1\.\d+ pixels beside"),
        (0.4, 8, (-0.3, 0, 0, 0, 0), None),
        (0.4, 1, (0, 0, 0, 0, 0), None),
        (9.0, 60, (-0.05, 0, 0, 0, 0), None),  # of which large faces are far from the image
        (2.0, 1, (-0.3, 0, 0, 0, 0), "2 faces in the image 2 reach behind the camera, or further"),
    ],
)
def test_large_faces_are_warned_of_once(backend, side, steps, distortion, message):
    camera = make_camera(distortion, (0, 0, 0), (0, 0, 0))
    renderer = tsr.Renderer(square(side, 1.0, steps), camera, (HEIGHT, WIDTH))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(4):
            renderer.render()
    assert len(caught) == (message is not None), [str(one.message) for one in caught]
    if message is not None:
        assert re.search(f"{message}.*subdivide the mesh", str(caught[0].message))


def test_nothing_folds_back_into_the_picture(backend):
    """k1 = -1: r (1 - r^2) grows up to r = 0.58, and would be 0 again at r = 1."""
    camera = make_camera((-1.0, 0, 0, 0, 0), (0, 0, 0), (0, 0, 0))
    mesh = square(0.1, 1.0, 1)
    for center, is_seen in (((0.3, 0.3), True), ((1.0, 1.0), False), ((-2.0, 0.1), False)):
        mesh.vertices = square(0.1, 1.0, 1).vertices.to_numpy() + [*center, 0]
        renderer = tsr.Renderer(mesh, camera, (HEIGHT, WIDTH), tsr.ApproximateGradient())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert renderer.render().to_numpy()[..., 3].any() == is_seen


def test_a_lens_among_cameras(backend):
    """Each view has its own, and what is written to the field is drawn."""
    camera = make_camera([LENS, (0.3, 0, 0, 0, 0)])
    assert camera.num_views == 2 and camera.distortion.shape == (2,)
    camera.distortion = [[0] * 5, LENS]
    vertices, faces = tsr.primitives.icosphere(1)
    renderer = tsr.Renderer(tsr.Mesh(vertices, faces), camera, (HEIGHT, WIDTH))
    ndc = renderer.vertices_ndc.to_numpy()[..., :2]
    for view, distortion in enumerate(([0] * 5, LENS)):
        pixels = 0.5 * (ndc[view] * [1, -1] * HEIGHT + [WIDTH, HEIGHT])
        assert np.abs(pixels - project_points(vertices, distortion)).max() < PIXEL


def test_views_are_taken_and_written(backend):
    camera = make_camera([LENS, (0.3, 0, 0, 0, 0)])
    one = camera.take(1)
    assert (one.num_views, one.image_size, one.aspect) == (1, (HEIGHT, WIDTH), WIDTH / HEIGHT)
    np.testing.assert_allclose(one.distortion.to_numpy(), [[0.3, 0, 0, 0, 0]], rtol=1e-6)
    one.copy_from(camera.take([0]))
    np.testing.assert_allclose(one.distortion.to_numpy(), [LENS], rtol=1e-6)
    assert camera.take(slice(None)).num_views == 2
    with pytest.raises(IndexError):
        camera.take(2)


def test_lenses_that_are_refused(backend):
    for distortion, message in (
        ([0.1, 0.2], r"distortion must be k1, k2, p1, p2, k3 of OpenCV, \(5,\) or \(B, 5\)"),
        ([0.1] * 8, r"got shape \(1, 8\): lenses of more coefficients and fisheyes are not drawn"),
        ([np.nan] * 5, "distortion must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            make_camera(distortion)
    camera = make_camera()
    renderer = tsr.Renderer(tsr.Mesh(*tsr.primitives.icosphere(1)), camera, (HEIGHT, WIDTH))
    camera.distortion.from_numpy(np.full((1, 5), np.inf, np.float32))
    with pytest.raises(ValueError, match="camera.distortion"):
        renderer.render()


def test_a_lens_in_words(backend):
    """What it shows of a mesh is counted with it; what it cannot hold is not seen."""
    camera = make_camera((-1.0, 0, 0, 0, 0), (0, 0, 0), (0, 0, 0))
    mesh = tsr.Mesh(np.array([[0.1, 0, -1], [1, 1, -1], [0.4, 0.4, -1]]), [[0, 1, 2]])
    assert camera.describe(mesh=mesh).endswith(
        "distortion (-1, 0, 0, 0, 0) (k1 k2 p1 p2 k3); 67% of the vertices in the image, at depths "
        "1 to 1"
    )
