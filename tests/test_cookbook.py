"""Each job of docs/cookbook.md does what it says, with small data and few steps; README runs.

Two programs of README have their tests elsewhere: `test_runtimes` and `test_materials`.
"""

import re
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti

PAGE = Path(__file__).parents[1] / "docs" / "cookbook.md"
README = PAGE.parents[1] / "README.md"
PREAMBLE, *SECTIONS = re.split(r"(?m)^## ", PAGE.read_text(encoding="utf-8"))
JOBS = {
    section.partition("\n")[0]: re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for section in SECTIONS
}
pytestmark = pytest.mark.cpu


def run(job: str, smaller: dict, **names) -> dict:
    """Runs the lines of a job, by its heading, and returns their names."""
    return run_lines("".join(JOBS[job]), smaller, **names)


def run_lines(program: str, smaller: dict, **names) -> dict:
    """Runs lines of a page and returns their names.

    Args:
        program: the lines; those that begin a program are left out.
        smaller: what stands in the place of what the page says, once, to be quick.
        names: that the lines have beside those of the page's beginning.
    """
    program = re.sub(r"(?m)^(import taichi|ti\.init).*\n", "", program)
    for old, new in smaller.items():
        assert program.count(old) == 1, old
        program = program.replace(old, new)
    names = {"np": np, "ti": ti, "tsr": tsr, **names}
    exec(compile(program, "lines of a page", "exec"), names)
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


def test_two_poses(here):
    vertices, faces = tsr.primitives.cube()
    colors = np.random.default_rng(1).uniform(size=(8, 3))
    tsr.Mesh(0.35 * vertices, faces, vertex_colors=colors).save("box.glb")
    tsr.Mesh(0.35 * vertices * [1, 0.3, 1], faces, vertex_colors=colors[::-1]).save("plane.glb")
    rotation, translation = [[0, 0.3, 0], [0.2, 0, 0.1]], [[-0.45, 0.05, 0], [0.42, 0, 0.05]]
    scene = tsr.Scene([tsr.Mesh.load("box.glb"), tsr.Mesh.load("plane.glb")], rotation, translation)
    camera = tsr.Camera.look_at((0, 0.6, 2.4), fov_y_degrees=40, needs_grad=False)
    rasterizer = tsr.Prefiltered(sigma_pixels=2.0)
    tsr.images.save_image("photo.png", tsr.Renderer(scene, camera, (72, 96), rasterizer).render())
    names = run("Two objects and their poses", {"range(150)": "range(100)"})
    found = names["scene"]
    np.testing.assert_allclose(found.rotation.to_numpy(), rotation, atol=0.02)
    np.testing.assert_allclose(found.translation.to_numpy(), translation, atol=0.01)


@pytest.fixture
def capture(here):
    """Twelve pictures of an ellipsoid, and their cameras in a transforms.json."""
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


def test_shape_and_texture(capture):
    log = []
    small = {
        "range(300)": "range(40)",
        "icosphere(3)": "icosphere(2)",
        "(64, 128, 3)": "(8, 16, 3)",
    }
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
    image = tsr.Renderer(room, camera, (30, 40), tsr.Prefiltered(), tsr.Unlit()).render()
    tsr.images.save_image("photo.png", image)
    log = []
    names = run("A camera in a room", {"range(150)": "range(40)", **LOG}, log=log)
    assert log[-1] < 0.1 * log[0]
    assert np.linalg.norm(names["guess"].eye.to_numpy()[0] - eye) < 0.1
    assert "view 0" in capsys.readouterr().out


def masks_of(meshes, cameras):
    """(B, 32, 32), one silhouette after another."""
    views = [
        tsr.Renderer(mesh, camera, (32, 32), shading=tsr.Silhouette()).render().to_numpy()[..., -1]
        for mesh, camera in zip(meshes, cameras)
    ]
    return np.concatenate(views)


def test_a_batch(here):
    camera = tsr.Camera.look_at((0, 1, 3), fov_y_degrees=50, needs_grad=False)
    shapes = tsr.primitives.icosphere(2), tsr.primitives.torus(), tsr.primitives.icosphere(3)
    meshes = [tsr.Mesh(0.8 * vertices, faces) for vertices, faces in shapes]
    np.save("masks.npy", masks_of(meshes, [camera] * 3))
    names = run("A batch of meshes", {"range(200)": "range(40)", **LOG}, log=(log := []))
    assert log[-1] < 0.3 * log[0]
    assert [len(found) for found in names["found"]] == [len(vertices) for vertices, _ in shapes]


def test_remeshing(here):
    eyes = tsr.orbit(3.0, [20, -25, 50] * 4, np.arange(0, 360, 30))
    cameras = tsr.Camera.look_at(eyes, fov_y_degrees=50, needs_grad=False)
    vertices, faces = tsr.primitives.icosphere(3)
    np.save("masks.npy", masks_of([tsr.Mesh(vertices * [1.0, 0.7, 0.8], faces)], [cameras]))
    small = {"range(300)": "range(60)", "(100, 200)": "(20, 40)", **LOG}
    run("Remeshing in a loop", small, log=(log := []))
    assert log[-1] < 0.3 * log[0]
    assert tsr.Mesh.load("found.obj").num_faces == 1280


def test_a_notebook(here, monkeypatch):
    """Its cells in a kernel of Jupyter: three pictures, and a bar that reaches its end."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    tsr.Mesh(*tsr.primitives.torus()).save("spot.glb")
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parents[1]))
    (beginning,) = re.findall(r"```python\n(.*?)```", PREAMBLE, re.DOTALL)
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(c) for c in [beginning, *JOBS["A notebook"]]]
    nbclient.NotebookClient(notebook, timeout=300).execute()
    outputs = [[dict(output.get("data", {})) for output in c.outputs] for c in notebook.cells]
    assert "image/png" in outputs[1][-1] and "image/png" in outputs[2][-1]
    assert "image/png" in outputs[3][-1]
    assert any("100 of 100" in str(data.get("text/html")) for data in outputs[3])


# --- README ---


def readme(part: str, smaller: dict, **names) -> dict:
    """Runs the block of README that has this part."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (program,) = (block for block in blocks if part in block)
    return run_lines(program, smaller, **names)


def test_readme_draws(here):
    ball().save("spot.glb")
    readme('Mesh.load("spot.glb")', {"(512, 512)": "(32, 32)"})
    image = tsr.images.load_image("spot.png")
    assert image.shape == (32, 32, 4) and 0.5 < image[..., 3].mean() < 0.8


def test_readme_films_a_simulation(here):
    """The gradient of the film reaches what moves the mesh: it should be faster."""
    frames, (vertices, faces) = 64, tsr.primitives.icosphere(1)
    x = ti.Vector.field(3, float, (frames, len(vertices)), needs_grad=True)
    speed, loss = (ti.field(float, (), needs_grad=True) for _ in range(2))

    @ti.kernel
    def advance(step: int):
        for i in range(x.shape[1]):
            x[step, i] = x[step - 1, i] + ti.Vector([0.01 * speed[None], 0.0, 0.0])

    def reset():
        rest = np.zeros((frames, *vertices.shape), np.float32)
        rest[0] = vertices
        x.from_numpy(rest)

    camera = tsr.Camera.look_at((0, 0, 4), fov_y_degrees=60, needs_grad=False)
    names = {"x": x, "faces": faces, "camera": camera, "T": frames, "loss": loss}
    film = np.zeros((2, 32, 32, 4), np.float32)
    for speed[None] in (0.7, 0.5):
        reset()
        run_names = readme(
            "range(0, T, 32)", {"(256, 256)": "(32, 32)"}, **names, film=film, advance=advance
        )
        film = run_names["renderer"].image.to_numpy()
    assert loss[None] > 0 and speed.grad[None] < 0


def test_readme_takes_photographs(capture):
    names = readme("scale=0.25", {})
    assert names["pictures"].shape == (12, 8, 8, 3) and names["masks"].shape == (12, 8, 8)


def test_readme_draws_several_meshes(here):
    meshes = [tsr.primitives.icosphere(level) for level in (1, 2)]
    names = dict(zip(("vertices", "faces", "more_vertices", "more_faces"), meshes[0] + meshes[1]))
    names["mesh"], names["other"] = (tsr.Mesh(*mesh) for mesh in meshes)
    names = readme("tsr.Scene(", {}, **names)
    assert names["scene"].num_faces == 80 + 320 and names["batch"].num_meshes == 2
    assert names["mesh"].num_faces == 320
