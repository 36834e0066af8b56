"""Leased fields: they act as fields do, and their trees serve the next object of their shape."""

import gc

import numpy as np
import pytest

from taichi_softras.fields import FieldTree, body, place_dual, upload
from taichi_softras.runtime import hidden_trees, num_trees, ti
from taichi_softras.workspace import read_array, write_array
from tests import tolerances

SHAPES = [((5,), (3,)), ((5,), ()), ((), (3,)), ((2,), (4, 4)), ((3, 2), (2,)), ((5,), (3,))]


def make_fields(shapes=SHAPES):
    tree = FieldTree()
    fields = [tree.add(shape, components) for shape, components in shapes]
    tree.place()
    return fields


def test_what_is_uploaded_is_read_back(backend):
    fields = make_fields()
    random = np.random.default_rng(0)
    values = [random.normal(size=(*shape, *components)) for shape, components in SHAPES]
    upload(fields, values)
    for field, value, (shape, _) in zip(fields, values, SHAPES):
        np.testing.assert_allclose(field.to_numpy(), value, rtol=tolerances.SIGMOID_SINGLE)
        assert field.shape == shape


@ti.kernel
def sum_squares(points: ti.template(), loss: ti.template()):
    for i in points:
        loss[None] += points[i].norm_sqr()


def test_users_kernels_take_them_as_fields(backend):
    """In Python, in a kernel and on a tape."""
    points, *_ = make_fields()
    (loss,) = make_fields([((), ())])
    points[1] = (1, 2, 3)
    with ti.ad.Tape(loss):
        sum_squares(points, loss)
    assert loss[None] == 14
    np.testing.assert_array_equal(points.grad.to_numpy()[1], [2, 4, 6])
    np.testing.assert_array_equal(points.grad[1], [2, 4, 6])
    points.fill(0.5)
    assert points.to_numpy().min() == 0.5


def test_a_tree_that_nobody_holds_is_leased_again(backend):
    """With zeros in it; a tape does not see it in between."""
    shapes = [((7,), (3,)), ((7,), ())]  # of no other test
    fields = make_fields(shapes)
    fields[0].fill(3.0)
    first, trees = body(fields[0]), num_trees()
    tree_id = first.snode.ptr.get_snode_tree_id()
    assert tree_id not in hidden_trees()
    held = fields[1]
    del fields
    gc.collect()
    other = make_fields(shapes)
    assert body(other[0]) is not first, "one of its fields is held"
    del held
    gc.collect()
    make_fields([((1,), ())])  # puts in order what was returned
    assert tree_id in hidden_trees()
    again = make_fields(shapes)
    assert body(again[0]) is first and tree_id not in hidden_trees()
    assert num_trees() == trees + 2
    assert not again[0].to_numpy().any()


def test_a_gradient_alone_holds_the_lease(backend):
    shapes = [((11,), (3,))]  # of no other test
    (field,) = make_fields(shapes)
    grad, leased = field.grad, body(field)
    del field
    gc.collect()
    assert body(make_fields(shapes)[0]) is not leased
    assert grad.to_numpy().shape == (11, 3)


@ti.kernel
def copy_numbers(source: ti.template(), target: ti.template()):
    for element in ti.grouped(source):
        target[element] = source[element]


@pytest.mark.f64
def test_what_numpy_sees_in_double_precision(backend):
    check_what_numpy_sees(backend)


def test_what_numpy_sees(backend):
    check_what_numpy_sees(backend)


def check_what_numpy_sees(backend):
    """Fields, their gradients and tangents, as Taichi's own copies of them; neighbours stay."""
    tree = FieldTree()
    fields = [tree.add(shape, components, needs_dual=True) for shape, components in SHAPES]
    fields.append(tree.add((4, 2), (3,), dtype=int, needs_grad=False))
    tree.place()
    parts = [one for field in fields for one in (field, field.grad, field.dual) if one is not None]
    random = np.random.default_rng(1)
    values = []
    for part in parts:
        integers = part.dtype == ti.i32
        kind = np.int32 if integers else backend.numpy_float
        values.append(np.asarray(random.uniform(-9, 9, part.to_numpy().shape)).astype(kind))
        part.from_numpy(values[-1])
    for part, value in zip(parts, values):
        np.testing.assert_array_equal(body(part).to_numpy(), value)
        np.testing.assert_array_equal(part.to_numpy(), value)
        assert part.to_numpy().dtype == value.dtype and part.to_numpy().flags.c_contiguous
        other = make_fields([(part.shape, value.shape[len(part.shape) :])])[0]
        copy_numbers(part, other)
        np.testing.assert_array_equal(other.to_numpy(), value.astype(backend.numpy_float))


def test_what_is_written_is_checked_and_converted(backend):
    points, heights, *_ = make_fields()
    with pytest.raises(
        ValueError, match=r"a field of shape \(5,\) of 3 numbers takes .* \(5, 3\), got \(4, 3\)"
    ):
        points.from_numpy(np.zeros((4, 3), backend.numpy_float))
    points.from_numpy(np.arange(15).reshape(5, 3)[::-1])  # integers, not contiguous
    np.testing.assert_array_equal(points.to_numpy()[0], [12, 13, 14])
    assert points.to_numpy(dtype=np.float64).dtype == np.float64
    read = points.to_numpy()
    points.fill((1, 2, 3))
    np.testing.assert_array_equal(points.to_numpy(), np.tile([1, 2, 3], (5, 1)))
    np.testing.assert_array_equal(read[0], [12, 13, 14], "a copy")
    heights.fill(2)
    points.grad.fill(7.0)
    assert heights.to_numpy().tolist() == [2] * 5 and (points.grad.to_numpy() == 7).all()


@pytest.mark.parametrize("dtype", [float, int])
def test_arrays_are_written_and_read(backend, dtype):
    array, other = ti.ndarray(dtype, (3, 4)), ti.ndarray(dtype, (3, 4))
    values = np.arange(12).reshape(4, 3).T  # 64 bits, not contiguous
    other.fill(7)
    write_array(array, values)
    read = read_array(array)
    np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(array.to_numpy(), values)
    assert read.dtype == array.to_numpy().dtype
    write_array(array, values.ravel() + 1)
    np.testing.assert_array_equal(read, values, "a copy")
    assert (read_array(other) == 7).all()
    with pytest.raises(ValueError, match="cannot reshape"):
        write_array(array, values[:2])


def test_what_a_tape_does_not_record(backend):
    """An array that is written while it is open."""
    points, *_ = make_fields()
    (loss,) = make_fields([((), ())])
    points.fill(1.0)
    with ti.ad.Tape(loss):
        write_array(ti.ndarray(float, 3), np.ones(3))
        sum_squares(points, loss)
    assert points.grad.to_numpy().tolist() == [[2.0] * 3] * 5


def test_a_tape_begins_with_gradients_of_zero(backend):
    points, heights, *_ = make_fields()
    (loss,) = make_fields([((), ())])
    points.grad.fill(7.0)
    heights.grad.fill(8.0)
    loss.grad[None] = 3.0
    with ti.ad.Tape(loss):
        pass
    assert not points.grad.to_numpy().any() and not heights.grad.to_numpy().any()


def test_a_dual_is_placed_when_it_is_asked_for(backend):
    points, *_ = make_fields()
    place_dual(points)
    trees = num_trees()
    place_dual(points)
    assert num_trees() == trees
    assert points.dual.to_numpy().shape == (5, 3)


def test_wrong_fields_are_refused(backend):
    tree = FieldTree()
    with pytest.raises(ValueError, match="an integer field has no gradient"):
        tree.add((3,), dtype=int)
    with pytest.raises(ValueError, match="at least one element along each axis"):
        tree.add((3, 0))
