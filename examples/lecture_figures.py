"""The lecture's pictures of the Soft Rasterizer: what sigma and gamma do.

Top: the probability map D = sigmoid(+-d^2 / sigma) of one triangle. Bottom: a lit scene with
the paper's numbers, with a larger gamma (transparent) and with a larger sigma, too (blurred).
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIGMAS = (0.003, 0.01, 0.03)
LOOKS = {
    "the paper's $\\gamma = \\sigma = 10^{-4}$": {},
    "$\\gamma = 0.1$: transparent": {"gamma": 0.1},
    "$\\gamma = 0.1$, $\\sigma = 0.002$: blurred": {"gamma": 0.1, "sigma": 0.002},
}
TRIANGLE = np.array([[-0.62, -0.5, 1.0], [0.66, -0.32, 1.0], [-0.1, 0.62, 1.0]])  # NDC, depth
PARTS = (  # primitive, radius, centre, colour
    (tsr.primitives.torus(1.0, 0.35, 64, 32), 0.8, (0.0, 0.0, 0.0), (0.15, 0.4, 0.65)),
    (tsr.primitives.icosphere(4), 0.4, (0.0, 0.1, 0.0), (0.95, 0.6, 0.2)),
    (tsr.primitives.icosphere(4), 0.3, (0.65, 0.1, -0.95), (0.7, 0.2, 0.25)),
)


def coverage(triangle, sigma, size=256):
    """(size, size) probability map of one triangle: its silhouette."""
    method = tsr.SoftAggregation(sigma=sigma)
    return tsr.rasterize(triangle[None, None], image_size=(size, size), rasterizer=method)[0][0]


def scene():
    """One mesh of all parts with their colours."""
    vertices, faces, colors = [], [], []
    for (points, triangles), radius, centre, color in PARTS:
        faces.append(triangles + sum(map(len, vertices)))
        vertices.append(points * radius + centre)
        colors.append(np.broadcast_to(color, points.shape))
    return tsr.Mesh(*map(np.concatenate, (vertices, faces, colors)))


def main(steps=3, output="out/lecture_figures"):
    """Draws the first `steps` of SIGMAS and all looks."""
    output, started, result = tsr.scripts.folder(output), time.perf_counter(), {"steps": steps}
    figure, axes = plt.subplots(2, 3, figsize=(8.4, 5.75), layout="constrained")
    for ax, sigma in zip(axes[0], SIGMAS[:steps]):
        drawn = coverage(TRIANGLE, sigma)
        result[f"sigma {sigma}: soft share"] = float(((drawn > 0.1) & (drawn < 0.9)).mean())
        colors = ax.imshow(drawn, "viridis", vmin=0, vmax=1, extent=(-1, 1, -1, 1))
        ax.fill(*TRIANGLE.T[:2], fill=False, color="white", linewidth=1.5)
        ax.set_title(f"D at $\\sigma = {sigma}$")
    figure.colorbar(colors, ax=axes[0], shrink=0.85, aspect=12, pad=0.01)
    camera = tsr.Camera.look_at(eye=tsr.orbit(3.0, 35, 20), fov_y_degrees=49)
    sun = tsr.Lights((0.45, 0.45, 0.5), [(-0.4, 1.0, 0.7)], [(0.6, 0.58, 0.55)])
    renderer = tsr.Renderer(scene(), camera, (256, 256), shading=tsr.Gouraud(), lights=sun)
    for ax, (title, look) in zip(axes[1], LOOKS.items()):
        renderer.rasterizer = tsr.SoftAggregation.liu2019(near=1.5, far=4.5, background=1.0, **look)
        ax.imshow(renderer.render().to_numpy()[0, ..., :3].clip(0, 1))
        ax.set_title(title)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    tsr.scripts.save(output / "lecture_figures.png", figure, dpi=92)
    plt.close(figure)
    result["seconds"] = round(time.perf_counter() - started, 1)
    tsr.scripts.save(output / "result.json", result)
    print(result)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
