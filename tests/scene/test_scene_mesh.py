"""Mesh: fields and topology against the arrays they came from, and the errors at the door."""

import numpy as np
import pytest

from taichi_softras.runtime import ti
from taichi_softras.scene import primitives
from taichi_softras.scene.mesh import Mesh

pytestmark = pytest.mark.cpu  # what the host does


def test_fields_hold_what_was_given(backend):
    vertices, faces = primitives.icosphere(0)
    colors = np.random.default_rng(0).uniform(size=vertices.shape)
    mesh = Mesh(vertices, faces, vertex_colors=colors)
    np.testing.assert_array_equal(mesh.vertices.to_numpy(), vertices.astype(np.float32))
    np.testing.assert_array_equal(mesh.faces.to_numpy(), faces)
    np.testing.assert_array_equal(mesh.vertex_colors.to_numpy(), colors.astype(np.float32))
    assert (mesh.num_vertices, mesh.num_faces, mesh.texel_resolution) == (12, 20, 0)
    assert mesh.texels is None
    assert mesh.vertices.grad is not None and mesh.vertex_colors.grad is not None


def test_a_mesh_without_colors_is_white(backend):
    mesh = Mesh(*primitives.triangle())
    np.testing.assert_array_equal(mesh.vertex_colors.to_numpy(), np.ones((3, 3)))


def test_texels(backend):
    texels = np.random.default_rng(0).uniform(size=(12, 4, 4, 3))
    mesh = Mesh(*primitives.cube(), texels=texels)
    np.testing.assert_array_equal(mesh.texels.to_numpy(), texels.astype(np.float32))
    assert mesh.texel_resolution == 4
    assert mesh.vertex_colors is None


def test_texture_cubes(backend):
    cubes = np.random.default_rng(0).uniform(size=(12, 2, 2, 2, 3))
    mesh = Mesh(*primitives.cube(), texture_cubes=cubes)
    np.testing.assert_array_equal(mesh.texture_cubes.to_numpy(), cubes.astype(np.float32))
    assert mesh.face_colors is mesh.texture_cubes and mesh.texture_cubes.grad is not None
    assert mesh.texel_resolution == 2
    assert mesh.vertex_colors is None and mesh.texels is None


def test_corners_of_vertices(backend):
    """Every corner is listed once, at its vertex; a vertex without faces has none."""
    vertices, faces = primitives.cube()
    mesh = Mesh(np.concatenate([vertices, [[9, 9, 9]]]), faces)
    starts, corners = mesh.corner_starts.to_numpy(), mesh.corners_of_vertex.to_numpy()
    assert sorted(corners) == list(range(36))
    for vertex in range(9):
        around = corners[starts[vertex] : starts[vertex + 1]]
        np.testing.assert_array_equal(faces.ravel()[around], vertex)
    assert starts[8] == starts[9] == 36


def test_edges(backend):
    """The two triangles of a square share one of five edges."""
    mesh = Mesh(np.eye(4, 3), [[0, 1, 2], [2, 1, 3]])
    np.testing.assert_array_equal(mesh.edges_array, [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]])


def test_load_and_save(backend, tmp_path):
    vertices, faces = primitives.icosphere(1)
    mesh = Mesh(vertices, faces, vertex_colors=np.tile([0.0, 0.2, 1.0], (len(vertices), 1)))
    mesh.save(tmp_path / "mesh.ply")
    loaded = Mesh.load(tmp_path / "mesh.ply")
    np.testing.assert_array_equal(loaded.vertices.to_numpy(), mesh.vertices.to_numpy())
    np.testing.assert_array_equal(loaded.faces_array, faces)
    np.testing.assert_array_equal(loaded.vertex_colors.to_numpy(), mesh.vertex_colors.to_numpy())


TRIANGLE = np.eye(3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(vertices=np.ones((4, 2)), faces=[[0, 1, 2]]), r"vertices must have shape \(V, 3\)"),
        (dict(vertices=np.ones((0, 3)), faces=[[0, 1, 2]]), "vertices .* not empty"),
        (dict(vertices=TRIANGLE * np.nan, faces=[[0, 1, 2]]), "vertices must be finite, got 9"),
        (
            dict(vertices=TRIANGLE, faces=np.ones((12, 4), int)),
            r"\(F, 3\), not empty, got \(12, 4\)",
        ),
        (dict(vertices=TRIANGLE, faces=np.ones((0, 3), int)), "faces .* not empty"),
        (dict(vertices=TRIANGLE, faces=[[0.0, 1.0, 2.0]]), "faces must be integers, got float64"),
        (dict(vertices=TRIANGLE, faces=[[0, 1, 3]]), "got indices from 0 to 3"),
        (dict(vertices=TRIANGLE, faces=[[0, 1, -1]]), "got indices from -1 to 1"),
        (dict(vertices=TRIANGLE, faces=[[0, 1, 2]], vertex_colors=np.ones((2, 3))), r"\(3, C\)"),
        (
            dict(vertices=TRIANGLE, faces=[[0, 1, 2]], texels=np.ones((1, 2, 3, 3))),
            r"\(1, R, R, 3\)",
        ),
        (
            dict(
                vertices=TRIANGLE,
                faces=[[0, 1, 2]],
                vertex_colors=TRIANGLE,
                texels=np.ones((1, 2, 2, 3)),
            ),
            "one kind of colours, got vertex_colors and texels",
        ),
        (
            dict(vertices=TRIANGLE, faces=[[0, 1, 2]], texture_cubes=np.ones((1, 2, 2, 3, 3))),
            r"texture_cubes must have shape \(1, R, R, R, 3\)",
        ),
        (
            dict(vertices=TRIANGLE, faces=[[0, 1, 2]], texture_cubes=np.ones((1, 1, 1, 1, 3))),
            "texture_cubes must have R >= 2",
        ),
    ],
)
def test_mesh_refuses(backend, arguments, message):
    with pytest.raises(ValueError, match=message):
        Mesh(**arguments)


def test_an_array_is_written_into_the_field(backend):
    """Whatever knows the field goes on; another field, or a tape, is told what to do."""
    mesh = Mesh(*primitives.icosphere(0))
    vertices, rest = mesh.vertices, mesh.vertices.to_numpy()
    mesh.vertices = 2 * rest
    mesh.vertex_colors = 0.5 * np.ones((12, 3))
    assert mesh.vertices is vertices
    np.testing.assert_array_equal(vertices.to_numpy(), 2 * rest)
    assert mesh.vertex_colors.to_numpy().max() == 0.5
    with pytest.raises(ValueError, match=r"mesh.vertices must have shape \(12, 3\), .* \(3, 3\)"):
        mesh.vertices = rest[:3]
    with pytest.raises(ValueError, match=r"mesh.vertices.copy_from\(field\), or make another Mesh"):
        mesh.vertices = ti.Vector.field(3, float, 12)
    with pytest.raises(ValueError, match="mesh.texels is None here"):
        mesh.texels = np.ones((20, 2, 2, 3))
    loss = ti.field(float, (), needs_grad=True)
    with pytest.raises(ValueError, match="mesh.vertices must be written before the ti.ad.Tape"):
        with ti.ad.Tape(loss):
            mesh.vertices = rest


@pytest.mark.parametrize("largest", [255, 255.0, 200.5, np.uint8(7)])
@pytest.mark.parametrize("kind", ["vertex_colors", "texels"])
def test_colours_of_0_to_255(backend, largest, kind):
    colors = np.zeros(
        (3, 3) if kind == "vertex_colors" else (1, 2, 2, 3), np.asarray(largest).dtype
    )
    colors.flat[4] = largest
    with pytest.warns(UserWarning, match=rf"{kind} are up to {largest:g}: .* divide by 255.0"):
        Mesh(*primitives.triangle(), **{kind: colors})


@pytest.mark.parametrize(
    "colors", [np.ones((3, 3), int), np.full((3, 3), 8.0), np.full((3, 2), 255), np.ones((3, 4))]
)
def test_other_colours_are_said_nothing_about(backend, colors):
    """Whole numbers of 0 and 1, bright ones, numbers that are no colours."""
    Mesh(*primitives.triangle(), vertex_colors=colors)
