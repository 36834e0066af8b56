"""Files: meshes and images in and out, as NumPy arrays."""

from taichi_softras.io.contents import MeshFileError as MeshFileError
