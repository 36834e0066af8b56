"""Shapes: closed, wound outwards, of the right size."""

import numpy as np
import pytest

from taichi_softras.scene import primitives
from tests.tolerances import DOUBLE_ROUNDING, INSCRIBED_VOLUME

CLOSED = [
    (primitives.cube(), 2, 8.0),
    (primitives.icosphere(0), 2, None),
    (primitives.icosphere(3), 2, 4 / 3 * np.pi),
    (primitives.uv_sphere(40, 60), 2, 4 / 3 * np.pi),
    (primitives.uv_sphere(2, 3), 2, None),
    (primitives.torus(1.0, 0.4, 60, 40), 0, 2 * np.pi**2 * 0.4**2),
]


@pytest.mark.parametrize("shape, euler_characteristic, volume", CLOSED)
def test_shape_is_closed_and_outward(shape, euler_characteristic, volume):
    vertices, faces = shape
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges)  # no edge twice in the same direction
    assert {(b, a) for a, b in directed} == directed  # each has its opposite
    assert len(vertices) - len(edges) // 2 + len(faces) == euler_characteristic
    enclosed = np.linalg.det(vertices[faces]).sum() / 6
    assert enclosed > 0
    if volume is not None:
        assert abs(enclosed - volume) < INSCRIBED_VOLUME * volume


def test_vertices_lie_on_the_unit_sphere():
    for vertices, _ in (primitives.icosphere(2), primitives.uv_sphere()):
        np.testing.assert_allclose(
            np.linalg.norm(vertices, axis=-1), 1, rtol=0, atol=DOUBLE_ROUNDING
        )


def test_triangle_faces_the_viewer_at_plus_z():
    vertices, faces = primitives.triangle()
    a, b, c = vertices[faces[0]]
    assert np.cross(b - a, c - a)[2] > 0


def test_sizes():
    assert [len(array) for array in primitives.icosphere(3)] == [642, 1280]
    assert [len(array) for array in primitives.uv_sphere(4, 5)] == [17, 30]
    assert [len(array) for array in primitives.torus()] == [512, 1024]


@pytest.mark.parametrize("shape", [primitives.icosphere(2), primitives.uv_sphere(5, 7)])
def test_a_map_of_the_world_lies_around_a_sphere(shape):
    vertices, faces = shape
    uvs, uv_faces = primitives.globe_uvs(vertices, faces)
    u, v = np.moveaxis(uvs[uv_faces], -1, 0)
    longitude, latitude = 2 * np.pi * (u - 0.5), np.pi * (v - 0.5)
    x, z = np.sin(longitude) * np.cos(latitude), np.cos(longitude) * np.cos(latitude)
    places = np.stack([x, np.sin(latitude), z], axis=-1)
    np.testing.assert_allclose(places, vertices[faces], rtol=0, atol=DOUBLE_ROUNDING)
    assert np.ptp(u, axis=1).max() < 0.5  # no face has the whole picture
    poles = np.abs(vertices[faces][..., 1]) > 1 - DOUBLE_ROUNDING
    assert poles.any()
    face, corner = np.nonzero(poles)
    others = np.where(poles, np.nan, u)[face]
    np.testing.assert_allclose(u[face, corner], np.nanmean(others, axis=1), atol=DOUBLE_ROUNDING)
