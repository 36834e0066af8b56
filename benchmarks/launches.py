"""Which kernels are launched, and which are compiled anew. Reads private names of Taichi 1.7."""

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


class Forgetful(dict):
    """In place of the launchers that `runtime.kernel` remembers: all goes through Taichi."""

    def get(self, key, default=None):
        """Nothing is there but other forgetful ones."""
        return Forgetful() if key is runtime.impl.get_runtime().prog else None


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Counts until the block ends; launches cost more within it."""
    meter = Meter()
    materialize, launch, launchers = Kernel.materialize, Kernel.launch_kernel, runtime._variants

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
    runtime._variants = Forgetful()
    try:
        yield meter
    finally:
        Kernel.materialize, Kernel.launch_kernel = materialize, launch
        runtime._variants = launchers
