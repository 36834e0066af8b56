"""Attributes of vertices at the points that pixels show, and how they change on the screen.

Laine et al. 2020, section 3.3. Points are `fragments` of clip_space.py: the weights u and v of the
first two corners of a triangle, the third being 1 - u - v.
"""

from taichi_softras.runtime import kernel, ti, vec2, vec3
from taichi_softras.workspace import array


@ti.func
def shares_of(fragments: ti.template(), view: int, row: int, column: int) -> vec3:
    """The weights of the corners."""
    u, v = fragments[view, row, column, 0], fragments[view, row, column, 1]
    return vec3(u, v, 1.0 - u - v)


@ti.func
def at_corners(
    attributes: ti.template(), triangles: ti.template(), view: int, triangle: int, channel: int
) -> vec3:
    """A number of an attribute at the corners of a triangle."""
    plane = ti.min(view, attributes.shape[0] - 1)
    return vec3(
        attributes[plane, triangles[triangle, 0], channel],
        attributes[plane, triangles[triangle, 1], channel],
        attributes[plane, triangles[triangle, 2], channel],
    )


@ti.func
def add_at_corners(
    grad_attributes: ti.template(),
    triangles: ti.template(),
    view: int,
    triangle: int,
    channel: int,
    grad: vec3,
):
    """The adjoint of `at_corners`."""
    plane = ti.min(view, grad_attributes.shape[0] - 1)
    for k in ti.static(range(3)):
        grad_attributes[plane, triangles[triangle, k], channel] += grad[k]


@kernel
def interpolate_attributes(
    attributes: array(float, 3),  # (B or 1, V, C)
    triangles: array(int, 2),  # (T, 3)
    ids: array(int, 3),  # (B, H, W) triangle + 1, 0 for none
    fragments: array(float, 4),  # (B, H, W, 4) u and v first
    pixels: array(float, 4),  # (B, H, W, C)
):
    """The attributes of each pixel; 0 where no triangle is."""
    for view, row, column in ti.ndrange(ids.shape[0], ids.shape[1], ids.shape[2]):
        triangle = ids[view, row, column] - 1
        shares = shares_of(fragments, view, row, column)
        for channel in range(attributes.shape[2]):
            value = 0.0
            if triangle >= 0:
                value = shares.dot(at_corners(attributes, triangles, view, triangle, channel))
            pixels[view, row, column, channel] = value


@kernel
def interpolate_attributes_backward(
    attributes: array(float, 3),
    triangles: array(int, 2),
    ids: array(int, 3),
    fragments: array(float, 4),
    grad_pixels: array(float, 4),
    grad_attributes: array(float, 3),
    grad_fragments: array(float, 4),  # of z / w and triangles 0
):
    """The adjoint of `interpolate_attributes`."""
    for plane, vertex, channel in ti.ndrange(
        attributes.shape[0], attributes.shape[1], attributes.shape[2]
    ):
        grad_attributes[plane, vertex, channel] = 0.0
    for view, row, column in ti.ndrange(ids.shape[0], ids.shape[1], ids.shape[2]):
        triangle = ids[view, row, column] - 1
        grad = vec2(0.0)
        if triangle >= 0:
            shares = shares_of(fragments, view, row, column)
            for channel in range(attributes.shape[2]):
                of_pixel = grad_pixels[view, row, column, channel]
                values = at_corners(attributes, triangles, view, triangle, channel)
                grad += of_pixel * vec2(values.x - values.z, values.y - values.z)
                by_corners = of_pixel * shares
                add_at_corners(grad_attributes, triangles, view, triangle, channel, by_corners)
        for k in ti.static(range(2)):
            grad_fragments[view, row, column, k] = grad[k]
            grad_fragments[view, row, column, 2 + k] = 0.0


@kernel
def differentiate_attributes(
    attributes: array(float, 3),  # (B or 1, V, C)
    triangles: array(int, 2),  # (T, 3)
    ids: array(int, 3),  # (B, H, W)
    slopes: array(float, 4),  # (B, H, W, 4) of u by column and row, of v by column and row
    chosen: array(int, 1),  # (K,) channels
    pixels: array(float, 4),  # (B, H, W, 2 K) by column and row of each
):
    """How some attributes change from a pixel to the next; 0 where no triangle is."""
    for view, row, column, k in ti.ndrange(
        ids.shape[0], ids.shape[1], ids.shape[2], chosen.shape[0]
    ):
        triangle = ids[view, row, column] - 1
        by_pixel = vec2(0.0)
        if triangle >= 0:
            values = at_corners(attributes, triangles, view, triangle, chosen[k])
            for axis in ti.static(range(2)):
                by_pixel[axis] = (values.x - values.z) * slopes[view, row, column, axis]
                by_pixel[axis] += (values.y - values.z) * slopes[view, row, column, 2 + axis]
        for axis in ti.static(range(2)):
            pixels[view, row, column, 2 * k + axis] = by_pixel[axis]


@kernel
def differentiate_attributes_backward(
    attributes: array(float, 3),
    triangles: array(int, 2),
    ids: array(int, 3),
    slopes: array(float, 4),
    chosen: array(int, 1),
    grad_pixels: array(float, 4),
    grad_attributes: array(float, 3),  # added to
    grad_slopes: array(float, 4),
):
    """The adjoint of `differentiate_attributes`."""
    for view, row, column in ti.ndrange(ids.shape[0], ids.shape[1], ids.shape[2]):
        triangle = ids[view, row, column] - 1
        of_u, of_v = vec2(0.0), vec2(0.0)
        if triangle >= 0:
            by_u = vec2(slopes[view, row, column, 0], slopes[view, row, column, 1])
            by_v = vec2(slopes[view, row, column, 2], slopes[view, row, column, 3])
            for k in range(chosen.shape[0]):
                channel = chosen[k]
                grad = vec2(
                    grad_pixels[view, row, column, 2 * k],
                    grad_pixels[view, row, column, 2 * k + 1],
                )
                values = at_corners(attributes, triangles, view, triangle, channel)
                of_u += (values.x - values.z) * grad
                of_v += (values.y - values.z) * grad
                u, v = grad.dot(by_u), grad.dot(by_v)
                by_corners = vec3(u, v, -u - v)
                add_at_corners(grad_attributes, triangles, view, triangle, channel, by_corners)
        for axis in ti.static(range(2)):
            grad_slopes[view, row, column, axis] = of_u[axis]
            grad_slopes[view, row, column, 2 + axis] = of_v[axis]
