"""A scene is placed as its NumPy twin places it, in value, gradient and tangent.

All kinds of cameras, lights and colours are one compiled kernel, so cases are cheap. Cameras
differ in pose and projection: a wrong index of a camera fails.
"""

from typing import NamedTuple

import numpy as np
import pytest
import taichi as ti

from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    CUBES,
    DIRECTIONAL,
    HARMONICS,
    LIT_FACES,
    LIT_VERTICES,
    LOOK_AT,
    NOTHING,
    PARALLEL,
    PERSPECTIVE,
    POSE_MATRIX,
    PROJECTION_MATRIX,
    PROJECTION_START,
    TEXELS,
    VERTEX_COLORS,
    GradScene,
    Layout,
    Placed,
    SceneArrays,
    Views,
)
from taichi_softras.placement import (
    allocate_grad_tables,
    allocate_placement,
    place_scene,
    place_scene_backward,
)
from taichi_softras.workspace import Workspace
from taichi_softras.scene import primitives
from tests import tolerances
from tests.reference.placement import place

STEP = 1e-6
UPSIDE = (LOOK_AT, PERSPECTIVE)
POLE_RIGHT = slice(9, 12)  # of a camera's numbers: constant


class Case(NamedTuple):
    """A scene, and how many views its passes draw."""

    layout: Layout
    passes: tuple  # (first view, number of views) of each
    num_cameras: int
    num_frames: int
    channels: int = 3


CASES = {
    "flat": Case(
        Layout(LOOK_AT, PERSPECTIVE, DIRECTIONAL, 2, LIT_FACES, VERTEX_COLORS, 1, 3),
        passes=((0, 3),),
        num_cameras=3,
        num_frames=1,
    ),
    "flat_attributes": Case(
        Layout(LOOK_AT, PARALLEL, DIRECTIONAL, 1, LIT_FACES, VERTEX_COLORS, 1, 10, 3, 6, 9),
        passes=((0, 2), (1, 2)),
        num_cameras=3,
        num_frames=1,
    ),
    "gouraud_moving": Case(
        Layout(LOOK_AT, PERSPECTIVE, HARMONICS, 0, LIT_VERTICES, VERTEX_COLORS, 1, 10, 3, 7, 6),
        passes=((0, 2), (1, 2)),
        num_cameras=1,
        num_frames=3,
    ),
    "gouraud_texels": Case(
        Layout(POSE_MATRIX, PROJECTION_MATRIX, DIRECTIONAL, 2, LIT_VERTICES, TEXELS, 2),
        passes=((0, 2), (2, 2)),
        num_cameras=4,
        num_frames=4,
    ),
    "gouraud_cubes": Case(
        Layout(POSE_MATRIX, PARALLEL, HARMONICS, 0, LIT_VERTICES, CUBES, 3, 4, -1, 1, 0),
        passes=((0, 2),),
        num_cameras=2,
        num_frames=1,
    ),
    "flat_cubes": Case(
        Layout(LOOK_AT, PROJECTION_MATRIX, HARMONICS, 0, LIT_FACES, CUBES, 2, 3, 0),
        passes=((1, 2), (0, 1)),
        num_cameras=3,
        num_frames=3,
    ),
    "unlit": Case(
        Layout(POSE_MATRIX, PERSPECTIVE, colors=VERTEX_COLORS, num_varyings=5),
        passes=((0, 1), (1, 1)),
        num_cameras=1,
        num_frames=2,
        channels=5,
    ),
    "unlit_texels": Case(
        Layout(LOOK_AT, PERSPECTIVE, colors=TEXELS, resolution=2),
        passes=((0, 2),),
        num_cameras=2,
        num_frames=1,
        channels=4,
    ),
    "silhouette": Case(
        Layout(LOOK_AT, PARALLEL),
        passes=((0, 2),),
        num_cameras=2,
        num_frames=2,
    ),
}


def camera_numbers(generator, layout, camera):
    """One camera's row of uniforms; the second one looks along up, where it has an up."""
    numbers = np.zeros(CAMERA_SIZE)
    if layout.pose == LOOK_AT:
        target, up = generator.uniform(-0.3, 0.3, (2, 3)) + [[0, 0, 0], [0, 1, 0]]
        direction = up if camera == 1 else generator.normal(size=3)
        eye = target + 3 * direction / np.linalg.norm(direction)
        numbers[:12] = np.concatenate([eye, target, up, [1, 0, 0]])
    else:
        matrix = np.eye(4)
        matrix[:3] += generator.uniform(-0.2, 0.2, (3, 4)) - [[0] * 4, [0] * 4, [0, 0, 0, 3]]
        numbers[:16] = matrix.ravel()
    if layout.projection == PROJECTION_MATRIX:
        numbers[PROJECTION_START:] = generator.normal(size=16)
    elif layout.projection == PERSPECTIVE:
        numbers[PROJECTION_START] = 40 + 15 * camera
    else:
        numbers[PROJECTION_START] = 1.5 + 0.7 * camera
    return numbers


def make_scene(case):
    """Arrays of double precision by name, and faces: a torus without symmetries."""
    generator = np.random.default_rng(2)
    layout = case.layout
    vertices, faces = primitives.torus(major_segments=4, minor_segments=3)
    shape = (case.num_frames, *vertices.shape)
    cameras = [camera_numbers(generator, layout, k) for k in range(case.num_cameras)]
    num_lights = {DIRECTIONAL: 3 + 6 * layout.num_lights, HARMONICS: 27}[layout.light]
    lights = generator.normal(size=num_lights if layout.lit else 0)
    owners, entries = len(vertices), 1
    if layout.colors > VERTEX_COLORS:
        axes = {TEXELS: 2, CUBES: 3}[layout.colors]
        owners, entries = len(faces), layout.resolution**axes
    scene = {
        "vertices": vertices + generator.uniform(-0.1, 0.1, shape),
        "albedo": generator.uniform(size=(owners, entries, case.channels)),
        "uniforms": np.concatenate([*cameras, lights]),
    }
    return scene, np.asarray(faces)


def to_array(values, dtype=float):
    values = np.asarray(values)
    array = ti.ndarray(dtype, values.shape)
    numpy_float = {ti.f32: np.float32, ti.f64: np.float64}[ti.lang.impl.current_cfg().default_fp]
    array.from_numpy(np.ascontiguousarray(values, np.int32 if dtype is int else numpy_float))
    return array


def scene_arrays(scene, faces, layout):
    num_vertices = scene["vertices"].shape[1]
    starts = np.cumsum([0, *np.bincount(faces.ravel(), minlength=num_vertices)])
    return SceneArrays(
        to_array(scene["vertices"]),
        to_array(faces, int),
        to_array(starts, int),
        to_array(np.argsort(faces.ravel(), kind="stable"), int),
        to_array(scene["albedo"]),
        to_array(scene["uniforms"]),
        layout.array(),
    )


def place_with_twin(scene, faces, case, views, num_views, shapes):
    """The twin's arrays, in the shapes of the kernels: of views that are alike the first."""
    every_view = place(scene, faces, case.layout, views, num_views, case.num_cameras)
    return [values[: shape[0]] for values, shape in zip(every_view, shapes)]


def used(case):
    """Which of corners, varyings and textures the case has."""
    layout = case.layout
    return [True, layout.num_varyings > 0, layout.colors > VERTEX_COLORS]


def check_placement(case, tolerance):
    """Values of every pass, and gradients summed over them, for random cotangents."""
    scene, faces = make_scene(case)
    arrays = scene_arrays(scene, faces, case.layout)
    generator = np.random.default_rng(0)
    grad_scene = GradScene(*[to_array(np.full_like(scene[name], np.nan)) for name in scene])
    workspace, losses = Workspace(), []
    for index, (first, num_views) in enumerate(case.passes):
        views = Views(first, 1.5, 1.0)
        tables, placed = allocate_placement(
            workspace, arrays, case.layout, case.num_cameras, num_views
        )
        place_scene(*arrays, *views, *tables, *placed)
        shapes = [array.shape for array in placed]
        expected = place_with_twin(scene, faces, case, views, num_views, shapes)
        cotangents = [generator.normal(size=shape) for shape in shapes]
        for array, values, is_used in zip(placed, expected, used(case)):
            if is_used:
                error = np.abs(array.to_numpy() - values).max() / np.abs(values).max()
                assert error < tolerance, f"pass {index}: relative error {error:.1e}"
        grad_placed = Placed(*[to_array(values) for values in cotangents])
        grad_tables = allocate_grad_tables(workspace, arrays, tables, placed)
        is_first = int(index == 0)
        place_scene_backward(
            *arrays, *views, is_first, *tables, *grad_placed, *grad_tables, *grad_scene
        )
        losses.append((views, num_views, shapes, cotangents))

    def loss(scene):
        total = 0.0
        for views, num_views, shapes, cotangents in losses:
            values = place_with_twin(scene, faces, case, views, num_views, shapes)
            products = [(a * b).sum() for a, b in zip(values, cotangents)]
            total += sum(np.array(products)[used(case)])
        return total

    return scene, grad_scene, loss


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


def check_gradients(case, value_tolerance, gradient_tolerance):
    scene, grad_scene, loss = check_placement(case, value_tolerance)
    for name, array in zip(scene, grad_scene):
        if name == "albedo" and not case.layout.colors:
            continue
        expected, gradient = differentiate(loss, scene, name), array.to_numpy()
        if name == "uniforms" and case.layout.pose == LOOK_AT:
            for camera in range(case.num_cameras):
                expected[CAMERA_SIZE * camera :][POLE_RIGHT] = 0
        for part in (slice(None),) if name != "uniforms" else parts(case):
            error = np.abs(gradient[part] - expected[part]).max() / np.abs(expected[part]).max()
            print(f"{name}: largest relative error {error:.1e}")
            assert error < gradient_tolerance, f"gradient of {name}: relative error {error:.1e}"


def parts(case):
    """Of the uniforms: numbers of a kind are about as large as each other."""
    for camera in range(case.num_cameras):
        start = CAMERA_SIZE * camera
        yield slice(start, start + PROJECTION_START)
        yield slice(start + PROJECTION_START, start + CAMERA_SIZE)
    if case.layout.lit != NOTHING:
        yield slice(CAMERA_SIZE * case.num_cameras, None)


@pytest.mark.f64
@pytest.mark.parametrize("case", CASES)
def test_placement_and_gradient_in_double_precision(backend, case):
    check_gradients(CASES[case], tolerances.TWIN_DOUBLE, tolerances.FINITE_DIFFERENCE_RELATIVE)


@pytest.mark.parametrize("case", CASES)
def test_placement_and_gradient_in_single_precision(backend, case):
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE
    check_gradients(CASES[case], tolerance, tolerance)
