"""One light a face, from the face's normal."""

import dataclasses
import types

import taichi as ti

from taichi_softras.geometry.normals import face_normal, unit_normal
from taichi_softras.shading.base import allocate_colors


@dataclasses.dataclass(frozen=True)
class Flat:
    """Every face is lit as a whole, and tints its colours."""

    def allocate(self, tree, mesh, num_shadings) -> types.SimpleNamespace:
        """Adds `colors` and `face_lights`, the latter (S, F) vec3."""
        buffers = allocate_colors(tree, mesh, num_shadings)
        buffers.face_lights = tree.add((num_shadings, mesh.num_faces), components=(3,))
        return buffers

    def shade(self, mesh, lights, frames, views, buffers) -> None:
        """Lights the faces, then their colours."""
        light_faces(mesh.vertices, frames, *views, mesh.faces, lights, buffers.face_lights)
        if mesh.face_colors is None:
            tint_corners(
                *views, mesh.faces, mesh.vertex_colors, buffers.face_lights, buffers.colors
            )
        else:
            tint_faces(*views, mesh.face_colors, buffers.face_lights, buffers.colors)


@ti.kernel
def light_faces(
    vertices: ti.template(),  # (V,) or (T, V) vec3 world
    frames: ti.template(),  # (B,) frame of each view
    first: int,  # of S
    end: int,  # of S
    faces: ti.template(),  # (F,) ivec3
    lights: ti.template(),
    face_lights: ti.template(),  # (S, F) vec3
):
    """Lights faces by their normals."""
    for view, face in ti.ndrange((first, end), faces.shape[0]):
        normal = unit_normal(face_normal(vertices, frames[view], faces[face]))
        face_lights[view, face] = lights.reflect(normal)


@ti.kernel
def tint_corners(
    first: int,  # of S
    end: int,  # of S
    faces: ti.template(),  # (F,) ivec3
    vertex_colors: ti.template(),  # (V,) vec3
    face_lights: ti.template(),  # (S, F) vec3
    colors: ti.template(),  # (S, F, 3) vec3
):
    """Tints the colours of corners with the light of their face."""
    for view, face in ti.ndrange((first, end), faces.shape[0]):
        for corner in ti.static(range(3)):
            albedo = vertex_colors[faces[face][corner]]
            colors[view, face, corner] = albedo * face_lights[view, face]


@ti.kernel
def tint_faces(
    first: int,  # of S
    end: int,  # of S
    face_colors: ti.template(),  # (F, R, R) or (F, R, R, R) vec3
    face_lights: ti.template(),  # (S, F) vec3
    colors: ti.template(),  # (S, F, R, R) or (S, F, R, R, R) vec3
):
    """Tints texels or texture cubes with the light of their face."""
    for view, face in ti.ndrange((first, end), face_colors.shape[0]):
        for texel in ti.grouped(ti.ndrange(*face_colors.shape[1:])):
            colors[view, face, texel] = face_colors[face, texel] * face_lights[view, face]
