"""Times the soft rasterizer, beside its speed limit in C++ and PyTorch3D, in one run.

    python benchmarks/bench_rasterizer.py --json results.json

Protocol: every case one warm-up and five timed rounds, the contestants in turn within each
round; medians; the clock stops after `ti.sync()`. Set-up is face set-up and bins, forward the
drawing, backward the gradients of corners and colours. `step` is a whole optimisation step
of `Renderer` under a tape: camera, shading, rasterizer and both ways through the fields.
Results are written case by case. Without the meshes in --data, icospheres stand in.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time
from typing import Optional

import numpy as np
import taichi as ti
from soft_limit import SpeedLimit, load

import taichi_softras as tsr
from taichi_softras.rasterizers.soft_aggregation import SoftRasterization
from taichi_softras.workspace import Workspace

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROUNDS = 5
STAGES = ("set_up", "forward", "backward")


@dataclasses.dataclass
class Scene:
    """Projected vertices and what draws them."""

    mesh: tsr.Mesh
    cameras: tsr.Camera
    vertices_ndc: np.ndarray  # (B, V, 3)
    faces: np.ndarray  # (F, 3)
    colors: Optional[np.ndarray]  # (V, 3)
    image_size: tuple


def load_scene(name, data, size, has_colors):
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
    mesh = tsr.Mesh(vertices, faces, vertex_colors=rng.random((len(vertices), 3)))
    shading = tsr.Silhouette()
    renderer = tsr.Renderer(mesh, cameras, (size, size), shading=shading)
    renderer.render()
    colors = mesh.vertex_colors.to_numpy() if has_colors else None
    return Scene(mesh, cameras, renderer.vertices_ndc.to_numpy(), faces, colors, (size, size))


def load_vertices(path, stand_in):
    if not path.exists():
        return stand_in
    mesh = tsr.Mesh.load(path)
    return mesh.vertices.to_numpy(), mesh.faces_array


class Ours:
    """The rasterizer alone, on the corners that the renderer would give it."""

    def __init__(self, scene, rasterizer):
        self.rasterizer, self.image_size = rasterizer, scene.image_size
        self.workspace = Workspace()
        self.corners = upload(scene.vertices_ndc[:, scene.faces])
        self.colors = None
        if scene.colors is not None:
            self.colors = upload(scene.colors[scene.faces][None])
        rasterization = rasterizer.forward(
            self.workspace, self.corners, self.colors, 0, self.image_size
        )
        grad_image = np.random.default_rng(0).random(rasterization.image.shape, np.float32)
        grad_image[..., self.image_size[1] :] = 0.0
        rasterization.grad_image.from_numpy(grad_image)

    def step(self):
        """Seconds of set-up, forward, backward."""
        times = [clock()]
        rasterization = SoftRasterization(
            self.rasterizer, self.workspace, self.corners, self.colors, 0, self.image_size
        )
        times.append(clock())
        rasterization.draw()
        times.append(clock())
        rasterization.backward()
        times.append(clock())
        return tuple(np.diff(times))


class OurStep:
    """A whole optimisation step of a `Renderer`, but for the optimizer."""

    def __init__(self, scene, rasterizer):
        shading = tsr.Unlit() if scene.colors is not None else tsr.Silhouette()
        self.renderer = tsr.Renderer(
            scene.mesh, scene.cameras, scene.image_size, rasterizer, shading=shading
        )
        views, (height, width) = scene.cameras.num_views, scene.image_size
        self.target = np.zeros((views, height, width, self.renderer.image.n), np.float32)
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


def upload(values):
    array = ti.ndarray(float, values.shape)
    array.from_numpy(np.ascontiguousarray(values, np.float32))
    return array


def clock():
    ti.sync()
    return time.perf_counter()


def run_case(name, data, size, sigma, has_colors, limit, has_pytorch3d):
    """Milliseconds of each contestant, and the ratios to the limit."""
    rasterizer = tsr.SoftAggregation(sigma=sigma)
    scene = load_scene(name, data, size, has_colors)
    contestants = {"ours": Ours(scene, rasterizer), "step": OurStep(scene, rasterizer)}
    if limit is not None:
        contestants["limit"] = SpeedLimit(limit, scene, rasterizer)
    if has_pytorch3d:
        contestants["pytorch3d"] = PyTorch3D(scene, rasterizer)
    times = {contestant: [] for contestant in contestants}
    for _ in range(ROUNDS + 1):
        for contestant, value in contestants.items():
            times[contestant].append(value.step())
    kind = "rgba" if has_colors else "silhouette"
    result = {
        "case": f"{name} {scene.cameras.num_views} x {size}^2 {kind}",
        "sigma": sigma,
        "faces": len(scene.faces),
    }
    for contestant, seconds in times.items():
        stages = 1e3 * np.median(np.array(seconds[1:]), axis=0)
        if len(stages) == 3:
            result[f"{contestant}_ms"] = dict(zip(STAGES, stages.round(2).tolist()))
        total = 1e3 * np.median(np.sum(seconds[1:], axis=1))
        result[f"{contestant}_total_ms"] = round(float(total), 2)
    for rival in ("limit", "pytorch3d"):
        if rival in contestants:
            ratio = result["ours_total_ms"] / result[f"{rival}_total_ms"]
            result[f"ours_over_{rival}"] = round(ratio, 4)
    if limit is not None:
        contestants["limit"].close()
    return result


def time_first_image(arch):
    """Seconds from the start of a fresh process to its first image: without and with a cache."""
    with tempfile.TemporaryDirectory() as cache:
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            run_alone("first", arch, TI_OFFLINE_CACHE_FILE_PATH=cache)
            seconds.append(round(time.perf_counter() - start, 2))
    return {"cold_s": seconds[0], "warm_s": seconds[1]}


def run_alone(part, arch, *arguments, **environment):
    command = [sys.executable, __file__, "--alone", part, "--arch", arch, *arguments]
    environment = {**os.environ, **environment}
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return run.stdout.strip().splitlines()[-1]


def draw_first_image():
    renderer = tsr.Renderer(
        tsr.Mesh(*tsr.primitives.icosphere(3)),
        tsr.Camera.look_at(eye=(0, 1, 3), fov_y_degrees=50),
        image_size=(256, 256),
    )
    print(renderer.render().to_numpy().mean())


def measure_memory(data):
    """Peak of a process that draws and differentiates spot at 1024^2, MB."""
    mesh = data / "spot" / "spot_triangulated.obj"
    mesh = tsr.Mesh.load(mesh) if mesh.exists() else tsr.Mesh(*tsr.primitives.icosphere(4))
    cameras = tsr.camera_conventions.softras(2.732, 30.0, 0.0, 30.0)
    rasterizer = tsr.SoftAggregation(sigma=1e-5)
    renderer = tsr.Renderer(mesh, cameras, (1024, 1024), rasterizer, shading=tsr.Unlit())
    renderer.render()
    renderer.backward(np.ones((1, 1024, 1024, 4), np.float32))
    ti.sync()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def has_module(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def main(arch, data, limit_source, path):
    limit = load(limit_source)
    results = {
        "device": {"arch": arch, "processor": platform.processor(), "cores": os.cpu_count()},
        "taichi": ".".join(map(str, ti.__version__)),
        "first_image": time_first_image(arch),
        "spot_1024_peak_mb": round(float(run_alone("memory", arch, "--data", str(data)))),
        "cases": [],
    }
    print({name: results[name] for name in ("first_image", "spot_1024_peak_mb")}, flush=True)
    cases = [("deform", 64, 1e-4), ("spot", 256, 1e-5), ("spot", 512, 1e-4), ("spot", 1024, 1e-5)]
    for name, size, sigma in cases:
        for has_colors in (False, True):
            case = run_case(name, data, size, sigma, has_colors, limit, has_module("pytorch3d"))
            results["cases"].append(case)
            print(json.dumps(case), flush=True)
            if path:
                path.write_text(json.dumps(results, indent=2) + "\n")
    if limit is None:
        print("no speed limit: it needs g++ and the source named by --limit")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, help="write the results here")
    parser.add_argument("--arch", default="cpu")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--limit", type=pathlib.Path, default=ROOT.parent / "shared" / "bench" / "soft_limit.cpp"
    )
    parser.add_argument("--alone", choices=("first", "memory"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    ti.init(arch=getattr(ti, options.arch), log_level=ti.ERROR)
    if options.alone == "first":
        draw_first_image()
    elif options.alone == "memory":
        measure_memory(options.data)
    else:
        main(options.arch, options.data, options.limit, options.json)
