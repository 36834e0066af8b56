"""How tensors of PyTorch and arrays of the core become each other, on the device of both.

On a CPU and on CUDA an array is looked at as a tensor, and PyTorch copies; elsewhere numbers go
through the host.
"""

from typing import Any

import numpy as np

from taichi_softras.funcs.numeric import LARGEST
from taichi_softras.runtime import (
    address_of,
    has_begun,
    is_cpu,
    is_double,
    memory,
    numpy_type,
    shares_memory,
    ti,
)
from taichi_softras.workspace import write_array

try:
    import torch
except ImportError as error:
    raise ImportError(
        "taichi_softras.torch needs PyTorch: pip install 'taichi-softras[torch]'"
    ) from error


def begin(tensor: Any) -> None:
    """Calls `ti.init`, if nobody has, for the device and the precision of a tensor."""
    if isinstance(tensor, torch.Tensor) and tensor.is_cuda:
        # Taichi compiles in the thread of `ti.init` alone; PyTorch would go back in one of its own
        torch.autograd.set_multithreading_enabled(False)
    if has_begun() or not isinstance(tensor, torch.Tensor):
        return
    arch = ti.cuda if tensor.is_cuda else ti.cpu
    ti.init(arch=arch, default_fp=ti.f64 if tensor.dtype == torch.float64 else ti.f32)


class Tensors:
    """As `functional.HostArrays`, of tensors."""

    @staticmethod
    def checked(name: str, values: Any) -> torch.Tensor:
        """A contiguous tensor of finite numbers, of the runtime's precision and device.

        Raises:
            TypeError: for what is no tensor, or has another precision.
            ValueError: for another device, or entries that are not finite.
        """
        if not isinstance(values, torch.Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(values).__name__}")
        wanted = torch.float64 if is_double() else torch.float32
        if values.dtype != wanted:
            raise TypeError(
                f"{name} has the dtype {values.dtype}, and Taichi was initialised for {wanted}: "
                f"write {name}.to({wanted}), or ti.init(default_fp=...) before"
            )
        device = "cuda" if shares_memory() and not is_cpu() else "cpu"
        if values.device.type != device:
            raise ValueError(
                f"{name} is on {values.device}, and Taichi, as it was initialised, takes tensors "
                f"of {device!r}: move it, or call ti.init(arch=...) for its device before"
            )
        values = values.detach().contiguous()
        if values.numel() and not float(values.abs().max()) <= LARGEST:
            raise ValueError(f"{name} has entries that are NaN, infinite or above {LARGEST:g}")
        return values

    @staticmethod
    def load(values: torch.Tensor, array: ti.Ndarray) -> None:
        """Writes the array of the core."""
        if not shares_memory():
            write_array(array, values.numpy())
            return
        view_of(array).copy_(values.reshape(array.shape))
        _wait_for_torch(values)

    @staticmethod
    def read(array: ti.Ndarray) -> torch.Tensor:
        """A copy."""
        ti.sync()
        return view_of(array).clone() if shares_memory() else torch.from_numpy(array.to_numpy())

    @staticmethod
    def load_pixels(pixels: torch.Tensor, planes: ti.Ndarray) -> None:
        """Writes the first columns of (B, C, H, >= W) from (B, H, W, C)."""
        by_planes = pixels.permute(0, 3, 1, 2)
        if shares_memory():
            view_of(planes)[..., : pixels.shape[2]].copy_(by_planes)
            _wait_for_torch(pixels)
            return
        padded = pixels.new_zeros(planes.shape)
        padded[..., : pixels.shape[2]] = by_planes
        write_array(planes, padded.numpy())

    @staticmethod
    def read_pixels(planes: ti.Ndarray, width: int) -> torch.Tensor:
        """(B, H, W, C) of the first W columns."""
        ti.sync()
        tensor = view_of(planes) if shares_memory() else torch.from_numpy(planes.to_numpy())
        return tensor[..., :width].permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)

    @staticmethod
    def on_host(values: torch.Tensor) -> np.ndarray:
        """As NumPy."""
        return values.detach().cpu().numpy()


class _OnDevice:
    """An array of the core, as CUDA's packages hand memory to each other."""

    def __init__(self, array: ti.Ndarray):
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": tuple(array.shape),
            "typestr": np.dtype(numpy_type(array)).str,
            "data": (address_of(array), False),
            "version": 3,
        }


def view_of(array: ti.Ndarray) -> torch.Tensor:
    """The memory of an array of floats or 32-bit integers; it must not outlive the array."""
    if not is_cpu():
        return torch.as_tensor(_OnDevice(array), device="cuda")
    return torch.from_numpy(memory.view_array(array))


def _wait_for_torch(tensor: torch.Tensor) -> None:
    """PyTorch works on a stream of its own: Taichi's kernels come after it."""
    if tensor.is_cuda:
        torch.cuda.current_stream(tensor.device).synchronize()
