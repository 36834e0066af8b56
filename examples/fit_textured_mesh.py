"""A grey ball becomes a coloured solid, as in a tutorial of PyTorch3D's; or by SoftAggregation."""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

RASTERIZERS = {
    "KNearest": tsr.KNearest(faces_per_pixel=50, sigma=1e-4, gamma=1e-4, near=1.0, far=100.0),
    "SoftAggregation": tsr.SoftAggregation(
        sigma=1e-4, gamma=1e-4, near=1.0, far=100.0, background=1.0
    ),
    "ApproximateGradient": tsr.ApproximateGradient(background=1.0),
    "Prefiltered": tsr.Prefiltered(1.0, background=1.0),
}
EYES = tsr.orbit(2.7, np.linspace(0, 360, 20), np.linspace(-180, 180, 20)).astype(np.float32)


def main(steps=250, output="out/fit_textured_mesh", rasterizer="KNearest"):
    """Fits pictures drawn by `rasterizer`; compares sharp ones, of all 20 views."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    ball, faces = tsr.primitives.icosphere(4)
    bumps = np.array([[0.88, 0.36, 0.3], [-0.7, 0.5, 0.5], [0.1, -1, 0.3], [0.2, 0.9, -0.4]])
    radii = 0.65 + np.exp(9 * (ball @ bumps.T - 1)) @ [[0.6], [0.6], [0.4], [0.5]]
    solid = tsr.Mesh(ball * radii, faces, 0.5 + 0.5 * np.sin(4 * ball + [0, 2, 4]))
    mesh = tsr.Mesh(ball, faces, np.full_like(ball, 0.5))
    truth, start, target = draw(solid), draw(mesh), draw(solid, rasterizer)
    cameras = tsr.Camera.look_at(EYES[:2], fov_y_degrees=60, needs_grad=False)
    renderer = tsr.Renderer(mesh, cameras, (128, 128), RASTERIZERS[rasterizer], tsr.Unlit())
    shape = tsr.SGD([mesh.vertices], learning_rate=1.0, momentum=0.9)
    paint = tsr.SGD([mesh.vertex_colors], learning_rate=20.0, momentum=0.9)
    loss = ti.field(float, shape=(), needs_grad=True)
    random, started = np.random.default_rng(0), time.time()
    for _ in run:
        views = random.choice(len(EYES), 2, replace=False)
        cameras.eye.from_numpy(EYES[views])  # moves them; compiles nothing
        with ti.ad.Tape(loss):
            image = renderer.render()  # mean squared error of alpha + that of colours
            tsr.losses.mean_squared_error(image, target[views, ..., 3], loss, weight=2 / 3)
            tsr.losses.mean_squared_error(image, target[views], loss, weight=4 / 3)
            tsr.losses.edge_length(mesh, loss, weight=1.0)
            tsr.losses.normal_consistency(mesh, loss, weight=0.01)
            tsr.losses.laplacian_length(mesh, loss, weight=1.0)
        shape.step()
        paint.step()
    result = {"rasterizer": rasterizer, "steps": shape.num_steps}
    result["seconds"] = round(time.time() - started, 1)
    fit = draw(mesh)
    result["iou"] = float(tsr.losses.silhouette_ious(fit, truth, threshold=0.5).mean().round(4))
    result["rgb_mse"] = round(float(np.mean((fit - truth)[..., :3] ** 2)), 5)
    tsr.scripts.save(output / "result.json", result)
    plot({"target": truth, "start": start, "fit": fit}, output / "fit_textured_mesh.png")
    print(result)
    return result


def draw(mesh, rasterizer="ApproximateGradient"):
    cameras = tsr.Camera.look_at(EYES, fov_y_degrees=60, needs_grad=False)
    drawer = tsr.Renderer(mesh, cameras, (128, 128), RASTERIZERS[rasterizer], tsr.Unlit())
    return drawer.render().to_numpy()


def plot(rows, path):
    figure, axes = plt.subplots(3, 1, figsize=(9, 4.8), layout="constrained")
    for line, (name, images) in zip(axes, rows.items()):
        line.imshow(np.concatenate(images[1::3, ..., :3], axis=1).clip(0, 1))
        line.set(ylabel=name, xticks=[], yticks=[])
    tsr.scripts.save(path, figure, dpi=100)


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main(rasterizer=sys.argv[1] if len(sys.argv) > 1 else "KNearest")
