"""A pose by PyTorch: Adam turns a box until its picture is the photo's, edges sharper step by step.

Needs PyTorch: `pip install 'taichi-softras[torch]'`.
"""

import time

import numpy as np
import torch

import taichi_softras as tsr
from taichi_softras.torch import render

EYE, SIZE = torch.tensor([0.0, 1.0, 4.0]), (96, 96)


def main(steps=200, output="out/torch_pose", degrees=40.0, seed=0):
    """Begins `degrees` away; prints how far the end is, and draws photo, start and end."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    rng, started = np.random.default_rng(seed), time.perf_counter()
    box, faces = tsr.primitives.cube()
    vertices = torch.tensor(box * [1.0, 0.7, 0.4], dtype=torch.float32)
    faces = torch.tensor(faces)
    colors = torch.tensor(rng.uniform(0.1, 1.0, (len(box), 3)), dtype=torch.float32)

    def picture(rotation, sigma_pixels):
        method = tsr.SoftAggregation(sigma_pixels=sigma_pixels, near=1.0, far=8.0)
        settings = {"eye": EYE, "fov_y_degrees": 40.0, "image_size": SIZE, "rasterizer": method}
        shown = vertices @ rotation.T
        return render(shown, faces, vertex_colors=colors, shading=tsr.Unlit(), **settings)["image"]

    truth, axis = turn(torch.tensor(rng.normal(size=3))), torch.tensor(rng.normal(size=3))
    start = turn(axis / axis.norm() * np.deg2rad(degrees)) @ truth
    with torch.no_grad():
        photo, first = picture(truth, 0.1), picture(start, 0.1)
    vector = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([vector], lr=0.03)
    for step in run:
        optimizer.zero_grad()
        image = picture(turn(vector) @ start, 3.0 * (1.0 - step / steps) + 0.1)
        loss = ((image - photo) ** 2).mean()
        loss.backward()
        optimizer.step()
    found = (turn(vector) @ start).detach()
    result = {
        "degrees_at_start": degrees,
        "degrees": angle(found, truth),
        "loss": float(loss.detach()),
        "seconds": round(time.perf_counter() - started, 1),
    }
    with torch.no_grad():
        side_by_side = torch.cat([photo, first, picture(found, 0.1)], dim=2).numpy()
    pixels = tsr.images.over_background(side_by_side)[0].repeat(3, axis=0).repeat(3, axis=1)
    tsr.images.save_image(output / "torch_pose.png", pixels)  # photo, start, found
    tsr.scripts.save(output / "result.json", result)
    print(result)
    return result


def turn(vector):
    """The rotation about a vector by its length, radians."""
    x, y, z = vector.float()
    zero = torch.zeros(())
    rows = [torch.stack(row) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.linalg.matrix_exp(torch.stack(rows))


def angle(a, b):
    """Between two rotations, degrees."""
    return float(torch.rad2deg(torch.acos((((a.T @ b).trace() - 1) / 2).clamp(-1, 1))))


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        main()
