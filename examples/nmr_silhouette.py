"""A ball becomes a box: deform a mesh until its silhouette is a given picture.

Example 2 of the Neural 3D Mesh Renderer (Kato et al. 2018), with a ball for their teapot: one view,
the sum of squared differences, Adam. Another rasterizer: python nmr_silhouette.py SoftAggregation
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIZE = (256, 256)
RASTERIZERS = {
    "ApproximateGradient": tsr.ApproximateGradient(anti_aliasing=True),
    "FilteredDerivative": tsr.FilteredDerivative(),
    "SoftAggregation": tsr.SoftAggregation(sigma_pixels=0.5),
    "KNearest": tsr.KNearest(50, sigma=(1 / 256) ** 2),
}


def main(steps=300, output="out/nmr_silhouette", rasterizer="ApproximateGradient"):
    """Fits, and writes result.json and result.png to `output`."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    target = np.zeros((1, *SIZE), np.float32)
    target[0, 72:184, 60:196] = 1.0
    vertices, faces = tsr.primitives.icosphere(3)
    mesh = tsr.Mesh(0.8 * vertices, faces)
    eye = tsr.orbit(distance=2.732, elevation_degrees=0, azimuth_degrees=90)
    camera = tsr.Camera.look_at(eye, fov_y_degrees=60, needs_grad=False)
    renderer = tsr.Renderer(mesh, camera, SIZE, RASTERIZERS[rasterizer], tsr.Silhouette())
    # every method is judged by the same sharp picture
    judge = tsr.Renderer(mesh, camera, SIZE, RASTERIZERS["ApproximateGradient"], tsr.Silhouette())
    start = judge.render().to_numpy()[..., 0]

    optimizer = tsr.Adam([mesh.vertices], learning_rate=1e-3)
    loss = ti.field(float, shape=(), needs_grad=True)
    began = time.perf_counter()
    for _ in run:
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss, weight=target.size)
        optimizer.step()
    seconds = round(time.perf_counter() - began, 1)

    final = judge.render().to_numpy()[..., 0]
    result = {"rasterizer": rasterizer, "steps": optimizer.num_steps, "seconds": seconds}
    result["error_start"] = float(((start - target) ** 2).sum())
    result["error"] = float(((final - target) ** 2).sum())
    print(result)
    tsr.scripts.save(output / "result.json", result)
    side = tsr.Camera.look_at(tsr.orbit(2.732, 25, 45), fov_y_degrees=60, needs_grad=False)
    picture = tsr.Renderer(mesh, side, SIZE, tsr.ApproximateGradient(anti_aliasing=True))
    rgb, alpha = np.split(picture.render().to_numpy()[0], [3], axis=-1)
    panels = {"target": target[0], "start": start[0], "result": final[0]}
    figure, axes = plt.subplots(1, 4, figsize=(8, 2.3), layout="constrained")
    for axis, (title, image) in zip(axes, panels.items()):
        axis.imshow(1 - image, cmap="gray", vmin=-0.2, vmax=1)
        axis.set_title(title)
    axes[3].imshow(np.clip(rgb + 1 - alpha, 0, 1))
    axes[3].set_title("from another side")
    for axis in axes:
        axis.axis("off")
    tsr.scripts.save(output / "result.png", figure, dpi=120)
    plt.close(figure)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main(rasterizer=sys.argv[1] if len(sys.argv) > 1 else "ApproximateGradient")
