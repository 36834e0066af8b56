"""For tests of your own parts: is the adjoint of a shading right?"""

import math
from typing import Any, Optional

import numpy as np

from taichi_softras.funcs.lights import KIND_NAMES, POINT, SIZES, SPOT, LightStructure
from taichi_softras.runtime import default_numpy_float, is_double, kernel, lean_compilation, ti
from taichi_softras.shading.base import COLOR, VARYINGS, Shading
from taichi_softras.shading.materials import NUMBERS
from taichi_softras.workspace import array

__all__ = ["check_shading"]

STEPS = {False: 4e-3, True: 1e-5}  # of single and double precision, by `is_double`
TOLERANCES = {False: 2e-2, True: 1e-6}
NUM_COLORS = 3  # of a shading that takes any number
ONE_OF_EACH = LightStructure(1, 1, 1, 1, 1)


def check_shading(
    shading: Shading,
    *,
    lights: LightStructure = ONE_OF_EACH,
    values: Optional[dict] = None,
    num_points: int = 50,
    seed: int = 0,
    tolerance: Optional[float] = None,
) -> dict:
    """Holds `fragment_vjp` of a shading against differences of `fragment`, at random points.

    In double precision, `ti.init(ti.cpu, default_fp=ti.f64)`, errors of 1e-6 are found; in single
    precision those of some per cent. Points where the colour has a kink are left out.

    Args:
        shading: a value of your class.
        lights: of a shading that reads them, how many of each kind.
        values: by name of a varying or a uniform, (N, size) or (size,) numbers in place of random
            ones.
        num_points: N.
        seed: of the random numbers.
        tolerance: the largest error that is right, relative to the largest entry of the input's
            gradient; by the precision when left out.

    Returns:
        The error by the name of each input; of lights by "ambient 0", "point 1" and so on.

    Raises:
        AssertionError: names the inputs whose gradient is wrong, and by how much; or says that
            something is not finite, or that there are kinks everywhere.
    """
    generator = np.random.default_rng(seed)
    inputs = _random_inputs(shading, lights if shading.lights else LightStructure(), generator)
    for name in values or {}:
        if name not in inputs:
            raise ValueError(f"values has {name!r}, the shading reads {', '.join(inputs)}")
    rows = {}
    for name, make in inputs.items():
        row = make(num_points) if name not in (values or {}) else values[name]
        rows[name] = np.broadcast_to(np.asarray(row, float), (num_points, np.shape(row)[-1]))
    functions = shading.bind(lights) if shading.lights else (shading.fragment, shading.fragment_vjp)
    num_varyings = sum(rows[name].shape[1] for name in shading.varyings)
    run = _Fragment(functions, num_varyings, shading.channels or NUM_COLORS)

    table = np.concatenate(list(rows.values()), axis=1)
    cotangent = generator.normal(size=(num_points, run.num_channels))
    colors, gradient = run(table, cotangent)
    if not (np.isfinite(colors).all() and np.isfinite(gradient).all()):
        raise AssertionError(f"{type(shading).__name__}: a colour or a gradient is not finite")
    expected, is_smooth = _differences(run, table, cotangent, STEPS[is_double()])

    tolerance = TOLERANCES[is_double()] if tolerance is None else tolerance
    errors, wrong, start = {}, [], 0
    for name, row in rows.items():
        part = slice(start, start + row.shape[1])
        start += row.shape[1]
        if np.mean(is_smooth[:, part]) < 0.5:
            raise AssertionError(
                f"{type(shading).__name__}: the colour has kinks in {name!r} at most points; give "
                f"values={{{name!r}: ...}} where it is smooth"
            )
        difference = np.abs(gradient - expected)[:, part][is_smooth[:, part]].max(initial=0.0)
        scale = np.abs(expected[:, part]).max(initial=0.0)
        errors[name] = difference / scale if scale > 0 else (math.inf if difference > 0 else 0.0)
        if not errors[name] <= tolerance:
            wrong.append(f"{name} by {errors[name]:.1e} of its largest entry, {scale:.3g}")
    if wrong:
        raise AssertionError(f"{type(shading).__name__}: wrong gradients: {'; '.join(wrong)}")
    return errors


def _random_inputs(shading: Shading, lights: LightStructure, generator: Any) -> dict:
    """By name, in the order of varyings, uniforms and lights, what makes (N, size) numbers."""

    def numbers(size, low=None, high=None):
        if low is None:
            return lambda count: generator.normal(size=(count, size))
        return lambda count: generator.uniform(low, high, (count, size))

    inputs = {}
    for name, size in shading.varyings.items():
        size = size or VARYINGS[name] or NUM_COLORS
        is_share = name == COLOR or name in NUMBERS
        inputs[name] = numbers(size, 0.2, 0.9) if is_share else numbers(size)
    ranges = {"depth": (1.0, 5.0), "shininess": (1.0, 10.0)}
    for name in ranges.keys() & inputs.keys():
        inputs[name] = numbers(1, *ranges[name])
    for name, size in shading.uniforms.items():
        inputs[name] = numbers(size)
    for kind, count in enumerate(lights.counts):
        for index in range(count):
            inputs[f"{KIND_NAMES[kind]} {index}"] = _random_light(kind, generator)
    return inputs


def _random_light(kind: int, generator: Any) -> Any:
    def make(count):
        light = generator.normal(size=(count, SIZES[kind]))
        if kind in (POINT, SPOT):
            light[:, 6:9] = generator.uniform(0.2, 1.0, (count, 3))
        if kind == SPOT:
            light[:, 9:12] = generator.normal(size=(count, 3)) - 2 * light[:, :3]
            light[:, 12] = generator.uniform(2.0, 20.0, count)
            light[:, 13] = generator.uniform(60.0, 85.0, count)
        return light

    return make


class _Fragment:
    """The functions of a shading on arrays."""

    def __init__(self, functions: tuple, num_varyings: int, num_channels: int):
        self.functions, self.num_varyings = functions, num_varyings
        self.num_channels = num_channels

    def __call__(self, table: np.ndarray, cotangent: np.ndarray) -> tuple:
        """(N, C) colours, and (N, inputs) gradients of their products with the cotangent."""
        dtype = default_numpy_float()
        colors = np.zeros((len(table), self.num_channels), dtype)
        gradients = np.zeros(table.shape, dtype)
        with lean_compilation():
            shade_points(
                *self.functions,
                self.num_varyings,
                table.shape[1] - self.num_varyings,
                self.num_channels,
                np.ascontiguousarray(table, dtype),
                np.ascontiguousarray(cotangent, dtype),
                colors,
                gradients,
            )
        return colors.astype(float), gradients.astype(float)


def _differences(run: _Fragment, table: np.ndarray, cotangent: np.ndarray, step: float) -> tuple:
    """(N, inputs) central differences, and whether the colour is smooth there.

    It is if steps of another length give the same.
    """
    count, num_inputs = table.shape
    slopes = []
    for length in (step, 2 * step):
        moved = np.concatenate(
            [table[None] + sign * length * np.eye(num_inputs)[:, None] for sign in (1, -1)]
        ).reshape(-1, num_inputs)
        colors, _ = run(moved, np.tile(cotangent, (2 * num_inputs, 1)))
        sums = (colors * np.tile(cotangent, (2 * num_inputs, 1))).sum(axis=1)
        later, earlier = sums.reshape(2, num_inputs, count)
        slopes.append((later - earlier).T / (2 * length))
    gap = np.abs(slopes[1] - slopes[0])
    noise = 30 * np.finfo(default_numpy_float()).eps / step
    largest = np.abs(slopes[0]).max(axis=0, keepdims=True)
    return slopes[0], gap <= math.sqrt(step) * largest * 0.1 + noise


@kernel
def shade_points(
    fragment: ti.template(),
    fragment_vjp: ti.template(),
    num_varyings: ti.template(),
    num_uniforms: ti.template(),
    num_channels: ti.template(),
    table: array(None, 2),  # (N, varyings and uniforms)
    cotangent: array(None, 2),  # (N, C)
    colors: array(None, 2),  # (N, C)
    gradients: array(None, 2),  # (N, varyings and uniforms)
):
    """The colours of some points, and the gradients of their products with a cotangent."""
    for i in range(table.shape[0]):
        varyings = ti.Vector([table[i, k] for k in ti.static(range(num_varyings))])
        uniforms = ti.Vector([0.0 for _ in ti.static(range(max(num_uniforms, 1)))])
        for k in ti.static(range(num_uniforms)):
            uniforms[k] = table[i, num_varyings + k]
        grad = ti.Vector([cotangent[i, k] for k in ti.static(range(num_channels))])
        color = fragment(varyings, uniforms)
        grads = fragment_vjp(varyings, uniforms, grad)
        for k in ti.static(range(num_channels)):
            colors[i, k] = color[k]
        for k in ti.static(range(num_varyings)):
            gradients[i, k] = grads.varyings[k]
        for k in ti.static(range(num_uniforms)):
            gradients[i, num_varyings + k] = grads.uniforms[k]
