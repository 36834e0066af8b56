"""The conductor: the only file that knows the order of the stages, forward and back.

    vertices -> project -> vertices_ndc --\
    colours  -> shade   -> colors ---------> rasterize -> image

What stands left of `rasterize` and right of `image` are small kernels on fields, which
Taichi differentiates. `rasterize` is kernels on arrays with a hand-written adjoint; it joins
the user's tape in one place, `_rasterize`.
"""

import math
import os
from collections.abc import Sequence
from typing import Callable, Optional, Union

import numpy as np
import taichi as ti
from taichi.lang import impl

from taichi_softras.fields import FieldTree
from taichi_softras.forward_mode import check_parameters, count_numbers, differentiate
from taichi_softras.functional import (
    check_has_fragments,
    check_has_push_forward,
    check_image_size,
    check_reads_texture_cubes,
)
from taichi_softras.geometry.transform import project_vertices, vertex_of_frame
from taichi_softras.io.images import over_background, save_video
from taichi_softras.rasterizers.base import Rasterizer
from taichi_softras.rasterizers.depths import draw_depths
from taichi_softras.rasterizers.k_nearest import Fragments
from taichi_softras.rasterizers.planes import jacobian_from_planes, planes_from_pixels, stack
from taichi_softras.rasterizers.soft_aggregation import SoftAggregation
from taichi_softras.runtime import default_numpy_float
from taichi_softras.scene.camera import Camera
from taichi_softras.scene.lights import Lights
from taichi_softras.scene.mesh import Mesh
from taichi_softras.scene.spherical_harmonics import SphericalHarmonics
from taichi_softras.shading.depth import Depth
from taichi_softras.shading.flat import Flat
from taichi_softras.tape import TapeMemory
from taichi_softras.workspace import Workspace, array

PIXELS_PER_PASS = 3 * 2**14  # of a mesh that moves: two cores are busy, 40 MB hold them


class Renderer:
    """Draws one mesh in B views, and carries gradients back to whatever the image came from.

        renderer = Renderer(mesh, cameras, image_size=(256, 256))
        with ti.ad.Tape(loss):
            renderer.render()
            losses.silhouette_iou(renderer.image, target, loss)

    Attributes:
        image: (B, H, W) field of (C + 1)-vectors: r, g, b, alpha; alpha alone with `Silhouette`
            shading, depth and alpha with `Depth`. Row 0 on top. A view is a camera, or a frame of
            a mesh that moves.
        rasterizer: the method; may be replaced between renders. New numbers compile nothing.
        views_per_pass: how many views are rasterized together; may be changed between renders.
        vertices_ndc: (B, V) vec3 field: x_ndc, y_ndc, depth.
    """

    def __init__(
        self,
        mesh: Mesh,
        cameras: Camera,
        image_size: tuple,
        rasterizer: Optional[Rasterizer] = None,
        shading: Optional[object] = None,
        lights: Union[Lights, SphericalHarmonics, None] = None,
        frames: Optional[Sequence[int]] = None,
        views_per_pass: Optional[int] = None,
    ):
        """Places the fields of the image.

        Args:
            mesh: what is drawn.
            cameras: from where; one view each. Of a mesh that moves, each frame is a view, by
                one camera for all of them or a camera each.
            image_size: (H, W) in pixels.
            rasterizer: how pixels are covered; `SoftAggregation()` when left out.
            shading: how colours come from light; `Flat()` when left out.
            lights: `Lights` or `SphericalHarmonics`; `Lights()` when left out.
            frames: of a mesh that moves, those that are views; all when left out.
            views_per_pass: how many views are rasterized together, and so have memory for it at
                a time; the gradient of a view that left this memory draws it once more. Left
                out: all views of a still mesh; of one that moves, as many as have 3 * 2^14 pixels.

        Raises:
            ValueError: for an image size below (1, 1), frames that the mesh does not have, another
                number of cameras than of frames, or views_per_pass below 1.
        """
        self.mesh = mesh
        self.cameras = cameras
        self.image_size = check_image_size(image_size)
        self.rasterizer = SoftAggregation() if rasterizer is None else rasterizer
        self.shading = Flat() if shading is None else shading
        self.lights = Lights() if lights is None else lights

        frames = _checked_frames(frames, mesh, cameras)
        self.num_views = len(frames)
        self.views_per_pass = _checked_views_per_pass(views_per_pass, self)

        tree = FieldTree()
        num_shadings = self.num_views if mesh.is_moving else 1
        self._buffers = self.shading.allocate(tree, mesh, num_shadings)
        self.vertices_ndc = tree.add((self.num_views, mesh.num_vertices), (3,))
        self._draws_depths = isinstance(self.shading, Depth)
        channels = 3 if self._buffers.colors is not None else 1 if self._draws_depths else 0
        image_shape = (self.num_views, *self.image_size)
        self.image = tree.add(image_shape, (channels + 1,), needs_dual=False)
        self._frames = tree.add((self.num_views,), dtype=int, needs_grad=False)
        self._no_loss = tree.add(())
        tree.place()
        self._frames.from_numpy(frames)

        self._workspace = Workspace()
        self._rasterization = None  # what the workspace holds: ...
        self._held = None  # ... the rasterizer, the first view and the number of views
        self._corners = self._colors = None  # of the same views
        self._rasterizers = {}  # by (first, end) of the views that were drawn in one call
        self._on_tape = TapeMemory()

    def render(self, view: Optional[int] = None):
        """Draws `image` and returns it; inside a `ti.ad.Tape` the drawing is recorded.

        Args:
            view: of a mesh that moves, the one view that is drawn; `image` keeps the others.

        Raises:
            ValueError: if a vertex is NaN or infinite; if this renderer already drew the view in
                the same tape (the first image would be lost, and its gradient wrong); for texture
                cubes and a rasterizer that has none.
        """
        self._workspace.check_runtime()
        if self._buffers.colors is not None and self.mesh.texture_cubes is not None:
            check_reads_texture_cubes(self.rasterizer)
        views = self._checked_views(view)
        self._refuse_second_render(views)
        self._place_corners_and_colors(*views)
        self._rasterize(*views)
        return self.image

    def render_sequence(
        self,
        path: Union[str, os.PathLike],
        frames_per_second: float = 30.0,
        background: tuple = (1.0, 1.0, 1.0),
    ) -> None:
        """Draws all views and writes them as a film, without gradients.

        Args:
            path: ends in `.gif`, or in `.mp4` if the package imageio-ffmpeg is installed.
            frames_per_second: of the film.
            background: the colour behind the mesh; a silhouette is black.
        """
        pictures = self.render().to_numpy()
        save_video(path, over_background(pictures, background), frames_per_second)

    def backward(self, grad_image: np.ndarray) -> None:
        """Pulls an image gradient back to all fields of the scene, without a tape.

        Gradients of all fields are cleared first, as a tape does; `render` must have been
        called. The cheap stages are run once more.

        Args:
            grad_image: (B, H, W, C + 1), dE/dimage.

        Raises:
            ValueError: for another shape or entries that are not finite; if the vertices were
                changed since `render`.
            RuntimeError: before the first `render` of all views, or inside a tape.
        """
        self._workspace.check_runtime()
        views = (0, self.num_views)
        if views not in self._rasterizers:
            raise RuntimeError("backward needs an image: call render() first")
        if impl.get_runtime().target_tape is not None:
            raise RuntimeError("backward opens a tape of its own: call it outside of ti.ad.Tape")
        grad_image = np.ascontiguousarray(grad_image, default_numpy_float())
        shape = (*self.image.shape, self.image.n)
        if grad_image.shape != shape:
            raise ValueError(f"grad_image must have shape {shape}, got {grad_image.shape}")
        if not np.isfinite(grad_image).all():
            raise ValueError("grad_image has entries that are NaN or infinite")
        with ti.ad.Tape(self._no_loss):
            self._place_corners_and_colors(*views)
            self._resume(grad_image)

    def jacobian(self, parameters: list, place: Optional[Callable] = None) -> np.ndarray:
        """Draws `image` and returns its derivative by a few numbers, for Gauss-Newton.

        The work grows with P, not with the number of pixels as that of P backward passes would.
        Stages before the rasterizer are differentiated by Taichi's forward mode, the rasterizer
        by the transpose of its backward pass.

        Args:
            parameters: fields of P numbers in all, of any shapes: of cameras, lights or the mesh,
                or your own, made with `needs_dual=True`, which `place` reads.
            place: runs your kernels that write fields of the scene from `parameters`. Fields in
                between need a dual too, and a field must not be written twice.

        Returns:
            (B, H, W, C + 1, P), parameters in the order of the list, C order within a field.

        Raises:
            ValueError: for a parameter without dual; for a rasterizer whose gradient is not
                linear; as `render`.
            RuntimeError: inside a tape.
        """
        self._workspace.check_runtime()
        parameters = check_parameters(parameters)
        check_has_push_forward(self.rasterizer)
        if impl.get_runtime().target_tape is not None:
            raise RuntimeError("jacobian is a derivative already: call it outside of ti.ad.Tape")

        views = (0, self.num_views)

        def run():
            if place is not None:
                place()
            self._place_corners_and_colors(*views)

        run()
        self._rasterize(*views)
        self._draw(self.rasterizer, *views)  # all of them in one pass
        tangents = self._collect_tangents(run, parameters)
        planes = self._rasterization.push_forward(*tangents)
        shape = (*self.image.shape, self.image.n, planes.shape[0])
        jacobian = np.empty(shape, default_numpy_float())
        jacobian_from_planes(planes, jacobian)
        return jacobian

    def _collect_tangents(self, run: Callable, parameters: list) -> tuple:
        """Derivatives (P, ...) of corners and of colours, None without colours."""
        workspace, count = self._workspace, count_numbers(parameters)
        corners = workspace.get("tangent", tuple(self._corners.shape))
        all_corners = workspace.get("tangent_corners", (count, *corners.shape))
        colors, all_colors = None, None
        if self._colors is not None:
            colors = workspace.get("tangent_color", tuple(self._colors.shape))
            all_colors = workspace.get("tangent_colors", (count, *colors.shape))
        for index in differentiate(run, parameters):
            load_corners(self.vertices_ndc.dual, self.mesh.faces, 0, corners)
            stack(corners, index, all_corners)
            if colors is not None:
                load_colors(self._buffers.colors.dual, 0, colors)
                stack(colors, index, all_colors)
        return all_corners, all_colors

    def fragments(self, faces_per_pixel: Optional[int] = None) -> Fragments:
        """The nearest faces of each pixel, of a rasterizer that looks for them (`KNearest`).

        Args:
            faces_per_pixel: K; that of the rasterizer when left out.

        Returns:
            `pix_to_face`, `zbuf`, `barycentrics` and `distances` (squared, NDC, negative
            inside) as NumPy arrays, sorted by depth, -1 where a pixel has fewer than K faces.

        Raises:
            ValueError: for K < 1; for a rasterizer without fragments.
        """
        check_has_fragments(self.rasterizer)
        found = []
        self._find_fragments(faces_per_pixel, found)
        return found[0]

    @ti.ad.no_grad
    def _find_fragments(self, faces_per_pixel: Optional[int], found: list) -> None:
        """Appends to `found`: Taichi drops what a function without gradient returns."""
        self._project(0, self.num_views)
        workspace = Workspace()
        corners = workspace.get("corners", (self.num_views, self.mesh.num_faces, 3, 3))
        load_corners(self.vertices_ndc, self.mesh.faces, 0, corners)
        found.append(
            self.rasterizer.fragments(workspace, corners, self.image_size, faces_per_pixel)
        )

    def _place_corners_and_colors(self, first: int, end: int) -> None:
        self._project(first, end)
        if self._buffers.colors is None:
            return
        if self._has_one_coloring:  # for all views, so once a tape
            done = self._on_tape.values()
            if "is_colored" in done:
                return
            done["is_colored"] = True
            first, end = 0, 1
        self.shading.shade(self.mesh, self.lights, self._frames, (first, end), self._buffers)

    @property
    def _has_one_coloring(self) -> bool:
        return not self.mesh.is_moving or self._buffers.colors.shape[0] == 1

    def _project(self, first: int, end: int) -> None:
        height, width = self.image_size
        self.cameras.update(width / height)
        project_vertices(
            self.mesh.vertices,
            self._frames,
            self.cameras.view_from_world,
            self.cameras.clip_from_view,
            width / min(self.image_size),
            height / min(self.image_size),
            first,
            end,
            self.vertices_ndc,
        )

    @ti.ad.grad_replaced
    def _rasterize(self, first: int, end: int) -> None:
        self._rasterizers.pop((first, end), None)  # should this raise, nothing was drawn
        self._held = None
        for start, num_views in self._passes(first, end):
            self._draw(self.rasterizer, start, num_views)
            store_image(self._rasterization.image, start, self.image)
        vertices = self._drawn_vertices
        keep_vertices(self.mesh.vertices, self._frames, *self._vertices_range(first, end), vertices)
        self._rasterizers[first, end] = self.rasterizer

    @ti.ad.grad_for(_rasterize)
    def _rasterize_backward(self, first: int, end: int) -> None:
        if (first, end) in self._rasterizers:  # forward did not raise; the tape runs this anyway
            self._pull_back(first, end, load_grad_image, self.image)

    @ti.ad.grad_replaced
    def _resume(self, grad_image: np.ndarray) -> None:
        """Stands for `_rasterize` on a tape whose image is drawn already."""

    @ti.ad.grad_for(_resume)
    def _resume_backward(self, grad_image: np.ndarray) -> None:
        self._pull_back(0, self.num_views, load_grad_array, grad_image)

    def _pull_back(self, first: int, end: int, load_grad: object, source: object) -> None:
        """From the gradient in `source` to those of `vertices_ndc` and of the colours."""
        self._refuse_changed_vertices(first, end)
        todo = end
        for start, num_views in reversed(self._passes(first, end)):
            self._draw(self._rasterizers[first, end], start, num_views)
            rasterization = self._rasterization
            load_grad(source, start, todo, rasterization.grad_image)
            rasterization.backward()
            add_grad_vertices(
                rasterization.grad_corners,
                start,
                self.mesh.corner_starts,
                self.mesh.corners_of_vertex,
                self.vertices_ndc,
            )
            if self._buffers.colors is not None:
                colored = 0 if self._has_one_coloring else start
                add_grad_colors(rasterization.grad_colors, colored, self._buffers.colors)
            todo = start

    def _passes(self, first: int, end: int) -> list:
        """(first view, number of views) of each; the last overlaps, so that all have one size."""
        num_views = min(self.views_per_pass, end - first)
        return [(min(s, end - num_views), num_views) for s in range(first, end, num_views)]

    def _draw(self, rasterizer: Rasterizer, start: int, num_views: int) -> None:
        """Rasterizes some views into the workspace, unless it holds them."""
        wanted = (rasterizer, start, num_views)
        if self._held is not None and self._held[1:] == wanted[1:] and self._held[0] is rasterizer:
            return
        self._held = None
        workspace, faces = self._workspace, self.mesh.num_faces
        self._corners = workspace.get("corners", (num_views, faces, 3, 3))
        load_corners(self.vertices_ndc, self.mesh.faces, start, self._corners)
        self._colors = None
        source = self._buffers.colors
        if source is not None:
            colorings, colored = (1, 0) if self._has_one_coloring else (num_views, start)
            entries = math.prod(source.shape[2:])  # of a face
            self._colors = workspace.get("colors", (colorings, faces, entries, 3))
            load_colors(source, colored, self._colors)
        if self._draws_depths:
            self._rasterization = draw_depths(rasterizer, workspace, self._corners, self.image_size)
        else:
            self._rasterization = rasterizer.forward(
                workspace,
                self._corners,
                self._colors,
                self.mesh.texel_resolution,
                self.image_size,
            )
        self._held = wanted

    def _checked_views(self, view: Optional[int]) -> tuple:
        """(first, end) of the views to draw."""
        if view is None:
            return 0, self.num_views
        if not self.mesh.is_moving:
            raise ValueError("view= is for a mesh that moves: of a still one all views are drawn")
        if not 0 <= view < self.num_views:
            raise ValueError(f"view must be at least 0 and below {self.num_views}, got {view}")
        return view, view + 1

    def _refuse_second_render(self, views: tuple) -> None:
        drawn = self._on_tape.values().setdefault("views", set())
        again = drawn.intersection(range(*views))
        if again:
            raise ValueError(
                f"view {min(again)} was rendered twice in one ti.ad.Tape: the second image "
                "overwrites the first. Use one renderer an image, cameras with more views, or a "
                "mesh with frames"
            )
        drawn.update(range(*views))

    @property
    def _drawn_vertices(self) -> ti.Ndarray:
        """(1 or B, V, 3): `mesh.vertices` as they were when the views were drawn."""
        shape = (self.num_views if self.mesh.is_moving else 1, self.mesh.num_vertices, 3)
        return self._workspace.get("drawn_vertices", shape)

    def _vertices_range(self, first: int, end: int) -> tuple:
        return (first, end) if self.mesh.is_moving else (0, 1)

    def _refuse_changed_vertices(self, first: int, end: int) -> None:
        is_changed = self._workspace.get("are_vertices_changed", (1,), int)
        compare_vertices(
            self.mesh.vertices,
            self._frames,
            *self._vertices_range(first, end),
            self._drawn_vertices,
            is_changed,
        )
        if is_changed[0]:
            raise ValueError(
                "mesh.vertices were overwritten after render() and before its gradient: the "
                "gradient would be wrong. Write each frame to vertices of its own, with a mesh "
                "whose vertices have shape (T, V), and change them outside of the tape"
            )


def _checked_frames(frames: Optional[Sequence[int]], mesh: Mesh, cameras: Camera) -> np.ndarray:
    """The frame of each view."""
    if not mesh.is_moving:
        if frames is not None:
            raise ValueError("frames= is for a mesh that moves: vertices of shape (T, V)")
        return np.zeros(cameras.num_views, np.int32)
    frames = np.arange(mesh.num_frames) if frames is None else np.asarray(frames)
    is_list = frames.ndim == 1 and len(frames) > 0 and np.issubdtype(frames.dtype, np.integer)
    if not is_list or frames.min() < 0 or frames.max() >= mesh.num_frames:
        raise ValueError(
            f"frames must be a list of integers from 0 to {mesh.num_frames - 1}, got {frames}"
        )
    if cameras.num_views not in (1, len(frames)):
        raise ValueError(
            f"a mesh that moves needs one camera, or one for each of {len(frames)} frames, "
            f"got {cameras.num_views}"
        )
    return frames.astype(np.int32)


def _checked_views_per_pass(views_per_pass: Optional[int], renderer: Renderer) -> int:
    if views_per_pass is None:
        if not renderer.mesh.is_moving:
            return renderer.num_views
        height, width = renderer.image_size
        return max(1, PIXELS_PER_PASS // (height * width))
    if not isinstance(views_per_pass, (int, np.integer)) or views_per_pass < 1:
        raise ValueError(f"views_per_pass must be an integer of at least 1, got {views_per_pass!r}")
    return int(views_per_pass)


@ti.kernel
def keep_vertices(
    vertices: ti.template(),  # (V,) or (T, V) vec3 world
    frames: ti.template(),  # (B,)
    first: int,
    end: int,
    kept: array(float, 3),  # (1 or B, V, 3)
):
    """Copies what is drawn."""
    for view, vertex in ti.ndrange((first, end), kept.shape[1]):
        for axis in ti.static(range(3)):
            kept[view, vertex, axis] = vertex_of_frame(vertices, frames[view], vertex)[axis]


@ti.kernel
def compare_vertices(
    vertices: ti.template(),  # (V,) or (T, V) vec3 world
    frames: ti.template(),  # (B,)
    first: int,
    end: int,
    kept: array(float, 3),  # (1 or B, V, 3)
    is_changed: array(int, 1),  # (1,)
):
    """Whether any is not what was kept. Threads write the same 1."""
    is_changed[0] = 0
    for view, vertex in ti.ndrange((first, end), kept.shape[1]):
        for axis in ti.static(range(3)):
            now = vertex_of_frame(vertices, frames[view], vertex)[axis]
            if now != kept[view, vertex, axis]:
                is_changed[0] = 1


@ti.kernel
def load_corners(
    vertices_ndc: ti.template(),  # (B, V) vec3
    faces: ti.template(),  # (F,) ivec3
    start: int,  # the first view of the pass
    corners: array(float, 4),  # (views of the pass, F, 3, 3)
):
    """The vertices of each face."""
    for view, face in ti.ndrange(corners.shape[0], corners.shape[1]):
        for corner in ti.static(range(3)):
            vertex = vertices_ndc[start + view, faces[face][corner]]
            for axis in ti.static(range(3)):
                corners[view, face, corner, axis] = vertex[axis]


@ti.func
def entry_index(source: ti.template(), coloring, face, entry):
    """Where a field keeps an entry of a face: one of its corners, texels or of its cube."""
    index = ti.Vector([0 for _ in ti.static(range(len(source.shape)))])
    index[0], index[1] = coloring, face
    for axis in ti.static(range(len(source.shape) - 1, 1, -1)):
        index[axis] = entry % source.shape[axis]
        entry = entry // source.shape[axis]
    return index


@ti.kernel
def load_colors(
    source: ti.template(),  # (1 or B, F, 3), (1 or B, F, R, R) or (1 or B, F, R, R, R) vec3
    start: int,  # the first coloring of the pass
    colors: array(float, 4),  # (1 or views of the pass, F, 3, R * R or R * R * R, 3)
):
    """Copies."""
    for coloring, face, entry in ti.ndrange(colors.shape[0], colors.shape[1], colors.shape[2]):
        value = source[entry_index(source, start + coloring, face, entry)]
        for channel in ti.static(range(3)):
            colors[coloring, face, entry, channel] = value[channel]


@ti.kernel
def store_image(
    planes: array(float, 4),  # (views of the pass, C + 1, H, >= W)
    start: int,  # the first view of the pass
    image: ti.template(),  # (B, H, W) of (C + 1)-vectors
):
    """Copies, a row of pixels at a time: three indices out of one cost more than the copy."""
    for view, row in ti.ndrange(planes.shape[0], image.shape[1]):
        for column in range(image.shape[2]):
            for channel in ti.static(range(image.n)):
                image[start + view, row, column][channel] = planes[view, channel, row, column]


@ti.kernel
def load_grad_image(
    image: ti.template(),  # (B, H, W) of (C + 1)-vectors, its gradient is read
    start: int,  # the first view of the pass
    end: int,  # views from here on belong to a pass before: 0
    planes: array(float, 4),  # (views of the pass, C + 1, H, >= W)
):
    """Copies, a row of pixels at a time as `store_image`."""
    for view, row in ti.ndrange(planes.shape[0], image.shape[1]):
        share = ti.cast(start + view < end, float)
        for column in range(image.shape[2]):
            for channel in ti.static(range(image.n)):
                grad = image.grad[start + view, row, column][channel]
                planes[view, channel, row, column] = share * grad


def load_grad_array(grad_image: np.ndarray, start: int, end: int, planes: ti.Ndarray) -> None:
    """`load_grad_image` from a NumPy array."""
    grads = np.array(grad_image[start : start + planes.shape[0]])
    grads[end - start :] = 0.0
    planes_from_pixels(grads, planes)


@ti.kernel
def add_grad_vertices(
    grad_corners: array(float, 4),  # (views of the pass, F, 3, 3)
    start: int,  # the first view of the pass
    corner_starts: ti.template(),  # (V + 1,)
    corners_of_vertex: ti.template(),  # (3 F,) 3 * face + corner
    vertices_ndc: ti.template(),  # (B, V) vec3, its gradient is added to
):
    """The adjoint of `load_corners`: every vertex sums up its corners."""
    for view, vertex in ti.ndrange(grad_corners.shape[0], vertices_ndc.shape[1]):
        total = ti.Vector([0.0, 0.0, 0.0])
        for slot in range(corner_starts[vertex], corner_starts[vertex + 1]):
            face = corners_of_vertex[slot] // 3
            corner = corners_of_vertex[slot] % 3
            for axis in ti.static(range(3)):
                total[axis] += grad_corners[view, face, corner, axis]
        vertices_ndc.grad[start + view, vertex] += total


@ti.kernel
def add_grad_colors(
    grad_colors: array(float, 4),  # (1 or views of the pass, F, 3, R * R or R * R * R, 3)
    start: int,  # the first coloring of the pass
    source: ti.template(),  # as in `load_colors`; its gradient is added to
):
    """The adjoint of `load_colors`."""
    for coloring, face, entry in ti.ndrange(
        grad_colors.shape[0], grad_colors.shape[1], grad_colors.shape[2]
    ):
        grad = ti.Vector([grad_colors[coloring, face, entry, k] for k in ti.static(range(3))])
        source.grad[entry_index(source, start + coloring, face, entry)] += grad
