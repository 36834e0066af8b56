"""Mesh regularisers: a mesh in; adds to `loss`, on the way back to `mesh.vertices.grad`.

The formulas are functions of one vertex, hinge or edge with their adjoints below them. A kernel
writes one term of a loss for each, then adds the terms up. On the way back a vertex collects what
its neighbours or hinges have for it, so nothing is added by two threads.
"""

from taichi_softras.fields import body
from taichi_softras.funcs.vectors import spans_area
from taichi_softras.losses.connectivity import connectivity_of
from taichi_softras.losses.image import check_loss
from taichi_softras.losses.sums import add_terms
from taichi_softras.runtime import kernel, ti, vec3

# Squared lengths at a hinge are guarded by this part of its squared size: a collapsed triangle
# has a finite gradient, and the loss does not depend on the unit of length.
RELATIVE_GUARD = 1e-6
SMALLEST_SQUARE = 1e-18  # world units^2: the smallest divisor whose square is still a normal f32


def laplacian(mesh, loss, weight: float = 1.0) -> None:
    """Adds sum_i |v_i - mean of the neighbours of v_i|^2, which keeps a surface smooth.

    A vertex without neighbours adds nothing. A neighbour counts once, however many faces share
    the edge to it.

    Args:
        mesh: `Mesh`; the gradient goes to `mesh.vertices`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: `loss` is not a 0-D field with gradient.

    Source: `LaplacianLoss` of Liu et al. 2019, Soft Rasterizer (uniform weights; a sum, no mean).
    """
    check_loss(loss)
    connectivity = connectivity_of(mesh)
    if connectivity.neighbors is not None:
        _laplacian(mesh.vertices, connectivity, loss, float(weight), square, square_vjp)


def laplacian_length(mesh, loss, weight: float = 1.0) -> None:
    """Adds the mean over vertices of |v_i - mean of the neighbours of v_i|.

    It pulls at all vertices alike, however far they stand out; a vertex without neighbours
    adds nothing. It has a kink where v_i is that mean: the gradient there is 0.

    Args:
        mesh: `Mesh`; the gradient goes to `mesh.vertices`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: `loss` is not a 0-D field with gradient.

    Source: `mesh_laplacian_smoothing`, method "uniform", of PyTorch3D (Ravi et al. 2020).
    """
    check_loss(loss)
    connectivity = connectivity_of(mesh)
    if connectivity.neighbors is not None:
        scale = float(weight) / mesh.num_vertices
        _laplacian(mesh.vertices, connectivity, loss, scale, length, length_vjp)


def flatten(mesh, loss, weight: float = 1.0) -> None:
    """Adds sum (cos + 1)^2 over the edges that two faces share, which keeps neighbours coplanar.

    cos is of the angle between the two faces, measured at their edge: -1 when they are flat.
    Edges with one face, or more than two, are left out, and so are those of a face without area.

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
    connectivity = connectivity_of(mesh)
    if connectivity.hinges is not None:
        hinges, terms = connectivity.hinges, connectivity.terms
        _hinges(mesh.vertices, hinges, terms, loss, float(weight), fold, fold_vjp)


def normal_consistency(mesh, loss, weight: float = 1.0) -> None:
    """Adds the mean over pairs of faces that share an edge of 1 - cos, which keeps them coplanar.

    cos is that of the angle between their normals, both taken on one side of the surface, however
    the faces are wound: 1 when they are flat. An edge with n faces has n (n - 1) / 2 pairs, one
    with one face none. A pair with a face without area, which has no normal, adds 0.

    Args:
        mesh: `Mesh`; the gradient goes to `mesh.vertices`.
        loss: 0-D float field with gradient.
        weight: factor of this loss.

    Raises:
        ValueError: `loss` is not a 0-D field with gradient.

    Source: `mesh_normal_consistency` of PyTorch3D (Ravi et al. 2020).
    """
    check_loss(loss)
    connectivity = connectivity_of(mesh)
    if connectivity.pairs is not None:
        pairs, terms = connectivity.pairs, connectivity.terms
        scale = float(weight) / pairs.corners.shape[0]
        _hinges(mesh.vertices, pairs, terms, loss, scale, bend, bend_vjp)


def edge_length(mesh, loss, weight: float = 1.0, target_length: float = 0.0) -> None:
    """Adds the mean over edges of (length - target_length)^2, which keeps edges even.

    With a target length it has a kink where an edge is a point: that edge's gradient there is 0.
    An edge counts once, however many faces it has; a vertex without edges adds nothing.

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
    connectivity = connectivity_of(mesh)
    if connectivity.edges is not None:
        scale = float(weight) / connectivity.edges.shape[0]
        _edge_length(mesh.vertices, connectivity, loss, scale, float(target_length))


# Laplacian ---------------------------------------------------------------------------------------


@ti.func
def square(deviation: vec3) -> float:
    """The penalty of `laplacian`."""
    return deviation.norm_sqr()


@ti.func
def square_vjp(deviation: vec3, grad: float) -> vec3:
    """Adjoint of `square`."""
    return 2.0 * grad * deviation


@ti.func
def length(deviation: vec3) -> float:
    """The penalty of `laplacian_length`."""
    return ti.sqrt(deviation.norm_sqr() + SMALLEST_SQUARE)


@ti.func
def length_vjp(deviation: vec3, grad: float) -> vec3:
    """Adjoint of `length`, 0 at 0."""
    return grad * deviation / length(deviation)


@ti.ad.grad_replaced
def _laplacian(vertices, connectivity, loss, scale, penalty, penalty_vjp):
    add_laplacian_loss(
        body(vertices),
        connectivity.neighbor_starts,
        connectivity.neighbors,
        connectivity.deviations,
        connectivity.terms,
        body(loss),
        scale,
        penalty,
    )


@ti.ad.grad_for(_laplacian)
def _laplacian_backward(vertices, connectivity, loss, scale, penalty, penalty_vjp):
    add_laplacian_loss_backward(
        body(vertices),
        connectivity.neighbor_starts,
        connectivity.neighbors,
        connectivity.deviations,
        body(loss),
        scale,
        penalty_vjp,
    )


@kernel
def add_laplacian_loss(
    vertices: ti.template(),  # (V,) world
    neighbor_starts: ti.types.ndarray(ndim=1, needs_grad=False),  # (V + 1,)
    neighbors: ti.types.ndarray(ndim=1, needs_grad=False),  # (2E,)
    deviations: ti.types.ndarray(ndim=1, needs_grad=False),  # (V,) out, world
    terms: ti.types.ndarray(ndim=1, needs_grad=False),  # (>= V,) scratch
    loss: ti.template(),  # () out
    scale: float,
    penalty: ti.template(),  # ti.func of a deviation
):
    """Adds scale * sum_i penalty(deviation_i), deviation_i = v_i - mean of its neighbours."""
    for vertex in range(vertices.shape[0]):
        start, end = neighbor_starts[vertex], neighbor_starts[vertex + 1]
        deviation = ti.Vector([0.0, 0.0, 0.0])
        for i in range(start, end):
            deviation += (vertices[vertex] - vertices[neighbors[i]]) / (end - start)
        deviations[vertex] = deviation
        terms[vertex] = penalty(deviation)
    add_terms(terms, vertices.shape[0], scale, loss)


@kernel
def add_laplacian_loss_backward(
    vertices: ti.template(),  # (V,) world; adds to its gradient
    neighbor_starts: ti.types.ndarray(ndim=1, needs_grad=False),  # (V + 1,)
    neighbors: ti.types.ndarray(ndim=1, needs_grad=False),  # (2E,)
    deviations: ti.types.ndarray(ndim=1, needs_grad=False),  # (V,) world
    loss: ti.template(),  # ()
    scale: float,
    penalty_vjp: ti.template(),  # ti.func of a deviation and the gradient of its penalty
):
    """Adjoint of `add_laplacian_loss`: a vertex is also in the mean of each of its neighbours.

    The deviations depend on the vertices alone, so all calls of a tape share them.
    """
    for vertex in range(vertices.shape[0]):
        grad_penalty = scale * loss.grad[None]
        total = penalty_vjp(deviations[vertex], grad_penalty)
        for i in range(neighbor_starts[vertex], neighbor_starts[vertex + 1]):
            neighbor = neighbors[i]
            num_neighbors = neighbor_starts[neighbor + 1] - neighbor_starts[neighbor]
            total -= penalty_vjp(deviations[neighbor], grad_penalty) / num_neighbors
        vertices.grad[vertex] = vertices.grad[vertex] + total


# Hinges: two faces that share an edge ------------------------------------------------------------
# A hinge is its edge and the two sides that lead from the edge's start to the opposite vertices.


@ti.func
def squared_size(edge: vec3, side_1: vec3, side_2: vec3) -> float:
    """Of a hinge: what its guards are measured by."""
    return edge.norm_sqr() + side_1.norm_sqr() + side_2.norm_sqr()


@ti.func
def cosine(a: vec3, b: vec3, guard: float) -> float:
    """That of the angle between two vectors; a guard > 0 enlarges their squared lengths."""
    return a.dot(b) / (ti.sqrt(a.norm_sqr() + guard) * ti.sqrt(b.norm_sqr() + guard))


@ti.func
def cosine_vjp(a: vec3, b: vec3, guard: float, grad: float):
    """Gradients of a, b and guard."""
    length_a, length_b = ti.sqrt(a.norm_sqr() + guard), ti.sqrt(b.norm_sqr() + guard)
    unit_a, unit_b = a / length_a, b / length_b
    value = unit_a.dot(unit_b)
    at_a = grad * (unit_b - value * unit_a) / length_a
    at_b = grad * (unit_a - value * unit_b) / length_b
    at_guard = -0.5 * grad * value * (1.0 / length_a**2 + 1.0 / length_b**2)
    return at_a, at_b, at_guard


@ti.func
def height(side: vec3, edge: vec3, guard: float) -> vec3:
    """The perpendicular from an edge to the end of a side; a guard > 0 enlarges |edge|^2."""
    return side - edge * (edge.dot(side) / (edge.norm_sqr() + guard))


@ti.func
def height_vjp(side: vec3, edge: vec3, guard: float, grad: vec3):
    """Gradients of side, edge and guard."""
    square = edge.norm_sqr() + guard
    foot = edge.dot(side) / square
    at_dot = -edge.dot(grad) / square
    at_square = -foot * at_dot
    return grad + at_dot * edge, at_dot * side - foot * grad + 2.0 * at_square * edge, at_square


@ti.func
def fold(edge: vec3, side_1: vec3, side_2: vec3) -> float:
    """The penalty of `flatten`, (cos + 1)^2 between the perpendiculars into the two faces."""
    guard = RELATIVE_GUARD * squared_size(edge, side_1, side_2) + SMALLEST_SQUARE
    height_1, height_2 = height(side_1, edge, guard), height(side_2, edge, guard)
    return (cosine(height_1, height_2, guard) + 1.0) ** 2


@ti.func
def fold_vjp(edge: vec3, side_1: vec3, side_2: vec3, grad: float):
    """Gradients of edge, side_1 and side_2."""
    guard = RELATIVE_GUARD * squared_size(edge, side_1, side_2) + SMALLEST_SQUARE
    height_1, height_2 = height(side_1, edge, guard), height(side_2, edge, guard)
    at_cosine = 2.0 * (cosine(height_1, height_2, guard) + 1.0) * grad
    at_height_1, at_height_2, at_guard = cosine_vjp(height_1, height_2, guard, at_cosine)
    at_side_1, at_edge_1, at_guard_1 = height_vjp(side_1, edge, guard, at_height_1)
    at_side_2, at_edge_2, at_guard_2 = height_vjp(side_2, edge, guard, at_height_2)
    at_size = RELATIVE_GUARD * (at_guard + at_guard_1 + at_guard_2)
    return (
        at_edge_1 + at_edge_2 + 2.0 * at_size * edge,
        at_side_1 + 2.0 * at_size * side_1,
        at_side_2 + 2.0 * at_size * side_2,
    )


@ti.func
def bend(edge: vec3, side_1: vec3, side_2: vec3) -> float:
    """The penalty of `normal_consistency`, 1 - cos between the normals in a unit of their size."""
    size = squared_size(edge, side_1, side_2) + SMALLEST_SQUARE
    return 1.0 - cosine(edge.cross(side_1) / size, side_2.cross(edge) / size, RELATIVE_GUARD**2)


@ti.func
def bend_vjp(edge: vec3, side_1: vec3, side_2: vec3, grad: float):
    """Gradients of edge, side_1 and side_2."""
    size = squared_size(edge, side_1, side_2) + SMALLEST_SQUARE
    normal_1, normal_2 = edge.cross(side_1) / size, side_2.cross(edge) / size
    at_normal_1, at_normal_2, _ = cosine_vjp(normal_1, normal_2, RELATIVE_GUARD**2, -grad)
    at_size = -(normal_1.dot(at_normal_1) + normal_2.dot(at_normal_2)) / size
    at_cross_1, at_cross_2 = at_normal_1 / size, at_normal_2 / size
    return (
        side_1.cross(at_cross_1) + at_cross_2.cross(side_2) + 2.0 * at_size * edge,
        at_cross_1.cross(edge) + 2.0 * at_size * side_1,
        edge.cross(at_cross_2) + 2.0 * at_size * side_2,
    )


@ti.ad.grad_replaced
def _hinges(vertices, hinges, terms, loss, scale, penalty, penalty_vjp):
    add_hinge_loss(body(vertices), hinges.corners, terms, body(loss), scale, penalty)


@ti.ad.grad_for(_hinges)
def _hinges_backward(vertices, hinges, terms, loss, scale, penalty, penalty_vjp):
    add_hinge_loss_backward(
        body(vertices),
        hinges.corners,
        hinges.starts,
        hinges.places,
        hinges.gradients,
        body(loss),
        scale,
        penalty_vjp,
    )


@ti.func
def load_hinge(vertices: ti.template(), corners: ti.template(), hinge: int):
    """Its edge, side_1 and side_2, and its share of the loss: 0 if a face has no area, else 1."""
    start, end = vertices[corners[hinge, 0]], vertices[corners[hinge, 1]]
    first, second = vertices[corners[hinge, 2]], vertices[corners[hinge, 3]]
    has_faces = spans_area(start, end, first) & spans_area(start, end, second)
    return end - start, first - start, second - start, ti.select(has_faces, 1.0, 0.0)


@kernel
def add_hinge_loss(
    vertices: ti.template(),  # (V,) world
    corners: ti.types.ndarray(ndim=2, needs_grad=False),  # (I, 4)
    terms: ti.types.ndarray(ndim=1, needs_grad=False),  # (>= I,) scratch
    loss: ti.template(),  # () out
    scale: float,
    penalty: ti.template(),  # ti.func of edge, side_1, side_2
):
    """Adds scale * sum of penalty over the hinges."""
    for hinge in range(corners.shape[0]):
        edge, side_1, side_2, share = load_hinge(vertices, corners, hinge)
        terms[hinge] = share * penalty(edge, side_1, side_2)
    add_terms(terms, corners.shape[0], scale, loss)


@kernel
def add_hinge_loss_backward(
    vertices: ti.template(),  # (V,) world; adds to its gradient
    corners: ti.types.ndarray(ndim=2, needs_grad=False),  # (I, 4)
    starts: ti.types.ndarray(ndim=1, needs_grad=False),  # (V + 1,)
    places: ti.types.ndarray(ndim=1, needs_grad=False),  # (4I,)
    gradients: ti.types.ndarray(ndim=1, needs_grad=False),  # (4I,) scratch
    loss: ti.template(),  # ()
    scale: float,
    penalty_vjp: ti.template(),  # ti.func of edge, side_1, side_2 and their penalty's gradient
):
    """Adjoint of `add_hinge_loss`: each hinge writes its gradients, each vertex collects."""
    for hinge in range(corners.shape[0]):
        edge, side_1, side_2, share = load_hinge(vertices, corners, hinge)
        grad_penalty = share * scale * loss.grad[None]
        at_edge, at_side_1, at_side_2 = penalty_vjp(edge, side_1, side_2, grad_penalty)
        gradients[4 * hinge] = -(at_edge + at_side_1 + at_side_2)
        gradients[4 * hinge + 1] = at_edge
        gradients[4 * hinge + 2] = at_side_1
        gradients[4 * hinge + 3] = at_side_2
    for vertex in range(vertices.shape[0]):
        total = ti.Vector([0.0, 0.0, 0.0])
        for i in range(starts[vertex], starts[vertex + 1]):
            total += gradients[places[i]]
        vertices.grad[vertex] = vertices.grad[vertex] + total


# Edges -------------------------------------------------------------------------------------------


@ti.func
def stretch(edge: vec3, target_length: float) -> float:
    """The penalty of `edge_length`."""
    return (length(edge) - target_length) ** 2


@ti.func
def stretch_vjp(edge: vec3, target_length: float, grad: float) -> vec3:
    """Gradient of edge, 0 at 0."""
    return length_vjp(edge, 2.0 * (length(edge) - target_length) * grad)


@ti.ad.grad_replaced
def _edge_length(vertices, connectivity, loss, scale, target_length):
    edges, terms = connectivity.edges, connectivity.terms
    add_edge_length_loss(body(vertices), edges, terms, body(loss), scale, target_length)


@ti.ad.grad_for(_edge_length)
def _edge_length_backward(vertices, connectivity, loss, scale, target_length):
    starts, neighbors = connectivity.neighbor_starts, connectivity.neighbors
    add_edge_length_loss_backward(
        body(vertices), starts, neighbors, body(loss), scale, target_length
    )


@kernel
def add_edge_length_loss(
    vertices: ti.template(),  # (V,) world
    edges: ti.types.ndarray(ndim=2, needs_grad=False),  # (E, 2)
    terms: ti.types.ndarray(ndim=1, needs_grad=False),  # (>= E,) scratch
    loss: ti.template(),  # () out
    scale: float,
    target_length: float,  # world
):
    """Adds scale * sum of (length - target_length)^2."""
    for edge in range(edges.shape[0]):
        difference = vertices[edges[edge, 1]] - vertices[edges[edge, 0]]
        terms[edge] = stretch(difference, target_length)
    add_terms(terms, edges.shape[0], scale, loss)


@kernel
def add_edge_length_loss_backward(
    vertices: ti.template(),  # (V,) world; adds to its gradient
    neighbor_starts: ti.types.ndarray(ndim=1, needs_grad=False),  # (V + 1,)
    neighbors: ti.types.ndarray(ndim=1, needs_grad=False),  # (2E,)
    loss: ti.template(),  # ()
    scale: float,
    target_length: float,  # world
):
    """Adjoint of `add_edge_length_loss`: a vertex ends an edge from each of its neighbours."""
    for vertex in range(vertices.shape[0]):
        grad_penalty = scale * loss.grad[None]
        total = ti.Vector([0.0, 0.0, 0.0])
        for i in range(neighbor_starts[vertex], neighbor_starts[vertex + 1]):
            edge = vertices[vertex] - vertices[neighbors[i]]
            total += stretch_vjp(edge, target_length, grad_penalty)
        vertices.grad[vertex] = vertices.grad[vertex] + total
