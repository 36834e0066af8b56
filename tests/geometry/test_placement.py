"""A scene is placed as its NumPy twin places it, in value, gradient and tangent.

Cameras differ in pose and projection: a wrong index of a camera fails. Cases of the same stages
share compiled kernels.
"""

from typing import NamedTuple

import numpy as np
import pytest

from taichi_softras.funcs.lights import KINDS, POINT, SIZES, SPOT, LightStructure
from taichi_softras.funcs.lookups import CUBES, TEXELS
from taichi_softras.geometry.mesh_table import MeshTable
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    DISTORTION_START,
    INTRINSICS,
    LIT_FACES,
    LIT_VERTICES,
    LOOK_AT,
    NOTHING,
    NUM_LIGHTS,
    PARALLEL,
    PERSPECTIVE,
    POSE_MATRIX,
    PROJECTION_MATRIX,
    PROJECTION_START,
    QUATERNION,
    ROTATION_VECTOR,
    TRANSLATION_START,
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
from taichi_softras.runtime import default_numpy_float, lean_compilation, ti
from taichi_softras.scene import primitives
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rarely import mostly
from tests.reference.placement import place

STEP = 1e-6
POLE_RIGHT = slice(9, 12)  # of a camera's numbers: constant
WIDTH_AND_HEIGHT = slice(PROJECTION_START + 4, PROJECTION_START + 6)  # likewise, of intrinsics


class Case(NamedTuple):
    """A scene, and how many views its passes draw."""

    layout: Layout
    stages: Stages
    passes: tuple  # (first view, number of views) of each
    num_cameras: int
    num_frames: int
    channels: int = 3


DIRECTIONAL, HARMONICS = LightStructure(1, 1), LightStructure(harmonics=1)
LOCAL, MIXED = LightStructure(point=1, spot=1), LightStructure(ambient=1, point=1, harmonics=1)
CASES = {
    "flat": Case(
        Layout(LOOK_AT, PERSPECTIVE, ambient=1, directional=2),
        Stages(LIT_FACES, DIRECTIONAL, 3, num_varyings=3, moves_cameras=False),
        passes=((0, 2), (1, 2)),
        num_cameras=3,
        num_frames=3,
    ),
    "flat_attributes": Case(
        Layout(LOOK_AT, PARALLEL, ambient=1, directional=1),
        Stages(LIT_FACES, DIRECTIONAL, 3, None, 10, 3, 6, 9),
        passes=((0, 2), (1, 2)),
        num_cameras=3,
        num_frames=1,
    ),
    "gouraud_moving": Case(
        Layout(LOOK_AT, PERSPECTIVE, harmonics=1),
        Stages(LIT_VERTICES, HARMONICS, 3, None, 10, 3, 7, 6),
        passes=((0, 2), (1, 2)),
        num_cameras=1,
        num_frames=3,
    ),
    "gouraud_texels": Case(
        Layout(LOOK_AT, PERSPECTIVE, 2, point=2, spot=1),
        Stages(LIT_VERTICES, LOCAL, 3, TEXELS, moves_cameras=False),
        passes=((0, 2), (2, 2)),
        num_cameras=4,
        num_frames=4,
    ),
    "gouraud_cubes": Case(
        Layout(LOOK_AT, PARALLEL, 3, harmonics=1),
        Stages(LIT_VERTICES, HARMONICS, 3, CUBES, 4, -1, 1, 0, moves_cameras=False),
        passes=((0, 2),),
        num_cameras=2,
        num_frames=1,
    ),
    "flat_cubes": Case(
        Layout(LOOK_AT, PERSPECTIVE, 2, 1, 0, 1, 0, 1),
        Stages(LIT_FACES, MIXED, 3, CUBES, 3, normal_column=0, moves_cameras=False),
        passes=((1, 2), (0, 1)),
        num_cameras=3,
        num_frames=3,
    ),
    "unlit": Case(
        Layout(LOOK_AT, PERSPECTIVE),
        Stages(channels=5, num_varyings=5, moves_cameras=False),
        passes=((0, 1), (1, 1)),
        num_cameras=1,
        num_frames=2,
        channels=5,
    ),
    "unlit_texels": Case(
        Layout(LOOK_AT, PERSPECTIVE, resolution=2),
        Stages(channels=4, lookup=TEXELS, moves_cameras=False),
        passes=((0, 2),),
        num_cameras=2,
        num_frames=1,
        channels=4,
    ),
    "normals": Case(
        Layout(LOOK_AT, PERSPECTIVE),
        Stages(num_varyings=3, normal_column=0, moves_cameras=False),
        passes=((0, 2),),
        num_cameras=2,
        num_frames=1,
    ),
    "silhouette": Case(
        Layout(LOOK_AT, PERSPECTIVE),
        Stages(),
        passes=((0, 2), (1, 2)),
        num_cameras=3,
        num_frames=1,
    ),
    "silhouette_of_matrices": Case(
        Layout(POSE_MATRIX, PROJECTION_MATRIX),
        Stages(),
        passes=((0, 2), (2, 2)),
        num_cameras=4,
        num_frames=4,
    ),
    "silhouette_of_rotation_vectors": Case(
        Layout(ROTATION_VECTOR, INTRINSICS),
        Stages(),
        passes=((0, 2), (2, 2)),
        num_cameras=4,
        num_frames=4,
    ),
    "silhouette_of_quaternions": Case(
        Layout(QUATERNION, INTRINSICS),
        Stages(),
        passes=((0, 2), (1, 2)),
        num_cameras=3,
        num_frames=1,
    ),
    "silhouette_through_lenses": Case(
        Layout(ROTATION_VECTOR, INTRINSICS),
        Stages(is_distorted=True),
        passes=((0, 2), (1, 2)),
        num_cameras=3,
        num_frames=1,
    ),
    "gouraud_through_a_lens": Case(
        Layout(QUATERNION, INTRINSICS, harmonics=1),
        Stages(LIT_VERTICES, HARMONICS, 3, None, 10, 3, 7, 6, is_distorted=True),
        passes=((0, 2), (1, 2)),
        num_cameras=1,
        num_frames=3,
    ),
    "silhouette_of_a_matrix": Case(
        Layout(POSE_MATRIX, PARALLEL),
        Stages(),
        passes=((1, 2), (0, 1)),
        num_cameras=1,
        num_frames=3,
    ),
    "silhouette_of_still_cameras": Case(
        Layout(LOOK_AT, PROJECTION_MATRIX),
        Stages(moves_cameras=False),
        passes=((0, 2),),
        num_cameras=2,
        num_frames=2,
    ),
}

# together they have all stages
IN_SINGLE_PRECISION = ["flat", "flat_attributes", "gouraud_moving", "flat_cubes"]
IN_SINGLE_PRECISION += ["silhouette_of_matrices", "gouraud_through_a_lens", "normals"]


# of cameras one after another: one that never folds back, one that does so within the scene, and
# one whose slope turns round twice
LENSES = [
    (0.1, 0.05, 0.01, -0.02, 0.02),
    (-9.0, 0.5, 0.05, 0.02, -3.0),
    (-0.5, 0.1, 0, 0.01, -0.01),
]


def camera_numbers(generator, layout, camera):
    """One camera's row of uniforms; the second one looks along up, where it has an up."""
    numbers = np.zeros(CAMERA_SIZE)
    if layout.pose == LOOK_AT:
        target, up = generator.uniform(-0.3, 0.3, (2, 3)) + [[0, 0, 0], [0, 1, 0]]
        direction = up if camera == 1 else generator.normal(size=3)
        eye = target + 3 * direction / np.linalg.norm(direction)
        numbers[:12] = np.concatenate([eye, target, up, [1, 0, 0]])
    elif layout.pose in (ROTATION_VECTOR, QUATERNION):
        angles = [1e-3, 0.5, 3.0, 7.0]  # of rotation vectors: small, large, beyond a turn
        direction = generator.normal(size=3 if layout.pose == ROTATION_VECTOR else 4)
        size = angles[camera] if layout.pose == ROTATION_VECTOR else 1 + camera
        numbers[: len(direction)] = size * direction / np.linalg.norm(direction)
        numbers[TRANSLATION_START:][:3] = generator.uniform(-0.2, 0.2, 3) - [0, 0, 4]
    else:
        matrix = np.eye(4)
        matrix[:3] += generator.uniform(-0.2, 0.2, (3, 4)) - [[0] * 4, [0] * 4, [0, 0, 0, 3]]
        numbers[:16] = matrix.ravel()
    if layout.projection == PROJECTION_MATRIX:
        numbers[PROJECTION_START:] = generator.normal(size=16)
    elif layout.projection == INTRINSICS:
        numbers[PROJECTION_START:][:6] = [50 + camera, 60, 29, 25 - camera, 60, 40]
        if camera < len(LENSES):  # not read where cameras have no lenses
            numbers[DISTORTION_START:][:5] = LENSES[camera]
    elif layout.projection == PERSPECTIVE:
        numbers[PROJECTION_START] = 40 + 15 * camera
    else:
        numbers[PROJECTION_START] = 1.5 + 0.7 * camera
    return numbers


def light_numbers(generator, kind):
    """Of one light; spots are wide, and look at the scene."""
    numbers = generator.normal(size=SIZES[kind])
    if kind in (POINT, SPOT):
        numbers[:3] *= 3 / np.linalg.norm(numbers[:3])
        numbers[6:9] = generator.uniform(0.1, 1.0, 3)
    if kind == SPOT:
        numbers[9:] = [*-numbers[:3], 3.0, 60.0]
    return numbers


def make_scene(case):
    """Arrays of double precision by name, and faces: a torus without symmetries."""
    generator = np.random.default_rng(2)
    layout = case.layout
    vertices, faces = primitives.torus(major_segments=4, minor_segments=3)
    shape = (case.num_frames, *vertices.shape)
    cameras = [camera_numbers(generator, layout, k) for k in range(case.num_cameras)]
    if case.stages.is_distorted:
        cameras[-1][TRANSLATION_START + 2] = -0.2  # half of the scene is behind it
    lights = [
        light_numbers(generator, kind)
        for kind in KINDS
        for _ in range(case.stages.lights.counts[kind] and layout[NUM_LIGHTS + kind])
    ]
    owners, entries = len(vertices), 1
    if case.stages.has_textures:
        owners, entries = len(faces), layout.resolution**case.stages.lookup.num_axes
    scene = {
        "vertices": vertices + generator.uniform(-0.1, 0.1, shape),
        "albedo": generator.uniform(size=(owners, entries, case.channels)),
        "uniforms": np.concatenate([*cameras, *lights]),
    }
    return scene, np.asarray(faces)


def to_array(values, dtype=float):
    values = np.asarray(values)
    array = ti.ndarray(dtype, values.shape)
    numpy_float = default_numpy_float()
    array.from_numpy(np.ascontiguousarray(values, np.int32 if dtype is int else numpy_float))
    return array


def scene_arrays(scene, faces, case):
    num_vertices = scene["vertices"].shape[1]
    starts = np.cumsum([0, *np.bincount(faces.ravel(), minlength=num_vertices)])
    return SceneArrays(
        to_array(scene["vertices"]),
        to_array(faces, int),
        to_array(starts, int),
        to_array(np.argsort(faces.ravel(), kind="stable"), int),
        to_array(scene["albedo"]),
        to_array(scene["uniforms"]),
        to_array((*case.layout, *one_mesh(scene["vertices"], faces).numbers), int),
        case.stages,
    )


def one_mesh(vertices, faces):
    return MeshTable.of_sizes([vertices.shape[1]], [faces.shape[0]])


def relative_error(values, expected):
    return np.abs(values - expected).max() / np.abs(expected).max()


class Pass:
    """Places the views of one pass; what it needs to go on from there."""

    def __init__(self, case, arrays, workspace, first, num_views):
        self.case, self.arrays, self.workspace = case, arrays, workspace
        self.views, self.num_views = Views(first, 1.5), num_views
        self.meshes = one_mesh(arrays.vertices, arrays.faces)
        self.tables, self.placed = allocate_placement(
            workspace, arrays, self.meshes, case.num_cameras, num_views
        )
        self.shapes = [array.shape for array in self.placed]
        with lean_compilation():
            place_scene(*arrays, *self.views, *self.tables, *self.placed)

    def twin(self, scene, faces):
        """Of views that are alike the first; None for what the case does not have."""
        case = self.case
        is_used = [True, case.stages.num_varyings > 0, case.stages.has_textures]
        every_view = place(scene, faces, case, self.views, self.num_views)
        return [
            values[: shape[0]] if used else None
            for values, shape, used in zip(every_view, self.shapes, is_used)
        ]

    def pull_back(self, is_first, cotangents, grad_scene):
        grad_placed = Placed(*[to_array(values) for values in cotangents])
        grad_tables = allocate_grad_tables(
            self.workspace, self.arrays, self.meshes, self.tables, self.placed
        )
        with lean_compilation():
            place_scene_backward(
                *self.arrays,
                *self.views,
                is_first,
                *self.tables,
                *grad_placed,
                *grad_tables,
                *grad_scene,
            )

    def push_forward(self, directions):
        """Arrays (P, ...) of the placed arrays' tangents, of scenes that move in P directions."""
        stacked = Placed(*[to_array(np.zeros((len(directions), *shape))) for shape in self.shapes])
        moved_tables = Tables(*[to_array(np.zeros(table.shape)) for table in self.tables])
        for slot, direction in enumerate(directions):
            moved_scene = SceneNumbers(*[to_array(direction[name]) for name in direction])
            with lean_compilation():
                place_scene_tangent(
                    *self.arrays,
                    *self.views,
                    *self.tables,
                    *moved_scene,
                    *moved_tables,
                    slot,
                    *stacked,
                )
        return [array.to_numpy() for array in stacked]


def check_values(run, scene, faces, tolerance):
    for name, array, expected in zip(Placed._fields, run.placed, run.twin(scene, faces)):
        if expected is not None:
            error = relative_error(array.to_numpy(), expected)
            assert error < tolerance, f"{name}: relative error {error:.1e}"


def check_tangents(run, scene, faces, generator, tolerance):
    directions = []
    for _ in range(2):
        direction = {name: generator.normal(size=values.shape) for name, values in scene.items()}
        hold_constants(run.case, direction["uniforms"])
        directions.append(direction)
    stacked = run.push_forward(directions)
    for slot, direction in enumerate(directions):
        twins = [
            run.twin({name: scene[name] + step * direction[name] for name in scene}, faces)
            for step in (STEP, -STEP)
        ]
        for name, values, later, earlier in zip(Placed._fields, stacked, *twins):
            if later is not None:
                error = relative_error(values[slot], (later - earlier) / (2 * STEP))
                print(f"tangent of {name}: largest relative error {error:.1e}")
                assert error < tolerance, f"tangent of {name}: relative error {error:.1e}"


def hold_constants(case, numbers):
    """Clears what is a constant of the cameras."""
    for camera in range(case.num_cameras):
        if case.layout.pose == LOOK_AT:
            numbers[CAMERA_SIZE * camera :][POLE_RIGHT] = 0
        if case.layout.projection == INTRINSICS:
            numbers[CAMERA_SIZE * camera :][WIDTH_AND_HEIGHT] = 0


def differentiate(loss, scene, name):
    gradient = np.zeros_like(scene[name])
    for index in np.ndindex(gradient.shape):
        sums = []
        for step in (STEP, -STEP):
            moved = scene[name].copy()
            moved[index] += step
            sums.append(loss({**scene, name: moved}))
        gradient[index] = (sums[0] - sums[1]) / (2 * STEP)
    return gradient


def check_placement(case, value_tolerance, slope_tolerance):
    """Values and tangents of every pass, and gradients summed over them."""
    scene, faces = make_scene(case)
    arrays, workspace = scene_arrays(scene, faces, case), Workspace()
    generator = np.random.default_rng(0)
    grad_scene = SceneNumbers(*[to_array(np.full_like(scene[name], np.nan)) for name in scene])
    runs = []
    for index, (first, num_views) in enumerate(case.passes):
        run = Pass(case, arrays, workspace, first, num_views)
        check_values(run, scene, faces, value_tolerance)
        check_tangents(run, scene, faces, generator, slope_tolerance)
        cotangents = [generator.normal(size=shape) for shape in run.shapes]
        run.pull_back(int(index == 0), cotangents, grad_scene)
        runs.append((run, cotangents))

    def loss(scene):
        return sum(
            (values * cotangent).sum()
            for run, cotangents in runs
            for values, cotangent in zip(run.twin(scene, faces), cotangents)
            if values is not None
        )

    for name, array in zip(scene, grad_scene):
        if name == "albedo" and not (case.stages.has_vertex_colors or case.stages.has_textures):
            continue
        expected, gradient = differentiate(loss, scene, name), array.to_numpy()
        if name == "uniforms":
            hold_constants(case, expected)
        for part in parts(case) if name == "uniforms" else [slice(None)]:
            error = relative_error(gradient[part], expected[part])
            print(f"gradient of {name}: largest relative error {error:.1e}")
            assert error < slope_tolerance, f"gradient of {name}: relative error {error:.1e}"


def parts(case):
    """Of the uniforms: numbers of a kind are about as large as each other."""
    for camera in range(case.num_cameras if case.stages.moves_cameras else 0):
        start = CAMERA_SIZE * camera
        yield slice(start, start + PROJECTION_START)
        yield slice(start + PROJECTION_START, start + CAMERA_SIZE)
    if case.stages.lit != NOTHING:
        yield slice(CAMERA_SIZE * case.num_cameras, None)


@pytest.mark.f64
@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_in_double_precision(backend, case):
    check_placement(CASES[case], tolerances.TWIN_DOUBLE, tolerances.FINITE_DIFFERENCE_RELATIVE)


@pytest.mark.parametrize("case", mostly(CASES, IN_SINGLE_PRECISION))
def test_values_and_derivatives_in_single_precision(backend, case):
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    check_placement(CASES[case], tolerance, tolerance)
