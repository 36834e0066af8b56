"""The core: the only file that knows the order of the stages, forward, backward and in tangents.

    scene -> [transform] -> place -> lay materials -> corners, varyings, textures
          -> clip -> rasterize (fragment) -> image

Arrays in, arrays out: no field, no tape, no autodiff of Taichi's.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Optional

import numpy as np

from taichi_softras.funcs.lights import NO_LIGHTS, LightStructure
from taichi_softras.geometry.eyes import find_eyes, find_eyes_backward, find_eyes_tangent
from taichi_softras.geometry.inspection import project_vertices
from taichi_softras.geometry.mesh_table import NUM_VERTICES, MeshTable
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    LIT_FACES,
    LIT_VERTICES,
    LOOK_AT,
    NOTHING,
    Layout,
    Placed,
    SceneArrays,
    SceneNumbers,
    Stages,
    Tables,
    Views,
)
from taichi_softras.geometry.transforms import (
    TRANSFORM_SIZE,
    ObjectNumbers,
    lay_out_objects,
    num_shares_of_objects,
    transform_objects,
    transform_objects_jvp,
    transform_objects_vjp,
)
from taichi_softras.geometry.view_rotations import (
    Poses,
    compute_view_rotations,
    compute_view_rotations_jvp,
    compute_view_rotations_vjp,
)
from taichi_softras.placement import (
    allocate_grad_tables,
    allocate_placement,
    place_scene,
    place_scene_backward,
    place_scene_tangent,
)
from taichi_softras.rasterizers.base import Rasterization, Rasterizer
from taichi_softras.rasterizers.clipping import Clipping, draw_clipped
from taichi_softras.rasterizers.fragments import (
    Shader,
    Surface,
    SurfaceNumbers,
    lay_face_textures,
)
from taichi_softras.rasterizers.nearest_face import NearestFace, NearestFaceRasterization
from taichi_softras.runtime import kernel, lean_compilation, ti
from taichi_softras.shading.base import (
    BARYCENTRIC,
    BY_FACE,
    BY_VERTEX,
    DEPTH,
    EYE,
    FACE_NORMAL,
    NORMAL,
    POSITION,
    VIEW_ROTATION,
)
from taichi_softras.shading.composition import Composition
from taichi_softras.shading.materials import (
    MATERIAL_SIZE,
    Corners,
    MaterialArrays,
    lay_materials,
    lay_materials_backward,
    lay_materials_tangent,
    num_shares,
)
from taichi_softras.shading.pyramids import build_levels, build_levels_vjp
from taichi_softras.workspace import Workspace, array

LIT = {None: NOTHING, BY_FACE: LIT_FACES, BY_VERTEX: LIT_VERTICES}


class Topology(NamedTuple):
    """Which vertices make faces."""

    faces: ti.Ndarray  # (P, 3) int, of all meshes
    corner_starts: ti.Ndarray  # (V + 1,) int
    corners_of_vertex: ti.Ndarray  # (3P,) int, 3 * face + corner


class MaterialScene(NamedTuple):
    """Materials, UVs and images of a mesh."""

    uv_faces: ti.Ndarray  # (P, 3) int
    corner_starts: ti.Ndarray  # (U + 1,) int, as those of vertices
    corners_of_uv: ti.Ndarray  # (3 P,) int
    materials_of_faces: np.ndarray  # (1 or B, F) int, by the places of `mesh_table`
    images: tuple  # ints, see `funcs.images`
    rows: tuple  # of different images, of `pyramids.lay_out_images`
    num_uvs: int
    num_materials: int
    num_texels: int
    num_channels: int  # of the widest image


class Kinds(NamedTuple):
    """What the numbers of cameras and lights mean, see `geometry.scene_arrays`."""

    pose: int
    projection: int
    lights: LightStructure
    is_distorted: bool = False


class Looks(NamedTuple):
    """What of UVs and materials has a gradient and a tangent."""

    uvs: ti.Ndarray  # (U, 2)
    numbers: ti.Ndarray  # (M, MATERIAL_SIZE)
    texels: ti.Ndarray  # (1, 1, N, C) of all images, their coarser levels behind each


class Pipeline:
    """Draws the scene that stands in `scene`, and carries gradients back to `grad_scene`.

    Attributes:
        scene: arrays that the caller fills: `vertices`, `albedo`, `uniforms`.
        grad_scene: their gradients, after `backward`.
        given, grad_given, tangent_given: the same three, but for a scene of objects the vertices in
            their spaces, from which a stage fills those of `scene`.
        objects: these vertices, and the transforms, which the caller fills, too; None without.
        looks: arrays that the caller fills: UVs, materials, finest texels; tiny where there are
            none, as `grad_looks`.
        fragment_uniforms, grad_fragment_uniforms: (1 or B, N) those of shadings.
        num_views: B.
        meshes: which vertices and faces each view draws.
        rasterization: what was drawn last.
        nearest: what was drawn with it of the nearest face at each pixel; None if the composition
            does not ask for it.
    """

    def __init__(  # all that a scene is made of
        self,
        workspace: Workspace,
        topology: Topology,
        meshes: MeshTable,
        kinds: Kinds,
        composition: Composition,
        image_size: tuple,
        num_views: int,
        num_cameras: int,
        num_light_numbers: int,
        albedo_shape: tuple,
        is_moving: bool,
        moves_cameras: bool,
        materials: Optional[MaterialScene] = None,
        object_starts: Optional[tuple] = None,
    ):
        """Lays out arrays; none of them has anything in it yet.

        Args:
            workspace: keeps the arrays.
            topology: of all meshes.
            meshes: which of them each view draws.
            kinds: of cameras and lights.
            composition: what is drawn.
            image_size: (H, W) in pixels.
            num_views: B.
            num_cameras: 1 or B.
            num_light_numbers: in `uniforms`, behind the cameras'.
            albedo_shape: (A, N, C): (V, 1, C) colours of vertices, or (P, N, C) face textures.
            is_moving: whether every view has vertices of its own.
            moves_cameras: whether gradients of the cameras are asked for.
            materials: what the composition reads of them; None for nothing.
            object_starts: the first vertex of each object that has a transform, and V; None where
                vertices are those of the world.
        """
        self.workspace, self.composition = workspace, composition
        workspace.has_own_faces = meshes.is_batch
        self._of_rasterizer, self._of_nearest = workspace.another(), workspace.another()
        self.image_size, self.num_views = image_size, num_views
        self.num_cameras = num_cameras
        num_vertices = topology.corner_starts.shape[0] - 1
        self.meshes, self._layout = meshes, self._make_layout(kinds, albedo_shape[1])
        self.scene = SceneArrays(
            workspace.get("vertices", (num_views if is_moving else 1, num_vertices, 3)),
            *topology,
            workspace.get("albedo", albedo_shape),
            workspace.get("uniforms", (CAMERA_SIZE * num_cameras + num_light_numbers,)),
            workspace.constants("layout", (*self._layout, *meshes.numbers), int),
            self._choose_stages(kinds, albedo_shape[2], moves_cameras),
        )
        self._lay_out_objects(object_starts)
        num_uniforms = composition.num_uniforms
        shape = (num_cameras, num_uniforms) if num_uniforms else (1, 1)
        self.fragment_uniforms = workspace.get("fragment_uniforms", shape)
        self._lay_out_looks(materials, albedo_shape[1])
        rotations = (c for _, name, c in composition.uniforms if name == VIEW_ROTATION)
        self._rotation_columns = tuple(rotations)  # of `fragment_uniforms`
        self._eye_columns = []  # of cameras that do not have it among their numbers
        if kinds.pose != LOOK_AT:
            self._eye_columns = [at for _, name, at in composition.uniforms if name == EYE]
        self._image_tables = {}  # by the first view of a pass, and how many views it has
        self.rasterization: Optional[Rasterization] = None
        self.nearest: Optional[NearestFaceRasterization] = None
        self._clipping: Optional[Clipping] = None  # of `rasterization`
        self._clipping_of_nearest: Optional[Clipping] = None
        self._tables: Optional[Tables] = None  # of the pass that was placed last
        # of `rasterization`: the rasterizer, first view, number of views
        self._drawn: Optional[tuple] = None

    def _lay_out_objects(self, starts: Optional[tuple]) -> None:
        """Arrays of vertices in the spaces of objects, and of transforms."""
        self.objects: Optional[ObjectNumbers] = None
        if starts is None:
            return
        get, num_objects = self.workspace.get, len(starts) - 1
        self.objects = ObjectNumbers(
            get("object_vertices", tuple(self.scene.vertices.shape)),
            get("transforms", (num_objects, TRANSFORM_SIZE)),
        )
        self._object_tables = lay_out_objects(starts)
        shares = num_shares_of_objects(int(np.diff(starts).max()))
        self._object_partials = get("object_partials", (num_objects, shares, 12))

    def _lay_out_looks(self, materials: Optional[MaterialScene], num_entries: int) -> None:
        """Arrays of materials, and of what is looked up."""
        get, lookup = self.workspace.get, self.composition.lookup
        self._materials, self._rows = materials, ()
        if materials is None:
            self.looks = Looks(
                get("uvs", (1, 2)), get("materials", (1, 1)), get("texels", (1,) * 4)
            )
            self._images = lay_face_textures(self.workspace, lookup, num_entries)
            return
        self._rows = materials.rows
        self.looks = Looks(
            get("uvs", (materials.num_uvs, 2)),
            get("materials", (materials.num_materials, MATERIAL_SIZE)),
            get("texels", (1, 1, materials.num_texels, materials.num_channels)),
        )
        self._images = None
        if lookup is not None:
            self._images = lay_face_textures(self.workspace, lookup, num_entries)

    def replace_mesh(self, meshes: MeshTable, materials: Optional[MaterialScene]) -> None:
        """Another mesh stands in the arrays that were given, within what there was room for."""
        self.meshes, self._materials = meshes, materials
        self._image_tables.clear()
        self.workspace.constants("layout", (*self._layout, *meshes.numbers), int)
        self.forget()

    def _lay_images(self, first: int, num_views: int) -> ti.Ndarray:
        """The table of `funcs.images` for the views of a pass."""
        rows = self._materials.materials_of_faces
        if len(rows) == 1 or num_views == self.num_views:
            first, num_views = 0, len(rows)
        key = first, num_views
        if key not in self._image_tables:
            rows = rows[first : first + num_views]
            by_view = rows.shape[1] if len(rows) > 1 else 0
            table = (rows.size, by_view, *rows.ravel().tolist(), *self._materials.images)
            self._image_tables[key] = table
        return self.workspace.constants(f"images_from_{first}", self._image_tables[key], int)

    def _make_layout(self, kinds: Kinds, num_entries: int) -> Layout:
        lookup = self.composition.lookup
        resolution = round(num_entries ** (1 / lookup.num_axes)) if lookup else 1
        return Layout(kinds.pose, kinds.projection, resolution, *kinds.lights.counts)

    def _choose_stages(self, kinds: Kinds, channels: int, moves_cameras: bool) -> Stages:
        composition, columns = self.composition, self.composition.columns
        lights = kinds.lights
        return Stages(
            lit=LIT[composition.light],
            lights=LightStructure(*map(bool, lights.counts)) if composition.light else NO_LIGHTS,
            channels=channels if composition.reads_color else 0,
            lookup=composition.lookup,
            num_varyings=composition.num_varyings,
            num_of_materials=composition.num_varyings - composition.num_placed,
            normal_column=columns.get(NORMAL, -1),
            position_column=columns.get(POSITION, -1),
            depth_column=columns.get(DEPTH, -1),
            moves_cameras=moves_cameras,
            varies_by_view=composition.material_columns.footprint >= 0,
            barycentric_column=columns.get(BARYCENTRIC, -1),
            face_normal_column=columns.get(FACE_NORMAL, -1),
            is_distorted=kinds.is_distorted,
        )

    def draw(self, rasterizer: Rasterizer, first: int, num_views: int) -> None:
        """Fills `rasterization.image` with some views, unless it holds them."""
        if self._drawn is not None and self._drawn[1:] == (first, num_views):
            if self._drawn[0] is rasterizer:
                return
        placed = self.place(first, num_views)
        for column in self._rotation_columns:
            compute_view_rotations(*self._poses, column, self.fragment_uniforms)
        for column in self._eye_columns:
            find_eyes(*self._poses, column, self.fragment_uniforms)
        uniforms = self._uniforms_of_pass("uniforms_of_pass", num_views)
        if uniforms is not self.fragment_uniforms:
            copy_rows(self.fragment_uniforms, first, uniforms)
        textures = self.looks.texels if self.composition.has_images else placed.textures
        images = self._lay_images(first, num_views) if self._images is None else self._images
        surface = Surface(placed.varyings, textures, uniforms, images)
        self.rasterization, self._clipping = self._draw(
            rasterizer, self._of_rasterizer, placed.corners, self.composition.shader, surface
        )
        if self.composition.nearest is not None:
            self.nearest, self._clipping_of_nearest = self._draw(
                NearestFace.as_seen_by(rasterizer),
                self._of_nearest,
                placed.corners,
                self.composition.nearest,
                surface,
            )
        self._drawn = rasterizer, first, num_views

    def _draw(
        self,
        rasterizer: Any,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
    ) -> tuple:
        """The rasterization, and the `Clipping` of its faces or None."""

        def rasterize(corners: ti.Ndarray, shader: Shader, surface: Surface) -> Rasterization:
            return rasterizer.forward(workspace, corners, shader, surface, self.image_size)

        return draw_clipped(workspace, corners, shader, surface, self.image_size, rasterize)

    def place(self, first: int, num_views: int) -> Placed:
        """What a rasterizer reads of some views."""
        self.forget()
        self._tables, placed = self._allocate(num_views)
        with lean_compilation():
            place_scene(*self.scene, *self._views(first), *self._tables, *placed)
            if self._lays_materials:
                lay_materials(
                    *self._material_inputs(first, placed.corners),
                    placed.varyings,
                    self.composition.material_columns,
                )
        return placed

    @property
    def _lays_materials(self) -> bool:
        return self.composition.num_placed < self.composition.num_varyings

    def _material_inputs(self, first: int, corners: ti.Ndarray) -> tuple:
        """What the kernels of materials read."""
        of_mesh = self._materials
        arrays = MaterialArrays(
            self.looks.uvs,
            self.looks.numbers,
            of_mesh.uv_faces,
            of_mesh.corner_starts,
            of_mesh.corners_of_uv,
            self._lay_images(first, corners.shape[0]),
        )
        placed = Corners(self.scene.vertices, self.scene.faces, self.scene.layout, corners)
        return (*arrays, *placed, first, 2.0 / min(self.image_size))

    def transform(self, first: int, end: int) -> None:
        """After `given` and transforms were filled: the vertices of some views, of objects."""
        if self.objects is not None:
            transform_objects(*self.objects, *self._object_tables, first, end, self.scene.vertices)

    def finish_looks(self) -> None:
        """After `looks` were filled: the coarser levels of images."""
        if self._rows:
            build_levels(self.workspace, self.looks.texels, self._rows)

    def look(self, faces: np.ndarray, first: int, end: int) -> tuple:
        """Where all faces are, on the host; something must have been placed since the last change.

        Args:
            faces: (P, 3) those of the scene.
            first: view.
            end: behind the last view.

        Returns:
            An iterator of the corners (F, 3, 4) in each view; and the diagonal of the box around
            the vertices of faces, in units of depth, of the largest mesh.
        """
        matrices, vertices = self._read_back(first, end)
        diagonal = 0.0
        for view in range(end - first if self.meshes.is_batch else 1):
            points, of_view = self._mesh_of(vertices, faces, first + view)
            is_used = np.zeros(points.shape[1], bool)
            is_used[of_view] = True
            with np.errstate(invalid="ignore"):  # of infinite ones, which no rasterizer draws
                box = np.ptp(points[:, is_used], axis=(0, 1))
            diagonal = np.maximum(diagonal, np.linalg.norm(box))  # NaN stays
        size = diagonal * np.linalg.norm(matrices[:, 2, :3], axis=1).max()
        views = self._by_view(matrices, vertices, faces, first, end)
        return (_corners(*view) for view in views), size

    def _mesh_of(self, vertices: np.ndarray, faces: np.ndarray, view: int) -> tuple:
        """Vertices, of all frames, and faces of what a view draws."""
        face, num_faces, vertex, num_vertices = self.meshes.row_of(view)
        of_mesh = vertices[:, vertex : vertex + num_vertices]
        return of_mesh, faces[face : face + num_faces] - vertex

    def look_through_lenses(self, faces: np.ndarray, first: int, end: int) -> Iterator[tuple]:
        """As `look`: of each view the corners as its pinhole has them, and its lens (3, 4)."""
        matrices, vertices = self._read_back(first, end)
        for view in self._by_view(matrices, vertices, faces, first, end):
            yield _corners(*view), view[0][4:]

    def _by_view(
        self, matrices: np.ndarray, vertices: np.ndarray, faces: np.ndarray, first: int, end: int
    ) -> Iterator[tuple]:
        """The matrix, the vertices and the faces of one view after another."""
        for k in range(end - first):
            points, of_view = self._mesh_of(vertices, faces, first + k)
            yield (
                matrices[min(first + k, len(matrices) - 1)],
                points[min(k, len(points) - 1)],
                of_view,
            )

    def _read_back(self, first: int, end: int) -> tuple:
        """The matrices of all cameras, the vertices of some views or of all."""
        matrices = self._tables.matrices.to_numpy().astype(np.float64)
        vertices = self.scene.vertices.to_numpy().astype(np.float64)
        return matrices, vertices[first:end] if len(vertices) > 1 else vertices

    def project_vertices(self) -> ti.Ndarray:
        """(B, V, 3): x_ndc, y_ndc and depth of all vertices; V of the largest mesh."""
        shape = (self.num_views, max(row[NUM_VERTICES] for row in self.meshes.rows), 3)
        vertices_ndc = self.workspace.new("vertices_ndc", shape)
        self.place(0, self.num_views)
        tables, stages = self._tables, self.scene.stages
        inputs = (self.scene.vertices, self.scene.layout, tables.matrices, stages.is_distorted)
        project_vertices(*inputs, vertices_ndc)
        return vertices_ndc

    def forget(self) -> None:
        """The scene has changed: what was drawn must be drawn again."""
        self._drawn = None

    def backward(self, is_first: bool) -> None:
        """From `grad_image` of what was drawn to `grad_scene` and `grad_fragment_uniforms`.

        Args:
            is_first: whether gradients are written; otherwise they are added to.
        """
        _, first, num_views = self._drawn
        grad_corners, grad_surface = self._pull_back_drawn()
        tables, placed = self._allocate(num_views)
        self._backward_looks(first, is_first, placed.corners, grad_corners, grad_surface)
        grad_textures = grad_surface.textures
        if self.composition.has_images:
            grad_textures = self._get_like("grad_no_textures", placed.textures)
        with lean_compilation():
            place_scene_backward(
                *self.scene,
                *self._views(first),
                is_first,
                *tables,
                *Placed(grad_corners, grad_surface.varyings, grad_textures),
                *allocate_grad_tables(self.workspace, self.scene, self.meshes, tables, placed),
                *self.grad_scene,
            )
        if self.composition.num_uniforms:
            add_rows(grad_surface.uniforms, first, is_first, self.grad_fragment_uniforms)
        if self.scene.stages.moves_cameras:
            for column in self._rotation_columns:
                compute_view_rotations_vjp(
                    *self._poses,
                    column,
                    first,
                    self.num_cameras,
                    grad_surface.uniforms,
                    self.grad_scene.uniforms,
                )

    def _pull_back_drawn(self) -> tuple:
        """The gradients at the corners and the surface, of all that was drawn."""
        grads = _pull_back(self.rasterization, self._clipping)
        if self.nearest is None or not self.nearest.shader.num_channels:
            return grads
        others = _pull_back(self.nearest, self._clipping_of_nearest)
        both = self._get_like("grad_of_both", grads[0]), grads[1].like(self.workspace, "both")
        add_gradients(*(array for corners, of in (grads, others, both) for array in (corners, *of)))
        return both

    def _backward_looks(
        self,
        first: int,
        is_first: bool,
        corners: ti.Ndarray,
        grad_corners: ti.Ndarray,
        grad_surface: SurfaceNumbers,
    ) -> None:
        """To `grad_looks`, and to the corners and positions that varyings of materials are of."""
        grad_looks = self.grad_looks
        if self._lays_materials:
            columns = self.composition.material_columns
            shares = num_shares(self.meshes.face_places), math.prod(self.looks.numbers.shape)
            with lean_compilation():
                lay_materials_backward(
                    *self._material_inputs(first, corners),
                    is_first,
                    grad_corners,
                    grad_surface.varyings,
                    self.workspace.get("material_shares", shares),
                    grad_looks.uvs,
                    grad_looks.numbers,
                    columns,
                )
        if self.composition.moves_images:
            if self._rows:
                build_levels_vjp(self.workspace, grad_surface.textures, self._rows)
            add_texels(grad_surface.textures, is_first, grad_looks.texels)

    def pull_back_transforms(self, first: int, end: int) -> None:
        """From `grad_scene` to the vertices and transforms of objects, after all passes."""
        if self.objects is not None:
            transform_objects_vjp(
                *self.objects,
                *self._object_tables,
                first,
                end,
                self.grad_scene.vertices,
                self._object_partials,
                *self.grad_objects,
            )

    def pull_back_eyes(self) -> None:
        """From `grad_fragment_uniforms` to the matrices of cameras, after all passes."""
        if self.scene.stages.moves_cameras:
            for column in self._eye_columns:
                find_eyes_backward(
                    *self._poses,
                    column,
                    self.grad_fragment_uniforms,
                    self.grad_scene.uniforms,
                )

    def push_forward(self, tangents: Iterable[tuple]) -> ti.Ndarray:
        """(P, B, C + 1, H, W): derivatives of the image by P numbers, of all views in one pass.

        Args:
            tangents: an iterable of (index, P) that fills `tangent_given` and
                `tangent_fragment_uniforms` with the derivatives by one number after another.
        """
        _, first, num_views = self._drawn
        tables, placed = self._allocate(num_views)
        tangent_tables = self._like("tangent", tables)
        stacked, of_uniforms = placed, self.fragment_uniforms
        for index, count in tangents:
            self._push_transforms()
            for column in self._rotation_columns:
                compute_view_rotations_jvp(
                    *self._poses,
                    self.tangent_scene.uniforms,
                    column,
                    self.tangent_fragment_uniforms,
                )
            stacked = self._like("tangent", placed, count)
            of_uniforms = self._get_like("tangent_uniforms_of", self.fragment_uniforms, count)
            with lean_compilation():
                place_scene_tangent(
                    *self.scene,
                    *self._views(first),
                    *tables,
                    *self.tangent_scene,
                    *tangent_tables,
                    index,
                    *stacked,
                )
            for column in self._eye_columns:
                find_eyes_tangent(
                    *self._poses,
                    self.tangent_scene.uniforms,
                    column,
                    self.tangent_fragment_uniforms,
                )
            if self.composition.num_uniforms:
                stack_rows(self.tangent_fragment_uniforms, index, of_uniforms)
            textures = self._push_looks(index, count, first, placed.corners, stacked)
        surface = SurfaceNumbers(stacked.varyings, textures, of_uniforms)
        corners = stacked.corners
        if self._clipping is not None:
            corners, surface = self._clipping.push_forward(corners, surface)
        return self.rasterization.push_forward(corners, surface)

    def _push_transforms(self) -> None:
        """Tangents of the vertices of the world, of objects."""
        if self.objects is not None:
            transform_objects_jvp(
                *self.objects,
                *self._object_tables,
                *self.tangent_objects,
                self.workspace.get(
                    "tangent_matrices_of_objects", self._object_tables.matrices.shape
                ),
                self.tangent_scene.vertices,
            )

    def _push_looks(
        self, index: int, count: int, first: int, corners: ti.Ndarray, stacked: Placed
    ) -> ti.Ndarray:
        """Tangents of materials' varyings into `stacked`; returns those of textures."""
        tangent = self.tangent_looks
        if self._lays_materials:
            with lean_compilation():
                lay_materials_tangent(
                    *self._material_inputs(first, corners),
                    tangent.uvs,
                    tangent.numbers,
                    self.tangent_scene.vertices,
                    stacked.corners,
                    index,
                    stacked.varyings,
                    self.composition.material_columns,
                )
        if not self.composition.has_images:
            return stacked.textures
        if self._rows:
            build_levels(self.workspace, tangent.texels, self._rows)
        texels = self._get_like("tangent_stacked_texels", tangent.texels, count)
        stack_texels(tangent.texels, index, texels)
        return texels

    def _uniforms_of_pass(self, name: str, num_views: int) -> ti.Ndarray:
        """Rows of the views of a pass; all rows where each pass sees all of them."""
        rows, columns = self.fragment_uniforms.shape
        if rows == 1 or num_views == rows:
            return self.fragment_uniforms
        return self.workspace.get(name, (num_views, columns))

    @property
    def _poses(self) -> Poses:
        return Poses(self.scene.uniforms, self.scene.layout)

    @property
    def given(self) -> SceneNumbers:
        """What the caller fills of vertices, albedo and uniforms."""
        return _with_vertices_of(self.objects, self._scene_numbers)

    @property
    def grad_given(self) -> SceneNumbers:
        """Of `given`."""
        return _with_vertices_of(self.grad_objects, self.grad_scene)

    @property
    def tangent_given(self) -> SceneNumbers:
        """Of `given`."""
        return _with_vertices_of(self.tangent_objects, self.tangent_scene)

    @property
    def grad_objects(self) -> Optional[ObjectNumbers]:
        """Of `objects`."""
        return None if self.objects is None else self._like("grad", self.objects)

    @property
    def tangent_objects(self) -> Optional[ObjectNumbers]:
        """Of `objects`."""
        return None if self.objects is None else self._like("tangent", self.objects)

    @property
    def grad_scene(self) -> SceneNumbers:
        """Of vertices, albedo and uniforms."""
        return self._like("grad", self._scene_numbers)

    @property
    def tangent_scene(self) -> SceneNumbers:
        """Of vertices, albedo and uniforms."""
        return self._like("tangent", self._scene_numbers)

    @property
    def grad_looks(self) -> Looks:
        """Of `looks`."""
        return self._like("grad", self.looks)

    @property
    def tangent_looks(self) -> Looks:
        """Of `looks`."""
        return self._like("tangent", self.looks)

    @property
    def grad_fragment_uniforms(self) -> ti.Ndarray:
        """The shape of `fragment_uniforms`."""
        return self._get_like("grad_fragment_uniforms", self.fragment_uniforms)

    @property
    def tangent_fragment_uniforms(self) -> ti.Ndarray:
        """The shape of `fragment_uniforms`."""
        return self._get_like("tangent_fragment_uniforms", self.fragment_uniforms)

    @property
    def _scene_numbers(self) -> SceneNumbers:
        return SceneNumbers(self.scene.vertices, self.scene.albedo, self.scene.uniforms)

    def _like(self, kind: str, arrays: Any, *before: int) -> Any:
        """Arrays of the same shapes in a named tuple of the same type, with axes before them."""
        names = (f"{kind}_{name}" for name in arrays._fields)
        return type(arrays)(*(self._get_like(*pair, *before) for pair in zip(names, arrays)))

    def _get_like(self, name: str, array: ti.Ndarray, *before: int) -> ti.Ndarray:
        return self.workspace.get(name, (*before, *array.shape))

    def _views(self, first: int) -> Views:
        height, width = self.image_size
        return Views(first, width / height)

    def _allocate(self, num_views: int) -> tuple:
        """The `Tables` and `Placed` of a pass."""
        return allocate_placement(
            self.workspace, self.scene, self.meshes, self.num_cameras, num_views
        )


def _corners(matrix: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F, 3, 4) clip coordinates, those of a pinhole."""
    with np.errstate(invalid="ignore"):
        return (vertices @ matrix[:4, :3].T + matrix[:4, 3])[faces]


def _with_vertices_of(objects: Optional[ObjectNumbers], scene: SceneNumbers) -> SceneNumbers:
    """The scene with vertices in the spaces of objects, if there are any."""
    return scene if objects is None else scene._replace(vertices=objects.object_vertices)


def _pull_back(rasterization: Rasterization, clipping: Optional[Clipping]) -> tuple:
    """The gradients at the corners and the surface that were given."""
    rasterization.backward()
    if clipping is not None:
        return clipping.backward(rasterization)
    return rasterization.grad_corners, rasterization.grad_surface


@kernel
def copy_rows(
    rows: array(float, 2),  # (B, N)
    first: int,
    of_pass: array(float, 2),  # (views of the pass, N)
):
    """Rows from `first` on."""
    for row, column in ti.ndrange(of_pass.shape[0], of_pass.shape[1]):
        of_pass[row, column] = rows[first + row, column]


@kernel
def add_rows(
    of_pass: array(float, 2),  # (1 or views of the pass, N)
    first: int,
    is_first: int,
    rows: array(float, 2),  # (1 or B, N), written or added to
):
    """The adjoint of `copy_rows`."""
    for row, column in ti.ndrange(rows.shape[0], rows.shape[1]):
        before = rows[row, column]
        if is_first != 0:
            before = 0.0
        source = row - first % rows.shape[0]
        if (source >= 0) & (source < of_pass.shape[0]):
            before += of_pass[source, column]
        rows[row, column] = before


@kernel
def add_texels(
    of_pass: array(float, 4),  # (1, 1, N, C)
    is_first: int,
    texels: array(float, 4),  # (1, 1, N, C), written or added to
):
    """What one pass gives to the gradient of all."""
    for entry in range(of_pass.shape[2]):
        for channel in range(of_pass.shape[3]):
            before = ti.select(is_first != 0, 0.0, texels[0, 0, entry, channel])
            texels[0, 0, entry, channel] = before + of_pass[0, 0, entry, channel]


@kernel
def stack_texels(
    texels: array(float, 4),  # (1, 1, N, C)
    index: int,
    stacked: array(float, 5),  # (P, 1, 1, N, C)
):
    """stacked[index] = texels."""
    for entry in range(texels.shape[2]):
        for channel in range(texels.shape[3]):
            stacked[index, 0, 0, entry, channel] = texels[0, 0, entry, channel]


@kernel
def add_gradients(
    corners: array(float, 4),
    varyings: array(float, 4),
    textures: array(float, 4),
    uniforms: array(float, 2),
    other_corners: array(float, 4),
    other_varyings: array(float, 4),
    other_textures: array(float, 4),
    other_uniforms: array(float, 2),
    sum_corners: array(float, 4),
    sum_varyings: array(float, 4),
    sum_textures: array(float, 4),
    sum_uniforms: array(float, 2),
):
    """The sums of the gradients that two rasterizations give."""
    for i, j, k in ti.ndrange(*sum_corners.shape[:3]):
        for m in range(sum_corners.shape[3]):
            sum_corners[i, j, k, m] = corners[i, j, k, m] + other_corners[i, j, k, m]
    for i, j, k in ti.ndrange(*sum_varyings.shape[:3]):
        for m in range(sum_varyings.shape[3]):
            sum_varyings[i, j, k, m] = varyings[i, j, k, m] + other_varyings[i, j, k, m]
    for i, j, k in ti.ndrange(*sum_textures.shape[:3]):
        for m in range(sum_textures.shape[3]):
            sum_textures[i, j, k, m] = textures[i, j, k, m] + other_textures[i, j, k, m]
    for i, j in ti.ndrange(*sum_uniforms.shape):
        sum_uniforms[i, j] = uniforms[i, j] + other_uniforms[i, j]


@kernel
def stack_rows(
    rows: array(float, 2),  # (1 or B, N)
    index: int,
    stacked: array(float, 3),  # (P, 1 or B, N)
):
    """stacked[index] = rows."""
    for row, column in ti.ndrange(rows.shape[0], rows.shape[1]):
        stacked[index, row, column] = rows[row, column]
