"""What a scene costs beside its pixels: to start, to make a second one, to step, to drop many.

    python benchmarks/bench_scene.py --json scene.json

Every line is a process of its own, with an empty cache of Taichi's; what is "cached" is a second
process, with what the first one left there. A scene is a mesh, a camera and lights, all with
gradients, `Flat`, 64 x 64. A step is: render, mean squared error and Laplacian under `ti.ad.Tape`,
Adam.
"""

import argparse
import gc
import json
import pathlib
import platform
import resource
import statistics
import tempfile
import time
from collections import Counter

import numpy as np
from alone import report, run_alone
from launches import metered

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIZE = (64, 64)
DROPPED = 30
STEPS = 100  # timed ones; a median is reported
PAGE_BYTES = resource.getpagesize()


class Scene:
    """A mesh, a camera and lights of its own, and a target."""

    def __init__(self, loss, num_segments=24, size=SIZE):
        mesh = tsr.Mesh(*tsr.primitives.torus(major_segments=num_segments, minor_segments=12))
        cameras = tsr.Camera.look_at((0.0, 1.0, 3.0), fov_y_degrees=50)
        lights = tsr.Lights(directions=((0, 1, 0), (1, 0, 1)), colors=((0.4,) * 3, (0.2,) * 3))
        papers = tsr.SoftAggregation.liu2019()
        self.renderer = tsr.Renderer(mesh, cameras, size, papers, lights=lights)
        self.target = np.zeros((1, *size, 4), np.float32)
        self.loss = loss

    def differentiate(self, has_regulariser=False):
        """A gradient at everything in the scene."""
        with ti.ad.Tape(self.loss):
            self.renderer.render()
            tsr.losses.mean_squared_error(self.renderer.image, self.target, self.loss)
            if has_regulariser:
                tsr.losses.laplacian(self.renderer.mesh, self.loss, weight=0.01)


def make_loss():
    return ti.field(float, shape=(), needs_grad=True)


def draw_first_image():
    """The time of the whole process is taken outside."""
    renderer = tsr.Renderer(
        tsr.Mesh(*tsr.primitives.icosphere(3)),
        tsr.Camera.look_at(eye=(0, 1, 3), fov_y_degrees=50),
        image_size=(256, 256),
    )
    return {"mean": float(renderer.render().to_numpy().mean())}


def make_second_scene():
    """From nothing to the first gradient, where a scene of the same kind has had its own."""
    loss = make_loss()
    scenes = [Scene(loss, 16)]
    scenes[0].differentiate()
    ti.sync()
    start = time.perf_counter()
    with metered() as meter:
        scenes.append(Scene(loss))  # beside the first, so nothing of that one is used again
        scenes[1].differentiate()
        ti.sync()
    seconds = time.perf_counter() - start
    variants = dict(Counter(meter.variants).most_common())
    return {"seconds": round(seconds, 2), "variants": sum(variants.values()), "which": variants}


def count_launches_of_a_step():
    """Kernels that one step calls from Python."""
    scene = Scene(make_loss())
    optimizer = tsr.Adam([scene.renderer.mesh.vertices])
    for _ in range(2):  # the first compiles
        with metered() as meter:
            scene.differentiate(has_regulariser=True)
            optimizer.step()
    numbers = {"ours": len(meter.launches), "of_taichi": len(meter.launches_of_runtime)}
    return {**numbers, "which": meter.launches}


def drop_scenes(have_other_shapes):
    """Milliseconds of a step and megabytes, before and after many scenes came and went."""
    loss = make_loss()
    kept = Scene(loss)
    before = {"step_ms": time_step(kept), "mb": resident_megabytes()}
    for i in range(DROPPED):
        settings = {"num_segments": 8 + i, "size": (40 + i, 50 + i)} if have_other_shapes else {}
        Scene(loss, **settings).differentiate()
        gc.collect()
    after = {"step_ms": time_step(kept), "mb": resident_megabytes()}
    return {
        "step_ms_before": before["step_ms"],
        "step_ms_after": after["step_ms"],
        "growth_mb": after["mb"] - before["mb"],
    }


def time_step(scene):
    seconds = []
    for _ in range(STEPS + 2):
        start = time.perf_counter()
        scene.differentiate(has_regulariser=True)
        ti.sync()
        seconds.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(seconds[2:]), 2)


def resident_megabytes():
    """Of this process; the peak where /proc does not tell."""
    status = pathlib.Path("/proc/self/statm")
    if status.exists():
        return round(int(status.read_text().split()[1]) * PAGE_BYTES / 2**20)
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


PARTS = {
    "first": draw_first_image,
    "second": make_second_scene,
    "launches": count_launches_of_a_step,
    "equal": lambda: drop_scenes(have_other_shapes=False),
    "other": lambda: drop_scenes(have_other_shapes=True),
}


def run_in_turn(part, arch, count):
    """Results and seconds of some processes: the first with an empty cache, the next with its."""
    runs = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(count):
            start = time.perf_counter()
            settings = {"TI_OFFLINE_CACHE_FILE_PATH": cache}
            result = run_alone(__file__, part, "--arch", arch, **settings)
            runs.append({**result, "process_s": round(time.perf_counter() - start, 2)})
    return runs


def main(arch, path):
    first, second = (run_in_turn(part, arch, 2) for part in ("first", "second"))
    launches, equal, other = (
        run_in_turn(part, arch, 1)[0] for part in ("launches", "equal", "other")
    )
    results = {
        "device": {"arch": arch, "processor": platform.processor()},
        "taichi": ".".join(map(str, ti.__version__)),
        "first_image": {"cold_s": first[0]["process_s"], "cached_s": first[1]["process_s"]},
        "second_scene": {
            "cold_s": second[0]["seconds"],
            "cached_s": second[1]["seconds"],
            "variants": second[0]["variants"],
            "which": second[0]["which"],
        },
        "launches_of_a_step": launches,
        "dropped_of_equal_shape": equal,
        "dropped_of_other_shapes": other,
    }
    rows = [
        ("first image of a fresh process, cold / cached", "{cold_s} / {cached_s} s", "first_image"),
        (
            "a second scene, to its first gradient, cold / cached",
            "{cold_s} / {cached_s} s, {variants} new kernel variants",
            "second_scene",
        ),
        (
            "kernels launched in a step",
            "{ours}, and {of_taichi} of Taichi's",
            "launches_of_a_step",
        ),
        *(
            (
                f"{DROPPED} scenes of {shapes} made and dropped",
                "step {step_ms_before} to {step_ms_after} ms, memory {growth_mb:+d} MB",
                f"dropped_of_{shapes.replace(' ', '_')}",
            )
            for shapes in ("equal shape", "other shapes")
        ),
    ]
    print("| what | figure |\n|---|---|")
    for what, form, name in rows:
        print(f"| {what} | {form.format(**results[name])} |")
    print("a second scene compiles", results["second_scene"]["which"])
    print("a step launches", ", ".join(launches["which"]))
    if path:
        path.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, help="write the results here")
    parser.add_argument("--arch", default="cpu")
    parser.add_argument("--alone", choices=sorted(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        ti.init(arch=getattr(ti, options.arch), log_level=ti.ERROR)
        report(PARTS[options.alone]())
    else:
        main(options.arch, options.json)
