"""Why blur helps: loss and gradient by the speed of a thrown ball, for softer and sharper edges.

Where the outlines of guess and target do not meet, a sharp picture does not tell where to go.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

TRUTH, SECONDS = 1.0, np.linspace(0.5, 1, 8)[:, None, None]  # m/s, of the frames
METHODS = {f"sigma = {sigma:g}": tsr.SoftAggregation(sigma) for sigma in (0.1, 1e-2, 1e-3)}
METHODS["hard"] = tsr.SoftAggregation(distance="hard")


def main(steps=61, output="out/sim_landscape"):
    output = tsr.scripts.folder(output)
    sphere, faces = tsr.primitives.icosphere(1)
    mesh = tsr.Mesh(np.zeros((len(SECONDS), *sphere.shape)), faces)
    camera = tsr.Camera.look_at((0, 0.5, 6), (0, 0.5, 0), needs_grad=False)
    renderer = tsr.Renderer(mesh, camera, (64, 64), shading=tsr.Silhouette())

    def film(speed):
        flight = SECONDS * (speed, 0, 0) - SECONDS**2 * (0, 3, 0)
        mesh.vertices.from_numpy((sphere * 0.4 + (-2, 2, 0) + flight).astype(np.float32))
        return renderer.render().to_numpy()

    speeds, losses, slopes, started = np.linspace(-1, 5, steps), {}, {}, time.perf_counter()
    for name, renderer.rasterizer in METHODS.items():
        target, losses[name], slopes[name] = film(TRUTH), [], []
        for speed in speeds:
            difference = film(speed) - target
            renderer.backward(2 * difference / difference.size)
            losses[name].append(float(np.mean(difference**2)))
            slopes[name].append(float((mesh.vertices.grad.to_numpy() * SECONDS)[..., 0].sum()))

    result = {"steps": steps, "seconds": round(time.perf_counter() - started, 2)}
    result["largest_gradient"] = {name: max(map(abs, slopes[name])) for name in METHODS}
    tsr.scripts.save(output / "result.json", result)
    figure, cells = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for cell, title, curves in zip(cells, ("loss", "gradient"), (losses, slopes)):
        for name, curve in curves.items():
            cell.plot(speeds, np.array(curve) / (np.abs(curve).max() or 1), label=name)
        cell.axvline(TRUTH, color="black", linestyle="--")
        cell.set(title=f"{title}, over its largest", xlabel="speed [m/s]")
    cells[0].legend()
    tsr.scripts.save(output / "sim_landscape.png", figure, dpi=90)
    plt.close(figure)
    print(result)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
