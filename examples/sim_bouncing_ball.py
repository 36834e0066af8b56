"""How fast was the ball thrown, how strong is gravity? Found from a film of silhouettes alone.

Blurred outlines reach from the guess to the target; then they are sharpened. A step in which
the ball meets the ground is cut at the time of impact, which makes its gradient right.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

TRUTH, START = {"speed": 1.0, "gravity": -9.0}, {"speed": 3.0, "gravity": -10.0}  # m/s, m/s^2
STAGES = [(tsr.SoftAggregation(10.0**-n), rate) for n, rate in ((2, 0.1), (3, 0.05), (4, 0.02))]
FRAME_SECONDS, RADIUS, RESTITUTION = 1 / 30, 0.5, 0.8


@ti.data_oriented
class BouncingBall:
    """Speed and gravity in; the ball in every frame out."""

    def __init__(self, frames=100):
        self.parameters = ti.Vector.field(2, float, (), needs_grad=True)
        self.state = ti.Vector.field(4, float, frames, needs_grad=True)  # right, above, velocity
        self.sphere = tsr.Mesh(*tsr.primitives.icosphere(1))
        vertices = ti.Vector.field(3, float, (frames, self.sphere.num_vertices), needs_grad=True)
        self.mesh = tsr.Mesh(vertices, self.sphere.faces_array)

    def run(self):
        self.throw()
        for frame in range(1, self.mesh.num_frames):
            self.fly(frame)
        self.place()

    def film(self, values, renderer):
        self.parameters[None] = [values[name] for name in TRUTH]
        self.run()
        return renderer.render().to_numpy()[..., 0]

    @ti.kernel
    def throw(self):
        speed = self.parameters[None][0]
        self.state[0] = ti.Vector([-3.0, 2.0, 0.866 * speed, 0.5 * speed])

    @ti.kernel
    def fly(self, frame: int):
        """From the frame before along a parabola, or along two that meet on the ground."""
        seconds, g = FRAME_SECONDS, self.parameters[None][1]
        x, height, right, up = self.state[frame - 1]
        if height + (up + 0.5 * g * seconds) * seconds < 0.0:
            down = -ti.sqrt(ti.max(up * up - 2.0 * g * height, 1e-12))  # velocity of the impact
            seconds = seconds - (down - up) / g  # what is left after it
            height, up = 0.0, -RESTITUTION * down
        height = height + (up + 0.5 * g * seconds) * seconds
        self.state[frame] = ti.Vector([x + right * FRAME_SECONDS, height, right, up + g * seconds])

    @ti.kernel
    def place(self):
        for frame, vertex in self.mesh.vertices:
            centre = ti.Vector([self.state[frame][0], self.state[frame][1] + RADIUS, 0.0])
            self.mesh.vertices[frame, vertex] = centre + RADIUS * self.sphere.vertices[vertex]


def main(steps=60, output="out/sim_bouncing_ball"):
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    ball, loss = BouncingBall(), ti.field(float, (), needs_grad=True)
    camera, frames = tsr.Camera.look_at((1, 1.5, 9), (1, 1.5, 0)), range(0, 100, 5)
    renderer = tsr.Renderer(ball.mesh, camera, (256, 256), None, tsr.Silhouette(), frames=frames)
    targets = [ball.film(TRUTH, renderer) for renderer.rasterizer, _ in STAGES]
    films = [targets[-1], ball.film(START, renderer)]
    optimizer = tsr.Adam([ball.parameters], betas=(0.8, 0.99))
    history, started = [START], time.perf_counter()
    for step in run:
        stage = step * len(STAGES) // steps
        renderer.rasterizer, optimizer.learning_rate = STAGES[stage]
        with ti.ad.Tape(loss):
            ball.run()
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, targets[stage], loss)
        optimizer.step()
        history.append(dict(zip(TRUTH, ball.parameters[None].to_list())))
    seconds = time.perf_counter() - started
    with ti.ad.Tape(loss):
        ball.run()
    share = 1 - optimizer.num_steps * (time.perf_counter() - started - seconds) / seconds
    films.append(ball.film(history[-1], renderer))
    result = {"steps": optimizer.num_steps, "seconds": round(seconds, 2)}
    result.update(renderer_share=round(share, 2), found=history[-1], truth=TRUTH)
    result["relative_error"] = {name: abs(history[-1][name] / TRUTH[name] - 1) for name in TRUTH}
    tsr.scripts.save(output / "result.json", result)
    draw(films, history, output / "sim_bouncing_ball")
    print(result)
    return result


def draw(films, history, path):
    films = 1 - np.concatenate(films, axis=2)[:, 60:180, :, None] * (0.1, 0.5, 0.9)
    films[:, 105:] = films[:, :, 256::256] = 0.8  # the ground, and lines between the films
    tsr.images.save_gif(path.with_suffix(".gif"), films, frames_per_second=6)
    figure, axes = plt.subplot_mosaic([["films"] * 2, [*TRUTH]], figsize=(8, 4), layout="tight")
    axes["films"].imshow(films[::2].min(axis=0))
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
