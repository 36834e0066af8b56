"""The pages for those who come from other libraries: what they call ours runs, and is true.

All code in the columns "ours" runs with small data. Tables of settings are held against those with
which the originals' pictures are met, other conversions against what they stand for.
"""

import ast
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti
from tests import tolerances
from tests.reference import nmr_goldens, pytorch3d_goldens
from tests.reference.goldens import FOLDERS, SOFTRAS_CASES, load_softras
from tests.test_cookbook import run_lines

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["from_pytorch3d", "from_softras", "from_neural_renderer"]
SIZE = H, W = 16, 24
POINT = np.array([0.3, 0.2, -0.4])  # of the world
# A camera of PyTorch3D, x_view = x_world ROTATION + SHIFT; of OpenCV, ROTATION.T x_world + SHIFT
ROTATION = np.array([[2.0, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3
SHIFT = np.array([0.1, -0.2, 3.0])
K = np.array([[20.0, 0, 11], [0, 18, 9], [0, 0, 1]])


def tables(page):
    """(head of the second column, rows of cells) of each table."""
    found = re.findall(r"(?m)^\|(.*)\|\n\|[-|]+\|\n((?:\|.*\|\n)+)", read(page))
    assert len(found) == read(page).count("|---|---|---|\n")
    for head, body in found:
        rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in body.splitlines()]
        assert {len(row) for row in rows} == {3}, head
        yield head.split("|")[1].strip(), rows


def read(page):
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def codes(cell):
    """The codes of a cell, one after another."""
    return re.findall(r"`([^`]+)`", cell)


def blocks(page):
    return re.findall(r"```python\n(.*?)```", read(page), re.DOTALL)


def settings(page, **given):
    """The arguments that the page makes of settings with the originals' names."""
    ((method, rows),) = [table for table in tables(page) if table[0].startswith("argument of")]
    arguments = {}
    for _, ours, _ in rows:
        arguments |= eval(f"dict({''.join(codes(ours))})", dict(given))
    return getattr(tsr, *codes(method))(**arguments)


@pytest.fixture
def names(backend, tmp_path, monkeypatch):
    """What the tables call by name, small."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    vertices, faces = tsr.primitives.icosphere(1)
    verts_uvs, faces_uvs = tsr.primitives.globe_uvs(vertices, faces)
    mesh, other = tsr.Mesh(vertices, faces), tsr.Mesh(vertices, faces)
    mesh.save("mesh.obj")
    camera = tsr.Camera.look_at((0, 1, 3))
    renderer = tsr.Renderer(mesh, camera, SIZE, shading=tsr.Silhouette())
    image = renderer.render().to_numpy()
    corners = rng.uniform(-1, 1, (1, 5, 3, 3)) + [0, 0, 3]

    names = dict(np=np, ti=ti, tsr=tsr, mesh=mesh, other=other, camera=camera, renderer=renderer)
    names |= dict(loss=ti.field(float, (), needs_grad=True), targets=np.ones_like(image[..., 0]))
    names |= dict(image=image, path="mesh.obj", paths=["mesh.obj", "mesh.obj"])
    # meshes and textures
    names |= dict(vertices=vertices, faces=faces, v1=vertices, f1=faces)
    names |= dict(v2=vertices[:12], f2=np.array([[0, 1, 2]]), corners=corners)
    names |= dict(colors=rng.random(vertices.shape), atlas=rng.random((len(faces), 4, 4, 3)))
    names |= dict(picture=rng.random((6, 8, 3)), verts_uvs=verts_uvs, faces_uvs=faces_uvs)
    # cameras
    names |= dict(dist=3.0, elev=20.0, azim=30.0, distance=3.0, elevation=20.0, azimuth=30.0)
    names |= dict(eye=(0, 1, 3), eyes=tsr.orbit(3, 20, [0, 120, 240]), at=(0, 0, 0), up=(0, 1, 0))
    names |= dict(viewing_angle=30.0, viewing_scale=0.8, direction=(0, 0.6, -1), top=1.4)
    names |= dict(R=ROTATION, T=SHIFT, fov=50.0, R_opencv=ROTATION.T, tvec=SHIFT, t=SHIFT)
    names |= dict(f=20.0, p=(11.0, 9.0), f_ndc=2.5, p_ndc=(0.125, -0.125), H=H, W=W, S=16)
    names |= dict(orig_size=20, dist_coeffs=(0.01, 0, 0, 0, 0))
    # numbers of edges, lights, losses
    names |= dict(sigma=1e-4, c=1e-4, sigma_val=1e-4, dist_eps=1e-4, target_length=0.1)
    names |= dict(ambient_color=(0.4, 0.4, 0.4), diffuse_color=(0.5, 0.5, 0.4), location=(0, 1, 2))
    names |= dict(specular_color=(0.1, 0.1, 0.1), color=(1, 1, 1), intensity=0.5)
    return names


def run_row(page, start, names):
    """Runs the codes of the one row whose first cell has this."""
    rows = [row for head, rows in tables(page) if head == "ours" for row in rows]
    (ours,) = [ours for theirs, ours, _ in rows if start in theirs]
    for code in codes(ours):
        exec(code, names)


def ndc(camera):
    """(x, y) of `POINT`, where the shorter side of a wide image spans [-1, 1]."""
    aspect = camera.aspect or 1.0
    view_from_world, clip_from_view = camera.matrices(aspect)
    x, y, _, w = clip_from_view[0] @ view_from_world[0] @ [*POINT, 1]
    return np.array([aspect * x, y]) / w


def assert_same_settings(actual, wanted):
    """To single precision, in which the originals keep theirs."""
    assert type(actual) is type(wanted)
    for one in dataclasses.fields(wanted):
        value, expected = getattr(actual, one.name), getattr(wanted, one.name)
        if isinstance(expected, (str, bool, type(None))):
            assert value == expected, one.name
        else:
            np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-9, err_msg=one.name)


def run_page(page, names):
    """Runs the codes of the tables in order, with and into `names`; returns their number."""
    count = 0
    for head, rows in tables(page):
        for row in rows if head == "ours" else []:
            for code in codes(row[1]):
                try:
                    exec(compile(code, f"{page}.md", "exec"), names)
                except Exception as error:
                    raise AssertionError(f"{page}.md: {code}") from error
                count += 1
    return count


@pytest.mark.parametrize("page", PAGES)
def test_what_is_left_out(page):
    """The defaults that a table of settings tells, and that it has all settings of the method."""
    ((method, rows),) = [table for table in tables(page) if table[0].startswith("argument of")]
    fields = {one.name: one.default for one in dataclasses.fields(getattr(tsr, *codes(method)))}
    told = {}
    for _, ours, differs in rows:
        (default,) = re.findall(r"Left out: `([^`]+)`", differs)
        told["".join(codes(ours)).partition("=")[0]] = ast.literal_eval(default)
    assert told == {name: fields[name] for name in told}
    assert set(fields) - set(told) <= {"sigma_pixels", "blend"}


# --- PyTorch3D ---


@pytest.mark.cpu
def test_tables_of_pytorch3d(names):
    assert run_page("from_pytorch3d", names) > 60
    assert names["fragments"].pix_to_face.shape == (1, H, W, 4)
    # what edges reach, by what the methods say
    nearest, by_pixels = (tsr.KNearest(**{name: names[name]}) for name in ("sigma", "sigma_pixels"))
    assert nearest.reach(SIZE) == pytest.approx(names["blur_radius"])
    assert by_pixels.sigma_ndc(SIZE) == pytest.approx(1e-4) == names["sigma"]
    assert names["c"] == pytest.approx(1e-4)
    soft = tsr.SoftAggregation(sigma=names["sigma"], coverage_cutoff=names["c"])
    assert soft.reach(SIZE) == pytest.approx(names["blur_radius"])


def test_numbers_of_sigma():
    """What the pages say of edges in pixels."""
    names = {"np": np, "sigma": 1e-4, "c": 1e-4, "S": 64}
    run_row("from_pytorch3d", "blur radius, where", names)
    assert names["blur_radius"] == pytest.approx(9.21e-4, rel=1e-3)
    run_row("from_pytorch3d", "pixels that a face", names)
    assert names["reach"] == pytest.approx(0.97, abs=5e-3)
    for sigma_val, size, expected in ((1e-5, 256, 1.2), (1e-4, 64, 0.97)):
        names = {"np": np, "sigma_val": sigma_val, "dist_eps": 1e-4, "S": size}
        run_row("from_softras", "pixels that a face", names)
        assert names["reach"] == pytest.approx(expected, rel=0.03)


@pytest.mark.cpu
def test_cameras_of_pytorch3d(names):
    """By their formulas: x_view = x_world R + T, x to the left; pixels from the image's corner."""
    x, y, z = POINT @ ROTATION + SHIFT
    u, v = 11 - 20 * x / z, 9 - 20 * y / z
    u_opencv, v_opencv, depth = K @ (ROTATION.T @ POINT + SHIFT)
    expected = {
        "FoVPerspectiveCameras(": np.array([-x, y]) / z / np.tan(np.radians(25.0)),
        "FoVOrthographicCameras(": np.array([-x, y]) / 1.4,
        "PerspectiveCameras(focal": of_pixels(u, v),
        "the same in NDC": [-(2.5 * x / z + 0.125), 2.5 * y / z - 0.125],
        "cameras_from_opencv": of_pixels(u_opencv / depth, v_opencv / depth),
    }
    for start, place in expected.items():
        if start.startswith("cameras_from"):
            names["K"] = K
        run_row("from_pytorch3d", start, names)
        np.testing.assert_allclose(ndc(names["camera"]), place, atol=1e-5, err_msg=start)
    names["camera"] = tsr.camera_conventions.pytorch3d(ROTATION, SHIFT, 50.0)
    run_row("from_pytorch3d", "the way back", names)
    np.testing.assert_allclose(names["R"][0], ROTATION, atol=1e-5)
    np.testing.assert_allclose(names["fov"], 50.0, rtol=1e-5)


def of_pixels(u, v):
    """NDC of a place in pixels from the upper left corner of the image."""
    return np.array([2 * u - W, H - 2 * v]) / min(SIZE)


@pytest.mark.parametrize("name", pytorch3d_goldens.CASES)
def test_settings_of_pytorch3d(name):
    golden = pytorch3d_goldens.load(name)
    given = {**golden.parameters, "background_color": golden.parameters["background"]}
    expected = tsr.KNearest(**golden.settings, **golden.numbers)
    assert_same_settings(settings("from_pytorch3d", **given), expected)
    if golden.settings["blur_radius"]:  # as the page makes it of sigma
        names = {"np": np, "sigma": golden.parameters["sigma"], "c": 1e-4}
        run_row("from_pytorch3d", "blur radius, where", names)
        assert names["blur_radius"] == pytest.approx(golden.settings["blur_radius"])


@pytest.mark.cpu
def test_the_same_picture(backend):
    """The page's scene with PyTorch3D's data: camera, UVs, texture, light, settings."""
    golden = pytorch3d_goldens.load("softphong_uv_box")
    light = {key: np.array(value[0]) for key, value in golden.parameters["light_params"].items()}
    given = {**golden.parameters, **golden.parameters["material"], **light, **golden.data}
    given |= dict(verts=golden.vertices, faces_uvs=golden.faces, image_size=golden.image_size)
    given |= dict(maps=given["texture_map"], verts_uvs=given["vertex_uvs"])
    given |= dict(fov=given["fov_y_degrees"])
    (program,) = [block for block in blocks("from_pytorch3d") if "import torch" not in block]
    image = run_lines(program, {}, **given)["image"].to_numpy()
    assert np.abs(image[0] - golden.image).max() < tolerances.PYTORCH3D_IMAGE


# --- SoftRas and Neural Renderer ---


@pytest.mark.cpu
def test_tables_of_softras(names):
    rng = np.random.default_rng(1)
    names |= dict(R=3, textures=rng.random((len(names["faces"]), 9, 3)))
    names |= dict(face_vertices=names["corners"], face_textures=rng.random((1, 5, 3, 3)))
    assert run_page("from_softras", names) > 30
    assert names["sigma_val"] == pytest.approx(1e-4)


@pytest.mark.parametrize("name", SOFTRAS_CASES)
def test_settings_of_softras(name):
    golden = load_softras(name)
    path = next(filter(Path.exists, (folder / f"softras_{name}.npz" for folder in FOLDERS)))
    with np.load(path) as archive:
        meta = json.loads(str(archive["meta"]))
    expected = tsr.SoftAggregation(**golden.parameters)
    assert_same_settings(settings("from_softras", **meta), expected)


@pytest.mark.cpu
@pytest.mark.parametrize("page", PAGES[1:])
def test_mirrored_cameras(names, page):
    """By their formulas: axes of the eye with x = up x forward, half of the angle of view."""
    azimuth, elevation, half_angle = np.radians([30.0, 20.0, 30.0])
    around = np.array([np.sin(azimuth), -np.cos(azimuth)]) * np.cos(elevation)
    by_angles = 3 * np.array([around[0], np.sin(elevation), around[1]])
    eye, direction = (np.array(names[name], float) for name in ("eye", "direction"))
    turned = np.array([-1, 1])  # the columns of the image
    scale, of_eye = 1.0, "an eye"
    if page == "from_softras":
        scale, of_eye = names["viewing_scale"], "set_eyes("
    expected = {
        of_eye: turned * perspective(seen(eye, -eye), half_angle),
        'camera_mode="look"': turned * perspective(seen(eye, direction), half_angle),
        "perspective=False": turned * scale * seen(eye, -eye)[:2],
        "azimuth)`": perspective(seen(by_angles, -by_angles), half_angle),
    }
    for start, place in expected.items():
        run_row(page, start, names)
        np.testing.assert_allclose(ndc(names["camera"]), place, atol=1e-5, err_msg=start)
    if page == "from_softras":
        run_row(page, "the eye of angles", names)
        np.testing.assert_allclose(names["eye"][0], by_angles)


def seen(eye, forward):
    """`POINT` in the axes of their camera."""
    forward = forward / np.linalg.norm(forward)
    x = np.cross([0, 1, 0], forward)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(forward, x), forward]) @ (POINT - eye)


def perspective(point, half_angle):
    return point[:2] / point[2] / np.tan(half_angle)


@pytest.mark.cpu
def test_tables_of_neural_renderer(names):
    rng = np.random.default_rng(1)
    names |= dict(textures=rng.random((len(names["faces"]), 2, 2, 2, 3)), K=K, R=ROTATION.T)
    names |= dict(face_vertices=names["corners"], face_textures=rng.random((1, 5, 2, 2, 2, 3)))
    names |= dict(dist_coeffs=None, targets=np.ones((1, 16, 16)))  # no kernels for lenses
    assert run_page("from_neural_renderer", names) > 25


@pytest.mark.cpu
def test_the_projection_of_neural_renderer(names):
    """K counts pixels from the corner of the image, in x, y and depth of OpenCV."""
    names |= dict(K=K, R=ROTATION.T)
    run_row("from_neural_renderer", 'camera_mode="projection"', names)
    u, v, depth = K @ (ROTATION.T @ POINT + SHIFT)
    expected = np.array([2 * u / depth - 20, 20 - 2 * v / depth]) / 20
    np.testing.assert_allclose(ndc(names["camera"]), expected, atol=1e-5)
    np.testing.assert_allclose(names["camera"].distortion.to_numpy()[0], names["dist_coeffs"])


@pytest.mark.cpu
def test_losses_of_neural_renderer(names):
    run_row("from_neural_renderer", "sum of squares", names)
    expected = ((names["image"][..., -1] - names["targets"]) ** 2).sum()
    assert names["loss"][None] == pytest.approx(expected, rel=1e-4)


@pytest.mark.cpu
def test_objects_are_normalised(names):
    names["mesh"] = tsr.Mesh([(1, 2, 3), (5, 2, 3), (1, 4, 4)], [(0, 1, 2)])
    run_row("from_neural_renderer", "normalization=True", names)
    expected = [(-1, -0.5, -0.25), (1, -0.5, -0.25), (-1, 0.5, 0.25)]
    np.testing.assert_allclose(names["mesh"].vertices.to_numpy(), expected)


@pytest.mark.cpu
def test_a_picture_of_neural_renderer(backend):
    """Drawn with `fill_back` there, so each face is there twice; here by `double_sided`."""
    golden = nmr_goldens.load_nmr("ico2_rgbad_aa_fillback")
    once = golden.corners.shape[1] // 2
    given = {**golden.parameters, "rasterizer_eps": golden.parameters["eps"], "fill_back": True}
    method = settings("from_neural_renderer", background_color=given.pop("background"), **given)
    assert_same_settings(
        dataclasses.replace(method, double_sided=False),
        tsr.ApproximateGradient(**golden.parameters),
    )
    image, _ = tsr.rasterize(
        golden.corners[:, :once],
        golden.colors[:, :once],
        image_size=golden.image_size,
        rasterizer=method,
    )
    for actual, expected in ((image[..., :3], golden.rgb), (image[..., 3], golden.alpha)):
        np.testing.assert_allclose(actual, expected, atol=tolerances.NMR_IMAGE_SINGLE)


# --- PyTorch ---


@pytest.mark.cpu
@pytest.mark.parametrize("page", PAGES)
def test_programs_in_pytorch(page, names):
    # "torch" alone would find the folder tests/torch
    pytest.importorskip("torch.nn", reason="PyTorch is not installed")
    import torch

    (program,) = [block for block in blocks(page) if "import torch" in block]
    names["targets"] = torch.ones(1, 64, 64)
    found = run_lines(program, {}, **names)
    gradient = found["offsets" if page == "from_pytorch3d" else "points"].grad
    assert 0 < float(gradient.abs().max()) < np.inf
    if page == "from_pytorch3d":
        assert found["images"].shape == (2, 64, 64, 1)
        names["target_length"] = 0.0
        run_row(page, "mesh_edge_loss", names)
        assert float(found["edge_loss"].detach()) == pytest.approx(names["loss"][None], rel=1e-5)
