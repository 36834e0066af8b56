"""The filtered image against what it says that it is: the z-buffer's image, averaged over discs.

The truth is drawn 16 times as large, without edges, and averaged over the samples in each disc.
"""

import numpy as np
import pytest

import taichi_softras as tsr
from benchmarks.launches import metered
from taichi_softras.rasterizers.fragments import no_surface
from taichi_softras.runtime import ti
from taichi_softras.shading.composition import Looks, compose
from taichi_softras.workspace import Workspace
from tests import tolerances
from tests.rarely import mostly
from tests.rasterizers.scenes import ALL_SHADINGS, bumpy_torus, describe
from tests.rasterizers.test_approximate_gradient import upload

SIZE = 48
FACTOR = 16
SIGMAS = (1 / 3, 1.0, 2.0)
RADIUS_PER_SIGMA = 2.35
RED = np.array([0.9, 0.2, 0.1])


def rasterize(scene, **settings):
    """(H, W, C + 1) and its vjp."""
    corners, colors, background = scene
    image, vjp = tsr.rasterize(
        corners[None],
        colors[None],
        image_size=(SIZE, SIZE),
        rasterizer=tsr.Prefiltered(background=background, near=1.0, far=9.0, **settings),
    )
    return image[0], vjp


def draw_large(scene, factor=FACTOR):
    """(H, W, C + 1) of the z-buffer alone."""
    corners, colors, background = scene
    z_buffer = tsr.FilteredDerivative(overdraw=False, background=background, near=1.0, far=9.0)
    size = (SIZE * factor, SIZE * factor)
    return tsr.rasterize(corners[None], colors[None], image_size=size, rasterizer=z_buffer)[0][0]


def average(large, radius_pixels):
    """(H, W, C + 1) the mean over the samples within a distance of each pixel's centre."""
    reach = int(np.ceil(radius_pixels * FACTOR))
    offsets = np.arange(-reach, reach) + 0.5
    disc = np.hypot(*np.meshgrid(offsets, offsets)) < radius_pixels * FACTOR
    margin = reach - FACTOR // 2
    padded = np.pad(large, [(margin, margin), (margin, margin), (0, 0)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, disc.shape, axis=(0, 1))
    return np.einsum("hwcij,ij->hwc", windows[::FACTOR, ::FACTOR], disc / disc.sum())


def in_pixels(points, depths):
    """(V, 3) corners of an orthographic camera, from pixels x right and y down."""
    points = np.asarray(points, float)
    ndc = (points * 2 - SIZE) / SIZE * [1, -1]
    return np.concatenate([ndc, np.broadcast_to(depths, len(points))[:, None]], axis=1)


def scene_of(vertices, faces, colors, background=(1.0, 1.0, 1.0)):
    """Clip coordinates with w = 1, colours of the vertices at the corners."""
    corners = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    return corners[faces], np.broadcast_to(colors, (len(vertices), 3))[faces], background


def ball(level, radius=15.0, shift=0.0, color=RED):
    vertices, faces = tsr.primitives.icosphere(level)
    unit = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    centre = [SIZE / 2 + 0.17 + shift, SIZE / 2 + 0.29]
    return scene_of(in_pixels(centre + radius * unit[:, :2], 5 + unit[:, 2]), faces, color)


def torus(tilt=1.1):
    vertices, faces = tsr.primitives.torus(major_segments=40, minor_segments=20)
    c, s = np.cos(tilt), np.sin(tilt)
    turned = np.asarray(vertices) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T
    size = np.abs(vertices).max()
    colors = 0.5 + 0.2 * np.asarray(vertices) / size
    points = np.array([SIZE / 2 + 0.1, SIZE / 2 + 0.3]) + 18 * turned[:, :2] / size
    return scene_of(in_pixels(points, 5 + turned[:, 2] / size), faces, colors)


def triangle_before_quad(shift=0.0):
    quad = [[5.2, 6.1], [43.3, 5.4], [42.1, 43.9], [6.7, 42.2]]
    triangle = [[17.3 + shift, 15.1], [33.6 + shift, 22.2], [19.4 + shift, 34.7]]
    vertices = np.concatenate([in_pixels(quad, 6.0), in_pixels(triangle, 4.0)])
    colors = np.array([[0.2, 0.4, 0.8]] * 4 + [[0.9, 0.7, 0.1]] * 3)
    return scene_of(vertices, np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]]), colors)


@pytest.mark.f64
def test_a_torus_is_the_filtered_z_buffer(backend):
    image, _ = rasterize(torus())
    error = np.abs(image - average(draw_large(torus()), RADIUS_PER_SIGMA / 3))
    print(f"mean error {error.mean():.1e}, largest {error.max():.1e}")
    assert error.mean() < tolerances.FILTERED_MEAN
    assert error.max() < tolerances.FILTERED_LARGEST


@pytest.mark.f64
def test_inner_edges_do_not_show(backend):
    steps = np.linspace(0, 1, 7)
    u, v = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    points = np.stack([7 + 31 * u + 2 * np.sin(2 * v), 8 + 30 * v + 2 * np.sin(3 * u)], axis=1)
    index = np.arange(49).reshape(7, 7)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)
    scene = scene_of(in_pixels(points, 5 + 0.3 * np.cos(3 * u)), faces, np.stack([u, v, u * v], 1))
    image, large = rasterize(scene, sigma_pixels=1.0)[0], draw_large(scene, 1)
    inside = average(draw_large(scene), RADIUS_PER_SIGMA)[..., -1] > 1 - 1e-9
    assert inside.sum() > 500
    np.testing.assert_array_equal(image[inside], large[inside])


@pytest.mark.f64
@pytest.mark.parametrize("sigma_pixels", SIGMAS)
def test_balls_of_few_and_many_faces_are_as_wide_as_they_are(backend, sigma_pixels):
    for level in (1, 5):
        image, _ = rasterize(ball(level), sigma_pixels=sigma_pixels)
        area = draw_large(ball(level))[..., -1].sum() / FACTOR**2
        widths = np.sqrt(np.array([image[..., -1].sum(), area]) / np.pi)
        assert abs(widths[0] - widths[1]) < tolerances.FILTERED_WIDTH_PIXELS


@pytest.mark.f64
@pytest.mark.parametrize("sigma_pixels", SIGMAS)
@pytest.mark.parametrize("make, distance", [(ball, 4.0), (triangle_before_quad, 3.0)])
def test_a_loss_of_rgb_has_the_derivative_of_the_filtered_truth(
    backend, make, distance, sigma_pixels
):
    make = (lambda shift: ball(3, shift=shift)) if make is ball else make
    is_moved = np.ptp([make(0.0)[0], make(1.0)[0]], axis=0)[..., 0] > 0
    radius = RADIUS_PER_SIGMA * sigma_pixels

    def loss(image, target):
        return ((image - target)[..., :3] ** 2).sum()

    target, _ = rasterize(make(distance), sigma_pixels=sigma_pixels)
    true_target = average(draw_large(make(distance)), radius)
    ratios = []
    for shift in (0.1, 0.6):
        image, vjp = rasterize(make(shift), sigma_pixels=sigma_pixels)
        cotangent = np.zeros_like(image)
        cotangent[..., :3] = 2 * (image - target)[..., :3]
        gradient = vjp(cotangent[None])[0][0][is_moved][:, 0].sum() * 2 / SIZE
        own = [
            loss(rasterize(make(shift + step), sigma_pixels=sigma_pixels)[0], target)
            for step in (-1e-5, 1e-5)
        ]
        true = [
            loss(average(draw_large(make(shift + step)), radius), true_target)
            for step in (-0.5, 0.5)
        ]
        assert gradient == pytest.approx((own[1] - own[0]) / 2e-5, rel=1e-6)
        ratios.append(gradient / (true[1] - true[0]))
    print("derivative over that of the truth", np.round(ratios, 4))
    assert np.mean(ratios) == pytest.approx(1, abs=tolerances.FILTERED_DERIVATIVE)


@pytest.mark.f64
@pytest.mark.parametrize("path", ["torus tilts", "triangle moves", "rim vertex moves in"])
def test_nothing_jumps_along_a_path(backend, path):
    """Steps of .005 pixels and less."""
    rim = ball(2)
    vertex = np.unravel_index(np.argmax(rim[0][..., 0]), rim[0].shape[:2])
    at_rim = (rim[0] == rim[0][vertex]).all(axis=-1)

    def scene(t):
        if path == "torus tilts":
            return torus(1.1 + 0.005 * t)
        if path == "triangle moves":
            return triangle_before_quad(2.0 * t)
        corners = rim[0].copy()
        corners[at_rim, :3] += np.array([-6 * 2 / SIZE, 2 / SIZE, 0.3]) * 0.3 * t
        return corners, *rim[1:]

    images = [rasterize(scene(k / 400))[0] for k in range(400)]
    largest = np.abs(np.diff(images, axis=0)).max()
    print("largest jump", largest)
    assert largest < tolerances.FILTERED_JUMP


@pytest.mark.f64
def test_faces_that_pierce_each_other_stay_within_their_colours(backend):
    generator = np.random.default_rng(3)
    for _ in range(5):
        corners = generator.uniform(-0.8, 0.8, (30, 3, 4))
        corners[..., 2] = 4 + generator.uniform(-1, 1, (30, 3))
        corners[..., 3] = 1
        colors = generator.uniform(0.2, 0.7, (30, 3, 3))
        image, vjp = rasterize((corners, colors, (0.2, 0.2, 0.2)))
        assert image[..., :3].min() >= 0.2 and image[..., :3].max() <= 0.7
        assert image[..., 3].min() >= 0 and image[..., 3].max() <= 1
        assert all(np.isfinite(gradient).all() for gradient in vjp(np.ones_like(image)[None]))


@pytest.mark.f64
def test_inner_edges_of_a_turning_cube(backend):
    """Coloured by face: with inner edges the gradient sees the edge between two faces move."""
    vertices, faces = tsr.primitives.cube()
    colors = np.random.default_rng(0).uniform(size=(6, 3))

    def scene(angle):
        c, s = np.cos(angle), np.sin(angle)
        turned = np.asarray(vertices) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        turned = turned @ np.array([[1, 0, 0], [0, 0.9, -0.436], [0, 0.436, 0.9]])
        corners, _, background = scene_of(
            in_pixels(SIZE / 2 + 0.2 + 11 * turned[:, :2], 5 + turned[:, 2]), faces, RED
        )
        return corners, np.repeat(colors, len(faces) // 6, axis=0)[:, None].repeat(3, 1), background

    target = average(draw_large(scene(0.7)), RADIUS_PER_SIGMA)
    true = [
        ((average(draw_large(scene(a)), RADIUS_PER_SIGMA) - target) ** 2).sum()
        for a in (0.39, 0.41)
    ]
    ratios = []
    for inner_edges in (False, True):
        image, vjp = rasterize(scene(0.4), sigma_pixels=1.0, inner_edges=inner_edges)
        gradient = vjp(2 * (image - target)[None])[0][0]
        slope = (scene(0.401)[0] - scene(0.399)[0]) / 0.002
        ratios.append((gradient * slope).sum() / ((true[1] - true[0]) / 0.02))
    print("without and with inner edges", ratios)
    assert abs(ratios[1] - 1) < 0.1 < abs(ratios[0] - 1)


def test_a_blur_that_is_too_small_says_why():
    with pytest.raises(ValueError, match="sigma_pixels must be at least 0.3.*miss outlines"):
        tsr.Prefiltered(0.2)


@pytest.mark.f64
@pytest.mark.parametrize("shading", mostly(ALL_SHADINGS, [tsr.Gouraud()]), ids=describe)
def test_the_whole_chain_is_the_central_difference(backend, shading):
    """From vertices, colours and the eye, through light, to the image; and its Jacobian."""
    generator = np.random.default_rng(5)
    vertices, faces = bumpy_torus(generator)
    mesh = tsr.Mesh(vertices, faces, vertex_colors=generator.uniform(size=vertices.shape))
    camera = tsr.Camera.look_at((0.7, 1.9, 2.3), fov_y_degrees=50)
    renderer = tsr.Renderer(
        mesh, camera, (24, 24), tsr.Prefiltered(near=1.0, far=5.0, background=-1.0), shading
    )
    cotangent = generator.normal(size=renderer.render().to_numpy().shape)
    renderer.backward(cotangent)
    fields = {"vertices": mesh.vertices, "eye": camera.eye}
    if mesh.vertex_colors.grad.to_numpy().any():
        fields["colours"] = mesh.vertex_colors
    gradients = {name: field.grad.to_numpy() for name, field in fields.items()}
    for name, field in fields.items():
        start, move = field.to_numpy(), generator.normal(size=field.to_numpy().shape)
        sums = []
        for sign in (1, -1):
            field.from_numpy(start + sign * tolerances.FINITE_DIFFERENCE_STEP * move)
            sums.append((renderer.render().to_numpy() * cotangent).sum())
        field.from_numpy(start)
        difference = (sums[0] - sums[1]) / (2 * tolerances.FINITE_DIFFERENCE_STEP)
        along = (gradients[name] * move).sum()
        scale = np.abs(gradients[name] * move).sum()
        assert abs(along - difference) < 1e-5 * scale, name
    jacobian = renderer.jacobian([camera.eye])
    np.testing.assert_allclose(
        np.tensordot(cotangent, jacobian, axes=4), gradients["eye"].ravel(), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("faces", [[[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]])
def test_a_square_whose_sides_run_through_pixel_centres(backend, faces):
    """Half of a disc on a side; at a corner, which has no side of its own, a quarter to a half."""
    square = in_pixels([[10.5, 12.5], [30.5, 12.5], [30.5, 34.5], [10.5, 34.5]], 5.0)
    image, vjp = rasterize(scene_of(square, np.array(faces), RED))
    alpha = image[..., 3]
    sides = np.concatenate([alpha[13:34, [10, 30]].ravel(), alpha[[12, 34], 11:30].ravel()])
    np.testing.assert_allclose(sides, 0.5, atol=1e-4)
    np.testing.assert_allclose(alpha[14:33, 12:29], 1.0, atol=1e-5)
    assert (alpha[[12, 12, 34, 34], [10, 30, 10, 30]] > 0.24).all()
    assert (alpha[[12, 12, 34, 34], [10, 30, 10, 30]] < 0.51).all()
    alpha[12:35, 10:31] = 0.0
    assert alpha.max() < 1e-5
    assert np.isfinite(vjp(np.ones_like(image)[None])[0]).all()


def test_awkward_meshes_have_the_right_picture(backend):
    """Not welded, twice the same, with three faces at an edge, with a face that is a line."""
    vertices, faces = tsr.primitives.icosphere(2)
    unit = np.asarray(vertices) / np.linalg.norm(vertices, axis=1, keepdims=True)
    points = in_pixels(
        np.array([SIZE / 2 + 0.17, SIZE / 2 + 0.29]) + 15 * unit[:, :2], 5 + unit[:, 2]
    )
    faces = np.asarray(faces)
    expected, _ = rasterize(scene_of(points, faces, RED))
    line = np.array([[faces[0, 0], faces[0, 1], faces[0, 0]]])
    for others in (np.concatenate([faces, faces]), np.concatenate([faces, line])):
        image, vjp = rasterize(scene_of(points, others, RED))
        np.testing.assert_allclose(image, expected, atol=1e-4)
        assert np.isfinite(vjp(np.ones_like(image)[None])[0]).all()
    fin = np.concatenate([faces, [[faces[0, 0], faces[0, 1], faces[-1, 2]]]])
    image, vjp = rasterize(scene_of(points, fin, RED))
    assert np.isfinite(image).all() and np.isfinite(vjp(np.ones_like(image)[None])[0]).all()


def test_the_host_waits_once_a_draw(backend, monkeypatch):
    """For both lengths that it must know; arrays stay while the number of pieces changes a bit."""
    corners, colors, _ = ball(2)
    workspace, shader = Workspace(), compose([tsr.Unlit()], Looks(3)).shader
    surface = no_surface(workspace)._replace(varyings=upload(colors[None], backend.numpy_float))
    rasterizer, reads, places = tsr.Prefiltered(near=1.0, far=9.0), [], []
    read = ti.ScalarNdarray.__getitem__
    with metered() as meter:

        def counted(array, index):
            reads.append(list(meter.launches))
            return read(array, index)

        monkeypatch.setattr(ti.ScalarNdarray, "__getitem__", counted)
        for scale in (1.0, 1.02, 0.98):
            moved = upload(corners[None] * [scale, scale, 1, 1], backend.numpy_float)
            meter.launches.clear()
            reads.clear()
            drawn = rasterizer.forward(workspace, moved, shader, surface, (SIZE, SIZE))
            places.append((drawn.pieces.places, drawn.pieces.starts.to_numpy()[-1]))
            assert reads and all(
                launches == ["set_up_and_count", "find_neighbours", "count_pieces"]
                for launches in reads
            )
    assert len({total for _, total in places}) > 1
    assert len({id(array) for array, _ in places}) == 1
