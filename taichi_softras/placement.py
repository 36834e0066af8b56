"""Places a scene for a rasterizer: from gathered arrays to corners, attributes and textures.

    camera -> matrices -> corners;  vertices -> normals -> lights -> varyings, textures

Each stage is a ti.func with loops of its own; a kernel that calls them in turn is one launch from
Python. The stages are in `geometry/` and `shading/`, what the arrays hold in
`geometry/scene_arrays.py`.
"""

import taichi as ti

from taichi_softras.geometry.cameras import (
    compute_matrices,
    compute_matrices_jvp,
    compute_matrices_vjp,
)
from taichi_softras.geometry.corners import (
    compute_corners,
    compute_corners_jvp,
    compute_corners_vjp,
    pull_back_matrices,
)
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    NOTHING,
    VERTEX_COLORS,
    GradTables,
    Layout,
    Placed,
    SceneArrays,
    SceneNumbers,
    Tables,
    Views,
    sum_partials,
)
from taichi_softras.geometry.surface_normals import (
    compute_normals,
    compute_normals_jvp,
    compute_normals_vjp,
)
from taichi_softras.runtime import is_cpu, kernel
from taichi_softras.shading.illumination import (
    compute_lights,
    compute_lights_jvp,
    compute_lights_vjp,
    pull_back_light_numbers,
    store_light_numbers,
)
from taichi_softras.shading.tints import (
    compute_textures,
    compute_textures_jvp,
    compute_varyings,
    compute_varyings_jvp,
    pull_back_albedo,
    pull_back_attributes,
    pull_back_corner_lights,
)
from taichi_softras.workspace import Workspace, array

MOST_SHARES = {True: 16, False: 256}  # of vertices, on a CPU or not: tasks of a sum over all


def allocate_placement(
    workspace: Workspace, scene: SceneArrays, layout: Layout, num_cameras: int, num_views: int
) -> tuple:
    """The `Tables` and `Placed` of a pass of b = `num_views`; what is not needed is tiny."""
    num_rows = scene.vertices.shape[1] + scene.faces.shape[0]
    num_faces, is_moving = scene.faces.shape[0], scene.vertices.shape[0] > 1
    is_lit, has_normals = layout.lit != NOTHING, layout.normal_column >= 0
    colorings = num_views if is_moving and (is_lit or has_normals) else 1
    has_views = is_moving and (is_lit or has_normals or layout.position_column >= 0)
    varied = num_views if has_views or layout.depth_column >= 0 else 1
    table = (colorings, num_rows, 3)
    tables = Tables(
        workspace.get("matrices", (num_cameras, 4, 4)),
        workspace.get("normals", table if is_lit or has_normals else (1, 1, 3)),
        workspace.get("lights", table if is_lit else (1, 1, 3)),
    )
    varyings = (varied, num_faces, 3, layout.num_varyings)
    textures = (colorings if is_lit else 1, *scene.albedo.shape)
    placed = Placed(
        workspace.get("corners", (num_views, num_faces, 3, 4)),
        workspace.get("varyings", varyings if layout.num_varyings else (1, 1, 1, 1)),
        workspace.get("textures", textures if layout.colors > VERTEX_COLORS else (1, 1, 1, 1)),
    )
    return tables, placed


def allocate_grad_tables(
    workspace: Workspace, scene: SceneArrays, tables: Tables, placed: Placed
) -> GradTables:
    """What the adjoint of a pass works in."""
    num_views, num_faces = placed.corners.shape[:2]
    num_vertices, num_cameras = scene.vertices.shape[1], tables.matrices.shape[0]
    num_light_numbers = scene.uniforms.shape[0] - CAMERA_SIZE * num_cameras
    shares = max(1, min(MOST_SHARES[is_cpu()], num_vertices // 16))
    columns = 16 * min(num_cameras, num_views) + num_light_numbers
    corner_lights = (tables.lights.shape[0], num_faces, 3, 3)
    is_lit = tables.lights.shape[1] > 1
    return GradTables(
        workspace.get("grad_vertices_clip", (num_views, num_vertices, 4)),
        workspace.get("grad_normals", tables.normals.shape),
        workspace.get("grad_corner_lights", corner_lights if is_lit else (1, 1, 1, 3)),
        workspace.get("grad_lights", tables.lights.shape),
        workspace.get("partials", (shares, columns)),
    )


@kernel
def place_scene(  # one launch for all stages, so all arrays are its arguments
    vertices: array(float, 3),  # (n, V, 3) world
    faces: array(int, 2),  # (F, 3)
    corner_starts: array(int, 1),  # (V + 1,)
    corners_of_vertex: array(int, 1),  # (3F,)
    albedo: array(float, 3),  # (A, N, C)
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see Layout
    first: int,  # view of the pass
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    matrices: array(float, 3),  # (Bc, 4, 4)
    normals: array(float, 3),  # (S, V + F, 3) world
    lights: array(float, 3),  # (S, V + F, 3)
    corners: array(float, 4),  # (b, F, 3, 4) x_clip, y_clip, depth, w_clip
    varyings: array(float, 4),  # (1 or b, F, 3, K)
    textures: array(float, 4),  # (1 or b, F, N, C)
):
    """Fills the tables and what a rasterizer reads, for the views of one pass."""
    scene = ti.static(
        SceneArrays(vertices, faces, corner_starts, corners_of_vertex, albedo, uniforms, layout)
    )
    views = ti.static(Views(first, ndc_from_clip_x, ndc_from_clip_y))
    tables = ti.static(Tables(matrices, normals, lights))
    placed = ti.static(Placed(corners, varyings, textures))
    compute_matrices(scene, views, tables)
    compute_corners(scene, views, tables, placed)
    compute_normals(scene, views, tables)
    compute_lights(scene, tables)
    compute_varyings(scene, views, tables, placed)
    compute_textures(scene, tables, placed)


@kernel
def place_scene_backward(  # as `place_scene`
    vertices: array(float, 3),  # (n, V, 3) world
    faces: array(int, 2),  # (F, 3)
    corner_starts: array(int, 1),  # (V + 1,)
    corners_of_vertex: array(int, 1),  # (3F,)
    albedo: array(float, 3),  # (A, N, C)
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see Layout
    first: int,  # view of the pass
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    is_first: int,  # whether gradients of the scene are written, not added to
    matrices: array(float, 3),  # (Bc, 4, 4) of the same pass, as the next two
    normals: array(float, 3),  # (S, V + F, 3) world
    lights: array(float, 3),  # (S, V + F, 3)
    grad_corners: array(float, 4),  # (b, F, 3, 4)
    grad_varyings: array(float, 4),  # (1 or b, F, 3, K)
    grad_textures: array(float, 4),  # (1 or b, F, N, C)
    grad_vertices_clip: array(float, 3),  # (b, V, 4) filled here, as the next four
    grad_normals: array(float, 3),  # (S, V + F, 3)
    grad_corner_lights: array(float, 4),  # (S, F, 3, 3)
    grad_lights: array(float, 3),  # (S, V + F, 3)
    partials: array(float, 2),  # (T, 16 min(Bc, b) + numbers of the lights)
    grad_vertices: array(float, 3),  # (n, V, 3)
    grad_albedo: array(float, 3),  # (A, N, C)
    grad_uniforms: array(float, 1),  # as `uniforms`
):
    """From what a rasterizer read to the scene, for the views of one pass; no sum is atomic."""
    scene = ti.static(
        SceneArrays(vertices, faces, corner_starts, corners_of_vertex, albedo, uniforms, layout)
    )
    views = ti.static(Views(first, ndc_from_clip_x, ndc_from_clip_y))
    tables = ti.static(Tables(matrices, normals, lights))
    grad_placed = ti.static(Placed(grad_corners, grad_varyings, grad_textures))
    grad_tables = ti.static(
        GradTables(grad_vertices_clip, grad_normals, grad_corner_lights, grad_lights, partials)
    )
    grad_scene = ti.static(SceneNumbers(grad_vertices, grad_albedo, grad_uniforms))
    compute_corners_vjp(scene, views, tables, is_first, grad_placed, grad_tables, grad_scene)
    pull_back_albedo(scene, tables, is_first, grad_placed, grad_albedo)
    pull_back_corner_lights(scene, tables, grad_placed, grad_tables)
    pull_back_attributes(scene, views, tables, grad_varyings, grad_tables, grad_vertices)
    compute_lights_vjp(scene, tables, grad_tables)
    compute_normals_vjp(scene, views, tables, grad_tables, grad_vertices)
    pull_back_matrices(scene, views, tables, grad_tables)
    pull_back_light_numbers(scene, tables, grad_tables)
    sum_partials(grad_tables)
    compute_matrices_vjp(scene, views, tables, is_first, grad_tables, grad_uniforms)
    store_light_numbers(scene, tables, is_first, grad_tables, grad_uniforms)


@kernel
def place_scene_tangent(  # as `place_scene`
    vertices: array(float, 3),  # (n, V, 3) world
    faces: array(int, 2),  # (F, 3)
    corner_starts: array(int, 1),  # (V + 1,)
    corners_of_vertex: array(int, 1),  # (3F,)
    albedo: array(float, 3),  # (A, N, C)
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see Layout
    first: int,  # view of the pass
    ndc_from_clip_x: float,  # W / min(H, W)
    ndc_from_clip_y: float,  # H / min(H, W)
    matrices: array(float, 3),  # (Bc, 4, 4) of the same pass, as the next two
    normals: array(float, 3),  # (S, V + F, 3) world
    lights: array(float, 3),  # (S, V + F, 3)
    tangent_vertices: array(float, 3),  # (n, V, 3)
    tangent_albedo: array(float, 3),  # (A, N, C)
    tangent_uniforms: array(float, 1),  # as `uniforms`
    tangent_matrices: array(float, 3),  # (Bc, 4, 4) filled here, as the next two
    tangent_normals: array(float, 3),  # (S, V + F, 3)
    tangent_lights: array(float, 3),  # (S, V + F, 3)
    slot: int,  # row of the next three
    tangent_corners: array(float, 5),  # (P, b, F, 3, 4)
    tangent_varyings: array(float, 5),  # (P, 1 or b, F, 3, K)
    tangent_textures: array(float, 5),  # (P, 1 or b, F, N, C)
):
    """How what a rasterizer reads moves with the scene: the derivative by one parameter."""
    scene = ti.static(
        SceneArrays(vertices, faces, corner_starts, corners_of_vertex, albedo, uniforms, layout)
    )
    views = ti.static(Views(first, ndc_from_clip_x, ndc_from_clip_y))
    tables = ti.static(Tables(matrices, normals, lights))
    moved_scene = ti.static(SceneNumbers(tangent_vertices, tangent_albedo, tangent_uniforms))
    moved_tables = ti.static(Tables(tangent_matrices, tangent_normals, tangent_lights))
    moved_placed = ti.static(Placed(tangent_corners, tangent_varyings, tangent_textures))
    compute_matrices_jvp(scene, views, tangent_uniforms, moved_tables)
    compute_corners_jvp(scene, views, tables, tangent_vertices, moved_tables, moved_placed, slot)
    compute_normals_jvp(scene, views, tangent_vertices, tangent_normals)
    compute_lights_jvp(scene, tables, tangent_uniforms, moved_tables)
    compute_varyings_jvp(scene, views, tables, moved_scene, moved_tables, moved_placed, slot)
    compute_textures_jvp(scene, tables, tangent_albedo, moved_tables, moved_placed, slot)
