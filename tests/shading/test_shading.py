"""Every shading against the same law in NumPy, in value and gradient."""

import numpy as np
import pytest

from taichi_softras.fields import FieldTree
from taichi_softras.io.meshes import texel_barycentrics
from taichi_softras.scene import primitives
from taichi_softras.scene.lights import Lights
from taichi_softras.scene.mesh import Mesh
from taichi_softras.scene.spherical_harmonics import SphericalHarmonics
from taichi_softras.shading.depth import Depth
from taichi_softras.shading.flat import Flat
from taichi_softras.shading.gouraud import Gouraud
from taichi_softras.shading.silhouette import Silhouette
from taichi_softras.shading.unlit import Unlit
from tests.gradcheck import check_gradient


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def lambert(normals, ambient, directions, light_colors):
    return ambient + np.maximum(unit(normals) @ unit(directions).T, 0) @ light_colors


def harmonics(normals, coefficients):
    """Ramamoorthi & Hanrahan 2001, equations 3 and 12, over pi."""
    x, y, z = np.moveaxis(unit(normals), -1, 0)
    basis = [  # of 0.282095, 0.488603, 1.092548, 0.315392 and 0.546274 in the paper
        np.full_like(x, 0.5 / np.sqrt(np.pi)),
        *(np.sqrt(0.75 / np.pi) * 2 / 3 * np.stack([y, z, x])),
        *(np.sqrt(3.75 / np.pi) / 4 * np.stack([x * y, y * z])),
        0.25 * np.sqrt(5 / np.pi) / 4 * (3 * z * z - 1),
        np.sqrt(3.75 / np.pi) / 4 * x * z,
        0.5 * np.sqrt(3.75 / np.pi) / 4 * (x * x - y * y),
    ]
    return np.stack(basis, axis=-1) @ coefficients


def shade(shading, faces, reflect, vertices, colors, **lights):
    """The twin: corner colours (F, 3, 3); texels or cubes for colors (F, R, R, 3) or with R^3.

    Of a mesh that moves, vertices (T, V, 3), one set a frame of FRAMES.
    """
    if vertices.ndim == 3:
        frames = FRAMES[:1] if shading == Unlit() else FRAMES  # without light all are alike
        return np.concatenate(
            [shade(shading, faces, reflect, vertices[frame], colors, **lights) for frame in frames]
        )
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    normals = np.repeat(np.cross(b - a, c - a)[:, None], 3, axis=1)
    if shading == Gouraud():
        of_vertices = np.zeros_like(vertices)
        np.add.at(of_vertices, faces, normals)
        normals = of_vertices[faces]
    light = reflect(normals, **lights)
    if shading == Unlit():
        light = np.ones_like(light)
    if colors.ndim == 2:
        return (colors[faces] * light)[None]
    if colors.ndim == 4:
        barycentrics = texel_barycentrics(colors.shape[1])
        return (colors * np.einsum("bak,fkc->fbac", barycentrics, light))[None]
    if shading == Gouraud():
        barycentrics = np.indices(colors.shape[1:4]) / (colors.shape[1] - 1)
        return (colors * np.einsum("kabc,fkd->fabcd", barycentrics, light))[None]
    return (colors * light[:, 0, None, None, None])[None]


FRAMES = (1, 0, 1)  # of a mesh that moves, in three views


def bumpy_mesh(texels=(), num_frames=0):
    """A torus without symmetries: no normal is perpendicular to a light."""
    generator = np.random.default_rng(2)
    vertices, faces = primitives.torus(major_segments=4, minor_segments=3)
    kind = {0: "vertex_colors", 2: "texels", 3: "texture_cubes"}[len(texels)]
    shape = (len(faces), *texels, 3) if texels else vertices.shape
    colors = generator.uniform(size=shape)
    shape = (num_frames, *vertices.shape) if num_frames else vertices.shape
    return Mesh(vertices + generator.uniform(-0.1, 0.1, shape), faces, **{kind: colors})


def allocate_and_bind(shading, mesh, lights):
    """The buffers, and a function that shades all views."""
    num_views = len(FRAMES) if mesh.is_moving else 1
    tree = FieldTree()
    buffers = shading.allocate(tree, mesh, num_views)
    frames = tree.add((num_views,), dtype=int, needs_grad=False)
    tree.place()
    if mesh.is_moving:
        frames.from_numpy(np.array(FRAMES, np.int32))
    return buffers, lambda: shading.shade(mesh, lights, frames, (0, num_views), buffers)


def check_shading(shading, mesh, lights, reflect, light_fields):
    buffers, run_forward = allocate_and_bind(shading, mesh, lights)
    inputs = {
        "vertices": mesh.vertices,
        "colors": mesh.vertex_colors if mesh.face_colors is None else mesh.face_colors,
        **light_fields,
    }
    check_gradient(
        run_forward,
        inputs,
        buffers.colors,
        twin=lambda **values: shade(shading, mesh.faces_array, reflect, **values),
    )


def check_directional(shading, texels, num_frames=0):
    lights = Lights(
        ambient=(0.1, 0.2, 0.3),
        directions=((0.2, 2.0, -0.3), (-0.5, 0.1, 0.4)),
        colors=((0.5, 0.4, 0.3), (0.2, 0.3, 0.6)),
    )
    names = {"ambient": "ambient", "directions": "directions", "light_colors": "colors"}
    fields = {name: getattr(lights, attribute) for name, attribute in names.items()}
    check_shading(shading, bumpy_mesh(texels, num_frames), lights, lambert, fields)


def check_harmonics(shading, texels):
    lights = SphericalHarmonics(np.random.default_rng(5).normal(size=(9, 3)))
    fields = {"coefficients": lights.coefficients}
    check_shading(shading, bumpy_mesh(texels), lights, harmonics, fields)


CASES = [
    (Unlit(), ()),
    *[(shading, texels) for shading in (Flat(), Gouraud()) for texels in ((), (2, 2), (3, 3, 3))],
]


@pytest.mark.parametrize("shading, texels", CASES)
def test_colors_and_gradients_in_single_precision(backend, shading, texels):
    check_directional(shading, texels)


@pytest.mark.parametrize("shading, texels", [(Flat(), ()), (Gouraud(), (2, 2))])
def test_harmonics_in_single_precision(backend, shading, texels):
    check_harmonics(shading, texels)


@pytest.mark.f64
@pytest.mark.parametrize("shading, texels", [(Flat(), (2, 2)), (Gouraud(), ())])
def test_harmonics_in_double_precision(backend, shading, texels):
    check_harmonics(shading, texels)


@pytest.mark.f64
@pytest.mark.parametrize("shading, texels", [*CASES, (Unlit(), (2, 2)), (Unlit(), (3, 3, 3))])
def test_every_frame_of_a_mesh_that_moves_is_lit(backend, shading, texels):
    check_directional(shading, texels, num_frames=2)


@pytest.mark.parametrize("shading", [Silhouette(), Depth()])
def test_silhouettes_and_depths_have_no_colors(backend, shading):
    assert shading.allocate(None, bumpy_mesh(), 1).colors is None


@pytest.mark.parametrize("shading", [Flat(), Gouraud()])
def test_a_degenerate_mesh_is_lit_by_ambient_light_alone(backend, shading):
    """Its normals are zero, and so are the gradients through them."""
    mesh = Mesh(np.zeros((3, 3)), [[0, 1, 2]])
    buffers, run_forward = allocate_and_bind(shading, mesh, Lights(ambient=(0.25, 0.5, 0.75)))
    check_gradient(
        run_forward,
        {"vertices": mesh.vertices},
        buffers.colors,
        twin=lambda vertices: np.tile([0.25, 0.5, 0.75], (1, 1, 3, 1)),
    )
