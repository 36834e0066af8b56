"""K nearest against PyTorch3D's own results, its NumPy twin, and central differences."""

import dataclasses

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances
from tests.gradcheck import central_differences, relative_error
from tests.rasterizers.scenes import draw_twin, gradient_error
from tests.reference.k_nearest import (
    SAME_DEPTH,
    Fragments,
    blend_fragments,
    find_fragments,
)
from tests.reference.pytorch3d_goldens import (
    CASES,
    face_normals,
    light_up,
    load,
    normalized,
    paint,
    paints,
    phong_colors,
    phong_light,
)

FRAGMENT_CASES = [name for name in CASES if name.startswith("fragments")]
PAINT_GRADIENTS = ("grad_vertex_colors", "grad_texture_map")
# Light per pixel, and the texture of the box, by NumPy: no renderer draws them here yet.
PHONG_CASES = ["hardphong_ico2_cull", "softphong_uv_box"]


def check_fragments(golden, fragments):
    """The same faces, but where depths are equal to rounding; then the same numbers."""
    expected = golden.fragments
    is_face = expected.faces >= 0
    np.testing.assert_array_equal(fragments.faces >= 0, is_face)
    np.testing.assert_allclose(
        fragments.depths, expected.depths, rtol=0, atol=tolerances.PYTORCH3D_DEPTH
    )
    same = fragments.faces == expected.faces
    print(f"{golden.name}: {(~same).sum()} of {is_face.sum()} faces in another order")
    assert (~same).sum() < tolerances.PYTORCH3D_TIES * is_face.sum()
    for actual, wanted in zip(fragments[1:], expected[1:]):
        print(f"{golden.name}: {np.abs(actual - wanted)[same].max():.1e}")
        np.testing.assert_allclose(
            actual[same], wanted[same], rtol=0, atol=tolerances.PYTORCH3D_FRAGMENTS
        )


def are_tied_at_the_limit(golden):
    """(H, W) where the first face that is left out is as near as the last one that is kept.

    PyTorch3D's rounding decides there; we take the lower index.
    """
    number = golden.settings["faces_per_pixel"]
    settings = {**golden.settings, "faces_per_pixel": number + 1}
    depths = find_fragments(golden.corners[0], golden.image_size, **settings).depths[..., -2:]
    return (depths[..., 1] >= 0) & (depths[..., 1] - depths[..., 0] <= SAME_DEPTH * depths[..., 1])


@pytest.mark.parametrize("name", FRAGMENT_CASES)
def test_twin_finds_the_fragments(name):
    golden = load(name)
    check_fragments(golden, find_fragments(golden.corners[0], golden.image_size, **golden.settings))


@pytest.mark.parametrize("name", FRAGMENT_CASES)
def test_twin_blends_by_softmax(name):
    """Phong's colours of PyTorch3D's own fragments."""
    golden = load(name)
    fragments = type(golden.fragments)(*(x.astype(float) for x in golden.fragments))
    fragments = fragments._replace(faces=golden.fragments.faces)
    colors = phong_colors(golden, fragments)
    image = blend_fragments(fragments, colors, blend="softmax", **golden.numbers)
    print(f"{name}: {np.abs(image - golden.image).max():.1e}")
    np.testing.assert_allclose(image, golden.image, rtol=0, atol=tolerances.PYTORCH3D_IMAGE)


@pytest.mark.parametrize("name", FRAGMENT_CASES)
def test_fragments(backend, name):
    golden = load(name)
    rasterizer = tsr.KNearest(**golden.settings)
    fragments = tsr.fragments(golden.corners, image_size=golden.image_size, rasterizer=rasterizer)
    check_fragments(golden, type(golden.fragments)(*(values[0] for values in fragments)))


@pytest.mark.filterwarnings("ignore:faces_per_pixel")
@pytest.mark.parametrize("name", CASES)
def test_silhouettes(backend, name):
    golden = load(name)
    rasterizer = tsr.KNearest(
        **golden.settings,
        **golden.numbers,
        blend="hard" if golden.parameters["shader"].startswith("hard") else "softmax",
    )
    image, vjp = tsr.rasterize(
        golden.corners, None, image_size=golden.image_size, rasterizer=rasterizer
    )
    error = np.abs(image[0, ..., 0] - golden.image[..., 3])
    tied = are_tied_at_the_limit(golden)
    print(f"{name}: {tied.sum()} of {tied.size} pixels tied at the limit")
    assert tied.mean() < tolerances.PYTORCH3D_TIES
    error = error * ~tied
    print(f"{name}: silhouette {error.max():.1e}, {(error > 2e-4).sum()} pixels")
    assert error.max() < tolerances.PYTORCH3D_IMAGE
    if golden.parameters["shader"] == "silhouette":
        grad_corners, _ = vjp(golden.weights[None, ..., 3:])
        error = relative_error(golden.grad_vertices(grad_corners), golden.data["grad_vertices"])
        print(f"{name}: gradient {error:.1e}")
        assert error < tolerances.PYTORCH3D_GRADIENT


def test_flat_light(backend):
    """The light of a face, from its centre and normal, multiplies the colours of its corners."""
    golden = load("hardflat_torus_ortho")
    points, normals = golden.vertices[golden.faces].mean(axis=1), face_normals(golden)
    lit, shine = light_up(golden, points, normalized(normals))
    vertex_colors = golden.data["vertex_colors"].astype(float)[golden.faces]
    colors = vertex_colors * lit[:, None] + shine[:, None]
    rasterizer = tsr.KNearest(**golden.settings, **golden.numbers, blend="hard")
    image, vjp = tsr.rasterize(
        golden.corners, colors[None], image_size=golden.image_size, rasterizer=rasterizer
    )
    print(f"flat: image {np.abs(image[0] - golden.image).max():.1e}")
    np.testing.assert_allclose(image[0], golden.image, rtol=0, atol=tolerances.PYTORCH3D_IMAGE)
    grad_corners, (grad_colors,) = vjp(golden.weights[None])
    grad_vertex_colors = np.zeros(golden.vertices.shape)
    np.add.at(grad_vertex_colors, golden.faces, grad_colors * lit[:, None])
    error = relative_error(grad_vertex_colors, golden.data["grad_vertex_colors"])
    print(f"flat: gradient of colours {error:.1e}")
    assert error < tolerances.PYTORCH3D_GRADIENT

    grad_lit, grad_shine = (grad_colors * vertex_colors).sum(axis=1), grad_colors.sum(axis=1)

    def pulled(points, normals):
        lit, shine = light_up(golden, points, normalized(normals))
        return (grad_lit * lit + grad_shine * shine).sum()

    def pulled_from_vertices(vertices):
        moved = dataclasses.replace(golden, vertices=vertices)
        return pulled(vertices[golden.faces].mean(axis=1), face_normals(moved))

    values = {"vertices": golden.vertices}
    grad_light = central_differences(pulled_from_vertices, values, "vertices", np.ones(()))
    grad_vertices = golden.grad_vertices(grad_corners) + grad_light
    expected = golden.data["grad_vertices"].astype(float)
    values = {"points": points, "normals": normalized(normals)}
    grad_normals = central_differences(pulled, values, "normals", np.ones(()))
    slip = slip_of_pytorch3d(golden, grad_normals)
    print(f"flat: PyTorch3D's slip {slip.max():.1e}, the light's {np.abs(grad_light).max():.1e}")
    expected[:, 2] -= slip
    errors = [relative_error(grad_vertices[:, k], expected[:, k]) for k in range(3)]
    print(f"flat: gradient of vertices {errors}")
    assert max(errors) < tolerances.PYTORCH3D_GRADIENT


def slip_of_pytorch3d(golden, grad_normals):
    """(V,) what PyTorch3D's gradient by z has too much, in `face_areas_normals`, backward.

    With a face's edges a, b from its first vertex and c = a x b, the y of its normal changes with
    the z of its second vertex by b_x / |c| - (b_x c_y - b_y c_x) c_y / |c|^3; it has c_x in place
    of the last c_y.
    """
    b_x, b_y, _ = (golden.vertices[golden.faces[:, 2]] - golden.vertices[golden.faces[:, 0]]).T
    normals = face_normals(golden)
    c_x, c_y, _ = normals.T
    excess = (b_x * c_y - b_y * c_x) * (c_y - c_x) / np.linalg.norm(normals, axis=1) ** 3
    slip = np.zeros(len(golden.vertices))
    np.add.at(slip, golden.faces[:, 1], excess * grad_normals[:, 1])
    return slip


def blend_as(golden):
    """The arguments of `blend_fragments`."""
    blend = "hard" if golden.parameters["shader"].startswith("hard") else "softmax"
    return {"blend": blend, **golden.numbers}


@pytest.mark.parametrize("name", FRAGMENT_CASES + PHONG_CASES)
def test_phong_light_of_our_fragments(backend, name):
    """Our fragments; their light, colours and blend by NumPy, and the gradient of colours."""
    golden = load(name)
    rasterizer = tsr.KNearest(**golden.settings)
    found = tsr.fragments(golden.corners, image_size=golden.image_size, rasterizer=rasterizer)
    faces, *values = (values[0] for values in found)
    fragments = Fragments(faces, *(value.astype(float) for value in values))
    blend = blend_as(golden)
    image = blend_fragments(fragments, phong_colors(golden, fragments), **blend)
    tied = are_tied_at_the_limit(golden)
    error = np.abs(image - golden.image) * ~tied[..., None]
    print(f"{name}: {tied.sum()} pixels tied at the limit, image {error.max():.1e}")
    assert error.max() < tolerances.PYTORCH3D_IMAGE

    shares_of_faces = blend_fragments(  # what each fragment has of the pixel
        fragments,
        np.broadcast_to(np.eye(faces.shape[2]), (*faces.shape, faces.shape[2])),
        **{**blend, "background": 0.0},
    )[..., :-1, None]
    lit, _ = phong_light(golden, fragments)
    grad_colors = shares_of_faces * golden.weights[:, :, None, :3] * lit
    entries, shares = paint(golden, fragments)
    grad_paints = np.zeros_like(paints(golden))
    np.add.at(grad_paints, entries, shares[..., None] * grad_colors[..., None, :])
    expected = [golden.data[key] for key in golden.data if key in PAINT_GRADIENTS]
    error = relative_error(grad_paints, expected[0].reshape(-1, 3))
    print(f"{name}: gradient of colours {error:.1e}")
    assert error < tolerances.PYTORCH3D_GRADIENT


@pytest.mark.parametrize("name", PHONG_CASES)
def test_twin_has_the_gradient_by_vertices(name):
    """Central differences of the NumPy twin with Phong's light, in a few random directions."""
    golden = load(name)
    expected = golden.data["grad_vertices"].astype(float)

    def loss(step):
        moved = move_vertices(golden, golden.vertices + step)
        fragments = find_fragments(moved.corners[0], golden.image_size, **golden.settings)
        image = blend_fragments(fragments, phong_colors(moved, fragments), **blend_as(golden))
        return (golden.weights * image).sum()

    generator = np.random.default_rng(0)
    for _ in range(4):
        step = tolerances.FINITE_DIFFERENCE_STEP * generator.normal(size=expected.shape)
        slope = (loss(step) - loss(-step)) / (2 * tolerances.FINITE_DIFFERENCE_STEP)
        wanted = (expected * step).sum() / tolerances.FINITE_DIFFERENCE_STEP
        error = abs(slope - wanted) / np.linalg.norm(expected)
        print(f"{name}: slope {slope:.3f}, PyTorch3D's {wanted:.3f}, error {error:.1e}")
        assert error < tolerances.PYTORCH3D_GRADIENT


def move_vertices(golden, vertices):
    shift = (vertices - golden.vertices) @ golden.rotation
    return dataclasses.replace(
        golden, vertices=vertices, vertices_view=golden.vertices_view + shift
    )


def random_faces():
    """(1, 9, 3, 3): some clockwise; the last has a corner behind the camera and is not drawn."""
    generator = np.random.default_rng(3)
    corners = generator.uniform(-1.3, 1.3, (1, 9, 3, 3))
    corners[..., 2] = generator.uniform(1.5, 4.5, (1, 9, 3))
    corners[0, 8, 1, 2] = -0.5
    return corners


def settings(**changes):
    return {
        "faces_per_pixel": 3,
        "sigma": 0.02,
        "gamma": 0.05,
        "near": 1.0,
        "far": 5.0,
        "background": (0.1, 0.2, 0.3),
        **changes,
    }


@pytest.mark.f64
@pytest.mark.filterwarnings("ignore:faces_per_pixel")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"faces_per_pixel": 1},
        {"faces_per_pixel": 50, "perspective_correct": False},
        {"gamma": 1e-3},  # the background is at its floor
        {"sigma": 1e-3, "gamma": 1e-3, "blur_radius": 0.025},  # and it matters
        {"blend": "sigmoid_alpha", "cull_backfaces": True},
        {"blend": "hard", "blur_radius": 0.0},
        {"perspective_correct": False, "clip_barycentric_coords": False, "blur_radius": 0.02},
        {"clip_barycentric_coords": False, "faces_per_pixel": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("texels", [False, True])
def test_image_and_gradients(backend, changes, texels):
    if texels and changes not in ({}, {"blend": "sigmoid_alpha", "cull_backfaces": True}):
        pytest.skip("texels: two cases tell")
    rasterizer = tsr.KNearest(**settings(**changes))
    corners, size = random_faces(), (6, 9)
    shape = (1, 9, 3, 3, 3) if texels else (1, 9, 3, 3)
    colors = np.random.default_rng(5).uniform(size=shape)
    image, _ = tsr.rasterize(corners, colors, image_size=size, rasterizer=rasterizer)
    expected = draw_twin(corners, colors, size, rasterizer)
    assert relative_error(image, expected) < tolerances.TWIN_DOUBLE
    for by in ("corners", "colors"):
        error = gradient_error(corners, colors, by, size, rasterizer)
        assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


def sphere(generator):
    """(1, F, 3, 3) an icosphere in perspective, turned at random: depths tie at its corners."""
    vertices, faces = tsr.primitives.icosphere(2)
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    vertices = vertices @ rotation + [0.03, 0.02, 3.0]
    vertices[:, :2] *= 1.7 / vertices[:, 2:]
    return vertices[faces][None]


@pytest.mark.filterwarnings("ignore:faces_per_pixel")
@pytest.mark.parametrize("perspective_correct", [True, False])
@pytest.mark.parametrize("faces_per_pixel", [1, 3, 12])
def test_every_pixel_keeps_k_faces(backend, faces_per_pixel, perspective_correct):
    """With an endless sigma each face covers by 1/2, so alpha counts the faces."""
    corners = sphere(np.random.default_rng(0))
    inputs = {
        "image_size": (48, 64),
        "rasterizer": tsr.KNearest(
            faces_per_pixel, 1e6, blur_radius=0.01, perspective_correct=perspective_correct
        ),
    }
    image, _ = tsr.rasterize(corners, None, **inputs)
    fragments = tsr.fragments(corners, **inputs)
    expected = (fragments.pix_to_face >= 0).sum(axis=-1)
    np.testing.assert_array_equal(np.rint(-np.log2(1 - image[..., 0])), expected)
    assert expected.max() == faces_per_pixel
    assert (np.diff(np.where(fragments.zbuf < 0, np.inf, fragments.zbuf)[..., :1]) >= 0).all()


def test_one_warning_for_truncation(backend):
    """The second of two faces is left out on a quarter of the pixels: they are side by side."""
    square = np.array([[-1, -1, 2.0], [0, -1, 2.0], [0, 1, 2.0], [-1, 1, 2.0]])
    corners = np.stack([square[[0, 1, 2]], square[[0, 1, 2]] + [0, 0, 1]])[None]
    rasterizer = tsr.KNearest(1, sigma=0.5)
    with pytest.warns(UserWarning, match=r"at 100.00% of the pixels"):
        tsr.rasterize(corners, None, image_size=(8, 8), rasterizer=rasterizer)
    renderer = tsr.Renderer(
        tsr.Mesh(*tsr.primitives.cube()),
        tsr.Camera.look_at((0.0, 1.0, 4.0)),
        (8, 8),
        rasterizer,
        tsr.Silhouette(),
    )
    with pytest.warns(UserWarning, match="faces_per_pixel = 1 changes") as caught:
        renderer.render()
        renderer.render()
    assert len(caught) == 1


@pytest.mark.filterwarnings("error")
def test_no_warning_of_what_is_asked_for(backend):
    """One face and no blur is a z-buffer: faces behind are meant to be left out."""
    square = np.array([[-1, -1, 2.0], [0, -1, 2.0], [0, 1, 2.0]])
    corners = np.stack([square, square + [0, 0, 1]])[None]
    rasterizer = tsr.KNearest(1, sigma=0.5, blur_radius=0.0)
    image, _ = tsr.rasterize(corners, None, image_size=(8, 8), rasterizer=rasterizer)
    assert 0.5 <= image.max() < 0.75  # one sigmoid of half a unit of sigma, not two


def test_renderer_gives_fragments(backend):
    mesh = tsr.Mesh(*tsr.primitives.cube())
    renderer = tsr.Renderer(mesh, tsr.Camera.look_at((0.0, 0.0, 4.0)), (8, 12))
    with pytest.raises(ValueError, match="SoftAggregation has no fragments"):
        renderer.fragments()
    renderer.rasterizer = tsr.KNearest(4)
    fragments = renderer.fragments(3)
    assert fragments.pix_to_face.shape == fragments.zbuf.shape == (1, 8, 12, 3)
    assert fragments.barycentrics.shape == (1, 8, 12, 3, 3)
    corners = renderer.vertices_ndc.to_numpy()[:, mesh.faces_array]
    expected = tsr.fragments(corners, image_size=(8, 12), rasterizer=tsr.KNearest(3))
    for actual, wanted in zip(fragments, expected):
        np.testing.assert_array_equal(actual, wanted)
    assert (fragments.pix_to_face[0, 0, 0] == -1).all()


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"faces_per_pixel": 0}, "faces_per_pixel must be an integer of at least 1, got 0"),
        ({"faces_per_pixel": 2.5}, "faces_per_pixel must be an integer of at least 1, got 2.5"),
        ({"blur_radius": -1e-3}, "must be 0 or above, got -0.001"),
        ({"blur_radius": float("nan")}, "must be 0 or above, got nan"),
        ({"blend": "mean"}, "blend must be one of 'softmax', 'sigmoid_alpha', 'hard'"),
        ({"sigma": 0.0}, "sigma must be a finite number above 0"),
        ({"near": 2.0, "far": 1.0}, "far must be a finite number above 2"),
    ],
)
def test_bad_settings(bad, message):
    with pytest.raises(ValueError, match=message):
        tsr.KNearest(**bad)
