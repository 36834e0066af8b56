"""Textures: what is stored and read, and the errors at the door."""

import numpy as np
import pytest
from PIL import Image

import taichi_softras as tsr
from taichi_softras.funcs.images import MIRROR, TRILINEAR
from taichi_softras.runtime import ti
from tests.tolerances import EIGHT_BITS

pytestmark = pytest.mark.cpu  # what the host does


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 3, 1), (2, 4, 7), (4, 6)])
def test_a_texture_holds_what_was_given(backend, shape):
    image = np.random.default_rng(0).uniform(size=shape)
    texture = tsr.Texture(image)
    channels = shape[2] if len(shape) == 3 else 1
    expected = image.reshape(*shape[:2], channels).astype(np.float32)
    np.testing.assert_array_equal(texture.image.to_numpy(), expected)
    assert texture.image.grad is not None
    assert (texture.filter, texture.wrap, texture.num_channels) == ("bilinear", "repeat", channels)


def test_arrays_are_written_into_the_field(backend):
    texture = tsr.Texture(np.zeros((2, 3)), "trilinear", "mirror")
    field = texture.image
    texture.image = np.ones((2, 3))
    assert texture.image is field and (field.to_numpy() == 1).all()
    assert texture.layout == (2, 3, TRILINEAR, MIRROR)
    with pytest.raises(ValueError, match=r"texture.image must have shape \(2, 3, 1\)"):
        texture.image = np.ones((3, 2))
    field.fill(np.nan)
    with pytest.raises(ValueError, match="texture.image has 6 entries that are NaN"):
        texture.check()


@pytest.mark.parametrize(
    "mode, channels, white",
    [("1", 1, 1), ("L", 1, 255), ("LA", 2, (255, 255)), ("RGB", 3, (255,) * 3)]
    + [("RGBA", 4, (255,) * 4), ("I;16", 1, 65535), ("P", 3, 0)],
)
def test_picture_files(backend, tmp_path, mode, channels, white):
    """Row 0 is on top, and white is 1, whatever the file has of bits and channels."""
    image = Image.new(mode, (3, 2), 0)
    if mode == "P":
        image.putpalette([255] * 3 + [0] * 3)
        image.paste(1, (0, 0, 3, 2))
    image.putpixel((2, 0), white)
    image.save(tmp_path / "image.png")
    texture = tsr.Texture.load(tmp_path / "image.png", "nearest", "zero")
    expected = np.zeros((2, 3, channels))
    expected[0, 2] = 1
    np.testing.assert_array_equal(texture.image.to_numpy(), expected)
    assert (texture.filter, texture.wrap) == ("nearest", "zero")


def test_a_picture_that_was_written_is_read_again(backend, tmp_path):
    image = np.random.default_rng(0).uniform(size=(4, 5, 3))
    tsr.images.save_image(tmp_path / "image.png", image)
    read = tsr.Texture.load(tmp_path / "image.png").image.to_numpy()
    np.testing.assert_allclose(read, image, atol=EIGHT_BITS)


def test_bytes_are_warned_of(backend):
    with pytest.warns(UserWarning, match="image are up to 255"):
        tsr.Texture(np.full((2, 2, 3), 255, np.uint8))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(image=np.zeros(3)), r"image must have shape \(H, W, C\), not empty, got \(3,\)"),
        (dict(image=np.zeros((0, 3, 3))), r"not empty, got \(0, 3, 3\)"),
        (dict(image=np.zeros((2, 3, 0))), r"not empty, got \(2, 3, 0\)"),
        (dict(image=np.zeros((1, 2, 3, 3))), r"got \(1, 2, 3, 3\)"),
        (dict(image=[[[np.nan]]]), "image must be finite, got 1 entries that are NaN"),
        (dict(image="wood.png"), r"got a path: write Texture.load\('wood.png'\)"),
        (dict(image=[[1]], filter="linear"), "'bilinear' or 'trilinear', got 'linear'"),
        (dict(image=[[1]], wrap="edge"), "wrap must be 'repeat', 'mirror', 'clamp' or 'zero', got"),
        (dict(image=[[1]], wrap=None), "got None"),
    ],
)
def test_textures_refuse(backend, arguments, message):
    with pytest.raises(ValueError, match=message):
        tsr.Texture(**arguments)


def test_a_field_is_told_to_be_an_array(backend):
    with pytest.raises(ValueError, match=r"got a field: write field.to_numpy\(\)"):
        tsr.Texture(ti.Vector.field(3, float, (2, 2)))


def test_files_refuse(backend, tmp_path):
    with pytest.raises(ValueError, match="missing.png cannot be read as an image"):
        tsr.Texture.load(tmp_path / "missing.png")
    frames = [Image.new("RGB", (3, 2), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "still.gif")
    assert tsr.Texture.load(tmp_path / "still.gif").image.shape == (2, 3)
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="film.gif holds 2 pictures, a texture is one"):
        tsr.Texture.load(tmp_path / "film.gif")
