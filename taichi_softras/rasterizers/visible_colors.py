"""Colours of what a z-buffer sees: visibility and the surface of faces in, the image out, and back.

The gradient at the surface is exact.
"""

from typing import Any, Optional

from taichi_softras.funcs.interpolation import PERSPECTIVE
from taichi_softras.funcs.triangle import barycentric_vjp
from taichi_softras.rasterizers.base import NO_FACE, Rasterization, check_held
from taichi_softras.rasterizers.binning import Bins, FaceArrays
from taichi_softras.rasterizers.faces import (
    ROW,
    SOURCE_FACE,
    load_planes,
    load_triangle,
    write_corner_grad,
)
from taichi_softras.rasterizers.fragments import (
    Shader,
    Surface,
    SurfaceNumbers,
    background_of,
    compilation_of,
    load_corner_varyings,
    load_uniforms,
    look_up_tangent,
    look_up_vjp,
    shade_point,
    shade_point_vjp,
)
from taichi_softras.rasterizers.z_buffer import Seen, ZBuffer, load_weights
from taichi_softras.runtime import kernel, ti, vec2, vec3
from taichi_softras.workspace import Workspace, array, check_entries

SUM_CHUNK = 256  # faces whose gradients at uniforms one thread adds up


class ZBufferRasterization(Rasterization):
    """A drawn z-buffer, without the gradient at corners: methods add theirs in `backward`.

    Attributes:
        z_buffer: what is seen.
        drawn: (B, C + 1, H, W) at the z-buffer's size.
    """

    def __init__(
        self,
        method: Any,  # a `Rasterizer` with `near` and `double_sided`
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
        bins: Optional[Bins] = None,
    ):
        """Finds what is seen; `paint` draws it. See `Rasterizer.forward` and `ZBuffer`.

        Raises:
            ValueError: for a number that the runtime's precision cannot hold.
        """
        super().__init__(workspace, corners, shader, surface)
        check_held({"near": method.near, "far": method.far}, {"background": method.background})
        most_planes = max(shader.num_channels + 1, 3)  # of colours, of weights
        check_entries(workspace.scene, "pixels", (corners.shape[0], most_planes, *image_size))
        self.z_buffer = ZBuffer(
            workspace,
            corners,
            image_size,
            method.near,
            method.far,
            method.double_sided,
            bins,
        )
        self.drawn = workspace.get(
            "drawn", (corners.shape[0], shader.num_channels + 1, *image_size)
        )
        self.background = workspace.constants(
            "background", background_of(shader, method.background, method.far)
        )

    def paint(self) -> None:
        """Fills `drawn`."""
        with compilation_of(self.shader):
            paint(
                *self.z_buffer.bins.of_faces,
                *self.z_buffer.seen,
                *self.surface,
                self.background,
                self.drawn,
                self.shader,
            )

    @property
    def owners(self) -> int:
        """How many threads may add to the surface at once: 1 if views share it, else B."""
        shader, surface, views = self.shader, self.surface, self.corners_shape[0]
        return min(
            surface.varyings.shape[0] if shader.num_varyings else views,
            surface.textures.shape[0] if shader.is_textured_by_face else views,
        )

    def pull_back_surface(self, grad_drawn: ti.Ndarray) -> None:
        """Fills `grad_surface` from the gradient at `drawn`."""
        shader, surface = self.shader, self.surface
        if not shader.num_channels:
            return
        self.clear_grad_textures()
        num_faces, owners = self.corners_shape[1], self.owners
        by_face = max(owners, surface.uniforms.shape[0]), num_faces, shader.num_uniforms
        with compilation_of(self.shader):
            paint_backward(
                *self.z_buffer.bins.of_faces,
                *self.z_buffer.seen,
                *surface,
                grad_drawn,
                owners,
                self.workspace.get("grad_uniforms_by_face", by_face if by_face[2] else (1, 1, 1)),
                *self.grad_surface,
                shader,
            )


@ti.func
def color_at(
    shader: ti.template(),
    of_faces: ti.template(),  # `FaceArrays`
    surface: ti.template(),  # `Surface`
    view: int,
    i: int,  # of the faces of all views
    on_screen: vec3,
):
    """(C,) of a face at the point with these weights on the screen, up to a factor."""
    used = PERSPECTIVE.place(on_screen, load_planes(of_faces.records, i)).used
    at_corners = load_corner_varyings(shader, surface.varyings, view, of_faces.boxes[i, ROW])
    source = of_faces.boxes[i, SOURCE_FACE]
    of_view = load_uniforms(shader, surface.uniforms, view)
    return shade_point(shader, surface, view, source, used, at_corners, of_view)


@ti.func
def color_at_vjp(
    shader: ti.template(),
    of_faces: ti.template(),  # `FaceArrays`
    surface: ti.template(),  # `Surface`
    view: int,
    i: int,  # of the faces of all views
    on_screen: vec3,
    grad_color: ti.template(),
):
    """The adjoint of `color_at`.

    Returns:
        A struct: the weights `used`, the varyings `here`, and the gradients of `weights` on the
        screen, `inverse_w` of the corners, interpolated `varyings`, `samples` and `uniforms`.
    """
    planes = load_planes(of_faces.records, i)
    point = PERSPECTIVE.place(on_screen, planes)
    source = of_faces.boxes[i, SOURCE_FACE]
    at_corners = load_corner_varyings(shader, surface.varyings, view, of_faces.boxes[i, ROW])
    of_view = load_uniforms(shader, surface.uniforms, view)
    grads = shade_point_vjp(
        shader, surface, view, source, point.used, at_corners, of_view, grad_color
    )
    by_weights, by_planes, _ = PERSPECTIVE.place_vjp(on_screen, planes, point, grads.used, 0.0)
    return ti.Struct(
        used=point.used,
        here=grads.here,
        weights=by_weights,
        inverse_w=by_planes,
        varyings=grads.varyings,
        samples=grads.samples,
        uniforms=grads.uniforms,
    )


@ti.func
def pull_within(
    shader: ti.template(),
    of_faces: ti.template(),  # `FaceArrays`
    seen: ti.template(),  # `Seen`
    surface: ti.template(),  # `Surface`
    grad_image: ti.template(),  # (B, C + 1, H, W)
    view: int,
    face: int,
):
    """The exact gradient of a face's pixels, as long as it is these that show it.

    Returns:
        A struct of the gradients at the corners: `position` (3, 2), by half pixels; `inverse_w`
        (3,).
    """
    i = view * (of_faces.records.shape[0] // seen.faces.shape[0]) + face
    triangle = load_triangle(of_faces.records, i)
    by_position = ti.Matrix.zero(float, 3, 2)
    by_inverse_w = vec3(0.0)
    for row in range(of_faces.boxes[i, 2], of_faces.boxes[i, 3] + 1):
        for column in range(of_faces.boxes[i, 0], of_faces.boxes[i, 1] + 1):
            if seen.faces[view, row, column] == face:
                on_screen = load_weights(seen.weights, view, row, column)
                grads = color_at_vjp(
                    shader,
                    of_faces,
                    surface,
                    view,
                    i,
                    on_screen,
                    load_color(grad_image, view, row, column, shader.num_channels),
                )
                slope = barycentric_vjp(triangle, grads.weights)
                for corner, axis in ti.static(ti.ndrange(3, 2)):
                    by_position[corner, axis] -= on_screen[corner] * slope[axis]
                by_inverse_w += grads.inverse_w
    return ti.Struct(position=by_position, inverse_w=by_inverse_w)


@kernel
def pull_faces(  # groups of arrays make more than 12 parameters: faces, what is seen, surface
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    images: array(int, 1),  # see `Surface`
    grad_image: array(float, 4),  # (B, C + 1, H, W)
    grad_corners: array(float, 4),  # (B, F, 3, 3 or 4), written
    shader: ti.template(),
):
    """What the pixels that show a face do to its corners."""
    for i in range(records.shape[0]):
        num_faces = grad_corners.shape[1]
        view = i // num_faces
        face = i - view * num_faces
        shorter = ti.cast(ti.min(faces.shape[1], faces.shape[2]), float)
        grads = ti.Struct(position=ti.Matrix.zero(float, 3, 2), inverse_w=vec3(0.0))
        if ti.static(shader.num_channels > 0):
            grads = pull_within(
                shader,
                ti.static(FaceArrays(records, boxes)),
                ti.static(Seen(faces, weights, depths)),
                ti.static(Surface(varyings, textures, uniforms, images)),
                grad_image,
                view,
                face,
            )
        for corner in ti.static(range(3)):
            position = vec2(grads.position[corner, 0], grads.position[corner, 1])
            write_corner_grad(
                records, shorter, i, corner, position, grads.inverse_w[corner], grad_corners
            )


@kernel
def paint(  # groups of arrays make more than 12 parameters: faces, what is seen, the surface
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    images: array(int, 1),  # see `Surface`
    background: array(float, 1),  # (C,)
    image: array(float, 4),  # (B, C + 1, H, W)
    shader: ti.template(),
):
    """A thread owns a pixel."""
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        num_faces = records.shape[0] // faces.shape[0]
        face = faces[view, row, column]
        alpha = ti.select(face == NO_FACE, 0.0, 1.0)
        image[view, ti.static(shader.num_channels), row, column] = alpha
        if ti.static(shader.num_channels > 0):
            color = ti.Vector([background[c] for c in ti.static(range(shader.num_channels))])
            if face != NO_FACE:
                color = color_at(
                    shader,
                    ti.static(FaceArrays(records, boxes)),
                    ti.static(Surface(varyings, textures, uniforms, images)),
                    view,
                    view * num_faces + face,
                    load_weights(weights, view, row, column),
                )
            for channel in ti.static(range(shader.num_channels)):
                image[view, channel, row, column] = color[channel]


@kernel
def paint_backward(  # more than 12 parameters: four groups of arrays
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE) pixels
    faces: array(int, 3),  # (B, H, W)
    weights: array(float, 4),  # (B, 3, H, W)
    depths: array(float, 3),  # (B, H, W)
    varyings: array(float, 4),  # (B or 1, F, 3, K)
    textures: array(float, 4),  # (B or 1, F, entries, samples)
    uniforms: array(float, 2),  # (B or 1, N)
    images: array(int, 1),  # see `Surface`
    grad_image: array(float, 4),  # (B, C + 1, H, W)
    owners: int,  # 1 if views share varyings or textures, else B
    grad_uniforms_by_face: array(float, 3),  # (B or 1, F, N) scratch
    grad_varyings: array(float, 4),  # (B or 1, F, 3, K)
    grad_textures: array(float, 4),  # (B or 1, F, entries, samples), added to
    grad_uniforms: array(float, 2),  # (B or 1, N)
    shader: ti.template(),
):
    """A thread owns a face and visits its pixels in all views that share its surface."""
    for index in range(owners * (records.shape[0] // faces.shape[0])):
        num_faces = records.shape[0] // faces.shape[0]
        owner = index // num_faces
        for part in range(faces.shape[0] // owners):
            pull_back_face(
                shader,
                ti.static(FaceArrays(records, boxes)),
                ti.static(Seen(faces, weights, depths)),
                ti.static(Surface(varyings, textures, uniforms, images)),
                grad_image,
                ti.static(SurfaceNumbers(grad_varyings, grad_textures, grad_uniforms_by_face)),
                owner + part * owners,
                index - owner * num_faces,
            )
    if ti.static(shader.num_uniforms > 0):
        sum_faces(grad_uniforms_by_face, grad_uniforms)


@ti.func
def pull_back_face(
    shader: ti.template(),
    of_faces: ti.template(),  # `FaceArrays`
    seen: ti.template(),  # `Seen`
    surface: ti.template(),  # `Surface`
    grad_image: ti.template(),  # (B, C + 1, H, W)
    grad_surface: ti.template(),  # `Surface`, of which uniforms are (B or 1, F, N), by face
    view: int,
    face: int,
):
    """Of a face in one view; the first view of those that share varyings clears them."""
    num_faces = of_faces.records.shape[0] // seen.faces.shape[0]
    i = view * num_faces + face
    source = of_faces.boxes[i, SOURCE_FACE]
    planes = load_planes(of_faces.records, i)
    at_corners = load_corner_varyings(shader, surface.varyings, view, of_faces.boxes[i, ROW])
    of_view = load_uniforms(shader, surface.uniforms, view)
    sums = at_corners * 0.0
    sums_uniforms = of_view * 0.0
    for row in range(of_faces.boxes[i, 2], of_faces.boxes[i, 3] + 1):
        for column in range(of_faces.boxes[i, 0], of_faces.boxes[i, 1] + 1):
            if seen.faces[view, row, column] == face:
                used = PERSPECTIVE.place(load_weights(seen.weights, view, row, column), planes).used
                grads = shade_point_vjp(
                    shader,
                    surface,
                    view,
                    source,
                    used,
                    at_corners,
                    of_view,
                    load_color(grad_image, view, row, column, shader.num_channels),
                )
                for corner in ti.static(range(3)):
                    for k in ti.static(range(shader.num_varyings)):
                        sums[corner, k] += used[corner] * grads.varyings[k]
                sums_uniforms += grads.uniforms
                look_up_vjp(
                    shader,
                    surface,
                    grad_surface.textures,
                    view,
                    source,
                    used,
                    grads.here,
                    grads.samples,
                    shader.is_cut,  # a face's owner adds, or those of its pieces
                )
    for k in ti.static(range(shader.num_varyings)):
        table = ti.static(grad_surface.varyings)
        shared = view % table.shape[0]
        for corner in ti.static(range(3)):
            before = ti.select(view < table.shape[0], 0.0, table[shared, face, corner, k])
            table[shared, face, corner, k] = before + sums[corner, k]
    for k in ti.static(range(shader.num_uniforms)):
        table = ti.static(grad_surface.uniforms)
        shared = view % table.shape[0]
        before = ti.select(view < table.shape[0], 0.0, table[shared, face, k])
        table[shared, face, k] = before + sums_uniforms[k]


@ti.func
def load_color(image: ti.template(), view: int, row: int, column: int, channels: ti.template()):
    """(channels,) of a pixel, without alpha."""
    return ti.Vector([image[view, c, row, column] for c in ti.static(range(channels))])


@ti.func
def sum_faces(
    by_face: ti.template(),  # (B or 1, F, N), changed
    sums: ti.template(),  # (B or 1, N)
):
    """In two steps, so that no thread adds up many. A row of `sums` may be that of all views."""
    num_chunks = (by_face.shape[1] + SUM_CHUNK - 1) // SUM_CHUNK
    for view, chunk, k in ti.ndrange(by_face.shape[0], num_chunks, by_face.shape[2]):
        total = 0.0
        for step in range(SUM_CHUNK):
            face = chunk * SUM_CHUNK + step
            if face < by_face.shape[1]:
                total += by_face[view, face, k]
        by_face[view, chunk * SUM_CHUNK, k] = total
    for row, k in ti.ndrange(sums.shape[0], sums.shape[1]):
        total = 0.0
        for part in range(by_face.shape[0] // sums.shape[0]):
            for chunk in range(num_chunks):
                total += by_face[row + part * sums.shape[0], chunk * SUM_CHUNK, k]
        sums[row, k] = total


@ti.func
def unit(count: ti.template(), index: int):
    """(count,) 1 at the index, else 0."""
    return ti.Vector([ti.select(index == k, 1.0, 0.0) for k in ti.static(range(max(count, 1)))])


@ti.func
def move_fragment(
    shader: ti.template(),
    surface: ti.template(),  # `Surface`
    tangents: ti.template(),  # `SurfaceNumbers`, with a first axis of parameters
    where: ti.math.ivec4,  # parameter, view, row, and the face of the mesh whose texture it shows
    used: vec3,
    grads: ti.template(),  # of `shade_point_vjp`
) -> float:
    """The change of a channel with the surface, from its gradients at the fragment's inputs."""
    parameter, view, face, source = where[0], where[1], where[2], where[3]
    change = 0.0
    if ti.static(shader.num_varyings > 0):
        shared = view % tangents.varyings.shape[1]
        for corner in ti.static(range(3)):
            for k in ti.static(range(shader.num_varyings)):
                moved = tangents.varyings[parameter, shared, face, corner, k]
                change += used[corner] * grads.varyings[k] * moved
    if ti.static(shader.has_textures):
        change += look_up_tangent(
            shader,
            surface,
            tangents.textures,
            parameter,
            view,
            source,
            used,
            grads.here,
            grads.samples,
        )
    for k in ti.static(range(shader.num_uniforms)):
        shared = view % tangents.uniforms.shape[1]
        change += grads.uniforms[k] * tangents.uniforms[parameter, shared, k]
    return change
