"""Images as users hold them, (B, H, W, C) pixels, to and from planes (B, C, H, >= W)."""

from taichi_softras.runtime import kernel, ti
from taichi_softras.workspace import array


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


@ti.kernel
def jacobian_from_planes(
    planes: array(float, 5),  # (P, B, C, H, W)
    jacobian: array(None, 5),  # (B, H, W, len(channels), P), a NumPy array
    channels: ti.template(),  # which of the planes
):
    """Parameters last."""
    for view, row, column in ti.ndrange(jacobian.shape[0], jacobian.shape[1], jacobian.shape[2]):
        for k, channel in ti.static(list(enumerate(channels))):
            for parameter in range(jacobian.shape[4]):
                value = planes[parameter, view, channel, row, column]
                jacobian[view, row, column, k, parameter] = value


@kernel
def average_blocks(
    fine: array(float, 4),  # (B, C, factor * H, factor * W)
    factor: int,
    coarse: array(float, 4),  # (B, C, H, W)
):
    """Every pixel becomes the mean of factor x factor pixels."""
    for view, channel, row, column in ti.ndrange(*coarse.shape):
        total = 0.0
        for i in range(factor):
            for j in range(factor):
                total += fine[view, channel, factor * row + i, factor * column + j]
        coarse[view, channel, row, column] = total / ti.cast(factor * factor, float)


@kernel
def average_blocks_backward(
    grad_coarse: array(float, 4),  # (B, C, H, W)
    factor: int,
    grad_fine: array(float, 4),  # (B, C, factor * H, factor * W)
):
    """The adjoint of `average_blocks`."""
    for view, channel, row, column in ti.ndrange(*grad_coarse.shape):
        grad = grad_coarse[view, channel, row, column] / ti.cast(factor * factor, float)
        for i in range(factor):
            for j in range(factor):
                grad_fine[view, channel, factor * row + i, factor * column + j] = grad
