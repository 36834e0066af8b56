"""Fifty meshes as an independent program sees them: rays of Embree, through trimesh.

Shapes are made here, and the rays from the eye, without any code of the package. What a ray meets
is computed in double precision from the face that Embree names. A pixel may differ only where its
centre lies on the projection of an edge, as far as single precision tells.
"""

import numpy as np
import pytest

import taichi_softras as tsr
from tests.tolerances import COLOR_OF_RAYS, DEPTH_OF_RAYS, ON_AN_EDGE, PLANE_OF_RAYS

pytest.importorskip("embreex", reason="needs embreex, which pip install '.[test]' brings on x86-64")
trimesh = pytest.importorskip("trimesh")
creation = pytest.importorskip("trimesh.creation")

HEIGHT, WIDTH = 48, 64
NUM_VERTICES = (
    700  # of every mesh, as far as used: so fields and what is compiled for them are shared
)
SEEDS = range(5)


def noisy(generator, mesh):
    mesh.vertices = mesh.vertices + generator.normal(scale=0.08, size=mesh.vertices.shape)
    return mesh


def star(generator):
    """Of as many rays as chance says, extruded."""
    angles = np.arange(0, 2 * np.pi, 2 * np.pi / (2 * generator.integers(3, 9)))
    radii = np.where(np.arange(len(angles)) % 2, generator.uniform(0.3, 0.6), 1.0)
    rim = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    following = np.roll(np.arange(len(rim)), -1)
    faces = np.stack([np.full(len(rim), len(rim)), np.arange(len(rim)), following], axis=1)
    vertices = np.concatenate([rim, [[0.0, 0.0]]])
    return creation.extrude_triangulation(vertices, faces, height=generator.uniform(0.2, 1.0))


def vase(generator):
    """A line turned round an axis; open above and below."""
    profile = np.stack([generator.uniform(0.3, 1.0, 7), np.linspace(-1, 1, 7)], axis=1)
    return creation.revolve(profile, sections=int(generator.integers(5, 20)))


def hills(generator):
    """Faces over a grid, some of them left out."""
    x, y = np.meshgrid(np.linspace(-1, 1, 15), np.linspace(-1, 1, 15))
    z = 0.2 * np.sin(4 * x + generator.uniform(0, 6)) + 0.1 * generator.normal(size=x.shape)
    index = np.arange(15 * 15).reshape(15, 15)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    kept = generator.uniform(size=len(faces)) < 0.8
    return trimesh.Trimesh(np.stack([x, y, z], -1).reshape(-1, 3), faces[kept], process=False)


SHAPES = {
    "box": lambda g: creation.box(extents=g.uniform(0.3, 2, 3)),
    "capsule": lambda g: creation.capsule(g.uniform(0.5, 1.5), g.uniform(0.2, 0.6), count=[12, 12]),
    "cylinder": lambda g: creation.cylinder(
        0.5, g.uniform(0.3, 2), sections=int(g.integers(3, 40))
    ),
    "cone": lambda g: creation.cone(0.8, g.uniform(0.3, 2), sections=int(g.integers(3, 40))),
    "annulus": lambda g: creation.annulus(g.uniform(0.3, 0.6), 0.9, g.uniform(0.1, 1)),
    "torus": lambda g: creation.torus(0.8, g.uniform(0.1, 0.5), int(g.integers(6, 30)), 12),
    "icosphere": lambda g: noisy(g, creation.icosphere(subdivisions=int(g.integers(1, 4)))),
    "soup": lambda g: creation.random_soup(80, seed=int(g.integers(1000))),
    "star": star,
    "vase": vase,
    "hills": hills,
}
CASES = [(name, seed) for name in SHAPES for seed in SEEDS]


def unit(vector):
    return vector / np.linalg.norm(vector)


def look(generator, mesh):
    """Eye, target, up and angle of view; every fifth time from within the box of the mesh."""
    low, high = mesh.bounds
    size = np.linalg.norm(high - low)
    target = low + generator.uniform(0.3, 0.7, 3) * (high - low)
    distance = size * (0.2 if generator.uniform() < 0.2 else generator.uniform(0.7, 2))
    eye = target + distance * unit(generator.normal(size=3))
    return eye, target, unit(generator.normal(size=3)), generator.uniform(20, 90)


def rays_of(eye, target, up, fov_y_degrees):
    """(P, 3) directions through pixels' centres, world, of depth 1; and axes, rows x, y, ahead."""
    ahead = unit(target - eye)
    right = unit(np.cross(ahead, up))
    axes = np.stack([right, np.cross(right, ahead), ahead])
    row, column = np.divmod(np.arange(HEIGHT * WIDTH), WIDTH)
    slope = np.tan(np.radians(fov_y_degrees) / 2) * 2 / HEIGHT
    x, y = (column + 0.5 - WIDTH / 2) * slope, (HEIGHT / 2 - row - 0.5) * slope
    return np.stack([x, y, np.ones_like(x)], axis=1) @ axes, axes


def meet(mesh, eye, rays):
    """The depths (P,) of what rays meet, infinite where nothing is, and how far they may be off."""
    index = mesh.ray.intersects_first(np.broadcast_to(eye, rays.shape), rays)
    corners = mesh.triangles[index] - eye
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    depths = (normals * corners[:, 0]).sum(axis=1) / (normals * rays).sum(axis=1)
    extent = np.abs(mesh.vertices).max() + np.abs(eye).max()
    steepness = np.abs((normals * rays).sum(axis=1)) / np.linalg.norm(normals, axis=1)
    errors = np.maximum(DEPTH_OF_RAYS * depths, PLANE_OF_RAYS * extent / steepness)
    return np.where(index >= 0, depths, np.inf), errors


def lie_on_an_edge(mesh, eye, rays, axes, pixels_per_slope):
    """(P,) whether rays pass an edge of any face within `ON_AN_EDGE` pixels."""
    ends = (mesh.vertices[mesh.edges_unique] - eye) @ axes.T
    first, second = ends[:, 0], ends[:, 1]
    planes = np.cross(first, second)  # through the eye; in the image a line
    planes /= np.maximum(np.linalg.norm(planes[:, :2], axis=1, keepdims=True), 1e-300)
    found = []
    for ray in rays @ axes.T:
        beside = np.abs(planes @ ray) * pixels_per_slope
        before = (np.cross(first, ray) * planes).sum(axis=1)
        behind = (np.cross(ray, second) * planes).sum(axis=1)
        # ends count, too: within the same distance, as an angle
        slack = ON_AN_EDGE / pixels_per_slope * np.linalg.norm(ends, axis=2).max(axis=1)
        slack = slack * np.linalg.norm(planes, axis=1) * np.linalg.norm(ray)
        found.append(((beside < ON_AN_EDGE) & (before > -slack) & (behind > -slack)).any())
    return np.array(found, bool)


@pytest.mark.cpu
@pytest.mark.parametrize("name, seed", CASES)
def test_fifty_meshes(backend, name, seed):
    """Colours are linear in the place: any face shows what is there."""
    generator = np.random.default_rng([CASES.index((name, seed))])
    mesh = SHAPES[name](generator)
    eye, target, up, fov_y_degrees = look(generator, mesh)
    rays, axes = rays_of(eye, target, up, fov_y_degrees)
    depths, errors = meet(mesh, eye, rays)
    low, high = mesh.bounds

    padding = np.zeros((NUM_VERTICES - len(mesh.vertices), 3))
    vertices = np.concatenate([mesh.vertices, padding])
    ours = tsr.Mesh(
        vertices, mesh.faces, vertex_colors=np.clip((vertices - low) / (high - low), 0, 1)
    )
    camera = tsr.Camera.look_at(eye, target, up, fov_y_degrees=fov_y_degrees, needs_grad=False)
    renderer = tsr.Renderer(
        ours, camera, (HEIGHT, WIDTH), tsr.ApproximateGradient(), tsr.Unlit(), outputs=["depth"]
    )
    image = renderer.render().to_numpy()[0].reshape(-1, 4)
    depth = renderer.outputs["depth"].to_numpy().reshape(-1)

    is_met, is_drawn = np.isfinite(depths), image[:, 3] > 0.5
    both = is_met & is_drawn
    where = eye + rays * np.where(both, depths, 0)[:, None]
    colors = (where - low) / (high - low)
    is_other = is_met != is_drawn
    is_other |= both & (np.abs(depth - depths) > errors)
    is_other |= both & (np.abs(image[:, :3] - colors).max(axis=1) > COLOR_OF_RAYS)
    pixels_per_slope = HEIGHT / 2 / np.tan(np.radians(fov_y_degrees) / 2)
    on_an_edge = lie_on_an_edge(mesh, eye, rays[is_other], axes, pixels_per_slope)
    print(f"{both.sum()} pixels, {is_other.sum()} differ, {on_an_edge.sum()} of them on an edge")
    assert both.any()
    assert on_an_edge.all(), [
        (np.divmod(p, WIDTH), depth[p], depths[p], image[p], colors[p])
        for p in np.flatnonzero(is_other)[~on_an_edge][:5]
    ]
