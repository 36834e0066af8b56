"""Which kernels are launched, and which are compiled anew. By names that `runtime` keeps."""

import contextlib
from collections.abc import Iterator

from taichi_softras import runtime
from taichi_softras.runtime import Kernel, variants_of
from taichi_softras.runtime.choice import part


class Meter:
    """Names of kernels, in the order in which Python called them.

    Attributes:
        launches: this package's and its users'.
        launches_of_runtime: those of Taichi and of `runtime`, which copy and clear fields.
        variants: all that were compiled: for new fields, templates or precisions.
    """

    def __init__(self):
        self.launches, self.launches_of_runtime, self.variants = [], [], []


class Forgetful(dict):
    """In place of the launchers that `runtime.kernel` remembers: all goes through Taichi."""

    def get(self, key, default=None):
        """Nothing is there but other forgetful ones."""
        return Forgetful() if key is runtime.current_runtime()() else None


def is_of_runtime(kernel: Kernel) -> bool:
    """Whether a kernel is none of a step, but Taichi's or of `runtime`."""
    module = kernel.func.__module__
    return module == part("_kernels").__name__ or module.startswith(runtime.__name__)


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
        launches = meter.launches_of_runtime if is_of_runtime(kernel) else meter.launches
        launches.append(kernel.func.__name__)
        return launch(kernel, *args, **options)

    Kernel.materialize, Kernel.launch_kernel = counting_materialize, counting_launch
    runtime._variants = Forgetful()
    try:
        yield meter
    finally:
        Kernel.materialize, Kernel.launch_kernel = materialize, launch
        runtime._variants = launchers
