"""Cameras in words: where they stand and what they see."""

from typing import Optional

import numpy as np

from taichi_softras.io.lenses import Lens, distort, largest_square

MOST_VIEWS = 12  # that are told one by one
SMALLEST_W = 1e-8  # of what is in front of the camera


def describe_views(
    view_from_world: np.ndarray,  # (B, 4, 4)
    clip_from_view: np.ndarray,  # (B, 4, 4)
    aspect: float,  # W / H
    lens: Optional[Lens],
    distortion: Optional[np.ndarray],  # (B, 5) that is drawn
    points: Optional[list],  # (V, 3) world, of the mesh of all views, or of each
) -> str:
    """A line for all, then a line a view."""
    num_views = len(view_from_world)
    lines = [
        f"{num_views} view{'s' * (num_views > 1)} of images {aspect:.4g} times as wide as high"
    ]
    for view in range(min(num_views, MOST_VIEWS)):
        matrices = view_from_world[view].astype(float), clip_from_view[view].astype(float)
        parts = [_pose(matrices[0]), _projection(matrices[1])]
        if lens is not None:
            parts.append(_lens(lens, view))
        if distortion is not None:
            parts.append(f"distortion {_vector(distortion[view])} (k1 k2 p1 p2 k3)")
        elif lens is not None and lens.distortion[view].any():
            parts.append(
                f"distortion {_vector(lens.distortion[view])} (k1 k2 p1 p2 k3), which is not drawn"
            )
        if points is not None:
            bent = None if distortion is None else distortion[view]
            parts.append(_seen(*matrices, bent, points[min(view, len(points) - 1)]))
        lines.append(f"view {view} {'; '.join(parts)}")
    if num_views > MOST_VIEWS:
        lines.append(f"and {num_views - MOST_VIEWS} more")
    return "\n".join(lines)


def _pose(view_from_world: np.ndarray) -> str:
    """Eye, and what is ahead and above."""
    axes, translation = view_from_world[:3, :3], view_from_world[:3, 3]
    eye = np.linalg.lstsq(axes, -translation, rcond=None)[0]
    upright, backward = axes[1:] / np.linalg.norm(axes[1:], axis=1, keepdims=True)
    mirrored = ", mirrored" if np.linalg.det(axes) < 0 else ""
    return (
        f"stands at {_vector(eye)}, looks along {_vector(-backward)}, up is {_vector(upright)}"
        + (mirrored)
    )


def _projection(clip_from_view: np.ndarray) -> str:
    """Angles of a pinhole, or lengths where rays are parallel."""
    x_row, y_row, _, w_row = clip_from_view
    if not w_row[:3].any():
        width, height = 2 * w_row[3] / x_row[0], 2 * w_row[3] / y_row[1]
        return f"sees {width:.4g} across and {height:.4g} upright, in parallel rays"
    angles, centers = [], []
    for row, axis in ((x_row, 0), (y_row, 1)):
        slopes = (np.array([-1.0, 1.0]) * w_row[2] - row[2]) / row[axis]
        angles.append(abs(np.ptp(np.degrees(np.arctan(slopes)))))
        centers.append(row[2] / w_row[2])
    seen = f"sees {angles[0]:.4g} degrees across and {angles[1]:.4g} upright"
    if np.abs(centers).max() < 1e-5:
        return seen
    return f"{seen}, its axis at {_vector(centers)} of the half image from the middle"


def _lens(lens: Lens, view: int) -> str:
    height, width = lens.image_size
    K = lens.K[view]
    words = f"pictures of {height} x {width} pixels (H x W), focal lengths {K[0, 0]:.5g}, "
    return words + f"{K[1, 1]:.5g} pixels"


def _seen(
    view_from_world: np.ndarray,
    clip_from_view: np.ndarray,
    distortion: Optional[np.ndarray],  # (5,)
    points: np.ndarray,
) -> str:
    """How much of a mesh is in the image, and how far away."""
    in_view = points @ view_from_world[:3, :3].T + view_from_world[:3, 3]
    is_held = np.ones(len(points), bool)
    if distortion is not None:
        w = np.maximum(-in_view[:, 2:], SMALLEST_W)
        slopes = in_view[:, :2] * [1, -1] / w
        is_held = np.square(slopes).sum(-1) < largest_square(distortion)
        in_view[:, :2] = distort(slopes, distortion) * [1, -1] * w
    in_clip = in_view @ clip_from_view[[0, 1, 3], :3].T + clip_from_view[[0, 1, 3], 3]
    w = in_clip[:, 2]
    is_seen = is_held & (w > 0) & (np.abs(in_clip[:, :2]).max(axis=1) <= w)
    words = f"{np.mean(is_seen):.0%} of the vertices in the image"
    if is_seen.any():
        depths = -in_view[is_seen, 2]
        words += f", at depths {depths.min():.4g} to {depths.max():.4g}"
    return words


def _vector(numbers) -> str:
    """(1, 2, 3), zeros without a sign."""
    return f"({', '.join(f'{number + 0.0:.4g}' for number in np.round(numbers, 9))})"
