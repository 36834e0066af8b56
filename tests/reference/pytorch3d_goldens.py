"""Results of PyTorch3D itself: a case's name comes in, a `PyTorch3DGolden` goes out.

PyTorch3D's NDC has x to the left, ours to the right: x is mirrored here, images are the same.
"""

import dataclasses
import json
from typing import Optional

import numpy as np
import pytest

from tests.reference.goldens import FOLDERS
from tests.reference.k_nearest import Fragments

CASES = [
    "fragments_ico2",
    "fragments_two_persp_clip_24x40",
    "hardflat_torus_ortho",
    "hardphong_ico2_cull",
    "silhouette_torus",
    "softphong_uv_box",
]


@dataclasses.dataclass(frozen=True)
class PyTorch3DGolden:
    """One case: V vertices, F faces, H x W pixels, row 0 on top, alpha last."""

    name: str
    vertices: np.ndarray  # (V, 3) world
    faces: np.ndarray  # (F, 3)
    vertices_view: np.ndarray  # (V, 3), x to the right, depth last
    focal_length: Optional[float]  # 1 / tan(fov / 2); None for an orthographic camera
    ndc_scale: float  # 1 / half the height of an orthographic camera
    rotation: np.ndarray  # (3, 3) view = world @ rotation + translation
    eye: np.ndarray  # (3,) world
    image: np.ndarray  # (H, W, 4)
    weights: np.ndarray  # (H, W, 4): loss = sum(weights * image)
    fragments: Optional[Fragments]
    parameters: dict  # everything else
    data: dict  # the file's arrays

    @property
    def image_size(self):
        return self.image.shape[:2]

    @property
    def settings(self):
        """Those arguments of `KNearest` that choose the fragments."""
        names = (
            "faces_per_pixel",
            "blur_radius",
            "perspective_correct",
            "clip_barycentric_coords",
            "cull_backfaces",
        )
        return {name: self.parameters[name] for name in names}

    @property
    def numbers(self):
        """Those that blend them."""
        return {
            "sigma": self.parameters["sigma"],
            "gamma": self.parameters["gamma"],
            "near": self.parameters["znear"],
            "far": self.parameters["zfar"],
            "background": tuple(self.parameters["background"]),
        }

    @property
    def corners(self):
        """(1, F, 3, 3) x_ndc, y_ndc, depth."""
        x, y, depth = self.vertices_view.T
        scale = self.ndc_scale if self.focal_length is None else self.focal_length / depth
        return np.stack([x * scale, y * scale, depth], axis=1)[self.faces][None]

    def grad_vertices(self, grad_corners):
        """(V, 3) world, of a gradient at `corners`."""
        grad_ndc = np.zeros_like(self.vertices)
        np.add.at(grad_ndc, self.faces, grad_corners[0].astype(float))
        x, y, depth = self.vertices_view.T
        if self.focal_length is None:
            grad_view = grad_ndc * [self.ndc_scale, self.ndc_scale, 1]
        else:
            scale = self.focal_length / depth
            across = -(grad_ndc[:, 0] * x + grad_ndc[:, 1] * y) * scale / depth
            grad_view = np.stack(
                [grad_ndc[:, 0] * scale, grad_ndc[:, 1] * scale, grad_ndc[:, 2] + across], axis=1
            )
        return grad_view @ self.rotation.T


def load(name):
    """Reads a case of `CASES`; skips the test where the files are absent."""
    paths = [folder / f"p3d_{name}.npz" for folder in FOLDERS]
    path = next(filter(lambda path: path.exists(), paths), None)
    if path is None:
        pytest.skip(f"the reference data of PyTorch3D is not here: {paths[0].name}")
    with np.load(path) as archive:
        data = dict(archive)
    parameters = json.loads(str(data.pop("params")))
    mirror = np.diag([-1.0, 1.0, 1.0])
    rotation = data["R"].astype(float) @ mirror
    translation = data["T"].astype(float) @ mirror
    is_perspective = parameters["camera"] == "persp"
    keys = ("pix_to_face", "zbuf", "bary", "dists")
    vertices = data["vertices"].astype(float)
    return PyTorch3DGolden(
        name=name,
        vertices=vertices,
        faces=data["faces"],
        vertices_view=vertices @ rotation + translation,
        focal_length=1 / np.tan(np.radians(parameters["fov_y_degrees"]) / 2)
        if is_perspective
        else None,
        ndc_scale=1 / parameters["ortho_extent"],
        rotation=rotation,
        eye=-translation @ rotation.T,
        image=data["image"],
        weights=data["weights"],
        fragments=Fragments(*(data[key] for key in keys)) if keys[0] in data else None,
        parameters=parameters,
        data=data,
    )


def normalized(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def light_up(golden, points, normals):
    """What multiplies a colour, and what is added to it, at points (..., 3) of the world."""
    light = {key: np.array(value[0]) for key, value in golden.parameters["light_params"].items()}
    if golden.parameters["light"] == "point":
        direction = normalized(light["location"] - points)
    else:
        direction = normalized(light["direction"])
    cosine = (normals * direction).sum(axis=-1, keepdims=True)
    mirrored = 2 * cosine * normals - direction
    glance = (normalized(golden.eye - points) * mirrored).sum(axis=-1, keepdims=True)
    shine = (np.maximum(glance, 0) * (cosine > 0)) ** golden.parameters["material"]["shininess"]
    lit = light["ambient_color"] + light["diffuse_color"] * np.maximum(cosine, 0)
    return lit, light["specular_color"] * shine


def face_normals(golden):
    a, b, c = np.moveaxis(golden.vertices[golden.faces], 1, 0)
    return np.cross(b - a, c - a)


def phong_light(golden, fragments):
    """`light_up` at fragments, (H, W, K, 3) each, with interpolated vertex normals."""
    vertex_normals = np.zeros_like(golden.vertices)
    for corner in range(3):
        np.add.at(vertex_normals, golden.faces[:, corner], face_normals(golden))
    normals = normalized(interpolate(golden, fragments, normalized(vertex_normals)))
    return light_up(golden, interpolate(golden, fragments, golden.vertices), normals)


def phong_colors(golden, fragments):
    """(H, W, K, 3) colours of fragments, lit by interpolated vertex normals."""
    lit, shine = phong_light(golden, fragments)
    entries, shares = paint(golden, fragments)
    return (shares[..., None] * paints(golden)[entries]).sum(axis=3) * lit + shine


def interpolate(golden, fragments, values):
    """(H, W, K, D) of (V, D) values at vertices."""
    return np.einsum("hwkc,hwkcd->hwkd", fragments.weights, values[golden.faces[fragments.faces]])


def paints(golden):
    """(P, 3) what a surface takes its colours from: those of vertices, or texels row by row."""
    name = "texture_map" if "texture_map" in golden.data else "vertex_colors"
    return golden.data[name].astype(float).reshape(-1, 3)


def paint(golden, fragments):
    """Rows of `paints` that make the colour of a fragment, and their shares, (H, W, K, N) each.

    Texels: bilinear; v = 0 is the bottom row, 0 and 1 are the centres of the outer texels.
    """
    if "texture_map" not in golden.data:
        return golden.faces[fragments.faces], fragments.weights
    height, width = golden.data["texture_map"].shape[:2]
    u, v = np.moveaxis(interpolate(golden, fragments, golden.data["vertex_uvs"]), -1, 0)
    column, row = np.clip(u, 0, 1) * (width - 1), np.clip(1 - v, 0, 1) * (height - 1)
    left = np.minimum(column.astype(int), width - 2)
    top = np.minimum(row.astype(int), height - 2)
    across, down = column - left, row - top
    entries = [(top + y) * width + left + x for y in (0, 1) for x in (0, 1)]
    shares = [y * x for y in (1 - down, down) for x in (1 - across, across)]
    return np.stack(entries, axis=-1), np.stack(shares, axis=-1)
