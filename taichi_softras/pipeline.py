"""The core: the only file that knows the order of the stages, forward, backward and in tangents.

    scene -> place -> corners, varyings, textures -> clip -> rasterize (fragment) -> image

Arrays in, arrays out: no field, no tape, no autodiff of Taichi's.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Optional

import numpy as np

from taichi_softras.geometry.inspection import project_vertices
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    DIRECTIONAL,
    LIT_FACES,
    LIT_VERTICES,
    NOTHING,
    Layout,
    Placed,
    SceneArrays,
    SceneNumbers,
    Stages,
    Tables,
    Views,
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
from taichi_softras.rasterizers.fragments import Shader, Surface
from taichi_softras.runtime import kernel, lean_compilation, ti
from taichi_softras.shading.base import BY_FACE, BY_VERTEX, Composition
from taichi_softras.workspace import Workspace, array

LIT = {None: NOTHING, BY_FACE: LIT_FACES, BY_VERTEX: LIT_VERTICES}


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
        moves_cameras: bool,
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
            moves_cameras: whether gradients of the cameras are asked for.
        """
        self.workspace, self.composition = workspace, composition
        self._of_rasterizer = workspace.another()
        self.image_size, self.num_views = image_size, num_views
        self.num_cameras = num_cameras
        num_vertices = topology.corner_starts.shape[0] - 1
        self.scene = SceneArrays(
            workspace.get("vertices", (num_views if is_moving else 1, num_vertices, 3)),
            *topology,
            workspace.get("albedo", albedo_shape),
            workspace.get("uniforms", (CAMERA_SIZE * num_cameras + num_light_numbers,)),
            workspace.constants("layout", self._make_layout(kinds, albedo_shape[1]), int),
            self._choose_stages(kinds.light, albedo_shape[2], moves_cameras),
        )
        num_uniforms = composition.shader.num_uniforms
        shape = (num_cameras, num_uniforms) if num_uniforms else (1, 1)
        self.fragment_uniforms = workspace.get("fragment_uniforms", shape)
        self.rasterization: Optional[Rasterization] = None
        self._clipping: Optional[Clipping] = None  # of `rasterization`
        self._tables: Optional[Tables] = None  # of the pass that was placed last
        # of `rasterization`: the rasterizer, first view, number of views
        self._drawn: Optional[tuple] = None

    def _make_layout(self, kinds: Kinds, num_entries: int) -> Layout:
        lookup = self.composition.shader.lookup
        resolution = round(num_entries ** (1 / lookup.num_axes)) if lookup else 1
        return Layout(kinds.pose, kinds.projection, kinds.num_lights, resolution)

    def _choose_stages(self, light: int, channels: int, moves_cameras: bool) -> Stages:
        composition, columns = self.composition, self.composition.columns
        return Stages(
            LIT[composition.light],
            light if composition.light else DIRECTIONAL,
            channels if composition.reads_color else 0,
            composition.shader.lookup,
            composition.shader.num_varyings,
            columns.get("normal_world", -1),
            columns.get("position_world", -1),
            columns.get("depth", -1),
            moves_cameras,
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

        def rasterize(corners: ti.Ndarray, shader: Shader, surface: Surface) -> Rasterization:
            inputs = (corners, shader, surface, self.image_size)
            return rasterizer.forward(self._of_rasterizer, *inputs)

        self.rasterization, self._clipping = draw_clipped(
            self._of_rasterizer,
            placed.corners,
            self.composition.shader,
            surface,
            self.image_size,
            rasterize,
        )
        self._drawn = rasterizer, first, num_views

    def place(self, first: int, num_views: int) -> Placed:
        """What a rasterizer reads of some views."""
        self.forget()
        self._tables, placed = self._allocate(num_views)
        with lean_compilation():
            place_scene(*self.scene, *self._views(first), *self._tables, *placed)
        return placed

    def look(self, faces: np.ndarray, first: int, end: int) -> tuple:
        """Where all faces are, on the host; something must have been placed since the last change.

        Args:
            faces: (F, 3) those of the scene.
            first: view.
            end: behind the last view.

        Returns:
            An iterator of the corners (F, 3, 4) in each view; and the diagonal of the box around
            the vertices of faces, in units of depth.
        """
        matrices = self._tables.matrices.to_numpy().astype(np.float64)
        vertices = self.scene.vertices.to_numpy().astype(np.float64)
        if len(vertices) > 1:
            vertices = vertices[first:end]
        is_used = np.zeros(vertices.shape[1], bool)
        is_used[faces] = True
        with np.errstate(invalid="ignore"):  # of infinite ones, which no rasterizer draws
            diagonal = np.linalg.norm(np.ptp(vertices[:, is_used], axis=(0, 1)))
        size = diagonal * np.linalg.norm(matrices[:, 2, :3], axis=1).max()

        def corners(view: int) -> np.ndarray:
            matrix = matrices[min(first + view, len(matrices) - 1)]
            with np.errstate(invalid="ignore"):
                clip = vertices[min(view, len(vertices) - 1)] @ matrix[:, :3].T + matrix[:, 3]
            return clip[faces]

        return map(corners, range(end - first)), size

    def project_vertices(self) -> ti.Ndarray:
        """(B, V, 3): x_ndc, y_ndc and depth of all vertices."""
        shape = (self.num_views, self.scene.vertices.shape[1], 3)
        vertices_ndc = self.workspace.new("vertices_ndc", shape)
        self.place(0, self.num_views)
        project_vertices(self.scene.vertices, self._tables.matrices, vertices_ndc)
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
        grad_corners = self.rasterization.grad_corners
        grad_surface = self.rasterization.grad_surface
        if self._clipping is not None:
            grad_corners, grad_surface = self._clipping.backward(self.rasterization)
        tables, placed = self._allocate(num_views)
        with lean_compilation():
            place_scene_backward(
                *self.scene,
                *self._views(first),
                is_first,
                *tables,
                *Placed(grad_corners, grad_surface.varyings, grad_surface.textures),
                *allocate_grad_tables(self.workspace, self.scene, tables, placed),
                *self.grad_scene,
            )
        if self.composition.shader.num_uniforms:
            add_rows(grad_surface.uniforms, first, is_first, self.grad_fragment_uniforms)

    def push_forward(self, tangents: Iterable[tuple]) -> ti.Ndarray:
        """(P, B, C + 1, H, W): derivatives of the image by P numbers, of all views in one pass.

        Args:
            tangents: an iterable of (index, P) that fills `tangent_scene` and
                `tangent_fragment_uniforms` with the derivatives by one number after another.
        """
        _, first, num_views = self._drawn
        tables, placed = self._allocate(num_views)
        tangent_tables = self._like("tangent", tables)
        stacked, of_uniforms = placed, self.fragment_uniforms
        for index, count in tangents:
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
            if self.composition.shader.num_uniforms:
                stack_rows(self.tangent_fragment_uniforms, index, of_uniforms)
        surface = Surface(stacked.varyings, stacked.textures, of_uniforms)
        corners = stacked.corners
        if self._clipping is not None:
            corners, surface = self._clipping.push_forward(corners, surface)
        return self.rasterization.push_forward(corners, surface)

    def _uniforms_of_pass(self, name: str, num_views: int) -> ti.Ndarray:
        """Rows of the views of a pass; all rows where each pass sees all of them."""
        rows, columns = self.fragment_uniforms.shape
        if rows == 1 or num_views == rows:
            return self.fragment_uniforms
        return self.workspace.get(name, (num_views, columns))

    @property
    def grad_scene(self) -> SceneNumbers:
        """Of vertices, albedo and uniforms."""
        return self._like("grad", self._scene_numbers)

    @property
    def tangent_scene(self) -> SceneNumbers:
        """Of vertices, albedo and uniforms."""
        return self._like("tangent", self._scene_numbers)

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
        return allocate_placement(self.workspace, self.scene, self.num_cameras, num_views)


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
def stack_rows(
    rows: array(float, 2),  # (1 or B, N)
    index: int,
    stacked: array(float, 3),  # (P, 1 or B, N)
):
    """stacked[index] = rows."""
    for row, column in ti.ndrange(rows.shape[0], rows.shape[1]):
        stacked[index, row, column] = rows[row, column]
