"""The arrays of one rasterization: made once, reused while shapes stay.

Arrays, not fields: a kernel on arrays compiles once for all shapes and renderers, and
an array's memory is freed. Kernels never take the gradient that Taichi ties to an
array (it is wrong on Vulkan): gradients are arrays of their own.
"""

import math
import weakref
from typing import Callable, Optional

import numpy as np

from taichi_softras.runtime import (
    current_runtime,
    default_numpy_float,
    is_cpu,
    memory,
    numpy_type,
    require_taichi,
    ti,
    unrecorded,
)

MAX_PAIRS = 2**28  # 1 GiB of a CPU's memory, 2 of a GPU's
MOST_ENTRIES = 2**31 - 1  # of an array or a loop: kernels count in 32 bits
ADVICE = (
    "lower image_size, or the number of faces, of views that are drawn together (views_per_pass) "
    "or of a Jacobian's parameters"
)


def array(dtype: type, ndim: int) -> object:
    """The type of a kernel argument: an array that Taichi must not differentiate."""
    return ti.types.ndarray(dtype=dtype, ndim=ndim, needs_grad=False)


def write_array(array: ti.Ndarray, values: np.ndarray) -> None:
    """Writes as many numbers as an array has, on a CPU without a kernel; no tape records it."""
    values = np.reshape(values, array.shape)
    if is_cpu():
        memory.view_array(array)[...] = values
        return
    with unrecorded():
        array.from_numpy(np.ascontiguousarray(values, numpy_type(array)))


def read_array(array: ti.Ndarray) -> np.ndarray:
    """A copy."""
    return memory.view_array(array).copy() if is_cpu() else array.to_numpy()


def describe_scene(image_size: tuple, num_views: int, num_faces: int) -> str:
    """In the words of users, for errors."""
    return f"image_size {tuple(image_size)} with num_views {num_views} and num_faces {num_faces}"


def memory_bytes() -> float:
    """What is free. Linux hands out more, and then ends the process; others are not asked."""
    try:
        with open("/proc/meminfo") as lines:
            fields = dict(line.split(":") for line in lines)
        return 1024.0 * int(fields["MemAvailable"].split()[0])
    except (OSError, KeyError):
        return math.inf


def check_entries(scene: str, name: str, shape: tuple) -> None:
    """Raises a ValueError for more entries than kernels can count.

    Args:
        scene: what is too large.
        name: of what it needs, an array or a loop.
        shape: of that.
    """
    entries = math.prod(shape)
    if entries > MOST_ENTRIES:
        product = " x ".join(map(str, shape))
        raise ValueError(
            f"{scene} needs {product} = {entries:,} entries of {name!r}, and kernels count to "
            f"{MOST_ENTRIES:,}: {ADVICE}"
        )


def is_due(count: int) -> bool:
    """Whether to look again at call `count`: at 1, 2, 4, 8... as reading waits for the device."""
    return count & (count - 1) == 0


def check_max_pairs(max_pairs: int) -> int:
    """A whole number that is at least 1 and below MOST_ENTRIES, or a ValueError."""
    is_whole = isinstance(max_pairs, (int, np.integer)) and not isinstance(max_pairs, bool)
    if not is_whole or not 1 <= max_pairs < MOST_ENTRIES:
        raise ValueError(
            f"max_pairs must be an integer from 1 to {MOST_ENTRIES - 1:,}, got {max_pairs!r}"
        )
    return int(max_pairs)


MOST_FREE = 2**28  # bytes of workspaces that are kept for the next call of their kind


class Workspace:
    """Named arrays, allocated when first asked for and again when the shape changes.

    Attributes:
        scene: what it is for, see `describe_scene`.
        max_pairs: (tile, face) pairs that are in memory at a time, see `binning.Bins`.
        near_clip: depth at which faces are cut, see `rasterizers.clipping`; None where nobody cuts.
        num_cut_rows: how many of the faces that are drawn now are pieces of cut ones.
        has_own_faces: whether each view has faces of its own, and not all those of the first one
            at other places.
    """

    def __init__(
        self,
        scene: str = "this scene",
        max_pairs: int = MAX_PAIRS,
        near_clip: Optional[float] = None,
    ):
        require_taichi()
        self.scene = scene
        self.max_pairs = check_max_pairs(max_pairs)
        self.near_clip = near_clip
        self.num_cut_rows = 0
        self.has_own_faces = False
        self._arrays = {}
        self._constants = {}

    def another(self) -> "Workspace":
        """An empty one for the same scene."""
        workspace = Workspace(self.scene, self.max_pairs, self.near_clip)
        workspace.has_own_faces = self.has_own_faces
        return workspace

    def get(self, name: str, shape: tuple, dtype: type = float) -> ti.Ndarray:
        """The array `name` of exactly this shape; zeros when it is new.

        Raises:
            ValueError, MemoryError: as `new`.
        """
        array = self._arrays.get(name)
        if array is None or tuple(array.shape) != tuple(shape):
            array = self._arrays[name] = self.new(name, shape, dtype)
        return array

    def get_list(self, name: str, length: int, most: int, dtype: type = int) -> ti.Ndarray:
        """The array `name` of at least this length; grows by a quarter more, if below `most`."""
        array = self._arrays.get(name)
        if array is None or array.shape[0] < length:
            self._arrays.pop(name, None)  # first, as both may be large
            longer = max(1, length, min(length + length // 4, most))
            array = self._arrays[name] = self.new(name, (longer,), dtype)
        return array

    def new(self, name: str, shape: tuple, dtype: type = float) -> ti.Ndarray:
        """An array of zeros, which the caller keeps.

        Raises:
            ValueError: for more entries than kernels can count.
            MemoryError: for more than there is room for.
        """
        check_entries(self.scene, name, shape)
        try:
            return ti.ndarray(dtype, shape)
        except RuntimeError as error:
            raise MemoryError(
                f"{self.scene} needs {math.prod(shape):,} entries of {name!r}, for which there is "
                f"no memory: {ADVICE}, or max_pairs"
            ) from error

    @property
    def num_bytes(self) -> int:
        """Of all arrays, as far as their type is that of `float`."""
        size = np.dtype(default_numpy_float()).itemsize
        return size * sum(math.prod(array.shape) for array in self._arrays.values())

    def constants(self, name: str, values: tuple, dtype: type = float) -> ti.Ndarray:
        """The array `name` of a few numbers; they go to the device only when they change.

        A kernel's launch costs by the argument, so numbers travel together.
        """
        array = self.get(name, (max(len(values), 1),), dtype)
        kept = self._constants.get(name)
        is_same = kept is not None and (kept[1] is values or kept[1] == values)
        if not is_same or kept[0] is not array:
            write_array(array, np.array(values or (0,)))
            self._constants[name] = array, values
        return array


class Pool:
    """Workspaces that nobody uses, by what they are for: to make an array costs 0.1 ms.

    They are lent until their borrower is gone, and then kept, up to `MOST_FREE` bytes.
    """

    def __init__(self):
        self._runtime, self._free = None, []  # (key, workspace), the oldest first

    def lend(self, borrower: object, key: tuple, make: Callable[[], Workspace]) -> Workspace:
        """A workspace of this key, for as long as `borrower` lives."""
        runtime = current_runtime()
        if runtime != self._runtime:
            self._runtime, self._free = runtime, []
        found = next((pair for pair in reversed(self._free) if pair[0] == key), None)
        if found is not None:
            self._free.remove(found)
        workspace = make() if found is None else found[1]
        weakref.finalize(borrower, self._take_back, runtime, key, workspace).atexit = False
        return workspace

    def _take_back(self, runtime: weakref.ref, key: tuple, workspace: Workspace) -> None:
        if runtime() is None or runtime != self._runtime:
            return
        self._free.append((key, workspace))
        while sum(one.num_bytes for _, one in self._free) > MOST_FREE:
            self._free.pop(0)
