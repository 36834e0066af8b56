"""The faces of each tile against brute force, also in more tiles than one chunk of the scan."""

import numpy as np
import pytest
import taichi as ti

import taichi_softras as tsr
from taichi_softras.rasterizers.binning import SCAN_CHUNK, TILE, Bins
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rasterizers.scenes import ALL_RASTERIZERS, draw_twin


def random_boxes(generator, num_boxes, image_size, largest):
    """(N, 4) first and last column, first and last row; every eighth is empty: 1, 0, 1, 0."""
    height, width = image_size
    first = generator.integers(0, [width, height], (num_boxes, 2))
    last = np.minimum(
        first + generator.integers(0, largest, (num_boxes, 2)), [width - 1, height - 1]
    )
    boxes = np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1).astype(np.int32)
    boxes[::8] = [1, 0, 1, 0]
    return boxes


@pytest.mark.parametrize("image_size, largest", [((240, 333), 100), ((5, 3), 9), ((1, 4096), 900)])
def test_tiles_list_the_faces_that_touch_them(backend, image_size, largest):
    num_views, num_faces = 3, 150
    boxes = random_boxes(np.random.default_rng(0), num_views * num_faces, image_size, largest)
    boxes_array = ti.ndarray(int, boxes.shape)
    boxes_array.from_numpy(boxes)
    bins = Bins(Workspace(), boxes_array, num_views, image_size)

    rows, columns = -(-image_size[0] // TILE), -(-image_size[1] // TILE)
    assert (bins.rows, bins.columns) == (rows, columns)
    starts, faces = bins.starts.to_numpy(), bins.faces.to_numpy()
    expected = [[] for _ in range(num_views * rows * columns)]
    for index, (first_column, last_column, first_row, last_row) in enumerate(boxes):
        view, face = divmod(index, num_faces)
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
    np.testing.assert_allclose(image, expected, atol=tolerances.SINGLE_PRECISION_RELATIVE)
