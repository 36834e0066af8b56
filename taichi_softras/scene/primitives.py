"""Simple shapes: sizes in, (vertices, faces) NumPy arrays out, as `Mesh(*icosphere(3))` takes them.

All are centred at the origin, y is up, and faces run counter-clockwise seen from outside.
`globe_uvs` lays a picture around them.
"""

import numpy as np


def triangle() -> tuple:
    """One equilateral triangle on the unit circle of the plane z = 0, facing +z.

    Returns:
        vertices (3, 3) float64 and faces (1, 3) int32.
    """
    angles = np.radians([90.0, 210.0, 330.0])
    vertices = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=-1)
    return vertices, np.array([[0, 1, 2]], np.int32)


def cube() -> tuple:
    """The cube [-1, 1]^3.

    Returns:
        vertices (8, 3) float64 and faces (12, 3) int32; vertex 4x + 2y + z is the corner whose
        coordinates are positive where x, y, z are 1.
    """
    vertices = 2.0 * np.indices((2, 2, 2)).reshape(3, 8).T - 1.0
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return vertices, _triangles(np.array(quads))


def icosphere(level: int = 3) -> tuple:
    """The unit sphere from an icosahedron whose faces are cut in four `level` times.

    Returns:
        vertices (10 * 4**level + 2, 3) float64 and faces (20 * 4**level, 3) int32.
    """
    golden = (1 + np.sqrt(5)) / 2
    rectangle = np.array([[-1, golden], [1, golden], [-1, -golden], [1, -golden]])
    vertices = np.concatenate(
        [np.roll(np.pad(rectangle, ((0, 0), (0, 1))), turn, axis=1) for turn in range(3)]
    )
    vertices /= np.hypot(1, golden)
    # the three faces at a vertex are those of its convex hull: all triples one edge length apart
    edge = 2 / np.hypot(1, golden)
    near = np.abs(np.linalg.norm(vertices[:, None] - vertices, axis=-1) - edge) < 1e-6
    a, b, c = np.nonzero(near[:, :, None] & near[:, None, :] & near[None])
    faces = np.stack([a, b, c], axis=-1)[(a < b) & (b < c)]
    outward = np.linalg.det(vertices[faces]) > 0
    faces = np.where(outward[:, None], faces, faces[:, ::-1])

    for _ in range(level):
        edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]], axis=-1).reshape(-1, 2)
        edges, edge_of_corner = np.unique(edges, axis=0, return_inverse=True)
        midpoints = vertices[edges].sum(axis=1)
        midpoints /= np.linalg.norm(midpoints, axis=-1, keepdims=True)
        ab, bc, ca = len(vertices) + edge_of_corner.reshape(-1, 3).T
        a, b, c = faces.T
        faces = np.concatenate(
            [
                np.stack(face, axis=-1)
                for face in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))
            ]
        )
        vertices = np.concatenate([vertices, midpoints])
    return vertices, faces.astype(np.int32)


def uv_sphere(rows: int = 16, columns: int = 32) -> tuple:
    """The unit sphere from circles of latitude and longitude, with one vertex at either pole.

    Args:
        rows: bands of faces from pole to pole, >= 2.
        columns: faces around, >= 3.

    Returns:
        vertices ((rows - 1) * columns + 2, 3) float64, from the top pole down, and faces
        (2 * columns * (rows - 1), 3) int32.
    """
    polar = np.linspace(0, np.pi, rows + 1)[1:-1, None]
    azimuth = np.arange(columns) * 2 * np.pi / columns
    rings = np.stack(
        np.broadcast_arrays(
            np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)
        ),
        axis=-1,
    ).reshape(-1, 3)
    vertices = np.concatenate([[[0.0, 1.0, 0.0]], rings, [[0.0, -1.0, 0.0]]])

    upper = 1 + np.arange((rows - 2) * columns).reshape(rows - 2, columns)
    lower = upper + columns
    quads = np.stack([upper, lower, np.roll(lower, -1, 1), np.roll(upper, -1, 1)], axis=-1)
    first = 1 + np.arange(columns)
    last = first + (rows - 2) * columns
    top = np.stack([np.zeros(columns, int), first, np.roll(first, -1)], axis=-1)
    bottom = np.stack([np.full(columns, len(vertices) - 1), np.roll(last, -1), last], axis=-1)
    return vertices, np.concatenate([top, _triangles(quads), bottom]).astype(np.int32)


def torus(
    major_radius: float = 1.0,
    minor_radius: float = 0.4,
    major_segments: int = 32,
    minor_segments: int = 16,
) -> tuple:
    """A ring around the y axis.

    Args:
        major_radius: from the origin to the middle of the tube.
        minor_radius: of the tube.
        major_segments: faces around the axis, >= 3.
        minor_segments: faces around the tube, >= 3.

    Returns:
        vertices (major_segments * minor_segments, 3) float64 and faces (2 * V, 3) int32.
    """
    azimuth = np.arange(major_segments)[:, None] * 2 * np.pi / major_segments
    around = np.arange(minor_segments) * 2 * np.pi / minor_segments
    distance = major_radius + minor_radius * np.cos(around)
    height = np.broadcast_to(minor_radius * np.sin(around), (major_segments, minor_segments))
    vertices = np.stack([distance * np.sin(azimuth), height, distance * np.cos(azimuth)], axis=-1)

    index = np.arange(major_segments * minor_segments).reshape(major_segments, minor_segments)
    right, above = np.roll(index, -1, 0), np.roll(index, -1, 1)
    quads = np.stack([index, right, np.roll(right, -1, 1), above], axis=-1)
    return vertices.reshape(-1, 3), _triangles(quads)


def aeroplane() -> tuple:
    """A small airliner along z, nose at +z, wing span 1: seven ellipsoids in one mesh.

    Returns:
        vertices (V, 3) float64 and faces (F, 3) int32; the parts intersect, which silhouettes
        and pictures do not mind.
    """
    parts = [  # centre, radii, sweep: how far z falls behind with |x|, and with y
        ((0.0, 0.0, 0.0), (0.07, 0.075, 0.5), (0.0, 0.0)),  # fuselage
        ((0.0, -0.03, 0.02), (0.5, 0.014, 0.11), (0.45, 0.0)),  # wing
        ((0.0, 0.03, -0.42), (0.19, 0.012, 0.065), (0.5, 0.0)),  # tailplane
        ((0.0, 0.1, -0.4), (0.014, 0.17, 0.075), (0.0, 0.6)),  # fin
        ((0.17, -0.07, 0.02), (0.032, 0.032, 0.085), (0.0, 0.0)),  # engines
        ((-0.17, -0.07, 0.02), (0.032, 0.032, 0.085), (0.0, 0.0)),
        ((0.0, 0.045, 0.3), (0.045, 0.05, 0.1), (0.0, 0.0)),  # cockpit
    ]
    sphere, sphere_faces = uv_sphere(16, 32)
    vertices, faces = [], []
    for centre, radii, (sweep_x, sweep_y) in parts:
        part = sphere * radii
        part[:, 2] -= sweep_x * np.abs(part[:, 0]) + sweep_y * np.maximum(part[:, 1], 0.0)
        faces.append(sphere_faces + len(vertices) * len(sphere))
        vertices.append(part + centre)
    return np.concatenate(vertices), np.concatenate(faces)


def globe_uvs(vertices: np.ndarray, faces: np.ndarray) -> tuple:
    """UVs that lay a map of the world around a shape: u is the longitude, v the latitude.

    As seen from the origin: the middle of the picture is at +z, and u rises towards +x; its upper
    edge is at +y. Faces across the seam at -z have u beyond 1, where `Texture(wrap="repeat")` goes
    on, and a corner at a pole has the mean u of the others.

    Args:
        vertices: (V, 3), around the origin.
        faces: (F, 3).

    Returns:
        uvs (U, 2) float64 and uv_faces (F, 3) int32, as `Mesh(..., uvs=, uv_faces=)` takes them.
    """
    x, y, z = np.moveaxis(np.asarray(vertices, float)[faces], -1, 0)
    radius = np.hypot(x, z)
    is_pole = radius <= 1e-9 * np.abs(y)
    u = np.where(is_pole, -np.inf, np.arctan2(x, z) / (2 * np.pi) + 0.5)
    u += u < u.max(axis=1, keepdims=True) - 0.5
    others = np.where(is_pole, 0.0, u).sum(axis=1) / np.maximum((~is_pole).sum(axis=1), 1)
    u = np.where(is_pole, others[:, None], u)
    v = np.arctan2(y, radius) / np.pi + 0.5
    uvs, uv_faces = np.unique(np.stack([u, v], -1).reshape(-1, 2), axis=0, return_inverse=True)
    return uvs, uv_faces.reshape(-1, 3).astype(np.int32)


def _triangles(quads: np.ndarray) -> np.ndarray:
    """Two triangles (.., 3) for each quad (.., 4), same winding."""
    return quads.reshape(-1, 4)[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3).astype(np.int32)
