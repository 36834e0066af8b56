"""A second `ti.init`, a fork, another thread: a sentence, never a crash, and the program goes on.

Each test is a process of its own.
"""

import os

import pytest

from tests.test_bad_input import run_python

BEGIN = """
import gc, os, tempfile, threading
import numpy as np
import taichi_softras as tsr
from taichi_softras.runtime import ti

def begin():
    ti.init(arch=ti.cpu, log_level=ti.ERROR)

def refused(use, sentence):
    try:
        use()
    except RuntimeError as error:
        assert sentence in str(error), error
    else:
        raise AssertionError("no error")

class Scene:
    def __init__(self):
        self.mesh = tsr.Mesh(*tsr.primitives.icosphere(1))
        self.camera, self.lights = tsr.Camera.look_at((0, 0, 3)), tsr.Lights()
        self.sky = tsr.SphericalHarmonics(np.ones((9, 3)))
        self.renderer = self.drawn_with(self.lights)
        self.image = self.renderer.render().to_numpy()
        self.optimizers = [tsr.Adam([self.mesh.vertices]), tsr.SGD([self.mesh.vertices], 0.1)]
        self.loss, self.array = ti.field(float, (), needs_grad=True), ti.ndarray(float, (1, 16, 16))
        self.fields = [self.renderer.image, self.mesh.vertices, self.mesh.vertices.grad, self.loss]
        _, self.vjp = tsr.rasterize(np.ones((1, 1, 3, 3)), image_size=(2, 2))

    def drawn_with(self, lights):
        return tsr.Renderer(self.mesh, self.camera, (16, 16), shading=tsr.Flat(), lights=lights)

    def uses(self, new):
        \"\"\"Of its objects alone, and beside those of a new scene.\"\"\"
        mesh, camera, renderer, loss = self.mesh, self.camera, self.renderer, new.loss
        losses, size, folder = tsr.losses, (16, 16), tempfile.mkdtemp()
        image_losses = [losses.silhouette_iou, losses.mean_squared_error]
        mesh_losses = [losses.laplacian, losses.flatten, losses.edge_length]
        optimizer = tsr.GaussNewton([camera.eye], lambda: np.ones(1), lambda: np.ones((1, 3)))
        yield from (o.step for o in (*self.optimizers, optimizer))
        yield from (lambda f=f: f(new.renderer.image, self.array, loss) for f in image_losses)
        yield from (lambda f=f: f(renderer.image, self.image[..., 3], loss) for f in image_losses)
        yield from (lambda f=f: f(mesh, loss) for f in mesh_losses)
        yield lambda: losses.laplacian(new.mesh, self.loss)
        yield lambda: losses.mean_squared_error(new.renderer.image, renderer.image, loss)
        yield lambda: tsr.Renderer(mesh, new.camera, size).render()
        yield lambda: tsr.Renderer(new.mesh, camera, size).render()
        yield lambda: new.drawn_with(self.lights).render()
        yield lambda: new.drawn_with(self.sky).render()
        yield renderer.render
        yield lambda: renderer.backward(self.image)
        yield lambda: renderer.jacobian([camera.eye])
        yield lambda: new.renderer.jacobian([camera.eye])
        yield lambda: renderer.render_sequence(f"{folder}/film.gif")
        yield lambda: renderer.vertices_ndc
        yield lambda: mesh.save(f"{folder}/mesh.obj")
        yield lambda: tsr.Mesh(mesh.vertices, mesh.faces_array)
        yield lambda: camera.view_from_world
        yield lambda: self.vjp(np.ones((1, 2, 2, 1)))
        yield lambda: self.array.to_numpy()
        yield lambda: mesh.faces.to_numpy()
        for field in self.fields:
            yield lambda field=field: field.to_numpy()
            yield lambda field=field: field.from_numpy(self.image)
            yield lambda field=field: field.fill(1.0)
            yield lambda field=field: field.shape
            yield lambda field=field: field[0]
            yield lambda field=field: field.grad
"""


def run(code):
    run_python(BEGIN + code)


def test_after_a_second_init_all_objects_say_so():
    """Also those of Taichi that came from the package, or that its functions are given."""
    run("""
begin()
old = Scene()
begin()
new = Scene()
for use in old.uses(new):
    refused(use, "ti.init was called again")
np.testing.assert_array_equal(new.renderer.render().to_numpy(), old.image)
ti.reset()
refused(lambda: new.renderer.image.to_numpy(), "ti.reset")
refused(new.renderer.render, "is not initialised")
refused(lambda: tsr.Lights(), "is not initialised")
""")


def test_types_of_numbers_that_kernels_do_not_know():
    """Taichi ends the process, or fails in its compiler."""
    run("""
for types in ({"default_fp": ti.f16}, {"default_ip": ti.i64}):
    ti.init(arch=ti.cpu, log_level=ti.ERROR, **types)
    refused(Scene, "computes in f32 or f64 and counts in i32")
    refused(lambda: tsr.rasterize(np.ones((1, 1, 3, 3)), image_size=(2, 2)), "counts in i32")
begin()
Scene()
""")


def test_old_arrays_that_are_collected_free_nothing_new():
    """Taichi alone frees those arrays of the new program that lie where old ones lay."""
    run("""
begin()
old = [ti.ndarray(float, 1000) for _ in range(200)], Scene()
begin()
arrays = [ti.ndarray(float, 1000) for _ in range(200)]
for number, array in enumerate(arrays):
    array.fill(number)
del old
gc.collect()
for array in [ti.ndarray(float, 1000) for _ in range(200)]:
    array.fill(-1)
assert all(array.to_numpy()[0] == number for number, array in enumerate(arrays))
""")


def test_arrays_of_vectors_are_freed():
    """A silhouette loss makes one at each call."""
    pytest.importorskip("resource")
    run("""
import resource
begin()

def grown_by_thousands(count):  # KiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count * 1000):
        ti.Vector.ndarray(2, float, 120)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

grown_by_thousands(1)
assert grown_by_thousands(5) < 4096  # 24,000 if they stay
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("leave", ["sys.exit()", "os._exit(0)"])
def test_a_forked_process_is_told_to_spawn(leave):
    """Whatever it does with the package, also with new objects; it ends, and the parent goes on."""
    run(f"""
import sys, time
begin()
scene = Scene()
child = os.fork()
if child == 0:
    for use in [*scene.uses(scene), tsr.Lights, Scene]:
        refused(use, "spawn")
    assert scene.mesh.faces_array.shape == (80, 3)
    scene = None
    gc.collect()
    {leave}
started = time.time()
while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
    if time.time() - started > 60:
        os.kill(child, 9)
        raise AssertionError("the child hangs")
    time.sleep(0.02)
assert ended[1] == 0
np.testing.assert_array_equal(scene.renderer.render().to_numpy(), scene.image)
""")


def test_another_thread_draws_what_is_compiled():
    """It is refused what must be compiled, and that breaks nothing."""
    run("""
begin()
scene = Scene()
target = np.zeros((1, 16, 16), np.float32)

def fit():
    with ti.ad.Tape(scene.loss):
        tsr.losses.silhouette_iou(scene.renderer.render(), target, scene.loss)
        tsr.losses.laplacian(scene.mesh, scene.loss)
    return scene.mesh.vertices.grad.to_numpy(), scene.loss[None]

def elsewhere(use):
    found = []
    thread = threading.Thread(target=lambda: found.append(use()))
    thread.start()
    thread.join()
    return found[0]

fit()
gradient, loss = fit()
again, loss_again = elsewhere(fit)
assert loss == loss_again
np.testing.assert_array_equal(again, gradient)
compiling = lambda: tsr.rasterize(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), image_size=(3, 3))
if ti.__name__ == "quadrants":  # which compiles in any thread
    elsewhere(compiling)
    compiling = tsr.Lights
mine = ti.field(float, 3)
smooth = lambda: scene.drawn_with(tsr.Lights(directions=np.eye(3), colors=np.eye(3))).render()
for use in (
    smooth,
    lambda: tsr.Mesh(*tsr.primitives.icosphere(2)),
    compiling,
    mine.to_numpy,
    lambda: ti.field(float, 5).to_numpy(),
):
    elsewhere(lambda: refused(use, "only in the thread that called ti.init"))
np.testing.assert_array_equal(fit()[0], gradient)
assert mine.to_numpy().shape == (3,)
assert np.isfinite(smooth().to_numpy()).all()

def begin_and_draw():
    begin()
    return Scene().image

np.testing.assert_array_equal(elsewhere(begin_and_draw), scene.image)
""")
