"""The Neural 3D Mesh Renderer in NumPy float64: image, and the gradient that it makes up.

H. Kato, Y. Ushiku, T. Harada, "Neural 3D Mesh Renderer", CVPR 2018, as its code has it: here
with the code's own loops, in its own frame, where row 0 is the bottom of the image.
"""

import itertools
import math

import numpy as np

from tests.reference.soft_aggregation import cross, interpolate
from tests.reference.z_buffer import NO_FACE, z_buffer


def approximate_gradient(corners, colors, image_size, **settings):
    """(B, H, W, C + 1) image, alpha last, row 0 on top; see `render` for the arguments."""
    return render(corners, colors, image_size, **settings)[0]


def render(
    corners,
    colors,
    image_size,
    *,
    near,
    far,
    eps,
    background,
    double_sided,
    anti_aliasing,
    grad_image=None,
    grad_depth=None,
):
    """Draws, and pulls gradients back.

    Args:
        corners: (B, F, 3, 3), x and y in NDC (y up, the shorter side spans [-1, 1]) and depth.
        colors: (B or 1, F, 3, C) a corner; (B or 1, F, R, R, C) texels; (B or 1, F, T, T, T, C)
            cubes, whose axis k is the weight of corner k; or None (C = 0).
        image_size: (H, W).
        near: smallest depth that is drawn.
        far: largest depth that is drawn, and the depth of the background.
        eps: NDC, added to distances in the gradient; taken off the last coordinate in a cube.
        background: C components.
        double_sided: whether clockwise faces are drawn.
        anti_aliasing: draw at twice the size, and take 2 x 2 means.
        grad_image: (B, H, W, C + 1), or None.
        grad_depth: (B, H, W), or None.

    Returns:
        image (B, H, W, C + 1), depth (B, H, W), gradients at corners and at colours (the
        shape of `colors`, summed over views where these share them).
    """
    num_views, num_faces = corners.shape[:2]
    if colors is None:
        colors, background = np.zeros((1, num_faces, 3, 0)), ()
    factor = 2 if anti_aliasing else 1
    size = factor * image_size[0], factor * image_size[1]
    images, depth_maps = [], []
    grad_corners, grad_colors = np.zeros(corners.shape), np.zeros(colors.shape)
    for view in range(num_views):
        of_view = view % len(colors)
        faces, weights, depths = z_buffer(corners[view], size, near, far, double_sided)
        image = np.zeros((*size, len(background) + 1))
        image[..., :-1] = background
        grads = np.zeros(image.shape)
        if grad_image is not None:
            grads = grad_image[view].repeat(factor, axis=0).repeat(factor, axis=1) / factor**2
        for row, column in np.argwhere(faces != NO_FACE):
            face, depth = faces[row, column], depths[row, column]
            on_face = weights[row, column] / corners[view, face, :, 2] * depth
            image[row, column] = 0
            image[row, column, -1] = 1
            for index, weight in samples(colors[of_view, face].shape, on_face, eps):
                image[row, column, :-1] += weight * colors[(of_view, face, *index)]
                grad_colors[(of_view, face, *index)] += weight * grads[row, column, :-1]
        for face in range(num_faces):
            grad_corners[view, face] += scan_edges(
                corners[view, face], face, faces[::-1], image[::-1], grads[::-1], eps, double_sided
            )
        if grad_depth is not None:
            grads = grad_depth[view].repeat(factor, axis=0).repeat(factor, axis=1) / factor**2
            for row, column in np.argwhere(faces != NO_FACE):
                face = faces[row, column]
                grad_corners[view, face] += grads[row, column] * depth_gradient(
                    corners[view, face], weights[row, column], depths[row, column]
                )
        images.append(downsample(image, factor))
        depth_maps.append(downsample(depths, factor))
    return np.stack(images), np.stack(depth_maps), grad_corners, grad_colors


def downsample(image, factor):
    """The mean of blocks of factor x factor pixels."""
    height, width = image.shape[:2]
    blocks = image.reshape(height // factor, factor, width // factor, factor, *image.shape[2:])
    return blocks.mean(axis=(1, 3))


def samples(shape, on_face, eps):
    """[(index, weight)] of the entries of a face's colours that make the colour at a point."""
    if len(shape) == 2:  # corners
        return [((corner,), on_face[corner]) for corner in range(3)]
    if len(shape) == 3:  # texels, nearest
        numbers = np.arange(shape[0] ** 2).reshape(shape[0], shape[0], 1)
        texel = int(interpolate(numbers, on_face[None])[0, 0])
        return [(divmod(texel, shape[0]), 1.0)]
    last = shape[0] - 1
    place = np.clip(on_face * last, 0, last - eps)
    low = np.floor(place).astype(int)
    entries = []
    for step in itertools.product((0, 1), repeat=3):
        parts = np.where(step, place - low, 1 - (place - low))
        entries.append((tuple(low + step), parts.prod()))
    return entries


def scan_edges(face_corners, face, faces, image, grads, eps, double_sided):
    """(3, 3) gradient at a face's corners from colours on the lines through its edges."""
    gradient = np.zeros((3, 3))
    order = [0, 1, 2]
    sides = face_corners[:, :2]
    area = cross(sides[1] - sides[0], sides[2] - sides[0])
    if (face_corners[:, 2] <= 0).any() or area == 0 or (area < 0 and not double_sided):
        return gradient
    if area < 0:
        order = [0, 2, 1]
    height, width = faces.shape
    shorter = min(height, width)
    places = (sides * shorter + [width - 1, height - 1]) / 2  # pixels, integers at centres
    for edge in range(3):
        start, end, third = (order[(edge + k) % 3] for k in range(3))
        for axis in (1, 0):  # what moves: y along columns, then x along rows
            # (position along the edge, position along the line) of the three corners
            p0, p1, p2 = places[[start, end, third]][:, [1 - axis, axis]]
            lines = (faces, image, grads)
            if axis == 1:
                lines = (faces.T, image.transpose(1, 0, 2), grads.transpose(1, 0, 2))
            is_forward = p0[0] < p1[0]
            outward = (-1 if is_forward else 1) if axis == 1 else (1 if is_forward else -1)
            if p0[0] == p1[0]:
                continue
            first = max(math.ceil(min(p0[0], p1[0])), 0)
            last = min(math.floor(max(p0[0], p1[0])), len(lines[0]) - 1)
            for line in range(first, last + 1):
                for d1, change, crossing, side in changes(
                    p0, p1, p2, line, outward, face, *(values[line] for values in lines)
                ):
                    for corner, other in ((start, p1), (end, p0)):
                        if other[0] == line:
                            continue
                        span = p1[0] - p0[0] if corner == start else p0[0] - p1[0]
                        distance = span / (other[0] - line) * (d1 - crossing) * 2 / shorter
                        gradient[corner, axis] -= side * change / (abs(distance) + eps)
    return gradient


def changes(p0, p1, p2, line, outward, face, faces, image, grads):
    """(pixel, G, crossing, side) of the pixels of a line whose colour an edge should change.

    The side, 1 or -1, is that to which the edge should move; the original takes the sign of pixel -
    crossing, which is the same but for a pixel on the edge.
    """
    size = len(faces)
    crossing = (p1[1] - p0[1]) / (p1[0] - p0[0]) * (line - p0[0]) + p0[1]
    inside = math.floor(crossing) if outward > 0 else math.ceil(crossing)
    outside = inside + outward
    if not (0 <= inside < size and 0 <= outside < size):
        return
    if faces[inside] == face:
        for d1 in range(outside, size if outward > 0 else -1, outward):
            change = ((image[d1] - image[inside]) * grads[d1]).sum()
            if change > 0:
                yield d1, change, crossing, outward
    a, b = (p0, p2) if (line - p0[0]) * (line - p2[0]) < 0 else (p2, p1)
    opposite = (b[1] - a[1]) / (b[0] - a[0]) * (line - a[0]) + a[1]
    limit = math.ceil(opposite) if outward > 0 else math.floor(opposite)
    for d1 in range(max(min(inside, limit), 0), min(max(inside, limit), size - 1) + 1):
        change = ((image[d1] - image[outside]) * grads[d1]).sum()
        if faces[d1] == face and change > 0:
            yield d1, change, crossing, -outward


def depth_gradient(face_corners, weights, depth):
    """(3, 3): the depth at a pixel of a face by x, y and depth of the face's corners."""
    inverse = np.linalg.inv(np.vstack([face_corners[:, :2].T, np.ones(3)]))
    slope = depth**2 * (inverse[:, :2] / face_corners[:, 2:]).sum(axis=0)
    by_depth = weights * depth**2 / face_corners[:, 2] ** 2
    return np.column_stack([weights[:, None] * slope, by_depth])
