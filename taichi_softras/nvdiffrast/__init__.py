"""The interface of `nvdiffrast.torch`, on every device that Taichi runs on.

    import taichi_softras.nvdiffrast as dr

Written from the paper (Laine et al., "Modular Primitives for High-Performance Differentiable
Rendering", 2020) and from what the interface is documented to do.
"""

from taichi_softras.nvdiffrast.antialias import antialias as antialias
from taichi_softras.nvdiffrast.antialias import (
    antialias_construct_topology_hash as antialias_construct_topology_hash,
)
from taichi_softras.nvdiffrast.contexts import RasterizeCudaContext as RasterizeCudaContext
from taichi_softras.nvdiffrast.contexts import RasterizeGLContext as RasterizeGLContext
from taichi_softras.nvdiffrast.interpolate import interpolate as interpolate
from taichi_softras.nvdiffrast.rasterize import DepthPeeler as DepthPeeler
from taichi_softras.nvdiffrast.rasterize import rasterize as rasterize
from taichi_softras.nvdiffrast.texture import texture as texture
from taichi_softras.nvdiffrast.texture import texture_construct_mip as texture_construct_mip

__all__ = [
    "DepthPeeler",
    "RasterizeCudaContext",
    "RasterizeGLContext",
    "antialias",
    "antialias_construct_topology_hash",
    "interpolate",
    "rasterize",
    "texture",
    "texture_construct_mip",
]
