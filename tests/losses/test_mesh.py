"""Mesh losses against dense NumPy twins and, in f64, against central differences."""

import itertools

import numpy as np
import pytest

from taichi_softras import losses
from taichi_softras.losses.connectivity import hinges_of_faces, pairs_of_faces
from taichi_softras.runtime import ti
from taichi_softras.scene import primitives
from taichi_softras.scene.mesh import Mesh
from tests import tolerances
from tests.gradcheck import check_gradient


def laplacian_twin(vertices, faces):
    return np.sum(deviations_twin(vertices, faces) ** 2)


def laplacian_length_twin(vertices, faces):
    return np.mean(np.linalg.norm(deviations_twin(vertices, faces), axis=1))


def deviations_twin(vertices, faces):
    """By the dense matrix I - D^-1 A of the original."""
    adjacency = np.zeros((len(vertices), len(vertices)))
    for a, b, c in faces:
        adjacency[[a, b, c, b, c, a], [b, c, a, a, b, c]] = 1
    matrix = np.eye(len(vertices)) - adjacency / adjacency.sum(axis=1, keepdims=True)
    return matrix @ vertices


def flatten_twin(vertices, faces):
    """A loop over edges, with the angle between the two faces."""
    total = 0.0
    for a, b, c, d in hinges_twin(faces):
        edge, side_1, side_2 = vertices[[b, c, d]] - vertices[a]
        height_1, height_2 = (
            side - edge * (edge @ side) / (edge @ edge) for side in (side_1, side_2)
        )
        cosine = height_1 @ height_2 / np.linalg.norm(height_1) / np.linalg.norm(height_2)
        total += (cosine + 1) ** 2
    return total


def normal_consistency_twin(vertices, faces):
    """A loop over pairs of faces, with their normals; for meshes that are wound alike."""
    losses_of_pairs = []
    for face, other in itertools.combinations(faces, 2):
        if len(set(face.tolist()) & set(other.tolist())) == 2:
            a, b = (
                np.cross(*(vertices[corners[1:]] - vertices[corners[0]]))
                for corners in (face, other)
            )
            losses_of_pairs.append(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return np.mean(losses_of_pairs)


def edge_length_twin(vertices, faces):
    edges = {frozenset(face[[i, i - 1]]) for face in faces for i in range(3)}
    return np.mean([np.sum((vertices[a] - vertices[b]) ** 2) for a, b in edges])


def hinges_twin(faces):
    """[a, b, opposite, opposite] of each edge with two faces."""
    return [[*edge, *pair] for edge, pair in opposites_of_edges(faces).items() if len(pair) == 2]


def opposites_of_edges(faces):
    """The third vertices of the faces at each edge."""
    opposites = {}
    for face in faces:
        for i in range(3):
            edge = tuple(sorted((int(face[i]), int(face[i - 1]))))
            opposites.setdefault(edge, []).append(int(face[i - 2]))
    return opposites


CASES = {
    "laplacian": (losses.laplacian, laplacian_twin),
    "laplacian_length": (losses.laplacian_length, laplacian_length_twin),
    "flatten": (losses.flatten, flatten_twin),
    "normal_consistency": (losses.normal_consistency, normal_consistency_twin),
    "edge_length": (losses.edge_length, edge_length_twin),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def bumpy_sphere(level=1, seed=0):
    vertices, faces = primitives.icosphere(level)
    return vertices + 0.1 * np.random.default_rng(seed).standard_normal(vertices.shape), faces


@pytest.fixture(scope="module")
def loss(backend):
    return ti.field(float, shape=(), needs_grad=True)


@pytest.fixture(scope="module")
def make_mesh(backend):
    """Makes a mesh of (vertices, faces); the fields of a topology are made once."""
    meshes = {}

    def make(vertices, faces):
        topology = len(vertices), np.asarray(faces).tobytes()
        if topology not in meshes:
            meshes[topology] = Mesh(vertices, np.asarray(faces))
        meshes[topology].vertices.from_numpy(vertices.astype(backend.numpy_float))
        return meshes[topology]

    return make


def gradient(mesh, loss, *calls):
    """mesh.vertices.grad after a tape around the calls."""
    with ti.ad.Tape(loss):
        for call in calls:
            call()
    return mesh.vertices.grad.to_numpy()


@every_case
def test_value_and_gradient_are_those_of_the_twin(make_mesh, loss, case):
    add_loss, twin = case
    vertices, faces = bumpy_sphere()
    check_loss(make_mesh(vertices, faces), loss, add_loss, lambda vertices: twin(vertices, faces))


@pytest.mark.f64
@every_case
@pytest.mark.parametrize("shape", [bumpy_sphere(), primitives.cube(), primitives.triangle()])
def test_gradient_is_that_of_central_differences(make_mesh, loss, case, shape):
    add_loss, _ = case
    check_loss(make_mesh(*shape), loss, add_loss)


def check_loss(mesh, loss, add_loss, twin=None):
    def run_forward():
        loss[None] = 0.0
        add_loss(mesh, loss)

    check_gradient(run_forward, {"vertices": mesh.vertices}, loss, twin)


@every_case
def test_value_on_a_mesh_of_real_size(make_mesh, loss, case):
    add_loss, twin = case
    vertices, faces = bumpy_sphere(level=3)
    loss[None] = 0.0
    add_loss(make_mesh(vertices, faces), loss, weight=0.5)
    expected = 0.5 * twin(vertices, faces)
    np.testing.assert_allclose(loss[None], expected, rtol=tolerances.SINGLE_PRECISION_RELATIVE)


@pytest.mark.cpu
@every_case
def test_value_and_gradient_have_the_same_bits_each_time(make_mesh, loss, case):
    add_loss, _ = case
    mesh = make_mesh(*bumpy_sphere(level=4))  # more vertices than four threads take
    results = set()
    for _ in range(10):
        grad = gradient(mesh, loss, lambda: add_loss(mesh, loss))
        results.add((loss[None], grad.tobytes()))
    assert len(results) == 1


@pytest.mark.f64
def test_edge_length_is_held_against_a_target(make_mesh, loss):
    vertices, faces = primitives.triangle()
    mesh = make_mesh(vertices, faces)
    grad = gradient(mesh, loss, lambda: losses.edge_length(mesh, loss, 2.0, target_length=1.0))
    length = np.sqrt(3)
    np.testing.assert_allclose(loss[None], 2 * (length - 1) ** 2)
    outward = 2 * 2 / 3 * (length - 1) * 2 * np.cos(np.radians(30))  # two edges pull at a vertex
    np.testing.assert_allclose(grad, outward * vertices, atol=tolerances.FINITE_DIFFERENCE_RELATIVE)


@pytest.mark.f64
def test_flatten_of_a_cube_counts_its_edges(make_mesh, loss):
    mesh = make_mesh(*primitives.cube())
    loss[None] = 0.0
    losses.flatten(mesh, loss)
    np.testing.assert_allclose(loss[None], 12, rtol=tolerances.FLATTEN_GUARD)


@pytest.mark.f64
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_flatten_does_not_depend_on_the_unit_of_length(make_mesh, loss, unit):
    vertices, faces = bumpy_sphere()
    mesh = make_mesh(unit * vertices, faces)
    loss[None] = 0.0
    losses.flatten(mesh, loss)
    np.testing.assert_allclose(
        loss[None], flatten_twin(vertices, faces), rtol=tolerances.FLATTEN_GUARD
    )


def test_flatten_of_an_open_triangle_is_0(make_mesh, loss):
    mesh = make_mesh(*primitives.triangle())
    grad = gradient(mesh, loss, lambda: losses.flatten(mesh, loss))
    assert loss[None] == 0
    assert np.all(grad == 0)


def test_hinges_are_those_of_a_loop_over_edges():
    _, faces = primitives.icosphere(2)
    faces = np.concatenate([faces[:-7], [[0, 0, 1], [2, 3, 0]]])  # holes, a collapsed face, a fin
    actual = {(a, b, *sorted((c, d))) for a, b, c, d in hinges_of_faces(faces).tolist()}
    expected = {(a, b, *sorted((c, d))) for a, b, c, d in hinges_twin(faces) if a != b}
    assert actual == expected


def test_pairs_are_those_of_a_loop_over_edges():
    _, faces = primitives.icosphere(1)
    faces = np.concatenate([faces[:-7], faces[:1, [1, 0, 2]] + [0, 0, 30], faces[:2, [2, 1, 0]]])
    actual = sorted((a, b, *sorted((c, d))) for a, b, c, d in pairs_of_faces(faces).tolist())
    expected = sorted(
        (*edge, *sorted(pair))
        for edge, opposites in opposites_of_edges(faces).items()
        for pair in itertools.combinations(opposites, 2)
    )
    assert actual == expected


@pytest.mark.f64
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_normal_consistency_of_a_cube_counts_its_edges(make_mesh, loss, unit):
    vertices, faces = primitives.cube()
    mesh = make_mesh(unit * vertices, faces)
    loss[None] = 0.0
    losses.normal_consistency(mesh, loss)
    np.testing.assert_allclose(loss[None], 12 / 18, rtol=tolerances.NORMAL_GUARD)  # 6 are flat


@pytest.mark.f64
@pytest.mark.parametrize("turn", [1, -1], ids=["wound alike", "wound against"])
@pytest.mark.parametrize("degrees", [0, 30, 90, 180])
def test_normal_consistency_of_two_faces_is_that_of_their_angle(make_mesh, loss, degrees, turn):
    across, up = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    vertices = np.array([[0, 0, 0], [0, 1, 0], [-1, 0.3, 0], [2 * across, 0.6, 2 * up]])
    mesh = make_mesh(vertices, np.array([[1, 0, 2][::turn], [0, 1, 3]]))
    loss[None] = 0.0
    losses.normal_consistency(mesh, loss)
    np.testing.assert_allclose(loss[None], 1 - across, rtol=0, atol=tolerances.NORMAL_GUARD)


@pytest.mark.f64
def test_normal_consistency_takes_all_pairs_of_an_edge(make_mesh, loss):
    """Three faces at an edge, 120 degrees apart, are folded by 60 degrees."""
    vertices = np.array([[0, 0, 0], [0, 0, 1], *primitives.triangle()[0]])
    mesh = make_mesh(vertices, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    loss[None] = 0.0
    losses.normal_consistency(mesh, loss)
    np.testing.assert_allclose(loss[None], 1 - np.cos(np.pi / 3), rtol=tolerances.NORMAL_GUARD)


@pytest.mark.f64
def test_laplacian_length_of_an_octahedron(make_mesh, loss):
    """The four neighbours of a vertex have the centre as their mean."""
    vertices = np.concatenate([np.eye(3), -np.eye(3)])
    corners = [(x, y, z) for x in (0, 3) for y in (1, 4) for z in (2, 5)]
    mesh = make_mesh(0.7 * vertices, np.array(corners))
    grad = gradient(mesh, loss, lambda: losses.laplacian_length(mesh, loss, weight=3.0))
    np.testing.assert_allclose(loss[None], 3 * 0.7, rtol=tolerances.DOUBLE_ROUNDING)
    np.testing.assert_allclose(grad, 3 / 6 * vertices, rtol=0, atol=tolerances.DOUBLE_ROUNDING)


@every_case
def test_two_meshes_and_weights_in_one_tape_add_up(make_mesh, loss, case):
    add_loss, _ = case
    mesh, other = make_mesh(*bumpy_sphere(1)), make_mesh(*bumpy_sphere(0))
    once = gradient(mesh, loss, lambda: add_loss(mesh, loss))
    value = loss[None]
    gradient(other, loss, lambda: add_loss(other, loss))
    other_value = loss[None]
    calls = (
        lambda: add_loss(mesh, loss, 0.5),
        lambda: add_loss(other, loss, 2.0),
        lambda: add_loss(mesh, loss, 0.25),
    )
    together = gradient(mesh, loss, *calls)
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    np.testing.assert_allclose(loss[None], 0.75 * value + 2 * other_value, rtol=tolerance)
    np.testing.assert_allclose(together, 0.75 * once, rtol=0, atol=tolerance * np.abs(once).max())


def test_a_mesh_may_be_seen_first_inside_a_tape(make_mesh, loss):
    mesh = make_mesh(*bumpy_sphere(level=2))
    calls = [lambda add_loss=add_loss: add_loss(mesh, loss) for add_loss, _ in CASES.values()]
    first, second = gradient(mesh, loss, *calls), gradient(mesh, loss, *calls)
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE * np.abs(second).max()
    np.testing.assert_allclose(first, second, rtol=0, atol=tolerance)


FLAT = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]], float)
DEGENERATE = {
    "all vertices in one place": (np.ones((4, 3)), [[0, 1, 2], [1, 0, 3]]),
    "faces without area": (FLAT, [[0, 1, 2], [1, 0, 3]]),
    "edge without length": (FLAT[[0, 0, 1, 2]], [[0, 1, 2], [1, 0, 3]]),
    "one face is a point": (FLAT[[0, 0, 0, 2]], [[0, 1, 2], [1, 0, 3]]),
    "face that names a vertex twice": (FLAT, [[0, 0, 1], [1, 0, 2]]),
    "face that names a vertex thrice": (FLAT, [[1, 1, 1]]),
    "vertex without faces": (FLAT, [[0, 1, 2]]),
    "tiny": (1e-12 * primitives.cube()[0], primitives.cube()[1]),
}


@every_case
@pytest.mark.parametrize("shape", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_meshes_have_finite_losses_and_gradients(make_mesh, loss, case, shape):
    add_loss, _ = case
    vertices, faces = shape
    mesh = make_mesh(vertices, faces)
    grad = gradient(mesh, loss, lambda: add_loss(mesh, loss))
    assert np.isfinite(loss[None])
    assert np.all(np.isfinite(grad))


def line_on_an_edge(vertices, faces):
    """The mesh, and a face of the ends of its first edge and a vertex on it, but for rounding."""
    start, end = faces[0][:2]
    middle = vertices[start] + 0.37 * (vertices[end] - vertices[start])
    return np.vstack([vertices, middle]), np.vstack([faces, [start, len(vertices), end]])


def test_normal_consistency_leaves_out_a_face_without_area(make_mesh, loss):
    """Its edges have a part in the mean, and nothing more."""
    vertices, faces = bumpy_sphere(1)
    mesh = make_mesh(vertices, faces)
    expected = gradient(mesh, loss, lambda: losses.normal_consistency(mesh, loss))
    expected_loss, share = loss[None], 1 / (1 + 2 / len(pairs_of_faces(faces)))
    mesh = make_mesh(*line_on_an_edge(vertices, faces))
    grad = gradient(mesh, loss, lambda: losses.normal_consistency(mesh, loss))
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    assert loss[None] == pytest.approx(share * expected_loss, rel=tolerance)
    np.testing.assert_allclose(
        grad[:-1], share * expected, rtol=0, atol=tolerance * np.abs(expected).max()
    )
    assert not grad[-1].any()


def test_flatten_leaves_out_a_face_without_area(make_mesh, loss):
    vertices, faces = primitives.triangle()
    turned = vertices @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    mesh = make_mesh(*line_on_an_edge(turned, faces))
    grad = gradient(mesh, loss, lambda: losses.flatten(mesh, loss))
    assert loss[None] == 0 and not grad.any()


@every_case
def test_boundaries_fins_and_isolated_vertices_do_no_harm(make_mesh, loss, case):
    """A vertex alone has no gradient; the others one that is finite."""
    add_loss, _ = case
    vertices, faces = bumpy_sphere(1)
    fin = [faces[0, 0], faces[0, 1], len(vertices)]
    vertices = np.vstack([vertices, [[0.1, 0.2, 2.0], [3.0, 3.0, 3.0]]])
    mesh = make_mesh(vertices, np.vstack([faces[:-7], [fin]]))
    grad = gradient(mesh, loss, lambda: add_loss(mesh, loss))
    assert np.isfinite(loss[None]) and loss[None] > 0
    assert np.isfinite(grad).all() and grad[:-2].any() and not grad[-1].any()


@every_case
def test_wrong_losses_are_refused(make_mesh, case):
    add_loss, _ = case
    mesh = make_mesh(*primitives.triangle())
    with pytest.raises(ValueError, match=r"loss must be .* got ScalarField of shape \(1,\)"):
        add_loss(mesh, ti.field(float, (1,), needs_grad=True))
    with pytest.raises(ValueError, match="loss must be .* without gradient"):
        add_loss(mesh, ti.field(float, ()))
