"""A batch of meshes is drawn as each of them by a renderer of its own, and so are its gradients."""

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rarely import mostly, rarely
from tests.rasterizers.scenes import DEPTHS

SIZE = (16, 20)
EYES = [(0.0, 1.0, 3.0), (1.0, 0.5, 4.0), (2.0, 2.0, 2.0)]
NEAR_EYES = [(0.0, 0.2, 1.05), (0.3, 0.3, 0.6), (0.3, 0.3, 0.9)]  # faces reach behind the cameras
SOFT = tsr.SoftAggregation(sigma=1e-3, gamma=1e-2, **DEPTHS)
RASTERIZERS = [
    SOFT,
    tsr.KNearest(50, sigma=1e-3, gamma=1e-2, **DEPTHS),
    tsr.Prefiltered(**DEPTHS),
    tsr.Antialiased(**DEPTHS),
    tsr.ApproximateGradient(**DEPTHS),
    tsr.FilteredDerivative(**DEPTHS),
]
by_name = pytest.mark.parametrize(
    "rasterizer", mostly(RASTERIZERS, RASTERIZERS[:3:2]), ids=lambda one: type(one).__name__
)


def shapes() -> list:
    """Of different numbers of vertices and faces, the largest in the middle."""
    return [tsr.primitives.icosphere(0), tsr.primitives.icosphere(1), tsr.primitives.cube()]


def colored() -> list:
    rng = np.random.default_rng(0)
    return [
        tsr.Mesh(*shape, vertex_colors=rng.uniform(size=(len(shape[0]), 3))) for shape in shapes()
    ]


def with_texels() -> list:
    rng = np.random.default_rng(0)
    sizes = [(len(faces), 2, 2, 3) for _, faces in shapes()]
    return [tsr.Mesh(*shape, texels=rng.uniform(size=size)) for shape, size in zip(shapes(), sizes)]


def with_materials() -> list:
    """Two materials and more UVs than vertices for each, but for one that has neither."""
    rng, meshes = np.random.default_rng(0), []
    for vertices, faces in shapes()[:2]:
        materials = [
            tsr.Material(rng.uniform(size=3), base_color_texture=tsr.Texture(picture))
            for picture in rng.uniform(size=(2, 4, 5, 3))
        ]
        uvs, count = rng.uniform(size=(2 * len(vertices), 2)), len(faces)
        meshes.append(
            tsr.Mesh(
                vertices,
                faces,
                uvs=uvs,
                uv_faces=rng.integers(0, len(uvs), (count, 3)),
                materials=materials,
                face_materials=rng.integers(0, 2, count),
            )
        )
    return [*meshes, tsr.Mesh(*shapes()[2])]


def lights() -> tsr.PointLights:
    return tsr.PointLights([(1.0, 2.0, 3.0)], [(1.0, 0.9, 0.8)])


def fields_of(mesh: tsr.Mesh, index: int) -> dict:
    """The gradients of one mesh of a batch, or of the only one."""
    vertices, faces = (slice(*s[index : index + 2]) for s in (mesh.vertex_starts, mesh.face_starts))
    rows = vertices if mesh.color_kind == "vertex_colors" else faces
    return {
        "vertices": mesh.vertices.grad.to_numpy()[vertices],
        "colors": mesh.colors.grad.to_numpy()[rows],
    }


def assert_drawn_alike(
    meshes, rasterizer, shading, eyes=EYES, outputs=(), lit=True, most=0.0, **options
):
    """The batch against each mesh alone; returns the renderer of the batch and the gradients."""
    batch, sun = tsr.Mesh.batch(meshes), lights() if lit else None
    cameras = tsr.Camera.look_at(eyes)
    settings = {"rasterizer": rasterizer, "shading": shading, "outputs": outputs}
    renderer = tsr.Renderer(batch, cameras, SIZE, lights=sun, **settings, **options)
    images = renderer.render().to_numpy()
    grad = np.random.default_rng(1).normal(size=images.shape).astype(images.dtype)
    renderer.backward(grad)
    of_batch = [fields_of(batch, index) for index in range(len(meshes))]
    of_eyes, of_sun = cameras.eye.grad.to_numpy(), sun and sun.positions.grad.to_numpy()
    sum_of_sun = 0.0
    for index, mesh in enumerate(meshes):
        camera = tsr.Camera.look_at(eyes[index])
        alone = tsr.Renderer(mesh, camera, SIZE, lights=sun, **settings)
        assert np.abs(images[index] - alone.render().to_numpy()[0]).max() <= most
        for name in outputs:
            drawn = renderer.outputs[name].to_numpy()[index]
            np.testing.assert_array_equal(drawn, alone.outputs[name].to_numpy()[0])
        alone.backward(grad[index : index + 1])
        for name, expected in fields_of(mesh, 0).items():
            assert_close(of_batch[index][name], expected)
        assert_close(of_eyes[index], camera.eye.grad.to_numpy()[0])
        sum_of_sun += 0.0 if sun is None else sun.positions.grad.to_numpy()
    if lit:
        assert_close(of_sun, sum_of_sun)
    return renderer


def assert_close(actual, expected):
    assert np.abs(expected).max() > 0
    assert relative_error(actual, expected) <= tolerances.SAME_GRADIENT_SINGLE


@pytest.mark.cpu
@by_name
def test_images_and_gradients(backend, rasterizer):
    assert_drawn_alike(colored(), rasterizer, tsr.Gouraud())


@pytest.mark.cpu
@pytest.mark.filterwarnings("ignore:near =")
@by_name
def test_views_that_are_cut_and_drawn_in_passes(backend, rasterizer):
    """The last pass has views of the one before."""
    assert_drawn_alike(colored(), rasterizer, tsr.Gouraud(), NEAR_EYES, views_per_pass=2)


@pytest.mark.cpu
@pytest.mark.parametrize("shading, views_per_pass", [(tsr.Flat(), 2), rarely(tsr.Gouraud(), 3)])
def test_textures_of_faces(backend, shading, views_per_pass):
    assert_drawn_alike(with_texels(), SOFT, shading, views_per_pass=views_per_pass)


@pytest.mark.cpu
def test_outputs(backend):
    """Faces count from the first of the view's mesh; meshes are told apart."""
    names = ("depth", "normal_world", "face_id")
    renderer = assert_drawn_alike(colored(), SOFT, tsr.Flat(), outputs=names)
    ids = renderer.outputs["face_id"].to_numpy()
    assert [ids[view].max() for view in range(3)] <= [19, 79, 11]
    batch = renderer.mesh
    renderer = tsr.Renderer(batch, tsr.Camera.look_at(EYES), SIZE, SOFT, outputs=["mesh_id"])
    renderer.render()
    shown = renderer.outputs["mesh_id"].to_numpy()
    assert [set(np.unique(shown[view])) for view in range(3)] == [{-1, 0}, {-1, 1}, {-1, 2}]


@pytest.mark.cpu
@pytest.mark.parametrize("views_per_pass", [2, rarely(3)])
def test_materials(backend, views_per_pass):
    """A mesh without has another shader alone, and so another rounding."""
    meshes, most = with_materials(), tolerances.SAME_IMAGE_SINGLE
    renderer = assert_drawn_alike(
        meshes, SOFT, tsr.Phong(), most=most, views_per_pass=views_per_pass
    )
    batch, sun = renderer.mesh, renderer.lights
    renderer.render()
    grad = np.random.default_rng(1).normal(size=(*renderer.image.shape, 4)).astype(np.float32)
    renderer.backward(grad)

    def of_looks(mesh, uvs):
        materials = [one for one in mesh.materials if one.base_color_texture]
        found = [mesh.uvs.grad.to_numpy()[uvs]]
        for one in materials:
            found += [one.base_color.grad.to_numpy(), one.base_color_texture.image.grad.to_numpy()]
        return found

    of_batch = [*of_looks(batch, slice(0, 24))[1:]]
    uvs = batch.uvs.grad.to_numpy()
    for index, start in ((0, 0), (1, 24)):
        mesh = meshes[index]
        camera = tsr.Camera.look_at(EYES[index])
        alone = tsr.Renderer(mesh, camera, SIZE, SOFT, tsr.Phong(), sun)
        alone.render()
        alone.backward(grad[index : index + 1])
        expected = of_looks(mesh, slice(None))
        assert_close(uvs[start : start + mesh.num_uvs], expected[0])
        for actual, one in zip(of_batch[4 * index :], expected[1:]):
            assert_close(actual, one)


@pytest.mark.cpu
def test_jacobian(backend):
    meshes, eyes = colored()[::2], tsr.Camera.look_at(EYES[:2])
    batch = tsr.Mesh.batch(meshes)
    renderer = tsr.Renderer(batch, eyes, SIZE, SOFT, tsr.Gouraud(), lights())
    jacobian = renderer.jacobian([eyes.eye])
    for index, mesh in enumerate(meshes):
        camera = tsr.Camera.look_at(EYES[index])
        alone = tsr.Renderer(mesh, camera, SIZE, SOFT, tsr.Gouraud(), lights())
        columns = jacobian[index, ..., 3 * index : 3 * index + 3]
        assert_close(columns, alone.jacobian([camera.eye])[0])
    other = np.delete(jacobian[0], [0, 1, 2], axis=-1)
    assert not other.any()


def test_one_camera_for_all(backend):
    """Of meshes that are given as arrays, on every backend."""
    colors = [
        np.full((len(vertices), 3), 0.2 + 0.3 * k) for k, (vertices, _) in enumerate(shapes())
    ]
    batch = tsr.Mesh.batch(shapes(), vertex_colors=[*colors[:2], None])
    eye, sun = (0.0, 1.0, 3.0), lights()
    settings = {"image_size": SIZE, "rasterizer": SOFT, "shading": tsr.Gouraud(), "lights": sun}
    renderer = tsr.Renderer(batch, tsr.Camera.look_at(eye), **settings)
    images = renderer.render().to_numpy()
    grad = np.random.default_rng(1).normal(size=images.shape).astype(images.dtype)
    renderer.backward(grad)
    of_batch = [fields_of(batch, index) for index in range(3)]
    for index, (vertices, faces) in enumerate(shapes()):
        mesh = tsr.Mesh(vertices, faces, colors[index] if index < 2 else None)
        alone = tsr.Renderer(mesh, tsr.Camera.look_at(eye), **settings)
        image = alone.render().to_numpy()[0]
        assert np.abs(images[index] - image).max() <= tolerances.SAME_IMAGE_SINGLE
        alone.backward(grad[index : index + 1])
        for name, expected in fields_of(mesh, 0).items():
            assert_close(of_batch[index][name], expected)
    assert renderer.vertices_ndc.to_numpy().shape == (3, 42, 3)


@pytest.mark.cpu
def test_depths_are_fitted_to_the_largest_mesh(backend):
    """Not to the box around all, which may stand far apart."""
    (vertices, faces), eye, far = tsr.primitives.cube(), np.array(EYES[1]), np.array([100, 0, 0])
    batch = tsr.Mesh.batch([(vertices, faces), (0.5 * vertices + far, faces)])
    cameras = tsr.Camera.look_at([eye, eye + far], target=[0 * far, far])
    renderer = tsr.Renderer(batch, cameras, SIZE, tsr.SoftAggregation(), tsr.Unlit())
    alone = tsr.Renderer(tsr.Mesh(vertices, faces), tsr.Camera.look_at(eye), SIZE)
    for one in (renderer, alone):
        one.render()
    expected = pytest.approx(alone.depth_range, rel=tolerances.SAME_GRADIENT_SINGLE)
    assert renderer.depth_range == expected


def test_what_a_batch_says_of_itself(backend, tmp_path):
    batch = tsr.Mesh.batch(shapes())
    assert (batch.num_meshes, batch.num_vertices, batch.num_faces) == (3, 62, 112)
    np.testing.assert_array_equal(batch.vertex_starts, [0, 12, 54, 62])
    np.testing.assert_array_equal(batch.face_starts, [0, 20, 100, 112])
    batch.save(tmp_path / "cube.ply", 2)
    saved = tsr.Mesh.load(tmp_path / "cube.ply")
    np.testing.assert_array_equal(saved.faces_array, shapes()[2][1])
    np.testing.assert_array_equal(saved.vertices.to_numpy(), shapes()[2][0].astype(np.float32))
    with pytest.raises(ValueError, match="which of 3 meshes of a batch, from 0, got 3"):
        batch.save(tmp_path / "cube.ply", 3)
    cameras = tsr.Camera.look_at(EYES)
    told = cameras.describe(mesh=batch).splitlines()
    for index, shape in enumerate(shapes()):
        assert told[1 + index] == cameras.describe(mesh=tsr.Mesh(*shape)).splitlines()[1 + index]


@pytest.mark.parametrize(
    "meshes, message",
    [
        ([], "meshes must be a list of at least one"),
        ([(np.eye(3), np.zeros((0, 3), int))], r"meshes\[0\] has no faces"),
        ([(np.eye(3),)], r"meshes\[0\] must be \(vertices, faces\) or a Mesh"),
        ([(np.eye(3), [[0, 1, 3]])], r"faces of meshes\[0\] must index 3 vertices"),
        ([(np.eye(3) * np.nan, [[0, 1, 2]])], r"vertices of meshes\[0\] must be finite"),
    ],
)
def test_refuses(backend, meshes, message):
    with pytest.raises(ValueError, match=message):
        tsr.Mesh.batch(meshes)


def test_refuses_what_does_not_go_together(backend):
    triangle = tsr.primitives.triangle()
    moving = tsr.Mesh(np.stack([triangle[0]] * 2), triangle[1])
    with pytest.raises(ValueError, match=r"meshes\[1\] moves: a batch is of still, single meshes"):
        tsr.Mesh.batch([triangle, moving])
    texels = tsr.Mesh(*triangle, texels=np.ones((1, 2, 2, 3)))
    with pytest.raises(ValueError, match="meshes of a batch have one kind and size of colours"):
        tsr.Mesh.batch([tsr.Mesh(*triangle), texels])
    with pytest.raises(ValueError, match="vertex_colors must be a list of 2"):
        tsr.Mesh.batch([triangle, triangle], vertex_colors=[None])
    batch = tsr.Mesh.batch([triangle, triangle])
    with pytest.raises(ValueError, match="a batch of 2 meshes needs one camera, or one for each"):
        tsr.Renderer(batch, tsr.Camera.look_at(EYES), SIZE)
    with pytest.raises(ValueError, match="this mesh has no room for another topology"):
        batch.replace(*triangle)
