"""The metallic-roughness material of glTF 2.0 (appendix B), lit at every fragment."""

import dataclasses
import functools

from taichi_softras.funcs.lights import (
    AMBIENT,
    ENVIRONMENT,
    HARMONICS,
    INCIDENT,
    LightStructure,
    light_from,
    light_from_vjp,
    light_of,
    light_of_vjp,
)
from taichi_softras.funcs.reflection import (
    metallic_roughness,
    metallic_roughness_vjp,
    reflect_environment,
    reflect_environment_vjp,
)
from taichi_softras.runtime import ti, vec3
from taichi_softras.shading.base import MIRRORED, Shading
from taichi_softras.shading.phong import view_fragment, view_fragment_vjp

PLAIN, MIRRORS = (AMBIENT, HARMONICS), (ENVIRONMENT,)  # light from all around
LIGHTS = 3  # the first uniform of the lights, behind the eye


@dataclasses.dataclass(frozen=True)
class PhysicallyBased(Shading):
    """Every fragment is lit by all lights, and reflects them as glTF 2.0 says.

    The diffuse part is Lambert's, the specular one that of microfacets (GGX). A light of colour 1
    is as bright as with the other shadings, where a white matt surface that faces it is 1: it has
    pi times glTF's unit. Ambient light and harmonics are reflected in the base colour, by metals
    too; environment maps are mirrored. roughness^2 counts as at least 0.001: a perfect mirror would
    show a point light nowhere. The eye is the camera's position, also of parallel projections.

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

    def under(self, lights: LightStructure) -> Shading:
        """See `Shading`."""
        return Mirroring(self.two_sided) if lights.environment else self

    def bind(self, lights: LightStructure) -> tuple:
        """See `Shading`."""
        return _make_functions(lights, self.two_sided)


class Mirroring(PhysicallyBased):
    """The same where there are environments to be mirrored."""

    @property
    def varyings(self) -> dict:  # type: ignore[override]  # the value's, not the class's
        """See `Shading`."""
        return {**super().varyings, MIRRORED: 3}


@functools.cache
def _make_functions(  # both functions, which know the same
    lights: LightStructure, two_sided: bool
) -> tuple:
    mirrored_at = 17 if two_sided else 14  # in the varyings, of `Mirroring`

    @ti.func
    def fragment(varyings, uniforms):
        at = view_fragment(14 if two_sided else -1, varyings, uniforms)
        base_color, metallic, roughness = varyings[0:3], varyings[9], varyings[10]
        around = light_of(lights, PLAIN, uniforms, LIGHTS, at.normal)
        color = varyings[11:14] + base_color * around
        if ti.static(lights.environment > 0):
            color += reflect_environment(
                at.normal,
                at.to_eye,
                base_color,
                metallic,
                roughness,
                light_of(lights, MIRRORS, uniforms, LIGHTS, at.normal),
                varyings[mirrored_at : mirrored_at + 3],
            )
        for place in ti.static(lights.places(INCIDENT)):
            light = light_from(place, uniforms, LIGHTS, at.point)
            color += light.color * metallic_roughness(
                at.normal, at.to_eye, light.direction, base_color, metallic, roughness
            )
        return color

    @ti.func
    def fragment_vjp(varyings, uniforms, grad_color):  # long: the adjoint of every light and term
        at = view_fragment(14 if two_sided else -1, varyings, uniforms)
        base_color, metallic, roughness = varyings[0:3], varyings[9], varyings[10]
        grad_uniforms, grad_around = uniforms * 0.0, grad_color * base_color
        grad_normal = light_of_vjp(
            lights, PLAIN, uniforms, LIGHTS, at.normal, grad_around, grad_uniforms
        )
        grad_base = grad_color * light_of(lights, PLAIN, uniforms, LIGHTS, at.normal)
        grad_eye, grad_point, grad_metallic, grad_roughness = vec3(0.0), vec3(0.0), 0.0, 0.0
        grad_varyings = varyings * 0.0
        if ti.static(lights.environment > 0):
            of_mirror = reflect_environment_vjp(
                at.normal,
                at.to_eye,
                base_color,
                metallic,
                roughness,
                light_of(lights, MIRRORS, uniforms, LIGHTS, at.normal),
                varyings[mirrored_at : mirrored_at + 3],
                grad_color,
            )
            grad_normal += of_mirror.normal + light_of_vjp(
                lights, MIRRORS, uniforms, LIGHTS, at.normal, of_mirror.around, grad_uniforms
            )
            grad_eye += of_mirror.to_eye
            grad_base += of_mirror.base_color
            grad_metallic += of_mirror.metallic
            grad_roughness += of_mirror.roughness
            grad_varyings[mirrored_at : mirrored_at + 3] = of_mirror.mirrored
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
        view_fragment_vjp(
            varyings, at, grad_normal, grad_point, grad_eye, grad_varyings, grad_uniforms
        )
        grad_varyings[0:3] = grad_base
        grad_varyings[9], grad_varyings[10] = grad_metallic, grad_roughness
        grad_varyings[11:14] = grad_color
        return ti.Struct(varyings=grad_varyings, uniforms=grad_uniforms)

    return fragment, fragment_vjp
