"""The renderer under a tape: gradients of everything in the scene, and a user's own kernel."""

import functools

import numpy as np
import pytest
import taichi as ti

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from tests import tolerances
from tests.gradcheck import check_gradient, recorded_gradients
from tests.rasterizers.scenes import NUMBERS, bumpy_torus, draw_twin

IMAGE_SIZE = (5, 8)
SOFT = tsr.SoftAggregation(**{**NUMBERS, "sigma": 0.05})
VIEW_FROM_WORLD = np.array(
    [[[0.9, 0.1, -0.4, 0.1], [0.2, 0.9, 0.3, -0.1], [0.4, -0.35, 0.85, -3.0], [0, 0, 0, 1]]]
)
CLIP_FROM_VIEW = np.array([[1.4, 0, 0.1, 0], [0.1, 2.1, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0]])


def make_mesh(texel_resolution=0):
    generator = np.random.default_rng(8)
    vertices, faces = bumpy_torus(generator)
    if texel_resolution == 0:
        return tsr.Mesh(vertices, faces, vertex_colors=generator.uniform(size=vertices.shape))
    shape = (len(faces), texel_resolution, texel_resolution, 3)
    return tsr.Mesh(vertices, faces, texels=generator.uniform(size=shape))


def make_renderer(mesh, cameras, shading):
    lights = tsr.Lights(
        ambient=(0.2, 0.3, 0.4),
        directions=((0.2, 1.0, 0.3), (-0.5, 0.1, 0.4)),
        colors=((0.5, 0.4, 0.3), (0.2, 0.3, 0.1)),
    )
    return tsr.Renderer(mesh, cameras, IMAGE_SIZE, rasterizer=SOFT, shading=shading, lights=lights)


def lit_scene():
    """Gouraud shading, two perspective cameras."""
    cameras = tsr.Camera.look_at(
        eye=[[1.0, 1.5, 2.5], [-2.0, 0.5, 2.0]],
        target=(0.1, 0.0, -0.1),
        up=(0.1, 1.0, 0.2),
        fov_y_degrees=60,
    )
    return make_renderer(make_mesh(), cameras, tsr.Gouraud())


def textured_scene():
    """Texels with flat shading, one orthographic camera."""
    projection = tsr.Orthographic(height=3.0)
    cameras = tsr.Camera.look_at(eye=(0.5, 1.5, 2.5), projection=projection)
    return make_renderer(make_mesh(texel_resolution=2), cameras, tsr.Flat())


def unlit_scene():
    """Vertex colours as they are, one camera of explicit matrices."""
    cameras = tsr.Camera.from_matrices(VIEW_FROM_WORLD, CLIP_FROM_VIEW)
    return make_renderer(make_mesh(), cameras, tsr.Unlit())


def silhouette_scene():
    """No colour, one camera that carries no gradients."""
    cameras = tsr.Camera.look_at(eye=(1.0, 1.5, 2.5), fov_y_degrees=60, needs_grad=False)
    return make_renderer(make_mesh(), cameras, tsr.Silhouette())


SCENES = [lit_scene, textured_scene, unlit_scene, silhouette_scene]


@pytest.fixture(scope="session")
def make_scene(backend):
    """Makes each scene once: compiling is what takes time here."""
    return functools.lru_cache(None)(lambda make: make())


def differentiated_fields(renderer) -> dict:
    """All fields with gradients that the image depends on."""
    mesh, cameras, lights = renderer.mesh, renderer.cameras, renderer.lights
    fields = {"vertices": mesh.vertices}
    if renderer.image.n == 4:
        fields["colors"] = mesh.vertex_colors if mesh.texels is None else mesh.texels
    if not isinstance(renderer.shading, (tsr.Unlit, tsr.Silhouette)):
        fields.update(
            ambient=lights.ambient, light_directions=lights.directions, light_colors=lights.colors
        )
    if cameras.needs_grad:
        names = ["eye", "target", "up", "fov_y_degrees", "height"]
        if cameras.eye is None:
            names = ["view_from_world", "clip_from_view"]
        fields.update({name: getattr(cameras, name) for name in names})
    return {name: field for name, field in fields.items() if field is not None}


@pytest.mark.f64
@pytest.mark.parametrize("scene", SCENES)
def test_gradients_of_the_whole_scene(backend, make_scene, scene):
    renderer = make_scene(scene)
    fields = differentiated_fields(renderer)
    values = {name: field.to_numpy() for name, field in fields.items()}
    check_gradient(renderer.render, fields, renderer.image)
    for name, field in fields.items():  # undo the last step of the differences
        field.from_numpy(values[name])


@pytest.mark.parametrize("scene", [textured_scene, unlit_scene])
def test_backward_is_what_a_tape_gives(backend, make_scene, scene):
    renderer = make_scene(scene)
    fields = differentiated_fields(renderer)
    cotangent = np.random.default_rng(0).normal(size=(*renderer.image.shape, renderer.image.n))
    expected = recorded_gradients(renderer.render, fields, renderer.image, cotangent)
    renderer.render()
    for _ in range(2):  # gradients are cleared, not added up
        renderer.backward(cotangent)
        for name, field in fields.items():
            assert_close(field.grad.to_numpy(), expected[name])


@ti.kernel
def translate(
    rest: ti.template(),  # (V,) vec3 world
    offset: ti.template(),  # () vec3 world
    vertices: ti.template(),  # (V,) vec3 world
):
    for vertex in rest:
        vertices[vertex] = rest[vertex] + offset[None]


def check_translation(renderer):
    """A user's kernel writes the vertices; the twin of all that follows is NumPy."""
    tree = FieldTree()
    rest, offset = tree.add((renderer.mesh.num_vertices,), (3,)), tree.add((), (3,))
    tree.place()
    rest.copy_from(renderer.mesh.vertices)
    offset[None] = (0.1, -0.2, 0.15)
    vertices, faces = rest.to_numpy().astype(float), renderer.mesh.faces_array
    colors = renderer.mesh.vertex_colors.to_numpy()[faces][None]

    def run_forward():
        translate(rest, offset, renderer.mesh.vertices)
        renderer.render()

    def twin(offset):
        view = (vertices + offset) @ VIEW_FROM_WORLD[0, :3, :3].T + VIEW_FROM_WORLD[0, :3, 3]
        clip = view @ CLIP_FROM_VIEW[:, :3].T + CLIP_FROM_VIEW[:, 3]
        aspect = IMAGE_SIZE[1] / IMAGE_SIZE[0]
        ndc = np.stack([aspect * clip[:, 0] / clip[:, 3], clip[:, 1] / clip[:, 3], -view[:, 2]], 1)
        return draw_twin(ndc[faces][None], colors, IMAGE_SIZE, SOFT)

    check_gradient(run_forward, {"offset": offset}, renderer.image, twin)
    renderer.mesh.vertices.copy_from(rest)


def test_a_users_kernel_in_the_tape(backend, make_scene):
    check_translation(make_scene(unlit_scene))


@pytest.mark.f64
def test_a_users_kernel_in_the_tape_in_double_precision(backend, make_scene):
    check_translation(make_scene(unlit_scene))


@ti.kernel
def sum_squares(image: ti.template(), loss: ti.template()):
    for pixel in ti.grouped(image):
        loss[None] += image[pixel].norm_sqr()


@pytest.fixture(scope="session")
def loss(backend):
    return ti.field(float, shape=(), needs_grad=True)


def gradient_of_vertices(loss, *renderers):
    """Of the sum of squares of their images."""
    with ti.ad.Tape(loss):
        for renderer in renderers:
            renderer.render()
        for renderer in renderers:
            sum_squares(renderer.image, loss)
    return renderers[0].mesh.vertices.grad.to_numpy()


def assert_close(gradient, expected):
    tolerance = tolerances.SAME_GRADIENT_SINGLE * np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance)


def test_every_tape_starts_anew(backend, make_scene, loss):
    renderer = make_scene(unlit_scene)
    first = gradient_of_vertices(loss, renderer)
    assert np.abs(first).max() > 0
    assert_close(gradient_of_vertices(loss, renderer), first)


def test_two_renderers_of_one_mesh_in_one_tape(backend, make_scene, loss):
    """Gradients of the vertices they share add up."""
    unlit = make_scene(unlit_scene)
    other = make_renderer(unlit.mesh, unlit.cameras, tsr.Silhouette())
    expected = gradient_of_vertices(loss, unlit) + gradient_of_vertices(loss, other)
    assert_close(gradient_of_vertices(loss, unlit, other), expected)


def test_fronts_are_counter_clockwise(backend):
    """White triangles at the left and right of a camera at +z; the right one shows its back."""
    triangle, face = tsr.primitives.triangle()
    vertices = np.concatenate([triangle - [1, 0, 0], triangle + [1, 0, 0]])
    mesh = tsr.Mesh(vertices, np.concatenate([face, face[:, ::-1] + 3]))
    cameras = tsr.Camera.look_at((0, 0, 3), fov_y_degrees=60, needs_grad=False)
    rasterizer = tsr.SoftAggregation(color="hard", double_sided=False, background=0.5)
    renderer = tsr.Renderer(mesh, cameras, (12, 12), rasterizer=rasterizer, shading=tsr.Unlit())
    image = renderer.render()
    assert image is renderer.image
    image = image.to_numpy()[0]
    expected = [[1, 1, 1, 1], [0.5, 0.5, 0.5, 1]]
    np.testing.assert_allclose(image[6, [2, 9]], expected, atol=tolerances.SAME_IMAGE_SINGLE)
