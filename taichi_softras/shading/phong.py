"""Light at every fragment, with smooth normals and highlights (Phong 1975, Blinn 1977)."""

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
from taichi_softras.funcs.reflection import phong, phong_vjp, turn_to_eye, turn_to_eye_vjp
from taichi_softras.funcs.vectors import unit_normal, unit_normal_vjp
from taichi_softras.runtime import ti, vec3
from taichi_softras.shading.base import Shading

LIGHTS = 3  # the first uniform of the lights, behind the eye


@dataclasses.dataclass(frozen=True)
class Phong(Shading):
    """Every fragment is lit by all lights: emissive + colour x matt light + specular x highlights.

    Normals are those of vertices, interpolated and made unit vectors. Light from all around
    (ambient, harmonics) is reflected as by a matt surface. The eye is the camera's position, also
    of parallel projections.

    Attributes:
        blinn: whether the highlight is around the vector halfway between light and eye.
        two_sided: whether the back of a face is lit as its front, by the normal turned round;
            otherwise it is as bright as the front would be without a body in between.
    """

    blinn: bool = False
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
            "specular": 3,
            "shininess": 1,
            "emissive": 3,
        }
        return {**names, "face_normal_world": 3} if self.two_sided else names

    def bind(self, lights: LightStructure) -> tuple:
        """See `Shading`."""
        return _make_functions(lights, self.blinn, self.two_sided)


@functools.cache
def _make_functions(  # both functions, which know the same
    lights: LightStructure, blinn: bool, two_sided: bool
) -> tuple:
    @ti.func
    def fragment(varyings, uniforms):
        at = view_fragment(16 if two_sided else -1, varyings, uniforms)
        albedo = varyings[0:3]
        color = varyings[13:16] + albedo * light_around(lights, uniforms, LIGHTS, at.normal)
        for place in ti.static(lights.places(INCIDENT)):
            light = light_from(place, uniforms, LIGHTS, at.point)
            color += light.color * phong(
                blinn,
                at.normal,
                at.to_eye,
                light.direction,
                albedo,
                varyings[9:12],
                varyings[12],
            )
        return color

    @ti.func
    def fragment_vjp(varyings, uniforms, grad_color):
        at = view_fragment(16 if two_sided else -1, varyings, uniforms)
        albedo, specular, shininess = varyings[0:3], varyings[9:12], varyings[12]
        grad_uniforms, grad_around = uniforms * 0.0, grad_color * albedo
        grad_normal = light_around_vjp(
            lights, uniforms, LIGHTS, at.normal, grad_around, grad_uniforms
        )
        grad_albedo = grad_color * light_around(lights, uniforms, LIGHTS, at.normal)
        grad_eye, grad_point, grad_specular, grad_shininess = vec3(0.0), vec3(0.0), vec3(0.0), 0.0
        for place in ti.static(lights.places(INCIDENT)):
            light = light_from(place, uniforms, LIGHTS, at.point)
            grads = phong_vjp(
                blinn,
                at.normal,
                at.to_eye,
                light.direction,
                albedo,
                specular,
                shininess,
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
            grad_albedo += grads.albedo
            grad_specular += grads.specular
            grad_shininess += grads.shininess
        grad_varyings = varyings * 0.0
        view_fragment_vjp(
            varyings, at, grad_normal, grad_point, grad_eye, grad_varyings, grad_uniforms
        )
        grad_varyings[0:3] = grad_albedo
        grad_varyings[9:12] = grad_specular
        grad_varyings[12] = grad_shininess
        grad_varyings[13:16] = grad_color
        return ti.Struct(varyings=grad_varyings, uniforms=grad_uniforms)

    return fragment, fragment_vjp


@ti.func
def view_fragment(face_normal_at: ti.template(), varyings, uniforms):
    """Unit vectors and places that the eye, the point and its normal make; a struct.

    Args:
        face_normal_at: where it stands in the varyings; -1 where backs are not lit as fronts.
        varyings: the normal from 3 on, the point from 6 on.
        uniforms: the eye first.
    """
    point, face_normal = varyings[6:9], vec3(0.0)
    if ti.static(face_normal_at >= 0):
        face_normal = varyings[face_normal_at : face_normal_at + 3]
    eye_offset = uniforms[0:3] - point
    return ti.Struct(
        point=point,
        face_normal=face_normal,
        eye_offset=eye_offset,
        to_eye=unit_normal(eye_offset),
        normal=turn_to_eye(varyings[3:6], face_normal, eye_offset),
    )


@ti.func
def view_fragment_vjp(
    varyings,
    at: ti.template(),  # of `view_fragment`
    grad_normal: vec3,
    grad_point: vec3,  # but for what the eye is seen from
    grad_to_eye: vec3,
    grad_varyings: ti.template(),  # normal and point are written
    grad_uniforms: ti.template(),  # the eye is written
):
    """The adjoint of `view_fragment`."""
    grad_eye = unit_normal_vjp(at.eye_offset, grad_to_eye)
    grad_varyings[3:6] = turn_to_eye_vjp(varyings[3:6], at.face_normal, at.eye_offset, grad_normal)
    grad_varyings[6:9] = grad_point - grad_eye
    grad_uniforms[0:3] = grad_eye
