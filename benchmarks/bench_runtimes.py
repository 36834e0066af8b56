"""Taichi and Quadrants side by side: time to start, to step, to launch, and memory.

    pip install '.[quadrants]'
    python benchmarks/bench_runtimes.py --json runtimes.json

Every figure is from processes of their own, of each runtime in turn. "Cold" begins with an empty
cache, "cached" is the next process with what the first one left there. A step is: render, mean
squared error and Laplacian under `ti.ad.Tape`, of the scene of `bench_scene.py`.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import tempfile
import time

from alone import report, run_alone
from bench_scene import Scene, draw_first_image, make_loss, time_step

from taichi_softras import runtime
from taichi_softras.runtime import ti
from taichi_softras.workspace import array

RUNTIMES = ("taichi", "quadrants")
SIDES = (64, 256, 1024)
LAUNCHES = 2000
CACHE = "BENCH_RUNTIMES_CACHE"  # variable of a process: the folder of its cache


@runtime.kernel
def touch(
    first: array(float, 1),
    second: array(float, 1),
    third: array(float, 1),
    fourth: array(float, 1),
    one: float,
    two: int,
    three: int,
    four: int,
):
    """Next to nothing."""
    first[0] = one


def time_second_scene():
    """From nothing to the first gradient, where a scene of the same kind has had its own."""
    loss = make_loss()
    scenes = [Scene(loss, 16)]
    scenes[0].differentiate()
    ti.sync()
    start = time.perf_counter()
    scenes.append(Scene(loss))
    scenes[1].differentiate()
    ti.sync()
    return {"seconds": time.perf_counter() - start}


def time_steps():
    """Milliseconds at each size, and the most memory that was used, in megabytes."""
    loss = make_loss()
    steps = {str(side): time_step(Scene(loss, size=(side, side))) for side in SIDES}
    return {**steps, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}


def time_launch():
    """Microseconds of a kernel of the core, with four arrays and four numbers."""
    arrays = [ti.ndarray(float, 8) for _ in range(4)]
    times = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(LAUNCHES):
            touch(*arrays, 1.0, 2, 3, 4)
        ti.sync()
        times.append(time.perf_counter() - start)
    return {"us": 1e6 * statistics.median(times) / LAUNCHES}


PARTS = {
    "first": draw_first_image,
    "second": time_second_scene,
    "steps": time_steps,
    "launch": time_launch,
}


def run(name, part, arch, cache):
    """What a process reports, and its seconds."""
    settings = {"TAICHI_SOFTRAS_RUNTIME": name, CACHE: cache}
    start = time.perf_counter()
    result = run_alone(__file__, part, "--arch", arch, **settings)
    return {**result, "process_s": time.perf_counter() - start}


def measure(arch, repeats):
    """By runtime: medians of all figures."""
    found = {name: [] for name in RUNTIMES}
    for _ in range(repeats):
        for name in RUNTIMES:
            with tempfile.TemporaryDirectory() as cache:
                first = [run(name, "first", arch, cache)["process_s"] for _ in range(2)]
                second = [run(name, "second", arch, cache)["seconds"] for _ in range(2)]
                steps = run(name, "steps", arch, cache)
                launch = run(name, "launch", arch, cache)
            figures = {
                "first image, cold, s": first[0],
                "first image, cached, s": first[1],
                "second scene, cold, s": second[0],
                "second scene, cached, s": second[1],
                **{f"step at {side}², ms": steps[str(side)] for side in SIDES},
                "launch of a kernel, µs": launch["us"],
                "memory at 1024², MB": steps["mb"],
            }
            found[name].append(figures)
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in found.items()
    }


def main(arch, repeats, path):
    figures = measure(arch, repeats)
    print("| what | Taichi | Quadrants | ratio |\n|---|---|---|---|")
    for what, before in figures["taichi"].items():
        after = figures["quadrants"][what]
        print(f"| {what} | {before:.3g} | {after:.3g} | {after / before:.2f} |")
    if path:
        path.write_text(json.dumps({"arch": arch, **figures}, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, help="write the results here")
    parser.add_argument("--arch", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alone", choices=sorted(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        ti.init(
            arch=getattr(ti, options.arch),
            offline_cache_file_path=os.environ[CACHE],
            log_level=ti.ERROR,
        )
        report(PARTS[options.alone]())
    else:
        main(options.arch, options.repeats, options.json)
