"""The z-buffer in NumPy float64, face after face: projected corners in; the nearest face out.

Written from the original Neural 3D Mesh Renderer's rules; the twin of `rasterizers.z_buffer`.
"""

import numpy as np

from tests.reference.soft_aggregation import barycentric_weights, cross, pixel_centers

NO_FACE = -1


def z_buffer(corners, image_size, near, far, double_sided):
    """The nearest face at each pixel's centre, the first of equals.

    Args:
        corners: (F, 3, 3), x and y in NDC (y up) and depth.
        image_size: (H, W).
        near: smallest depth that is drawn, exclusive.
        far: largest depth that is drawn, exclusive.
        double_sided: False leaves out faces that are clockwise.

    Returns:
        faces (H, W), weights (H, W, 3) on the screen, depths (H, W), `far` where no face is.
    """
    faces = np.full(image_size, NO_FACE)
    weights = np.zeros((*image_size, 3))
    depths = np.full(image_size, float(far))
    x, y = pixel_centers(image_size)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    for face, face_corners in enumerate(corners):
        triangle, corner_depths = face_corners[:, :2], face_corners[:, 2]
        area = cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
        if (corner_depths <= 0).any() or area == 0 or (area < 0 and not double_sided):
            continue
        edges = np.roll(triangle, -1, axis=0) - triangle
        sides = cross(edges, points[:, None] - triangle) * np.sign(area)  # (P, 3)
        pixels = np.flatnonzero((sides >= 0).all(axis=1))
        clipped = np.clip(barycentric_weights(triangle, points[pixels]), 0, 1)
        clipped /= clipped.sum(axis=1, keepdims=True)
        depth = 1 / (clipped / corner_depths).sum(axis=1)
        seen = (near < depth) & (depth < depths.flat[pixels])  # depths start at far
        pixels = pixels[seen]
        faces.flat[pixels] = face
        depths.flat[pixels] = depth[seen]
        weights.reshape(-1, 3)[pixels] = clipped[seen]
    return faces, weights, depths
