"""A mesh that was replaced is a new mesh, for renderers, losses and optimizers; nothing grows."""

import pathlib
import resource

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.fields import FieldTree
from taichi_softras.runtime import ti
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rasterizers.scenes import DEPTHS
from tests.test_mesh_batch import SIZE, SOFT, by_name
from tests.test_no_recompilation import count_variants

CAPACITY = (60, 120)
PENALTIES = [
    tsr.losses.laplacian,
    tsr.losses.laplacian_length,
    tsr.losses.flatten,
    tsr.losses.normal_consistency,
    tsr.losses.edge_length,
]


def camera() -> tsr.Camera:
    return tsr.Camera.look_at([(0.0, 1.0, 3.0), (1.0, 0.5, 4.0)])


def colors_of(vertices: np.ndarray) -> np.ndarray:
    return np.random.default_rng(len(vertices)).uniform(size=(len(vertices), 3))


def gradients(renderer: tsr.Renderer) -> tuple:
    """The images, and the gradients at the rows that the mesh uses; all others are 0."""
    images = renderer.render().to_numpy()
    renderer.backward(np.random.default_rng(1).normal(size=images.shape))
    mesh = renderer.mesh
    used = {"vertices": mesh.num_vertices, "vertex_colors": mesh.num_vertices}
    grads = []
    for name, count in used.items():
        grad = getattr(mesh, name).grad.to_numpy()
        assert not grad[count:].any()
        grads.append(grad[:count])
    return images, *grads, renderer.cameras.eye.grad.to_numpy()


def check_as_new(renderer: tsr.Renderer, vertices, faces, colors) -> None:
    """What a renderer shows against a new mesh of its own."""
    mesh = tsr.Mesh(vertices, faces, colors)
    fresh = tsr.Renderer(mesh, camera(), SIZE, renderer.rasterizer, renderer.shading)
    drawn, expected = gradients(renderer), gradients(fresh)
    assert np.abs(drawn[0] - expected[0]).max() <= tolerances.SAME_IMAGE_SINGLE
    for actual, one in zip(drawn[1:], expected[1:]):
        assert np.abs(one).max() > 0
        assert relative_error(actual, one) <= tolerances.SAME_GRADIENT_SINGLE


@pytest.mark.cpu
@by_name
def test_a_replaced_mesh_is_drawn_as_a_new_one(backend, rasterizer):
    """Of more faces than before, then of fewer; what was there leaves nothing."""
    mesh = tsr.Mesh(*tsr.primitives.cube(), capacity=CAPACITY)
    renderer = tsr.Renderer(mesh, camera(), SIZE, rasterizer, tsr.Gouraud())
    gradients(renderer)
    for vertices, faces in (tsr.primitives.icosphere(1), tsr.primitives.icosphere(0)):
        mesh.replace(vertices, faces, colors_of(vertices))
        assert (mesh.num_vertices, mesh.num_faces) == (len(vertices), len(faces))
        check_as_new(renderer, vertices, faces, colors_of(vertices))


def test_on_every_backend(backend):
    vertices, faces = tsr.primitives.icosphere(0)
    mesh = tsr.Mesh(*tsr.primitives.cube(), capacity=CAPACITY)
    renderer = tsr.Renderer(mesh, camera(), SIZE, SOFT, tsr.Unlit())
    gradients(renderer)
    mesh.replace(vertices, faces, colors_of(vertices))
    check_as_new(renderer, vertices, faces, colors_of(vertices))
    assert renderer.vertices_ndc.to_numpy().shape == (2, 12, 3)


@pytest.mark.cpu
def test_textures_and_materials_follow(backend):
    """UVs and materials of faces, texels."""
    rng = np.random.default_rng(0)

    def looks(faces, kind):
        if kind == "texels":
            return {"texels": rng.uniform(size=(len(faces), 2, 2, 3))}
        uvs = rng.uniform(size=(30, 2))
        uv_faces = rng.integers(0, 30, faces.shape)
        return {"uvs": uvs, "uv_faces": uv_faces, "face_materials": rng.integers(0, 2, len(faces))}

    pictures = rng.uniform(size=(2, 4, 5, 3))
    materials = [tsr.Material(base_color_texture=tsr.Texture(picture)) for picture in pictures]
    for kind, own in (("texels", {}), ("uvs", {"materials": materials})):
        vertices, faces = tsr.primitives.cube()
        mesh = tsr.Mesh(vertices, faces, **looks(faces, kind), **own, capacity=CAPACITY)
        renderer = tsr.Renderer(mesh, camera(), SIZE, SOFT, tsr.Unlit())
        renderer.render()
        vertices, faces = tsr.primitives.icosphere(0)
        new = looks(faces, kind)
        mesh.replace(vertices, faces, **new)
        fresh = tsr.Renderer(
            tsr.Mesh(vertices, faces, **new, **own), camera(), SIZE, SOFT, tsr.Unlit()
        )
        images = renderer.render().to_numpy()
        np.testing.assert_array_equal(images, fresh.render().to_numpy())
        grads = []
        for one in (renderer, fresh):
            one.backward(np.ones_like(images))
            field = one.mesh.texels if kind == "texels" else one.mesh.uvs
            grads.append(field.grad.to_numpy()[:20])
        assert relative_error(*grads) <= tolerances.SAME_GRADIENT_SINGLE


def test_losses_follow(backend):
    tree = FieldTree()
    loss = tree.add(())
    tree.place()

    def penalties(mesh):
        """The values, and the gradient of their sum."""
        values = []
        for penalty in PENALTIES:
            with ti.ad.Tape(loss):
                penalty(mesh, loss)
            values.append(loss[None])
        with ti.ad.Tape(loss):
            for penalty in PENALTIES:
                penalty(mesh, loss)
        return values, mesh.vertices.grad.to_numpy()[: mesh.num_vertices]

    vertices, faces = tsr.primitives.icosphere(0)
    vertices = vertices * (1.0, 1.1, 1.3)
    mesh = tsr.Mesh(*tsr.primitives.cube(), capacity=CAPACITY)
    penalties(mesh)
    mesh.replace(vertices, faces)
    values, grad = penalties(mesh)
    expected, expected_grad = penalties(tsr.Mesh(vertices, faces))
    np.testing.assert_allclose(values, expected, rtol=tolerances.SAME_GRADIENT_SINGLE)
    assert relative_error(grad, expected_grad) <= tolerances.SAME_GRADIENT_SINGLE
    np.testing.assert_array_equal(mesh.edges_array, tsr.Mesh(vertices, faces).edges_array)


@pytest.mark.parametrize("make", [tsr.Adam, lambda fields: tsr.SGD(fields, 0.1, momentum=0.9)])
def test_optimizers_forget(backend, make):
    """After a replacement a step is the first one again."""
    vertices, faces = tsr.primitives.cube()
    mesh = tsr.Mesh(vertices, faces, capacity=CAPACITY)

    def step(optimizer):
        before = mesh.vertices.to_numpy()
        mesh.vertices.grad.fill(0.5)
        optimizer.step()
        return mesh.vertices.to_numpy() - before

    optimizer = make([mesh.vertices, mesh.vertex_colors])
    mesh.vertex_colors.grad.fill(0.0)
    first = step(optimizer)
    for _ in range(3):
        later = step(optimizer)
    mesh.replace(vertices, faces)
    again = step(optimizer)
    assert relative_error(again, first) <= tolerances.OPTIMIZER_SINGLE
    if make is not tsr.Adam:  # Adam's steps are equal where gradients are
        assert relative_error(later, first) > 1.0
    assert optimizer.num_steps == 5


@pytest.mark.cpu
def test_empty_places_cost_no_neighbours(backend):
    """A square of their number would take minutes."""
    mesh = tsr.Mesh(*tsr.primitives.cube(), capacity=(8, 100_000))
    renderer = tsr.Renderer(mesh, camera(), SIZE, tsr.Prefiltered(**DEPTHS), tsr.Unlit())
    fresh = tsr.Renderer(
        tsr.Mesh(*tsr.primitives.cube()), camera(), SIZE, renderer.rasterizer, tsr.Unlit()
    )
    np.testing.assert_array_equal(renderer.render().to_numpy(), fresh.render().to_numpy())


@pytest.mark.cpu
def test_300_topologies(backend):
    """No kernel compiles and no memory grows with them."""
    rng = np.random.default_rng(0)
    tree = FieldTree()
    loss = tree.add(())
    tree.place()
    mesh = tsr.Mesh(*tsr.primitives.cube(), capacity=(300, 600))
    renderer = tsr.Renderer(mesh, camera(), SIZE, SOFT, tsr.Gouraud())
    optimizer = tsr.Adam([mesh.vertices])

    def step():
        vertices, faces = tsr.primitives.icosphere(int(rng.integers(3)))
        kept = rng.uniform(size=len(faces)) < 0.9
        mesh.replace(vertices, faces[kept], colors_of(vertices))
        with ti.ad.Tape(loss):
            renderer.render()
            for penalty in PENALTIES:
                penalty(mesh, loss)
        optimizer.step()

    for _ in range(10):
        step()
    variants, memory = count_variants(tsr), resident_bytes()
    for _ in range(300):
        step()
    assert count_variants(tsr) == variants
    assert resident_bytes() - memory <= 20 * 2**20


def resident_bytes() -> int:
    status = pathlib.Path("/proc/self/statm")
    if not status.exists():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.read_text().split()[1]) * resource.getpagesize()


def test_bad_replacements_leave_the_mesh(backend):
    vertices, faces = tsr.primitives.cube()
    mesh = tsr.Mesh(vertices, faces, capacity=(20, 30))
    sphere = tsr.primitives.icosphere(1)
    for arguments, message in (
        (sphere, "the capacity is 20 vertices and 30 faces, got 42 and 80"),
        ((vertices, faces + 1), "faces must index 8 vertices"),
        ((vertices, np.zeros((0, 3), int)), "faces must have shape"),
        ((vertices * np.nan, faces), "vertices must be finite"),
        ((vertices, faces, np.ones((8, 4))), r"vertex_colors of shape \(3,\) each"),
        ((vertices, faces, None, np.ones((12, 2, 2, 3))), "this mesh has vertex_colors"),
        ((vertices, faces, None, None, None, np.ones((8, 2))), "was made with no UVs"),
    ):
        with pytest.raises(ValueError, match=message):
            mesh.replace(*arguments)
    np.testing.assert_array_equal(mesh.faces_array, faces)
    np.testing.assert_array_equal(mesh.vertices.to_numpy()[:8], vertices.astype(np.float32))
    assert mesh.num_replacements == 0
    loss = ti.field(float, (), needs_grad=True)
    with pytest.raises(ValueError, match="mesh.replace must come before the ti.ad.Tape opens"):
        with ti.ad.Tape(loss):
            mesh.replace(vertices, faces)


def test_bad_capacities(backend):
    vertices, faces = tsr.primitives.cube()
    for capacity in (8, (8,), (8.0, 12.0), (0, 12)):
        with pytest.raises(ValueError, match="capacity must be .*, whole numbers"):
            tsr.Mesh(vertices, faces, capacity=capacity)
    with pytest.raises(ValueError, match="the capacity is 8 vertices and 11 faces, got 8 and 12"):
        tsr.Mesh(vertices, faces, capacity=(8, 11))
    with pytest.raises(ValueError, match="capacity is for a still mesh"):
        tsr.Mesh(np.stack([vertices] * 2), faces, capacity=(8, 12))


def test_a_replacement_before_the_gradient_is_told(backend):
    mesh = tsr.Mesh(*tsr.primitives.cube(), capacity=CAPACITY)
    renderer = tsr.Renderer(mesh, camera(), SIZE, SOFT, tsr.Unlit())
    images = renderer.render().to_numpy()
    mesh.replace(*tsr.primitives.cube())
    with pytest.raises(ValueError, match="mesh.replace came after render"):
        renderer.backward(np.ones_like(images))


def test_arrays_are_assigned_without_the_spare_rows(backend):
    vertices, faces = tsr.primitives.cube()
    mesh = tsr.Mesh(vertices, faces, capacity=CAPACITY)
    mesh.vertices = 2 * vertices
    mesh.vertex_colors = np.full((8, 3), 0.5)
    np.testing.assert_array_equal(mesh.vertices.to_numpy()[:8], 2 * vertices)
    assert not mesh.vertices.to_numpy()[8:].any()
    assert mesh.vertex_colors.to_numpy()[7].tolist() == [0.5] * 3
