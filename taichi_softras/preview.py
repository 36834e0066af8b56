"""A mesh as one likes to see it who does not say how: framed, lit from beside the camera, on white.

Views are drawn one at a time by one renderer, whose camera and lights go around the mesh: a film of
any length takes the memory of one view.
"""

from collections.abc import Sequence
from typing import Optional, Union

import numpy as np

from taichi_softras.io.viewing import as_picture, as_pictures, grey, png
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

        preview = Preview(mesh, azimuths_degrees=np.arange(0, 360, 6))
        pictures = [preview.draw(view)["image"] for view in range(60)]

    Attributes:
        renderer: what draws them, with a single view.
        eyes: (B, 3), all at one distance from the middle of the mesh.
    """

    def __init__(
        self,
        mesh: Union[Mesh, Scene],
        azimuths_degrees: Sequence = (AZIMUTH,),
        elevation_degrees: float = ELEVATION,
        fov_y_degrees: float = FOV_Y,
        image_size: tuple = SIZE,
        rasterizer: Optional[Rasterizer] = None,
        shading: Optional[Shading] = None,
        outputs: Sequence[str] = (),
    ):
        """Finds where the cameras stand.

        Args:
            mesh: of one that moves, the first frame is drawn.
            azimuths_degrees: (B,), a view each, as for `orbit`.
            elevation_degrees: above the mesh, of all.
            fov_y_degrees: of all.
            image_size: (H, W).
            rasterizer: `Prefiltered` on white when left out.
            shading: when left out, `PhysicallyBased` of materials that are metallic or smooth,
                otherwise `Phong`.
            outputs: names of further pictures, see `Renderer`.

        Raises:
            ValueError: as `Camera.framing` and `Renderer`.
        """
        height, width = image_size
        framing = Camera.framing(
            mesh,
            elevation_degrees,
            np.asarray(azimuths_degrees, float),
            fov_y_degrees,
            aspect=width / height,
            needs_grad=False,
        )
        center = framing.target.to_numpy()[0].astype(float)
        ways = framing.eye.to_numpy() - center
        distances = np.linalg.norm(ways, axis=-1, keepdims=True)
        self.eyes = center + ways / distances * distances.max()
        self._center = center
        points = world_vertices(mesh).reshape(-1, 3)[np.unique(mesh.faces_array)]
        self._box = points.min(axis=0), points.max(axis=0)
        forward = -ways / distances
        depths = [(points - eye) @ axis for eye, axis in zip(self.eyes, forward)]
        self._depths = min(map(np.min, depths)), max(map(np.max, depths))
        colors = [[brightness] * 3 for _, brightness in LIGHTS]
        self._lights = Lights(AMBIENT, self._directions(0), colors)
        self.renderer = Renderer(
            mesh,
            Camera.look_at(self.eyes[0], center, fov_y_degrees=fov_y_degrees, needs_grad=False),
            image_size,
            Prefiltered(background=WHITE) if rasterizer is None else rasterizer,
            shading_of(mesh) if shading is None else shading,
            self._lights,
            frames=[0] if mesh.is_moving else None,
            outputs=outputs,
        )

    def draw(self, view: int = 0) -> dict:
        """The pictures of a view, (H, W, 3) in [0, 1]: "image", and those of outputs by name."""
        renderer = self.renderer
        renderer.cameras.eye = self.eyes[view]
        self._lights.directions = self._directions(view)
        image = renderer.render().to_numpy()[0]
        alpha = image[..., -1]
        if isinstance(renderer.shading, Depth):
            over = grey(image[..., 0], self._depths)
            pictures = {"image": as_pictures(np.dstack([over, alpha]))}
        elif image.shape[-1] == 1:
            pictures = {"image": as_pictures(image)}
        else:  # the rasterizer has laid it on white
            pictures = {"image": np.clip(image[..., :3], 0.0, 1.0)}
        for name, field in renderer.outputs.items():
            values = field.to_numpy()[0]
            pictures[name] = as_picture(name, values, alpha, self._depths, self._box)
        return pictures

    def _directions(self, view: int) -> np.ndarray:
        """Where light comes from, in the world: it goes with the camera."""
        backward = self.eyes[view] - self._center
        backward = backward / np.linalg.norm(backward)
        right = np.cross((0.0, 1.0, 0.0), backward)
        length = np.linalg.norm(right)
        right = right / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])
        axes = np.stack([right, np.cross(backward, right), backward])
        return np.array([direction for direction, _ in LIGHTS]) @ axes


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
    return png(Preview(mesh, image_size=(SIZE[0] // 2, SIZE[1] // 2)).draw()["image"])


Mesh._repr_png_ = Scene._repr_png_ = (
    mesh_png  # a renderer knows the mesh, the mesh knows no renderer
)
