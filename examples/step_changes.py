"""The two steps of rasterization, and what each system makes of them.

One pixel sees a dark face move right until its edge passes (a step in x), and move away until a
light one is before it (in z). Black: brightness. Red: what backward reports. Grey: black's slope.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SOFT = {"sigma": 0.02, "gamma": 0.15, "near": 1.0, "far": 2.6, "background": 1.0}
METHODS = {
    "Z-buffer": tsr.SoftAggregation(distance="hard", color="hard", alpha="hard", background=1.0),
    "OpenDR": tsr.FilteredDerivative(background=1.0),
    "NMR": tsr.ApproximateGradient(background=1.0),
    "Soft Rasterizer": tsr.SoftAggregation(coverage_cutoff=1e-7, **SOFT),
    "PyTorch3D, K = 1": tsr.KNearest(1, blur_radius=0.32, **SOFT),
}
DARK = np.array([[-1.9, 0.1, 2.0], [0.02, -1.4, 2.0], [-0.02, 1.4, 2.0]])  # NDC, depth
LIGHT = np.array([[-2.2, -1.4, 2.0], [2.2, -1.5, 2.0], [0.1, 2.4, 2.0]])
COLORS = np.array([[[[0.2]] * 3, [[0.7]] * 3]])
MOTIONS = {  # faces, axis, how far, where the step is, limits of the gradient
    "x": (np.array([DARK]), 0, 0.8, "x: edge at the pixel", (-5, 1)),
    "z": (np.array([DARK + [0.9, 0, 0], LIGHT]), 2, 0.55, "z: equally deep", (-0.2, 0.8)),
}


def pixel(method, faces, axis, positions):
    """Brightness of the middle pixel, and its gradient by the position of the first face."""
    views = np.tile(faces, (len(positions), 1, 1, 1))
    views[:, 0, :, axis] += positions[:, None]
    image, vjp = tsr.rasterize(views, COLORS[:, : len(faces)], image_size=(9, 9), rasterizer=method)
    weights = np.zeros(image.shape)
    weights[:, 4, 4, 0] = 1
    plus, minus = (vjp(sign * weights)[0][:, 0, :, axis].sum(axis=1) for sign in (1, -1))
    return image[:, 4, 4, 0], np.where(plus != 0, plus, -minus)  # NMR answers to one sign only


def main(steps=120, output="out/step_changes"):
    """Draws the curves at `steps` positions."""
    output, started, result = tsr.scripts.folder(output), time.perf_counter(), {"steps": steps}
    warnings.filterwarnings("ignore", "faces_per_pixel = 1 ")  # is what the last column shows
    figure, axes = plt.subplots(4, 5, figsize=(10, 6.6), sharey="row", layout="constrained")
    for rows, motion in zip((axes[:2], axes[2:]), MOTIONS):
        faces, axis, far, place, limits = MOTIONS[motion]
        positions, step = np.linspace(-far, far, steps), 2e-3
        for (upper, lower), (name, method) in zip(rows.T, METHODS.items()):
            after, before = (pixel(method, faces, axis, positions + h)[0] for h in (step, -step))
            brightness, gradient = pixel(method, faces, axis, positions)
            slope = (after - before) / (2 * step)
            largest = result[f"{name}: largest by {motion}"] = float(abs(gradient).max())
            error = float(abs(gradient - slope).max()) / max(largest, 1.0)
            result[f"{name}: error by {motion}"] = error
            upper.plot(positions, brightness, color="black")
            lower.plot(positions, slope, color="0.75", linewidth=5)
            lower.plot(positions, gradient, color="red")
            upper.set(title=name if axis == 0 else "", ylim=(0, 1.1), xticks=[], yticks=[0, 1])
            lower.set(ylim=limits, xticks=[0], xticklabels=[place], yticks=[0, limits[axis // 2]])
        rows[0, 0].set_ylabel("brightness")
        rows[1, 0].set_ylabel("gradient")
    tsr.scripts.save(output / "step_changes.png", figure, dpi=130)
    plt.close(figure)
    result["seconds"] = round(time.perf_counter() - started, 1)
    tsr.scripts.save(output / "result.json", result)
    print(result)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
