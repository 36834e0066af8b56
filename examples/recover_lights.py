"""Which lights are on? Places and colours of three point lights, from six views of a scene."""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

PLACES = np.array([[-0.9, 0.9, 0.8], [0.9, 0.7, 0.7], [0.1, 1.1, -0.9]])
COLORS = np.array([[0.9, 0.3, 0.2], [0.2, 0.5, 0.9], [0.3, 0.8, 0.3]])
EYES = tsr.orbit(4.2, 40, 60 * np.arange(6))
WHITE = tsr.SoftAggregation(background=1.0)


def main(steps=200, output="out/recover_lights"):
    """Fits both, from three white lights above the middle."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    lights = tsr.PointLights(PLACES, COLORS, falloff=(0, 0, 1))
    cameras = tsr.Camera.look_at(EYES, fov_y_degrees=45, needs_grad=False)
    renderer = tsr.Renderer(make_scene(), cameras, (128, 128), WHITE, tsr.Phong(), lights)
    pictures = {"truth": renderer.render().to_numpy()}
    lights.positions = PLACES * 0.3 + [0, 0.7, 0]
    lights.colors = np.full((3, 3), 0.3)
    pictures["start"] = renderer.render().to_numpy()

    move = tsr.Adam([lights.positions], learning_rate=0.02, betas=(0.9, 0.99))
    tint = tsr.Adam([lights.colors], learning_rate=0.02, betas=(0.9, 0.99))
    loss = ti.field(float, shape=(), needs_grad=True)
    paths, started = [lights.positions.to_numpy()], time.perf_counter()
    for _ in run:
        with ti.ad.Tape(loss):
            tsr.losses.mean_squared_error(renderer.render(), pictures["truth"], loss)
        move.step()
        tint.step()
        paths.append(lights.positions.to_numpy())
    result = {"steps": move.num_steps, "seconds": round(time.perf_counter() - started, 1)}
    pictures["found"] = renderer.render().to_numpy()
    errors = np.linalg.norm(lights.positions.to_numpy() - PLACES, axis=1)
    result["largest_error_of_place"] = float(errors.max().round(4))
    result["largest_error_of_color"] = float(
        np.abs(lights.colors.to_numpy() - COLORS).max().round(4)
    )
    tsr.scripts.save(output / "result.json", result)
    plot(pictures, np.array(paths), output / "recover_lights.png")
    print(result)
    return result


def make_scene():
    """White: a floor and a box with edges, a ball and a ring."""
    (box, box_faces), (ball, ball_faces) = tsr.primitives.cube(), tsr.primitives.icosphere(3)
    box, box_faces = box[box_faces.ravel()], np.arange(36).reshape(12, 3)  # no smooth corners
    ring, ring_faces = tsr.primitives.torus(0.4, 0.15)
    parts = [box * (1.6, 0.02, 1.6), ball * 0.4 + (-0.6, 0.4, -0.4), ring + (0.6, 0.17, -0.5)]
    parts.append(box * (0.25, 0.3, 0.25) + (0, 0.3, 0.3))
    faces = [box_faces, ball_faces, ring_faces, box_faces]
    starts = np.cumsum([0] + [len(part) for part in parts])
    return tsr.Mesh(np.concatenate(parts), np.concatenate([f + i for f, i in zip(faces, starts)]))


def plot(pictures, paths, path):
    """One of the six views each, and the ways of the lights, from above."""
    figure, axes = plt.subplots(1, 4, figsize=(10.5, 2.9), layout="constrained")
    for cell, (name, images) in zip(axes, pictures.items()):
        cell.imshow(images[0, ..., :3].clip(0, 1))
        cell.set(title=name, xticks=[], yticks=[])
    for k, color in enumerate(COLORS):
        axes[3].plot(paths[:, k, 0], paths[:, k, 2], color=color)
    axes[3].scatter(PLACES[:, 0], PLACES[:, 2], 80, COLORS, marker="x")
    axes[3].set(title="from above", xlim=(-1.5, 1.5), ylim=(1.5, -1.5), aspect="equal")
    tsr.scripts.save(path, figure, dpi=90)


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
