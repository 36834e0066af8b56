"""Places a scene for a rasterizer: from gathered arrays to corners, attributes and textures.

    camera -> matrices -> corners;  vertices -> normals -> lights -> varyings, textures

Each stage is a ti.func with loops of its own; a kernel that calls them in turn is one launch from
Python. The stages are in `geometry/` and `shading/`, what the arrays hold in
`geometry/scene_arrays.py`.
"""

import taichi as ti

from taichi_softras.geometry.cameras import compute_matrices
from taichi_softras.geometry.corners import compute_corners
from taichi_softras.geometry.scene_arrays import Placed, SceneArrays, Tables, Views
from taichi_softras.geometry.surface_normals import compute_normals
from taichi_softras.workspace import array
from taichi_softras.shading.illumination import compute_lights
from taichi_softras.shading.tints import compute_textures, compute_varyings


@ti.kernel
def place_scene(
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
