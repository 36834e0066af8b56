"""A network learns to see in three dimensions from pictures alone: no shape is ever shown to it.

An encoder takes one picture; a decoder moves the vertices of a ball, and chooses for each which
parts of the picture its colour is from (after Liu et al. 2019); the loss compares pictures of that
and of the thing. Things are upright, turned by any angle: tapered octahedra, balls, boxes and what
is between, of two colours. A second run goes on from checkpoint.pt. Needs PyTorch.
"""

import time

import numpy as np
import torch

import taichi_softras as tsr
from taichi_softras.io.files import written_beside
from taichi_softras.torch import render

AROUND = 22.5 * np.arange(16)  # azimuths, degrees; inputs are from the first
SEEN, UNSEEN = AROUND[::2], AROUND[1::2]  # in training, in the figures
BALLS = [[torch.tensor(array) for array in tsr.primitives.icosphere(level)] for level in (2, 3)]
BALL, FINE = (vertices.float() for vertices, _ in BALLS)
FACES = {len(vertices): faces for vertices, faces in BALLS}
START = 0.5 * BALL  # of the decoder
SMOOTH = (25 * BALL @ BALL.T).softmax(-1)  # means of what is around each vertex
TURN = torch.tensor([[0.0, 0, 1], [0, 0, 0], [-1, 0, 0]])  # its exponential turns about y


def random_things(count, seed):
    """Vertices and colours of the fine ball, (N, V, 3) each; axes are 0.2 to 0.7."""
    rng = torch.Generator().manual_seed(seed)
    axes, first, second = torch.rand(3, count, 1, 3, generator=rng)
    powers, tapers, turns = torch.rand(3, count, 1, 1, generator=rng)
    powers = 1 + 5 * powers  # 1: octahedra, 2: balls, 6: almost boxes
    own = FINE / (FINE.abs() ** powers).sum(-1, keepdim=True) ** (1 / powers)
    own[..., ::2] *= 1 + 0.8 * (tapers - 0.5) * own[..., 1:2]
    vertices = own * (0.2 + 0.5 * axes) @ (2 * np.pi * turns * TURN).matrix_exp()
    return vertices, first.lerp(second, (8 * FINE[:, :1]).sigmoid())


class Network(torch.nn.Sequential):
    """Pictures (N, H, W, 4), lit by 1/2 to 1, to vertices and unlit colours, (N, V, 3)."""

    def __init__(self, size):
        nn, layers = torch.nn, []
        for channels in ((4, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(*channels, 3, stride=2, padding=1), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(2 * size**2, 256), nn.ReLU()]
        super().__init__(*layers, nn.Linear(256, 68 * len(BALL)))  # moves, light, 64 choices

    def forward(self, pictures):
        pictures = pictures.permute(0, 3, 1, 2)
        out = SMOOTH @ super().forward(pictures).unflatten(1, (-1, 68))
        parts = torch.nn.functional.adaptive_avg_pool2d(pictures, 8).flatten(2).mT
        colors, alphas = (out[..., 4:].softmax(-1) @ parts).split((3, 1), -1)
        return START + 0.5 * out[..., :3], colors / alphas * (1 + out[..., 3:4].sigmoid())


def draw(meshes, azimuths, size, sigma_pixels=0.1):
    """Each of N meshes from each of K places: (K, N, H, W, 4)."""
    vertices, colors = ([*each] * len(azimuths) for each in meshes)  # a batch of K N
    eyes = torch.tensor(tsr.orbit(3, 30, azimuths)).repeat_interleave(len(meshes[0]), 0)
    how = {"vertex_colors": colors, "eye": eyes, "fov_y_degrees": 40.0, "image_size": (size, size)}
    how["rasterizer"] = tsr.SoftAggregation(sigma_pixels=sigma_pixels, near=1.0, far=5.0)
    drawn = render(vertices, [FACES[len(each)] for each in vertices], **how)["image"]
    return drawn.unflatten(0, (len(azimuths), -1))


def loss_of(meshes, azimuths, pictures):
    """Of silhouettes (1 - IoU), colours within them, and how differently neighbours have moved."""
    drawn = draw(meshes, azimuths, pictures.shape[-2], sigma_pixels=0.3)  # 1 makes things small
    found, true = drawn[..., 3:], pictures[..., 3:]
    iou = ((found * true).sum((2, 3)) / (found + true - found * true).sum((2, 3))).mean()
    colors = ((drawn - pictures)[..., :3].abs() * true).sum() / true.sum() / 3
    moves = (meshes[0] - START)[:, FACES[len(BALL)]]
    return 1 - iou + 2 * colors + (moves - moves.roll(1, 2)).square().sum(-1).mean()


def voxels_of(vertices):
    """Which of 20^3 points are between the origin and a face."""
    points = torch.cartesian_prod(*[torch.linspace(-1.3, 1.3, 20)] * 3)
    shares = (points @ each[FACES[len(each)]].inverse() for each in vertices)  # of the corners
    return torch.stack([((s > -1e-6).all(-1) & (s.sum(-1) < 1)).any(0) for s in shares])


@torch.no_grad()
def examine(network, size, count, path):
    """IoUs on things that training never drew, and of the best constant shape; a picture."""
    things = random_things(count, -1)
    inputs, unseen = draw(things, AROUND[:1], size), draw(things, UNSEEN, 2 * size)
    found, voxels = network(inputs[0]), voxels_of(things[0])

    def ious(vertices):
        drawn = draw((vertices, torch.ones_like(vertices)), UNSEEN, 2 * size)[..., 3] > 0.5
        pairs = (drawn, unseen[..., 3] > 0.5, (2, 3)), (voxels_of(vertices), voxels, 1)
        return [float(((a & b).sum(d) / (a | b).sum(d)).mean()) for a, b, d in pairs]

    axes = torch.cartesian_prod(*[torch.tensor([0.35, 0.45, 0.55])] * 2)[:, None, [0, 1, 0]]
    constants = torch.cat((BALL * axes, *(found[0].mean(0, True) * s for s in (0.9, 1, 1.1))))
    rows = [inputs.repeat_interleave(3, 2).repeat_interleave(3, 3)]  # then from there, from beside
    rows += [draw(found, AROUND[[0, 5]], 3 * size), draw(things, AROUND[[5]], 3 * size)]
    sheet = torch.cat([torch.cat([*row[:8]], 1) for row in torch.cat(rows)]).numpy()
    tsr.images.save_image(path, tsr.images.over_background(sheet))
    names = "silhouette_iou", "voxel_iou", "constant_silhouette_iou", "constant_voxel_iou"
    return dict(zip(names, (*ious(found[0]), *map(max, zip(*map(ious, constants[:, None]))))))


def main(steps=1200, output="out/train_reconstruction", size=32, count=32):
    """Trains with `count` new things a step; prints IoUs of others, from other places."""
    output, started = tsr.scripts.folder(output), time.process_time()
    torch.set_num_threads(1)  # Taichi has the others: both would wait for each other
    torch.manual_seed(0)
    network, path, losses = Network(size), output / "checkpoint.pt", []
    optimizer = torch.optim.Adam(network.parameters())
    if path.exists():
        of_network, of_optimizer, losses = torch.load(path)
        network.load_state_dict(of_network)
        optimizer.load_state_dict(of_optimizer)
    result = {"resumed_at": len(losses), "losses": losses}

    def save():
        with written_beside(path) as beside:
            torch.save((network.state_dict(), optimizer.state_dict(), losses), beside)

    for step in tsr.scripts.interruptible(range(len(losses), steps)):
        places = SEEN[[0, step % 8, (step + 3) % 8]]
        pictures = draw(random_things(count, step), places, size)
        loss = loss_of(network(pictures[0]), places[1:], pictures[1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 ** (step / 500)
        optimizer.step()
        losses.append(float(loss.detach()))
        if len(losses) % 100 == 0:
            save()
    save()
    result |= examine(network, size, 2 * count, output / "train_reconstruction.png")
    result["processor_seconds"] = round(time.process_time() - started, 1)
    tsr.scripts.save(output / "result.json", result)
    print({**result, "losses": losses[-1:]})
    return result


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        main()
