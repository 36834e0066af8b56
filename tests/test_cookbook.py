"""Each job of docs/cookbook.md does what it says, with small data and few steps."""

import re
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti

PAGE = Path(__file__).parents[1] / "docs" / "cookbook.md"
PREAMBLE, *SECTIONS = re.split(r"(?m)^## ", PAGE.read_text(encoding="utf-8"))
JOBS = {
    section.partition("\n")[0]: re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for section in SECTIONS
}
pytestmark = pytest.mark.cpu


def run(job: str, smaller: dict, **names) -> dict:
    """Runs a job's lines and returns their names.

    Args:
        job: its heading.
        smaller: what stands in the place of what the page says, once, to be quick.
        names: that the lines have beside those of the page's beginning.
    """
    program = "".join(JOBS[job])
    for old, new in smaller.items():
        assert program.count(old) == 1, old
        program = program.replace(old, new)
    names = {"np": np, "ti": ti, "tsr": tsr, **names}
    exec(compile(program, f"{PAGE.name}: {job}", "exec"), names)
    return names


LOG = {"step()\n": "step()\n    log.append(loss[None])\n"}  # of a loop with one optimizer


@pytest.fixture
def here(tmp_path, monkeypatch, backend):
    """An empty folder, in which the job runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ball(radius=1.0, level=2):
    """A picture around an icosphere."""
    vertices, faces = tsr.primitives.icosphere(level)
    uvs, uv_faces = tsr.primitives.globe_uvs(vertices, faces)
    picture = np.random.default_rng(0).uniform(0.2, 1.0, (4, 8, 3))
    paint = tsr.Material(base_color_texture=tsr.Texture(picture))
    return tsr.Mesh(radius * vertices, faces, uvs=uvs, uv_faces=uv_faces, materials=paint)


def test_all_jobs_are_here():
    assert len(JOBS) == 10
    here = Path(__file__).read_text(encoding="utf-8")
    assert [job for job in JOBS if f'"{job}"' not in here] == []


def test_a_textured_turntable(here):
    ball().save("spot.glb")
    run("A textured turntable", {"360, 6": "360, 90", "(256, 256)": "(32, 48)"})
    frames = imageio.imread("spot.gif")
    assert frames.shape == (4, 32, 48, 3)
    assert (frames[:, 0, 0] == 255).all() and (frames[:, 16, 24] < 255).all()
    assert np.ptp(frames[:, 16, 24].astype(int), axis=0).max() > 10, "it does not turn"


def test_colored_files(here):
    picture = np.random.default_rng(0).integers(0, 256, (4, 8, 3)).astype(np.uint8)
    tsr.images.save_image("planet.png", picture)
    names = run("A coloured PLY, a textured GLB", {"icosphere(4)": "icosphere(1)"})
    np.testing.assert_allclose(names["colors"], (1 + names["vertices"]) / 2, atol=0.5 / 255 + 1e-6)
    (material,) = tsr.Mesh.load("globe.glb").materials
    image = material.base_color_texture.image.to_numpy()
    np.testing.assert_array_equal(np.round(image * 255), picture)


def test_a_camera_of_opencv(here, capsys):
    """The drawn pixels have their middle where OpenCV's formula puts that of the part."""
    tsr.images.save_image("photo.png", np.full((60, 80, 3), 0.25))
    middle = np.array([0.6, 0.4, 0.2])
    vertices, faces = tsr.primitives.icosphere(2)
    tsr.Mesh(0.3 * vertices + middle, faces).save("part.obj")
    small = {"[[500.0, 0, 320], [0, 500, 240]": "[[62.5, 0, 40], [0, 62.5, 30]"}
    names = run("A camera of OpenCV, over its photograph", small)
    overlay = tsr.images.load_image("overlay.png")
    assert overlay.shape == (60, 80, 3)
    rows, columns = np.nonzero(np.abs(overlay - 64 / 255).max(axis=-1) > 1e-3)
    K, R, t = (names[name][0] for name in "KRt")
    x, y, depth = K @ (R @ middle + t)
    np.testing.assert_allclose([columns.mean(), rows.mean()], [x / depth, y / depth], atol=0.3)
    np.testing.assert_allclose(K, [[62.5, 0, 40], [0, 62.5, 30], [0, 0, 1]], atol=1e-4)
    assert "100% of the vertices" in capsys.readouterr().out


def test_maps(here):
    tsr.Mesh(*tsr.primitives.icosphere(3)).save("spot.glb")
    names = run("Depth, normals, ids, a mask", {"(480, 640)": "(48, 64)"})
    maps = np.load("maps.npz")
    mask, depth = maps["mask"], maps["depth"]
    assert mask.shape == (48, 64) and 0.3 < mask.mean() < 0.6
    distance = np.linalg.norm(names["camera"].eye.to_numpy()[0])
    np.testing.assert_allclose(depth[mask].min(), distance - 1, atol=0.05)
    assert np.isinf(depth[~mask]).all()
    lengths = np.linalg.norm(maps["normal_world"][mask], axis=-1)
    np.testing.assert_allclose(lengths, 1.0, atol=0.02)
    assert tsr.images.load_image("normals.png").shape == (48, 64, 3)


def test_shape_and_texture(here):
    """An ellipsoid, from pictures whose cameras are in a transforms.json."""
    (here / "capture").mkdir()
    eyes = tsr.orbit(2.0, [20, -25, 50] * 4, np.arange(12) * 30.0)
    projection = tsr.Intrinsics([[48.0, 0, 16], [0, 48.0, 16], [0, 0, 1]], (32, 32))
    cameras = tsr.Camera.look_at(eyes, projection=projection, needs_grad=False)
    thing = ball()
    thing.vertices = thing.vertices.to_numpy() * [0.6, 0.35, 0.5]
    images = tsr.Renderer(thing, cameras, (32, 32), shading=tsr.Unlit()).render()
    paths = [f"{view}.png" for view in range(12)]
    for path, image in zip(paths, images.to_numpy()):
        tsr.images.save_image(f"capture/{path}", image)
    transforms = tsr.camera_conventions.to_nerf(cameras, paths=paths)
    tsr.scripts.save("capture/transforms.json", transforms)
    log = []
    small = {"range(300)": "range(40)", "icosphere(3)": "icosphere(2)", "(64, 128, 3)": "(8, 16, 3)"}
    small["colors.step()\n"] = "colors.step()\n    log.append(loss[None])\n"
    run("Shape and texture from twelve views", small, log=log)
    assert log[-1] < 0.3 * log[0]
    found = tsr.Mesh.load("found.glb").vertices.to_numpy()
    sides = np.ptp(found, axis=0) / 2
    np.testing.assert_allclose(sides, [0.6, 0.35, 0.5], atol=0.07)


def test_a_room(here, capsys):
    box, faces = tsr.primitives.cube()
    colors = np.random.default_rng(0).uniform(0.2, 1, (8, 3))
    room = tsr.Mesh(box * [2.0, 1.2, 3.0], faces, vertex_colors=colors)
    room.save("room.glb")
    eye = np.array([0.3, 0.0, 2.2])
    camera = tsr.Camera.look_at(eye, (0.0, 0.0, -0.5), fov_y_degrees=70)
    image = tsr.Renderer(room, camera, (30, 40), shading=tsr.Unlit()).render()
    tsr.images.save_image("photo.png", image)
    log = []
    names = run("A camera in a room", {"range(150)": "range(40)", **LOG}, log=log)
    assert log[-1] < 0.5 * log[0]
    assert np.linalg.norm(names["guess"].eye.to_numpy()[0] - eye) < 0.15
    assert "view 0" in capsys.readouterr().out
