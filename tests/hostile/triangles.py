"""Kinds of projected triangles that renderers stumble over."""

from typing import NamedTuple

import numpy as np

from taichi_softras import primitives
from tests.hostile.dice import Dice


class Frame(NamedTuple):
    """Where triangles are seen."""

    image_size: tuple  # (H, W)
    near: float
    far: float

    @property
    def half(self) -> np.ndarray:
        """(2,) x and y of the image's border, NDC."""
        height, width = self.image_size
        return np.array([width, height]) / min(height, width)


def ordinary(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """(count, 3, 3) of any position and size on the image, somewhere between near and far."""
    centres = dice.generator.uniform(-1.1, 1.1, (count, 1, 2)) * frame.half
    offsets = dice.scale(0.03, 2.0) * dice.generator.normal(size=(count, 3, 2))
    return join(centres + offsets, between(dice, frame, (count, 3)))


def join(positions: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """(.., 3) from (.., 2) positions and (..,) depths."""
    return np.concatenate([positions, depths[..., None]], axis=-1)


def between(dice: Dice, frame: Frame, shape: tuple) -> np.ndarray:
    """Depths in [near, far]; of a far that is much larger, near `near` as often."""
    reach = min(frame.far - frame.near, dice.choice((1.0, 10.0, np.inf)) * frame.near)
    return frame.near + reach * dice.generator.uniform(size=shape)


def closed(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """A surface whose faces share edges and corners, whatever the count."""
    vertices, faces = primitives.icosphere(0)
    depths = between(dice, frame, ()) * (1.0 + 0.1 * vertices[:, 2] * dice.generator.uniform())
    positions = dice.scale(0.1, 2.0) * vertices[:, :2] + 0.5 * dice.generator.normal(size=2)
    return join(positions, depths)[faces]


def slivers(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """A corner all but on the opposite edge."""
    faces = ordinary(dice, frame, count)
    share = dice.generator.uniform(-0.2, 1.2, (count, 1))
    faces[:, 2, :2] = (1 - share) * faces[:, 0, :2] + share * faces[:, 1, :2]
    faces[:, 2, :2] += dice.scale(1e-12, 1e-2) * dice.generator.normal(size=(count, 2))
    return faces


def without_area(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """Two or three corners in one place, or all on a line."""
    faces = ordinary(dice, frame, count)
    if dice.chance(0.3):
        faces[:, 2] = faces[:, 1]
    elif dice.chance(0.5):
        faces[:, 1:] = faces[:, :1]
    else:
        faces[:, 2] = 0.5 * (faces[:, 0] + faces[:, 1])
    return faces


def coincident(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """The same face again and again: other first corners, both windings."""
    face = ordinary(dice, frame, 1)[0]
    turned = [np.roll(face, turn, axis=0) for turn in range(count)]
    return np.stack([f[::-1] if dice.chance(0.5) else f for f in turned])


def on_centres(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """Corners exactly on pixel centres, or on the lines between pixels: ties of distances."""
    height, width = frame.image_size
    counts = np.array([width, height])
    places = dice.generator.integers(-2, counts + 2, (count, 3, 2)) * dice.choice((1.0, 0.5))
    positions = (2.0 * places + 1.0 - counts) / min(height, width)
    depths = between(dice, frame, (count, 1 if dice.chance(0.5) else 3))
    return join(positions, np.broadcast_to(depths, (count, 3)))


def level(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """All at one depth, as large as the image: ties of depths."""
    faces = ordinary(dice, frame, count)
    faces[..., 2] = between(dice, frame, ())
    return faces


def at_limits(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """Depths that are near or far exactly, or beyond."""
    faces = ordinary(dice, frame, count)
    limits = np.array([frame.near, frame.far, frame.near / 2, frame.far * 2])
    faces[..., 2] = limits[dice.generator.integers(4, size=(count, 3))]
    return faces


def behind(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """All or some corners at depths of 0 or less."""
    faces = ordinary(dice, frame, count)
    corners = dice.generator.random((count, 3)) < dice.choice((0.4, 1.0))
    faces[..., 2] = np.where(corners, -faces[..., 2] * dice.choice((0.0, 1e-9, 1.0)), faces[..., 2])
    return faces


def huge(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """Far larger than the image, as around a camera that is inside."""
    faces = ordinary(dice, frame, count)
    faces[..., :2] *= dice.scale(10.0, 1e9)
    return faces


def tiny(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """Far smaller than a pixel."""
    faces = ordinary(dice, frame, count)
    centres = faces.mean(axis=1, keepdims=True)
    return centres + (faces - centres) * dice.scale(1e-12, 1e-2)


def steep(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """Depths of many magnitudes in one face."""
    faces = ordinary(dice, frame, count)
    faces[..., 2] = 10.0 ** dice.generator.uniform(-7, dice.choice((3, 11)), (count, 3))
    return faces


def outside(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """Beside the image."""
    faces = ordinary(dice, frame, count)
    faces[..., :2] += 10.0 * frame.half * dice.choice((-1.0, 1.0))
    return faces


def extreme(dice: Dice, frame: Frame, count: int) -> np.ndarray:
    """Coordinates that no product can hold."""
    faces = ordinary(dice, frame, count)
    entries = dice.generator.random(faces.shape) < 0.3
    signs = np.where(dice.chance(0.5), 1.0, dice.generator.choice((-1.0, 1.0), faces.shape))
    return np.where(entries, signs * dice.extreme(), faces)


def zoom(dice: Dice, faces: np.ndarray) -> np.ndarray:
    """Sometimes far larger, or far smaller, around the image's centre."""
    if dice.chance(0.15):
        scale = dice.scale(1e-9, 1e9)
        dice.words.append(f"{scale:.0e} x")
        with np.errstate(over="ignore"):
            faces = faces * (scale, scale, 1.0)
    return faces


KINDS = (
    ordinary,
    closed,
    slivers,
    without_area,
    coincident,
    on_centres,
    level,
    at_limits,
    behind,
    huge,
    tiny,
    steep,
    outside,
    extreme,
)


def make_triangles(dice: Dice, frame: Frame) -> np.ndarray:
    """(F, 3, 3): x_ndc, y_ndc and depth of up to four kinds together; rarely no face at all."""
    kinds = [ordinary, *(dice.choice(KINDS) for _ in range(dice.generator.integers(4)))]
    if dice.chance(0.01):
        kinds = []
    dice.words += [kind.__name__ for kind in kinds]
    counts = dice.generator.integers(1, dice.choice((5, 13, 25)), len(kinds))
    faces = [zoom(dice, kind(dice, frame, count)) for kind, count in zip(kinds, counts)]
    faces = np.concatenate([np.zeros((0, 3, 3)), *faces])
    return faces[dice.generator.permutation(len(faces))]
