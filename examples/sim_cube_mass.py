"""Weigh the eight corners of a cube by watching it: pixels and a known push in, masses out.

The cube is soft: the motion of a rigid one tells its total mass, its centre and its inertia, here
7 numbers for 8 masses. After Jatavallabhula et al., gradSim, ICLR 2021, who weigh bodies so.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

MASSES_KG = (1.4, 0.7, 1.1, 0.8, 0.6, 1.3, 0.9, 1.2)
PUSHED_CORNER, PUSH_NEWTON, PUSH_SECONDS = 4, (-30.0, -36.0, 38.0), 0.15
STIFFNESS, DAMPING = 100.0, 0.1  # N/m and N s/m, of the spring between each two corners
SUBSTEP_SECONDS, SUBSTEPS_PER_FRAME, NUM_FRAMES = 1 / 240, 20, 15


@ti.data_oriented
class Cube:
    """Point masses and springs, by the symplectic Euler method; positions[0] is at rest."""

    def __init__(self, num_substeps):
        self.num_substeps = num_substeps
        corners, self.faces = tsr.primitives.cube()
        self.corners = corners / 2
        self.masses = ti.field(float, 8, needs_grad=True)
        self.positions = ti.Vector.field(3, float, (num_substeps + 1, 8), needs_grad=True)
        self.velocities = ti.Vector.field(3, float, (num_substeps + 1, 8), needs_grad=True)
        self.positions.from_numpy(np.tile(self.corners, (num_substeps + 1, 1, 1)))

    def simulate(self):
        for now in range(self.num_substeps):
            self.advance(now)

    @ti.kernel
    def advance(self, now: int):
        for corner in range(8):
            here, velocity = self.positions[now, corner], self.velocities[now, corner]
            force = ti.Vector([0.0, 0.0, 0.0])
            if corner == PUSHED_CORNER and now * SUBSTEP_SECONDS < PUSH_SECONDS:
                force += ti.Vector(PUSH_NEWTON)
            for other in ti.static(range(8)):
                if other != corner:
                    offset = self.positions[now, other] - here
                    rest = (self.positions[0, other] - self.positions[0, corner]).norm()
                    force += STIFFNESS * (1.0 - rest / offset.norm()) * offset
                    force += DAMPING * (self.velocities[now, other] - velocity)
            faster = velocity + SUBSTEP_SECONDS * force / self.masses[corner]
            self.velocities[now + 1, corner] = faster
            self.positions[now + 1, corner] = here + SUBSTEP_SECONDS * faster


def main(steps=60, output="out/sim_cube_mass"):
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    cube = Cube(NUM_FRAMES * SUBSTEPS_PER_FRAME)
    mesh = tsr.Mesh(cube.positions, cube.faces, vertex_colors=0.5 + 0.7 * cube.corners)
    camera = tsr.Camera.look_at((0.6, 1.2, 3.0), (-0.3, -0.35, 0.35), fov_y_degrees=60)
    frames = range(SUBSTEPS_PER_FRAME, cube.num_substeps + 1, SUBSTEPS_PER_FRAME)
    renderer = tsr.Renderer(mesh, camera, (256, 256), shading=tsr.Unlit(), frames=frames)
    loss = ti.field(float, shape=(), needs_grad=True)

    def film(masses):
        cube.masses.from_numpy(np.array(masses))
        cube.simulate()
        renderer.rasterizer = tsr.SoftAggregation(sigma_pixels=0.5, near=1, far=10)
        return renderer.render().to_numpy()

    def differentiate(simulate=cube.simulate):
        started = time.perf_counter()
        with ti.ad.Tape(loss):
            simulate()
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss)
        return time.perf_counter() - started

    target, before = film(MASSES_KG), film(np.ones(8))
    optimizer = tsr.Adam([cube.masses], betas=(0.8, 0.99))
    masses, seconds = [np.ones(8)], []
    for step in run:
        sigma_pixels = 2 * 0.25 ** (step / steps)
        renderer.rasterizer = tsr.SoftAggregation(sigma_pixels=sigma_pixels, near=1, far=10)
        optimizer.learning_rate = 0.05 * 0.1 ** (step / steps)
        seconds.append(differentiate())
        optimizer.step()
        masses.append(cube.masses.to_numpy())
    errors = np.abs(masses[-1] / MASSES_KG - 1)
    result = {"masses_kg": masses[-1].tolist(), "truth_kg": MASSES_KG}
    result["steps"] = optimizer.num_steps
    result.update(relative_errors=errors.tolist(), largest_relative_error=float(errors.max()))
    result["seconds"] = sum(seconds)
    result["renderer_share"] = differentiate(lambda: None) / float(np.median(seconds))
    tsr.scripts.save(output / "result.json", result)
    films = [tsr.images.over_background(x) for x in (target, before, film(masses[-1]))]
    films = np.concatenate(films, axis=2).reshape(-1, 128, 2, 384, 2, 3).mean((2, 4))
    tsr.images.save_gif(output / "film.gif", films, frames_per_second=12)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(masses)
    axes.hlines(MASSES_KG, 0, len(seconds), [f"C{i}" for i in range(8)], "--", linewidth=1)
    axes.set(xlabel="step", ylabel="mass in kg; dashed: true")
    tsr.scripts.save(output / "masses.png", figure)
    plt.close(figure)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        print(main())
