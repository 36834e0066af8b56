"""Mesh files in, NumPy arrays out, and back; trimesh reads and writes them.

trimesh takes longer to import than all else, so it waits until a file is touched.
"""

import os
import pathlib
import warnings
from typing import TYPE_CHECKING, NamedTuple, Optional, Union

import numpy as np

from taichi_softras.io.files import written_beside

if TYPE_CHECKING:
    import trimesh


class MeshArrays(NamedTuple):
    """What a file holds, in the order in which `Mesh` takes it."""

    vertices: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int64
    vertex_colors: Optional[np.ndarray]  # (V, 3) in [0, 1]
    texels: Optional[np.ndarray]  # (F, R, R, 3) in [0, 1]


def load_mesh(path: Union[str, os.PathLike], texel_resolution: int = 0) -> MeshArrays:
    """Reads a mesh; the meshes of one file are joined.

    Vertices and faces keep the order of the file, but faces of one material come together; a
    vertex of an OBJ file with several UV coordinates stays one vertex. STL knows no shared
    vertices: equal ones are merged.

    Args:
        path: OBJ, PLY, OFF, STL, GLB or any format of trimesh.
        texel_resolution: with R > 0 the file's texture, face colours or vertex colours are baked
            to R x R texels a face; otherwise only vertex colours are read.

    Raises:
        ValueError: there are no triangles in the file.
    """
    suffix = pathlib.Path(path).suffix.lower()
    process = suffix == ".stl"
    parts = _load_parts(path, process=process)
    texels = None
    if texel_resolution > 0:
        texels = np.concatenate([bake_texels(part, texel_resolution) for part in parts])
    if suffix == ".obj":
        # once more with the indices of the file: every part has the vertices of all before it
        with warnings.catch_warnings():  # about vertices without UV coordinates
            warnings.simplefilter("ignore", RuntimeWarning)
            parts = _load_parts(path, process=process, maintain_order=True)
        whole = max(parts, key=lambda part: len(part.vertices))
        vertices, starts, colors = whole.vertices, [0] * len(parts), [_vertex_colors(whole)]
    else:
        vertices = np.concatenate([part.vertices for part in parts])
        starts = np.cumsum([0] + [len(part.vertices) for part in parts])
        colors = [_vertex_colors(part) for part in parts]
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts)])
    use_colors = texels is None and all(color is not None for color in colors)
    vertex_colors = np.concatenate(colors) if use_colors else None
    return MeshArrays(np.asarray(vertices), faces, vertex_colors, texels)


def save_mesh(
    path: Union[str, os.PathLike],
    vertices: np.ndarray,
    faces: np.ndarray,
    vertex_colors: Optional[np.ndarray] = None,
) -> None:
    """Writes a mesh.

    Args:
        path: its suffix names the format: OBJ, PLY, OFF, STL, GLB.
        vertices: (V, 3).
        faces: (F, 3).
        vertex_colors: (V, 3) in [0, 1], stored in 8 bits where the format has colours.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    import trimesh

    if vertex_colors is not None:
        vertex_colors = np.floor(np.clip(vertex_colors, 0, 1) * 255 + 0.5).astype(np.uint8)
    mesh = trimesh.Trimesh(vertices, faces, vertex_colors=vertex_colors, process=False)
    with written_beside(path) as beside:
        mesh.export(beside)


def bake_texels(mesh: "trimesh.Trimesh", texel_resolution: int) -> np.ndarray:
    """Samples a mesh's colours at the centres of R x R texels a face (Liu et al. 2019).

    Returns:
        (F, R, R, 3) in [0, 1]; white without any colours.
    """
    barycentrics = texel_barycentrics(texel_resolution)
    visual = mesh.visual
    image = _texture_image(visual)
    if image is not None:
        uv = np.einsum("bak,fkc->fbac", barycentrics, visual.uv[mesh.faces])
        return sample_image(image, uv)
    if visual.kind == "vertex":
        colors = _vertex_colors(mesh)[mesh.faces]
        return np.einsum("bak,fkc->fbac", barycentrics, colors)
    if visual.kind == "texture":
        colors = np.tile(visual.material.main_color[:3] / 255, (len(mesh.faces), 1))
    elif visual.kind == "face":
        colors = visual.face_colors[:, :3] / 255
    else:
        colors = np.ones((len(mesh.faces), 3))
    return np.tile(colors[:, None, None], (1, texel_resolution, texel_resolution, 1))


def texel_barycentrics(texel_resolution: int) -> np.ndarray:
    """Barycentric coordinates (R, R, 3) of the texels' centres, element [b, a].

    The cells below the diagonal, a + b < R, cover half of the face; the others are mirrored into
    the other half.
    """
    b, a = np.indices((texel_resolution, texel_resolution))
    last = texel_resolution - 1
    mirrored = a + b > last
    corner_0 = np.where(mirrored, last - a + 2 / 3, a + 1 / 3) / texel_resolution
    corner_1 = np.where(mirrored, last - b + 2 / 3, b + 1 / 3) / texel_resolution
    return np.stack([corner_0, corner_1, 1 - corner_0 - corner_1], axis=-1)


def sample_image(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear samples (.., C) of an image (H, W, C) at uv (.., 2).

    (0, 0) is the centre of the bottom left pixel and (1, 1) that of the top right one; outside of
    [0, 1] the image repeats.
    """
    uv = np.where((uv < 0) | (uv > 1), uv % 1, uv)
    rows, columns = image.shape[:2]
    x, y = uv[..., 0] * (columns - 1), (1 - uv[..., 1]) * (rows - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    x, y = (x - left)[..., None], (y - top)[..., None]
    upper = (1 - x) * image[top, left] + x * image[top, right]
    lower = (1 - x) * image[bottom, left] + x * image[bottom, right]
    return (1 - y) * upper + y * lower


def _load_parts(path, **options) -> list:
    import trimesh

    parts = [
        part
        for part in trimesh.load_scene(path, **options).dump()
        if isinstance(part, trimesh.Trimesh) and len(part.faces)
    ]
    if not parts:
        raise ValueError(f"{path} holds no triangles")
    return parts


def _vertex_colors(mesh: "trimesh.Trimesh") -> Optional[np.ndarray]:
    return mesh.visual.vertex_colors[:, :3] / 255 if mesh.visual.kind == "vertex" else None


def _texture_image(visual) -> Optional[np.ndarray]:
    """The texture (H, W, 3) in [0, 1], or None."""
    if visual.kind != "texture" or visual.uv is None:
        return None
    material = visual.material
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    return None if image is None else np.asarray(image.convert("RGB")) / 255
