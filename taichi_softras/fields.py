"""Fields: one Taichi tree an object, placed once, never in a call, used again when nobody holds it.

Everything that a user or a simulation touches is a field. Taichi frees neither a tree nor the
kernels that were compiled for its fields, and holds at most 512 trees without checking. So trees
are leased: what an object holds are copies of the fields of a tree, and when the last copy is gone
the tree waits for the next object of the same shapes, with the kernels that know it.
"""

import collections
import copy
import functools
import math
import weakref
from typing import Any, NamedTuple

import numpy as np

from taichi_softras.runtime import (
    clear_gradients_by,
    current_runtime,
    default_numpy_float,
    has_dual,
    hidden_trees,
    is_cpu,
    memory,
    num_trees,
    numpy_type,
    quick_compilation,
    require_taichi,
    shape_of_element,
    shape_of_numbers,
    ti,
)
from taichi_softras.workspace import array, check_entries

MAX_FIELD_TREES = 500  # Taichi 1.7 crashes at 512; user code needs some of them


class Specification(NamedTuple):
    """A field: extent of each axis, () scalar or (n,) vector or (n, m) matrix elements."""

    shape: tuple
    components: tuple
    dtype: type
    needs_grad: bool
    needs_dual: bool


class FieldTree:
    """Collects the fields of one object and leases a tree of them.

        tree = FieldTree()
        vertices = tree.add(shape=(V,), components=(3,))
        loss = tree.add(shape=())
        tree.place()

    Fields are readable and writable only after `place`; all are zero.
    """

    def __init__(self):
        require_taichi()
        self._specifications = []
        self._copies = []

    def add(
        self,
        shape: tuple,
        components: tuple = (),
        dtype: type = float,
        needs_grad: bool = True,
        needs_dual: bool = False,
    ):
        """A field of `shape` whose elements are scalars (), vectors (n,) or matrices (n, m).

        Args:
            shape: extent of each axis, all >= 1; () is a 0-D field.
            components: () scalar, (n,) vector, (n, m) matrix.
            dtype: float (follows `default_fp`) or int.
            needs_grad: also place `field.grad`; only for float.
            needs_dual: place `field.dual` too, the tangent of forward mode: for fields between
                the parameters of a Jacobian and the scene.
        """
        if dtype is int and needs_grad:
            raise ValueError("an integer field has no gradient: pass needs_grad=False")
        if any(extent < 1 for extent in shape):
            raise ValueError(
                f"a field needs at least one element along each axis, got shape {shape}"
            )
        check_entries("a field of this shape", "field", (*shape, *components))
        one = Specification(tuple(shape), tuple(components), dtype, needs_grad, needs_dual)
        self._specifications.append(one)
        kind = ti.MatrixField if components else ti.ScalarField
        self._copies.append(kind.__new__(kind))  # `place` fills it
        return self._copies[-1]

    def place(self) -> None:
        """Leases a tree that is idle, or allocates one."""
        pool = _pool()
        pool.collect()
        key = tuple(self._specifications)
        if pool.idle[key]:
            tree = pool.idle[key][-1]
            tree.clear()
            pool.idle[key].pop()
            hidden_trees().difference_update(tree.ids)
        else:
            tree = _Tree(key)
        lease = _Lease()
        weakref.finalize(lease, pool.returned.append, (key, tree)).atexit = False
        for leased, field in zip(self._copies, tree.fields):
            _lend(leased, field, lease)


def body(field: ti.Field) -> ti.Field:
    """The field of the tree behind a leased copy; any other field is its own.

    Kernels keep what they are called with for ever: ours are called with this, or no tree would
    ever be idle.
    """
    return getattr(field, "_body", field)


def is_leased(field: ti.Field) -> bool:
    """Whether it is a copy of a field of one of our trees."""
    return hasattr(field, "_body")


def renew(field: ti.Field) -> None:
    """Says that the elements of a field are others than before: what was kept of them is void."""
    body(field)._num_renewals = num_renewals(field) + 1


def num_renewals(field: ti.Field) -> int:
    """How often `renew` was called."""
    return getattr(body(field), "_num_renewals", 0)


def place_dual(field: ti.Field) -> None:
    """Places `field.dual`, unless it is."""
    field = body(field)
    if not has_dual(field):
        tree, builder = num_trees(), ti.FieldsBuilder()
        _node(builder, field.shape).place(field.dual)
        builder.finalize()
        if is_cpu():
            _clear_by_numpy(tree, [], [field.dual])


def upload(fields: list, arrays: list) -> None:
    """Writes NumPy arrays into float fields, on a GPU all by one kernel."""
    check_entries("an object of such fields", "numbers", (sum(map(np.size, arrays)),))
    if is_cpu() and all(map(is_leased, fields)):
        for field, array in zip(fields, arrays):
            numbers = memory.view(body(field))
            numbers[...] = np.reshape(array, numbers.shape)
        return
    values = np.concatenate([np.ravel(array) for array in arrays]).astype(default_numpy_float())
    with quick_compilation():
        write(max(map(num_elements, fields)), values, tuple(body(field) for field in fields))


def num_components(field: ti.Field) -> int:
    """Numbers in an element."""
    return field.n * field.m if isinstance(field, ti.MatrixField) else 1


def num_elements(field: ti.Field) -> int:
    """Elements of a field."""
    return math.prod(field.shape)


@ti.func
def element_at(field: ti.template(), index: int):
    """The index of an element from its number in C order."""
    element = ti.Vector([0 for _ in ti.static(range(len(field.shape)))])
    for axis in ti.static(range(len(field.shape) - 1, -1, -1)):
        element[axis] = index % field.shape[axis]
        index = index // field.shape[axis]
    return element


@ti.func
def get_number(field: ti.template(), element: ti.template(), k: ti.template()) -> float:
    """Number k of an element, in C order."""
    number = 0.0
    if ti.static(not isinstance(field, ti.MatrixField)):
        number = field[element]
    elif ti.static(field.ndim == 1):
        number = field[element][k]
    else:
        number = field[element][k // field.m, k % field.m]
    return number


@ti.func
def set_number(field: ti.template(), element: ti.template(), k: ti.template(), number: float):
    """Writes number k of an element, in C order."""
    if ti.static(not isinstance(field, ti.MatrixField)):
        field[element] = number
    elif ti.static(field.ndim == 1):
        field[element][k] = number
    else:
        field[element][k // field.m, k % field.m] = number


@ti.kernel
def write(
    length: int,  # elements of the longest field
    values: array(None, 1),  # numbers of all fields, one field after another, a NumPy array
    fields: ti.template(),
):
    """Copies."""
    for index in range(length):
        for field, start in ti.static(list(zip(fields, starts_of(fields)))):
            if index < ti.static(num_elements(field)):
                element = element_at(field, index)
                for k in ti.static(range(num_components(field))):
                    at = ti.static(start) + index * ti.static(num_components(field)) + k
                    set_number(field, element, k, values[at])


@ti.kernel
def read(
    length: int,  # elements of the longest field
    fields: ti.template(),
    values: array(None, 1),  # as for `write`
):
    """The opposite of `write`."""
    for index in range(length):
        for field, start in ti.static(list(zip(fields, starts_of(fields)))):
            if index < ti.static(num_elements(field)):
                element = element_at(field, index)
                for k in ti.static(range(num_components(field))):
                    at = ti.static(start) + index * ti.static(num_components(field)) + k
                    values[at] = get_number(field, element, k)


@ti.kernel
def zero(
    length: int,  # elements of the longest field
    fields: ti.template(),
):
    """Sets all to zero."""
    for index in range(length):
        for field in ti.static(fields):
            if index < ti.static(num_elements(field)):
                element = element_at(field, index)
                for k in ti.static(range(num_components(field))):
                    set_number(field, element, k, 0)


def starts_of(fields: tuple) -> list:
    """Where the numbers of each field begin, one field after another."""
    sizes = [num_elements(field) * num_components(field) for field in fields]
    return [sum(sizes[:k]) for k in range(len(sizes))]


class _Lease:
    """Held by the copies of a tree's fields."""


class _Tree:
    """A tree of fields: values of one shape lie side by side, and so do their gradients."""

    def __init__(self, specifications: tuple):
        if num_trees() >= MAX_FIELD_TREES:
            raise RuntimeError(
                f"{num_trees()} Taichi field trees are in use and Taichi crashes at 512: make "
                "meshes, cameras, renderers and optimizers once and write new values into their "
                "fields, or drop those that are not needed"
            )
        self.ids = [num_trees()]
        builder = ti.FieldsBuilder()
        self.fields = [_make(one) for one in specifications]
        for shape in dict.fromkeys(one.shape for one in specifications):
            of_shape = [
                (field, one)
                for field, one in zip(self.fields, specifications)
                if one.shape == shape
            ]
            groups = (
                [field for field, _ in of_shape],
                [field.grad for field, one in of_shape if one.needs_grad],
                [field.dual for field, one in of_shape if one.needs_dual],
            )
            for group in groups:
                if group:
                    _node(builder, shape).place(*group)
        builder.finalize()
        if is_cpu():
            pairs = list(zip(self.fields, specifications))
            grads = [field.grad for field, one in pairs if one.needs_grad]
            duals = [field.dual for field, one in pairs if one.needs_dual]
            _clear_by_numpy(self.ids[0], grads, duals)

    def clear(self) -> None:
        """Sets all to zero."""
        if is_cpu():
            _fill_with_zeros(self.fields)
            return
        with quick_compilation():
            zero(max(map(num_elements, self.fields)), tuple(self.fields))


def _clear_by_numpy(tree: int, grads: list, duals: list) -> None:
    """Has tapes, and forward mode, set these to zero: all there are in a tree."""
    clear_gradients_by(
        tree,
        functools.partial(_fill_with_zeros, grads),
        functools.partial(_fill_with_zeros, duals),
    )


def _fill_with_zeros(fields: list) -> None:
    """On a CPU."""
    for field in fields:
        memory.view(field)[...] = 0


def _make(one: Specification) -> ti.Field:
    derivatives = {"needs_grad": one.needs_grad, "needs_dual": one.needs_dual}
    if one.components == ():
        return ti.field(one.dtype, **derivatives)
    if len(one.components) == 1:
        return ti.Vector.field(one.components[0], one.dtype, **derivatives)
    return ti.Matrix.field(*one.components, one.dtype, **derivatives)


def _node(builder: ti.FieldsBuilder, shape: tuple):
    return builder.dense(ti.axes(*range(len(shape))), shape) if shape else builder


def _lend(leased: ti.Field, field: ti.Field, lease: _Lease) -> None:
    """Makes a copy of a field that keeps the lease; its methods are of the field."""
    leased.__dict__.update(field.__dict__)
    leased._body, leased._lease = field, lease
    for name in ("copy_from", "to_torch", "from_torch"):
        if hasattr(field, name):
            setattr(leased, name, getattr(field, name))
    for name, method in {"to_numpy": _read, "from_numpy": _write, "fill": _fill}.items():
        setattr(leased, name, functools.partial(method, field))
    for name in ("grad", "dual"):
        derivative = getattr(field, name, None)
        if derivative is not None:
            leased.__dict__[name] = copy.copy(derivative)
            _lend(leased.__dict__[name], derivative, lease)


def _read(field: ti.Field, *arguments: Any, **options: Any) -> np.ndarray:
    """`to_numpy`."""
    if arguments or options or not is_cpu():
        return field.to_numpy(*arguments, **options)
    return memory.view(field).copy()


def _write(field: ti.Field, values: np.ndarray) -> None:
    """`from_numpy`, which in Taichi reads behind the end of an array that is too small."""
    values, shape = np.asarray(values), shape_of_numbers(field)
    if values.shape not in (shape, (*shape, 1)[: len(field.shape) + 2]):
        components = shape_of_element(field)
        of = f" of {' x '.join(map(str, components))} numbers" if components else ""
        raise ValueError(
            f"a field of shape {tuple(field.shape)}{of} takes an array of shape {shape}, "
            f"got {values.shape}"
        )
    values = values.reshape(shape)
    if is_cpu():
        memory.view(field)[...] = values
    else:
        field.from_numpy(np.asarray(values, numpy_type(field), order="C"))


def _fill(field: ti.Field, value: Any) -> None:
    """`fill`."""
    if is_cpu() and isinstance(value, (int, float, np.number)):
        memory.view(field)[...] = value
    else:
        field.fill(value)


class _Pool:
    """Trees that nobody holds, by what is in them."""

    def __init__(self):
        self.idle = collections.defaultdict(list)
        self.returned = []  # finalizers append here, at any time; `collect` puts in order

    def collect(self) -> None:
        """Hides the trees that were returned from tapes."""
        while self.returned:
            key, tree = self.returned.pop()
            hidden_trees().update(tree.ids)
            self.idle[key].append(tree)


_pools = weakref.WeakKeyDictionary()  # of each Taichi program


def _pool() -> _Pool:
    return _pools.setdefault(current_runtime()(), _Pool())
