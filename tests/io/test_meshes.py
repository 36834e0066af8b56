"""Mesh files: order and seams, round trips, and baked texels against closed forms."""

import warnings

import numpy as np
import pytest
from PIL import Image

import taichi_softras as tsr
from taichi_softras.io.meshes import (
    MaterialArrays,
    MeshFileError,
    load_mesh,
    sample_image,
    save_mesh,
    texel_barycentrics,
)
from taichi_softras.scene import primitives
from tests.tolerances import DOUBLE_ROUNDING, MESH_FILE

SQUARE_WITH_A_SEAM = """
mtllib square.mtl
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 0
vt 0.5 1
vt 0 1
usemtl {first}
f 1/1 2/2 3/3
usemtl {second}
f 4/6 1/4 3/5
"""
SQUARE_MTL = """
newmtl picture
map_Kd square.png
newmtl red
Kd 1 0 0
"""


def write_square(folder, first="picture", second="picture"):
    """A square of two triangles whose picture is red = u and green = v, 5 x 5 pixels."""
    (folder / "square.obj").write_text(SQUARE_WITH_A_SEAM.format(first=first, second=second))
    (folder / "square.mtl").write_text(SQUARE_MTL)
    ramp = np.arange(5, dtype=np.uint8) * 51
    picture = np.zeros((5, 5, 3), np.uint8)
    picture[..., 0], picture[..., 1] = ramp, ramp[::-1, None]
    Image.fromarray(picture).save(folder / "square.png")
    return folder / "square.obj"


def test_a_seam_does_not_split_vertices(tmp_path):
    mesh = load_mesh(write_square(tmp_path))
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [3, 0, 2]])
    assert mesh.vertex_colors is None and mesh.texels is None
    uvs = [[0, 0], [1, 0], [1, 1], [0, 0], [0.5, 1], [0, 1]]
    np.testing.assert_array_equal(mesh.uvs, uvs)
    np.testing.assert_array_equal(mesh.uv_faces, [[0, 1, 2], [5, 3, 4]])


def test_baked_texels_are_the_picture_at_their_centers(tmp_path):
    """The picture is linear in u and v, so the samples are too: 4/5 of uv, as 204 of 255."""
    texels = load_mesh(write_square(tmp_path), texel_resolution=3).texels
    uv = np.array([[(0, 0), (1, 0), (1, 1)], [(0, 1), (0, 0), (0.5, 1)]])
    expected = 0.8 * np.einsum("bak,fkc->fbac", texel_barycentrics(3), uv)
    np.testing.assert_allclose(texels[..., :2], expected, rtol=0, atol=DOUBLE_ROUNDING)
    np.testing.assert_array_equal(texels[..., 2], 0)


def test_faces_of_several_materials_keep_their_order_and_colors(tmp_path):
    mesh = load_mesh(write_square(tmp_path, first="picture", second="red"), texel_resolution=2)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [3, 0, 2]])
    np.testing.assert_array_equal(mesh.texels[1], np.tile([1, 0, 0], (2, 2, 1)))
    assert (mesh.texels[0][..., 1] > 0).all()


def test_texel_barycentrics_are_centers_of_congruent_triangles():
    """Both kinds of texel average a linear function exactly: the mean is the face's centroid."""
    barycentrics = texel_barycentrics(4)
    assert (barycentrics > 0).all()
    np.testing.assert_allclose(barycentrics.mean(axis=(0, 1)), 1 / 3, rtol=0, atol=DOUBLE_ROUNDING)
    np.testing.assert_allclose(barycentrics[2, 1], np.array([4 / 3, 7 / 3, 1 / 3]) / 4)
    np.testing.assert_allclose(barycentrics[3, 2], np.array([5 / 3, 2 / 3, 5 / 3]) / 4)


def test_texels_of_vertex_colors_are_interpolated(tmp_path):
    vertices, faces = primitives.triangle()
    save_mesh(tmp_path / "triangle.ply", vertices, faces, np.eye(3))
    texels = load_mesh(tmp_path / "triangle.ply", texel_resolution=4).texels
    np.testing.assert_allclose(texels[0], texel_barycentrics(4), rtol=0, atol=DOUBLE_ROUNDING)


def test_a_mesh_without_colors_has_white_texels(tmp_path):
    save_mesh(tmp_path / "cube.off", *primitives.cube())
    np.testing.assert_array_equal(load_mesh(tmp_path / "cube.off", 2).texels, 1)


def test_sample_image_reads_pixel_centers_and_repeats():
    image = np.arange(6.0).reshape(2, 3, 1)  # top row 0 1 2, bottom row 3 4 5
    uv = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5], [1.25, 0], [-0.75, 0]])
    np.testing.assert_allclose(sample_image(image, uv)[:, 0], [3, 5, 0, 2, 2.5, 3.5, 3.5])
    np.testing.assert_allclose(sample_image(image, uv[-2:], "mirror")[:, 0], [4.5, 4.5])
    np.testing.assert_allclose(sample_image(image, uv[-2:], "clamp")[:, 0], [5, 3])


@pytest.mark.parametrize("suffix", ["obj", "ply", "off", "glb", "stl"])
def test_round_trip(tmp_path, suffix):
    vertices, faces = primitives.icosphere(1)
    save_mesh(tmp_path / f"mesh.{suffix}", vertices, faces)
    mesh = load_mesh(tmp_path / f"mesh.{suffix}")
    if suffix == "stl":  # holds triangles alone, so the vertices are found again in any order
        assert len(mesh.vertices) == len(vertices)
        np.testing.assert_allclose(mesh.vertices[mesh.faces], vertices[faces], atol=MESH_FILE)
    else:
        np.testing.assert_allclose(mesh.vertices, vertices, atol=MESH_FILE)
        np.testing.assert_array_equal(mesh.faces, faces)


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb"])
def test_vertex_colors_are_kept_in_8_bits(tmp_path, suffix):
    vertices, faces = primitives.cube()
    colors = np.random.default_rng(0).uniform(size=vertices.shape)
    save_mesh(tmp_path / f"mesh.{suffix}", vertices, faces, colors)
    loaded = load_mesh(tmp_path / f"mesh.{suffix}").vertex_colors
    np.testing.assert_allclose(loaded, np.rint(colors * 255) / 255, rtol=0, atol=DOUBLE_ROUNDING)


def test_a_file_without_triangles_is_refused(tmp_path):
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 1 0 0\np 1 2\n")
    with pytest.raises(MeshFileError, match="points.obj holds no triangles; 1 points are not read"):
        load_mesh(tmp_path / "points.obj")


@pytest.mark.parametrize("suffix", ["obj", "ply", "off", "stl", "glb", "gltf", "dae", "xyz", "doc"])
@pytest.mark.parametrize("data", [b"", b"\x00\xff no mesh", b"ply\nformat ascii 1.0\n", b"OFF\n1"])
def test_what_is_no_mesh_is_named(tmp_path, suffix, data):
    """Whatever a reader throws."""
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(data)
    with pytest.raises(MeshFileError, match=f"broken.{suffix}"):
        load_mesh(path)


def test_errors_of_files_are_value_errors_at_the_front_door(tmp_path):
    assert tsr.io.MeshFileError is MeshFileError and issubclass(MeshFileError, ValueError)
    with pytest.raises(MeshFileError, match="missing.obj is not there"):
        load_mesh(tmp_path / "missing.obj")
    with pytest.raises(MeshFileError, match="is no file"):
        load_mesh(str(tmp_path))


def test_indices_and_numbers_that_are_wrong_are_named(tmp_path):
    path = tmp_path / "wrong.off"
    path.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 nan 0\n3 0 1 2\n")
    with pytest.raises(MeshFileError, match="wrong.off has a vertex that is not finite: number 2"):
        load_mesh(path)
    path.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n")
    with pytest.raises(MeshFileError, match="wrong.off"):
        load_mesh(path)


def test_a_texture_that_is_no_picture_leaves_its_faces_in_their_color(tmp_path):
    path = write_square(tmp_path, second="red")
    (tmp_path / "square.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="square.obj: the texture square.png could not be read"):
        texels = load_mesh(path, 1).texels
    np.testing.assert_array_equal(texels[:, 0, 0], [[1, 1, 1], [1, 0, 0]])
    with pytest.warns(UserWarning, match="square.obj: the texture square.png could not be read"):
        materials = load_mesh(path).materials
    assert materials == (MaterialArrays("picture"), MaterialArrays("red", (1.0, 0.0, 0.0)))


def test_a_picture_of_16_bits(tmp_path):
    path = write_square(tmp_path)
    Image.fromarray(np.full((2, 2), 0x8000, np.uint16)).save(tmp_path / "square.png")
    np.testing.assert_array_equal(load_mesh(path, 1).texels, 0x8000 / 0xFFFF)
    image = load_mesh(path).materials[0].base_color_texture.image
    np.testing.assert_allclose(image, np.full((2, 2, 3), 0x8000 / 0xFFFF), rtol=1e-7)


RED = (255, 0, 0)
PICTURES = {  # of red, or grey, in every kind of pixel
    "RGB": (Image.new("RGB", (3, 2), RED), [1, 0, 0]),
    "1 x 1": (Image.new("RGB", (1, 1), RED), [1, 0, 0]),
    "grey": (Image.new("L", (3, 2), 51), [0.2] * 3),
    "bits": (Image.new("1", (3, 2), 1), [1] * 3),
    "palette": (Image.new("RGB", (3, 2), RED).quantize(), [1, 0, 0]),
    "opaque": (Image.new("RGBA", (3, 2), (*RED, 255)), [1, 0, 0]),
    "alpha": (Image.new("RGBA", (3, 2), (*RED, 0)), [1, 0, 0]),
    "grey with alpha": (Image.new("LA", (3, 2), (51, 9)), [0.2] * 3),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_every_kind_are_red_green_and_blue(tmp_path, kind):
    """Alpha is not drawn, and missed where some pixel is not opaque."""
    path = write_square(tmp_path)
    picture, color = PICTURES[kind]
    picture.save(tmp_path / "square.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        texture = load_mesh(path).materials[0].base_color_texture
    assert texture.name == "square.png" and texture.image.dtype == np.float32
    assert texture.image.shape == (*picture.size[::-1], 3)
    np.testing.assert_allclose(texture.image, np.broadcast_to(color, texture.image.shape))
    messages = [str(warning.message).partition("square.obj: ")[2] for warning in caught]
    alpha = "the alpha of the texture square.png is not drawn"
    assert messages == ([alpha] if "alpha" in kind else [])


def test_the_top_row_of_a_picture_is_at_v_1(tmp_path):
    image = load_mesh(write_square(tmp_path)).materials[0].base_color_texture.image
    np.testing.assert_allclose(image[0, :, 1], 0.8)  # green is v
    np.testing.assert_allclose(image[:, 0, 0], 0.0)  # red is u
