"""Damaged files: valid ones of each kind, changed at random by a seed.

A reader gives a mesh that is right in itself, or says what it is documented to say.
"""

import io
import pathlib
import struct
import tempfile
import time
import warnings
import zlib

import numpy as np
from PIL import Image

from taichi_softras.io.contents import TEXTURES
from taichi_softras.io.images import load_image
from taichi_softras.io.meshes import (
    MaterialArrays,
    MeshFileError,
    TextureArrays,
    load_mesh,
    save_mesh,
)
from taichi_softras.scene import primitives

KINDS = ("obj", "ply", "stl", "off", "glb", "gltf", "png", "npy")
MOST_SECONDS = 30.0  # for a file of some kilobytes, on a busy machine
NASTY_WORDS = b"-1 0 1e999 -1e308 nan inf 99999999999 2147483648 1e-320 x // 1/ \xff 3.5".split(
    b" "
)
NASTY_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000, 0x7FC00000)
MATERIALS = (
    "newmtl red\nKd 1 0 0\nKe 0.1 0.2 3\nPr 0.5\nnewmtl picture\nmap_Kd -clamp on picture.png\n"
    "map_Pr picture.png\nnorm -bm 0.5 picture.png\n"
)


def run(seed: int) -> None:
    """Damages the file of a seed and reads it; Taichi must be initialised, for arrays.

    Raises:
        AssertionError: another exception than the documented ones, a mesh or image that is wrong
            in itself, a warning of another kind, or too much time.
    """
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"file.{kind}"
        write(path, rng)
        damaged = sorted(pathlib.Path(folder).iterdir()) if kind == "obj" else [path]
        chosen = damaged[rng.integers(len(damaged))]
        chosen.write_bytes(damage(chosen.read_bytes(), rng))
        started = time.monotonic()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                READERS.get(kind, read_mesh)(path, rng)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"seed {seed}, {kind}: {type(error).__name__}: {error}") from error
        seconds = time.monotonic() - started
    assert seconds < MOST_SECONDS, f"seed {seed}, {kind}: {seconds:.0f} seconds"
    for warning in caught:
        assert warning.category is UserWarning, f"seed {seed}, {kind}: {warning.message!r}"
        assert str(path) in str(warning.message), f"seed {seed}, {kind}: {warning.message}"


def write(path: pathlib.Path, rng: np.random.Generator) -> None:
    """A valid file of the kind that the path's suffix names."""
    vertices, faces = primitives.icosphere(int(rng.integers(2)))
    kind, colors = path.suffix[1:], rng.uniform(size=vertices.shape)
    pixels = rng.integers(0, 256, (4, 6, rng.integers(3, 5)), dtype=np.uint8)
    if kind == "png":
        image = Image.fromarray(pixels)
        (image.quantize() if rng.integers(2) else image).save(path)
    elif kind == "npy":
        np.save(path, vertices.astype(rng.choice(["f4", "f8", ">f8", "i4"])))
    elif kind == "obj":
        Image.fromarray(pixels).save(path.with_name("picture.png"))
        path.with_name("file.mtl").write_text(MATERIALS)
        path.write_text(textured_obj(vertices, faces, rng))
    elif kind == "ply" and rng.integers(2):
        path.write_text(ascii_ply(vertices, faces))
    elif kind == "stl" and rng.integers(2):
        path.write_text(ascii_stl(vertices, faces))
    elif kind in ("glb", "gltf") and rng.integers(3):
        save_textured(path, vertices, faces, pixels, rng)
    elif kind == "glb" and rng.integers(2):
        path.write_bytes(textured_glb(vertices, faces, pixels))
    else:
        save_mesh(path, vertices, faces, colors if rng.integers(2) else None)


def textured_obj(vertices, faces, rng) -> str:
    """Two materials, UVs, and indices that count back."""
    lines = ["mtllib file.mtl"]
    lines += ["v {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in vertices]
    lines += ["vt {:.6f} {:.6f}".format(*vertex[:2]) for vertex in vertices]
    back = len(vertices) + 1 if rng.integers(2) else 0
    for number, face in enumerate(faces + 1 - back):
        if number % 7 == 0:
            lines.append(f"usemtl {'red' if number % 2 else 'picture'}")
        lines.append("f {0}/{0} {1}/{1} {2}/{2}".format(*face))
    return "\n".join(lines)


def ascii_ply(vertices, faces) -> str:
    """With a property that nobody knows."""
    head = f"ply\nformat ascii 1.0\nelement vertex {len(vertices)}\n"
    head += "".join(f"property float {axis}\n" for axis in ("x", "y", "z", "weight"))
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    body = ["{:.6f} {:.6f} {:.6f} 1".format(*vertex) for vertex in vertices]
    return head + "\n".join(body + ["3 {} {} {}".format(*face) for face in faces])


def ascii_stl(vertices, faces) -> str:
    """One solid."""
    corner = "vertex {:.6f} {:.6f} {:.6f}\n"
    facets = [
        "facet normal 0 0 0\nouter loop\n"
        + "".join(corner.format(*vertices[index]) for index in face)
        + "endloop\nendfacet\n"
        for face in faces
    ]
    return "solid ball\n" + "".join(facets) + "endsolid ball\n"


def textured_glb(vertices, faces, pixels) -> bytes:
    """With a material, a picture and UVs, as trimesh writes it."""
    import trimesh

    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(pixels))
    visual = trimesh.visual.TextureVisuals(uv=vertices[:, :2], material=material)
    return trimesh.Trimesh(vertices, faces, visual=visual, process=False).export(file_type="glb")


def save_textured(path, vertices, faces, pixels, rng) -> None:
    """With two materials, textures and a seam, as we write it."""
    texture = TextureArrays("picture", pixels / np.float32(255), "trilinear", "mirror")
    first = MaterialArrays("one", base_color_texture=texture, normal_texture=texture)
    second = MaterialArrays("two", emissive=(3.0, 1.0, 0.0))
    save_mesh(
        path,
        vertices,
        faces,
        rng.uniform(size=vertices.shape) if rng.integers(2) else None,
        uvs=rng.uniform(size=(faces.size, 2)),
        uv_faces=np.arange(faces.size).reshape(-1, 3),
        materials=(first, second),
        face_materials=np.arange(len(faces)) % 2,
    )


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes of bytes, words or lines; sums of a PNG are made right again."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(changed) + 1))
        length = int(rng.integers(1, 1 + rng.choice([4, 64, 1024])))
        choice = rng.integers(7)
        if choice == 0:
            del changed[at : at + length]
        elif choice == 1:
            changed[at:at] = changed[at : at + length]
        elif choice == 2:
            changed[at : at + length] = rng.bytes(min(length, len(changed) - at))
        elif choice == 3:
            changed[at : at + 4] = struct.pack("<I", rng.choice(NASTY_NUMBERS))
        elif choice == 4:
            del changed[at:]
        else:
            words = bytes(changed).split(b" ")
            words[rng.integers(len(words))] = NASTY_WORDS[rng.integers(len(NASTY_WORDS))]
            changed = bytearray(b" ".join(words))
    if data[:4] == b"\x89PNG" and rng.integers(2):
        changed = with_right_sums(changed)
    return bytes(changed)


def with_right_sums(png: bytearray) -> bytearray:
    """The chunks of a PNG file with their checksums, so that a reader goes on."""
    at = 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        if end + 4 > len(png):
            break
        png[end : end + 4] = zlib.crc32(png[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return png


def read_mesh(path: pathlib.Path, rng: np.random.Generator) -> None:
    """Without texels or with; what is read can be drawn."""
    resolution = int(rng.integers(3))
    try:
        mesh = load_mesh(path, resolution)
    except MeshFileError as error:
        assert str(path) in str(error), f"does not name the file: {error}"
        return
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
    assert mesh.vertices.shape[1:] == mesh.faces.shape[1:] == (3,) and len(mesh.faces)
    assert np.isfinite(mesh.vertices).all()
    assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
    if mesh.vertex_colors is not None:
        assert mesh.vertex_colors.shape == mesh.vertices.shape
        assert ((0 <= mesh.vertex_colors) & (mesh.vertex_colors <= 1)).all()
    check_materials(mesh)
    if resolution:
        assert mesh.texels.shape == (len(mesh.faces), resolution, resolution, 3)
        assert ((0 <= mesh.texels) & (mesh.texels <= 1 + 1e-12)).all()


def check_materials(mesh) -> None:
    """UVs, materials and textures can be drawn."""
    assert (mesh.uvs is None) == (mesh.uv_faces is None)
    if mesh.uvs is not None:
        assert mesh.uv_faces.shape == mesh.faces.shape and np.isfinite(mesh.uvs).all()
        assert mesh.uv_faces.min() >= 0 and mesh.uv_faces.max() < len(mesh.uvs)
    assert (mesh.materials == ()) == (mesh.face_materials is None)
    if mesh.materials:
        assert mesh.face_materials.shape == (len(mesh.faces),)
        assert mesh.face_materials.min() >= 0
        assert mesh.face_materials.max() < len(mesh.materials)
    for material in mesh.materials:
        numbers = [*material.base_color, *material.emissive, *material.specular]
        numbers += [material.metallic, material.roughness, material.shininess]
        assert (
            np.isfinite(numbers).all() and min(numbers) >= 0 and np.isfinite(material.normal_scale)
        )
        for texture in filter(None, (getattr(material, slot) for slot in TEXTURES)):
            assert texture.image.ndim == 3 and texture.image.size and mesh.uvs is not None
            assert ((0 <= texture.image) & (texture.image <= 1)).all()


def read_image(path: pathlib.Path, rng: np.random.Generator) -> None:
    """Numbers in [0, 1], or a ValueError that names the file."""
    try:
        image = load_image(path)
    except ValueError as error:
        assert str(path) in str(error), f"does not name the file: {error}"
        return
    assert image.dtype == np.float64 and image.ndim in (2, 3)
    assert ((0 <= image) & (image <= 1)).all()


def read_array(path: pathlib.Path, rng: np.random.Generator) -> None:
    """What NumPy makes of it is checked as vertices are: a ValueError, or finite numbers."""
    from taichi_softras.scene.checks import finite_array

    try:
        array = np.load(io.BytesIO(path.read_bytes()))
    except Exception:  # NumPy's own
        return
    try:
        vertices = finite_array("vertices", array, ("V", 3))
    except ValueError:
        return
    assert np.isfinite(vertices).all()


READERS = {"png": read_image, "npy": read_array}
