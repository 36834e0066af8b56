"""The antialiased image against exact areas, against many samples a pixel, and against its twin."""

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances
from tests.rasterizers.scenes import DEPTHS, gradient_error
from tests.rasterizers.test_approximate_gradient import random_scene
from tests.rasterizers.test_prefiltered import SIZE, in_pixels
from tests.reference.antialiased import antialiased

METHOD = tsr.Antialiased(**DEPTHS, background=(0.1, 0.2, 0.3))
FACTOR = 16


def corners_of(points, faces, depth=5.0):
    """(1, F, 3, 4) clip corners with w = 1, from pixels x right and y down."""
    vertices = in_pixels(points, depth)
    return np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)[faces][None]


def plate(right, tilt=0.0):
    """A plate in pixels, two faces; its right side at `right`, which leans by `tilt` pixels."""
    points = [[5, 5], [right + tilt, 5], [right, 40], [5, 40]]
    return corners_of(points, np.array([[0, 1, 2], [0, 2, 3]]))


def draw(corners, colors=None, rasterizer=METHOD):
    return tsr.rasterize(corners, colors, image_size=(SIZE, SIZE), rasterizer=rasterizer)


@pytest.mark.f64
@pytest.mark.parametrize("shift", np.linspace(0.0, 1.0, 7))
def test_an_upright_edge_has_exact_areas(backend, shift):
    """Wherever it is in a pixel, and their derivative."""
    image, vjp = draw(plate(30 + shift))
    row = image[0, 20, :, 0]
    area = np.clip(30 + shift - np.arange(SIZE), 0, 1) - (np.arange(SIZE) < 5)
    np.testing.assert_allclose(row, area, atol=tolerances.DOUBLE_ROUNDING * SIZE)
    np.testing.assert_allclose(image[0, 5:40, 10, 0], 1, atol=0)
    cotangent = np.zeros_like(image)
    cotangent[0, 20] = 1.0
    by_right = vjp(cotangent)[0][0, [0, 0, 1], [1, 2, 1], 0].sum() * 2 / SIZE  # by pixels
    assert by_right == pytest.approx(1.0, rel=1e-12)


@pytest.mark.f64
def test_a_leaning_edge_has_areas_of_trapezia(backend):
    image, _ = draw(plate(30.0, tilt=7.0))
    rows = np.arange(10, 35)
    width = image[0, rows, 20:, 0].sum(axis=1) + 20
    np.testing.assert_allclose(width, 30 + 7 * (39.5 - rows) / 35, rtol=1e-12)


@pytest.mark.f64
def test_inner_edges_do_not_show(backend):
    """Faces that face the same way meet sharply, whatever their colours."""
    colors = np.zeros((1, 2, 3, 3)) + [[[0.9, 0.1, 0.4]], [[0.2, 0.8, 0.1]]]
    sharp = tsr.FilteredDerivative(**DEPTHS, overdraw=False)
    expected = draw(plate(30.0), colors, sharp)[0]
    np.testing.assert_array_equal(
        draw(plate(30.0), colors)[0][0, 6:39, 6:29], expected[0, 6:39, 6:29]
    )


def dot(size=0.15):
    """A square that covers a pixel's centre and no more; behind it, at its right, a plate."""
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    points = [20.53, 24.46] + size * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ turn
    behind = [[21.2, 15], [33, 14], [34, 35], [21.1, 36]]
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    corners = np.concatenate([corners_of(points, faces), corners_of(behind, faces, 6.0)], axis=1)
    return corners[..., :3]  # divided: depths are w, too


@pytest.mark.f64
def test_shares_of_all_sides_stay_a_mean(backend):
    """They add up to 1.6 here: nothing is left of the dot, neither is anything taken off."""
    corners = dot()
    colors = np.ones((1, 4, 3, 3)) * np.array([0.7, 0.9, 0.2, 0.8])[:, None, None]
    image, _ = draw(corners, colors)
    twin = antialiased(corners, colors, (SIZE, SIZE), **vars(METHOD))
    np.testing.assert_allclose(image, twin, atol=tolerances.DOUBLE_ROUNDING * SIZE)
    assert 0.2 < image[0, 24, 20, 3] < 0.3  # of the plate
    error = gradient_error(corners, colors, "corners", (SIZE, SIZE), METHOD)
    assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


@pytest.mark.f64
@pytest.mark.filterwarnings("ignore:near = ")
@pytest.mark.parametrize("layout", ["texels", "cubes"])
@pytest.mark.parametrize("double_sided", [True, False])
def test_gradients_of_textures(backend, layout, double_sided):
    corners, colors = random_scene(layout)
    rasterizer = tsr.Antialiased(
        near=2.0, far=100.0, background=(0.2, 0.5, 0.1), double_sided=double_sided
    )
    image, _ = tsr.rasterize(corners, colors, image_size=(15, 26), rasterizer=rasterizer)
    twin = antialiased(corners, colors, (15, 26), **vars(rasterizer))
    np.testing.assert_allclose(image, twin, atol=tolerances.NMR_DOUBLE)
    for by in ("corners", "colors"):
        error = gradient_error(corners[:1], colors, by, (15, 26), rasterizer)
        assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


@pytest.mark.parametrize(
    "vertices, faces",
    [
        tsr.primitives.icosphere(2),
        tsr.primitives.icosphere(4),
        tsr.primitives.torus(major_segments=40, minor_segments=20),
    ],
    ids=["ball of 320", "ball of 5120", "torus"],
)
def test_outlines_are_those_of_many_samples(backend, vertices, faces):
    """A third of the z-buffer's error is asked for: a tenth, also of faces thinner than a pixel."""
    colors = 0.5 + 0.3 * np.asarray(vertices) / np.abs(vertices).max()
    mesh = tsr.Mesh(vertices, faces, vertex_colors=colors)
    camera = tsr.Camera.look_at((1.0, 2.0, 3.0), fov_y_degrees=45)

    def render(rasterizer, factor=1):
        size = (64 * factor, 64 * factor)
        return tsr.Renderer(mesh, camera, size, rasterizer, tsr.Unlit()).render().to_numpy()[0]

    sharp = tsr.FilteredDerivative(**DEPTHS, overdraw=False)
    large = render(sharp, FACTOR)
    truth = large.reshape(64, FACTOR, 64, FACTOR, 4).mean(axis=(1, 3))
    on_outline = (truth[..., 3] > 0) & (truth[..., 3] < 1)
    errors = [
        np.abs(render(rasterizer) - truth)[on_outline].mean()
        for rasterizer in (tsr.Antialiased(**DEPTHS), sharp)
    ]
    print(f"mean error on outlines {errors[0]:.4f}, of the z-buffer {errors[1]:.4f}")
    assert errors[0] < errors[1] * tolerances.ANTIALIASED_OF_PLAIN


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="near must be"):
        tsr.Antialiased(near=-1.0)
    with pytest.raises(ValueError, match="background must be"):
        tsr.Antialiased(background="white")
