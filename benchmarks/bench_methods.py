"""Times all rasterizers on the cases of bench_rasterizer.py, in one run; prints a table.

    python benchmarks/bench_methods.py --json methods.json

Milliseconds of processor time on one thread, for one drawing (set-up, bins, image) and the
gradients of corners and colours: medians of five rounds after a warm-up, the methods in turn. Then
the same of a renderer, of a ball of 1.3 million faces that moves, without and with outlines.
"""

import argparse
import json
import pathlib
import time
import warnings

import numpy as np
from bench_rasterizer import ROOT, Ours, load_scene

import taichi_softras as tsr
from taichi_softras.runtime import ti

ROUNDS = 5
CASES = [("spot", 256, 1e-5), ("spot", 256, 1e-4), ("spot", 512, 1e-4), ("deform", 64, 1e-4)]


def methods(sigma):
    """What is compared, by name."""
    depths = {"near": 1.0, "far": 100.0}
    return {
        "SoftAggregation": tsr.SoftAggregation(sigma=sigma, **depths),
        **{f"KNearest, K = {k}": tsr.KNearest(k, sigma=sigma, **depths) for k in (1, 5, 50, 100)},
        "ApproximateGradient": tsr.ApproximateGradient(**depths),
        "FilteredDerivative": tsr.FilteredDerivative(**depths),
        "Prefiltered": tsr.Prefiltered(**depths),
        "Antialiased": tsr.Antialiased(**depths),
    }


class Method(Ours):
    """Any rasterizer, on the corners that the renderer would give it."""

    def step(self):
        """Seconds of forward and backward."""
        times = [clock()]
        rasterization = self.rasterizer.forward(self.workspace, *self.inputs)
        times.append(clock())
        rasterization.backward()
        times.append(clock())
        return np.diff(times)


def clock():
    ti.sync()
    return time.process_time()


def run_case(name, data, size, sigma, has_colors):
    """Median milliseconds of forward and backward, by method."""
    scene = load_scene(name, data, size, has_colors)
    contestants = {method: Method(scene, value) for method, value in methods(sigma).items()}
    rounds = [
        [value.step() for value in contestants.values()] for _ in range(ROUNDS + 1)
    ]  # (rounds, methods, 2)
    medians = 1e3 * np.median(rounds[1:], axis=0)
    kind = "rgba" if has_colors else "silhouette"
    return {
        "case": f"{name}, {len(scene.faces)} faces, {len(scene.vertices_ndc)} x {size}^2 {kind}",
        "sigma": sigma,
        "milliseconds": dict(zip(contestants, medians.round(1).tolist())),
    }


def run_ball():
    """Median milliseconds of image and gradient of a ball that grows, 1024 x 1024 pixels."""
    vertices, faces = tsr.primitives.icosphere(8)
    colors = np.random.default_rng(0).uniform(size=vertices.shape)
    camera = tsr.Camera.look_at((0, 0, 3), fov_y_degrees=45)
    grad = np.ones((1, 1024, 1024, 4), np.float32)
    for method in (tsr.FilteredDerivative(overdraw=False), tsr.Antialiased()):
        mesh, times = tsr.Mesh(vertices, faces, vertex_colors=colors), []
        renderer = tsr.Renderer(mesh, camera, (1024, 1024), method, tsr.Unlit())
        for step in range(ROUNDS + 1):
            mesh.vertices.from_numpy((vertices * (1 + 1e-3 * step)).astype(np.float32))
            start = clock()
            renderer.render()
            renderer.backward(grad)
            times.append(clock() - start)
        print(f"{type(method).__name__}: {len(faces)} faces, {1e3 * np.median(times[1:]):.0f} ms")


def main(data, path):
    names = list(methods(1.0))
    print(f"| case | sigma | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    results = []
    for name, size, sigma in CASES:
        for has_colors in (False, True):
            results.append(run_case(name, data, size, sigma, has_colors))
            cells = [f"{a:.0f} + {b:.0f}" for a, b in results[-1]["milliseconds"].values()]
            print(f"| {results[-1]['case']} | {sigma} | {' | '.join(cells)} |", flush=True)
            if path:
                path.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, help="write the results here")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "faces_per_pixel")
    ti.init(arch=ti.cpu, cpu_max_num_threads=1, log_level=ti.ERROR)
    main(options.data, options.json)
    run_ball()
