"""The Jacobian of the renderer: Taichi's forward mode and the rasterizers' own."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rasterizers.scenes import NUMBERS, nearest, soft
from tests.test_renderer import lit_scene, make_scene, textured_scene  # noqa: F401

SOFT = tsr.SoftAggregation(**{**NUMBERS, "sigma": 0.05})
EXACT = [soft("euclidean", "softmax", "product", True, True), nearest("softmax")]


@ti.kernel
def rotate(
    rest: ti.template(),  # (V,) vec3
    rotation: ti.template(),  # () vec3: axis times angle
    offset: ti.template(),  # (1,) vec3
    matrix: ti.template(),  # () mat3
    vertices: ti.template(),  # (V,) vec3
):
    """Rodrigues' formula, by products of matrices on purpose."""
    for _ in range(1):
        angle = rotation[None].norm()
        x, y, z = rotation[None] / angle
        cross = ti.Matrix([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        turned = ti.sin(angle) * cross + (1.0 - ti.cos(angle)) * (cross @ cross)
        matrix[None] = ti.Matrix.identity(float, 3) + turned
    for vertex in rest:
        vertices[vertex] = matrix[None] @ rest[vertex] + offset[0]


class Pose:
    """A user's own parameters, and the kernel between them and the mesh."""

    def __init__(self, mesh):
        options = {"needs_grad": True, "needs_dual": True}
        self.rotation = ti.Vector.field(3, float, (), **options)
        self.offset = ti.Vector.field(3, float, (1,), **options)
        self.matrix = ti.Matrix.field(3, 3, float, (), **options)
        self.rest = ti.Vector.field(3, float, (mesh.num_vertices,), **options)
        self.mesh = mesh
        self.rest.copy_from(mesh.vertices)
        self.rotation[None] = (0.2, -0.4, 0.1)
        self.offset[0] = (0.05, 0.1, -0.1)

    def place(self):
        rotate(self.rest, self.rotation, self.offset, self.matrix, self.mesh.vertices)


@pytest.fixture(scope="module")
def scene(backend, make_scene):  # noqa: F811
    """A renderer and its pose; two views, Gouraud shading."""
    renderer = make_scene(lit_scene)
    pose = Pose(renderer.mesh)
    yield renderer, pose
    renderer.mesh.vertices.copy_from(pose.rest)


def parameters_of(renderer, pose):
    """All kinds: the user's own, of the camera, of the lights."""
    cameras, lights = renderer.cameras, renderer.lights
    return [pose.rotation, pose.offset, cameras.eye, cameras.fov_y_degrees, lights.directions]


def numerical_jacobian(renderer, parameters, place):
    """Central differences of the image, (B, H, W, C + 1, P)."""
    columns = []
    for field in parameters:
        values = field.to_numpy()
        for index in np.ndindex(values.shape):
            images = []
            for sign in (1, -1):
                moved = values.copy()
                moved[index] += sign * tolerances.FINITE_DIFFERENCE_STEP
                field.from_numpy(moved)
                place()
                images.append(renderer.render().to_numpy())
            columns.append((images[0] - images[1]) / (2 * tolerances.FINITE_DIFFERENCE_STEP))
            field.from_numpy(values)
    return np.stack(columns, axis=-1)


def check_fields(actual, parameters):
    """(P,) against the gradients of the fields, relative to each field's largest entry."""
    for field in parameters:
        expected = field.grad.to_numpy().ravel()
        error = relative_error(actual[: expected.size], expected)
        print(f"largest relative error {error:.1e}")
        assert error < tolerances.SINGLE_PRECISION_RELATIVE
        actual = actual[expected.size :]


@pytest.mark.f64
@pytest.mark.parametrize("rasterizer", EXACT, ids=["soft", "k_nearest"])
def test_jacobian_is_the_central_difference(backend, scene, rasterizer):
    renderer, pose = scene
    renderer.rasterizer = rasterizer
    parameters = parameters_of(renderer, pose)
    jacobian = renderer.jacobian(parameters, pose.place)
    expected = numerical_jacobian(renderer, parameters, pose.place)
    assert jacobian.shape == expected.shape == (2, 5, 8, 4, 20)
    columns = [np.moveaxis(array, -1, 0) for array in (jacobian, expected)]
    error = max(relative_error(*column) for column in zip(*columns))
    print(f"largest relative error of a column {error:.1e}")
    assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


@pytest.mark.parametrize("rasterizer", [EXACT[0], tsr.FilteredDerivative()], ids=["soft", "z"])
def test_jacobian_is_the_transpose_of_the_backward_pass(backend, scene, rasterizer):
    renderer, pose = scene
    renderer.rasterizer = rasterizer
    parameters = [*parameters_of(renderer, pose)[2:], renderer.lights.ambient]
    jacobian = renderer.jacobian(parameters)
    cotangent = np.random.default_rng(0).normal(size=jacobian.shape[:-1])
    renderer.backward(cotangent)
    check_fields(np.tensordot(cotangent, jacobian, axes=4), parameters)


def test_a_users_kernel_forward_and_in_the_tape(backend, scene):
    """Products of matrices and quotients of vectors, which ti.ad.FwdMode gets wrong."""
    renderer, pose = scene
    renderer.rasterizer = EXACT[0]
    parameters = [pose.rotation, pose.offset]
    for _ in range(2):  # nothing is left over from the first
        jacobian = renderer.jacobian(parameters, pose.place)
    loss = ti.field(float, shape=(), needs_grad=True)
    image = renderer.image.to_numpy()
    with ti.ad.Tape(loss):
        pose.place()
        renderer.render()
        tsr.losses.mean_squared_error(renderer.image, np.zeros_like(image), loss)
    check_fields(np.tensordot(2 * image / image.size, jacobian, axes=4), parameters)


def test_texels_and_lights(backend, make_scene):  # noqa: F811
    """The image is linear in the ambient light: a step of 1/2 has no error but rounding."""
    renderer = make_scene(textured_scene)
    jacobian = renderer.jacobian([renderer.lights.ambient])
    ambient = renderer.lights.ambient.to_numpy()
    for channel in range(3):
        images = []
        for step in (0.5, -0.5):
            renderer.lights.ambient.from_numpy(
                ambient + np.float32(step) * np.eye(3, dtype=ambient.dtype)[channel]
            )
            images.append(renderer.render().to_numpy())
        expected = images[0] - images[1]
        np.testing.assert_allclose(
            jacobian[..., channel], expected, rtol=0, atol=tolerances.SAME_IMAGE_SINGLE
        )
    renderer.lights.ambient.from_numpy(ambient)


def test_what_has_no_jacobian_is_refused(backend, scene):
    renderer, _ = scene
    renderer.rasterizer = EXACT[0]
    for wrong in ([], renderer.cameras.eye):
        with pytest.raises(ValueError, match="parameters must be a list"):
            renderer.jacobian(wrong)
    with pytest.raises(ValueError, match=r"parameters\[1\] has no dual: make your own fields"):
        renderer.jacobian([renderer.cameras.eye, ti.field(float, 3, needs_grad=True)])
    with pytest.raises(ValueError, match=r"parameters\[0\] has no dual"):
        renderer.jacobian([renderer.mesh.faces])
    renderer.rasterizer = tsr.ApproximateGradient()
    with pytest.raises(ValueError, match="ApproximateGradient has no Jacobian"):
        renderer.jacobian([renderer.cameras.eye])
