"""The mesh's own colours, without light."""

import dataclasses
import types

import taichi as ti

from taichi_softras.shading.base import allocate_colors


@dataclasses.dataclass(frozen=True)
class Unlit:
    """The mesh's colours as they are."""

    def allocate(self, tree, mesh, num_shadings) -> types.SimpleNamespace:
        """Adds `colors`; they are the same for all frames."""
        return allocate_colors(tree, mesh, 1)

    def shade(self, mesh, lights, frames, views, buffers) -> None:
        """Copies the colours of vertices to the corners, or those of faces."""
        if mesh.face_colors is None:
            copy_to_corners(mesh.faces, mesh.vertex_colors, buffers.colors)
        else:
            copy_face_colors(mesh.face_colors, buffers.colors)


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
def copy_face_colors(
    face_colors: ti.template(),  # (F, R, R) or (F, R, R, R) vec3
    colors: ti.template(),  # (1, F, R, R) or (1, F, R, R, R) vec3
):
    """Copies."""
    for index in ti.grouped(face_colors):
        colors[0, index] = face_colors[index]
