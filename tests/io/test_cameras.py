"""Cameras and pictures of captures: where known points land, by OpenCV's formulas in NumPy.

Pictures whose pixels hold their own column or row say where a picture without distortion was
sampled.
"""

import json
import re
import struct

import numpy as np
import PIL.Image
import pytest

import taichi_softras as tsr
from taichi_softras.io.colmap import MODELS, quaternion_of, rotation_of
from taichi_softras.io.images import save_image
from tests.tolerances import DOUBLE_ROUNDING, EIGHT_BITS, PIXEL, SINGLE_PRECISION_RELATIVE

pytestmark = pytest.mark.cpu  # what the host does

HEIGHT, WIDTH = 48, 64
FX, FY, CX, CY = 60.0, 55.0, 30.0, 25.5
DISTORTION = {"k1": -0.2, "k2": 0.08, "p1": 0.01, "p2": -0.015, "k3": 0.02}
BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])


def project_points(points, R, t, K, distortion):
    """`cv2.projectPoints` as its manual writes it."""
    x, y, z = (points @ R.T + t).T
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = distortion
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    bent_y = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    return np.stack([K[0, 0] * bent_x + K[0, 2], K[1, 1] * bent_y + K[1, 2]], axis=-1)


def poses(count):
    """Quaternions (w first) and translations, camera from world."""
    generator = np.random.default_rng(5)
    quaternions = generator.normal(size=(count, 4))
    return quaternions, generator.uniform(-1, 1, (count, 3)) + [0, 0, 4]


def write_transforms(folder, count=3, **entries):
    """A file of three frames, and its pictures: their columns."""
    frames = []
    for index, (quaternion, t) in enumerate(zip(*poses(count))):
        camera_from_world = np.eye(4)
        camera_from_world[:3] = np.c_[rotation_of(quaternion), t]
        pose = np.linalg.inv(camera_from_world) @ BLENDER
        frames.append({"file_path": f"./{index}.tif", "transform_matrix": pose.tolist()})
        write_floats(folder / f"{index}.tif", ramps()[0])
    entries = entries or {"fl_x": FX, "fl_y": FY, "cx": CX, "cy": CY, "w": WIDTH, "h": HEIGHT}
    path = folder / "transforms.json"
    path.write_text(json.dumps({**entries, "frames": frames}))
    return path


def write_floats(path, image):
    PIL.Image.fromarray(image).save(path)


def ramps():
    """Columns and rows of pixels' centres."""
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    return columns.astype(np.float32), rows.astype(np.float32)


def write_colmap(folder, model="OPENCV", binary=False, count=3):
    """A model of one camera, by COLMAP's page on its formats; names run against indices."""
    parameters = {
        "SIMPLE_PINHOLE": [FX, CX, CY],
        "PINHOLE": [FX, FY, CX, CY],
        "SIMPLE_RADIAL": [FX, CX, CY, -0.2],
        "RADIAL": [FX, CX, CY, -0.2, 0.08],
        "OPENCV": [FX, FY, CX, CY, -0.2, 0.08, 0.01, -0.015],
    }.get(model, [FX] * MODELS.get(model, 3))
    folder.mkdir(parents=True, exist_ok=True)
    images = [
        (k + 1, *q, *t, 7, f"{count - k} a.png") for k, (q, t) in enumerate(zip(*poses(count)))
    ]
    if not binary:
        numbers = " ".join(map(repr, parameters))
        text = f"# Camera list\n7 {model} {WIDTH} {HEIGHT} {numbers}\n"
        (folder / "cameras.txt").write_text(text)
        lines = [
            " ".join(map(str, image)) + "\n1.5 2.5 -1 3 4 12\n" * (image[0] % 2) for image in images
        ]
        lines = [line if line.endswith("\n") else line + "\n\n" for line in lines]
        (folder / "images.txt").write_text("# Image list\n" + "".join(lines))
        return folder
    index = list(MODELS).index(model)
    data = struct.pack("<QiiQQ", 1, 7, index, WIDTH, HEIGHT)
    (folder / "cameras.bin").write_bytes(data + struct.pack(f"<{len(parameters)}d", *parameters))
    data = struct.pack("<Q", count)
    for image in images:
        data += struct.pack("<i7di", *image[:9]) + image[9].encode() + b"\0"
        data += struct.pack("<Q", 2) + bytes(48)
    (folder / "images.bin").write_bytes(data)
    return folder


def pixels_of(camera, points):
    """(B, V, 2) from the top left border, by the camera's matrices."""
    view_from_world, clip_from_view = camera.matrices(WIDTH / HEIGHT)
    points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    clip = np.einsum("bij,bjk,vk->bvi", clip_from_view, view_from_world, points)
    x, y, w = clip[..., 0], clip[..., 1], clip[..., 3]
    return np.stack([(x / w + 1) / 2 * WIDTH, (1 - y / w) / 2 * HEIGHT], axis=-1)


def check_pinholes(camera, quaternions, translations, K):
    points = np.random.default_rng(1).uniform(-1, 1, (20, 3))
    found = pixels_of(camera, points)
    for view, (quaternion, t) in enumerate(zip(quaternions, translations)):
        expected = project_points(points, rotation_of(quaternion), t, K, [0] * 5)
        np.testing.assert_allclose(found[view], expected, rtol=0, atol=PIXEL)


K = np.array([[FX, 0, CX], [0, FY, CY], [0, 0, 1]])


@pytest.mark.f64
def test_points_of_transforms(backend, tmp_path):
    camera, paths = tsr.io.load_cameras(write_transforms(tmp_path))
    check_pinholes(camera, *poses(3), K)
    assert paths == [tmp_path / f"{k}.tif" for k in range(3)]
    assert camera.image_size == (HEIGHT, WIDTH) and camera.aspect == WIDTH / HEIGHT


@pytest.mark.f64
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    "model", ["SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"]
)
def test_points_of_colmap(backend, tmp_path, model, binary):
    """Pictures come in the order of their names."""
    write_colmap(tmp_path / "sparse" / "0", model, binary)
    (tmp_path / "images").mkdir()
    camera, paths = tsr.io.load_cameras(tmp_path)
    quaternions, translations = poses(3)
    fy = FY if model in ("PINHOLE", "OPENCV") else FX
    one_lens = np.array([[FX, 0, CX], [0, fy, CY], [0, 0, 1]])
    check_pinholes(camera, quaternions[::-1], translations[::-1], one_lens)
    assert paths == [tmp_path / "images" / f"{k} a.png" for k in (1, 2, 3)]
    numbers = {"SIMPLE_RADIAL": 1, "RADIAL": 2, "OPENCV": 4}.get(model, 0)
    expected = [*(-0.2, 0.08, 0.01, -0.015)[:numbers], *[0] * (5 - numbers)]
    np.testing.assert_array_equal(camera.lens.distortion, [expected] * 3)


def test_frames(backend, tmp_path):
    path = write_transforms(tmp_path)
    for frames, expected in (
        (None, [0, 1, 2]),
        (1, [1]),
        ([2, 0], [2, 0]),
        (slice(1, None), [1, 2]),
    ):
        camera, paths = tsr.io.load_cameras(path, frames, needs_grad=False)
        assert [int(one.stem) for one in paths] == expected and camera.num_views == len(expected)
        translations = camera.matrices(1.0)[0][:, :3, 3] * [1, -1, -1]
        np.testing.assert_allclose(
            translations, poses(3)[1][expected], rtol=SINGLE_PRECISION_RELATIVE
        )


def test_angles_and_pictures_say_the_rest(backend, tmp_path):
    """NeRF's own files: an angle alone, paths without a suffix, sizes of the pictures."""
    path = write_transforms(tmp_path, camera_angle_x=1.0)
    path.write_text(path.read_text().replace(".tif", ""))
    camera, paths = tsr.io.load_cameras(path, scale=0.5)
    focal_length = WIDTH / 2 / np.tan(0.5)
    expected = [[focal_length, 0, WIDTH / 2], [0, focal_length, HEIGHT / 2], [0, 0, 1]]
    np.testing.assert_allclose(camera.lens.K, [expected] * 3, rtol=DOUBLE_ROUNDING)
    assert camera.lens.image_size == (HEIGHT, WIDTH) and paths[2] == tmp_path / "2.tif"
    assert camera.image_size == (HEIGHT // 2, WIDTH // 2)


@pytest.mark.parametrize("shown", [1, 2])  # of the lens's pixels, to one of the picture's
def test_pictures_without_distortion(backend, tmp_path, shown):
    """Each pixel shows what OpenCV projects to where it was taken from."""
    path = write_transforms(
        tmp_path, **DISTORTION, fl_x=FX, fl_y=FY, cx=CX, cy=CY, w=WIDTH * shown, h=HEIGHT * shown
    )
    camera, paths = tsr.io.load_cameras(path, needs_grad=False)
    lens = np.diag([1 / shown, 1 / shown, 1]) @ K
    for axis, ramp in enumerate(ramps()):
        for one in paths:
            write_floats(one, ramp)
        pictures, masks = tsr.io.load_pictures(paths, camera, 1 / shown)
        assert pictures.shape == (3, HEIGHT, WIDTH, 3) and pictures.dtype == np.float32
        quaternion, t = (array[1] for array in poses(3))
        columns, rows = ramps()
        rays = (
            np.stack([columns, rows, np.ones_like(rows)], -1).reshape(-1, 3) @ np.linalg.inv(lens).T
        )
        points = (5 * rays - t) @ rotation_of(quaternion)
        bent = project_points(points, rotation_of(quaternion), t, lens, DISTORTION.values())
        expected, limit = bent[:, axis].reshape(HEIGHT, WIDTH), (WIDTH, HEIGHT)
        is_inside = ((bent >= 0.5) & (bent <= np.array(limit) - 0.5)).all(-1).reshape(HEIGHT, WIDTH)
        assert is_inside.mean() > 0.8
        error = np.abs(pictures[1, ..., 0] - expected)[is_inside].max()
        assert error < PIXEL
        is_out = ((bent < 0) | (bent > limit)).any(-1).reshape(HEIGHT, WIDTH)
        np.testing.assert_array_equal(masks[1], ~is_out)
        assert not pictures[1][is_out].any()


def test_a_lens_that_folds_back_shows_nothing_twice(backend, tmp_path):
    """k1 alone, -1: x (1 - x^2) grows up to x = 1 / sqrt(3)."""
    path = write_transforms(tmp_path, k1=-1.0, fl_x=20.0, w=WIDTH, h=HEIGHT)
    camera, paths = tsr.io.load_cameras(path, 0, needs_grad=False)
    _, masks = tsr.io.load_pictures(paths, camera)
    radius = np.hypot(ramps()[0] - WIDTH / 2, ramps()[1] - HEIGHT / 2) / 20
    np.testing.assert_array_equal(masks[0], radius < 3**-0.5)


def test_distorted_pictures_are_said_to_be_so(backend, tmp_path):
    path = write_transforms(tmp_path, **DISTORTION, fl_x=FX, w=WIDTH, h=HEIGHT)
    camera, paths = tsr.io.load_cameras(path, needs_grad=False)
    with pytest.warns(
        UserWarning, match="these pictures are distorted, as their cameras are not: leave"
    ):
        pictures, _ = tsr.io.load_pictures(paths, camera, undistort=False)
    np.testing.assert_array_equal(pictures[2, ..., 1], ramps()[0])
    with pytest.warns(UserWarning, match="to_opencv leaves out distortion"):
        tsr.camera_conventions.to_opencv(camera)


@pytest.mark.f64
def test_cameras_that_draw_distortion(backend, tmp_path):
    """They show points where OpenCV does, and go with the pictures as they are."""
    path = write_transforms(tmp_path, **DISTORTION, fl_x=FX, fl_y=FY, cx=CX, cy=CY)
    camera, paths = tsr.io.load_cameras(path, undistort=False, needs_grad=False)
    points = np.random.default_rng(1).uniform(-0.3, 0.3, (20, 3))
    expected = [
        project_points(points, rotation_of(quaternion), t, K, DISTORTION.values())
        for quaternion, t in zip(*poses(3))
    ]
    for one in (camera, tsr.camera_conventions.nerf(path, (HEIGHT, WIDTH), needs_grad=False)):
        renderer = tsr.Renderer(tsr.Mesh(points, [[0, 1, 2]]), one, (HEIGHT, WIDTH))
        ndc = renderer.vertices_ndc.to_numpy()[..., :2]
        found = 0.5 * (ndc * [1, -1] * HEIGHT + [WIDTH, HEIGHT])
        assert np.abs(found - expected).max() < PIXEL
    pictures, masks = tsr.io.load_pictures(paths, camera)
    np.testing.assert_array_equal(pictures[2, ..., 1], ramps()[0])
    assert masks.all()
    with pytest.warns(UserWarning, match="pictures are undistorted, as their cameras are not"):
        tsr.io.load_pictures(paths, camera, undistort=True)
    assert f"distortion {tuple(DISTORTION.values())} (k1 k2 p1 p2 k3)" in camera.describe()


def test_smaller_pictures_are_means(backend, tmp_path):
    """Of 48 x 64 pixels to 16 x 16, 3 x 4 each; and to a half and a bit."""
    camera, paths = tsr.io.load_cameras(write_transforms(tmp_path), 0, needs_grad=False)
    pictures, masks = tsr.io.load_pictures(paths, camera, 0.25)
    expected = ramps()[0].reshape(12, 4, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(pictures[0, ..., 0], expected, atol=PIXEL)
    assert masks.shape == (1, 12, 16) and (masks == 1).all()
    pictures, _ = tsr.io.load_pictures(paths, camera, 0.55)
    columns = (np.arange(35) + 0.5) * WIDTH / 35
    np.testing.assert_allclose(pictures[0, 3, 1:-1, 0], columns[1:-1], atol=WIDTH / 35 / 2)
    np.testing.assert_allclose(pictures[0].mean(), WIDTH / 2, rtol=SINGLE_PRECISION_RELATIVE)


def test_masks(backend, tmp_path):
    """Alpha, a folder, a colour; colours lie over black."""
    path = write_transforms(tmp_path, fl_x=FX, w=4, h=2)
    camera, _ = tsr.io.load_cameras(path, 0, needs_grad=False)
    image = np.full((2, 4, 4), 0.6)
    image[:, :2, 3], image[:, 2:, 3] = 0.0, 1.0
    save_image(tmp_path / "a.png", image)
    pictures, masks = tsr.io.load_pictures([tmp_path / "a.png"], camera, mask="alpha")
    np.testing.assert_array_equal(masks[0], [[0, 0, 1, 1]] * 2)
    np.testing.assert_allclose(pictures[0, ..., 1], [[0, 0, 0.6, 0.6]] * 2, atol=EIGHT_BITS)
    _, masks = tsr.io.load_pictures([tmp_path / "a.png"], camera, mask=(0, 0, 0))
    np.testing.assert_array_equal(masks[0], [[0, 0, 1, 1]] * 2)
    (tmp_path / "masks").mkdir()
    save_image(tmp_path / "masks" / "a.png", np.array([[0.2, 0.4, 0.6, 0.8]] * 2))
    _, masks = tsr.io.load_pictures([tmp_path / "a.png"], camera, 0.5, mask=tmp_path / "masks")
    np.testing.assert_allclose(masks[0], [[0.3, 0.7]], atol=EIGHT_BITS)
    with pytest.raises(ValueError, match="has no mask for a.png"):
        tsr.io.load_pictures([tmp_path / "a.png"], camera, mask=tmp_path / "images")
    with pytest.raises(ValueError, match='"alpha", a folder or a colour of 3 numbers'):
        tsr.io.load_pictures([tmp_path / "a.png"], camera, mask=(0, 0))
    save_image(tmp_path / "b.png", image[..., :3])
    with pytest.raises(ValueError, match="b.png has no alpha"):
        tsr.io.load_pictures([tmp_path / "b.png"], camera, mask="alpha")
    save_image(tmp_path / "c.png", image.transpose(1, 0, 2))
    with pytest.raises(ValueError, match="c.png is 4 x 2 pixels .* its camera is for 2 x 4"):
        tsr.io.load_pictures([tmp_path / "c.png"], camera)


def edited(change):
    def write(folder):
        path = write_transforms(folder)
        transforms = json.loads(path.read_text())
        change(transforms)
        path.write_text(json.dumps(transforms))
        return path

    return write


def without(*keys, **entries):
    return edited(lambda file: [file.pop(key) for key in keys] and None or file.update(entries))


def with_text(text):
    def write(folder):
        path = folder / "transforms.json"
        path.write_text(text)
        return path

    return write


def lost_pictures(folder):
    path = without("w", "h")(folder)
    (folder / "0.tif").unlink()
    return path


REFUSED = {
    "fx = 0": (without(fl_x=0), r"frame 0: fl_x must be above 0 pixels, got 0"),
    "no number": (without(fl_x="wide"), "frame 0: fl_x must be a number, got 'wide'"),
    "no angle": (
        without("fl_x", "fl_y"),
        r"frame 0 has neither camera_angle_x \(radians\) nor fl_x",
    ),
    "degrees": (without("fl_x", "fl_y", camera_angle_x=50.0), "camera_angle_x is in radians"),
    "fisheye": (without(camera_model="OPENCV_FISHEYE"), "lens of the kind OPENCV_FISHEYE"),
    "no size": (lost_pictures, "0.tif cannot be read as an image"),
    "several sizes": (
        edited(lambda file: file["frames"][1].update(w=10)),
        r"pictures of 2 sizes, \(48, 10\) and \(48, 64\)",
    ),
    "no pose": (
        edited(lambda file: file["frames"][2].pop("transform_matrix")),
        "frame 2 needs a transform_matrix, 4 x 4",
    ),
    "a flat pose": (
        edited(lambda file: file["frames"][2].update(transform_matrix=np.zeros((4, 4)).tolist())),
        "frame 2 needs a transform_matrix, .* has an inverse",
    ),
    "a mirror": (
        edited(lambda file: file["frames"][2].update(transform_matrix=(-np.eye(4)).tolist())),
        "the pose of picture 2 of those taken is no rotation",
    ),
    "no picture": (
        edited(lambda file: file["frames"][1].pop("file_path")),
        "frame 1 needs a file_path, the picture, got None",
    ),
    "no frames": (edited(lambda file: file.update(frames=[])), "transforms.json has no pictures"),
    "a list": (with_text("[]"), 'must be an object with a list "frames"'),
    "no JSON": (with_text("{"), "cannot be read as a transforms.json"),
    "no file": (lambda folder: folder / "other.json", "other.json cannot be read .* No such file"),
    "an empty folder": (lambda folder: folder, "has no model of COLMAP"),
    "fisheye of COLMAP": (
        lambda folder: write_colmap(folder, "OPENCV_FISHEYE"),
        "camera 7 has the model OPENCV_FISHEYE, of which nothing is known here; SIMPLE_PINHOLE, ",
    ),
    "fisheye of COLMAP, binary": (
        lambda folder: write_colmap(folder, "OPENCV_FISHEYE", binary=True),
        "camera 7 has the model OPENCV_FISHEYE",
    ),
    "an unknown model": (lambda folder: write_colmap(folder, "PERISCOPE"), "the model PERISCOPE"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_cameras_that_are_refused(tmp_path, name):
    write, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        tsr.io.load_cameras(write(tmp_path))


@pytest.mark.parametrize("name", ["cameras", "images"])
@pytest.mark.parametrize("binary", [False, True])
def test_half_a_file(tmp_path, name, binary):
    write_colmap(tmp_path, binary=binary)
    path = tmp_path / f"{name}.{'bin' if binary else 'txt'}"
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"2 a.") - 3 if name == "images" else len(data) // 2])
    with pytest.raises(
        ValueError, match=f"{re.escape(str(path))} cannot be read as a file of COLMAP"
    ):
        tsr.io.load_cameras(tmp_path)


@pytest.mark.parametrize("frames", [3, [0, 7], [], slice(5, 9), "all", 0.5])
def test_frames_that_are_not_there(tmp_path, frames):
    with pytest.raises(ValueError, match="transforms.json has 3 pictures|takes none of the 3"):
        tsr.io.load_cameras(write_transforms(tmp_path), frames)


@pytest.mark.parametrize("scale", [0, -1, 1.5, np.nan])
def test_scales_that_are_refused(tmp_path, scale):
    with pytest.raises(ValueError, match="scale must lie above 0 and up to 1"):
        tsr.io.load_cameras(write_transforms(tmp_path), scale=scale)


def test_missing_pictures(backend, tmp_path):
    camera, paths = tsr.io.load_cameras(write_transforms(tmp_path), needs_grad=False)
    paths[1].unlink()
    with pytest.raises(ValueError, match="1 of 3 pictures are not there, the first is .*1.tif"):
        tsr.io.load_pictures(paths, camera)
    with pytest.raises(ValueError, match="2 paths, but cameras of 3 views"):
        tsr.io.load_pictures(paths[:2], camera)


def test_quaternions_of_all_rotations():
    quaternions = np.random.default_rng(0).normal(size=(50, 4))
    quaternions = np.concatenate([quaternions, np.eye(4), 1 - np.eye(4)])
    rotations = rotation_of(quaternions)
    np.testing.assert_allclose(rotation_of(quaternion_of(rotations)), rotations, atol=1e-14)
    assert (quaternion_of(rotations)[:, 0] >= 0).all()
    with pytest.raises(ValueError, match="a quaternion must not be 0"):
        rotation_of([0, 0, 0, 0])
