"""Forward mode: kernels on fields run with their derivatives by one number after another.

Taichi keeps derivatives in `field.dual`, beside the values.
"""

from collections.abc import Iterator
from typing import Callable

import numpy as np
import taichi as ti
from taichi.ad._ad import clear_all_gradients
from taichi.lang import impl
from taichi.lang.enums import AutodiffMode, SNodeGradType

from taichi_softras.runtime import default_numpy_float


class ForwardMode:
    """Within it kernels also compute `dual` of what they write, from `dual` of what they read.

    As `ti.ad.FwdMode`, which refuses vectors and matrices: the derivatives of local ones are
    wrong in Taichi 1.7, unless kernels are compiled with all of them taken apart.
    """

    def __enter__(self):
        impl.get_runtime().materialize()
        self._modes = []
        self._is_taken_apart = impl.current_cfg().force_scalarize_matrix
        impl.current_cfg().force_scalarize_matrix = True
        impl.get_runtime().fwd_mode_manager = self

    def __exit__(self, *_):
        impl.get_runtime().fwd_mode_manager = None
        impl.current_cfg().force_scalarize_matrix = self._is_taken_apart
        for kernel, mode in self._modes:
            kernel.autodiff_mode = mode

    def insert(self, kernel) -> None:
        """Called by Taichi before it runs a kernel."""
        self._modes.insert(0, (kernel, kernel.autodiff_mode))
        kernel.autodiff_mode = AutodiffMode.FORWARD


def check_parameters(parameters) -> list:
    """A list of fields with duals, or a ValueError that says what is wrong."""
    parameters = [] if isinstance(parameters, ti.Field) else list(parameters)
    if not parameters:
        raise ValueError("parameters must be a list of at least one field, as [camera.eye]")
    for i, field in enumerate(parameters):
        if not isinstance(field, ti.Field) or not field.snode.ptr.has_dual():
            raise ValueError(
                f"parameters[{i}] has no dual: make your own fields with needs_dual=True (also "
                "those between parameters and scene), cameras with needs_grad=True; got "
                f"{type(field).__name__}"
            )
    return parameters


def count_numbers(parameters: list) -> int:
    """P, of all fields together."""
    return sum(field.to_numpy().size for field in parameters)


def differentiate(run: Callable, parameters: list) -> Iterator[int]:
    """Runs `run` once for each number in the fields `parameters`, in C order.

    A field that `run` writes must be written once: its derivatives add up.

    Args:
        run: calls kernels.
        parameters: fields with duals.

    Yields:
        The number's index; `dual` of every field then is its derivative by that number.
    """
    column = 0
    for field in parameters:
        shape = field.to_numpy().shape
        for index in np.ndindex(shape):
            clear_all_gradients(SNodeGradType.DUAL)
            seed = np.zeros(shape, default_numpy_float())
            seed[index] = 1.0
            field.dual.from_numpy(seed)
            with ForwardMode():
                run()
            yield column
            column += 1
