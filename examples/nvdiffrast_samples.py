"""Five fits by the calls of nvdiffrast, and the same by `SoftAggregation`.

After section 4 of Laine et al. 2020. `python examples/nvdiffrast_samples.py cube` runs one of
triangle, cube, earth, pose and envphong. Needs PyTorch: `pip install 'taichi-softras[torch]'`.
"""

import itertools
import sys
import time
from functools import partial
from typing import Callable, NamedTuple, Optional

import numpy as np
import torch
from torch.nn.functional import avg_pool3d, interpolate, normalize
from torch.nn.utils.rnn import pad_sequence

import taichi_softras as tsr
import taichi_softras.nvdiffrast as dr
from taichi_softras.torch import Renderer, rasterize

CONTEXT, FOV_Y, TEXELS = dr.RasterizeCudaContext(), 40.0, (128, 256)
# gamma: a face hides what is behind it, and not its neighbour that slopes away
SOFT = tsr.SoftAggregation(gamma=0.01, near=0.5, far=12.0)


class Task(NamedTuple):
    """What is looked for: `picture(*truth, *view)` is known, for views drawn at random."""

    truth: list
    begin: list
    picture: Callable  # (B, H, W, C), row 0 at the bottom
    errors: Callable  # figures of what was found, by name
    view: Callable = tuple
    shown: tuple = ()  # a view
    photo: Optional[Callable] = None  # in place of `picture`, of the truth
    search: Callable = lambda *begin: begin  # comes before the descent
    steps: int = 200
    rate: float = 0.03


def main(sample="", steps=None, output="out/nvdiffrast_samples"):
    """Runs the samples whose names begin so; the picture has the truth, and what each found."""
    output, run = tsr.scripts.folder(output), tsr.scripts.interruptible(itertools.count())
    result, columns, chosen = {}, {}, [name for name in SAMPLES if name.startswith(sample)]
    if not chosen:
        raise SystemExit(f"no sample begins with {sample!r}: they are {'; '.join(SAMPLES)}")
    for name, method in itertools.product(chosen, METHODS):
        if next(run, None) is None:  # it was told to end
            break
        torch.manual_seed(0)
        started, task = time.process_time(), SAMPLES[name](METHODS[method])
        found = descend(itertools.islice(run, steps or task.steps), task)
        figures = {f"start_{key}": one for key, one in task.errors(*task.begin).items()}
        figures |= {**task.errors(*found), "processor_seconds": time.process_time() - started}
        figures = {key: float(f"{one:.3g}") for key, one in figures.items()}
        print(name, method, figures, flush=True)
        result.setdefault(name, {})[method] = figures
        columns.setdefault(name, [tile(task, task.truth)]).append(tile(task, found))
    tsr.scripts.save(output / "result.json", result)
    picture = pad_sequence([torch.cat(tiles) for tiles in columns.values()]).flatten(1, 2)
    tsr.images.save_image(output / "nvdiffrast_samples.png", picture.numpy())
    return result


def descend(run, task):
    """What Adam makes of the tensors, at a rate that falls to a fiftieth in the task's steps."""
    found = [one.clone().requires_grad_() for one in task.search(*task.begin)]
    optimizer = torch.optim.Adam(found, lr=task.rate, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.02 ** (1 / task.steps))
    for _ in run:
        view = task.view()
        photo = (task.photo or task.picture)(*task.truth, *view)
        optimizer.zero_grad()
        ((task.picture(*found, *view) - photo) ** 2).mean().backward()
        optimizer.step()
        falling.step()
    return [one.detach() for one in found]


def tile(task, tensors):
    """(128, 128, 3) what they look like, row 0 on top."""
    image = task.picture(*tensors, *task.shown)[:1, ..., :3].permute(0, 3, 1, 2)
    return interpolate(image, (128, 128))[0].permute(1, 2, 0).flip(0)


def triangle(draw):
    """Corners and colours, from one picture of 64 x 64 pixels."""
    corners, tri = torch.tensor([[-0.7, -0.6], [0.8, -0.3], [0, 0.7]]), torch.tensor([[0, 1, 2]])

    def picture(corners, colors):
        pos = torch.cat([corners, torch.tensor([[0.0, 1.0]]).expand(3, 2)], dim=1)
        return draw(pos[None], tri.int(), colors[None], 64)

    truth, begin = [corners, torch.eye(3)], [corners + 0.2 * torch.randn(3, 2), torch.zeros(3, 3)]
    return Task(truth, begin, picture, partial(how_far, ("corners", "colors"), truth))


def cube(draw, pixels):
    """Vertices and colours, from 16 pictures a step of a cube that is turned at random."""
    vertices, tri = tensors(*tsr.primitives.cube())
    truth = [vertices, torch.rand(8, 3)]
    begin = [vertices + 0.25 * torch.randn(8, 3), torch.full((8, 3), 0.5)]

    def picture(vertices, colors, turns, size):
        return draw(project(vertices @ turns), tri, colors[None], size)

    def view():
        return rotations(torch.randn(16, 4)), pixels

    errors, shown = partial(how_far, ("vertices", "colors"), truth), (view()[0], 128)
    return Task(truth, begin, picture, errors, view, shown, steps=400, rate=0.02)


def earth(draw, mipmaps):
    """A globe's texture, from views near and far: PSNR of its texels, weighted by their area."""
    octaves = [torch.randn(1, 1, n, 2 * n) / n for n in (4, 8, 16, 32, 64)]
    noise = sum(interpolate(one, TEXELS, mode="bilinear") for one in octaves)[0, 0, :, :, None]
    land, sea = torch.tensor([0.6, 0.5, 0.1]), torch.tensor([0.05, 0.2, 0.6])
    truth = torch.where(noise > 0, land, sea) * (0.7 + 0.3 * noise.tanh())
    globe = tsr.primitives.icosphere(3)
    parts = (*globe, *tsr.primitives.globe_uvs(*globe))
    sharp = paint_by_nvdiffrast(*parts, mipmaps=True)

    def photo(texture, turns, distances):
        return avg_pool3d(sharp(texture, turns, distances, size=192), (3, 3, 1))

    def errors(found):
        area = torch.sin((torch.arange(TEXELS[0]) + 0.5) / TEXELS[0] * np.pi)[:, None, None]
        return {"psnr": -10 * torch.log10((area * (found - truth) ** 2).mean() / area.mean())}

    def view():
        return rotations(torch.randn(4, 4)), 2.0 + 6.0 * torch.rand(4, 1)

    shown = (rotations(torch.ones(4, 4)), torch.full((4, 1), 3.5))
    begin, picture = [torch.full((*TEXELS, 3), 0.5)], PAINT[draw](*parts, mipmaps=mipmaps)
    return Task([truth], begin, picture, errors, view, shown, photo, steps=300, rate=0.1)


def paint_by_nvdiffrast(ball, faces, uvs, uv_faces, mipmaps):
    """A function that draws a texture on a ball."""
    (ball, tri), (uvs, uv_tri) = tensors(ball, faces), tensors(uvs, uv_faces)

    def look(texture, turns, distances, size=64):
        pos = project(ball @ turns, distances)
        rast, rast_db = dr.rasterize(CONTEXT, pos, tri, (size, size))
        uv, uv_da = dr.interpolate(uvs, rast, uv_tri, rast_db, diff_attrs="all")
        color = dr.texture(texture[None], uv, uv_da if mipmaps else None)
        return dr.antialias(color * (rast[..., 3:] > 0), rast, pos, tri)

    return look


def paint_by_aggregation(ball, faces, uvs, uv_faces, mipmaps):
    """The same, of 4 views; its row 0 is on top."""
    texture = tsr.Texture(np.ones((*TEXELS, 3)), "trilinear" if mipmaps else "bilinear")
    paint = tsr.Material(base_color_texture=texture)
    mesh = tsr.Mesh(ball, faces, uvs=uvs, uv_faces=uv_faces, materials=paint)
    camera = tsr.Camera.look_at(np.ones((4, 3)), fov_y_degrees=FOV_Y)
    module, texels = Renderer(mesh, camera, (64, 64), SOFT, tsr.Unlit()), texture.image

    def look(texture, turns, distances):
        pose = {camera.eye: turns[..., 2] * distances, camera.up: turns[..., 1]}
        image = module({texels: texture.flip(0), **pose})["image"].flip(1)
        return image[..., :3] * image[..., 3:]

    return look


def pose(draw, starts=100):
    """Rotations of a cube, 32 x 32 pixels each: random turns, ever smaller, and then descent."""
    vertices, tri = tensors(*tsr.primitives.cube())
    truth, begin = normalize(torch.randn(2, starts, 4), dim=-1)

    def picture(quaternions):
        return draw(project(vertices @ rotations(quaternions)), tri, 0.5 + 0.5 * vertices[None], 32)

    def errors(found):
        ways = [(normalize(found) - one).norm(dim=1) for one in (truth, -truth)]  # the same turn
        degrees = torch.rad2deg(4 * torch.asin(torch.minimum(*ways) / 2))
        return {"degrees": degrees.median(), "part_within_2": (degrees < 2).float().mean()}

    def search(best):
        least = torch.full((starts,), torch.inf)
        for size in np.geomspace(1.0, 0.05, 150):
            tried = normalize(best + size * torch.randn(starts, 4))
            losses = ((picture(tried) - photos) ** 2).mean((1, 2, 3))
            best = torch.where((losses < least)[:, None], tried, best)
            least = torch.minimum(losses, least)
        return [best]

    photos = picture(truth)
    return Task([truth], [begin], picture, errors, search=search)


def envphong(draw):
    """Mirrored surroundings, and the reflectance and exponent of a lamp's gloss, on a ball."""
    ball, tri = tensors(*tsr.primitives.icosphere(3))
    room = interpolate(torch.rand(6, 3, 4, 4), (16, 16), mode="bilinear").permute(0, 2, 3, 1)[None]
    truth = [room, torch.tensor([0.9, 0.6, 0.3]), torch.tensor([25.0]).log()]
    begin = [torch.full_like(room, 0.5), torch.full((3,), 0.5), torch.tensor([1.5])]

    def picture(room, gloss, exponent, turns, lamps):
        def shade(normals):
            normals = normalize(normals, dim=-1)
            rays = normalize(normals - 3 * turns[:, None, None, :, 2], dim=-1)
            mirrored = rays - 2 * (rays * normals).sum(-1, keepdim=True) * normals
            cosines = (mirrored * lamps[:, None, None]).sum(-1, keepdim=True).clamp(min=1e-4)
            highlight = gloss * cosines ** exponent.exp()
            return dr.texture(room, mirrored, boundary_mode="cube") + highlight

        return draw(project(ball @ turns, 3.0), tri, ball[None], 64, shade)

    def view():
        turns = rotations(torch.randn(4, 4))
        return turns, normalize(turns[..., 2] + 0.4 * torch.randn(4, 3))

    errors = partial(how_far, ("room", "reflectance", "log_exponent"), truth)
    return Task(truth, begin, picture, errors, view, view(), rate=0.1)


def by_nvdiffrast(pos, tri, attr, size, shade=lambda values: values):
    """(B, H, W, C + 1): attributes, shaded, and how much of a pixel is covered."""
    rast, _ = dr.rasterize(CONTEXT, pos, tri, (size, size))
    values, covered = dr.interpolate(attr, rast, tri)[0], (rast[..., 3:] > 0).float()
    return dr.antialias(torch.cat([shade(values) * covered, covered], -1), rast, pos, tri)


def by_aggregation(pos, tri, attr, size, shade=lambda values: values):
    """The same, of the same clip space: its row 0 is on top, its depth is w."""
    corners, values = pos[:, tri.long()][..., [0, 1, 3, 3]], attr[:, tri.long()]
    image = rasterize(corners, values, image_size=(size, size), rasterizer=SOFT).flip(1)
    values, covered = image[..., :-1], image[..., -1:]
    return torch.cat([shade(values) * covered, covered], -1)


def project(points, distances=6.0):
    """(B, V, 4) in clip space, of a camera on the z axis that looks at the origin."""
    x, y, z = points.unbind(-1)
    depth, focal = distances - z, 1 / np.tan(np.deg2rad(FOV_Y / 2))
    return torch.stack([focal * x, focal * y, depth - 1, depth], -1)  # from depth 0.5 on


def rotations(quaternions):
    """(B, 3, 3) of (B, 4), of any length."""
    w, axis = normalize(quaternions).split([1, 3], dim=1)
    turn = torch.linalg.cross(torch.eye(3)[None], axis[:, None])
    return torch.eye(3) + 2 * w[:, None] * turn + 2 * turn @ turn


def tensors(values, indices):
    return torch.tensor(values).float(), torch.tensor(indices).int()


def how_far(names, truth, *found):
    """How far points or colours are from the true ones, by name; means."""
    return {name: (a - b).norm(dim=-1).mean() for name, a, b in zip(names, found, truth)}


METHODS = {"nvdiffrast": by_nvdiffrast, "SoftAggregation": by_aggregation}
PAINT = {by_nvdiffrast: paint_by_nvdiffrast, by_aggregation: paint_by_aggregation}
SAMPLES = {"triangle": triangle}
SAMPLES |= {f"cube, {n} pixels": partial(cube, pixels=n) for n in (4, 8, 16)}
SAMPLES |= {"earth": partial(earth, mipmaps=True)}
SAMPLES |= {"earth, no mipmaps": partial(earth, mipmaps=False)}
SAMPLES |= {"pose": pose, "envphong": envphong}

if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        main(*sys.argv[1:2])
