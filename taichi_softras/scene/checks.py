"""Checks at the door of the scene: a user's value in, a finite array of the right shape out."""

import os
import warnings
from typing import Any

import numpy as np

from taichi_softras.runtime import default_numpy_float, refuse_other, ti

MOST_OF_INTEGERS = 1
MOST_OF_COLORS = 32.0
TOO_LARGE = 1e30  # of a colour or a light, where an image is none


def finite_array(name: str, value, shape: tuple) -> np.ndarray:
    """`value` as an array of the default float type.

    Args:
        name: what the user calls it.
        value: anything that `numpy.asarray` takes.
        shape: an int for each fixed extent, a letter for each free one, equal letters for equal
            extents: `("F", "R", "R", 3)`.

    Raises:
        ValueError: another shape, nothing in it, or entries that are NaN, infinite or too large.
    """
    refuse_other(name, value)
    with np.errstate(over="ignore", invalid="ignore"):  # of a signalling NaN
        given = np.asarray(value, np.float64)
        check_shape(name, given, shape)
        array = np.ascontiguousarray(given, default_numpy_float())
    if not np.isfinite(array).all():
        count = np.count_nonzero(~np.isfinite(array))
        what = "too large" if np.isfinite(given).all() else "NaN or infinite"
        raise ValueError(f"{name} must be finite, got {count} entries that are {what}")
    return array


def refuse_no_array(name: str, value: Any, load: str) -> None:
    """Raises a ValueError for a path or a field in place of a picture's array.

    Args:
        name: what the user calls it.
        value: anything.
        load: what reads a file.
    """
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        raise ValueError(f"{name} must be an array, got a path: write {load}({path!r})")
    if isinstance(value, ti.Field):
        raise ValueError(f"{name} must be an array, got a field: write field.to_numpy()")


def check_kind(name: str, value: Any, kinds: tuple, wanted: str) -> None:
    """Raises a ValueError unless `value` is of one of the classes.

    Args:
        name: what the user calls it.
        value: anything; a class is told to be called.
        kinds: classes.
        wanted: what to write.
    """
    if isinstance(value, type):
        raise ValueError(
            f"{name} must be a value, got the class {value.__name__}: write "
            f"{value.__name__}(...), with brackets"
        )
    if not isinstance(value, kinds):
        raise ValueError(f"{name} must be {wanted}, got {type(value).__name__}")


def warn_of_bytes(name: str, values: Any) -> None:
    """Warns of colours that seem to go from 0 to 255; those of lights may be a few times 1."""
    values = np.asarray(values)
    is_integer = np.issubdtype(values.dtype, np.integer)
    if values.size and values.max() > (MOST_OF_INTEGERS if is_integer else MOST_OF_COLORS):
        warnings.warn(
            f"{name} are up to {values.max():g}: colours are numbers from 0 to 1; if these go to "
            "255, divide by 255.0",
            stacklevel=3,
        )


def warn_of_radians(name: str, degrees: Any) -> None:
    """Warns of angles that seem to be radians: whole degrees, or an even turn, if they were.

    What is given in degrees is no multiple of pi / 180 within a ten-thousandth of a degree but by
    chance.
    """
    angles = np.ravel(np.asarray(degrees, float))
    if not angles.any() or np.abs(angles).max() > 2 * np.pi + 1e-4:
        return
    as_degrees = np.degrees(angles)
    is_whole = np.abs(as_degrees - np.rint(as_degrees)).max() < 1e-4
    turn, count = np.ptp(angles) / (2 * np.pi), len(angles)
    is_turn = count > 2 and bool(np.isclose([turn, turn * count / (count - 1)], 1, rtol=1e-5).any())
    if is_whole or is_turn:
        warn_of_degrees(name, angles)


def warn_of_degrees(name: str, angles: Any) -> None:
    """Says that radians seem to be given where degrees are meant."""
    warnings.warn(
        f"{name} are degrees, and {np.abs(angles).max():.4g} looks like radians: write "
        f"np.degrees(...)",
        stacklevel=4,
    )


def check_field(name: str, field: ti.Field) -> None:
    """Raises a ValueError that names the first entry that is NaN, infinite or too large."""
    values = field.to_numpy()
    for what, is_bad in (
        ("NaN or infinite", ~np.isfinite(values)),
        ("too large", np.abs(values) > TOO_LARGE),
    ):
        entries = np.argwhere(is_bad)
        if len(entries):
            place = f"[{', '.join(map(str, entries[0]))}]" if values.ndim else ""
            raise ValueError(
                f"{name} has {len(entries)} entries that are {what}, the first is "
                f"{name}{place} = {values[tuple(entries[0])]} (a step size that is too large often "
                "does this)"
            )


def check_shape(name: str, array: np.ndarray, shape: tuple) -> None:
    """Raises a ValueError unless `array` has this shape and is not empty; see `finite_array`."""
    extents = {extent: extent for extent in shape if isinstance(extent, int)}
    fits = array.ndim == len(shape) and all(
        extents.setdefault(wanted, extent) == extent for wanted, extent in zip(shape, array.shape)
    )
    if not fits or array.size == 0:
        wanted = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        raise ValueError(f"{name} must have shape ({wanted}), not empty, got {array.shape}")
