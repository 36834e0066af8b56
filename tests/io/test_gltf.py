"""glTF and GLB: what is drawn, and what is said of the rest."""

import base64
import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from taichi_softras.io.meshes import MaterialArrays, MeshFileError, load_mesh
from taichi_softras.scene import primitives
from tests.tolerances import MESH_FILE

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
    mesh = load_mesh(path)
    np.testing.assert_array_equal(mesh.vertex_colors, [[1, 0, 1]] * 6)
    assert [m.base_color for m in mesh.materials] == [(0.2, 1, 1)] * 2
    np.testing.assert_array_equal(mesh.materials[0].base_color_texture.image[0, 0], [1, 0, 0])
    assert mesh.materials[1].base_color_texture is None


def test_the_material_chooses_the_texture_coordinates(tmp_path):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS + 0.5, "TEXCOORD_1": UVS}, material=0)
    second = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, "texCoord": 1}}}
    path = file.write(tmp_path, materials=[second], **texture_entries(tmp_path))
    np.testing.assert_array_equal(load_mesh(path, 1).texels, [[[[1, 0, 0]]]])


@pytest.mark.parametrize("resolution", [0, 1])
def test_a_texture_that_is_missing_is_named(tmp_path, resolution):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    entries = texture_entries(tmp_path, uri="textures/blue.png")
    path = file.write(tmp_path, materials=[TEXTURED], **entries)
    sentence = "shape.gltf: the texture textures/blue.png could not be read: .* is not there"
    with pytest.warns(UserWarning, match=sentence):
        mesh = load_mesh(path, resolution)
    if resolution:
        np.testing.assert_array_equal(mesh.texels, 1)
    else:
        assert mesh.materials[0].base_color_texture is None


def test_what_shines_by_a_missing_texture_is_dark(tmp_path):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    file.add_primitive(material=0)  # without UVs
    material = {"emissiveTexture": {"index": 0}, "emissiveFactor": [1, 1, 1]}
    entries = texture_entries(tmp_path)
    path = file.write(tmp_path, materials=[material], **entries)
    with pytest.warns(UserWarning, match="1 faces have no coordinates in the texture red.png"):
        mesh = load_mesh(path)
    shining = [mesh.materials[number].emissive for number in mesh.face_materials]
    assert shining == [(1, 1, 1), (0, 0, 0)]
    (tmp_path / "red.png").unlink()
    with pytest.warns(UserWarning, match="red.png could not be read"):
        mesh = load_mesh(path)
    assert [material.emissive for material in mesh.materials] == [(0, 0, 0)]


def test_a_texture_without_coordinates_is_named(tmp_path):
    """Of its faces alone: the others of the material have it."""
    file = File()
    file.add_primitive(material=0)
    path = file.write(tmp_path, materials=[TEXTURED], **texture_entries(tmp_path))
    for resolution in (0, 1):
        with pytest.warns(UserWarning, match="1 faces have no coordinates in the texture red.png"):
            mesh = load_mesh(path, resolution)
    np.testing.assert_array_equal(mesh.texels, 1)
    bad = UVS.copy()
    bad[0, 0] = np.nan
    file.add_primitive(attributes={"TEXCOORD_0": bad}, material=0)
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    path = file.write(tmp_path, materials=[TEXTURED], **texture_entries(tmp_path))
    with pytest.warns(UserWarning, match="2 faces have no coordinates in the texture red.png"):
        with pytest.warns(UserWarning, match="1 texture coordinates are not finite"):
            mesh = load_mesh(path)
    textures = [material.base_color_texture for material in mesh.materials]
    assert [textures[number] is None for number in mesh.face_materials] == [True, True, False]
    assert np.isfinite(mesh.uvs).all()


TURNED = {"offset": [0.5, 0.25], "rotation": np.pi / 2, "scale": [2.0, 3.0]}
AT = np.array([[0.1, 0.2], [0.25, 0], [0, 0.25]], np.float32)  # v down
# moved by KHR_texture_transform: scaled, turned counter-clockwise as seen with v down, moved
MOVED = np.stack([3 * AT[:, 1] + 0.5, -2 * AT[:, 0] + 0.25], axis=1)


@pytest.mark.parametrize("tex_coord", [0, 1])
def test_texture_transforms_are_followed(tmp_path, tex_coord):
    """The extension's own texCoord counts, too."""
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": AT, "TEXCOORD_1": AT[::-1].copy()}, material=0)
    transform = {**TURNED, **({"texCoord": 1} if tex_coord else {})}
    info = {"index": 0, "extensions": {"KHR_texture_transform": transform}}
    materials = [{"pbrMetallicRoughness": {"baseColorTexture": info}}]
    path = file.write(tmp_path, materials=materials, **texture_entries(tmp_path))
    mesh = load_mesh(path)
    expected = MOVED[::-1] if tex_coord else MOVED
    uvs = np.stack([expected[:, 0], 1 - expected[:, 1]], axis=1)
    np.testing.assert_allclose(mesh.uvs[mesh.uv_faces[0]], uvs, atol=MESH_FILE)


def test_textures_of_other_coordinates_than_the_color_are_named(tmp_path):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS, "TEXCOORD_1": UVS + 0.5}, material=0)
    material = {**TEXTURED, "normalTexture": {"index": 0}}
    material["emissiveTexture"] = {"index": 0, "texCoord": 1}
    path = file.write(tmp_path, materials=[material], **texture_entries(tmp_path))
    with pytest.warns(UserWarning, match="not followed: the emissive texture red.png, whose coor"):
        mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.uvs, np.stack([UVS[:, 0], 1 - UVS[:, 1]], axis=1))
    only = mesh.materials[0]
    assert only.emissive_texture is None and only.normal_texture is only.base_color_texture


WRAPS = {None: "repeat", 10497: "repeat", 33648: "mirror", 33071: "clamp"}
FILTERS = [(None, None, "bilinear"), (9728, 9728, "nearest"), (9728, 9987, "nearest")]
FILTERS += [(9729, 9729, "bilinear"), (9729, 9987, "trilinear"), (None, 9985, "trilinear")]
FILTERS += [(None, 9984, "nearest"), (9729, 9728, "bilinear")]


@pytest.mark.parametrize("near, far, name", FILTERS)
@pytest.mark.parametrize("wrap", WRAPS)
def test_samplers(tmp_path, near, far, name, wrap):
    keys = {"magFilter": near, "minFilter": far, "wrapS": wrap, "wrapT": wrap}
    sampler = {key: value for key, value in keys.items() if value is not None}
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    entries = texture_entries(tmp_path)
    entries["textures"][0]["sampler"] = 0
    path = file.write(tmp_path, materials=[TEXTURED], samplers=[sampler], **entries)
    texture = load_mesh(path).materials[0].base_color_texture
    assert (texture.filter, texture.wrap, texture.name) == (name, WRAPS[wrap], "red.png")


def test_a_texture_that_wraps_in_two_ways_is_named(tmp_path):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    entries = texture_entries(tmp_path)
    entries["textures"][0]["sampler"] = 0
    path = file.write(tmp_path, materials=[TEXTURED], samplers=[{"wrapS": 33071}], **entries)
    with pytest.warns(UserWarning, match="not followed: wrapT of red.png"):
        assert load_mesh(path).materials[0].base_color_texture.wrap == "clamp"


def test_the_numbers_of_a_material(tmp_path):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    picture = {"index": 0}
    metal = {"baseColorFactor": [0.1, 0.2, 0.3, 1], "metallicFactor": 0.4, "roughnessFactor": 0.5}
    material = {
        "name": "all",
        "pbrMetallicRoughness": {**metal, "metallicRoughnessTexture": picture},
        "normalTexture": {**picture, "scale": 0.25},
        "emissiveTexture": picture,
        "emissiveFactor": [0.5, 0.25, 1],
        "extensions": {"KHR_materials_emissive_strength": {"emissiveStrength": 4}},
        "doubleSided": True,
    }
    path = file.write(tmp_path, materials=[material], **texture_entries(tmp_path))
    found = load_mesh(path).materials[0]
    texture = found.normal_texture
    assert found == MaterialArrays(
        name="all",
        base_color=(0.1, 0.2, 0.3),
        metallic=0.4,
        roughness=0.5,
        emissive=(2, 1, 4),
        metallic_roughness_texture=texture,
        normal_texture=texture,
        emissive_texture=texture,
        normal_scale=0.25,
        double_sided=True,
    )
    path = file.write(tmp_path, materials=[{}])  # what the format says of a material without any
    assert load_mesh(path).materials == (MaterialArrays(metallic=1.0, double_sided=False),)


def test_of_an_older_model_what_is_diffuse_is_drawn(tmp_path):
    """And what others keep in `extras` is no matter."""
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    name = "KHR_materials_pbrSpecularGlossiness"
    gloss = {"diffuseFactor": [0.5, 1, 1, 1], "diffuseTexture": {"index": 0}}
    material = {"extensions": {name: {**gloss, "glossinessFactor": 0.75}}}
    for extras in ({"specular": "shiny", "shininess": None}, 3, None):
        materials = [{**material, "extras": extras}]
        entries = texture_entries(tmp_path)
        path = file.write(tmp_path, materials=materials, extensionsUsed=[name], **entries)
        with pytest.warns(UserWarning, match=f"not followed: {name}"):
            found = load_mesh(path).materials[0]
        assert (found.base_color, found.metallic, found.roughness) == ((0.5, 1, 1), 0, 0.25)
        assert found.base_color_texture.name == "red.png"


def test_what_is_not_followed_is_named_once(tmp_path):
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0, targets=[{}])
    material = {**TEXTURED, "alphaMode": "BLEND", "occlusionTexture": {"index": 0}}
    used = ["KHR_materials_unlit", "KHR_texture_transform", "KHR_materials_clearcoat"]
    materials = [material, {"alphaMode": "MASK"}]  # the second is of no face
    entries = texture_entries(tmp_path)
    path = file.write(tmp_path, materials=materials, extensionsUsed=used, **entries)
    with pytest.warns(UserWarning) as caught:
        load_mesh(path)
    names = (
        "KHR_materials_clearcoat, KHR_materials_unlit, morph targets, occlusionTexture, BLEND alpha"
    )
    assert [str(w.message).partition("shape.gltf: ")[2] for w in caught] == [
        f"not followed: {names}"
    ]


@pytest.mark.parametrize("place", ["view", "data", "percent"])
def test_pictures_inside_of_the_file_or_beside_it(tmp_path, place):
    """What the file calls the picture is the texture's name."""
    file = File()
    file.add_primitive(attributes={"TEXCOORD_0": UVS}, material=0)
    entries = texture_entries(tmp_path)
    data = (tmp_path / "red.png").read_bytes()
    (tmp_path / "red.png").rename(tmp_path / "the red.png")
    if place == "view":
        view = {"buffer": 0, "byteOffset": len(file.data), "byteLength": len(data)}
        file.tree["bufferViews"].append(view)
        file.data += data
        number = len(file.tree["bufferViews"]) - 1
        image = {"name": "inside", "mimeType": "image/png", "bufferView": number}
    elif place == "data":
        uri = "data:image/png;base64," + base64.b64encode(data).decode()
        image = {"name": "inside", "uri": uri}
    else:
        image = {"uri": "the%20red.png"}
    path = file.write(tmp_path, materials=[TEXTURED], **{**entries, "images": [image]})
    texture = load_mesh(path).materials[0].base_color_texture
    assert texture.name == ("the%20red.png" if place == "percent" else "inside")
    np.testing.assert_array_equal(texture.image[:, :, 0], np.pad(np.ones((4, 4)), ((0, 4), (0, 4))))


def test_a_texture_that_nothing_shows_is_not_converted(tmp_path):
    """Nor missed: the material's normals, and a material that no face has."""
    file = File()
    file.add_primitive(material=0)
    normals = {**WHITE, "normalTexture": {"index": 0}}
    path = file.write(tmp_path, materials=[normals, TEXTURED], **texture_entries(tmp_path))
    np.testing.assert_array_equal(load_mesh(path, 1).texels, 1)


@pytest.mark.parametrize("mode", [5, 6])
def test_strips_and_fans_are_triangles(tmp_path, mode):
    square = np.concatenate([CORNERS, [[1, 1, 0]]])[[0, 1, 2, 3] if mode == 5 else [0, 1, 3, 2]]
    file = File()
    file.add_primitive(corners=square.astype("f4"), mode=mode)
    mesh = load_mesh(file.write(tmp_path))
    corners = mesh.vertices[mesh.faces]
    np.testing.assert_array_equal(
        np.cross(*(corners[:, 1:] - corners[:, :1]).swapaxes(0, 1))[:, 2], [1, 1]
    )


@pytest.mark.parametrize(
    "changes, reason",
    [({"count": 4}, "4 elements are more than"), ({"componentType": 5130}, "5130")],
)
def test_an_accessor_that_is_wrong_is_named(tmp_path, changes, reason):
    file = File()
    file.add_primitive(file.add(CORNERS, **changes))
    with pytest.raises(MeshFileError, match=f"shape.gltf cannot be read: .*{reason}"):
        load_mesh(file.write(tmp_path))


def test_an_index_that_no_vertex_has_is_named(tmp_path):
    """Also where another primitive has as many."""
    file = File()
    file.add_primitive(indices=file.add(np.array([0, 1, 3], np.uint8)))
    file.add_primitive()
    with pytest.raises(MeshFileError, match="shape has 3 vertices, but indices 0 to 3"):
        load_mesh(file.write(tmp_path))


def compressed(file):
    """A primitive as Draco leaves it: counts, and no data that can be read."""
    position = file.add(CORNERS, bufferView=None)
    extension = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    file.add_primitive(position, extensions=extension)


def meshopt(file):
    """An accessor that is packed."""
    number = file.add(CORNERS)
    view = file.tree["bufferViews"][file.tree["accessors"][number]["bufferView"]]
    view["extensions"] = {"EXT_meshopt_compression": {}}
    return number


NOT_READ = {
    "Draco": compressed,
    "without data": lambda file: file.add_primitive(file.add(CORNERS, bufferView=None)),
    "lines": lambda file: file.add_primitive(mode=1),
    "points": lambda file: file.add_primitive(mode=0),
    "meshopt": lambda file: file.add_primitive(meshopt(file)),
}


@pytest.mark.parametrize("reason", NOT_READ)
def test_primitives_that_are_not_read_are_named(tmp_path, monkeypatch, reason):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)  # no DracoPy
    file = File()
    file.add(CORNERS)
    NOT_READ[reason](file)
    with pytest.raises(MeshFileError, match=f"shape.gltf holds no triangles; .* shape .*{reason}"):
        load_mesh(file.write(tmp_path))
    file.add_primitive()
    with pytest.warns(UserWarning, match=f"shape.gltf: a primitive of shape is not read.*{reason}"):
        mesh = load_mesh(file.write(tmp_path))
    np.testing.assert_array_equal(mesh.vertices, CORNERS)


def test_what_draco_has_compressed(tmp_path):
    pytest.importorskip("DracoPy")
    import trimesh

    vertices, faces = primitives.icosphere(1)
    visual = trimesh.visual.TextureVisuals(uv=vertices[:, :2])
    shape = trimesh.Trimesh(vertices, faces, visual=visual, process=False)
    data = trimesh.exchange.gltf.export_glb(trimesh.Scene(shape), extension_draco=True)
    (tmp_path / "mesh.glb").write_bytes(data)
    mesh = load_mesh(tmp_path / "mesh.glb")
    assert len(mesh.vertices) == len(vertices) and len(mesh.faces) == len(faces)
    places = mesh.vertices[mesh.faces][..., :2]
    np.testing.assert_allclose(mesh.uvs[mesh.uv_faces], places, atol=1e-3)  # 14 bits


def test_a_color_that_cannot_be_read_is_left_out(tmp_path):
    file = File()
    file.add_primitive(attributes={"COLOR_0": meshopt(file)})
    file.add_primitive(attributes={"COLOR_0": np.ones((2, 3), np.float32)})
    with pytest.warns(UserWarning, match="COLOR_0 of shape is not read: it is compressed by mesh"):
        with pytest.warns(UserWarning, match="COLOR_0 of shape is not read: it is of another len"):
            assert load_mesh(file.write(tmp_path)).vertex_colors is None


@pytest.mark.parametrize("is_based", [False, True])
def test_sparse_accessors(tmp_path, is_based):
    """Values in place of zeros, or of others."""
    file = File()
    indices = file.tree["accessors"][file.add(np.array([2], np.uint8))]["bufferView"]
    values = file.tree["accessors"][file.add(np.array([[0, 5, 0]], "f4"))]["bufferView"]
    where = {"bufferView": indices, "componentType": 5121}
    entry = {"count": 1, "indices": where, "values": {"bufferView": values}}
    base = {} if is_based else {"bufferView": None}
    file.add_primitive(file.add(CORNERS, sparse=entry, **base))
    expected = (CORNERS if is_based else np.zeros((3, 3))).copy()
    expected[2] = [0, 5, 0]
    np.testing.assert_array_equal(load_mesh(file.write(tmp_path)).vertices, expected)


def test_quantised_and_interleaved_arrays(tmp_path):
    """Positions of bytes and UVs of 16 bits, in one buffer view of 12 bytes a vertex."""
    rows = np.zeros(3, [("position", "i1", 3), ("", "u1"), ("uv", "<u2", 2), ("rest", "<u4")])
    rows["position"], rows["uv"] = CORNERS * 127, UVS * 65536 - (UVS > 0)
    file = File()
    file.tree["bufferViews"].append({"buffer": 0, "byteLength": 36, "byteStride": 12})
    file.data = rows.tobytes()
    head = {"bufferView": 0, "count": 3, "normalized": True}
    file.tree["accessors"] += [
        {**head, "componentType": 5120, "type": "VEC3"},
        {**head, "componentType": 5123, "type": "VEC2", "byteOffset": 4},
    ]
    file.add_primitive(0, attributes={"TEXCOORD_0": 1})
    mesh = load_mesh(file.write(tmp_path, extensionsUsed=["KHR_mesh_quantization"]))
    np.testing.assert_array_equal(mesh.vertices, CORNERS)
    np.testing.assert_allclose(mesh.uvs, np.stack([UVS[:, 0], 1 - UVS[:, 1]], 1), atol=1e-4)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype, one", [("float32", 1), ("uint8", 255), ("uint16", 65535)])
def test_colors_of_vertices_of_every_kind(tmp_path, alpha, dtype, one):
    """Of three or four components; the fourth is not drawn."""
    colors = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]], dtype) * np.array(one, dtype)
    file = File()
    given = np.ascontiguousarray(colors[:, : 4 if alpha else 3])
    file.add_primitive(attributes={"COLOR_0": file.add(given, normalized=dtype != "float32")})
    expected = colors[:, :3].astype(float) / one
    np.testing.assert_array_equal(load_mesh(file.write(tmp_path)).vertex_colors, expected)


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
    file.add_primitive(attributes={"TEXCOORD_0": UVS})
    nodes = [{"mesh": 0, "translation": [5, 0, 0]}, {"mesh": 0, "scale": [-1, 1, 1]}]
    mesh = load_mesh(file.write(tmp_path, nodes=nodes, scenes=[{"nodes": [0, 1]}]))
    moved, mirrored = mesh.vertices[mesh.faces]
    np.testing.assert_array_equal(moved, CORNERS + [5, 0, 0])
    np.testing.assert_array_equal(mirrored, (CORNERS * [-1, 1, 1])[::-1])
    uvs = np.stack([UVS[:, 0], 1 - UVS[:, 1]], axis=1)
    np.testing.assert_allclose(mesh.uvs[mesh.uv_faces], [uvs, uvs[::-1]])


def test_a_tree_of_nodes(tmp_path):
    """Scale, then rotation, then translation, then the parent's matrix, written by columns.

    A node that is its own child, or of two parents, is there once.
    """
    half = np.sqrt(0.5)
    matrix = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 7, 1]
    child = {"mesh": 0, "rotation": [0, 0, half, half], "scale": [2, 1, 1]}
    nodes = [{"matrix": matrix, "children": [1, 1]}, {**child, "translation": [0, 3, 0]}]
    nodes[1]["children"] = [0]
    file = File()
    file.add_primitive()
    mesh = load_mesh(file.write(tmp_path, nodes=nodes))
    np.testing.assert_allclose(mesh.vertices, [[0, 3, 7], [0, 5, 7], [-1, 3, 7]], atol=1e-12)
    path = file.write(tmp_path, nodes=nodes, scenes=[])  # without a scene: nodes of no parent
    with pytest.raises(MeshFileError, match="holds no triangles"):
        load_mesh(path)


def test_vertices_that_differ_in_uvs_alone_are_one(tmp_path):
    """Where normals say that the surface is smooth there; a seam of UVs and of materials."""
    file = File()
    up = np.tile(np.array([[0, 0, 1]], "f4"), (3, 1))
    second = np.stack([CORNERS[1], [1, 1, 0], CORNERS[2]]).astype("f4")
    file.add_primitive(CORNERS, {"NORMAL": up, "TEXCOORD_0": UVS}, material=0)
    file.add_primitive(second, {"NORMAL": up, "TEXCOORD_0": UVS + 0.5}, material=1)
    mesh = load_mesh(file.write(tmp_path, materials=[{}, {"name": "second"}]))
    np.testing.assert_array_equal(mesh.vertices, [*CORNERS, [1, 1, 0]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [1, 3, 2]])
    np.testing.assert_array_equal(mesh.uv_faces, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(mesh.face_materials, [0, 1])
    file.tree["meshes"][0]["primitives"].pop()
    file.add_primitive(second, {"NORMAL": up[:, [2, 1, 0]].copy()})
    assert len(load_mesh(file.write(tmp_path, materials=[{}])).vertices) == 6  # an edge


@pytest.mark.parametrize("is_ours", [True, False])
def test_our_own_numbers_of_vertices_join_what_is_one(tmp_path, is_ours):
    """Unless they are of several meshes that another program has joined."""
    file = File()
    numbers = np.array([[1], [0], [2]], "f4")
    file.add_primitive(CORNERS, {"_VERTEX": numbers, "TEXCOORD_0": UVS, "_UV": numbers})
    file.add_primitive(
        CORNERS if is_ours else CORNERS + np.float32(5),
        {"_VERTEX": numbers, "TEXCOORD_0": UVS if is_ours else UVS + 1, "_UV": numbers},
    )
    mesh = load_mesh(file.write(tmp_path))
    assert len(mesh.vertices) == len(mesh.uvs) == (3 if is_ours else 6)
    np.testing.assert_array_equal(mesh.faces[0], [1, 0, 2] if is_ours else [0, 1, 2])
    np.testing.assert_array_equal(mesh.vertices[mesh.faces[0]], CORNERS)


def test_primitives_of_the_same_accessors_share_vertices(tmp_path):
    file = File()
    square = np.concatenate([CORNERS, [[1, 1, 0]]]).astype("f4")
    shared = {"POSITION": file.add(square), "TEXCOORD_0": file.add(square[:, :2].copy())}
    for faces in ([0, 1, 2], [1, 3, 2]):
        indices = file.add(np.array(faces, np.uint16))
        file.add_primitive(shared["POSITION"], shared, indices=indices)
    mesh = load_mesh(file.write(tmp_path))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [1, 3, 2]])
    np.testing.assert_array_equal(mesh.uv_faces, mesh.faces)
    assert len(mesh.vertices) == len(mesh.uvs) == 4


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
