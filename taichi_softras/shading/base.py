"""What the shadings share: buffers, and the layout of texels.

A shading is a value with two methods. `allocate(tree, mesh, num_shadings)` adds its buffers to a
tree; `buffers.colors` is what the rasterizer reads: (S, F, 3) vec3 colours of corners,
(S, F, R, R) vec3 lit texels, (S, F, R, R, R) vec3 lit texture cubes, or None for no colour at
all. S is 1, or the number of views when every view has a frame of its own.
`shade(mesh, lights, frames, views, buffers)` fills them for `views` = (first, end) of S, under a
tape differentiably: Taichi derives the adjoints. Lights are a value whose `reflect(normal)`, a
ti.func, is the light that a matt white surface sends back.
"""

import types

import taichi as ti


def allocate_colors(tree, mesh, num_shadings: int) -> types.SimpleNamespace:
    """Adds the field `colors` that fits the mesh, and returns it in a namespace."""
    shape = (mesh.num_faces, 3) if mesh.face_colors is None else mesh.face_colors.shape
    return types.SimpleNamespace(colors=tree.add((num_shadings, *shape), components=(3,)))


@ti.func
def texel_barycentrics(b, a, texel_resolution):
    """Barycentric coordinates of the centre of texel [b, a]: see `io.meshes.texel_barycentrics`."""
    corner_0 = a + 1 / 3
    corner_1 = b + 1 / 3
    if a + b >= texel_resolution:
        corner_0 = texel_resolution - 1 - a + 2 / 3
        corner_1 = texel_resolution - 1 - b + 2 / 3
    corner_2 = texel_resolution - corner_0 - corner_1
    return ti.Vector([corner_0, corner_1, corner_2]) / texel_resolution


@ti.func
def cube_barycentrics(index, cube_resolution):
    """Barycentric coordinates of an entry of a texture cube; on the face their sum is 1.

    Between entries a cube is trilinear, so what is linear on the face stays as it is.
    """
    return ti.cast(index, float) / (cube_resolution - 1)
