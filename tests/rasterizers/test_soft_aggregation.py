"""Every option and number of soft aggregation: the twin's image, and its derivative, in f64."""

import dataclasses
import itertools

import numpy as np
import pytest

import taichi_softras as tsr
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rasterizers.scenes import draw_twin, gradient_error, soft

pytestmark = pytest.mark.filterwarnings("ignore:near = ")  # it is what is tested

IMAGE_SIZE = (6, 9)
CLIPPED = {"sigma": 0.05, "near": 2.0, "far": 4.0}  # cuts through some faces of the scene

DISTANCES = ["euclidean", "barycentric", "hard"]
COLORS = ["softmax", "hard"]
ALPHAS = ["product", "sum", "hard"]
SWITCHES = [True, False]

ALL_OPTIONS = list(itertools.product(DISTANCES, COLORS, ALPHAS, SWITCHES, SWITCHES))
# Ten of the 72 in which any two options meet.
PAIRS_OF_OPTIONS = [
    ("euclidean", "softmax", "product", True, True),
    ("euclidean", "hard", "product", False, True),
    ("euclidean", "softmax", "sum", False, False),
    ("euclidean", "hard", "hard", True, False),
    ("barycentric", "hard", "product", True, False),
    ("barycentric", "softmax", "sum", False, False),
    ("barycentric", "softmax", "hard", True, True),
    ("hard", "softmax", "product", True, False),
    ("hard", "hard", "sum", True, True),
    ("hard", "softmax", "hard", False, True),
]


def random_faces():
    """(1, 6, 3, 3): some clockwise; the last has a corner behind the camera and is not drawn."""
    generator = np.random.default_rng(3)
    corners = generator.uniform(-1.3, 1.3, (1, 6, 3, 3))
    corners[..., 2] = generator.uniform(1.5, 4.5, (1, 6, 3))
    corners[0, 5, 1, 2] = -0.5
    return corners


def random_colors(*shape):
    return np.random.default_rng(5).uniform(size=(1, 6, *shape))


def check(rasterizer, colors):
    corners = random_faces()
    image, _ = tsr.rasterize(corners, colors, image_size=IMAGE_SIZE, rasterizer=rasterizer)
    expected = draw_twin(corners, colors, IMAGE_SIZE, rasterizer)
    assert relative_error(image, expected) < tolerances.TWIN_DOUBLE
    for by in ["corners"] if colors is None else ["corners", "colors"]:
        error = gradient_error(corners, colors, by, IMAGE_SIZE, rasterizer)
        assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


def test_any_two_options_meet():
    for one, other in itertools.combinations(range(5), 2):
        pairs = [
            {(row[one], row[other]) for row in rows} for rows in (PAIRS_OF_OPTIONS, ALL_OPTIONS)
        ]
        assert pairs[0] == pairs[1]


@pytest.mark.f64
@pytest.mark.parametrize("options", PAIRS_OF_OPTIONS)
def test_pairs_of_options(backend, options):
    check(soft(*options, **CLIPPED), random_colors(3, 3))


@pytest.mark.f64
@pytest.mark.exhaustive
@pytest.mark.parametrize("options", ALL_OPTIONS)
def test_all_options(backend, options):
    check(soft(*options, **CLIPPED), random_colors(3, 3))


@pytest.mark.f64
@pytest.mark.parametrize(
    "options",
    [
        ("euclidean", "softmax", "product", True, True),
        ("euclidean", "softmax", "product", False, True),
        ("barycentric", "hard", "sum", False, False),
        ("hard", "hard", "hard", False, False),
    ],
)
def test_options_with_texels(backend, options):
    check(soft(*options, **CLIPPED), random_colors(3, 3, 3))


@pytest.mark.f64
@pytest.mark.exhaustive
@pytest.mark.parametrize("options", list(itertools.product(DISTANCES, COLORS, SWITCHES, SWITCHES)))
def test_all_options_with_texels(backend, options):
    distance, color, *switches = options
    check(soft(distance, color, "product", *switches, **CLIPPED), random_colors(3, 3, 3))


@pytest.mark.f64
@pytest.mark.parametrize("distance, alpha", list(itertools.product(DISTANCES, ALPHAS)))
def test_options_of_silhouettes(backend, distance, alpha):
    check(soft(distance, "softmax", alpha, True, True, **CLIPPED), None)


@pytest.mark.f64
@pytest.mark.parametrize(
    "numbers",
    [
        {"sigma": 1e-3},
        {"sigma": 0.5},
        {"gamma": 1e-2},
        {"gamma": 10.0},
        {"coverage_cutoff": 1e-7},
        {"coverage_cutoff": 0.4},
        {"near": 0.1, "far": 100.0},
        {"near": 2.5, "far": 2.6},
        {"background": (0.7, 0.0, -0.4)},
        {"background_depth": -1.0},
        {"background_depth": 2.0},
    ],
    ids=str,
)
def test_numbers(backend, numbers):
    check(soft(*PAIRS_OF_OPTIONS[0], **{**CLIPPED, **numbers}), random_colors(3, 3))


def test_sigma_in_pixels(backend):
    """Six pixels span 2: one and a half are half a unit."""
    draw = lambda rasterizer: tsr.rasterize(  # noqa: E731
        random_faces(), random_colors(3, 3), image_size=IMAGE_SIZE, rasterizer=rasterizer
    )
    in_pixels, _ = draw(tsr.SoftAggregation(sigma_pixels=1.5))
    in_ndc, _ = draw(tsr.SoftAggregation(sigma=0.25))
    np.testing.assert_array_equal(in_pixels, in_ndc)


@pytest.mark.parametrize("method", [tsr.SoftAggregation, tsr.KNearest])
def test_one_sigma(method):
    """In pixels by default; a changed copy may have it in either unit."""
    default = method()
    assert (default.sigma, default.sigma_pixels) == (None, 1 / 3)
    assert default.sigma_ndc((128, 64)) == pytest.approx(1e-4, rel=0.1)
    assert default.sigma_ndc((512, 600)) == pytest.approx(1e-4 / 64, rel=0.1)
    given = dataclasses.replace(default, sigma=0.02)
    assert (given.sigma, given.sigma_pixels, given) == (0.02, None, method(sigma=0.02))
    for both in ({"sigma": 0.02, "sigma_pixels": 1 / 3.0}, {"sigma_pixels": None}):
        with pytest.raises(ValueError, match="give sigma .* or sigma_pixels, and None for the"):
            method(**both)


PAPERS = {
    tsr.SoftAggregation.liu2019: {
        "gamma": 1e-4,
        "distance": "euclidean",
        "color": "softmax",
        "alpha": "product",
        "coverage_cutoff": 1e-4,
        "near": 1.0,
        "far": 100.0,
        "background": (0.0, 0.0, 0.0),
        "background_depth": 1e-3,
        "double_sided": True,
        "perspective_correct": True,
    },
    tsr.KNearest.ravi2020: {
        "faces_per_pixel": 50,
        "gamma": 1e-4,
        "blur_radius": None,
        "blend": "softmax",
        "near": 1.0,
        "far": 100.0,
        "background": (1.0, 1.0, 1.0),
        "perspective_correct": True,
        "clip_barycentric_coords": True,
        "cull_backfaces": False,
    },
}


@pytest.mark.parametrize("preset", PAPERS, ids=lambda preset: preset.__name__)
def test_presets(preset):
    """All numbers of the papers, and nothing that a default could change."""
    numbers = {"sigma": 1e-4, "sigma_pixels": None, **PAPERS[preset]}
    assert dataclasses.asdict(preset()) == numbers
    changes = {"gamma": 0.1, "background": 0.5}
    assert dataclasses.asdict(preset(**changes)) == {**numbers, **changes}
    in_pixels = preset(sigma_pixels=2.0)
    assert (in_pixels.sigma, in_pixels.sigma_pixels) == (None, 2.0)
