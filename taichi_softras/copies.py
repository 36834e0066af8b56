"""Copies between the fields of a scene and the arrays of the core: the only kernels that see both.

They compile for each scene anew, so there are few of them, each with a single loop.
"""

from taichi_softras.fields import element_at, get_number, num_components, num_elements, set_number
from taichi_softras.runtime import kernel, ti
from taichi_softras.workspace import array

LANES = 8  # neighbouring pixels that a CPU copies at a time, through local memory
CPU_RUN = 64  # neighbouring pixels of a row that a task on a CPU owns


@kernel
def gather(
    length: int,  # elements of the longest field, or vertices
    frames: array(int, 1),  # (B,) frame of each view
    first: int,  # of the views that are drawn
    end: int,
    vertices_array: array(float, 3),  # (1 or B, V, 3)
    albedo: array(float, 3),  # (A, N, C)
    uniforms: array(float, 1),  # cameras, then lights
    fragment_uniforms: array(float, 2),  # (1 or B, N)
    vertices: ti.template(),  # (field, its first vertex), (V,) or (T, V) vec3, of each mesh
    colors: ti.template(),  # (field, its first of A), (A,) or (A, R, ...) of C-vectors, of each
    uniform_fields: ti.template(),  # (field, where its numbers begin, stride of its elements)
    fragment_fields: ti.template(),  # (field, its first column, stride; 0: an element is a row)
):
    """From fields to arrays."""
    for index in range(length):
        for field, start in ti.static(vertices):
            if index < ti.static(field.shape[-1]):
                for view in range(first, end):
                    vertex = field[vertex_element(field, frames[view], index)]
                    for k in ti.static(range(3)):
                        vertices_array[view, start + index, k] = vertex[k]
        for field, start in ti.static(colors):
            if index < ti.static(num_elements(field)):
                color = field[element_at(field, index)]
                entry = index % albedo.shape[1]
                for k in ti.static(range(field.n)):
                    albedo[start + index // albedo.shape[1], entry, k] = color[k]
        for field, start, stride in ti.static(uniform_fields):
            if index < ti.static(num_elements(field)):
                element = element_at(field, index)
                for k in ti.static(range(num_components(field))):
                    uniforms[start + stride * index + k] = get_number(field, element, k)
        for field, column, stride in ti.static(fragment_fields):
            if ti.static(stride > 0):  # of lights: all elements are in every row
                if index < ti.static(num_elements(field)):
                    element = element_at(field, index)
                    for row in range(fragment_uniforms.shape[0]):
                        for k in ti.static(range(num_components(field))):
                            number = get_number(field, element, k)
                            fragment_uniforms[row, column + stride * index + k] = number
            elif index < fragment_uniforms.shape[0]:
                element = element_at(field, index % ti.static(num_elements(field)))
                for k in ti.static(range(num_components(field))):
                    fragment_uniforms[index, column + k] = get_number(field, element, k)


@kernel
def scatter(
    length: int,  # elements of the longest field, or vertices
    frames: array(int, 1),  # (B,)
    first: int,  # of the views that were drawn
    end: int,
    grad_vertices: array(float, 3),  # (1 or B, V, 3)
    grad_albedo: array(float, 3),  # (A, N, C)
    grad_uniforms: array(float, 1),
    grad_fragment_uniforms: array(float, 2),  # (1 or B, N)
    vertices: ti.template(),  # as in `gather`, and the following; fields with gradients alone
    colors: ti.template(),
    uniform_fields: ti.template(),
    fragment_fields: ti.template(),
):
    """The adjoint of `gather`: adds to the gradients of the fields."""
    for index in range(length):
        for field, start in ti.static(vertices):
            if index < ti.static(field.shape[-1]):
                for view in range(first, end):  # views may share a frame
                    element = vertex_element(field, frames[view], index)
                    row = start + index
                    grad = ti.Vector([grad_vertices[view, row, k] for k in ti.static(range(3))])
                    field.grad[element] = field.grad[element] + grad
        for field, start in ti.static(colors):
            if index < ti.static(num_elements(field)):
                element = element_at(field, index)
                entry = index % grad_albedo.shape[1]
                for k in ti.static(range(field.n)):
                    grad = grad_albedo[start + index // grad_albedo.shape[1], entry, k]
                    field.grad[element][k] = field.grad[element][k] + grad
        for field, start, stride in ti.static(uniform_fields):
            if index < ti.static(num_elements(field)):
                element = element_at(field, index)
                for k in ti.static(range(num_components(field))):
                    grad = grad_uniforms[start + stride * index + k]
                    set_number(field.grad, element, k, get_number(field.grad, element, k) + grad)
        for field, column, stride in ti.static(fragment_fields):
            if index < ti.static(num_elements(field)):
                element = element_at(field, index)
                for k in ti.static(range(num_components(field))):
                    total = get_number(field.grad, element, k)
                    row = ti.static(0 if stride > 0 else 1) * index
                    while row < grad_fragment_uniforms.shape[0]:
                        total += grad_fragment_uniforms[row, column + stride * index + k]
                        row += ti.static(1 if stride > 0 else num_elements(field))
                    set_number(field.grad, element, k, total)


@ti.func
def vertex_element(vertices: ti.template(), frame: int, vertex: int):
    """The index of a vertex of a still mesh, (V,), or of one that moves, (T, V)."""
    element = ti.Vector([vertex for _ in ti.static(range(len(vertices.shape)))])
    if ti.static(len(vertices.shape) == 2):
        element[0] = frame
    return element


@kernel
def store_images(
    planes: array(float, 4),  # (views of the pass, C + 1, H, >= W)
    start: int,  # the first view of the pass
    width: int,  # W
    on_cpu: ti.template(),
    images: ti.template(),  # (field (B, H, W) of scalars or vectors, its planes)
):
    """From planes to images. A CPU task owns a run of a row, and copies a few pixels at a time."""
    if ti.static(on_cpu):
        num_runs = (width + CPU_RUN - 1) // CPU_RUN
        for view, row, run in ti.ndrange(planes.shape[0], planes.shape[2], num_runs):
            for packet in range(CPU_RUN // LANES):
                left = run * CPU_RUN + packet * LANES
                if left < width:
                    store_pixels(planes, start, view, row, left, width, LANES, images)
    else:
        for view, row, column in ti.ndrange(planes.shape[0], planes.shape[2], width):
            store_pixels(planes, start, view, row, column, width, 1, images)


@ti.func
def store_pixels(
    planes: ti.template(),
    start: int,
    view: int,
    row: int,
    left: int,
    width: int,  # W
    count: ti.template(),  # of neighbours
    images: ti.template(),
):
    """Pixels that lie side by side, through local memory; at the image's end the last ones."""
    first = ti.max(ti.min(left, width - count), 0)
    for image, channels in ti.static(images):
        values = [
            ti.Vector([0.0 for _ in ti.static(range(count))])
            for _ in ti.static(range(len(channels)))
        ]
        for k, channel in ti.static(list(enumerate(channels))):
            for lane in ti.static(range(count)):
                values[k][lane] = planes[view, channel, row, ti.min(first + lane, width - 1)]
        for lane in ti.static(range(count)):
            pixel = ti.Vector([start + view, row, ti.min(first + lane, width - 1)])
            if ti.static(isinstance(image, ti.MatrixField)):
                image[pixel] = ti.Vector([values[k][lane] for k in ti.static(range(len(channels)))])
            else:
                image[pixel] = values[0][lane]


@kernel
def store_indices(
    face_ids: array(int, 3),  # (views of the pass, H, W) or NO_FACE
    face_meshes: array(int, 1),  # (F,) the mesh of each face, or (1,) of all
    start: int,  # the first view of the pass
    mesh_step: int,  # from a view to the next: 1 if each has a mesh of its own, otherwise 0
    fields: ti.template(),  # (field (B, H, W) of ints, whether it is of the mesh)
):
    """Which face of its mesh, and which mesh, each pixel shows."""
    for view, row, column in ti.ndrange(*face_ids.shape):
        for field, of_mesh in ti.static(fields):
            index = face_ids[view, row, column]
            if ti.static(of_mesh):
                if index >= 0:
                    index = face_meshes[ti.min(index, face_meshes.shape[0] - 1)]
                    index += mesh_step * (start + view)
            field[start + view, row, column] = index


@kernel
def lay_behind(
    planes: array(float, 4),  # (views of the pass, channels, H, >= W)
    share: int,  # the plane of the background's share
    start: int,  # the first view of the pass
    width: int,  # W
    image: ti.template(),  # (B, H, W) of vectors, added to
    background: ti.template(),  # (B or 1, H, W) of C-vectors
):
    """Adds the background, as much as is seen of it, to the first C numbers of a pixel."""
    for view, row, column in ti.ndrange(planes.shape[0], planes.shape[2], width):
        color = background[(start + view) % ti.static(background.shape[0]), row, column]
        pixel = image[start + view, row, column]
        for k in ti.static(range(background.n)):
            pixel[k] += planes[view, share, row, column] * color[k]
        image[start + view, row, column] = pixel


@kernel
def lay_behind_backward(
    planes: array(float, 4),  # (views of the pass, channels, H, >= W)
    share: int,  # the plane of the background's share
    start: int,  # the first view of the pass
    end: int,  # views from here on belong to a pass before: 0
    width: int,  # W
    grad_planes: array(float, 4),  # as `planes`: that of the share is written
    image: ti.template(),  # (B, H, W) of vectors; its gradient is read
    background: ti.template(),  # (B or 1, H, W) of C-vectors; its gradient is added to
):
    """The adjoint of `lay_behind`; a thread owns a pixel of all views."""
    for row, column in ti.ndrange(planes.shape[2], width):
        for view in range(planes.shape[0]):
            total = 0.0
            if start + view < end:
                behind = (start + view) % ti.static(background.shape[0])
                color = background[behind, row, column]
                grad = image.grad[start + view, row, column]
                grad_color = background.grad[behind, row, column]
                for k in ti.static(range(background.n)):
                    total += grad[k] * color[k]
                    grad_color[k] += grad[k] * planes[view, share, row, column]
                background.grad[behind, row, column] = grad_color
            grad_planes[view, share, row, column] = total


@kernel
def load_grads(  # two loops that read fields, one launch
    start: int,  # the first view of the pass
    end: int,  # views from here on belong to a pass before: 0
    width: int,  # W
    planes: array(float, 4),  # (views of the pass, C + 1, H, >= W), their gradient
    num_compared: int,  # V, or 0 where vertices were compared before
    frames: array(int, 1),  # (B,)
    first_drawn: int,  # of the views whose vertices are compared
    end_drawn: int,
    drawn: array(float, 3),  # (1 or B, V, 3) vertices of meshes that were drawn
    is_changed: array(int, 1),  # (1,) 1 if one is not what was drawn
    on_cpu: ti.template(),
    images: ti.template(),  # as in `store_images`; their gradients are read
    vertices: ti.template(),  # as in `gather`
):
    """The adjoint of `store_images`, and whether `vertices` are still those that were drawn."""
    is_changed[0] = 0
    if ti.static(on_cpu):
        num_runs = (width + CPU_RUN - 1) // CPU_RUN
        for view, row, run in ti.ndrange(planes.shape[0], planes.shape[2], num_runs):
            for column in range(run * CPU_RUN, ti.min((run + 1) * CPU_RUN, width)):
                load_grad(start, end, view, row, column, planes, images)
    else:
        for view, row, column in ti.ndrange(planes.shape[0], planes.shape[2], width):
            load_grad(start, end, view, row, column, planes, images)
    for index in range(num_compared):
        for field, first in ti.static(vertices):
            if index < ti.static(field.shape[-1]):
                for view in range(first_drawn, end_drawn):
                    now = field[vertex_element(field, frames[view], index)]
                    for k in ti.static(range(3)):
                        if now[k] != drawn[view, first + index, k]:
                            is_changed[0] = 1  # threads write the same


@ti.func
def load_grad(
    start: int,
    end: int,
    view: int,
    row: int,
    column: int,
    planes: ti.template(),
    images: ti.template(),
):
    """One pixel."""
    share = ti.cast(start + view < end, float)
    pixel = ti.Vector([start + view, row, column])
    for image, channels in ti.static(images):
        for k, channel in ti.static(list(enumerate(channels))):
            planes[view, channel, row, column] = share * get_number(image.grad, pixel, k)
