"""Which vertices of a mesh belong together: tables that are made once a topology, in NumPy."""

import weakref

import numpy as np

from taichi_softras.runtime import ti
from taichi_softras.scene.checks import check_kind
from taichi_softras.scene.mesh import Mesh
from taichi_softras.workspace import write_array

# `Connectivity` of each mesh that a loss has seen, and how often it had been replaced then
_connectivities: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class Hinges:
    """Pairs of faces that share an edge.

    Attributes:
        corners: (I, 4) the two vertices of the edge, then the two opposite ones.
        starts: (V + 1,) where the places of each vertex start.
        places: (4I,) where a vertex stands in `corners`, flattened.
        gradients: (4I,) vec3 scratch, what each hinge adds to its vertices.
    """

    def __init__(self, corners: np.ndarray, num_vertices: int):
        self.corners = _table(corners)
        self.starts = _table(starts_of_vertices(corners.ravel(), num_vertices))
        self.places = _table(np.argsort(corners.ravel(), kind="stable"))
        self.gradients = ti.Vector.ndarray(3, float, corners.size)


class Connectivity:
    """Who meets whom in a mesh; None where nobody does.

    Attributes:
        neighbor_starts: (V + 1,) where the neighbours of each vertex start.
        neighbors: (2E,) vertices.
        edges: (E, 2) vertices.
        hinges: `Hinges` of the edges with two faces.
        pairs: `Hinges` of every two faces that share an edge.
        deviations: (V,) vec3 scratch, world: vertex - mean of its neighbours.
        terms: scratch for the terms of a loss, as many as there are vertices, edges or pairs.
    """

    def __init__(self, mesh):
        edges = mesh.edges_array[mesh.edges_array[:, 0] != mesh.edges_array[:, 1]]
        num_vertices = mesh.vertices.shape[0]  # with those that only the capacity has
        ends = np.concatenate([edges, edges[:, ::-1]])
        ends = ends[np.argsort(ends[:, 0], kind="stable")]
        self.neighbor_starts = _table(starts_of_vertices(ends[:, 0], num_vertices))
        self.neighbors = self.edges = self.hinges = self.pairs = None
        if len(edges):
            self.neighbors, self.edges = _table(ends[:, 1]), _table(edges)
        hinges, pairs = hinges_of_faces(mesh.faces_array), pairs_of_faces(mesh.faces_array)
        if len(hinges):
            self.hinges = Hinges(hinges, num_vertices)
        if len(pairs):
            self.pairs = Hinges(pairs, num_vertices)
        self.deviations = ti.Vector.ndarray(3, float, num_vertices)
        self.terms = ti.ndarray(float, max(num_vertices, len(edges), len(pairs)))


def connectivity_of(mesh) -> Connectivity:
    """That of a still mesh as it is now, made when a loss sees it first.

    Raises:
        ValueError: the mesh moves, or is none.
    """
    check_kind("mesh", mesh, (Mesh,), "a Mesh, of a Scene one of scene.meshes")
    if mesh.is_moving:
        raise ValueError(
            "losses of meshes are for a still mesh, with vertices of shape (V,), got "
            f"{mesh.vertices.shape}"
        )
    if mesh not in _connectivities or _connectivities[mesh][0] != mesh.num_replacements:
        _connect(mesh)
    return _connectivities[mesh][1]


@ti.ad.no_grad
def _connect(mesh):
    _connectivities[mesh] = mesh.num_replacements, Connectivity(mesh)


def _table(array: np.ndarray):
    table = ti.ndarray(ti.i32, array.shape)
    write_array(table, array)
    return table


def starts_of_vertices(vertices: np.ndarray, num_vertices: int) -> np.ndarray:
    """(V + 1,) where each vertex starts in the sorted list of `vertices`."""
    return np.concatenate([[0], np.cumsum(np.bincount(vertices, minlength=num_vertices))])


def pairs_of_faces(faces: np.ndarray) -> np.ndarray:
    """(P, 4) vertices of every two faces that share an edge: start, end, opposite, opposite.

    Args:
        faces: (F, 3) vertices.
    """
    starts, ends, opposites = (np.roll(faces, -shift, axis=1).ravel() for shift in range(3))
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    keys = low.astype(np.int64) * (faces.max() + 1) + high
    order = np.argsort(keys, kind="stable")
    order = order[low[order] != high[order]]
    pairs = [np.zeros((0, 4), faces.dtype)]
    for distance in range(1, len(order)):  # of two faces of one edge in this order
        one, two = order[:-distance], order[distance:]
        share = keys[one] == keys[two]
        if not share.any():
            break
        one, two = one[share], two[share]
        pairs.append(np.stack([low[one], high[one], opposites[one], opposites[two]], axis=1))
    return np.concatenate(pairs)


def hinges_of_faces(faces: np.ndarray) -> np.ndarray:
    """(I, 4) those of `pairs_of_faces` whose edge has no third face.

    Args:
        faces: (F, 3) vertices.
    """
    pairs = pairs_of_faces(faces)
    keys = pairs[:, 0].astype(np.int64) * (faces.max() + 1) + pairs[:, 1]
    _, pair_of_edge, counts = np.unique(keys, return_index=True, return_counts=True)
    return pairs[pair_of_edge[counts == 1]]
