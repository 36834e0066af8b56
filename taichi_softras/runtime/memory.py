"""Fields and arrays where they lie, on a CPU: NumPy reads and writes them there, without a kernel.

Between a field and NumPy Taichi compiles a kernel, for each field anew, in 20 to 40 ms. Here one
kernel a tree says where that begins, and how dense trees are laid out says the rest. On a GPU
kernels copy.
"""

import ctypes
import math
import weakref
from typing import Any

import numpy as np

from taichi_softras.runtime import (
    _program,
    address_of,
    kernel,
    numpy_type,
    shape_of_element,
    shape_of_numbers,
    ti,
)

_roots = weakref.WeakKeyDictionary()  # of each program: where each tree begins


def view(field: ti.Field) -> np.ndarray:
    """The numbers of a field, (*shape, *components); what is written to them is in the field.

    Args:
        field: of a node that is dense or a root, the components of an element side by side.
    """
    numbers = getattr(field, "_numbers", None)
    if numbers is None:
        numbers = field._numbers = _look(field)
    return numbers


def view_array(array: ti.Ndarray) -> np.ndarray:
    """The numbers of an array of ours, where they lie; not to be held longer than that."""
    dtype = np.dtype(numpy_type(array))
    size = dtype.itemsize * math.prod(array.shape)
    memory = (ctypes.c_byte * size).from_address(address_of(array))
    return np.ndarray(array.shape, dtype, memory)


def _look(field: ti.Field) -> np.ndarray:
    """See `view`."""
    dtype, components = np.dtype(numpy_type(field)), shape_of_element(field)
    place = field.vars[0].ptr.snode()
    steps = _steps(field.shape, place.parent.cell_size_bytes) + _steps(components, dtype.itemsize)
    shape = shape_of_numbers(field)
    size = dtype.itemsize + sum((extent - 1) * step for extent, step in zip(shape, steps))
    memory = (ctypes.c_byte * size).from_address(_root(field) + _offset(place))
    return np.ndarray(shape, dtype, memory, 0, steps)


def _steps(shape: tuple, last: int) -> list:
    """Bytes from an entry to the next along each axis, in C order."""
    return [last * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _root(field: ti.Field) -> int:
    """Where the tree of a field begins."""
    roots = _roots.setdefault(_program(), {})
    place = field.vars[0].ptr.snode()
    tree = place.get_snode_tree_id()
    if tree not in roots:
        address = np.zeros(1, np.int64)
        _find(ti.ScalarField(field.vars[0]), address)
        roots[tree] = int(address[0]) - _offset(place)
    return roots[tree]


def _offset(node: Any) -> int:
    """Bytes from where its tree begins to a node."""
    return node.offset_bytes_in_parent_cell + _offset(node.parent) if node.parent else 0


@kernel
def _find(
    place: ti.template(),  # a scalar field
    address: ti.types.ndarray(dtype=ti.i64, ndim=1, needs_grad=False),  # (1,), of NumPy
):
    """Where the first number of a field lies."""
    address[0] = ti.cast(ti.get_addr(place, ti.static([0] * len(place.shape))), ti.i64)
