"""Eight different meshes become eight different shapes at once, a silhouette each.

`Mesh.batch` packs meshes of any sizes into one; view b draws mesh b. So one renderer, one loss and
one optimizer fit them all: spheres of four finenesses and four rings to what is drawn on top.
"""

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIZE, SHARP = (64, 64), tsr.Prefiltered()


def target_shapes():
    """Four bodies without a hole, four with one, all in [-1, 1]^3."""
    cube, plane = tsr.primitives.cube(), tsr.primitives.aeroplane()
    ball, ring = tsr.primitives.icosphere(2), tsr.primitives.torus(0.7, 0.2)
    bodies = [
        (0.5 * cube[0], cube[1]),
        (1.6 * plane[0][:, [0, 2, 1]], plane[1]),
        (ball[0] * (0.4, 0.9, 0.4), ball[1]),
        (ball[0] * (0.9, 0.7, 0.5) * (1 + 0.3 * np.cos(5 * ball[0][:, :1])), ball[1]),
    ]
    upright = ring[0][:, [0, 2, 1]]
    bent = upright + 0.25 * np.sin(4 * upright[:, [1]]) * (1, 0, 0)
    rings = [upright * (1, 0.7, 1), upright * (0.6, 1, 1), bent, upright * (1, 1, 1) - 0.1]
    return bodies + [(vertices, ring[1]) for vertices in rings]


def starts():
    """Spheres of 80 to 5,120 faces, and rings of 144 to 1,296."""
    spheres = [tsr.primitives.icosphere(level) for level in (1, 2, 3, 4)]
    rings = [tsr.primitives.torus(0.7, 0.25, 4 * n, 2 * n) for n in (3, 5, 7, 9)]
    spheres = [(0.6 * vertices, faces) for vertices, faces in spheres]
    return spheres + [(vertices[:, [0, 2, 1]], faces) for vertices, faces in rings]


def main(steps=200, output="out/batch_of_meshes"):
    """Fits, and writes batch_of_meshes.png and result.json."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    camera = tsr.Camera.look_at((0, 0, 4), fov_y_degrees=35, needs_grad=False)
    silhouette = tsr.Silhouette()
    targets = tsr.Mesh.batch(target_shapes())
    target = tsr.Renderer(targets, camera, SIZE, SHARP, silhouette).render().to_numpy()[..., 0]
    mesh = tsr.Mesh.batch(starts())
    renderer = tsr.Renderer(mesh, camera, SIZE, shading=silhouette)
    sharp = tsr.Renderer(mesh, camera, SIZE, SHARP, silhouette)
    rows = [target, sharp.render().to_numpy()[..., 0]]
    optimizer = tsr.Adam([mesh.vertices], learning_rate=0.01)
    loss = ti.field(float, shape=(), needs_grad=True)
    for step in tsr.scripts.progress(run, "fitting"):
        renderer.rasterizer = tsr.SoftAggregation(sigma=3e-4 * 0.03 ** (step / steps))
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.silhouette_iou(renderer.image, target, loss)
            tsr.losses.laplacian(mesh, loss, weight=0.003)
        optimizer.step()
    rows.append(sharp.render().to_numpy()[..., 0])
    before, after = (tsr.losses.silhouette_ious(row, target) for row in rows[1:])
    result = {"steps": optimizer.num_steps, "faces": np.diff(mesh.face_starts).tolist()}
    result |= {"iou_before": float(before.mean()), "iou": float(after.mean())}
    result["iou_of_each"] = after.round(3).tolist()
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    plt.imsave(output / "batch_of_meshes.png", 1 - picture, cmap="gray", vmin=0, vmax=1)
    tsr.scripts.save(output / "result.json", result)
    print(f"mean IoU {result['iou_before']:.3f} before, {result['iou']:.3f} after: {result}")
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main()
