"""What a batch of different meshes costs, and what replaced topologies do.

    python benchmarks/bench_batch.py

Render and gradient at 128 x 128 pixels, process time on one thread, medians of runs in turn: eight
meshes of 80 to 3,900 faces, each by a camera of its own, against eight views of one of their mean
size, and against a renderer for each. Then 300 topologies in one mesh: by how much memory grows.
"""

import pathlib
import resource
import time

import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

SIZE, REPEATS = (128, 128), 25
SPHERES = [(6, 8), (10, 12), (14, 16), (18, 20), (22, 24), (26, 30), (30, 40), (40, 50)]
MEAN = (22, 30)  # a sphere with as many faces as those have on average
EYES = tsr.orbit(2.7, 30, range(0, 360, 45))
CASES = [
    (tsr.SoftAggregation(), tsr.Flat()),
    (tsr.SoftAggregation(), tsr.Silhouette()),
    (tsr.KNearest(10), tsr.Flat()),
    (tsr.Prefiltered(), tsr.Gouraud()),
    (tsr.ApproximateGradient(), tsr.Flat()),
    (tsr.FilteredDerivative(), tsr.Flat()),
]


def make_step(meshes_and_eyes, rasterizer, shading):
    """A function that draws all and pulls a gradient back."""
    renderers = [
        tsr.Renderer(mesh, tsr.Camera.look_at(eyes), SIZE, rasterizer, shading)
        for mesh, eyes in meshes_and_eyes
    ]
    grads = [np.ones((*one.image.shape, one.image.n), np.float32) for one in renderers]

    def step():
        for renderer, grad in zip(renderers, grads):
            renderer.render()
            renderer.backward(grad)

    step()
    return step


def measure_batches():
    shapes = [tsr.primitives.uv_sphere(*size) for size in SPHERES]
    one, batch = tsr.Mesh(*tsr.primitives.uv_sphere(*MEAN)), tsr.Mesh.batch(shapes)
    singles = [(tsr.Mesh(*shape), [eye]) for shape, eye in zip(shapes, EYES)]
    print(f"batch of {np.diff(batch.face_starts)} faces, mean {batch.num_faces / 8:.0f}")
    for rasterizer, shading in CASES:
        steps = [
            make_step(scene, rasterizer, shading)
            for scene in ([(one, EYES)], [(batch, EYES)], singles)
        ]
        seconds = []
        for _ in range(REPEATS):
            for step in steps:
                start = time.process_time()
                step()
                seconds.append(time.process_time() - start)
        of_one, of_batch, of_singles = 1e3 * np.median(np.reshape(seconds, (-1, 3)), axis=0)
        name = f"{type(rasterizer).__name__}, {type(shading).__name__}"
        print(
            f"{name:30} views of one {of_one:6.1f} ms, batch {of_batch:6.1f} ms, "
            f"{of_batch / of_one:.2f}; a renderer each {of_singles:6.1f} ms"
        )


def resident_megabytes():
    status = pathlib.Path("/proc/self/statm")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20


def measure_topologies():
    rng = np.random.default_rng(0)
    mesh = tsr.Mesh(*tsr.primitives.cube(), capacity=(2600, 5200))
    renderer = tsr.Renderer(mesh, tsr.Camera.look_at(EYES), SIZE)
    optimizer = tsr.Adam([mesh.vertices])
    loss = ti.field(float, (), needs_grad=True)
    target = np.zeros((*renderer.image.shape, 4), np.float32)
    for count in range(310):
        if count == 10:
            before, start = resident_megabytes(), time.perf_counter()
        vertices, faces = tsr.primitives.icosphere(int(rng.integers(1, 5)))
        mesh.replace(vertices, faces[rng.uniform(size=len(faces)) < 0.9])
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss)
            tsr.losses.laplacian(mesh, loss)
            tsr.losses.normal_consistency(mesh, loss)
        optimizer.step()
    grown, seconds = resident_megabytes() - before, time.perf_counter() - start
    print(f"300 topologies: {grown:.1f} MB more, {1e3 * seconds / 300:.0f} ms each")


if __name__ == "__main__":
    ti.init(arch=ti.cpu, log_level=ti.ERROR, cpu_max_num_threads=1)
    measure_batches()
    measure_topologies()
