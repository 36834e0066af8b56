"""The faces of each tile against brute force, also in more tiles than one chunk of the scan."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.rasterizers.binning import SCAN_CHUNK, TILE, Bins
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rasterizers.scenes import ALL_RASTERIZERS, draw_twin, upload

REACH = 0.05  # NDC


def random_corners(generator, num_faces, image_size, largest):
    """(3, F, 3, 3) all over the image and beyond; every eighth face is behind the camera."""
    extent = np.array(image_size[::-1]) / min(image_size)
    corners = generator.uniform(-1, 1, (3, num_faces, 3, 3)) * largest / min(image_size)
    corners[..., :2] += generator.uniform(-1.2, 1.2, (3, num_faces, 1, 2)) * extent
    corners[..., 2] = 2.0
    corners[:, ::8, 1, 2] = -1.0
    return corners


def expected_box(triangle, image_size):
    """First and last column, first and last row of the pixels in its box; None if there is none."""
    height, width = image_size
    shorter = min(image_size)
    x, y = (
        (2 * np.arange(width) + 1 - width) / shorter,
        (height - 1 - 2 * np.arange(height)) / shorter,
    )
    low, high = triangle[:, :2].min(0) - REACH, triangle[:, :2].max(0) + REACH
    columns = np.flatnonzero((x >= low[0]) & (x <= high[0]))
    rows = np.flatnonzero((y >= low[1]) & (y <= high[1]))
    if triangle[:, 2].min() <= 0 or len(columns) == 0 or len(rows) == 0:
        return None
    return columns[0], columns[-1], rows[0], rows[-1]


@pytest.mark.f64
@pytest.mark.parametrize("image_size, largest", [((240, 333), 100), ((5, 3), 9), ((1, 4096), 900)])
def test_boxes_hold_the_pixels_in_reach(backend, image_size, largest):
    corners = random_corners(np.random.default_rng(0), 150, image_size, largest)
    bins = Bins(Workspace(), upload(corners, backend.numpy_float), image_size, REACH)
    for box, triangle in zip(bins.of_faces.boxes.to_numpy(), corners.reshape(-1, 3, 3)):
        expected = expected_box(triangle, image_size)
        assert tuple(box[:4]) == (expected or (1, 0, 1, 0))


@pytest.mark.parametrize("image_size, largest", [((240, 333), 100), ((5, 3), 9), ((1, 4096), 900)])
def test_tiles_list_the_faces_that_touch_them(backend, image_size, largest):
    num_views, num_faces = 3, 150
    corners = random_corners(np.random.default_rng(0), num_faces, image_size, largest)
    bins = Bins(Workspace(), upload(corners, backend.numpy_float), image_size, REACH)

    rows, columns = -(-image_size[0] // TILE), -(-image_size[1] // TILE)
    assert (bins.rows, bins.columns) == (rows, columns)
    tiles = next(bins.bands())
    starts, faces = tiles.starts.to_numpy(), tiles.faces.to_numpy()
    expected = [[] for _ in range(num_views * rows * columns)]
    for index, box in enumerate(bins.of_faces.boxes.to_numpy()):
        first_column, last_column, first_row, last_row, source, row, _ = box
        view, face = divmod(index, num_faces)
        assert source == row == face
        if first_column <= last_column:
            for row in range(first_row // TILE, last_row // TILE + 1):
                for column in range(first_column // TILE, last_column // TILE + 1):
                    expected[(view * rows + row) * columns + column].append(face)
    assert bins.num_pairs == starts[-1] == sum(map(len, expected))
    for tile, faces_of_tile in enumerate(expected):
        assert sorted(faces[starts[tile] : starts[tile + 1]]) == faces_of_tile


def test_the_scan_was_tried_on_many_chunks():
    assert 3 * (240 // TILE) * (333 // TILE) > 2 * SCAN_CHUNK


def test_many_faces_over_many_tiles(backend):
    """Small and large faces, partly outside, in two views of an image that ends within a tile."""
    generator = np.random.default_rng(1)
    centres = generator.uniform(-2.2, 2.2, (2, 300, 1, 3))
    sizes = generator.uniform(0.02, 1, (2, 300, 1, 1)) ** 2
    corners = centres + sizes * generator.uniform(-1, 1, (2, 300, 3, 3))
    corners[..., 2] = np.abs(corners[..., 2]) + 1.5
    colors = generator.uniform(size=(2, 300, 3, 3))
    inputs = corners.astype(np.float32), colors.astype(np.float32)
    image, _ = tsr.rasterize(*inputs, image_size=(37, 70), rasterizer=ALL_RASTERIZERS[0])
    expected = draw_twin(*inputs, (37, 70), ALL_RASTERIZERS[0])
    np.testing.assert_allclose(image, expected, atol=tolerances.TINY_FACES_SINGLE)
