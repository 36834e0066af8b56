"""What all operations share: arguments that are checked, arrays of the core, the way back."""

import functools
from collections.abc import Sequence
from typing import Any, Callable, Optional

import numpy as np

from taichi_softras.runtime import default_numpy_float, has_begun, is_cpu, shares_memory, ti
from taichi_softras.torch.tensors import Tensors, torch
from taichi_softras.workspace import Pool, Workspace

_workspaces = Pool()


class Operation:
    """Some kernels, and the arrays that they and their adjoints need.

    Attributes:
        forward: what it makes of tensors, a tuple, without gradients; each operation has its own.
        backward: the gradient of each tensor, from those of what `forward` gave last.
        num_without_gradient: of what `forward` gives, the last ones.
    """

    forward: Callable[..., tuple]
    backward: Callable[..., tuple]
    num_without_gradient = 0

    def __init__(self, names: Sequence, key: tuple):
        """Borrows working memory.

        Args:
            names: of the tensors, for errors.
            key: what it has the shape of.
        """
        self.names = names
        of_kind, scene = (type(self), *key), f"{type(self).__name__.strip('_')} of these shapes"
        self.workspace = _workspaces.lend(self, of_kind, lambda: Workspace(scene))

    def upload(self, name: str, values: torch.Tensor, shape: Optional[tuple] = None) -> ti.Ndarray:
        """The array `name` with these numbers, whole ones in 32 bits."""
        dtype = float if values.is_floating_point() else int
        shape = tuple(values.shape) if shape is None else shape
        array = self.workspace.get(name, tuple(max(extent, 1) for extent in shape), dtype)
        if values.numel():
            Tensors.load(values, array)
        return array

    def __call__(self, *tensors: torch.Tensor) -> tuple:
        """What it makes of tensors, with gradients."""
        return _Apply.apply(self, *tensors)


class _Apply(torch.autograd.Function):
    """An `Operation` in PyTorch's graph."""

    @staticmethod
    def forward(ctx: Any, operation: Operation, *tensors: torch.Tensor) -> tuple:
        checked = [Tensors.checked(name, one) for name, one in zip(operation.names, tensors)]
        results = operation.forward(*checked)
        ctx.operation = operation
        ctx.num_grads = len(results) - operation.num_without_gradient
        ctx.mark_non_differentiable(*results[ctx.num_grads :])
        return results

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple:
        grads = [Tensors.checked("a gradient", one) for one in grads[: ctx.num_grads]]
        return (None, *ctx.operation.backward(*grads))


def takes_arrays(function: Callable) -> Callable:
    """Of tensors, made to take NumPy arrays as well: where no tensor is given, such come back."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        tensors = {name: as_tensor(one) for name, one in named.items()}
        results = function(*map(as_tensor, arguments), **tensors)
        return as_arrays(results) if of_arrays([*arguments, *named.values()]) else results

    return wrapped


def of_arrays(given: Sequence) -> bool:
    """Whether there are NumPy arrays, and no tensors."""
    kinds = [type(one) for one in given]
    return np.ndarray in kinds and not any(issubclass(kind, torch.Tensor) for kind in kinds)


def as_tensor(value: Any) -> Any:
    """A tensor of an array, floats in the precision of the runtime; all else as it is."""
    if isinstance(value, list) and any(isinstance(one, np.ndarray) for one in value):
        return [as_tensor(one) for one in value]
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f":
        value = value.astype(default_numpy_float() if has_begun() else np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(value))
    return tensor.cuda() if has_begun() and shares_memory() and not is_cpu() else tensor


def as_arrays(results: Any) -> Any:
    """NumPy arrays of a tensor or a tuple of them; all else as it is."""
    if type(results) is tuple:
        return tuple(map(as_arrays, results))
    return results.numpy(force=True) if isinstance(results, torch.Tensor) else results


def check_shape(name: str, tensor: Any, *wanted: tuple) -> None:
    """Raises for what is no tensor of one of these shapes, in which -1 and names are any extent."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a tensor or an array, got {type(tensor).__name__}")
    shape = tuple(tensor.shape)
    for one in wanted:
        pairs = list(zip(shape, one))
        if len(shape) == len(one) and all(isinstance(b, str) or a == b for a, b in pairs):
            return
    shapes = " or ".join("(" + ", ".join(map(str, one)) + ")" for one in wanted)
    raise ValueError(f"{name} must have shape {shapes}, got {shape}")


def check_not_empty(name: str, tensor: torch.Tensor) -> None:
    """Raises for a tensor without entries."""
    if not tensor.numel():
        raise ValueError(f"{name} must have entries, got shape {tuple(tensor.shape)}")


def check_batch(name: str, tensor: torch.Tensor, views: int) -> None:
    """Raises unless the first axis is that of the views, or 1."""
    if tensor.shape[0] not in (1, views):
        raise ValueError(
            f"{name} must be for {views} images, or 1 for all, got {tensor.shape[0]} in the shape "
            f"{tuple(tensor.shape)}"
        )


def checked_indices(name: str, values: torch.Tensor, end: int, of: str) -> torch.Tensor:
    """Contiguous whole numbers from 0 to below `end`, or an error.

    Args:
        name: for errors.
        values: of any type of integers.
        end: how many there are to count.
        of: what they count, for errors.
    """
    values = whole_numbers(name, values)
    least, most = range_of(values)
    if least < 0 or most >= end:
        wrong = least if least < 0 else most
        raise ValueError(f"{name} has {wrong}, and there are {end} {of}, counted from 0")
    return values


def whole_numbers(name: str, values: torch.Tensor) -> torch.Tensor:
    """A contiguous tensor of integers, or a TypeError."""
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise TypeError(f"{name} must be of int32, got {values.dtype}: write {name}.int()")
    return values.detach().contiguous()


def range_of(values: torch.Tensor) -> tuple:
    """The least and the largest number; 0 and -1 if there are none."""
    return (int(values.min()), int(values.max())) if values.numel() else (0, -1)


def check_device(name: str, tensor: torch.Tensor, other_name: str, other: torch.Tensor) -> None:
    """Raises unless two tensors are on one device."""
    if tensor.device != other.device:
        raise ValueError(
            f"{name} is on {tensor.device} and {other_name} on {other.device}: move one of them"
        )
