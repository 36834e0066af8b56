"""Vertices in world space and the cameras' matrices in, vertices in NDC out."""

import taichi as ti

from taichi_softras.fields import is_cpu


def project_vertices(
    vertices,  # (V,) vec3 world
    view_from_world,  # (B,) mat4
    clip_from_view,  # (B,) mat4
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    vertices_ndc,  # (B, V) vec3: x and y in NDC, depth in world units
) -> None:
    """Projects every vertex into every view; differentiated by Taichi.

    A vertex that is not in front of the camera (w of clip space not positive) gets x = y = 0 and
    no gradient through them; by its depth, which is not positive then, a rasterizer knows it. The
    last row of `view_from_world` is taken to be 0, 0, 0, 1.
    """
    # the loop that is outside adds its gradients without atomics; on a CPU those of 120 cameras
    # take 45 ms with atomics and 8 ms without, those of 1352 vertices 6 ms and 2 ms
    by_view = is_cpu() and view_from_world.snode.ptr.has_adjoint()
    project = project_vertices_by_view if by_view else project_vertices_by_vertex
    project(
        vertices, view_from_world, clip_from_view, ndc_from_clip_x, ndc_from_clip_y, vertices_ndc
    )


@ti.kernel
def project_vertices_by_vertex(
    vertices: ti.template(),  # (V,) vec3 world
    view_from_world: ti.template(),  # (B,) mat4
    clip_from_view: ti.template(),  # (B,) mat4
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    vertices_ndc: ti.template(),  # (B, V) vec3
):
    """`project_vertices`, parallel over vertices."""
    for vertex in vertices:
        for view in range(view_from_world.shape[0]):
            vertices_ndc[view, vertex] = project_vertex(
                vertices[vertex],
                view_from_world[view],
                clip_from_view[view],
                ndc_from_clip_x,
                ndc_from_clip_y,
            )


@ti.kernel
def project_vertices_by_view(
    vertices: ti.template(),  # (V,) vec3 world
    view_from_world: ti.template(),  # (B,) mat4
    clip_from_view: ti.template(),  # (B,) mat4
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    vertices_ndc: ti.template(),  # (B, V) vec3
):
    """`project_vertices`, parallel over views."""
    for view in view_from_world:
        for vertex in range(vertices.shape[0]):
            vertices_ndc[view, vertex] = project_vertex(
                vertices[vertex],
                view_from_world[view],
                clip_from_view[view],
                ndc_from_clip_x,
                ndc_from_clip_y,
            )


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
