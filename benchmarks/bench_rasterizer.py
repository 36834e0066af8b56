"""Times the soft rasterizer, beside its speed limit in C++ and PyTorch3D, in one run.

    python benchmarks/bench_rasterizer.py --json results.json

Protocol: every case in a process of its own, one warm-up and fifteen timed rounds, the contestants
in turn within each round; medians; the clock stops after `ti.sync()`. Set-up is face set-up and
bins, forward the drawing, backward the gradients of corners and colours. `step` is a whole
optimisation step of `Renderer` under a tape: camera, shading, rasterizer and both ways through the
fields.
Results are written case by case. Without the meshes in --data, icospheres stand in.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import resource
import time
from typing import Optional

import numpy as np
from alone import report, run_alone
from soft_limit import SpeedLimit, load

import taichi_softras as tsr
from taichi_softras.rasterizers.soft_aggregation import SoftRasterization
from taichi_softras.runtime import ti
from taichi_softras.workspace import Workspace

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROUNDS = 15
STAGES = ("set_up", "forward", "backward")
CASES = [
    (name, size, sigma, has_colors)
    for name, size, sigma in (
        ("deform", 64, 1e-4),
        ("spot", 256, 1e-5),
        ("spot", 512, 1e-4),
        ("spot", 1024, 1e-5),
    )
    for has_colors in (False, True)
]


@dataclasses.dataclass
class Scene:
    """A renderer, and what it draws as arrays."""

    renderer: tsr.Renderer
    vertices_ndc: np.ndarray  # (B, V, 3)
    faces: np.ndarray  # (F, 3)
    colors: Optional[np.ndarray]  # (V, 3)
    image_size: tuple


def load_scene(name, data, size, has_colors, rasterizer=None):
    """`deform`: 120 views of a sphere; `spot`: one view of a cow."""
    rng = np.random.default_rng(0)
    if name == "deform":
        path = data / "softras_deform" / "sphere_1352.obj"
        vertices, faces = load_vertices(path, tsr.primitives.icosphere(4))
        vertices = vertices * 0.5
        elevation, azimuth = np.meshgrid(np.arange(-60, 61, 30), np.arange(0, 360, 15))
        cameras = tsr.camera_conventions.softras(
            2.732, elevation.ravel(), azimuth.ravel(), 15.0, needs_grad=False
        )
    else:
        path = data / "spot" / "spot_triangulated.obj"
        vertices, faces = load_vertices(path, tsr.primitives.icosphere(4))
        cameras = tsr.camera_conventions.softras(2.732, 30.0, 0.0, 30.0, needs_grad=False)
    colors = rng.random((len(vertices), 3))
    mesh = tsr.Mesh(vertices, faces, vertex_colors=colors)
    shading = tsr.Unlit() if has_colors else tsr.Silhouette()
    renderer = tsr.Renderer(mesh, cameras, (size, size), rasterizer, shading)
    renderer.render()
    return Scene(
        renderer,
        renderer.vertices_ndc.to_numpy(),
        faces,
        colors if has_colors else None,
        (size, size),
    )


def load_vertices(path, stand_in):
    if not path.exists():
        return stand_in
    mesh = tsr.Mesh.load(path)
    return mesh.vertices.to_numpy(), mesh.faces_array


class Ours:
    """The rasterizer alone, on the corners that the renderer gives it."""

    def __init__(self, scene, rasterizer):
        self.rasterizer, self.image_size = rasterizer, scene.image_size
        self.workspace = Workspace()
        pipeline = scene.renderer._pipeline  # holds what was drawn
        placed = pipeline.place(0, pipeline.num_views)
        self.inputs = (
            placed.corners,
            pipeline.composition.shader,
            pipeline.rasterization.surface,
            self.image_size,
        )
        rasterization = rasterizer.forward(self.workspace, *self.inputs)
        grad_image = np.random.default_rng(0).random(rasterization.image.shape, np.float32)
        grad_image[..., self.image_size[1] :] = 0.0
        rasterization.grad_image.from_numpy(grad_image)

    def step(self):
        """Seconds of set-up, forward, backward."""
        times = [clock()]
        rasterization = SoftRasterization(self.rasterizer, self.workspace, *self.inputs)
        times.append(clock())
        rasterization.draw()
        times.append(clock())
        rasterization.backward()
        times.append(clock())
        return tuple(np.diff(times))


class OurStep:
    """A whole optimisation step of a `Renderer`, but for the optimizer."""

    def __init__(self, scene, rasterizer):
        self.renderer = scene.renderer
        self.renderer.rasterizer = rasterizer
        image = self.renderer.image
        self.target = ti.ndarray(float, (*image.shape, image.n))  # zeros, on the device
        self.loss = ti.field(float, shape=(), needs_grad=True)

    def step(self):
        """Seconds of the step."""
        start = clock()
        with ti.ad.Tape(self.loss):
            self.renderer.render()
            tsr.losses.mean_squared_error(self.renderer.image, self.target, self.loss)
        return (clock() - start,)


class PyTorch3D:
    """MeshRasterizer with sigmoid alpha or softmax colours, K = 50 faces a pixel."""

    def __init__(self, scene, rasterizer):
        import torch
        from pytorch3d.renderer import blending
        from pytorch3d.renderer.mesh import rasterize_meshes
        from pytorch3d.structures import Meshes

        self.torch, self.blending, self.rasterize = torch, blending, rasterize_meshes
        vertices = torch.tensor(scene.vertices_ndc * [-1.0, 1.0, 1.0], dtype=torch.float32)
        self.vertices = vertices.requires_grad_()
        faces = torch.tensor(scene.faces, dtype=torch.int64).expand(len(vertices), -1, -1)
        self.make_meshes = lambda: Meshes(self.vertices, faces)
        self.corner_colors = None
        if scene.colors is not None:
            corner_colors = scene.colors[scene.faces].astype(np.float32)
            self.corner_colors = torch.tensor(corner_colors).repeat(len(vertices), 1, 1)
        self.image_size = scene.image_size
        self.reach = rasterizer.sigma * np.log(1.0 / rasterizer.coverage_cutoff - 1.0)
        self.parameters = blending.BlendParams(rasterizer.sigma, rasterizer.gamma)

    def step(self):
        """Seconds of (nothing apart), forward, backward."""
        start = time.perf_counter()
        pixel_face, depth, weights, distance = self.rasterize(
            self.make_meshes(),
            self.image_size,
            self.reach,
            faces_per_pixel=50,
            clip_barycentric_coords=True,
        )
        fragments = argparse.Namespace(
            pix_to_face=pixel_face, zbuf=depth, bary_coords=weights, dists=distance
        )
        if self.corner_colors is None:
            alpha = self.blending.sigmoid_alpha_blend(
                self.torch.ones(*pixel_face.shape, 3), fragments, self.parameters
            )
            image = alpha[..., 3]
        else:
            colors = (weights[..., None] * self.corner_colors[pixel_face.clamp(min=0)]).sum(-2)
            image = self.blending.softmax_rgb_blend(colors, fragments, self.parameters)
        drawn = time.perf_counter()
        image.sum().backward()
        return 0.0, drawn - start, time.perf_counter() - drawn


def clock():
    ti.sync()
    return time.perf_counter()


def run_case(number, data, limit_source):
    """Milliseconds of each contestant, and the ratios to the limit."""
    name, size, sigma, has_colors = CASES[number]
    rasterizer = tsr.SoftAggregation(sigma=sigma, near=1.0, far=100.0)
    scene = load_scene(name, data, size, has_colors, rasterizer)
    contestants = {"ours": Ours(scene, rasterizer), "step": OurStep(scene, rasterizer)}
    limit = load(limit_source)
    if limit is not None:
        contestants["limit"] = SpeedLimit(limit, scene, rasterizer)
    if has_module("pytorch3d"):
        contestants["pytorch3d"] = PyTorch3D(scene, rasterizer)
    times = {contestant: [] for contestant in contestants}
    for _ in range(ROUNDS + 1):
        for contestant, value in contestants.items():
            times[contestant].append(value.step())
    kind = "rgba" if has_colors else "silhouette"
    result = {
        "case": f"{name} {len(scene.vertices_ndc)} x {size}^2 {kind}",
        "sigma": sigma,
        "faces": len(scene.faces),
    }
    for contestant, seconds in times.items():
        stages = 1e3 * np.median(np.array(seconds[1:]), axis=0)
        if len(stages) == 3:
            result[f"{contestant}_ms"] = dict(zip(STAGES, stages.round(2).tolist()))
        total = 1e3 * np.median(np.sum(seconds[1:], axis=1))
        result[f"{contestant}_total_ms"] = round(float(total), 2)
    pairs = [("ours", "limit"), ("ours", "pytorch3d"), ("step", "ours")]
    for over, under in pairs:
        if under in contestants:
            ratio = result[f"{over}_total_ms"] / result[f"{under}_total_ms"]
            result[f"{over}_over_{under}"] = round(ratio, 4)
    return result


def measure_memory(data):
    """Peak of a process that draws and differentiates spot at 1024^2, MB."""
    scene = load_scene("spot", data, 1024, True, tsr.SoftAggregation(sigma=1e-5))
    scene.renderer.backward(np.ones((1, 1024, 1024, 4), np.float32))
    ti.sync()
    return {"mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def has_module(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def main(options):
    arguments = ["--arch", options.arch, "--data", options.data, "--limit", options.limit]
    results = {
        "device": {
            "arch": options.arch,
            "processor": platform.processor(),
            "cores": os.cpu_count(),
        },
        "taichi": ".".join(map(str, ti.__version__)),
        "spot_1024_peak_mb": run_alone(__file__, "memory", *arguments)["mb"],
        "cases": [],
    }
    print("spot 1024^2, peak:", results["spot_1024_peak_mb"], "MB", flush=True)
    for number in range(len(CASES)):
        results["cases"].append(run_alone(__file__, str(number), *arguments))
        print(json.dumps(results["cases"][-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n")
    if "limit_total_ms" not in results["cases"][-1]:
        print("no speed limit: it needs g++ and the source named by --limit")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, help="write the results here")
    parser.add_argument("--arch", default="cpu")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--limit", type=pathlib.Path, default=ROOT.parent / "shared" / "bench" / "soft_limit.cpp"
    )
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # "memory", or the number of a case
    options = parser.parse_args()
    if options.alone is None:
        main(options)
    else:
        ti.init(arch=getattr(ti, options.arch), log_level=ti.ERROR)
        if options.alone == "memory":
            report(measure_memory(options.data))
        else:
            report(run_case(int(options.alone), options.data, options.limit))
