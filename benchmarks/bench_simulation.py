"""What rendering costs inside a simulation's tape: its share of the time, and its memory.

A torus of 500 faces falls and turns, 32 substeps a frame; every frame is rendered at 128 x 128 and
compared with a target, and one tape carries the gradient back to the first velocity. Memory is
the peak of a fresh process for each number of frames; images and fields of the simulation are
counted apart.

    python benchmarks/bench_simulation.py --frames 1 30
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

IMAGE_SIZE = (128, 128)
SUBSTEPS = 32
TIME_STEP = 1 / 30 / SUBSTEPS  # seconds
REPEATS = 5


@ti.kernel
def start(rest: ti.template(), velocity: ti.template(), x: ti.template(), v: ti.template()):
    for vertex in rest:
        x[0, vertex] = rest[vertex]
        v[0, vertex] = velocity[None]


@ti.kernel
def advance(step: int, x: ti.template(), v: ti.template()):
    for vertex in range(x.shape[1]):
        v[step, vertex] = v[step - 1, vertex] + TIME_STEP * ti.Vector([0.0, -1.0, 0.0])
        x[step, vertex] = x[step - 1, vertex] + TIME_STEP * v[step, vertex]


def measure(num_frames):
    """Medians of one tape with and without rendering, in ms, and the peak memory in MB."""
    ti.init(arch=ti.cpu, log_level=ti.ERROR)
    positions, faces = tsr.primitives.torus(major_segments=25, minor_segments=10)
    num_steps = num_frames * SUBSTEPS
    rest = ti.Vector.field(3, float, len(positions))
    x, v = (
        ti.Vector.field(3, float, (num_steps, len(rest.to_numpy())), needs_grad=True) for _ in "xv"
    )
    velocity = ti.Vector.field(3, float, (), needs_grad=True)
    loss = ti.field(float, (), needs_grad=True)
    rest.from_numpy(positions.astype(np.float32))
    velocity[None] = (0.2, 0.5, 0.0)
    cameras = tsr.Camera.look_at((0, 0, 3), fov_y_degrees=60, needs_grad=False)
    frames = range(0, num_steps, SUBSTEPS)
    papers = tsr.SoftAggregation.liu2019()
    renderer = tsr.Renderer(tsr.Mesh(x, faces), cameras, IMAGE_SIZE, papers, frames=frames)
    target = np.zeros((num_frames, *IMAGE_SIZE, 4), np.float32)

    def tape(renders):
        started = time.perf_counter()
        with ti.ad.Tape(loss):
            start(rest, velocity, x, v)
            for step in range(1, num_steps):
                advance(step, x, v)
            if renders:
                renderer.render()
                tsr.losses.mean_squared_error(renderer.image, target, loss)
        ti.sync()
        return 1e3 * (time.perf_counter() - started)

    medians = {}
    for renders in (True, False):
        tape(renders)  # compiles
        medians[renders] = statistics.median(tape(renders) for _ in range(REPEATS))
    images = 2 * num_frames * IMAGE_SIZE[0] * IMAGE_SIZE[1] * 4 * 4 + target.nbytes  # gradient too
    states = 2 * 2 * x.shape[0] * x.shape[1] * 3 * 4
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "frames": num_frames,
        "tape_ms": round(medians[True], 1),
        "without_rendering_ms": round(medians[False], 1),
        "renderer_share": round(1 - medians[False] / medians[True], 3),
        "peak_mb": round(peak),
        "images_mb": round(images / 2**20, 1),
        "states_mb": round(states / 2**20, 1),
        "passes_of_views": renderer.views_per_pass,
    }


def main(frames):
    results = []
    for num_frames in frames:
        command = [sys.executable, __file__, "--one", str(num_frames)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        results.append(json.loads(run.stdout.splitlines()[-1]))
        print(results[-1])
    beyond = [result["peak_mb"] - result["images_mb"] for result in results]
    print(f"peak memory beyond the images, last over first: {beyond[-1] / beyond[0]:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 30])
    parser.add_argument("--one", type=int, help="measure this number of frames in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
    else:
        main(options.frames)
