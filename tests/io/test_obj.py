"""OBJ files as people have them: indices, encodings, polygons, materials, what is missing."""

import warnings

import numpy as np
import pytest
from PIL import Image

from taichi_softras.io.contents import TEXTURES
from taichi_softras.io.meshes import MaterialArrays, MeshFileError, load_mesh

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
SQUARE = TRIANGLE + "v 1 1 0\n"


def load(folder, text, texel_resolution=0):
    """Writes and reads `mesh.obj`."""
    (folder / "mesh.obj").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_mesh(folder / "mesh.obj", texel_resolution)


def test_relative_indices_count_back_from_where_they_stand(tmp_path):
    mesh = load(tmp_path, TRIANGLE + "f -3 -2 -1\nv 2 0 0\nv 2 1 0\nf -5 -2 -1\nf 1 -1 -2\n")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 3, 4], [0, 4, 3]])


@pytest.mark.parametrize("corner", ["0", "4", "-4", "0/1", "9//1"])
def test_an_index_that_no_vertex_has_is_named(tmp_path, corner):
    with pytest.raises(
        MeshFileError, match=rf"mesh.obj.*'{corner}', but its 3 vertices count from"
    ):
        load(tmp_path, TRIANGLE + f"f 1 2 {corner}\n")


@pytest.mark.parametrize("line", ["v 1 x 0", "f 1 2 three", "f 1 2 1.5"])
def test_a_word_that_is_no_number_is_named(tmp_path, line):
    with pytest.raises(
        MeshFileError, match=f"mesh.obj.*{line.split()[-1] if 'f' in line else 'x'}"
    ):
        load(tmp_path, TRIANGLE + line + "\nf 1 2 3\n")


def test_polygons_are_fans_and_all_ways_to_write_a_corner_mix(tmp_path):
    mesh = load(tmp_path, SQUARE + "vt 0 0\nf 1 2 4 3\nf 1/1 2//1 3/1/1\nf 2/ 4/1/ 3\n")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [0, 3, 2], [0, 1, 2], [1, 3, 2]])


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16", "shift-jis", "cp1251"])
def test_any_encoding_is_read(tmp_path, encoding):
    comment = {"shift-jis": "# 三角形のメッシュ", "cp1251": "# треугольник"}.get(encoding, "# für")
    text = comment + "\n" + TRIANGLE + "f 1 2 3\n"
    np.testing.assert_array_equal(load(tmp_path, text.encode(encoding)).faces, [[0, 1, 2]])


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_ends_of_lines_tabs_and_lines_that_go_on(tmp_path, end):
    text = "  v\t0 0 0\nv 1 0 \\\n 0\n\tv 0 1 0\n f\t1 2\\\n 3\n".replace("\n", end)
    mesh = load(tmp_path, text)
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])


def test_comments_end_lines(tmp_path):
    text = "# v f\n" + TRIANGLE.replace("\n", " # of 3\n") + "f 1 2 3 # a face\n"
    np.testing.assert_array_equal(load(tmp_path, text).faces, [[0, 1, 2]])


def test_vertices_that_no_face_has_stay(tmp_path):
    assert len(load(tmp_path, SQUARE + "f 1 2 3\n").vertices) == 4


@pytest.mark.parametrize("scale", [1, 255])
def test_colors_of_vertices(tmp_path, scale):
    """Of 0 to 1, as most programs write them, or 0 to 255; white where a line has none."""
    text = f"v 0 0 0 {scale} 0 0\nv 1 0 0 0 {scale} 0\nv 0 1 0\nf 1 2 3\n"
    np.testing.assert_array_equal(
        load(tmp_path, text).vertex_colors, [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    )


UV = "vt 0 0\nvt 1 0\nvt 0 1\n"


def test_without_a_material_vertex_colors_count_or_all_is_white(tmp_path):
    face = UV + "f 1/1 2/2 3/3\n"
    np.testing.assert_array_equal(load(tmp_path, TRIANGLE + face, 2).texels, 1)
    red = TRIANGLE.replace("\n", " 1 0 0\n") + face
    np.testing.assert_array_equal(load(tmp_path, red, 1).texels, [[[[1, 0, 0]]]])
    mesh = load(tmp_path, red)
    np.testing.assert_array_equal(mesh.vertex_colors, [[1, 0, 0]] * 3)
    np.testing.assert_array_equal(mesh.uvs, [[0, 0], [1, 0], [0, 1]])
    assert mesh.materials == () and mesh.face_materials is None


def test_a_material_without_a_color_is_white_and_one_number_is_a_grey(tmp_path):
    (tmp_path / "a.mtl").write_text("newmtl bare\nillum 2\nnewmtl grey\nKd 0.5\n")
    text = "mtllib a.mtl\n" + TRIANGLE + "usemtl bare\nf 1 2 3\nusemtl grey\nf 1 3 2\n"
    np.testing.assert_array_equal(load(tmp_path, text, 1).texels[:, 0, 0, 0], [1, 0.5])
    mesh = load(tmp_path, text)
    assert [m.base_color for m in mesh.materials] == [(1, 1, 1), (0.5, 0.5, 0.5)]
    np.testing.assert_array_equal(mesh.face_materials, [0, 1])


def test_a_material_file_that_is_not_there_is_named(tmp_path):
    text = "mtllib a b.mtl\n" + TRIANGLE + "usemtl m\nf 1 2 3\n"
    with pytest.warns(UserWarning) as caught:
        np.testing.assert_array_equal(load(tmp_path, text, 1).texels, 1)
    messages = [str(warning.message) for warning in caught]
    assert ["a is not there", "b.mtl is not there"] == [m.partition("file ")[2] for m in messages]
    assert all("mesh.obj: the material" in message for message in messages)
    (tmp_path / "a b.mtl").write_text("newmtl other\n")
    with pytest.warns(UserWarning, match="mesh.obj: the material m is in no material file"):
        load(tmp_path, text, 1)


def write_textured(folder, name):
    (folder / "source").mkdir()
    (folder / "source" / "a.mtl").write_text(f"newmtl m\nmap_Kd -s 1 1 1 -clamp on {name}\n")
    face = "usemtl m\nf 1/1 2/2 3/3\n"
    (folder / "source" / "a.obj").write_text("mtllib a.mtl\n" + TRIANGLE + UV + face)
    return folder / "source" / "a.obj"


@pytest.mark.parametrize("name", ["maps/the red.png", "maps\\the red.png", "C:\\x\\the red.png"])
def test_textures_lie_in_the_folder_of_the_file(tmp_path, name):
    """Or in one below it; paths of another machine lead to the file beside the mesh."""
    path = write_textured(tmp_path, name)
    place = path.parent / ("" if "C:" in name else "maps")
    place.mkdir(exist_ok=True)
    Image.new("RGB", (4, 4), (255, 0, 0)).save(place / "the red.png")
    np.testing.assert_array_equal(load_mesh(path, 1).texels, [[[[1, 0, 0]]]])


def test_nothing_outside_of_the_folder_is_read(tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    path = write_textured(tmp_path, "../red.png")
    with pytest.warns(
        UserWarning, match=r"a.obj: the texture ../red.png .* lies outside of the fol"
    ):
        np.testing.assert_array_equal(load_mesh(path, 1).texels, 1)
    (path.parent / "a.mtl").write_text(f"newmtl m\nmap_Kd {tmp_path / 'red.png'}\n")
    with pytest.warns(UserWarning, match="outside"):
        load_mesh(path, 1)


def test_faces_without_coordinates_in_a_texture_are_counted(tmp_path):
    path = write_textured(tmp_path, "red.png")
    Image.new("RGB", (4, 4), (255, 0, 0)).save(path.parent / "red.png")
    path.write_text(path.read_text() + "f 1/1 2/9 3\n")
    with pytest.warns(
        UserWarning, match="a.obj: 1 faces have no coordinates in the texture red.png"
    ):
        texels = load_mesh(path, 1).texels
    np.testing.assert_array_equal(texels[:, 0, 0], [[1, 0, 0], [1, 1, 1]])
    with pytest.warns(UserWarning, match="a.obj: 1 faces have no coordinates"):
        mesh = load_mesh(path)
    textures = [material.base_color_texture for material in mesh.materials]
    assert [textures[number] is None for number in mesh.face_materials] == [False, True]


def test_what_is_no_face_is_counted(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(tmp_path, TRIANGLE + "l 1 2\nf 1 2 3\nl 2 3\np 1\nf 1 2\n")
    messages = [str(warning.message).partition("mesh.obj: ")[2] for warning in caught]
    assert messages == [
        "2 lines are not read",
        "1 points are not read",
        "1 faces of less than three corners are not read",
    ]


def test_material_picture_and_vertex_colors_are_multiplied(tmp_path):
    path = write_textured(tmp_path, "red.png")
    Image.new("RGB", (4, 4), (255, 51, 0)).save(path.parent / "red.png")
    (path.parent / "a.mtl").write_text("newmtl m\nKd 0.5 1 1\nmap_Kd red.png\n")
    path.write_text(path.read_text().replace("v 0 0 0", "v 0 0 0 1 1 1"))  # the others are white
    path.write_text(path.read_text().replace("v 1 0 0", "v 1 0 0 0.4 1 1"))
    np.testing.assert_allclose(load_mesh(path, 1).texels, [[[[0.5 * (1.4 + 1) / 3, 0.2, 0]]]])
    mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.vertex_colors, [[1, 1, 1], [0.4, 1, 1], [1, 1, 1]])
    assert mesh.materials[0].base_color == (0.5, 1, 1)
    image = mesh.materials[0].base_color_texture.image
    np.testing.assert_allclose(image, np.tile([1, 0.2, 0], (4, 4, 1)))


FULL_MATERIAL = """newmtl full of it
Ka 1 1 1
Kd 0.1 0.2 0.3 # a comment
Ks 0.5
Ke 2 0 0
Ns 100
Pr 0.25
Pm 0.75
illum 2
map_Kd -clamp on a.png
map_Pr rough.png
map_Pm metal.png
map_Ke a.png
norm -bm 0.5 a.png
"""


def test_all_lines_of_a_material(tmp_path):
    """Of two grey pictures one is made: roughness is green, metalness blue."""
    path = write_textured(tmp_path, "a.png")
    for name, grey in (("a", 255), ("rough", 102), ("metal", 51)):
        Image.new("L", (4, 2), grey).save(path.parent / f"{name}.png")
    (path.parent / "a.mtl").write_text(FULL_MATERIAL)
    path.write_text(path.read_text().replace("usemtl m", "usemtl full of it"))
    material = load_mesh(path).materials[0]
    numbers = material._replace(**dict.fromkeys(TEXTURES))
    assert numbers == MaterialArrays(
        name="full of it",
        base_color=(0.1, 0.2, 0.3),
        metallic=0.75,
        roughness=0.25,
        emissive=(2, 0, 0),
        specular=(0.5, 0.5, 0.5),
        shininess=100.0,
        normal_scale=0.5,
    )
    assert material.base_color_texture.wrap == "clamp"
    assert material.emissive_texture is material.normal_texture
    np.testing.assert_allclose(
        material.metallic_roughness_texture.image, np.tile([1, 0.4, 0.2], (2, 4, 1))
    )


@pytest.mark.parametrize(
    "line, name",
    [
        ("map_Ks a.png", "map_Ks"),
        ("map_Bump a.png", "map_Bump"),
        ("bump a.png", "bump"),
        ("d 0.5", "d"),
        ("Tr 0.5", "Tr"),
        ("map_d a.png", "map_d"),
        ("map_Kd -s 2 2 1 a.png", "-s of map_Kd"),
        ("map_Kd -clamp on -o 0.5 0 a.png", "-o of map_Kd"),
        ("aniso 0.5", "aniso"),
    ],
)
def test_what_is_not_followed_is_named(tmp_path, line, name):
    path = write_textured(tmp_path, "a.png")
    Image.new("L", (1, 1)).save(path.parent / "a.png")
    (path.parent / "a.mtl").write_text(f"newmtl m\nd 1\nTr 0\naniso 0\n{line}\n")
    with pytest.warns(UserWarning) as caught:
        load_mesh(path)
    assert [str(w.message).partition("a.obj: ")[2] for w in caught] == [f"not followed: {name}"]


@pytest.mark.parametrize(
    "line", ["Kd", "Kd x", "Kd 1 2", "Kd nan 0 0", "Kd spectral a.rfl", "map_Kd"]
)
def test_lines_that_say_nothing_leave_white(tmp_path, line):
    path = write_textured(tmp_path, "a.png")
    (path.parent / "a.mtl").write_text(f"newmtl m\n{line}\n")
    assert load_mesh(path).materials == (MaterialArrays(name="m"),)


def test_materials_keep_the_order_of_their_file_and_faces_without_one_get_white(tmp_path):
    """Of those that faces have; pictures of the others are not looked for."""
    (tmp_path / "a.mtl").write_text(
        "newmtl first\nKd 1 0 0\nnewmtl unused\nmap_Kd missing.png\nnewmtl last\nKd 0 0 1\n"
    )
    text = "mtllib a.mtl\n" + TRIANGLE + "f 1 2 3\nusemtl last\nf 1 2 3\nusemtl first\nf 1 2 3\n"
    mesh = load(tmp_path, text)
    assert [material.name for material in mesh.materials] == ["first", "last", ""]
    np.testing.assert_array_equal(mesh.face_materials, [2, 1, 0])


def test_texture_coordinates_keep_the_order_of_the_file(tmp_path):
    """Also outside of [0, 1], and those that no face has; corners without one are at 0."""
    text = TRIANGLE + "vt 5 -3\nvt 0.25 0\nvt 0.5\nf 1/3 2/1 3/3\n"
    mesh = load(tmp_path, text)
    np.testing.assert_array_equal(mesh.uvs, [[5, -3], [0.25, 0], [0.5, 0]])
    np.testing.assert_array_equal(mesh.uv_faces, [[2, 0, 2]])
    mesh = load(tmp_path, text + "f 1 2 3\n")
    np.testing.assert_array_equal(mesh.uvs[mesh.uv_faces[1]], np.zeros((3, 2)))
    assert load(tmp_path, TRIANGLE + "vt 1 1\nf 1 2 3\n").uvs is None
    with pytest.warns(UserWarning, match="mesh.obj: 1 texture coordinates are not finite"):
        mesh = load(tmp_path, text.replace("-3", "nan"))
    assert np.isfinite(mesh.uvs).all()
