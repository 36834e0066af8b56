"""Soft aggregation in NumPy float64, face after face: slow, obvious, written from the papers.

Projected corners and their colours come in, images with alpha last go out. It is the twin
against which the package's images are held; it shares no line with them.
"""

import numpy as np


def soft_aggregation(
    corners,
    colors,
    image_size,
    *,
    sigma,
    gamma,
    distance,
    color,
    alpha,
    coverage_cutoff,
    near,
    far,
    background,
    background_depth,
    double_sided,
    perspective_correct,
):
    """Draws faces as Liu et al., Soft Rasterizer (ICCV 2019), equations 1 to 5.

    Faces with a corner that is not finite or not in front of the camera, and faces without
    area, are not drawn (they do count in F of the alpha "sum").

    Args:
        corners: (B, F, 3, 3), x and y in NDC (y up, the shorter side spans [-1, 1]) and depth.
        colors: (B or 1, F, 3, C) a corner, or (B or 1, F, R, R, C) texels [b][a], where corner 0
            lies at a = R and corner 1 at b = R; None for the colour "none".
        image_size: (H, W).
        sigma: blur of the outline, NDC squared (a pure number for the distance "barycentric").
        gamma: sharpness of the depth order, in normalised inverse depth.
        distance: "euclidean", "barycentric" or "hard".
        color: "softmax", "hard" (nearest face, the first of equals) or "none" (C = 0).
        alpha: "product", "sum" or "hard".
        coverage_cutoff: a face that covers a pixel by less is skipped there.
        near: smallest depth that has a colour (alpha does not look at it).
        far: largest depth that has a colour.
        background: C components.
        background_depth: of the background, in normalised inverse depth.
        double_sided: False takes the colour, not the alpha, from faces that are clockwise.
        perspective_correct: False interpolates colours linearly on the screen, as SoftRas does.

    Returns:
        (B, H, W, C + 1) image, row 0 on top.
    """
    corners = np.asarray(corners, np.float64)
    num_views, num_faces = corners.shape[:2]
    if color == "none":
        colors, background = np.zeros((1, num_faces, 3, 0)), ()
    colors = np.asarray(colors, np.float64)
    colors = np.broadcast_to(colors, (num_views, *colors.shape[1:]))
    threshold = sigma * np.log(1 / coverage_cutoff - 1)
    x, y = pixel_centers(image_size)

    images = []
    for view in range(num_views):
        log_uncovered = np.zeros(image_size)  # log prod_j (1 - D_ij)
        sum_coverage = np.zeros(image_size)
        covered = np.zeros(image_size, bool)
        peak = np.full(image_size, background_depth / gamma)  # largest logit so far
        sum_weight = np.ones(image_size)  # relative to exp(peak)
        image_color = np.tile(np.asarray(background, np.float64), (*image_size, 1))
        nearest = np.full(image_size, np.inf)

        for face_corners, face_colors in zip(corners[view], colors[view]):
            triangle, corner_depths = face_corners[:, :2], face_corners[:, 2]
            if not (np.isfinite(face_corners).all() and (corner_depths > 0).all()):
                continue
            area = cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
            if area == 0:
                continue

            # The pixels that the face covers by more than the cut-off.
            low = triangle.min(axis=0) - np.sqrt(threshold)
            high = triangle.max(axis=0) + np.sqrt(threshold)
            columns = np.flatnonzero((low[0] <= x) & (x <= high[0]))
            rows = np.flatnonzero((low[1] <= y) & (y <= high[1]))
            pixels = np.repeat(rows, len(columns)), np.tile(columns, len(rows))  # (P,) and (P,)
            points = np.stack([x[pixels[1]], y[pixels[0]]], axis=1)  # (P, 2)
            weights = barycentric_weights(triangle, points)
            signed_distance = signed_squared_distance(distance, triangle, points, weights)
            kept = signed_distance > -threshold
            pixels, weights = (pixels[0][kept], pixels[1][kept]), weights[kept]
            exponent = signed_distance[kept] / sigma
            log_coverage = -np.logaddexp(0, -exponent)  # D = sigmoid(exponent)

            log_uncovered[pixels] -= np.logaddexp(0, exponent)
            sum_coverage[pixels] += np.exp(log_coverage)
            covered[pixels] |= exponent > 0  # D > 1/2

            # The colour at the nearest point of the face, where its depth is within [near, far].
            if color == "none" or not (double_sided or area > 0):
                continue
            clipped = np.clip(weights, 0, 1)
            clipped /= clipped.sum(axis=1, keepdims=True)
            depths = 1 / (clipped / corner_depths).sum(axis=1)
            seen = (near <= depths) & (depths <= far)
            if color == "hard":
                seen &= (weights >= 0).all(axis=1) & (depths < nearest[pixels])
            pixels = pixels[0][seen], pixels[1][seen]
            clipped, depths, log_coverage = clipped[seen], depths[seen], log_coverage[seen]
            if perspective_correct:
                clipped = clipped / corner_depths * depths[:, None]
            pixel_colors = interpolate(face_colors, clipped)

            if color == "hard":
                nearest[pixels] = depths
                image_color[pixels] = pixel_colors
            else:
                logits = log_coverage + (far - depths) / (far - near) / gamma
                old_peak, peak[pixels] = peak[pixels], np.maximum(peak[pixels], logits)
                rescale, weight = np.exp(old_peak - peak[pixels]), np.exp(logits - peak[pixels])
                sum_weight[pixels] = sum_weight[pixels] * rescale + weight
                image_color[pixels] *= rescale[:, None]
                image_color[pixels] += weight[:, None] * pixel_colors

        image_alpha = {
            "product": -np.expm1(log_uncovered),
            "sum": sum_coverage / max(num_faces, 1),
            "hard": covered.astype(np.float64),
        }[alpha]
        images.append(np.dstack([image_color / sum_weight[:, :, None], image_alpha]))
    return np.stack(images)


def pixel_centers(image_size):
    """NDC x of every column and NDC y of every row: the shorter side spans [-1, 1], y is up."""
    height, width = image_size
    x = (2 * np.arange(width) + 1 - width) / min(image_size)
    y = (height - 1 - 2 * np.arange(height)) / min(image_size)
    return x, y


def cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def barycentric_weights(triangle, points):
    """(P, 3): areas of point and opposite edge over the triangle's area; negative outside."""
    to_corners = triangle - points[:, None]  # (P, 3, 2)
    areas = cross(np.roll(to_corners, -1, axis=1), np.roll(to_corners, -2, axis=1))
    return areas / cross(triangle[1] - triangle[0], triangle[2] - triangle[0])


def signed_squared_distance(distance, triangle, points, weights):
    """(P,) what is divided by sigma: positive inside the triangle, negative outside."""
    if distance == "hard":
        return np.where((weights >= 0).all(axis=1), np.inf, -np.inf)
    if distance == "barycentric":
        smallest = weights.min(axis=1)
        return np.sign(smallest) * smallest**2
    sign = np.where((weights > 0).all(axis=1), 1.0, -1.0)
    return sign * squared_distance_to_outline(triangle, points)


def squared_distance_to_outline(triangle, points):
    """(P,) squared distance from each point to the nearest of the three edges."""
    edges = np.roll(triangle, -1, axis=0) - triangle  # (3, 2)
    to_points = points[:, None] - triangle  # (P, 3, 2)
    along = np.clip((to_points * edges).sum(axis=2) / (edges**2).sum(axis=1), 0, 1)
    residuals = to_points - along[:, :, None] * edges
    return (residuals**2).sum(axis=2).min(axis=1)


def interpolate(face_colors, weights):
    """(P, C): corner colours (3, C) are blended, of texels (R, R, C) the nearest is taken."""
    if face_colors.ndim == 2:
        return weights @ face_colors
    resolution = len(face_colors)
    a, b = np.minimum(np.floor(weights[:, :2].T * resolution).astype(int), resolution - 1)
    # 1 - weights[2], not weights[0] + weights[1]: exact beyond the edge where weights[2] = 0.
    mirrored = (1 - weights[:, 2]) * resolution - a - b > 1
    last = resolution - 1
    return face_colors[np.where(mirrored, last - b, b), np.where(mirrored, last - a, a)]
