"""What was done on the gradient tape that is recording now.

Taichi's tape runs the adjoints of all kernels in reverse order and adds up gradients. It is
right only while each value is written once: a stage that several renderers share must run once
a tape, and an image that was drawn must not be drawn over.
"""

import weakref

from taichi.lang import impl


class TapeMemory:
    """A dictionary for each tape: empty when a new tape starts to record."""

    def __init__(self):
        self._tape = None
        self._values = {}

    def values(self) -> dict:
        """That of the tape which is recording; a new one at each call when none is."""
        tape = impl.get_runtime().target_tape
        if tape is None or impl.get_runtime().grad_replaced:
            return {}
        if self._tape is None or self._tape() is not tape:
            self._tape, self._values = weakref.ref(tape), {}
        return self._values
