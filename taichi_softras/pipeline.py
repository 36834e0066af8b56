"""The core: the only file that knows the order of the stages, forward, backward and in tangents.

    arrays of the scene -> place -> corners, varyings, textures -> rasterize (fragment) -> image

Arrays in, arrays out: no field, no tape, no autodiff of Taichi's.
"""

from typing import NamedTuple, Optional

import taichi as ti

from taichi_softras.geometry.inspection import project_vertices
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    CUBES,
    LIT_FACES,
    LIT_VERTICES,
    NOTHING,
    TEXELS,
    VERTEX_COLORS,
    GradScene,
    GradTables,
    Layout,
    Placed,
    SceneArrays,
    Tables,
    Views,
)
from taichi_softras.placement import place_scene, place_scene_backward, place_scene_tangent
from taichi_softras.rasterizers.base import Rasterization, Rasterizer
from taichi_softras.rasterizers.fragments import Surface
from taichi_softras.runtime import is_cpu
from taichi_softras.shading.base import BY_FACE, BY_VERTEX, COLOR, Composition
from taichi_softras.workspace import Workspace, array

LIT = {None: NOTHING, BY_FACE: LIT_FACES, BY_VERTEX: LIT_VERTICES}
CPU_SHARES, GPU_SHARES = 16, 256  # tasks that vertices are dealt to where they sum for a camera


class Topology(NamedTuple):
    """Which vertices make faces."""

    faces: ti.Ndarray  # (F, 3) int
    corner_starts: ti.Ndarray  # (V + 1,) int
    corners_of_vertex: ti.Ndarray  # (3F,) int, 3 * face + corner


class Kinds(NamedTuple):
    """What the numbers of cameras and lights mean, see `geometry.scene_arrays`."""

    pose: int
    projection: int
    light: int
    num_lights: int


class Pipeline:
    """Draws the scene that stands in `scene`, and carries gradients back to `grad_scene`.

    Attributes:
        scene: arrays that the caller fills: `vertices`, `albedo`, `uniforms`.
        grad_scene: their gradients, after `backward`.
        fragment_uniforms, grad_fragment_uniforms: (1 or B, N) those of shadings.
        num_views: B.
        rasterization: what was drawn last.
    """

    def __init__(
        self,
        workspace: Workspace,
        topology: Topology,
        kinds: Kinds,
        composition: Composition,
        image_size: tuple,
        num_views: int,
        num_cameras: int,
        num_light_numbers: int,
        albedo_shape: tuple,
        is_moving: bool,
    ):
        """Lays out arrays; none of them has anything in it yet.

        Args:
            workspace: keeps the arrays.
            topology: of the mesh.
            kinds: of cameras and lights.
            composition: what is drawn.
            image_size: (H, W) in pixels.
            num_views: B.
            num_cameras: 1 or B.
            num_light_numbers: in `uniforms`, behind the cameras'.
            albedo_shape: (A, N, C): (V, 1, C) colours of vertices, or (F, N, C) face textures.
            is_moving: whether every view has vertices of its own.
        """
        self.workspace, self.composition = workspace, composition
        self._of_rasterizer = Workspace()  # names of its own
        self.image_size, self.num_views = image_size, num_views
        self.is_moving = is_moving
        self.num_faces = topology.faces.shape[0]
        self.num_vertices = topology.corner_starts.shape[0] - 1
        self._num_cameras, self._num_light_numbers = num_cameras, num_light_numbers
        self.scene = SceneArrays(
            workspace.get("vertices", (num_views if is_moving else 1, self.num_vertices, 3)),
            *topology,
            workspace.get("albedo", albedo_shape),
            workspace.get("uniforms", (CAMERA_SIZE * num_cameras + num_light_numbers,)),
            workspace.constants("layout", self._layout(kinds, albedo_shape[1]), int),
        )
        num_uniforms = composition.shader.num_uniforms
        shape = (num_cameras, num_uniforms) if num_uniforms else (1, 1)
        self.fragment_uniforms = workspace.get("fragment_uniforms", shape)
        self.rasterization: Optional[Rasterization] = None
        self._drawn = None  # the rasterizer, first view and number of views of `rasterization`

    def _layout(self, kinds: Kinds, num_entries: int) -> tuple:
        composition, columns = self.composition, self.composition.columns
        lookup = composition.shader.lookup
        colors = NOTHING
        if composition.reads_color:
            colors = VERTEX_COLORS if lookup is None else {2: TEXELS, 3: CUBES}[lookup.num_axes]
        return Layout(
            *kinds,
            LIT[composition.light],
            colors,
            round(num_entries ** (1 / lookup.num_axes)) if lookup else 1,
            composition.shader.num_varyings,
            columns.get("normal_world", -1),
            columns.get("position_world", -1),
            columns.get("depth", -1),
        )

    def draw(self, rasterizer: Rasterizer, first: int, num_views: int) -> None:
        """Fills `rasterization.image` with some views, unless it holds them."""
        if self._drawn is not None and self._drawn[1:] == (first, num_views):
            if self._drawn[0] is rasterizer:
                return
        placed = self.place(first, num_views)
        uniforms = self._uniforms_of_pass("uniforms_of_pass", num_views)
        if uniforms is not self.fragment_uniforms:
            copy_rows(self.fragment_uniforms, first, uniforms)
        surface = Surface(placed.varyings, placed.textures, uniforms)
        self.rasterization = rasterizer.forward(
            self._of_rasterizer, placed.corners, self.composition.shader, surface, self.image_size
        )
        self._drawn = rasterizer, first, num_views

    def place(self, first: int, num_views: int) -> Placed:
        """What a rasterizer reads of some views."""
        self.forget()
        placed = self._placed(num_views)
        place_scene(*self.scene, *self._views(first), *self._tables(num_views), *placed)
        return placed

    def project_vertices(self) -> ti.Ndarray:
        """(B, V, 3): x_ndc, y_ndc and depth of all vertices."""
        vertices_ndc = ti.ndarray(float, (self.num_views, self.num_vertices, 3))
        self.place(0, self.num_views)
        project_vertices(self.scene.vertices, self._tables(self.num_views).matrices, vertices_ndc)
        return vertices_ndc

    def forget(self) -> None:
        """The scene has changed: what was drawn must be drawn again."""
        self._drawn = None

    def backward(self, is_first: bool) -> None:
        """From `rasterization.grad_image` to `grad_scene` and `grad_fragment_uniforms`.

        Args:
            is_first: whether gradients are written; otherwise they are added to.
        """
        _, first, num_views = self._drawn
        self.rasterization.backward()
        grad_surface = self.rasterization.grad_surface
        grad_placed = Placed(
            self.rasterization.grad_corners, grad_surface.varyings, grad_surface.textures
        )
        place_scene_backward(
            *self.scene,
            *self._views(first),
            is_first,
            *self._tables(num_views),
            *grad_placed,
            *self._grad_tables(num_views),
            *self.grad_scene,
        )
        if self.composition.shader.num_uniforms:
            add_rows(grad_surface.uniforms, first, is_first, self.grad_fragment_uniforms)

    def push_forward(self, tangents: list) -> ti.Ndarray:
        """(P, B, C + 1, H, W): derivatives of the image by P numbers, of all views in one pass.

        Args:
            tangents: an iterable that fills `tangent_scene` and `tangent_fragment_uniforms` with
                the derivatives by one number after another.
        """
        _, first, num_views = self._drawn
        placed = self._placed(num_views)
        stacked, of_uniforms = None, None
        for index, count in tangents:
            if stacked is None:
                shapes = ((count, *array.shape) for array in placed)
                names = ("tangent_corners", "tangent_varyings", "tangent_textures")
                stacked = Placed(*map(self.workspace.get, names, shapes))
                shape = (count, *self.fragment_uniforms.shape)
                of_uniforms = self.workspace.get("tangent_uniforms", shape)
            place_scene_tangent(
                *self.scene,
                *self._views(first),
                *self._tables(num_views),
                *self.tangent_scene,
                *self._tangent_tables(num_views),
                index,
                *stacked,
            )
            if self.composition.shader.num_uniforms:
                stack_rows(self.tangent_fragment_uniforms, index, of_uniforms)
        surface = Surface(stacked.varyings, stacked.textures, of_uniforms)
        return self.rasterization.push_forward(stacked.corners, surface)

    def _uniforms_of_pass(self, name: str, num_views: int) -> ti.Ndarray:
        """Rows of the views of a pass; all rows where each pass sees all of them."""
        rows, columns = self.fragment_uniforms.shape
        if rows == 1 or num_views == rows:
            return self.fragment_uniforms
        return self.workspace.get(name, (num_views, columns))

    @property
    def grad_scene(self) -> GradScene:
        """Of vertices, albedo and uniforms."""
        return self._like_scene("grad")

    @property
    def grad_fragment_uniforms(self) -> ti.Ndarray:
        """The shape of `fragment_uniforms`."""
        return self.workspace.get("grad_fragment", tuple(self.fragment_uniforms.shape))

    @property
    def tangent_scene(self) -> GradScene:
        """Of vertices, albedo and uniforms."""
        return self._like_scene("tangent")

    @property
    def tangent_fragment_uniforms(self) -> ti.Ndarray:
        """The shape of `fragment_uniforms`."""
        return self.workspace.get("tangent_fragment", tuple(self.fragment_uniforms.shape))

    def _like_scene(self, kind: str) -> GradScene:
        sources = self.scene.vertices, self.scene.albedo, self.scene.uniforms
        return GradScene(
            *(
                self.workspace.get(f"{kind}_{name}", tuple(source.shape))
                for name, source in zip(GradScene._fields, sources)
            )
        )

    def _views(self, first: int) -> Views:
        height, width = self.image_size
        return Views(first, width / min(self.image_size), height / min(self.image_size))

    @property
    def _reads_normals(self) -> bool:
        return self.composition.light is not None or "normal_world" in self.composition.columns

    def _num_shadings(self, num_views: int) -> int:
        """S: how often normals, lights and colours differ within a pass."""
        return num_views if self.is_moving and self._reads_normals else 1

    def _tables(self, num_views: int) -> Tables:
        return Tables(
            self.workspace.get("matrices", (self._num_cameras, 4, 4)),
            self.workspace.get("normals", self._rows_shape(num_views)),
            self.workspace.get("lights", self._rows_shape(num_views)),
        )

    def _rows_shape(self, num_views: int) -> tuple:
        if not self._reads_normals:
            return 1, 1, 3
        return self._num_shadings(num_views), self.num_vertices + self.num_faces, 3

    def _grad_tables(self, num_views: int) -> GradTables:
        get, shadings = self.workspace.get, self._num_shadings(num_views)
        shares = CPU_SHARES if is_cpu() else GPU_SHARES
        numbers = 16 * min(self._num_cameras, num_views) + self._num_light_numbers
        is_lit = self.composition.light is not None
        return GradTables(
            get("grad_vertices_clip", (num_views, self.num_vertices, 4)),
            get("grad_normals", self._rows_shape(num_views)),
            get("grad_corner_lights", (shadings, self.num_faces, 3, 3) if is_lit else (1, 1, 1, 3)),
            get("grad_lights", self._rows_shape(num_views)),
            get("partials", (shares, numbers)),
        )

    def _tangent_tables(self, num_views: int) -> Tables:
        tables = self._tables(num_views)
        return Tables(
            *(
                self.workspace.get(f"tangent_table_{name}", tuple(table.shape))
                for name, table in zip(Tables._fields, tables)
            )
        )

    def _placed(self, num_views: int) -> Placed:
        get, shader = self.workspace.get, self.composition.shader
        varyings = textures = (1, 1, 1, 1)
        shadings = num_views if self.is_moving and self.composition.light is not None else 1
        if shader.num_varyings:
            follows_view = self.is_moving and self.composition.columns.keys() != {COLOR}
            follows_view |= "depth" in self.composition.columns
            copies = num_views if follows_view else shadings
            varyings = (copies, self.num_faces, 3, shader.num_varyings)
        if shader.lookup is not None:
            _, entries, channels = self.scene.albedo.shape
            textures = (shadings, self.num_faces, entries, channels)
        return Placed(
            get("corners", (num_views, self.num_faces, 3, 4)),
            get("varyings", varyings),
            get("textures", textures),
        )


@ti.kernel
def copy_rows(
    rows: array(float, 2),  # (B, N)
    first: int,
    of_pass: array(float, 2),  # (views of the pass, N)
):
    """Rows from `first` on."""
    for row, column in ti.ndrange(of_pass.shape[0], of_pass.shape[1]):
        of_pass[row, column] = rows[first + row, column]


@ti.kernel
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


@ti.kernel
def stack_rows(
    rows: array(float, 2),  # (1 or B, N)
    index: int,
    stacked: array(float, 3),  # (P, 1 or B, N)
):
    """stacked[index] = rows."""
    for row, column in ti.ndrange(rows.shape[0], rows.shape[1]):
        stacked[index, row, column] = rows[row, column]
