"""Where is the planet, how is it turned, how is it lit? Fifteen numbers from one image.

OpenDR's first job (Loper & Black 2014): three numbers of a rotation, three of a position, nine of
the light, by Gauss-Newton on an image pyramid, then on the image. Or with `soft`, `k_nearest`.
"""

import functools
import json
import pathlib
import sys
import time

import matplotlib.cbook
import matplotlib.pyplot as plt
import numpy as np
import taichi as ti

import taichi_softras as tsr

RASTERIZERS = {
    "filtered": tsr.FilteredDerivative(),
    "soft": tsr.SoftAggregation(sigma_pixels=0.5),
    "k_nearest": tsr.KNearest(sigma=1e-5, background=0.0),
}
TRUTH = np.float32([0, 0, 0, 0, 0, -8, 3, 2, 0, 0, 0, 0, 0, 0, 0])  # rotation, position, light


@ti.kernel
def place(pose: ti.template(), rest: ti.template(), vertices: ti.template(), sky: ti.template()):
    for i in rest:  # Rodrigues: a rotation is its axis times its angle
        rotation = ti.Vector([pose[0], pose[1], pose[2]])
        angle = rotation.norm(1e-12)
        axis = rotation / angle
        turned = ti.cos(angle) * rest[i] + ti.sin(angle) * axis.cross(rest[i])
        turned += (1.0 - ti.cos(angle)) * axis.dot(rest[i]) * axis
        vertices[i] = turned + ti.Vector([pose[3], pose[4], pose[5]])
    for k in sky:
        sky[k] = pose[6 + k] * ti.Vector([1.0, 1.0, 1.0])


def make_planet():
    """Land and sea around Vancouver Island, mirrored to close around a globe."""
    height = matplotlib.cbook.get_sample_data("topobathy.npz")["topo"]
    vertices, faces = tsr.primitives.uv_sphere(24, 48)
    row = np.arccos(vertices[:, 1]) / np.pi * 90
    column = np.abs(np.arctan2(vertices[:, 0], vertices[:, 2])) / np.pi * 119
    colors = plt.cm.terrain(height[row.astype(int), column.astype(int)] / 4000 + 0.25)
    return tsr.Mesh(vertices, faces, colors[:, :3])


def main(steps=39, output="out/opendr_pose_and_light", rasterizer="filtered", seed=0):
    mesh, sky = make_planet(), tsr.SphericalHarmonics(np.zeros((9, 3)))
    fov = np.degrees(2 * np.arctan(120 / 320))  # the focal length is the image's width
    camera = tsr.Camera.look_at((0, 0, 0), (0, 0, -1), fov_y_degrees=fov)
    method = RASTERIZERS[rasterizer]
    renderer = tsr.Renderer(mesh, camera, (240, 320), method, tsr.Gouraud(), lights=sky)
    pose, rest = ti.field(float, 15, needs_dual=True), ti.Vector.field(3, float, mesh.num_vertices)
    rest.copy_from(mesh.vertices)
    move = functools.partial(place, pose, rest, mesh.vertices, sky.coefficients)

    def draw():
        move()
        return renderer.render().to_numpy()[0]

    pose.from_numpy(TRUTH)
    target = draw()
    random = np.random.default_rng(seed)
    offset = np.concatenate([0.2 * random.random(3), random.random(3) * [1, -1, -1], 9 * [0]])
    pose.from_numpy(np.float32((TRUTH + offset) * (np.arange(15) < 7)))  # constant light
    start, began, taken = draw(), time.perf_counter(), 0
    for levels, tolerance in ((6, 1e-3), (1, 1e-4)):
        pyramid = functools.partial(tsr.images.gaussian_pyramid, levels=levels)
        optimizer = tsr.GaussNewton(
            [pose],
            residuals=lambda view=pyramid: view(draw() - target).ravel(),
            jacobian=lambda view=pyramid: view(renderer.jacobian([pose], move)[0]).reshape(-1, 15),
            tolerance=tolerance,
        )
        while taken < steps and not optimizer.is_converged:
            optimizer.step()
            taken += 1
    seconds, error = time.perf_counter() - began, pose.to_numpy() - TRUTH
    result = {"rasterizer": rasterizer, "steps": taken, "seconds": round(seconds, 1)}
    degrees, distance = np.degrees(np.linalg.norm(error[:3])), np.linalg.norm(error[3:6])
    result.update(rotation_error_degrees=float(degrees), translation_error=float(distance))
    result["light_error"] = float(np.abs(error[6:]).max())
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "result.json").write_text(json.dumps(result))
    _, axes = plt.subplots(1, 3, figsize=(7.5, 2.7), layout="constrained")
    for axis, title, image in zip(axes, ("target", "start", "result"), (target, start, draw())):
        color, alpha = image[30:210, 70:250, :3], image[30:210, 70:250, 3:]
        axis.imshow(np.clip(color * alpha / 1.4 + 1 - alpha, 0, 1))
        axis.set(title=title, xticks=[], yticks=[])
    plt.savefig(output / "images.png", dpi=100)
    plt.close()
    print(result)
    return result


if __name__ == "__main__":
    ti.init(arch=ti.cpu, log_level=ti.ERROR)
    main(rasterizer=sys.argv[1] if len(sys.argv) > 1 else "filtered")
