"""Textures at the points that pixels show."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional, Union

from taichi_softras.funcs.images import (
    BILINEAR,
    CLAMP,
    CUBE,
    MOST_LEVELS,
    NEAREST,
    REPEAT,
    TRILINEAR,
    ZERO,
)
from taichi_softras.nvdiffrast.operation import (
    Operation,
    check_batch,
    check_device,
    check_not_empty,
    check_shape,
    takes_arrays,
)
from taichi_softras.runtime import ti
from taichi_softras.shading.pyramids import build_levels, build_levels_vjp, num_texels
from taichi_softras.shading.texture_lookups import (
    LINEAR_MIPMAP,
    NEAREST_MIPMAP,
    NO_MIPMAPS,
    TextureLookup,
    look_up_textures,
    look_up_textures_backward,
)
from taichi_softras.torch.tensors import Tensors, begin, torch

WRAPS = {"wrap": REPEAT, "clamp": CLAMP, "zero": ZERO, "cube": CUBE}
FILTERS = {
    "nearest": (NEAREST, NO_MIPMAPS),
    "linear": (BILINEAR, NO_MIPMAPS),
    "linear-mipmap-nearest": (TRILINEAR, NEAREST_MIPMAP),
    "linear-mipmap-linear": (TRILINEAR, LINEAR_MIPMAP),
}


class Mipmaps(NamedTuple):
    """What `texture_construct_mip` gives and `texture` takes.

    Attributes:
        levels: behind the texture, each (B or 1, H, W, C) or (B or 1, 6, N, N, C).
        shape: of the texture.
        is_cube: whether it is a cube map.
    """

    levels: tuple
    shape: tuple
    is_cube: bool


class _Texture(Operation):
    """Of one texture and its coarser levels.

    Its tensors are the texture, uv, footprints and biases where there are such, and the levels that
    are not made of the texture.
    """

    def __init__(
        self, row: tuple, how: TextureLookup, names: Sequence, shapes: tuple, made: Sequence
    ):
        super().__init__(names, (row, how, tuple(names), shapes))
        self._row, self._how, self._made = row, how, made
        self._image = self.workspace.constants("image", row, int)
        self._sizes = [num_texels(row, level) for level in range(row[3])]

    def forward(self, tex: torch.Tensor, uv: torch.Tensor, *rest: torch.Tensor) -> tuple:
        self._shapes = [tuple(one.shape) for one in (tex, uv, *rest)]
        given = dict(zip(self.names[2:], rest))
        self._levels = [one for name, one in given.items() if name.startswith("mip[")]
        planes, channels = tex.shape[0], tex.shape[-1]
        levels = [one.reshape(planes, -1, channels) for one in (tex, *self._levels)]
        self._is_pyramid = len(levels) < len(self._sizes)
        texels = _lay_texels(self, levels, self._made, self._row)
        views = len(uv)
        self._inputs = (
            texels,
            self._image,
            self.upload("uv", uv.reshape(views, -1, uv.shape[-1])),
            self._array(given, "uv_da", (views, -1, 2 * uv.shape[-1])),
            self._array(given, "mip_level_bias", (views, -1)),
        )
        samples = self.workspace.get("samples", (*self._inputs[2].shape[:2], channels))
        look_up_textures(*self._inputs, samples, self._how)
        return (Tensors.read(samples).reshape(*uv.shape[:3], channels),)

    def _array(self, given: dict, name: str, shape: tuple) -> ti.Ndarray:
        """Of a tensor that may have been left out."""
        if name in given:
            return self.upload(name, given[name].reshape(shape))
        return self.workspace.get(name, (1,) * len(shape))

    def backward(self, grad_samples: torch.Tensor) -> tuple:
        views, channels = len(grad_samples), grad_samples.shape[-1]
        grad = self.upload("grad_samples", grad_samples.reshape(views, -1, channels))
        names = ("texels", "uv", "uv_da", "mip_level_bias")
        arrays = (self._inputs[0], *self._inputs[2:])
        grads = [
            self.workspace.get(f"grad_{name}", tuple(array.shape))
            for name, array in zip(names, arrays)
        ]
        look_up_textures_backward(*self._inputs, grad, *grads, self._how)
        if self._is_pyramid:
            build_levels_vjp(self.workspace, grads[0], [self._row])
        of_levels = Tensors.read(grads[0])[:, 0].split(self._sizes, dim=1)
        found = {name: Tensors.read(one) for name, one in zip(names[1:], grads[1:])}
        found |= {f"mip[{k}]": one for k, one in enumerate(of_levels[1:])}
        found["tex"] = of_levels[0]
        return tuple(found[name].reshape(shape) for name, shape in zip(self.names, self._shapes))


@takes_arrays
def texture(  # the interface of another package
    tex: torch.Tensor,
    uv: torch.Tensor,
    uv_da: Optional[torch.Tensor] = None,
    mip_level_bias: Optional[torch.Tensor] = None,
    mip: Union[Mipmaps, Sequence, None] = None,
    filter_mode: str = "auto",
    boundary_mode: str = "wrap",
    max_mip_level: Optional[int] = None,
) -> torch.Tensor:
    """Looks up a texture at each pixel.

    Laine et al. 2020, section 3.4. A level is log2 of the half major axis of what a pixel covers of
    the texture, in texels, plus the bias; it ends at the first and last level.

    Args:
        tex: (B or 1, H, W, C), row 0 at v = 0; a cube map is (B or 1, 6, N, N, C), sides +x, -x,
            +y, -y, +z, -z as in OpenGL.
        uv: (B, H, W, 2), (0, 0) and (1, 1) are corners of the texture; of a cube map (B, H, W, 3)
            directions of any length.
        uv_da: (B, H, W, 4) du/dX, du/dY, dv/dX, dv/dY of `interpolate`; of a cube map (B, H, W, 6).
        mip_level_bias: (B, H, W); without `uv_da` it is the level.
        mip: of `texture_construct_mip`, or a list of coarser textures, each of half the sides.
        filter_mode: "nearest", "linear", "linear-mipmap-nearest" or "linear-mipmap-linear". "auto"
            is the last one with `uv_da` or `mip_level_bias`, and else "linear".
        boundary_mode: "wrap", "clamp", "zero" (black outside) or "cube".
        max_mip_level: how many coarser levels there are at most.

    Returns:
        (B, H, W, C), with gradients to `tex`, `uv`, `uv_da`, `mip_level_bias` and the tensors of a
        list `mip`.

    Raises:
        TypeError: for what is no tensor or array, or of another type of numbers.
        ValueError: for wrong shapes, devices, modes, levels, or values that are not finite.
    """
    begin(tex)
    has_level = uv_da is not None or mip_level_bias is not None
    filter_mode = _checked_mode(filter_mode, boundary_mode, has_level)
    filter, mipmaps = FILTERS[filter_mode]
    sides = _check_texture(tex, boundary_mode)
    check_shape("uv", uv, ("B", "H", "W", 3 if boundary_mode == "cube" else 2))
    check_not_empty("uv", uv)
    check_device("uv", uv, "tex", tex)
    check_batch("tex", tex, len(uv))
    named, made, levels = {"tex": tex, "uv": uv}, (), 1
    if mipmaps != NO_MIPMAPS:
        if uv_da is not None:
            check_shape("uv_da", uv_da, (*uv.shape[:3], 2 * uv.shape[-1]))
            named["uv_da"] = uv_da
        if mip_level_bias is not None:
            check_shape("mip_level_bias", mip_level_bias, tuple(uv.shape[:3]))
            named["mip_level_bias"] = mip_level_bias
        levels = _count_levels(sides, max_mip_level)
        if isinstance(mip, Mipmaps):
            made = _checked_mipmaps(mip, tex, boundary_mode)[: levels - 1]
            levels = len(made) + 1
        elif mip is not None:
            stack = _checked_stack(mip, tex, levels)
            levels = len(stack) + 1
            named |= {f"mip[{k}]": one for k, one in enumerate(stack)}
    row = (0, *sides, levels, filter, WRAPS[boundary_mode])
    has = ("uv_da" in named, "mip_level_bias" in named)
    how = TextureLookup(boundary_mode == "cube", mipmaps, *has)
    shapes = tuple(tuple(one.shape) for one in named.values())
    return _Texture(row, how, list(named), shapes, made)(*named.values())[0]


@takes_arrays
def texture_construct_mip(
    tex: torch.Tensor, max_mip_level: Optional[int] = None, cube_mode: bool = False
) -> Mipmaps:
    """The coarser levels of a texture that stays as it is, for `texture(mip=...)`.

    Args:
        tex: as for `texture`.
        max_mip_level: how many levels there are at most.
        cube_mode: whether it is a cube map.

    Returns:
        What `texture` takes; gradients reach `tex` as if `texture` made the levels.

    Raises:
        TypeError, ValueError: as `texture`.
    """
    begin(tex)
    boundary_mode = "cube" if cube_mode else "wrap"
    sides = _check_texture(tex, boundary_mode)
    levels = _count_levels(sides, max_mip_level)
    row = (0, *sides, levels, TRILINEAR, WRAPS[boundary_mode])
    shape = tuple(tex.shape)
    maker = Operation(["tex"], (row, shape))
    texels = Tensors.checked("tex", tex).reshape(shape[0], -1, shape[-1])
    _lay_texels(maker, [texels], (), row)
    sizes = [num_texels(row, level) for level in range(levels)]
    parts = Tensors.read(maker.workspace.get("texels", (shape[0], 1, sum(sizes), shape[-1])))
    of_levels = parts[:, 0].split(sizes, dim=1)
    made = [one.reshape(_shape_of_level(shape, k)) for k, one in enumerate(of_levels)]
    return Mipmaps(tuple(made[1:]), shape, cube_mode)


def _lay_texels(operation: Operation, levels: list, made: Sequence, row: tuple) -> ti.Ndarray:
    """(B or 1, 1, N, C) all levels: those given, and those that are made of them, or were."""
    planes, _, channels = levels[0].shape
    missing = sum(num_texels(row, level) for level in range(len(levels), row[3]))
    if made:
        levels = [*levels, *(one.to(levels[0]).reshape(planes, -1, channels) for one in made)]
    elif missing:
        levels = [*levels, levels[0].new_zeros(planes, missing, channels)]
    texels = operation.upload("texels", torch.cat(levels, dim=1)[:, None])
    if missing and not made:
        build_levels(operation.workspace, texels, [row])
    return texels


def _shape_of_level(shape: tuple, level: int) -> tuple:
    """Of a texture of this shape."""
    height, width = (max(extent >> level, 1) for extent in shape[-3:-1])
    return (*shape[:-3], height, width, shape[-1])


def _checked_mode(filter_mode: str, boundary_mode: str, has_level: bool) -> str:
    """The filter, chosen where it is "auto"."""
    if boundary_mode not in WRAPS:
        raise ValueError(f"boundary_mode must be one of {list(WRAPS)}, got {boundary_mode!r}")
    if filter_mode == "auto":
        return "linear-mipmap-linear" if has_level else "linear"
    if filter_mode not in FILTERS:
        raise ValueError(f"filter_mode must be 'auto' or of {list(FILTERS)}, got {filter_mode!r}")
    if FILTERS[filter_mode][1] != NO_MIPMAPS and not has_level:
        raise ValueError(f"filter_mode {filter_mode!r} needs uv_da= or mip_level_bias=")
    return filter_mode


def _check_texture(tex: torch.Tensor, boundary_mode: str) -> tuple:
    """(H, W) of a texture, or of a side."""
    is_cube = boundary_mode == "cube"
    check_shape("tex", tex, ("B", 6, "N", "N", "C") if is_cube else ("B", "H", "W", "C"))
    height, width = tex.shape[-3:-1]
    if is_cube and height != width:
        raise ValueError(f"tex must have square sides for a cube map, got shape {tuple(tex.shape)}")
    check_not_empty("tex", tex)
    return height, width


def _count_levels(sides: tuple, max_mip_level: Optional[int]) -> int:
    """Of a pyramid, the texture among them."""
    levels = min(max(sides).bit_length(), MOST_LEVELS)
    if max_mip_level is None:
        return levels
    if type(max_mip_level) is not int or max_mip_level < 0:
        raise ValueError(f"max_mip_level must be a whole number from 0 on, got {max_mip_level!r}")
    return min(levels, max_mip_level + 1)


def _checked_mipmaps(mip: Mipmaps, tex: torch.Tensor, boundary_mode: str) -> tuple:
    """Levels of a texture of this shape."""
    if mip.shape != tuple(tex.shape) or mip.is_cube != (boundary_mode == "cube"):
        kind = "a cube map" if mip.is_cube else "a texture"
        raise ValueError(
            f"mip is of {kind} of shape {mip.shape}, and tex has shape {tuple(tex.shape)} with "
            f"boundary_mode {boundary_mode!r}: construct it of this texture"
        )
    return mip.levels


def _checked_stack(mip: Any, tex: torch.Tensor, levels: int) -> list:
    """Tensors of a user, up to as many levels as there may be."""
    if not isinstance(mip, (list, tuple)):
        raise TypeError(
            f"mip must be of texture_construct_mip, or a list of tensors, got {type(mip).__name__}"
        )
    most = max(tex.shape[-3:-1]).bit_length() - 1
    if len(mip) > most:
        raise ValueError(
            f"mip has {len(mip)} levels, and a texture of shape {tuple(tex.shape)} at most {most}"
        )
    for level, one in enumerate(mip, start=1):
        check_shape(f"mip[{level - 1}]", one, _shape_of_level(tuple(tex.shape), level))
        check_device(f"mip[{level - 1}]", one, "tex", tex)
    return list(mip[: levels - 1])
