"""Cases for an exhaustive run alone: others check in pairs what these combine, or the same code."""

from collections.abc import Iterable

import pytest


def rarely(*values):
    """A case of `pytest.mark.parametrize` that `pytest -m exhaustive` runs."""
    return pytest.param(*values, marks=pytest.mark.exhaustive)


def mostly(cases: Iterable, in_every_run: Iterable) -> list:
    """All cases: some in every run, the others in an exhaustive one."""
    often = list(in_every_run)
    return [case if case in often else rarely(case) for case in cases]
