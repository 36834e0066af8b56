"""The arrays of one rasterization: made once, reused while shapes stay.

Arrays, not fields: a kernel on arrays compiles once for all shapes and renderers, and
an array's memory is freed. Kernels never take the gradient that Taichi ties to an
array (it is wrong on Vulkan): gradients are arrays of their own.
"""

import numpy as np
import taichi as ti

from taichi_softras.runtime import default_numpy_float, require_taichi


def array(dtype: type, ndim: int) -> object:
    """The type of a kernel argument: an array that Taichi must not differentiate."""
    return ti.types.ndarray(dtype=dtype, ndim=ndim, needs_grad=False)


class Workspace:
    """Named arrays, allocated when first asked for and again when the shape changes."""

    def __init__(self):
        require_taichi()
        self._arrays = {}
        self._constants = {}

    def get(self, name: str, shape: tuple, dtype: type = float) -> ti.Ndarray:
        """The array `name` of exactly this shape; zeros when it is new."""
        array = self._arrays.get(name)
        if array is None or tuple(array.shape) != tuple(shape):
            array = self._arrays[name] = ti.ndarray(dtype, shape)
        return array

    def get_list(self, name: str, length: int, dtype: type = int) -> ti.Ndarray:
        """The array `name` of at least this length; grows by a quarter more than is asked."""
        array = self._arrays.get(name)
        if array is None or array.shape[0] < length:
            array = self._arrays[name] = ti.ndarray(dtype, max(1, length + length // 4))
        return array

    def constants(self, name: str, values: tuple, dtype: type = float) -> ti.Ndarray:
        """The array `name` of a few numbers; they go to the device only when they change.

        A kernel's launch costs by the argument, so numbers travel together.
        """
        array = self.get(name, (max(len(values), 1),), dtype)
        kept = self._constants.get(name)
        if kept is None or kept[0] is not array or kept[1] != values:
            numpy_type = default_numpy_float() if dtype is float else np.int32
            array.from_numpy(np.array(values or (0,), numpy_type))
            self._constants[name] = array, values
        return array
