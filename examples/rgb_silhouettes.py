"""What a loss of colours gets at silhouettes: nothing with the paper's numbers, and with others.

A red ball moves in x, to the target at 0.15. Left: a quarter of it, with its true outline. Then the
loss of RGB alone against x, with the slopes of backward, and alpha of a quad of two triangles.
"""

import json
import pathlib

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIZE, RADIUS, DISTANCE, FOV, TRUTH = 128, 0.6, 3.0, 50.0, 0.15
FOR_RGB = {"near": 1.0, "far": 5.0, "gamma": 0.1, "background_depth": 0.4, "sigma_pixels": 1.0}
METHODS = {
    "the paper's numbers": tsr.SoftAggregation.liu2019(background=1.0),
    "numbers for RGB": tsr.SoftAggregation.liu2019(background=1.0, **FOR_RGB),
}
AROUND = np.array([[-0.01], [0.01]])  # of the difference quotient, world units


class Ball:
    """A ball that moves in x."""

    def __init__(self):
        self.vertices, faces = tsr.primitives.icosphere(3)
        colors = np.broadcast_to([0.9, 0.25, 0.2], self.vertices.shape)
        self.mesh = tsr.Mesh(RADIUS * self.vertices, faces, vertex_colors=colors)
        camera = tsr.Camera.look_at((0, 0, DISTANCE), fov_y_degrees=FOV, needs_grad=False)
        self.renderer = tsr.Renderer(self.mesh, camera, (SIZE, SIZE), shading=tsr.Unlit())

    def draw(self, x):
        """Of (H, W, 4) the colours."""
        self.mesh.vertices.from_numpy(np.float32(RADIUS * self.vertices + [x, 0, 0]))
        return self.renderer.render().to_numpy()[0, ..., :3].astype(float)

    def loss(self, x):
        """Sum of squares, without alpha, and its gradient by x."""
        difference = -self.draw(TRUTH) + self.draw(x)  # in this order
        self.renderer.backward(np.pad(2 * difference, ((0, 0), (0, 0), (0, 1)))[None])
        return (difference**2).sum(), self.mesh.vertices.grad.to_numpy()[:, 0].sum()


def main(steps=25, output="out/rgb_silhouettes"):
    """Draws losses at `steps` places."""
    output, result = pathlib.Path(output), {"steps": steps}
    figure, axes = plt.subplots(1, 4, figsize=(11.5, 3.0), layout="constrained")
    ball, places = Ball(), np.linspace(-0.25, 0.25, steps)
    outline = np.tan(np.arcsin(RADIUS / DISTANCE)) / np.tan(np.radians(FOV / 2)) * SIZE / 2
    for ax, color, (name, ball.renderer.rasterizer) in zip(axes, ("C3", "C0"), METHODS.items()):
        ax.imshow(ball.draw(0.0).clip(0, 1))
        ax.add_patch(plt.Circle((SIZE / 2 - 0.5,) * 2, outline, fill=False, linewidth=0.6))
        ax.set(title=name, xlim=(24, 64), ylim=(64, 24), xticks=[], yticks=[])
        losses, slopes = np.transpose([ball.loss(x) for x in places])
        axes[2].plot(places, losses, color, label=name)
        axes[2].plot(*(line[:, ::3] for line in (places + AROUND, losses + slopes * AROUND)), "k")
        quotient = np.ptp([ball.loss(x)[0] for x in AROUND[:, 0]]) / -np.ptp(AROUND)
        result[name] = {"quotient": float(quotient), "gradient": float(ball.loss(0.0)[1])}
    axes[2].legend(fontsize=7, title="loss of RGB against x; slopes")
    quad = np.array([[-0.8, -0.8, 2], [0.8, -0.8, 2], [0.8, 0.8, 2], [-0.8, 0.8, 2]])
    inputs = {"image_size": (SIZE, SIZE), "rasterizer": METHODS["the paper's numbers"]}
    alpha = tsr.rasterize(quad[[[[0, 1, 2], [0, 2, 3]]]], **inputs)[0][0, ..., 0]
    result["alpha on the diagonal"] = float(alpha[SIZE // 2 - 1, SIZE // 2])
    axes[3].imshow(alpha, "gray", vmin=0, vmax=1)
    axes[3].set(title="alpha of a quad", xlim=(0, 40), ylim=(128, 88), xticks=[], yticks=[])
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "rgb_silhouettes.png", dpi=92)
    plt.close(figure)
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print(result)
    return result


if __name__ == "__main__":
    ti.init(arch=ti.cpu, log_level=ti.ERROR)
    main()
