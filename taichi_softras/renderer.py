"""The door for scenes: fields in, images out, and gradients back, in the user's own tape.

What a user or a simulation touches are fields. One kernel gathers them into arrays, the core draws
(`pipeline.py`), and one kernel adds the gradients to the fields. The core joins the user's
`ti.ad.Tape` in one place, `_draw_recorded`: Taichi differentiates users' kernels, never ours.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional, Union

import numpy as np

from taichi_softras.atlas import Atlas, looks_of
from taichi_softras.copies import (
    gather,
    lay_behind,
    lay_behind_backward,
    load_grads,
    scatter,
    store_images,
    store_indices,
)
from taichi_softras.environments import Environments
from taichi_softras.fields import (
    FieldTree,
    body,
    num_components,
    num_elements,
    place_dual,
    upload,
)
from taichi_softras.forward_mode import check_parameters, count_numbers, differentiate
from taichi_softras.funcs.lights import NO_LIGHTS
from taichi_softras.functional import check_background, check_image_size
from taichi_softras.geometry.lens_limits import LensWatch
from taichi_softras.geometry.scene_arrays import CAMERA_SIZE, SceneNumbers
from taichi_softras.geometry.transforms import ObjectNumbers
from taichi_softras.io.images import over_background, save_video
from taichi_softras.io.notebook import show_picture
from taichi_softras.io.viewing import as_pictures, png, sheet
from taichi_softras.pipeline import Kinds, Pipeline, Topology
from taichi_softras.rasterizers.base import Rasterizer, check_has_jacobian, check_rasterizer
from taichi_softras.rasterizers.binning import CornerError
from taichi_softras.rasterizers.clipping import check_near_clip, draw_clipped
from taichi_softras.rasterizers.depth_range import (
    KeptRange,
    checked_depth_range,
    complete,
    needs_fit,
)
from taichi_softras.rasterizers.fragments import SILHOUETTE, no_surface
from taichi_softras.rasterizers.k_nearest import Fragments
from taichi_softras.rasterizers.planes import jacobian_from_planes
from taichi_softras.rasterizers.soft_aggregation import SoftAggregation
from taichi_softras.runtime import (
    clear_gradients,
    default_numpy_float,
    has_gradient,
    is_cpu,
    is_in_tape,
    quick_compilation,
    ti,
)
from taichi_softras.scene.attributes import FieldAttribute
from taichi_softras.scene.camera import Camera
from taichi_softras.scene.checks import check_kind
from taichi_softras.scene.lights import Light, Lights, group_lights
from taichi_softras.scene.mesh import Mesh
from taichi_softras.scene.scene import (
    Scene,
    colors_of,
    meshes_of,
    one_behind_another,
    starts_of,
)
from taichi_softras.shading.base import EYE, VIEW_ROTATION, Shading, uniform_values
from taichi_softras.shading.composition import Composition, compose
from taichi_softras.shading.flat import Flat
from taichi_softras.shading.materials import DEFAULTS, NUMBERS
from taichi_softras.shading.outputs import Index, choose_outputs
from taichi_softras.tape import TapeMemory
from taichi_softras.workspace import (
    MAX_PAIRS,
    Workspace,
    check_entries,
    describe_scene,
    write_array,
)

PIXELS_PER_PASS = 3 * 2**14  # of a mesh that moves: two cores are busy, 40 MB hold them


class Renderer:
    """Draws a mesh or a scene in B views, and carries gradients back to what the image came from.

        renderer = Renderer(mesh, cameras, image_size=(256, 256))
        with ti.ad.Tape(loss):
            renderer.render()
            losses.silhouette_iou(renderer.image, target, loss)

    Attributes:
        image: (B, H, W) field of (C + 1)-vectors: the channels of the shading (r, g, b), alpha
            last; alpha alone with `Silhouette`, depth and alpha with `Depth`. Row 0 on top. A view
            is a camera, a frame of a mesh that moves, or a mesh of a batch.
        outputs: further channels by name, (B, H, W) fields of scalars or vectors with gradient;
            of whole numbers, without one, for "face_id" and "mesh_id".
        background: (1 or B, H, W) field of C-vectors with gradient: the image behind all faces;
            None unless one was given.
        rasterizer: the method; may be replaced between renders. New numbers compile nothing.
        views_per_pass: how many views are rasterized together; may be changed between renders.
        depth_range: (near, far) where the rasterizer leaves them out, see there.
    """

    background = FieldAttribute()

    def __init__(  # all that may be drawn, and how
        self,
        mesh: Union[Mesh, Scene],
        cameras: Camera,
        image_size: tuple,
        rasterizer: Optional[Rasterizer] = None,
        shading: Optional[Shading] = None,
        lights: Union[Light, Sequence[Light], None] = None,
        frames: Optional[Sequence[int]] = None,
        views_per_pass: Optional[int] = None,
        outputs: Union[Sequence[str], dict] = (),
        max_pairs: int = MAX_PAIRS,
        background: Optional[np.ndarray] = None,
        near_clip: Optional[float] = None,
    ):
        """Places the fields of the image.

        Args:
            mesh: what is drawn; several are a `Scene`.
            cameras: from where; one view each. Of a mesh that moves, each frame is a view, by
                one camera for all of them or a camera each; so is each mesh of a batch.
            image_size: (H, W) in pixels.
            rasterizer: how pixels are covered; `SoftAggregation()` when left out.
            shading: how colours come from light; `Flat()` when left out.
            lights: one, or a list of any number and mix of `AmbientLight`, `DirectionalLights`,
                `PointLights`, `SpotLights`, `SphericalHarmonics`, `EnvironmentMap` and `Lights`;
                of an empty list all is black. `Lights()` when left out and the shading is lit.
            frames: of a mesh that moves, those that are views; all when left out.
            views_per_pass: how many views are rasterized together, and so have memory for it at
                a time; the gradient of a view that left this memory draws it once more. Left
                out: all views of a still mesh; of one that moves, as many as have 3 * 2^14 pixels.
            outputs: names of further channels that are drawn in the same pass, "depth",
                "normal_view", "normal_world", "position_world", "uv"; of the nearest face that
                contains a pixel's centre "face_id", "mesh_id" and "barycentric"; or shadings by
                names of your own.
            max_pairs: how many pairs of a tile (8 x 8 pixels) and a face that reaches it are in
                memory at a time, for 4 bytes each, on a GPU 8. A pass that has more is drawn in
                bands of tiles: the same image. See `count_pairs`.
            background: (H, W, C) or (1 or B, H, W, C), an image behind all faces, in place of the
                colour that the rasterizer has.
            near_clip: the depth at which faces are cut, and before which nothing is drawn, in units
                of the world. Left out, faces that reach behind the camera are cut just in front of
                it. A cut has no border: where it is in the image, shapes end there sharply.

        Raises:
            ValueError: for an image size below (1, 1), or a scene with an array of more than
                2^31 - 1 entries; for frames that the mesh does not have, another
                number of cameras than of frames, or views_per_pass below 1; for a shading or an
                output that lacks what it needs; for colours that light cannot tint; for a
                background of another shape, or behind a shading without colours.
        """
        _check_scene(mesh, cameras)
        self.mesh = mesh
        self.cameras = cameras
        self.image_size = check_image_size(image_size)
        self.rasterizer = SoftAggregation() if rasterizer is None else rasterizer
        check_rasterizer(self.rasterizer)
        self.shading = Flat() if shading is None else shading

        frames = _checked_frames(frames, mesh, cameras)
        self.num_views = len(frames)
        self.views_per_pass = _checked_views_per_pass(views_per_pass, self)
        scene = describe_scene(self.image_size, self.num_views, mesh.num_faces)
        self._near_clip = near_clip
        self._workspace = Workspace(scene, max_pairs, check_near_clip(near_clip))
        self._frames = self._workspace.get("frames", (self.num_views,), int)
        write_array(self._frames, frames)
        self._lay_out_fields()
        shadings = choose_outputs(outputs)
        if getattr(self.shading, "of_nearest_face", False):
            name = type(self.shading).__name__
            raise ValueError(f"{name} is no picture of its own: outputs={{'name': {name}()}}")
        shadings_of_pass = [self.shading, *shadings.values()]
        needs_lights = lights is None and any(
            getattr(one, "lights", False) or getattr(one, "light", None) for one in shadings_of_pass
        )
        self.lights = Lights() if needs_lights else lights
        self._lights = group_lights(
            [] if self.lights is None else self.lights, is_mirrored=mesh.lookup is None
        )
        looks = looks_of(mesh)
        composition = compose(
            shadings_of_pass,
            looks,
            self._lights.structure,
            is_over_image=background is not None,
        )
        if composition.light is not None and looks.num_color != 3:
            raise ValueError(
                f"{type(self.shading).__name__} lights colours of 3 channels, the mesh has "
                f"{looks.num_color}: use Unlit"
            )
        self._atlas = self._make_atlas(composition)
        self._pipeline = self._make_pipeline(composition)
        if self._atlas is not None:
            self._atlas.lay_defaults(self._pipeline.looks)
        self._uniform_fields, self._fragment_fields = self._collect_uniforms(composition)
        self._environments = self._make_environments(composition)
        self._num_copied = self._count_copied()
        self._copied = {}  # what `_find_copied` found

        self._place_images(composition, shadings, background)
        self._rasterizers = {}  # by (first, end) of the views that were drawn in one call
        self._kept_range, self._lens_watch = KeptRange(), LensWatch()
        self._on_tape = TapeMemory()

    def _lay_out_fields(self) -> None:
        """Where the meshes' fields of vertices and colours begin, and the columns of transforms."""
        meshes = meshes_of(self.mesh)
        vertices, colors = [one.vertices for one in meshes], list(map(colors_of, meshes))
        self._vertices = one_behind_another(vertices, [one.num_vertices for one in meshes])
        self._colors = one_behind_another(colors, [field.shape[0] for field in colors])
        fields = self.mesh.transforms if isinstance(self.mesh, Scene) else []
        columns = starts_of(list(map(num_components, fields)))
        self._transforms = [(field, column, 0) for field, column in zip(fields, columns)]

    def _place_images(
        self, composition: Composition, shadings: dict, background: Optional[np.ndarray]
    ) -> None:
        """The fields of `image` and `background`; of `outputs`, by the names of their shadings."""
        tree = FieldTree()
        own, *of_outputs = composition.channels
        alpha = composition.shader.num_channels
        image_shape = (self.num_views, *self.image_size)
        check_entries(
            self._workspace.scene, "image", (*image_shape, max(map(len, composition.channels)) + 1)
        )
        self.image = tree.add(image_shape, (len(own) + 1,))
        self.outputs = {
            name: tree.add(image_shape, dtype=int, needs_grad=False)
            if isinstance(shading, Index)
            else tree.add(image_shape, (len(channels),) if len(channels) > 1 else ())
            for (name, shading), channels in zip(shadings.items(), of_outputs)
        }
        self.background = None
        if background is not None:
            background = check_background(background, image_shape, len(own), self.shading)
            self.background = tree.add(background.shape[:3], (len(own),))
        tree.place()
        if background is not None:
            upload([self.background], [background])
        images, of_nearest, indices = [(body(self.image), (*own, alpha))], [], []
        for (name, shading), channels in zip(shadings.items(), of_outputs):
            field = body(self.outputs[name])
            if isinstance(shading, Index):
                indices.append((field, shading.of_mesh))
            else:
                chosen = of_nearest if shading.of_nearest_face else images
                chosen.append((field, tuple(channels)))
        self._images, self._images_of_nearest = tuple(images), tuple(of_nearest)
        self._indices = tuple(indices)
        if indices:
            meshes = meshes_of(self.mesh)
            counts = [one.num_faces for one in meshes] if isinstance(self.mesh, Scene) else [1]
            self._face_meshes = self._workspace.get("face_meshes", (sum(counts),), int)
            write_array(self._face_meshes, np.repeat(np.arange(len(counts)), counts))

    def render(self, view: Optional[int] = None):
        """Draws `image` and `outputs`, returns the image; inside a `ti.ad.Tape` it is recorded.

        Args:
            view: of a mesh that moves, the one view that is drawn; `image` keeps the others.

        Raises:
            ValueError: if a vertex, a colour, a light or a camera is NaN, infinite or too large; if
                a camera looks nowhere, or its angle is none; for settings that the runtime's
                precision cannot hold; if this renderer already drew the view in the same tape (the
                first image would be lost, and its gradient wrong).
        """
        check_rasterizer(self.rasterizer)
        check_near_clip(self._near_clip, self.rasterizer.far)
        views = self._checked_views(view)
        self._refuse_second_render(views)
        self._draw_recorded(*views)
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

    def show(self) -> None:
        """Shows all views: below the cell of a notebook, elsewhere in a window of matplotlib.

        Colours are laid on white by their alpha; several views stand side by side. What was not
        drawn yet is drawn.
        """
        show_picture(self._picture())

    def _repr_png_(self) -> bytes:
        """What a notebook shows of a renderer."""
        return png(self._picture())

    def _picture(self) -> np.ndarray:
        """(H, W, 3) of all views."""
        if not self._rasterizers and not is_in_tape():
            self.render()
        return sheet(as_pictures(self.image.to_numpy()))

    def backward(self, grad_image: np.ndarray) -> None:
        """Pulls an image gradient back to all fields of the scene, without a tape.

        Gradients of all fields are cleared first, as a tape does; `render` must have been
        called.

        Args:
            grad_image: (B, H, W, C + 1), dE/dimage.

        Raises:
            ValueError: for another shape or entries that are not finite; if the vertices were
                changed since `render`.
            RuntimeError: before the first `render` of all views, or inside a tape.
        """
        views, shape = (0, self.num_views), (*self.image.shape, self.image.n)
        if views not in self._rasterizers:
            raise RuntimeError("backward needs an image: call render() first")
        if is_in_tape():
            raise RuntimeError("backward is no part of a tape: call it outside of ti.ad.Tape")
        grad_image = np.ascontiguousarray(grad_image, default_numpy_float())
        if grad_image.shape != shape:
            raise ValueError(f"grad_image must have shape {shape}, got {grad_image.shape}")
        if not np.isfinite(grad_image).all():
            raise ValueError("grad_image has entries that are NaN or infinite")
        clear_gradients()
        self.image.grad.from_numpy(grad_image)
        self._pull_back(*views)

    def pull_back(self) -> None:
        """Adds to the gradients of the scene's fields, from those of `image` and `outputs`.

        As they stand after `render` of all views, outside of a tape: for doors that clear and fill
        gradients themselves.
        """
        self._pull_back(0, self.num_views)

    def jacobian(self, parameters: list, place: Optional[Callable] = None) -> np.ndarray:
        """Draws `image` and returns its derivative by a few numbers, for Gauss-Newton.

        The work grows with P, not with the number of pixels as that of P backward passes would.
        Your kernels are differentiated by Taichi's forward mode, the core by its own tangents. An
        image behind all faces is constant.

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
        check_has_jacobian(self.rasterizer)
        fields = self.fields
        for field in fields:
            place_dual(field)
        parameters = check_parameters(parameters)
        if is_in_tape():
            raise RuntimeError("jacobian is a derivative already: call it outside of ti.ad.Tape")
        if place is not None:
            place()
        self._draw_recorded(0, self.num_views)
        pipeline = self._pipeline
        pipeline.draw(self._rasterizers[0, self.num_views], 0, self.num_views)  # in one pass
        count = count_numbers(parameters)

        def tangents() -> Iterator[tuple]:
            for index in differentiate(place, parameters):
                self._run_copy(
                    gather,
                    0,
                    self.num_views,
                    *pipeline.tangent_given,
                    pipeline.tangent_fragment_uniforms,
                    derivative="dual",
                )
                self._copy_transforms(
                    gather, pipeline.tangent_given, pipeline.tangent_objects, derivative="dual"
                )
                self._environments.gather(
                    pipeline.tangent_scene.uniforms, pipeline.tangent_fragment_uniforms, "dual"
                )
                if self._atlas is not None:
                    self._atlas.gather(pipeline.tangent_looks, "dual")
                yield index, count

        planes = pipeline.push_forward(tangents())
        _, of_image = self._images[0]
        jacobian = np.empty((*self.image.shape, self.image.n, count), default_numpy_float())
        jacobian_from_planes(planes, jacobian, of_image)
        if self.background is not None:
            of_share = np.empty((*self.image.shape, 1, count), default_numpy_float())
            jacobian_from_planes(planes, of_share, (pipeline.composition.share,))
            jacobian[..., :-1, :] += of_share * self.background.to_numpy()[..., None]
        return jacobian

    def fragments(self, faces_per_pixel: Optional[int] = None) -> Fragments:
        """The nearest faces of each pixel, of a rasterizer that looks for them (`KNearest`).

        Args:
            faces_per_pixel: K; that of the rasterizer when left out.

        Returns:
            `pix_to_face`, `zbuf`, `barycentrics` and `distances` (squared, NDC, negative
            inside) as NumPy arrays, sorted by depth, -1 where a pixel has fewer than K faces.

        Raises:
            ValueError: for K < 1, or more than 2^31 - 1 entries; for a rasterizer without
                fragments.
            MemoryError: for more bytes than are free.
        """
        check_rasterizer(self.rasterizer)
        return self._without_tape(self._find_fragments, faces_per_pixel)

    def _find_fragments(self, faces_per_pixel: Optional[int]) -> Fragments:
        corners = self._pipeline.place(0, self.num_views).corners
        rasterizer = self._kept_range.complete(
            self.rasterizer, self.image_size, lambda: self._look(0, self.num_views)
        )
        with self._explained(0):
            workspace = self._workspace.another()
            return rasterizer.fragments(workspace, corners, self.image_size, faces_per_pixel)

    @contextlib.contextmanager
    def _explained(self, start: int) -> Iterator[None]:
        """Within it a pass from view `start` on is drawn; what makes that impossible is named."""
        try:
            yield
        except CornerError as error:
            self.cameras.check()
            self._lights.check()
            if isinstance(self.mesh, Scene):
                self.mesh.check_transforms()
            if self._pipeline.composition.reads_color:
                self.mesh.check_colors()
            is_finite = all(np.isfinite(field.to_numpy()).all() for field, _ in self._vertices)
            raise CornerError(start + error.view, error.face, is_finite) from None

    @property
    def depth_range(self) -> Optional[tuple]:
        """(near, far) of what is drawn; None before the first draw, if the scene has to say them.

        What the rasterizer leaves out is fitted to the scene at the first draw, to all views and
        frames of it, and is kept: for other rasterizers, too, and for a scene that has moved or
        turned, by up to ten times its size. Gradients take it as constant. Write a pair to have
        another, and None to have it fitted anew at the next draw.
        """
        if self._kept_range.fitted is None and needs_fit(self.rasterizer):
            return None
        rasterizer = complete(self.rasterizer, self._kept_range.fitted)
        return getattr(rasterizer, "near", None), rasterizer.far

    @depth_range.setter
    def depth_range(self, depth_range: Optional[tuple]) -> None:
        kept = KeptRange()
        if depth_range is not None:
            kept.fitted = checked_depth_range(depth_range)
        self._kept_range = kept

    def _look(self, first: int, end: int) -> tuple:
        """The faces of some views, after they were placed; see `Pipeline.look`."""
        return self._pipeline.look(self.mesh.faces_array, first, end)

    def count_pairs(self) -> int:
        """How many pairs of a tile (8 x 8 pixels) and a face that reaches it all views have.

        The time that a draw takes grows with it, its memory up to `max_pairs`. Nothing is drawn.

        Raises:
            ValueError: as `render`; for a rasterizer that does not count them.
        """
        check_rasterizer(self.rasterizer)
        return self._without_tape(self._count_pairs)

    def _count_pairs(self) -> int:
        workspace = self._workspace.another()
        count = 0
        surface = no_surface(workspace)
        for view in range(self.num_views):
            corners = self._pipeline.place(view, 1).corners

            def count_of(corners: ti.Ndarray, *_) -> int:
                return self.rasterizer.bin_faces(workspace, corners, self.image_size).num_pairs

            inputs = (corners, SILHOUETTE, surface, self.image_size)
            count += draw_clipped(workspace, *inputs, count_of)[0]
        return count

    @property
    def vertices_ndc(self) -> ti.Ndarray:
        """(B, V, 3) array: x_ndc, y_ndc, depth; x = y = 0 where not in front of the camera."""
        return self._without_tape(self._pipeline.project_vertices)

    def _without_tape(self, look: Callable, *arguments) -> Any:
        """What `look` finds in the scene as it is; a tape does not record it."""
        found = []  # Taichi drops what a function without gradient returns

        @ti.ad.no_grad
        def run():
            self._gather(0, self.num_views)
            found.append(look(*arguments))

        run()
        return found[0]

    @ti.ad.grad_replaced
    def _draw_recorded(self, first: int, end: int) -> None:
        self._rasterizers.pop((first, end), None)  # should this raise, nothing was drawn
        self._gather(first, end)
        pipeline, passes = self._pipeline, self._passes(first, end)

        def place_and_look() -> tuple:
            pipeline.place(*passes[0])
            return self._look(first, end)

        rasterizer = self._kept_range.complete(self.rasterizer, self.image_size, place_and_look)
        for start, num_views in passes:
            with self._explained(start):
                pipeline.draw(rasterizer, start, num_views)
            self._store_images(start)
        self._rasterizers[first, end] = rasterizer
        drawn = rasterizer.drawn_depths(pipeline.composition.shader.num_channels > 0)
        self._kept_range.watch(
            self.rasterizer, drawn, self.image_size, lambda: self._look(first, end)
        )
        if self.cameras.distortion is not None:
            self._lens_watch.watch(
                self.image_size,
                lambda: pipeline.look_through_lenses(self.mesh.faces_array, first, end),
            )

    def _store_images(self, start: int) -> None:
        """What the pass from view `start` on has drawn, to the fields."""
        pipeline, width = self._pipeline, self.image_size[1]
        planes = pipeline.rasterization.image
        store_images(planes, start, width, is_cpu(), self._images)
        if self.background is not None:
            share = pipeline.composition.share
            lay_behind(planes, share, start, width, body(self.image), body(self.background))
        if self._images_of_nearest:
            planes = pipeline.nearest.image
            store_images(planes, start, width, is_cpu(), self._images_of_nearest)
        if self._indices:
            is_batch = int(self.mesh.table.is_batch)
            store_indices(
                pipeline.nearest.face_ids, self._face_meshes, start, is_batch, self._indices
            )

    @ti.ad.grad_for(_draw_recorded)
    def _draw_recorded_backward(self, first: int, end: int) -> None:
        if (first, end) in self._rasterizers:  # forward did not raise; the tape runs this anyway
            self._pull_back(first, end)

    def _pull_back(self, first: int, end: int) -> None:
        """From the gradients of the images to those of the scene's fields."""
        pipeline, todo = self._pipeline, end
        if pipeline.meshes is not self.mesh.table:
            raise ValueError(
                "mesh.replace came after render() and before its gradient, which would be of "
                "another mesh: replace it outside of the tape"
            )
        for start, num_views in reversed(self._passes(first, end)):
            pipeline.draw(self._rasterizers[first, end], start, num_views)
            self._load_grads(start, todo, first, end)
            pipeline.backward(is_first=todo == end)
            todo = start
        pipeline.pull_back_eyes()
        pipeline.pull_back_transforms(*self._vertices_range(first, end))
        self._run_copy(
            scatter,
            first,
            end,
            *pipeline.grad_given,
            pipeline.grad_fragment_uniforms,
            needs_grad=True,
        )
        self._copy_transforms(scatter, pipeline.grad_given, pipeline.grad_objects)
        self._environments.scatter(pipeline.grad_scene.uniforms, pipeline.grad_fragment_uniforms)
        if self._atlas is not None:
            self._atlas.scatter(pipeline.grad_looks)

    def _load_grads(self, start: int, todo: int, first: int, end: int) -> None:
        """The images' gradients of the views from `start` to `todo`, of those that were drawn.

        Raises:
            ValueError: if the vertices are others than were drawn; the first pass asks.
        """
        pipeline, width = self._pipeline, self.image_size[1]
        is_changed = self._workspace.get("are_vertices_changed", (1,), int)

        def load(grad_image: ti.Ndarray, num_compared: int, images: tuple) -> None:
            load_grads(
                start,
                todo,
                width,
                grad_image,
                num_compared,
                self._frames,
                *self._vertices_range(first, end),
                pipeline.given.vertices,
                is_changed,
                is_cpu(),
                images,
                tuple((body(field), start) for field, start in self._vertices),
            )

        drawn = pipeline.rasterization
        load(drawn.grad_image, self.mesh.num_vertices if todo == end else 0, self._images)
        if todo == end and is_changed[0]:
            raise ValueError(
                "mesh.vertices were overwritten after render() and before its gradient: the "
                "gradient would be wrong. Write each frame to vertices of its own, with a "
                "mesh whose vertices have shape (T, V), and change them outside of the tape"
            )
        if self.background is not None:
            fields, share = (body(self.image), body(self.background)), pipeline.composition.share
            lay_behind_backward(drawn.image, share, start, todo, width, drawn.grad_image, *fields)
        if self._images_of_nearest:
            load(pipeline.nearest.grad_image, 0, self._images_of_nearest)

    def _gather(self, first: int, end: int) -> None:
        """The fields of the scene, into the arrays of the core."""
        self.cameras.check_image_size(self.image_size)
        self.cameras.update(self.image_size[1] / self.image_size[0])
        pipeline = self._pipeline
        pipeline.forget()
        if pipeline.meshes is not self.mesh.table:
            self._follow_mesh()
        self._run_copy(gather, first, end, *pipeline.given, pipeline.fragment_uniforms)
        self._copy_transforms(gather, pipeline.given, pipeline.objects)
        pipeline.transform(*self._vertices_range(first, end))
        self._environments.gather(pipeline.scene.uniforms, pipeline.fragment_uniforms)
        if self._atlas is not None:
            self._atlas.gather(pipeline.looks)
            pipeline.finish_looks()

    def _follow_mesh(self) -> None:
        """The mesh was replaced: the same arrays have other faces."""
        if self._atlas is not None:
            self._atlas.replace_mesh(self.mesh)
        scene = None if self._atlas is None else self._atlas.scene
        self._pipeline.replace_mesh(self.mesh.table, scene)

    def _run_copy(
        self, copy: Callable, first: int, end: int, *arrays, derivative: str = "", needs_grad=False
    ) -> None:
        """Runs `gather` or `scatter`, on the fields or on their duals."""
        key = derivative, needs_grad
        if key not in self._copied:
            self._copied[key] = self._find_copied(derivative, needs_grad)
        with quick_compilation():
            copy(
                self._num_copied,
                self._frames,
                *self._vertices_range(first, end),
                *arrays,
                *self._copied[key],
            )

    def _copy_transforms(
        self,
        copy: Callable,
        given: SceneNumbers,
        objects: Optional[ObjectNumbers],
        derivative: str = "",
    ) -> None:
        """Of a scene the same for transforms, whose rows are copied as those of uniforms are."""
        if objects is None:
            return
        fields = tuple(
            (getattr(body(field), derivative) if derivative else body(field), *place)
            for field, *place in self._transforms
        )
        with quick_compilation():
            rows = objects.transforms
            copy(rows.shape[0], self._frames, 0, 0, *given, rows, (), (), (), fields)

    def _find_copied(self, derivative: str, needs_grad: bool) -> tuple:
        """The fields of the scene as `gather` and `scatter` take them."""

        def chosen(field):
            return getattr(body(field), derivative) if derivative else body(field)

        groups = [
            tuple(
                (chosen(field), *place)
                for field, *place in group
                if not needs_grad or has_gradient(field)
            )
            for group in (self._uniform_fields, self._fragment_fields)
        ]
        reads_color = self._pipeline.composition.reads_color
        vertices, colors = (
            tuple((chosen(field), start) for field, start in group)
            for group in (self._vertices, self._colors if reads_color else ())
        )
        return vertices, colors, *groups

    def _count_copied(self) -> int:
        """Elements of the longest field that `gather` copies, or vertices."""
        groups = (*self._colors, *self._uniform_fields, *self._fragment_fields)
        lengths = [num_elements(field) for field, *_ in groups]
        lengths += [field.shape[-1] for field, _ in self._vertices]
        return max(self.num_views, *lengths)

    @property
    def fields(self) -> list:
        """All fields that the image depends on."""
        meshes = (*self._vertices, *self._transforms, *self._colors)
        groups = (*meshes, *self._uniform_fields, *self._fragment_fields)
        looks = [] if self._atlas is None else self._atlas.fields
        return [
            *(field for field, *_ in groups),
            *looks,
            *self._environments.fields,
        ]

    def _make_atlas(self, composition: Composition) -> Optional[Atlas]:
        """UVs, materials, textures and environments, if anything reads them."""
        panoramas = self._lights.environments if composition.num_panoramas else ()
        if composition.num_placed == composition.num_varyings and not panoramas:
            return None
        return Atlas(self.mesh, composition.slots, panoramas)

    def _make_pipeline(self, composition: Composition) -> Pipeline:
        mesh = self.mesh
        lights = NO_LIGHTS if composition.light is None else self._lights.structure
        albedo = (1, 1, 1)
        if composition.reads_color:
            colors = self._colors[0][0]
            rows = sum(field.shape[0] for field, _ in self._colors)
            albedo = (rows, num_elements(colors) // colors.shape[0], colors.n)
        return Pipeline(
            self._workspace,
            Topology(mesh.faces, mesh.corner_starts, mesh.corners_of_vertex),
            mesh.table,
            Kinds(*self.cameras.kinds, lights, self.cameras.distortion is not None),
            composition,
            self.image_size,
            self.num_views,
            self.cameras.num_views,
            lights.size,
            albedo,
            mesh.is_moving,
            self.cameras.needs_grad,
            None if self._atlas is None else self._atlas.scene,
            (*mesh.first_vertices, mesh.num_vertices) if isinstance(mesh, Scene) else None,
        )

    def _collect_uniforms(self, composition: Composition) -> tuple:
        """Fields of cameras and lights with their places, and those of the shadings."""
        fields = list(self.cameras.uniform_fields)
        if composition.light is not None:
            lights = CAMERA_SIZE * self.cameras.num_views
            fields += [(f, lights + start, step) for f, start, step in self._lights.uniform_fields]
        constants = np.zeros(tuple(self._pipeline.fragment_uniforms.shape), default_numpy_float())
        own = []
        if composition.first_light >= 0:
            first = composition.first_light
            own += [(f, first + start, step) for f, start, step in self._lights.uniform_fields]
        for name, column in composition.constants:
            constants[:, column : column + NUMBERS[name][1]] = DEFAULTS[name]
        for shading, name, column in composition.uniforms:
            size = shading.uniforms[name]
            if name == VIEW_ROTATION:  # the core computes it
                continue
            if name == EYE:
                if self.cameras.eye is not None:  # otherwise a stage of the core finds it
                    own.append((self.cameras.eye, column, 0))
                continue
            value = uniform_values(shading, name, size)
            if isinstance(value, ti.Field):
                own.append((value, column, 0))
            else:
                constants[:, column : column + size] = value
        write_array(self._pipeline.fragment_uniforms, constants)
        return fields, own

    def _make_environments(self, composition: Composition) -> Environments:
        """Pictures of lights, if anything reads them."""
        first = -1 if composition.light is None else CAMERA_SIZE * self.cameras.num_views
        pictures = self._lights.pictures
        return Environments(self._workspace, pictures, first, composition.first_light)

    def _passes(self, first: int, end: int) -> list:
        """(first view, number of views) of each; the last overlaps, so that all have one size."""
        num_views = min(self.views_per_pass, end - first)
        return [(min(s, end - num_views), num_views) for s in range(first, end, num_views)]

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

    def _vertices_range(self, first: int, end: int) -> tuple:
        """Which vertices views have: a still mesh has one set for all of them."""
        return (first, end) if self.mesh.is_moving else (0, 1)


def _check_scene(mesh: Union[Mesh, Scene], cameras: Camera) -> None:
    """Raises a ValueError that says what to write, unless all are of their kinds."""
    if isinstance(mesh, (list, tuple)) and mesh and all(isinstance(one, Mesh) for one in mesh):
        raise ValueError(
            f"a Renderer draws one mesh or one scene, got {len(mesh)} meshes: write "
            "Renderer(Scene(meshes), ...)"
        )
    check_kind("mesh", mesh, (Mesh, Scene), "one Mesh, such as Mesh(vertices, faces)")
    check_kind("cameras", cameras, (Camera,), "one Camera of all views, Camera.look_at(eyes)")


def _checked_frames(
    frames: Optional[Sequence[int]], mesh: Union[Mesh, Scene], cameras: Camera
) -> np.ndarray:
    """The frame of each view."""
    if not mesh.is_moving:
        if frames is not None:
            raise ValueError("frames= is for a mesh that moves: vertices of shape (T, V)")
        num_meshes = mesh.table.num_meshes
        if num_meshes > 1 and cameras.num_views not in (1, num_meshes):
            raise ValueError(
                f"a batch of {num_meshes} meshes needs one camera, or one for each, got "
                f"{cameras.num_views}"
            )
        return np.zeros(max(cameras.num_views, num_meshes), np.int32)
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
