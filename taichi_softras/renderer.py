"""The conductor: the only file that knows the order of the stages, forward and back.

    vertices -> project -> vertices_ndc --\
    colours  -> shade   -> colors ---------> rasterize -> image

What stands left of `rasterize` and right of `image` are small kernels on fields, which
Taichi differentiates. `rasterize` is kernels on arrays with a hand-written adjoint; it joins
the user's tape in one place, `_rasterize`.
"""

import weakref
from typing import Callable, Optional, Union

import numpy as np
import taichi as ti
from taichi.lang import impl

from taichi_softras.fields import FieldTree, default_numpy_float
from taichi_softras.forward_mode import check_parameters, count_numbers, differentiate
from taichi_softras.functional import (
    check_has_fragments,
    check_has_push_forward,
    check_image_size,
)
from taichi_softras.geometry.transform import project_vertices
from taichi_softras.rasterizers.base import Rasterizer
from taichi_softras.rasterizers.k_nearest import Fragments
from taichi_softras.rasterizers.outlines import weld
from taichi_softras.rasterizers.planes import jacobian_from_planes, planes_from_pixels, stack
from taichi_softras.rasterizers.soft_aggregation import SoftAggregation
from taichi_softras.rasterizers.workspace import Workspace, array
from taichi_softras.scene.camera import Camera
from taichi_softras.scene.lights import Lights
from taichi_softras.scene.mesh import Mesh
from taichi_softras.scene.spherical_harmonics import SphericalHarmonics
from taichi_softras.shading.flat import Flat


class Renderer:
    """Draws one mesh in B views, and carries gradients back to whatever the image came from.

        renderer = Renderer(mesh, cameras, image_size=(256, 256))
        with ti.ad.Tape(loss):
            renderer.render()
            losses.silhouette_iou(renderer.image, target, loss)

    Attributes:
        image: (B, H, W) field of (C + 1)-vectors: r, g, b, alpha, or alpha alone with
            `Silhouette` shading. Row 0 on top.
        rasterizer: the method; may be replaced between renders. New numbers compile nothing.
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
    ):
        """Places the fields of the image.

        Args:
            mesh: what is drawn.
            cameras: from where; one view each.
            image_size: (H, W) in pixels.
            rasterizer: how pixels are covered; `SoftAggregation()` when left out.
            shading: how colours come from light; `Flat()` when left out.
            lights: `Lights` or `SphericalHarmonics`; `Lights()` when left out.

        Raises:
            ValueError: for an image size below (1, 1).
        """
        self.mesh = mesh
        self.cameras = cameras
        self.image_size = check_image_size(image_size)
        self.rasterizer = SoftAggregation() if rasterizer is None else rasterizer
        self.shading = Flat() if shading is None else shading
        self.lights = Lights() if lights is None else lights

        tree = FieldTree()
        self._buffers = self.shading.allocate(tree, mesh)
        self.vertices_ndc = tree.add((cameras.num_views, mesh.num_vertices), (3,))
        channels = 0 if self._buffers.colors is None else 3
        image_shape = (cameras.num_views, *self.image_size)
        self.image = tree.add(image_shape, (channels + 1,), needs_dual=False)
        self._no_loss = tree.add(())
        tree.place()

        self._workspace = Workspace()
        corners = mesh.vertices.to_numpy()[..., mesh.faces_array, :].reshape(-1, 3)
        self._workspace.corner_places = weld(corners[: 3 * mesh.num_faces])
        self._rasterization = None
        self._tape = None

    def render(self):
        """Draws `image` and returns it; inside a `ti.ad.Tape` the drawing is recorded.

        Raises:
            ValueError: if a vertex is NaN or infinite; if this renderer already drew in the same
                tape (the first image would be lost, and its gradient wrong).
        """
        self._workspace.check_runtime()
        self._refuse_second_render()
        self._place_corners_and_colors()
        self._rasterize()
        return self.image

    def backward(self, grad_image: np.ndarray) -> None:
        """Pulls an image gradient back to all fields of the scene, without a tape.

        Gradients of all fields are cleared first, as a tape does; `render` must have been
        called. The cheap stages are run once more.

        Args:
            grad_image: (B, H, W, C + 1), dE/dimage.

        Raises:
            ValueError: for another shape or entries that are not finite.
            RuntimeError: before the first `render`, or inside a tape.
        """
        self._workspace.check_runtime()
        if self._rasterization is None:
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
            self._place_corners_and_colors()
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

        def run():
            if place is not None:
                place()
            self._place_corners_and_colors()

        run()
        self._rasterize()
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
            load_corners(self.vertices_ndc.dual, self.mesh.faces, corners)
            stack(corners, index, all_corners)
            if colors is not None:
                load_colors(self._buffers.colors.dual, colors)
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
        self._project()
        workspace = Workspace()
        shape = (self.cameras.num_views, self.mesh.num_faces, 3, 3)
        corners = workspace.get("corners", shape)
        load_corners(self.vertices_ndc, self.mesh.faces, corners)
        found.append(
            self.rasterizer.fragments(workspace, corners, self.image_size, faces_per_pixel)
        )

    def _place_corners_and_colors(self) -> None:
        self._project()
        self.shading.shade(self.mesh, self.lights, self._buffers)

    def _project(self) -> None:
        height, width = self.image_size
        self.cameras.update(width / height)
        project_vertices(
            self.mesh.vertices,
            self.cameras.view_from_world,
            self.cameras.clip_from_view,
            width / min(self.image_size),
            height / min(self.image_size),
            self.vertices_ndc,
        )

    @ti.ad.grad_replaced
    def _rasterize(self) -> None:
        self._rasterization = None
        views, faces = self.cameras.num_views, self.mesh.num_faces
        corners = self._workspace.get("corners", (views, faces, 3, 3))
        load_corners(self.vertices_ndc, self.mesh.faces, corners)
        colors = None
        if self._buffers.colors is not None:
            colors = self._workspace.get(
                "colors", (1, faces, self.mesh.texel_resolution**2 or 3, 3)
            )
            load_colors(self._buffers.colors, colors)
        self._corners, self._colors = corners, colors
        rasterization = self.rasterizer.forward(
            self._workspace, corners, colors, self.mesh.texel_resolution, self.image_size
        )
        store_image(rasterization.image, self.image)
        self._rasterization = rasterization

    @ti.ad.grad_for(_rasterize)
    def _rasterize_backward(self) -> None:
        if self._rasterization is None:  # the forward pass raised; the tape runs this all the same
            return
        load_grad_image(self.image, self._rasterization.grad_image)
        self._pull_back()

    @ti.ad.grad_replaced
    def _resume(self, grad_image: np.ndarray) -> None:
        """Stands for `_rasterize` on a tape whose image is drawn already."""

    @ti.ad.grad_for(_resume)
    def _resume_backward(self, grad_image: np.ndarray) -> None:
        planes_from_pixels(grad_image, self._rasterization.grad_image)
        self._pull_back()

    def _pull_back(self) -> None:
        self._rasterization.backward()
        add_grad_vertices(
            self._rasterization.grad_corners,
            self.mesh.corner_starts,
            self.mesh.corners_of_vertex,
            self.vertices_ndc,
        )
        if self._buffers.colors is not None:
            add_grad_colors(self._rasterization.grad_colors, self._buffers.colors)

    def _refuse_second_render(self) -> None:
        tape = impl.get_runtime().target_tape
        if tape is None:
            return
        if self._tape is not None and self._tape() is tape:
            raise ValueError(
                "render() was called twice in one ti.ad.Tape: the second image overwrites the "
                "first. Use one renderer an image, or cameras with more views"
            )
        self._tape = weakref.ref(tape)


@ti.kernel
def load_corners(
    vertices_ndc: ti.template(),  # (B, V) vec3
    faces: ti.template(),  # (F,) ivec3
    corners: array(float, 4),  # (B, F, 3, 3)
):
    """The vertices of each face."""
    for view, face in ti.ndrange(corners.shape[0], corners.shape[1]):
        for corner in ti.static(range(3)):
            vertex = vertices_ndc[view, faces[face][corner]]
            for axis in ti.static(range(3)):
                corners[view, face, corner, axis] = vertex[axis]


@ti.kernel
def load_colors(
    source: ti.template(),  # (F, 3) or (F, R, R) vec3
    colors: array(float, 4),  # (1, F, 3 or R * R, 3)
):
    """Copies."""
    for index in ti.grouped(source):
        entry = index[1]
        if ti.static(len(source.shape) == 3):
            entry = index[1] * source.shape[2] + index[2]
        for channel in ti.static(range(3)):
            colors[0, index[0], entry, channel] = source[index][channel]


@ti.kernel
def store_image(
    planes: array(float, 4),  # (B, C + 1, H, >= W)
    image: ti.template(),  # (B, H, W) of (C + 1)-vectors
):
    """Copies."""
    for view, row, column in image:
        for channel in ti.static(range(image.n)):
            image[view, row, column][channel] = planes[view, channel, row, column]


@ti.kernel
def load_grad_image(
    image: ti.template(),  # (B, H, W) of (C + 1)-vectors, its gradient is read
    planes: array(float, 4),  # (B, C + 1, H, >= W)
):
    """Copies."""
    for view, row, column in image:
        for channel in ti.static(range(image.n)):
            planes[view, channel, row, column] = image.grad[view, row, column][channel]


@ti.kernel
def add_grad_vertices(
    grad_corners: array(float, 4),  # (B, F, 3, 3)
    corner_starts: ti.template(),  # (V + 1,)
    corners_of_vertex: ti.template(),  # (3 F,) 3 * face + corner
    vertices_ndc: ti.template(),  # (B, V) vec3, its gradient is added to
):
    """The adjoint of `load_corners`: every vertex sums up its corners."""
    for view, vertex in vertices_ndc:
        total = ti.Vector([0.0, 0.0, 0.0])
        for slot in range(corner_starts[vertex], corner_starts[vertex + 1]):
            face = corners_of_vertex[slot] // 3
            corner = corners_of_vertex[slot] % 3
            for axis in ti.static(range(3)):
                total[axis] += grad_corners[view, face, corner, axis]
        vertices_ndc.grad[view, vertex] += total


@ti.kernel
def add_grad_colors(
    grad_colors: array(float, 4),  # (1, F, 3 or R * R, 3)
    source: ti.template(),  # (F, 3) or (F, R, R) vec3, its gradient is added to
):
    """The adjoint of `load_colors`."""
    for index in ti.grouped(source):
        entry = index[1]
        if ti.static(len(source.shape) == 3):
            entry = index[1] * source.shape[2] + index[2]
        for channel in ti.static(range(3)):
            source.grad[index][channel] += grad_colors[0, index[0], entry, channel]
