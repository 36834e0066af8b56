"""Wrong input is an error that says so; odd input is the right image; never is anything NaN."""

import dataclasses
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti
from tests import tolerances
from tests.rarely import rarely
from tests.rasterizers.scenes import NUMBERS, bumpy_torus, corner_colors, draw_twin

# The shared renderer looks at its depths at draws 1, 2, 4, 8: the order of tests says in which
pytestmark = pytest.mark.filterwarnings("ignore:near = ")

IMAGE_SIZE = (6, 9)
RASTERIZER = tsr.SoftAggregation(**NUMBERS)
FACE = np.array([[-0.52, -0.47, 2], [0.49, -0.53, 2], [0.03, 0.51, 2.5]])
CORNERS = np.array([[FACE, FACE + [0.2, 0.1, 1]]])  # (1, 2, 3, 3)
COLORS = np.random.default_rng(0).uniform(size=(1, 2, 3, 3))
NAN, INF = float("nan"), float("inf")


def rasterize(corners=CORNERS, colors=COLORS, image_size=IMAGE_SIZE, rasterizer=RASTERIZER):
    return tsr.rasterize(corners, colors, image_size=image_size, rasterizer=rasterizer)


def with_entry(array, index, value):
    changed = np.array(array, float)
    changed[index] = value
    return changed


# --- Taichi not started, or started again: each in a process of its own ---


def run_python(code):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_without_ti_init():
    run_python(
        """
        import numpy as np
        import taichi_softras as tsr

        for make in (
            lambda: tsr.Mesh(*tsr.primitives.triangle()),
            lambda: tsr.Camera.look_at((0, 0, 3)),
            lambda: tsr.Lights(),
            lambda: tsr.rasterize(np.ones((1, 1, 3, 3)), image_size=(4, 4)),
        ):
            try:
                make()
            except RuntimeError as error:
                assert "call ti.init" in str(error), error
            else:
                raise AssertionError("no error")
        """
    )


def test_ti_init_called_again():
    """What was made before is refused, never read; what is made after works."""
    run_python(
        """
        import numpy as np
        import taichi_softras as tsr
        from taichi_softras.runtime import ti

        def make():
            ti.init(arch=ti.cpu, log_level=ti.ERROR)
            mesh, camera = tsr.Mesh(*tsr.primitives.triangle()), tsr.Camera.look_at((0, 0, 3))
            return tsr.Renderer(mesh, camera, (4, 4), shading=tsr.Silhouette())

        old = make()
        image = old.render().to_numpy()
        new = make()
        for use in (old.render, lambda: old.backward(image)):
            try:
                use()
            except RuntimeError as error:
                assert "ti.init was called again" in str(error), error
            else:
                raise AssertionError("no error")
        np.testing.assert_array_equal(new.render().to_numpy(), image)
        """
    )


# --- numbers and names of the rasterizer ---


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"sigma": 0.0}, "sigma must be a finite number above 0, got 0.0"),
        ({"sigma": -1.0}, "sigma must be a finite number above 0"),
        ({"sigma": NAN}, "sigma must be a finite number above 0, got nan"),
        ({"sigma": INF}, "sigma must be"),
        ({"sigma": "a"}, "sigma must be a finite number above 0, got 'a'"),
        ({"distance": []}, "distance must be one of"),
        ({"sigma_pixels": 0.0}, "sigma_pixels must be a finite number above 0"),
        ({"gamma": 0.0}, "gamma must be a finite number above 0"),
        ({"gamma": NAN}, "gamma must be a finite number above 0"),
        ({"near": 0.0}, "near must be a finite number above 0"),
        ({"near": 2.0, "far": 2.0}, "far must be a finite number above 2, got 2.0"),
        ({"near": 2.0, "far": 1.0}, "far must be a finite number above 2, got 1.0"),
        ({"far": INF}, "far must be"),
        ({"coverage_cutoff": 0.0}, "coverage_cutoff must be .* above 0 and below 0.5"),
        ({"coverage_cutoff": 0.5}, "coverage_cutoff must be .* above 0 and below 0.5"),
        ({"coverage_cutoff": -1e-4}, "coverage_cutoff must be .* above 0 and below 0.5"),
        ({"background_depth": NAN}, "background_depth must be a finite number"),
        ({"background": (0.0, NAN, 0.0)}, "background must be"),
        ({"background": ()}, "background must be"),
        ({"background": "white"}, "background must be"),
        ({"distance": "manhattan"}, "distance must be one of 'euclidean', .* got 'manhattan'"),
        ({"color": "soft"}, "color must be one of 'softmax', 'hard', got 'soft'"),
        ({"alpha": None}, "alpha must be one of 'product', 'sum', 'hard', got None"),
    ],
    ids=str,
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        tsr.SoftAggregation(**settings)


METHODS = [tsr.SoftAggregation, tsr.KNearest, tsr.ApproximateGradient, tsr.FilteredDerivative]


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("background", [(0.0, NAN, 0.0), (), "white"], ids=str)
def test_every_method_checks_its_background(method, background):
    with pytest.raises(ValueError, match="background must be"):
        method(background=background)


UNHELD = [
    ({"sigma": 1e-40}, "sigma must be from 1e-30 to 1e.30 in single precision, got 1e-40"),
    ({"sigma_pixels": 1e-200}, "the sigma of sigma_pixels = 1e-200, in NDC squared, must be from"),
    ({"sigma_pixels": 1e200}, "the sigma of sigma_pixels = 1e.200, .*, got inf"),
    ({"gamma": 1e-300}, "gamma must be from 1e-30 to 1e.30 in single precision, got 1e-300"),
    (
        {"gamma": 1e-20, "near": 1.0, "far": 1.0 + 1e-15},
        r"gamma \* \(far - near\) must be from 1e-30",
    ),
    ({"background": 1e39}, "background must be from -1e.30 to 1e.30 in single precision, got"),
    ({"background": (0.0, -1e31, 0.0)}, "background must be from -1e.30 to 1e.30"),
    ({"background_depth": 1e29}, r"background_depth \* \(far - near\) must be from -1e.30"),
    ({"coverage_cutoff": 1e-200}, "coverage_cutoff must be from 1e-30"),
    ({"blur_radius": 1e200}, "blur_radius must be from"),
    ({"near": 1e-40}, "near must be from 1e-30 to"),
    ({"far": 1e39}, "far must be from 1e-30 to"),
    ({"eps": 1e-40}, "eps must be from 1e-30 to"),
]


def knows(method, settings):
    return set(settings) <= {field.name for field in dataclasses.fields(method)}


@pytest.mark.parametrize(
    "method, settings, message",
    [(method, *case) for method in METHODS for case in UNHELD if knows(method, case[0])],
    ids=str,
)
def test_settings_that_single_precision_cannot_hold(backend, method, settings, message):
    """Refused when drawing: before, nobody knows the precision."""
    rasterizer = method(**settings)
    with pytest.raises(ValueError, match=message):
        rasterize(rasterizer=rasterizer)


@pytest.mark.parametrize(
    "settings",
    [{"sigma": 1e-30, "gamma": 1e-30}, {"sigma": 1e30, "gamma": 1e28}, {"background": 1e30}],
    ids=str,
)
@pytest.mark.parametrize("method", METHODS[:2])
def test_settings_that_it_just_holds(backend, method, settings):
    rasterizer = method(**settings)
    image, vjp = rasterize(rasterizer=rasterizer)
    for values in (image, *vjp(np.ones_like(image))):
        assert np.isfinite(values).all()


@pytest.mark.f64
def test_double_precision_holds_more(backend):
    """sigma 1e-40 is drawn, a hard edge; 1e-300 is refused here, too."""
    sharp = rasterize(rasterizer=tsr.SoftAggregation(sigma=1e-40))[0]
    hard = rasterize(rasterizer=tsr.SoftAggregation(distance="hard", sigma=1e-300))[0]
    np.testing.assert_array_equal(sharp, hard)
    message = "gamma must be from 1e-250 to 1e.250 in double precision, got 1e-300"
    with pytest.raises(ValueError, match=message):
        rasterize(rasterizer=tsr.SoftAggregation(gamma=1e-300))


# --- arrays ---


def describe(value):
    return next(iter(value)) if isinstance(value, dict) else "refused"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"corners": CORNERS[0]}, r"corners .* \(B, F, 3, 3\) or \(B, F, 3, 4\), got \(2, 3, 3\)"),
        ({"corners": CORNERS[..., :2]}, r"got \(1, 2, 3, 2\)"),
        ({"corners": CORNERS[:0]}, r"got \(0, 2, 3, 3\)"),
        ({"corners": "corners"}, "corners must be an array of numbers"),
        ({"corners": [[1, 2], [3]]}, "corners must be an array of numbers"),
        ({"corners": with_entry(CORNERS, (0, 1, 2, 0), NAN)}, "corners has entries that are NaN"),
        ({"corners": with_entry(CORNERS, (0, 1, 2, 2), INF)}, "corners has entries that are NaN"),
        ({"corners": with_entry(CORNERS, (0, 1, 2, 0), 1e38)}, "entries that are too large"),
        ({"corners": with_entry(CORNERS, (0, 1, 2, 0), -1e99)}, "entries that are too large"),
        (
            {"colors": with_entry(COLORS, (0, 0, 0, 0), -1e38)},
            "colors has entries that are too large",
        ),
        ({"colors": COLORS[:, :1]}, r"colors must have shape \(1 or 1, 2, 3, C\)"),
        ({"colors": COLORS[0]}, r"got \(2, 3, 3\)"),
        ({"colors": np.ones((3, 2, 3, 3))}, r"got \(3, 2, 3, 3\)"),
        ({"colors": np.ones((1, 2, 4, 5, 3))}, r"got \(1, 2, 4, 5, 3\)"),
        ({"colors": np.ones((1, 2, 3, 0))}, "at least one channel"),
        ({"colors": with_entry(COLORS, (0, 0, 0, 0), NAN)}, "colors has entries that are NaN"),
        ({"image_size": 6}, r"image_size must be \(height, width\) in whole pixels, got 6"),
        ({"image_size": (6, 9, 3)}, r"image_size must be \(height, width\)"),
        ({"image_size": (6, 0)}, r"image_size must be at least \(1, 1\)"),
        ({"image_size": (-6, 9)}, r"image_size must be at least \(1, 1\)"),
        ({"image_size": (2.5, 3)}, r"image_size must be \(height, width\) in whole pixels"),
        ({"image_size": ("6", None)}, r"image_size must be \(height, width\)"),
        ({"rasterizer": tsr.SoftAggregation(background=(0, 1))}, "background has 2 different"),
    ],
    ids=describe,
)
def test_rasterize_refuses(backend, arguments, message):
    with pytest.raises(ValueError, match=message):
        rasterize(**arguments)


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e39])
def test_a_mesh_that_is_not_finite(backend, value):
    vertices, faces = tsr.primitives.triangle()
    what = "too large" if value == 1e39 else "NaN or infinite"
    with pytest.raises(ValueError, match=f"vertices must be finite, got 1 entries that are {what}"):
        tsr.Mesh(with_entry(vertices, (1, 1), value), faces)


@pytest.mark.parametrize(
    "faces, message",
    [
        ([[0, 1, 3]], "faces must index 3 vertices from 0, got indices from 0 to 3"),
        ([[0, -1, 2]], "faces must index 3 vertices from 0, got indices from -1 to 2"),
        ([[0.0, 1.0, 2.0]], "faces must be integers"),
        ([0, 1, 2], r"faces must have shape \(F, 3\)"),
        (np.zeros((0, 3), int), r"faces must have shape \(F, 3\), not empty"),
    ],
    ids=str,
)
def test_a_mesh_of_wrong_faces(backend, faces, message):
    with pytest.raises(ValueError, match=message):
        tsr.Mesh(tsr.primitives.triangle()[0], faces)


def test_a_mesh_without_vertices(backend):
    with pytest.raises(ValueError, match="vertices must have shape"):
        tsr.Mesh(np.zeros((0, 3)), np.zeros((0, 3), int))


def test_the_gradient_of_an_image_is_checked(backend):
    image, vjp = rasterize()
    with pytest.raises(
        ValueError, match=r"grad_image must have shape \(1, 6, 9, 4\), got \(6, 9, 4\)"
    ):
        vjp(image[0])
    with pytest.raises(ValueError, match="grad_image has entries that are NaN"):
        vjp(image * NAN)


# --- shapes that are odd but right: the twin's image, and finite gradients ---


def check_odd(corners, tolerance=tolerances.SINGLE_PRECISION_RELATIVE, image_size=IMAGE_SIZE):
    """Returns the image."""
    corners = np.asarray(corners, np.float32)
    colors = np.random.default_rng(0).uniform(size=(1, corners.shape[1], 3, 3))
    for color in ("softmax", "hard"):
        rasterizer = tsr.SoftAggregation(**NUMBERS, color=color)
        image, vjp = rasterize(corners, colors, image_size, rasterizer)
        expected = draw_twin(corners, colors, image_size, rasterizer)
        np.testing.assert_allclose(image, expected, rtol=0, atol=tolerance)
        for gradient in vjp(np.ones_like(image)):
            assert np.isfinite(gradient).all()
    return image


BACKGROUND = [*NUMBERS["background"], 0]


@pytest.mark.parametrize(
    "line",
    [
        [[0, 0], [0, 0], [0, 0]],
        [[-0.5, 0.1], [-0.5, 0.1], [0.5, 0.1]],
        [[-0.5, -0.5], [0, 0], [0.5, 0.5]],
        [[-0.5, -0.5], [0, 1e-30], [0.5, 0.5]],
    ],
    ids=str,
)
def test_faces_without_area_are_not_drawn(backend, line):
    face = np.concatenate([line, [[2], [2.5], [3]]], axis=1)
    np.testing.assert_allclose(check_odd([[face]])[0, 0, 0], BACKGROUND, rtol=1e-6)
    check_odd([[FACE, face]])


@pytest.mark.parametrize("height", [1e-3, 1e-5, 1e-6, 1e-7])
def test_slivers_have_finite_gradients(backend, height):
    """A face so thin that f32 hardly knows it from a line."""
    face = with_entry(FACE, (2, 1), -0.5 + height)
    image, vjp = rasterize([[face]], COLORS[:, :1])
    assert all(np.isfinite(array).all() for array in (image, *vjp(image)))


@pytest.mark.filterwarnings("ignore:near = ")
@pytest.mark.parametrize("depth", [0.0, -1.0, 1e-42, 1e-30, 1e-20, 1e-10])
def test_a_corner_at_or_behind_the_camera(backend, depth):
    """The face is not drawn; one that is next to nothing in front makes nothing overflow."""
    face = with_entry(FACE, (0, 2), depth)
    image, vjp = rasterize([[face, FACE + [0.2, 0.1, 1]]])
    assert all(np.isfinite(array).all() for array in (image, *vjp(image)))
    if depth <= 0:
        check_odd([[face, FACE]])


@pytest.mark.filterwarnings("ignore:near = ")
@pytest.mark.parametrize("move", [(40, 0, 0), (0, -40, 0), (0, 0, -10), (1e6, 1e6, 0), (0, 0, 1e6)])
def test_faces_outside_of_the_view(backend, move):
    """Beside it, behind the camera, far beside it, and behind `far`, where alpha remains."""
    image = check_odd([[FACE + move]])
    if move != (0, 0, 1e6):
        np.testing.assert_array_equal(image, np.broadcast_to(np.float32(BACKGROUND), image.shape))


@pytest.mark.parametrize("image_size", [(1, 1), (1, 4096), rarely((4096, 1))], ids=str)
def test_images_of_every_shape(backend, image_size):
    """The shorter side, a pixel, spans [-1, 1]; faces lie all along the longer one."""
    generator = np.random.default_rng(0)
    extent = np.array(image_size[::-1]) / min(image_size)
    corners = generator.uniform(-2, 2, (1, 40, 3, 3))
    corners[..., :2] += generator.uniform(-extent, extent, (1, 40, 1, 2))
    corners[..., 2] = generator.uniform(2, 4, (1, 40, 3))
    check_odd(corners, tolerances.LONG_IMAGE_SINGLE, image_size)


# --- a renderer and its fields ---


@pytest.fixture(scope="module")
def only_renderer(backend):
    """One for all tests here: compiling is what takes time."""
    mesh = tsr.Mesh(*bumpy_torus(np.random.default_rng(8)))
    cameras = tsr.Camera.look_at(eye=(1.0, 1.5, 2.5), fov_y_degrees=60)
    return tsr.Renderer(mesh, cameras, IMAGE_SIZE, rasterizer=RASTERIZER)


@pytest.fixture
def renderer(only_renderer):
    """With the fields as they were."""
    fields = only_renderer.mesh.vertices, only_renderer.cameras.eye
    values = [field.to_numpy() for field in fields]
    yield only_renderer
    for field, value in zip(fields, values):
        field.from_numpy(value)


@pytest.fixture(scope="module")
def loss(backend):
    return ti.field(float, shape=(), needs_grad=True)


@ti.kernel
def sum_of_alpha(image: ti.template(), loss: ti.template()):
    for pixel in ti.grouped(image):
        loss[None] += image[pixel][3]


@ti.kernel
def write_vertex(vertices: ti.template(), vertex: int, x: float, y: float, z: float):
    for _ in range(1):
        vertices[vertex] = ti.Vector([x, y, z])


def gradients(renderer):
    cameras, mesh, lights = renderer.cameras, renderer.mesh, renderer.lights
    fields = mesh.vertices, mesh.vertex_colors, lights.directions, cameras.eye, cameras.target
    return [field.grad.to_numpy() for field in fields]


def check_drawn(renderer):
    """Image as the twin's, gradients finite; returns the image."""
    image = renderer.render().to_numpy()
    corners = renderer.vertices_ndc.to_numpy()[:, renderer.mesh.faces_array]
    expected = draw_twin(corners, corner_colors(renderer), IMAGE_SIZE, RASTERIZER)
    np.testing.assert_allclose(image, expected, atol=tolerances.SINGLE_PRECISION_RELATIVE)
    renderer.backward(np.ones_like(image))
    for gradient in gradients(renderer):
        assert np.isfinite(gradient).all()
    return image


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_vertices_that_a_kernel_made_nan(backend, renderer, loss, value):
    """The error leaves the tape, and the next tape works again."""
    good = renderer.mesh.vertices.to_numpy()
    for _ in range(2):
        write_vertex(renderer.mesh.vertices, 5, 0.1, value, 0.2)
        with pytest.raises(ValueError, match=r"face \d+ of view 0 has a corner that is NaN"):
            with ti.ad.Tape(loss):
                renderer.render()
                sum_of_alpha(renderer.image, loss)
        renderer.mesh.vertices.from_numpy(good)
        check_drawn(renderer)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("eye", (1, NAN, 2), r"camera.eye has 1 entries that are NaN or infinite, .*eye\[0, 1\]"),
        ("eye", (0, 0, 0), "eye must differ from target"),
        ("up", (0, 0, 0), "up must not be zero"),
        ("fov_y_degrees", 180.0, r"fov_y_degrees must lie between 0 and 180, got \[180.\]"),
        ("fov_y_degrees", 200.0, r"fov_y_degrees must lie between 0 and 180, got \[200.\]"),
        ("fov_y_degrees", -20.0, "fov_y_degrees must lie between 0 and 180"),
        ("fov_y_degrees", INF, "camera.fov_y_degrees has 1 entries that are NaN or infinite"),
    ],
)
def test_what_a_kernel_made_of_a_camera(backend, renderer, field, value, message):
    """Not an image of NaN, nor one that is upside down: a sentence."""
    field = getattr(renderer.cameras, field)
    before = field.to_numpy()
    field[0] = value
    try:
        with pytest.raises(ValueError, match=message):
            renderer.render()
    finally:
        field.from_numpy(before)
    check_drawn(renderer)


@pytest.mark.parametrize("height", [0.0, -1.0])
def test_an_orthographic_camera_without_height(backend, height):
    camera = tsr.Camera.look_at((0, 0, 3), projection=tsr.Orthographic(2.0))
    mesh = tsr.Mesh(*tsr.primitives.triangle())
    renderer = tsr.Renderer(mesh, camera, (6, 9), shading=tsr.Silhouette())
    camera.height[0] = height
    with pytest.raises(ValueError, match="height must be positive"):
        renderer.render()


@pytest.mark.parametrize("value", [NAN, -INF, 1e38])
@pytest.mark.parametrize("name", ["vertex_colors", "ambient", "directions", "colors"])
def test_colors_and_lights_that_a_kernel_made_nan(backend, renderer, name, value):
    """As vertices, and by name; 1e38 is too large: its sums are infinite."""
    owner = renderer.mesh if name == "vertex_colors" else renderer.lights
    field = getattr(owner, name)
    before = field.to_numpy()
    after = before.copy()
    after.flat[-1] = value
    field.from_numpy(after)
    what = "too large" if value == 1e38 else "NaN or infinite"
    try:
        with pytest.raises(ValueError, match=rf"{name} has 1 entries that are {what}, the first"):
            renderer.render()
    finally:
        field.from_numpy(before)
    check_drawn(renderer)


def test_textures_and_harmonics_that_a_kernel_made_nan(backend):
    """Entries of textures that no pixel shows, too."""
    vertices, faces = tsr.primitives.triangle()
    mesh = tsr.Mesh(vertices, faces, texture_cubes=np.full((1, 2, 2, 2, 3), 0.5))
    lights = tsr.SphericalHarmonics(np.full((9, 3), 0.1))
    camera = tsr.Camera.look_at((0, 0, 3))
    renderer = tsr.Renderer(mesh, camera, (6, 9), RASTERIZER, lights=lights)
    for field, entry in ((mesh.texture_cubes, (0, 1, 1, 1, 2)), (lights.coefficients, (8, 2))):
        before = field.to_numpy()
        field.from_numpy(with_entry(before, entry, NAN))
        with pytest.raises(ValueError, match="has 1 entries that are NaN or infinite"):
            renderer.render()
        field.from_numpy(before)
        assert np.isfinite(renderer.render().to_numpy()).all()


def test_corners_that_are_too_large(backend, renderer):
    """What is finite is not called NaN; 1e20 is far away, not wrong."""
    good = renderer.mesh.vertices.to_numpy()
    for value, message in ((1e38, "view 0 has a corner that is too large"), (1e20, None)):
        write_vertex(renderer.mesh.vertices, 5, value, value, value)
        if message is None:
            assert np.isfinite(renderer.render().to_numpy()).all()
        else:
            with pytest.raises(ValueError, match=message):
                renderer.render()
        renderer.mesh.vertices.from_numpy(good)


def test_a_collapsed_mesh(backend, renderer):
    """First two vertices in one place, then all: faces without area, normals without length."""
    vertices = renderer.mesh.vertices.to_numpy()
    renderer.mesh.vertices.from_numpy(vertices[[0, 0, *range(2, len(vertices))]])
    assert check_drawn(renderer)[..., 3].max() > 0
    renderer.mesh.vertices.fill(0.25)
    assert check_drawn(renderer)[..., 3].max() == 0


def test_a_mesh_behind_and_around_the_camera(backend, renderer):
    """Behind it nothing is drawn; in the middle, what is in front (the picture: test_clipping)."""
    renderer.cameras.target[0] = (4.0, 6.0, 10.0)
    image = check_drawn(renderer)
    np.testing.assert_array_equal(image, np.broadcast_to(np.float32(BACKGROUND), image.shape))
    renderer.cameras.target[0] = (0.0, 0.0, 0.0)
    renderer.cameras.eye[0] = (0.5, 0.3, 0.4)
    image = renderer.render().to_numpy()
    assert np.isfinite(image).all()
    assert image[..., 3].max() > 0
    renderer.backward(np.ones_like(image))
    for gradient in gradients(renderer):
        assert np.isfinite(gradient).all()


def test_rendering_twice_in_one_tape(backend, renderer, loss):
    with pytest.raises(ValueError, match="view 0 was rendered twice in one ti.ad.Tape"):
        with ti.ad.Tape(loss):
            renderer.render()
            renderer.render()
    renderer.render()
    check_drawn(renderer)  # twice without a tape is right
    with ti.ad.Tape(loss):
        renderer.render()


def test_a_tape_whose_body_raises(backend, renderer, loss):
    def gradient():
        with ti.ad.Tape(loss):
            renderer.render()
            sum_of_alpha(renderer.image, loss)
        return renderer.mesh.vertices.grad.to_numpy()

    expected = gradient()
    with pytest.raises(KeyError, match="not ours"):
        with ti.ad.Tape(loss):
            renderer.render()
            raise KeyError("not ours")
    with pytest.raises(KeyError, match="not ours"):
        with ti.ad.Tape(loss):
            raise KeyError("not ours")
    tolerance = tolerances.SAME_GRADIENT_SINGLE * np.abs(expected).max()
    np.testing.assert_allclose(gradient(), expected, rtol=0, atol=tolerance)


def test_backward_is_checked(backend, renderer):
    fresh = tsr.Renderer(renderer.mesh, renderer.cameras, IMAGE_SIZE, shading=tsr.Silhouette())
    with pytest.raises(RuntimeError, match=r"backward needs an image: call render\(\) first"):
        fresh.backward(np.ones((1, *IMAGE_SIZE, 1)))
    image = renderer.render().to_numpy()
    with pytest.raises(
        ValueError, match=r"grad_image must have shape \(1, 6, 9, 4\), got \(1, 6, 9\)"
    ):
        renderer.backward(image[..., 0])
    with pytest.raises(ValueError, match="grad_image has entries that are NaN"):
        renderer.backward(image * NAN)


def test_a_renderer_without_pixels(backend, renderer):
    with pytest.raises(ValueError, match="image_size must be at least"):
        tsr.Renderer(renderer.mesh, renderer.cameras, (0, 9))


def test_what_a_renderer_is_given(backend, renderer):
    """A class, a list, a pair: the sentence says what to write."""
    mesh, cameras = renderer.mesh, renderer.cameras
    triangle = tsr.primitives.triangle()
    for arguments, message in (
        (([mesh, mesh], cameras), r"got 2 meshes: write Renderer\(Scene\(meshes\)"),
        ((triangle, cameras), r"must be one Mesh, such as Mesh\(vertices, faces\), got tuple"),
        ((tsr.Mesh, cameras), r"got the class Mesh: write Mesh\(\.\.\.\)"),
        ((mesh, tsr.Camera), r"got the class Camera"),
        ((mesh, [cameras, cameras]), r"must be one Camera of all views, .* got list"),
    ):
        with pytest.raises(ValueError, match=message):
            tsr.Renderer(*arguments, IMAGE_SIZE)
    with pytest.raises(ValueError, match=r"got the class Lights: write Lights\("):
        tsr.Renderer(mesh, cameras, IMAGE_SIZE, lights=tsr.Lights)
    with pytest.raises(ValueError, match=r"is a class, write SoftAggregation\(\)"):
        tsr.Renderer(mesh, cameras, IMAGE_SIZE, tsr.SoftAggregation)
    with pytest.raises(ValueError, match=r"is a class, write KNearest\(\)"):
        tsr.fragments(CORNERS, image_size=IMAGE_SIZE, rasterizer=tsr.KNearest)
    with pytest.raises(ValueError, match=r"got a class: write Depth\(\)"):
        rasterize(colors=tsr.Depth)


@pytest.mark.parametrize("lights", [{"ambient": (255, 255, 255)}, {"colors": [[200, 100, 50]]}])
def test_lights_of_0_to_255(backend, lights):
    with pytest.warns(UserWarning, match="colours are numbers from 0 to 1"):
        tsr.Lights(**lights)
    tsr.Lights(ambient=(2, 2, 2))  # a bright one
