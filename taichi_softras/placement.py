"""Places a scene for a rasterizer: from gathered arrays to corners, attributes and textures.

    camera -> matrices -> corners;  vertices -> normals -> lights -> varyings, textures

What is done for one camera, vertex, face or texture entry stands in `geometry/` and `shading/`,
what the arrays hold in `geometry/scene_arrays.py`. Here are the loops: few, as each one wakes all
threads of a CPU, and only those that a scene needs (`Stages`). A kernel is one launch from Python.
"""

from taichi_softras.funcs.lights import KINDS
from taichi_softras.funcs.numeric import UNDRAWABLE, is_drawable
from taichi_softras.geometry.cameras import (
    compute_matrix,
    compute_matrix_jvp,
    compute_matrix_vjp,
)
from taichi_softras.geometry.corners import (
    clear_corners,
    compute_corners,
    compute_corners_jvp,
    compute_corners_vjp,
    load_grad_clip,
    sum_matrices,
    sum_matrix,
)
from taichi_softras.geometry.mesh_table import (
    FIRST_FACE,
    FIRST_VERTEX,
    NO_PLACE,
    MeshTable,
    count_owners,
    face_at,
    faces_of_share,
    load_number,
    vertices_of_share,
)
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    LIT_FACES,
    LIT_VERTICES,
    NOTHING,
    NUM_LIGHTS,
    GradTables,
    Placed,
    SceneArrays,
    SceneNumbers,
    Tables,
    Views,
    add_vector,
    coloring_of,
    count_tasks,
    face_row,
    frame_of,
    load_columns,
    load_light,
    num_columns,
    num_matrices,
    share_of,
    store_vector,
)
from taichi_softras.geometry.surface_normals import face_normal_vjp
from taichi_softras.runtime import is_cpu, kernel, task_block, ti, vec3, vec4
from taichi_softras.shading.illumination import compute_light_vjp, sum_light_of_group, sum_lights
from taichi_softras.shading.surfaces import (
    compute_face_surface,
    compute_face_surface_jvp,
    compute_face_surface_vjp,
    compute_vertex_surface,
    compute_vertex_surface_jvp,
    compute_vertex_surface_vjp,
)
from taichi_softras.shading.tints import (
    compute_texture,
    compute_texture_jvp,
    compute_texture_vjp,
    compute_varyings,
    compute_varyings_jvp,
    light_of_corner,
    zero_color,
)
from taichi_softras.workspace import Workspace, array

# Tasks of a sum over all vertices or faces, on a CPU or not: enough that threads end together
MOST_SHARES = {True: 64, False: 256}
SMALLEST_SHARE = {True: 64, False: 16}  # of vertices


def allocate_placement(
    workspace: Workspace, scene: SceneArrays, meshes: MeshTable, num_cameras: int, num_views: int
) -> tuple:
    """The `Tables` and `Placed` of a pass of b = `num_views`; what is not needed is tiny."""
    num_rows = scene.vertices.shape[1] + scene.faces.shape[0]
    num_faces, is_moving = meshes.face_places, scene.vertices.shape[0] > 1
    stages = scene.stages
    colorings = num_views if is_moving and stages.has_normals else 1
    columns = stages.position_column, stages.face_normal_column
    has_views = is_moving and (stages.has_normals or max(columns) >= 0)
    is_varied = has_views or stages.depth_column >= 0 or stages.varies_by_view or meshes.is_batch
    varied = num_views if is_varied else 1
    tables = Tables(
        workspace.get("matrices", (num_cameras, stages.num_rows, 4)),
        workspace.get("surfaces", (colorings, num_rows if stages.has_normals else 1, 6)),
    )
    varyings = (varied, num_faces, 3, stages.num_varyings)
    planes = num_views if meshes.is_batch else colorings if stages.lit != NOTHING else 1
    textures = (planes, num_faces, *scene.albedo.shape[1:])
    placed = Placed(
        workspace.get("corners", (num_views, num_faces, 3, 4)),
        workspace.get("varyings", varyings if stages.num_varyings else (1, 1, 1, 1)),
        workspace.get("textures", textures if stages.has_textures else (1, 1, 1, 1)),
    )
    return tables, placed


def allocate_grad_tables(
    workspace: Workspace, scene: SceneArrays, meshes: MeshTable, tables: Tables, placed: Placed
) -> GradTables:
    """What the adjoint of a pass works in."""
    num_views, num_vertices = placed.corners.shape[0], scene.vertices.shape[1]
    num_cameras, moves_cameras = tables.matrices.shape[0], scene.stages.moves_cameras
    shares = max(1, min(MOST_SHARES[is_cpu()], num_vertices // SMALLEST_SHARE[is_cpu()]))
    columns = scene.uniforms.shape[0] - CAMERA_SIZE * num_cameras
    if moves_cameras:
        columns += 4 * scene.stages.num_rows * min(num_cameras, num_views)
    return GradTables(
        workspace.get("grad_surfaces", tables.surfaces.shape),
        workspace.get(
            "grad_vertices_clip",
            (num_views, meshes.vertex_places, 4) if moves_cameras else (1, 1, 4),
        ),
        workspace.get("partials", (shares, max(columns, 1))),
    )


@kernel
def place_scene(  # one launch for all stages, so all arrays are its arguments
    vertices: array(float, 3),  # (n, V, 3) world
    faces: array(int, 2),  # (P, 3)
    corner_starts: array(int, 1),  # (V + 1,)
    corners_of_vertex: array(int, 1),  # (3P,)
    albedo: array(float, 3),  # (A, N, C)
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see SceneArrays
    stages: ti.template(),  # Stages
    first: int,  # view of the pass
    aspect: float,  # W / H
    matrices: array(float, 3),  # (Bc, 4, 4), with lenses (Bc, 7, 4)
    surfaces: array(float, 3),  # (S, V + P, 6) normal and light
    corners: array(float, 4),  # (b, F, 3, 4) x_clip, y_clip, depth, w_clip
    varyings: array(float, 4),  # (1 or b, F, 3, K)
    textures: array(float, 4),  # (1 or b, F, N, C)
):
    """Fills the tables and what a rasterizer reads, for the views of one pass."""
    scene = ti.static(
        SceneArrays(
            vertices, faces, corner_starts, corners_of_vertex, albedo, uniforms, layout, stages
        )
    )
    views = ti.static(Views(first, aspect))
    tables = ti.static(Tables(matrices, surfaces))
    placed = ti.static(Placed(corners, varyings, textures))
    if ti.static(is_cpu()):
        ti.loop_config(serialize=True)
    for camera in range(matrices.shape[0]):
        compute_matrix(scene, views, tables, camera)
    if ti.static(stages.has_vertex_normals):
        for i in range(surfaces.shape[0] * vertices.shape[1]):
            coloring = i // vertices.shape[1]
            vertex = i - coloring * vertices.shape[1]
            compute_vertex_surface(scene, views, tables, coloring, vertex)
    for i in range(corners.shape[0] * corners.shape[1]):
        view = i // corners.shape[1]
        place_face(scene, views, tables, placed, view, i - view * corners.shape[1])
    if ti.static(stages.has_textures):
        for i in range(textures.shape[0] * textures.shape[1] * textures.shape[2]):
            place = i // textures.shape[2]
            view, entry = place // textures.shape[1], i - place * textures.shape[2]
            place %= textures.shape[1]
            face = face_at(scene, views, view, place)
            if face != NO_PLACE:
                total = compute_texture(scene, tables, placed, view, place, face, entry)
                if not is_drawable(total):
                    corners[view, place, 0, 0] = UNDRAWABLE  # threads write the same


@ti.func
def place_face(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    placed: ti.template(),
    view: int,
    place: int,
):
    """One face in one view of the pass: its corners, its light, and what its corners have.

    What is not finite makes a corner undrawable: that is all that the host looks for.
    """
    face = face_at(scene, views, view, place)
    if face == NO_PLACE:
        clear_corners(placed, view, place)
    else:
        compute_corners(scene, views, tables, placed, view, place, face)
        num_varied = placed.varyings.shape[0]
        if ti.static(scene.stages.lit == LIT_FACES):
            if view < ti.max(count_owners(scene, tables, placed.corners.shape[0]), num_varied):
                compute_face_surface(scene, views, tables, view, face)
        if ti.static(scene.stages.num_placed > 0):
            if view < num_varied:
                total = compute_varyings(scene, views, tables, placed, view, place, face)
                if not is_drawable(total):
                    placed.corners[view, place, 0, 0] = UNDRAWABLE


@kernel
def place_scene_backward(  # as `place_scene`
    vertices: array(float, 3),  # (n, V, 3) world
    faces: array(int, 2),  # (P, 3)
    corner_starts: array(int, 1),  # (V + 1,)
    corners_of_vertex: array(int, 1),  # (3P,)
    albedo: array(float, 3),  # (A, N, C)
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see SceneArrays
    stages: ti.template(),  # Stages
    first: int,  # view of the pass
    aspect: float,  # W / H
    is_first: int,  # whether gradients of the scene are written, not added to
    matrices: array(float, 3),  # (Bc, 4, 4) of the same pass, as the next
    surfaces: array(float, 3),  # (S, V + P, 6) normal and light
    grad_corners: array(float, 4),  # (b, F, 3, 4)
    grad_varyings: array(float, 4),  # (1 or b, F, 3, K)
    grad_textures: array(float, 4),  # (1 or b, F, N, C)
    grad_surfaces: array(float, 3),  # (S, V + P, 6) filled here, as the next two
    grad_vertices_clip: array(float, 3),  # (b, most vertices of a mesh, 4)
    partials: array(float, 2),  # (T, 16 min(Bc, b) + numbers of the lights)
    grad_vertices: array(float, 3),  # (n, V, 3)
    grad_albedo: array(float, 3),  # (A, N, C)
    grad_uniforms: array(float, 1),  # as `uniforms`
):
    """From what a rasterizer read to the scene, for the views of one pass; no sum is atomic.

    Gradients of cameras that have none (`Stages.moves_cameras`) are left as they are.
    """
    scene = ti.static(
        SceneArrays(
            vertices, faces, corner_starts, corners_of_vertex, albedo, uniforms, layout, stages
        )
    )
    views = ti.static(Views(first, aspect))
    tables = ti.static(Tables(matrices, surfaces))
    grad_placed = ti.static(Placed(grad_corners, grad_varyings, grad_textures))
    grad_tables = ti.static(GradTables(grad_surfaces, grad_vertices_clip, partials))
    grad_scene = ti.static(SceneNumbers(grad_vertices, grad_albedo, grad_uniforms))
    block = ti.static(task_block())
    if ti.static(stages.has_vertex_normals):
        for i in range(count_tasks(grad_tables, vertices.shape[1]) * block):
            if i % block == 0:
                pull_back_vertex_surfaces(
                    scene, views, tables, grad_placed, grad_tables, i // block
                )
    if ti.static(stages.has_normals):
        for i in range(count_tasks(grad_tables, faces.shape[0]) * block):
            if i % block == 0:
                pull_back_face_surfaces(scene, views, tables, grad_placed, grad_tables, i // block)
    for i in range(count_tasks(grad_tables, vertices.shape[1]) * block):
        if i % block == 0:
            task = i // block
            pull_back_vertices(
                scene, views, tables, is_first, grad_placed, grad_tables, grad_scene, task
            )
    if ti.static(stages.has_textures):
        for i in range(albedo.shape[0] * albedo.shape[1]):
            face = i // albedo.shape[1]
            entry = i - face * albedo.shape[1]
            compute_texture_vjp(
                scene, views, tables, is_first, grad_placed, grad_albedo, face, entry
            )
    if ti.static(stages.moves_cameras or stages.lit != NOTHING):
        if ti.static(not is_cpu()):
            sum_uniforms(scene, views, tables, grad_placed, grad_tables)
        store_uniforms(scene, views, tables, is_first, grad_tables, grad_uniforms)


@ti.func
def pull_back_vertex_surfaces(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    task: int,
):
    """From what corners show to some vertices' normals and lights."""
    num_vertices = scene.vertices.shape[1]
    start, end = share_of(num_vertices, count_tasks(grad_tables, num_vertices), task)
    for view in range(count_owners(scene, tables, grad_placed.corners.shape[0])):
        own_start, own_end = vertices_of_share(scene, views, view, start, end)
        for vertex in range(own_start, own_end):
            compute_vertex_surface_vjp(scene, views, tables, grad_placed, grad_tables, view, vertex)
    if ti.static(is_cpu() and scene.stages.lit == LIT_VERTICES):
        column = num_columns(scene, tables, grad_tables)
        sum_lights(scene, views, tables, grad_placed, grad_tables, task, column)


@ti.func
def pull_back_face_surfaces(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    task: int,
):
    """From what corners and textures show to some faces' normals and lights."""
    num_faces = scene.faces.shape[0]
    start, end = share_of(num_faces, count_tasks(grad_tables, num_faces), task)
    for view in range(count_owners(scene, tables, grad_placed.corners.shape[0])):
        own_start, own_end = faces_of_share(scene, views, view, start, end)
        for face in range(own_start, own_end):
            compute_face_surface_vjp(scene, views, tables, grad_placed, grad_tables, view, face)
    if ti.static(is_cpu() and scene.stages.lit == LIT_FACES):
        column = num_columns(scene, tables, grad_tables)
        sum_lights(scene, views, tables, grad_placed, grad_tables, task, column)


@ti.func
def pull_back_vertices(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    is_first: int,
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    grad_scene: ti.template(),
    task: int,
):
    """From all that is around some vertices to them and their colours.

    The first pass writes, the others add.
    """
    num_vertices = scene.vertices.shape[1]
    start, end = share_of(num_vertices, count_tasks(grad_tables, num_vertices), task)
    if is_first:
        clear_vertices(scene, grad_scene, start, end)
    for view in range(grad_placed.corners.shape[0]):
        own_start, own_end = vertices_of_share(scene, views, view, start, end)
        for vertex in range(own_start, own_end):
            pull_back_vertex(
                scene, views, tables, grad_placed, grad_tables, grad_scene, view, vertex
            )
    if ti.static(is_cpu() and scene.stages.moves_cameras):
        sum_matrices(scene, views, tables, grad_tables, task)


@ti.func
def clear_vertices(scene: ti.template(), grad_scene: ti.template(), start: int, end: int):
    """Sets the gradients of some vertices, and of their colours, to zero."""
    for frame in range(scene.vertices.shape[0]):
        for vertex in range(start, end):
            store_vector(grad_scene.vertices, frame, vertex, vec3(0.0))
    if ti.static(scene.stages.has_vertex_colors):
        for vertex in range(start, end):
            for c in ti.static(range(scene.stages.channels)):
                grad_scene.albedo[vertex, 0, c] = 0.0


@ti.func
def pull_back_vertex(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
    grad_scene: ti.template(),
    view: int,
    vertex: int,
):
    """From the corners at a vertex, in one view of the pass; adds."""
    frame, coloring = frame_of(scene, views, view), coloring_of(tables, view)
    first = load_number(scene, views, view, FIRST_FACE)
    has_surface = view < count_owners(scene, tables, grad_placed.corners.shape[0])
    has_varyings = view < grad_placed.varyings.shape[0]
    grad_clip, grad, grad_color = vec4(0.0), vec3(0.0), zero_color(scene)
    for slot in range(scene.corner_starts[vertex], scene.corner_starts[vertex + 1]):
        face = scene.corners_of_vertex[slot] // 3
        corner = scene.corners_of_vertex[slot] - 3 * face
        grad_clip += load_grad_clip(scene, grad_placed, view, face - first, corner)
        if ti.static(scene.stages.has_normals):
            if has_surface:
                grad += face_normal_vjp(scene, grad_tables.surfaces, coloring, frame, face, corner)
        if ti.static(scene.stages.lights_have_places and scene.stages.lit == LIT_FACES):
            if has_surface:
                row = face_row(scene, face)
                grad += pull_back_place(scene, views, tables, grad_tables, coloring, row) / 3.0
        if ti.static(scene.stages.position_column >= 0):
            if has_varyings:
                column = ti.static(scene.stages.position_column)
                grad += load_columns(grad_placed.varyings, view, face - first, corner, column)
        if ti.static(scene.stages.has_vertex_colors):
            if has_varyings:
                light = light_of_corner(scene, tables.surfaces, 1.0, coloring, face, vertex)
                for c in ti.static(range(scene.stages.channels)):
                    varying = grad_placed.varyings[view, face - first, corner, c]
                    grad_color[c] += light[c] * varying
    if ti.static(scene.stages.lights_have_places and scene.stages.lit == LIT_VERTICES):
        if has_surface:
            grad += pull_back_place(scene, views, tables, grad_tables, coloring, vertex)
    grad += compute_corners_vjp(scene, views, tables, view, vertex, grad_clip)
    add_vector(grad_scene.vertices, frame, vertex, grad)
    if ti.static(scene.stages.moves_cameras):
        place = vertex - load_number(scene, views, view, FIRST_VERTEX)
        for k in ti.static(range(4)):
            grad_tables.vertices_clip[view, place, k] = grad_clip[k]
    if ti.static(scene.stages.has_vertex_colors):
        if has_varyings:
            for c in ti.static(range(scene.stages.channels)):
                grad_scene.albedo[vertex, 0, c] = grad_scene.albedo[vertex, 0, c] + grad_color[c]


@ti.func
def pull_back_place(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_tables: ti.template(),
    coloring: int,
    row: int,
) -> vec3:
    """The gradient at where a surface is, of its light."""
    grad_light = load_light(grad_tables.surfaces, coloring, row)
    return compute_light_vjp(scene, views, tables, coloring, row, grad_light).point


@ti.func
def sum_uniforms(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    grad_placed: ti.template(),
    grad_tables: ti.template(),
):
    """A GPU's task sums one share of the gradient of a matrix or of a light."""
    num_shares = grad_tables.partials.shape[0]
    num_groups = num_matrices(scene, tables, grad_tables)
    for kind in ti.static(KINDS):
        if ti.static(scene.stages.lit != NOTHING and scene.stages.lights.counts[kind] > 0):
            num_groups += scene.layout[NUM_LIGHTS + kind]
    for i in range(num_groups * num_shares):
        group, num_drawn = i // num_shares, num_matrices(scene, tables, grad_tables)
        share = i - group * num_shares
        if group < num_drawn:
            if ti.static(scene.stages.moves_cameras):
                sum_matrix(scene, views, tables, grad_tables, share, group, num_drawn)
        else:
            if ti.static(scene.stages.lit != NOTHING):
                light, column = group - num_drawn, num_columns(scene, tables, grad_tables)
                sum_light_of_group(
                    scene, views, tables, grad_placed, grad_tables, share, light, column
                )


@ti.func
def store_uniforms(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    is_first: int,
    grad_tables: ti.template(),
    grad_uniforms: ti.template(),
):
    """From sums of shares to the numbers of cameras and lights; the first pass writes."""
    if ti.static(is_cpu()):
        ti.loop_config(serialize=True)
    for column in range(grad_tables.partials.shape[1]):
        sum_shares(grad_tables.partials, column)
    num_cameras = tables.matrices.shape[0]
    if ti.static(scene.stages.moves_cameras):
        if ti.static(is_cpu()):
            ti.loop_config(serialize=True)
        for camera in range(num_cameras):
            start = CAMERA_SIZE * camera
            if is_first:
                for k in range(CAMERA_SIZE):
                    grad_uniforms[start + k] = 0.0
            drawn = (camera + num_cameras - views.first % num_cameras) % num_cameras
            if drawn < num_matrices(scene, tables, grad_tables):
                sums = ti.static(grad_tables.partials)
                column = 4 * scene.stages.num_rows * drawn
                compute_matrix_vjp(scene, views, sums, column, start, grad_uniforms)
    if ti.static(scene.stages.lit != NOTHING):
        if ti.static(is_cpu()):
            ti.loop_config(serialize=True)
        for number in range(scene.uniforms.shape[0] - CAMERA_SIZE * num_cameras):
            at = CAMERA_SIZE * num_cameras + number
            column = num_columns(scene, tables, grad_tables) + number
            before = ti.select(is_first, 0.0, grad_uniforms[at])
            grad_uniforms[at] = before + grad_tables.partials[0, column]


@ti.func
def sum_shares(partials: ti.template(), column: int):
    """Sums the shares of one column into row 0."""
    total = 0.0
    for share in range(partials.shape[0]):
        total += partials[share, column]
    partials[0, column] = total


@kernel
def place_scene_tangent(  # as `place_scene`
    vertices: array(float, 3),  # (n, V, 3) world
    faces: array(int, 2),  # (P, 3)
    corner_starts: array(int, 1),  # (V + 1,)
    corners_of_vertex: array(int, 1),  # (3P,)
    albedo: array(float, 3),  # (A, N, C)
    uniforms: array(float, 1),  # cameras, then lights
    layout: array(int, 1),  # see SceneArrays
    stages: ti.template(),  # Stages
    first: int,  # view of the pass
    aspect: float,  # W / H
    matrices: array(float, 3),  # (Bc, 4, 4) of the same pass, as the next
    surfaces: array(float, 3),  # (S, V + P, 6) normal and light
    tangent_vertices: array(float, 3),  # (n, V, 3)
    tangent_albedo: array(float, 3),  # (A, N, C)
    tangent_uniforms: array(float, 1),  # as `uniforms`
    tangent_matrices: array(float, 3),  # (Bc, 4, 4) filled here, as the next
    tangent_surfaces: array(float, 3),  # (S, V + P, 6)
    parameter: int,  # row of the next three
    tangent_corners: array(float, 5),  # (P, b, F, 3, 4)
    tangent_varyings: array(float, 5),  # (P, 1 or b, F, 3, K)
    tangent_textures: array(float, 5),  # (P, 1 or b, F, N, C)
):
    """How what a rasterizer reads moves with the scene: the derivative by one parameter."""
    scene = ti.static(
        SceneArrays(
            vertices, faces, corner_starts, corners_of_vertex, albedo, uniforms, layout, stages
        )
    )
    views = ti.static(Views(first, aspect))
    tables = ti.static(Tables(matrices, surfaces))
    moved_scene = ti.static(SceneNumbers(tangent_vertices, tangent_albedo, tangent_uniforms))
    moved_tables = ti.static(Tables(tangent_matrices, tangent_surfaces))
    moved_placed = ti.static(Placed(tangent_corners, tangent_varyings, tangent_textures))
    if ti.static(is_cpu()):
        ti.loop_config(serialize=True)
    for camera in range(matrices.shape[0]):
        compute_matrix_jvp(scene, views, tangent_uniforms, moved_tables, camera)
    if ti.static(stages.has_vertex_normals):
        for i in range(surfaces.shape[0] * vertices.shape[1]):
            coloring = i // vertices.shape[1]
            vertex = i - coloring * vertices.shape[1]
            compute_vertex_surface_jvp(
                scene, views, tables, moved_scene, moved_tables, coloring, vertex
            )
    for i in range(tangent_corners.shape[1] * tangent_corners.shape[2]):
        view = i // tangent_corners.shape[2]
        place = i - view * tangent_corners.shape[2]
        face = face_at(scene, views, view, place)
        if face != NO_PLACE:
            move_face(
                scene,
                views,
                tables,
                moved_scene,
                moved_tables,
                moved_placed,
                parameter,
                view,
                place,
                face,
            )
    if ti.static(stages.has_textures):
        num_places, num_entries = tangent_textures.shape[2], tangent_textures.shape[3]
        for i in range(tangent_textures.shape[1] * num_places * num_entries):
            row = i // num_entries
            view, place = row // num_places, row % num_places
            face = face_at(scene, views, view, place)
            if face != NO_PLACE:
                compute_texture_jvp(
                    scene,
                    tables,
                    tangent_albedo,
                    moved_tables,
                    moved_placed,
                    parameter,
                    view,
                    place,
                    face,
                    i - row * num_entries,
                )


@ti.func
def move_face(
    scene: ti.template(),
    views: ti.template(),
    tables: ti.template(),
    tangent_scene: ti.template(),
    tangent_tables: ti.template(),
    tangent_placed: ti.template(),
    parameter: int,
    view: int,
    place: int,
    face: int,
):
    """The tangent of `place_face`, of a place with a face."""
    compute_corners_jvp(
        scene,
        views,
        tables,
        tangent_scene.vertices,
        tangent_tables,
        tangent_placed,
        parameter,
        view,
        place,
        face,
    )
    num_varied = tangent_placed.varyings.shape[1]
    if ti.static(scene.stages.lit == LIT_FACES):
        if view < ti.max(count_owners(scene, tables, tangent_placed.corners.shape[1]), num_varied):
            compute_face_surface_jvp(
                scene, views, tables, tangent_scene, tangent_tables, view, face
            )
    if ti.static(scene.stages.num_placed > 0):
        if view < num_varied:
            compute_varyings_jvp(
                scene,
                views,
                tables,
                tangent_scene,
                tangent_tables,
                tangent_placed,
                parameter,
                view,
                place,
                face,
            )
