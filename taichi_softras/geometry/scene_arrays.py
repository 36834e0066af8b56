"""A scene as arrays: what the stages between a scene and a rasterizer read and write.

Named tuples of arrays group the arguments of kernels. A kernel puts its arguments together with
`ti.static(SceneArrays(...))` and hands them to the functions of its stages; the same tuples hold
the arrays in Python: `place_scene(*scene, *views, *tables, *placed)`.

Which stages a scene needs is compiled in: `Stages`. Which kinds of cameras it has, and how many
lights of each kind, are numbers at run time, in the small array `layout`: one compiled kernel
serves them all.

Bounds of loops are lengths of arrays and numbers of `layout` alone: a comparison outside of loops,
used for several bounds, is wrong on Vulkan (Taichi 1.7.4).
"""

from typing import NamedTuple, Optional

import numpy as np

from taichi_softras.funcs.lights import NO_LIGHTS, LightStructure
from taichi_softras.funcs.lookups import Lookup
from taichi_softras.funcs.values import value
from taichi_softras.runtime import is_cpu, ti
from taichi_softras.workspace import write_array

# One row of `uniforms` a camera: numbers of its pose, then numbers of its projection.
CAMERA_SIZE = 32
PROJECTION_START = 16
# Kinds of pose: eye, target, up, pole_right; the matrix view_from_world; or a rotation vector or a
# quaternion, which turns the world, and what then shifts it, from TRANSLATION_START on.
LOOK_AT, POSE_MATRIX, ROTATION_VECTOR, QUATERNION = 0, 1, 2, 3
TRANSLATION_START = 4
# Kinds of projection: fov_y_degrees; height; the matrix clip_from_view; or focal lengths and
# principal point in pixels, x and y, and the width and height of the image; these may have a lens,
# k1, k2, p1, p2, k3 from DISTORTION_START on.
PERSPECTIVE, PARALLEL, PROJECTION_MATRIX, INTRINSICS = 0, 1, 2, 3
DISTORTION_START = PROJECTION_START + 8
# What is lit, and tints the colours.
NOTHING, LIT_FACES, LIT_VERTICES = 0, 1, 2


@value
class Stages:
    """What a scene goes through on its way to a rasterizer; equal values share kernels.

    Attributes:
        lit: NOTHING, or what has a light of its own: LIT_FACES or LIT_VERTICES.
        lights: which kinds there are, 1, and which not, 0; how many, `Layout` says.
        channels: C of the colours; 0 where nothing reads them.
        lookup: how face textures are read; None where vertices have the colours, which are the
            first varyings.
        num_varyings: K.
        normal_column: where the 3 columns of unit vertex normals, world, begin in `varyings`; -1
            where there are none, as the next two.
        position_column: 3 columns, world.
        depth_column: 1 column.
        face_normal_column: 3 columns, world, length 1.
        moves_cameras: whether cameras have a gradient.
        varies_by_view: whether varyings of materials differ from view to view.
        barycentric_column: 3 columns: 1 at a corner itself, 0 at the two others.
        num_of_materials: how many varyings, the last, are filled in another stage.
        is_distorted: whether cameras have lenses, see `geometry.lenses`.
    """

    lit: int = NOTHING
    lights: LightStructure = NO_LIGHTS
    channels: int = 0
    lookup: Optional[Lookup] = None
    num_varyings: int = 0
    normal_column: int = -1
    position_column: int = -1
    depth_column: int = -1
    moves_cameras: bool = True
    varies_by_view: bool = False
    barycentric_column: int = -1
    face_normal_column: int = -1
    num_of_materials: int = 0
    is_distorted: bool = False

    @property
    def num_placed(self) -> int:
        """How many varyings are filled here."""
        return self.num_varyings - self.num_of_materials

    @property
    def num_rows(self) -> int:
        """Of a camera in `Tables.matrices`."""
        return 7 if self.is_distorted else 4

    @property
    def has_textures(self) -> bool:
        """Whether faces have the colours."""
        return self.lookup is not None

    @property
    def has_vertex_colors(self) -> bool:
        """Whether vertices have the colours."""
        return self.channels > 0 and not self.has_textures

    @property
    def has_vertex_normals(self) -> bool:
        """Whether anything reads them."""
        return self.lit == LIT_VERTICES or self.normal_column >= 0

    @property
    def has_normals(self) -> bool:
        """Whether anything reads those of faces or vertices."""
        return self.lit != NOTHING or self.normal_column >= 0

    @property
    def lights_have_places(self) -> bool:
        """Whether the light of a surface depends on where it is."""
        return self.lit != NOTHING and self.lights.point + self.lights.spot > 0


class Layout(NamedTuple):
    """What numbers of a scene mean: the array `layout`."""

    pose: int
    projection: int
    resolution: int = 1  # R of textures
    ambient: int = 0  # how many lights of each kind, in the order of `funcs.lights`
    directional: int = 0
    point: int = 0
    spot: int = 0
    harmonics: int = 0
    environment: int = 0

    def array(self) -> ti.Ndarray:
        """For the kernels."""
        array = ti.ndarray(int, (len(self),))
        write_array(array, np.array(self))
        return array


POSE, PROJECTION, RESOLUTION, NUM_LIGHTS = range(4)  # NUM_LIGHTS + kind: of each kind


class SceneArrays(NamedTuple):
    """The scene. n is 1, or the number B of views: each has vertices of its own."""

    vertices: ti.Ndarray  # (n, V, 3) world
    faces: ti.Ndarray  # (P, 3) int, those of all meshes
    corner_starts: ti.Ndarray  # (V + 1,) int
    corners_of_vertex: ti.Ndarray  # (3P,) int: 3 * face + corner, those of a vertex together
    albedo: ti.Ndarray  # (A, N, C): (V, 1, C) of vertices, or (P, N, C) textures of faces
    uniforms: ti.Ndarray  # (32 Bc + numbers of the lights,): Bc, 1 or B, cameras, then the lights
    layout: ti.Ndarray  # int: Layout, then the rows of `mesh_table`
    stages: Stages


class Views(NamedTuple):
    """Numbers of a pass, which draws some views one after another."""

    first: int
    aspect: float  # W / H of the image


class Tables(NamedTuple):
    """What the stages keep for the adjoint. S is 1, or the number b of views of a pass.

    A row of `surfaces` is a vertex, or a face behind all vertices, as far as anything reads them.
    """

    matrices: ti.Ndarray  # (Bc, 4, 4) rows x_clip, y_clip (NDC over w), depth, w_clip; from world
    # with lenses (Bc, 7, 4): those of the pinhole, then those of `geometry.lenses`
    surfaces: ti.Ndarray  # (S, V + P, 6) normal, world, of faces twice their area; light; or 1 row


class Placed(NamedTuple):
    """What a rasterizer reads: F places for faces in each view, see `mesh_table`."""

    corners: ti.Ndarray  # (b, F, 3, 4) x_clip, y_clip, depth, w_clip
    varyings: ti.Ndarray  # (1 or b, F, 3, K) colours, if vertices have them, and other attributes
    textures: ti.Ndarray  # (1 or b, F, N, C)


class GradTables(NamedTuple):
    """What the adjoints of the stages hand to each other."""

    surfaces: ti.Ndarray  # (S, V + P, 6) as in `Tables`
    # (b, most vertices of a mesh, 4) as corners, summed over those at a vertex; or (1, 1, 4)
    vertices_clip: ti.Ndarray
    partials: (
        ti.Ndarray
    )  # (T, 16 min(Bc, b) + numbers of the lights): sums of T shares; with lenses 28 for 16


class SceneNumbers(NamedTuple):
    """What of a scene has a gradient and a tangent, in the shapes of `SceneArrays`."""

    vertices: ti.Ndarray
    albedo: ti.Ndarray
    uniforms: ti.Ndarray


# Of a plane for each view, or one for all; `%` would take as long as ten loads from memory.


@ti.func
def frame_of(scene: ti.template(), views: ti.template(), view: int) -> int:
    """Where the vertices of a view of the pass are."""
    return ti.min(views.first + view, scene.vertices.shape[0] - 1)


@ti.func
def camera_of(views: ti.template(), tables: ti.template(), view: int) -> int:
    """Which camera draws a view of the pass."""
    return ti.min(views.first + view, tables.matrices.shape[0] - 1)


@ti.func
def coloring_of(tables: ti.template(), view: int) -> int:
    """Where the normals and lights of a view of the pass are."""
    return ti.min(view, tables.surfaces.shape[0] - 1)


@ti.func
def num_matrices(scene: ti.template(), tables: ti.template(), grad_tables: ti.template()) -> int:
    """Of how many matrices, 1 or b, there are gradients in `partials`, in front of the lights'."""
    count = 0
    if ti.static(scene.stages.moves_cameras):
        count = ti.min(tables.matrices.shape[0], grad_tables.vertices_clip.shape[0])
    return count


@ti.func
def num_columns(scene: ti.template(), tables: ti.template(), grad_tables: ti.template()) -> int:
    """Of `partials`, in front of those of lights."""
    return 4 * scene.stages.num_rows * num_matrices(scene, tables, grad_tables)


@ti.func
def count_tasks(grad_tables: ti.template(), num_items: int) -> int:
    """Of a loop over items. On a CPU its tasks also sum what their items give to uniforms."""
    count = num_items
    if ti.static(is_cpu()):
        count = grad_tables.partials.shape[0]
    return count


@ti.func
def share_of(num_items: int, num_shares: int, share: int):
    """First and end of a share of neighbouring items; all shares but the last have one size."""
    per_share = (num_items + num_shares - 1) // num_shares
    return ti.min(share * per_share, num_items), ti.min((share + 1) * per_share, num_items)


@ti.func
def face_row(scene: ti.template(), face: int) -> int:
    """The row of a face in `surfaces`."""
    return scene.vertices.shape[1] + face


@ti.func
def load_row(matrices: ti.template(), camera: int, row: int) -> ti.math.vec4:
    """One row of a camera's matrix, or of its lens."""
    return ti.math.vec4(
        matrices[camera, row, 0],
        matrices[camera, row, 1],
        matrices[camera, row, 2],
        matrices[camera, row, 3],
    )


@ti.func
def load_vector(table: ti.template(), plane: int, row: int) -> ti.math.vec3:
    """The first three components of a row: a position, or the normal of a surface."""
    return ti.math.vec3(table[plane, row, 0], table[plane, row, 1], table[plane, row, 2])


@ti.func
def store_vector(table: ti.template(), plane: int, row: int, vector: ti.math.vec3):
    """The first three components of a row."""
    for k in ti.static(range(3)):
        table[plane, row, k] = vector[k]


@ti.func
def add_vector(table: ti.template(), plane: int, row: int, vector: ti.math.vec3):
    """To the first three components of a row, which no other thread adds to."""
    for k in ti.static(range(3)):
        table[plane, row, k] = table[plane, row, k] + vector[k]


@ti.func
def load_light(surfaces: ti.template(), plane: int, row: int) -> ti.math.vec3:
    """The light of a surface, the last three components of a row."""
    return ti.math.vec3(surfaces[plane, row, 3], surfaces[plane, row, 4], surfaces[plane, row, 5])


@ti.func
def store_light(surfaces: ti.template(), plane: int, row: int, light: ti.math.vec3):
    """The light of a surface."""
    for k in ti.static(range(3)):
        surfaces[plane, row, 3 + k] = light[k]


@ti.func
def load_columns(varyings: ti.template(), view: int, place: int, corner: int, column: int):
    """Three neighbouring attributes of a corner."""
    return ti.math.vec3(
        varyings[view, place, corner, column],
        varyings[view, place, corner, column + 1],
        varyings[view, place, corner, column + 2],
    )
