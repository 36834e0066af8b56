"""Faces as kernels read them: which vertices they have, and which corners meet at a vertex."""

import numpy as np

from taichi_softras.runtime import ti
from taichi_softras.workspace import write_array


class CornerLists:
    """Arrays on the device, with room for more faces and vertices than there are.

    Attributes:
        faces: (P, 3) int.
        corner_starts, corners_of_vertex: (V + 1,) and (3 P,) int, see `Mesh`.
    """

    def __init__(self, faces: np.ndarray, num_vertices: int, num_faces: int):
        """Allocates and writes.

        Args:
            faces: (F, 3) int.
            num_vertices: V that there is room for.
            num_faces: P that there is room for.
        """
        self.faces = ti.ndarray(int, (num_faces, 3))
        self.corner_starts = ti.ndarray(int, (num_vertices + 1,))
        self.corners_of_vertex = ti.ndarray(int, (3 * num_faces,))
        self.write(faces)

    @property
    def arrays(self) -> tuple:
        """All three."""
        return self.faces, self.corner_starts, self.corners_of_vertex

    def write(self, faces: np.ndarray) -> None:
        """Other faces, no more than there is room for."""
        of_corner, num_vertices = faces.ravel(), self.corner_starts.shape[0] - 1
        counts = np.bincount(of_corner, minlength=num_vertices)
        _write(self.faces, faces)
        _write(self.corner_starts, np.concatenate([[0], np.cumsum(counts)]))
        _write(self.corners_of_vertex, np.argsort(of_corner, kind="stable"))


def _write(array: ti.Ndarray, values: np.ndarray) -> None:
    """Rows, and zeros behind them."""
    rows = np.zeros(tuple(array.shape), np.int32)
    rows[: len(values)] = values
    write_array(array, rows)
