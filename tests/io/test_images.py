"""Image files: what is written is read again."""

import gc

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

from taichi_softras.io.images import (
    gaussian_pyramid,
    load_image,
    over_background,
    save_gif,
    save_image,
    save_video,
)
from taichi_softras.runtime import ti
from tests.tolerances import EIGHT_BITS, GIF_STEPS

pytestmark = pytest.mark.cpu  # what the host does


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 4)])
def test_round_trip_in_8_bits(tmp_path, shape):
    image = np.random.default_rng(0).uniform(size=shape)
    save_image(tmp_path / "image.png", image)
    np.testing.assert_allclose(load_image(tmp_path / "image.png"), image, atol=EIGHT_BITS)


def test_values_are_clipped_and_one_channel_is_grey(tmp_path):
    save_image(tmp_path / "image.png", np.array([[[-1.0], [2.0]]]))
    np.testing.assert_array_equal(load_image(tmp_path / "image.png"), [[0, 1]])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gif_has_every_frame(tmp_path, channels):
    frames = np.linspace(0, 1, 3)[:, None, None, None] * np.ones((3, 8, 6, channels))
    save_gif(tmp_path / "frames.gif", frames, frames_per_second=10)
    read = imageio.imread(tmp_path / "frames.gif")
    assert read.shape == (3, 8, 6, 3)
    np.testing.assert_allclose(read[:, 0, 0, 0], [0, 128, 255], atol=GIF_STEPS)


@pytest.mark.parametrize("shape", [(4,), (4, 6, 2), (1, 4, 6, 3), (1, 6, 6)])
def test_other_shapes_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="image must have shape"):
        save_image(tmp_path / "image.png", np.zeros(shape))


def test_bytes_are_written_as_they_are(tmp_path):
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    save_image(tmp_path / "image.png", image)
    np.testing.assert_array_equal(imageio.imread(tmp_path / "image.png"), image)


def test_fields_are_taken_as_they_are(backend, tmp_path):
    """An image of one view, or all views as a film."""
    for components, views in ((4, 1), (1, 1), (4, 3)):
        field = ti.Vector.field(components, float, (views, 5, 6))
        values = np.random.default_rng(0).uniform(size=(views, 5, 6, components))
        field.from_numpy(values.astype(np.float32))
        save_gif(tmp_path / "film.gif", field)
        if views == 1:
            save_image(tmp_path / "image.png", field)
            expected = values[0] if components > 1 else values[0, ..., 0]
            read = load_image(tmp_path / "image.png")
            np.testing.assert_allclose(read, expected, atol=EIGHT_BITS)
        else:
            with pytest.raises(ValueError, match=r"holds 3 views, .* image.to_numpy\(\)\[view\]"):
                save_image(tmp_path / "image.png", field)
    depth = ti.field(float, (1, 5, 6))
    save_image(tmp_path / "depth.png", depth)
    assert load_image(tmp_path / "depth.png").shape == (5, 6)
    assert over_background(field).shape == (3, 5, 6, 3)


def test_the_path_comes_first(tmp_path):
    for save in (save_image, save_gif, save_video):
        with pytest.raises(ValueError, match="the path comes first, then the image; got a ndarray"):
            save(np.zeros((4, 6)), tmp_path / "image.png")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # imageio-ffmpeg leaves its pipes open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_videos_are_written(tmp_path):
    """As GIF and as MP4; an odd height loses a row."""
    frames = np.linspace(0, 1, 5)[:, None, None, None] * np.ones((5, 33, 48, 3))
    save_video(tmp_path / "film.gif", frames)
    assert imageio.imread(tmp_path / "film.gif", index=None).shape[:3] == (5, 33, 48)
    pytest.importorskip("imageio_ffmpeg")
    save_video(tmp_path / "film.mp4", frames)
    read = imageio.imread(tmp_path / "film.mp4")
    assert read.shape == (5, 32, 48, 3)
    assert abs(read[-1].mean() - 255) < 5
    gc.collect()


def test_pictures_over_a_background():
    red = np.array([1.0, 0.0, 0.0, 0.25])
    np.testing.assert_allclose(over_background(red, (0, 1, 0)), [0.25, 0.75, 0])
    np.testing.assert_allclose(over_background(red[3:]), [0.75, 0.75, 0.75])
    with pytest.raises(ValueError, match="1 or 4 components"):
        over_background(red[:2])


def test_a_pyramid_keeps_the_mean_and_halves_its_levels():
    levels = gaussian_pyramid(np.full((9, 14, 2), 3.0), 3)
    numbers = [9 * 14, 5 * 7, 3 * 4]
    expected = np.repeat(3.0 / np.array(numbers), numbers)
    np.testing.assert_allclose(levels, np.stack([expected, expected], axis=1))


def test_a_pyramid_blurs_by_binomial_weights():
    """A point in the middle of 8 x 8 pixels."""
    image = np.zeros((8, 8))
    image[4, 4] = 1.0
    levels = gaussian_pyramid(image, 2)
    np.testing.assert_array_equal(levels[:64], image.ravel() / 64)
    weights = np.array([0, 1, 6, 1]) / 16
    np.testing.assert_allclose(levels[64:].reshape(4, 4) * 16, np.outer(weights, weights))


@pytest.mark.parametrize("name", ["broken.png", "missing.png"])
def test_what_is_no_image_is_named(tmp_path, name):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(ValueError, match=f"{name} cannot be read as an image"):
        load_image(tmp_path / name)


@pytest.mark.parametrize("mode, white", [("1", 1), ("L", 255), ("I;16", 65535), ("F", 1)])
def test_every_kind_of_number_is_read_in_0_to_1(tmp_path, mode, white):
    image = Image.new(mode, (3, 2), 0)
    image.putpixel((2, 0), white)
    path = tmp_path / ("image.tiff" if mode == "F" else "image.png")
    image.save(path)
    read = load_image(path)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, [[0, 0, 1], [0, 0, 0]])
