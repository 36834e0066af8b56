"""A renderer for PyTorch: tensors take the place of fields, and gradients come back to them."""

from collections.abc import Sequence
from typing import Any

from taichi_softras.fields import body
from taichi_softras.renderer import Renderer as FieldRenderer
from taichi_softras.runtime import has_gradient, shape_of_numbers
from taichi_softras.torch.packing import Packing
from taichi_softras.torch.tensors import Tensors, begin, torch

IMAGE = "image"


class Renderer(torch.nn.Module):
    """Draws a mesh, a batch or a scene whose fields are tensors of this call.

        renderer = Renderer(mesh, camera, image_size=(256, 256))
        image = renderer({mesh.vertices: vertices, camera.eye: eye})["image"]
        image.sum().backward()  # to `vertices` and `eye`

    Any field with a gradient that the image depends on may be given: of meshes, materials,
    textures, cameras, lights, scenes, shadings of your own. A field that is given keeps the numbers
    of the last call. Several images may be drawn before a gradient is asked for: what was drawn
    meanwhile is drawn once more on the way back. There is no gradient of a gradient.

    Attributes:
        renderer: the `taichi_softras.Renderer`; its `rasterizer` may be replaced.
    """

    def __init__(self, *arguments: Any, **settings: Any):
        """Takes what a `taichi_softras.Renderer` takes."""
        super().__init__()
        self.renderer = FieldRenderer(*arguments, **settings)
        outputs = self.renderer.outputs
        self._names = [IMAGE, *(name for name, field in outputs.items() if has_gradient(field))]
        self._indices = [name for name in outputs if name not in self._names]
        fields = [self.renderer.image, *(outputs[name] for name in self._names[1:])]
        self._images = Packing(fields)
        self._grad_images = Packing([body(field).grad for field in fields])
        self._known = {id(body(field)) for field in self.renderer.fields}
        self._packings: dict = {}  # by the fields that tensors were given for
        self._ticket = 0  # of what stands in the fields

    def forward(self, tensors: dict) -> dict:
        """Draws all views.

        Args:
            tensors: a tensor for each of some fields, of the field's shape and that of its
                elements: (V, 3) for `mesh.vertices`.

        Returns:
            By name the `image` (B, H, W, C + 1), alpha last, and the outputs; those that count
            faces or meshes are int32 and have no gradient.

        Raises:
            TypeError: for what is no tensor, or not of the precision that `ti.init` set.
            ValueError: for a field that the image does not depend on, or that has no gradient; for
                tensors of another shape or device; as `taichi_softras.Renderer.render`.
        """
        for tensor in tensors.values():
            begin(tensor)
        fields = tuple(body(field) for field in tensors)
        for k, (field, tensor) in enumerate(zip(fields, tensors.values())):
            self._check(f"tensor {k}", field, tensor)
        images = _Draw.apply(self, fields, *tensors.values())
        return dict(zip((*self._names, *self._indices), images))

    def _check(self, name: str, field: Any, tensor: Any) -> None:
        if id(field) not in self._known:
            raise ValueError(
                f"{name} is for a field that the image does not depend on: give fields of the "
                "renderer's mesh, cameras, lights, such as {mesh.vertices: vertices}"
            )
        if not has_gradient(field):
            raise ValueError(f"{name} is for a field without gradient: needs_grad=True")
        if isinstance(tensor, torch.Tensor) and tuple(tensor.shape) != shape_of_numbers(field):
            shape = tuple(tensor.shape)
            raise ValueError(f"{name} must have shape {shape_of_numbers(field)}, got {shape}")

    def draw(self, fields: tuple, tensors: Sequence) -> int:
        """Writes tensors to fields and draws; returns a ticket of what then stands there."""
        if fields:
            values, _ = self._packing(fields)
            values.load(tensors)
        self.renderer.render()
        self._ticket += 1
        return self._ticket

    def read(self) -> tuple:
        """What was drawn, by `_names` and then `_indices`."""
        indices = [self.renderer.outputs[name].to_torch() for name in self._indices]
        return (*self._images.read(), *indices)

    def pull_back(
        self, ticket: int, fields: tuple, tensors: Sequence, grad_images: Sequence
    ) -> list:
        """The gradients at tensors, of what was drawn by a ticket."""
        if ticket != self._ticket:
            self.draw(fields, tensors)
        _, grads = self._packing(fields)
        self._grad_images.load(grad_images)
        grads.clear()
        self.renderer.pull_back()
        return grads.read()

    def _packing(self, fields: tuple) -> tuple:
        key = tuple(map(id, fields))
        if key not in self._packings:
            self._packings[key] = Packing(fields), Packing([field.grad for field in fields])
        return self._packings[key]


class _Draw(torch.autograd.Function):
    """What a `Renderer` draws of tensors."""

    @staticmethod
    def forward(ctx: Any, renderer: Renderer, fields: tuple, *tensors: torch.Tensor) -> tuple:
        checked = [Tensors.checked(f"tensor {k}", one) for k, one in enumerate(tensors)]
        ctx.renderer, ctx.fields = renderer, fields
        ctx.ticket = renderer.draw(fields, checked)
        ctx.save_for_backward(*tensors)
        images = renderer.read()
        ctx.num_images = len(renderer._names)
        ctx.mark_non_differentiable(*images[ctx.num_images :])
        return images

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_images: torch.Tensor) -> tuple:
        name = "the images' gradient"
        grad_images = [Tensors.checked(name, one) for one in grad_images[: ctx.num_images]]
        tensors = [tensor.detach() for tensor in ctx.saved_tensors]
        grads = ctx.renderer.pull_back(ctx.ticket, ctx.fields, tensors, grad_images)
        return (None, None, *grads)
