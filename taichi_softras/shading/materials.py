"""What materials and UV coordinates give to the corners of faces; adjoint and tangent.

The numbers of a face's material, its UVs, how wide a pixel is on its textures and which way they
run become varyings. Textures are looked up where a fragment is shaded (`rasterizers/fragments.py`).
"""

from typing import NamedTuple

from taichi_softras.funcs.images import load_material
from taichi_softras.funcs.numeric import UNDRAWABLE, is_drawable
from taichi_softras.funcs.tangent_space import (
    face_tangent,
    face_tangent_jvp,
    face_tangent_vjp,
    image_slopes,
    image_slopes_jvp,
    image_slopes_vjp,
)
from taichi_softras.funcs.values import value
from taichi_softras.geometry.mesh_table import (
    FIRST_FACE,
    NO_PLACE,
    face_at,
    load_number,
    views_of_face,
)
from taichi_softras.geometry.scene_arrays import Views
from taichi_softras.runtime import is_cpu, kernel, task_block, ti, vec2
from taichi_softras.workspace import array

# What a row of `numbers` holds, by the name of the varying: its first number and how many
NUMBERS = {
    "base_color": (0, 3),
    "metallic": (3, 1),
    "roughness": (4, 1),
    "emissive": (5, 3),
    "specular": (8, 3),
    "shininess": (11, 1),
    "normal_scale": (12, 1),
}
DOUBLE_SIDED = 13  # 1 where the back is lit as the front, else 0; no varying, without gradient
MATERIAL_SIZE = 14
DEFAULTS: dict = {
    "base_color": (1.0, 1.0, 1.0),
    "metallic": 0.0,
    "roughness": 1.0,
    "emissive": (0.0, 0.0, 0.0),
    "specular": (0.0, 0.0, 0.0),
    "shininess": 32.0,
    "normal_scale": 1.0,
}
FOOTPRINT_SIZE = 7  # w, and slopes of u / w, v / w, 1 / w along a row and down a column, by pixel
MOST_SHARES = {True: 64, False: 256}  # of faces, whose gradients at materials are summed apart


@value
class Columns:
    """Where the numbers of this stage stand among the varyings; -1 for what is not there.

    Attributes:
        numbers: (column, number of a material) of each that is read.
        uv: 2 columns.
        footprint: `FOOTPRINT_SIZE`, see `fragments.image_place`.
        tangent: 4, see `funcs.tangent_space.face_tangent`.
        position: 3, world, which take the gradient of tangents.
        face_normal: 3, filled before; 0 where the material's back is not lit as its front.
    """

    numbers: tuple = ()
    uv: int = -1
    footprint: int = -1
    tangent: int = -1
    position: int = -1
    face_normal: int = -1

    @property
    def is_bent(self) -> bool:
        """Whether UVs are read for more than themselves."""
        return self.footprint >= 0 or self.tangent >= 0


class MaterialArrays(NamedTuple):
    """UVs and materials of the scene."""

    uvs: ti.Ndarray  # (U, 2)
    numbers: ti.Ndarray  # (M, MATERIAL_SIZE)
    uv_faces: ti.Ndarray  # (P, 3) int, as `faces`
    corner_starts: ti.Ndarray  # (U + 1,) int, as those of vertices in `SceneArrays`
    corners_of_uv: ti.Ndarray  # (3 P,) int
    images: ti.Ndarray  # int, see `Surface`


class Corners(NamedTuple):
    """What was placed before, of the views of a pass."""

    vertices: ti.Ndarray  # (n, V, 3) world
    faces: ti.Ndarray  # (P, 3) int
    layout: ti.Ndarray  # int, see `SceneArrays`
    corners: ti.Ndarray  # (b, F, 3, 4) x_clip, y_clip, depth, w_clip


@ti.func
def load_uvs(uvs: ti.template(), uv_faces: ti.template(), face: int):
    """(3, 2) those of a face's corners."""
    of_face = ti.Matrix.zero(float, 3, 2)
    for corner, k in ti.static(ti.ndrange(3, 2)):
        of_face[corner, k] = uvs[uv_faces[face, corner], k]
    return of_face


@ti.func
def load_points(placed: ti.template(), frame: int, face: int):
    """(3, 3) a face in the world."""
    points = ti.Matrix.zero(float, 3, 3)
    for corner, k in ti.static(ti.ndrange(3, 3)):
        points[corner, k] = placed.vertices[frame, placed.faces[face, corner], k]
    return points


@ti.func
def load_on_image(corners: ti.template(), view: int, place: int):
    """(3, 3) x_clip, y_clip, w_clip of a face."""
    points = ti.Matrix.zero(float, 3, 3)
    for corner, k in ti.static(ti.ndrange(3, 3)):
        points[corner, k] = corners[view, place, corner, ti.static((0, 1, 3)[k])]
    return points


@ti.func
def by_pixel(slopes: ti.template(), pixel: float):
    """(6,) the slopes of u / w, v / w, 1 / w along a row, then down a column, of pixels.

    Args:
        slopes: by NDC, of `image_slopes`.
        pixel: NDC in a pixel.
    """
    return ti.Vector(
        [slopes[k, 0] * pixel for k in ti.static(range(3))]
        + [-slopes[k, 1] * pixel for k in ti.static(range(3))]
    )


@kernel
def lay_materials(  # groups of arrays make more than 12 parameters
    uvs: array(float, 2),  # see `MaterialArrays`, as the next five
    numbers: array(float, 2),
    uv_faces: array(int, 2),
    corner_starts: array(int, 1),
    corners_of_uv: array(int, 1),
    images: array(int, 1),
    vertices: array(float, 3),  # see `Corners`, as the next three
    faces: array(int, 2),
    layout: array(int, 1),
    corners: array(float, 4),
    first: int,  # view of the pass
    pixel: float,  # NDC
    varyings: array(float, 4),  # (1 or b, F, 3, K), of which `columns` are filled
    columns: ti.template(),
):
    """Fills columns of varyings; what is not finite makes a corner undrawable."""
    placed = ti.static(Corners(vertices, faces, layout, corners))
    views = ti.static(Views(first, 1.0))
    for i in range(varyings.shape[0] * varyings.shape[1]):
        view = i // varyings.shape[1]
        place = i - view * varyings.shape[1]
        face = face_at(placed, views, view, place)
        if face == NO_PLACE:
            continue
        total = 0.0
        material = load_material(images, view, place)
        for column, number in ti.static(columns.numbers):
            of_material = numbers[material, number]
            total += ti.abs(of_material)
            for corner in ti.static(range(3)):
                varyings[view, place, corner, column] = of_material
        if ti.static(columns.face_normal >= 0):
            for corner, k in ti.static(ti.ndrange(3, 3)):
                normal = varyings[view, place, corner, columns.face_normal + k]
                side = numbers[material, DOUBLE_SIDED]
                varyings[view, place, corner, columns.face_normal + k] = side * normal
        if ti.static(columns.uv >= 0):
            of_face = load_uvs(uvs, uv_faces, face)
            for corner, k in ti.static(ti.ndrange(3, 2)):
                varyings[view, place, corner, columns.uv + k] = of_face[corner, k]
                total += ti.abs(of_face[corner, k])
        if ti.static(columns.footprint >= 0):
            points = load_on_image(corners, view, place)
            slopes = by_pixel(image_slopes(points, load_uvs(uvs, uv_faces, face)), pixel)
            for corner in ti.static(range(3)):
                varyings[view, place, corner, columns.footprint] = points[corner, 2]
                for k in ti.static(range(6)):
                    varyings[view, place, corner, columns.footprint + 1 + k] = slopes[k]
        if ti.static(columns.tangent >= 0):
            points = load_points(placed, ti.min(first + view, vertices.shape[0] - 1), face)
            tangent = face_tangent(points, load_uvs(uvs, uv_faces, face))
            for corner, k in ti.static(ti.ndrange(3, 4)):
                varyings[view, place, corner, columns.tangent + k] = tangent[k]
        if not is_drawable(total):
            corners[view, place, 0, 0] = UNDRAWABLE


@ti.func
def sum_corners(table: ti.template(), view: int, place: int, column: int) -> float:
    """Of a column that is equal at the corners of a face."""
    return (
        table[view, place, 0, column]
        + table[view, place, 1, column]
        + table[view, place, 2, column]
    )


@ti.func
def pull_back_face(
    materials: ti.template(),  # `MaterialArrays`
    placed: ti.template(),  # `Corners`
    first: int,
    pixel: float,
    grad_corners: ti.template(),
    grad_varyings: ti.template(),
    view: int,
    place: int,
    face: int,
    columns: ti.template(),
):
    """From footprints and tangents to the corners, positions and UVs that they were made of."""
    of_face = load_uvs(materials.uvs, materials.uv_faces, face)
    if ti.static(columns.footprint >= 0):
        grad_slopes = ti.Matrix.zero(float, 3, 3)
        for k, axis in ti.static(ti.ndrange(3, 2)):
            column = ti.static(columns.footprint + 1 + 3 * axis + k)
            sign = ti.static(1.0 - 2.0 * axis)
            grad_slopes[k, axis] = sign * pixel * sum_corners(grad_varyings, view, place, column)
        grads = image_slopes_vjp(load_on_image(placed.corners, view, place), of_face, grad_slopes)
        for corner in ti.static(range(3)):
            for k in ti.static(range(3)):
                component = ti.static((0, 1, 3)[k])
                before = grad_corners[view, place, corner, component]
                grad_corners[view, place, corner, component] = before + grads.points[corner, k]
            of_w = grad_varyings[view, place, corner, columns.footprint]
            grad_corners[view, place, corner, 3] = grad_corners[view, place, corner, 3] + of_w
            for k in ti.static(range(2)):
                before = grad_varyings[view, place, corner, columns.uv + k]
                grad_varyings[view, place, corner, columns.uv + k] = before + grads.uvs[corner, k]
    if ti.static(columns.tangent >= 0):
        frame = ti.min(first + view, placed.vertices.shape[0] - 1)
        grad_tangent = ti.Vector(
            [
                sum_corners(grad_varyings, view, place, ti.static(columns.tangent + k))
                for k in ti.static(range(4))
            ]
        )
        grads = face_tangent_vjp(load_points(placed, frame, face), of_face, grad_tangent)
        for corner in ti.static(range(3)):
            for k in ti.static(range(3)):
                before = grad_varyings[view, place, corner, columns.position + k]
                moved = before + grads.points[corner, k]
                grad_varyings[view, place, corner, columns.position + k] = moved
            for k in ti.static(range(2)):
                before = grad_varyings[view, place, corner, columns.uv + k]
                grad_varyings[view, place, corner, columns.uv + k] = before + grads.uvs[corner, k]


@kernel
def lay_materials_backward(  # as `lay_materials`
    uvs: array(float, 2),  # see `MaterialArrays`, as the next five
    numbers: array(float, 2),
    uv_faces: array(int, 2),
    corner_starts: array(int, 1),
    corners_of_uv: array(int, 1),
    images: array(int, 1),
    vertices: array(float, 3),  # see `Corners`, as the next three
    faces: array(int, 2),
    layout: array(int, 1),
    corners: array(float, 4),
    first: int,  # view of the pass
    pixel: float,  # NDC
    is_first: int,  # whether gradients of the scene are written, not added to
    grad_corners: array(float, 4),  # (b, F, 3, 4), added to
    grad_varyings: array(float, 4),  # (1 or b, F, 3, K), changed
    shares: array(float, 2),  # (T, M * MATERIAL_SIZE) scratch
    grad_uvs: array(float, 2),  # (U, 2)
    grad_numbers: array(float, 2),  # (M, MATERIAL_SIZE)
    columns: ti.template(),
):
    """From varyings to UVs, materials, and through footprints and tangents to corners.

    Gradients at positions are left in their columns. No sum is atomic.
    """
    materials = ti.static(
        MaterialArrays(uvs, numbers, uv_faces, corner_starts, corners_of_uv, images)
    )
    placed = ti.static(Corners(vertices, faces, layout, corners))
    views = ti.static(Views(first, 1.0))
    if ti.static(columns.is_bent):
        for i in range(grad_varyings.shape[0] * grad_varyings.shape[1]):
            view = i // grad_varyings.shape[1]
            place = i - view * grad_varyings.shape[1]
            face = face_at(placed, views, view, place)
            if face != NO_PLACE:
                pull_back_face(
                    materials,
                    placed,
                    first,
                    pixel,
                    grad_corners,
                    grad_varyings,
                    view,
                    place,
                    face,
                    columns,
                )
    if ti.static(columns.uv >= 0):
        for index in range(uvs.shape[0]):
            total = vec2(0.0)
            for slot in range(corner_starts[index], corner_starts[index + 1]):
                face = corners_of_uv[slot] // 3
                corner = corners_of_uv[slot] - 3 * face
                start, end = views_of_face(placed, views, grad_varyings.shape[0], face)
                for view in range(start, end):
                    place = face - load_number(placed, views, view, FIRST_FACE)
                    for k in ti.static(range(2)):
                        column = ti.static(columns.uv + k)
                        total[k] += grad_varyings[view, place, corner, column]
            for k in ti.static(range(2)):
                grad_uvs[index, k] = total[k] + ti.select(is_first != 0, 0.0, grad_uvs[index, k])
    block = ti.static(task_block())
    for i in range(shares.shape[0] * block):
        if i % block == 0:
            share_material_grads(grad_varyings, images, i // block, shares, columns)
    for material, number in ti.ndrange(numbers.shape[0], numbers.shape[1]):
        total = ti.select(is_first != 0, 0.0, grad_numbers[material, number])
        for share in range(shares.shape[0]):
            total += shares[share, material * MATERIAL_SIZE + number]
        grad_numbers[material, number] = total


@ti.func
def share_material_grads(
    grad_varyings: ti.template(),
    images: ti.template(),
    share: int,
    shares: ti.template(),
    columns: ti.template(),
):
    """What neighbouring faces give to the numbers of all materials."""
    for number in range(shares.shape[1]):
        shares[share, number] = 0.0
    num_places = grad_varyings.shape[1]
    per_share = (num_places + shares.shape[0] - 1) // shares.shape[0]
    for place in range(share * per_share, ti.min((share + 1) * per_share, num_places)):
        for view in range(grad_varyings.shape[0]):
            start = load_material(images, view, place) * MATERIAL_SIZE
            for column, number in ti.static(columns.numbers):
                before = shares[share, start + number]
                shares[share, start + number] = before + sum_corners(
                    grad_varyings, view, place, column
                )


@kernel
def lay_materials_tangent(  # as `lay_materials`
    uvs: array(float, 2),  # see `MaterialArrays`, as the next five
    numbers: array(float, 2),
    uv_faces: array(int, 2),
    corner_starts: array(int, 1),
    corners_of_uv: array(int, 1),
    images: array(int, 1),
    vertices: array(float, 3),  # see `Corners`, as the next three
    faces: array(int, 2),
    layout: array(int, 1),
    corners: array(float, 4),
    first: int,  # view of the pass
    pixel: float,  # NDC
    tangent_uvs: array(float, 2),  # (U, 2)
    tangent_numbers: array(float, 2),  # (M, MATERIAL_SIZE)
    tangent_vertices: array(float, 3),  # (n, V, 3)
    tangent_corners: array(float, 5),  # (P, b, F, 3, 4)
    parameter: int,
    tangent_varyings: array(float, 5),  # (P, 1 or b, F, 3, K), of which `columns` are filled
    columns: ti.template(),
):
    """Fills the tangents of columns, in row `parameter`."""
    placed = ti.static(Corners(vertices, faces, layout, corners))
    views = ti.static(Views(first, 1.0))
    for i in range(tangent_varyings.shape[1] * tangent_varyings.shape[2]):
        view = i // tangent_varyings.shape[2]
        place = i - view * tangent_varyings.shape[2]
        face = face_at(placed, views, view, place)
        if face == NO_PLACE:
            continue
        for column, number in ti.static(columns.numbers):
            for corner in ti.static(range(3)):
                moved = tangent_numbers[load_material(images, view, place), number]
                tangent_varyings[parameter, view, place, corner, column] = moved
        if ti.static(columns.uv >= 0):
            of_face = load_uvs(uvs, uv_faces, face)
            moved_uvs = load_uvs(tangent_uvs, uv_faces, face)
            for corner, k in ti.static(ti.ndrange(3, 2)):
                column = ti.static(columns.uv + k)
                tangent_varyings[parameter, view, place, corner, column] = moved_uvs[corner, k]
            if ti.static(columns.footprint >= 0):
                moved_points = ti.Matrix.zero(float, 3, 3)
                for corner, k in ti.static(ti.ndrange(3, 3)):
                    component = ti.static((0, 1, 3)[k])
                    moved = tangent_corners[parameter, view, place, corner, component]
                    moved_points[corner, k] = moved
                points = load_on_image(corners, view, place)
                slopes = image_slopes_jvp(points, of_face, moved_points, moved_uvs)
                at_pixels = by_pixel(slopes, pixel)
                for corner in ti.static(range(3)):
                    column = ti.static(columns.footprint)
                    moved = moved_points[corner, 2]
                    tangent_varyings[parameter, view, place, corner, column] = moved
                    for k in ti.static(range(6)):
                        moved = at_pixels[k]
                        tangent_varyings[parameter, view, place, corner, column + 1 + k] = moved
            if ti.static(columns.tangent >= 0):
                moved_placed = ti.static(Corners(tangent_vertices, faces, layout, corners))
                frame = ti.min(first + view, vertices.shape[0] - 1)
                tangent = face_tangent_jvp(
                    load_points(placed, frame, face),
                    of_face,
                    load_points(moved_placed, frame, face),
                    moved_uvs,
                )
                for corner, k in ti.static(ti.ndrange(3, 4)):
                    column = ti.static(columns.tangent + k)
                    tangent_varyings[parameter, view, place, corner, column] = tangent[k]


def num_shares(num_faces: int) -> int:
    """T of `lay_materials_backward`."""
    return max(1, min(MOST_SHARES[is_cpu()], num_faces // 64))
