"""The mesh's own colours, without light."""

import dataclasses
import types

import taichi as ti

from taichi_softras.shading.base import allocate_colors


@dataclasses.dataclass(frozen=True)
class Unlit:
    """Vertex colours or texels as they are."""

    def allocate(self, tree, mesh) -> types.SimpleNamespace:
        """Texels are read in place; vertex colours need (F, 3) colours of corners."""
        if mesh.texels is not None:
            return types.SimpleNamespace(colors=mesh.texels)
        return allocate_colors(tree, mesh)

    def shade(self, mesh, lights, buffers) -> None:
        """Copies the vertex colours to the corners."""
        if mesh.texels is None:
            copy_to_corners(mesh.faces, mesh.vertex_colors, buffers.colors)


@ti.kernel
def copy_to_corners(
    faces: ti.template(),  # (F,) ivec3
    vertex_colors: ti.template(),  # (V,) vec3
    colors: ti.template(),  # (F, 3) vec3
):
    """Gives every corner the colour of its vertex."""
    for face in faces:
        for corner in ti.static(range(3)):
            colors[face, corner] = vertex_colors[faces[face][corner]]
