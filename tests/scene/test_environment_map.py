"""Environment maps: their projection against integrals, what they light, gradients, errors."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.funcs.harmonics import CONSTANT, LINEAR, QUADRATIC, QUADRATIC_Z
from taichi_softras.runtime import ti
from taichi_softras.shading.projection import HARMONIC_OF_PRODUCT, integrals
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rarely import mostly, rarely
from tests.reference.lights import dot, irradiance, normalized
from tests.test_extending import (
    assert_gradient_is_the_difference,
    cotangent_of,
    make_renderer,
    soft,
)

SIZE = (3, 5)
LIT = [tsr.Flat(), tsr.Gouraud(), tsr.Phong()]


def directions_of(height, width, order=12):
    """(H, W, order^2, 3) directions in each texel, (H, W, order^2) their pieces of the sphere."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    shares = (nodes + 1) / 2
    polar = np.pi * (np.arange(height)[:, None] + shares) / height
    azimuth = 2 * np.pi * ((np.arange(width)[:, None] + shares) / width - 0.5)
    polar, azimuth = polar[:, None, :, None], azimuth[None, :, None, :]
    x, y, z = np.broadcast_arrays(
        np.sin(polar) * np.sin(azimuth), np.cos(polar), -np.sin(polar) * np.cos(azimuth)
    )
    area = np.sin(polar) * np.outer(weights, weights) / 4 * 2 * np.pi**2 / (height * width)
    area = np.broadcast_to(area, x.shape)
    shape = (height, width, order**2)
    return np.stack([x, y, z], axis=-1).reshape(*shape, 3), area.reshape(shape)


def basis_of(directions):
    """(..., 9) real spherical harmonics."""
    x, y, z = np.moveaxis(directions, -1, 0)
    one, linear, quadratic = CONSTANT, 1.5 * LINEAR, 4 * QUADRATIC
    terms = [one + 0 * x, linear * y, linear * z, linear * x, quadratic * x * y, quadratic * y * z]
    terms += [4 * QUADRATIC_Z * (3 * z * z - 1), quadratic * x * z, quadratic / 2 * (x * x - y * y)]
    return np.stack(terms, axis=-1)


def projection(picture):
    """(9, 3) by a rule on each texel."""
    directions, area = directions_of(*picture.shape[:2])
    return np.einsum("hwnk,hwn,hwc->kc", basis_of(directions), area, picture)


def random_picture(size=SIZE):
    return np.random.default_rng(2).uniform(0.1, 1.5, (*size, 3))


def lights_with(light):
    """Among others."""
    return [tsr.AmbientLight(), tsr.SphericalHarmonics(np.full((9, 3), 0.1)), light]


@pytest.mark.parametrize("size", [(1, 1), (2, 1), SIZE, (8, 16)])
def test_integrals_over_texels(size):
    rows, columns = integrals(*size)
    actual = np.zeros((*size, 9))
    for product, harmonic in enumerate(HARMONIC_OF_PRODUCT):
        actual[..., harmonic] += rows[:, None, product] * columns[:, product]
    directions, area = directions_of(*size, order=24)
    expected = np.einsum("hwnk,hwn->hwk", basis_of(directions), area)
    np.testing.assert_allclose(actual, expected, atol=tolerances.TWIN_CLOSED_FORM)


@pytest.mark.f64
@pytest.mark.parametrize("shading", mostly(LIT, [tsr.Phong()]), ids=repr)
def test_a_picture_lights_as_its_projection(backend, shading):
    """Both among other lights; values and gradients to texels, by a rule on each texel."""
    picture = random_picture()
    environment = tsr.EnvironmentMap(picture)
    harmonics = tsr.SphericalHarmonics(projection(picture))
    one, other = (
        make_renderer(soft(), shading, lights=lights_with(light))
        for light in (environment, harmonics)
    )
    image, expected = one.render().to_numpy(), other.render().to_numpy()
    np.testing.assert_allclose(image, expected, atol=tolerances.TWIN_DOUBLE)
    cotangent = cotangent_of(one.image)
    one.backward(cotangent)
    gradient = environment.image.grad.to_numpy()
    other.backward(cotangent)
    directions, area = directions_of(*SIZE)
    of_coefficients = harmonics.coefficients.grad.to_numpy()
    expected = np.einsum("hwnk,hwn,kc->hwc", basis_of(directions), area, of_coefficients)
    np.testing.assert_allclose(
        gradient, expected, atol=tolerances.TRANSPOSE_DOUBLE * np.abs(expected).max()
    )


@pytest.mark.f64
@pytest.mark.parametrize("shading", [tsr.Flat(), rarely(tsr.Phong())], ids=repr)
def test_gradients_are_differences(backend, shading):
    """Those to texels; and the Jacobian's, where it is quickly compiled."""
    environment = tsr.EnvironmentMap(random_picture())
    renderer = make_renderer(soft(), shading, lights=lights_with(environment))
    cotangent = cotangent_of(renderer.render())
    renderer.backward(cotangent)
    gradient = environment.image.grad.to_numpy()
    assert_gradient_is_the_difference(
        environment.image,
        gradient,
        lambda: (cotangent * renderer.render().to_numpy()).sum(),
        1e-5,
    )
    if shading != tsr.Flat():
        return
    jacobian = renderer.jacobian([environment.image])
    products = np.tensordot(cotangent, jacobian, cotangent.ndim)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(products, gradient.ravel(), atol=tolerances.TRANSPOSE_DOUBLE * scale)


@pytest.mark.parametrize("shading", LIT, ids=repr)
@pytest.mark.parametrize("size", [(1, 1), (16, 32)])
def test_a_constant_picture_is_an_ambient_light(backend, shading, size):
    color = (0.9, 0.6, 0.3)
    lights = tsr.EnvironmentMap(np.full((*size, 3), color)), tsr.AmbientLight(color)
    actual, expected = (
        make_renderer(soft(), shading, lights=light).render().to_numpy() for light in lights
    )
    assert expected.max() > 0.3
    error = tolerances.SINGLE_PRECISION_RELATIVE
    np.testing.assert_allclose(actual, expected, atol=error)


def test_matt_surfaces_under_a_sky(backend):
    """Nine harmonics against the integral of light times cosine: a few per cent of the largest."""
    normals = np.random.default_rng(3).normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    directions, area = directions_of(16, 32, order=4)
    polar, azimuth = np.mgrid[0.5:16, 0.5:32]
    picture = np.exp(-((polar - 4) ** 2 + (azimuth - 9) ** 2) / 8) + 0.3 * (polar < 8)
    cosines = np.maximum(np.einsum("hwnk,mk->mhwn", directions, normals), 0)
    expected = np.einsum("mhwn,hwn,hw->m", cosines, area, picture) / np.pi
    coefficients = projection(np.repeat(picture[..., None], 3, axis=-1))
    actual = irradiance(np.tile(coefficients, (50, 1, 1)), normals)[:, 0]
    print(np.abs(actual - expected).max() / expected.max())
    assert np.abs(actual - expected).max() < 0.04 * expected.max()


def make_mirror(roughness=0.5, **textures):
    """A metal quad before the camera, under a random sky."""
    vertices = np.array([(-1, -1, 0.2), (1, -1, 0), (1, 1, 0.1), (-1, 1, 0.4)])
    material = tsr.Material((0.9, 0.6, 0.4), 1.0, roughness, **textures)
    uvs = vertices[:, :2] * 0.5 + 0.5
    faces = [(0, 1, 2), (0, 2, 3)]
    mesh = tsr.Mesh(vertices, faces, uvs=uvs, uv_faces=faces, materials=[material])
    sky = tsr.EnvironmentMap(random_picture((16, 32)))
    return mesh, tsr.Camera.look_at((0.3, -0.2, 3.0), fov_y_degrees=40), sky, material


def mirrored_twin(picture, direction):
    """Bilinear, around the columns and up to the poles."""
    height, width, _ = picture.shape
    x, y, z = np.moveaxis(direction, -1, 0)
    column = (0.5 + np.arctan2(x, -z) / (2 * np.pi)) * width - 0.5
    row = np.clip(np.arccos(y / np.linalg.norm(direction, axis=-1)) / np.pi * height - 0.5, 0, None)
    total = 0
    for down in (0, 1):
        for right in (0, 1):
            i, j = np.floor(row).astype(int) + down, np.floor(column).astype(int) + right
            share = (1 - np.abs(row - i)) * (1 - np.abs(column - j))
            total = total + share[..., None] * picture[np.minimum(i, height - 1), j % width]
    return total


@pytest.mark.f64
@pytest.mark.parametrize("roughness, box", [(0.0, 1), (0.5, 4), (1.0, 16)])
def test_a_metal_mirrors_the_picture(backend, roughness, box):
    """Value by value against NumPy; alpha times 16 rows are a level's texel."""
    mesh, camera, sky, _ = make_mirror(roughness)
    outputs = ["position_world", "normal_world"]
    renderer = tsr.Renderer(
        mesh,
        camera,
        (8, 8),
        tsr.ApproximateGradient(),
        tsr.PhysicallyBased(),
        lights=sky,
        outputs=outputs,
    )
    image = renderer.render().to_numpy()
    point, normal = (renderer.outputs[name].to_numpy() for name in outputs)
    seen = image[..., 3] == 1
    assert seen.sum() > 30
    to_eye = normalized(camera.eye.to_numpy()[0] - point[seen])
    normal = normalized(normal[seen])
    cosine = dot(normal, to_eye)
    picture = sky.image.to_numpy().reshape(16 // box, box, 32 // box, box, 3).mean(axis=(1, 3))
    x, fall = 1 - roughness, np.exp2(-9.28 * cosine)
    middle = np.minimum(x * x, fall) * x + 0.0425 - 0.0275 * roughness
    share = np.float64((0.9, 0.6, 0.4)) * (1.04 - 0.572 * roughness - 1.04 * middle)
    share = share + 1.04 * middle - 0.04 + 0.022 * roughness
    expected = share * mirrored_twin(picture, 2 * cosine * normal - to_eye)
    np.testing.assert_allclose(image[seen][:, :3], expected, atol=tolerances.TWIN_DOUBLE)


@pytest.mark.f64
def test_gradients_of_what_is_mirrored(backend):
    """To all that says where the picture is looked at, and to it."""
    generator = np.random.default_rng(4)
    bumps = tsr.Texture(generator.uniform((0.4, 0.4, 0.8), (0.6, 0.6, 1.0), (4, 4, 3)))
    rough = tsr.Texture(generator.uniform(0.4, 1.0, (4, 4, 3)))
    mesh, camera, sky, material = make_mirror(
        0.6, normal_texture=bumps, metallic_roughness_texture=rough
    )
    renderer = tsr.Renderer(mesh, camera, (8, 8), soft(), tsr.PhysicallyBased(), lights=sky)
    cotangent = cotangent_of(renderer.render())
    renderer.backward(cotangent)
    fields = [mesh.vertices, mesh.uvs, bumps.image, rough.image, sky.image]
    fields += [camera.eye, material.roughness, material.metallic, material.base_color]
    gradients = [field.grad.to_numpy() for field in fields]
    for field, gradient in zip(fields, gradients):
        step = 0.1 if field is sky.image else 1e-6  # linear, and its first texels count little
        assert_gradient_is_the_difference(
            field, gradient, lambda: (cotangent * renderer.render().to_numpy()).sum(), step
        )


@pytest.mark.f64
def test_the_jacobian_of_what_is_mirrored(backend):
    """Without materials, by a method that finds the nearest face."""
    environment = tsr.EnvironmentMap(random_picture())
    renderer = make_renderer(tsr.FilteredDerivative(), tsr.PhysicallyBased(), lights=environment)
    cotangent = cotangent_of(renderer.render())
    renderer.backward(cotangent)
    fields = [environment.image, renderer.cameras.eye]
    gradient = np.concatenate([field.grad.to_numpy().ravel() for field in fields])
    products = np.tensordot(cotangent, renderer.jacobian(fields), cotangent.ndim)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(products, gradient, atol=tolerances.TRANSPOSE_DOUBLE * scale)


def test_a_mirror_in_a_constant_room(backend):
    """However rough and whatever it is, it sends back no more than there is; a metal of white all
    but a few per cent, the fit's error. Without specular light, face textures are lit as matt."""
    picture, color = tsr.EnvironmentMap(np.ones((8, 16, 3))), tsr.AmbientLight((1, 1, 1))
    vertices, faces = tsr.primitives.icosphere(1)
    for metallic, roughness in ((1.0, 0.0), (1.0, 1.0), (0.0, 0.5)):
        material = tsr.Material((1, 1, 1), metallic, roughness)
        mesh = tsr.Mesh(vertices, faces, materials=[material])
        camera = tsr.Camera.look_at((1.0, 0.7, 3.0), fov_y_degrees=45)
        renderer = tsr.Renderer(
            mesh, camera, SIZE, tsr.ApproximateGradient(), tsr.PhysicallyBased(), lights=picture
        )
        image = renderer.render().to_numpy()
        light = image[image[..., 3] == 1][:, :3]
        assert light.max() < 1.01 and light.min() > (0.4 if roughness == 1.0 else 0.9), light.min()
    texels = np.random.default_rng(0).uniform(0.2, 0.8, (len(faces), 4, 3))
    mesh = tsr.Mesh(vertices, faces, texels=texels.reshape(len(faces), 2, 2, 3))
    one, other = (
        tsr.Renderer(mesh, camera, SIZE, soft(), tsr.PhysicallyBased(), lights=light).render()
        for light in (picture, color)
    )
    error = tolerances.SINGLE_PRECISION_RELATIVE
    np.testing.assert_allclose(one.to_numpy(), other.to_numpy(), atol=error)


def test_where_the_sky_is(backend):
    """Up, ahead (-z) and the right (+x) of a picture light what faces there most."""
    corners = np.eye(3)
    size = (8, 16)
    for texel, direction in (((0, 3), (0, 1, 0)), ((4, 8), (0, 0, -1)), ((4, 12), (1, 0, 0))):
        picture = np.zeros((*size, 3))
        picture[texel] = 1
        light = irradiance(np.tile(projection(picture), (6, 1, 1)), np.vstack([corners, -corners]))
        sums = light.sum(axis=1)
        np.testing.assert_array_equal(np.vstack([corners, -corners])[np.argmax(sums)], direction)


def test_two_renderers_share_a_map_in_one_tape(backend):
    """Gradients add up; a picture that is assigned is drawn."""
    environment = tsr.EnvironmentMap(np.zeros((*SIZE, 3)))
    first, second = (make_renderer(soft(), tsr.Flat(), lights=environment) for _ in range(2))
    environment.image = random_picture()
    loss = ti.field(float, (), needs_grad=True)
    gradients = []
    for renderers in ([first], [second], [first, second]):
        with ti.ad.Tape(loss):
            for renderer in renderers:
                renderer.render()
                tsr.losses.mean_squared_error(renderer.image, np.zeros((1, 10, 14, 4)), loss)
        gradients.append(environment.image.grad.to_numpy())
    assert np.abs(gradients[0]).min() > 0
    assert relative_error(gradients[2], gradients[0] + gradients[1]) < 1e-6


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((4, 8)), r"image must have shape \(H, W, 3\), not empty, got \(4, 8\)"),
        (np.zeros((4, 8, 4)), r"image must have shape \(H, W, 3\), not empty, got \(4, 8, 4\)"),
        (np.zeros((0, 8, 3)), r"image must have shape \(H, W, 3\), not empty"),
        (np.full((4, 8, 3), np.nan), "image must be finite, got 96 entries that are NaN"),
        ("sky.hdr", r"got a path: write images.load_image\('sky.hdr'\)"),
    ],
)
def test_environment_maps_refuse(backend, image, message):
    with pytest.raises(ValueError, match=message):
        tsr.EnvironmentMap(image)


def test_numbers_that_are_not_finite_are_named(backend):
    environment = tsr.EnvironmentMap(np.ones((*SIZE, 3)))
    renderer = make_renderer(soft(), tsr.Flat(), lights=environment)
    environment.image[1, 2] = [np.nan, 1, 1]
    with pytest.raises(ValueError, match=r"lights.image\[1, 2, 0\] = nan"):
        renderer.render()
