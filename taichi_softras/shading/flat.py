"""One light a face, from the face's normal."""

import dataclasses
import types

import taichi as ti

from taichi_softras.geometry.normals import face_normal, unit_normal
from taichi_softras.shading.base import allocate_colors


@dataclasses.dataclass(frozen=True)
class Flat:
    """Every face is lit as a whole, and tints its vertex colours or texels."""

    def allocate(self, tree, mesh) -> types.SimpleNamespace:
        """Adds `colors`, and for texels `face_lights` (F,) vec3."""
        buffers = allocate_colors(tree, mesh)
        if mesh.texels is not None:
            buffers.face_lights = tree.add((mesh.num_faces,), components=(3,))
        return buffers

    def shade(self, mesh, lights, buffers) -> None:
        """Lights the faces."""
        scene = mesh.vertices, mesh.faces, lights
        if mesh.texels is None:
            shade_flat(*scene, mesh.vertex_colors, buffers.colors)
        else:
            shade_texels_flat(*scene, mesh.texels, buffers.face_lights, buffers.colors)


@ti.kernel
def shade_flat(
    vertices: ti.template(),  # (V,) vec3 world
    faces: ti.template(),  # (F,) ivec3
    lights: ti.template(),
    vertex_colors: ti.template(),  # (V,) vec3
    colors: ti.template(),  # (F, 3) vec3
):
    """Lights faces and tints the colours of their corners."""
    for face in faces:
        normal = unit_normal(face_normal(vertices, faces[face]))
        light = lights.reflect(normal)
        for corner in ti.static(range(3)):
            colors[face, corner] = vertex_colors[faces[face][corner]] * light


@ti.kernel
def shade_texels_flat(
    vertices: ti.template(),  # (V,) vec3 world
    faces: ti.template(),  # (F,) ivec3
    lights: ti.template(),
    texels: ti.template(),  # (F, R, R) vec3
    face_lights: ti.template(),  # (F,) vec3
    colors: ti.template(),  # (F, R, R) vec3
):
    """Lights faces and tints their texels."""
    for face in faces:
        normal = unit_normal(face_normal(vertices, faces[face]))
        face_lights[face] = lights.reflect(normal)
    for face in faces:
        for b, a in ti.ndrange(texels.shape[1], texels.shape[2]):
            colors[face, b, a] = texels[face, b, a] * face_lights[face]
