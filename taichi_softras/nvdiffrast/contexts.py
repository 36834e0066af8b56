"""What scripts make before they rasterize. There is nothing behind it: Taichi has its own."""

from typing import Any

from taichi_softras.torch.tensors import torch


class RasterizeCudaContext:
    """Stands for a device; on any, whatever the name.

    Attributes:
        device: that of the tensors that are drawn with it, or None for any.
        output_db: whether `rasterize` gives the derivatives of u and v.
    """

    def __init__(self, device: Any = None, output_db: bool = True):
        """Neither reserves anything nor starts Taichi.

        Args:
            device: of tensors, as PyTorch names it; any when left out.
            output_db: whether `rasterize` gives the derivatives of u and v.
        """
        self.device = None if device is None else torch.device(device)
        self.output_db = output_db

    def check(self, tensor: torch.Tensor) -> None:
        """Raises a ValueError for a tensor of another device."""
        if self.device is None:
            return
        is_same = self.device.type == tensor.device.type
        if not is_same or self.device.index not in (None, tensor.device.index):
            raise ValueError(
                f"the context is for {self.device} and pos is on {tensor.device}: move pos, or "
                f"make a context for device={str(tensor.device)!r}"
            )


class RasterizeGLContext(RasterizeCudaContext):
    """The same, for scripts that name it."""

    def __init__(self, output_db: bool = True, mode: str = "automatic", device: Any = None):
        """See `RasterizeCudaContext`.

        Args:
            output_db: whether `rasterize` gives the derivatives of u and v.
            mode: "automatic" or "manual", without a meaning here.
            device: of tensors.

        Raises:
            ValueError: for another mode.
        """
        if mode not in ("automatic", "manual"):
            raise ValueError(f"mode must be 'automatic' or 'manual', got {mode!r}")
        super().__init__(device, output_db)

    def set_context(self) -> None:
        """Does nothing."""

    def release_context(self) -> None:
        """Does nothing."""
