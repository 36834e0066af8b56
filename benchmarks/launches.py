"""Which kernels are launched, and which are compiled anew. Reads private names."""

import contextlib
from collections.abc import Iterator

from taichi import _kernels
from taichi.lang.kernel_impl import Kernel

from taichi_softras import runtime


class Meter:
    """Names of kernels, in the order in which Python called them.

    Attributes:
        launches: this package's and its users'.
        launches_of_taichi: Taichi's own, as `clear_gradients`.
        variants: all that were compiled: for new fields, templates or precisions.
    """

    def __init__(self):
        self.launches, self.launches_of_taichi, self.variants = [], [], []


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Counts until the block ends."""
    meter = Meter()
    materialize, launch = Kernel.materialize, Kernel.launch_kernel

    def counting_materialize(kernel, key=None, args=None, arg_features=None):
        before = len(kernel.compiled_kernels)
        materialize(kernel, key, args, arg_features)
        if len(kernel.compiled_kernels) > before:
            meter.variants.append(kernel.func.__name__)

    def counting_launch(kernel, compiled, *args):
        is_of_taichi = kernel.func.__module__ == _kernels.__name__
        launches = meter.launches_of_taichi if is_of_taichi else meter.launches
        launches.append(kernel.func.__name__)
        return launch(kernel, compiled, *args)

    Kernel.materialize, Kernel.launch_kernel = counting_materialize, counting_launch
    variants, runtime._variants = runtime._variants, Forgetful()
    try:
        yield meter
    finally:
        Kernel.materialize, Kernel.launch_kernel = materialize, launch
        runtime._variants = variants


class Forgetful(dict):
    """In place of what `runtime.kernel` remembers: every launch goes through Taichi."""

    def __setitem__(self, key, value):
        """Keeps nothing."""
