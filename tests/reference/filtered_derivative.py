"""OpenDR's derivative in NumPy float64: an image and what is seen in it come in, gradients go out.

M. Loper, M. Black, "OpenDR: An Approximate Differentiable Renderer", ECCV 2014, as its code has
it (`dImage_wrt_2dVerts` and `dImage_wrt_2dVerts_bnd`). Pixel units, x right, y down.
"""

import numpy as np

from tests.reference.approximate_gradient import samples
from tests.reference.soft_aggregation import cross
from tests.reference.z_buffer import z_buffer


def filtered_derivative(
    corners, colors, image_size, *, near, far, background, double_sided, overdraw
):
    """(B, H, W, C + 1) image, alpha last, row 0 on top; arguments as of `FilteredDerivative`."""
    if colors is None:
        colors, background = np.zeros((1, corners.shape[1], 3, 0)), ()
    image = np.zeros((len(corners), *image_size, len(background) + 1))
    image[..., :-1] = background
    for view in range(len(corners)):
        of_view = view % len(colors)
        faces, weights, depths = z_buffer(corners[view], image_size, near, far, double_sided)
        if overdraw:
            draw_outlines(corners[view], faces, weights, depths)
        for row, column in np.argwhere(faces >= 0):
            face = faces[row, column]
            on_face = weights[row, column] / corners[view, face, :, 2] * depths[row, column]
            image[view, row, column] = 0
            image[view, row, column, -1] = 1
            for index, share in samples(colors[of_view, face].shape, on_face, 1e-3):
                image[view, row, column, :-1] += share * colors[(of_view, face, *index)]
    return image


def draw_outlines(corners, faces, weights, depths):
    """Draws silhouette edges into the z-buffer of one view; returns (H, W) where they are."""
    areas = cross(corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2])
    edges = {}  # the two ends: faces
    for face, corner in np.ndindex(len(corners), 3):
        ends = frozenset(map(tuple, corners[face, [corner, (corner + 1) % 3]]))
        edges.setdefault(ends, []).append(face)
    seen = set(faces[faces >= 0])
    lines = {}  # pixel: (depth, -area, face, weights) of edges of faces that are seen
    boundary = np.zeros(faces.shape, bool)
    limits = np.full(faces.shape, np.inf)
    for row, column in np.ndindex(faces.shape):
        limits[row, column] = depths[row, column]
        if faces[row, column] >= 0:
            slope = depth_slope(corners[faces[row, column]], depths[row, column])
            limits[row, column] += 10 * 2 / min(faces.shape) * np.abs(slope).max()
    for ends, of_edge in edges.items():
        is_silhouette = len(of_edge) == 1 or areas[of_edge[0]] * areas[of_edge[1]] <= 0
        first, second = (np.array(end) for end in sorted(ends))
        for pixel, t in line_pixels(first, second, faces.shape):
            depth = 1 / ((1 - t) / first[2] + t / second[2])
            boundary[pixel] |= is_silhouette and depth <= limits[pixel]
            for face in seen & set(of_edge):
                on_edge = [
                    (1 - t) * (corner == first).all() + t * (corner == second).all()
                    for corner in corners[face]
                ]
                entry = (depth, -abs(areas[face]), face, on_edge)
                lines[pixel] = min(lines.get(pixel, entry), entry)
    for pixel in zip(*np.nonzero(boundary)):
        if pixel in lines:
            depths[pixel], _, faces[pixel], weights[pixel] = lines[pixel]
    return boundary


def depth_slope(face_corners, depth):
    """(2,): the depth on a face by x and y in NDC."""
    inverse = np.linalg.inv(np.vstack([face_corners[:, :2].T, np.ones(3)]))
    return -(depth**2) * (inverse[:, :2] / face_corners[:, 2:]).sum(axis=0)


def line_pixels(first, second, image_size):
    """[((row, column), t)]: a pixel a column, or a row if the line is steep, in the image."""
    height, width = image_size
    places = np.stack([first[:2], second[:2]]) * [1, -1] * min(image_size) / 2
    places += np.array([width - 1, height - 1]) / 2
    offset = places[1] - places[0]
    major = int(abs(offset[1]) > abs(offset[0]))
    low, high = np.floor(np.sort(places[:, major]) + 0.5).astype(int)
    pixels = []
    for step in range(max(low, 0), min(high, image_size[1 - major] - 1) + 1):
        t = np.clip((step - places[0, major]) / (offset[major] or 1), 0, 1)
        column, row = np.floor(places[0] + t * offset + 0.5).astype(int)
        if 0 <= row < height and 0 <= column < width:
            pixels.append(((row, column), t))
    return pixels


def image_slope(image, boundary, axis):
    """(H, W, C) change of the image over one pixel along an axis.

    Args:
        image: (H, W, C).
        boundary: (H, W) pixels of outlines, or None for plain central differences.
        axis: 0 down, 1 right.
    """
    image = np.moveaxis(image, axis, 0)
    slope = np.zeros(image.shape)
    last = len(image) - 1
    if boundary is not None:
        boundary = np.moveaxis(boundary, axis, 0)
    for i in range(last + 1):
        if boundary is None:
            if 0 < i < last:
                slope[i] = (image[i + 1] - image[i - 1]) / 2
            continue
        for j in range(image.shape[1]):
            steps = [(k, image[k + 1, j] - image[k, j]) for k in (i - 1, i) if 0 <= k < last]
            valid = [step for k, step in steps if not boundary[[k, k + 1], j].any()]
            if valid:
                slope[i, j] = np.mean(valid, axis=0)
            elif steps:
                slope[i, j] = 2 * np.mean([step for _, step in steps], axis=0)
    return np.moveaxis(slope, 0, axis)


def gradient(image, faces, weights, boundary, grad_image, num_faces):
    """(F, 3, 2) gradient at the corners, in pixels.

    Args:
        image, grad_image: (H, W, C).
        faces: (H, W), -1 where no face is.
        weights: (H, W, 3) of the point of the face.
        boundary: (H, W) or None.
        num_faces: F.
    """
    result = np.zeros((num_faces, 3, 2))
    slopes = [image_slope(image, boundary, axis) for axis in (1, 0)]
    flow = np.stack([(slope * grad_image).sum(axis=2) for slope in slopes], axis=2)
    seen = faces >= 0
    np.add.at(result, faces[seen], -weights[seen][:, :, None] * flow[seen][:, None])
    return result
