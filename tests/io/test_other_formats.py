"""Formats that trimesh reads: COLLADA's units, PLY's colours, and what an install brings."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from taichi_softras.io.meshes import MeshFileError, load_mesh, save_mesh
from taichi_softras.scene import primitives

PYPROJECT = pathlib.Path(__file__).parents[2] / "pyproject.toml"
COLLADA = """<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset>{unit}{axis}</asset>
<library_geometries><geometry id="g"><mesh>
<source id="s"><float_array id="a" count="9">1 2 3 4 2 3 1 5 3</float_array><technique_common>
<accessor source="#a" count="3" stride="3"><param name="X" type="float"/>
<param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#s"/></vertices>
<triangles count="1"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1 2</p></triangles>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="w"><node><instance_geometry url="#g"/></node>
</visual_scene></library_visual_scenes><scene><instance_visual_scene url="#w"/></scene>
</COLLADA>"""
POINTS = np.array([[1, 2, 3], [4, 2, 3], [1, 5, 3]])


@pytest.mark.parametrize(
    "axis, turned",
    [("", [0, 1, 2]), ("Y_UP", [0, 1, 2]), ("Z_UP", [0, 2, -1]), ("X_UP", [-1, 0, 2])],
)
@pytest.mark.parametrize("meters", [None, 0.01])
def test_collada_comes_in_metres_with_y_up(tmp_path, axis, turned, meters):
    """The axes of the file that become x, y and z; -1 is its -y."""
    pytest.importorskip("collada")
    unit = f'<unit name="any" meter="{meters}"/>' if meters else ""
    axis = f"<up_axis>{axis}</up_axis>" if axis else ""
    (tmp_path / "mesh.dae").write_text(COLLADA.format(unit=unit, axis=axis))
    columns = [-POINTS[:, 1] if column == -1 else POINTS[:, column] for column in turned]
    expected = np.stack(columns, axis=1) * (meters or 1)
    np.testing.assert_allclose(load_mesh(tmp_path / "mesh.dae").vertices, expected)


def test_lines_of_collada_are_counted(tmp_path):
    pytest.importorskip("collada")
    lines = '<lines count="1"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1</p></lines>'
    text = COLLADA.format(unit="", axis="").replace("</mesh>", lines + "</mesh>")
    (tmp_path / "mesh.dae").write_text(text)
    with pytest.warns(UserWarning, match="mesh.dae: 1 primitives are not read: they are lines"):
        np.testing.assert_array_equal(load_mesh(tmp_path / "mesh.dae").vertices, POINTS)


def test_a_format_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    import trimesh

    def missing(**_):
        raise ImportError("missing `pip install pycollada`")

    monkeypatch.setitem(trimesh.exchange.load.mesh_loaders, "dae", missing)
    (tmp_path / "mesh.dae").write_text(COLLADA.format(unit="", axis=""))
    with pytest.raises(MeshFileError, match=r"mesh.dae .*taichi_softras\[formats\]"):
        load_mesh(tmp_path / "mesh.dae")


def test_colors_of_faces_need_texels(tmp_path):
    import trimesh

    vertices, faces = primitives.triangle()
    red = np.array([[255, 0, 0, 255]], np.uint8)
    trimesh.Trimesh(vertices, faces, face_colors=red, process=False).export(tmp_path / "mesh.ply")
    np.testing.assert_array_equal(load_mesh(tmp_path / "mesh.ply", 1).texels, [[[[1, 0, 0]]]])
    with pytest.warns(
        UserWarning, match="mesh.ply: colours of its faces are not drawn: give texel_resolution"
    ):
        load_mesh(tmp_path / "mesh.ply")


TEXTURED_PLY = """ply
format ascii 1.0
comment TextureFile red.png
element vertex 3
property float x
property float y
property float z
property float s
property float t
element face 1
property list uchar int vertex_indices
end_header
0 0 0 0 0
1 0 0 1 0
0 1 0 0 1
3 0 1 2
"""


def test_the_texture_of_a_ply_file(tmp_path):
    path = tmp_path / "mesh.ply"
    path.write_text(TEXTURED_PLY)
    with pytest.warns(UserWarning, match="mesh.ply: the file red.png is not there"):
        np.testing.assert_array_equal(load_mesh(path, 1).texels, 1)
    (tmp_path / "red.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="mesh.ply: the texture red.png could not be read"):
        np.testing.assert_array_equal(load_mesh(path, 1).texels, 1)
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    np.testing.assert_array_equal(load_mesh(path, 1).texels, [[[[1, 0, 0]]]])
    mesh = load_mesh(path)
    np.testing.assert_array_equal(mesh.uvs[mesh.uv_faces], [[[0, 0], [1, 0], [0, 1]]])
    np.testing.assert_array_equal(mesh.face_materials, [0])
    texture = mesh.materials[0].base_color_texture
    assert texture.name == "red.png"
    np.testing.assert_array_equal(texture.image, np.tile([1, 0, 0], (4, 4, 1)))


def test_colors_of_an_off_file_are_missed(tmp_path):
    (tmp_path / "mesh.off").write_text(
        "COFF\n3 1 0\n0 0 0 9 9 9 1\n1 0 0 9 9 9 1\n0 1 0 9 9 9 1\n3 0 1 2\n"
    )
    with pytest.warns(UserWarning, match="mesh.off: its colours are not read"):
        np.testing.assert_array_equal(load_mesh(tmp_path / "mesh.off").faces, [[0, 1, 2]])


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_comment_in_any_encoding_is_no_matter(tmp_path, encoding):
    path = tmp_path / "mesh.ply"
    path.write_bytes(TEXTURED_PLY.replace("TextureFile red.png", "für").encode(encoding))
    np.testing.assert_array_equal(load_mesh(path).faces, [[0, 1, 2]])


def test_a_cloud_of_points_is_no_mesh(tmp_path):
    save_mesh(tmp_path / "mesh.ply", *primitives.triangle())
    head = (tmp_path / "mesh.ply").read_bytes()
    text = re.sub(rb"element face 1", b"element face 0", head)
    (tmp_path / "mesh.ply").write_bytes(text[: -1 - 12])
    with pytest.raises(MeshFileError, match="mesh.ply holds no triangles"):
        load_mesh(tmp_path / "mesh.ply")


def test_an_install_brings_what_it_reads():
    """Text of any encoding and a trimesh that keeps to the folder of a file; `formats` the rest."""
    text = PYPROJECT.read_text()
    dependencies = re.search(r"^dependencies = \[(.*?)\]$", text, re.M | re.S)[1]
    assert '"charset-normalizer"' in dependencies and '"trimesh>=5.2;' in dependencies
    assert 'formats = ["lxml", "networkx", "pycollada"]' in text
