"""The metallic-roughness material of glTF 2.0 (appendix B), lit at every fragment."""

import dataclasses
import functools

from taichi_softras.funcs.lights import (
    INCIDENT,
    LightStructure,
    light_around,
    light_around_vjp,
    light_from,
    light_from_vjp,
)
from taichi_softras.funcs.reflection import (
    metallic_roughness,
    metallic_roughness_vjp,
    turn_to_eye_vjp,
)
from taichi_softras.funcs.vectors import unit_normal_vjp
from taichi_softras.runtime import ti, vec3
from taichi_softras.shading.base import Shading
from taichi_softras.shading.phong import view_fragment

LIGHTS = 3  # the first uniform of the lights, behind the eye


@dataclasses.dataclass(frozen=True)
class PhysicallyBased(Shading):
    """Every fragment is lit by all lights, and reflects them as glTF 2.0 says.

    The diffuse part is Lambert's, the specular one that of microfacets (GGX). A light of colour 1
    is as bright as with the other shadings, where a white matt surface that faces it is 1: it has
    pi times glTF's unit. Light from all around (ambient, harmonics, environment maps) is
    reflected in the base colour, by metals too. roughness^2 counts as at least 0.001: a perfect mirror would show a point
    light nowhere. The eye is the camera's position, also of parallel projections.

    Attributes:
        two_sided: as of `Phong`.
    """

    two_sided: bool = True

    uniforms = {"eye_world": 3}
    channels = 3
    lights = True

    @property
    def varyings(self) -> dict:  # type: ignore[override]  # the value's, not the class's
        """See `Shading`."""
        names = {
            "color": 3,
            "normal_world": 3,
            "position_world": 3,
            "metallic": 1,
            "roughness": 1,
            "emissive": 3,
        }
        return names | ({"face_normal_world": 3} if self.two_sided else {})

    def bind(self, lights: LightStructure) -> tuple:
        """See `Shading`."""
        return _make_functions(lights, self.two_sided)


@functools.cache
def _make_functions(  # both functions, which know the same
    lights: LightStructure, two_sided: bool
) -> tuple:
    @ti.func
    def fragment(varyings, uniforms):
        at = view_fragment(14 if two_sided else -1, varyings, uniforms)
        base_color, metallic, roughness = varyings[0:3], varyings[9], varyings[10]
        color = varyings[11:14] + base_color * light_around(lights, uniforms, LIGHTS, at.normal)
        for place in ti.static(lights.places(INCIDENT)):
            light = light_from(place, uniforms, LIGHTS, at.point)
            color += light.color * metallic_roughness(
                at.normal, at.to_eye, light.direction, base_color, metallic, roughness
            )
        return color

    @ti.func
    def fragment_vjp(varyings, uniforms, grad_color):
        at = view_fragment(14 if two_sided else -1, varyings, uniforms)
        base_color, metallic, roughness = varyings[0:3], varyings[9], varyings[10]
        grad_uniforms, grad_around = uniforms * 0.0, grad_color * base_color
        grad_normal = light_around_vjp(
            lights, uniforms, LIGHTS, at.normal, grad_around, grad_uniforms
        )
        grad_base = grad_color * light_around(lights, uniforms, LIGHTS, at.normal)
        grad_eye, grad_point, grad_metallic, grad_roughness = vec3(0.0), vec3(0.0), 0.0, 0.0
        for place in ti.static(lights.places(INCIDENT)):
            light = light_from(place, uniforms, LIGHTS, at.point)
            grads = metallic_roughness_vjp(
                at.normal,
                at.to_eye,
                light.direction,
                base_color,
                metallic,
                roughness,
                grad_color * light.color,
            )
            grad_point += light_from_vjp(
                place,
                uniforms,
                LIGHTS,
                at.point,
                grads.to_light,
                grad_color * grads.color,
                grad_uniforms,
            )
            grad_normal += grads.normal
            grad_eye += grads.to_eye
            grad_base += grads.base_color
            grad_metallic += grads.metallic
            grad_roughness += grads.roughness
        grad_eye = unit_normal_vjp(at.eye_offset, grad_eye)
        grad_varyings = varyings * 0.0
        grad_varyings[0:3] = grad_base
        grad_varyings[3:6] = turn_to_eye_vjp(
            varyings[3:6], at.face_normal, at.eye_offset, grad_normal
        )
        grad_varyings[6:9] = grad_point - grad_eye
        grad_varyings[9], grad_varyings[10] = grad_metallic, grad_roughness
        grad_varyings[11:14] = grad_color
        grad_uniforms[0:3] = grad_eye
        return ti.Struct(varyings=grad_varyings, uniforms=grad_uniforms)

    return fragment, fragment_vjp
