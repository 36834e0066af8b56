"""One light a vertex, from the vertex's normal, interpolated over the faces (Gouraud 1971)."""

import dataclasses
import types

import taichi as ti

from taichi_softras.geometry.normals import compute_vertex_normals, unit_normal
from taichi_softras.shading.base import allocate_colors, texel_barycentrics


@dataclasses.dataclass(frozen=True)
class Gouraud:
    """Every vertex is lit; the light between them is linear and tints vertex colours or texels."""

    def allocate(self, tree, mesh) -> types.SimpleNamespace:
        """Adds `colors`, `vertex_normals` and `vertex_lights`, the latter (V,) vec3."""
        buffers = allocate_colors(tree, mesh)
        buffers.vertex_normals = tree.add((mesh.num_vertices,), components=(3,))
        buffers.vertex_lights = tree.add((mesh.num_vertices,), components=(3,))
        return buffers

    def shade(self, mesh, lights, buffers) -> None:
        """Lights the vertices, then the faces between them."""
        compute_vertex_normals(
            mesh.vertices,
            mesh.faces,
            mesh.corner_starts,
            mesh.corners_of_vertex,
            buffers.vertex_normals,
        )
        light_vertices(buffers.vertex_normals, lights, buffers.vertex_lights)
        tint, albedo = tint_corners, mesh.vertex_colors
        if mesh.texels is not None:
            tint, albedo = tint_texels, mesh.texels
        tint(mesh.faces, albedo, buffers.vertex_lights, buffers.colors)


@ti.kernel
def light_vertices(
    vertex_normals: ti.template(),  # (V,) vec3 world
    lights: ti.template(),
    vertex_lights: ti.template(),  # (V,) vec3
):
    """Lights vertices by their normals."""
    for vertex in vertex_normals:
        normal = unit_normal(vertex_normals[vertex])
        vertex_lights[vertex] = lights.reflect(normal)


@ti.kernel
def tint_corners(
    faces: ti.template(),  # (F,) ivec3
    vertex_colors: ti.template(),  # (V,) vec3
    vertex_lights: ti.template(),  # (V,) vec3
    colors: ti.template(),  # (F, 3) vec3
):
    """Tints the colours of corners with the light of their vertices."""
    for face in faces:
        for corner in ti.static(range(3)):
            vertex = faces[face][corner]
            colors[face, corner] = vertex_colors[vertex] * vertex_lights[vertex]


@ti.kernel
def tint_texels(
    faces: ti.template(),  # (F,) ivec3
    texels: ti.template(),  # (F, R, R) vec3
    vertex_lights: ti.template(),  # (V,) vec3
    colors: ti.template(),  # (F, R, R) vec3
):
    """Tints texels with the light between the vertices, taken at their centres."""
    for face in faces:
        for b, a in ti.ndrange(texels.shape[1], texels.shape[2]):
            barycentrics = texel_barycentrics(b, a, texels.shape[1])
            light = ti.Vector([0.0, 0.0, 0.0])
            for corner in ti.static(range(3)):
                light += barycentrics[corner] * vertex_lights[faces[face][corner]]
            colors[face, b, a] = texels[face, b, a] * light
