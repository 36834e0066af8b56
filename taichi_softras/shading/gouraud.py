"""One light a vertex, from the vertex's normal, interpolated over the faces (Gouraud 1971)."""

import dataclasses
import types

import taichi as ti

from taichi_softras.geometry.normals import compute_vertex_normals, unit_normal
from taichi_softras.shading.base import allocate_colors, cube_barycentrics, texel_barycentrics


@dataclasses.dataclass(frozen=True)
class Gouraud:
    """Every vertex is lit; the light between them is linear and tints the colours."""

    def allocate(self, tree, mesh, num_shadings) -> types.SimpleNamespace:
        """Adds `colors`, `vertex_normals` and `vertex_lights`, the latter (S, V) vec3."""
        buffers = allocate_colors(tree, mesh, num_shadings)
        shape = (num_shadings, mesh.num_vertices)
        buffers.vertex_normals = tree.add(shape, components=(3,))
        buffers.vertex_lights = tree.add(shape, components=(3,))
        return buffers

    def shade(self, mesh, lights, frames, views, buffers) -> None:
        """Lights the vertices, then the faces between them."""
        compute_vertex_normals(
            mesh.vertices,
            frames,
            *views,
            mesh.faces,
            mesh.corner_starts,
            mesh.corners_of_vertex,
            buffers.vertex_normals,
        )
        light_vertices(*views, buffers.vertex_normals, lights, buffers.vertex_lights)
        tint, albedo = tint_corners, mesh.vertex_colors
        if mesh.texels is not None:
            tint, albedo = tint_texels, mesh.texels
        if mesh.texture_cubes is not None:
            tint, albedo = tint_cubes, mesh.texture_cubes
        tint(*views, mesh.faces, albedo, buffers.vertex_lights, buffers.colors)


@ti.kernel
def light_vertices(
    first: int,  # of S
    end: int,  # of S
    vertex_normals: ti.template(),  # (S, V) vec3 world
    lights: ti.template(),
    vertex_lights: ti.template(),  # (S, V) vec3
):
    """Lights vertices by their normals."""
    for view, vertex in ti.ndrange((first, end), vertex_normals.shape[1]):
        normal = unit_normal(vertex_normals[view, vertex])
        vertex_lights[view, vertex] = lights.reflect(normal)


@ti.kernel
def tint_corners(
    first: int,  # of S
    end: int,  # of S
    faces: ti.template(),  # (F,) ivec3
    vertex_colors: ti.template(),  # (V,) vec3
    vertex_lights: ti.template(),  # (S, V) vec3
    colors: ti.template(),  # (S, F, 3) vec3
):
    """Tints the colours of corners with the light of their vertices."""
    for view, face in ti.ndrange((first, end), faces.shape[0]):
        for corner in ti.static(range(3)):
            vertex = faces[face][corner]
            colors[view, face, corner] = vertex_colors[vertex] * vertex_lights[view, vertex]


@ti.kernel
def tint_texels(
    first: int,  # of S
    end: int,  # of S
    faces: ti.template(),  # (F,) ivec3
    texels: ti.template(),  # (F, R, R) vec3
    vertex_lights: ti.template(),  # (S, V) vec3
    colors: ti.template(),  # (S, F, R, R) vec3
):
    """Tints texels with the light between the vertices, taken at their centres."""
    for view, face in ti.ndrange((first, end), faces.shape[0]):
        for b, a in ti.ndrange(texels.shape[1], texels.shape[2]):
            barycentrics = texel_barycentrics(b, a, texels.shape[1])
            light = ti.Vector([0.0, 0.0, 0.0])
            for corner in ti.static(range(3)):
                light += barycentrics[corner] * vertex_lights[view, faces[face][corner]]
            colors[view, face, b, a] = texels[face, b, a] * light


@ti.kernel
def tint_cubes(
    first: int,  # of S
    end: int,  # of S
    faces: ti.template(),  # (F,) ivec3
    cubes: ti.template(),  # (F, R, R, R) vec3
    vertex_lights: ti.template(),  # (S, V) vec3
    colors: ti.template(),  # (S, F, R, R, R) vec3
):
    """Tints the entries of texture cubes with the light between the vertices."""
    for view, face in ti.ndrange((first, end), faces.shape[0]):
        for entry in ti.grouped(ti.ndrange(*cubes.shape[1:])):
            barycentrics = cube_barycentrics(entry, cubes.shape[1])
            light = ti.Vector([0.0, 0.0, 0.0])
            for corner in ti.static(range(3)):
                light += barycentrics[corner] * vertex_lights[view, faces[face][corner]]
            colors[view, face, entry] = cubes[face, entry] * light
