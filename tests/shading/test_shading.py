"""Every shading against the same law in NumPy, in value and gradient."""

import numpy as np
import pytest

from taichi_softras.fields import FieldTree
from taichi_softras.io.meshes import texel_barycentrics
from taichi_softras.scene import primitives
from taichi_softras.scene.lights import Lights
from taichi_softras.scene.mesh import Mesh
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


def shade(shading, faces, vertices, ambient, directions, light_colors, colors):
    """The twin: corner colours (F, 3, 3); texels or cubes for colors (F, R, R, 3) or with R^3."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    normals = np.repeat(np.cross(b - a, c - a)[:, None], 3, axis=1)
    if shading == Gouraud():
        of_vertices = np.zeros_like(vertices)
        np.add.at(of_vertices, faces, normals)
        normals = of_vertices[faces]
    light = lambert(normals, ambient, directions, light_colors)
    if shading == Unlit():
        light = np.ones_like(light)
    if colors.ndim == 2:
        return colors[faces] * light
    if colors.ndim == 4:
        return colors * np.einsum("bak,fkc->fbac", texel_barycentrics(colors.shape[1]), light)
    if shading == Gouraud():
        barycentrics = np.indices(colors.shape[1:4]) / (colors.shape[1] - 1)
        return colors * np.einsum("kabc,fkd->fabcd", barycentrics, light)
    return colors * light[:, 0, None, None, None]


def bumpy_mesh(texels=()):
    """A torus without symmetries: no normal is perpendicular to a light."""
    generator = np.random.default_rng(2)
    vertices, faces = primitives.torus(major_segments=4, minor_segments=3)
    vertices = vertices + generator.uniform(-0.1, 0.1, vertices.shape)
    kind = {0: "vertex_colors", 2: "texels", 3: "texture_cubes"}[len(texels)]
    shape = (len(faces), *texels, 3) if texels else vertices.shape
    return Mesh(vertices, faces, **{kind: generator.uniform(size=shape)})


def check_shading(shading, texels):
    mesh = bumpy_mesh(texels)
    lights = Lights(
        ambient=(0.1, 0.2, 0.3),
        directions=((0.2, 2.0, -0.3), (-0.5, 0.1, 0.4)),
        colors=((0.5, 0.4, 0.3), (0.2, 0.3, 0.6)),
    )
    tree = FieldTree()
    buffers = shading.allocate(tree, mesh)
    tree.place()
    inputs = {
        "vertices": mesh.vertices,
        "ambient": lights.ambient,
        "directions": lights.directions,
        "light_colors": lights.colors,
        "colors": mesh.face_colors if texels else mesh.vertex_colors,
    }
    check_gradient(
        lambda: shading.shade(mesh, lights, buffers),
        inputs,
        buffers.colors,
        twin=lambda **values: shade(shading, mesh.faces_array, **values),
    )


CASES = [
    (Unlit(), ()),
    *[(shading, texels) for shading in (Flat(), Gouraud()) for texels in ((), (2, 2), (3, 3, 3))],
]


@pytest.mark.parametrize("shading, texels", CASES)
def test_colors_and_gradients_in_single_precision(backend, shading, texels):
    check_shading(shading, texels)


@pytest.mark.f64
@pytest.mark.parametrize("shading, texels", CASES)
def test_colors_and_gradients_in_double_precision(backend, shading, texels):
    check_shading(shading, texels)


@pytest.mark.parametrize("texels", [(2, 2), (3, 3, 3)])
def test_unlit_colors_of_faces_are_read_in_place(backend, texels):
    mesh = bumpy_mesh(texels)
    assert Unlit().allocate(None, mesh).colors is mesh.face_colors


@pytest.mark.parametrize("shading", [Silhouette(), Depth()])
def test_silhouettes_and_depths_have_no_colors(backend, shading):
    assert shading.allocate(None, bumpy_mesh()).colors is None


@pytest.mark.parametrize("shading", [Flat(), Gouraud()])
def test_a_degenerate_mesh_is_lit_by_ambient_light_alone(backend, shading):
    """Its normals are zero, and so are the gradients through them."""
    mesh = Mesh(np.zeros((3, 3)), [[0, 1, 2]])
    tree = FieldTree()
    buffers = shading.allocate(tree, mesh)
    tree.place()
    lights = Lights(ambient=(0.25, 0.5, 0.75))
    check_gradient(
        lambda: shading.shade(mesh, lights, buffers),
        {"vertices": mesh.vertices},
        buffers.colors,
        twin=lambda vertices: np.tile([0.25, 0.5, 0.75], (1, 3, 1)),
    )
