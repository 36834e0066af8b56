"""Further channels that are drawn in the same pass, with their gradients."""

import dataclasses

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from taichi_softras.rasterizers.fragments import pass_on, pass_on_vjp
from taichi_softras.runtime import ti
from taichi_softras.shading.base import VARYINGS
from taichi_softras.shading.outputs import ViewNormal
from tests import tolerances
from tests.gradcheck import check_gradient, relative_error
from tests.rarely import rarely
from tests.rasterizers.scenes import NUMBERS, bumpy_torus

IMAGE_SIZE = (6, 9)
SOFT = tsr.SoftAggregation(**{**NUMBERS, "sigma": 0.05})
METHODS = [
    SOFT,
    tsr.KNearest(50, sigma=0.05),
    tsr.ApproximateGradient(),
    tsr.FilteredDerivative(overdraw=False),
]
NAMES = ("depth", "normal_world", "position_world", "normal_view", "barycentric")


def make_renderer(shading, outputs, rasterizer=SOFT, mesh=None, cameras=None, **options):
    vertices, faces = bumpy_torus(np.random.default_rng(3))
    colors = np.random.default_rng(4).uniform(size=vertices.shape)
    mesh = mesh or tsr.Mesh(vertices, faces, vertex_colors=colors)
    if cameras is None:
        cameras = tsr.Camera.look_at([[0.6, 1.0, 2.8], [-1.0, 0.5, 2.5]], fov_y_degrees=50)
    return tsr.Renderer(mesh, cameras, IMAGE_SIZE, rasterizer, shading, outputs=outputs, **options)


@pytest.mark.parametrize("rasterizer", METHODS, ids=lambda method: type(method).__name__)
def test_an_output_is_what_a_renderer_of_its_own_draws(backend, rasterizer):
    """Image, alpha and depth of one pass, against those of two."""
    both = make_renderer(tsr.Flat(), ("depth", "normal_world"), rasterizer)
    image = both.render().to_numpy()
    alone = [
        make_renderer(shading, (), rasterizer, both.mesh) for shading in (tsr.Flat(), tsr.Depth())
    ]
    color, depth = (renderer.render().to_numpy() for renderer in alone)
    tolerance = tolerances.SAME_IMAGE_SINGLE
    np.testing.assert_allclose(image, color, atol=tolerance)
    found = both.outputs["depth"].to_numpy()
    assert found.shape == (2, *IMAGE_SIZE)
    np.testing.assert_allclose(found, depth[..., 0], rtol=tolerance)
    assert both.outputs["normal_world"].to_numpy().shape == (2, *IMAGE_SIZE, 3)


@ti.kernel
def copy(source: ti.template(), target: ti.template(), first: int):
    for pixel in ti.grouped(source):
        for k in ti.static(range(source.n)):
            target[pixel][first + k] = source[pixel][k]


@ti.kernel
def copy_scalars(source: ti.template(), target: ti.template(), index: int):
    for pixel in ti.grouped(source):
        target[pixel][index] = source[pixel]


@pytest.mark.gradients
@pytest.mark.f64
@pytest.mark.parametrize("shading", [tsr.Gouraud(), rarely(tsr.Silhouette())])
def test_gradients_of_all_outputs(backend, shading):
    """They and the image together, on one tape, by everything that moves them."""
    renderer = make_renderer(shading, NAMES)
    tree = FieldTree()
    everything = tree.add(renderer.image.shape, (renderer.image.n + 13,))
    tree.place()

    def run_forward():
        renderer.render()
        copy(renderer.image, everything, 0)
        copy_scalars(renderer.outputs["depth"], everything, renderer.image.n)
        copy(renderer.outputs["normal_world"], everything, renderer.image.n + 1)
        copy(renderer.outputs["position_world"], everything, renderer.image.n + 4)
        copy(renderer.outputs["normal_view"], everything, renderer.image.n + 7)
        copy(renderer.outputs["barycentric"], everything, renderer.image.n + 10)

    cameras = renderer.cameras
    fields = {"vertices": renderer.mesh.vertices, "eye": cameras.eye, "fov": cameras.fov_y_degrees}
    check_gradient(run_forward, fields, everything)


@dataclasses.dataclass(frozen=True)
class Front(tsr.Shading):
    """What the nearest face has, in another order than the image reads it."""

    varyings = {"normal_world": 3, "color": 3}
    channels = 6
    background = 0.0
    of_nearest_face = True
    fragment, fragment_vjp = pass_on, pass_on_vjp


@pytest.mark.f64
@pytest.mark.parametrize("has_colors", [True, False], ids=["before an image", "silhouette"])
def test_a_shading_of_the_nearest_face_beside_others(backend, has_colors):
    """Texels that one pass reads twice, or of the nearest face alone; with a background image."""
    vertices, faces = bumpy_torus(np.random.default_rng(3))
    random = np.random.default_rng(6).uniform(size=(len(faces), 2, 2, 3))
    mesh = tsr.Mesh(vertices, faces, texels=random)
    renderer = make_renderer(
        tsr.Unlit() if has_colors else tsr.Silhouette(),
        {"front": Front()},
        mesh=mesh,
        background=np.resize(random, (*IMAGE_SIZE, 3)) if has_colors else None,
    )
    tree = FieldTree()
    everything = tree.add(renderer.image.shape, (renderer.image.n + 6,))
    tree.place()

    def run_forward():
        renderer.render()
        copy(renderer.image, everything, 0)
        copy(renderer.outputs["front"], everything, renderer.image.n)

    fields = {"vertices": mesh.vertices, "texels": mesh.texels, "eye": renderer.cameras.eye}
    check_gradient(run_forward, fields, everything)


def given_matrices(cameras):
    """The same cameras, by matrices."""
    return tsr.Camera.from_matrices(
        cameras.view_from_world.to_numpy(), projection=tsr.Perspective(50)
    )


@pytest.mark.f64
@pytest.mark.parametrize("views_per_pass", [1, rarely(2)])
def test_gradients_of_view_normals_by_poses(backend, views_per_pass):
    """Of cameras by points and by matrices; of a mesh that moves, in passes, too."""
    vertices, faces = bumpy_torus(np.random.default_rng(3))
    mesh = tsr.Mesh(np.stack([vertices, 1.1 * vertices, 0.9 * vertices])[:2], faces)
    by_points = tsr.Camera.look_at([[0.6, 1.0, 2.8], [-1.0, 0.5, 2.5]], fov_y_degrees=50)
    alone = tsr.Camera.look_at([0.6, 1.0, 2.8], fov_y_degrees=50)  # one for both frames
    for cameras in (by_points, alone, given_matrices(by_points)):
        renderer = make_renderer(
            tsr.Silhouette(),
            ("normal_view",),
            mesh=mesh,
            cameras=cameras,
            views_per_pass=views_per_pass,
        )
        fields = {"pose": cameras.view_from_world}
        if cameras.eye is not None:
            fields = {name: getattr(cameras, name) for name in ("eye", "target", "up")}
        check_gradient(renderer.render, fields, renderer.outputs["normal_view"])


def test_view_normals_are_those_of_the_world_turned(backend):
    renderer = make_renderer(tsr.Silhouette(), ("normal_world", "normal_view"))
    renderer.render()
    normals = renderer.outputs["normal_world"].to_numpy()
    rotations = renderer.cameras.view_from_world.to_numpy()[:, :3, :3]
    expected = np.einsum("bij,bhwj->bhwi", rotations, normals)
    found = renderer.outputs["normal_view"].to_numpy()
    assert found[..., 2].max() > 0.5
    np.testing.assert_allclose(found, expected, atol=tolerances.SAME_IMAGE_SINGLE)


@pytest.mark.f64
def test_a_jacobian_with_the_rotation_of_the_view(backend):
    """Its transpose is what the backward pass applies."""
    renderer = make_renderer(ViewNormal(), ())
    eye = renderer.cameras.eye
    jacobian = renderer.jacobian([eye])
    cotangent = np.random.default_rng(1).normal(size=jacobian.shape[:-1])
    renderer.backward(cotangent)
    expected = eye.grad.to_numpy().ravel()
    error = relative_error(np.tensordot(cotangent, jacobian, axes=4), expected)
    assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


@pytest.mark.skipif("uv" not in VARYINGS, reason="meshes have no texture coordinates yet")
def test_texture_coordinates_are_those_of_the_corners(backend):
    """Of an index list of their own, between the corners of the face that is seen."""
    vertices, faces = bumpy_torus(np.random.default_rng(3))
    generator = np.random.default_rng(5)
    uvs, uv_faces = generator.uniform(size=(30, 2)), generator.integers(30, size=faces.shape)
    mesh = tsr.Mesh(vertices, faces, uvs=uvs, uv_faces=uv_faces)
    names = ("uv", "face_id", "barycentric")
    renderer = make_renderer(tsr.Silhouette(), names, tsr.ApproximateGradient(), mesh)
    renderer.render()
    uv, face_ids, weights = (renderer.outputs[name].to_numpy() for name in names)
    expected = np.einsum("bhwk,bhwkc->bhwc", weights, uvs[uv_faces][face_ids])
    assert (face_ids >= 0).any()
    np.testing.assert_allclose(uv, expected, atol=tolerances.SAME_IMAGE_SINGLE)


def test_texture_coordinates_need_a_mesh_that_has_them(backend):
    with pytest.raises(ValueError, match="this mesh has no uvs, which TextureCoordinates reads"):
        make_renderer(tsr.Flat(), ("uv",))


def test_positions_and_normals_of_a_sphere(backend):
    """Where alpha is whole, a point of a ball about the origin is its normal times the radius."""
    mesh = tsr.Mesh(*tsr.primitives.icosphere(4))
    cameras = tsr.Camera.look_at((0, 0, 4), fov_y_degrees=40)
    renderer = tsr.Renderer(
        mesh, cameras, (33, 33), tsr.ApproximateGradient(), tsr.Silhouette(), outputs=NAMES[:3]
    )
    alpha = renderer.render().to_numpy()[0, ..., 0]
    position, normal, depth = (
        renderer.outputs[name].to_numpy()[0][alpha == 1]
        for name in ("position_world", "normal_world", "depth")
    )
    np.testing.assert_allclose(position, normal, atol=tolerances.FACETED_SPHERE)
    np.testing.assert_allclose(depth, 4 - position[:, 2], atol=tolerances.SINGLE_PRECISION_RELATIVE)


def test_outputs_of_ones_own(backend):
    """A shading by another name, beside the same one as the image."""
    renderer = make_renderer(tsr.Depth(), {"far_and_near": tsr.Depth(), "paint": tsr.Unlit()})
    image = renderer.render().to_numpy()
    np.testing.assert_array_equal(renderer.outputs["far_and_near"].to_numpy(), image[..., 0])
    unlit = make_renderer(tsr.Unlit(), (), mesh=renderer.mesh).render().to_numpy()
    tolerance = tolerances.SAME_IMAGE_SINGLE
    np.testing.assert_allclose(renderer.outputs["paint"].to_numpy(), unlit[..., :3], atol=tolerance)


def test_what_cannot_be_drawn_together_is_refused(backend):
    with pytest.raises(ValueError, match="outputs must be names of 'depth', .*, got 'curvature'"):
        make_renderer(tsr.Flat(), ("curvature",))
    with pytest.raises(ValueError, match="cannot be lit by None and face in one pass"):
        make_renderer(tsr.Flat(), {"paint": tsr.Unlit()})


def test_colours_of_any_number(backend):
    """Five numbers a vertex; lights want three."""
    vertices, faces = bumpy_torus(np.random.default_rng(3))
    colors = np.random.default_rng(4).uniform(size=(len(vertices), 5))
    mesh = tsr.Mesh(vertices, faces, vertex_colors=colors)
    five = make_renderer(
        tsr.Unlit(), (), tsr.SoftAggregation(**{**NUMBERS, "background": 0.0}), mesh
    )
    image = five.render().to_numpy()
    assert image.shape == (2, *IMAGE_SIZE, 6)
    corners = five.vertices_ndc.to_numpy()[:, faces]
    given = colors[faces][None].astype(image.dtype)
    expected, _ = tsr.rasterize(corners, given, image_size=IMAGE_SIZE, rasterizer=five.rasterizer)
    np.testing.assert_allclose(image, expected, atol=tolerances.SAME_IMAGE_SINGLE)
    with pytest.raises(ValueError, match="Flat lights colours of 3 channels, the mesh has 5"):
        make_renderer(tsr.Flat(), (), mesh=mesh)
