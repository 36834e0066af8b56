"""Colours of a mesh file baked to texels: R x R a face (Liu et al. 2019)."""

import numpy as np

from taichi_softras.io.contents import Contents
from taichi_softras.io.textures import Unreadable, read_pixels, white_of

WRAPS = {  # what UVs outside of [0, 1] are
    "repeat": lambda uv: uv % 1,
    "mirror": lambda uv: 1 - np.abs(uv % 2 - 1),
    "clamp": lambda uv: np.clip(uv, 0, 1),
}


def bake_texels(contents: Contents, texel_resolution: int) -> tuple:
    """Samples the colours of a file at the centres of its texels.

    Returns:
        (F, R, R, 3) in [0, 1], white without any colours; and sentences, one for each picture
        that could not be sampled.
    """
    barycentrics = texel_barycentrics(texel_resolution)
    texels = np.ones((len(contents.faces), texel_resolution, texel_resolution, 3))
    if contents.vertex_colors is not None:
        colors = contents.vertex_colors[contents.faces]
        texels *= np.einsum("bak,fkc->fbac", barycentrics, colors)
    if contents.face_colors is not None:
        texels *= contents.face_colors[:, None, None]
    problems: list = []
    for picture, faces in _faces_of_pictures(contents, texels).items():
        placed = faces[contents.has_coordinates()[faces]]
        if len(placed) < len(faces):
            problems.append(without_uvs(len(faces) - len(placed), picture.name))
        if not len(placed):
            continue
        try:
            pixels = read_pixels(picture, problems, contents.alpha_counts)
        except Unreadable as error:
            problems.append(str(error))
            continue
        corner_uvs = contents.uvs[contents.uv_faces[placed]]
        uvs = np.einsum("bak,fkc->fbac", barycentrics, corner_uvs)
        texels[placed] *= sample_image(pixels, uvs, picture.wrap) / white_of(pixels)
    return texels, problems


def without_uvs(number: int, name: str) -> str:
    """The sentence for faces that a texture cannot reach."""
    return f"{number} faces have no coordinates in the texture {name}"


def _faces_of_pictures(contents: Contents, texels: np.ndarray) -> dict:
    """The faces of each picture; the materials' own colours are multiplied into texels."""
    faces_of: dict = {}
    for index, material in enumerate(contents.materials):
        faces = np.flatnonzero(contents.face_materials == index)
        texels[faces] *= np.array(material.base_color)
        if material.base_color_texture is not None and len(faces):
            faces_of.setdefault(material.base_color_texture, []).append(faces)
    return {picture: np.sort(np.concatenate(faces)) for picture, faces in faces_of.items()}


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


def sample_image(image: np.ndarray, uv: np.ndarray, wrap: str = "repeat") -> np.ndarray:
    """Bilinear samples (.., C) of an image (H, W, C) at uv (.., 2).

    (0, 0) is the centre of the bottom left pixel and (1, 1) that of the top right one; outside of
    [0, 1] the image repeats, is mirrored, or goes on as it ends.
    """
    uv = np.where((uv < 0) | (uv > 1), WRAPS[wrap](uv), uv)
    rows, columns = image.shape[:2]
    x, y = uv[..., 0] * (columns - 1), (1 - uv[..., 1]) * (rows - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    x, y = (x - left)[..., None], (y - top)[..., None]
    upper = (1 - x) * image[top, left] + x * image[top, right]
    lower = (1 - x) * image[bottom, left] + x * image[bottom, right]
    return (1 - y) * upper + y * lower
