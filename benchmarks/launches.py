"""Which kernels are launched, and which are compiled anew. By names that `runtime` keeps."""

import contextlib
from collections.abc import Iterator

from taichi_softras import runtime
from taichi_softras.runtime import Kernel, variants_of


class Meter:
    """Names of kernels, in the order in which Python called them.

    Attributes:
        launches: this package's and its users'.
        launches_of_taichi: the runtime's own, as `clear_gradients`.
        variants: all that were compiled: for new fields, templates or precisions.
    """

    def __init__(self):
        self.launches, self.launches_of_taichi, self.variants = [], [], []


class Forgetful(dict):
    """In place of the launchers that `runtime.kernel` remembers: all goes through Taichi."""

    def get(self, key, default=None):
        """Nothing is there but other forgetful ones."""
        return Forgetful() if key is runtime.current_runtime()() else None


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Counts until the block ends; launches cost more within it."""
    meter = Meter()
    materialize, launch, launchers = Kernel.materialize, Kernel.launch_kernel, runtime._variants

    def counting_materialize(kernel, *args, **options):
        before = len(variants_of(kernel))
        materialize(kernel, *args, **options)
        if len(variants_of(kernel)) > before:
            meter.variants.append(kernel.func.__name__)

    def counting_launch(kernel, *args, **options):
        is_of_taichi = kernel.func.__module__ == runtime._kernels.__name__
        launches = meter.launches_of_taichi if is_of_taichi else meter.launches
        launches.append(kernel.func.__name__)
        return launch(kernel, *args, **options)

    Kernel.materialize, Kernel.launch_kernel = counting_materialize, counting_launch
    runtime._variants = Forgetful()
    try:
        yield meter
    finally:
        Kernel.materialize, Kernel.launch_kernel = materialize, launch
        runtime._variants = launchers
