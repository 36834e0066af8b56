"""A ball becomes a planet: a texture from one picture that is shown from all around.

Example 3 of the Neural 3D Mesh Renderer (Kato et al. 2018): texture cubes of 4 x 4 x 4, ambient
light, and at every step another azimuth, with the same picture as the target of them all.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

RASTERIZERS = {
    "ApproximateGradient": tsr.ApproximateGradient(anti_aliasing=True, background=1.0),
    "FilteredDerivative": tsr.FilteredDerivative(background=1.0),
}


def draw_planet(alpha):
    """(H, W, 4) bands of clouds."""
    y, x = np.indices(alpha.shape) / alpha.shape[0]
    band = 40 * y + 0.5 * np.sin(25 * x)
    rgb = np.array([0.8, 0.62, 0.45]) + 0.18 * np.sin(band[..., None] * [1, 1, 0.5] + [0, 0.5, 1])
    return np.dstack([1 + alpha[..., None] * (rgb - 1), alpha])


@ti.kernel
def squash(logits: ti.template(), colors: ti.template()):
    for index in ti.grouped(logits):
        colors[index] = 0.5 * ti.tanh(logits[index]) + 0.5


def main(steps=300, output="out/nmr_texture", rasterizer="ApproximateGradient"):
    """Fits, and writes result.json and result.png to `output`."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    vertices, faces = tsr.primitives.icosphere(3)
    mesh = tsr.Mesh(vertices, faces, texture_cubes=np.full((len(faces), 4, 4, 4, 3), 0.5))
    logits = ti.Vector.field(3, float, mesh.texture_cubes.shape, needs_grad=True)
    camera = tsr.Camera.look_at((0, 0, 2.732), fov_y_degrees=60, needs_grad=False)
    renderer = tsr.Renderer(mesh, camera, (128, 128), RASTERIZERS[rasterizer], tsr.Unlit())
    target = draw_planet(renderer.render().to_numpy()[0, ..., 3]).astype(np.float32)[None]

    optimizer = tsr.Adam([logits], learning_rate=0.1, betas=(0.5, 0.999))
    loss = ti.field(float, shape=(), needs_grad=True)
    generator, losses, began = np.random.default_rng(0), [], time.perf_counter()
    for _ in run:
        camera.eye.from_numpy(tsr.orbit(2.732, 0, generator.uniform(0, 360)).astype("f"))
        with ti.ad.Tape(loss):
            squash(logits, mesh.texture_cubes)
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss, weight=target.size)
        optimizer.step()
        losses.append(loss[None])
    result = {"rasterizer": rasterizer, "steps": len(losses), "error_start": losses[0]}
    result.update(error=float(np.mean(losses[-10:])), seconds=time.perf_counter() - began)
    print(result)
    tsr.scripts.save(output / "result.json", result)
    panels = {"target": target}
    for azimuth in (0, 120, 240):
        camera.eye.from_numpy(tsr.orbit(2.732, 0, azimuth).astype("f"))
        panels[f"azimuth {azimuth}°"] = renderer.render().to_numpy()
    figure, axes = plt.subplots(1, 4, figsize=(8, 2.3), layout="constrained")
    for axis, (title, image) in zip(axes, panels.items()):
        axis.imshow(np.clip(image[0, ..., :3], 0, 1))
        axis.set_title(title)
        axis.axis("off")
    tsr.scripts.save(output / "result.png", figure, dpi=120)
    plt.close(figure)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main(rasterizer=sys.argv[1] if len(sys.argv) > 1 else "ApproximateGradient")
