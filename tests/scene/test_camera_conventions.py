"""Where known points land in the image, by the documents of each convention.

Every test places points at the right, above and ahead as that convention says, and asks for
x, y in NDC (the shorter side of the image spans [-1, 1], y up) and for the depth.
"""

import json

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.scene import camera_conventions as conventions
from taichi_softras.scene.camera import Camera, orbit
from tests.tolerances import SINGLE_PRECISION_RELATIVE

pytestmark = pytest.mark.cpu  # what the host does


def project(camera, points, image_size=(1, 1)):
    """NDC x, y and depth of world points (V, 3) in every view (B, V, 3), in NumPy."""
    height, width = image_size
    camera.update(width / height)
    points = np.concatenate([points, np.ones((len(points), 1))], axis=-1)
    view = np.einsum("brc,vc->bvr", camera.view_from_world.to_numpy(), points)
    clip = np.einsum("brc,bvc->bvr", camera.clip_from_view.to_numpy(), view)
    xy = clip[..., :2] / clip[..., 3:] * [width, height] / min(height, width)
    return np.concatenate([xy, -view[..., 2:3]], axis=-1)


def ndc_of_pixel(column, row, image_size):
    """NDC of a point in the image; (0, 0) is its top left border."""
    height, width = image_size
    return np.array([2 * column - width, height - 2 * row]) / min(height, width)


def assert_close(actual, desired):
    np.testing.assert_allclose(
        actual, desired, rtol=SINGLE_PRECISION_RELATIVE, atol=SINGLE_PRECISION_RELATIVE
    )


CENTER = np.array([1.0, 0.0, 4.0])


def test_opencv(backend):
    """x right, y down, z forward; pixel (0, 0) is the centre of the top left pixel."""
    image_size = (20, 40)
    K = np.array([[30.0, 0, 25], [0, 35, 8], [0, 0, 1]])
    camera = conventions.opencv(K, np.eye(3), -CENTER, image_size)
    assert camera.aspect == 2
    points = CENTER + [[0, 0, 2], [1, 0, 2], [0, 1, 2]]
    pixels = [(25, 8), (25 + 30 / 2, 8), (25, 8 + 35 / 2)]
    xy = [ndc_of_pixel(column + 0.5, row + 0.5, image_size) for column, row in pixels]
    assert_close(project(camera, points, image_size)[0], np.c_[xy, [2, 2, 2]])


def test_colmap(backend):
    """As OpenCV, but (1/2, 1/2) is the centre of the top left pixel; quaternions have w first."""
    image_size = (20, 40)
    K = np.array([[30.0, 0, 25], [0, 35, 8], [0, 0, 1]])
    half = np.sqrt(0.5)
    quaternion = [half, 0, half, 0]  # 90 degrees about y: world -x lies ahead, world z at the right
    camera = conventions.colmap(quaternion, (0, 0, 0), K, image_size)
    points = np.array([[-2.0, 0, 0], [-2, 0, 1], [-2, 1, 0]])
    pixels = [(25, 8), (25 + 30 / 2, 8), (25, 8 + 35 / 2)]
    xy = [ndc_of_pixel(*pixel, image_size) for pixel in pixels]
    assert_close(project(camera, points, image_size)[0], np.c_[xy, [2, 2, 2]])


@pytest.mark.parametrize("image_size", [(1, 1), (20, 40), (40, 20)])
def test_pytorch3d(backend, image_size):
    """x left, y up, z forward, row vectors; the shorter side spans the field of view."""
    turn = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])  # x_view = x_world @ turn: world x to -z
    camera = conventions.pytorch3d(turn, (0, 0, 3), 90.0, image_size)
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    expected = [[0, 0, 3], [0, 0, 2], [0, 1 / 3, 3], [-1 / 3, 0, 3]]
    assert_close(project(camera, points, image_size)[0], expected)


def test_softras(backend):
    """Azimuth 0 stands at -z and has +x at the right: a mirrored image; azimuth 90 at +x."""
    camera = conventions.softras(2.0, 0.0, [0.0, 90.0], half_angle_degrees=45.0)
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    expected = [
        [[0, 0, 2], [0.5, 0, 2], [0, 0.5, 2], [0, 0, 3]],
        [[0, 0, 2], [0, 0, 1], [0, 0.5, 2], [0.5, 0, 2]],
    ]
    assert_close(project(camera, points), expected)
    assert_close(np.linalg.det(camera.view_from_world.to_numpy()), [-1, -1])


def test_softras_by_its_own_formula(backend):
    """Liu et al.'s look_at: rows up x z, z x (up x z), z; then x and y over z tan(angle)."""
    points = np.random.default_rng(4).uniform(-1, 1, (10, 3))
    elevation, azimuth = np.radians([-40.0, 130.0])
    eye = 2.7 * np.array(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            -np.cos(elevation) * np.cos(azimuth),
        ]
    )
    z = -eye / np.linalg.norm(eye)
    x = np.cross([0, 1, 0], z)
    x /= np.linalg.norm(x)
    view = (points - eye) @ np.stack([x, np.cross(z, x), z], axis=-1)
    expected = np.c_[view[:, :2] / view[:, 2:] / np.tan(np.radians(15)), view[:, 2]]
    camera = conventions.softras(2.7, -40.0, 130.0, half_angle_degrees=15.0)
    assert_close(project(camera, points)[0], expected)


def test_softras_is_the_mirror_image_of_a_right_handed_camera(backend):
    """The points mirrored in z, seen from the mirrored eye, are the same picture."""
    views = dict(elevation_degrees=[10.0, -40, 60], azimuth_degrees=[20.0, 130, 290])
    points = np.random.default_rng(4).uniform(-1, 1, (10, 3))
    picture = project(conventions.softras(2.7, half_angle_degrees=30.0, **views), points)
    mirrored = Camera.look_at(orbit(2.7, **views), fov_y_degrees=60.0, needs_grad=False)
    assert_close(picture, project(mirrored, points * [1, 1, -1]))


def test_blender(backend):
    """x right, y up, looking along -z, world from camera; the angle is the horizontal one."""
    world_from_camera = np.eye(4)
    world_from_camera[:3, 3] = CENTER
    camera = conventions.blender(world_from_camera, np.radians(90), image_size=(20, 40))
    points = CENTER + [[0, 0, -2], [2, 0, -2], [0, 1, -2]]
    expected = [[0, 0, 2], [2, 0, 2], [0, 1, 2]]
    assert_close(project(camera, points, (20, 40))[0], expected)


def test_nerf(backend, tmp_path):
    """Blender's axes in a file; a horizontal angle, or focal lengths in pixels."""
    pose = np.eye(4)
    pose[:3, 3] = CENTER
    points = CENTER + [[0, 0, -2], [1, 0, -2], [0, 1, -2]]
    frames = [{"transform_matrix": pose.tolist()}]

    path = tmp_path / "transforms.json"
    path.write_text(json.dumps({"camera_angle_x": np.pi / 2, "frames": frames}))
    assert_close(project(conventions.nerf(path), points)[0], [[0, 0, 2], [0.5, 0, 2], [0, 0.5, 2]])

    image_size = (20, 40)
    transforms = {"fl_x": 30, "fl_y": 35, "cx": 25, "cy": 8, "w": 40, "h": 20, "frames": frames}
    pixels = [(25, 8), (25 + 30 / 2, 8), (25, 8 - 35 / 2)]
    xy = [ndc_of_pixel(*pixel, image_size) for pixel in pixels]
    picture = project(conventions.nerf(transforms), points, image_size)
    assert_close(picture[0], np.c_[xy, [2, 2, 2]])


def of_opencv(K, R, t, distortion, image_size):
    return conventions.opencv(K, R, t, image_size, distortion)


def of_colmap(quaternion, t, K, distortion, image_size):
    return conventions.colmap(quaternion, t, K, image_size, distortion)


BACK = {
    "opencv": lambda camera, size: of_opencv(*conventions.to_opencv(camera, size), size),
    "colmap": lambda camera, size: of_colmap(*conventions.to_colmap(camera, size), size),
    "nerf": lambda camera, size: conventions.nerf(conventions.to_nerf(camera, size)),
    "blender": lambda camera, size: conventions.blender(
        *conventions.to_blender(camera, size), size
    ),
    "pytorch3d": lambda camera, size: conventions.pytorch3d(
        *conventions.to_pytorch3d(camera, size), size
    ),
}


@pytest.mark.parametrize("name", BACK)
@pytest.mark.parametrize("image_size", [(20, 40), (40, 20)])
def test_there_and_back(backend, name, image_size):
    """Every convention shows points where our camera does."""
    camera = Camera.look_at(orbit(3, [10, -50], [20, 200]), fov_y_degrees=[50, 30])
    points = np.random.default_rng(4).uniform(-1, 1, (10, 3))
    expected = project(camera, points, image_size)
    assert_close(project(BACK[name](camera, image_size), points, image_size), expected)


def test_numbers_that_are_given_back(backend):
    """What was taken comes out again, K with its own centre of the first pixel."""
    K = np.array([[[30.0, 0, 25], [0, 35, 8], [0, 0, 1]]])
    R = np.array([[[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]])
    camera = conventions.opencv(K, R, [[1, 2, 3]], (20, 40))
    numbers = K, R, [[1, 2, 3]], [[0] * 5]
    for found, expected in zip(conventions.to_opencv(camera, (20, 40)), numbers):
        assert_close(found, expected)
    quaternion, _, colmap_K, _ = conventions.to_colmap(camera, (20, 40))
    assert_close(quaternion, [[0.5, 0.5, 0.5, 0.5]])
    assert_close(colmap_K - K, [[[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]])
    frame = conventions.to_nerf(camera, (20, 40), ["a.png"])["frames"][0]
    assert frame["file_path"] == "a.png" and frame["cy"] == pytest.approx(8.5)


def test_distortion_comes_and_goes(backend):
    """Those that have it carry it, the others say that they do not."""
    K = np.array([[30.0, 0, 19.5], [0, 30, 9.5], [0, 0, 1]])
    distortion = [[0.1, -0.2, 0.01, 0.02, 0.3], [0, 0, 0, 0, 0]]
    camera = conventions.opencv(K, np.eye(3), [(0, 0, 3), (0, 1, 3)], (20, 40), distortion)
    assert_close(camera.distortion.to_numpy(), distortion)
    for name in ("opencv", "colmap", "nerf"):
        back = BACK[name](camera, (20, 40))
        assert_close(back.distortion.to_numpy(), distortion)
        for found, expected in zip(*(conventions.to_opencv(one) for one in (back, camera))):
            assert_close(found, expected)
    for name in ("blender", "pytorch3d"):
        with pytest.warns(UserWarning, match=f"to_{name} leaves out distortion"):
            BACK[name](camera, (20, 40))
    four = conventions.colmap((1, 0, 0, 0), (0, 0, 3), K, (20, 40), [0.1, 0, 0, 0])
    assert_close(four.distortion.to_numpy(), [[0.1, 0, 0, 0, 0]])
    K[0, 1] = 1.0
    with pytest.raises(ValueError, match="K with skew and distortion are not drawn together"):
        conventions.opencv(K, np.eye(3), (0, 0, 3), (20, 40), distortion)


def test_what_has_no_place_is_said(backend):
    K = np.array([[30.0, 0, 20], [0, 35, 10], [0, 0, 1]])
    camera = conventions.colmap((1, 0, 0, 0), (0, 0, 0), K, (20, 40))
    with pytest.warns(UserWarning, match="to_blender leaves out that pixels are not square"):
        conventions.to_blender(camera, (20, 40))
    K = np.array([[30.0, 0, 25], [0, 30, 10], [0, 0, 1]])
    camera = conventions.colmap((1, 0, 0, 0), (0, 0, 0), K, (20, 40))
    with pytest.warns(UserWarning, match="to_pytorch3d leaves out the principal point"):
        conventions.to_pytorch3d(camera, (20, 40))
    K[0, 1] = 1.0
    camera = conventions.colmap((1, 0, 0, 0), (0, 0, 0), K, (20, 40))
    with pytest.warns(UserWarning, match="to_nerf leaves out skew"):
        conventions.to_nerf(camera, (20, 40))
    parallel = Camera.look_at((0, 0, 3), projection=tsr.Orthographic(2))
    with pytest.raises(ValueError, match="to_opencv has pinholes alone"):
        conventions.to_opencv(parallel, (20, 40))
    with pytest.raises(ValueError, match="this camera's pose mirrors, or has a scale"):
        conventions.to_nerf(conventions.softras(2, 0, 0), (20, 40))
    with pytest.raises(ValueError, match=r"to_opencv needs image_size, \(H, W\) in pixels"):
        conventions.to_opencv(Camera.look_at((0, 0, 3)))


@pytest.mark.parametrize("fx", [0.0, -30.0])
def test_focal_lengths_that_are_none(backend, fx):
    with pytest.raises(ValueError, match="K must have focal lengths fx and fy above 0 pixels"):
        conventions.opencv([[fx, 0, 2], [0, 3, 1], [0, 0, 1]], np.eye(3), (0, 0, 1), (2, 4))
    with pytest.raises(ValueError, match=r"K must be \(3, 3\) or \(B, 3, 3\) finite numbers"):
        conventions.opencv(np.full((3, 3), np.nan), np.eye(3), (0, 0, 1), (2, 4))


def cameras_of(image_size) -> dict:
    """A camera of each adapter that knows the image's size."""
    K, pose = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]), np.eye(4)
    transforms = {"fl_x": 500, "frames": [{"transform_matrix": pose.tolist()}]}
    return {
        "opencv": conventions.opencv(K, np.eye(3), [0, 0, 4.0], image_size),
        "colmap": conventions.colmap((1, 0, 0, 0), [0, 0, 4.0], K, image_size),
        "pytorch3d": conventions.pytorch3d(np.eye(3), [0, 0, 4.0], 60.0, image_size),
        "blender": conventions.blender(pose, 1.0, image_size),
        "nerf": conventions.nerf(transforms, image_size),
    }


def test_an_image_of_another_aspect_is_refused(backend):
    mesh = tsr.Mesh(*tsr.primitives.icosphere(2))
    for name, camera in cameras_of((480, 640)).items():
        assert camera.aspect == pytest.approx(640 / 480), name
        for rounded in ((480, 640), (240, 320), (239, 319), (100, 133), (100, 134), (75, 100)):
            camera.check_image_size(rounded)
        for other in ((640, 480), (100, 135), (5, 5), (480, 642)):
            with pytest.raises(ValueError, match=r"1.333 times .* camera.aspect = None"):
                camera.check_image_size(other)
    renderer = tsr.Renderer(mesh, camera, (64, 48), shading=tsr.Silhouette())
    with pytest.raises(ValueError, match=r"1.333 times .* \(64, 48\) .* 0.75 times"):
        renderer.render()
    camera.aspect = None
    renderer.render()


def test_a_sphere_is_round_in_the_image_that_its_camera_is_for(backend):
    """2 * 500 / sqrt(15) = 258 pixels wide: at 4 radii, by 500 pixels of focal length."""
    mesh = tsr.Mesh(*tsr.primitives.icosphere(2))
    camera = cameras_of((480, 640))["opencv"]
    renderer = tsr.Renderer(mesh, camera, (480, 640), shading=tsr.Silhouette())
    rows, columns = np.nonzero(renderer.render().to_numpy()[0, ..., 0] > 0.5)
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (259, 255)


def test_who_does_not_know_the_size_asks_for_none(backend):
    assert conventions.softras(2.0, 0.0, 0.0).aspect is None
    assert conventions.pytorch3d(np.eye(3), (0, 0, 3), 90.0).aspect is None
    assert Camera.look_at((0, 0, 3)).aspect is None
    assert conventions.blender(np.eye(4), 1.0).aspect == 1  # whose angle is that of a square


def test_degrees_where_radians_are_meant(backend):
    with pytest.raises(ValueError, match=r"fov_x is in radians .* got 50.0: write np.radians"):
        conventions.blender(np.eye(4), 50.0)
    frames = {"camera_angle_x": 50.0, "frames": [{"transform_matrix": np.eye(4).tolist()}]}
    with pytest.raises(ValueError, match="camera_angle_x is in radians"):
        conventions.nerf(frames)


def test_frames_of_several_aspects(backend):
    pose = np.eye(4).tolist()
    frames = [{"transform_matrix": pose, "w": w, "h": 20, "fl_x": 30} for w in (20, 40)]
    with pytest.raises(ValueError, match=r"one aspect \(w / h\), got \[1.0, 2.0\]"):
        conventions.nerf({"frames": frames})
