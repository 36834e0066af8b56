"""What Taichi reads of functions' sources, once for all calls: as if it did so each time."""

import gc
import types
import weakref

import numpy as np
import pytest

from taichi_softras.runtime import ti


@ti.func
def power(base: ti.template(), exponent: ti.template()):
    """Calls itself while it is being read."""
    result = base
    if ti.static(exponent > 1):
        result = power(base, exponent - 1) * power(base, 1)
    return result


@ti.func
def length(vector: ti.template()):
    """Of a vector in a kernel, an expression of Taichi's, or of a constant, an object."""
    return vector.norm()


CONSTANT = ti.Vector([3.0, 4.0])


@ti.kernel
def compute(x: float) -> ti.types.vector(4, float):
    local = ti.Vector([x, 2.0 * x, 2.0 * x])
    return ti.Vector([power(x, 5), length(local), length(CONSTANT), length(2.0 * local)])


@ti.data_oriented
class Counter:
    def __init__(self, step):
        self.step = step

    @ti.func
    def twice(self, x):
        return x + 2 * self.step

    @ti.kernel
    def run(self, x: int) -> int:
        return self.twice(self.twice(x))


def test_functions_that_are_called_again(backend):
    for _ in range(2):
        np.testing.assert_allclose(compute(2.0), [32.0, 6.0, 5.0, 12.0], rtol=1e-6)
    assert Counter(3).run(1) == 13 and Counter(5).run(1) == 21


@ti.func
def fail(x, kind: ti.template()):
    result = x
    if ti.static(kind == 1):
        result = x.no_such_thing
    return result


@ti.kernel
def call(kind: ti.template()) -> float:
    return fail(1.0, 0) + fail(2.0, kind)


def test_messages_name_the_line(backend):
    """After the same function was read without an error, and again after it."""
    assert call(0) == 3
    for _ in range(2):
        with pytest.raises(Exception, match=r"(?s)in fail:\n.*no_such_thing"):
            call(1)
    assert call(2) == 3


class Held:
    """An argument of a function, that is looked at while it is read."""

    value = 2.0


holder = types.SimpleNamespace()


@ti.func
def value_of(held: ti.template()):
    return held.value


@ti.kernel
def ask() -> float:
    return value_of(holder.held) * value_of(holder.held)


def test_what_was_read_is_let_go(backend):
    holder.held = Held()
    there = weakref.ref(holder.held)
    assert ask() == 4
    del holder.held
    gc.collect()
    assert there() is None
