"""How a loss adds up: its terms in an array, then in runs, on a CPU always in the same order.

Single precision loses little that way, and a step that is run again gives the same bits.
"""

from taichi_softras.runtime import ti

# A loop of at most so many iterations runs on one thread of a CPU, in order. Its length is known
# to the compiler: on a GPU a loop of another length would cost one more launch.
NUM_RUNS = 512


@ti.func
def start_of_run(run: int, num_runs: int, length: int) -> int:
    """Where one of the equal runs of `length` things starts, and the one before it ends."""
    return ti.min(run * ((length + num_runs - 1) // num_runs), length)


@ti.func
def add_terms(terms: ti.template(), num_terms: int, scale: float, loss: ti.template()):
    """Adds scale * sum of the first terms to `loss`; a loop of its own in a kernel.

    Args:
        terms: (N,) array.
        num_terms: how many there are, at most N.
        scale: factor.
        loss: () field.
    """
    for run in range(NUM_RUNS):
        start = start_of_run(run, NUM_RUNS, num_terms)
        end = start_of_run(run + 1, NUM_RUNS, num_terms)
        total = 0.0
        for i in range(start, end):
            total += terms[i]
        if start < end:
            loss[None] += scale * total
