"""A mesh from photographs: masks and cameras of a transforms.json in, mesh.obj out.

Without arguments it writes the photographs itself: an aeroplane by a lens that bends its pictures,
in a transforms.json as instant-ngp reads it. With --capture: your own, or a folder of COLMAP.
"""

import argparse
import time

import numpy as np

import taichi_softras as tsr
from taichi_softras.io.lenses import distort
from taichi_softras.runtime import ti

SIZE, VIEWS = (96, 128), 12
K = np.array([[150.0, 0, 66], [0, 150, 47], [0, 0, 1]])  # pixels from the top left border
BENT = {"k1": -0.4, "k2": 0.15, "p1": 0.02, "p2": -0.01}


def write_capture(folder):
    """Photographs with alpha and the file that knows their cameras; its path."""
    eyes = tsr.orbit(1.3, [20, -25, 50] * (VIEWS // 3), np.arange(VIEWS) * 360.0 / VIEWS)
    cameras = tsr.Camera.look_at(eyes, projection=tsr.Intrinsics(K, SIZE), needs_grad=False)
    plane = tsr.Mesh(*tsr.primitives.aeroplane())
    images = tsr.Renderer(plane, cameras, SIZE, shading=tsr.Flat()).render().to_numpy()
    rows, columns = np.indices(SIZE) + 0.5
    seen = np.stack([columns, rows, np.ones(SIZE)], -1) @ np.linalg.inv(K).T
    straight = seen[..., :2]
    for _ in range(20):  # what the lens puts at each pixel
        straight = straight + seen[..., :2] - distort(straight, [*BENT.values(), 0])
    columns, rows = np.moveaxis(straight @ K[:2, :2] + K[:2, 2], -1, 0).astype(int)
    paths = [f"{view:02}.png" for view in range(VIEWS)]
    for path, image in zip(paths, images):
        taken = image[rows.clip(0, SIZE[0] - 1), columns.clip(0, SIZE[1] - 1)]
        tsr.images.save_image(folder / path, taken)
    transforms = tsr.camera_conventions.to_nerf(cameras, paths=paths)
    tsr.scripts.save(folder / "transforms.json", {**transforms, **BENT})
    return folder / "transforms.json"


def main(capture=None, mask="alpha", scale=0.5, steps=200, output="out/fit_from_cameras"):
    """Fits a ball at the origin, and writes mesh.obj, views.png and result.json to `output`."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    capture = capture or write_capture(tsr.scripts.folder(output / "capture"))
    cameras, paths = tsr.io.load_cameras(capture, scale=scale, needs_grad=False)
    _, masks = tsr.io.load_pictures(paths, cameras, mask=mask)
    mesh = tsr.Mesh(0.3 * tsr.primitives.icosphere(3)[0], tsr.primitives.icosphere(3)[1])
    print(cameras.describe(mesh=mesh))
    renderer = tsr.Renderer(mesh, cameras, cameras.image_size, shading=tsr.Silhouette())
    optimizer = tsr.Adam([mesh.vertices], learning_rate=0.01, betas=(0.8, 0.99))
    loss, started = ti.field(float, shape=(), needs_grad=True), time.perf_counter()
    for step in run:
        optimizer.learning_rate = 0.01 * 0.2 ** (step / steps)
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.silhouette_iou(renderer.image, masks, loss)
            tsr.losses.laplacian(mesh, loss, weight=2e-3 * 0.1 ** (step / steps))
            tsr.losses.flatten(mesh, loss, weight=3e-5)
        optimizer.step()
    drawn = renderer.render().to_numpy()[..., 0]
    ious = tsr.losses.silhouette_ious(drawn, masks, threshold=0.5)
    result = {"iou_mean": float(ious.mean()), "seconds": time.perf_counter() - started}
    tsr.scripts.save(output / "result.json", {"steps": optimizer.num_steps, **result})
    pairs = np.concatenate([masks[:6], drawn[:6], np.abs(masks - drawn)[:6]], axis=1)
    tsr.images.save_image(output / "views.png", np.concatenate(list(pairs), axis=1))
    mesh.save(output / "mesh.obj")
    print(f"{result}\nwrote {output}/")
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capture", metavar="PATH", help="transforms.json, or a folder of COLMAP")
    parser.add_argument("--mask", default="alpha", help='"alpha", or a folder of masks')
    parser.add_argument("--scale", type=float, default=0.5, help="of the pictures' sides")
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)  # or ti.gpu
        main(**vars(parser.parse_args()))
