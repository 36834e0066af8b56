"""Faces that reach behind the camera, before the near cut, or far beyond the image."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.functional import lay_colors
from taichi_softras.rasterizers.clipping import draw_clipped
from taichi_softras.rasterizers.fragments import SurfaceNumbers
from taichi_softras.rasterizers.planes import planes_from_pixels
from taichi_softras.scene import primitives
from taichi_softras.workspace import MAX_PAIRS, Workspace
from tests import measured, tolerances
from tests.gradcheck import relative_error
from tests.rarely import rarely
from tests.rasterizers.scenes import (
    DEPTHS,
    EACH_RASTERIZER,
    crossing_scene,
    describe,
    nearest,
    soft,
)
from tests.rasterizers.test_approximate_gradient import upload
from tests.reference.homogeneous import nearest_faces, soft_alpha

pytestmark = pytest.mark.filterwarnings("ignore:near = ")

SIZE = (12, 20)
NEAR = 1.0
Z_BUFFER = tsr.FilteredDerivative(**DEPTHS, overdraw=False)
SOFT = soft("euclidean", "softmax", "product", True, True)
PREFILTERED = tsr.Prefiltered(**DEPTHS, background=(-1.0, -2.0, -3.0))
ANTIALIASED = tsr.Antialiased(**DEPTHS, background=(0.1, 0.2, 0.3))
EXACT = [SOFT, nearest("softmax"), PREFILTERED, ANTIALIASED]
near_clips = pytest.mark.parametrize("near_clip", [NEAR, None])


def draw(corners, colors, rasterizer, near_clip=NEAR, size=SIZE):
    return tsr.rasterize(
        corners, colors, image_size=size, rasterizer=rasterizer, near_clip=near_clip
    )


@near_clips
def test_a_z_buffer_sees_what_rays_meet(backend, near_clip):
    corners, colors = crossing_scene()
    image, _ = draw(corners, colors, Z_BUFFER, near_clip)
    for view in range(len(corners)):
        seen, at = nearest_faces(corners[view], SIZE, near_clip or 0.1)
        expected = (at[..., None] * colors[0][seen]).sum(axis=2) * (seen >= 0)[..., None]
        np.testing.assert_array_equal(image[view, ..., 3], seen >= 0)
        error = np.abs(image[view, ..., :3] - expected).max()
        assert error < tolerances.SINGLE_PRECISION_RELATIVE


def test_a_cut_has_no_border(backend):
    corners, _ = crossing_scene()
    image, _ = draw(corners, None, SOFT)
    for view in range(len(corners)):
        expected = soft_alpha(corners[view], SIZE, NEAR, SOFT.sigma)
        assert np.abs(image[view, ..., 0] - expected).max() < tolerances.SINGLE_PRECISION_RELATIVE


def test_pieces_are_one_face(backend):
    """Index, weights and depth are those of the whole face."""
    corners, _ = crossing_scene()
    found = tsr.fragments(
        corners, image_size=SIZE, rasterizer=nearest("hard", blur_radius=0.0), near_clip=NEAR
    )
    for view in range(len(corners)):
        seen, at = nearest_faces(corners[view], SIZE, NEAR)
        np.testing.assert_array_equal(found.pix_to_face[view, ..., 0], seen)
        is_seen = seen >= 0
        error = np.abs(found.barycentrics[view, ..., 0, :] - at)[is_seen].max()
        assert error < tolerances.SINGLE_PRECISION_RELATIVE


@pytest.mark.parametrize("rasterizer", EACH_RASTERIZER, ids=describe)
def test_every_rasterizer_cuts(backend, rasterizer):
    """Two views in one call are the views one by one, and so are their gradients."""
    corners, colors = crossing_scene()
    image, vjp = draw(corners, colors, rasterizer)
    cotangent = np.random.default_rng(1).normal(size=image.shape)
    grad_corners, grad_colors = vjp(cotangent)
    assert np.isfinite(grad_corners).all() and np.isfinite(grad_colors).all()
    sum_of_views = 0
    for view in range(len(image)):
        one = slice(view, view + 1)
        image_of_one, vjp_of_one = draw(corners[one], colors, rasterizer)
        np.testing.assert_allclose(image_of_one, image[one], rtol=0, atol=1e-5)
        gradient, of_colors = vjp_of_one(cotangent[one])
        sum_of_views = sum_of_views + of_colors
        assert relative_error(gradient, grad_corners[one]) < tolerances.SAME_GRADIENT_SINGLE
    assert relative_error(grad_colors, sum_of_views) < tolerances.SAME_GRADIENT_SINGLE


def differences(inputs, by, rasterizer, near_clip, cotangent, moves, step):
    """Central differences of sum(cotangent * image); every moved scene is a view of its own."""
    moved = {**inputs, by: np.concatenate([inputs[by] + step * moves, inputs[by] - step * moves])}
    for name, values in moved.items():
        moved[name] = np.broadcast_to(values, (2 * len(moves), *values.shape[1:]))
    image, _ = draw(moved["corners"], moved["colors"], rasterizer, near_clip)
    sums = np.tensordot(image, cotangent[0], axes=3)
    return (sums[: len(moves)] - sums[len(moves) :]) / (2 * step)


@pytest.mark.gradients
@pytest.mark.f64
@pytest.mark.parametrize(
    "rasterizer, near_clip",
    # where the cut is in the image `Prefiltered` clamps pixels beside it, which have no gradient
    [
        (SOFT, NEAR),
        rarely(SOFT, None),
        (EXACT[1], NEAR),
        (PREFILTERED, None),
        (ANTIALIASED, NEAR),
        rarely(ANTIALIASED, None),
    ],
)
def test_gradients_are_central_differences(backend, rasterizer, near_clip):
    corners, colors = crossing_scene()
    inputs = {"corners": corners[:1], "colors": colors}
    image, vjp = draw(*inputs.values(), rasterizer, near_clip)
    cotangent = np.random.default_rng(0).normal(size=image.shape)
    for by, gradient in zip(inputs, vjp(cotangent)):
        values = inputs[by]
        moves = np.eye(values.size).reshape(-1, *values.shape[1:])
        step = tolerances.FINITE_DIFFERENCE_STEP
        expected = differences(inputs, by, rasterizer, near_clip, cotangent, moves, step)
        error = relative_error(gradient.ravel(), expected)
        measured.errors.append((f"{by} of faces that are cut", error))
        assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


@pytest.mark.f64
def test_gradients_through_a_texture(backend):
    """A piece looks up the texture of its face."""
    corners, _ = crossing_scene()
    cubes = np.random.default_rng(2).uniform(size=(1, corners.shape[1], 3, 3, 3, 3))
    inputs = {"corners": corners[:1], "colors": cubes}
    image, vjp = draw(*inputs.values(), SOFT)
    cotangent = np.random.default_rng(0).normal(size=image.shape)
    grad_corners, grad_cubes = vjp(cotangent)
    moves = np.eye(corners[0].size).reshape(-1, *corners.shape[1:])
    step = tolerances.FINITE_DIFFERENCE_STEP
    expected = differences(inputs, "corners", SOFT, NEAR, cotangent, moves, step)
    assert relative_error(grad_corners.ravel(), expected) < tolerances.FINITE_DIFFERENCE_RELATIVE
    colour = (image - draw(corners[:1], 0 * cubes, SOFT)[0]) * cotangent  # linear in the texture
    assert (grad_cubes * cubes).sum() == pytest.approx(colour.sum(), rel=1e-10)


@pytest.mark.f64
@pytest.mark.parametrize("rasterizer", [*EXACT, Z_BUFFER], ids=describe)
def test_tangents_are_the_transpose(backend, rasterizer):
    random = np.random.default_rng(2)
    corners, colors = crossing_scene()
    workspace = Workspace("a scene", MAX_PAIRS, NEAR)
    shader, surface = lay_colors(workspace, colors)
    given = upload(corners, np.float64)
    rasterization, clipping = draw_clipped(
        workspace,
        given,
        shader,
        surface,
        SIZE,
        lambda *inputs: rasterizer.forward(workspace, *inputs, SIZE),
    )
    tangents = [random.normal(size=(2, *array.shape)) for array in (given, *surface.numbers)]
    pushed = [upload(tangent, np.float64) for tangent in tangents]
    moved = clipping.push_forward(pushed[0], SurfaceNumbers(*pushed[1:]))
    image = rasterization.push_forward(*moved).to_numpy()
    gradient = random.normal(size=(len(corners), *SIZE, image.shape[2]))
    planes_from_pixels(gradient, rasterization.grad_image)
    rasterization.backward()
    grad_corners, grad_surface = clipping.backward(rasterization)
    for k in range(2):
        terms = np.moveaxis(image[k], 1, -1)[..., : SIZE[0], : SIZE[1], :] * gradient
        pulled = (tangents[0][k] * grad_corners.to_numpy()).sum()
        pulled += (tangents[1][k] * grad_surface.varyings.to_numpy()).sum()
        assert abs(terms.sum() - pulled) / np.linalg.norm(terms) < tolerances.TRANSPOSE_DOUBLE


def test_faces_in_front_are_the_same_bits(backend):
    """Beside a face that is cut, too."""
    corners, colors = crossing_scene()
    front = np.array([[[-1.2, -0.5, 0], [-0.4, -0.6, 0], [-0.9, 0.7, 0]]]) + [0, 0, 2]
    front = np.concatenate([front * [2, 2, 1], front[..., 2:]], axis=-1)[None]
    cut = np.array([[[1.9, -0.5, 2, 2], [3.0, 0.6, 2, 2], [2.9, 0.2, -1, -1.0]]])[None]
    for rasterizer in (SOFT, Z_BUFFER):
        alone, _ = draw(front, colors[:, :1], rasterizer)
        both, _ = draw(np.concatenate([front, cut], 1), colors[:, :2], rasterizer)
        np.testing.assert_array_equal(both[:, :, :10], alone[:, :, :10])
        assert both[:, :, 15:, 3].max() > 0.5


@pytest.mark.parametrize("rasterizer", [Z_BUFFER, PREFILTERED, SOFT], ids=describe)
def test_a_room_has_no_holes(backend, rasterizer):
    """From within a box, with one pair of triangles a side or many; inner edges of one layer
    have 3/4 in soft aggregation, see its docstring."""
    least = 0.75 - 1e-6 if rasterizer is SOFT else 1.0
    corners, faces = primitives.icosphere(0)
    mesh = tsr.Mesh(3 * corners, faces, vertex_colors=0.5 + 0.2 * corners)
    cameras = tsr.Camera.look_at([(0, 0, 1.0), (1.5, 0.2, 0.3)], target=(0.3, 0.2, -3))
    renderer = tsr.Renderer(mesh, cameras, SIZE, rasterizer, tsr.Unlit())
    image = renderer.render().to_numpy()
    assert image[..., 3].min() >= least and image[..., 3].max() <= 1 + 1e-6
    assert np.abs(image[..., :3] - 0.5).max() < 0.21  # no background


def far_quad(distance):
    """Two triangles with an edge across the image, and corners that are so far outside."""
    along, across = np.array([np.cos(0.65), np.sin(0.65)]), np.array([-np.sin(0.65), np.cos(0.65)])
    a, b = 0.1317 * across - distance * along, 0.1317 * across + 0.7 * distance * along
    c, d = a + distance * across, b - distance * across
    corners = np.zeros((1, 2, 3, 4))
    corners[..., 2:] = 2.0
    corners[0, :, :, :2] = np.array([[a, b, c], [b, a, d]]) * 2
    return corners.astype(np.float32).astype(float)


@pytest.mark.parametrize("distance", [1e5, 1e7])
def test_far_corners_move_no_pixel(backend, distance):
    """Of two faces with one edge every pixel sees one, the right one but at a rounding's width."""
    size = (96, 128)
    corners = far_quad(distance)
    colors = np.stack([np.zeros((3, 1)), np.ones((3, 1))])[None]
    image, _ = draw(corners, colors, tsr.FilteredDerivative(**DEPTHS, overdraw=False), None, size)
    seen, _ = nearest_faces(corners[0], size, 0.1)
    assert (image[..., 1] == 1).all()
    assert (np.abs(image[0, ..., 0] - seen) > 0.5).sum() <= 1


def test_what_is_behind_is_not_drawn(backend):
    corners, colors = crossing_scene()
    corners[..., 2:] -= 10.0
    image, vjp = draw(corners, colors, SOFT)
    assert (image[..., 3] == 0).all()
    assert all((gradient == 0).all() for gradient in vjp(np.ones_like(image)))


def test_a_camera_on_a_face(backend):
    """The face is seen edge-on, and corners may be in the camera itself."""
    corners, colors = crossing_scene()
    corners[:, 0, :, :2] = 0.0
    corners[:, 1, 0] = 0.0
    for near_clip in (None, NEAR):
        image, vjp = draw(corners, colors, SOFT, near_clip)
        gradients = vjp(np.ones_like(image))
        assert all(np.isfinite(array).all() for array in (image, *gradients))


@pytest.mark.parametrize("near_clip", [0.0, -1.0, np.nan, np.inf, "near", 9.0])
def test_bad_near_clips(backend, near_clip):
    corners, colors = crossing_scene()
    with pytest.raises(ValueError, match="near_clip must be a finite number above 0"):
        draw(corners, colors, SOFT, near_clip)
