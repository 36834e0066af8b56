"""Fields to tensors and back: their numbers one field after another, by one kernel."""

from collections.abc import Sequence

from taichi_softras.fields import body, num_components, num_elements, read, write, zero
from taichi_softras.runtime import quick_compilation, shape_of_numbers, ti
from taichi_softras.torch.tensors import Tensors, torch


class Packing:
    """Some fields, and the array that their numbers go through."""

    def __init__(self, fields: Sequence[ti.Field]):
        """Of fields of floats.

        Args:
            fields: or gradients of fields.
        """
        self._fields = tuple(body(field) for field in fields)
        self._length = max(map(num_elements, self._fields))
        self._sizes = [num_elements(field) * num_components(field) for field in self._fields]
        self._array = ti.ndarray(float, (sum(self._sizes),))

    def load(self, tensors: Sequence[torch.Tensor]) -> None:
        """Writes the fields."""
        Tensors.load(torch.cat([tensor.reshape(-1) for tensor in tensors]), self._array)
        with quick_compilation():
            write(self._length, self._array, self._fields)

    def read(self) -> list:
        """A new tensor of each field, in its shape and that of its elements."""
        with quick_compilation():
            read(self._length, self._fields, self._array)
        parts = Tensors.read(self._array).split(self._sizes)
        return [part.reshape(shape_of_numbers(field)) for part, field in zip(parts, self._fields)]

    def clear(self) -> None:
        """Sets the fields to zero."""
        with quick_compilation():
            zero(self._length, self._fields)
