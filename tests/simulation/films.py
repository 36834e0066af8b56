"""A film of a few pixels of a mesh that moves, and its NumPy twin, to hold gradients against."""

import numpy as np

import taichi_softras as tsr
from tests.gradcheck import check_gradient
from tests.rasterizers.scenes import NUMBERS, draw_twin

IMAGE_SIZE = (6, 7)
SOFT = tsr.SoftAggregation(**{**NUMBERS, "sigma": 0.05})
VIEW_FROM_WORLD = np.array(
    [[0.9, 0.1, -0.4, 0.1], [0.2, 0.9, 0.3, -0.1], [0.4, -0.35, 0.85, -2.5], [0, 0, 0, 1]]
)
FOCAL_LENGTH = 2.5
CLIP_FROM_VIEW = np.array(
    [[FOCAL_LENGTH, 0, 0, 0], [0, FOCAL_LENGTH, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0]]
)


def check_film(simulation, colors, parameter: dict, frames, simulate_twin) -> None:
    """Film and gradient of a simulation against those of NumPy in double precision.

    Args:
        simulation: has `positions` (T, V), `faces` and `simulate`.
        colors: (V, 3).
        parameter: one field by its name, an argument of `simulate_twin`.
        frames: those that are filmed.
        simulate_twin: gives (T, V, 3) positions.
    """
    mesh = tsr.Mesh(simulation.positions, simulation.faces, colors)
    camera = tsr.Camera.from_matrices(VIEW_FROM_WORLD, CLIP_FROM_VIEW)
    renderer = tsr.Renderer(mesh, camera, IMAGE_SIZE, SOFT, tsr.Unlit(), frames=frames)

    def run_forward():
        simulation.simulate()
        renderer.render()

    def twin(**values):
        positions = simulate_twin(**values)[frames]
        view = positions @ VIEW_FROM_WORLD[:3, :3].T + VIEW_FROM_WORLD[:3, 3]
        x_ndc, y_ndc = FOCAL_LENGTH * view[..., :2].transpose(2, 0, 1) / -view[..., 2]
        aspect = IMAGE_SIZE[1] / IMAGE_SIZE[0]
        ndc = np.stack([aspect * x_ndc, y_ndc, -view[..., 2]], axis=-1)
        corners = ndc[:, simulation.faces]
        return draw_twin(corners, colors[simulation.faces][None], IMAGE_SIZE, SOFT)

    check_gradient(run_forward, parameter, renderer.image, twin)


def integrate(position, velocity, accelerate, substep_seconds, num_substeps) -> np.ndarray:
    """(T, V, 3) positions by the symplectic Euler method; accelerate(now, position, velocity)."""
    positions = [position]
    for now in range(num_substeps):
        velocity = velocity + substep_seconds * accelerate(now, positions[-1], velocity)
        positions.append(positions[-1] + substep_seconds * velocity)
    return np.array(positions)


def spring_forces(position, velocity, rest_lengths, stiffness, damping) -> np.ndarray:
    """(V, 3), of a spring with a damper wherever the (V, V) rest length is not zero."""
    is_spring = rest_lengths > 0
    offset = position[None] - position[:, None]
    length = np.where(is_spring, np.linalg.norm(offset, axis=-1), 1.0)
    pull = np.where(is_spring, stiffness * (1 - rest_lengths / length), 0.0)[..., None] * offset
    drag = np.where(is_spring, damping, 0.0)[..., None] * (velocity[None] - velocity[:, None])
    return (pull + drag).sum(axis=1)
