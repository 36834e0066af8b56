"""What the placement of a scene goes through, for those who want to see it; nothing is drawn."""

from taichi_softras.geometry.cameras import projection_rows, view_rows
from taichi_softras.geometry.corners import project
from taichi_softras.geometry.lenses import bend_by
from taichi_softras.geometry.mesh_table import FIRST_VERTEX, NUM_VERTICES, load_number
from taichi_softras.geometry.scene_arrays import CAMERA_SIZE, SceneArrays, Views, load_vector
from taichi_softras.runtime import kernel, ti, vec3, vec4
from taichi_softras.workspace import array

SMALLEST_W = 1e-8  # of what is in front of the camera


@kernel
def compute_view_and_projection(
    uniforms: array(float, 1),  # cameras, see `geometry.scene_arrays`
    layout: array(int, 1),  # see Layout
    aspect: float,  # W / H of the image
    view_from_world: array(float, 3),  # (Bc, 4, 4)
    clip_from_view: array(float, 3),  # (Bc, 4, 4), row 2 is zero
):
    """Both matrices of cameras."""
    scene = ti.static(SceneArrays(None, None, None, None, None, uniforms, layout, None))
    views = ti.static(Views(0, aspect))
    for camera in range(view_from_world.shape[0]):
        x_view, y_view, z_view = view_rows(scene, CAMERA_SIZE * camera)
        to_x, to_y, to_w = projection_rows(scene, views, CAMERA_SIZE * camera)
        last = vec4(0.0, 0.0, 0.0, 1.0)
        for k in ti.static(range(4)):
            for row, values in ti.static(enumerate((x_view, y_view, z_view, last))):
                view_from_world[camera, row, k] = values[k]
            for row, values in ti.static(enumerate((to_x, to_y, vec4(0.0), to_w))):
                clip_from_view[camera, row, k] = values[k]


@kernel
def project_vertices(
    vertices: array(float, 3),  # (1 or B, V, 3) world
    layout: array(int, 1),  # see SceneArrays
    matrices: array(float, 3),  # (Bc, 4, 4), with lenses (Bc, 7, 4)
    is_distorted: ti.template(),
    vertices_ndc: array(float, 3),  # (B, most vertices of a mesh, 3) x_ndc, y_ndc, depth
):
    """All vertices in NDC; x = y = 0 at or behind the camera, 0 where the mesh has no more."""
    scene = ti.static(SceneArrays(vertices, None, None, None, None, None, layout, None))
    views = ti.static(Views(0, 1.0))
    for view, place in ti.ndrange(vertices_ndc.shape[0], vertices_ndc.shape[1]):
        camera = view % matrices.shape[0]
        first = load_number(scene, views, view, FIRST_VERTEX)
        is_there = place < load_number(scene, views, view, NUM_VERTICES)
        index = first + ti.select(is_there, place, 0)
        clip = project(matrices, camera, load_vector(vertices, view % vertices.shape[0], index))
        if ti.static(is_distorted):
            clip = bend_by(matrices, camera, clip)
        per_w = ti.select(clip.w > SMALLEST_W, 1.0 / clip.w, 0.0)
        in_ndc = vec3(clip.x * per_w, clip.y * per_w, clip.z)
        for k in ti.static(range(3)):
            vertices_ndc[view, place, k] = ti.select(is_there, in_ndc[k], 0.0)
