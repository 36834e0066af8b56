"""glTF and GLB: what is drawn, and what is said of the rest."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from taichi_softras.io.meshes import MeshFileError, load_mesh

CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
UVS = np.array([[0, 0], [0.25, 0], [0, 0.25]], np.float32)  # the top left quarter of a picture
WHITE = {"pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 1]}}
TEXTURED = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
TYPES = {"float32": 5126, "uint8": 5121, "uint16": 5123, "int8": 5120}


class File:
    """Builds a glTF file of one mesh, array by array."""

    def __init__(self):
        self.data = b""
        self.tree = {
            "asset": {"version": "2.0"},
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"name": "shape", "primitives": []}],
            "accessors": [],
            "bufferViews": [],
        }

    def add(self, array, **changes):
        """An accessor of an array; None takes an entry away."""
        array = np.asarray(array)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.tree["bufferViews"].append(view)
        self.data += array.tobytes() + b"\0" * (-array.nbytes % 4)
        accessor = {
            "bufferView": len(self.tree["bufferViews"]) - 1,
            "count": len(array),
            "componentType": TYPES[str(array.dtype)],
            "type": SHAPES[array.shape[1] if array.ndim == 2 else 1],
            **changes,
        }
        accessor = {key: value for key, value in accessor.items() if value is not None}
        self.tree["accessors"].append(accessor)
        return len(self.tree["accessors"]) - 1

    def add_primitive(self, corners=CORNERS, attributes=None, **entries):
        """A primitive; `attributes` are accessors or arrays by name."""
        attributes = {"POSITION": corners, **(attributes or {})}
        numbers = {k: v if isinstance(v, int) else self.add(v) for k, v in attributes.items()}
        primitive = {"attributes": numbers, **entries}
        self.tree["meshes"][0]["primitives"].append(primitive)

    def write(self, folder, **entries):
        """Writes `shape.gltf` with its buffer inside."""
        uri = "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
        buffers = [{"uri": uri, "byteLength": len(self.data)}]
        tree = {**self.tree, "buffers": buffers, **entries}
        (folder / "shape.gltf").write_text(json.dumps(tree))
        return folder / "shape.gltf"


def texture_entries(folder, uri="red.png"):
    """The picture's top left quarter is red."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4, :4, 0] = 255
    Image.fromarray(pixels).save(folder / "red.png")
    return {"images": [{"uri": uri}], "textures": [{"source": 0}]}


def test_no_material_and_no_factor_are_white(tmp_path):
    file = File()
    file.add_primitive()
    file.add_primitive(material=0)
    path = file.write(tmp_path, materials=[{"name": "bare"}])
    np.testing.assert_array_equal(load_mesh(path, 1).texels, 1)
    assert load_mesh(path).vertex_colors is None


@pytest.mark.parametrize("dtype, one", [("float32", 1), ("uint8", 255), ("uint16", 65535)])
def test_factor_texture_and_vertex_colors_are_multiplied(tmp_path, dtype, one):
    file = File()
    colors = np.full((3, 3), one, dtype) * np.array([1, 0, 1], dtype)
    file.add_primitive(attributes={"COLOR_0": colors, "TEXCOORD_0": UVS}, material=0)
    file.add_primitive(attributes={"COLOR_0": colors}, material=1)
    factor = {"baseColorFactor": [0.2, 1, 1, 1]}
    textured = {"pbrMetallicRoughness": {**TEXTURED["pbrMetallicRoughness"], **factor}}
    materials = [textured, {"pbrMetallicRoughness": factor}]
    path = file.write(tmp_path, materials=materials, **texture_entries(tmp_path))
    texels = load_mesh(path, 1).texels[:, 0, 0]
    np.testing.assert_allclose(texels, [[0.2, 0, 0], [0.2, 0, 1]])
    with pytest.warns(UserWarning, match="shape.gltf: .* not drawn: give texel_resolution"):
        np.testing.assert_array_equal(load_mesh(path).vertex_colors, [[1, 0, 1]] * 6)


def test_the_material_chooses_the_texture_coordinates(tmp_path):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS + 0.5, "TEXCOORD_1": UVS}, material=0)
    second = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, "texCoord": 1}}}
    path = file.write(tmp_path, materials=[second], **texture_entries(tmp_path))
    np.testing.assert_array_equal(load_mesh(path, 1).texels, [[[[1, 0, 0]]]])


def test_a_texture_that_is_missing_is_named(tmp_path):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    entries = texture_entries(tmp_path, uri="textures/blue.png")
    path = file.write(tmp_path, materials=[TEXTURED], **entries)
    with pytest.warns(UserWarning, match="shape.gltf: the texture textures/blue.png could not be"):
        with pytest.warns(UserWarning, match="blue.png is not there"):
            np.testing.assert_array_equal(load_mesh(path, 1).texels, 1)


def test_a_texture_without_coordinates_or_out_of_place_is_named(tmp_path):
    file = File()
    file.add_primitive(material=0)
    transform = {"KHR_texture_transform": {"offset": [0.5, 0]}}
    moved = {"baseColorTexture": {"index": 0, "extensions": transform}}
    materials = [{"pbrMetallicRoughness": moved}]
    path = file.write(tmp_path, materials=materials, **texture_entries(tmp_path))
    with pytest.warns(UserWarning, match="shape.gltf: the texture red.png is not moved"):
        with pytest.warns(UserWarning, match="1 faces have no coordinates in the texture red.png"):
            np.testing.assert_array_equal(load_mesh(path, 1).texels, 1)


def test_a_texture_that_nothing_shows_is_not_converted(tmp_path):
    """Nor missed: the material's normals, and a material that no face has."""
    file = File()
    file.add_primitive(material=0)
    normals = {**WHITE, "normalTexture": {"index": 0}}
    path = file.write(tmp_path, materials=[normals, TEXTURED], **texture_entries(tmp_path))
    np.testing.assert_array_equal(load_mesh(path, 1).texels, 1)


def test_strips_are_triangles(tmp_path):
    file = File()
    file.add_primitive(corners=np.concatenate([CORNERS, [[1, 1, 0]]]).astype("f4"), mode=5)
    mesh = load_mesh(file.write(tmp_path))
    corners = mesh.vertices[mesh.faces]
    np.testing.assert_array_equal(
        np.cross(*(corners[:, 1:] - corners[:, :1]).swapaxes(0, 1))[:, 2], 1
    )


def compressed(file):
    """A primitive as Draco leaves it: counts, and no data that can be read."""
    position = file.add(CORNERS, bufferView=None)
    extension = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    file.add_primitive(position, extensions=extension)


def sparse(file):
    """Zeros but for one corner."""
    values = {"bufferView": 0, "byteOffset": 0}
    entry = {"count": 1, "indices": {**values, "componentType": 5121}, "values": values}
    file.add_primitive(file.add(CORNERS, bufferView=None, sparse=entry))


NOT_READ = {
    "Draco": compressed,
    "sparse": sparse,
    "without data": lambda file: file.add_primitive(file.add(CORNERS, bufferView=None)),
    "lines": lambda file: file.add_primitive(mode=1),
    "points": lambda file: file.add_primitive(mode=0),
    "a triangle fan": lambda file: file.add_primitive(mode=6),
    "quantised": lambda file: file.add_primitive(
        file.add((CORNERS * 127).astype(np.int8), normalized=True)
    ),
}


@pytest.mark.parametrize("reason", NOT_READ)
def test_primitives_that_are_not_read_are_named(tmp_path, reason):
    file = File()
    file.add(CORNERS)
    NOT_READ[reason](file)
    with pytest.raises(MeshFileError, match=f"shape.gltf holds no triangles; .* shape .*{reason}"):
        load_mesh(file.write(tmp_path))
    file.add_primitive()
    with pytest.warns(UserWarning, match=f"shape.gltf: a primitive of shape is not read.*{reason}"):
        mesh = load_mesh(file.write(tmp_path))
    np.testing.assert_array_equal(mesh.vertices, CORNERS)


def test_a_sparse_color_is_left_out(tmp_path):
    file = File()
    color = file.add(CORNERS, bufferView=None, sparse={"count": 1})
    file.add_primitive(attributes={"COLOR_0": color})
    with pytest.warns(UserWarning, match="COLOR_0 of shape is not read: it is sparse"):
        assert load_mesh(file.write(tmp_path)).vertex_colors is None


def test_a_buffer_that_is_missing_is_named(tmp_path):
    file = File()
    file.add_primitive()
    path = file.write(tmp_path, buffers=[{"uri": "shape.bin", "byteLength": len(file.data)}])
    with pytest.raises(MeshFileError, match=r"shape.gltf .*shape.bin is not there"):
        load_mesh(path)
    (tmp_path / "shape.bin").write_bytes(file.data)
    np.testing.assert_array_equal(load_mesh(path).vertices, CORNERS)


def test_nodes_place_their_meshes_and_a_mirror_turns_faces_round(tmp_path):
    file = File()
    file.add_primitive()
    nodes = [{"mesh": 0, "translation": [5, 0, 0]}, {"mesh": 0, "scale": [-1, 1, 1]}]
    mesh = load_mesh(file.write(tmp_path, nodes=nodes, scenes=[{"nodes": [0, 1]}]))
    mirrored, moved = mesh.vertices[mesh.faces]
    np.testing.assert_array_equal(moved, CORNERS + [5, 0, 0])
    np.testing.assert_array_equal(mirrored, (CORNERS * [-1, 1, 1])[::-1])


def test_a_scene_with_a_picture_for_many_meshes_opens_it_once(tmp_path, monkeypatch):
    file = File()
    for _ in range(3):
        file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    path = file.write(tmp_path, materials=[TEXTURED], **texture_entries(tmp_path))
    converted = []
    convert = Image.Image.convert
    monkeypatch.setattr(
        Image.Image, "convert", lambda self, mode: converted.append(mode) or convert(self, mode)
    )
    np.testing.assert_array_equal(load_mesh(path, 1).texels[:, 0, 0], [[1, 0, 0]] * 3)
    assert converted == ["RGB"]
