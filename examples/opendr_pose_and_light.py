"""OpenDR's first job: a planet's pose and light by Gauss-Newton; or with `soft`, `k_nearest`."""

import functools
import sys
import time

import matplotlib.cbook
import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SOFT, NEAREST = tsr.SoftAggregation(sigma_pixels=0.5), tsr.KNearest(sigma=1e-5, background=0.0)
RASTERIZERS = {"filtered": tsr.FilteredDerivative(), "soft": SOFT, "k_nearest": NEAREST}
TRUTH = np.float32([0, 0, 0, 0, 0, -8, 3, 2, 0, 0, 0, 0, 0, 0, 0])  # rotation, position, light


@ti.kernel
def place(pose: ti.template(), rest: ti.template(), vertices: ti.template(), sky: ti.template()):
    for i in rest:
        turned = tsr.rotate(rest[i], ti.Vector([pose[0], pose[1], pose[2]]))
        vertices[i] = turned + ti.Vector([pose[3], pose[4], pose[5]])
    for k in sky:
        sky[k] = pose[6 + k] * ti.Vector([1.0, 1.0, 1.0])


def make_planet():  # land and sea around Vancouver Island, mirrored to close around a globe
    height = matplotlib.cbook.get_sample_data("topobathy.npz")["topo"]
    vertices, faces = tsr.primitives.uv_sphere(24, 48)
    row = np.arccos(vertices[:, 1]) / np.pi * 90
    column = np.abs(np.arctan2(vertices[:, 0], vertices[:, 2])) / np.pi * 119
    colors = plt.cm.terrain(height[row.astype(int), column.astype(int)] / 4000 + 0.25)
    return tsr.Mesh(vertices, faces, colors[:, :3])


def main(steps=39, output="out/opendr_pose_and_light", rasterizer="filtered", seed=0):
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    mesh, sky = make_planet(), tsr.SphericalHarmonics(np.zeros((9, 3)))
    camera = tsr.Camera.look_at((0, 0, 0), (0, 0, -1), fov_y_degrees=41.1121)  # f = 320 pixels
    renderer = tsr.Renderer(mesh, camera, (240, 320), RASTERIZERS[rasterizer], tsr.Gouraud(), sky)
    pose, rest = ti.field(float, 15, needs_dual=True), ti.Vector.field(3, float, mesh.num_vertices)
    rest.copy_from(mesh.vertices)
    move = functools.partial(place, pose, rest, mesh.vertices, sky.coefficients)

    def draw():
        move()
        return renderer.render().to_numpy()[0]

    pose.from_numpy(TRUTH)
    target = draw()
    offset = np.random.default_rng(seed).random(15) * (3 * [0.2] + [1, -1, -1] + 9 * [0])
    pose.from_numpy(np.float32((TRUTH + offset) * (np.arange(15) < 7)))  # constant light
    start, began, costs = draw(), time.perf_counter(), []
    for levels, tolerance in ((6, 1e-3), (1, 1e-4)):
        pyramid = functools.partial(tsr.images.gaussian_pyramid, levels=levels)
        optimizer = tsr.GaussNewton(
            [pose],
            residuals=lambda view=pyramid: view(draw() - target).ravel(),
            jacobian=lambda view=pyramid: view(renderer.jacobian([pose], move)[0]).reshape(-1, 15),
            tolerance=tolerance,
        )
        while not optimizer.is_converged and next(run, None) is not None:  # both levels share it
            costs.append(optimizer.step())
    seconds, error = time.perf_counter() - began, pose.to_numpy() - TRUTH
    result = {"rasterizer": rasterizer, "steps": len(costs), "cost": costs[-1], "seconds": seconds}
    result["rotation_error_degrees"] = float(np.degrees(np.linalg.norm(error[:3])))
    result["translation_error"] = float(np.linalg.norm(error[3:6]))
    result["light_error"] = float(np.abs(error[6:]).max())
    tsr.scripts.save(output / "result.json", result)
    picture = np.hstack([i[40:200, 80:240] for i in (target, start, draw())]) * [0.7, 0.7, 0.7, 1]
    tsr.images.save_image(output / "images.png", tsr.images.over_background(picture))
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        print(main(rasterizer=sys.argv[1] if len(sys.argv) > 1 else "filtered"))
