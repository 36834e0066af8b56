"""Whether an installation works: `python -m taichi_softras.smoke`, or with the name of an arch.

Draws a triangle, and holds its area and the area's derivative against those of geometry.
"""

import contextlib
import io
import math
import sys

import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti


def start(arch: str) -> None:
    """`ti.init` without a word, on this arch or not at all.

    Raises:
        RuntimeError: it does not start here.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            ti.init(arch=getattr(ti, arch), log_level=ti.ERROR, enable_fallback=False)
    except (RuntimeError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise RuntimeError(f"{arch} does not start here: {text}") from error


def main(arch: str = "cpu") -> int:
    """Prints what runs and what came out; 0 if that is right."""
    start(arch)
    mesh = tsr.Mesh(*tsr.primitives.triangle())
    camera = tsr.Camera.look_at((0, 0, 3), fov_y_degrees=50)
    size = 256
    renderer = tsr.Renderer(mesh, camera, (size, size), shading=tsr.Silhouette())
    area = renderer.render().to_numpy()[..., -1].sum()
    renderer.backward(np.ones((1, size, size, 1)))
    slope = mesh.vertices.grad.to_numpy()[:, 1].max()  # as the upper corner rises

    pixels = size / (2 * 3 * math.tan(math.radians(25)))  # of a unit at the triangle
    corners = mesh.vertices.to_numpy() * pixels
    base = np.ptp(corners[:, 0])
    expected = base * np.ptp(corners[:, 1]) / 2, base * pixels / 2
    errors = [abs(found / wanted - 1) for found, wanted in zip((area, slope), expected)]
    version = ".".join(map(str, ti.__version__))
    print(f"taichi_softras {tsr.__version__} on {ti.__name__} {version}, {arch}")
    print(f"area {area:.0f} pixels, derivative {slope:.0f}, errors {max(errors):.1e} or less")
    return int(max(errors) > 1e-2)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
