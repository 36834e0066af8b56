"""K nearest faces in NumPy float64, all faces at all pixels: slow, obvious, from the definitions.

Projected corners come in; fragments, and images with alpha last, go out. It is the twin against
which the package is held; it shares no line with it.
"""

from typing import NamedTuple

import numpy as np

from tests.reference.soft_aggregation import (
    barycentric_weights,
    interpolate,
    pixel_centers,
    squared_distance_to_outline,
)

SAME_DEPTH = 2e-5  # relative: such depths are in the order of the faces' indices at the limit


class Fragments(NamedTuple):
    """The K nearest faces of each pixel, by depth; -1 where there is none."""

    faces: np.ndarray  # (H, W, K)
    depths: np.ndarray  # (H, W, K)
    weights: np.ndarray  # (H, W, K, 3) barycentric
    distances: np.ndarray  # (H, W, K) NDC squared, negative inside


def find_fragments(
    corners,
    image_size,
    *,
    faces_per_pixel,
    blur_radius,
    perspective_correct,
    clip_barycentric_coords,
    cull_backfaces,
):
    """`Fragments` of one view; corners are (F, 3, 3)."""
    height, width = image_size
    x, y = pixel_centers(image_size)
    points = np.stack([np.tile(x, height), np.repeat(y, width)], axis=1)  # (P, 2)
    num_faces = max(len(corners), 1)
    depths = np.full((len(points), num_faces), np.inf)
    distances = np.full(depths.shape, -1.0)
    weights = np.full((*depths.shape, 3), -1.0)
    for face, (triangle, z) in enumerate(zip(corners[:, :, :2], corners[:, :, 2])):
        edges = triangle[1:] - triangle[0]
        area = edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]
        if (z <= 0).any() or area == 0 or (cull_backfaces and area < 0):
            continue
        on_screen = barycentric_weights(triangle, points)
        inside = (on_screen > 0).all(axis=1)
        distance = squared_distance_to_outline(triangle, points)
        used = on_screen
        if clip_barycentric_coords:
            used = np.maximum(used, 0)
            used = used / used.sum(axis=1, keepdims=True)
        if perspective_correct:
            used = used / z
            used = used / used.sum(axis=1, keepdims=True)
        depth = used @ z
        found = (inside | (distance < blur_radius)) & (depth >= 0)
        depths[found, face] = depth[found]
        distances[found, face] = np.where(inside, -distance, distance)[found]
        weights[found, face] = used[found]

    keys = depths.copy()
    if faces_per_pixel < num_faces:  # equal but for rounding at the limit: by index
        limit = np.sort(depths, axis=1)[:, faces_per_pixel - 1, None]
        low, high = limit * (1 - SAME_DEPTH), limit * (1 + SAME_DEPTH)
        is_tie = (low <= depths) & (depths <= high) & np.isfinite(limit)
        keys = np.where(is_tie, limit, depths)
    kept = np.argsort(keys, axis=1, kind="stable")[:, :faces_per_pixel]
    order = np.argsort(np.take_along_axis(depths, kept, 1), axis=1, kind="stable")
    kept = np.take_along_axis(kept, order, 1)
    depths, distances = (np.take_along_axis(values, kept, 1) for values in (depths, distances))
    weights = np.take_along_axis(weights, kept[:, :, None], 1)
    faces = np.where(np.isfinite(depths), kept, -1)
    depths = np.where(faces >= 0, depths, -1.0)
    missing = max(faces_per_pixel - num_faces, 0)
    return Fragments(
        *(
            np.pad(
                values, [(0, 0), (0, missing)] + [(0, 0)] * (values.ndim - 2), constant_values=-1
            ).reshape(height, width, faces_per_pixel, *values.shape[2:])
            for values in (faces, depths, weights, distances)
        )
    )


def blend_fragments(fragments, fragment_colors, *, blend, sigma, gamma, near, far, background):
    """(H, W, C + 1) of the colours (H, W, K, C) of fragments; PyTorch3D's three ways."""
    is_face = fragments.faces >= 0
    coverage = np.exp(-np.logaddexp(0, fragments.distances / sigma)) * is_face
    background = np.asarray(background, np.float64)
    if blend == "softmax":
        z = (far - fragments.depths) / (far - near) * is_face
        z_max = np.maximum(z.max(axis=2, keepdims=True), 1e-10)
        weights = coverage * np.exp((z - z_max) / gamma)
        background_weight = np.maximum(np.exp((1e-10 - z_max) / gamma), 1e-10)
        total = weights.sum(axis=2, keepdims=True) + background_weight
        color = (weights[..., None] * fragment_colors).sum(axis=2) + background_weight * background
        color = color / total
    else:
        nearest = np.where(is_face, fragments.depths, np.inf).argmin(axis=2)[..., None, None]
        color = np.take_along_axis(fragment_colors, nearest, axis=2)[:, :, 0]
        color = np.where(is_face.any(axis=2)[..., None], color, background)
    alpha = 1 - np.prod(1 - coverage, axis=2)
    if blend == "hard":
        alpha = is_face.any(axis=2).astype(float)
    return np.concatenate([color, alpha[..., None]], axis=2)


def k_nearest(
    corners, colors, image_size, *, blend, sigma, gamma, near, far, background, **settings
):
    """(B, H, W, C + 1) by `KNearest`'s arguments; colours None for a silhouette."""
    settings.pop("color", None)
    if settings["blur_radius"] is None:
        settings["blur_radius"] = np.log(1 / 1e-4 - 1) * sigma
    corners = np.asarray(corners, np.float64)
    if colors is None:
        colors, background = np.zeros((1, corners.shape[1], 3, 0)), ()
    images = []
    for view, view_corners in enumerate(corners):
        fragments = find_fragments(view_corners, image_size, **settings)
        face_colors = np.asarray(colors, np.float64)[view % len(colors)]
        fragment_colors = np.zeros((*fragments.faces.shape, face_colors.shape[-1]))
        for face in range(len(face_colors)):
            pixels = fragments.faces == face
            fragment_colors[pixels] = interpolate(face_colors[face], fragments.weights[pixels])
        images.append(
            blend_fragments(
                fragments,
                fragment_colors,
                blend=blend,
                sigma=sigma,
                gamma=gamma,
                near=near,
                far=far,
                background=background,
            )
        )
    return np.stack(images)
