"""Where do two things lie? Rotations and places of a box and an aeroplane, from one picture.

The picture is sharp, the mean of 8 x 8 samples a pixel; what is held against it is `Prefiltered`.
"""

import functools
import time

import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIZE, SAMPLES = (120, 160), 8
SHARP = tsr.SoftAggregation(distance="hard", color="hard", alpha="hard", background=1.0)
STAGES = ((6.0, 4), (2.0, 1), (0.5, 1))  # the blur of outlines in pixels, levels of the pyramid
ROTATION = np.array([[0.3, 0.8, 0.1], [-0.4, 2.2, 0.5]])  # what is to be found
TRANSLATION = np.array([[-0.35, -0.1, -0.3], [0.3, 0.1, 0.2]])


def make_scene():  # a box and an aeroplane, 1 long, in colours that tell their sides apart
    corners, box = tsr.primitives.cube()
    points, plane = tsr.primitives.aeroplane()
    of_box = np.random.default_rng(1).uniform(size=(8, 3))
    of_plane = np.clip(0.5 + points @ [[1, 0, 0.3], [0, 2, 0.5], [0.3, 0, 0.8]], 0, 1)
    box = tsr.Mesh(corners * (0.5, 0.3, 0.4), box, vertex_colors=of_box)
    return tsr.Scene([box, tsr.Mesh(points, plane, vertex_colors=of_plane)])


def errors(scene):
    """Degrees of the turns, and lengths of the ways, that lead to the truth."""
    halves = [0.5 * vectors for vectors in (scene.rotation.to_numpy().astype(float), ROTATION)]
    angles = [np.linalg.norm(half, axis=1, keepdims=True) for half in halves]
    pair = [np.hstack([np.cos(a), np.sinc(a / np.pi) * half]) for a, half in zip(angles, halves)]
    degrees = np.degrees(2 * np.arccos(np.clip(np.abs((pair[0] * pair[1]).sum(1)), 0, 1)))
    return degrees, np.linalg.norm(scene.translation.to_numpy() - TRANSLATION, axis=1)


def main(steps=60, output="out/two_poses", seed=0, degrees=20.0, distance=0.2):
    """Starts so far off, in any direction; writes picture, start, fit, three times the rest."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    scene, camera = make_scene(), tsr.Camera.look_at((0, 0.6, 2.4), fov_y_degrees=40)
    scene.rotation, scene.translation = ROTATION, TRANSLATION
    samples = SIZE[0] * SAMPLES, SIZE[1] * SAMPLES
    photo = tsr.Renderer(scene, camera, samples, SHARP, tsr.Flat()).render().to_numpy()
    photo = photo.reshape(SIZE[0], SAMPLES, SIZE[1], SAMPLES, 4).mean(axis=(1, 3))

    ways, count, began = np.random.default_rng(seed).normal(size=(2, 2, 3)), 0, time.perf_counter()
    ways /= np.linalg.norm(ways, axis=2, keepdims=True)
    scene.rotation = ROTATION + np.radians(degrees) * ways[0]
    scene.translation = TRANSLATION + distance * ways[1]
    renderer, poses = tsr.Renderer(scene, camera, SIZE, SHARP), [scene.rotation, scene.translation]
    images = [photo, renderer.render().to_numpy()[0]]
    for sigma_pixels, levels in STAGES:
        renderer.rasterizer = tsr.Prefiltered(sigma_pixels=sigma_pixels, background=1.0)
        view = functools.partial(tsr.images.gaussian_pyramid, levels=levels)
        optimizer = tsr.GaussNewton(
            poses,
            lambda view=view: view(renderer.render().to_numpy()[0] - photo).ravel(),
            lambda view=view: view(renderer.jacobian(poses)[0]).reshape(-1, 12),
            trust_radius=0.2,
            tolerance=1e-5,
        )
        while not optimizer.is_converged and next(run, None) is not None:
            optimizer.step()
        count += optimizer.num_steps
    images += [renderer.render().to_numpy()[0]]
    result = {"steps": count, "seconds": time.perf_counter() - began}
    result["degrees_away"], result["distance_away"] = (e.tolist() for e in errors(scene))
    pictures = [image[..., :3] for image in images] + [1 - 3 * np.abs(images[2] - photo)[..., :3]]
    tsr.images.save_image(output / "images.png", np.hstack(pictures))
    tsr.scripts.save(output / "result.json", result)
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        print(main())
