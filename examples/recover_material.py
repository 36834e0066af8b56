"""What are they made of? Base colour, metallic and roughness of three balls, from one picture."""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

GOLD, LACQUER = ((0.95, 0.7, 0.3), 0.95, 0.35), ((0.6, 0.08, 0.1), 0.05, 0.25)
CLAY, START = ((0.7, 0.45, 0.35), 0.1, 0.8), ((0.5, 0.5, 0.5), 0.5, 0.5)
WHITE = tsr.SoftAggregation(background=1.0)


def main(steps=300, output="out/recover_material"):
    """Fits five numbers of each, under known lights; the result has the largest errors."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    materials = [tsr.Material(*numbers) for numbers in (GOLD, LACQUER, CLAY)]
    renderer = make_renderer(materials)
    pictures = {"truth": renderer.render().to_numpy()}
    truth = read(materials)
    for material in materials:
        material.base_color, material.metallic, material.roughness = START
    pictures["start"] = renderer.render().to_numpy()

    fields = [f for one in materials for f in (one.base_color, one.metallic, one.roughness)]
    optimizer = tsr.Adam(fields, learning_rate=0.05, betas=(0.9, 0.99))
    loss = ti.field(float, shape=(), needs_grad=True)
    errors, started = [np.abs(read(materials) - truth)], time.perf_counter()
    for step in run:
        optimizer.learning_rate = 0.05 * min(1, 3 - 3 * step / steps)
        with ti.ad.Tape(loss):
            tsr.losses.mean_squared_error(renderer.render(), pictures["truth"], loss)
        optimizer.step()
        errors.append(np.abs(read(materials) - truth))
    result = {"steps": optimizer.num_steps, "seconds": round(time.perf_counter() - started, 1)}
    pictures["found"] = renderer.render().to_numpy()
    worst = errors[-1].max(axis=0).round(5).tolist()
    result.update(base_color=max(worst[:3]), metallic=worst[3], roughness=worst[4])
    tsr.scripts.save(output / "result.json", result)
    plot(pictures, np.array(errors), output / "recover_material.png")
    print(result)
    return result


def make_renderer(materials):
    """Three balls in one mesh."""
    ball, faces = tsr.primitives.icosphere(3)
    vertices = [ball + (x, 0, 0) for x in (-2.2, 0, 2.2)]
    all_faces = [faces + k * len(ball) for k in range(3)]
    given = {"materials": materials, "face_materials": np.repeat(range(3), len(faces))}
    mesh = tsr.Mesh(np.concatenate(vertices), np.concatenate(all_faces), **given)
    camera = tsr.Camera.look_at((0, 1.5, 8), fov_y_degrees=18, needs_grad=False)
    suns = tsr.DirectionalLights([[1, 2, 1.5], [-2, 0.5, 1]], [[0.8, 0.8, 0.7], [0.2, 0.3, 0.4]])
    lights = [tsr.AmbientLight((0.3, 0.3, 0.3)), suns]
    return tsr.Renderer(mesh, camera, (96, 256), WHITE, tsr.PhysicallyBased(), lights)


def read(materials):
    """(3, 5): base colour, metallic, roughness of each."""
    fields = [(one.base_color, one.metallic, one.roughness) for one in materials]
    return np.array([np.hstack([field.to_numpy() for field in row]) for row in fields])


def plot(pictures, errors, path):
    figure, axes = plt.subplots(1, 4, figsize=(12, 2), layout="constrained")
    for cell, (name, images) in zip(axes, pictures.items()):
        cell.imshow(images[0, ..., :3].clip(0, 1))
        cell.set(title=name, xticks=[], yticks=[])
    axes[3].semilogy(errors.reshape(len(errors), -1))
    axes[3].set(title="errors of 15 numbers", xlabel="step")
    tsr.scripts.save(path, figure, dpi=90)


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
