"""Inputs and gradients of OpenDR's own derivative: a case's name in, an `OpenDrGolden` out."""

import dataclasses
from pathlib import Path
from typing import Optional

import numpy as np
import pytest

from tests.reference.goldens import FOLDERS

OPENDR_CASES = [(name, rule) for name in ("tri", "ico2") for rule in ("plain", "overdraw")]


@dataclasses.dataclass(frozen=True)
class OpenDrGolden:
    """One image of H x W pixels and what is seen in it, row 0 on top, pixel units, y down."""

    vertices: np.ndarray  # (V, 2) x, y; pixel centres are integers
    depths: np.ndarray  # (V,)
    triangles: np.ndarray  # (F, 3) vertices of faces
    vertex_colors: np.ndarray  # (V, C)
    background: np.ndarray  # (C,)
    image: np.ndarray  # (H, W, C)
    faces: np.ndarray  # (H, W), -1 where no face is
    weights: np.ndarray  # (H, W, 3) of the point of the face
    boundary: Optional[np.ndarray]  # (H, W) outlines; None for the plain rule
    grad_image: np.ndarray  # (H, W, C)
    grad_vertices: np.ndarray  # (V, 2)
    grad_vertex_colors: np.ndarray  # (V, C)
    jacobian: np.ndarray  # (H, W, C, V, 2) of the image by the vertices

    @property
    def corners(self):
        """(1, F, 3, 3) x_ndc, y_ndc, depth."""
        height, width = self.faces.shape
        shorter = min(height, width)
        x = (2 * self.vertices[:, 0] + 1 - width) / shorter
        y = (height - 1 - 2 * self.vertices[:, 1]) / shorter
        return np.stack([x, y, self.depths], axis=1)[self.triangles][None]

    def at_vertices(self, of_corners):
        """(V, N): sums of (F, 3, N) over the corners that meet at each vertex."""
        total = np.zeros((len(self.vertices), of_corners.shape[-1]))
        np.add.at(total, self.triangles, of_corners)
        return total


def load_opendr(name: str, rule: str) -> OpenDrGolden:
    """Reads a case of `OPENDR_CASES`; skips the test where the files are absent."""
    path = next(filter(Path.exists, (folder / f"opendr_{name}.npz" for folder in FOLDERS)), None)
    if path is None:
        pytest.skip(f"the reference data of the original renderers is not here: opendr_{name}.npz")
    with np.load(path) as archive:
        data = dict(archive)
    faces = data[f"{rule}_visibility"].astype(np.int64)
    image, vertices = data[f"{rule}_image"], data["verts2d"]
    jacobian = np.zeros((image.size, vertices.size))
    place = data[f"{rule}_J_row"], data[f"{rule}_J_col"]
    np.add.at(jacobian, place, data[f"{rule}_J_data"])
    return OpenDrGolden(
        vertices=vertices,
        depths=data["verts_z"],
        triangles=data["faces"],
        vertex_colors=data["vertex_colors"],
        background=data["bgcolor"],
        image=image,
        faces=np.where(faces < len(data["faces"]), faces, -1),
        weights=data[f"{rule}_barycentric"],
        boundary=data["boundary"] if rule == "overdraw" else None,
        grad_image=data["W"],
        grad_vertices=data[f"{rule}_grad_verts2d"],
        grad_vertex_colors=data[f"{rule}_grad_vertex_colors"],
        jacobian=jacobian.reshape(*image.shape, *vertices.shape),
    )
