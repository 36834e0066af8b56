"""Gradients of an image loss by the parameters of an example's simulation, on small pictures."""

import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti
from tests.gradcheck import STEP


class ImageLoss:
    """Mean squared error against a film of the true parameters; a call gives value and gradient."""

    def __init__(self, simulation, eye, target, frames, truth):
        self.simulation = simulation
        self.renderer = tsr.Renderer(
            simulation.mesh,
            tsr.Camera.look_at(eye, target, needs_grad=False),
            (24, 24),
            tsr.SoftAggregation(sigma=1e-2),
            tsr.Silhouette(),
            frames=frames,
        )
        self.loss = ti.field(float, (), needs_grad=True)
        self.film = simulation.film(truth, self.renderer)

    def __call__(self, values):
        parameters = self.simulation.parameters
        parameters[None] = list(values)
        with ti.ad.Tape(self.loss):
            self.simulation.run()
            self.renderer.render()
            tsr.losses.mean_squared_error(self.renderer.image, self.film, self.loss)
        return self.loss[None], np.array(parameters.grad[None].to_list())

    def central_differences(self, values):
        moves = STEP * np.eye(len(values))
        return np.array([self(values + move)[0] - self(values - move)[0] for move in moves]) / (
            2 * STEP
        )
