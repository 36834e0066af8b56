"""Several meshes with a transform each: against one mesh whose vertices NumPy has transformed."""

import re
from pathlib import Path

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti
from tests import tolerances
from tests.gradcheck import check_gradient, relative_error
from tests.rarely import rarely

IMAGE_SIZE = (12, 16)
SOFT = tsr.SoftAggregation(sigma=0.02, gamma=0.1)
EYE = (0.6, 1.0, 3.2)
ROTATION = np.array([[0.3, -0.5, 0.2], [1.0, 0.4, -2.0], [0.0, 0.0, 0.0]])
TRANSLATION = np.array([[-0.8, 0.0, 0.0], [0.8, 0.1, -0.2], [0.0, 0.9, 0.1]])
SCALE = np.array([0.6, 0.7, 0.5])
COUNTS = [(8, 12), (5, 6), (8, 12)]  # vertices and faces of each
DOUBLE_CONE = np.array([[0, 0, 0.9], [0.9, 0, 0], [-0.4, 0.7, 0], [-0.5, -0.8, 0.1], [0, 0.1, -1]])
CONE_FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [4, 2, 1], [4, 3, 2], [4, 1, 3]])


def turned(points, rotation):
    """By Rodrigues' formula, in double precision."""
    angle = np.linalg.norm(rotation)
    x, y, z = rotation / max(angle, 1e-30)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return points @ (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).T


def placed(vertices):
    """Those of each object, in the world, one behind another along the last axis but one."""
    transforms = zip(vertices, ROTATION, TRANSLATION, SCALE)
    return np.concatenate([s * turned(v, r) + t for v, r, t, s in transforms], axis=-2)


def textured():
    """A cube with colours alone, a body with a picture, and the cube once more."""
    generator = np.random.default_rng(3)
    vertices, faces = tsr.primitives.cube()
    picture = tsr.Texture(generator.uniform(size=(4, 3, 3)))
    materials = [tsr.Material((0.9, 0.5, 0.7), base_color_texture=picture), tsr.Material()]
    cube = tsr.Mesh(vertices, faces, vertex_colors=generator.uniform(size=(8, 3)))
    body = tsr.Mesh(
        DOUBLE_CONE,
        CONE_FACES,
        vertex_colors=generator.uniform(size=(5, 3)),
        uvs=generator.uniform(size=(7, 2)),
        uv_faces=generator.integers(0, 7, (6, 3)),
        materials=materials,
        face_materials=[0, 1, 0, 0, 1, 0],
    )
    return [cube, body, cube]


def tiled():
    """The same shapes with texels."""
    generator = np.random.default_rng(4)
    vertices, faces = tsr.primitives.cube()
    cube = tsr.Mesh(vertices, faces, texels=generator.uniform(size=(12, 2, 2, 3)))
    body = tsr.Mesh(DOUBLE_CONE, CONE_FACES, texels=generator.uniform(size=(6, 2, 2, 3)))
    return [cube, body, cube]


def joined(meshes):
    """One mesh with everything of three, as one would write it without a `Scene`."""
    a, b, c = meshes
    vertices = placed([one.vertices.to_numpy().astype(float) for one in meshes])
    faces = np.concatenate([a.faces_array, b.faces_array + 8, c.faces_array + 13])
    if a.texels is not None:
        return tsr.Mesh(
            vertices, faces, texels=np.concatenate([m.texels.to_numpy() for m in meshes])
        )
    of_cube = np.zeros((12, 3), int)
    return tsr.Mesh(
        vertices,
        faces,
        vertex_colors=np.concatenate([one.vertex_colors.to_numpy() for one in meshes]),
        uvs=np.concatenate([np.zeros((1, 2)), b.uvs.to_numpy(), np.zeros((1, 2))]),
        uv_faces=np.concatenate([of_cube, b.uv_faces_array + 1, of_cube + 8]),
        materials=[tsr.Material(), *b.materials],
        face_materials=np.concatenate([[0] * 12, b.face_materials_array + 1, [0] * 12]),
    )


def draw_by(mesh, rasterizer=SOFT, **arguments):
    camera = tsr.Camera.look_at(EYE, fov_y_degrees=50)
    return tsr.Renderer(mesh, camera, IMAGE_SIZE, rasterizer, tsr.Gouraud(), **arguments)


def scene_of(meshes):
    return tsr.Scene(meshes, ROTATION, TRANSLATION, SCALE)


@pytest.fixture(scope="module")
def renderer(backend):
    """Of what `textured` makes."""
    return draw_by(scene_of(textured()), outputs=["mesh_id", "face_id", "depth"])


@pytest.mark.parametrize("make", [textured, tiled])
def test_it_is_drawn_as_one_mesh(backend, make):
    meshes = make()
    rasterizers = [SOFT, tsr.Prefiltered()] if make is textured else [SOFT]
    found, expected = draw_by(scene_of(meshes)), draw_by(joined(meshes))
    for found.rasterizer in rasterizers:
        expected.rasterizer = found.rasterizer
        image = found.render().to_numpy()
        assert image.std() > 0.1
        np.testing.assert_allclose(
            image, expected.render().to_numpy(), rtol=0, atol=tolerances.SAME_IMAGE_SINGLE
        )
    np.testing.assert_allclose(found.depth_range, expected.depth_range, rtol=1e-6)


def test_which_object_and_face_a_pixel_shows(backend, renderer):
    renderer.render()
    of_mesh, of_face = (renderer.outputs[name].to_numpy() for name in ("mesh_id", "face_id"))
    assert renderer.mesh.first_faces == (0, 12, 18)
    expected = np.searchsorted([12, 18, 30], of_face, side="right")
    np.testing.assert_array_equal(of_mesh, np.where(of_face < 0, -1, expected))
    assert set(of_mesh.ravel()) == {-1, 0, 1, 2}


@pytest.mark.f64
@pytest.mark.parametrize("make", [textured, rarely(tiled)])
def test_gradients_are_the_central_differences(backend, make):
    """The cube stands in the list twice."""
    scene = scene_of(make())
    cube, body, _ = scene.meshes
    fields = {
        "rotation": scene.rotation,
        "translation": scene.translation,
        "scale": scene.scale,
        "vertices of the cube": cube.vertices,
        "vertices of the body": body.vertices,
    }
    if make is tiled:
        fields["texels of the body"] = body.texels
    else:
        fields["colours of the cube"] = cube.vertex_colors
        fields["uvs"] = body.uvs
        fields["picture"] = body.materials[0].base_color_texture.image
        fields["base colour"] = body.materials[0].base_color
    renderer = draw_by(scene)
    check_gradient(renderer.render, fields, renderer.image)


@pytest.mark.f64
def test_jacobian_and_backward_pass(backend):
    """Each is the transpose of the other."""
    renderer = draw_by(scene_of(textured()))
    scene = renderer.mesh
    fields = [*scene.transforms, scene.meshes[0].vertices, scene.meshes[1].vertices]
    jacobian = renderer.jacobian(fields)
    assert jacobian.shape[-1] == 3 * 3 + 3 * 3 + 3 + 24 + 15
    cotangent = np.random.default_rng(0).normal(size=jacobian.shape[:-1])
    renderer.backward(cotangent)
    expected = np.concatenate([field.grad.to_numpy().ravel() for field in fields])
    found = np.tensordot(cotangent, jacobian, axes=4)
    assert relative_error(found, expected) < tolerances.TWIN_CLOSED_FORM


@pytest.mark.f64
def test_gradients_of_meshes_that_move(backend):
    """A body of two frames beside a cube that is still, in passes of one view."""
    cube = textured()[0]
    frames = np.stack([DOUBLE_CONE, DOUBLE_CONE[:, [1, 2, 0]]])
    moving = tsr.Mesh(frames, CONE_FACES)
    scene = scene_of([cube, moving, cube])
    renderer = draw_by(scene, views_per_pass=1)
    cubes = np.broadcast_to(cube.vertices.to_numpy(), (2, 8, 3))
    np.testing.assert_allclose(scene.world_vertices(), placed([cubes, frames, cubes]), atol=1e-14)
    fields = {"rotation": scene.rotation, "scale": scene.scale, "frames": moving.vertices}
    check_gradient(renderer.render, {**fields, "cube": cube.vertices}, renderer.image)
    image = renderer.render().to_numpy()
    renderer.image.fill(0)
    renderer.render(view=1)
    np.testing.assert_array_equal(renderer.image.to_numpy(), image * [[[[0]]], [[[1]]]])


def test_gradients_in_single_precision(backend, renderer):
    """Of many vertices, in shares: against sums in double precision of gradients of vertices."""
    scene = tsr.Scene([tsr.Mesh(*tsr.primitives.icosphere(3))], [ROTATION[0]], [TRANSLATION[0]])
    many = draw_by(scene)
    image = many.render().to_numpy()
    many.backward(np.random.default_rng(0).normal(size=image.shape))
    of_object = scene.meshes[0].vertices.grad.to_numpy().astype(float)
    of_world = turned(of_object, ROTATION[0])
    expected = of_world.sum(axis=0)
    error = relative_error(scene.translation.grad.to_numpy()[0], expected)
    assert error < tolerances.SINGLE_PRECISION_RELATIVE
    points = scene.meshes[0].vertices.to_numpy().astype(float)
    expected = (of_object * points).sum()
    size = np.abs(of_object * points).sum()
    assert abs(scene.scale.grad.to_numpy()[0] - expected) < tolerances.SAME_GRADIENT_SINGLE * size


def test_arrays_are_written_into_transforms(backend, renderer):
    scene = renderer.mesh
    before = renderer.render().to_numpy()
    scene.translation = TRANSLATION + [0.1, 0, 0]
    assert np.abs(renderer.render().to_numpy() - before).max() > 0.1
    scene.translation = TRANSLATION
    np.testing.assert_array_equal(renderer.render().to_numpy(), before)
    with pytest.raises(ValueError, match=r"scene.scale must have shape \(3,\), .* got \(2,\)"):
        scene.scale = [1, 1]
    scene.rotation[1] = (0, np.nan, 0)
    with pytest.raises(ValueError, match=r"scene.rotation has 1 entries .* scene.rotation\[1, 1\]"):
        renderer.render()
    scene.rotation = ROTATION
    scene.meshes[1].materials[0].base_color[None] = (np.inf, 0, 0)
    with pytest.raises(ValueError, match=r"scene.meshes\[1\].materials\[0\].base_color has 1"):
        renderer.render()
    scene.meshes[1].materials[0].base_color = (0.9, 0.5, 0.7)


def test_vertices_that_are_written_before_the_gradient(backend, renderer):
    image = renderer.render().to_numpy()
    body = renderer.mesh.meshes[1]
    body.vertices[4] += 1.0
    with pytest.raises(ValueError, match="vertices were overwritten after render"):
        renderer.backward(np.ones_like(image))
    body.vertices[4] -= 1.0


@pytest.mark.cpu
def test_an_optimizer_takes_the_fields(backend, renderer):
    scene = renderer.mesh
    target = renderer.render().to_numpy()
    scene.translation = TRANSLATION + [0.05, -0.05, 0]
    loss = ti.field(float, shape=(), needs_grad=True)
    optimizer, losses = tsr.Adam(scene.transforms, learning_rate=0.01), []
    for _ in range(8):
        with ti.ad.Tape(loss):
            renderer.render()
            tsr.losses.mean_squared_error(renderer.image, target, loss)
        optimizer.step()
        losses.append(loss[None])
    assert losses[-1] < 0.3 * losses[0]
    for name, values in zip(("rotation", "translation", "scale"), (ROTATION, TRANSLATION, SCALE)):
        setattr(scene, name, values)


@pytest.mark.cpu
def test_cameras_and_files(backend, tmp_path):
    """Everything but renderers that takes a mesh takes all of it, where it is in the world."""
    scene, one = scene_of(textured()), joined(textured())
    assert (scene.num_vertices, scene.num_faces) == (21, 30)
    for found, expected in zip(scene.uv_topology, one.uv_topology):
        np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())
    for name in ("faces", "corner_starts", "corners_of_vertex"):
        np.testing.assert_array_equal(
            getattr(scene, name).to_numpy(), getattr(one, name).to_numpy()
        )
    eyes = [tsr.Camera.framing(mesh).eye.to_numpy() for mesh in (scene, one)]
    np.testing.assert_allclose(*eyes, rtol=1e-5)
    camera = tsr.Camera.look_at(EYE)
    assert camera.describe(mesh=scene) == camera.describe(mesh=one)
    scene.save(tmp_path / "scene.glb")
    read = tsr.Mesh.load(tmp_path / "scene.glb")
    corners = [np.sort(m.vertices.to_numpy()[m.faces_array].reshape(-1, 3), 0) for m in (read, one)]
    np.testing.assert_allclose(*corners, atol=tolerances.MESH_FILE)
    assert len(read.materials) == len(scene.materials) == 3
    assert scene._repr_png_().startswith(b"\x89PNG")


@pytest.mark.cpu
def test_what_is_no_scene(backend):
    vertices, faces = tsr.primitives.cube()
    cube, tiles = tsr.Mesh(vertices, faces), tiled()[1]
    fine = tsr.Mesh(DOUBLE_CONE, CONE_FACES, texels=np.ones((6, 3, 3, 3)))
    features = tsr.Mesh(vertices, faces, vertex_colors=np.ones((8, 5)))
    two, three = (tsr.Mesh(np.stack([vertices] * frames), faces) for frames in (2, 3))
    for arguments, message in (
        (([],), r"needs a list of meshes, such as Scene\(\[mesh\]\), got an empty list"),
        ((cube,), r"needs a list of meshes, .* got Mesh"),
        (([cube, tsr.Scene([cube])],), r"meshes\[1\] must be a Mesh, .* got Scene"),
        (([cube, tsr.Mesh],), r"got the class Mesh: write Mesh\("),
        (([cube, tiles],), "vertex_colors of 3 channels and texels of resolution 2: give all"),
        (([tiles, fine],), "texels of resolution 2 and texels of resolution 3"),
        (([cube, features],), "vertex_colors of 3 channels and vertex_colors of 5"),
        (([cube, tsr.Mesh.batch([(vertices, faces)] * 2)],), r"meshes\[1\] is a batch, whose"),
        (([tsr.Mesh(vertices, faces, capacity=(9, 20))],), "is a mesh with a capacity"),
        (([two, cube, three],), "as many frames each, got 2 and 3"),
        (([cube], [0.1, 0.2, 0.3]), r"rotation must have shape \(1, 3\), not empty, got \(3,\)"),
        (([cube], None, [[0, np.inf, 0]]), "translation must be finite"),
        (([cube], None, None, [1, 2]), r"scale must have shape \(1,\), not empty, got \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            tsr.Scene(*arguments)
    with pytest.raises(ValueError, match="a Mesh, of a Scene one of scene.meshes, got Scene"):
        tsr.losses.laplacian(tsr.Scene([cube]), ti.field(float, shape=(), needs_grad=True))


@pytest.mark.cpu
def test_the_guide_is_true(backend, capsys):
    """The code of docs/poses.md runs, and finds what it says."""
    text = (Path(__file__).parents[2] / "docs" / "poses.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    for block in blocks[:2]:
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[-1  0  1  2]"
    costs = [float(line.split()[1]) for line in lines[1:]]
    print(costs)
    assert costs[-1] < 1e-3 * costs[0]
