"""Normals against closed forms and a NumPy twin."""

import numpy as np
import pytest

from taichi_softras.fields import FieldTree
from taichi_softras.geometry.normals import compute_vertex_normals
from taichi_softras.scene import primitives
from taichi_softras.scene.mesh import Mesh
from tests.gradcheck import check_gradient
from tests.tolerances import SINGLE_PRECISION_RELATIVE


def vertex_normals_twin(faces):
    def twin(vertices):
        a, b, c = np.moveaxis(vertices[faces], 1, 0)
        normals = np.zeros_like(vertices)
        np.add.at(normals, faces, np.cross(b - a, c - a)[:, None])
        return normals[None]

    return twin


def check_vertex_normals(mesh):
    tree = FieldTree()
    normals = tree.add((1, mesh.num_vertices), (3,))
    frames = tree.add((1,), dtype=int, needs_grad=False)
    tree.place()
    topology = mesh.faces, mesh.corner_starts, mesh.corners_of_vertex

    def run_forward():
        compute_vertex_normals(mesh.vertices, frames, 0, 1, *topology, normals)

    check_gradient(
        run_forward, {"vertices": mesh.vertices}, normals, vertex_normals_twin(mesh.faces_array)
    )
    return normals.to_numpy()[0]


def test_vertex_normals_of_a_sphere_point_outwards(backend):
    mesh = Mesh(*primitives.icosphere(0))
    normals = check_vertex_normals(mesh)
    assert np.abs(np.cross(normals, mesh.vertices.to_numpy())).max() < SINGLE_PRECISION_RELATIVE
    assert ((normals * mesh.vertices.to_numpy()).sum(-1) > 0).all()


@pytest.mark.f64
def test_vertex_normals_of_a_torus(backend):
    check_vertex_normals(Mesh(*primitives.torus(major_segments=5, minor_segments=4)))
