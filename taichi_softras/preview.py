"""A mesh as one likes to see it who does not say how: framed, lit from beside the camera, on white.

Views are drawn one at a time by one renderer, whose camera and lights go around the mesh: a film of
any length takes the memory of one view.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from taichi_softras.io.viewing import as_picture, as_pictures, grey, png, sheet
from taichi_softras.rasterizers.base import Rasterizer
from taichi_softras.rasterizers.prefiltered import Prefiltered
from taichi_softras.renderer import Renderer
from taichi_softras.scene.camera import Camera
from taichi_softras.scene.lights import Lights
from taichi_softras.scene.mesh import Mesh
from taichi_softras.scene.scene import Scene, colors_of, meshes_of, world_vertices
from taichi_softras.shading.base import Shading
from taichi_softras.shading.depth import Depth
from taichi_softras.shading.phong import Phong
from taichi_softras.shading.physically_based import PhysicallyBased

WHITE = (1.0, 1.0, 1.0)
SIZE = (512, 512)
ELEVATION, AZIMUTH, FOV_Y = 20.0, 30.0, 40.0  # degrees
AMBIENT = (0.35, 0.35, 0.35)
# Of the camera's axes (right, up, towards it), and how bright: one that shows shape, one that
# brightens its shadows
LIGHTS = (((-0.5, 0.7, 0.6), 0.55), ((0.9, 0.1, 0.4), 0.2))


class Preview:
    """Pictures of a mesh from all around.

        preview = Preview(mesh, cameras_around(mesh, np.arange(0, 360, 6)))
        pictures = [preview.draw(view)["image"] for view in range(60)]

    Attributes:
        renderer: what draws them, with a single view.
        cameras: of all views.
    """

    def __init__(
        self,
        mesh: Union[Mesh, Scene],
        cameras: Optional[Camera] = None,
        image_size: tuple = SIZE,
        rasterizer: Optional[Rasterizer] = None,
        shading: Optional[Shading] = None,
        outputs: Sequence[str] = (),
        background: Sequence = WHITE,
    ):
        """Looks at the mesh from all cameras.

        Args:
            mesh: of one that moves, the first frame is drawn.
            cameras: of B views; when left out, one of `cameras_around`.
            image_size: (H, W).
            rasterizer: `Prefiltered` when left out; its background is replaced.
            shading: when left out, `PhysicallyBased` of materials that are metallic or smooth,
                otherwise `Phong`.
            outputs: names of further pictures, see `Renderer`.
            background: the colour behind the mesh.

        Raises:
            ValueError: as `Camera.framing` and `Renderer`.
        """
        height, width = image_size
        aspect = width / height
        self.cameras = cameras_around(mesh, aspect=aspect) if cameras is None else cameras
        self._background = tuple(background)
        points = world_vertices(mesh).reshape(-1, 3)[np.unique(mesh.faces_array)]
        self._box = points.min(axis=0), points.max(axis=0)
        view_from_world = self.cameras.matrices(aspect)[0].astype(float)
        self._axes = view_from_world[:, :3, :3]
        depths = [-(points @ matrix[2, :3] + matrix[2, 3]) for matrix in view_from_world]
        self._depths = max(min(map(np.min, depths)), 0.0), max(map(np.max, depths))
        colors = [[brightness] * 3 for _, brightness in LIGHTS]
        self._lights = Lights(AMBIENT, self._directions(0), colors)
        method: Any = Prefiltered() if rasterizer is None else rasterizer
        self.renderer = Renderer(
            mesh,
            self.cameras.take(0),
            image_size,
            dataclasses.replace(method, background=self._background),
            shading_of(mesh) if shading is None else shading,
            self._lights,
            frames=[0] if mesh.is_moving else None,
            outputs=outputs,
        )

    def draw(self, view: int = 0) -> dict:
        """The pictures of a view, (H, W, 3) in [0, 1]: "image", and those of outputs by name."""
        renderer = self.renderer
        renderer.cameras.copy_from(self.cameras.take(view))
        self._lights.directions = self._directions(view)
        image = renderer.render().to_numpy()[0]
        alpha = image[..., -1]
        if isinstance(renderer.shading, Depth):
            over = grey(image[..., 0], self._depths)
            pictures = {"image": as_pictures(np.dstack([over, alpha]), self._background)}
        elif image.shape[-1] == 1:
            pictures = {"image": as_pictures(image, self._background)}
        else:  # the rasterizer has laid it on the background
            pictures = {"image": np.clip(image[..., :3], 0.0, 1.0)}
        for name, field in renderer.outputs.items():
            values = field.to_numpy()[0]
            pictures[name] = as_picture(name, values, alpha, self._depths, self._box)
        return pictures

    def _directions(self, view: int) -> np.ndarray:
        """Where light comes from, in the world: it goes with the camera."""
        return np.array([direction for direction, _ in LIGHTS]) @ self._axes[view]


def cameras_around(
    mesh: Union[Mesh, Scene],
    azimuths_degrees: Any = AZIMUTH,
    elevation_degrees: float = ELEVATION,
    fov_y_degrees: float = FOV_Y,
    aspect: float = 1.0,
) -> Camera:
    """Cameras that look at the middle of a mesh, all from one distance.

    Args:
        mesh: see `Camera.framing`.
        azimuths_degrees: scalar or (B,), a view each, as for `orbit`.
        elevation_degrees: above the mesh, of all.
        fov_y_degrees: of all.
        aspect: width over height of the pictures.
    """
    framing = Camera.framing(
        mesh, elevation_degrees, azimuths_degrees, fov_y_degrees, aspect, needs_grad=False
    )
    center = framing.target.to_numpy()[0].astype(float)
    ways = framing.eye.to_numpy() - center
    distances = np.linalg.norm(ways, axis=-1, keepdims=True)
    eyes = center + ways / distances * distances.max()
    return Camera.look_at(eyes, center, fov_y_degrees=fov_y_degrees, needs_grad=False)


def shading_of(mesh: Union[Mesh, Scene]) -> Shading:
    """`PhysicallyBased` if a material has what only it reads, otherwise `Phong`."""
    for one in mesh.materials:
        is_metal, is_smooth = one.metallic[None] > 0, one.roughness[None] < 1
        if is_metal or is_smooth or one.metallic_roughness_texture is not None:
            return PhysicallyBased()
    return Phong()


def mesh_png(mesh: Union[Mesh, Scene]) -> Optional[bytes]:
    """What a notebook shows of a mesh, half as high and wide as other pictures; of colours only."""
    if colors_of(meshes_of(mesh)[0]).n != 3:
        return None
    preview = Preview(mesh, image_size=(SIZE[0] // 2, SIZE[1] // 2))
    picture = preview.draw()["image"]
    if mesh.table.is_batch:  # of a batch all, at one scale
        picture = sheet(np.clip(preview.renderer.image.to_numpy()[..., :3], 0.0, 1.0))
    return png(picture)


Mesh._repr_png_ = Scene._repr_png_ = (
    mesh_png  # a renderer knows the mesh, the mesh knows no renderer
)
