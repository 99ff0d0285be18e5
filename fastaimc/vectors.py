"""Inputs of products: what is checked and counted of them, and how much goes at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastaimc.errors import InputError
from fastaimc.mapping import real_array

PATCH_VALUES = 2**19  # of the windows that are multiplied at a time: 2 MB stay in the second cache


def check_inputs(x: object, width: int) -> np.ndarray:
    """Return inputs (..., width) as float32, or raise `InputError`."""
    array = real_array("x", x, "fiub")
    if array.ndim == 0 or array.shape[-1] != width:
        raise InputError(f"x must be (..., {width}), got shape {array.shape}")
    with np.errstate(over="ignore"):  # what becomes inf saturates
        array = array.astype(np.float32, copy=False)
    _check_numbers(array)
    return array


def check_windows(images: np.ndarray, bases: np.ndarray, offsets: np.ndarray, limit: float) -> int:
    """Raise `InputError` for NaN; return how many |x| in all windows are beyond a limit.

    Windows are those of `AnalogMatrix.windows`.
    """
    _check_numbers(images)
    if beyond(images, limit) == 0:
        return 0
    seen = np.zeros(images.shape[1], dtype=np.int64)  # in how many windows each value is
    for offset in offsets:
        seen[bases + offset] += 1  # no two of them begin at the same
    return int(seen[np.flatnonzero(np.abs(images) > limit) % len(seen)].sum())


def _check_numbers(x: np.ndarray) -> None:
    if np.isnan(x).any():
        raise InputError(f"x must not hold NaN, got {int(np.isnan(x).sum())}")


def check_draw(draw: object, last: int) -> int:
    """Return the number of a vector in a stream of noise, or raise `InputError`."""
    if isinstance(draw, bool) or not isinstance(draw, int | np.integer):
        raise InputError(f"draw must be an integer, got {draw!r}")
    if not 0 <= draw <= last:
        raise InputError(f"draw must be from 0 to {last}, got {draw}")
    return int(draw)


def beyond(x: np.ndarray, limit: float) -> int:
    """Return how many |x| are larger, at the price of a look at the extremes where none is."""
    if x.size == 0:
        return 0
    above = np.count_nonzero(x > limit) if x.max() > limit else 0
    below = np.count_nonzero(x < -limit) if x.min() < -limit else 0
    return int(above + below)


def pieces(images: int, windows: int, inputs: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cut all windows of images into parts of whole images, or if they are large of one's.

    Yields
    ------
    tuple of slice
        Images, windows, and which of all vectors these are, image by image.
    """
    most = max(1, PATCH_VALUES // max(inputs, 1))
    together = max(1, most // max(windows, 1))
    each = windows if together > 1 else -(-windows // max(1, -(-windows // most)))
    for image in range(0, images, together):
        for window in range(0, windows, max(each, 1)):
            first = image * windows + window
            count = min(together, images - image) * min(each, windows - window)
            some, part = slice(image, image + together), slice(window, window + each)
            yield some, part, slice(first, first + count)
