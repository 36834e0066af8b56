"""The NumPy twin against pictures of the original SoftRas and against numbers worked out by hand.

By hand, the image is a single pixel, which has its centre at (0, 0), or the face is a half plane.
"""

import numpy as np
import pytest

from tests import tolerances
from tests.reference.goldens import SOFTRAS_CASES, load_softras
from tests.reference.soft_aggregation import pixel_centers, soft_aggregation

PARAMETERS = {
    "sigma": 0.1,
    "gamma": 0.5,
    "distance": "euclidean",
    "color": "softmax",
    "alpha": "product",
    "coverage_cutoff": 1e-4,
    "near": 1.0,
    "far": 5.0,
    "background": (0.1, 0.2, 0.3),
    "background_depth": 0.25,
    "double_sided": True,
    "perspective_correct": False,
}
RED, GREEN, BLUE = np.eye(3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def half_plane(edge, depth=2.0):
    """A counter-clockwise triangle that is the half plane x < edge as far as pixels can see."""
    return np.array([[edge, -1e3, depth], [edge, 1e3, depth], [-1e3, 0, depth]])


def draw(faces, colors, image_size=(1, 1), **changes):
    """(H, W, C + 1) image of one view; a colour is one for the whole face unless it is larger."""
    colors = [np.tile(color, (3, 1)) if np.ndim(color) == 1 else color for color in colors]
    inputs = np.array(faces)[None], np.array(colors)[None]
    return soft_aggregation(*inputs, image_size, **{**PARAMETERS, **changes})[0]


def assert_equal(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerances.TWIN_CLOSED_FORM)


@pytest.mark.parametrize("name", SOFTRAS_CASES)
def test_image_is_that_of_softras(name):
    golden = load_softras(name)
    image = soft_aggregation(golden.corners, golden.colors, golden.image_size, **golden.parameters)
    tolerance = {
        np.float64: tolerances.SOFTRAS_IMAGE,
        np.float32: tolerances.SOFTRAS_IMAGE_STORED_AS_FLOAT32,
    }[golden.image.dtype.type]
    difference = np.abs(golden.downsampled(image) - golden.image)
    assert difference[golden.trusted].max() < tolerance


@pytest.mark.parametrize(
    "name",
    [
        "batch2_aa_euclid_hard_prod_clip",
        "tri2_bary_softmax_sum_culled",
        "tri2_hard_softmax_hard",
        "tri_euclid_softmax_prod",
    ],
)
@pytest.mark.parametrize("differentiated", ["corners", "colors"])
def test_central_differences_are_the_stored_gradient(name, differentiated):
    """Without texels: a pixel of that case lies on their jump, which is in no gradient."""
    golden = load_softras(name)
    inputs = {"corners": golden.corners, "colors": golden.colors}

    def loss(step, index):
        moved = inputs[differentiated].copy()
        moved[index] += step
        arguments = {**inputs, differentiated: moved, "image_size": golden.image_size}
        image = soft_aggregation(**arguments, **golden.parameters)
        return (golden.weights * golden.downsampled(image)).sum()

    expected = getattr(golden, f"grad_{differentiated}")
    actual = np.zeros_like(expected)
    for index in np.ndindex(expected.shape):
        actual[index] = (loss(1e-6, index) - loss(-1e-6, index)) / 2e-6
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error < tolerances.FINITE_DIFFERENCE_RELATIVE


def test_pixel_centers_of_an_image_that_is_not_square():
    x, y = pixel_centers((2, 4))
    assert_equal(x, [-1.5, -0.5, 0.5, 1.5])
    assert_equal(y, [0.5, -0.5])
    x, y = pixel_centers((3, 2))
    assert_equal(x, [-0.5, 0.5])
    assert_equal(y, [1, 0, -1])


def test_small_face_draws_only_the_pixel_it_lies_on():
    face = np.array([[1.4, 0.4, 2], [1.6, 0.4, 2], [1.5, 0.6, 2]])
    image = draw([face], [RED], (2, 4), distance="hard", color="hard")
    expected = np.tile([0.1, 0.2, 0.3, 0], (2, 4, 1))
    expected[0, 3] = [1, 0, 0, 1]
    assert_equal(image, expected)


@pytest.mark.parametrize("color", ["softmax", "hard"])
def test_background_only(color):
    no_faces = np.zeros((1, 0, 3, 3))
    image = soft_aggregation(no_faces, no_faces, (2, 3), **{**PARAMETERS, "color": color})
    assert_equal(image, np.tile([0.1, 0.2, 0.3, 0], (1, 2, 3, 1)))


@pytest.mark.parametrize("corner", [(0, 0, 0), (0, 0, -1), (0, 0, np.nan), (np.inf, 0, 2)])
def test_face_without_three_corners_before_the_camera_is_not_drawn(corner):
    face = half_plane(1.0)
    face[1] = corner
    assert_equal(draw([face], [RED])[0, 0], [0.1, 0.2, 0.3, 0])


def test_face_without_area_is_not_drawn():
    assert_equal(draw([[[-1, 0, 2], [0, 0, 2], [1, 0, 2]]], [RED])[0, 0], [0.1, 0.2, 0.3, 0])


@pytest.mark.parametrize("alpha", ["product", "sum", "hard"])
def test_large_face_fills_the_image(alpha):
    image = draw([half_plane(10.0)], [GREEN], (2, 2), alpha=alpha, gamma=1e-3)
    assert_equal(image, np.tile([0, 1, 0, 1], (2, 2, 1)))


def test_alpha_is_the_sigmoid_of_the_squared_distance_to_the_edge():
    image = draw([half_plane(0.1)], [RED], (1, 4), color="none")
    distances = 0.1 - np.array([-3, -1, 1, 3])
    expected = sigmoid(np.sign(distances) * distances**2 / 0.1)
    expected[3] = 0  # below the cut-off
    assert image.shape == (1, 4, 1)
    assert_equal(image[0, :, 0], expected)


def test_distance_beyond_a_corner_is_that_to_the_corner():
    image = draw([[[0.3, 0.4, 2], [3, 0.5, 2], [0.5, 3, 2]]], [RED])
    assert_equal(image[0, 0, 3], sigmoid(-(0.3**2 + 0.4**2) / 0.1))


def test_barycentric_distance_is_the_square_of_the_smallest_weight():
    face = [[-1, -1, 2], [1, -1, 2], [0, 3, 2]]  # weights 3/8, 3/8, 1/4
    assert_equal(draw([face], [RED], distance="barycentric")[0, 0, 3], sigmoid(0.25**2 / 0.1))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2)])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("distance", ["euclidean", "barycentric"])
def test_cut_off_ends_the_blur_at_its_radius(axes, side, distance):
    radius = np.sqrt(0.1 * np.log(1 / 0.01 - 1))
    for gap, is_drawn in [(radius - 1e-6, True), (radius + 1e-6, False)]:
        face = (half_plane(-gap) * [side, side, 1])[:, axes]
        pixel = draw([face], [RED], distance=distance, coverage_cutoff=0.01)[0, 0]
        root = {"euclidean": gap, "barycentric": gap / (1e3 - gap)}[distance]
        assert_equal(pixel[3], is_drawn * sigmoid(-(root**2) / 0.1))


def test_cut_off_is_round_at_a_corner():
    radius = np.sqrt(0.1 * np.log(1 / 0.01 - 1))
    for x, is_drawn in [(0.7 * radius, True), (0.71 * radius, False)]:
        face = [[x, x, 2], [9, x + 1, 2], [x + 1, 9, 2]]
        pixel = draw([face], [RED], coverage_cutoff=0.01)[0, 0]
        assert_equal(pixel[3], is_drawn * sigmoid(-2 * x**2 / 0.1))


def test_alpha_of_two_faces():
    faces, colors = [half_plane(0.2), half_plane(-0.1)], [RED, GREEN]
    first, second = sigmoid(0.04 / 0.1), sigmoid(-0.01 / 0.1)
    alphas = {"product": 1 - (1 - first) * (1 - second), "sum": (first + second) / 2, "hard": 1}
    for alpha, expected in alphas.items():
        assert_equal(draw(faces, colors, alpha=alpha)[0, 0, 3], expected)


def test_softmax_color_of_two_faces_and_the_background():
    faces = [half_plane(0.2, depth=3.0), half_plane(-0.1, depth=2.0)]
    weights = np.array(
        [
            sigmoid(0.04 / 0.1) * np.exp(0.5 / 0.5),  # (far - depth) / (far - near) / gamma
            sigmoid(-0.01 / 0.1) * np.exp(0.75 / 0.5),
            np.exp(0.25 / 0.5),  # background
        ]
    )
    expected = weights @ [RED, GREEN, (0.1, 0.2, 0.3)] / weights.sum()
    assert_equal(draw(faces, [RED, GREEN])[0, 0, :3], expected)


def test_softmax_color_with_a_tiny_gamma_is_the_nearest():
    faces = [half_plane(1.0, depth) for depth in (3.0, 2.0, 4.0)]
    assert_equal(draw(faces, [RED, GREEN, BLUE], gamma=1e-7)[0, 0, :3], GREEN)


def test_hard_color_is_the_nearest_and_the_first_of_equals():
    faces = [half_plane(1.0, depth) for depth in (3.0, 2.0, 2.0)]
    assert_equal(draw(faces, [RED, GREEN, BLUE], color="hard")[0, 0, :3], GREEN)


@pytest.mark.parametrize("color", ["softmax", "hard"])
@pytest.mark.parametrize("depth", [0.9, 5.1])
def test_face_beyond_near_and_far_has_alpha_but_no_color(color, depth):
    image = draw([half_plane(10.0, depth)], [RED], color=color)
    assert_equal(image[0, 0], [0.1, 0.2, 0.3, 1])


@pytest.mark.parametrize("color", ["softmax", "hard"])
def test_single_sided_faces_have_color_where_they_are_counter_clockwise(color):
    counter_clockwise, clockwise = half_plane(10.0), half_plane(10.0)[::-1]
    changes = {"color": color, "double_sided": False, "background_depth": -100.0}
    assert_equal(draw([counter_clockwise], [RED], **changes)[0, 0], [1, 0, 0, 1])
    changes["background_depth"] = 0.25
    assert_equal(draw([clockwise], [RED], **changes)[0, 0], [0.1, 0.2, 0.3, 1])


@pytest.mark.parametrize("perspective_correct", [False, True])
def test_colors_between_corners(perspective_correct):
    # The pixel is half-way on the screen between corner 0, at depth 1, and corner 1, at depth 3:
    # a point that lies three times nearer to corner 0, at depth 1.5.
    face = [[-1, 0, 1], [1, 0, 3], [0, -1, 2]]
    changes = {"color": "hard", "perspective_correct": perspective_correct}
    pixel = draw([face], [[RED, GREEN, BLUE]], **changes)[0, 0]
    assert_equal(pixel[:3], [0.75, 0.25, 0] if perspective_correct else [0.5, 0.5, 0])


@pytest.mark.parametrize(
    "weights, texel",  # row b, column a
    [
        ((0.8, 0.1, 0.1), (0, 1)),
        ((0.1, 0.8, 0.1), (1, 0)),
        ((0.1, 0.1, 0.8), (0, 0)),
        ((0.4, 0.4, 0.2), (1, 1)),  # the mirrored texel in the middle of the triangle
        ((1.2, -0.1, -0.1), (0, 1)),  # beyond corner 0: the index stays below R
        ((0.3, 0.9, -0.2), (1, 0)),  # beyond the edge 0-1: never mirrored
    ],
)
def test_texels(weights, texel):
    triangle = np.array([[0.0, 0.0], [0.8, 0.1], [0.3, 0.9]])
    corners = np.full((3, 3), 2.0)
    corners[:, :2] = triangle - np.array(weights) @ triangle  # the pixel has these weights
    texels = np.arange(12.0).reshape(2, 2, 3)
    pixel = draw([corners], [texels], background_depth=-100.0)[0, 0]
    assert_equal(pixel[:3], texels[texel])


def test_views_may_share_colors():
    corners = np.stack([[half_plane(0.1)], [half_plane(0.3)]])
    image = soft_aggregation(corners, np.ones((1, 1, 3, 3)), (2, 3), **PARAMETERS)
    for view in range(2):
        assert_equal(image[view], draw(corners[view], [np.ones(3)], (2, 3)))
