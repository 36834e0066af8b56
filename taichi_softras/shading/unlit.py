"""The mesh's own colours, without light."""

import dataclasses
import types

import taichi as ti

from taichi_softras.shading.base import allocate_colors


@dataclasses.dataclass(frozen=True)
class Unlit:
    """The mesh's colours as they are."""

    def allocate(self, tree, mesh) -> types.SimpleNamespace:
        """Colours of faces are read in place; those of vertices become (F, 3) of corners."""
        if mesh.face_colors is not None:
            return types.SimpleNamespace(colors=mesh.face_colors)
        return allocate_colors(tree, mesh)

    def shade(self, mesh, lights, buffers) -> None:
        """Copies the vertex colours to the corners."""
        if mesh.face_colors is None:
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
