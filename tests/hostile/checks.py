"""What holds of every image and gradient, and how it is told if it does not."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tests.hostile.dice import Dice
from tests.tolerances import ROUNDINGS_OF_A_SCENE


class Failure(NamedTuple):
    """What is wrong with a scene."""

    kind: str
    message: str


class Refused(Exception):
    """The scene was refused with a sentence, and rightly."""


class Findings:
    """What is wrong with one scene."""

    def __init__(self, dice: Dice, subject: str):
        self.dice, self.subject = dice, subject
        self.failures = []

    def add(self, what: str, message: str) -> None:
        """Notes a failure; those of one kind have `what` and the subject in common."""
        self.failures.append(Failure(f"{what} [{self.subject}]", message))

    @contextlib.contextmanager
    def refusals(self) -> Iterator[None]:
        """A ValueError ends the scene, and is a failure of an ordinary one; so is any other error.

        Of the warnings only those are silent that the package itself gives.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                warnings.simplefilter("error", RuntimeWarning)
                yield
        except ValueError as error:
            if not (self.dice.may_refuse or self.dice.must_refuse):
                self.add("refused without reason", str(error))
            raise Refused from error
        except Exception as error:
            self.add(type(error).__name__, str(error))
            raise Refused from error

    def check_image(self, image: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Finite; alpha in [0, 1]; each channel within its bounds, up to rounding.

        Args:
            image: (B, H, W, C + 1).
            low: (C,) the least of all colours, and of the background; minus infinity if unknown.
            high: (C,) the largest.
        """
        if self.dice.must_refuse:
            self.add("NaN was drawn", "an input is NaN or infinite, and there is an image")
            return
        if not self.check_finite("image", image):
            return
        alpha, colors = image[..., -1], image[..., :-1]
        if alpha.min() < 0.0 or alpha.max() > 1.0:
            self.add("alpha", f"alpha is from {alpha.min():.9g} to {alpha.max():.9g}")
        self.check_within("colour", colors, low, high)

    def check_within(self, name: str, values: np.ndarray, low: np.ndarray, high: np.ndarray):
        """Each channel, the last axis, within its bounds, up to rounding."""
        precision = np.finfo(values.dtype)
        largest = np.maximum(np.abs(low), np.abs(high))
        slack = ROUNDINGS_OF_A_SCENE * precision.eps * largest + precision.tiny
        beyond = np.maximum(low - slack - values, values - high - slack)
        if beyond.size and beyond.max() > 0.0:
            where = tuple(map(int, np.unravel_index(beyond.argmax(), beyond.shape)))
            bounds = f"[{low[where[-1]]:.9g}, {high[where[-1]]:.9g}]"
            self.add(f"{name}: not within", f"{values[where]:.9g} at {where} is not in {bounds}")

    def check_finite(self, name: str, values: np.ndarray) -> bool:
        """Whether all are; a failure if not."""
        for what, is_bad in (("NaN", np.isnan(values)), ("infinite", np.isinf(values))):
            if is_bad.any():
                where = tuple(map(int, np.argwhere(is_bad)[0]))
                message = f"{np.count_nonzero(is_bad)} of {values.size}, first at {where}"
                self.add(f"{name}: {what}", message)
                return False
        return True

    def check_same_bits(self, name: str, values: np.ndarray, again: np.ndarray) -> None:
        """Twice the same."""
        if values.tobytes() != again.tobytes():
            count = np.count_nonzero(values != again)
            largest = np.abs(values - again).max()
            self.add(f"{name}: other bits", f"{count} of {values.size}, by up to {largest:.3g}")
