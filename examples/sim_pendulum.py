"""How long is a pendulum, how strong are gravity and damping? From a film of silhouettes alone.

The length is seen in every picture, gravity in the period, damping in how the swing fades.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

TRUTH = {"length": 1.0, "gravity": 9.91, "damping": 0.5}  # m, m/s^2, 1/s
START = {"length": 1.4, "gravity": 7.0, "damping": 0.3}
STAGES = [(tsr.SoftAggregation(10.0**-n), rate) for n, rate in ((2, 0.2), (3, 0.1), (4, 0.05))]


@ti.data_oriented
class Pendulum:
    """Length, gravity and damping in; rod and bob in every frame out."""

    def __init__(self, frames=50):
        self.parameters = ti.Vector.field(3, float, (), needs_grad=True)
        self.state = ti.Vector.field(2, float, frames, needs_grad=True)  # angle and its velocity
        (cube, cube_faces), (sphere, faces) = tsr.primitives.cube(), tsr.primitives.icosphere(1)
        rod = np.column_stack([cube * (0.04, 0, 0.04), cube[:, 1] < 0])
        bob = np.column_stack([sphere * 0.25, np.ones(len(sphere))])
        self.parts = ti.Vector.field(4, float, len(rod) + len(bob))  # x, y, z, how far down the rod
        self.parts.from_numpy(np.concatenate([rod, bob]))
        vertices = ti.Vector.field(3, float, (frames, *self.parts.shape), needs_grad=True)
        self.mesh = tsr.Mesh(vertices, np.concatenate([cube_faces, faces + len(rod)]))
        self.state[0] = (1.2, 0.0)

    def run(self):
        for frame in range(1, self.mesh.num_frames):
            self.swing(frame)
        self.place()

    def film(self, values, renderer):
        self.parameters[None] = [values[name] for name in TRUTH]
        self.run()
        return renderer.render().to_numpy()[..., 0]

    @ti.func
    def rate(self, state):
        length, gravity, damping = self.parameters[None]
        return ti.Vector([state[1], -gravity / length * ti.sin(state[0]) - damping * state[1]])

    @ti.kernel
    def swing(self, frame: int):
        """From the frame before to this one 0.1 s later by two Runge-Kutta steps."""
        h, now = 0.05, self.state[frame - 1]
        for _ in ti.static(range(2)):
            k1 = self.rate(now)
            k2 = self.rate(now + 0.5 * h * k1)
            k3 = self.rate(now + 0.5 * h * k2)
            now = now + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + self.rate(now + h * k3))
        self.state[frame] = now

    @ti.kernel
    def place(self):
        for frame, vertex in self.mesh.vertices:
            length, angle, part = self.parameters[None][0], self.state[frame][0], self.parts[vertex]
            x, y, s, c = part[0], part[1] - part[3] * length, ti.sin(angle), ti.cos(angle)
            self.mesh.vertices[frame, vertex] = ti.Vector([c * x - s * y, s * x + c * y, part[2]])


def main(steps=60, output="out/sim_pendulum"):
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    pendulum, loss = Pendulum(), ti.field(float, (), needs_grad=True)
    camera, frames = tsr.Camera.look_at((0, -0.7, 3.2), (0, -0.7, 0)), range(0, 50, 2)
    renderer = tsr.Renderer(
        pendulum.mesh, camera, (256, 256), None, tsr.Silhouette(), frames=frames
    )
    targets = [pendulum.film(TRUTH, renderer) for renderer.rasterizer, _ in STAGES]
    films = [targets[-1], pendulum.film(START, renderer)]
    optimizer = tsr.Adam([pendulum.parameters], betas=(0.8, 0.99))
    history, started = [START], time.perf_counter()
    for step in run:
        stage = step * len(STAGES) // steps
        renderer.rasterizer, optimizer.learning_rate = STAGES[stage]
        with ti.ad.Tape(loss):
            pendulum.run()
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, targets[stage], loss)
        optimizer.step()
        history.append(dict(zip(TRUTH, pendulum.parameters[None].to_list())))
    seconds = time.perf_counter() - started
    with ti.ad.Tape(loss):
        pendulum.run()
    share = 1 - optimizer.num_steps * (time.perf_counter() - started - seconds) / seconds
    films.append(pendulum.film(history[-1], renderer))
    result = {"steps": optimizer.num_steps, "seconds": round(seconds, 2)}
    result.update(renderer_share=round(share, 2), found=history[-1], truth=TRUTH)
    result["relative_error"] = {name: abs(history[-1][name] / TRUTH[name] - 1) for name in TRUTH}
    tsr.scripts.save(output / "result.json", result)
    draw(films, history, output / "sim_pendulum")
    print(result)
    return result


def draw(films, history, path):
    films = 1 - np.concatenate(films, axis=2)[:, 64:208, :, None] * (0.1, 0.5, 0.9)
    tsr.images.save_gif(path.with_suffix(".gif"), films, frames_per_second=5)
    figure, axes = plt.subplot_mosaic([["films"] * 3, [*TRUTH]], figsize=(8, 4), layout="tight")
    axes["films"].imshow(films[::3].min(axis=0))
    axes["films"].set(title="target | before | after", xticks=[], yticks=[])
    for name, truth in TRUTH.items():
        axes[name].plot([truth] * len(history), "k--", [values[name] for values in history], "C1")
        axes[name].set(title=name, xlabel="step")
    tsr.scripts.save(path.with_suffix(".png"), figure, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
