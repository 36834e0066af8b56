"""Holds a function's adjoint and tangent against differences and against Taichi's own autodiff.

A test gives three kernels over N points, which call the ti.funcs. `inputs`, `gradients` and
`tangents` are tuples of fields of vectors, one for each input.

    primal(inputs, values)
    vjp(inputs, grad_values, gradients)
    jvp(inputs, tangents, moved)

`jvp` is None for functions without a tangent.
"""

import numpy as np

from taichi_softras.fields import FieldTree
from taichi_softras.runtime import ti
from tests.gradcheck import relative_error
from tests.tolerances import FINITE_DIFFERENCE_RELATIVE, FINITE_DIFFERENCE_STEP, TWIN_DOUBLE


@ti.kernel
def weigh(values: ti.template(), weights: ti.template(), loss: ti.template()):
    for i in values:
        loss[None] += values[i].dot(weights[i])


def vector_fields(arrays, needs_grad=False) -> tuple:
    """Fields of vectors from arrays (N, components)."""
    arrays, tree = list(arrays), FieldTree()
    fields = [tree.add((len(one),), (one.shape[1],), needs_grad=needs_grad) for one in arrays]
    tree.place()
    for field, array in zip(fields, arrays):
        field.from_numpy(array)
    return tuple(fields)


def vector_field(values, needs_grad=False):
    return vector_fields([values], needs_grad)[0]


def check_derivatives(primal, vjp, jvp, inputs: dict, num_values: int) -> None:
    """`inputs` are (N, components) in double precision by name; the last one is constant."""
    generator = np.random.default_rng(1)
    num_points = len(next(iter(inputs.values())))
    names = list(inputs)[:-1]
    fields = dict(zip(inputs, vector_fields(inputs.values(), needs_grad=True)))
    weights = generator.normal(size=(num_points, num_values))
    values = vector_field(np.zeros_like(weights), needs_grad=True)
    loss = ti.field(float, (), needs_grad=True)

    def moved_by(steps):
        """The values where each input has moved by its step."""
        for name, step in steps.items():
            fields[name].from_numpy(inputs[name] + step)
        primal(tuple(fields.values()), values)
        for name in steps:
            fields[name].from_numpy(inputs[name])
        return values.to_numpy()

    def slope(steps):
        later = moved_by({name: FINITE_DIFFERENCE_STEP * step for name, step in steps.items()})
        earlier = moved_by({name: -FINITE_DIFFERENCE_STEP * step for name, step in steps.items()})
        return (later - earlier) / (2 * FINITE_DIFFERENCE_STEP)

    with ti.ad.Tape(loss):
        primal(tuple(fields.values()), values)
        weigh(values, vector_field(weights), loss)
    gradients = dict(zip(names, vector_fields(np.zeros_like(inputs[name]) for name in names)))
    vjp(tuple(fields.values()), vector_field(weights), tuple(gradients.values()))
    for name in names:
        gradient, by_taichi = gradients[name].to_numpy(), fields[name].grad.to_numpy()
        expected = np.stack(
            [(weights * slope({name: axis})).sum(axis=1) for axis in np.eye(gradient.shape[1])],
            axis=1,
        )
        error, difference = relative_error(gradient, expected), relative_error(gradient, by_taichi)
        print(f"gradient of {name}: error {error:.1e}, to Taichi's {difference:.1e}")
        assert error < FINITE_DIFFERENCE_RELATIVE
        assert difference < TWIN_DOUBLE

    if jvp is None:
        return
    tangents = {name: generator.normal(size=inputs[name].shape) for name in names}
    moved = vector_field(np.zeros_like(weights))
    jvp(tuple(fields.values()), vector_fields(tangents.values()), moved)
    error = relative_error(moved.to_numpy(), slope(tangents))
    print(f"tangent: error {error:.1e}")
    assert error < FINITE_DIFFERENCE_RELATIVE
