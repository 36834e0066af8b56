"""Forward mode: kernels on fields run with their derivatives by one number after another.

Taichi keeps derivatives in `field.dual`, beside the values.
"""

from collections.abc import Iterator
from typing import Callable, Optional

import numpy as np

from taichi_softras.runtime import (
    ForwardMode,
    clear_duals,
    default_numpy_float,
    has_dual,
    refuse_other,
    ti,
)


def check_parameters(parameters) -> list:
    """A list of fields with duals, or a ValueError that says what is wrong."""
    refuse_other("parameters", parameters)
    parameters = [] if isinstance(parameters, ti.Field) else list(parameters)
    if not parameters:
        raise ValueError("parameters must be a list of at least one field, as [camera.eye]")
    for i, field in enumerate(parameters):
        if not isinstance(field, ti.Field) or not has_dual(field):
            raise ValueError(
                f"parameters[{i}] has no dual: make your own fields with needs_dual=True (also "
                "those between parameters and scene); got "
                f"{type(field).__name__}"
            )
    return parameters


def count_numbers(parameters: list) -> int:
    """P, of all fields together."""
    return sum(field.to_numpy().size for field in parameters)


def differentiate(run: Optional[Callable], parameters: list) -> Iterator[int]:
    """Runs `run` once for each number in the fields `parameters`, in C order.

    A field that `run` writes must be written once: its derivatives add up.

    Args:
        run: calls kernels; None where parameters alone have derivatives.
        parameters: fields with duals.

    Yields:
        The number's index; `dual` of every field then is its derivative by that number.
    """
    column = 0
    for field in parameters:
        shape = field.to_numpy().shape
        for index in np.ndindex(shape):
            clear_duals()
            seed = np.zeros(shape, default_numpy_float())
            seed[index] = 1.0
            field.dual.from_numpy(seed)
            if run is not None:
                with ForwardMode():
                    run()
            yield column
            column += 1
