"""Colours of a mesh file baked to texels: R x R a face (Liu et al. 2019)."""

import numpy as np

from taichi_softras.io.contents import Contents


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
    problems = []
    for index, picture in enumerate(contents.pictures):
        faces = np.flatnonzero(contents.picture_of_face == index)
        placed = faces[np.isfinite(contents.corner_uvs[faces]).all(axis=(1, 2))]
        if len(placed) < len(faces):
            number = len(faces) - len(placed)
            problems.append(f"{number} faces have no coordinates in the texture {picture.name}")
        if not len(placed):
            continue
        try:
            with picture.open() as image:
                pixels = _pixels(image)
        except Exception as error:  # whatever Pillow throws
            problems.append(f"the texture {picture.name} could not be read: {error}")
            continue
        uvs = np.einsum("bak,fkc->fbac", barycentrics, contents.corner_uvs[placed])
        samples = sample_image(pixels, uvs) / np.iinfo(pixels.dtype).max
        texels[placed] = samples * texels[placed] if contents.tinted else samples
    return texels, problems


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


def _pixels(image) -> np.ndarray:
    """A PIL image as (H, W, 3) integers of 8 or 16 bits."""
    if image.mode.startswith("I;16"):  # which `convert` would clip
        return np.repeat(np.asarray(image, np.uint16)[..., None], 3, axis=-1)
    return np.asarray(image.convert("RGB"))
