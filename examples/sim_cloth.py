"""Tell how a cloth was thrown by watching it: pixels in, its initial velocity out.

A sheet of 20 x 10 masses and springs hangs by two corners. The film of the 1.5 s after its throw is
1,440 substeps long, and so is the way back. After Jatavallabhula et al., gradSim, ICLR 2021.
"""

import contextlib
import json
import pathlib
import time

import matplotlib.pyplot as plt
import numpy as np
import taichi as ti

import taichi_softras as tsr

VELOCITY = (1.2, 0.8, -2.0)  # m/s
SUBSTEP_SECONDS, NUM_SUBSTEPS = 1 / 960, 45 * 32  # 45 frames of 1/30 s; ...
SEEN_SUBSTEPS = range(96, NUM_SUBSTEPS + 1, 96)  # ... every third is looked at
STIFFNESS, DAMPING, DRAG = 2e4, 15.0, 0.5  # of springs in 1/s^2 and 1/s, of air in 1/s: per mass
GRAVITY = (0.0, -9.8, 0.0)  # m/s^2
NEIGHBORS = [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)]  # rows down, columns to the right
NEIGHBORS += [(-down, -right) for down, right in NEIGHBORS]


@ti.data_oriented
class Cloth:
    """Equal masses and springs, by the symplectic Euler method; the upper corners are held."""

    def __init__(self, num_substeps, rows=20, columns=10, spacing=0.1):
        self.num_substeps, self.rows, self.columns = num_substeps, rows, columns
        shape = (num_substeps + 1, rows * columns)
        self.initial_velocity = ti.Vector.field(3, float, (), needs_grad=True)
        self.positions = ti.Vector.field(3, float, shape, needs_grad=True)
        self.velocities = ti.Vector.field(3, float, shape, needs_grad=True)
        row, column = np.indices((rows, columns)).reshape(2, -1)
        x, y = spacing * (column - (columns - 1) / 2), spacing * ((rows - 1) / 2 - row)
        rest = np.stack([x, y, 0.15 * np.cos(3.5 * x)], axis=-1)  # of a flat one none knows
        self.positions.from_numpy(np.tile(rest, (num_substeps + 1, 1, 1)))  # which way it buckles
        u, v = column / (columns - 1), row / (rows - 1)
        self.colors = np.stack([0.95 - 0.7 * u, 0.25 + 0.65 * v, 0.25 + 0.7 * u], axis=-1)
        quads = (columns * row + column).reshape(rows, columns)[:-1, :-1].reshape(-1, 1, 1)
        self.faces = (quads + [[0, columns, columns + 1], [0, columns + 1, 1]]).reshape(-1, 3)

    def simulate(self):
        self.throw()
        for now in range(self.num_substeps):
            self.advance(now)

    @ti.func
    def is_free(self, mass):
        return float(mass != 0 and mass != self.columns - 1)

    @ti.kernel
    def throw(self):
        for mass in range(self.rows * self.columns):
            self.velocities[0, mass] = self.is_free(mass) * self.initial_velocity[None]

    @ti.kernel
    def advance(self, now: int):
        for row, column in ti.ndrange(self.rows, self.columns):
            mass = row * self.columns + column
            here, velocity = self.positions[now, mass], self.velocities[now, mass]
            acceleration = ti.Vector(GRAVITY) - DRAG * velocity
            for down, right in ti.static(NEIGHBORS):
                if 0 <= row + down < self.rows and 0 <= column + right < self.columns:
                    other = mass + down * self.columns + right
                    offset = self.positions[now, other] - here
                    rest = (self.positions[0, other] - self.positions[0, mass]).norm()
                    acceleration += STIFFNESS * (1.0 - rest / offset.norm()) * offset
                    acceleration += DAMPING * (self.velocities[now, other] - velocity)
            faster = velocity + self.is_free(mass) * SUBSTEP_SECONDS * acceleration
            self.velocities[now + 1, mass] = faster
            self.positions[now + 1, mass] = here + SUBSTEP_SECONDS * faster


def main(steps=40, output="out/sim_cloth"):
    """Fits, and writes result.json, velocity.png and film.gif to `output`."""
    cloth = Cloth(NUM_SUBSTEPS)
    mesh = tsr.Mesh(cloth.positions, cloth.faces, cloth.colors)
    eye, target = (1.5, 0.6, 1.7), (0.0, -0.1, -0.1)
    camera = tsr.Camera.look_at(eye, target, fov_y_degrees=60, needs_grad=False)
    lights = tsr.Lights(directions=((0.3, 1.5, 1.0), (-0.3, 1.2, -1.0)), colors=((0.7,) * 3,) * 2)
    renderer = tsr.Renderer(
        mesh, camera, (256, 256), shading=tsr.Gouraud(), lights=lights, frames=SEEN_SUBSTEPS
    )
    loss = ti.field(float, shape=(), needs_grad=True)

    def film(velocity):
        cloth.initial_velocity.from_numpy(np.array(velocity))
        cloth.simulate()
        renderer.rasterizer = tsr.SoftAggregation(sigma_pixels=0.2, far=10)
        return renderer.render().to_numpy()

    def compare():
        renderer.render()
        tsr.losses.mean_squared_error(renderer.image, target, loss)

    def differentiate(*stages):
        started = time.perf_counter()
        with ti.ad.Tape(loss):
            for stage in stages:
                stage()
        return time.perf_counter() - started

    target, before = film(VELOCITY), film(np.zeros(3))
    optimizer = tsr.SGD([cloth.initial_velocity], learning_rate=20.0, momentum=0.8)
    velocities, seconds = [cloth.initial_velocity.to_numpy()], []
    with contextlib.suppress(KeyboardInterrupt):
        for step in range(steps):
            progress = step / steps
            renderer.rasterizer = tsr.SoftAggregation(sigma_pixels=5 * 0.06**progress, far=10)
            optimizer.learning_rate = 20 * 0.1**progress
            seconds.append(differentiate(cloth.simulate, compare))
            optimizer.step()
            velocities.append(cloth.initial_velocity.to_numpy())
    renderer_seconds = np.median([differentiate(compare) for _ in range(3)])

    error = np.linalg.norm(velocities[-1] - VELOCITY) / np.linalg.norm(VELOCITY)
    result = {
        "velocity": velocities[-1].round(4).tolist(),
        "true_velocity": VELOCITY,
        "relative_error": round(float(error), 4),
        "steps": len(seconds),
        "seconds": round(sum(seconds), 1),
        "renderer_share": round(float(renderer_seconds / np.median(seconds)), 2),
    }
    films = [target, before, film(velocities[-1])]
    write(pathlib.Path(output), result, np.array(velocities), films)
    print(result)
    return result


def write(output, result, velocities, films):
    output.mkdir(parents=True, exist_ok=True)
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    films = [tsr.images.over_background(film) for film in films]
    halved = np.concatenate(films, axis=2).reshape(len(films[0]), 128, 2, -1, 2, 3).mean((2, 4))
    tsr.images.save_gif(output / "film.gif", halved, frames_per_second=10)
    figure, axes = plt.subplot_mosaic("abc;ddd", figsize=(7.5, 5.5), layout="constrained")
    for cell, film, title in zip("abc", films, ("target", "before", "after")):
        axes[cell].imshow(film[3])
        axes[cell].set(xticks=[], yticks=[], title=title)
    for curve, truth, color in zip(velocities.T, VELOCITY, plt.cm.tab10.colors):
        axes["d"].plot(curve, color=color)
        axes["d"].axhline(truth, color=color, linestyle="--", linewidth=1)
    axes["d"].set(xlabel="step", ylabel="initial velocity in m/s; dashed: true")
    figure.savefig(output / "velocity.png", dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    ti.init(arch=ti.cpu, log_level=ti.ERROR)
    main()
