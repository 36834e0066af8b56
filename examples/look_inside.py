"""Where in the room am I? Place and direction of a camera from one picture that it takes inside.

The room is around the camera: its walls reach behind it, and are cut there.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

ROOM = np.array([2.0, 1.2, 3.0])  # half its sides
EYE, TARGET = np.array([0.9, 0.2, 1.6]), np.array([-0.6, -0.2, -0.5])
START = np.array([-0.2, -0.2, 2.4]), np.array([0.3, 0.1, -0.5])
COLORS = plt.cm.Set2(np.arange(6))[:, :3]


def main(steps=150, output="out/look_inside"):
    """Fits eye and target."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    camera = tsr.Camera.look_at(EYE, TARGET, fov_y_degrees=70)
    renderer = tsr.Renderer(make_room(), camera, (120, 160), tsr.Prefiltered(), tsr.Unlit())
    pictures = {"truth": renderer.render().to_numpy()}
    camera.eye, camera.target = START
    pictures["start"] = renderer.render().to_numpy()

    optimizer = tsr.Adam([camera.eye, camera.target], learning_rate=0.03)
    loss = ti.field(float, shape=(), needs_grad=True)
    path, started = [camera.eye.to_numpy()[0]], time.perf_counter()
    for _ in run:
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, pictures["truth"], loss)
        optimizer.step()
        path.append(camera.eye.to_numpy()[0])
    result = {"steps": optimizer.num_steps, "seconds": round(time.perf_counter() - started, 1)}
    pictures["found"] = renderer.render().to_numpy()
    result["error_of_eye"] = float(np.linalg.norm(path[-1] - EYE).round(4))
    looks = np.array([camera.target.to_numpy()[0] - path[-1], TARGET - EYE])
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    degrees = np.degrees(2 * np.arcsin(np.linalg.norm(looks[0] - looks[1]) / 2))
    result["error_of_direction_degrees"] = float(degrees.round(4))
    tsr.scripts.save(output / "result.json", result)
    plot(pictures, np.array(path), output / "look_inside.png")
    print(result)
    return result


def make_room():
    """A box of 12 faces, each wall in a colour of its own, bright in its middle."""
    box, faces = tsr.primitives.cube()
    row, column = (np.indices((32, 32)) + 0.5) / 32
    paper = tsr.Texture(0.5 + 0.5 * np.sin(np.pi * row) * np.sin(np.pi * column), wrap="clamp")
    look = {
        "uvs": [[0, 0], [1, 0], [1, 1], [0, 1]],
        "uv_faces": np.tile([[0, 1, 2], [0, 2, 3]], (6, 1)),
        "materials": [tsr.Material(color, base_color_texture=paper) for color in COLORS],
        "face_materials": np.arange(12) // 2,
    }
    return tsr.Mesh(box * ROOM, faces, **look)


def plot(pictures, path, file):
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.4), layout="constrained")
    for cell, (name, images) in zip(axes, pictures.items()):
        cell.imshow(images[0, ..., :3].clip(0, 1))
        cell.set(title=name, xticks=[], yticks=[])
    axes[3].plot(path[:, 0], path[:, 2], "-", *EYE[[0, 2]], "kx")
    axes[3].set(title="from above", xlim=(-2, 2), ylim=(3, -3), aspect="equal")
    tsr.scripts.save(file, figure, dpi=90)


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
