"""Every adjoint of a fragment's way, from the distance to a face to the colour of a pixel."""

import numpy as np
import pytest

from taichi_softras.funcs.aggregation import ALPHAS
from taichi_softras.funcs.coverage import DISTANCES
from taichi_softras.funcs.interpolation import (
    AFFINE,
    CLIP_BELOW,
    CLIP_TO_RANGE,
    PERSPECTIVE,
    SCREEN,
    UNCLIPPED,
)
from taichi_softras.funcs.lookups import CUBES
from taichi_softras.funcs.numeric import sigmoid
from taichi_softras.funcs.triangle import (
    barycentric,
    barycentric_vjp,
    make_triangle,
    signed_area,
    squared_distance,
    squared_distance_vjp,
)
from taichi_softras.rasterizers.faces import (
    BOX_SIZE,
    RECORD_SIZE,
    clip_corner_vjp,
    load_clip_corner,
    set_up_faces,
)
from taichi_softras.rasterizers.fragments import shade, shade_vjp
from taichi_softras.runtime import ti
from taichi_softras.shading.composition import Looks, compose
from taichi_softras.shading.unlit import Unlit
from tests.funcs.derivatives import check_derivatives
from tests.rasterizers.test_visible_colors import Glow, Tint

POINTS = 200
SIZE = 8  # pixels of an image's side: half pixels in one NDC
NOTHING = np.zeros((POINTS, 1))  # `check_derivatives` takes its last input as constant

pytestmark = pytest.mark.f64


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@ti.func
def part(vector: ti.template(), first: ti.template(), count: ti.template()):
    """Some entries of a vector."""
    return ti.Vector([vector[first + k] for k in ti.static(range(count))])


@ti.func
def put(values: ti.template(), i: int, first: ti.template(), part: ti.template()):
    """Writes a vector to some entries of a field's."""
    for k in ti.static(range(part.n)):
        values[i][first + k] = part[k]


# --- the distance to a triangle ---


@ti.func
def triangle_of(corners: ti.template()):
    """`make_triangle` of x, y of a, b, c, with any planes."""
    a, b, c = part(corners, 0, 2), part(corners, 2, 2), part(corners, 4, 2)
    inverse_lengths = 1.0 / ti.Vector([(b - a).norm(), (c - b).norm(), (a - c).norm()])
    planes = ti.Struct(
        inverse_w=ti.Vector([1.0, 1.0, 1.0]), depth_over_w=ti.Vector([1.0, 1.0, 1.0])
    )
    return make_triangle(a, b, c, 1.0 / signed_area(a, b, c), inverse_lengths, planes)


def random_triangles(generator):
    """Corners (N, 6) and pixels (N, 2), some inside, some outside."""
    corners = generator.uniform(-1, 1, (POINTS, 6))
    areas = np.linalg.det(corners.reshape(-1, 3, 2)[:, 1:] - corners.reshape(-1, 3, 2)[:, :1])
    corners[np.abs(areas) < 0.2] = [-1, -0.9, 1, -0.8, 0.1, 0.9]
    return corners, generator.uniform(-1, 1, (POINTS, 2))


@pytest.mark.parametrize("name", ["euclidean", "barycentric"])
def test_signed_distance(backend, generator, name):
    """The third one is a step."""
    distance = DISTANCES[name]

    @ti.kernel
    def measure(inputs: ti.template(), values: ti.template()):
        for i in values:
            triangle = triangle_of(inputs[0][i])
            weights = barycentric(inputs[1][i], triangle)
            values[i][0] = distance.signed(inputs[1][i], triangle, weights)

    @ti.kernel
    def pull_back(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
        for i in grad:
            triangle = triangle_of(inputs[0][i])
            weights = barycentric(inputs[1][i], triangle)
            pulls = distance.signed_vjp(inputs[1][i], triangle, weights, grad[i][0])
            for corner in ti.static(range(3)):
                put(gradients[0], i, 2 * corner, pulls[corner])

    corners, pixels = random_triangles(generator)
    check_derivatives(measure, pull_back, None, {"corners": corners, "pixels": pixels}, 1)


@ti.kernel
def locate(inputs: ti.template(), values: ti.template()):
    for i in values:
        triangle = triangle_of(inputs[0][i])
        put(values, i, 0, barycentric(inputs[1][i], triangle))
        values[i][3] = squared_distance(inputs[1][i], triangle)


@ti.kernel
def locate_backward(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    """As the docstring says, corner j gets -w_j pull; the pixel the opposite of the corners."""
    for i in grad:
        triangle = triangle_of(inputs[0][i])
        weights = barycentric(inputs[1][i], triangle)
        pull = barycentric_vjp(triangle, part(grad[i], 0, 3))
        pulls = squared_distance_vjp(inputs[1][i], triangle, grad[i][3])
        gradients[1][i] = pull - pulls[0] - pulls[1] - pulls[2]
        for corner in ti.static(range(3)):
            put(gradients[0], i, 2 * corner, pulls[corner] - weights[corner] * pull)


def test_barycentric_and_squared_distance(backend, generator):
    corners, pixels = random_triangles(generator)
    inputs = {"corners": corners, "pixels": pixels, "nothing": NOTHING}
    check_derivatives(locate, locate_backward, None, inputs, 4)


# --- a point on the face ---

PLACES = {"perspective": PERSPECTIVE, "screen": SCREEN, "affine": AFFINE}
CLIPS = {"range": CLIP_TO_RANGE, "below": CLIP_BELOW, "unclipped": UNCLIPPED}


@ti.func
def planes_of(inputs: ti.template(), i: int):
    return ti.Struct(inverse_w=inputs[1][i], depth_over_w=inputs[2][i])


@pytest.mark.parametrize(
    "place, clip",
    [
        ("perspective", "range"),
        ("screen", "range"),
        ("affine", "below"),
        ("perspective", "unclipped"),
    ],
)
def test_place_of_clipped_weights(backend, generator, place, clip):
    interpolation, clipping = PLACES[place], CLIPS[clip]

    @ti.kernel
    def interpolate(inputs: ti.template(), values: ti.template()):
        for i in values:
            point = interpolation.place(clipping.clip(inputs[0][i]), planes_of(inputs, i))
            put(values, i, 0, point.used)
            values[i][3] = point.depth

    @ti.kernel
    def pull_back(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
        for i in grad:
            clipped = clipping.clip(inputs[0][i])
            planes = planes_of(inputs, i)
            point = interpolation.place(clipped, planes)
            grad_clipped, grad_inverse_w, grad_depth_over_w = interpolation.place_vjp(
                clipped, planes, point, part(grad[i], 0, 3), grad[i][3]
            )
            gradients[0][i] = clipping.clip_vjp(inputs[0][i], grad_clipped)
            gradients[1][i] = grad_inverse_w
            gradients[2][i] = grad_depth_over_w

    weights = generator.uniform(-1.5, 2.0, (POINTS, 3))
    if clip == "unclipped":  # beyond the horizon of a face nothing moves
        weights = generator.uniform(-0.2, 2.0, (POINTS, 3))
        weights[:, 2] = 1.5
    weights[:, 2] = np.abs(weights[:, 2])
    planes = generator.uniform(0.5, 1.5, (2, POINTS, 3))
    inputs = {"weights": weights, "inverse_w": planes[0], "depth_over_w": planes[1]}
    check_derivatives(interpolate, pull_back, None, {**inputs, "nothing": NOTHING}, 4)


# --- corners in clip coordinates ---


@pytest.mark.parametrize("components", [3, 4])
def test_corners(backend, generator, components):
    """Position, 1 / w and depth / w; of divided corners the last is constant and has no adjoint."""
    corners = ti.field(float, (1, POINTS, 3, components), needs_grad=True)
    num_values = components  # of a corner

    @ti.kernel
    def lay(inputs: ti.template()):
        for i in inputs[0]:
            for corner, k in ti.static(ti.ndrange(3, components)):
                corners[0, i, corner, k] = inputs[0][i][components * corner + k]

    @ti.kernel
    def divide(values: ti.template()):
        for i in values:
            for corner in ti.static(range(3)):
                point = load_clip_corner(corners, 0, i, corner)
                put(values, i, num_values * corner, point.position)
                values[i][num_values * corner + 2] = point.inverse_w
                if ti.static(components == 4):
                    values[i][num_values * corner + 3] = point.depth_over_w

    @ti.kernel
    def set_up(records: ti.types.ndarray(), boxes: ti.types.ndarray(), status: ti.types.ndarray()):
        set_up_faces(corners, SIZE, SIZE, 0.1, 0.0, records, boxes, status)

    @ti.kernel
    def pull_back_corners(
        grad: ti.template(), gradients: ti.template(), records: ti.types.ndarray()
    ):
        for i in grad:
            for corner in ti.static(range(3)):
                grads = part(grad[i], num_values * corner, num_values)
                grad_depth_over_w = 0.0
                if ti.static(components == 4):
                    grad_depth_over_w = grads[3]
                pulled = clip_corner_vjp(
                    records,
                    SIZE,
                    i,
                    corner,
                    components,
                    part(grads, 0, 2) / SIZE,
                    grads[2],
                    grad_depth_over_w,
                )
                put(gradients[0], i, components * corner, part(pulled, 0, components))

    def primal(inputs, values):
        lay(inputs)
        divide(values)

    def pull_back(inputs, grad, gradients):
        lay(inputs)
        records = ti.ndarray(float, (POINTS, RECORD_SIZE))
        set_up(records, ti.ndarray(int, (POINTS, BOX_SIZE)), ti.ndarray(int, 3))
        pull_back_corners(grad, gradients, records)

    values = generator.uniform(-1, 1, (POINTS, 3, components))
    values[..., 2:] += 2.0
    inputs = {"corners": values.reshape(POINTS, -1), "nothing": NOTHING}
    check_derivatives(primal, pull_back, None, inputs, 3 * num_values)


# --- textures and colours ---


@ti.kernel
def share(inputs: ti.template(), values: ti.template()):
    for i in values:
        _, shares = CUBES.entries(inputs[0][i], 3)
        put(values, i, 0, shares)


@ti.kernel
def share_backward(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
    for i in grad:
        gradients[0][i] = CUBES.slopes(inputs[0][i], 3).transpose() @ grad[i]


def test_shares_of_a_texture_cube(backend, generator):
    """Inside and beyond the ends, where they stand still."""
    inputs = {"on_face": generator.uniform(-0.2, 1.2, (POINTS, 3)), "nothing": NOTHING}
    check_derivatives(share, share_backward, None, inputs, 8)


@pytest.mark.parametrize("lookup", [None, CUBES], ids=["corners", "textures"])
def test_shade(backend, generator, lookup):
    """Of three parts that read the same."""
    shader = compose([Glow(), Unlit(), Tint()], Looks(3, lookup)).shader

    @ti.kernel
    def paint(inputs: ti.template(), values: ti.template()):
        for i in values:
            values[i] = shade(shader, inputs[0][i], inputs[2][i], inputs[1][i])

    @ti.kernel
    def pull_back(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
        for i in grad:
            surface = ti.static(0)  # it has no panorama to look up
            grads = shade_vjp(shader, surface, inputs[0][i], inputs[2][i], inputs[1][i], grad[i])
            gradients[0][i] = grads.varyings
            gradients[1][i] = grads.uniforms
            if ti.static(shader.has_textures):
                gradients[2][i] = grads.samples

    sizes = {"varyings": shader.num_varyings, "uniforms": shader.num_uniforms}
    if shader.has_textures:
        sizes["samples"] = shader.num_samples
    inputs = {name: generator.uniform(0.5, 1.5, (POINTS, size)) for name, size in sizes.items()}
    inputs["nothing"] = NOTHING
    check_derivatives(paint, pull_back, None, inputs, shader.num_channels)


# --- the silhouette of three faces ---


@pytest.mark.parametrize("name", ALPHAS)
def test_alpha(backend, generator, name):
    alpha = ALPHAS[name]

    @ti.func
    def keep(x: ti.template()) -> float:
        kept = alpha.start
        for face in ti.static(range(3)):
            coverage, rest = sigmoid(x[face])
            kept = alpha.add(kept, coverage, rest, x[face] >= 0.0)
        return kept

    @ti.kernel
    def aggregate(inputs: ti.template(), values: ti.template()):
        for i in values:
            values[i][0] = alpha.resolve(keep(inputs[0][i]), 3)

    @ti.kernel
    def pull_back(inputs: ti.template(), grad: ti.template(), gradients: ti.template()):
        for i in grad:
            kept = keep(inputs[0][i])
            for face in ti.static(range(3)):
                coverage, _ = sigmoid(inputs[0][i][face])
                slope = alpha.slope(kept, coverage, 3)
                gradients[0][i][face] = grad[i][0] * slope

    inputs = {"x": generator.normal(0, 3, (POINTS, 3)), "nothing": NOTHING}
    check_derivatives(aggregate, pull_back, None, inputs, 1)
