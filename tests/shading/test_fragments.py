"""Fragments of lit shadings: their adjoints, and colours against NumPy."""

import dataclasses

import pytest

import taichi_softras as tsr
from taichi_softras.funcs.lights import LightStructure
from taichi_softras.rasterizers.fragments import pass_on
from taichi_softras.runtime import ti
from taichi_softras.testing import check_shading
from tests.rarely import rarely

LIT = [
    tsr.Phong(),
    rarely(tsr.Phong(blinn=True, two_sided=False)),
    tsr.PhysicallyBased(),
]


@pytest.mark.f64
@pytest.mark.parametrize("shading", LIT, ids=repr)
def test_adjoints_under_lights_of_every_kind(backend, shading):
    for name, error in check_shading(shading).items():
        print(f"{name}: {error:.1e}")


@pytest.mark.f64
def test_adjoint_under_environments(backend):
    """What is mirrored is an input as any other."""
    lights = LightStructure(ambient=1, environment=2)
    check_shading(tsr.PhysicallyBased().under(lights), lights=lights)


@pytest.mark.f64
def test_adjoint_without_lights(backend):
    check_shading(tsr.Phong(), lights=LightStructure())


@ti.func
def half_right_vjp(varyings, uniforms, grad_color):
    grads = varyings * 0.0
    grads[0] = grad_color[0]
    return ti.Struct(varyings=grads)


@dataclasses.dataclass(frozen=True)
class HalfRight(tsr.Shading):
    varyings = {"depth": 1, "position_world": 3}
    channels = 4
    fragment, fragment_vjp = pass_on, half_right_vjp


def test_a_wrong_adjoint_is_named(backend):
    """In single precision, too; the input that is right is not."""
    with pytest.raises(AssertionError, match="wrong gradients: position_world by 1.0e") as error:
        check_shading(HalfRight())
    assert "depth" not in str(error.value)


def test_a_right_adjoint_passes_in_single_precision(backend):
    check_shading(tsr.Phong(two_sided=False), lights=LightStructure(1, 1))
    assert check_shading(tsr.Unlit())["color"] < 1e-2
