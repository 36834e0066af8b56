"""Faces that reach behind the camera, without clipping: what a pixel sees along its ray.

M. Olano, T. Greer, "Triangle Scan Conversion using 2D Homogeneous Coordinates", 1997: the weights
of a face's corners are linear in the pixel, wherever the corners are.
"""

import numpy as np


def pixel_centres(image_size):
    """(H W, 2) in NDC."""
    height, width = image_size
    row, column = np.mgrid[:height, :width].reshape(2, -1)
    return np.stack([2 * column + 1 - width, height - 1 - 2 * row], -1) / min(image_size)


def rays(face, centres):
    """Weights (N, 3) of a face's corners (3, 4) at pixels, their sum 1; and 1 / w there (N,)."""
    ones = np.ones((len(centres), 1))
    weights = np.linalg.solve(face[:, [0, 1, 3]].T, np.concatenate([centres, ones], 1).T).T
    inverse_w = weights.sum(axis=1)
    return weights / inverse_w[:, None], inverse_w


def nearest_faces(corners, image_size, near):
    """(H, W) the face that is seen, -1 for none, and (H, W, 3) the weights of its corners."""
    centres = pixel_centres(image_size)
    seen, at = np.full(len(centres), -1), np.zeros((len(centres), 3))
    nearest = np.full(len(centres), np.inf)
    for index, face in enumerate(corners):
        weights, inverse_w = rays(face, centres)
        depth = weights @ face[:, 2]
        is_met = (weights.min(axis=1) >= 0) & (inverse_w > 0) & (depth >= near) & (depth < nearest)
        seen[is_met], at[is_met], nearest[is_met] = index, weights[is_met], depth[is_met]
    return seen.reshape(image_size), at.reshape(*image_size, 3)


def edge_in_front(start, end, near):
    """Both ends (2, 2) in NDC of what an edge has beyond the depth `near`; None for nothing."""
    if max(start[2], end[2]) < near:
        return None
    ends = []
    for one, other in ((start, end), (end, start)):
        t = max((near - one[2]) / (other[2] - one[2]), 0.0) if one[2] < near else 0.0
        point = one + t * (other - one)
        ends.append(point[:2] / point[3])
    return np.array(ends)


def squared_distance(centres, ends):
    """(N,) of pixels to a segment."""
    along = ends[1] - ends[0]
    t = np.clip((centres - ends[0]) @ along / (along @ along), 0, 1)
    return ((centres - ends[0] - t[:, None] * along) ** 2).sum(axis=1)


def soft_alpha(corners, image_size, near, sigma, cutoff=1e-4):
    """(H, W) 1 - prod_j (1 - D_j), where the edges of the mesh alone have a border."""
    centres = pixel_centres(image_size)
    rest = np.ones(len(centres))
    for face in corners:
        if face[:, 2].max() < near:
            continue
        weights, inverse_w = rays(face, centres)
        depth = weights @ face[:, 2]
        is_in = (weights.min(axis=1) >= 0) & (inverse_w > 0) & (depth >= near)
        edges = (edge_in_front(face[k], face[(k + 1) % 3], near) for k in range(3))
        distance = np.min([squared_distance(centres, e) for e in edges if e is not None], axis=0)
        signed = np.where(is_in, distance, -distance)
        coverage = 1 / (1 + np.exp(np.clip(-signed / sigma, -700, 700)))
        coverage[signed < -sigma * np.log(1 / cutoff - 1)] = 0
        if face[:, 2].min() < near:
            coverage[(depth - near) * inverse_w < 0] = 0
        rest *= 1 - coverage
    return 1 - rest.reshape(image_size)
