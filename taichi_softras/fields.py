"""Fields: one Taichi tree an object, placed once, never in a call.

Everything that a user or a simulation touches is a field. Taichi never frees a
tree, holds at most 512 of them and does not check (512 is a segmentation fault),
so an object places all of its fields in one tree and the count is checked here.
"""

import atexit
import weakref

import numpy as np
import taichi as ti
from taichi.lang import impl

# Taichi writes its compilation cache when a program ends, and at the interpreter's exit it may
# outlive everything: without this the next start compiles all kernels again
atexit.register(ti.reset)

MAX_FIELD_TREES = 500  # Taichi 1.7 crashes at 512; user code needs some of them


def require_taichi() -> None:
    """Raises a RuntimeError that says what to do when `ti.init` was not called."""
    if impl.get_runtime().prog is None:
        raise RuntimeError(
            "Taichi is not initialised: call ti.init(arch=ti.cpu), or ti.gpu, "
            "before using taichi_softras"
        )


def current_runtime() -> weakref.ref:
    """The running Taichi program; equal to a later one only if `ti.init` was not called between.

    A weak reference: a program that outlives `ti.reset` takes its successor down with it.
    """
    require_taichi()
    return weakref.ref(impl.get_runtime().prog)


def is_cpu() -> bool:
    """Whether kernels run on the CPU, where a task should own many pixels, not one."""
    return impl.current_cfg().arch in (ti.x64, ti.arm64)


def default_numpy_float() -> type:
    """np.float32 or np.float64, as `ti.init(default_fp=...)` says."""
    require_taichi()
    return np.float64 if impl.current_cfg().default_fp == ti.f64 else np.float32


def body(field):
    """The pooled field behind a leased one; kernels keep what they are called with for ever."""
    return getattr(field, "_body", field)


class FieldTree:
    """Collects the fields of one object and places them in one tree.

        tree = FieldTree()
        vertices = tree.add(shape=(V,), components=(3,))
        loss = tree.add(shape=())
        tree.place()

    Fields are readable and writable only after `place`.
    """

    def __init__(self):
        require_taichi()
        trees = impl.get_runtime().prog.get_snode_tree_size()
        if trees >= MAX_FIELD_TREES:
            raise RuntimeError(
                f"{trees} Taichi field trees are in use and Taichi crashes at 512: make meshes, "
                "cameras, renderers and optimizers once and write new values into their fields"
            )
        self._builder = ti.FieldsBuilder()

    def add(
        self,
        shape: tuple,
        components: tuple = (),
        dtype: type = float,
        needs_grad: bool = True,
        needs_dual: bool = True,
    ):
        """A field of `shape` whose elements are scalars (), vectors (n,) or matrices (n, m).

        Args:
            shape: extent of each axis, all >= 1; () is a 0-D field.
            components: () scalar, (n,) vector, (n, m) matrix.
            dtype: float (follows `default_fp`) or int.
            needs_grad: also place `field.grad`; only for float.
            needs_dual: place `field.dual` too, the tangent of forward mode, if there is a gradient.
        """
        if dtype is int and needs_grad:
            raise ValueError("an integer field has no gradient: pass needs_grad=False")
        if any(extent < 1 for extent in shape):
            raise ValueError(
                f"a field needs at least one element along each axis, got shape {shape}"
            )
        needs_dual = needs_dual and needs_grad
        derivatives = {"needs_grad": needs_grad, "needs_dual": needs_dual}
        if components == ():
            field = ti.field(dtype, **derivatives)
        elif len(components) == 1:
            field = ti.Vector.field(components[0], dtype, **derivatives)
        else:
            field = ti.Matrix.field(*components, dtype, **derivatives)
        self._node(shape).place(field)
        if needs_grad:
            self._node(shape).place(field.grad)
        if needs_dual:
            self._node(shape).place(field.dual)
        return field

    def place(self) -> None:
        """Allocates what was added."""
        self._builder.finalize()

    def _node(self, shape: tuple):
        if shape == ():
            return self._builder
        return self._builder.dense(ti.axes(*range(len(shape))), shape)
