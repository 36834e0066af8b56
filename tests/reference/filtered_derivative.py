"""OpenDR's derivative in NumPy float64: an image and what is seen in it come in, gradients go out.

M. Loper, M. Black, "OpenDR: An Approximate Differentiable Renderer", ECCV 2014, as its code has
it (`dImage_wrt_2dVerts` and `dImage_wrt_2dVerts_bnd`). Pixel units, x right, y down.
"""

import numpy as np

from tests.reference.approximate_gradient import approximate_gradient


def filtered_derivative(corners, colors, image_size, *, near, far, background, double_sided):
    """(B, H, W, C + 1): the image is that of any z-buffer."""
    return approximate_gradient(
        corners,
        colors,
        image_size,
        near=near,
        far=far,
        eps=1e-3,
        background=background,
        double_sided=double_sided,
        anti_aliasing=False,
    )


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
