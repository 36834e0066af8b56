"""Times what textures and light per pixel cost the soft rasterizer, beside vertex colours.

    python benchmarks/bench_shading.py [mesh file]

Protocol: one process with one thread, the shadings in turn within each of ten rounds, medians of
forward + backward with gradients of everything, without the fields; and the first launch of both
kernels, each shading in a process of its own, with no cache. Without a file with UVs, a globe.
"""

import argparse
import time

import numpy as np
from alone import report, run_alone
from bench_rasterizer import Ours, Scene

import taichi_softras as tsr
from taichi_softras.rasterizers import soft_aggregation
from taichi_softras.runtime import ti

ROUNDS = 10
SHADINGS = ("vertex colours", "texture, constant", "texture", "Phong, 2 lights")
CASES = {"512^2": ((512, 512), 1), "64^2, 120 views": ((64, 64), 120)}


def load_scene(path, shading, image_size, num_views):
    if path is None:
        vertices, faces = tsr.primitives.icosphere(4)
        uvs, uv_faces = tsr.primitives.globe_uvs(vertices, faces)
    else:
        mesh = tsr.Mesh.load(path)
        vertices, faces = mesh.vertices.to_numpy(), mesh.faces_array
        uvs, uv_faces = mesh.uvs.to_numpy(), mesh.uv_faces_array
    rng = np.random.default_rng(0)
    colors, lights = {"vertex_colors": rng.random((len(vertices), 3))}, None
    if shading.startswith("texture"):
        texture = tsr.Texture(rng.random((1024, 1024, 3)), needs_grad="constant" not in shading)
        material = tsr.Material(base_color_texture=texture)
        colors = {"uvs": uvs, "uv_faces": uv_faces, "materials": material}
    elif shading.startswith("Phong"):
        points = tsr.PointLights([(2, 2, -3), (-2, 1, -2)], [(0.6, 0.5, 0.4)] * 2)
        lights = [tsr.AmbientLight((0.2, 0.2, 0.2)), points]
    mesh = tsr.Mesh(vertices, faces, **colors)
    azimuth = np.linspace(0.0, 360.0, num_views, endpoint=False) + 150.0
    camera = tsr.camera_conventions.softras(2.732, 30.0, azimuth, 30.0)
    shade = tsr.Phong() if lights else tsr.Unlit()
    renderer = tsr.Renderer(mesh, camera, image_size, tsr.SoftAggregation(), shade, lights)
    renderer.render()
    return Scene(renderer, None, faces, None, image_size)


def compare(path, image_size, num_views):
    """Milliseconds of forward and backward, of each shading."""
    steps = {}
    for shading in SHADINGS:
        scene = load_scene(path, shading, image_size, num_views)
        rasterizer = tsr.SoftAggregation(near=1.0, far=10.0)
        steps[shading] = Ours(scene, rasterizer).step
        steps[shading]()
    rounds = [{name: step()[1:] for name, step in steps.items()} for _ in range(ROUNDS)]
    return {name: np.median([of[name] for of in rounds], axis=0) * 1e3 for name in steps}


def time_first_launches(path, shading):
    """Seconds until both kernels of a shading have run once."""
    first = {}

    def timed(name):
        launch = getattr(soft_aggregation, name)

        def run(*arguments):
            start = time.perf_counter()
            launch(*arguments)
            ti.sync()
            first.setdefault(name, time.perf_counter() - start)

        setattr(soft_aggregation, name, run)

    timed("draw_tiles")
    timed("pull_back_faces")
    scene = load_scene(path, shading, (64, 64), 1)
    scene.renderer.backward(np.ones(scene.renderer.image.shape + (4,), np.float32))
    return first


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mesh", nargs="?", help="a mesh file with UVs")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    ti.init(arch=ti.cpu, offline_cache=False, cpu_max_num_threads=1, log_level=ti.ERROR)
    if arguments.alone:
        report(time_first_launches(arguments.mesh, arguments.alone))
        return
    for name, case in CASES.items():
        times = compare(arguments.mesh, *case)
        whole = times[SHADINGS[0]].sum()
        for shading, (forward, backward) in times.items():
            ratio = (forward + backward) / whole
            print(f"{name:16} {shading:18} {forward:7.1f} + {backward:7.1f} ms  {ratio:5.2f}")
    for shading in SHADINGS:
        given = [arguments.mesh] if arguments.mesh else []
        first = run_alone(__file__, shading, *given)
        print(f"first launch     {shading:18} {sum(first.values()):5.2f} s", first)


if __name__ == "__main__":
    main()
