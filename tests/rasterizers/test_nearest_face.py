"""Which face is seen, and where on it: beside any rasterizer, that of a z-buffer."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.nearest_face import FARTHEST, NEAREST
from taichi_softras.shading.outputs import Barycentric
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rasterizers.scenes import ALL_RASTERIZERS, NUMBERS, bumpy_torus, describe
from tests.reference.z_buffer import z_buffer

IMAGE_SIZE = (12, 20)
NAMES = ("face_id", "mesh_id", "barycentric")


def twin(corners, near=NEAREST, far=FARTHEST, double_sided=True):
    """Faces (B, H, W), and weights on the face (B, H, W, 3), of divided corners."""
    faces, weights = [], []
    for view in corners.astype(np.float64):
        seen, on_screen, _ = z_buffer(view, IMAGE_SIZE, near, far, double_sided)
        per_depth = on_screen / view[seen, :, 2]
        sums = per_depth.sum(axis=-1, keepdims=True)
        faces.append(seen)
        weights.append(per_depth / np.where(sums == 0, 1, sums))
    return np.array(faces), np.array(weights)


@pytest.fixture(scope="module")
def renderer(backend):
    """A torus that reaches out of the depths of `NUMBERS`."""
    mesh = tsr.Mesh(*bumpy_torus(np.random.default_rng(4)))
    cameras = tsr.Camera.look_at(tsr.orbit(1.7, [35.0, 20.0], [20.0, 130.0]), fov_y_degrees=70)
    return tsr.Renderer(mesh, cameras, IMAGE_SIZE, shading=tsr.Silhouette(), outputs=NAMES)


@pytest.mark.parametrize("rasterizer", ALL_RASTERIZERS, ids=describe)
@pytest.mark.filterwarnings("ignore:near = ")
def test_it_is_the_nearest_that_contains_the_centre(backend, renderer, rasterizer):
    renderer.rasterizer = rasterizer
    renderer.render()
    found = {name: field.to_numpy() for name, field in renderer.outputs.items()}
    corners = renderer.vertices_ndc.to_numpy()[:, renderer.mesh.faces_array]
    near, far = rasterizer.drawn_depths(has_color=True)
    sides = rasterizer.draws_both_sides
    faces, weights = twin(corners, max(near, NEAREST), min(far, FARTHEST), sides)
    assert (faces != NO_FACE).any() and (faces == NO_FACE).any()
    np.testing.assert_array_equal(found["face_id"], faces)
    np.testing.assert_array_equal(found["mesh_id"], np.where(faces == NO_FACE, NO_FACE, 0))
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    np.testing.assert_allclose(found["barycentric"], weights, rtol=0, atol=tolerance)


def test_sides_are_those_of_the_method():
    assert not tsr.KNearest(cull_backfaces=True).draws_both_sides
    assert not tsr.SoftAggregation(double_sided=False).draws_both_sides
    assert tsr.KNearest().draws_both_sides and tsr.Prefiltered().draws_both_sides


def test_in_passes_in_bands_and_of_a_mesh_that_moves(backend):
    """As of a renderer that draws all at once; frames in any order."""
    vertices, faces = bumpy_torus(np.random.default_rng(4))
    frames = np.stack([vertices * scale for scale in (1.0, 0.8, 1.1)])
    cameras = tsr.Camera.look_at((0.6, 1.0, 2.8), fov_y_degrees=50)
    drawn = []
    for options in ({"views_per_pass": 3}, {"views_per_pass": 2, "max_pairs": 5}):
        renderer = tsr.Renderer(
            tsr.Mesh(frames, faces),
            cameras,
            IMAGE_SIZE,
            shading=tsr.Silhouette(),
            frames=[2, 0, 1],
            outputs=NAMES,
            **options,
        )
        renderer.render()
        drawn.append([field.to_numpy() for field in renderer.outputs.values()])
    for one, other in zip(*drawn):
        np.testing.assert_array_equal(one, other)
    assert len({ids.tobytes() for ids in drawn[0][0]}) == 3


def random_corners(backend, count=30):
    generator = np.random.default_rng(5)
    centres = generator.uniform(-1, 1, (2, count, 1, 3)) + [0, 0, 3]
    return (centres + generator.uniform(-0.7, 0.7, (2, count, 3, 3))).astype(backend.numpy_float)


def test_visible_faces_of_corners(backend):
    corners = random_corners(backend)
    found = tsr.visible_faces(corners, image_size=IMAGE_SIZE)
    faces, weights = twin(corners)
    np.testing.assert_array_equal(found.face_ids, faces)
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    np.testing.assert_allclose(found.barycentrics, weights, rtol=0, atol=tolerance)


def test_visible_faces_as_a_method_sees_them(backend):
    corners = random_corners(backend)
    method = tsr.SoftAggregation(**{**NUMBERS, "near": 2.0, "far": 3.0}, double_sided=False)
    found = tsr.visible_faces(corners, image_size=IMAGE_SIZE, rasterizer=method)
    np.testing.assert_array_equal(found.face_ids, twin(corners, 2.0, 3.0, False)[0])


def test_equal_faces_and_no_faces(backend):
    """Of faces in one place the first is seen; where there are none, none is."""
    corners = np.repeat(random_corners(backend, 1), 4, axis=1)
    found = tsr.visible_faces(corners, image_size=IMAGE_SIZE)
    assert set(np.unique(found.face_ids)) == {NO_FACE, 0}
    empty = tsr.visible_faces(corners[:, :0], image_size=IMAGE_SIZE)
    assert (empty.face_ids == NO_FACE).all() and not empty.barycentrics.any()
    assert empty.vjp(np.ones((2, *IMAGE_SIZE, 3))).shape == (2, 0, 3, 3)


@pytest.mark.f64
def test_gradient_of_barycentrics_is_the_central_difference(backend):
    """Within the faces that are seen; weights sum to 1, which has the gradient 0."""
    corners = random_corners(backend, 12)
    found = tsr.visible_faces(corners, image_size=IMAGE_SIZE)
    cotangent = np.random.default_rng(1).normal(size=found.barycentrics.shape)
    gradient = found.vjp(cotangent)
    step, expected = tolerances.FINITE_DIFFERENCE_STEP, np.zeros_like(corners)
    for index in np.ndindex(*corners.shape[1:]):
        sums = []
        for sign in (1, -1):
            moved = corners.copy()
            moved[:, index[0], index[1], index[2]] += sign * step
            there = tsr.visible_faces(moved, image_size=IMAGE_SIZE)
            np.testing.assert_array_equal(there.face_ids, found.face_ids)
            sums.append((there.barycentrics * cotangent).sum(axis=(1, 2, 3)))
        expected[:, index[0], index[1], index[2]] = (sums[0] - sums[1]) / (2 * step)
    assert relative_error(gradient, expected) < tolerances.FINITE_DIFFERENCE_RELATIVE
    assert np.abs(found.vjp(np.ones_like(cotangent))).max() < tolerances.TWIN_DOUBLE


def test_a_cotangent_of_another_shape(backend):
    found = tsr.visible_faces(random_corners(backend), image_size=IMAGE_SIZE)
    with pytest.raises(ValueError, match=r"grad_barycentrics must have shape \(2, 12, 20, 3\)"):
        found.vjp(np.ones((2, 3)))


def test_it_is_an_output_alone(backend, renderer):
    shading = Barycentric()
    with pytest.raises(ValueError, match="Barycentric is no picture of its own: outputs="):
        tsr.Renderer(renderer.mesh, renderer.cameras, IMAGE_SIZE, shading=shading)
