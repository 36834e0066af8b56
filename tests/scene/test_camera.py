"""Cameras: their matrices, where known points land, and the errors at the door.

Derivatives of the matrices: tests/funcs/test_pose.py, tests/geometry/test_placement.py.
"""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.scene.camera import Camera, Orthographic, Perspective, orbit
from tests.reference.placement import rodrigues, turn_of_quaternion
from tests.tolerances import (
    DOUBLE_ROUNDING,
    FINITE_DIFFERENCE_RELATIVE,
    FINITE_DIFFERENCE_STEP,
    FRAMED,
    SAME_GRADIENT_SINGLE,
    SAME_IMAGE_SINGLE,
    SINGLE_PRECISION_RELATIVE,
    TWIN_DOUBLE,
)

pytestmark = pytest.mark.cpu  # what the host does


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def look_at(eye, target, up):
    """The twin: rows right, up, backward."""
    forward = unit(target - eye)
    right = unit(np.cross(forward, up))
    rotation = np.stack([right, np.cross(right, forward), -forward], axis=-2)
    matrix = np.tile(np.eye(4), (len(eye), 1, 1))
    matrix[:, :3, :3] = rotation
    matrix[:, :3, 3] = -np.einsum("brc,bc->br", rotation, eye)
    return matrix


def clip_matrix(diagonal, w_from_z=0.0, w=0.0):
    matrix = np.zeros((len(diagonal), 4, 4))
    matrix[:, [0, 1], [0, 1]] = diagonal
    matrix[:, 3, 2:] = w_from_z, w
    return matrix


def perspective(fov_y_degrees, aspect=1.5):
    focal_length = 1 / np.tan(np.radians(fov_y_degrees) / 2)
    return clip_matrix(np.stack([focal_length / aspect, focal_length], axis=-1), w_from_z=-1)


def parallel(height, aspect=1.5):
    return clip_matrix(np.stack([2 / height / aspect, 2 / height], axis=-1), w=1)


def check_camera(projection, twin, parameter, tolerance):
    generator = np.random.default_rng(3)
    eye = orbit(3.0, [10, -30, 80], [20, 150, 260])
    target, up = generator.uniform(-0.3, 0.3, (3, 3)), generator.normal(size=(3, 3))
    camera = Camera.look_at(eye, target, up, projection)
    camera.update(1.5)
    values = getattr(camera, parameter).to_numpy().astype(float)
    for matrix, expected in (
        (camera.view_from_world, look_at(eye, target, up)),
        (camera.clip_from_view, twin(values)),
    ):
        np.testing.assert_allclose(matrix.to_numpy(), expected, rtol=tolerance, atol=tolerance)


PROJECTIONS = [
    (Perspective([30.0, 60.0, 100.0]), perspective, "fov_y_degrees"),
    (Orthographic([1.0, 2.0, 3.0]), parallel, "height"),
]


@pytest.mark.parametrize("projection, twin, parameter", PROJECTIONS)
def test_matrices_in_single_precision(backend, projection, twin, parameter):
    check_camera(projection, twin, parameter, SINGLE_PRECISION_RELATIVE)


@pytest.mark.f64
@pytest.mark.parametrize("projection, twin, parameter", PROJECTIONS)
def test_matrices_in_double_precision(backend, projection, twin, parameter):
    check_camera(projection, twin, parameter, TWIN_DOUBLE)


def axes_in_view(camera):
    """Which view direction each world axis has, rounded: rows of strings such as '+x'."""
    camera.update(1.0)
    names = {1: "+", -1: "-"}
    matrices = np.rint(camera.view_from_world.to_numpy()).astype(int)
    return [
        [names[column[np.abs(column).argmax()]] + "xyz"[np.abs(column).argmax()] for column in axes]
        for axes in matrices[:, :3, :3].transpose(0, 2, 1)
    ]


def test_look_at_is_right_handed(backend):
    """World x, y, z seen from +z, from +x, and from the two poles."""
    camera = Camera.look_at([(0, 0, 3), (3, 0, 0), (0, 3, 0), (0, -3, 0)], needs_grad=False)
    assert axes_in_view(camera) == [
        ["+x", "+y", "+z"],
        ["+z", "+y", "-x"],
        ["+x", "+z", "-y"],
        ["+x", "-z", "+y"],
    ]


@pytest.mark.parametrize("up, right", [((0, 0, 2), (1, 0, 0)), ((3, 0, 0), (0, 1, 0))])
def test_looking_along_up(backend, up, right):
    """World x stays at the right, world y where up is x; nothing is NaN."""
    camera = Camera.look_at(eye=-2 * np.array(up), up=up, needs_grad=False)
    camera.update(1.0)
    rotation = camera.view_from_world.to_numpy()[0, :3, :3]
    np.testing.assert_allclose(rotation[0], right, atol=SINGLE_PRECISION_RELATIVE)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=SINGLE_PRECISION_RELATIVE)


def test_a_camera_without_gradients_changes_no_others(backend):
    """Vertices and colours have the gradients that they have beside a camera with gradients."""
    mesh = tsr.Mesh(*tsr.primitives.triangle())
    gradients = []
    for needs_grad in (False, True):
        camera = Camera.look_at((0, 0, 3), fov_y_degrees=90, needs_grad=needs_grad)
        renderer = tsr.Renderer(mesh, camera, (5, 6), tsr.SoftAggregation(sigma=0.02))
        renderer.backward(np.ones((1, 5, 6, 4)) * (1, 2, 3, renderer.render().to_numpy().max()))
        gradients.append([field.grad.to_numpy() for field in (mesh.vertices, mesh.vertex_colors)])
    for found, expected in zip(*gradients):
        tolerance = SAME_GRADIENT_SINGLE * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_orbit():
    eye = orbit(2.0, [0, 0, 90], [0, 90, 0])
    np.testing.assert_allclose(eye, [[0, 0, 2], [2, 0, 0], [0, 2, 0]], rtol=0, atol=DOUBLE_ROUNDING)
    assert orbit(2.7, 30, range(0, 360, 15)).shape == (24, 3)


def test_one_target_serves_all_views(backend):
    camera = Camera.look_at(orbit(2, 0, [0, 120, 240]), fov_y_degrees=45, needs_grad=False)
    assert camera.num_views == 3
    assert camera.target.shape == camera.fov_y_degrees.shape == (3,)
    np.testing.assert_array_equal(camera.fov_y_degrees.to_numpy(), 45)


def test_matrices_are_taken_as_they_are(backend):
    matrices = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    camera = Camera.from_matrices(matrices, matrices[0])
    camera.update(1.0)
    np.testing.assert_array_equal(camera.view_from_world.to_numpy(), matrices)
    np.testing.assert_array_equal(camera.clip_from_view.to_numpy(), matrices[[0, 0]])
    assert camera.eye is None


def framed(camera, points, aspect=1.0):
    """Clip coordinates over w, (B, V, 2), and depths, in NumPy."""
    camera.update(aspect)
    points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    view = np.einsum("brc,vc->bvr", camera.view_from_world.to_numpy(), points)
    clip = np.einsum("brc,bvc->bvr", camera.clip_from_view.to_numpy(), view)
    return np.abs(clip[..., :2] / clip[..., 3:]), -view[..., 2]


BODIES = {
    "sphere": tsr.primitives.icosphere(2),
    "rod": (tsr.primitives.cube()[0] * [0.01, 0.02, 5.0], tsr.primitives.cube()[1]),
    "sheet": (tsr.primitives.cube()[0] * [1.0, 1e-6, 1.0], tsr.primitives.cube()[1]),
    "with a stray vertex": (np.concatenate([np.eye(3), [[1e6, 0, 0]]]), np.array([[0, 1, 2]])),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("scale, aspect", [(1.0, 1.0), (1e-5, 0.4), (1e5, 2.5)])
def test_a_framed_mesh_fills_nine_tenths(backend, name, scale, aspect):
    vertices, faces = BODIES[name]
    mesh = tsr.Mesh(scale * (vertices + [1.0, -2.0, 3.0]), faces)
    views = dict(elevation_degrees=[20, -35, 0, 90], azimuth_degrees=[30, 215, 0, 0])
    camera = Camera.framing(mesh, **views, aspect=aspect, needs_grad=False)
    assert camera.num_views == 4 and camera.aspect is None
    xy, depths = framed(camera, mesh.vertices.to_numpy()[np.unique(faces)], aspect)
    assert (depths.min(axis=1) > 0).all()
    largest = xy.max(axis=(1, 2))
    assert (largest < 0.9 + FRAMED).all()
    if name != "rod":  # whose end keeps its distance when it points at the camera
        np.testing.assert_allclose(largest, 0.9, rtol=FRAMED)


def test_a_framed_mesh_by_default(backend):
    """One view, 50 degrees, from the right and from above; the frames of a moving one together."""
    mesh = tsr.Mesh(*tsr.primitives.icosphere(2))
    camera = Camera.framing(mesh)
    direction = camera.eye.to_numpy()[0] / np.linalg.norm(camera.eye.to_numpy()[0])
    np.testing.assert_allclose(direction, orbit(1, 20, 30)[0], atol=SINGLE_PRECISION_RELATIVE)
    np.testing.assert_array_equal(camera.fov_y_degrees.to_numpy(), 50)
    frames = np.stack([tsr.primitives.icosphere(2)[0] + [x, 0, 0] for x in (-3, 5)])
    moving = tsr.Mesh(frames, tsr.primitives.icosphere(2)[1])
    xy, _ = framed(Camera.framing(moving, 0, 0), frames.reshape(-1, 3))
    np.testing.assert_allclose(xy.max(), 0.9, rtol=FRAMED)


ROTATIONS = {"a vector": [[0.3, -2.0, 0.5]], "a quaternion": [[0.5, 0.3, -1.2, 0.4]]}
INTRINSICS = tsr.Intrinsics([[11.0, 0, 6.5], [0, 9, 4.2], [0, 0, 1]], (8, 12))


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_pose_turns_and_shifts(backend, rotation):
    """Against the formulas of the twin; images are those of the same matrices."""
    camera = Camera.from_pose(ROTATIONS[rotation], (0.1, 0.2, -3), INTRINSICS)
    turn = rodrigues if rotation == "a vector" else turn_of_quaternion
    expected = np.eye(4)
    expected[:3] = np.c_[turn(np.array(ROTATIONS[rotation][0])), [0.1, 0.2, -3]]
    view_from_world, clip_from_view = camera.matrices(1.5)
    np.testing.assert_allclose(view_from_world[0], expected, atol=SINGLE_PRECISION_RELATIVE)
    K = tsr.camera_conventions.to_opencv(camera)[0]
    expected_K = INTRINSICS.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    np.testing.assert_allclose(K[0], expected_K, rtol=SINGLE_PRECISION_RELATIVE)
    assert camera.aspect == 1.5 and camera.image_size == (8, 12) and camera.eye is None
    mesh = tsr.Mesh(*tsr.primitives.icosphere(1))
    others = Camera.from_matrices(view_from_world, clip_from_view)
    images = [tsr.Renderer(mesh, one, (8, 12)).render().to_numpy() for one in (camera, others)]
    np.testing.assert_allclose(images[0], images[1], atol=SAME_IMAGE_SINGLE)


@pytest.mark.f64
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_gradients_of_poses_and_intrinsics(backend, rotation):
    """Through the image, and through the eye that a highlight sees."""
    camera = Camera.from_pose(ROTATIONS[rotation], (0.1, 0.2, -3), INTRINSICS)
    vertices, faces = tsr.primitives.icosphere(1)
    shiny = tsr.Material(specular=(0.5, 0.6, 0.7), shininess=4.0)
    renderer = tsr.Renderer(
        tsr.Mesh(vertices, faces, materials=[shiny], face_materials=np.zeros(len(faces), int)),
        camera,
        (8, 12),
        tsr.SoftAggregation(sigma=0.02),
        tsr.Phong(),
        lights=[tsr.PointLights([(1.3, 2.1, 3.2)], [(1, 1, 1)])],
    )
    renderer.render()
    weights = np.random.default_rng(0).normal(size=(1, 8, 12, 4))
    renderer.backward(weights)
    for name in ("rotation", "translation", "focal_lengths", "principal_point"):
        field = getattr(camera, name)
        start, gradient = field.to_numpy(), field.grad.to_numpy()
        slopes = np.zeros_like(start)
        for index in np.ndindex(start.shape):
            for sign in (1, -1):
                moved = start.copy()
                moved[index] += sign * FINITE_DIFFERENCE_STEP
                field.from_numpy(moved)
                value = (renderer.render().to_numpy() * weights).sum()
                slopes[index] += sign * value / (2 * FINITE_DIFFERENCE_STEP)
        field.from_numpy(start)
        error = np.abs(gradient - slopes).max() / np.abs(slopes).max()
        print(f"gradient of {name}: error {error:.1e}")
        assert error < FINITE_DIFFERENCE_RELATIVE


@pytest.mark.parametrize("projection", [Perspective(50), INTRINSICS, Orthographic(3)])
def test_intrinsics_go_with_every_pose(backend, projection):
    assert Camera.look_at((0, 0, 3), projection=projection).kinds[0] == 0
    assert Camera.from_matrices(np.eye(4), projection=projection).kinds[0] == 1
    assert Camera.from_pose((0, 0, 0), (0, 0, -3), projection).num_views == 1


def test_poses_and_intrinsics_that_are_refused(backend):
    with pytest.raises(ValueError, match="quaternion of length 0"):
        Camera.from_pose((0, 0, 0, 0), (0, 0, -3))
    with pytest.raises(ValueError, match=r"rotation must have shape \(B, 3\), not empty"):
        Camera.from_pose((0, 0), (0, 0, -3))
    with pytest.raises(ValueError, match="rotation has 2 views, expected 1 or 3"):
        Camera.from_pose(np.ones((2, 3)), np.ones((3, 3)))
    for K, message in (
        ([[0, 0, 6], [0, 9, 4], [0, 0, 1]], "K must have fx and fy above 0 pixels"),
        ([[9, 1, 6], [0, 9, 4], [0, 0, 1]], "skew goes to camera_conventions.opencv"),
        (np.full((3, 3), np.nan), "K must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            Camera.from_pose((0, 0, 0), (0, 0, -3), tsr.Intrinsics(K, (8, 12)))
    with pytest.raises(ValueError, match=r"image_size must be \(height, width\) in pixels"):
        Camera.look_at((0, 0, 3), projection=tsr.Intrinsics(INTRINSICS.K, (0, 12)))
    camera = Camera.from_pose((1, 0, 0, 0), (0, 0, -3), INTRINSICS)
    renderer = tsr.Renderer(tsr.Mesh(*tsr.primitives.icosphere(1)), camera, (8, 12))
    for name, value, message in (
        ("rotation", (0, 0, 0, 0), "quaternion of length 0"),
        ("focal_lengths", (0, 9), "camera.focal_lengths must have fx and fy above 0"),
    ):
        field = getattr(camera, name)
        kept = field.to_numpy()
        setattr(camera, name, value)
        with pytest.raises(ValueError, match=message):
            renderer.render()
        field.from_numpy(kept)


def test_a_camera_in_words(backend):
    camera = Camera.look_at([(0, 0, 3), (3, 0, 0)], fov_y_degrees=90, needs_grad=False)
    mesh = tsr.Mesh(np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 9]]), [[0, 1, 2]])
    assert camera.describe(1.0, mesh).splitlines() == [
        "2 views of images 1 times as wide as high",
        "view 0 stands at (0, 0, 3), looks along (0, 0, -1), up is (0, 1, 0); sees 90 degrees "
        "across and 90 upright; 67% of the vertices in the image, at depths 3 to 3",
        "view 1 stands at (3, 0, 0), looks along (-1, 0, 0), up is (0, 1, 0); sees 90 degrees "
        "across and 90 upright; 67% of the vertices in the image, at depths 3 to 3",
    ]
    parallel = Camera.look_at((0, 0, 3), projection=Orthographic(2), needs_grad=False)
    assert "sees 4 across and 2 upright, in parallel rays" in parallel.describe(2.0)
    off_center = [[30, 0, 24.5], [0, 30, 9.5], [0, 0, 1]]
    K = tsr.camera_conventions.opencv(off_center, np.eye(3), (0, 0, 3), (20, 40), needs_grad=False)
    assert "its axis at (0.25, 0) of the half image" in K.describe()
    assert "mirrored" in tsr.camera_conventions.softras(2, 0, 0, needs_grad=False).describe()
    many = Camera.look_at(orbit(3, 0, range(0, 300, 20)), needs_grad=False)
    assert many.describe().endswith("and 3 more")


@pytest.mark.parametrize("aspect", [0, -1.0, np.nan])
def test_framing_refuses(backend, aspect):
    mesh = tsr.Mesh(*tsr.primitives.triangle())
    with pytest.raises(ValueError, match="an aspect above 0"):
        Camera.framing(mesh, aspect=aspect)
    mesh.vertices.fill(1.0)
    with pytest.raises(ValueError, match="not all in one place"):
        Camera.framing(mesh)
    with pytest.raises(ValueError, match="mesh must be a Mesh or a Scene, got tuple"):
        Camera.framing(tsr.primitives.triangle())


@pytest.mark.parametrize(
    "radians",
    [
        lambda: orbit(3, np.radians(20), 30),
        lambda: orbit(3, 20, np.pi / 3),
        lambda: orbit(3, 0, np.radians(range(0, 360, 15))),
        lambda: orbit(3, 0, np.linspace(0, 2 * np.pi, 7, endpoint=False)),
        lambda: orbit(3, 0, np.linspace(-np.pi, np.pi, 11)),
        lambda: Perspective(np.pi / 3).arrays(),
        lambda: Perspective([0.5, 1.1]).arrays(),
    ],
)
def test_angles_that_look_like_radians(backend, radians):
    with pytest.warns(UserWarning, match=r"degrees, and .* looks like radians: write np.degrees"):
        radians()


def test_small_angles_in_degrees_are_no_radians(backend):
    """Warnings are errors here."""
    orbit(3, [0, 1.5, 5], [0, 6, -3])
    orbit(3, np.linspace(0, 6, 7), np.random.default_rng(0).uniform(-6, 6, 7))
    Perspective([2.0, 5.0]).arrays()


def test_an_array_is_written_into_the_field(backend):
    """The renderer knows the field, which stays."""
    camera = Camera.look_at(orbit(3, 0, [0, 90]), needs_grad=False)
    field = camera.eye
    camera.eye = orbit(4, 0, [0, 90])
    assert camera.eye is field
    np.testing.assert_allclose(field.to_numpy(), orbit(4, 0, [0, 90]), atol=1e-6)
    one = Camera.look_at((0, 0, 3), needs_grad=False)
    one.eye, one.fov_y_degrees = (1, 2, 3), 40
    assert one.eye.to_numpy().tolist() == [[1, 2, 3]] and one.fov_y_degrees[0] == 40
    with pytest.raises(ValueError, match="camera.height is None here"):
        one.height = 3
    with pytest.raises(ValueError, match=r"camera.eye must have shape \(2, 3\)"):
        camera.eye = (1, 2, 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(eye=(0, 0, 1), projection=Perspective), r"class Perspective: write Perspective\("),
        (dict(eye=(0, 0, 1), projection=50), r"must be Perspective\(degrees\), got int"),
        (dict(eye=(0, 0, 1, 2)), r"eye must have shape \(B, 3\), not empty, got \(1, 4\)"),
        (dict(eye=(0, 0, np.nan)), "eye must be finite"),
        (dict(eye=np.ones((2, 3)), target=np.zeros((3, 3))), "eye has 2 views, expected 1 or 3"),
        (dict(eye=(1, 2, 3), target=(1, 2, 3)), "eye must differ from target"),
        (dict(eye=(1, 2, 3), up=(0, 0, 0)), "up must not be zero"),
        (dict(eye=(1, 2, 3), fov_y_degrees=180), "fov_y_degrees must lie between 0 and 180"),
        (dict(eye=(1, 2, 3), projection=Orthographic(0.0)), "height must be positive"),
    ],
)
def test_look_at_refuses(backend, arguments, message):
    with pytest.raises(ValueError, match=message):
        Camera.look_at(**arguments)


def test_from_matrices_needs_one_projection(backend):
    with pytest.raises(ValueError, match="either clip_from_view or projection"):
        Camera.from_matrices(np.eye(4))
