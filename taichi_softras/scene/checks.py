"""Checks at the door of the scene: a user's value in, a finite array of the right shape out."""

import numpy as np
import taichi as ti

from taichi_softras.runtime import default_numpy_float

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
    given = np.asarray(value, np.float64)
    check_shape(name, given, shape)
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(given, default_numpy_float())
    if not np.isfinite(array).all():
        count = np.count_nonzero(~np.isfinite(array))
        what = "too large" if np.isfinite(given).all() else "NaN or infinite"
        raise ValueError(f"{name} must be finite, got {count} entries that are {what}")
    return array


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
