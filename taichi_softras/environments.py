"""Pictures of environment maps, into the numbers of lights and back.

A light's other numbers are copied from its fields (`copies.gather`); these are a picture's
projection (`shading/projection.py`).
"""

from collections.abc import Callable
from typing import NamedTuple

from taichi_softras.atlas import add_texel_grads, copy_texels
from taichi_softras.fields import body
from taichi_softras.runtime import quick_compilation, ti
from taichi_softras.shading.projection import (
    NUM_HARMONICS,
    NUM_PRODUCTS,
    integrals,
    project,
    project_vjp,
)
from taichi_softras.workspace import Workspace, write_array


class Environment(NamedTuple):
    """One picture, and where its numbers are; negative where they are not."""

    image: ti.Field  # (H, W) vec3
    texels: ti.Ndarray  # (1, 1, H W, 3)
    rows: ti.Ndarray  # as in `project`, and the following
    columns: ti.Ndarray
    sums: ti.Ndarray
    start: int
    column: int


class Environments:
    """All environment maps of a scene.

    Attributes:
        fields: their pictures.
    """

    def __init__(self, workspace: Workspace, maps: list, first: int, first_column: int):
        """Lays out arrays.

        Args:
            workspace: makes them.
            maps: (picture, where its numbers are among those of all lights).
            first: where the numbers of all lights begin in `uniforms`; -1 for nowhere.
            first_column: where they begin in `fragment_uniforms`; -1 for nowhere.
        """
        is_read = first >= 0 or first_column >= 0
        self._environments = [
            _lay_out(
                workspace,
                image,
                first + start if first >= 0 else -1,
                first_column + start if first_column >= 0 else -1,
            )
            for image, start in (maps if is_read else ())
        ]
        self.fields = [one.image for one in self._environments]

    def gather(
        self, uniforms: ti.Ndarray, fragment_uniforms: ti.Ndarray, derivative: str = ""
    ) -> None:
        """From pictures, or from their duals, to the numbers of lights."""
        for one in self._environments:
            image = body(one.image)
            with quick_compilation():
                copy_texels(0, one.texels, 3, getattr(image, derivative) if derivative else image)
            self._run(project, one, uniforms, fragment_uniforms)

    def scatter(self, grad_uniforms: ti.Ndarray, grad_fragment_uniforms: ti.Ndarray) -> None:
        """The adjoint of `gather`: adds to the gradients of pictures."""
        for one in self._environments:
            self._run(project_vjp, one, grad_uniforms, grad_fragment_uniforms)
            with quick_compilation():
                add_texel_grads(0, one.texels, 3, body(one.image))

    @staticmethod
    def _run(
        stage: Callable, one: Environment, uniforms: ti.Ndarray, of_fragments: ti.Ndarray
    ) -> None:
        tables = one.rows, one.columns, one.sums
        stage(one.texels, *tables, one.start, uniforms, one.column, of_fragments)


def _lay_out(workspace: Workspace, image: ti.Field, start: int, column: int) -> Environment:
    height, width = image.shape
    rows = workspace.new("environment_rows", (height, NUM_PRODUCTS))
    columns = workspace.new("environment_columns", (width, NUM_PRODUCTS))
    for table, values in zip((rows, columns), integrals(height, width)):
        write_array(table, values)
    texels = workspace.new("environment_texels", (1, 1, height * width, 3))
    sums = workspace.new("environment_sums", (height, 3 * NUM_HARMONICS))
    return Environment(image, texels, rows, columns, sums, start, column)
