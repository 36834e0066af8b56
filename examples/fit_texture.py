"""A picture around a ball, from 12 views of it: the texels of a UV texture by gradient descent."""

import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

TEXELS = (64, 128)
EYES = tsr.orbit(2.8, np.tile([-45, 0, 45], 4), 30 * np.arange(12))
UNSEEN = tsr.orbit(2.8, [60, 20, -20, -60], [15, 105, 195, 285])


def main(steps=100, output="out/fit_texture"):
    """Fits to 12 views, and looks from four more."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    texture = tsr.Texture(draw_tiles())
    ball, faces = tsr.primitives.icosphere(3)
    uvs, uv_faces = tsr.primitives.globe_uvs(ball, faces)
    paint = tsr.Material(base_color_texture=texture)
    mesh = tsr.Mesh(ball, faces, uvs=uvs, uv_faces=uv_faces, materials=paint)
    renderers = [renderer_of(mesh, eyes) for eyes in (EYES, UNSEEN)]
    truth = [renderer.render().to_numpy() for renderer in renderers]
    texels = {"truth": texture.image.to_numpy()}
    texture.image = np.full((*TEXELS, 3), 0.5)
    result = {"psnr_start": psnr(renderers[0].render().to_numpy(), truth[0])}
    optimizer = tsr.Adam([texture.image], learning_rate=0.05, betas=(0.9, 0.99))
    loss = ti.field(float, shape=(), needs_grad=True)
    started = time.perf_counter()
    for _ in run:
        with ti.ad.Tape(loss):
            tsr.losses.mean_squared_error(renderers[0].render(), truth[0], loss)
        optimizer.step()
    result.update(steps=optimizer.num_steps, seconds=round(time.perf_counter() - started, 1))
    texels["fit"] = texture.image.to_numpy()
    seen, unseen = (renderer.render().to_numpy() for renderer in renderers)
    result["psnr"], result["psnr_unseen"] = psnr(seen, truth[0]), psnr(unseen, truth[1])
    tsr.scripts.save(output / "result.json", result)
    plot(texels, [truth[1], unseen], output / "fit_texture.png")
    print(result)
    return result


def renderer_of(mesh, eyes):
    cameras = tsr.Camera.look_at(eyes, fov_y_degrees=50, needs_grad=False)
    return tsr.Renderer(mesh, cameras, (128, 128), tsr.SoftAggregation(background=1.0), tsr.Unlit())


def draw_tiles():
    """(H, W, 3): tiles of many colours, with white joints."""
    row, column = np.indices(TEXELS)
    colors = np.random.default_rng(1).uniform(0, 0.9, (4, 8, 3))[row // 16, column // 16]
    return np.where(((row % 16 < 2) | (column % 16 < 2))[..., None], 1.0, colors)


def psnr(images, truth):
    """Decibels, of the pixels that show the ball."""
    difference = (images - truth)[..., :3][truth[..., 3] > 0.5]
    return round(float(-10 * np.log10(np.mean(difference**2))), 1)


def plot(texels, unseen, path):
    figure, axes = plt.subplots(2, 2, height_ratios=(2, 1), figsize=(8, 3.5), layout="constrained")
    for cell, (name, picture) in zip(axes[0], texels.items()):
        cell.imshow(picture.clip(0, 1))
        cell.set(title=f"texture: {name}")
    for cell, images in zip(axes[1], unseen):
        cell.imshow(np.hstack(images)[..., :3].clip(0, 1))
        cell.set(title="four other views")
    plt.setp(axes, xticks=[], yticks=[])
    tsr.scripts.save(path, figure, dpi=90)


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
