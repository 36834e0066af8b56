"""taichi_softras: differentiable mesh rendering whose kernels are written in Taichi."""

from taichi_softras import losses as losses
from taichi_softras import preview as _preview  # noqa: F401  # meshes in notebooks
from taichi_softras import scripts as scripts
from taichi_softras import testing as testing
from taichi_softras.functional import fragments as fragments
from taichi_softras.functional import rasterize as rasterize
from taichi_softras.functional import visible_faces as visible_faces
from taichi_softras.gauss_newton import GaussNewton as GaussNewton
from taichi_softras.geometry.rotation import rotate as rotate
from taichi_softras.io import images as images
from taichi_softras.optim import SGD as SGD
from taichi_softras.optim import Adam as Adam
from taichi_softras.rasterizers.antialiased import Antialiased as Antialiased
from taichi_softras.rasterizers.approximate_gradient import (
    ApproximateGradient as ApproximateGradient,
)
from taichi_softras.rasterizers.filtered_derivative import (
    FilteredDerivative as FilteredDerivative,
)
from taichi_softras.rasterizers.k_nearest import KNearest as KNearest
from taichi_softras.rasterizers.prefiltered import Prefiltered as Prefiltered
from taichi_softras.rasterizers.soft_aggregation import SoftAggregation as SoftAggregation
from taichi_softras.renderer import Renderer as Renderer
from taichi_softras.scene import camera_conventions as camera_conventions
from taichi_softras.scene import primitives as primitives
from taichi_softras.scene.camera import Camera as Camera
from taichi_softras.scene.camera import Intrinsics as Intrinsics
from taichi_softras.scene.camera import Orthographic as Orthographic
from taichi_softras.scene.camera import Perspective as Perspective
from taichi_softras.scene.camera import orbit as orbit
from taichi_softras.scene.environment_map import EnvironmentMap as EnvironmentMap
from taichi_softras.scene.lights import AmbientLight as AmbientLight
from taichi_softras.scene.lights import DirectionalLights as DirectionalLights
from taichi_softras.scene.lights import Lights as Lights
from taichi_softras.scene.lights import PointLights as PointLights
from taichi_softras.scene.lights import SpotLights as SpotLights
from taichi_softras.scene.material import Material as Material
from taichi_softras.scene.mesh import Mesh as Mesh
from taichi_softras.scene.scene import Scene as Scene
from taichi_softras.scene.spherical_harmonics import SphericalHarmonics as SphericalHarmonics
from taichi_softras.scene.texture import Texture as Texture
from taichi_softras.shading.base import Shading as Shading
from taichi_softras.shading.depth import Depth as Depth
from taichi_softras.shading.flat import Flat as Flat
from taichi_softras.shading.gouraud import Gouraud as Gouraud
from taichi_softras.shading.phong import Phong as Phong
from taichi_softras.shading.physically_based import PhysicallyBased as PhysicallyBased
from taichi_softras.shading.silhouette import Silhouette as Silhouette
from taichi_softras.shading.unlit import Unlit as Unlit

__version__ = "0.2.0"

__all__ = [
    "SGD",
    "Adam",
    "AmbientLight",
    "Antialiased",
    "ApproximateGradient",
    "Camera",
    "Depth",
    "DirectionalLights",
    "EnvironmentMap",
    "FilteredDerivative",
    "Flat",
    "GaussNewton",
    "Gouraud",
    "Intrinsics",
    "KNearest",
    "Lights",
    "Material",
    "Mesh",
    "Orthographic",
    "Perspective",
    "Phong",
    "PhysicallyBased",
    "PointLights",
    "Prefiltered",
    "Renderer",
    "Scene",
    "Shading",
    "Silhouette",
    "SoftAggregation",
    "SphericalHarmonics",
    "SpotLights",
    "Texture",
    "Unlit",
    "camera_conventions",
    "fragments",
    "images",
    "losses",
    "orbit",
    "primitives",
    "rasterize",
    "rotate",
    "scripts",
    "testing",
    "visible_faces",
]
