"""Images and gradients of the original Neural 3D Mesh Renderer: a name in, an `NmrGolden` out."""

import dataclasses
import json
from pathlib import Path
from typing import Optional

import numpy as np
import pytest

from tests.reference.goldens import FOLDERS

NMR_CASES = ["tri_sil", "tri2_rgb_aa", "ico3_depth", "ico2_rgbad_aa_fillback"]


@dataclasses.dataclass(frozen=True)
class NmrGolden:
    """One case of the double build: B views, F faces, S x S pixels, row 0 on top.

    What a case does not draw is None, and its weights are 0.
    """

    name: str
    corners: np.ndarray  # (B, F, 3, 3) x and y in NDC, depth
    colors: Optional[np.ndarray]  # (B, F, T, T, T, 3) texture cubes
    image_size: tuple  # (S, S)
    parameters: dict  # keyword arguments of the twin, rounded as the original rounds them
    weights: np.ndarray  # (B, S, S, C + 1): loss = sum(weights * image) + sum(... * depth)
    weights_depth: Optional[np.ndarray]  # (B, S, S)
    rgb: Optional[np.ndarray]  # (B, S, S, 3)
    alpha: Optional[np.ndarray]  # (B, S, S)
    depth: Optional[np.ndarray]  # (B, S, S)
    faces: np.ndarray  # (B, n, n) at the size of the render, n = 2 S if anti-aliased
    grad_corners: np.ndarray  # like corners
    grad_colors: Optional[np.ndarray]  # like colors


def load_nmr(name: str) -> NmrGolden:
    """Reads a case of `NMR_CASES`; skips the test where the files are absent."""
    path = next(filter(Path.exists, (folder / f"nmr_{name}.npz" for folder in FOLDERS)), None)
    if path is None:
        pytest.skip(f"the reference data of the original renderers is not here: nmr_{name}.npz")
    with np.load(path) as archive:
        data = dict(archive)
    meta = json.loads(str(data["meta"]))
    views, size = len(data["face_vertices"]), meta["image_size"]
    colors = data["textures"].astype(float) if "textures" in data else None
    weights = np.zeros((views, size, size, 1 if colors is None else 4))
    if "W_rgb" in data:
        weights[..., :3] = np.moveaxis(data["W_rgb"], 1, -1)
    if "W_alpha" in data:
        weights[..., -1] = data["W_alpha"]
    return NmrGolden(
        name=name,
        corners=data["face_vertices"].astype(float),
        colors=colors,
        image_size=(size, size),
        parameters={
            **{key: float(np.float32(meta[key])) for key in ("near", "far", "eps")},
            "background": tuple(float(np.float32(value)) for value in meta["background_color"]),
            "double_sided": False,
            "anti_aliasing": meta["anti_aliasing"],
        },
        weights=weights,
        weights_depth=data["W_depth"].astype(float) if "W_depth" in data else None,
        rgb=np.moveaxis(data["rgb64"], 1, -1) if "rgb64" in data else None,
        alpha=data.get("alpha64"),
        depth=data.get("depth64"),
        faces=data["face_index_map64"][:, ::-1],  # its row 0 is the bottom
        grad_corners=data["grad_face_vertices64"],
        grad_colors=data.get("grad_textures64"),
    )
