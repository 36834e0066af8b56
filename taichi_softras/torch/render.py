"""Tensors of vertices, faces and a camera to pictures, for those who have no scene."""

import collections
from collections.abc import Sequence
from typing import Any, Optional, Union, cast

import numpy as np

from taichi_softras.rasterizers.base import Rasterizer
from taichi_softras.rasterizers.soft_aggregation import SoftAggregation
from taichi_softras.runtime import current_runtime
from taichi_softras.scene.camera import Camera, Perspective
from taichi_softras.scene.mesh import Mesh
from taichi_softras.shading.base import Shading
from taichi_softras.torch.renderer import Renderer
from taichi_softras.torch.tensors import Tensors, begin, torch

MOST_KEPT = 8  # renderers, each of one list of faces, one size and one kind of image

_kept: collections.OrderedDict = collections.OrderedDict()


def render(  # all that a picture is made of
    vertices: Union[torch.Tensor, Sequence[torch.Tensor]],
    faces: Union[torch.Tensor, Sequence[torch.Tensor]],
    *,
    eye: torch.Tensor,
    target: Any = (0.0, 0.0, 0.0),
    fov_y_degrees: Any = Perspective.fov_y_degrees,
    image_size: tuple,
    vertex_colors: Union[torch.Tensor, Sequence[torch.Tensor], None] = None,
    rasterizer: Optional[Rasterizer] = None,
    shading: Optional[Shading] = None,
    lights: Any = None,
    outputs: Sequence[str] = (),
) -> dict:
    """Draws a mesh in B views, or B different meshes, each in a view.

    The first call for some faces and some image size makes a `Renderer`, which the next ones find
    again; the last eight are kept. Textures and materials are for a `Renderer` of your own.

    Args:
        vertices: (V, 3) world; or a list of them, of a batch.
        faces: (F, 3) int; or a list of them.
        eye: (3,) or (B, 3), where cameras stand, world.
        target: likewise, where they look.
        fov_y_degrees: scalar or (B,), the full vertical angle of view, degrees.
        image_size: (H, W) in pixels.
        vertex_colors: (V, C), or a list of them; white when left out.
        rasterizer: the method; `SoftAggregation()` when left out.
        shading: as for `taichi_softras.Renderer`, as the next two.
        lights: their numbers are those of their fields.
        outputs: names of further images.

    Returns:
        As `Renderer.forward`: by name the `image` (B, H, W, C + 1) and the outputs, with gradients
        to vertices, colours, eye, target and angle.

    Raises:
        TypeError, ValueError: as `Renderer`.
    """
    is_batch = isinstance(vertices, (list, tuple))
    of_meshes, of_faces = _listed(vertices), _listed(faces)
    colors = None if vertex_colors is None else _listed(vertex_colors)
    begin(of_meshes[0])
    packed = torch.cat(of_meshes)
    eye, target = _rows(eye, packed), _rows(target, packed)
    angles = torch.as_tensor(fov_y_degrees).to(packed).reshape(-1)
    key = (
        current_runtime(),
        tuple(map(len, of_meshes)),
        tuple(map(_Same, of_faces)),
        3 if colors is None else colors[0].shape[-1],
        (len(eye), len(target), len(angles)),
        tuple(image_size),
        shading,
        tuple(outputs),
        id(lights),
    )

    def make() -> Renderer:
        arrays = list(zip(map(Tensors.on_host, of_meshes), map(Tensors.on_host, of_faces)))
        given = None if colors is None else list(map(Tensors.on_host, colors))
        mesh = Mesh.batch(arrays, given) if is_batch else Mesh(*arrays[0], given and given[0])
        position, looked_at, angle = map(Tensors.on_host, (eye, target, angles))
        camera = Camera.look_at(position, looked_at, fov_y_degrees=angle)
        return Renderer(mesh, camera, image_size, None, shading, lights, outputs=outputs)

    module = _kept.get(key)
    if module is None:
        module = _kept[key] = make()
    _kept.move_to_end(key)
    while len(_kept) > MOST_KEPT:
        _kept.popitem(last=False)
    inner = module.renderer
    inner.rasterizer = SoftAggregation() if rasterizer is None else rasterizer
    mesh, camera = cast(Mesh, inner.mesh), inner.cameras
    given = {mesh.vertices: packed}
    for field, rows in ((camera.eye, eye), (camera.target, target), (camera.fov_y_degrees, angles)):
        given[field] = rows.expand(camera.num_views, *rows.shape[1:])
    if colors is not None:
        given[mesh.vertex_colors] = torch.cat(colors)
    return module(given)


def _listed(tensors: Union[torch.Tensor, Sequence[torch.Tensor]]) -> list:
    """Of a mesh alone, or of each of a batch."""
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


class _Same:
    """A tensor of indices, equal to another of the same numbers."""

    def __init__(self, indices: torch.Tensor):
        self._numbers = Tensors.on_host(indices)
        self._hash = hash((self._numbers.shape, self._numbers.tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and np.array_equal(self._numbers, other._numbers)


def _rows(values: Any, like: torch.Tensor) -> torch.Tensor:
    """(B, 3) of the precision and device of a tensor."""
    return torch.as_tensor(values).to(like).reshape(-1, 3)
