"""Every shading against the same law in NumPy, in value and gradient."""

import numpy as np
import pytest

from taichi_softras.fields import FieldTree
from taichi_softras.io.meshes import texel_barycentrics
from taichi_softras.scene import primitives
from taichi_softras.scene.lights import Lights
from taichi_softras.scene.mesh import Mesh
from taichi_softras.scene.spherical_harmonics import SphericalHarmonics
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
    basis = [
        np.full_like(x, 0.282095),
        *(0.488603 * 2 / 3 * np.stack([y, z, x])),
        *(1.092548 / 4 * np.stack([x * y, y * z])),
        0.315392 / 4 * (3 * z * z - 1),
        1.092548 / 4 * x * z,
        0.546274 / 4 * (x * x - y * y),
    ]
    return np.stack(basis, axis=-1) @ coefficients


def shade(shading, faces, reflect, vertices, colors, **lights):
    """The twin: corner colours (F, 3, 3), or texels (F, R, R, 3) for colors (F, R, R, 3)."""
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
        return colors[faces] * light
    return colors * np.einsum("bak,fkc->fbac", texel_barycentrics(colors.shape[1]), light)


def bumpy_mesh(texel_resolution=0):
    """A torus without symmetries: no normal is perpendicular to a light."""
    generator = np.random.default_rng(2)
    vertices, faces = primitives.torus(major_segments=4, minor_segments=3)
    vertices = vertices + generator.uniform(-0.1, 0.1, vertices.shape)
    if texel_resolution == 0:
        return Mesh(vertices, faces, vertex_colors=generator.uniform(size=vertices.shape))
    shape = (len(faces), texel_resolution, texel_resolution, 3)
    return Mesh(vertices, faces, texels=generator.uniform(size=shape))


def check_shading(shading, texel_resolution, lights, reflect, light_fields):
    mesh = bumpy_mesh(texel_resolution)
    tree = FieldTree()
    buffers = shading.allocate(tree, mesh)
    tree.place()
    inputs = {
        "vertices": mesh.vertices,
        "colors": mesh.vertex_colors if texel_resolution == 0 else mesh.texels,
        **light_fields,
    }
    check_gradient(
        lambda: shading.shade(mesh, lights, buffers),
        inputs,
        buffers.colors,
        twin=lambda **values: shade(shading, mesh.faces_array, reflect, **values),
    )


def check_directional(shading, texel_resolution):
    lights = Lights(
        ambient=(0.1, 0.2, 0.3),
        directions=((0.2, 2.0, -0.3), (-0.5, 0.1, 0.4)),
        colors=((0.5, 0.4, 0.3), (0.2, 0.3, 0.6)),
    )
    names = {"ambient": "ambient", "directions": "directions", "light_colors": "colors"}
    fields = {name: getattr(lights, attribute) for name, attribute in names.items()}
    check_shading(shading, texel_resolution, lights, lambert, fields)


def check_harmonics(shading, texel_resolution):
    lights = SphericalHarmonics(np.random.default_rng(5).normal(size=(9, 3)))
    fields = {"coefficients": lights.coefficients}
    check_shading(shading, texel_resolution, lights, harmonics, fields)


CASES = [(Unlit(), 0), (Flat(), 0), (Flat(), 2), (Gouraud(), 0), (Gouraud(), 2)]


@pytest.mark.parametrize("shading, texel_resolution", CASES)
def test_colors_and_gradients_in_single_precision(backend, shading, texel_resolution):
    check_directional(shading, texel_resolution)


@pytest.mark.f64
@pytest.mark.parametrize("shading, texel_resolution", CASES)
def test_colors_and_gradients_in_double_precision(backend, shading, texel_resolution):
    check_directional(shading, texel_resolution)


@pytest.mark.parametrize("shading, texel_resolution", [(Flat(), 0), (Gouraud(), 2)])
def test_harmonics_in_single_precision(backend, shading, texel_resolution):
    check_harmonics(shading, texel_resolution)


@pytest.mark.f64
@pytest.mark.parametrize("shading, texel_resolution", [(Flat(), 2), (Gouraud(), 0)])
def test_harmonics_in_double_precision(backend, shading, texel_resolution):
    check_harmonics(shading, texel_resolution)


def test_unlit_texels_are_read_in_place(backend):
    mesh = bumpy_mesh(texel_resolution=2)
    assert Unlit().allocate(None, mesh).colors is mesh.texels


def test_a_silhouette_has_no_colors(backend):
    assert Silhouette().allocate(None, bumpy_mesh()).colors is None


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
