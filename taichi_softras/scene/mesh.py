"""A triangle mesh: NumPy arrays, a simulation's field or a file in, Taichi fields out.

The fields carry gradients and are what a simulation or an optimizer writes to. The topology is
fixed, or with `capacity` replaced within arrays that have room for it.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

import numpy as np

from taichi_softras.fields import FieldTree, num_elements, renew, upload
from taichi_softras.funcs.lookups import CUBES, TEXELS, Lookup
from taichi_softras.geometry.mesh_table import MeshTable
from taichi_softras.io.contents import MeshArrays
from taichi_softras.io.meshes import load_mesh, save_mesh
from taichi_softras.runtime import default_numpy_float, has_gradient, is_in_tape, ti
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import check_field, finite_array
from taichi_softras.scene.corner_lists import CornerLists
from taichi_softras.scene.material import materials_from_arrays, materials_to_arrays
from taichi_softras.scene.mesh_batch import COLORS, pack_meshes
from taichi_softras.scene.mesh_contents import MeshContents, check_contents


class Mesh:
    """Triangles in world space with colours of vertices or of faces: texels or texture cubes.

    A mesh that moves has T frames, each with all V vertices; faces and colours stay. A batch
    (`Mesh.batch`) is several meshes, one after another in all fields and arrays: view b of a
    `Renderer` draws mesh b. With a capacity, fields and arrays on the device are as long as that,
    and what stands behind the rows that are used is not drawn.

    Attributes:
        vertices: (V,) vec3 field with gradient, world space; (T, V) if the mesh moves.
        faces: (F, 3) int array on the device, counter-clockwise seen from outside.
        vertex_colors: (V,) field of C-vectors with gradient, or None where faces have colours.
        texels: (F, R, R) vec3 field with gradient, or None. Element [face, b, a] belongs to the
            barycentric coordinates a/R of corner 0 and b/R of corner 1; the half of the square
            beyond its diagonal is mirrored into the face (Liu et al. 2019).
        texture_cubes: (F, R, R, R) vec3 field with gradient, or None. Axis k is the barycentric
            coordinate of corner k, from 0 to 1 (Kato et al. 2018).
        face_colors: `texels`, `texture_cubes`, or None.
        color_kind, colors: the name of the kind of colours, and their field.
        corner_starts, corners_of_vertex: (V + 1,) and (3F,) int arrays; the corners
            3 * face + corner that meet at a vertex are
            `corners_of_vertex[corner_starts[vertex]:corner_starts[vertex + 1]]`.
        faces_array: (F, 3) int32 NumPy copy of `faces`.
        is_moving: whether `vertices` has frames.
        num_vertices, num_faces, num_frames: V, F and T, which is 1 for a still mesh; of a batch
            all vertices and faces.
        num_meshes: 1, or the number of meshes of a batch.
        vertex_starts, face_starts: (num_meshes + 1,) NumPy ints: those of mesh b are rows
            `vertex_starts[b]` to `vertex_starts[b + 1]`.
        capacity: (vertices, faces) that `replace` has room for, or None.
        table: which vertices and faces each view draws, as the core reads it.
        num_replacements: how often `replace` was called.
        texel_resolution: R, 0 for vertex colours.
        lookup: how `face_colors` are read, None for vertex colours.
        uvs: (U,) vec2 field with gradient, or None; (0, 0) is the lower left corner of a picture.
        num_uvs: U, 0 without.
        uv_faces_array: (F, 3) int32, the UVs of the corners of faces, or None.
        materials: tuple of `Material`; they tint the colours.
        face_materials_array: (F,) int32, the material of each face.

    An array that is assigned to `vertices` or the colours is written into the field.
    """

    vertices, vertex_colors = FieldAttribute(), FieldAttribute()
    texels, texture_cubes = FieldAttribute(), FieldAttribute()
    uvs = FieldAttribute()

    _repr_png_: Optional[Callable] = None  # what a notebook shows: preview.py gives it

    def __init__(  # 12 parameters and no less: all that a mesh may have
        self,
        vertices,
        faces,
        vertex_colors=None,
        texels=None,
        texture_cubes=None,
        uvs=None,
        uv_faces=None,
        materials=(),
        face_materials=None,
        capacity=None,
    ):
        """Places the fields of a mesh; white where no colours are given.

        Args:
            vertices: (V, 3) float, world space, or (T, V, 3) if the mesh moves. Or a field that a
                simulation writes, which is then used as it is: (V,) or (T, V) of
                `ti.Vector.field(3, float, ..., needs_grad=True)`.
            faces: (F, 3) int, 0 <= index < V.
            vertex_colors: (V, 3) float, linear colours in [0, 1]; or (V, C), any numbers, for
                shadings without light.
            texels: (F, R, R, 3) float in place of vertex colours.
            texture_cubes: (F, R, R, R, 3) float, R >= 2, in place of vertex colours.
            uvs: (U, 2) float; outside of [0, 1] the texture's wrap says what is there.
            uv_faces: (F, 3) int, 0 <= index < U; `faces` when left out, and U is V.
            materials: of `Material`, or one alone.
            face_materials: (F,) int, an index of `materials`; when left out, the only one.
            capacity: (V, F), the most vertices and faces that `replace` may bring.

        Raises:
            ValueError: wrong shapes, no vertex or face, more of them than the capacity, entries
                that are not finite, indices that are not integers of [0, V), several kinds of
                colours, or a field of another kind, precision or without gradient; textures without
                UVs, materials beside face textures or beside colours of another number than 3.
        """
        is_field = isinstance(vertices, ti.Field)
        if is_field:
            _check_vertices_field(vertices)
            shape = vertices.shape
        else:
            axes = ("T", "V", 3) if np.ndim(vertices) == 3 else ("V", 3)
            vertices = finite_array("vertices", vertices, axes)
            shape = vertices.shape[:-1]
        self.is_moving = len(shape) == 2
        self.num_frames = shape[0] if self.is_moving else 1
        self.capacity = _checked_capacity(capacity, is_field or self.is_moving)
        colors = dict(zip(COLORS, (vertex_colors, texels, texture_cubes)))
        contents = check_contents(
            shape[-1], faces, colors, uvs, uv_faces, materials, face_materials
        )
        self._check_room(contents)
        self.num_replacements = 0
        self.materials, self.color_kind = contents.materials, contents.color_kind
        self._take(contents)

        tree = FieldTree()
        most_vertices, most_faces = self.capacity or (self.num_vertices, self.num_faces)
        self.vertices = vertices if is_field else tree.add((*shape[:-1], most_vertices), (3,))
        colored = contents.colors.shape
        rows = most_vertices if self.color_kind == "vertex_colors" else most_faces
        self.colors = tree.add((rows, *colored[1:-1]), colored[-1:])
        setattr(self, self.color_kind, self.colors)
        self.face_colors = None if self.color_kind == "vertex_colors" else self.colors
        self.texel_resolution = 0 if self.face_colors is None else colored[1]
        self.lookup: Optional[Lookup] = {"texels": TEXELS, "texture_cubes": CUBES}.get(
            self.color_kind
        )
        self.uvs = None
        if contents.uvs is not None:
            most_uvs = max(most_vertices, 3 * most_faces) if capacity else self.num_uvs
            self.uvs = tree.add((most_uvs,), (2,))
        tree.place()
        self._upload(None if is_field else vertices, contents)
        self._corners = CornerLists(self.faces_array, most_vertices, most_faces)
        self.faces, self.corner_starts, self.corners_of_vertex = self._corners.arrays

    def _check_room(self, contents: MeshContents) -> None:
        """Raises a ValueError for more than the capacity."""
        sizes = contents.num_vertices, len(contents.faces)
        if self.capacity is None:
            return
        if sizes[0] > self.capacity[0] or sizes[1] > self.capacity[1]:
            raise ValueError(
                f"the capacity is {self.capacity[0]} vertices and {self.capacity[1]} faces, got "
                f"{sizes[0]} and {sizes[1]}: make the mesh with Mesh(..., capacity=(V, F)) of more"
            )

    def _take(self, contents: MeshContents) -> None:
        """All but what is in fields and on the device."""
        self.num_vertices, self.num_faces = contents.num_vertices, len(contents.faces)
        self.num_uvs = 0 if contents.uvs is None else len(contents.uvs)
        self.faces_array, self.uv_faces_array = contents.faces, contents.uv_faces
        self.face_materials_array = contents.face_materials
        self._set_table([self.num_vertices], [self.num_faces])
        self.__dict__.pop("edges_array", None)

    def _set_table(self, num_vertices: list, num_faces: list) -> None:
        self.table = MeshTable.of_sizes(num_vertices, num_faces, self.capacity or (0, 0))
        self.num_meshes = len(num_faces)
        self.vertex_starts = np.cumsum([0, *num_vertices])
        self.face_starts = np.cumsum([0, *num_faces])

    def _upload(self, vertices: Optional[np.ndarray], contents: MeshContents) -> None:
        """Writes arrays into the fields, and zeros behind them."""
        given = [(self.colors, contents.colors)]
        given += [] if vertices is None else [(self.vertices, vertices)]
        given += [] if contents.uvs is None else [(self.uvs, contents.uvs)]
        upload(
            [field for field, _ in given],
            [self.with_spare_rows(field, rows) for field, rows in given],
        )

    def with_spare_rows(self, field: ti.Field, rows: Any) -> Any:
        """Zeros behind as many rows of a field as the mesh uses; anything else as it is."""
        used = {id(self.vertices): self.num_vertices, id(self.uvs): self.num_uvs}
        of_colors = self.num_vertices if self.face_colors is None else self.num_faces
        spare = field.shape[0] - used.get(id(field), of_colors)
        if self.capacity is None or not spare or np.shape(rows)[:1] != (field.shape[0] - spare,):
            return rows
        return np.concatenate([rows, np.zeros((spare, *np.shape(rows)[1:]))])

    @classmethod
    def batch(cls, meshes: Sequence, vertex_colors: Optional[Sequence] = None) -> "Mesh":
        """Several meshes of any sizes that are drawn side by side: view b draws mesh b.

            mesh = Mesh.batch([(vertices, faces) for vertices, faces in shapes])
            renderer = Renderer(mesh, camera, (128, 128))  # one camera, or one for each mesh
            renderer.render()  # image is (len(shapes), 128, 128)

        All are packed in one field of vertices, one of colours, one list of faces, whose indices
        count from the first vertex of all; losses and optimizers see one mesh, and a loss that is a
        mean is one over all meshes. "face_id" counts from the first face of the view's mesh,
        "mesh_id" is the view's.

        Args:
            meshes: a list of (vertices, faces), (V, 3) float and (F, 3) int as for `Mesh`, or of
                `Mesh`, of which vertices, colours, UVs and materials are taken as they are now:
                numbers are copied, `Material`s shared.
            vertex_colors: a list with (V, C) colours for each mesh, or None in place of them.

        Raises:
            ValueError: an empty list, a mesh without faces, one that moves or is a batch; colours
                of several kinds or sizes; as `Mesh`.
        """
        arguments, num_vertices, num_faces = pack_meshes(meshes, vertex_colors)
        mesh = cls(**arguments)
        mesh._set_table(num_vertices, num_faces)
        return mesh

    def replace(  # all of a mesh that may change
        self,
        vertices,
        faces,
        vertex_colors=None,
        texels=None,
        texture_cubes=None,
        uvs=None,
        uv_faces=None,
        face_materials=None,
    ) -> None:
        """Another topology in the place of this one, within the capacity.

        Nothing is allocated in fields and nothing compiled. Renderers and losses of this mesh go
        on with the new one; optimizers that move one of its fields forget what they remember
        (`Optimizer.reset`). Materials stay.

        Args:
            vertices: (V, 3) float.
            faces: (F, 3) int.
            vertex_colors: (V, C) float; white when left out, as are the next two; the kind and C
                or R stay.
            texels: (F, R, R, 3) float.
            texture_cubes: (F, R, R, R, 3) float.
            uvs: (U, 2) float, of a mesh that has UVs.
            uv_faces: (F, 3) int, as for `Mesh`.
            face_materials: (F,) int, an index of `materials`.

        Raises:
            ValueError: for a mesh without capacity, or more than that; within a tape; as `Mesh`.
                The mesh stays what it was.
        """
        if self.capacity is None:
            raise ValueError(
                "this mesh has no room for another topology: make it with "
                "Mesh(..., capacity=(V, F)), the most vertices and faces that it may get"
            )
        if is_in_tape():
            raise ValueError("mesh.replace must come before the ti.ad.Tape opens")
        vertices = finite_array("vertices", vertices, ("V", 3))
        colors = dict(zip(COLORS, (vertex_colors, texels, texture_cubes)))
        row = (*self.colors.shape[1:], self.colors.n)
        contents = check_contents(
            len(vertices),
            faces,
            colors,
            uvs,
            uv_faces,
            self.materials,
            face_materials,
            plain=(self.color_kind, row),
        )
        if contents.color_kind != self.color_kind or contents.colors.shape[1:] != row:
            raise ValueError(
                f"this mesh has {self.color_kind} of shape {row} each, got {contents.color_kind} "
                f"of {contents.colors.shape[1:]}"
            )
        if (contents.uvs is None) != (self.uvs is None):
            has = "no UVs" if self.uvs is None else "UVs"
            raise ValueError(f"this mesh was made with {has}: replace it by one that has {has}")
        self._check_room(contents)
        if contents.uvs is not None and len(contents.uvs) > num_elements(self.uvs):
            raise ValueError(
                f"the capacity is {num_elements(self.uvs)} UVs, three for each face, got "
                f"{len(contents.uvs)}"
            )
        self._take(contents)
        self._upload(vertices, contents)
        self._corners.write(self.faces_array)
        if "_uv_corners" in self.__dict__:
            self._uv_corners.write(self._uv_faces)
        for field in (self.vertices, self.colors, self.uvs):
            if field is not None:
                renew(field)
        self.num_replacements += 1

    @property
    def uv_topology(self) -> tuple:
        """As `faces`, `corner_starts` and `corners_of_vertex`, of UVs; without, of a single one."""
        return self._uv_corners.arrays

    @functools.cached_property
    def _uv_corners(self) -> CornerLists:
        num_uvs = 1 if self.uvs is None else num_elements(self.uvs)
        return CornerLists(self._uv_faces, num_uvs, self.faces.shape[0])

    @property
    def _uv_faces(self) -> np.ndarray:
        if self.uvs is None:
            return np.zeros((self.num_faces, 3), np.int32)
        return self.uv_faces_array

    @classmethod
    def load(cls, path: Union[str, os.PathLike], texel_resolution: int = 0) -> "Mesh":
        """Reads OBJ, PLY, OFF, STL, GLB, glTF and, with the extra `formats`, what trimesh reads.

        Vertices and faces keep the order of the file; a vertex with several UV coordinates
        stays one vertex. Colours of vertices, UVs, materials and textures are those of the file. A
        UserWarning names it and what of it is missing or not followed.

        Args:
            path: the file.
            texel_resolution: with R > 0 the colours of the file are baked to R x R texels a face,
                in place of UVs and materials.

        Raises:
            MeshFileError: a ValueError of `taichi_softras.io`; no such file, no triangles in it,
                or it cannot be read.
        """
        return cls.from_arrays(load_mesh(path, texel_resolution))

    @classmethod
    def from_arrays(cls, mesh: MeshArrays) -> "Mesh":
        """What `io.meshes.load_mesh` has read, as fields."""
        return cls(
            mesh.vertices,
            mesh.faces,
            mesh.vertex_colors,
            mesh.texels,
            uvs=mesh.uvs,
            uv_faces=mesh.uv_faces,
            materials=materials_from_arrays(mesh.materials),
            face_materials=mesh.face_materials,
        )

    def save(self, path: Union[str, os.PathLike], frame: int = 0) -> None:
        """Writes the mesh; the suffix names the format, which may hold less, see `io.save_mesh`.

        Args:
            path: OBJ (with MTL and PNG files beside it), GLB, glTF, PLY, OFF or STL.
            frame: of a mesh that moves; of a batch, which mesh.

        Raises:
            OSError: it cannot be written; what was there before stays.
            ValueError: a batch has no such mesh.
        """
        if self.num_meshes > 1 and not 0 <= frame < self.num_meshes:
            raise ValueError(
                f"frame says which of {self.num_meshes} meshes of a batch, from 0, got {frame}"
            )
        shape = (self.num_frames, num_elements(self.vertices) // self.num_frames, 3)
        mesh = frame if self.num_meshes > 1 else 0
        vertices = slice(*self.vertex_starts[mesh:][:2])
        faces = slice(*self.face_starts[mesh:][:2])
        save_mesh(
            path,
            self.vertices.to_numpy().reshape(shape)[0 if mesh else frame, vertices],
            self.faces_array[faces] - vertices.start,
            None if self.vertex_colors is None else self.vertex_colors.to_numpy()[vertices],
            uvs=None if self.uvs is None else self.uvs.to_numpy()[: self.num_uvs],
            uv_faces=None if self.uvs is None else self.uv_faces_array[faces],
            materials=materials_to_arrays(self.materials),
            face_materials=self.face_materials_array[faces] if self.materials else None,
        )

    def check_colors(self, name: str = "mesh") -> None:
        """Raises a ValueError if something that was written to the colours is not finite."""
        for kind in ("vertex_colors", "texels", "texture_cubes"):
            if getattr(self, kind) is not None:
                check_field(f"{name}.{kind}", getattr(self, kind))
        if self.uvs is not None:
            check_field(f"{name}.uvs", self.uvs)
        for k, material in enumerate(self.materials):
            material.check(f"{name}.materials[{k}]")

    @functools.cached_property
    def edges_array(self) -> np.ndarray:
        """(E, 2) int32, every undirected edge once, smaller index first, in rising order."""
        edges = np.sort(self.faces_array[:, [[0, 1], [1, 2], [2, 0]]], axis=-1).reshape(-1, 2)
        keys = np.unique(edges[:, 0].astype(np.int64) * self.num_vertices + edges[:, 1])
        return np.stack(np.divmod(keys, self.num_vertices), axis=-1).astype(np.int32)


def _check_vertices_field(vertices) -> None:
    """Raises a ValueError unless it can be the `vertices` of a mesh."""
    is_points = isinstance(vertices, ti.MatrixField) and (vertices.ndim, vertices.n) == (1, 3)
    if not is_points or len(vertices.shape) not in (1, 2):
        raise ValueError(
            "vertices must be a field of 3-vectors of shape (V,) or (T, V), got "
            f"{type(vertices).__name__} of shape {vertices.shape}"
        )
    wanted = ti.f64 if default_numpy_float() == np.float64 else ti.f32
    if vertices.dtype != wanted:
        raise ValueError(
            f"vertices must be a field of {wanted}, as default_fp of ti.init says, "
            f"got {vertices.dtype}"
        )
    if not has_gradient(vertices):
        raise ValueError("vertices must be a field that was made with needs_grad=True")


def _checked_capacity(capacity, is_refused: bool) -> Optional[tuple]:
    """(vertices, faces), or a ValueError."""
    if capacity is None:
        return None
    numbers = np.asarray(capacity)
    is_pair = numbers.shape == (2,) and np.issubdtype(numbers.dtype, np.integer)
    if not is_pair or numbers.min() < 1:
        raise ValueError(f"capacity must be (vertices, faces), whole numbers, got {capacity!r}")
    if is_refused:
        raise ValueError(
            "capacity is for a still mesh of its own vertices, an array (V, 3): neither frames nor "
            "a field of a simulation can be replaced"
        )
    return tuple(numbers.tolist())
