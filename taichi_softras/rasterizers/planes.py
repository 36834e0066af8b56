"""Images as users hold them, (B, H, W, C) pixels, to and from planes (B, C, H, >= W)."""

import taichi as ti

from taichi_softras.rasterizers.workspace import array


@ti.kernel
def planes_from_pixels(
    pixels: array(None, 4),  # (B, H, W, C), a NumPy array
    planes: array(float, 4),  # (B, C, H, >= W)
):
    """Columns from W on are left alone."""
    for view, row, column in ti.ndrange(pixels.shape[0], pixels.shape[1], pixels.shape[2]):
        for channel in range(pixels.shape[3]):
            planes[view, channel, row, column] = pixels[view, row, column, channel]


@ti.kernel
def pixels_from_planes(
    planes: array(float, 4),  # (B, C, H, >= W)
    pixels: array(None, 4),  # (B, H, W, C), a NumPy array
):
    """The first W columns."""
    for view, row, column in ti.ndrange(pixels.shape[0], pixels.shape[1], pixels.shape[2]):
        for channel in range(pixels.shape[3]):
            pixels[view, row, column, channel] = planes[view, channel, row, column]
