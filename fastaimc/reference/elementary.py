"""exp, log and pow as NumPy has them, rounded to float32 from float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def exp(x: ArrayLike) -> NDArray[np.float32]:
    """e^x of each element, as float32."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.exp(np.asarray(x, np.float64))).astype(np.float32)


def log(x: ArrayLike) -> NDArray[np.float32]:
    """Natural logarithm of each element, as float32; -inf at 0, NaN below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(np.asarray(x, np.float64))).astype(np.float32)


def pow(x: ArrayLike, y: ArrayLike) -> NDArray[np.float32]:  # noqa: A001
    """x^y of each pair of elements, as float32; NaN where x is negative."""
    x = np.asarray(x, np.float64)
    y = np.asarray(y, np.float64)
    with np.errstate(all="ignore"):
        power = np.power(np.where(x < 0, np.nan, x), y)
        return np.asarray(power).astype(np.float32)
