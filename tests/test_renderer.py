"""The renderer under a tape: gradients of everything in the scene, and a user's own kernel."""

import functools

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from taichi_softras.runtime import ti
from tests import tolerances
from tests.gradcheck import check_gradient, recorded_gradients
from tests.rarely import rarely
from tests.rasterizers.scenes import NUMBERS, bumpy_torus, draw_twin

IMAGE_SIZE = (5, 8)
SOFT = tsr.SoftAggregation(**{**NUMBERS, "sigma": 0.05})
VIEW_FROM_WORLD = np.array(
    [[[0.9, 0.1, -0.4, 0.1], [0.2, 0.9, 0.3, -0.1], [0.4, -0.35, 0.85, -3.0], [0, 0, 0, 1]]]
)
CLIP_FROM_VIEW = np.array([[1.4, 0, 0.1, 0], [0.1, 2.1, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0]])


def make_mesh(**texels):
    generator = np.random.default_rng(8)
    vertices, faces = bumpy_torus(generator)
    colors = {"vertex_colors": generator.uniform(size=vertices.shape)}
    for kind, resolution in texels.items():
        colors = {kind: generator.uniform(size=(len(faces), *resolution, 3))}
    return tsr.Mesh(vertices, faces, **colors)


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
    return make_renderer(make_mesh(texels=(2, 2)), cameras, tsr.Flat())


def unlit_scene():
    """Vertex colours as they are, one camera of explicit matrices."""
    cameras = tsr.Camera.from_matrices(VIEW_FROM_WORLD, CLIP_FROM_VIEW)
    return make_renderer(make_mesh(), cameras, tsr.Unlit())


def silhouette_scene():
    """No colour, one camera that carries no gradients."""
    cameras = tsr.Camera.look_at(eye=(1.0, 1.5, 2.5), fov_y_degrees=60, needs_grad=False)
    return make_renderer(make_mesh(), cameras, tsr.Silhouette())


def depth_scene():
    """Depth and alpha, one perspective camera."""
    cameras = tsr.Camera.look_at(eye=(1.0, 1.5, 2.5), fov_y_degrees=60)
    return make_renderer(make_mesh(), cameras, tsr.Depth())


SCENES = [lit_scene, textured_scene, unlit_scene, silhouette_scene, depth_scene]


@pytest.fixture(scope="module")
def make_scene(backend):
    """Makes each scene once: compiling is what takes time here."""
    return functools.lru_cache(None)(lambda make: make())


def differentiated_fields(renderer) -> dict:
    """All fields with gradients that the image depends on."""
    mesh, cameras, lights = renderer.mesh, renderer.cameras, renderer.lights
    fields = {"vertices": mesh.vertices}
    if renderer.image.n == 4:
        fields["colors"] = mesh.face_colors or mesh.vertex_colors
    if not isinstance(renderer.shading, (tsr.Unlit, tsr.Silhouette, tsr.Depth)):
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


@pytest.mark.parametrize("scene", [textured_scene, unlit_scene, depth_scene])
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


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def cube_renderers(backend):
    """Texture cubes under each shading, drawn by a z-buffer that reads them."""
    mesh = make_mesh(texture_cubes=(2, 2, 2))
    cameras = tsr.Camera.look_at(eye=(1.0, 1.5, 2.5), fov_y_degrees=60)
    shadings = {"Unlit": tsr.Unlit(), "Flat": tsr.Flat(), "Gouraud": tsr.Gouraud()}
    renderers = {name: make_renderer(mesh, cameras, value) for name, value in shadings.items()}
    for renderer in renderers.values():
        renderer.rasterizer = tsr.ApproximateGradient(near=1.0, far=9.0, background=(0.1, 0.2, 0.3))
    return renderers


@pytest.mark.f64
@pytest.mark.parametrize("shading", ["Unlit", rarely("Flat"), rarely("Gouraud")])
def test_gradient_of_texture_cubes(backend, cube_renderers, shading):
    """Lights and cubes; what moves the mesh has no derivative here."""
    renderer = cube_renderers[shading]
    fields = differentiated_fields(renderer)
    names = ("colors", "ambient", "light_colors")
    fields = {name: fields[name] for name in names if name in fields}
    check_gradient(renderer.render, fields, renderer.image)


def test_the_renderer_draws_texture_cubes_as_rasterize_does(backend, cube_renderers):
    renderer = cube_renderers["Unlit"]
    image = renderer.render().to_numpy()
    expected, _ = tsr.rasterize(
        renderer.vertices_ndc.to_numpy()[:, renderer.mesh.faces_array],
        renderer.mesh.texture_cubes.to_numpy()[None],
        image_size=IMAGE_SIZE,
        rasterizer=renderer.rasterizer,
    )
    np.testing.assert_allclose(image, expected, atol=tolerances.SAME_IMAGE_SINGLE)


def test_texture_cubes_of_one_colour_are_lit_as_vertices_are(backend):
    """A cube is trilinear, so the light between vertices stays linear on the face."""
    cameras = tsr.Camera.look_at(eye=(1.0, 1.5, 2.5), fov_y_degrees=60, needs_grad=False)
    vertices, faces = bumpy_torus(np.random.default_rng(8))
    images = []
    for colors in ({}, {"texture_cubes": np.ones((len(faces), 3, 3, 3, 3))}):
        renderer = make_renderer(tsr.Mesh(vertices, faces, **colors), cameras, tsr.Gouraud())
        renderer.rasterizer = tsr.FilteredDerivative(overdraw=False)
        images.append(renderer.render().to_numpy())
    np.testing.assert_allclose(*images, atol=tolerances.CUBE_MARGIN)


@pytest.mark.f64
@pytest.mark.parametrize("shading", [rarely("Unlit"), "Gouraud"])
def test_gradient_of_texture_cubes_where_all_is_exact(backend, cube_renderers, shading):
    """Soft faces over cubes: vertices and camera move what is looked up."""
    renderer = cube_renderers[shading]
    z_buffer, renderer.rasterizer = renderer.rasterizer, SOFT
    fields = differentiated_fields(renderer)
    values = {name: field.to_numpy() for name, field in fields.items()}
    check_gradient(renderer.render, fields, renderer.image)
    for name, field in fields.items():
        field.from_numpy(values[name])
    renderer.rasterizer = z_buffer


ALL_METHODS = [
    tsr.SoftAggregation(),
    tsr.KNearest(8),
    tsr.ApproximateGradient(),
    tsr.FilteredDerivative(),
]


@pytest.mark.parametrize("rasterizer", ALL_METHODS, ids=lambda value: type(value).__name__)
def test_depth_of_a_cube(backend, rasterizer):
    """A camera at distance 5 from the centre of [-1, 1]^3; depth follows the front face alone."""
    cameras = tsr.Camera.look_at((0, 0, 5), target=(0, 0, 0), fov_y_degrees=60)
    mesh = tsr.Mesh(*tsr.primitives.cube())
    renderer = tsr.Renderer(mesh, cameras, (16, 16), rasterizer, tsr.Depth())
    depth, alpha = np.moveaxis(renderer.render().to_numpy()[0], -1, 0)
    np.testing.assert_allclose(depth[6:10, 6:10], 4, atol=tolerances.SINGLE_PRECISION_RELATIVE)
    assert alpha[6:10, 6:10].min() > 0.9  # 15/16 where two soft faces meet
    assert depth[0, 0] == np.float32(renderer.depth_range[1]) and alpha[0, 0] == 0

    grad_image = np.zeros((1, 16, 16, 2))
    grad_image[0, 6:10, 6:10, 0] = 1 / 16
    renderer.backward(grad_image)
    front = mesh.vertices.to_numpy()[:, 2] > 0
    gradient = mesh.vertices.grad.to_numpy()
    assert gradient[front, 2].sum() == pytest.approx(-1, abs=tolerances.SINGLE_PRECISION_RELATIVE)
    assert np.abs(gradient[~front]).max() < tolerances.SINGLE_PRECISION_RELATIVE
