"""Vertices in world space and the cameras' matrices in, vertices in NDC out."""

import taichi as ti

from taichi_softras.runtime import is_cpu


def project_vertices(
    vertices,  # (V,) or (T, V) vec3 world
    frames,  # (B,) frame of each view
    view_from_world,  # (1 or B,) mat4
    clip_from_view,  # (1 or B,) mat4
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    first_view: int,
    end_view: int,
    vertices_ndc,  # (B, V) vec3: x and y in NDC, depth in world units
) -> None:
    """Projects the vertices of each view from `first_view` on; differentiated by Taichi.

    A vertex that is not in front of the camera (w of clip space not positive) gets x = y = 0 and
    no gradient through them; by its depth, which is not positive then, a rasterizer knows it. The
    last row of `view_from_world` is taken to be 0, 0, 0, 1.
    """
    # the loop that is outside adds its gradients without atomics; on a CPU those of 120 cameras
    # take 45 ms with atomics and 8 ms without, those of 1352 vertices 6 ms and 2 ms
    by_view = is_cpu() and view_from_world.snode.ptr.has_adjoint()
    project = project_vertices_by_view if by_view else project_vertices_by_vertex
    project(
        vertices,
        frames,
        view_from_world,
        clip_from_view,
        ndc_from_clip_x,
        ndc_from_clip_y,
        first_view,
        end_view,
        vertices_ndc,
    )


@ti.kernel
def project_vertices_by_vertex(
    vertices: ti.template(),  # (V,) or (T, V) vec3 world
    frames: ti.template(),  # (B,)
    view_from_world: ti.template(),  # (1 or B,) mat4
    clip_from_view: ti.template(),  # (1 or B,) mat4
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    first_view: int,
    end_view: int,
    vertices_ndc: ti.template(),  # (B, V) vec3
):
    """`project_vertices`, parallel over vertices."""
    for vertex in range(vertices_ndc.shape[1]):
        for view in range(first_view, end_view):
            vertices_ndc[view, vertex] = project_vertex(
                vertex_of_frame(vertices, frames[view], vertex),
                view_from_world[view % view_from_world.shape[0]],
                clip_from_view[view % clip_from_view.shape[0]],
                ndc_from_clip_x,
                ndc_from_clip_y,
            )


@ti.kernel
def project_vertices_by_view(
    vertices: ti.template(),  # (V,) or (T, V) vec3 world
    frames: ti.template(),  # (B,)
    view_from_world: ti.template(),  # (1 or B,) mat4
    clip_from_view: ti.template(),  # (1 or B,) mat4
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    first_view: int,
    end_view: int,
    vertices_ndc: ti.template(),  # (B, V) vec3
):
    """`project_vertices`, parallel over views."""
    for view in range(first_view, end_view):
        for vertex in range(vertices_ndc.shape[1]):
            vertices_ndc[view, vertex] = project_vertex(
                vertex_of_frame(vertices, frames[view], vertex),
                view_from_world[view % view_from_world.shape[0]],
                clip_from_view[view % clip_from_view.shape[0]],
                ndc_from_clip_x,
                ndc_from_clip_y,
            )


@ti.func
def vertex_of_frame(vertices: ti.template(), frame, vertex):
    """A vertex of a still mesh, (V,), or of one that moves, (T, V)."""
    position = ti.Vector([0.0, 0.0, 0.0])
    if ti.static(len(vertices.shape) == 2):
        position = vertices[frame, vertex]
    else:
        position = vertices[vertex]
    return position


@ti.func
def project_vertex(vertex_world, view_from_world, clip_from_view, ndc_from_clip_x, ndc_from_clip_y):
    """The vertex in NDC: x, y, depth."""
    # rows written out: `@` of 4 x 4 matrices takes Taichi five times as long to compile
    x_view = transform_row(view_from_world, 0, vertex_world.x, vertex_world.y, vertex_world.z)
    y_view = transform_row(view_from_world, 1, vertex_world.x, vertex_world.y, vertex_world.z)
    z_view = transform_row(view_from_world, 2, vertex_world.x, vertex_world.y, vertex_world.z)
    x_clip = transform_row(clip_from_view, 0, x_view, y_view, z_view)
    y_clip = transform_row(clip_from_view, 1, x_view, y_view, z_view)
    w_clip = transform_row(clip_from_view, 3, x_view, y_view, z_view)
    vertex_ndc = ti.Vector([0.0, 0.0, -z_view])
    if w_clip > 1e-8:
        vertex_ndc.x = ndc_from_clip_x * x_clip / w_clip
        vertex_ndc.y = ndc_from_clip_y * y_clip / w_clip
    return vertex_ndc


@ti.func
def transform_row(matrix: ti.template(), row: ti.template(), x, y, z):
    """One component of the point (x, y, z, 1) in the matrix's target space."""
    return matrix[row, 0] * x + matrix[row, 1] * y + matrix[row, 2] * z + matrix[row, 3]
