"""What is seen without saying how: previews, and what notebooks show."""

import io
import sys
import types

import imageio.v3 as imageio
import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.io import notebook, viewing
from taichi_softras.preview import Preview, cameras_around, shading_of

pytestmark = [pytest.mark.usefixtures("backend"), pytest.mark.cpu]  # what the host does


def decoded(png: bytes) -> np.ndarray:
    return imageio.imread(io.BytesIO(png), extension=".png")


@pytest.fixture
def shown(monkeypatch):
    """In the cell of a notebook, what it displays."""
    found = []
    handle = types.SimpleNamespace(update=found.append)

    def display(item, display_id=False):
        found.append(item)
        return handle if display_id else None

    shell = types.SimpleNamespace(kernel=object())
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell
    module.display = types.ModuleType("IPython.display")
    module.display.display = display
    module.display.HTML = str
    module.display.Image = lambda data: data
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    return found


def test_all_views_stand_at_one_distance_and_the_light_goes_along():
    mesh = tsr.Mesh(np.array(tsr.primitives.cube()[0]) * [3, 1, 1], tsr.primitives.cube()[1])
    cameras = cameras_around(mesh, np.arange(4) * 90.0)
    preview = Preview(mesh, cameras, image_size=(24, 24), shading=tsr.Flat())
    distances = np.linalg.norm(preview.cameras.eye.to_numpy(), axis=-1)
    np.testing.assert_allclose(distances, distances[0], rtol=1e-6)
    pictures = [preview.draw(view)["image"] for view in range(4)]
    # A half turn of a box about y: the same picture, if light comes from beside the camera
    np.testing.assert_allclose(pictures[0], pictures[2], atol=1e-3)
    assert np.abs(pictures[0] - pictures[1]).max() > 0.1


def test_the_first_frame_of_a_mesh_that_moves_and_from_the_pole():
    vertices, faces = tsr.primitives.cube()
    mesh = tsr.Mesh(np.stack([vertices, vertices * 0.1]), faces)
    cameras = cameras_around(mesh, elevation_degrees=90.0)
    picture = Preview(mesh, cameras, image_size=(16, 16)).draw()["image"]
    assert (picture[8, 8] < 0.99).all() and (picture < 0.99).all(-1).mean() > 0.2


def test_materials_say_the_shading():
    vertices, faces = tsr.primitives.triangle()
    shiny = tsr.Mesh(vertices, faces, materials=tsr.Material(metallic=0.5))
    matt = tsr.Mesh(vertices, faces, materials=tsr.Material(specular=(1, 1, 1)))
    assert shading_of(shiny) == tsr.PhysicallyBased() and shading_of(matt) == tsr.Phong()


def test_a_mesh_and_a_renderer_are_pictures():
    mesh = tsr.Mesh(*tsr.primitives.cube())
    assert decoded(mesh._repr_png_()).shape == (256, 256, 3)
    cameras = tsr.Camera.framing(mesh, azimuth_degrees=[0.0, 90.0])
    renderer = tsr.Renderer(mesh, cameras, (8, 12), shading=tsr.Silhouette())
    picture = decoded(renderer._repr_png_())
    assert picture.shape == (8, 24, 3) and (picture[4, 6] < 10).all()
    many = tsr.Mesh(*tsr.primitives.cube(), vertex_colors=np.ones((8, 5)))
    assert many._repr_png_() is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of matplotlib
def test_show_in_a_notebook_and_elsewhere(shown, monkeypatch):
    import matplotlib.pyplot as plt

    mesh = tsr.Mesh(*tsr.primitives.cube())
    renderer = tsr.Renderer(mesh, tsr.Camera.framing(mesh), (8, 8), shading=tsr.Silhouette())
    renderer.show()
    assert decoded(shown.pop()).shape == (8, 8, 3) and not shown
    monkeypatch.setitem(sys.modules, "IPython", None)
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf().get_size_inches()))
    renderer.show()
    np.testing.assert_allclose(shown, [[0.08, 0.08]])
    plt.close("all")


def test_a_bar_in_a_notebook(shown):
    assert list(tsr.scripts.progress(range(3), "a<b")) == [0, 1, 2]
    assert len(shown) == 4 and shown[-1].startswith("a&lt;b") and "3 of 3" in shown[-1]
    assert list(tsr.scripts.progress(iter("ab"))) == ["a", "b"] and "2" in shown[-1]


def test_no_bar_where_nobody_looks(capsys):
    assert not notebook.is_notebook()
    assert list(tsr.scripts.progress(range(3), "drawing")) == [0, 1, 2]
    said = capsys.readouterr()
    assert said.out == said.err == ""


@pytest.mark.parametrize("channels", [0, 1, 2, 3, 5])
def test_images_of_any_channels_are_pictures(channels):
    images = np.random.default_rng(0).uniform(size=(2, 4, 6, channels + 1))
    images[:, 0, :, -1] = 0.0
    pictures = viewing.as_pictures(images)
    assert pictures.shape == (2, 4, 6, 3) and (pictures[:, 0] == 1).all()
    assert pictures.min() >= 0 and pictures.max() <= 1


def test_outputs_are_colours_where_something_is():
    alpha = np.array([[0.0, 0.5, 1.0]])
    normals = np.array([[[0, 0, 0], [0, 0, 0.5], [-1, 0, 0]]], float)
    np.testing.assert_allclose(
        viewing.as_picture("normal_world", normals, alpha),
        [[[0, 0, 0], [0.25, 0.25, 0.5], [0, 0.5, 0.5]]],
    )
    np.testing.assert_allclose(
        viewing.as_picture("depth", np.array([[9.0, 1.0, 3.0]]), alpha, depths=(1.0, 3.0))[..., 0],
        [[0, 0.5 * viewing.NEAREST, viewing.FARTHEST]],
    )
    points = np.array([[[0, 0, 0], [1, 2, 3], [3, 2, 7]]], float)
    np.testing.assert_allclose(
        viewing.as_picture("position_world", points, alpha, box=([1, 2, 3], [5, 2, 7])),
        [[[0, 0, 0], [0, 0, 0], [0.5, 0, 1]]],
    )
    uvs = np.array([[[0, 0], [1, 0.5], [2, -1]]], float)
    expected = [[[0, 0, 0], [0.5, 0.25, 0], [1, 0, 0]]]
    np.testing.assert_allclose(viewing.as_picture("uv", uvs, alpha), expected)
    ids = viewing.as_picture("face_id", np.array([[-1, 0, 1]]), alpha)
    assert (ids[0, 0] == 0).all() and (ids[0, 1:] >= 0.25).all() and (ids[0, 1] != ids[0, 2]).all()
