"""Normals and lights in, the light that faces or vertices send back out; adjoint and tangent."""

import taichi as ti
from taichi.math import vec3

from taichi_softras.funcs.lighting import harmonics, lambert
from taichi_softras.funcs.vectors import load_vec3, unit_normal
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    HARMONICS,
    LIGHT,
    LIT,
    LIT_FACES,
    LIT_VERTICES,
    NUM_LIGHTS,
    load_vector,
    store_vector,
)


@ti.func
def compute_lights(scene: ti.template(), tables: ti.template()):
    """Fills `tables.lights` of the rows that are lit."""
    for i in range(tables.lights.shape[0] * num_lit_rows(scene)):
        coloring = i // num_lit_rows(scene)
        row = first_lit_row(scene) + i - coloring * num_lit_rows(scene)
        normal = unit_normal(load_vector(tables.normals, coloring, row))
        light = reflect(scene, CAMERA_SIZE * tables.matrices.shape[0], normal)
        store_vector(tables.lights, coloring, row, light)


@ti.func
def reflect(scene: ti.template(), start: int, normal: vec3) -> vec3:
    """The light that a matt white surface sends back; the lights' numbers begin at `start`."""
    light = load_vec3(scene.uniforms, start)
    if scene.layout[LIGHT] == HARMONICS:
        basis = harmonics(normal)
        light *= basis[0]
        for k in ti.static(range(1, 9)):
            light += basis[k] * load_vec3(scene.uniforms, start + 3 * k)
    else:
        for index in range(scene.layout[NUM_LIGHTS]):
            direction = load_vec3(scene.uniforms, start + 3 + 6 * index)
            color = load_vec3(scene.uniforms, start + 6 + 6 * index)
            light += lambert(normal, direction, color)
    return light


@ti.func
def num_lit_rows(scene: ti.template()) -> int:
    """Faces or vertices that are lit."""
    of_faces = ti.select(scene.layout[LIT] == LIT_FACES, scene.faces.shape[0], 0)
    return ti.select(scene.layout[LIT] == LIT_VERTICES, scene.vertices.shape[1], of_faces)


@ti.func
def first_lit_row(scene: ti.template()) -> int:
    """Of `Tables`: vertices come first."""
    return ti.select(scene.layout[LIT] == LIT_FACES, scene.vertices.shape[1], 0)
