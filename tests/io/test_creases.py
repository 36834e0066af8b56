"""Edges that are sharp get vertices of their own; what is round stays whole."""

import numpy as np
import pytest

from taichi_softras import primitives
from taichi_softras.io.contents import MeshArrays
from taichi_softras.io.creases import split_creases


def prism(sides: int) -> MeshArrays:
    """The side of a prism."""
    angles = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(angles), np.zeros(sides), np.sin(angles)], -1)
    k = np.arange(sides)
    after = (k + 1) % sides
    faces = np.concatenate([[k, k + sides, after], [after, k + sides, after + sides]], axis=1)
    return MeshArrays(np.concatenate([ring, ring + [0, 1, 0]]), faces.T)


@pytest.mark.parametrize("sides, vertices", [(6, 24), (8, 16)])
def test_the_angle_between_faces_decides(sides, vertices):
    mesh = prism(sides)
    split = split_creases(mesh)
    assert len(split.vertices) == vertices
    np.testing.assert_array_equal(split.vertices[split.faces], mesh.vertices[mesh.faces])


def test_a_box_has_three_vertices_a_corner_and_what_is_theirs():
    vertices, faces = primitives.cube()
    mesh = MeshArrays(vertices, faces, vertex_colors=0.5 + 0.5 * vertices, uvs=vertices[:, :2])
    split = split_creases(mesh)
    assert len(split.vertices) == 24
    np.testing.assert_array_equal(split.vertex_colors, 0.5 + 0.5 * split.vertices)
    np.testing.assert_array_equal(split.uv_faces, faces)


def test_a_face_that_is_inside_out_or_empty_is_no_crease():
    vertices, faces = primitives.icosphere(1)
    faces = np.concatenate([faces[:1, ::-1], faces[1:], faces[5:6, [0, 0, 1]]])
    assert len(split_creases(MeshArrays(vertices, faces)).vertices) == len(vertices)
