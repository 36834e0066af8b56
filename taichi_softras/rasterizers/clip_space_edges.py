"""Any image of pixels whose triangles are known, antialiased at their outlines, in clip space.

The crossings and the blending are those of `Antialiased`.
"""

from types import SimpleNamespace

from taichi_softras.rasterizers.antialiased import MOST_FACES, MOST_SHARE
from taichi_softras.rasterizers.antialiased_blend import blend, blend_backward
from taichi_softras.rasterizers.antialiased_crossings import (
    IS_CROSSED,
    Crossings,
    find_crossings,
    pull_crossings,
)
from taichi_softras.rasterizers.base import NO_FACE
from taichi_softras.rasterizers.binning import FaceArrays
from taichi_softras.rasterizers.clip_space import FARTHEST, Layers
from taichi_softras.rasterizers.faces import ORIGIN, SOURCE_FACE, write_corner_grad
from taichi_softras.rasterizers.fragments import SurfaceNumbers, no_surface
from taichi_softras.rasterizers.neighbours import connect_faces
from taichi_softras.runtime import kernel, ti, vec2
from taichi_softras.workspace import Workspace, array


class OutlinedImage:
    """An image, antialiased.

    Attributes:
        image: (B, C, H, W).
    """

    def __init__(
        self,
        workspace: Workspace,
        corners: ti.Ndarray,
        ids: ti.Ndarray,
        fragments: ti.Ndarray,
        ranges: ti.Ndarray,
        plain: ti.Ndarray,
    ):
        """Blends.

        Args:
            workspace: keeps the arrays; says whether views have faces of their own.
            corners: (B, F, 3, 4) of `clip_space.place_clip_corners`.
            ids: (B, H, W) triangle + 1, 0 for none.
            fragments: (B, H, W, 4), z / w third.
            ranges: (B, 2) the first triangle of each view, and how many.
            plain: (B, C, H, W).
        """
        self._workspace, self._corners, self._plain = workspace, corners, plain
        self._layers = layers = Layers(workspace, corners, tuple(ids.shape[1:]))
        shape, drawn = tuple(ids.shape), layers.corners
        rows, depths = workspace.get("rows", shape, int), workspace.get("depths", shape)
        seen, of_faces = layers.z_buffer.seen.faces, layers.z_buffer.bins.of_faces
        find_rows(drawn, of_faces.boxes, seen, ids, fragments, ranges, rows, depths)
        self._crossings = Crossings.allocate(workspace, of_faces.records.shape[0], rows)
        neighbours = connect_faces(workspace, drawn)
        find_crossings(*of_faces, neighbours, rows, depths, MOST_FACES, *self._crossings)
        self.image = workspace.get("image", tuple(plain.shape))
        blend(self._crossings.shares, plain, MOST_SHARE, self.image)

    def backward(self, grad_image: ti.Ndarray) -> tuple:
        """The gradients at the plain image and at corners."""
        get, crossings, layers = self._workspace.get, self._crossings, self._layers
        grad_plain = get("grad_plain", tuple(self._plain.shape))
        grad_shares = get("grad_shares", tuple(crossings.shares.shape))
        images = (self._plain, MOST_SHARE, self.image, grad_image)
        blend_backward(crossings.edges, crossings.shares, *images, grad_plain, grad_shares)
        views, rows = layers.corners.shape[:2]
        grad_corners = get("grad_drawn_corners", (views, rows, 3, 4))
        of_faces = layers.z_buffer.bins.of_faces
        gather_crossings(*of_faces, crossings.edges, crossings.marks, grad_shares, grad_corners)
        if layers.clipping is not None:
            nothing = SurfaceNumbers(*no_surface(self._workspace)[:3])
            drawn = SimpleNamespace(
                grad_corners=grad_corners, grad_surface=nothing, moves_outlines=False
            )
            grad_corners = layers.clipping.backward(drawn)[0]
        return grad_plain, grad_corners


@kernel
def find_rows(
    corners: array(float, 4),  # (B, F, 3, 4) as drawn, or with rows of pieces behind
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    seen: array(int, 3),  # (B, H, W) what the z-buffer shows
    ids: array(int, 3),
    fragments: array(float, 4),
    ranges: array(int, 2),
    rows: array(int, 3),  # (B, H, W) of `corners`, or NO_FACE
    depths: array(float, 3),  # (B, H, W) depth / w of the core
):
    """Which row of the corners a triangle is: of one that is cut, the piece that is seen."""
    for view, row, column in ti.ndrange(ids.shape[0], ids.shape[1], ids.shape[2]):
        place, depth = NO_FACE, FARTHEST
        if ids[view, row, column] > 0:
            depth = fragments[view, row, column, 2] + 1.0
            place = ids[view, row, column] - 1 - ranges[view, 0]
            if corners.shape[2] > 3:
                if corners[view, place, ORIGIN, 3] != 0.0:
                    piece = seen[view, row, column]
                    source = NO_FACE
                    if piece != NO_FACE:
                        source = boxes[view * corners.shape[1] + piece, SOURCE_FACE]
                    place = ti.select(source == place, piece, NO_FACE)
        rows[view, row, column] = place
        depths[view, row, column] = depth


@kernel
def gather_crossings(
    records: array(float, 2),  # (B * F, RECORD_SIZE)
    boxes: array(int, 2),  # (B * F, BOX_SIZE)
    edges: array(int, 4),  # see `Crossings`
    marks: array(int, 1),
    grad_shares: array(float, 4),  # (B, 2, H, W)
    grad_corners: array(float, 4),  # (B, F, 3, 4), written
):
    """What the crossings of a face's edges do to its corners."""
    for i in range(records.shape[0]):
        shorter = ti.cast(ti.min(edges.shape[2], edges.shape[3]), float)
        position = ti.Matrix.zero(float, 3, 2)
        if marks[i] == IS_CROSSED:
            of_faces = ti.static(FaceArrays(records, boxes))
            view = i // grad_corners.shape[1]
            position = pull_crossings(of_faces, edges, grad_shares, view, i)
        for corner in ti.static(range(3)):
            by_position = vec2(position[corner, 0], position[corner, 1])
            write_corner_grad(records, shorter, i, corner, by_position, 0.0, grad_corners)
