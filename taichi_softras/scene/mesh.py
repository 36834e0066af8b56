"""A triangle mesh: NumPy arrays, a simulation's field or a file in, Taichi fields out.

The fields carry gradients and are what a simulation or an optimizer writes to;
the topology is fixed for the life of the mesh.
"""

import functools
import os
from typing import Callable, Optional, Union

import numpy as np

from taichi_softras.fields import FieldTree, num_elements, upload
from taichi_softras.funcs.lookups import CUBES, TEXELS, Lookup
from taichi_softras.io.contents import MeshArrays
from taichi_softras.io.meshes import load_mesh, save_mesh
from taichi_softras.runtime import default_numpy_float, has_gradient, ti
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.checks import (
    check_field,
    check_kind,
    check_shape,
    finite_array,
    warn_of_bytes,
)
from taichi_softras.scene.material import Material, materials_from_arrays, materials_to_arrays


class Mesh:
    """Triangles in world space with colours of vertices or of faces: texels or texture cubes.

    A mesh that moves has T frames, each with all V vertices; faces and colours stay.

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
        corner_starts, corners_of_vertex: (V + 1,) and (3F,) int arrays; the corners
            3 * face + corner that meet at a vertex are
            `corners_of_vertex[corner_starts[vertex]:corner_starts[vertex + 1]]`.
        faces_array: (F, 3) int32 NumPy copy of `faces`.
        is_moving: whether `vertices` has frames.
        num_vertices, num_faces, num_frames: V, F and T, which is 1 for a still mesh.
        texel_resolution: R, 0 for vertex colours.
        lookup: how `face_colors` are read, None for vertex colours.
        uvs: (U,) vec2 field with gradient, or None; (0, 0) is the lower left corner of a picture.
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

        Raises:
            ValueError: wrong shapes, no vertex or face, entries that are not finite, indices
                that are not integers of [0, V), several kinds of colours, or a field of another
                kind, precision or without gradient; textures without UVs, materials beside face
                textures or beside colours of another number than 3.
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
        self.num_vertices = shape[-1]
        self.faces_array = _checked_faces(faces, self.num_vertices)
        self.num_faces = len(self.faces_array)
        kind, colors = self._checked_colors(vertex_colors, texels, texture_cubes)

        self._check_materials(materials, face_materials, kind, colors.shape[-1])
        uvs = self._checked_uvs(uvs, uv_faces)

        tree = FieldTree()
        self.vertices = vertices if is_field else tree.add(shape, (3,))
        colors_field = tree.add(colors.shape[:-1], colors.shape[-1:])
        setattr(self, kind, colors_field)
        self.face_colors = None if kind == "vertex_colors" else colors_field
        self.texel_resolution = 0 if self.face_colors is None else colors.shape[1]
        lookups = {"texels": TEXELS, "texture_cubes": CUBES}
        self.lookup: Optional[Lookup] = lookups.get(kind)
        self.uvs = None if uvs is None else tree.add((len(uvs),), (2,))
        tree.place()
        given = [(colors_field, colors)]
        given += [] if is_field else [(self.vertices, vertices)]
        given += [] if uvs is None else [(self.uvs, uvs)]
        upload(*map(list, zip(*given)))

        self.faces, self.corner_starts, self.corners_of_vertex = _topology(
            self.faces_array, self.num_vertices
        )

    def _checked_colors(self, vertex_colors, texels, texture_cubes) -> tuple:
        """The name of the kind that is given, and its array; white vertices if there is none."""
        choices = {
            "vertex_colors": (vertex_colors, (self.num_vertices, "C")),
            "texels": (texels, (self.num_faces, "R", "R", 3)),
            "texture_cubes": (texture_cubes, (self.num_faces, "R", "R", "R", 3)),
        }
        given = [name for name, (values, _) in choices.items() if values is not None]
        if len(given) > 1:
            raise ValueError(f"a mesh has one kind of colours, got {' and '.join(given)}")
        kind = given[0] if given else "vertex_colors"
        values, shape = choices[kind]
        white = np.ones((self.num_vertices, 3))
        colors = finite_array(kind, white if values is None else values, shape)
        if values is not None and colors.shape[-1] in (3, 4):  # others are no colours
            warn_of_bytes(kind, values)
        if kind == "texture_cubes" and colors.shape[1] < 2:
            raise ValueError(f"texture_cubes must have R >= 2, got shape {colors.shape}")
        return kind, colors

    def _check_materials(self, materials, face_materials, kind: str, channels: int) -> None:
        """Fills `materials` and `face_materials_array`."""
        self.materials = (materials,) if isinstance(materials, Material) else tuple(materials or ())
        for one in self.materials:
            check_kind("materials", one, (Material,), "Materials, such as [Material(...)]")
        if self.materials and (kind != "vertex_colors" or channels != 3):
            raise ValueError(
                f"materials tint vertex colours of 3 channels, got {kind} of {channels}: leave "
                "them out, or the materials"
            )
        count = max(len(self.materials), 1)
        if face_materials is None:
            if count > 1:
                raise ValueError(f"face_materials (F,) must say which of {count} each face has")
            face_materials = np.zeros(self.num_faces, int)
        indices = np.asarray(face_materials)
        check_shape("face_materials", indices, (self.num_faces,))
        if not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"face_materials must be integers, got {indices.dtype}")
        if indices.min() < 0 or indices.max() >= count:
            raise ValueError(
                f"face_materials must index {count} materials from 0, got indices from "
                f"{indices.min()} to {indices.max()}"
            )
        self.face_materials_array = indices.astype(np.int32)

    def _checked_uvs(self, uvs, uv_faces) -> Optional[np.ndarray]:
        """(U, 2), and `uv_faces_array`; None without."""
        self.uv_faces_array = None
        if uvs is None:
            textured = [one for one in self.materials if any(one.textures)]
            if textured:
                raise ValueError(
                    f"{len(textured)} of the materials have textures, and the mesh has no UVs to "
                    "look them up: give Mesh(..., uvs=)"
                )
            if uv_faces is not None:
                raise ValueError("uv_faces are indices of uvs, which are missing")
            return None
        uvs = finite_array("uvs", uvs, ("U", 2))
        if uv_faces is None and len(uvs) != self.num_vertices:
            raise ValueError(
                f"uvs are those of {self.num_vertices} vertices without uv_faces, got {len(uvs)}"
            )
        uv_faces = self.faces_array if uv_faces is None else uv_faces
        self.uv_faces_array = _checked_faces(uv_faces, len(uvs), "uv_faces", "UVs")
        if len(self.uv_faces_array) != self.num_faces:
            raise ValueError(
                f"uv_faces must have shape ({self.num_faces}, 3), as faces have, got "
                f"{self.uv_faces_array.shape}"
            )
        return uvs

    @functools.cached_property
    def uv_topology(self) -> tuple:
        """As `faces`, `corner_starts` and `corners_of_vertex`, of UVs; without, of a single one."""
        if self.uvs is None:
            return _topology(np.zeros((self.num_faces, 3), np.int32), 1)
        return _topology(self.uv_faces_array, num_elements(self.uvs))

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
            frame: of a mesh that moves.

        Raises:
            OSError: it cannot be written; what was there before stays.
        """
        colors = None if self.vertex_colors is None else self.vertex_colors.to_numpy()
        vertices = self.vertices.to_numpy().reshape(self.num_frames, self.num_vertices, 3)
        save_mesh(
            path,
            vertices[frame],
            self.faces_array,
            colors,
            uvs=None if self.uvs is None else self.uvs.to_numpy(),
            uv_faces=self.uv_faces_array,
            materials=materials_to_arrays(self.materials),
            face_materials=self.face_materials_array if self.materials else None,
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


def _checked_faces(faces, count: int, name: str = "faces", what: str = "vertices") -> np.ndarray:
    faces = np.asarray(faces)
    check_shape(name, faces, ("F", 3))
    if not np.issubdtype(faces.dtype, np.integer):
        raise ValueError(f"{name} must be integers, got {faces.dtype}: convert with astype(int)")
    if faces.min() < 0 or faces.max() >= count:
        raise ValueError(
            f"{name} must index {count} {what} from 0, "
            f"got indices from {faces.min()} to {faces.max()}"
        )
    return np.array(faces, np.int32, order="C")


def _topology(faces: np.ndarray, count: int) -> tuple:
    """Arrays on the device: the faces, and which of their corners are of each vertex."""
    of_corner = faces.ravel()
    counts = np.bincount(of_corner, minlength=count)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return _int_array(faces), _int_array(starts), _int_array(np.argsort(of_corner, kind="stable"))


def _int_array(values: np.ndarray) -> ti.Ndarray:
    array = ti.ndarray(int, values.shape)
    array.from_numpy(np.ascontiguousarray(values, np.int32))
    return array
