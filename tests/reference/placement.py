"""The placement of a scene in NumPy, double precision: what `taichi_softras.placement` computes."""

import numpy as np

from taichi_softras.funcs.lights import KINDS, SIZES
from taichi_softras.funcs.lookups import TEXELS
from taichi_softras.geometry.scene_arrays import (
    CAMERA_SIZE,
    DISTORTION_START,
    INTRINSICS,
    LIT_FACES,
    LIT_VERTICES,
    LOOK_AT,
    NOTHING,
    NUM_LIGHTS,
    PARALLEL,
    PERSPECTIVE,
    POSE_MATRIX,
    PROJECTION_START,
    QUATERNION,
    TRANSLATION_START,
)
from taichi_softras.io.meshes import texel_barycentrics
from tests.reference.lights import matt


def unit(vectors):
    """Zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 1e-15, lengths, np.inf)


def look_at(eye, target, up, pole_right):
    """Rows right, above, forward."""
    forward = unit(target - eye)
    side = np.cross(forward, unit(up))
    if side @ side < 1e-10:
        side = pole_right - forward * (forward @ pole_right)
    right = unit(side)
    return np.stack([right, np.cross(right, forward), forward])


def rodrigues(rotation):
    """Of a rotation vector, which is not 0."""
    angle = np.linalg.norm(rotation)
    across = cross_matrix(rotation / angle)
    return np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across


def turn_of_quaternion(quaternion):
    """v -> q v q* / |q|^2, by twice the cross product."""
    w, axis = quaternion[0], cross_matrix(quaternion[1:])
    return np.eye(3) + 2 * (w * axis + axis @ axis) / (quaternion @ quaternion)


def cross_matrix(axis):
    return np.cross(np.eye(3), axis)


def view_from_world(numbers, pose):
    if pose == POSE_MATRIX:
        return np.concatenate([numbers[:12].reshape(3, 4), [[0, 0, 0, 1]]])
    matrix = np.eye(4)
    if pose != LOOK_AT:
        turn = turn_of_quaternion(numbers[:4]) if pose == QUATERNION else rodrigues(numbers[:3])
        matrix[:3] = np.c_[turn, numbers[TRANSLATION_START : TRANSLATION_START + 3]]
        return matrix
    eye, target, up, pole_right = numbers[:12].reshape(4, 3)
    matrix[:3, :3] = look_at(eye, target, up, pole_right) * [[1], [1], [-1]]
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def clip_from_view(numbers, projection, aspect):
    number = numbers[PROJECTION_START]
    if projection == PERSPECTIVE:
        scale = 1 / np.tan(np.radians(number) / 2)
        return np.array([[scale / aspect, 0, 0, 0], [0, scale, 0, 0], [0] * 4, [0, 0, -1, 0]])
    if projection == PARALLEL:
        scale = 2 / number
        return np.array([[scale / aspect, 0, 0, 0], [0, scale, 0, 0], [0] * 4, [0, 0, 0, 1]])
    if projection == INTRINSICS:
        fx, fy, cx, cy, width, height = numbers[PROJECTION_START : PROJECTION_START + 6]
        x_row = [2 * fx / width, 0, 1 - 2 * cx / width, 0]
        return np.array(
            [x_row, [0, 2 * fy / height, 2 * cy / height - 1, 0], [0] * 4, [0, 0, -1, 0]]
        )
    return numbers[PROJECTION_START:].reshape(4, 4)


def matrix_of(numbers, layout, views):
    """Rows x_clip, y_clip, depth, w_clip of one camera."""
    to_view = view_from_world(numbers, layout.pose)
    to_clip = clip_from_view(numbers, layout.projection, views.aspect) @ to_view
    scaled = np.maximum([views.aspect, 1 / views.aspect], 1) * to_clip[:2].T
    return np.stack([*scaled.T, -to_view[2], to_clip[3]])


def opencv_shift(points, distortion):
    """By how much OpenCV's `projectPoints` moves x' and y' (.., 2), as its manual writes it."""
    k1, k2, p1, p2, k3 = distortion
    x, y = points[..., 0], points[..., 1]
    r = np.hypot(x, y)
    growth = k1 * r**2 + k2 * r**4 + k3 * r**6
    return np.stack(
        [
            x * growth + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
            y * growth + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y,
        ],
        axis=-1,
    )


def largest_radius(distortion):
    """Up to which a point further out is drawn further out; never above 5."""
    k1, k2, _, _, k3 = distortion
    roots = np.roots([7 * k3, 0, 5 * k2, 0, 3 * k1, 0, 1])
    return roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].min(initial=5.0)


def project_by_lens(positions, numbers, layout, views):
    """(V, 4) x_clip, y_clip, depth, w_clip; beyond the largest radius points are moved as there."""
    to_view = view_from_world(numbers, layout.pose)
    in_view = positions @ to_view[:3, :3].T + to_view[:3, 3]
    x_y, w = in_view[:, :2] * [1, -1], -in_view[:, 2]
    distortion = numbers[DISTORTION_START:][:5]
    edge = np.linalg.norm(x_y, axis=1) / largest_radius(distortion)
    height = np.maximum(w, edge)[:, None]
    moved = x_y + height * opencv_shift(x_y / height, distortion)
    fx, fy, cx, cy, width, height = numbers[PROJECTION_START:][:6]
    pixels = moved * [fx, fy] + w[:, None] * [cx, cy]
    ndc = (2 * pixels / [width, height] - w[:, None]) * [1, -1]
    return np.c_[ndc * np.maximum([views.aspect, 1 / views.aspect], 1), w, w]


def reflect(normals, points, numbers, layout, stages):
    """The light of unit normals (F, 3, 3) at points (F, 3, 3)."""
    light, start = np.zeros_like(normals), 0
    for kind in KINDS:
        for _ in range(stages.lights.counts[kind] and layout[NUM_LIGHTS + kind]):
            one = numbers[None, start : start + SIZES[kind]]
            rows = np.broadcast_to(one, (light.size // 3, SIZES[kind]))
            light += matt(kind, rows, normals.reshape(-1, 3), points.reshape(-1, 3)).reshape(
                light.shape
            )
            start += SIZES[kind]
    return light


def shares_of_corners(lit, lookup, resolution):
    """(N, 3): how the lights of corners mix at the entries of a texture."""
    if lit == LIT_FACES:
        return np.tile([1.0, 0, 0], (resolution**lookup.num_axes, 1))
    if lookup == TEXELS:
        return texel_barycentrics(resolution).reshape(-1, 3)
    return np.indices([resolution] * 3).reshape(3, -1).T / (resolution - 1)


def place(scene, faces, case, views, num_views):
    """(corners, varyings, textures) of every view of a pass, also where views are alike.

    Args:
        scene: `vertices`, `albedo` and `uniforms` as arrays of double precision.
        faces: (F, 3).
        case: has `layout`, `stages` and `num_cameras`.
        views: Views.
        num_views: of the pass.
    """
    layout, stages, num_cameras = case.layout, case.stages, case.num_cameras
    vertices, albedo, uniforms = scene["vertices"], scene["albedo"], scene["uniforms"]
    placed = [], [], []
    for view in range(views.first, views.first + num_views):
        at = CAMERA_SIZE * (view % num_cameras)
        matrix = matrix_of(uniforms[at : at + CAMERA_SIZE], layout, views)
        positions = vertices[view % len(vertices)]
        corners = (positions @ matrix[:, :3].T + matrix[:, 3])[faces]
        if stages.is_distorted:
            numbers = uniforms[at : at + CAMERA_SIZE]
            corners = project_by_lens(positions, numbers, layout, views)[faces]
        a, b, c = np.moveaxis(positions[faces], 1, 0)
        face_normals = np.cross(b - a, c - a)
        vertex_normals = np.zeros_like(positions)
        np.add.at(vertex_normals, faces, face_normals[:, None])
        normals = unit(vertex_normals)[faces]
        light = 1.0
        if stages.lit != NOTHING:
            of_faces = np.repeat(unit(face_normals)[:, None], 3, axis=1)
            centres = np.repeat(positions[faces].mean(axis=1, keepdims=True), 3, axis=1)
            lit, points = of_faces, centres
            if stages.lit == LIT_VERTICES:
                lit, points = normals, positions[faces]
            light = reflect(lit, points, uniforms[CAMERA_SIZE * num_cameras :], layout, stages)
        varyings = np.zeros((len(faces), 3, stages.num_varyings))
        columns = {
            stages.normal_column: normals,
            stages.position_column: positions[faces],
            stages.depth_column: corners[..., 2:3],
        }
        if stages.has_vertex_colors:
            columns[0] = albedo[faces, 0] * light
        for column, values in columns.items():
            if column >= 0:
                varyings[..., column : column + values.shape[-1]] = values
        textures = np.zeros((1, 1, 1))
        if stages.has_textures:
            textures = albedo
            if stages.lit != NOTHING:
                shares = shares_of_corners(stages.lit, stages.lookup, layout.resolution)
                textures = albedo * np.einsum("nk,fkc->fnc", shares, light)
        for values, of_views in zip((corners, varyings, textures), placed):
            of_views.append(values)
    return [np.stack(of_views) for of_views in placed]
