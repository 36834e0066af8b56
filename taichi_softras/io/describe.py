"""What one asks first of a mesh."""

import numpy as np

from taichi_softras.io.contents import TEXTURES, MeshArrays


def describe(mesh: MeshArrays) -> dict:
    """By name, what one asks first of a mesh."""
    corners = mesh.vertices[mesh.faces]
    lower, upper = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    slots = [getattr(one, slot) for one in mesh.materials for slot in TEXTURES]
    textures = {id(one): one for one in slots if one is not None}.values()
    sizes = [f"{one.name} {one.image.shape[1]} x {one.image.shape[0]}" for one in textures]
    uvs = 0 if mesh.uvs is None else len(mesh.uvs)
    return {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "bounds": f"{_numbers(lower)} to {_numbers(upper)}",
        "size": _numbers(upper - lower),
        "area": f"{0.5 * np.linalg.norm(normals, axis=-1).sum():.6g}",
        "watertight": "yes" if is_watertight(mesh) else "no",
        "materials": _listed([one.name or "unnamed" for one in mesh.materials]),
        "textures": _listed(sizes),
        "UVs": uvs or "none",
        "colours": "none" if mesh.vertex_colors is None else "of vertices",
    }


def is_watertight(mesh: MeshArrays) -> bool:
    """Whether each edge is run through once each way, vertices at one place taken as one."""
    _, places = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = places.reshape(-1)[mesh.faces]
    starts, ends = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    count = len(mesh.vertices)
    there, back = np.sort(starts * count + ends), np.sort(ends * count + starts)
    return bool((there == back).all() and (np.diff(there) > 0).all())


def _numbers(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _listed(names: list) -> str:
    return f"{len(names)}: {', '.join(names)}" if names else "none"
