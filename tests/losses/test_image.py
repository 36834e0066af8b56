"""Image losses against NumPy twins, in value and gradient."""

import functools

import numpy as np
import pytest

from taichi_softras import losses
from taichi_softras.fields import FieldTree
from taichi_softras.runtime import ti
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


@pytest.fixture(scope="module")
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
@pytest.mark.parametrize("shape", [(3, 200, 40), (2, 3, 600), (600, 1, 2)])
def test_many_rows_columns_and_views_are_summed(make_image, case, shape):
    add_loss, twin, _ = case
    image, loss = make_image(shape)
    target = random_pixels(shape if twin is iou_twin else (*shape, 4))
    add_zeroed(add_loss, image, target, loss)
    assert_near(loss[None], twin(image.to_numpy().astype(float), target))


@pytest.mark.cpu
@every_case
def test_value_and_gradient_have_the_same_bits_each_time(make_image, case):
    add_loss, twin, _ = case
    shape = (4, 700, 30)  # more rows than five threads take
    image, loss = make_image(shape)
    target = random_pixels(shape if twin is iou_twin else (*shape, 4)).astype(np.float32)
    results = set()
    for _ in range(10):
        grad = gradient(image, loss, lambda: add_loss(image, target, loss))
        results.add((loss[None], grad.tobytes()))
    assert len(results) == 1


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


every_mean = pytest.mark.parametrize(
    "add_loss, twin",
    [
        (losses.mean_squared_error, lambda image, target: (image - target) ** 2),
        (losses.mean_absolute_error, lambda image, target: np.abs(image - target)),
    ],
    ids=["squared", "absolute"],
)


@every_mean
@pytest.mark.parametrize("kind", ["array", "field"])
def test_mean_error_of_rgb_leaves_alpha_alone(make_image, add_loss, twin, kind):
    image, loss = make_image()
    pixels, values = image.to_numpy().astype(float), random_pixels((*SHAPE, 3))
    target = values
    if kind == "field":
        target = ti.Vector.field(3, float, SHAPE)
        target.from_numpy(values)
    grad = gradient(image, loss, lambda: add_loss(image, target, loss))
    assert_near(loss[None], twin(pixels[..., :3], values).mean())
    assert np.abs(grad[..., :3]).min() > 0
    assert np.all(grad[..., 3] == 0)


MASKS = {
    "weights": random_pixels(SHAPE, 2),
    "booleans": random_pixels(SHAPE, 2) > 0.5,
    "nothing": np.zeros(SHAPE),
}


@every_mean
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("components", [slice(3, 4), slice(0, 3), slice(0, 4)], ids=str)
def test_a_mean_of_what_a_mask_keeps(make_image, add_loss, twin, mask, components):
    """Pixels count as much as the mask says; those that it leaves out may be NaN."""
    image, loss = make_image()
    target = random_pixels((*SHAPE, 4))[..., components]
    given = np.where(mask[..., None] > 0, target, np.nan)
    given = given[..., 0] if given.shape[-1] == 1 else given

    def mean(image):
        errors = twin(image[..., components], target).mean(axis=-1)
        return WEIGHT * (errors * mask).sum() / (mask.sum() or 1.0)

    def run_forward():
        loss[None] = 0.0
        add_loss(image, given, loss, WEIGHT, mask)

    check_gradient(run_forward, {"image": image}, loss, mean)


@pytest.mark.f64
@every_mean
def test_gradient_under_a_mask_is_that_of_central_differences(make_image, add_loss, twin):
    image, loss = make_image()
    target, mask = random_pixels((*SHAPE, 3)), random_pixels(SHAPE, 2)

    def run_forward():
        loss[None] = 0.0
        add_loss(image, target, loss, WEIGHT, mask)

    check_gradient(run_forward, {"image": image}, loss)


@pytest.mark.parametrize("shape", [(4, 700, 30), (2, 3, 600)])
def test_a_mask_of_many_pixels(make_image, shape):
    image, loss = make_image(shape)
    target, mask = random_pixels((*shape, 3)), random_pixels(shape, 2)
    loss[None] = 0.0
    losses.mean_squared_error(image, target, loss, mask=mask)
    errors = (image.to_numpy().astype(float)[..., :3] - target) ** 2
    assert_near(loss[None], np.average(errors.mean(axis=-1), weights=mask))


def test_a_mask_in_a_field(make_image):
    """It may be overwritten before the tape ends."""
    image, loss = make_image()
    target, mask = random_pixels((*SHAPE, 4)), ti.field(float, SHAPE)
    mask.from_numpy(MASKS["weights"])
    of_field = gradient(
        image, loss, lambda: losses.mean_squared_error(image, target, loss, mask=mask)
    )
    of_array = gradient(
        image, loss, lambda: losses.mean_squared_error(image, target, loss, mask=MASKS["weights"])
    )
    assert_near(of_field, of_array)


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


def test_a_target_may_be_written_into_between_tapes(backend, make_image):
    image, loss = make_image()
    target = np.zeros(SHAPE, backend.numpy_float)
    for number in (0.25, 0.5):
        target[0, 1, 2] = number
        add_zeroed(losses.mean_squared_error, image, target, loss)
        assert_near(loss[None], squared_twin(image.to_numpy()[..., -1], target))


def test_a_target_is_uploaded_when_its_numbers_changed(backend, make_image, monkeypatch):
    image, loss = make_image(components=2)
    uploads = []
    upload = losses.image.write_array
    monkeypatch.setattr(
        losses.image, "write_array", lambda *pair: (uploads.append(pair), upload(*pair))
    )
    kept = [random_pixels(SHAPE, seed).astype(backend.numpy_float) for seed in range(2)]
    for _ in range(3):
        for target in kept:
            add_zeroed(losses.mean_squared_error, image, target, loss)
            assert_near(loss[None], squared_twin(image.to_numpy()[..., -1], target))
    assert len(uploads) == (0 if backend.arch == "cpu" else 2)
    for number in range(10):
        kept[0][0, 0, 0] = number
        add_zeroed(losses.mean_squared_error, image, kept[0], loss)
        assert_near(loss[None], squared_twin(image.to_numpy()[..., -1], kept[0]))
    assert len(uploads) == (0 if backend.arch == "cpu" else 12)
    on_device = losses.image._scratch_of_image[image].targets
    assert len(on_device) <= losses.image.TARGETS_ON_DEVICE


def test_a_field_counts_as_it_is_when_a_loss_is_called(backend, make_image):
    image, loss = make_image()
    target = ti.field(float, SHAPE)
    values = [random_pixels(SHAPE, seed).astype(backend.numpy_float) for seed in range(2)]

    @ti.ad.no_grad
    def write(number):
        target.from_numpy(values[number])

    def compare(number):
        write(number)
        losses.silhouette_iou(image, target, loss)

    separate = [gradient(image, loss, lambda number=number: compare(number)) for number in (0, 1)]
    together = gradient(image, loss, lambda: compare(0), lambda: compare(1))
    assert_near(together, sum(separate))


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
    with pytest.raises(ValueError, match="got i32: divide 8-bit pictures by 255"):
        add_loss(image, ti.field(int, SHAPE), loss)
    with pytest.raises(ValueError, match=r"target must have shape .*, got \(2, 3, 4, 2\)"):
        add_loss(image, ti.Vector.field(2, float, SHAPE), loss)


def test_ious_of_arrays():
    image = np.array([[[0.9, 0.4]], [[0.0, 0.0]]])
    target = np.array([[[1.0, 1.0]], [[0.0, 0.0]]])
    assert_near(losses.silhouette_ious(image, target), [1.3 / 2, 1])
    assert_near(losses.silhouette_ious(image, target, threshold=0.5), [1 / 2, 1])
    picture = np.stack([np.zeros_like(image), image], axis=-1)
    assert_near(losses.silhouette_ious(picture, target), [1.3 / 2, 1])
    with pytest.raises(ValueError, match=r"got \(2, 1, 2\) and \(1, 1, 2\)"):
        losses.silhouette_ious(image, target[:1])
