"""Projected triangles, as tensors, to an image: `taichi_softras.rasterize` for PyTorch."""

from typing import Any, Optional, Union

from taichi_softras.functional import Drawing
from taichi_softras.rasterizers.base import Rasterizer
from taichi_softras.shading.base import Shading
from taichi_softras.torch.tensors import Tensors, begin, torch
from taichi_softras.workspace import MAX_PAIRS


class _Draw(torch.autograd.Function):
    """The image of a `Drawing`, which keeps what the gradient needs: as often as it is asked."""

    @staticmethod
    def forward(ctx: Any, corners: torch.Tensor, colors: Any, *settings: Any) -> torch.Tensor:
        ctx.drawing = Drawing(Tensors, corners, colors, *settings)
        ctx.num_settings = len(settings)
        return ctx.drawing.read_image()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_image: torch.Tensor) -> tuple:
        grads = ctx.drawing.pull_back(Tensors.checked("the image's gradient", grad_image))
        return (*grads, *[None] * ctx.num_settings)


def rasterize(  # as `taichi_softras.rasterize`
    corners: torch.Tensor,
    colors: Union[torch.Tensor, Shading, None] = None,
    *,
    image_size: tuple,
    rasterizer: Optional[Rasterizer] = None,
    max_pairs: int = MAX_PAIRS,
    background: Optional[torch.Tensor] = None,
    near_clip: Optional[float] = None,
) -> torch.Tensor:
    """Draws projected triangles, with gradients to corners, colours and background.

    Several images may be drawn before a gradient is asked for, and a gradient may be asked for
    again (`retain_graph=True`). There is no gradient of a gradient.

    Args:
        corners: (B, F, 3, 3) x_ndc, y_ndc and depth of each corner, or (B, F, 3, 4) x_clip,
            y_clip, depth and w_clip; see `taichi_softras.rasterize`.
        colors: (B or 1, F, 3, C) at the corners, (B or 1, F, R, R, C) texels or (B or 1, F, R, R,
            R, C) texture cubes of faces, a `Depth()`, or None for the silhouette alone.
        image_size: (H, W) in pixels.
        rasterizer: the method; `SoftAggregation()` when left out. `near` and `far` that it leaves
            out are fitted to the corners of this call, which are brought to the host for it.
        max_pairs: see `Renderer`.
        background: (H, W, C) or (1 or B, H, W, C), an image behind all faces.
        near_clip: see `taichi_softras.rasterize`.

    Returns:
        (B, H, W, C + 1), alpha last, row 0 on top.

    Raises:
        TypeError: for what is no tensor, or not of the precision that `ti.init` set.
        ValueError: for wrong shapes, sizes, devices or values that are not finite.
    """
    begin(corners)
    behind = background.detach() if isinstance(background, torch.Tensor) else background
    drawn = _Draw.apply(corners, colors, image_size, rasterizer, max_pairs, behind, near_clip)
    if background is None:
        return drawn
    return torch.cat([drawn[..., :-2] + drawn[..., -2:-1] * background, drawn[..., -1:]], dim=-1)
