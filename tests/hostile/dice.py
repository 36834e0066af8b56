"""Random numbers of a hostile scene, by its seed, and what they ask of the package."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# Finite numbers beyond what single precision, or any use, can hold.
EXTREMES = (1e-300, 1e-45, 1e-40, 1e-30, 1e-20, 1e15, 1e20, 1e30, 3e38, 1e39, 1e300)
NOT_FINITE = (np.nan, np.inf, -np.inf)
CHANCE_OF_EXTREME = 0.01  # a number
CHANCE_OF_POISON = 0.02  # an array


class Dice:
    """Draws numbers.

    Attributes:
        generator: of NumPy.
        may_refuse: whether a number is so far out that a ValueError is as right as an image.
        must_refuse: whether a number is NaN or infinite, so that nothing but a ValueError is right.
        words: what is hostile in the scene, for reports.
    """

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)
        self.may_refuse = self.must_refuse = False
        self.words = []

    def chance(self, probability: float) -> bool:
        """Whether something happens that has this probability."""
        return bool(self.generator.random() < probability)

    def choice(self, options: Sequence) -> Any:
        """One of a few."""
        return options[self.generator.integers(len(options))]

    def scale(self, low: float, high: float) -> float:
        """Between two positive numbers, all powers alike."""
        return float(np.exp(self.generator.uniform(np.log(low), np.log(high))))

    def number(self, low: float, high: float) -> float:
        """As `scale`, but rarely one of `EXTREMES`."""
        if self.chance(CHANCE_OF_EXTREME):
            return self.extreme()
        return self.scale(low, high)

    def extreme(self) -> float:
        """One of `EXTREMES`."""
        self.may_refuse = True
        number = self.choice(EXTREMES)
        self.words.append(f"{number:g}")
        return number

    def colors(self, *shape: int) -> np.ndarray:
        """Of any size and sign, most of them in [0, 1]."""
        values = self.generator.uniform(size=shape)
        if self.chance(0.2):
            values = self.scale(1e-6, 1e4) * (values - 0.5)
        if self.chance(0.1) and values.size:
            values[...] = values.flat[0]
        return self.poison(values, "colours")

    def poison(self, values: np.ndarray, name: str) -> np.ndarray:
        """The values, rarely with an entry that is extreme or not finite."""
        if self.chance(CHANCE_OF_POISON) and values.size:
            self.words.append(name)
            entry = self.generator.integers(values.size)
            if self.chance(0.5):
                values.flat[entry] = self.extreme()
            else:
                values.flat[entry] = self.choice(NOT_FINITE)
                self.must_refuse = True
        return values
