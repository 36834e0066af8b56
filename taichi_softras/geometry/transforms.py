"""From the spaces of objects to the world: x_world = R(rotation) (scale x) + translation.

    transforms -> matrices;  vertices of objects -> vertices of the world

A matrix has the rows [s R | t]. On the way back each object sums what its vertices give to its
matrix, in shares that are added in a fixed order; from there it is one rotation, as for cameras.
"""

from typing import NamedTuple

import numpy as np

from taichi_softras.funcs.rotation_vectors import (
    spin_rows,
    spin_rows_vjp,
    turn,
    unit_quaternion,
    vector_spin,
    vector_spin_vjp,
)
from taichi_softras.geometry.scene_arrays import load_vector, share_of, store_vector
from taichi_softras.runtime import is_cpu, kernel, task_block, ti, vec3, vec4
from taichi_softras.workspace import array, write_array

# A row of `transforms`: a rotation vector in radians, a translation, a scale.
TRANSLATION, SCALE, TRANSFORM_SIZE = 3, 6, 7
MOST_SHARES, SMALLEST_SHARE = 64, 64  # of the vertices of an object


class ObjectNumbers(NamedTuple):
    """What of objects has a gradient and a tangent. n is 1 or the number of views."""

    object_vertices: ti.Ndarray  # (n, V, 3) of all objects, each in its own space
    transforms: ti.Ndarray  # (O, TRANSFORM_SIZE)


class ObjectTables(NamedTuple):
    """Which vertices objects have, and what the stage keeps for its adjoint."""

    owners: ti.Ndarray  # (V,) int, the object of each vertex
    starts: ti.Ndarray  # (O + 1,) int, the first vertex of each object, and V
    matrices: ti.Ndarray  # (O, 3, 4)


def lay_out_objects(starts: tuple) -> ObjectTables:
    """Of objects whose vertices begin at the first O of O + 1 numbers, and end at the last."""
    sizes = np.diff(starts)
    owners = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    tables = ObjectTables(
        ti.ndarray(int, (len(owners),)),
        ti.ndarray(int, (len(starts),)),
        ti.ndarray(float, (len(sizes), 3, 4)),
    )
    write_array(tables.owners, owners)
    write_array(tables.starts, np.array(starts))
    return tables


def num_shares_of_objects(num_vertices: int) -> int:
    """Of a sum over the vertices of each object."""
    return max(1, min(MOST_SHARES, num_vertices // SMALLEST_SHARE))


@kernel
def transform_objects(
    object_vertices: array(float, 3),  # (n, V, 3)
    transforms: array(float, 2),  # (O, 7)
    owners: array(int, 1),  # (V,)
    starts: array(int, 1),  # (O + 1,)
    matrices: array(float, 3),  # (O, 3, 4) filled here
    first: int,  # of the planes of vertices
    end: int,
    vertices: array(float, 3),  # (n, V, 3) world
):
    """Fills the vertices of some views."""
    if ti.static(is_cpu()):
        ti.loop_config(serialize=True)
    for of in range(transforms.shape[0]):
        x_axis, y_axis, z_axis = load_rotation(transforms, of)
        scale = transforms[of, SCALE]
        shift = load_part(transforms, of, TRANSLATION)
        store_row(matrices, of, 0, vec4(scale * x_axis, shift.x))
        store_row(matrices, of, 1, vec4(scale * y_axis, shift.y))
        store_row(matrices, of, 2, vec4(scale * z_axis, shift.z))
    for i in range((end - first) * vertices.shape[1]):
        view = i // vertices.shape[1]
        vertex = i - view * vertices.shape[1]
        view += first
        x_row, y_row, z_row = load_rows(matrices, owners[vertex])
        point = vec4(load_vector(object_vertices, view, vertex), 1.0)
        moved = vec3(x_row.dot(point), y_row.dot(point), z_row.dot(point))
        store_vector(vertices, view, vertex, moved)


@kernel
def transform_objects_vjp(
    object_vertices: array(float, 3),  # (n, V, 3)
    transforms: array(float, 2),  # (O, 7)
    owners: array(int, 1),  # (V,)
    starts: array(int, 1),  # (O + 1,)
    matrices: array(float, 3),  # (O, 3, 4)
    first: int,  # of the planes of vertices
    end: int,
    grad_vertices: array(float, 3),  # (n, V, 3) world
    partials: array(float, 3),  # (O, shares, 12) filled here
    grad_object_vertices: array(float, 3),  # (n, V, 3), of some views
    grad_transforms: array(float, 2),  # (O, 7)
):
    """The adjoint of `transform_objects`; no sum is atomic."""
    block = ti.static(task_block())
    for i in range((end - first) * object_vertices.shape[1]):
        view = i // object_vertices.shape[1]
        vertex = i - view * object_vertices.shape[1]
        view += first
        x_row, y_row, z_row = load_rows(matrices, owners[vertex])
        grad = load_vector(grad_vertices, view, vertex)
        back = grad.x * x_row.xyz + grad.y * y_row.xyz + grad.z * z_row.xyz
        store_vector(grad_object_vertices, view, vertex, back)
    for i in range(transforms.shape[0] * partials.shape[1] * block):
        if i % block == 0:
            task = i // block
            of = task // partials.shape[1]
            share = task - of * partials.shape[1]
            sum_share(object_vertices, starts, first, end, grad_vertices, partials, of, share)
    if ti.static(is_cpu()):
        ti.loop_config(serialize=True)
    for of in range(transforms.shape[0]):
        store_transform_grad(transforms, partials, grad_transforms, of)


@ti.func
def sum_share(
    object_vertices: ti.template(),
    starts: ti.template(),
    first: int,
    end: int,
    grad_vertices: ti.template(),
    partials: ti.template(),
    of: int,
    share: int,
):
    """What some vertices of an object give to the rows of its matrix."""
    begin = starts[of]
    low, high = share_of(starts[of + 1] - begin, partials.shape[1], share)
    x_row, y_row, z_row = vec4(0.0), vec4(0.0), vec4(0.0)
    for view in range(first, end):
        for vertex in range(begin + low, begin + high):
            point = vec4(load_vector(object_vertices, view, vertex), 1.0)
            grad = load_vector(grad_vertices, view, vertex)
            x_row += grad.x * point
            y_row += grad.y * point
            z_row += grad.z * point
    for k in ti.static(range(4)):
        partials[of, share, k] = x_row[k]
        partials[of, share, 4 + k] = y_row[k]
        partials[of, share, 8 + k] = z_row[k]


@ti.func
def store_transform_grad(
    transforms: ti.template(), partials: ti.template(), grad_transforms: ti.template(), of: int
):
    """From the sums of shares to the numbers of an object."""
    x_grad, y_grad, z_grad = vec4(0.0), vec4(0.0), vec4(0.0)
    for share in range(partials.shape[1]):
        for k in ti.static(range(4)):
            x_grad[k] += partials[of, share, k]
            y_grad[k] += partials[of, share, 4 + k]
            z_grad[k] += partials[of, share, 8 + k]
    x_axis, y_axis, z_axis = load_rotation(transforms, of)
    scale, rotation = transforms[of, SCALE], load_part(transforms, of, 0)
    spin = spin_rows_vjp(x_axis, y_axis, z_axis, x_grad.xyz, y_grad.xyz, z_grad.xyz)
    store_part(grad_transforms, of, 0, vector_spin_vjp(rotation, scale * spin))
    store_part(grad_transforms, of, TRANSLATION, vec3(x_grad.w, y_grad.w, z_grad.w))
    by_scale = x_axis.dot(x_grad.xyz) + y_axis.dot(y_grad.xyz) + z_axis.dot(z_grad.xyz)
    grad_transforms[of, SCALE] = by_scale


@kernel
def transform_objects_jvp(
    object_vertices: array(float, 3),  # (n, V, 3)
    transforms: array(float, 2),  # (O, 7)
    owners: array(int, 1),  # (V,)
    starts: array(int, 1),  # (O + 1,)
    matrices: array(float, 3),  # (O, 3, 4)
    tangent_object_vertices: array(float, 3),  # (n, V, 3)
    tangent_transforms: array(float, 2),  # (O, 7)
    tangent_matrices: array(float, 3),  # (O, 3, 4) filled here
    tangent_vertices: array(float, 3),  # (n, V, 3) world
):
    """How the vertices of all views move with objects, their vertices and transforms."""
    if ti.static(is_cpu()):
        ti.loop_config(serialize=True)
    for of in range(transforms.shape[0]):
        x_axis, y_axis, z_axis = load_rotation(transforms, of)
        spin = vector_spin(load_part(transforms, of, 0), load_part(tangent_transforms, of, 0))
        x_turned, y_turned, z_turned = spin_rows(x_axis, y_axis, z_axis, spin)
        scale, grown = transforms[of, SCALE], tangent_transforms[of, SCALE]
        shift = load_part(tangent_transforms, of, TRANSLATION)
        store_row(tangent_matrices, of, 0, vec4(scale * x_turned + grown * x_axis, shift.x))
        store_row(tangent_matrices, of, 1, vec4(scale * y_turned + grown * y_axis, shift.y))
        store_row(tangent_matrices, of, 2, vec4(scale * z_turned + grown * z_axis, shift.z))
    for i in range(object_vertices.shape[0] * object_vertices.shape[1]):
        view = i // object_vertices.shape[1]
        vertex = i - view * object_vertices.shape[1]
        x_row, y_row, z_row = load_rows(matrices, owners[vertex])
        x_moved, y_moved, z_moved = load_rows(tangent_matrices, owners[vertex])
        point = vec4(load_vector(object_vertices, view, vertex), 1.0)
        tangent = vec4(load_vector(tangent_object_vertices, view, vertex), 0.0)
        moved = vec3(
            x_moved.dot(point) + x_row.dot(tangent),
            y_moved.dot(point) + y_row.dot(tangent),
            z_moved.dot(point) + z_row.dot(tangent),
        )
        store_vector(tangent_vertices, view, vertex, moved)


@ti.func
def load_rotation(transforms: ti.template(), of: int):
    """The rows of R."""
    return turn(unit_quaternion(load_part(transforms, of, 0)))


@ti.func
def load_part(transforms: ti.template(), of: int, start: ti.template()) -> vec3:
    """Three numbers of an object."""
    return vec3(transforms[of, start], transforms[of, start + 1], transforms[of, start + 2])


@ti.func
def store_part(transforms: ti.template(), of: int, start: ti.template(), vector: vec3):
    """Three numbers of an object."""
    for k in ti.static(range(3)):
        transforms[of, start + k] = vector[k]


@ti.func
def load_rows(matrices: ti.template(), of: int):
    """The three rows of an object's matrix."""
    rows = [
        vec4(matrices[of, k, 0], matrices[of, k, 1], matrices[of, k, 2], matrices[of, k, 3])
        for k in ti.static(range(3))
    ]
    return rows[0], rows[1], rows[2]


@ti.func
def store_row(matrices: ti.template(), of: int, row: ti.template(), numbers: vec4):
    """One of three."""
    for k in ti.static(range(4)):
        matrices[of, row, k] = numbers[k]
