"""Numbers of cameras in, matrices from world to clip space out; adjoint and tangent.

View space is OpenGL's: x right, y up, the camera looks along -z; depth = -z_view. A matrix is
composed of rows: those of view_from_world, whose last one is taken to be 0, 0, 0, 1, and those
of clip_from_view, whose third one is not read. Rows are written out: `@` of 4 x 4 matrices takes
Taichi five times as long to compile.
"""

from taichi_softras.funcs.numeric import LARGEST, UNDRAWABLE, is_drawable
from taichi_softras.funcs.pose import (
    focal_length,
    focal_length_vjp,
    look_at,
    look_at_jvp,
    look_at_vjp,
    parallel_scale,
    parallel_scale_vjp,
)
from taichi_softras.funcs.rotation_vectors import (
    quaternion_spin,
    quaternion_spin_vjp,
    spin_rows,
    spin_rows_vjp,
    turn,
    unit_quaternion,
    vector_spin,
    vector_spin_vjp,
)
from taichi_softras.funcs.vectors import (
    SMALLEST_SQUARED_LENGTH,
    add_vec3,
    add_vec4,
    load_vec3,
    load_vec4,
)
from taichi_softras.geometry.lenses import store_lens, store_lens_jvp, store_lens_vjp
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    INTRINSICS,
    LOOK_AT,
    PARALLEL,
    PERSPECTIVE,
    POSE,
    POSE_MATRIX,
    PROJECTION,
    PROJECTION_MATRIX,
    PROJECTION_START,
    QUATERNION,
    ROTATION_VECTOR,
    TRANSLATION_START,
)
from taichi_softras.runtime import ti, vec3, vec4

SMALLEST_EXTENT = 1e-18  # degrees or world units: the square of less is 0 in single precision


@ti.func
def compute_matrix(scene: ti.template(), views: ti.template(), tables: ti.template(), camera: int):
    """Fills the rows of one camera in `tables.matrices`.

    Faces are not drawable by a camera that is none, nor in light that is not finite.
    """
    x_view, y_view, z_view = view_rows(scene, CAMERA_SIZE * camera)
    to_x, to_y, to_w = projection_rows(scene, views, CAMERA_SIZE * camera)
    x_row = ndc_from_clip_x(views) * compose(to_x, x_view, y_view, z_view)
    y_row = ndc_from_clip_y(views) * compose(to_y, x_view, y_view, z_view)
    w_row = compose(to_w, x_view, y_view, z_view)
    if not (is_possible(scene, CAMERA_SIZE * camera) and are_lights_finite(scene, tables)):
        x_row = vec4(0.0, 0.0, 0.0, UNDRAWABLE)
    store_matrix(tables.matrices, camera, x_row, y_row, -z_view, w_row)
    if ti.static(scene.stages.is_distorted):
        window = window_of(views, to_x, to_y)
        store_lens(scene.uniforms, tables.matrices, camera, CAMERA_SIZE * camera, window)


@ti.func
def are_lights_finite(scene: ti.template(), tables: ti.template()) -> int:
    """Whether all numbers of the lights are; not all of them would show where they are not."""
    total = 0.0
    start = CAMERA_SIZE * tables.matrices.shape[0]
    for k in range(scene.uniforms.shape[0] - start):
        total += ti.abs(scene.uniforms[start + k])
    return is_drawable(total)


@ti.func
def is_possible(scene: ti.template(), start: int) -> int:
    """Whether numbers are a camera's: kernels of users may have written any."""
    result = 1
    if scene.layout[POSE] == LOOK_AT:
        eye, target = load_vec3(scene.uniforms, start), load_vec3(scene.uniforms, start + 3)
        up = load_vec3(scene.uniforms, start + 6)
        shorter = ti.min((target - eye).norm_sqr(), up.norm_sqr())
        result = shorter > SMALLEST_SQUARED_LENGTH
    elif scene.layout[POSE] == QUATERNION:
        result = load_vec4(scene.uniforms, start).norm_sqr() > SMALLEST_SQUARED_LENGTH
    extent = scene.uniforms[start + PROJECTION_START]
    if scene.layout[PROJECTION] == PERSPECTIVE:
        result &= (extent > SMALLEST_EXTENT) & (extent < 180.0)
    elif scene.layout[PROJECTION] == PARALLEL:
        result &= (extent > SMALLEST_EXTENT) & (extent < LARGEST)
    elif scene.layout[PROJECTION] == INTRINSICS:
        shorter = ti.min(extent, scene.uniforms[start + PROJECTION_START + 1])
        result &= (shorter > SMALLEST_EXTENT) & (extent < LARGEST)
    return result


@ti.func
def compute_matrix_vjp(
    scene: ti.template(),
    views: ti.template(),
    sums: ti.template(),  # (T, columns): row 0 has the gradients of matrices
    column: int,  # of this matrix
    start: int,  # of the camera's numbers
    grad_uniforms: ti.template(),
):
    """From one camera's matrix to its numbers; adds."""
    grad_x = ndc_from_clip_x(views) * load_sums(sums, column)
    grad_y = ndc_from_clip_y(views) * load_sums(sums, column + 4)
    grad_depth = load_sums(sums, column + 8)
    grad_w = load_sums(sums, column + 12)
    x_view, y_view, z_view = view_rows(scene, start)
    to_x, to_y, to_w = projection_rows(scene, views, start)
    grad_to_x = compose_vjp(grad_x, x_view, y_view, z_view)
    grad_to_y = compose_vjp(grad_y, x_view, y_view, z_view)
    grad_to_w = compose_vjp(grad_w, x_view, y_view, z_view)
    if ti.static(scene.stages.is_distorted):
        of_x, of_y = window_of_vjp(views, load_sums(sums, column + 16))
        grad_to_x += of_x
        grad_to_y += of_y
        of_radial, of_tangential = load_sums(sums, column + 20), load_sums(sums, column + 24)
        store_lens_vjp(scene.uniforms, start, of_radial, of_tangential, grad_uniforms)
    first = start + PROJECTION_START
    pull_back_projection(scene, views, first, grad_to_x, grad_to_y, grad_to_w, grad_uniforms)
    grad_x_view = to_x.x * grad_x + to_y.x * grad_y + to_w.x * grad_w
    grad_y_view = to_x.y * grad_x + to_y.y * grad_y + to_w.y * grad_w
    grad_z_view = to_x.z * grad_x + to_y.z * grad_y + to_w.z * grad_w - grad_depth
    pull_back_view_rows(
        scene, start, x_view, y_view, z_view, grad_x_view, grad_y_view, grad_z_view, grad_uniforms
    )


@ti.func
def pull_back_view_rows(
    scene: ti.template(),
    start: int,
    x_view: vec4,
    y_view: vec4,
    z_view: vec4,
    grad_x_view: vec4,
    grad_y_view: vec4,
    grad_z_view: vec4,
    grad_uniforms: ti.template(),
):
    """The adjoint of `view_rows`, whose results come first; adds to the numbers of a pose."""
    if scene.layout[POSE] == LOOK_AT:
        eye = load_vec3(scene.uniforms, start)
        moved = grad_x_view.w * x_view + grad_y_view.w * y_view + grad_z_view.w * z_view
        add_vec3(grad_uniforms, start, -moved.xyz)
        pull_back_axes(
            scene,
            start,
            grad_x_view.xyz - grad_x_view.w * eye,
            grad_y_view.xyz - grad_y_view.w * eye,
            grad_z_view.w * eye - grad_z_view.xyz,
            grad_uniforms,
        )
    else:
        first, second, third = grad_x_view, grad_y_view, grad_z_view
        if scene.layout[POSE] != POSE_MATRIX:
            numbers = load_vec4(scene.uniforms, start)
            grad_spin = spin_rows_vjp(
                x_view.xyz, y_view.xyz, z_view.xyz, first.xyz, second.xyz, third.xyz
            )
            second = vec4(first.w, second.w, third.w, 0.0)  # of the translation
            first = quaternion_spin_vjp(numbers, grad_spin)
            if scene.layout[POSE] == ROTATION_VECTOR:
                first = vec4(vector_spin_vjp(numbers.xyz, grad_spin), 0.0)
            third = vec4(0.0)
        add_vec4(grad_uniforms, start, first)
        add_vec4(grad_uniforms, start + TRANSLATION_START, second)
        add_vec4(grad_uniforms, start + 8, third)


@ti.func
def compute_matrix_jvp(
    scene: ti.template(),
    views: ti.template(),
    tangent_uniforms: ti.template(),
    tangent_tables: ti.template(),
    camera: int,
):
    """Fills the tangent of one camera's matrix."""
    start = CAMERA_SIZE * camera
    x_view, y_view, z_view, x_moved, y_moved, z_moved = view_rows_jvp(
        scene, tangent_uniforms, start
    )
    to_x, to_y, to_w = projection_rows(scene, views, start)
    to_x_moved, to_y_moved, to_w_moved = projection_rows_jvp(scene, views, tangent_uniforms, start)
    x_row = compose(to_x_moved, x_view, y_view, z_view)
    x_row += compose(vec4(to_x.xyz, 0.0), x_moved, y_moved, z_moved)
    y_row = compose(to_y_moved, x_view, y_view, z_view)
    y_row += compose(vec4(to_y.xyz, 0.0), x_moved, y_moved, z_moved)
    w_row = compose(to_w_moved, x_view, y_view, z_view)
    w_row += compose(vec4(to_w.xyz, 0.0), x_moved, y_moved, z_moved)
    x_row *= ndc_from_clip_x(views)
    y_row *= ndc_from_clip_y(views)
    store_matrix(tangent_tables.matrices, camera, x_row, y_row, -z_moved, w_row)
    if ti.static(scene.stages.is_distorted):
        store_lens_jvp(
            scene.uniforms,
            tangent_uniforms,
            tangent_tables.matrices,
            camera,
            start,
            window_of(views, to_x_moved, to_y_moved),
        )


@ti.func
def window_of(views: ti.template(), to_x: vec4, to_y: vec4) -> vec4:
    """Scale and offset of intrinsics, see `funcs.distortion`; of tangents their tangent."""
    x, y = ndc_from_clip_x(views), ndc_from_clip_y(views)
    return vec4(x * to_x.x, -y * to_y.y, -x * to_x.z, -y * to_y.z)


@ti.func
def window_of_vjp(views: ti.template(), grad: vec4):
    """The gradients with respect to both rows."""
    x, y = ndc_from_clip_x(views), ndc_from_clip_y(views)
    return vec4(x * grad.x, 0.0, -x * grad.z, 0.0), vec4(0.0, -y * grad.y, -y * grad.w, 0.0)


@ti.func
def ndc_from_clip_x(views: ti.template()) -> float:
    """W / min(H, W): in NDC the shorter side of an image spans [-1, 1], in clip space both."""
    return ti.max(views.aspect, 1.0)


@ti.func
def ndc_from_clip_y(views: ti.template()) -> float:
    """H / min(H, W)."""
    return ti.max(1.0 / views.aspect, 1.0)


@ti.func
def pull_back_projection(
    scene: ti.template(),
    views: ti.template(),
    start: int,
    grad_to_x: vec4,
    grad_to_y: vec4,
    grad_to_w: vec4,
    grad_uniforms: ti.template(),
):
    """From rows of clip_from_view to the numbers of a projection, which begin at `start`."""
    is_measured = scene.layout[PROJECTION] == INTRINSICS
    if is_measured | (scene.layout[PROJECTION] == PROJECTION_MATRIX):
        first, second, last = grad_to_x, grad_to_y, grad_to_w
        if is_measured:
            x, y = 2.0 / scene.uniforms[start + 4], 2.0 / scene.uniforms[start + 5]
            first = vec4(x * first.x, y * second.y, -x * first.z, y * second.z)
            second, last = vec4(0.0), vec4(0.0)
        add_vec4(grad_uniforms, start, first)
        add_vec4(grad_uniforms, start + 4, second)
        add_vec4(grad_uniforms, start + 12, last)
    else:
        grad_scale = grad_to_x.x / views.aspect + grad_to_y.y
        number, grad = scene.uniforms[start], 0.0
        if scene.layout[PROJECTION] == PERSPECTIVE:
            grad = focal_length_vjp(number, grad_scale)
        else:
            grad = parallel_scale_vjp(number, grad_scale)
        grad_uniforms[start] = grad_uniforms[start] + grad


@ti.func
def pull_back_axes(
    scene: ti.template(),
    start: int,
    grad_right: vec3,
    grad_above: vec3,
    grad_forward: vec3,
    grad_uniforms: ti.template(),
):
    """From the axes of a camera to the numbers of its pose, which begin at `start`."""
    eye, target, up, pole_right = load_pose(scene.uniforms, start)
    grad = look_at_vjp(eye, target, up, pole_right, grad_right, grad_above, grad_forward)
    add_vec3(grad_uniforms, start, grad.eye)
    add_vec3(grad_uniforms, start + 3, grad.target)
    add_vec3(grad_uniforms, start + 6, grad.up)


@ti.func
def view_rows(scene: ti.template(), start: int):
    """The rows x, y, z of view_from_world; `start` is where the camera's numbers begin."""
    x_row = load_vec4(scene.uniforms, start)
    y_row = load_vec4(scene.uniforms, start + 4)
    z_row = load_vec4(scene.uniforms, start + 8)
    if scene.layout[POSE] == LOOK_AT:
        eye, target, up, pole_right = load_pose(scene.uniforms, start)
        right, above, forward = look_at(eye, target, up, pole_right)
        x_row = vec4(right, -right.dot(eye))
        y_row = vec4(above, -above.dot(eye))
        z_row = vec4(-forward, forward.dot(eye))
    elif scene.layout[POSE] != POSE_MATRIX:
        x_axis, y_axis, z_axis = turn(load_quaternion(scene, start))
        translation = load_vec3(scene.uniforms, start + TRANSLATION_START)
        x_row = vec4(x_axis, translation.x)
        y_row = vec4(y_axis, translation.y)
        z_row = vec4(z_axis, translation.z)
    return x_row, y_row, z_row


@ti.func
def view_rows_jvp(scene: ti.template(), tangent_uniforms: ti.template(), start: int):
    """The rows x, y, z of view_from_world, and their tangents."""
    x_row, x_moved = load_vec4(scene.uniforms, start), load_vec4(tangent_uniforms, start)
    y_row, y_moved = load_vec4(scene.uniforms, start + 4), load_vec4(tangent_uniforms, start + 4)
    z_row, z_moved = load_vec4(scene.uniforms, start + 8), load_vec4(tangent_uniforms, start + 8)
    if scene.layout[POSE] == LOOK_AT:
        eye, target, up, pole_right = load_pose(scene.uniforms, start)
        right, above, forward = look_at(eye, target, up, pole_right)
        moved_eye = load_vec3(tangent_uniforms, start)
        moved_target = load_vec3(tangent_uniforms, start + 3)
        moved_up = load_vec3(tangent_uniforms, start + 6)
        moved_right, moved_above, moved_forward = look_at_jvp(
            eye, target, up, pole_right, moved_eye, moved_target, moved_up
        )
        x_row = vec4(right, -right.dot(eye))
        y_row = vec4(above, -above.dot(eye))
        z_row = vec4(-forward, forward.dot(eye))
        x_moved = vec4(moved_right, -moved_right.dot(eye) - right.dot(moved_eye))
        y_moved = vec4(moved_above, -moved_above.dot(eye) - above.dot(moved_eye))
        z_moved = vec4(-moved_forward, moved_forward.dot(eye) + forward.dot(moved_eye))
    elif scene.layout[POSE] != POSE_MATRIX:
        moved = load_vec4(tangent_uniforms, start)
        spin = quaternion_spin(x_row, moved)  # the numbers of the pose are those of a matrix, too
        if scene.layout[POSE] == ROTATION_VECTOR:
            spin = vector_spin(x_row.xyz, moved.xyz)
        x_axis, y_axis, z_axis = turn(load_quaternion(scene, start))
        translation = load_vec3(scene.uniforms, start + TRANSLATION_START)
        x_row = vec4(x_axis, translation.x)
        y_row = vec4(y_axis, translation.y)
        z_row = vec4(z_axis, translation.z)
        x_axis, y_axis, z_axis = spin_rows(x_axis, y_axis, z_axis, spin)
        translation = load_vec3(tangent_uniforms, start + TRANSLATION_START)
        x_moved = vec4(x_axis, translation.x)
        y_moved = vec4(y_axis, translation.y)
        z_moved = vec4(z_axis, translation.z)
    return x_row, y_row, z_row, x_moved, y_moved, z_moved


@ti.func
def load_quaternion(scene: ti.template(), start: int) -> vec4:
    """Of a pose that is a quaternion or a rotation vector."""
    quaternion = load_vec4(scene.uniforms, start)
    if scene.layout[POSE] == ROTATION_VECTOR:
        quaternion = unit_quaternion(quaternion.xyz)
    return quaternion


@ti.func
def load_pose(uniforms: ti.template(), start: int):
    """Eye, target, up and pole_right of a camera that is placed by `look_at`."""
    eye, target = load_vec3(uniforms, start), load_vec3(uniforms, start + 3)
    return eye, target, load_vec3(uniforms, start + 6), load_vec3(uniforms, start + 9)


@ti.func
def projection_rows(scene: ti.template(), views: ti.template(), start: int):
    """The rows x, y, w of clip_from_view."""
    first = start + PROJECTION_START
    to_x = load_vec4(scene.uniforms, first)
    to_y = load_vec4(scene.uniforms, first + 4)
    to_w = load_vec4(scene.uniforms, first + 12)
    number = scene.uniforms[first]
    if scene.layout[PROJECTION] == PERSPECTIVE:
        scale = focal_length(number)
        to_x = vec4(scale / views.aspect, 0.0, 0.0, 0.0)
        to_y = vec4(0.0, scale, 0.0, 0.0)
        to_w = vec4(0.0, 0.0, -1.0, 0.0)
    if scene.layout[PROJECTION] == PARALLEL:
        scale = parallel_scale(number)
        to_x = vec4(scale / views.aspect, 0.0, 0.0, 0.0)
        to_y = vec4(0.0, scale, 0.0, 0.0)
        to_w = vec4(0.0, 0.0, 0.0, 1.0)
    if scene.layout[PROJECTION] == INTRINSICS:
        per_width, per_height = 2.0 / to_y.x, 2.0 / to_y.y  # behind the four numbers in pixels
        numbers = to_x
        to_x = vec4(per_width * numbers.x, 0.0, 1.0 - per_width * numbers.z, 0.0)
        to_y = vec4(0.0, per_height * numbers.y, per_height * numbers.w - 1.0, 0.0)
        to_w = vec4(0.0, 0.0, -1.0, 0.0)
    return to_x, to_y, to_w


@ti.func
def projection_rows_jvp(
    scene: ti.template(), views: ti.template(), tangent_uniforms: ti.template(), start: int
):
    """The tangents of the rows x, y, w of clip_from_view."""
    first = start + PROJECTION_START
    to_x = load_vec4(tangent_uniforms, first)
    to_y = load_vec4(tangent_uniforms, first + 4)
    to_w = load_vec4(tangent_uniforms, first + 12)
    if scene.layout[PROJECTION] == INTRINSICS:
        per_width, per_height = 2.0 / scene.uniforms[first + 4], 2.0 / scene.uniforms[first + 5]
        numbers = to_x
        to_x = vec4(per_width * numbers.x, 0.0, -per_width * numbers.z, 0.0)
        to_y = vec4(0.0, per_height * numbers.y, per_height * numbers.w, 0.0)
        to_w = vec4(0.0)
    elif scene.layout[PROJECTION] != PROJECTION_MATRIX:
        number, moved = scene.uniforms[first], tangent_uniforms[first]
        scale = parallel_scale_vjp(number, moved)
        if scene.layout[PROJECTION] == PERSPECTIVE:
            scale = focal_length_vjp(number, moved)
        to_x = vec4(scale / views.aspect, 0.0, 0.0, 0.0)
        to_y = vec4(0.0, scale, 0.0, 0.0)
        to_w = vec4(0.0)
    return to_x, to_y, to_w


@ti.func
def compose(row: vec4, x_view: vec4, y_view: vec4, z_view: vec4) -> vec4:
    """A row of clip_from_view after the rows of view_from_world."""
    return row.x * x_view + row.y * y_view + row.z * z_view + vec4(0.0, 0.0, 0.0, row.w)


@ti.func
def compose_vjp(grad: vec4, x_view: vec4, y_view: vec4, z_view: vec4) -> vec4:
    """The gradient with respect to the row of clip_from_view."""
    return vec4(grad.dot(x_view), grad.dot(y_view), grad.dot(z_view), grad.w)


@ti.func
def store_matrix(matrices: ti.template(), camera: int, x: vec4, y: vec4, depth: vec4, w: vec4):
    """The four rows of a camera's matrix."""
    for k in ti.static(range(4)):
        matrices[camera, 0, k] = x[k]
        matrices[camera, 1, k] = y[k]
        matrices[camera, 2, k] = depth[k]
        matrices[camera, 3, k] = w[k]


@ti.func
def load_sums(partials: ti.template(), column: int) -> vec4:
    """Four neighbouring columns of row 0, where the sums of all shares are."""
    return vec4(
        partials[0, column],
        partials[0, column + 1],
        partials[0, column + 2],
        partials[0, column + 3],
    )
