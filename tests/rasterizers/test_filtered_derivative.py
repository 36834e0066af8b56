"""Filtered derivatives against OpenDR's own, and against the twin."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.rasterizers.fragments import SILHOUETTE, SurfaceNumbers
from taichi_softras.shading.composition import Looks, compose
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rasterizers.scenes import DEPTHS, draw_twin, lay_surface, upload
from tests.rasterizers.test_approximate_gradient import random_scene
from tests.reference.filtered_derivative import (
    draw_outlines,
    gradient,
)
from tests.reference.opendr_goldens import OPENDR_CASES, load_opendr
from tests.reference.z_buffer import z_buffer


@pytest.fixture(params=OPENDR_CASES, ids="-".join)
def golden(request):
    return load_opendr(*request.param)


def surface_of(varyings, dtype):
    """Corner values (1 or B, F, 3, K), or with an axis of parameters before them."""
    leading = varyings.shape[:-4]
    nothing = np.zeros((*leading, 1, 1, 1, 1)), np.zeros((*leading, 1, 1))
    if leading:
        return SurfaceNumbers(*(upload(table, dtype) for table in (varyings, *nothing)))
    return lay_surface(SILHOUETTE, varyings, *nothing, dtype)


def forward(golden, backend):
    varyings = golden.vertex_colors[golden.triangles][None]
    shader = compose([tsr.Unlit()], Looks(varyings.shape[-1])).shader
    rasterizer = tsr.FilteredDerivative(
        **DEPTHS, background=tuple(golden.background), overdraw=False
    )
    return rasterizer.forward(
        Workspace(),
        upload(golden.corners, backend.numpy_float),
        shader,
        surface_of(varyings, backend.numpy_float),
        golden.faces.shape,
    )


def planes(pixels):
    """(1, C, H, W) of (H, W, C)."""
    return np.moveaxis(pixels, -1, 0)[None]


def show(golden, backend):
    """A rasterization whose image, and what is seen in it, are OpenDR's."""
    rasterization = forward(golden, backend)
    seen = rasterization.z_buffer.seen
    depths = golden.depths[golden.triangles][golden.faces]
    depth = (golden.weights * depths).sum(axis=-1) + (golden.faces < 0)
    on_screen = golden.weights * depths / depth[..., None]
    alpha = (golden.faces >= 0).astype(float)[..., None]
    for array, values in (
        (seen.faces, golden.faces[None]),
        (seen.weights, planes(on_screen)),
        (seen.depths, depth[None]),
        (rasterization.image, planes(np.dstack([golden.image, alpha]))),
        (rasterization.grad_image, planes(np.dstack([golden.grad_image, 0 * alpha]))),
    ):
        array.from_numpy(np.ascontiguousarray(values, array.to_numpy().dtype))
    if golden.boundary is not None:
        rasterization.boundary = Workspace().get("boundary", (1, *golden.faces.shape), int)
        rasterization.boundary.from_numpy(golden.boundary[None].astype(np.int32))
    return rasterization


def check(golden, backend, tolerance):
    """Alpha, which OpenDR has not, has no gradient."""
    rasterization = show(golden, backend)
    rasterization.backward()
    grad_corners = rasterization.grad_corners.to_numpy()[0].astype(float)
    pixel = 2 / min(golden.faces.shape) * np.array([1, -1])  # NDC, y up
    for what, actual, expected in (
        ("corners", grad_corners[..., :2] * pixel, golden.grad_vertices),
        ("colours", rasterization.grad_surface.varyings.to_numpy()[0], golden.grad_vertex_colors),
    ):
        error = relative_error(golden.at_vertices(actual), expected)
        print(f"gradient of {what}: largest relative error {error:.1e}")
        assert error < tolerance
    assert not grad_corners[..., 2].any()


@pytest.mark.f64
def test_opendr_in_double_precision(backend, golden):
    check(golden, backend, tolerances.OPENDR_DOUBLE)


def test_opendr_in_single_precision(backend, golden):
    check(golden, backend, tolerances.OPENDR_SINGLE)


@pytest.mark.f64
def test_jacobian_of_opendr(backend, golden):
    """Every vertex coordinate is a parameter."""
    pixel = 2 / min(golden.faces.shape) * np.array([1, -1])  # NDC, y up
    number = golden.vertices.size
    moves = np.eye(number).reshape(number, -1, 2) * pixel
    tangents = np.zeros((number, 1, *golden.triangles.shape, 3))
    tangents[..., :2] = moves[:, None, golden.triangles]
    colors = np.zeros((number, 1, *golden.triangles.shape, golden.image.shape[-1]))
    rasterization = show(golden, backend)
    surface = surface_of(colors, float)
    pushed = rasterization.push_forward(upload(tangents, float), surface)
    jacobian = np.moveaxis(pushed.to_numpy()[:, 0, :-1], (0, 1), (-1, -2))
    error = relative_error(jacobian, golden.jacobian.reshape(jacobian.shape))
    print(f"Jacobian: largest relative error {error:.1e}")
    assert error < tolerances.OPENDR_DOUBLE


@pytest.mark.f64
@pytest.mark.parametrize("name", ["tri", "ico2"])
def test_the_image_is_that_of_opendr(backend, name):
    golden = load_opendr(name, "plain")
    rasterization = forward(golden, backend)
    np.testing.assert_array_equal(rasterization.z_buffer.seen.faces.to_numpy()[0], golden.faces)
    image = np.moveaxis(rasterization.image.to_numpy()[0], 0, -1)
    np.testing.assert_allclose(image[..., :3], golden.image, rtol=0, atol=tolerances.TWIN_DOUBLE)


@pytest.mark.f64
@pytest.mark.filterwarnings("ignore:near = ")
@pytest.mark.parametrize("overdraw", [False, True])
@pytest.mark.parametrize("layout", ["corners", "depths"])
def test_image_and_gradient_are_those_of_the_twin(backend, layout, overdraw):
    """Of two views, alpha among the channels; depth is a colour that corners carry along."""
    corners, colors = random_scene(layout)
    rasterizer = tsr.FilteredDerivative(near=2.0, far=100.0, overdraw=overdraw)
    colors = tsr.Depth() if layout == "depths" else colors
    image, vjp = tsr.rasterize(corners, colors, image_size=(15, 26), rasterizer=rasterizer)
    expected = draw_twin(corners, colors, (15, 26), rasterizer)
    np.testing.assert_allclose(image, expected, rtol=0, atol=tolerances.TWIN_DOUBLE)
    cotangent = np.random.default_rng(1).normal(size=image.shape)
    grad_corners, _ = vjp(cotangent)
    pixels = 15 / 2 * np.array([1, -1])  # in one NDC, y down
    for view in range(2):
        faces, weights, depths = z_buffer(corners[view], (15, 26), 2.0, 100.0, True)
        boundary = draw_outlines(corners[view], faces, weights, depths) if overdraw else None
        on_face = weights / corners[view, :, :, 2][faces] * depths[..., None]
        expected = np.zeros((12, 3, 3))
        by_pixels = gradient(image[view], faces, on_face, boundary, cotangent[view], 12)
        expected[..., :2] = by_pixels * pixels
        if layout == "depths":
            seen = faces >= 0
            by_depths = on_face[seen] * cotangent[view, seen, :1]
            np.add.at(expected[..., 2], faces[seen], by_depths)
        assert relative_error(grad_corners[view], expected) < tolerances.TWIN_DOUBLE


def draw_silhouette(workspace, corners):
    surface = surface_of(np.zeros((1, 1, 1, 1)), corners.to_numpy().dtype)
    rasterizer = tsr.FilteredDerivative(**DEPTHS)
    return rasterizer.forward(workspace, corners, SILHOUETTE, surface, (17, 17))


def test_an_outline_is_one_pixel_wide(backend):
    """A square of two faces: the diagonal that they share is no outline, the border is."""
    a, b, c, d = np.array([[-0.5, -0.5, 2], [0.5, -0.5, 2], [0.5, 0.5, 2], [-0.5, 0.5, 2]])
    corners = upload(np.array([[[a, b, c], [a, c, d]]]), backend.numpy_float)
    drawn = draw_silhouette(Workspace(), corners)
    expected = np.zeros((17, 17), int)
    expected[4:13, 4:13] = 1
    np.testing.assert_array_equal(drawn.image.to_numpy()[0, 0], expected)
    expected[5:12, 5:12] = 0
    np.testing.assert_array_equal(drawn.boundary.to_numpy()[0], expected)


def test_faces_that_part_get_outlines(backend):
    """In one workspace."""
    a, b, c, d = np.array([[-0.5, -0.5, 2], [0.5, -0.5, 2], [0.5, 0.5, 2], [-0.5, 0.5, 2]])
    closed = np.array([[[a, b, c], [a, c, d]]])
    parted = closed + np.array([[[[0.0, 0.0, 0.0]], [[-0.25, 0.25, 0.0]]]])
    workspace, counts = Workspace(), []
    for corners in (closed, parted):
        corners = upload(corners, backend.numpy_float)
        drawn = draw_silhouette(workspace, corners)
        counts.append(int(drawn.boundary.to_numpy().sum()))
    assert counts == [32, 48]
