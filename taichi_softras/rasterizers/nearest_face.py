"""The nearest face at each pixel's centre, whatever the method: which one it is, and what it shows.

A z-buffer of its own, with the exact gradient within faces and none at edges. A rasterizer blends
faces, moves their edges or draws over them; beside its image this says what is where.
"""

import dataclasses

from taichi_softras.rasterizers.base import NO_FACE, Rasterizer
from taichi_softras.rasterizers.faces import SOURCE_FACE
from taichi_softras.rasterizers.fragments import Shader, Surface
from taichi_softras.rasterizers.visible_colors import ZBufferRasterization, pull_faces
from taichi_softras.runtime import kernel, ti
from taichi_softras.workspace import Workspace, array

NEAREST, FARTHEST = 1e-8, 1e30  # depths that a method does not limit


@dataclasses.dataclass(frozen=True)
class NearestFace(Rasterizer):
    """A z-buffer; depths are limited, and faces that are clockwise left out, as by a method.

    Args:
        near: what is drawn is farther than this depth.
        far: what is drawn is nearer than this depth.
        double_sided: whether faces that are clockwise on the image are drawn.
        background: behind shadings that name none.
    """

    near: float = NEAREST
    far: float = FARTHEST
    double_sided: bool = True
    background: float = 0.0

    @classmethod
    def as_seen_by(cls, rasterizer: Rasterizer) -> "NearestFace":
        """With the depths and the sides of faces to which a rasterizer gives a colour.

        Args:
            rasterizer: any, with a number for near and far.
        """
        near, far = rasterizer.drawn_depths(has_color=True)
        return cls(max(near, NEAREST), min(far, FARTHEST), rasterizer.draws_both_sides)

    def forward(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ) -> "NearestFaceRasterization":
        """Draws; see `Rasterizer.forward`."""
        return NearestFaceRasterization(self, workspace, corners, shader, surface, image_size)


class NearestFaceRasterization(ZBufferRasterization):
    """One image, and which face each pixel shows.

    Attributes:
        face_ids: (B, H, W) int: the face of the mesh, or NO_FACE.
    """

    def __init__(
        self,
        method: NearestFace,
        workspace: Workspace,
        corners: ti.Ndarray,
        shader: Shader,
        surface: Surface,
        image_size: tuple,
    ):
        """Draws; see `Rasterizer.forward`."""
        super().__init__(method, workspace, corners, shader, surface, image_size)
        seen = self.z_buffer.seen.faces
        self.face_ids = workspace.get("face_ids", tuple(seen.shape), int)
        name_faces(self.z_buffer.bins.of_faces.boxes, seen, self.face_ids)
        if shader.num_channels:
            self.paint()
        self.image = self.drawn

    def backward(self) -> None:
        """Fills `grad_corners` and `grad_surface` from `grad_image`."""
        pull_faces(
            *self.z_buffer.bins.of_faces,
            *self.z_buffer.seen,
            *self.surface,
            self.grad_image,
            self.grad_corners,
            self.shader,
        )
        self.pull_back_surface(self.grad_image)


@kernel
def name_faces(
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    faces: array(int, 3),  # (B, H, W) of those that were drawn, or NO_FACE
    face_ids: array(int, 3),  # (B, H, W) of the mesh
):
    """Which faces of the mesh these are."""
    for view, row, column in ti.ndrange(faces.shape[0], faces.shape[1], faces.shape[2]):
        face = faces[view, row, column]
        face_id = NO_FACE
        if face != NO_FACE:
            face_id = boxes[view * (boxes.shape[0] // faces.shape[0]) + face, SOURCE_FACE]
        face_ids[view, row, column] = face_id
