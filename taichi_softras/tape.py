"""What was done on the gradient tape that is recording now.

Taichi's tape runs the adjoints of all calls in reverse order: an image that was drawn must not be
drawn over before its gradient has come.
"""

import weakref

from taichi_softras.runtime import recording_tape


class TapeMemory:
    """A dictionary for each tape: empty when a new tape starts to record."""

    def __init__(self):
        self._tape = None
        self._values = {}

    def values(self) -> dict:
        """That of the tape which is recording; a new one at each call when none is."""
        tape = recording_tape()
        if tape is None:
            return {}
        if self._tape is None or self._tape() is not tape:
            self._tape, self._values = weakref.ref(tape), {}
        return self._values
