"""Light of fragments through every rasterizer: gradients to all that it comes from, and colours.

The scene has light of every kind but harmonics, which `tests/shading` holds.
"""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.funcs.lights import AMBIENT, POINT, SPOT
from taichi_softras.shading import materials
from taichi_softras.shading.outputs import OUTPUTS
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rarely import rarely
from tests.rasterizers.scenes import DEPTHS, bumpy_torus, fields_of, nearest, soft
from tests.reference import lights as twin
from tests.reference.pytorch3d_goldens import load
from tests.test_extending import assert_gradient_is_the_difference, cotangent_of

SIZE = (10, 14)
SOFT = soft("euclidean", "softmax", "product", True, True)
SHARP = tsr.ApproximateGradient(**DEPTHS)
CASES = [
    (SOFT, tsr.Phong()),
    (nearest("softmax"), tsr.PhysicallyBased()),
    (SHARP, tsr.Phong(blinn=True)),
    rarely(tsr.FilteredDerivative(**DEPTHS), tsr.Phong()),
    (tsr.Antialiased(**DEPTHS), tsr.PhysicallyBased()),
    rarely(tsr.Prefiltered(**DEPTHS, background=(-1.0, -2.0, -3.0)), tsr.Phong()),
]
SMOOTH_STEP = 1e-5  # of colours and lights: no pixel near an edge makes a kink
EXACT = (tsr.SoftAggregation, tsr.KNearest, tsr.Antialiased)
PHONG_CASES = [rarely("hardphong_ico2_cull"), "softphong_uv_box"]
MATERIAL = {
    "specular": (0.3, 0.2, 0.4),
    "shininess": (7.0,),
    "emissive": (0.05, 0.1, 0.02),
    "metallic": (0.6,),
    "roughness": (0.45,),
}


@pytest.fixture(autouse=True)
def material(monkeypatch):
    for name, values in MATERIAL.items():
        monkeypatch.setitem(materials.DEFAULTS, name, values)


def make_lights():
    return [
        tsr.AmbientLight((0.1, 0.2, 0.15)),
        tsr.PointLights([(1.5, 1.0, 1.2)], [(0.9, 0.8, 0.7)], (0.3, 0.2, 0.1)),
        tsr.SpotLights([(-0.5, 1.8, 1.0)], [(0.2, -1.0, -0.4)], [(0.5, 0.9, 0.6)], 5.0, 50.0),
    ]


def make_renderer(shading, rasterizer, lights, **settings):
    generator = np.random.default_rng(4)
    vertices, faces = bumpy_torus(generator)
    mesh = tsr.Mesh(vertices, faces, vertex_colors=generator.uniform(0.2, 0.8, vertices.shape))
    cameras = tsr.Camera.look_at((1.0, 1.5, 2.4), fov_y_degrees=45)
    settings = {"rasterizer": rasterizer, "shading": shading, "lights": lights, **settings}
    return tsr.Renderer(mesh, cameras, settings.pop("image_size", SIZE), **settings)


@pytest.mark.gradients
@pytest.mark.f64
@pytest.mark.parametrize("rasterizer, shading", CASES, ids=lambda value: type(value).__name__)
def test_gradients_of_all_that_light_comes_from(backend, rasterizer, shading):
    lights = make_lights()
    renderer = make_renderer(shading, rasterizer, lights)
    cotangent = cotangent_of(renderer.render())
    renderer.backward(cotangent)
    smooth, moving = {"vertex colors": renderer.mesh.vertex_colors, **fields_of(lights)}, {}
    if isinstance(rasterizer, EXACT):  # others approximate what moves
        moving = {"vertices": renderer.mesh.vertices, "eye": renderer.cameras.eye}
    fields = {**smooth, **moving}
    gradients = {name: field.grad.to_numpy() for name, field in fields.items()}

    def loss():
        return (cotangent * renderer.render().to_numpy()).sum()

    for name, field in fields.items():
        step = SMOOTH_STEP if name in smooth else tolerances.FINITE_DIFFERENCE_STEP
        assert_gradient_is_the_difference(field, gradients[name], loss, step, name)
    if isinstance(rasterizer, tsr.SoftAggregation):
        by_field = {field: gradients[name] for name, field in fields.items()}
        check_jacobian(renderer, cotangent, by_field)


def check_jacobian(renderer, cotangent, gradients):
    """Of a point light and the eye: its products with the cotangent are the gradient."""
    parameters = [renderer.lights[1].positions, renderer.cameras.eye]
    jacobian = renderer.jacobian(parameters)
    products = np.tensordot(cotangent, jacobian, cotangent.ndim)
    expected = np.concatenate([gradients[field].ravel() for field in parameters])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(products, expected, atol=tolerances.TRANSPOSE_DOUBLE * scale)


def light_rows(lights, points):
    """(kind, numbers of N points) of each light, as the twin takes them."""
    _, point, spot = lights
    for kind, light in ((POINT, point), (SPOT, spot)):
        names = sorted(light.parts, key=lambda name: light.parts[name][1])
        numbers = np.concatenate([getattr(light, n).to_numpy()[0].ravel() for n in names])
        yield kind, np.broadcast_to(numbers, (len(points), len(numbers)))


@pytest.mark.parametrize(
    "shading", [tsr.Phong(), tsr.Phong(blinn=True), tsr.PhysicallyBased()], ids=repr
)
def test_colors_are_those_of_the_formulas(backend, shading):
    """At each pixel, from the normals and positions that the same pass draws."""
    lights = make_lights()
    outputs = {
        "color": tsr.Unlit(),
        **{name: OUTPUTS[name] for name in ("normal_world", "position_world")},
    }
    renderer = make_renderer(shading, SHARP, lights, outputs=outputs, image_size=(40, 40))
    image = renderer.render().to_numpy()
    seen = image[..., 3] == 1
    albedo, normals, points = (
        renderer.outputs[name].to_numpy()[seen].astype(float) for name in outputs
    )
    assert len(points) > 200
    to_eye = twin.normalized(renderer.cameras.eye.to_numpy().reshape(3) - points)
    expected = albedo * twin.matt(AMBIENT, (0.1, 0.2, 0.15), None, None) + MATERIAL["emissive"]
    normals = twin.normalized(normals)
    for kind, rows in light_rows(lights, points):
        direction, color = twin.incident(kind, rows, points)
        if isinstance(shading, tsr.Phong):
            shine = MATERIAL["specular"], MATERIAL["shininess"][0]
            sent = twin.phong(shading.blinn, normals, to_eye, direction, albedo, *shine)
        else:
            metal = MATERIAL["metallic"][0], MATERIAL["roughness"][0]
            sent = twin.metallic_roughness(normals, to_eye, direction, albedo, *metal)
        expected = expected + color * sent
    error = np.abs(image[seen][:, :3] - expected).max() / expected.max()
    print(f"{shading}: {error:.1e}")
    assert error < tolerances.SINGLE_PRECISION_RELATIVE


def paint_of(golden, material):
    """What a `Mesh` takes the colours of a golden from; a texture is given to the material.

    PyTorch3D's 0 and 1 are the centres of the outer texels, ours their outer borders.
    """
    if "vertex_colors" in golden.data:
        return {"vertex_colors": golden.data["vertex_colors"]}
    texels = golden.data["texture_map"]
    material.base_color_texture = tsr.Texture(texels, wrap="clamp")
    size = np.array(texels.shape[1::-1])
    return {"uvs": (golden.data["vertex_uvs"] * (size - 1) + 0.5) / size}


def golden_scene(golden):
    """The renderer of a golden with Phong, its material and its lights."""
    light = {key: np.array(value) for key, value in golden.parameters["light_params"].items()}
    if golden.parameters["light"] == "point":
        lamp = tsr.PointLights(light["location"], light["diffuse_color"])
    else:
        lamp = tsr.DirectionalLights(light["direction"], light["diffuse_color"])
    material = tsr.Material(
        specular=(light["specular_color"] / light["diffuse_color"])[0],
        shininess=golden.parameters["material"]["shininess"],
    )
    rotation = golden.rotation
    camera = tsr.Camera.look_at(
        golden.eye,
        golden.eye + rotation[:, 2],
        rotation[:, 1],
        fov_y_degrees=golden.parameters["fov_y_degrees"],
    )
    mesh = tsr.Mesh(golden.vertices, golden.faces, **paint_of(golden, material), materials=material)
    blend = "hard" if golden.parameters["shader"].startswith("hard") else "softmax"
    return tsr.Renderer(
        mesh,
        camera,
        golden.image_size,
        tsr.KNearest(**golden.settings, **golden.numbers, blend=blend),
        tsr.Phong(two_sided=False),
        [tsr.AmbientLight(light["ambient_color"][0]), lamp],
    )


@pytest.mark.parametrize("name", PHONG_CASES)
def test_phong_of_pytorch3d(backend, name):
    """Its image, and its gradients of vertices and of colours or texels, through light and all."""
    golden = load(name)
    renderer = golden_scene(golden)
    image = renderer.render().to_numpy()
    renderer.backward(golden.weights[None])
    error = np.abs(image[0] - golden.image).max()
    mesh, key = renderer.mesh, "grad_vertex_colors"
    paint = mesh.vertex_colors
    if "texture_map" in golden.data:
        paint, key = mesh.materials[0].base_color_texture.image, "grad_texture_map"
    of_paint = relative_error(paint.grad.to_numpy(), golden.data[key])
    of_vertices = relative_error(mesh.vertices.grad.to_numpy(), golden.data["grad_vertices"])
    print(f"image {error:.1e}, gradients: {key} {of_paint:.1e}, vertices {of_vertices:.1e}")
    assert error < tolerances.PYTORCH3D_IMAGE
    assert max(of_paint, of_vertices) < tolerances.PYTORCH3D_GRADIENT


@pytest.mark.parametrize(
    "shading", [rarely(tsr.Phong()), tsr.PhysicallyBased(), rarely(tsr.Gouraud()), tsr.Flat()]
)
def test_the_worst_of_lights_and_normals_is_finite(backend, shading):
    """A light at a vertex and at the eye, two faces whose normals cancel, no light at all."""
    vertices = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]
    mesh = tsr.Mesh(vertices, [(0, 1, 2), (0, 2, 1)])
    camera = tsr.Camera.look_at((0.2, 0.3, 2.0), fov_y_degrees=45)
    near = tsr.PointLights([vertices[0], (0.2, 0.3, 2.0)], np.ones((2, 3)), (0, 0, 1))
    for lights in ([near], []):
        renderer = tsr.Renderer(mesh, camera, SIZE, SHARP, shading, lights)
        image = renderer.render().to_numpy()
        renderer.backward(np.ones_like(image))
        gradients = [
            mesh.vertices.grad,
            mesh.vertex_colors.grad,
            *(f.grad for f in fields_of(lights).values()),
        ]
        assert np.isfinite(image).all()
        assert all(np.isfinite(gradient.to_numpy()).all() for gradient in gradients)
    seen = image[..., 3] == 1
    black = MATERIAL["emissive"] if shading.lights else (0, 0, 0)
    np.testing.assert_allclose(image[seen][:, :3], np.broadcast_to(black, (seen.sum(), 3)))


def test_a_lit_shading_is_a_value(backend):
    with pytest.raises(ValueError, match=r"write Phong\(\), with brackets"):
        make_renderer(tsr.Phong, SHARP, [])


def test_the_back_of_a_face_is_lit_as_its_front(backend):
    """With `two_sided`; the light and the eye are behind."""
    mesh = tsr.Mesh([(-1, -1, 0), (1, -1, 0), (0, 1, 0)], [(0, 1, 2)])
    camera = tsr.Camera.look_at((0.0, 0.0, -3.0), fov_y_degrees=45)
    lights = [tsr.DirectionalLights([(0, 0, -1)], [(1, 1, 1)])]
    brightness = []
    for two_sided in (True, False):
        shading = tsr.Phong(two_sided=two_sided)
        renderer = tsr.Renderer(mesh, camera, SIZE, SHARP, shading, lights)
        image = renderer.render().to_numpy()
        brightness.append(image[image[..., 3] == 1][:, 0].mean() - MATERIAL["emissive"][0])
    assert brightness[0] > 0.3 and abs(brightness[1]) < 1e-6


@pytest.mark.f64
def test_cameras_of_matrices_have_eyes(backend):
    """The picture of the same camera by `look_at`; a gradient and a Jacobian by the matrices."""
    lights = make_lights()
    by_eye = make_renderer(tsr.Phong(), SOFT, lights)
    expected = by_eye.render().to_numpy()
    matrix = by_eye.cameras.view_from_world.to_numpy()
    cameras = tsr.Camera.from_matrices(matrix, projection=tsr.Perspective(45.0))
    renderer = tsr.Renderer(by_eye.mesh, cameras, SIZE, SOFT, tsr.Phong(), lights)
    np.testing.assert_allclose(renderer.render().to_numpy(), expected, atol=1e-9)
    cotangent = cotangent_of(renderer.image)
    renderer.backward(cotangent)
    gradient = cameras.view_from_world.grad.to_numpy()

    def loss():
        return (cotangent * renderer.render().to_numpy()).sum()

    assert_gradient_is_the_difference(cameras.view_from_world, gradient, loss)
    jacobian = renderer.jacobian([cameras.view_from_world])
    products = np.tensordot(cotangent, jacobian, cotangent.ndim)
    scale = np.abs(gradient).max()
    atol = tolerances.TRANSPOSE_DOUBLE * scale
    np.testing.assert_allclose(products, gradient.ravel(), atol=atol)


@pytest.mark.cpu
def test_frames_of_a_moving_mesh_are_lit_as_still_ones(backend):
    """Pass by pass, each with normals and sides of its own."""
    lights = make_lights()
    still = make_renderer(tsr.Phong(), SOFT, lights)
    mesh = still.mesh
    vertices = mesh.vertices.to_numpy()
    frames = np.stack([vertices, vertices * [1.0, -0.8, 1.1]])
    moving = tsr.Mesh(frames, mesh.faces_array, vertex_colors=mesh.vertex_colors.to_numpy())
    renderer = tsr.Renderer(
        moving, still.cameras, SIZE, SOFT, tsr.Phong(), lights, views_per_pass=1
    )
    image = renderer.render().to_numpy()
    cotangent = np.random.default_rng(1).normal(size=image.shape).astype(image.dtype)
    renderer.backward(cotangent)
    gradient, of_lights = moving.vertices.grad.to_numpy(), 0.0
    of_all_lights = lights[1].positions.grad.to_numpy()
    for frame in range(2):
        mesh.vertices.from_numpy(np.ascontiguousarray(frames[frame], vertices.dtype))
        np.testing.assert_allclose(still.render().to_numpy()[0], image[frame], atol=1e-5)
        still.backward(cotangent[frame][None])
        error = relative_error(gradient[frame], mesh.vertices.grad.to_numpy())
        assert error < tolerances.SAME_GRADIENT_SINGLE
        of_lights = of_lights + lights[1].positions.grad.to_numpy()
    assert relative_error(of_all_lights, of_lights) < tolerances.SAME_GRADIENT_SINGLE
