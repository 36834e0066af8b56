"""UVs, materials and textures of a mesh, into the arrays of the core and back.

All images that a composition looks up lie in one array of texels, each once, however many
materials have it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from taichi_softras.fields import (
    body,
    element_at,
    get_number,
    num_components,
    num_elements,
    set_number,
)
from taichi_softras.pipeline import Looks, MaterialScene
from taichi_softras.runtime import default_numpy_float, has_gradient, kernel, quick_compilation, ti
from taichi_softras.scene.scene import colors_of, meshes_of, one_behind_another
from taichi_softras.shading.composition import BASE_COLOR, NORMALS, SLOTS
from taichi_softras.shading.composition import Looks as LooksOfMesh
from taichi_softras.shading.materials import DOUBLE_SIDED, NUMBERS
from taichi_softras.shading.pyramids import lay_out_images
from taichi_softras.workspace import array, write_array

COLORS = (1, 3, 4)  # channels of images that are colours
# What a material shows that has no texture where another one has
WHITE, FLAT = (1.0, 1.0, 1.0), (0.5, 0.5, 1.0)


def looks_of(mesh: Any) -> LooksOfMesh:
    """What kinds of colours, textures and materials a `Mesh` or a `Scene` has.

    Raises:
        ValueError: for base colour textures of different numbers of channels that are no colours.
    """
    meshes = meshes_of(mesh)
    by_slot = zip(*(one.textures for one in mesh.materials)) if mesh.materials else ()
    slots = tuple(
        None if not any(of_slot) else any(t.filter == "trilinear" for t in of_slot if t)
        for of_slot in by_slot
    )
    constant = tuple(
        slot
        for slot in range(len(slots))
        if not any(has_gradient(t.image) for one in mesh.materials if (t := one.textures[slot]))
    )
    counts = {one.base_color_texture.num_channels for one in mesh.materials if one.textures[0]}
    features = counts - set(COLORS)
    if features and len(counts) > 1:
        raise ValueError(
            "base colour textures of one mesh have 1, 3 or 4 channels, or all the same number, got "
            f"{sorted(counts)}"
        )
    return LooksOfMesh(
        max(features, default=colors_of(meshes[0]).n),
        mesh.lookup,
        any(one.uvs is not None for one in meshes),
        bool(mesh.materials),
        slots or (None,) * len(SLOTS),
        constant,
        bool(features),
    )


def materials_of_faces(mesh: Any) -> np.ndarray:
    """(1 or B, F) the material at each place of `mesh.table`; 0 at empty ones."""
    table = np.zeros((mesh.table.num_meshes, mesh.table.face_places), np.int32)
    for places, (first, count, *_) in zip(table, mesh.table.rows):
        places[:count] = mesh.face_materials_array[first : first + count]
    return table


class Atlas:
    """The looks of a mesh or of those of a scene, as a composition reads them.

    Attributes:
        scene: for the `Pipeline`.
        fields: all that the image depends on here.
    """

    def __init__(self, mesh: Any, slots: tuple, panoramas: Sequence = ()):
        """Lays out the images.

        Args:
            mesh: a `Mesh` or a `Scene`.
            slots: of `shading.composition.SLOTS`, those that are looked up.
            panoramas: environment maps that are looked up.
        """
        meshes = meshes_of(mesh)
        counts = [1 if one.uvs is None else num_elements(one.uvs) for one in meshes]
        self._uvs = one_behind_another([one.uvs for one in meshes], counts)
        looks = looks_of(mesh)
        materials = mesh.materials
        is_feature = looks.is_feature and BASE_COLOR in slots
        self._num_channels = looks.num_color if is_feature else 3
        chosen = [[one.textures[slot] for slot in slots] for one in materials]
        self._textures = list(dict.fromkeys(t for of_one in chosen for t in of_one if t))
        self._textures += panoramas
        sizes = [texture.layout for texture in self._textures]
        self._rows, num_texels = lay_out_images([*sizes, (1, 1, 0, 0), (1, 1, 0, 0)])
        white, flat = len(sizes), len(sizes) + 1
        table = []
        for of_one in chosen:
            for slot, texture in zip(slots, of_one):
                default = flat if slot == NORMALS else white
                index = default if texture is None else self._textures.index(texture)
                table += self._rows[index]
        for row in self._rows[white - len(panoramas) : white]:
            table += row
        uv_faces, starts, corners_of_uv = mesh.uv_topology
        self.scene = MaterialScene(
            uv_faces,
            starts,
            corners_of_uv,
            materials_of_faces(mesh),
            tuple(table),
            tuple(row for row in self._rows if row[3] > 1),
            sum(counts),
            max(len(materials), 1),
            num_texels,
            self._num_channels,
        )
        self._sides = [one.double_sided for one in materials]
        self._numbers = [
            (getattr(one, name), row, first)
            for row, one in enumerate(materials)
            for name, (first, _) in NUMBERS.items()
        ]

    def replace_mesh(self, mesh: Any) -> None:
        """The mesh has other faces than before."""
        self.scene = self.scene._replace(materials_of_faces=materials_of_faces(mesh))

    @property
    def fields(self) -> list:
        """All that the image depends on here."""
        images = [texture.image for texture in self._textures]
        return [*(field for field, *_ in (*self._uvs, *self._numbers)), *images]

    def lay_defaults(self, looks: Looks) -> None:
        """Writes what no field holds, once: images of no texture, and sides."""
        texels = np.zeros(tuple(looks.texels.shape), default_numpy_float())
        for row, color in zip(self._rows[-2:], (WHITE, FLAT)):
            texels[0, 0, row[0], :3] = color[: texels.shape[3]]
        write_array(looks.texels, texels)
        numbers = np.zeros(tuple(looks.numbers.shape), default_numpy_float())
        for row, is_double_sided in enumerate(self._sides):
            numbers[row, DOUBLE_SIDED] = is_double_sided
        write_array(looks.numbers, numbers)

    def gather(self, looks: Looks, derivative: str = "") -> None:
        """From fields, or from their duals, to arrays."""
        self._copy(gather_looks, copy_texels, looks, derivative)

    def scatter(self, grad_looks: Looks) -> None:
        """The adjoint of `gather`: adds to the gradients of the fields."""
        self._copy(scatter_looks, add_texel_grads, grad_looks, "", needs_grad=True)

    def _copy(
        self,
        copy_looks: Callable,
        copy_image: Callable,
        looks: Looks,
        derivative: str,
        needs_grad: bool = False,
    ) -> None:
        def chosen(field):
            return getattr(body(field), derivative) if derivative else body(field)

        def is_copied(field):
            return not needs_grad or has_gradient(field)

        uvs = tuple((chosen(f), first) for f, first in self._uvs if is_copied(f))
        numbers = tuple((chosen(f), *place) for f, *place in self._numbers if is_copied(f))
        with quick_compilation():
            length = max([1, *(num_elements(field) for field, _ in uvs)])
            copy_looks(length, looks.uvs, looks.numbers, uvs, numbers)
            for texture, row in zip(self._textures, self._rows):
                if is_copied(texture.image):
                    image = chosen(texture.image)
                    copy_image(row[0], looks.texels, self._num_channels, image)


@kernel
def gather_looks(
    length: int,  # of the longest field
    uvs: array(float, 2),  # (U, 2)
    numbers: array(float, 2),  # (M, MATERIAL_SIZE)
    uv_fields: ti.template(),  # (field of vec2, its first UV) of each mesh that has any
    number_fields: ti.template(),  # (field, row, first number) of each
):
    """From fields to arrays."""
    for index in range(length):
        for field, start in ti.static(uv_fields):
            if index < ti.static(num_elements(field)):
                for k in ti.static(range(2)):
                    uvs[start + index, k] = field[index][k]
        for field, row, first in ti.static(number_fields):
            if index == 0:
                for k in ti.static(range(num_components(field))):
                    numbers[row, first + k] = get_number(field, element_at(field, 0), k)


@kernel
def scatter_looks(
    length: int,  # of the longest field
    grad_uvs: array(float, 2),  # (U, 2)
    grad_numbers: array(float, 2),  # (M, MATERIAL_SIZE)
    uv_fields: ti.template(),  # as in `gather_looks`, as the next
    number_fields: ti.template(),
):
    """The adjoint of `gather_looks`: adds to the gradients of the fields."""
    for index in range(length):
        for field, start in ti.static(uv_fields):
            if index < ti.static(num_elements(field)):
                for k in ti.static(range(2)):
                    field.grad[index][k] = field.grad[index][k] + grad_uvs[start + index, k]
        for field, row, first in ti.static(number_fields):
            if index == 0:
                element = element_at(field, 0)
                for k in ti.static(range(num_components(field))):
                    grad = get_number(field.grad, element, k) + grad_numbers[row, first + k]
                    set_number(field.grad, element, k, grad)


def channel_of(image: ti.Field, channel: int) -> int:
    """Which channel of an image is read: a grey one has three that are equal."""
    return channel if num_components(image) > 1 else 0


@kernel
def copy_texels(
    first: int,  # texel
    texels: array(float, 4),  # (1, 1, N, C)
    num_channels: ti.template(),
    image: ti.template(),  # (H, W) field
):
    """From a field to its texels."""
    for row, column in image:
        entry = first + row * ti.static(image.shape[1]) + column
        for channel in ti.static(range(num_channels)):
            number = get_number(
                image, ti.Vector([row, column]), ti.static(channel_of(image, channel))
            )
            texels[0, 0, entry, channel] = number


@kernel
def add_texel_grads(
    first: int,  # texel
    grad_texels: array(float, 4),  # (1, 1, N, C)
    num_channels: ti.template(),
    image: ti.template(),  # (H, W) field
):
    """The adjoint of `copy_texels`: adds to the gradient of the field."""
    for row, column in image:
        entry = first + row * ti.static(image.shape[1]) + column
        for channel in ti.static(range(num_channels)):
            own = ti.static(channel_of(image, channel))
            texel = ti.Vector([row, column])
            grad = get_number(image.grad, texel, own) + grad_texels[0, 0, entry, channel]
            set_number(image.grad, texel, own, grad)
