"""The mesh's own colours, without light."""

import dataclasses
import types

import taichi as ti

from taichi_softras.shading.base import allocate_colors


@dataclasses.dataclass(frozen=True)
class Unlit:
    """Vertex colours or texels as they are."""

    def allocate(self, tree, mesh, num_shadings) -> types.SimpleNamespace:
        """Adds `colors`; they are the same for all frames."""
        return allocate_colors(tree, mesh, 1)

    def shade(self, mesh, lights, frames, views, buffers) -> None:
        """Copies the vertex colours to the corners, or the texels."""
        if mesh.texels is None:
            copy_to_corners(mesh.faces, mesh.vertex_colors, buffers.colors)
        else:
            copy_texels(mesh.texels, buffers.colors)


@ti.kernel
def copy_to_corners(
    faces: ti.template(),  # (F,) ivec3
    vertex_colors: ti.template(),  # (V,) vec3
    colors: ti.template(),  # (1, F, 3) vec3
):
    """Gives every corner the colour of its vertex."""
    for face in faces:
        for corner in ti.static(range(3)):
            colors[0, face, corner] = vertex_colors[faces[face][corner]]


@ti.kernel
def copy_texels(
    texels: ti.template(),  # (F, R, R) vec3
    colors: ti.template(),  # (1, F, R, R) vec3
):
    """Copies."""
    for face, b, a in texels:
        colors[0, face, b, a] = texels[face, b, a]
