"""A few meshes, each with a place of its own in the world: what a renderer draws as one mesh.

The meshes keep their fields. Here is what is common to them: transforms, and their vertices, faces,
UVs and materials numbered one mesh behind another.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

import numpy as np

from taichi_softras.fields import FieldTree, upload
from taichi_softras.geometry.mesh_table import MeshTable
from taichi_softras.geometry.transforms import (
    TRANSFORM_SIZE,
    lay_out_objects,
    transform_objects,
)
from taichi_softras.io.meshes import save_mesh
from taichi_softras.runtime import ti
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import check_field, check_kind, finite_array
from taichi_softras.scene.corner_lists import CornerLists
from taichi_softras.scene.material import Material, materials_to_arrays
from taichi_softras.scene.mesh import Mesh
from taichi_softras.workspace import write_array

DEFAULTS = {"rotation": 0.0, "translation": 0.0, "scale": 1.0}
SIZES = {"rotation": (3,), "translation": (3,), "scale": ()}  # in the order of `transforms`


class Scene:
    """Meshes with a transform each: x_world = R(rotation) (scale x) + translation.

        scene = tsr.Scene([teapot, floor], translation=[[0, 0.2, 0], [0, 0, 0]])
        renderer = tsr.Renderer(scene, camera, image_size=(256, 256))

    A `Renderer` takes it in place of a `Mesh`. Gradients go to the fields here and to those of each
    mesh, whose vertices are in a space of its own. A mesh may stand in the list several times: its
    gradients add up. The output "mesh_id" is an index of `meshes`; "face_id" counts the faces of
    all of them, those of mesh k from `first_faces[k]` on. Losses of meshes take one of `meshes`.

    Attributes:
        meshes: tuple of O meshes.
        rotation: (O,) vec3 field with gradient, the axis times the angle in radians, right-handed,
            about the origin of the mesh.
        translation: (O,) vec3 field with gradient, in units of the world.
        scale: (O,) field with gradient; below 0 it mirrors, at 0 nothing is drawn.
        first_vertices, first_faces: tuples of O ints.
        num_vertices, num_faces: of all meshes together.
        num_frames: T of meshes that move, which still ones may stand beside; 1 without.
        is_moving: whether a mesh moves.
        faces, corner_starts, corners_of_vertex, faces_array, table: as those of a `Mesh`, of all
            vertices.
        materials: those of all meshes; a white one for meshes without, if others have any.
        face_materials_array: (F,) int32, the material of each face.
        lookup, texel_resolution: as those of each mesh.

    An array that is assigned to one of the three fields is written into it.
    """

    rotation, translation, scale = FieldAttribute(), FieldAttribute(), FieldAttribute()

    _repr_png_: Optional[Callable] = None  # what a notebook shows: preview.py gives it

    def __init__(self, meshes: Sequence[Mesh], rotation=None, translation=None, scale=None):
        """Places the fields of the transforms.

        Args:
            meshes: at least one `Mesh`, all with the same kind of colours: of vertices, of as many
                channels, or texels or texture cubes of one resolution.
            rotation: (O, 3), radians; 0 when left out.
            translation: (O, 3); 0 when left out.
            scale: (O,); 1 when left out.

        Raises:
            ValueError: no mesh, or something else than meshes; colours that cannot be drawn
                together; meshes of different numbers of frames; wrong shapes of transforms, or
                entries that are not finite.
        """
        self.meshes = _checked_meshes(meshes)
        given = {"rotation": rotation, "translation": translation, "scale": scale}
        count, tree, arrays = len(self.meshes), FieldTree(), []
        for name, size in SIZES.items():
            values = np.full((count, *size), DEFAULTS[name]) if given[name] is None else given[name]
            arrays.append(finite_array(name, values, (count, *size)))
            setattr(self, name, tree.add((count,), size))
        tree.place()
        upload(self.transforms, arrays)

        self.num_frames = max(one.num_frames for one in self.meshes)
        self.is_moving = any(one.is_moving for one in self.meshes)
        starts = starts_of([one.num_vertices for one in self.meshes])
        self.first_vertices, self.num_vertices = starts[:-1], starts[-1]
        starts = starts_of([one.num_faces for one in self.meshes])
        self.first_faces, self.num_faces = starts[:-1], starts[-1]
        self.table = MeshTable.of_sizes([self.num_vertices], [self.num_faces])
        self.faces_array = np.concatenate(
            [one.faces_array + first for one, first in zip(self.meshes, self.first_vertices)]
        ).astype(np.int32)
        corners = CornerLists(self.faces_array, self.num_vertices, self.num_faces)
        self.faces, self.corner_starts, self.corners_of_vertex = corners.arrays
        self.lookup = self.meshes[0].lookup
        self.texel_resolution = self.meshes[0].texel_resolution
        self._join_materials()

    def _join_materials(self) -> None:
        """Fills `materials` and `face_materials_array`."""
        default = [Material()] if any(one.materials for one in self.meshes) else []
        given = [one.materials or tuple(default) for one in self.meshes]
        self.materials = tuple(dict.fromkeys(one for of_mesh in given for one in of_mesh))
        rows = [[self.materials.index(one) for one in of_mesh] or [0] for of_mesh in given]
        of_faces = [np.take(row, m.face_materials_array) for row, m in zip(rows, self.meshes)]
        self.face_materials_array = np.concatenate(of_faces).astype(np.int32)

    @property
    def transforms(self) -> list:
        """The fields `rotation`, `translation` and `scale`."""
        return [self.rotation, self.translation, self.scale]

    @functools.cached_property
    def uv_topology(self) -> tuple:
        """As that of a `Mesh`; one without UVs has a single one."""
        topologies = [one.uv_topology for one in self.meshes]
        firsts = starts_of([starts.shape[0] - 1 for _, starts, _ in topologies])
        faces = [own.to_numpy() + first for (own, *_), first in zip(topologies, firsts)]
        return CornerLists(np.concatenate(faces), firsts[-1], self.num_faces).arrays

    def world_vertices(self) -> np.ndarray:
        """(V, 3), or (T, V, 3) if a mesh moves: where all vertices are now."""
        shape = (self.num_frames, self.num_vertices, 3)
        of_objects, vertices = ti.ndarray(float, shape), ti.ndarray(float, shape)
        given = [
            np.broadcast_to(one.vertices.to_numpy(), (self.num_frames, one.num_vertices, 3))
            for one in self.meshes
        ]
        write_array(of_objects, np.concatenate(given, axis=1))
        count = len(self.meshes)
        transforms = ti.ndarray(float, (count, TRANSFORM_SIZE))
        rows = [field.to_numpy().reshape(count, -1) for field in self.transforms]
        write_array(transforms, np.concatenate(rows, axis=1))
        tables = lay_out_objects((*self.first_vertices, self.num_vertices))
        transform_objects(of_objects, transforms, *tables, 0, self.num_frames, vertices)
        return vertices.to_numpy() if self.is_moving else vertices.to_numpy()[0]

    def save(self, path: Union[str, os.PathLike], frame: int = 0) -> None:
        """Writes all meshes, as they stand in the world, as one; see `Mesh.save`.

        Args:
            path: OBJ (with MTL and PNG files beside it), GLB, glTF, PLY, OFF or STL.
            frame: of meshes that move.

        Raises:
            OSError: it cannot be written; what was there before stays.
        """
        uv_faces, uvs = None, [one.uvs for one in self.meshes]
        if any(of_mesh is not None for of_mesh in uvs):
            uv_faces = self.uv_topology[0].to_numpy()
        colors = [one.vertex_colors for one in self.meshes if one.vertex_colors is not None]
        save_mesh(
            path,
            self.world_vertices().reshape(self.num_frames, self.num_vertices, 3)[frame],
            self.faces_array,
            np.concatenate([field.to_numpy() for field in colors]) if colors else None,
            uvs=None
            if uv_faces is None
            else np.concatenate([np.zeros((1, 2)) if f is None else f.to_numpy() for f in uvs]),
            uv_faces=uv_faces,
            materials=materials_to_arrays(self.materials),
            face_materials=self.face_materials_array if self.materials else None,
        )

    def check_transforms(self) -> None:
        """Raises a ValueError if something that was written to a transform is not finite."""
        for name in SIZES:
            check_field(f"scene.{name}", getattr(self, name))

    def check_colors(self) -> None:
        """Raises a ValueError if something that was written to the colours is not finite."""
        for k, one in enumerate(self.meshes):
            one.check_colors(f"scene.meshes[{k}]")


def meshes_of(mesh: Union[Mesh, Scene]) -> tuple:
    """Those of a scene, or the mesh alone."""
    return mesh.meshes if isinstance(mesh, Scene) else (mesh,)


def colors_of(mesh: Mesh) -> ti.Field:
    """The field of a mesh that has its colours, of vertices or of faces."""
    return mesh.vertex_colors if mesh.face_colors is None else mesh.face_colors


def world_vertices(mesh: Union[Mesh, Scene]) -> np.ndarray:
    """(V, 3), or (T, V, 3) if something moves."""
    return mesh.world_vertices() if isinstance(mesh, Scene) else mesh.vertices.to_numpy()


def starts_of(counts: Sequence) -> tuple:
    """Where each of some lists begins that lie one behind another, and where the last ends."""
    return (0, *np.cumsum(counts).tolist())


def one_behind_another(fields: Sequence, counts: Sequence) -> tuple:
    """(field, its first row) of fields that lie one behind another; of None there is room only."""
    return tuple((f, first) for f, first in zip(fields, starts_of(counts)) if f is not None)


def _checked_meshes(meshes: Any) -> tuple:
    """Raises a ValueError unless they can be drawn together."""
    if not isinstance(meshes, (list, tuple)) or not meshes:
        what = "an empty list" if isinstance(meshes, (list, tuple)) else type(meshes).__name__
        raise ValueError(f"a Scene needs a list of meshes, such as Scene([mesh]), got {what}")
    for k, one in enumerate(meshes):
        check_kind(f"meshes[{k}]", one, (Mesh,), "a Mesh, such as Mesh(vertices, faces)")
        if one.num_meshes > 1 or one.capacity is not None:
            what = "a batch" if one.num_meshes > 1 else "a mesh with a capacity"
            raise ValueError(
                f"meshes[{k}] is {what}, whose faces are those of a view, or may change: a Scene "
                "needs meshes of fixed faces that all views draw"
            )
    kinds = dict.fromkeys(map(_kind_of_colors, meshes))
    if len(kinds) > 1:
        raise ValueError(
            f"meshes of a Scene have one kind of colours, got {' and '.join(kinds)}: give all of "
            "them vertex_colors of as many channels, or texels of one resolution; pictures are "
            "textures of Materials"
        )
    frames = sorted({one.num_frames for one in meshes if one.is_moving})
    if len(frames) > 1:
        counts = " and ".join(map(str, frames))
        raise ValueError(f"meshes of a Scene that move have as many frames each, got {counts}")
    return tuple(meshes)


def _kind_of_colors(mesh: Mesh) -> str:
    """In words."""
    if mesh.face_colors is None:
        return f"vertex_colors of {mesh.vertex_colors.n} channels"
    name = "texels" if mesh.texels is not None else "texture_cubes"
    return f"{name} of resolution {mesh.texel_resolution}"
