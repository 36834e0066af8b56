"""Push a jelly until it looks like the picture: forces over time, found from its last frames.

A round sheet of springs; forces, linear between knots in time, act on each rim node and, as a wind,
on all nodes. The loss is the pixel error of two late frames to a heart, nothing else. The sheet
starts beside the heart, where sharp silhouettes have no gradient: a large sigma first, then small.
"""

import time

import numpy as np
from matplotlib.tri import Triangulation

import taichi_softras as tsr
from taichi_softras.runtime import ti

DT, STIFFNESS, DRAG = 0.01, 1000.0, 2.0  # s, 1/s^2, 1/s: a node's mass is 1
FLAT = (1.0, 1.0, 0.0)  # what of a force acts
SHARP = tsr.SoftAggregation(sigma_pixels=0.1)
SIGMA, SIGMA_END = 0.03, 1e-5  # NDC squared


@ti.data_oriented
class Jelly:
    """Positions and velocities at all T steps; forces at the knots, of the rim and of the wind."""

    def __init__(self, rings=7, knots=13, interval=10):
        circles = [np.exp(2j * np.pi * np.arange(6 * k) / (6 * k)) * k for k in range(1, rings + 1)]
        self.disc = np.concatenate([[0], *circles]) / rings  # complex numbers, the rim last
        faces = Triangulation(self.disc.real, self.disc.imag).triangles
        rest = to_vertices(0.5 * self.disc - 0.75 - 0.55j)
        self.interval, self.steps = interval, (knots - 1) * interval + 1
        self.x = ti.Vector.field(3, float, (self.steps, len(rest)), needs_grad=True)
        self.v = ti.Vector.field(3, float, (self.steps, len(rest)), needs_grad=True)
        self.forces = ti.Vector.field(3, float, (knots, 6 * rings + 1), needs_grad=True)
        self.x.from_numpy(np.tile(rest, (self.steps, 1, 1)))
        shades = 0.85 + 0.15 * np.cos(20 * np.abs(self.disc))
        self.mesh = tsr.Mesh(self.x, faces, np.outer(shades, (0.95, 0.25, 0.3)))
        self.springs = ti.Vector.field(2, int, len(self.mesh.edges_array))
        self.springs.from_numpy(self.mesh.edges_array)

    def run(self):
        for t in range(1, self.steps):
            self.step(t, (t - 1) // self.interval, (t - 1) % self.interval / self.interval)

    @ti.kernel
    def step(self, t: int, knot: int, fraction: float):
        for node in range(self.x.shape[1]):
            wind = ti.math.mix(self.forces[knot, 0], self.forces[knot + 1, 0], fraction)
            self.x[t, node] = self.x[t - 1, node] + DT * self.v[t - 1, node]
            self.v[t, node] = (1 - DRAG * DT) * self.v[t - 1, node] + DT * wind * ti.Vector(FLAT)
        for i in range(1, self.forces.shape[1]):
            force = ti.math.mix(self.forces[knot, i], self.forces[knot + 1, i], fraction)
            self.v[t, self.x.shape[1] - i] += DT * force * ti.Vector(FLAT)
        for i in range(self.springs.shape[0]):
            start, end = self.springs[i][0], self.springs[i][1]
            length = (self.x[0, end] - self.x[0, start]).norm()
            along = self.x[t, end] - self.x[t, start]
            pull = DT * STIFFNESS * (1 - length / along.norm(1e-6)) * along
            self.v[t, start] += pull
            self.v[t, end] -= pull


def to_vertices(places):
    """(V, 3) from complex numbers."""
    return np.stack([places.real, places.imag, 0 * places.real], axis=-1)


def heart(disc):
    """The unit disc, complex numbers, as a heart of the same area as the jelly."""
    radius, angle = np.abs(disc), np.angle(disc) - np.pi / 2
    across = -16 * np.sin(angle) ** 3
    up = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return to_vertices(0.0395 * radius * (across + 1j * up) + 0.6 + 0.35j)


def main(steps=200, output="out/control_to_image"):
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    jelly, loss = Jelly(), ti.field(float, shape=(), needs_grad=True)
    camera = tsr.Camera.look_at((0.0, 0.0, 2.4), needs_grad=False)
    view = {"cameras": camera, "image_size": (256, 256), "shading": tsr.Silhouette()}
    renderer = tsr.Renderer(jelly.mesh, frames=[jelly.steps - 11, jelly.steps - 1], **view)
    picture = tsr.Renderer(tsr.Mesh(heart(jelly.disc), jelly.mesh.faces_array), **view)
    optimizer = tsr.Adam([jelly.forces], eps=1e-5)
    seconds, runs = [], 9
    for step in run:
        sigma = max(SIGMA * (SIGMA_END / SIGMA) ** (2 * step / steps), SIGMA_END)
        picture.rasterizer = renderer.rasterizer = tsr.SoftAggregation(sigma=sigma)
        target = picture.render().to_numpy().repeat(2, axis=0)  # as blurred as the image
        started = time.process_time()
        with ti.ad.Tape(loss):
            jelly.run()
            tsr.losses.mean_squared_error(renderer.render(), target, loss)
        seconds.append(time.process_time() - started)
        optimizer.learning_rate = min(1.0, 2 - 2 * step / steps)
        optimizer.step()
    started = time.process_time()
    for _ in range(runs):  # without pictures, for their share of the time
        with ti.ad.Tape(loss):
            jelly.run()
    share = 1 - (time.process_time() - started) / runs / float(np.median(seconds))
    picture.rasterizer = renderer.rasterizer = SHARP
    image, target = renderer.render().to_numpy(), picture.render().to_numpy().repeat(2, axis=0)
    result = {"steps": optimizer.num_steps, "seconds": sum(seconds), "renderer_share": share}
    result["mean_squared_error"] = float(np.mean((image - target)[-1] ** 2))
    result["ious"] = tsr.losses.silhouette_ious(image, target, threshold=0.5).tolist()
    result["iou"] = min(result["ious"])  # of the two late frames
    tsr.scripts.save(output / "result.json", result)
    view["shading"] = tsr.Unlit()
    film = tsr.Renderer(jelly.mesh, rasterizer=SHARP, frames=range(0, jelly.steps, 4), **view)
    film = tsr.images.over_background(film.render().to_numpy(), 1 - 0.25 * target[-1])
    tsr.images.save_gif(output / "film.gif", [*film, *film[-1:].repeat(15, axis=0)])
    strip = np.concatenate(film[[0, 12, 20, 25, 30]], axis=1)  # t = 0, 48, 80, 100, 120
    tsr.images.save_image(output / "strip.png", strip)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        print(main())
