"""Phong's, Blinn's and glTF's reflection: against NumPy, differences, and the worst of inputs."""

import numpy as np
import pytest

from taichi_softras.funcs.reflection import (
    metallic_roughness,
    metallic_roughness_vjp,
    phong,
    phong_vjp,
    turn_to_eye,
    turn_to_eye_vjp,
)
from taichi_softras.funcs.vectors import unit_normal, unit_normal_vjp
from taichi_softras.runtime import ti, vec3
from tests import tolerances
from tests.funcs.derivatives import check_derivatives, vector_field, vector_fields
from tests.reference import lights as twin

POINTS = 60


@ti.func
def unit_of(vectors: ti.template(), i: int):
    return unit_normal(vectors[i])


@ti.func
def reflect_phong(is_blinn: ti.template(), inputs: ti.template(), values: ti.template()):
    for i in values:
        n, e, light = unit_of(inputs[0], i), unit_of(inputs[1], i), unit_of(inputs[2], i)
        values[i] = phong(is_blinn, n, e, light, inputs[3][i], inputs[4][i], inputs[5][i][0])


@ti.func
def reflect_phong_vjp(
    is_blinn: ti.template(), inputs: ti.template(), grad: ti.template(), gradients: ti.template()
):
    for i in grad:
        n, e, light = unit_of(inputs[0], i), unit_of(inputs[1], i), unit_of(inputs[2], i)
        grads = phong_vjp(
            is_blinn, n, e, light, inputs[3][i], inputs[4][i], inputs[5][i][0], grad[i]
        )
        gradients[0][i] = unit_normal_vjp(inputs[0][i], grads.normal)
        gradients[1][i] = unit_normal_vjp(inputs[1][i], grads.to_eye)
        gradients[2][i] = unit_normal_vjp(inputs[2][i], grads.to_light)
        gradients[3][i], gradients[4][i] = grads.albedo, grads.specular
        gradients[5][i][0] = grads.shininess


@ti.kernel
def reflect_gltf(inputs: ti.template(), values: ti.template()):
    for i in values:
        n, e, light = unit_of(inputs[0], i), unit_of(inputs[1], i), unit_of(inputs[2], i)
        values[i] = metallic_roughness(n, e, light, inputs[3][i], inputs[4][i][0], inputs[5][i][0])


@ti.kernel
def reflect_gltf_vjp(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    for i in grad:
        n, e, light = unit_of(inputs[0], i), unit_of(inputs[1], i), unit_of(inputs[2], i)
        grads = metallic_roughness_vjp(
            n, e, light, inputs[3][i], inputs[4][i][0], inputs[5][i][0], grad[i]
        )
        gradients[0][i] = unit_normal_vjp(inputs[0][i], grads.normal)
        gradients[1][i] = unit_normal_vjp(inputs[1][i], grads.to_eye)
        gradients[2][i] = unit_normal_vjp(inputs[2][i], grads.to_light)
        gradients[3][i] = grads.base_color
        gradients[4][i][0], gradients[5][i][0] = grads.metallic, grads.roughness


@ti.kernel
def reflect_by_phong(inputs: ti.template(), values: ti.template()):
    reflect_phong(False, inputs, values)


@ti.kernel
def reflect_by_phong_vjp(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    reflect_phong_vjp(False, inputs, grad, gradients)


@ti.kernel
def reflect_by_blinn(inputs: ti.template(), values: ti.template()):
    reflect_phong(True, inputs, values)


@ti.kernel
def reflect_by_blinn_vjp(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    reflect_phong_vjp(True, inputs, grad, gradients)


def directions(generator):
    """Normals, and eyes and lights of which most are on their side."""
    normal, eye, light = generator.normal(size=(3, POINTS, 3))
    eye += 0.8 * normal
    light += 0.8 * normal
    return normal, eye, light


def unit_rows(vectors):
    return [twin.normalized(one) for one in vectors]


@pytest.mark.f64
@pytest.mark.parametrize("is_blinn", [False, True])
def test_phong(backend, is_blinn):
    generator = np.random.default_rng(0)
    vectors = directions(generator)
    albedo, specular = generator.uniform(size=(2, POINTS, 3))
    shininess = generator.uniform(0.5, 40, (POINTS, 1))
    names = ("normal", "to_eye", "to_light", "albedo", "specular", "shininess", "none")
    inputs = dict(zip(names, (*vectors, albedo, specular, shininess, albedo)))
    forward = reflect_by_blinn if is_blinn else reflect_by_phong
    values = vector_field(np.zeros((POINTS, 3)))
    forward(vector_fields(inputs.values()), values)
    expected = twin.phong(is_blinn, *unit_rows(vectors), albedo, specular, shininess)
    np.testing.assert_allclose(values.to_numpy(), expected, rtol=0, atol=tolerances.TWIN_DOUBLE)
    backward = reflect_by_blinn_vjp if is_blinn else reflect_by_phong_vjp
    check_derivatives(forward, backward, None, inputs, 3)


@pytest.mark.f64
def test_metallic_roughness(backend):
    generator = np.random.default_rng(1)
    vectors = directions(generator)
    base_color = generator.uniform(size=(POINTS, 3))
    metallic = generator.uniform(size=(POINTS, 1))
    roughness = generator.uniform(0.1, 1, (POINTS, 1))
    names = ("normal", "to_eye", "to_light", "base_color", "metallic", "roughness", "none")
    inputs = dict(zip(names, (*vectors, base_color, metallic, roughness, base_color)))
    values = vector_field(np.zeros((POINTS, 3)))
    reflect_gltf(vector_fields(inputs.values()), values)
    expected = twin.metallic_roughness(*unit_rows(vectors), base_color, metallic, roughness)
    np.testing.assert_allclose(values.to_numpy(), expected, rtol=0, atol=1e-10)
    check_derivatives(reflect_gltf, reflect_gltf_vjp, None, inputs, 3)


def worst_directions():
    """Zero, equal, opposite, perpendicular, almost grazing: every triple of them."""
    axis, tiny = np.eye(3), 1e-7
    some = [0 * axis[0], axis[2], -axis[2], axis[0], [1, 0, tiny], [1, 0, -tiny], [tiny, 0, 1]]
    return [np.float64([some[k] for k in ks]) for ks in np.indices((7, 7, 7)).reshape(3, -1)]


def test_of_the_worst_directions_all_is_finite(backend):
    """Of the least roughness and exponent, and of large ones."""
    vectors = [np.tile(directions, (2, 1)) for directions in worst_directions()]
    count = len(vectors[0])
    ones, numbers = np.ones((count, 3)), np.repeat([0.0, 1.0], count // 2)[:, None]
    kernels = (
        (reflect_gltf, reflect_gltf_vjp, (ones, numbers, numbers)),
        (reflect_by_phong, reflect_by_phong_vjp, (ones, ones, 100 * numbers)),
        (reflect_by_blinn, reflect_by_blinn_vjp, (ones, ones, 100 * numbers)),
    )
    for forward, backward, material in kernels:
        inputs = vector_fields((*vectors, *material))
        values = vector_field(np.zeros((count, 3)))
        gradients = vector_fields(np.zeros(f.to_numpy().shape) for f in inputs)
        forward(inputs, values)
        backward(inputs, vector_field(ones), gradients)
        for field in (values, *gradients):
            assert np.isfinite(field.to_numpy()).all()


def test_a_mirror_is_brightest_halfway(backend):
    """Of roughness 0 nothing is divided by 0, and the peak is the clamped one."""
    axis = np.float64([[0, 0, 1]])
    values = vector_field(np.zeros((1, 3)))
    material = np.ones((1, 3)), np.ones((1, 1)), np.zeros((1, 1))
    reflect_gltf(vector_fields((axis, axis, axis, *material)), values)
    np.testing.assert_allclose(values.to_numpy(), 1e6 / 4, rtol=1e-3)


@ti.kernel
def turn(inputs: ti.template(), values: ti.template()):
    for i in values:
        values[i] = turn_to_eye(inputs[0][i], inputs[1][i], inputs[2][i])


@ti.kernel
def turn_vjp(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    for i in grad:
        gradients[0][i] = turn_to_eye_vjp(inputs[0][i], inputs[1][i], inputs[2][i], grad[i])
        gradients[1][i] = vec3(0.0)


@pytest.mark.f64
def test_normals_are_turned_with_their_face(backend):
    """Not by the eye's side of the normal: at an outline smooth normals look away a little."""
    normal, face_normal, eye = np.random.default_rng(2).normal(size=(3, POINTS, 3))
    face_normal[0] = 0
    values = vector_field(np.zeros((POINTS, 3)))
    turn(vector_fields((normal, face_normal, eye)), values)
    side = np.where((face_normal * eye).sum(axis=1) < 0, -1, 1)[:, None]
    np.testing.assert_allclose(values.to_numpy(), side * twin.normalized(normal), atol=1e-12)
    face_normal[0] = 1  # where the side does not change
    inputs = {"normal": normal, "face_normal": face_normal, "to_eye": eye}
    check_derivatives(turn, turn_vjp, None, inputs, 3)
