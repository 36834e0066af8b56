"""The door for PyTorch: tensors in, images out, gradients by `loss.backward()`.

Without a tape of Taichi's, and without `ti.init` where nobody has called it: this door then does,
for the device and the precision of the first tensor. Tensors stay on their device.
"""

from taichi_softras.torch.rasterize import rasterize as rasterize
from taichi_softras.torch.render import render as render
from taichi_softras.torch.renderer import Renderer as Renderer

__all__ = ["Renderer", "rasterize", "render"]
