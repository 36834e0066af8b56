"""The local speed limit: a hand-vectorised C++ soft rasterizer, compiled on the spot.

Same algorithm: binned, euclidean distance, softmax colour, product alpha, gathering adjoint
(without the gradient of colours through barycentrics, which ours has).
"""

import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from typing import Optional

import numpy as np

# its idle threads must not spin on the cores of the contestant whose turn is next
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

floats = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
ints = np.ctypeslib.ndpointer(np.int32, flags="C_CONTIGUOUS")


def load(source: pathlib.Path) -> Optional[ctypes.CDLL]:
    """Compiles the source; None where there is no source or no g++."""
    if not source.exists() or shutil.which("g++") is None:
        return None
    library = pathlib.Path(tempfile.mkdtemp()) / "libsoft_limit.so"
    flags = "-std=c++17 -O3 -march=native -ffast-math -fopenmp -shared -fPIC".split()
    subprocess.run(["g++", *flags, str(source), "-o", str(library)], check=True)
    limit = ctypes.CDLL(str(library))
    limit.sr_new.restype = ctypes.c_void_p
    limit.sr_new.argtypes = [ctypes.c_int] * 5 + [floats, ints, floats] + [ctypes.c_float] * 6
    limit.sr_setup.argtypes = [ctypes.c_void_p]
    limit.sr_forward.argtypes = [ctypes.c_void_p, floats, floats, ctypes.c_int]
    limit.sr_backward.argtypes = [ctypes.c_void_p] + [floats] * 5 + [ctypes.c_int]
    return limit


class SpeedLimit:
    """One scene in the C++ rasterizer; `step` times its three stages in seconds."""

    def __init__(self, limit, scene, rasterizer):
        views, num_vertices = scene.vertices_ndc.shape[:2]
        height, width = scene.image_size
        self.limit, self.is_silhouette = limit, int(scene.colors is None)
        colors = np.zeros((num_vertices, 3)) if scene.colors is None else scene.colors
        self.inputs = (
            np.ascontiguousarray(scene.vertices_ndc, np.float32),
            np.ascontiguousarray(scene.faces, np.int32),
            np.ascontiguousarray(colors, np.float32),
        )
        reach = rasterizer.sigma * np.log(1.0 / rasterizer.coverage_cutoff - 1.0)
        self.handle = limit.sr_new(
            views,
            num_vertices,
            len(scene.faces),
            height,
            width,
            *self.inputs,
            rasterizer.sigma,
            rasterizer.gamma,
            rasterizer.background_depth,
            rasterizer.near,
            rasterizer.far,
            reach,
        )
        self.image = np.zeros((views, 4, height, width), np.float32)
        self.state = np.zeros((views, 2, height, width), np.float32)
        self.grad_image = np.random.default_rng(0).random(self.image.shape, np.float32)
        self.grad_vertices = np.zeros((views, num_vertices, 3), np.float32)
        self.grad_colors = np.zeros((num_vertices, 3), np.float32)

    def step(self) -> tuple:
        """Seconds of set-up, forward, backward."""
        times = [time.perf_counter()]
        self.limit.sr_setup(self.handle)
        times.append(time.perf_counter())
        self.limit.sr_forward(self.handle, self.image, self.state, self.is_silhouette)
        times.append(time.perf_counter())
        self.limit.sr_backward(
            self.handle,
            self.image,
            self.state,
            self.grad_image,
            self.grad_vertices,
            self.grad_colors,
            self.is_silhouette,
        )
        times.append(time.perf_counter())
        return tuple(np.diff(times))
