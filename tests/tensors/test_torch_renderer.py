"""Scenes whose fields are tensors: images and gradients against the tape's and differences."""

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from taichi_softras.torch import Renderer, render  # noqa: E402, after the check

SOFT = tsr.SoftAggregation(sigma=1e-2, gamma=0.1, near=1.0, far=8.0)
SIZE = (10, 12)


@pytest.fixture
def shape():
    """A cube with no face upright: light on it has no kink there."""
    vertices, faces = tsr.primitives.cube()
    rng = np.random.default_rng(1)
    return vertices + rng.normal(0, 0.05, vertices.shape), faces, rng.random((8, 3))


@pytest.fixture
def scene(backend, shape):
    """A mesh, a camera, and tensors for both."""
    vertices, faces, colors = shape
    mesh = tsr.Mesh(vertices, faces, vertex_colors=colors)
    camera = tsr.Camera.look_at((1.2, 1.0, 3.0))
    given = {mesh.vertices: vertices, camera.eye: [(1.2, 1.0, 3.0)]}
    given = {
        field: torch.tensor(np.asarray(values, backend.numpy_float), requires_grad=True)
        for field, values in given.items()
    }
    return mesh, camera, given


@pytest.mark.f64
def test_gradcheck(scene):
    mesh, camera, given = scene
    renderer = Renderer(mesh, camera, SIZE, SOFT, outputs=["depth", "face_id"])

    def draw(*tensors):
        images = renderer(dict(zip(given, tensors)))
        return images["image"], images["depth"]

    images = renderer(given)
    assert images["face_id"].dtype == torch.int32 and not images["face_id"].requires_grad
    assert torch.autograd.gradcheck(draw, tuple(given.values()), eps=1e-6, atol=1e-6)


def test_it_is_the_tapes_gradient(scene):
    mesh, camera, given = scene
    renderer = Renderer(mesh, camera, SIZE, SOFT)
    image = renderer(given)["image"]
    (image**2).mean().backward()
    inner, loss = renderer.renderer, ti.field(float, shape=(), needs_grad=True)
    with ti.ad.Tape(loss):
        inner.render()
        tsr.losses.mean_squared_error(inner.image, np.zeros_like(image.detach()), loss)
    assert np.array_equal(image.detach().numpy(), inner.image.to_numpy())
    for field, tensor in given.items():
        wanted = field.grad.to_numpy()
        np.testing.assert_allclose(tensor.grad.numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_what_was_drawn_meanwhile_is_drawn_again(scene):
    mesh, camera, given = scene
    renderer = Renderer(mesh, camera, SIZE, SOFT)
    vertices, eye = given.values()

    def draw(scale):
        return (renderer({mesh.vertices: vertices * scale, camera.eye: eye})["image"] ** 2).sum()

    (draw(1.0) + draw(0.9)).backward()
    together, vertices.grad = vertices.grad, None
    draw(1.0).backward()
    draw(0.9).backward()
    torch.testing.assert_close(vertices.grad, together)


@pytest.mark.cpu
def test_textures_lights_and_materials_may_be_given(backend, shape):
    vertices, faces, _ = shape
    picture = np.random.default_rng(0).random((4, 4, 3))
    material = tsr.Material(base_color_texture=tsr.Texture(picture))
    mesh = tsr.Mesh(vertices, faces, uvs=vertices[:, :2], materials=material)
    lights = [tsr.AmbientLight((0.3, 0.3, 0.3)), tsr.PointLights([(2, 2, 3)], [(1, 1, 1)])]
    camera = tsr.Camera.look_at((1.2, 1.0, 3.0))
    renderer = Renderer(mesh, camera, SIZE, tsr.ApproximateGradient(), tsr.Phong(), lights)
    fields = [material.base_color_texture.image, material.base_color, lights[1].positions]
    given = {f: torch.from_numpy(f.to_numpy()).requires_grad_() for f in fields}
    renderer(given)["image"][..., :3].sum().backward()
    assert all(float(tensor.grad.abs().max()) > 0 for tensor in given.values())


def test_several_meshes_in_views_of_their_own(backend, shape):
    def tensor(values):
        return torch.tensor(np.asarray(values, backend.numpy_float))

    vertices, faces, colors = shape
    ball, of_ball = tsr.primitives.icosphere(1)
    meshes = [tensor(vertices).requires_grad_(), tensor(ball).requires_grad_()]
    of_faces = [torch.tensor(faces), torch.tensor(of_ball)]
    settings = {"eye": tensor((0.5, 1.0, 4.0)), "image_size": SIZE, "rasterizer": SOFT}
    both = render(meshes, of_faces, **settings)["image"]
    both.sum().backward()
    for k, (own, its_faces) in enumerate(zip(meshes, of_faces)):
        alone = own.detach().clone().requires_grad_()
        image = render(alone, its_faces, **settings)["image"]
        image.sum().backward()
        torch.testing.assert_close(both[k], image[0])
        torch.testing.assert_close(own.grad, alone.grad, rtol=1e-4, atol=1e-4)
    again = render(alone, its_faces, vertex_colors=tensor(np.ones((len(ball), 3))), **settings)
    torch.testing.assert_close(again["image"], image)


def test_cameras_share_what_is_given_once(backend, shape):
    """Eyes of two views, one target, one angle: gradients to it are the sum over the views."""
    vertices, faces, _ = shape
    vertices = torch.tensor(np.asarray(vertices, backend.numpy_float))
    eyes, faces = vertices.new_tensor([(0.5, 1.0, 4.0), (-2.0, 1.0, 3.0)]), torch.tensor(faces)
    target = vertices.new_tensor([0.1, 0.2, 0.0]).requires_grad_()
    settings = {"image_size": SIZE, "rasterizer": SOFT}
    both = render(vertices, faces, eye=eyes, target=target, **settings)["image"]
    (grad,) = torch.autograd.grad(both[..., 3].square().sum(), target)
    sum_of_grads = torch.zeros_like(grad)
    for eye, image in zip(eyes, both):
        alone = render(vertices, faces, eye=eye, target=target, **settings)["image"]
        torch.testing.assert_close(image, alone[0])
        sum_of_grads += torch.autograd.grad(alone[..., 3].square().sum(), target)[0]
    torch.testing.assert_close(grad, sum_of_grads, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_given(scene):
    mesh, camera, given = scene
    renderer = Renderer(mesh, camera, SIZE, SOFT)
    other = ti.field(float, (3,), needs_grad=True)
    with pytest.raises(ValueError, match="does not depend on"):
        renderer({other: torch.zeros(3)})
    with pytest.raises(ValueError, match=r"must have shape \(8, 3\), got \(7, 3\)"):
        renderer({mesh.vertices: given[mesh.vertices][:7]})
    with pytest.raises(TypeError, match="must be a tensor, got ndarray"):
        renderer({mesh.vertices: np.zeros((8, 3))})
