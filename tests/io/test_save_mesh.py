"""Meshes that are written and read again: the same arrays; and what a format does not hold."""

import json
import struct
import warnings

import numpy as np
import pytest

from taichi_softras.io.contents import TEXTURES
from taichi_softras.io.meshes import (
    MaterialArrays,
    MeshArrays,
    TextureArrays,
    load_mesh,
    save_mesh,
)
from taichi_softras.scene import primitives
from tests.tolerances import DOUBLE_ROUNDING, MESH_FILE

FORMATS = ["obj", "glb", "gltf"]


def bytes_of(rng, *shape):
    """Colours as a file of 8 bits has them."""
    return (rng.integers(0, 256, shape) / np.float32(255)).astype(np.float32)


def textured_cube(seed=0):
    """Two materials, four textures, a UV for each corner of a side, and two that no face has."""
    rng = np.random.default_rng(seed)
    vertices, faces = primitives.cube()
    uv_faces = np.arange(faces.size).reshape(-1, 3)
    uv_faces[1::2, 0] = uv_faces[::2, 0]  # shared by two faces
    names = ["colour", "rough", "bumps", "light"]
    images = [bytes_of(rng, 5, 3, 3), bytes_of(rng, 4, 4, 3), bytes_of(rng, 1, 1, 3)]
    images[1][..., 0] = 1.0  # occlusion, which OBJ does not hold
    images.append(np.repeat(bytes_of(rng, 2, 2, 1), 3, axis=-1))
    textures = [TextureArrays(f"{name}.png", image) for name, image in zip(names, images)]
    metal = MaterialArrays(
        "metal",
        (0.5, 0.25, 0.125),
        0.75,
        0.5,
        (2.0, 0.5, 0.0),
        (0.1, 0.2, 0.3),
        9.5,
        *textures,
        0.5,
    )
    plain = MaterialArrays("plain", emissive_texture=textures[3])
    return MeshArrays(
        rng.normal(size=vertices.shape),
        faces,
        np.rint(rng.uniform(size=vertices.shape) * 255) / 255,
        None,
        rng.uniform(-2, 3, (faces.size + 2, 2)),
        uv_faces,
        (metal, plain),
        np.repeat([0, 1], [5, len(faces) - 5]),
    )


def without_textures(materials):
    return tuple(material._replace(**dict.fromkeys(TEXTURES)) for material in materials)


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_read_again_is_the_same(tmp_path, suffix):
    mesh = textured_cube()
    path = tmp_path / f"my cube.{suffix}"
    save_mesh(path, *mesh)
    again = load_mesh(path)
    is_text = suffix == "obj"
    np.testing.assert_allclose(again.vertices, mesh.vertices, atol=0 if is_text else MESH_FILE)
    np.testing.assert_allclose(again.uvs, mesh.uvs, rtol=0, atol=0 if is_text else MESH_FILE)
    np.testing.assert_array_equal(again.faces, mesh.faces)
    np.testing.assert_array_equal(again.uv_faces, mesh.uv_faces)
    np.testing.assert_array_equal(again.face_materials, mesh.face_materials)
    np.testing.assert_allclose(again.vertex_colors, mesh.vertex_colors, atol=DOUBLE_ROUNDING)
    assert without_textures(again.materials) == without_textures(mesh.materials)
    for found, material in zip(again.materials, mesh.materials):
        for slot in TEXTURES:
            texture, expected = getattr(found, slot), getattr(material, slot)
            assert (texture is None) == (expected is None)
            if expected is not None:
                np.testing.assert_array_equal(texture.image, expected.image)
                assert expected.name in texture.name or is_text
    first, second = again.materials
    assert first.emissive_texture is second.emissive_texture
    save_mesh(path, *again)  # over itself, and no longer names of files
    assert len(list(tmp_path.iterdir())) == (7 if is_text else 1)
    for found, known in zip(load_mesh(path)[:3], again[:3]):
        np.testing.assert_array_equal(found, known)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("wrap", ["repeat", "mirror", "clamp", "zero"])
@pytest.mark.parametrize("filter", ["nearest", "bilinear", "trilinear"])
def test_wraps_and_filters_are_kept_or_named(tmp_path, suffix, wrap, filter):
    image = np.ones((2, 2, 3), np.float32)
    material = MaterialArrays(base_color_texture=TextureArrays("t", image, filter, wrap))
    mesh = textured_cube()._replace(materials=(material, material))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save_mesh(tmp_path / f"mesh.{suffix}", *mesh)
    found = load_mesh(tmp_path / f"mesh.{suffix}").materials[0].base_color_texture
    said = " ".join(str(warning.message) for warning in caught)
    holds_filter = suffix != "obj"
    holds_wrap = wrap in (("repeat", "clamp") if suffix == "obj" else ("repeat", "mirror", "clamp"))
    assert found.filter == (filter if holds_filter else "bilinear")
    assert found.wrap == (wrap if holds_wrap else "repeat" if suffix == "obj" else "clamp")
    assert (f"wrap={wrap!r}" in said) != holds_wrap
    assert (f"{filter!r} of the texture t is left out" in said) == (found.filter != filter)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_mesh_without_materials_has_none_again(tmp_path, suffix):
    vertices, faces = primitives.icosphere(1)
    save_mesh(tmp_path / f"a.{suffix}", vertices, faces)
    mesh = load_mesh(tmp_path / f"a.{suffix}")
    assert mesh[2:] == (None, None, None, None, (), None)
    save_mesh(tmp_path / f"b.{suffix}", vertices, faces, uvs=vertices[:, :2])
    mesh = load_mesh(tmp_path / f"b.{suffix}")
    np.testing.assert_allclose(mesh.uvs, vertices[:, :2], atol=MESH_FILE)
    np.testing.assert_array_equal(mesh.uv_faces, faces)
    assert len(mesh.vertices) == len(vertices) and mesh.materials == ()


def test_faces_of_mixed_materials(tmp_path):
    """OBJ keeps their order, GLB puts those of a material together."""
    mesh = textured_cube()
    numbers = np.arange(len(mesh.faces)) % 2
    for suffix, order in (("obj", slice(None)), ("glb", np.argsort(numbers, kind="stable"))):
        save_mesh(tmp_path / f"mesh.{suffix}", *mesh._replace(face_materials=numbers))
        again = load_mesh(tmp_path / f"mesh.{suffix}")
        np.testing.assert_array_equal(again.faces, mesh.faces[order])
        np.testing.assert_array_equal(again.uv_faces, mesh.uv_faces[order])
        np.testing.assert_array_equal(again.face_materials, numbers[order])


@pytest.mark.parametrize("suffix", FORMATS)
def test_numbers_outside_of_0_to_1_are_clipped_and_named(tmp_path, suffix):
    mesh = textured_cube()
    image = np.full((1, 1, 3), 0.5)
    image[..., 0], image[..., 1] = -1.0, 1.5
    texture = TextureArrays("bright", image)
    material = MaterialArrays("m", (2.0, 1.0, 0.0), base_color_texture=texture)
    colors = mesh.vertex_colors * 3
    mesh = mesh._replace(materials=(material, material), vertex_colors=colors)
    with pytest.warns(UserWarning) as caught:
        save_mesh(tmp_path / f"mesh.{suffix}", *mesh)
    said = " ".join(str(warning.message) for warning in caught)
    assert "vertex colours: numbers from 0 to" in said
    assert "the texture 'bright': numbers from -1 to 1.5 are clipped to [0, 1]" in said
    assert "base_color of 'm': numbers from 0 to 2 are clipped" in said
    again = load_mesh(tmp_path / f"mesh.{suffix}")
    assert again.materials[0].base_color == (1.0, 1.0, 0.0)
    np.testing.assert_allclose(again.vertex_colors, np.clip(colors, 0, 1), atol=DOUBLE_ROUNDING)
    found = again.materials[0].base_color_texture.image
    np.testing.assert_allclose(found, [[[0, 1, 128 / 255]]], rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_textures_of_any_number_of_channels(tmp_path, channels):
    """Grey has three equal ones, alpha is not written, what is missing is 0."""
    image = bytes_of(np.random.default_rng(0), 3, 2, channels)
    material = MaterialArrays(base_color_texture=TextureArrays("t", image))
    mesh = textured_cube()._replace(materials=(material, material))
    save_mesh(tmp_path / "mesh.glb", *mesh)
    found = load_mesh(tmp_path / "mesh.glb").materials[0].base_color_texture.image
    expected = {1: image[..., [0, 0, 0]], 2: np.pad(image, ((0, 0), (0, 0), (0, channels == 2)))}
    np.testing.assert_array_equal(found, expected.get(channels, image[..., :3]))


@pytest.mark.parametrize("suffix", ["ply", "off", "stl"])
def test_what_other_formats_do_not_hold_is_named(tmp_path, suffix):
    sentence = f"mesh.{suffix}: the format does not hold uvs and materials"
    with pytest.warns(UserWarning, match=sentence):
        save_mesh(tmp_path / f"mesh.{suffix}", *textured_cube())
    assert len(load_mesh(tmp_path / f"mesh.{suffix}").faces) == 12


def test_texels_and_channels_that_no_file_has_are_named(tmp_path):
    vertices, faces = primitives.triangle()
    with pytest.warns(UserWarning, match="does not hold texels and vertex colours of 2 components"):
        save_mesh(tmp_path / "a.glb", vertices, faces, np.ones((3, 2)), np.ones((1, 2, 2, 3)))


def test_the_files_of_an_obj_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    """The one that names the others comes last; an error names it."""
    import taichi_softras.io.obj_writer as writer

    path = tmp_path / "mesh.obj"
    save_mesh(path, *textured_cube())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {"mesh.obj", "mesh.mtl", "mesh_colour.png", "mesh_bumps.png"} | {
        "mesh_rough_roughness.png",
        "mesh_rough_metallic.png",
        "mesh_light.png",
    }
    (tmp_path / "mesh_light.png").unlink()
    (tmp_path / "mesh_light.png").mkdir()
    with pytest.raises(OSError, match="mesh.obj"):
        save_mesh(path, *textured_cube(seed=1))
    assert path.read_bytes() == before["mesh.obj"]
    (tmp_path / "mesh_light.png").rmdir()

    def fail(_):
        raise RuntimeError

    monkeypatch.setattr(writer, "png", fail)
    with pytest.raises(RuntimeError):
        save_mesh(path, *textured_cube(seed=2))
    assert path.read_bytes() == before["mesh.obj"]
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_names_that_are_none_or_twice(tmp_path):
    """Names of pictures lead into no other folder."""
    image = np.zeros((1, 1, 3))
    textures = [
        TextureArrays(name, image) for name in ("../../a b.png", "a b.png", "", "C:\\x.png")
    ]
    names = ["", "a b", "a_b", "a_b"]
    pairs = zip(names, textures)
    materials = [MaterialArrays(name, base_color_texture=texture) for name, texture in pairs]
    mesh = textured_cube()
    numbers = np.arange(12) // 3
    save_mesh(tmp_path / "m.obj", *mesh._replace(materials=materials, face_materials=numbers))
    pictures = {file.name for file in tmp_path.iterdir() if file.suffix == ".png"}
    assert pictures == {"m_a_b.png", "m_a_b_1.png", "m_texture.png", "m_x.png"}
    again = load_mesh(tmp_path / "m.obj")
    assert [material.name for material in again.materials] == ["material", "a_b", "a_b_1", "a_b_2"]
    np.testing.assert_array_equal(again.face_materials, numbers)


def test_a_glb_file_is_one_that_the_format_allows(tmp_path):
    """Lengths, alignment, bounds, and no list that is empty."""
    save_mesh(tmp_path / "mesh.glb", *textured_cube())
    data = (tmp_path / "mesh.glb").read_bytes()
    magic, version, size, length, kind = struct.unpack_from("<4s3I4s", data)
    assert (magic, version, size, kind) == (b"glTF", 2, len(data), b"JSON")
    assert length % 4 == size % 4 == 0
    tree = json.loads(data[20 : 20 + length])
    assert all(tree.values()) or tree["scene"] == 0
    assert all(view["byteOffset"] % 4 == 0 for view in tree["bufferViews"])
    position = tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
    assert len(tree["accessors"][position]["min"]) == 3
    assert tree["extensionsUsed"] == ["KHR_materials_emissive_strength"]


def test_other_programs_read_it(tmp_path):
    """trimesh: the same corners, colours and UVs."""
    import trimesh

    mesh = textured_cube()
    save_mesh(tmp_path / "mesh.glb", *mesh)
    scene = trimesh.load_scene(tmp_path / "mesh.glb", process=False)
    parts = list(scene.geometry.values())
    assert [len(part.faces) for part in parts] == [5, 7]
    corners = np.concatenate([part.vertices[part.faces] for part in parts])
    uvs = np.concatenate([part.visual.uv[part.faces] for part in parts])
    np.testing.assert_allclose(corners, mesh.vertices[mesh.faces], atol=MESH_FILE)
    np.testing.assert_allclose(uvs, mesh.uvs[mesh.uv_faces], atol=MESH_FILE)
    image = np.asarray(parts[0].visual.material.baseColorTexture.convert("RGB")) / np.float32(255)
    np.testing.assert_array_equal(image, mesh.materials[0].base_color_texture.image)
