"""What one runtime computes: `python -m tests.runtime_figures f64 exact file.npz`.

Images of every rasterizer under three kinds of shading, with `fast_math` (fast) or without (exact);
then also the losses of README's program. `test_runtimes` compares.
"""

import pathlib
import re
import sys

import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti

RASTERIZERS = {
    "SoftAggregation": tsr.SoftAggregation(),
    "SoftAggregation.liu2019": tsr.SoftAggregation.liu2019(),
    "KNearest": tsr.KNearest(50),
    "ApproximateGradient": tsr.ApproximateGradient(),
    "FilteredDerivative": tsr.FilteredDerivative(),
    "Prefiltered": tsr.Prefiltered(),
}
SHADINGS = {
    "silhouette": tsr.Silhouette(),
    "depth": tsr.Depth(),
    "gouraud": tsr.Gouraud(),
}
README = pathlib.Path(__file__).resolve().parent.parent / "README.md"


def images():
    """By rasterizer and shading: two views of two tori through each other."""
    vertices, faces = tsr.primitives.torus()
    turned = vertices[:, [1, 2, 0]] + [0.35, 0.1, 0.0]
    both = np.concatenate([vertices, turned]), np.concatenate([faces, faces + len(vertices)])
    colors = 0.5 + 0.5 * np.sin(7.0 * both[0] + [0.0, 1.0, 2.0])
    mesh = tsr.Mesh(*both, vertex_colors=colors)
    cameras = tsr.Camera.look_at(eye=tsr.orbit(2.7, 25, (10, 190)), fov_y_degrees=50)
    for name, rasterizer in RASTERIZERS.items():
        for kind, shading in SHADINGS.items():
            renderer = tsr.Renderer(mesh, cameras, (64, 64), rasterizer, shading=shading)
            yield f"{name} {kind}", renderer.render().to_numpy()


def losses_of_readme() -> list:
    """The program's own lines, but for the one that imports and those that begin and print."""
    program = re.search(r"```python\n(import taichi as ti, .*?)```", README.read_text(), re.DOTALL)
    losses = []
    kept = re.sub(r"(?m)^(import|ti\.init).*\n", "", program.group(1))
    kept = kept.replace("print(step, loss[None])", "losses.append(loss[None])")
    exec(kept, {"ti": ti, "tsr": tsr, "losses": losses})
    return losses


if __name__ == "__main__":
    precision, fast_math, path = sys.argv[1:]
    ti.init(
        arch=ti.cpu,
        default_fp=getattr(ti, precision),
        fast_math={"fast": True, "exact": False}[fast_math],
        log_level=ti.ERROR,
    )
    figures = dict(images())
    if fast_math == "exact":
        figures["losses"] = losses_of_readme()
    np.savez(path, **figures)
