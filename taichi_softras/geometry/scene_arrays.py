"""A scene as arrays: what the stages between a scene and a rasterizer read and write.

Named tuples of arrays group the arguments of kernels. A kernel puts its arguments together with
`ti.static(SceneArrays(...))` and hands them to the functions of its stages; the same tuples hold
the arrays in Python: `place_scene(*scene, *views, *tables, *placed)`.

What kind of camera, light and colour a scene has are numbers at run time, in the small array
`layout`: one compiled kernel serves all scenes.

Where a stage has nothing to do its loops run idle. Their bounds are lengths of arrays alone: a
comparison outside of loops, used for several bounds, is wrong on Vulkan (Taichi 1.7.4).
"""

from typing import NamedTuple

import numpy as np
import taichi as ti

from taichi_softras.runtime import is_cpu

# One row of `uniforms` a camera: numbers of its pose, then numbers of its projection.
CAMERA_SIZE = 32
PROJECTION_START = 16
# Kinds of pose: eye, target, up, pole_right, or the matrix view_from_world.
LOOK_AT, POSE_MATRIX = 0, 1
# Kinds of projection: fov_y_degrees, height, or the matrix clip_from_view.
PERSPECTIVE, PARALLEL, PROJECTION_MATRIX = 0, 1, 2
# Kinds of light: ambient 3, then direction 3 and colour 3 of each light; or coefficients 9 x 3.
DIRECTIONAL, HARMONICS = 0, 1
# What is lit, and tints the colours.
NOTHING, LIT_FACES, LIT_VERTICES = 0, 1, 2
# Where the scene's colours are: at vertices, in R x R texels a face, in R^3 cubes a face.
VERTEX_COLORS, TEXELS, CUBES = 1, 2, 3

CPU_BLOCK = 512  # Taichi runs this many neighbouring iterations of a CPU loop on one thread


class SceneArrays(NamedTuple):
    """The scene. n is 1, or the number B of views: each has vertices of its own."""

    vertices: ti.Ndarray  # (n, V, 3) world
    faces: ti.Ndarray  # (F, 3) int
    corner_starts: ti.Ndarray  # (V + 1,) int
    corners_of_vertex: ti.Ndarray  # (3F,) int: 3 * face + corner, those of a vertex together
    albedo: ti.Ndarray  # (A, N, C): (V, 1, C) of vertices, or (F, N, C) textures of faces
    uniforms: ti.Ndarray  # (32 Bc + numbers of the lights,): Bc, 1 or B, cameras, then the lights
    layout: ti.Ndarray  # (len(Layout),) int


class Layout(NamedTuple):
    """What the numbers of a scene mean; columns are those of `varyings`, -1 where absent."""

    pose: int
    projection: int
    light: int = DIRECTIONAL
    num_lights: int = 0  # directional ones, beside the ambient one
    lit: int = NOTHING
    colors: int = NOTHING
    resolution: int = 1  # R of textures
    num_varyings: int = 0  # K
    normal_column: int = -1  # 3 columns: unit vertex normals, world
    position_column: int = -1  # 3 columns: world
    depth_column: int = -1

    def array(self) -> ti.Ndarray:
        """For the kernels."""
        array = ti.ndarray(int, (len(self),))
        array.from_numpy(np.array(self, np.int32))
        return array


(
    POSE,
    PROJECTION,
    LIGHT,
    NUM_LIGHTS,
    LIT,
    COLORS,
    RESOLUTION,
    NUM_VARYINGS,
    NORMAL_COLUMN,
    POSITION_COLUMN,
    DEPTH_COLUMN,
) = range(len(Layout._fields))


class Views(NamedTuple):
    """Numbers of a pass, which draws some views one after another."""

    first: int
    ndc_from_clip_x: float  # W / min(H, W)
    ndc_from_clip_y: float  # H / min(H, W)


class Tables(NamedTuple):
    """What the stages keep for the adjoint. S is 1, or the number b of views of a pass.

    A row is a vertex, or a face behind all vertices.
    """

    matrices: ti.Ndarray  # (Bc, 4, 4) rows x_clip, y_clip (NDC over w), depth, w_clip; from world
    normals: ti.Ndarray  # (S, V + F, 3) world; of faces as long as twice their area; or (1, 1, 3)
    lights: ti.Ndarray  # (S, V + F, 3) of the rows that are lit; or (1, 1, 3)


class Placed(NamedTuple):
    """What a rasterizer reads."""

    corners: ti.Ndarray  # (b, F, 3, 4) x_clip, y_clip, depth, w_clip
    varyings: ti.Ndarray  # (1 or b, F, 3, K) colours, if vertices have them, and other attributes
    textures: ti.Ndarray  # (1 or b, F, N, C)


class GradTables(NamedTuple):
    """What the adjoints of the stages hand to each other."""

    vertices_clip: ti.Ndarray  # (b, V, 4) as corners, summed over the faces around
    normals: ti.Ndarray  # (S, V + F, 3); or (1, 1, 3)
    corner_lights: ti.Ndarray  # (S, F, 3, 3) at the light of each corner; or (1, 1, 1, 3)
    lights: ti.Ndarray  # (S, V + F, 3); or (1, 1, 3)
    partials: ti.Ndarray  # (T, 16 min(Bc, b) + numbers of the lights) of T shares of the vertices


class SceneNumbers(NamedTuple):
    """What of a scene has a gradient and a tangent, in the shapes of `SceneArrays`."""

    vertices: ti.Ndarray
    albedo: ti.Ndarray
    uniforms: ti.Ndarray


def loop_block() -> int:
    """How many iterations a task is, so that CPU threads share a loop over few, long tasks."""
    return CPU_BLOCK if is_cpu() else 1


@ti.func
def frame_of(scene: ti.template(), views: ti.template(), view: int) -> int:
    """Where the vertices of a view of the pass are."""
    return (views.first + view) % scene.vertices.shape[0]


@ti.func
def corner_row(scene: ti.template(), face: int, corner: int) -> int:
    """The row of `Tables` that lights a corner."""
    is_lit_face = scene.layout[LIT] == LIT_FACES
    return ti.select(is_lit_face, scene.vertices.shape[1] + face, scene.faces[face, corner])


@ti.func
def has_vertex_normals(scene: ti.template()) -> int:
    """Whether anything reads them."""
    return (scene.layout[LIT] == LIT_VERTICES) | (scene.layout[NORMAL_COLUMN] >= 0)


@ti.func
def has_normals(scene: ti.template()) -> int:
    """Whether anything reads those of faces or vertices."""
    return (scene.layout[LIT] != NOTHING) | (scene.layout[NORMAL_COLUMN] >= 0)


@ti.func
def num_cameras_drawn(tables: ti.template(), grad_tables: ti.template()) -> int:
    """How many cameras a pass draws with: view v with number v modulo that of them."""
    return ti.min(tables.matrices.shape[0], grad_tables.vertices_clip.shape[0])


@ti.func
def sum_partials(grad_tables: ti.template()):
    """Sums the shares of each column into row 0."""
    for column in range(grad_tables.partials.shape[1]):
        total = 0.0
        for share in range(grad_tables.partials.shape[0]):
            total += grad_tables.partials[share, column]
        grad_tables.partials[0, column] = total


@ti.func
def load_vector(table: ti.template(), plane: int, row: int):
    """Three components of a table of two indices."""
    return ti.math.vec3(table[plane, row, 0], table[plane, row, 1], table[plane, row, 2])


@ti.func
def load_columns(varyings: ti.template(), view: int, face: int, corner: int, column: int):
    """Three neighbouring attributes of a corner."""
    return ti.math.vec3(
        varyings[view, face, corner, column],
        varyings[view, face, corner, column + 1],
        varyings[view, face, corner, column + 2],
    )


@ti.func
def store_columns(
    varyings: ti.template(), view: int, face: int, corner: int, column: int, vector: ti.math.vec3
):
    """Three neighbouring attributes of a corner."""
    for k in ti.static(range(3)):
        varyings[view, face, corner, column + k] = vector[k]


@ti.func
def add_vector(table: ti.template(), plane: int, row: int, vector: ti.math.vec3):
    """To a row that no other thread adds to."""
    for k in ti.static(range(3)):
        table[plane, row, k] = table[plane, row, k] + vector[k]


@ti.func
def store_vector(table: ti.template(), plane: int, row: int, vector: ti.math.vec3):
    """Three components of a table of two indices."""
    for k in ti.static(range(3)):
        table[plane, row, k] = vector[k]
