"""Pixels of a thrown cloth in, its initial velocity out. After gradSim (Jatavallabhula 2021)."""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

VELOCITY = (1.2, 0.8, -2.0)  # m/s
SUBSTEP_SECONDS, SEEN_SUBSTEPS = 1 / 960, range(96, 1441, 96)  # every third frame of 32
GRAVITY, DRAG, STIFFNESS, DAMPING = (0.0, -9.8, 0.0), 0.5, 2e4, 15.0  # m/s^2, then for each mass


@ti.data_oriented
class Cloth:
    """Equal masses and springs, by the symplectic Euler method; the upper corners are held."""

    def __init__(self, num_substeps, rows=20, columns=10, spacing=0.1):
        self.num_substeps, shape = num_substeps, (num_substeps + 1, rows * columns)
        self.initial_velocity = ti.Vector.field(3, float, (), needs_grad=True)
        self.positions = ti.Vector.field(3, float, shape, needs_grad=True)
        self.velocities = ti.Vector.field(3, float, shape, needs_grad=True)
        row, column = np.indices((rows, columns)).reshape(2, -1)
        x, y = spacing * column - 0.45, 0.95 - spacing * row
        rest = np.stack([x, y, 0.15 * np.cos(3.5 * x)], axis=-1)  # a plane could buckle either way
        self.positions.from_numpy(np.tile(rest, (num_substeps + 1, 1, 1)))
        self.colors = 0.6 + rest @ [[-0.7, 0.0, 0.7], [0.0, -0.35, 0.0], [0.0, 0.0, 0.0]]
        quads = np.arange(rows * columns).reshape(rows, columns)[:-1, :-1].reshape(-1, 1, 1)
        self.faces = (quads + [[0, columns, columns + 1], [0, columns + 1, 1]]).reshape(-1, 3)
        apart = abs(row[:, None] - row) + abs(column[:, None] - column)
        pairs = np.argwhere(np.triu((apart == 1) | (apart == 2))).astype(np.int32)
        self.springs, self.is_free = ti.Vector.field(2, int, len(pairs)), ti.field(float, len(row))
        self.springs.from_numpy(pairs)
        self.is_free.from_numpy(1.0 * ((row > 0) | (0 < column) & (column < columns - 1)))

    def simulate(self):
        self.throw()
        for now in range(self.num_substeps):
            self.advance(now)

    @ti.kernel
    def throw(self):
        for mass in self.is_free:
            self.velocities[0, mass] = self.is_free[mass] * self.initial_velocity[None]

    @ti.kernel
    def advance(self, now: int):
        for mass in self.is_free:
            velocity = self.velocities[now, mass]
            change = SUBSTEP_SECONDS * (ti.Vector(GRAVITY) - DRAG * velocity)
            self.velocities[now + 1, mass] = velocity + self.is_free[mass] * change
        for spring in self.springs:
            a, b = self.springs[spring][0], self.springs[spring][1]
            offset = self.positions[now, b] - self.positions[now, a]
            rest_length = (self.positions[0, b] - self.positions[0, a]).norm()
            pull = STIFFNESS * (1.0 - rest_length / offset.norm()) * offset
            pull += DAMPING * (self.velocities[now, b] - self.velocities[now, a])
            self.velocities[now + 1, a] += self.is_free[a] * SUBSTEP_SECONDS * pull
            self.velocities[now + 1, b] -= self.is_free[b] * SUBSTEP_SECONDS * pull
        for mass in self.is_free:
            change = SUBSTEP_SECONDS * self.velocities[now + 1, mass]
            self.positions[now + 1, mass] = self.positions[now, mass] + change


def main(steps=40, output="out/sim_cloth"):
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    cloth = Cloth(SEEN_SUBSTEPS[-1])
    mesh = tsr.Mesh(cloth.positions, cloth.faces, cloth.colors)
    lights = tsr.Lights(directions=[(0.3, 1.5, 1.0), (-0.3, 1.2, -1.0)], colors=[(0.7,) * 3] * 2)
    camera = tsr.Camera.look_at((1.5, 0.6, 1.7), (0.0, -0.1, -0.1), fov_y_degrees=60)
    renderer = tsr.Renderer(mesh, camera, (256, 256), None, tsr.Gouraud(), lights, SEEN_SUBSTEPS)
    loss = ti.field(float, shape=(), needs_grad=True)

    def film(velocity):
        cloth.initial_velocity.from_numpy(np.array(velocity))
        cloth.simulate()
        renderer.rasterizer = tsr.SoftAggregation(sigma_pixels=0.2, far=10)
        return renderer.render().to_numpy()

    def differentiate(simulate=cloth.simulate):
        started = time.perf_counter()
        with ti.ad.Tape(loss):
            simulate()
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss)
        return time.perf_counter() - started

    target, before = film(VELOCITY), film(np.zeros(3))
    optimizer = tsr.SGD([cloth.initial_velocity], learning_rate=30.0, momentum=0.8)
    velocities, seconds = [np.zeros(3)], []
    for step in run:
        renderer.rasterizer = tsr.SoftAggregation(sigma_pixels=5 * 0.06 ** (step / steps), far=10)
        optimizer.learning_rate = 30.0 * 0.2 ** (step / steps)
        seconds.append(differentiate())
        optimizer.step()
        velocities.append(cloth.initial_velocity.to_numpy())
    error = np.linalg.norm(velocities[-1] - VELOCITY) / np.linalg.norm(VELOCITY)
    result = {"velocity": velocities[-1].tolist(), "truth": VELOCITY}
    result.update(steps=optimizer.num_steps, relative_error=float(error), seconds=sum(seconds))
    result["renderer_share"] = differentiate(lambda: None) / float(np.median(seconds))
    tsr.scripts.save(output / "result.json", result)
    films = [tsr.images.over_background(x) for x in (target, before, film(velocities[-1]))]
    films = np.concatenate(films, axis=2).reshape(-1, 128, 2, 384, 2, 3).mean((2, 4))
    tsr.images.save_gif(output / "film.gif", films, frames_per_second=10)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(velocities)
    axes.hlines(VELOCITY, 0, len(seconds), [f"C{i}" for i in range(3)], "--", linewidth=1)
    axes.set(xlabel="step", ylabel="initial velocity in m/s; dashed: true")
    tsr.scripts.save(output / "velocity.png", figure)
    plt.close(figure)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        print(main())
