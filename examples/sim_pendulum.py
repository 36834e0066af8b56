"""How long is a pendulum, how strong are gravity and damping? From a film of silhouettes alone.

The length is seen in every picture, gravity in the period, damping in how the swing fades.
"""

import json
import pathlib
import time

import matplotlib.pyplot as plt
import numpy as np
import taichi as ti

import taichi_softras as tsr

TRUTH = {"length": 1.0, "gravity": 9.91, "damping": 0.5}  # m, m/s^2, 1/s
START = {"length": 1.4, "gravity": 7.0, "damping": 0.3}
STAGES = [(tsr.SoftAggregation(10.0**-n), rate) for n, rate in ((2, 0.1), (3, 0.05), (4, 0.02))]
FRAME_SECONDS, SUBSTEPS = 0.1, 2


class Pendulum:
    """Length, gravity and damping in; rod and bob in every frame out."""

    def __init__(self, frames=50):
        self.parameters = {name: ti.field(float, (), needs_grad=True) for name in TRUTH}
        self.state = ti.Vector.field(2, float, frames, needs_grad=True)  # angle, angular velocity
        (cube, cube_faces), (sphere, faces) = tsr.primitives.cube(), tsr.primitives.icosphere(1)
        rod = np.column_stack([cube * (0.04, 0, 0.04), cube[:, 1] < 0])
        bob = np.column_stack([0.25 * sphere, np.ones(len(sphere))])
        self.parts = ti.Vector.field(4, float, len(rod) + len(bob))  # x, y, z, at the rod's end?
        self.parts.from_numpy(np.concatenate([rod, bob]))
        vertices = ti.Vector.field(3, float, (frames, *self.parts.shape), needs_grad=True)
        self.mesh = tsr.Mesh(vertices, np.concatenate([cube_faces, faces + len(rod)]))
        self.state[0] = (1.2, 0.0)

    def run(self):
        for frame in range(1, self.mesh.num_frames):
            swing(frame, *self.parameters.values(), self.state)
        place(self.state, self.parameters["length"], self.parts, self.mesh.vertices)

    def film(self, values, renderer):
        for name, value in values.items():
            self.parameters[name][None] = value
        self.run()
        return renderer.render().to_numpy()[..., 0]


@ti.func
def rate(state, length, gravity, damping):
    return ti.Vector([state[1], -gravity / length * ti.sin(state[0]) - damping * state[1]])


@ti.kernel
def swing(
    frame: int,
    length: ti.template(),
    gravity: ti.template(),
    damping: ti.template(),
    state: ti.template(),
):
    """From the frame before to this one by the classical Runge-Kutta method."""
    h, now = FRAME_SECONDS / SUBSTEPS, state[frame - 1]
    for _ in ti.static(range(SUBSTEPS)):
        k1 = rate(now, length[None], gravity[None], damping[None])
        k2 = rate(now + 0.5 * h * k1, length[None], gravity[None], damping[None])
        k3 = rate(now + 0.5 * h * k2, length[None], gravity[None], damping[None])
        k4 = rate(now + h * k3, length[None], gravity[None], damping[None])
        now = now + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    state[frame] = now


@ti.kernel
def place(
    state: ti.template(), length: ti.template(), parts: ti.template(), vertices: ti.template()
):
    for frame, vertex in vertices:
        part, angle = parts[vertex], state[frame][0]
        x, y = part[0], part[1] - part[3] * length[None]
        s, c = ti.sin(angle), ti.cos(angle)
        vertices[frame, vertex] = ti.Vector([c * x - s * y, s * x + c * y, part[2]])


def main(steps=90, output="out/sim_pendulum"):
    pendulum, loss = Pendulum(), ti.field(float, (), needs_grad=True)
    camera, frames = tsr.Camera.look_at((0, -0.6, 4), (0, -0.6, 0)), range(0, 50, 2)
    renderer = tsr.Renderer(
        pendulum.mesh, camera, (256, 256), None, tsr.Silhouette(), frames=frames
    )
    targets = [pendulum.film(TRUTH, renderer) for renderer.rasterizer, _ in STAGES]
    films = [targets[-1], pendulum.film(START, renderer)]
    optimizer = tsr.Adam(pendulum.parameters.values(), betas=(0.8, 0.99))
    history, started = [START], time.perf_counter()
    for step in range(steps):
        stage = step * len(STAGES) // steps
        renderer.rasterizer, optimizer.learning_rate = STAGES[stage]
        with ti.ad.Tape(loss):
            pendulum.run()
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, targets[stage], loss)
        optimizer.step()
        print(step, loss[None], [round(p[None],4) for p in pendulum.parameters.values()])
        history.append({name: value[None] for name, value in pendulum.parameters.items()})
    seconds = time.perf_counter() - started
    with ti.ad.Tape(loss):
        pendulum.run()
    share = 1 - steps * (time.perf_counter() - started - seconds) / seconds
    films.append(pendulum.film(history[-1], renderer))
    result = {"steps": steps, "seconds": round(seconds, 2), "renderer_share": round(share, 2)}
    result.update(found=history[-1], truth=TRUTH)
    result["relative_error"] = {name: abs(history[-1][name] / TRUTH[name] - 1) for name in TRUTH}
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(films, history, output / "sim_pendulum")
    print(result)
    return result


def draw(films, history, path):
    films = 1 - np.concatenate(films, axis=2)[..., None] * (0.1, 0.5, 0.9)
    tsr.images.save_gif(path.with_suffix(".gif"), films, frames_per_second=5)
    figure, axes = plt.subplot_mosaic([["films"] * 3, [*TRUTH]], figsize=(8, 4), layout="tight")
    axes["films"].imshow(films.min(axis=0))
    axes["films"].set(title="target | before | after", xticks=[], yticks=[])
    for name, truth in TRUTH.items():
        axes[name].axhline(truth, color="black", linestyle="--")
        axes[name].plot([values[name] for values in history], color="tab:orange")
        axes[name].set(title=name, xlabel="step")
    figure.savefig(path.with_suffix(".png"), dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    ti.init(arch=ti.cpu, log_level=ti.ERROR)
    main()
