"""Edges that are meant to be sharp, found by their angle.

Normals of vertices are smooth over all faces that meet there: of a box whose corners are single
vertices they round it off. Most mesh files have normals that say where it is sharp, or say nothing.
"""

import numpy as np

from taichi_softras.io.contents import MeshArrays

CREASE_DEGREES = 50.0  # an octagonal prism is round, a hexagonal one is not


def split_creases(mesh: MeshArrays, degrees: float = CREASE_DEGREES) -> MeshArrays:
    """The same surface, with vertices of their own for faces on either side of a sharp edge.

    Args:
        mesh: its vertices change, faces keep their order.
        degrees: between the normals of two faces; beyond it their edge is sharp.
    """
    corners = mesh.faces.ravel()
    starts, ends = np.arange(len(corners)), np.arange(len(corners)).reshape(-1, 3)
    ends = np.roll(ends, -1, axis=1).ravel()  # the corner where the edge of a corner ends
    low, high = np.sort([corners, corners[ends]], axis=0)
    keys = low * len(mesh.vertices) + high
    order = np.argsort(keys, kind="stable")
    is_pair = keys[order[1:]] == keys[order[:-1]]
    one, other = (
        order[:-1][is_pair],
        order[1:][is_pair],
    )  # edges by their first corner
    is_turned = corners[one] == corners[other]  # both run the same way: one face is inside out

    points = mesh.vertices[mesh.faces]
    normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    lengths = np.linalg.norm(normals, axis=-1)
    dots = (normals[one // 3] * normals[other // 3]).sum(-1) * np.where(is_turned, -1.0, 1.0)
    limits = np.cos(np.radians(degrees)) * lengths[one // 3] * lengths[other // 3]
    is_smooth = dots >= limits  # an empty face, too
    one, other, is_turned = one[is_smooth], other[is_smooth], is_turned[is_smooth]
    here, there = np.where(is_turned, other, ends[other]), np.where(is_turned, ends[other], other)
    groups = _connected(
        len(starts), np.concatenate([one, ends[one]]), np.concatenate([here, there])
    )

    firsts, faces = np.unique(groups, return_inverse=True)
    kept = corners[firsts]
    has_own_uvs = mesh.uvs is not None and mesh.uv_faces is None
    return mesh._replace(
        vertices=mesh.vertices[kept],
        faces=faces.reshape(-1, 3),
        vertex_colors=None if mesh.vertex_colors is None else mesh.vertex_colors[kept],
        uv_faces=mesh.faces if has_own_uvs else mesh.uv_faces,
    )


def _connected(count: int, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(count,): the least index that each is connected to, by pairs."""
    labels = np.arange(count)
    while True:
        low, high = np.sort([labels[ones], labels[others]], axis=0)
        if (low == high).all():
            return labels
        np.minimum.at(labels, high, low)
        while (labels[labels] != labels).any():
            labels = labels[labels]
