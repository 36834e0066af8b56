"""How stiff is it? A jelly beam, held at one end, sags; its film tells Young's modulus.

Tetrahedra of a stable neo-Hookean solid (Smith, de Goes & Kim 2018), explicit steps. The nodes
at all steps are the vertices of the mesh: the gradient of pixels runs back through time.
"""

import time

import numpy as np
from matplotlib.figure import Figure

import taichi_softras as tsr
from taichi_softras.runtime import ti

TRUTH, START, POISSON = 500.0, 1250.0, 0.35  # Young's modulus in Pa, for 1 kg/m^3
BEAM, GRAVITY, DRAG, DT = (2.0, 0.6, 0.6), (0.0, -9.8, 0.0), 0.5, 2e-3  # m, m/s^2, 1/s, s


@ti.data_oriented
class Beam:
    """Held where x = 0. Positions and velocities at all T steps; the logarithm of E."""

    def __init__(self, cells=(10, 3, 3), steps=400):
        extent = np.add(cells, 1)
        nodes, cubes = np.argwhere(np.ones(extent)), np.argwhere(np.ones(cells))
        split = "0467 0237 0157 0627 0547 0317".split()  # six tetrahedra: corners xyz in binary
        corners = np.array([list(map(int, tet)) for tet in split])[..., None] // (4, 2, 1) % 2
        corners = np.moveaxis(cubes[:, None, None] + corners, -1, 0)
        tets = np.ravel_multi_index(tuple(corners), extent).reshape(-1, 4)
        sides = tets[:, [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]].reshape(-1, 3)
        _, first, counts = np.unique(np.sort(sides), axis=0, return_index=True, return_counts=True)
        self.faces, rest = sides[first[counts == 1]], nodes * BEAM / cells
        self.x = ti.Vector.field(3, float, (steps, len(rest)), needs_grad=True)
        self.v = ti.Vector.field(3, float, (steps, len(rest)), needs_grad=True)
        self.log_youngs = ti.field(float, (), needs_grad=True)
        self.tets = ti.field(int, (len(tets), 4))
        self.slopes = ti.Vector.field(3, float, (len(tets), 4))  # 1/m: of barycentric coordinates
        self.shares = ti.field(float, (len(tets), 4))  # the volume of a tetrahedron over a node's
        self.x.from_numpy(np.tile(rest, (steps, 1, 1)))
        self.tets.from_numpy(tets)
        self.slopes.from_numpy(np.linalg.inv(np.insert(rest[tets], 3, 1, 2))[:, :3].swapaxes(1, 2))
        self.shares.from_numpy(4 / np.bincount(tets.ravel())[tets])

    def run(self):
        for t in range(1, self.v.shape[0]):
            self.step(t)

    @ti.kernel
    def step(self, t: int):
        for node in range(self.v.shape[1]):
            if self.x[0, node].x > 0:
                self.x[t, node] = self.x[t - 1, node] + DT * self.v[t - 1, node]
            self.v[t, node] = (1 - DRAG * DT) * self.v[t - 1, node] + DT * ti.Vector(GRAVITY)
        for tet in range(self.tets.shape[0]):
            a, b, c = ti.Vector([0.0] * 3), ti.Vector([0.0] * 3), ti.Vector([0.0] * 3)
            for k in ti.static(range(4)):  # columns of F; matrix products compile for a minute
                x, slope = self.x[t, self.tets[tet, k]], self.slopes[tet, k]
                a, b, c = a + slope.x * x, b + slope.y * x, c + slope.z * x
            mu = ti.exp(self.log_youngs[None]) / (2 + 2 * POISSON)
            pressure = mu / (1 - 2 * POISSON) * (a.dot(b.cross(c)) - 1) - mu
            stress_a = mu * a + pressure * b.cross(c)
            stress_b = mu * b + pressure * c.cross(a)
            stress_c = mu * c + pressure * a.cross(b)
            for k in ti.static(range(4)):
                slope = -DT * self.shares[tet, k] * self.slopes[tet, k]
                push = slope.x * stress_a + slope.y * stress_b + slope.z * stress_c
                self.v[t, self.tets[tet, k]] += push


def make_renderer(beam, image_size=(256, 256), frames=range(19, 400, 20)):
    is_red = beam.x.to_numpy()[0, :, :1] // 0.35 % 2 == 0
    mesh = tsr.Mesh(beam.x, beam.faces, np.where(is_red, (0.95, 0.4, 0.25), (1.0, 0.85, 0.6)))
    camera = tsr.Camera.look_at((1.6, 0.5, 2.6), (1.0, -0.4, 0.3), needs_grad=False)
    lights = tsr.Lights((0.5,) * 3, [(0.3, 1.0, 0.7)], [(0.5,) * 3])
    method = tsr.SoftAggregation(sigma_pixels=0.5, near=1.0, far=100.0)
    return tsr.Renderer(mesh, camera, image_size, method, tsr.Flat(), lights, frames)


def main(steps=15, output="out/sim_elastic"):
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    beam, loss = Beam(), ti.field(float, shape=(), needs_grad=True)
    renderer, optimizer = make_renderer(beam), tsr.Adam([beam.log_youngs], betas=(0.7, 0.9))
    films, history, clock = [], [START], []
    for youngs in (TRUTH, START):
        beam.log_youngs[None] = np.log(youngs)
        beam.run()
        films.append(renderer.render().to_numpy())
    for step in run:
        clock.append(time.process_time())
        with ti.ad.Tape(loss):
            beam.run()
            tsr.losses.mean_squared_error(renderer.render(), films[0], loss)
        optimizer.learning_rate = 0.3 * 0.85**step
        optimizer.step()
        history.append(float(np.exp(beam.log_youngs[None])))
    clock.append(time.process_time())
    with ti.ad.Tape(loss):
        beam.run()  # without pictures, to see their share of the time
    clock.append(time.process_time())
    films.append(renderer.render().to_numpy())
    result = {"steps": optimizer.num_steps, "seconds": clock[-2] - clock[0]}
    result["renderer_share"] = 1 - (clock[-1] - clock[-2]) / float(np.median(np.diff(clock[:-1])))
    result.update(truth=TRUTH, found=history[-1], relative_error=abs(history[-1] / TRUTH - 1))
    tsr.scripts.save(output / "result.json", result)
    film = tsr.images.over_background(np.concatenate(films, axis=2))  # target, start, found
    tsr.images.save_gif(output / "film.gif", film[:, ::2, ::2], frames_per_second=15)
    axis = Figure((6, 3.5), layout="constrained").subplots()
    axis.plot(history)
    axis.axhline(TRUTH, color="gray", linestyle="--")
    axis.set(xlabel="step", ylabel="Young's modulus in Pa (dashed: truth)")
    tsr.scripts.save(output / "parameters.png", axis.figure)
    print(result)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
