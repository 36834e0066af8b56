"""Mesh regularisers: a mesh in; adds to `loss`, on the way back to `mesh.vertices.grad`.

Sparse: tables of neighbours, edges and hinges are made once a mesh, in NumPy.
"""

import weakref

import numpy as np
import taichi as ti

from taichi_softras.losses.image import check_loss

# Squared lengths at a hinge are guarded by this part of its squared size: a collapsed triangle
# has a finite gradient, and the loss does not depend on the unit of length.
RELATIVE_GUARD = 1e-6
SMALLEST_SQUARE = 1e-18  # world units^2: the smallest divisor whose square is still a normal f32

_connectivities = weakref.WeakKeyDictionary()  # of each mesh that a loss has seen


def laplacian(mesh, loss, weight: float = 1.0) -> None:
    """Adds sum_i |v_i - mean of the neighbours of v_i|^2, which keeps a surface smooth.

    A vertex without neighbours adds nothing.

    Args:
        mesh: `Mesh`; the gradient goes to `mesh.vertices`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: `loss` is not a 0-D field with gradient.

    Source: `LaplacianLoss` of Liu et al. 2019, Soft Rasterizer (uniform weights; a sum, no mean).
    """
    check_loss(loss)
    connectivity = _connectivity(mesh)
    if connectivity.neighbors is not None:
        _laplacian(mesh.vertices, connectivity, loss, float(weight), square, square_vjp)


def laplacian_length(mesh, loss, weight: float = 1.0) -> None:
    """Adds the mean over vertices of |v_i - mean of the neighbours of v_i|.

    It pulls at all vertices alike, however far they stand out; a vertex without neighbours
    adds nothing.

    Args:
        mesh: `Mesh`; the gradient goes to `mesh.vertices`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: `loss` is not a 0-D field with gradient.

    Source: `mesh_laplacian_smoothing`, method "uniform", of PyTorch3D (Ravi et al. 2020).
    """
    check_loss(loss)
    connectivity = _connectivity(mesh)
    if connectivity.neighbors is not None:
        scale = float(weight) / mesh.num_vertices
        _laplacian(mesh.vertices, connectivity, loss, scale, length, length_vjp)


def flatten(mesh, loss, weight: float = 1.0) -> None:
    """Adds sum (cos + 1)^2 over the edges that two faces share, which keeps neighbours coplanar.

    cos is of the angle between the two faces, measured at their edge: -1 when they are flat.
    Edges with one face, or more than two, are left out.

    Args:
        mesh: `Mesh`; the gradient goes to `mesh.vertices`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: `loss` is not a 0-D field with gradient.

    Source: `FlattenLoss` of Liu et al. 2019, Soft Rasterizer. The original guards its divisions by
    a fixed 1e-6; here the guard grows with the triangles, so the unit of length does not matter.
    """
    check_loss(loss)
    hinges = _connectivity(mesh).hinges
    if hinges is not None:
        add_flatten_loss(mesh.vertices, hinges, loss, float(weight))


def normal_consistency(mesh, loss, weight: float = 1.0) -> None:
    """Adds the mean over pairs of faces that share an edge of 1 - cos, which keeps them coplanar.

    cos is that of the angle between their normals, both taken on one side of the surface, however
    the faces are wound: 1 when they are flat. An edge with n faces has n (n - 1) / 2 pairs.

    Args:
        mesh: `Mesh`; the gradient goes to `mesh.vertices`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: `loss` is not a 0-D field with gradient.

    Source: `mesh_normal_consistency` of PyTorch3D (Ravi et al. 2020).
    """
    check_loss(loss)
    pairs = _connectivity(mesh).pairs
    if pairs is not None:
        add_normal_consistency_loss(mesh.vertices, pairs, loss, float(weight) / pairs.shape[0])


def edge_length(mesh, loss, weight: float = 1.0, target_length: float = 0.0) -> None:
    """Adds the mean over edges of (length - target_length)^2, which keeps edges even.

    Args:
        mesh: `Mesh`; the gradient goes to `mesh.vertices`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.
        target_length: world units.

    Raises:
        ValueError: `loss` is not a 0-D field with gradient.

    Source: `mesh_edge_loss` of PyTorch3D (Ravi et al. 2020).
    """
    check_loss(loss)
    edges = _connectivity(mesh).edges
    if edges is not None:
        scale = float(weight) / edges.shape[0]
        add_edge_length_loss(mesh.vertices, edges, loss, scale, float(target_length))


# Which vertices belong together ------------------------------------------------------------------


class _Connectivity:
    """Who meets whom in a mesh; tables are None where they would be empty.

    Attributes:
        neighbor_starts: (V + 1,) where the neighbours of each vertex start.
        neighbors: (2E,) vertices.
        edges: (E, 2) vertices.
        hinges: (I, 4) the two vertices of an inner edge, then the two opposite ones.
        pairs: (P, 4) the same for every two faces that share an edge.
        deviations: (V,) vec3 scratch, world: vertex - mean of its neighbours.
    """

    def __init__(self, mesh):
        edges = mesh.edges_array[mesh.edges_array[:, 0] != mesh.edges_array[:, 1]]
        ends = np.concatenate([edges, edges[:, ::-1]])
        ends = ends[np.argsort(ends[:, 0], kind="stable")]
        counts = np.bincount(ends[:, 0], minlength=mesh.num_vertices)
        self.neighbor_starts = _table(np.concatenate([[0], np.cumsum(counts)]))
        self.neighbors = _table(ends[:, 1])
        self.edges = _table(edges)
        self.hinges = _table(hinges_of_faces(mesh.faces_array))
        self.pairs = _table(pairs_of_faces(mesh.faces_array))
        self.deviations = ti.Vector.ndarray(3, float, mesh.num_vertices)


def _table(array: np.ndarray):
    if len(array) == 0:
        return None
    table = ti.ndarray(ti.i32, array.shape)
    table.from_numpy(np.ascontiguousarray(array, np.int32))
    return table


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


@ti.ad.no_grad
def _connect(mesh):
    _connectivities[mesh] = _Connectivity(mesh)


def _connectivity(mesh) -> _Connectivity:
    if mesh.is_moving:
        raise ValueError(
            "losses of meshes are for a still mesh, with vertices of shape (V,), got "
            f"{mesh.vertices.shape}"
        )
    if mesh not in _connectivities:
        _connect(mesh)
    return _connectivities[mesh]


# Laplacian ---------------------------------------------------------------------------------------


@ti.func
def square(deviation):
    """The penalty of `laplacian`."""
    return deviation.norm_sqr()


@ti.func
def square_vjp(deviation, grad):
    """Adjoint of `square`."""
    return 2.0 * grad * deviation


@ti.func
def length(deviation):
    """The penalty of `laplacian_length`."""
    return ti.sqrt(deviation.norm_sqr() + SMALLEST_SQUARE)


@ti.func
def length_vjp(deviation, grad):
    """Adjoint of `length`, 0 at 0."""
    return grad * deviation / length(deviation)


@ti.ad.grad_replaced
def _laplacian(vertices, connectivity, loss, weight, penalty, penalty_vjp):
    starts, neighbors = connectivity.neighbor_starts, connectivity.neighbors
    add_laplacian_loss(vertices, starts, neighbors, connectivity.deviations, loss, weight, penalty)


@ti.ad.grad_for(_laplacian)
def _laplacian_backward(vertices, connectivity, loss, weight, penalty, penalty_vjp):
    starts, neighbors = connectivity.neighbor_starts, connectivity.neighbors
    add_laplacian_loss_backward(
        vertices, starts, neighbors, connectivity.deviations, loss, weight, penalty_vjp
    )


@ti.kernel
def add_laplacian_loss(
    vertices: ti.template(),  # (V,) world
    neighbor_starts: ti.types.ndarray(ndim=1, needs_grad=False),  # (V + 1,)
    neighbors: ti.types.ndarray(ndim=1, needs_grad=False),  # (2E,)
    deviations: ti.types.ndarray(ndim=1, needs_grad=False),  # (V,) out, world
    loss: ti.template(),  # () out
    weight: float,
    penalty: ti.template(),  # ti.func of a deviation
):
    """Adds weight * sum_i penalty(deviation_i), deviation_i = v_i - mean of its neighbours."""
    for vertex in range(vertices.shape[0]):
        start, end = neighbor_starts[vertex], neighbor_starts[vertex + 1]
        deviation = ti.Vector([0.0, 0.0, 0.0])
        for i in range(start, end):
            deviation += (vertices[vertex] - vertices[neighbors[i]]) / (end - start)
        deviations[vertex] = deviation
        loss[None] += weight * penalty(deviation)


@ti.kernel
def add_laplacian_loss_backward(
    vertices: ti.template(),  # (V,) world; adds to its gradient
    neighbor_starts: ti.types.ndarray(ndim=1, needs_grad=False),  # (V + 1,)
    neighbors: ti.types.ndarray(ndim=1, needs_grad=False),  # (2E,)
    deviations: ti.types.ndarray(ndim=1, needs_grad=False),  # (V,) world
    loss: ti.template(),  # ()
    weight: float,
    penalty_vjp: ti.template(),  # ti.func of a deviation and the gradient of its penalty
):
    """Adjoint of `add_laplacian_loss`: a vertex is also in the mean of each of its neighbours.

    The deviations depend on the vertices alone, so all calls of a tape share them.
    """
    for vertex in range(vertices.shape[0]):
        grad_penalty = weight * loss.grad[None]
        total = penalty_vjp(deviations[vertex], grad_penalty)
        for i in range(neighbor_starts[vertex], neighbor_starts[vertex + 1]):
            neighbor = neighbors[i]
            num_neighbors = neighbor_starts[neighbor + 1] - neighbor_starts[neighbor]
            total -= penalty_vjp(deviations[neighbor], grad_penalty) / num_neighbors
        vertices.grad[vertex] = vertices.grad[vertex] + total


# Flatten, normals and edge length, by Taichi's autodiff -------------------------------------------


@ti.kernel
def add_flatten_loss(
    vertices: ti.template(),  # (V,) world
    hinges: ti.types.ndarray(ndim=2, needs_grad=False),  # (I, 4)
    loss: ti.template(),  # () out
    weight: float,
):
    """Adds weight * sum (cos + 1)^2, cos between the perpendiculars from a hinge into its faces."""
    for hinge in range(hinges.shape[0]):
        origin = vertices[hinges[hinge, 0]]
        edge = vertices[hinges[hinge, 1]] - origin
        side_1 = vertices[hinges[hinge, 2]] - origin
        side_2 = vertices[hinges[hinge, 3]] - origin
        size = edge.norm_sqr() + side_1.norm_sqr() + side_2.norm_sqr()
        guard = RELATIVE_GUARD * size + SMALLEST_SQUARE
        height_1 = side_1 - edge * (edge.dot(side_1) / (edge.norm_sqr() + guard))
        height_2 = side_2 - edge * (edge.dot(side_2) / (edge.norm_sqr() + guard))
        length_1 = ti.sqrt(height_1.norm_sqr() + guard)
        length_2 = ti.sqrt(height_2.norm_sqr() + guard)
        cosine = height_1.dot(height_2) / (length_1 * length_2)
        loss[None] += weight * (cosine + 1.0) ** 2


@ti.kernel
def add_normal_consistency_loss(
    vertices: ti.template(),  # (V,) world
    pairs: ti.types.ndarray(ndim=2, needs_grad=False),  # (P, 4)
    loss: ti.template(),  # () out
    weight: float,
):
    """Adds weight * sum (1 - cos) between the normals of two faces, in a unit of their size."""
    for pair in range(pairs.shape[0]):
        origin = vertices[pairs[pair, 0]]
        edge = vertices[pairs[pair, 1]] - origin
        side_1 = vertices[pairs[pair, 2]] - origin
        side_2 = vertices[pairs[pair, 3]] - origin
        size = edge.norm_sqr() + side_1.norm_sqr() + side_2.norm_sqr() + SMALLEST_SQUARE
        normal_1 = edge.cross(side_1) / size
        normal_2 = side_2.cross(edge) / size
        length_1 = ti.sqrt(normal_1.norm_sqr() + RELATIVE_GUARD**2)
        length_2 = ti.sqrt(normal_2.norm_sqr() + RELATIVE_GUARD**2)
        loss[None] += weight * (1.0 - normal_1.dot(normal_2) / (length_1 * length_2))


@ti.kernel
def add_edge_length_loss(
    vertices: ti.template(),  # (V,) world
    edges: ti.types.ndarray(ndim=2, needs_grad=False),  # (E, 2)
    loss: ti.template(),  # () out
    weight: float,
    target_length: float,  # world
):
    """Adds weight * sum (length - target_length)^2."""
    for edge in range(edges.shape[0]):
        difference = vertices[edges[edge, 1]] - vertices[edges[edge, 0]]
        length = ti.sqrt(difference.norm_sqr() + SMALLEST_SQUARE)
        loss[None] += weight * (length - target_length) ** 2
