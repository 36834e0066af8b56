"""What every rasterizer is tested with: the lists of rasterizers and shadings, and a scene.

A new rasterizer, or a new shading, is one line in a list here.
"""

import dataclasses
from typing import Union

import numpy as np

import taichi_softras as tsr
from taichi_softras.rasterizers.fragments import Surface
from taichi_softras.runtime import ti
from taichi_softras.scene import primitives
from tests import tolerances
from tests.gradcheck import relative_error
from tests.rarely import mostly, rarely
from tests.reference.antialiased import antialiased
from tests.reference.approximate_gradient import approximate_gradient
from tests.reference.filtered_derivative import filtered_derivative
from tests.reference.k_nearest import k_nearest
from tests.reference.prefiltered import prefiltered
from tests.reference.soft_aggregation import soft_aggregation

NUMBERS = {
    "sigma": 0.02,
    "gamma": 0.1,
    "near": 1.0,
    "far": 5.0,
    "background": (0.1, 0.2, 0.3),
    "background_depth": 0.25,
}
DEPTHS = {"near": 0.1, "far": 100.0}  # for what gives a rasterizer to its twin or to the core


def soft(distance, color, alpha, perspective_correct, double_sided, **changes):
    """A soft aggregation by its choices, with the numbers of these tests."""
    return tsr.SoftAggregation(
        distance=distance,
        color=color,
        alpha=alpha,
        perspective_correct=perspective_correct,
        double_sided=double_sided,
        **{**NUMBERS, **changes},
    )


def nearest(blend, **changes):
    """K nearest by its choices, with the numbers of these tests; more faces than the scene has."""
    numbers = {name: NUMBERS[name] for name in ("sigma", "gamma", "near", "far", "background")}
    return tsr.KNearest(50, blend=blend, **numbers, **changes)


ALL_RASTERIZERS = [
    soft("euclidean", "softmax", "product", True, True),
    soft("euclidean", "hard", "product", False, True),
    soft("euclidean", "hard", "hard", True, False),
    soft("barycentric", "softmax", "sum", False, False),
    soft("hard", "softmax", "hard", False, True),
    soft("hard", "hard", "sum", True, True),
    tsr.ApproximateGradient(**DEPTHS, background=(0.1, 0.2, 0.3)),
    tsr.FilteredDerivative(**DEPTHS, background=(0.1, 0.2, 0.3), overdraw=False),
    tsr.FilteredDerivative(**DEPTHS, background=(0.1, 0.2, 0.3)),
    tsr.ApproximateGradient(
        **DEPTHS, background=(0.1, 0.2, 0.3), double_sided=False, anti_aliasing=True
    ),
    # the background is below all colours, so that no pixel is clamped, where gradients are 0
    tsr.Prefiltered(**DEPTHS, background=(-1.0, -2.0, -3.0)),
    tsr.Prefiltered(
        1.0, **DEPTHS, background=(-1.0, -2.0, -3.0), double_sided=False, inner_edges=True
    ),
    tsr.Antialiased(**DEPTHS, background=(0.1, 0.2, 0.3)),
    tsr.Antialiased(**DEPTHS, background=(0.1, 0.2, 0.3), double_sided=False),
    nearest("softmax"),
    nearest("softmax", clip_barycentric_coords=False, perspective_correct=False),
    # The one nearest face gives the colour: without a blur radius, as where a pixel looks at a
    # common corner of several faces their order decides, and no gradient tells.
    nearest("sigmoid_alpha", perspective_correct=False, blur_radius=0.0),
    nearest("hard", cull_backfaces=True, blur_radius=0.0),
]

ALL_SHADINGS = [tsr.Unlit(), tsr.Flat(), tsr.Gouraud(), tsr.Silhouette(), tsr.Depth()]


_FIRSTS = {type(one): one for one in reversed(ALL_RASTERIZERS)}.values()

# one rasterizer of each type in every run, the others in an exhaustive one
EACH_RASTERIZER = mostly(ALL_RASTERIZERS, _FIRSTS)

# those with all shadings; of the others each with one in every run
EACH_PAIR = [
    (one, shading) if one in _FIRSTS or (k + s) % len(ALL_SHADINGS) == 0 else rarely(one, shading)
    for k, one in enumerate(ALL_RASTERIZERS)
    for s, shading in enumerate(ALL_SHADINGS)
]

# types of rasterizers whose gradient is no derivative of the image
APPROXIMATE_IN_VERTICES = (tsr.ApproximateGradient, tsr.FilteredDerivative)

# types that ask which edges faces share
SHARE_EDGES = (tsr.Prefiltered, tsr.Antialiased)

TWINS = {
    tsr.SoftAggregation: soft_aggregation,
    tsr.KNearest: k_nearest,
    tsr.ApproximateGradient: approximate_gradient,
    tsr.FilteredDerivative: filtered_derivative,
    tsr.Prefiltered: prefiltered,
    tsr.Antialiased: antialiased,
}


def describe(value) -> str:
    """The id of a rasterizer or a shading in the test's name."""
    settings = dataclasses.asdict(value).items()
    words = [word for _, word in settings if isinstance(word, str)]
    words += [name for name, is_on in settings if is_on is True]
    return "-".join([type(value).__name__, *words])


def draw_twin(corners, colors, image_size, rasterizer) -> np.ndarray:
    """The image by the NumPy twin, which tries every face at every pixel."""
    settings = dataclasses.asdict(rasterizer)
    if "sigma" in settings:
        del settings["sigma_pixels"]
        settings["sigma"] = rasterizer.sigma_ndc(image_size)
    if isinstance(colors, tsr.Depth):
        colors, settings["background"] = corners[..., 2:], (rasterizer.far,)
    if colors is None and "color" in settings:
        settings["color"] = "none"
    return TWINS[type(rasterizer)](corners, colors, image_size, **settings)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A renderer and what its rasterizer is given."""

    renderer: tsr.Renderer
    corners: np.ndarray  # (B, F, 3, 3) x_ndc, y_ndc, depth
    colors: Union[np.ndarray, tsr.Depth, None]  # (1, F, 3, 3); None for a silhouette

    @property
    def image_size(self):
        return self.renderer.image_size

    def colors_of(self, faces):
        """The colours of some faces, in that order."""
        return self.colors[:, faces] if isinstance(self.colors, np.ndarray) else self.colors

    def background(self, rasterizer):
        """(C + 1,) the empty image."""
        if self.colors is None:
            return (0.0,)
        if isinstance(self.colors, tsr.Depth):
            return (rasterizer.far, 0.0)
        return (*rasterizer.background, 0.0)

    def rasterize(self, rasterizer, corners=None, colors=None):
        """`tsr.rasterize` of the scene, or with other corners or colours."""
        return tsr.rasterize(
            self.corners if corners is None else corners,
            self.colors if colors is None else colors,
            image_size=self.image_size,
            rasterizer=rasterizer,
        )


def fields_of(lights):
    """The fields of lights, by name."""
    return {
        f"{type(light).__name__}.{name}": getattr(light, name)
        for light in lights
        for name in light.parts
    }


def bumpy_torus(generator):
    """(vertices, faces) of a torus without symmetries: 12 vertices, 24 faces."""
    vertices, faces = primitives.torus(major_segments=4, minor_segments=3)
    return vertices + generator.uniform(-0.1, 0.1, vertices.shape), faces


def make_scenes(image_size) -> dict:
    """A scene for each shading: the same torus, seen by two cameras and lit by two lights."""
    generator = np.random.default_rng(4)
    vertices, faces = bumpy_torus(generator)
    mesh = tsr.Mesh(vertices, faces, vertex_colors=generator.uniform(size=vertices.shape))
    cameras = tsr.Camera.look_at(tsr.orbit(3.0, [35.0, 20.0], [20.0, 130.0]), fov_y_degrees=50)
    lights = tsr.Lights(
        directions=((0.2, 1.0, 0.3), (-0.5, 0.1, 0.4)), colors=((0.5, 0.4, 0.3), (0.2, 0.3, 0.1))
    )
    scenes = {}
    for shading in ALL_SHADINGS:
        renderer = tsr.Renderer(mesh, cameras, image_size, shading=shading, lights=lights)
        corners = renderer.vertices_ndc.to_numpy()[:, mesh.faces_array]
        colors = corner_colors(renderer)
        if isinstance(shading, tsr.Depth):
            colors = shading
        scenes[shading] = Scene(renderer, corners, colors)
    return scenes


def corner_colors(renderer):
    """(1, F, 3, C) lit colours of the corners as the rasterizer is given them; None without."""
    if not renderer._pipeline.composition.reads_color:
        return None
    return renderer._without_tape(renderer._pipeline.place, 0, 1).varyings.to_numpy()


def moves_of(values, by, rasterizer):
    """(N, F, ...) the directions in which derivatives are taken: an entry each.

    Where edges matter that faces share, corners at one place move together: they are one edge no
    longer if one of them moves alone.
    """
    shape = values.shape[1:]
    entries = np.eye(values[0].size).reshape(-1, *shape)
    if by == "colors" or not isinstance(rasterizer, SHARE_EDGES):
        return entries
    _, vertices = np.unique(values[0].reshape(-1, shape[-1]), axis=0, return_inverse=True)
    of_vertex = np.eye(vertices.max() + 1)[vertices.ravel()].T  # (V, 3 F)
    axes = np.eye(shape[-1])
    return (of_vertex[:, None, :, None] * axes[:, None]).reshape(-1, *shape)


def central_differences(corners, colors, by, image_size, rasterizer, cotangent, step):
    """Derivative of sum(cotangent * image) of one view in the directions of `moves_of`.

    Every moved scene is a view of its own, and all are drawn in one call. Zeros where all of it
    is no more than the rounding of such a sum, over the step.

    Args:
        corners: (1, F, 3, 3).
        colors: (1, F, 3, C), (1, F, R, R, C), Depth() or None.
        by: "corners" or "colors".
        image_size: (H, W).
        rasterizer: the method.
        cotangent: (1, H, W, C + 1).
        step: what is added and subtracted.
    """
    values = {"corners": corners, "colors": colors}
    moves = step * moves_of(values[by], by, rasterizer)
    number = len(moves)
    values[by] = np.concatenate([values[by] + moves, values[by] - moves])
    values["corners"] = np.broadcast_to(values["corners"], (2 * number, *corners.shape[1:]))
    image, _ = tsr.rasterize(**values, image_size=image_size, rasterizer=rasterizer)
    sums = np.tensordot(image, cotangent[0], axes=3)
    gradient = (sums[:number] - sums[number:]) / (2 * step)
    rounding = np.finfo(image.dtype).eps * np.abs(image * cotangent).sum(axis=(1, 2, 3)).max()
    gradient *= np.abs(gradient).max() > rounding / step
    return gradient


def gradient_error(corners, colors, by, image_size, rasterizer) -> float:
    """The largest error of the gradient of `rasterize`, relative to its largest entry.

    The image is linear in the colours: there a step of 1/2 has no error but rounding.
    """
    inputs = {"image_size": image_size, "rasterizer": rasterizer}
    step = {"corners": tolerances.FINITE_DIFFERENCE_STEP, "colors": 0.5}[by]
    image, vjp = tsr.rasterize(corners, colors, **inputs)
    cotangent = np.random.default_rng(0).normal(size=image.shape)
    gradient = dict(zip(("corners", "colors"), vjp(cotangent)))[by]
    moves = moves_of({"corners": corners, "colors": colors}[by], by, rasterizer)
    gradient = moves.reshape(len(moves), -1) @ gradient.ravel()
    expected = central_differences(corners, colors, by, **inputs, cotangent=cotangent, step=step)
    error = relative_error(gradient, expected)
    print(f"gradient of {by}: largest relative error {error:.1e}")
    return error


def upload(values, dtype, kind=float):
    array = ti.ndarray(kind, np.shape(values))
    array.from_numpy(np.ascontiguousarray(values, dtype))
    return array


def lay_surface(shader, varyings, textures, uniforms, dtype):
    """A `Surface` of NumPy arrays; textures are those of faces."""
    resolution = round(textures.shape[2] ** (1 / shader.lookup.num_axes)) if shader.lookup else 0
    tables = (upload(table, dtype) for table in (varyings, textures, uniforms))
    return Surface(*tables, upload([resolution], np.int32, int))


def crossing_scene():
    """(2, 5, 3, 4) clip corners of two views, and (1, 5, 3, 3) colours of the corners.

    Some faces reach behind the camera, and some before the depth 1, with one corner or two.
    """
    generator = np.random.default_rng(3)
    corners = generator.uniform(-1, 1, (2, 5, 3, 4)) * [2.0, 1.5, 1.0, 1.0]
    corners[..., 2] = generator.uniform(1.2, 3, (2, 5, 3))
    corners[0, 0, 0, 2] = -0.5
    corners[0, 1, :2, 2] = -0.7, 0.4
    corners[0, 2, 1, 2] = 0.3
    corners[1, 3, 1, 2] = -0.3
    corners[..., 3] = corners[..., 2]
    return corners, generator.uniform(size=(1, 5, 3, 3))
