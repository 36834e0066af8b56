"""Image losses against NumPy twins, in value and gradient."""

import functools

import numpy as np
import pytest
import taichi as ti

from taichi_softras import losses
from taichi_softras.fields import FieldTree
from tests import tolerances
from tests.gradcheck import check_gradient

SHAPE = (2, 3, 4)  # B, H, W
WEIGHT = 50.0  # makes gradients of the order of 1


def iou_twin(image, target):
    ious = []
    for p, t in zip(image[..., -1], target):
        intersection = np.sum(p * t)
        ious.append(intersection / (np.sum(p) + np.sum(t) - intersection))
    return 1 - np.mean(ious)


def squared_twin(image, target):
    return np.mean((image - target) ** 2)


def absolute_twin(image, target):
    return np.mean(np.abs(image - target))


CASES = {  # loss, its twin, and the shape of the target
    "silhouette_iou": (losses.silhouette_iou, iou_twin, SHAPE),
    "mean_squared_error": (losses.mean_squared_error, squared_twin, (*SHAPE, 4)),
    "mean_absolute_error": (losses.mean_absolute_error, absolute_twin, (*SHAPE, 4)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(scope="session")
def make_image(backend):
    """Makes (image, loss) with random pixels; the fields of a shape are made once."""

    @functools.cache
    def make_fields(shape, components):
        tree = FieldTree()
        fields = tree.add(shape, (components,)), tree.add(())
        tree.place()
        return fields

    def make(shape=SHAPE, components=4):
        image, loss = make_fields(shape, components)
        image.from_numpy(random_pixels((*shape, components), 0).astype(backend.numpy_float))
        return image, loss

    return make


def random_pixels(shape, seed=1):
    return np.random.default_rng(seed).random(shape)


def gradient(image, loss, *calls):
    """image.grad after a tape around the calls."""
    with ti.ad.Tape(loss):
        for call in calls:
            call()
    return image.grad.to_numpy()


def assert_near(actual, expected):
    """Equal to single precision, relative to the largest entry."""
    tolerance = tolerances.SINGLE_PRECISION_RELATIVE * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


@every_case
def test_value_and_gradient_are_those_of_the_twin(make_image, case):
    add_loss, twin, shape = case
    target = random_pixels(shape)
    check_loss(*make_image(), add_loss, target, lambda image: WEIGHT * twin(image, target))


@pytest.mark.f64
@every_case
def test_gradient_is_that_of_central_differences(make_image, case):
    add_loss, _, shape = case
    check_loss(*make_image(), add_loss, random_pixels(shape))


def check_loss(image, loss, add_loss, target, twin=None):
    def run_forward():
        loss[None] = 0.0
        add_loss(image, target, loss, WEIGHT)

    check_gradient(run_forward, {"image": image}, loss, twin)


@every_case
def test_many_rows_and_columns_are_summed(make_image, case):
    add_loss, twin, _ = case
    image, loss = make_image((3, 200, 40))
    target = random_pixels((3, 200, 40) if twin is iou_twin else (3, 200, 40, 4))
    add_zeroed(add_loss, image, target, loss)
    assert_near(loss[None], twin(image.to_numpy().astype(float), target))


def add_zeroed(add_loss, image, target, loss):
    """The value alone, without a tape."""
    loss[None] = 0.0
    add_loss(image, target, loss)


def test_mean_error_of_alpha_leaves_colours_alone(make_image):
    image, loss = make_image()
    target, alpha = random_pixels(SHAPE), image.to_numpy()[..., 3]
    grad = gradient(image, loss, lambda: losses.mean_squared_error(image, target, loss))
    assert_near(loss[None], squared_twin(alpha, target))
    assert_near(grad[..., 3], 2 * (alpha - target) / target.size)
    assert np.all(grad[..., :3] == 0)


def test_silhouette_image_has_alpha_alone(make_image):
    image, loss = make_image(components=1)
    target = random_pixels(SHAPE)
    add_zeroed(losses.silhouette_iou, image, target, loss)
    assert_near(loss[None], iou_twin(image.to_numpy().astype(float), target))


@every_case
def test_two_targets_in_one_tape_add_up(make_image, case):
    add_loss, _, shape = case
    image, loss = make_image()
    first, second = random_pixels(shape, seed=1), random_pixels(shape, seed=2)
    calls = lambda: add_loss(image, first, loss), lambda: add_loss(image, second, loss, 0.3)
    separate = [gradient(image, loss, call) for call in calls]
    assert_near(gradient(image, loss, *calls), sum(separate))


def test_two_images_in_one_tape_keep_apart(make_image):
    (image, loss), (other_image, _) = make_image(), make_image(components=1)
    target, other_target = random_pixels(SHAPE, seed=1), random_pixels(SHAPE, seed=2)
    calls = (
        lambda: losses.silhouette_iou(image, target, loss),
        lambda: losses.silhouette_iou(other_image, other_target, loss),
    )
    alone = gradient(image, loss, calls[0])
    np.testing.assert_array_equal(gradient(image, loss, *calls), alone)


def test_view_that_is_empty_in_both_has_iou_1_and_no_gradient(make_image):
    image, loss = make_image()
    image.fill(0.0)
    grad = gradient(image, loss, lambda: losses.silhouette_iou(image, np.zeros(SHAPE), loss))
    assert loss[None] == 0
    assert np.all(grad == 0)


def test_empty_target_has_iou_0_and_no_gradient(make_image):
    image, loss = make_image()
    grad = gradient(image, loss, lambda: losses.silhouette_iou(image, np.zeros(SHAPE), loss))
    assert loss[None] == 1
    assert np.all(grad == 0)


def test_empty_image_is_pulled_to_its_target(make_image):
    image, loss = make_image()
    image.fill(0.0)
    grad = gradient(image, loss, lambda: losses.silhouette_iou(image, np.ones(SHAPE), loss))
    assert loss[None] == 1
    assert_near(grad[..., -1], np.full(SHAPE, -1 / np.prod(SHAPE)))


@pytest.mark.parametrize("kind", ["bool", "strided", "ndarray", "field"])
def test_every_kind_of_target_is_understood(backend, make_image, kind):
    image, loss = make_image()
    values = (random_pixels(SHAPE) > 0.5).astype(backend.numpy_float)
    if kind == "bool":
        target = values.astype(bool)
    elif kind == "strided":
        target = np.repeat(values, 2, axis=-1)[..., ::2]
    else:
        make = ti.ndarray if kind == "ndarray" else ti.field
        target = make(float, SHAPE)
        target.from_numpy(values)
    expected = gradient(image, loss, lambda: losses.silhouette_iou(image, values, loss))
    actual = gradient(image, loss, lambda: losses.silhouette_iou(image, target, loss))
    np.testing.assert_array_equal(actual, expected)


def test_another_image_may_be_the_target_and_is_left_alone(backend, make_image):
    image, loss = make_image(components=1)
    target = ti.Vector.field(1, float, SHAPE, needs_grad=True)
    pixels = random_pixels((*SHAPE, 1)).astype(backend.numpy_float)
    target.from_numpy(pixels)
    grad = gradient(image, loss, lambda: losses.mean_squared_error(image, target, loss))
    assert_near(grad, 2 * (image.to_numpy() - pixels) / pixels.size)
    np.testing.assert_array_equal(target.to_numpy(), pixels)
    assert np.all(target.grad.to_numpy() == 0)


@every_case
def test_wrong_arguments_are_refused(make_image, case):
    add_loss, _, _ = case
    image, loss = make_image()
    target = np.zeros(SHAPE)
    with pytest.raises(ValueError, match="image must be a vector field .* got ndarray"):
        add_loss(image.to_numpy(), target, loss)
    with pytest.raises(ValueError, match="image must be .* got ScalarField of shape"):
        add_loss(ti.field(float, SHAPE, needs_grad=True), target, loss)
    with pytest.raises(ValueError, match="image must be .* got MatrixField .* without gradient"):
        add_loss(ti.Vector.field(4, float, SHAPE), target, loss)
    with pytest.raises(ValueError, match=r"loss must be .* got ScalarField of shape \(1,\)"):
        add_loss(image, target, ti.field(float, (1,), needs_grad=True))
    with pytest.raises(ValueError, match="loss must be .* without gradient"):
        add_loss(image, target, ti.field(float, ()))
    with pytest.raises(ValueError, match="loss must be .* got float"):
        add_loss(image, target, 0.0)
    with pytest.raises(ValueError, match=r"target must have shape .*, got \(2, 4, 3\)"):
        add_loss(image, np.zeros((2, 4, 3)), loss)
    with pytest.raises(ValueError, match="got uint8: divide 8-bit pictures by 255"):
        add_loss(image, target.astype(np.uint8), loss)


def test_ious_of_arrays():
    image = np.array([[[0.9, 0.4]], [[0.0, 0.0]]])
    target = np.array([[[1.0, 1.0]], [[0.0, 0.0]]])
    assert_near(losses.silhouette_ious(image, target), [1.3 / 2, 1])
    assert_near(losses.silhouette_ious(image, target, threshold=0.5), [1 / 2, 1])
    picture = np.stack([np.zeros_like(image), image], axis=-1)
    assert_near(losses.silhouette_ious(picture, target), [1.3 / 2, 1])
    with pytest.raises(ValueError, match=r"got \(2, 1, 2\) and \(1, 1, 2\)"):
        losses.silhouette_ious(image, target[:1])
