"""Where was the photographer? Find a camera from one silhouette.

Example 4 of the Neural 3D Mesh Renderer (Kato et al. 2018): the eye starts at (6, 10, -14), far
away, and moves until the picture is that from distance 2.732, elevation 30, azimuth -15 degrees.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIZE = (256, 256)
STOP = 70.0  # squared differences, summed over the picture
RASTERIZERS = {
    "ApproximateGradient": tsr.ApproximateGradient(anti_aliasing=True),
    "FilteredDerivative": tsr.FilteredDerivative(),
    "SoftAggregation": tsr.SoftAggregation(sigma_pixels=1.0),
    "KNearest": tsr.KNearest(150, sigma=(2 / 256) ** 2),
}


def main(steps=1000, output="out/nmr_camera", rasterizer="ApproximateGradient"):
    """Fits, and writes result.json and result.png to `output`."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    vertices, faces = tsr.primitives.aeroplane()
    mesh = tsr.Mesh(2 * vertices, faces)
    true_eye = tsr.orbit(2.732, 30, 195)  # their azimuth -15: it begins at -z
    camera = tsr.Camera.look_at(true_eye, fov_y_degrees=60)
    renderer = tsr.Renderer(mesh, camera, SIZE, RASTERIZERS[rasterizer], tsr.Silhouette())
    target = renderer.render().to_numpy()
    camera.eye[0] = (6, 10, -14)
    start = renderer.render().to_numpy()

    optimizer = tsr.Adam([camera.eye], learning_rate=0.1)
    loss = ti.field(float, shape=(), needs_grad=True)
    losses, began = [], time.perf_counter()
    for _ in run:
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss, weight=target.size)
        losses.append(loss[None])
        if losses[-1] < STOP:
            break
        optimizer.step()
    seconds = round(time.perf_counter() - began, 1)
    result = {"rasterizer": rasterizer, "steps": len(losses), "seconds": seconds}
    result["error"] = losses[-1]
    result["eye_error"] = float(np.linalg.norm(camera.eye.to_numpy() - true_eye))
    print(result)
    tsr.scripts.save(output / "result.json", result)
    images = {"target": target, "start": start, "result": renderer.image.to_numpy()}
    figure, axes = plt.subplots(1, 4, figsize=(8, 2.3), layout="constrained")
    for axis, (title, image) in zip(axes, images.items()):
        axis.imshow(1 - image[0, ..., 0], cmap="gray", vmin=-0.2, vmax=1)
        axis.set_title(title)
    axes[3].imshow(images["result"][0, ..., 0] - target[0, ..., 0], cmap="RdBu", vmin=-1, vmax=1)
    axes[3].set_title("result - target")
    for axis in axes:
        axis.axis("off")
    tsr.scripts.save(output / "result.png", figure, dpi=120)
    plt.close(figure)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main(rasterizer=sys.argv[1] if len(sys.argv) > 1 else "ApproximateGradient")
