"""Where was the camera? Its position from one silhouette, after a tutorial of PyTorch3D's.

`python examples/camera_pose.py ApproximateGradient` takes another rasterizer.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

RASTERIZERS = {
    "KNearest": tsr.KNearest(faces_per_pixel=100, sigma=1e-4, gamma=1e-4),
    "SoftAggregation": tsr.SoftAggregation(sigma=1e-4, gamma=1e-4),
    "ApproximateGradient": tsr.ApproximateGradient(),
    "Prefiltered": tsr.Prefiltered(sigma_pixels=2.0),
}


def main(steps=200, output="out/camera_pose", rasterizer="KNearest", good=200.0):
    """Descends until the sum of squared differences is below `good`; writes film and picture."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    truth = tsr.orbit(distance=3, elevation_degrees=50, azimuth_degrees=0)
    camera = tsr.Camera.look_at(truth, fov_y_degrees=60)
    renderer = tsr.Renderer(pot(), camera, (256, 256), RASTERIZERS[rasterizer], tsr.Silhouette())
    target = renderer.render().to_numpy()
    camera.eye.from_numpy(np.array([[3.0, 6.9, 2.5]], np.float32))
    optimizer = tsr.Adam([camera.eye], learning_rate=0.05)
    loss = ti.field(float, shape=(), needs_grad=True)
    history, frames, started = [np.inf], [], time.perf_counter()
    for _ in run:
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss, weight=target.size)
        optimizer.step()
        history.append(loss[None])
        frames.append(1 - target[0] / 4 - renderer.image.to_numpy()[0] * (0.7, 0.4, 0))
        if history[-1] < good:
            break
    result = {"rasterizer": rasterizer, "steps": len(frames)}
    result["seconds"] = round(time.perf_counter() - started, 2)
    result["sum_of_squares"] = round(history[-1], 1)
    result["distance_to_truth"] = float(np.linalg.norm(camera.eye.to_numpy() - truth).round(4))
    tsr.scripts.save(output / "result.json", result)
    tsr.images.save_gif(output / "camera_pose.gif", frames[::2] + 15 * frames[-1:], 12)
    plot(frames, history, output / "camera_pose.png")
    print(result)
    return result


def pot():
    """A body, knob, spout and handle, off the middle: no view is another's mirror image."""
    (ball, ball_faces), (box, box_faces) = tsr.primitives.icosphere(2), tsr.primitives.cube()
    ring, ring_faces = tsr.primitives.torus(0.45, 0.12, 16, 8)
    spout = box * (0.35, 0.09, 0.12) @ [[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]]
    parts = [ball * (0.85, 0.65, 0.75), box * 0.15 + (0, 0.7, 0.15), spout + (0.95, 0.1, 0.2)]
    parts.append(ring[:, [0, 2, 1]] * (1, 1, -1) - (0.95, -0.1, 0))
    faces = [ball_faces, box_faces, box_faces, ring_faces]
    starts = np.cumsum([0] + [len(part) for part in parts])
    return tsr.Mesh(np.concatenate(parts), np.concatenate([f + i for f, i in zip(faces, starts)]))


def plot(frames, history, path):
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
    for cell, step in zip(axes, (0, len(frames) // 2, len(frames) - 1)):
        cell.imshow(frames[step].clip(0, 1))
        cell.set(title=f"step {step} over target", xticks=[], yticks=[])
    axes[3].semilogy(history)
    axes[3].set(title="sum of squared differences", xlabel="step")
    tsr.scripts.save(path, figure, dpi=100)


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main(rasterizer=sys.argv[1] if len(sys.argv) > 1 else "KNearest")
