"""The methods with every choice that compiles, and with random numbers, which compile nothing."""

import itertools
from typing import NamedTuple

import taichi_softras as tsr
from tests.hostile.dice import Dice

BLENDS = ("softmax", "sigmoid_alpha", "hard")
DISTANCES = ("euclidean", "barycentric", "hard")
ALPHAS = ("product", "sum", "hard")


class Choices(NamedTuple):
    """What of a method is compiled in."""

    method: type
    options: dict


def choices_of(looks: int) -> list:
    """(look, `Choices`): every look, a number below `looks`, with every choice of each method.

    Of the soft methods these are not all combinations: any two choices meet.
    """
    result = []
    for look, k in itertools.product(range(looks), range(3)):
        soft = {
            "distance": DISTANCES[k],
            "alpha": ALPHAS[(look + k) % 3],
            "color": ("softmax", "hard")[(look + k) % 2],
            "perspective_correct": (look // 2 + k) % 2 == 0,
            "double_sided": (look // 3 + k) % 2 == 0,
        }
        nearest = {
            "blend": BLENDS[k],
            "clip_barycentric_coords": (look + k) % 2 == 0,
            "perspective_correct": (look // 2 + k) % 2 == 0,
            "cull_backfaces": (look // 3 + k) % 2 == 0,
        }
        result.append((look, Choices(tsr.SoftAggregation, soft)))
        result.append((look, Choices(tsr.KNearest, nearest)))
        if k == 0:
            result.append((look, Choices(tsr.ApproximateGradient, {})))
        elif k == 1:
            result.append((look, Choices(tsr.FilteredDerivative, {"overdraw": look % 2 == 0})))
            result.append((look, Choices(tsr.Antialiased, {})))
        else:
            result.append((look, Choices(tsr.Prefiltered, {})))
    return result


def make_rasterizer(dice: Dice, choices: Choices, channels: int):
    """The method with its choices and random numbers.

    Raises:
        ValueError: for numbers that are refused.
    """
    near = dice.number(*dice.choice(((1e-6, 1e4), (0.1, 10.0))))
    numbers = {
        "near": near,
        "far": make_far(dice, near),
        "background": tuple(dice.colors(channels).tolist()) if channels else 0.0,
    }
    if choices.method is tsr.SoftAggregation:
        numbers.update(
            gamma=dice.number(1e-6, 10.0),
            coverage_cutoff=dice.scale(1e-9, 0.499),
            background_depth=dice.generator.uniform(-0.5, 1.5),
        )
        if dice.chance(0.3):
            numbers["sigma_pixels"] = dice.number(1e-3, 10.0)
        else:
            numbers["sigma"] = dice.number(1e-9, 10.0)
    elif choices.method is tsr.KNearest:
        numbers.update(
            faces_per_pixel=int(dice.choice((1, 2, 7, 8, 9, 50, 1000))),
            sigma=dice.number(1e-9, 10.0),
            gamma=dice.number(1e-6, 10.0),
            blur_radius=dice.choice((None, 0.0, dice.number(1e-9, 10.0))),
        )
    else:
        numbers["double_sided"] = dice.chance(0.6)
    if choices.method is tsr.Prefiltered:
        numbers.update(sigma_pixels=dice.scale(0.3, 10.0), inner_edges=dice.chance(0.3))
    if choices.method is tsr.ApproximateGradient:
        numbers.update(eps=dice.number(1e-9, 10.0), anti_aliasing=dice.chance(0.3))
    return choices.method(**choices.options, **numbers)


def make_far(dice: Dice, near: float) -> float:
    """Behind `near`, rarely so little that single precision may not tell."""
    if dice.chance(0.01):
        return dice.extreme()
    if dice.chance(0.02):
        dice.may_refuse = True
        return near * (1.0 + dice.scale(1e-8, 1e-5))
    return near * (1.0 + dice.scale(1e-3, 1e6))
