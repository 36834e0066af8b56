"""A sphere becomes an aeroplane: fit a mesh to silhouettes by gradient descent.

Without arguments: the silhouettes of a built-in aeroplane from 24 views. With --images,
--cameras and --template: your own. `--preset softras-demo` follows the deformation demo of
the Soft Rasterizer; the default preset sharpens the silhouettes as it goes.
"""

import argparse
import time

import matplotlib.pyplot as plt
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import taichi_softras as tsr
from taichi_softras.runtime import ti

PICTURE_VIEWS = 6
FILM_FRAMES = 40
FILM_SIZE = (192, 192)


class SoftrasDemo:
    """The demo's losses, weights, parameterisation and Adam, the same at every step."""

    betas = (0.5, 0.99)

    def __init__(self, mesh):
        self.mesh = mesh
        self.template = ti.Vector.field(3, float, mesh.num_vertices)
        self.displacement = ti.Vector.field(3, float, mesh.num_vertices, needs_grad=True)
        self.centre = ti.Vector.field(3, float, (), needs_grad=True)
        self.template.copy_from(mesh.vertices)
        self.parameters = [self.displacement, self.centre]

    def settings(self, progress):
        return {"sigma": 1e-4, "laplacian": 0.03, "flatten": 3e-4, "learning_rate": 0.01}

    def place_vertices(self):
        """Recorded on the tape: the image's gradient runs on to displacement and centre."""
        place_in_unit_cube(self.template, self.displacement, self.centre, self.mesh.vertices)


@ti.kernel
def place_in_unit_cube(
    template: ti.template(),  # (V,) in (-1, 1)
    displacement: ti.template(),  # (V,) logits
    centre: ti.template(),  # () logits
    vertices: ti.template(),  # (V,) world
):
    """Every coordinate keeps its sign relative to the centre and stays within [-1, 1]."""
    for vertex in template:
        for axis in ti.static(range(3)):
            size = ti.max(ti.abs(template[vertex][axis]), 1e-6)
            middle = ti.tanh(centre[None][axis])
            moved = size / (size + (1.0 - size) * ti.exp(-displacement[vertex][axis]))
            if template[vertex][axis] >= 0.0:
                vertices[vertex][axis] = moved * (1.0 - middle) + middle
            else:
                vertices[vertex][axis] = -moved * (1.0 + middle) + middle


class Sharpening:
    """Vertices move freely; blur and smoothing shrink all the way, the step size at the end."""

    betas = (0.8, 0.99)

    def __init__(self, mesh):
        self.parameters = [mesh.vertices]

    def settings(self, progress):
        return {
            "sigma": 3e-5 * 0.33**progress,
            "laplacian": 2e-3 * 0.1**progress,
            "flatten": 3e-5 * 0.1**progress,
            "learning_rate": 0.01 * 0.1 ** max(0.0, (progress - 0.7) / 0.3),
        }

    def place_vertices(self):
        """Nothing to do: the vertices are the parameters."""


PRESETS = {"sharpening": Sharpening, "softras-demo": SoftrasDemo}


def main(
    images=None,
    cameras=None,
    template=None,
    half_angle_degrees=15.0,
    steps=600,
    sigma=None,
    preset="sharpening",
    output="out/fit_silhouettes",
):
    """Fits, and writes mesh.obj, result.json, loss.png, views.png and fit.gif to `output`."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(range(steps))
    placements = np.load(cameras) if cameras else orbit_of_views()
    views = camera(placements, half_angle_degrees)
    pictures = load_pictures(images) if images else draw_aeroplane(views, (64, 64))
    target = np.ascontiguousarray(pictures[..., -1])
    if len(target) != len(placements):
        raise SystemExit(f"{len(target)} images, but {len(placements)} cameras: give one for each")
    mesh = tsr.Mesh.load(template) if template else tsr.Mesh(*tsr.primitives.icosphere(3))
    mesh.vertices.from_numpy(mesh.vertices.to_numpy() * 0.5)
    renderer = tsr.Renderer(mesh, views, target.shape[1:], shading=tsr.Silhouette())
    view = len(placements) * 5 // 8
    film_camera = camera(placements[view : view + 1], half_angle_degrees)
    film_target = pictures[view] if images else draw_aeroplane(film_camera, FILM_SIZE)[0]
    film = Film(mesh, film_camera, film_target)
    film_steps = set(
        (steps * np.linspace(0, 1, FILM_FRAMES) ** 2).astype(int)
    )  # most changes early

    shape = PRESETS[preset](mesh)
    optimizer = tsr.Adam(shape.parameters, betas=shape.betas)
    loss = ti.field(float, shape=(), needs_grad=True)
    history, seconds = [], []
    with progress_bar() as bar:
        task = bar.add_task("compiling", total=steps)
        for step in bar.track(run, total=steps, task_id=task):
            settings = shape.settings(step / steps)
            renderer.rasterizer = tsr.SoftAggregation(sigma=sigma or settings["sigma"])
            optimizer.learning_rate = settings["learning_rate"]
            started = time.perf_counter()
            with ti.ad.Tape(loss):
                shape.place_vertices()
                renderer.render()
                tsr.losses.silhouette_iou(renderer.image, target, loss)
                tsr.losses.laplacian(mesh, loss, weight=settings["laplacian"])
                tsr.losses.flatten(mesh, loss, weight=settings["flatten"])
            optimizer.step()
            ti.sync()
            seconds.append(time.perf_counter() - started)
            if step % 10 == 0:
                iou = silhouette_ious(renderer, target, threshold=0.5).mean()
                history.append((step, loss[None], float(iou)))
                bar.update(task, description=f"loss {loss[None]:.4f}  IoU {iou:.4f}")
            if step in film_steps:
                film.shoot()

    shape.place_vertices()
    renderer.render()
    film.shoot()
    ious = silhouette_ious(renderer, target, threshold=0.5)
    history.append((len(seconds), loss[None], float(ious.mean())))
    result = {
        "preset": preset,
        "arch": ti.lang.impl.current_cfg().arch.name,
        "steps": len(seconds),
        "seconds": round(sum(seconds), 2),
        "seconds_per_step": round(float(np.median(seconds or [0.0])), 4),
        "iou_mean": round(float(ious.mean()), 4),
        "iou_min": round(float(ious.min()), 4),
        "soft_iou_mean": round(float(silhouette_ious(renderer, target).mean()), 4),
    }
    tsr.scripts.save(output / "result.json", result)
    rows = ["step,loss,iou", *("{},{:g},{:g}".format(*row) for row in history)]
    tsr.scripts.save(output / "history.csv", "\n".join(rows) + "\n")
    mesh.save(output / "mesh.obj")
    film.save(output / "fit.gif")
    draw_history(history, output / "loss.png")
    draw_views(target, renderer.image.to_numpy()[..., -1], output / "views.png")
    print(f"{result}\nwrote {output}/")
    return result


def camera(placements, half_angle_degrees):
    """Views from rows of distance, elevation, azimuth; not optimised, so without gradients."""
    distance, elevation, azimuth = np.asarray(placements, float).T
    return tsr.camera_conventions.softras(
        distance, elevation, azimuth, half_angle_degrees, needs_grad=False
    )


def orbit_of_views():
    """Three rings of eight views."""
    rings = [(2.732, elevation, azimuth) for elevation in (-30, 15, 60) for azimuth in range(8)]
    return np.array(rings) * (1, 1, 45) + (0, 0, 20)


def load_pictures(path):
    """(B, H, W, C) in [0, 1], silhouette last, from RGBA or one channel, before or behind H, W."""
    pictures = np.load(path)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    elif pictures.ndim == 4 and pictures.shape[1] in (1, 4):
        pictures = np.moveaxis(pictures, 1, -1)
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 4):
        raise SystemExit(f"{path}: expected (B, H, W) or 1 or 4 channels, got {pictures.shape}")
    scale = 255 if pictures.dtype == np.uint8 else 1
    return (pictures / scale).astype(np.float32)


def draw_aeroplane(views, size):
    """(B, H, W, 4) pictures of the built-in target, drawn sharp."""
    target = tsr.Mesh(*tsr.primitives.aeroplane())
    return sharp_renderer(target, views, size).render().to_numpy()


def sharp_renderer(mesh, views, size):
    sun = tsr.Lights(
        ambient=(0.35, 0.37, 0.4), directions=[(-0.5, 1, -0.6)], colors=[(0.6, 0.55, 0.5)]
    )
    method = tsr.SoftAggregation(sigma_pixels=0.2)
    return tsr.Renderer(mesh, views, size, method, shading=tsr.Gouraud(), lights=sun)


def silhouette_ious(renderer, target, threshold=None):
    return tsr.losses.silhouette_ious(renderer.image.to_numpy()[..., -1], target, threshold)


class Film:
    """The mesh from one view as it deforms, beside that view's target."""

    def __init__(self, mesh, view, target):
        self.renderer = sharp_renderer(mesh, view, FILM_SIZE)
        self.target = on_white(resize_nearest(target, FILM_SIZE))
        self.frames = []

    def shoot(self):
        frame = on_white(self.renderer.render().to_numpy()[0])
        self.frames.append(np.concatenate([frame, self.target], axis=1))

    def save(self, path):
        tsr.images.save_gif(path, self.frames + 15 * self.frames[-1:], frames_per_second=12)


def on_white(picture):
    """(H, W, 3) of RGBA whose colours are not yet multiplied by alpha; a silhouette is grey."""
    if picture.shape[-1] == 1:
        return 1 - 0.5 * picture.repeat(3, axis=-1)
    return tsr.images.over_background(picture)


def resize_nearest(image, size):
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, image.shape))
    return image[rows[:, None], columns]


def progress_bar():
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )


def draw_history(history, path):
    steps, losses, ious = np.array(history).T
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(steps, losses, label="loss")
    axes.plot(steps, ious, label="mean IoU at 0.5")
    axes.set(xlabel="step", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    tsr.scripts.save(path, figure, dpi=120)
    plt.close(figure)


def draw_views(target, fitted, path):
    views = np.linspace(0, len(target) - 1, PICTURE_VIEWS).astype(int)
    rows = {"target": target, "fitted": fitted, "difference": np.abs(target - fitted)}
    figure, axes = plt.subplots(3, PICTURE_VIEWS, figsize=(9, 4.8), layout="constrained")
    for line, (name, pictures) in zip(axes, rows.items()):
        for cell, view in zip(line, views):
            cell.imshow(pictures[view], cmap="gray", vmin=0, vmax=1)
            cell.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    tsr.scripts.save(path, figure, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", metavar="FILE.npy", help="silhouettes, RGBA or one channel")
    parser.add_argument("--cameras", metavar="FILE.npy", help="(B, 3) distance, elevation, azimuth")
    parser.add_argument("--template", metavar="FILE.obj", help="the mesh to start from, halved")
    parser.add_argument("--half-angle-degrees", type=float, default=15.0)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--sigma", type=float, help="keep this blur instead of the preset's")
    parser.add_argument("--preset", choices=PRESETS, default="sharpening")
    parser.add_argument("--arch", default="cpu", help="cpu, gpu, cuda, vulkan or metal")
    parser.add_argument("--output", default="out/fit_silhouettes")
    options = vars(parser.parse_args())
    with tsr.scripts.plain_errors():
        ti.init(arch=getattr(ti, options.pop("arch")), log_level=ti.ERROR)
        main(**options)
