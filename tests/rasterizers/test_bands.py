"""More (tile, face) pairs than fit into memory: bands of tiles, and the same image."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from taichi_softras.functional import lay_colors
from taichi_softras.rasterizers.binning import TILE, Bins
from taichi_softras.rasterizers.fragments import SurfaceNumbers
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rasterizers.scenes import EACH_RASTERIZER, describe, nearest, upload
from tests.rasterizers.test_approximate_gradient import random_scene
from tests.rasterizers.test_push_forward import FEW, IMAGE_SIZE

FEW_PAIRS = 12  # many bands, of several tiles or of one that alone has more
SIZE = (20, 37)
FACE = np.array([[[[-0.5, -0.5, 2], [0.5, -0.5, 2], [0.0, 0.5, 2]]]])  # (1, 1, 3, 3)


def assert_same_bits(backend, actual, expected):
    """On a GPU but for rounding: a tile's faces come in any order."""
    tolerance = 0 if backend.arch == "cpu" else tolerances.SAME_IMAGE_SINGLE
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("rasterizer", EACH_RASTERIZER, ids=describe)
def test_bands_draw_the_same_image_and_gradient(backend, rasterizer):
    corners, colors = random_scene("corners")
    images, gradients = [], []
    for max_pairs in ({}, {"max_pairs": FEW_PAIRS}):
        image, vjp = tsr.rasterize(
            corners, colors, image_size=SIZE, rasterizer=rasterizer, **max_pairs
        )
        cotangent = np.random.default_rng(0).normal(size=image.shape)
        vjp(-cotangent)  # the bands come once more
        images.append(image)
        gradients.append(vjp(cotangent))
    assert_same_bits(backend, images[1], images[0])
    for actual, expected in zip(*gradients[::-1]):
        assert relative_error(actual, expected) < tolerances.SAME_GRADIENT_SINGLE


def test_bands_have_the_same_fragments(backend):
    corners, _ = random_scene("corners")
    arguments = {"image_size": SIZE, "rasterizer": nearest("softmax")}
    expected = tsr.fragments(corners, **arguments)
    assert (expected.pix_to_face >= 0).any()
    actual = tsr.fragments(corners, **arguments, max_pairs=FEW_PAIRS)
    for one, other in zip(actual, expected):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rasterizer", FEW, ids=describe)
def test_bands_push_forward_the_same(backend, rasterizer):
    corners, colors = random_scene("corners")
    random = np.random.default_rng(2)
    tangents, pushed = None, []
    for workspace in (Workspace(), Workspace(max_pairs=FEW_PAIRS)):
        shader, surface = lay_colors(workspace, colors.astype(backend.numpy_float))
        inputs = upload(corners, backend.numpy_float), *surface.numbers
        drawn = rasterizer.forward(workspace, inputs[0], shader, surface, IMAGE_SIZE)
        if tangents is None:
            tangents = [random.normal(size=(2, *array.shape)) for array in inputs]
        arrays = [upload(tangent, backend.numpy_float) for tangent in tangents]
        pushed.append(drawn.push_forward(arrays[0], SurfaceNumbers(*arrays[1:])).to_numpy())
    assert_same_bits(backend, pushed[1], pushed[0])


@pytest.mark.parametrize("max_pairs", [1, 40, 100])
def test_bands_are_all_tiles_once(backend, max_pairs):
    """Each has no more pairs than are allowed, or one tile; the lists are those of one band."""
    corners = upload(random_scene("corners")[0], backend.numpy_float)
    whole = Bins(Workspace(), corners, SIZE, 0.2)
    (tiles,) = whole.bands()
    starts, faces = tiles.starts.to_numpy(), tiles.faces.to_numpy()
    expected = [set(faces[start:end]) for start, end in zip(starts[:-1], starts[1:])]

    bins = Bins(Workspace(max_pairs=max_pairs), corners, SIZE, 0.2)
    assert bins.num_pairs == whole.num_pairs > max_pairs
    covered = 0
    for tiles in bins.bands():
        first, end = tiles.band.to_numpy()
        starts, faces = tiles.starts.to_numpy(), tiles.faces.to_numpy()
        assert first == covered
        assert starts[end] <= max_pairs or end == first + 1
        for tile in range(first, end):
            assert set(faces[starts[tile] : starts[tile + 1]]) == expected[tile]
        assert len(faces) <= max(max_pairs, *map(len, expected))
        covered = end
    assert covered == len(expected)


@pytest.mark.cpu
def test_more_than_2_31_pairs_are_counted(backend):
    """Faces that cover all of an image, and bands of no more than 2^20 pairs of them."""
    num_faces, extent = 2**15 + 1, 2048
    corners = np.broadcast_to(FACE * [30, 30, 1], (1, num_faces, 3, 3))
    corners_array = upload(corners, backend.numpy_float)
    workspace = Workspace(max_pairs=2**20)
    bins = Bins(workspace, corners_array, (extent, extent), 0.0)
    assert bins.num_pairs == num_faces * (extent // TILE) ** 2 > 2**31
    tiles = next(bins.bands())
    assert tuple(tiles.band.to_numpy()) == (0, 2**20 // num_faces)
    assert len(tiles.faces.to_numpy()) <= 2**20
    np.testing.assert_array_equal(tiles.faces.to_numpy()[:num_faces], np.arange(num_faces))


def test_a_renderer_counts_and_draws_bands(backend):
    """A ball by the start of an annealed fit: sigma in place of faces makes the pairs many."""
    mesh = tsr.Mesh(*tsr.primitives.icosphere(1))
    cameras = tsr.Camera.look_at(tsr.orbit(2.7, 30, [0, 120, 240]), fov_y_degrees=50)
    settings = {"shading": tsr.Unlit(), "rasterizer": tsr.SoftAggregation(sigma=1.0)}
    whole = tsr.Renderer(mesh, cameras, (16, 24), **settings)
    expected = whole.render().to_numpy()
    assert whole.count_pairs() == 3 * 80 * 2 * 3  # each face reaches each tile
    banded = tsr.Renderer(mesh, cameras, (16, 24), **settings, max_pairs=100)
    assert banded.count_pairs() == whole.count_pairs()
    assert_same_bits(backend, banded.render().to_numpy(), expected)
    gradients = []
    for renderer in (whole, banded):
        renderer.backward(np.ones_like(expected))
        gradients.append(mesh.vertices.grad.to_numpy())
    assert relative_error(*gradients[::-1]) < tolerances.SAME_GRADIENT_SINGLE


@pytest.mark.parametrize("rasterizer", FEW + [tsr.ApproximateGradient()], ids=describe)
def test_every_method_counts(backend, rasterizer):
    corners = upload(random_scene("corners")[0], backend.numpy_float)
    assert rasterizer.bin_faces(Workspace(), corners, SIZE).num_pairs > 0


@pytest.mark.parametrize("max_pairs", [0, -1, 2.0**20, 2**31, True, None])
def test_max_pairs_out_of_range(backend, max_pairs):
    with pytest.raises(ValueError, match="max_pairs must be an integer from 1"):
        tsr.rasterize(FACE, image_size=(8, 8), max_pairs=max_pairs)


@pytest.mark.parametrize(
    "shape, image_size, names",
    [
        ((1, 1), (40000, 40000), r"image_size \(40000, 40000\)"),  # tiles
        ((1, 1), (8, 2**28), "image_size"),  # planes of pixels
        ((3, 1), (24000, 24000), "num_views 3"),
        ((1, 2**27), (8, 8), "num_faces 134217728"),  # records of faces
        ((2**23, 1), (1, 1), "num_views 8388608"),  # tasks of views
    ],
)
@pytest.mark.parametrize(
    "rasterizer",
    [tsr.SoftAggregation(), tsr.KNearest(), tsr.ApproximateGradient(anti_aliasing=True)],
    ids=describe,
)
def test_what_kernels_cannot_count_is_refused(backend, shape, image_size, names, rasterizer):
    """Before anything of that size is made."""
    corners = np.broadcast_to(FACE, (*shape, 3, 3))
    with pytest.raises(ValueError, match=names):
        tsr.rasterize(corners, image_size=image_size, rasterizer=rasterizer)


def test_no_memory_is_said_in_words(backend, monkeypatch):
    def fail(*_):
        raise RuntimeError("Assertion failure")

    workspace = Workspace("image_size (8, 8)")
    monkeypatch.setattr("taichi_softras.workspace.ti.ndarray", fail)
    with pytest.raises(MemoryError, match=r"image_size \(8, 8\) needs 15 entries of 'state', for"):
        workspace.get("state", (3, 5))


def test_a_field_that_kernels_cannot_count_is_refused(backend):
    with pytest.raises(ValueError, match="2,147,483,649 entries of 'field'"):
        FieldTree().add((715827883,), (3,))


def test_an_image_that_kernels_cannot_count_is_refused(backend):
    mesh = tsr.Mesh(*tsr.primitives.triangle())
    with pytest.raises(ValueError, match=r"image_size \(30000, 30000\).*3,600,000,000"):
        tsr.Renderer(mesh, tsr.Camera.look_at((0, 0, 3)), (30000, 30000))


@pytest.mark.parametrize(
    "faces_per_pixel, error", [(10**9, ValueError), (10**5, MemoryError)], ids=["count", "memory"]
)
def test_fragments_beyond_memory_say_how_many_bytes(backend, faces_per_pixel, error, monkeypatch):
    monkeypatch.setattr("taichi_softras.rasterizers.k_nearest.memory_bytes", lambda: 1e8)
    size = 64 * faces_per_pixel * (4 + 5 * np.dtype(backend.numpy_float).itemsize)
    with pytest.raises(error, match=rf"faces_per_pixel = .* take {size:,} bytes: lower"):
        tsr.fragments(FACE, image_size=(8, 8), rasterizer=tsr.KNearest(faces_per_pixel))
