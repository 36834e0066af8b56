"""The heavy kernels compile once: neither another renderer nor another number makes a variant."""

import dataclasses
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras import rasterizers
from taichi_softras.fields import FieldTree
from taichi_softras.runtime import ti, variants_of
from tests.rasterizers.scenes import NUMBERS


def raster_kernels(package=rasterizers) -> list:
    """All kernels of `taichi_softras.rasterizers`, or of the whole package."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    modules = [importlib.import_module(module.name) for module in found if "__" not in module.name]
    members = [member for module in modules for _, member in inspect.getmembers(module)]
    kernels = {id(member): member for member in members if getattr(member, "_primal", None)}
    return list(kernels.values())


def count_variants(package=rasterizers) -> int:
    """How many variants of them were compiled, with those of their derivatives."""
    return sum(
        len(variants_of(kernel))
        for wrapper in raster_kernels(package)
        for kernel in (wrapper._primal, wrapper._adjoint)
    )


def draw(num_faces, image_size, **settings):
    """One image and its gradient through `tsr.rasterize`."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(-1, 1, (2, num_faces, 3, 3)) + [0, 0, 3]
    colors = generator.uniform(size=(1, num_faces, 3, 3))
    rasterizer = tsr.SoftAggregation(**{**NUMBERS, **settings})
    image, vjp = tsr.rasterize(corners, colors, image_size=image_size, rasterizer=rasterizer)
    vjp(np.ones_like(image))


def test_kernels_are_counted(backend):
    names = {kernel.__name__ for kernel in raster_kernels()}
    assert {"set_up_and_count", "draw_pixels", "find_nearest_faces"} <= names
    draw(5, (6, 7))
    assert count_variants() > 5


def test_numbers_and_sizes_compile_nothing(backend):
    draw(5, (6, 7))
    before = count_variants()
    for numbers in (
        {"sigma": 0.3},
        {"gamma": 0.7},
        {"near": 0.5},
        {"far": 50.0},
        {"coverage_cutoff": 1e-3},
        {"background": (0.7, 0.8, 0.9)},
        {"background_depth": 0.1},
        {"sigma": None, "sigma_pixels": 2.0},
    ):
        draw(5, (6, 7), **numbers)
        assert count_variants() == before, f"{numbers} made a kernel compile again"
    draw(40, (6, 7))
    draw(5, (30, 20))
    draw(1, (1, 1))
    draw(0, (6, 7))
    assert count_variants() == before


def test_numbers_of_k_nearest_compile_nothing(backend):
    """Nor does another K."""
    corners = np.random.default_rng(0).uniform(-1, 1, (2, 5, 3, 3)) + [0, 0, 3]
    variants = []
    for number in range(1, 4):
        inputs = {
            "image_size": (6, 7),
            "rasterizer": tsr.KNearest(
                5 * number, sigma=0.1 * number, gamma=0.1 * number, blur_radius=0.1 * number
            ),
        }
        image, vjp = tsr.rasterize(corners, corners[:1], **inputs)
        vjp(np.ones_like(image))
        tsr.fragments(corners, **inputs)
        variants.append(count_variants())
    assert variants[0] == variants[1] == variants[2]


def test_another_renderer_compiles_no_raster_kernel(backend):
    """Of another mesh, size, camera and other numbers; render and gradient."""
    tree = FieldTree()
    loss = tree.add(())
    tree.place()

    def render(primitive, image_size, num_views, sigma):
        view_from_world = np.tile(np.eye(4), (num_views, 1, 1))
        view_from_world[:, 2, 3] = -5
        cameras = tsr.Camera.from_matrices(
            view_from_world, np.diag([1, 1, 0, 1.0]), needs_grad=False
        )
        rasterizer = tsr.SoftAggregation(sigma=sigma)
        renderer = tsr.Renderer(
            tsr.Mesh(*primitive), cameras, image_size, rasterizer, shading=tsr.Silhouette()
        )
        with ti.ad.Tape(loss):
            renderer.render()

    render(tsr.primitives.triangle(), (6, 7), 1, 1e-2)
    before = count_variants()
    render(tsr.primitives.cube(), (20, 9), 2, 1e-3)
    assert count_variants() == before


def test_another_structure_does_compile(backend):
    """The count sees what it should see."""
    draw(5, (6, 7))
    before = count_variants()
    draw(5, (6, 7), distance="hard", alpha="sum", color="hard", perspective_correct=False)
    assert count_variants() > before


@pytest.mark.cpu
@pytest.mark.parametrize(
    "rasterizer",
    [tsr.ApproximateGradient(), tsr.FilteredDerivative()],
    ids=lambda value: type(value).__name__,
)
def test_another_z_buffer_renderer_compiles_no_raster_kernel(backend, rasterizer):
    """Of another mesh, size, camera and other numbers; under each kind of colour."""

    def draw(primitive, image_size, distance, **settings):
        vertices, faces = primitive
        cameras = tsr.Camera.look_at((0, 0, distance), needs_grad=False)
        cubes = {"texture_cubes": np.full((len(faces), 2, 2, 2, 3), 0.5)}
        for shading, colors in ((tsr.Flat(), {}), (tsr.Unlit(), cubes), (tsr.Depth(), {})):
            renderer = tsr.Renderer(
                tsr.Mesh(vertices, faces, **colors),
                cameras,
                image_size,
                dataclasses.replace(rasterizer, **settings),
                shading,
            )
            renderer.render()
            renderer.backward(np.ones((1, *image_size, renderer.image.n)))

    draw(tsr.primitives.triangle(), (6, 7), 5)
    before = count_variants()
    draw(tsr.primitives.cube(), (20, 9), 7, near=0.5, far=50.0, background=0.7)
    assert count_variants() == before
