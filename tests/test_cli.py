"""The command line: what it draws, what it says, and that it leaves nothing half written."""

import json
import os
import pathlib
import subprocess
import sys

import imageio.v3 as imageio
import numpy as np
import pytest

from taichi_softras import cli, primitives
from taichi_softras.io import images
from taichi_softras.io.contents import MaterialArrays, MeshArrays, TextureArrays
from taichi_softras.io.describe import is_watertight
from taichi_softras.io.meshes import join_meshes, save_mesh

pytestmark = pytest.mark.cpu  # what it calls is tested on every backend

RED, BLUE = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)


@pytest.fixture
def meshes(tmp_path, monkeypatch):
    """A red cube with a texture, a blue one beside it with colours, in the folder it runs in."""
    monkeypatch.chdir(tmp_path)
    vertices, faces = primitives.cube()
    texture = TextureArrays("white", np.ones((2, 3, 3), np.float32))
    save_mesh(
        "red.glb",
        vertices,
        faces,
        uvs=np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]),
        uv_faces=np.tile([0, 1, 2], (len(faces), 1)),
        materials=[MaterialArrays("paint", RED, base_color_texture=texture)],
    )
    save_mesh("blue.ply", vertices + [3, 0, 0], faces, np.tile(BLUE, (len(vertices), 1)))
    return sorted(os.listdir())


@pytest.fixture
def drawn(backend, monkeypatch):
    """In the runtime that tests share."""
    monkeypatch.setattr(cli, "start", lambda arch: None)


def run(line: str) -> int:
    return cli.main(line.split())


def failure(line: str, capsys) -> tuple:
    """The code and the one line of a command that ends with an error."""
    with pytest.raises(SystemExit) as raised:
        run(line)
    code, said = raised.value.code, capsys.readouterr().err
    if isinstance(code, str):
        code, said = 1, said + code + "\n"
    assert said.count("\n") == 1 and said.startswith("taichi-softras: ")
    return code, said


def test_a_picture_is_framed_and_on_white(meshes, drawn, capsys):
    assert run("render red.glb -o out/red.png --size 40x30") == 0
    assert capsys.readouterr().out == f"{os.path.join('out', 'red.png')}\n"
    picture = images.load_image("out/red.png")
    assert picture.shape == (30, 40, 3) and os.listdir("out") == ["red.png"]
    np.testing.assert_array_equal(picture[0], 1.0)
    is_red = (picture[..., 0] > 0.2) & (picture[..., 1] < 0.2)
    assert is_red[15, 20] and 0.2 < is_red.mean() < 0.6
    rows = np.nonzero(is_red.any(axis=1))[0]
    assert 0.6 < np.ptp(rows) / 30 < 0.95


def test_several_meshes_are_one_scene_with_their_own_looks(meshes, drawn):
    run("render red.glb blue.ply -o both.png --size 48 --camera 0 0 --shading unlit")
    row = images.load_image("both.png")[24]
    reds, blues = (np.nonzero(np.abs(row - color).max(-1) < 0.02)[0] for color in (RED, BLUE))
    assert len(reds) > 8 and len(blues) > 8 and reds.max() < blues.min()


@pytest.mark.parametrize("color, expected", [("navy", (0, 0, 128)), ("#ff8000", (255, 128, 0))])
def test_a_background(color, expected, meshes, drawn):
    for shading in ("flat", "silhouette"):
        run(f"render red.glb -o a.png --size 16 --shading {shading} --background {color}")
        picture = imageio.imread("a.png")
        np.testing.assert_array_equal(picture[0], [expected] * 16)
        assert (picture[8, 8] != expected).any()


def test_the_cameras_of_a_capture(meshes, drawn, capsys):
    """As wide as they say, where they stand; with their distortion, of which large faces suffer."""
    pose = np.eye(4)
    frames = []
    for x in (0.0, 2.0):
        pose[:3, 3] = x, 0, 6
        frames.append({"file_path": "none.png", "transform_matrix": pose.tolist()})
    capture = {"w": 48, "h": 32, "fl_x": 40, "cx": 24, "cy": 16, "frames": frames}
    pathlib.Path("transforms.json").write_text(json.dumps(capture))
    assert run("render red.glb -o a.png --capture transforms.json") == 0
    assert capsys.readouterr().err == ""
    picture = images.load_image("a.png")
    assert picture.shape == (32, 96, 3)
    columns = [np.flatnonzero((view < 0.99).any((0, 2))) for view in np.split(picture, 2, axis=1)]
    ends = [(found[0], found[-1] + 1) for found in columns]
    np.testing.assert_allclose(ends, [(24 - 40 / 5, 24 + 40 / 5), (0, 24 - 40 / 7)], atol=1)
    pathlib.Path("transforms.json").write_text(json.dumps({**capture, "k1": -2.0}))
    run("render red.glb -o a.png --capture transforms.json")
    said = capsys.readouterr().err
    assert said.startswith("taichi-softras: warning: the distortion of a camera moves vertices")
    assert said.count("\n") == 1


def test_outputs_are_pictures_beside_it(meshes, drawn):
    outputs = "--shading unlit --outputs depth,normal_view,face_id"
    run(f"render red.glb -o a.png --size 32 --camera 0 0 {outputs}")
    pictures = {name: images.load_image(f"a_{name}.png") for name in outputs[26:].split(",")}
    assert all(picture.shape == (32, 32, 3) for picture in pictures.values())
    assert all((picture[0] == 0).all() for picture in pictures.values())
    middle = {name: picture[16, 16] for name, picture in pictures.items()}
    np.testing.assert_allclose(middle["depth"], 1.0, atol=0.01)  # nothing is nearer than the front
    np.testing.assert_allclose(middle["normal_view"], [0.5, 0.5, 1.0], atol=0.01)
    assert len(np.unique(pictures["face_id"].reshape(-1, 3), axis=0)) == 3  # two faces, nothing


def test_films_go_around(meshes, drawn):
    outputs = "--shading unlit --outputs depth,normal_view,face_id"  # kernels that are there
    run(f"render red.glb blue.ply -o a.gif --size 32 --views 4 {outputs}")
    film, depths = imageio.imread("a.gif"), imageio.imread("a_depth.gif")
    assert film.shape == depths.shape == (4, 32, 32, 3)
    columns = np.arange(32)
    sides = [(frame[..., 2] > 150)[..., None] & (frame[..., :1] < 100) for frame in film]
    at = [(side[..., 0].sum(0) * columns).sum() / max(side.sum(), 1) for side in sides]
    assert at[0] > 16 > at[2]  # the blue one comes to the other side


def test_views_of_a_picture_stand_in_rows(meshes, drawn):
    run("render red.glb -o a.png --size 16 --views 3")
    picture = images.load_image("a.png")
    assert picture.shape == (32, 32, 3) and (picture[16:, 16:] == 1).all()
    assert all(cell.min() < 0.5 for cell in (picture[:16, :16], picture[:16, 16:], picture[16:]))


@pytest.mark.parametrize("rasterizer", ["SoftAggregation", "k_nearest"])
@pytest.mark.parametrize("shading", ["Silhouette", "depth"])
def test_other_methods_and_shadings(rasterizer, shading, meshes, drawn):
    run(f"render red.glb -o a.png --size 16 --rasterizer {rasterizer} --shading {shading}")
    picture = images.load_image("a.png")
    assert (picture[0] > 0.9).all()
    assert (picture[8, 8] == 0).all() if shading == "Silhouette" else (picture[8, 8] > 0.3).all()


@pytest.mark.parametrize(
    "line, code, word",
    [
        ("", 2, "COMMAND"),
        ("draw", 2, "'draw'"),
        ("render red.glb", 2, "--out"),
        ("render red.glb -o a.png --colour", 2, "--colour"),
        ("render red.glb -o a.bmp", 2, "a.bmp must end in .png"),
        ("render red.glb -o a.png --size 0", 2, "'0'"),
        ("render red.glb -o a.png --size 3x", 2, "'3x'"),
        ("render red.glb -o a.png --views 0", 2, "'0'"),
        ("render red.glb -o a.png --camera 1 x", 2, "'x'"),
        ("render red.glb -o a.png --rasterizer ray", 2, "'ray' is none of"),
        ("render red.glb -o a.png --shading toon", 2, "'toon' is none of"),
        ("render red.glb -o a.png --outputs depth,z", 2, "'z' is none of"),
        ("render red.glb -o a.png --arch abacus", 2, "'abacus'"),
        ("render none.obj -o a/b.png", 1, "none.obj is not there"),
        ("render broken.glb -o a/b.png", 1, "broken.glb cannot be read"),
        ("render red.glb -o red.glb/a.png", 1, "red.glb"),
        ("render red.glb -o a.png --fov 180", 1, "fov_y_degrees"),
        ("render red.glb -o a.png --background sky", 2, "'sky'"),
        ("render red.glb -o a.png --capture none.json", 1, "none.json cannot be read"),
        ("render red.glb -o a.png --capture .", 1, "has no model of COLMAP"),
        ("render red.glb -o a.png --capture none.json --views 2", 2, "leave out --views"),
        ("render blue.ply -o a.png --outputs uv", 1, "no uvs"),
        ("info none.obj", 1, "none.obj is not there"),
    ],
)
def test_errors_are_a_line_and_leave_nothing(line, code, word, meshes, drawn, capsys):
    with open("broken.glb", "wb") as file:
        file.write(b"glTF")
    found, said = failure(line, capsys)
    assert found == code and word in said
    assert sorted(os.listdir()) == sorted([*meshes, "broken.glb"])


def test_a_film_that_needs_a_package(meshes, monkeypatch, capsys):
    monkeypatch.setattr(images.importlib.util, "find_spec", lambda name: None)
    code, said = failure("render red.glb -o a.mp4", capsys)
    assert code == 1 and "pip install imageio-ffmpeg" in said and sorted(os.listdir()) == meshes


def test_a_backend_that_does_not_start(meshes, monkeypatch, capsys):
    def start(arch):
        raise RuntimeError(f"{arch} does not start\nhere")

    monkeypatch.setattr(cli, "start", start)
    code, said = failure("render red.glb -o a.png --arch cuda", capsys)
    assert (code, said) == (1, "taichi-softras: cuda does not start here\n")


def test_info_says_what_is_asked_first(meshes, capsys):
    assert run("info red.glb") == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    facts = {name: fact.strip() for name, fact in lines.items()}
    assert facts["file"] == "red.glb" and facts["UVs"] == "3" and facts["colours"] == "none"
    assert (facts["vertices"], facts["faces"], facts["area"]) == ("8", "12", "24")
    assert facts["bounds"] == "(-1, -1, -1) to (1, 1, 1)" and facts["watertight"] == "yes"
    assert facts["materials"] == "1: paint" and facts["textures"].endswith(" 3 x 2")
    assert run("info blue.ply red.glb") == 0
    assert "of vertices" in capsys.readouterr().out


def test_watertight_is_a_matter_of_places():
    vertices, faces = primitives.icosphere(0)
    apart = MeshArrays(vertices[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3))
    assert is_watertight(apart)
    assert not is_watertight(MeshArrays(vertices, faces[1:]))
    turned = np.concatenate([faces[:1, ::-1], faces[1:]])
    assert not is_watertight(MeshArrays(vertices, turned))


def test_joined_meshes_keep_what_is_theirs():
    vertices, faces = primitives.triangle()
    plain = MeshArrays(vertices, faces)
    painted = MeshArrays(
        vertices + 1,
        faces,
        np.full((3, 3), 0.5),
        uvs=np.array([[0.25, 0.5]]),
        uv_faces=faces * 0,
        materials=(MaterialArrays("a"), MaterialArrays("b")),
        face_materials=np.array([1]),
    )
    assert join_meshes([painted]) is painted
    joined = join_meshes([plain, painted, plain])
    np.testing.assert_array_equal(joined.faces, [*faces, *(faces + 3), *(faces + 6)])
    np.testing.assert_array_equal(joined.vertices[3:6], vertices + 1)
    np.testing.assert_array_equal(joined.vertex_colors[[0, 3, 6]], [[1] * 3, [0.5] * 3, [1] * 3])
    names = [joined.materials[k].name for k in joined.face_materials]
    assert names == ["", "b", ""] and len(joined.materials) == 4
    np.testing.assert_array_equal(joined.uvs[joined.uv_faces[1]], np.tile([0.25, 0.5], (3, 1)))
    assert join_meshes([plain, plain]).uvs is None


def test_warnings_are_a_line_each(meshes, capsys):
    with open("a.obj", "w") as file:
        file.write("mtllib none.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    run("info a.obj")
    said = capsys.readouterr().err
    assert said.startswith("taichi-softras: warning: a.obj: ") and said.count("\n") == 1


def test_the_whole_program(meshes):
    """As it is started: nothing on stdout but the result, no banner of the runtime."""
    command = [sys.executable, "-m", "taichi_softras", "render", "blue.ply", "-o", "a.png"]
    ended = subprocess.run(
        [*command, "--size", "24", "--shading", "unlit"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "a.png\n", "")
    assert images.load_image("a.png").shape == (24, 24, 3)


def test_devices(monkeypatch, capsys):
    """What a backend does, which may be to take its process down."""
    monkeypatch.setattr(cli, "ARCHS", ("cpu", "cuda", "vulkan", "metal"))
    monkeypatch.setattr(cli, "PATIENCE", 2)
    wait = "import time; time.sleep(60)"
    codes = {
        "cpu": "print('area')",
        "cuda": "raise RuntimeError('cuda does not start here: no driver')",
        "vulkan": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "metal": wait,
    }
    plain_run = subprocess.run

    def run_code(command, **options):
        return plain_run([sys.executable, "-c", codes[command[-1]]], **options)

    monkeypatch.setattr(cli.subprocess, "run", run_code)
    assert run("devices") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("taichi-softras ") and len(lines) == 5
    assert lines[1].startswith("cpu     draws (")
    assert lines[2] == "cuda    does not start here: no driver"
    assert lines[3].startswith("vulkan  crashes (signal 15)" if os.name == "posix" else "vulkan")
    assert lines[4] == "metal   does not answer in 2 s"
    codes["cpu"] = "raise SystemExit(3)"
    assert run("devices") == 1
