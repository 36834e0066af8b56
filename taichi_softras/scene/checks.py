"""Checks at the door of the scene: a user's value in, a finite array of the right shape out."""

import numpy as np

from taichi_softras.runtime import default_numpy_float


def finite_array(name: str, value, shape: tuple) -> np.ndarray:
    """`value` as an array of the default float type.

    Args:
        name: what the user calls it.
        value: anything that `numpy.asarray` takes.
        shape: an int for each fixed extent, a letter for each free one, equal letters for equal
            extents: `("F", "R", "R", 3)`.

    Raises:
        ValueError: another shape, nothing in it, or entries that are NaN or infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of a signalling NaN
        given = np.asarray(value, np.float64)
        check_shape(name, given, shape)
        array = np.ascontiguousarray(given, default_numpy_float())
    if not np.isfinite(array).all():
        count = np.count_nonzero(~np.isfinite(array))
        raise ValueError(f"{name} must be finite, got {count} entries that are NaN or infinite")
    return array


def check_shape(name: str, array: np.ndarray, shape: tuple) -> None:
    """Raises a ValueError unless `array` has this shape and is not empty; see `finite_array`."""
    extents = {extent: extent for extent in shape if isinstance(extent, int)}
    fits = array.ndim == len(shape) and all(
        extents.setdefault(wanted, extent) == extent for wanted, extent in zip(shape, array.shape)
    )
    if not fits or array.size == 0:
        wanted = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        raise ValueError(f"{name} must have shape ({wanted}), not empty, got {array.shape}")
