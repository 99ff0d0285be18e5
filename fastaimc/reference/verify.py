"""Reads of single cells, and the pulses that follow from them."""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import StepParameters
from fastaimc.reference.controller import accumulate, choose, factors, wanted


def deviation(value: np.ndarray, total: np.ndarray, count: np.ndarray) -> tuple[float, float]:
    """Return how far a read is off the means of those before.

    That is the sum of ``d² n / (n + 1)`` over cells read before, and the number of these cells.
    """
    n = count.astype(np.float64)
    again = n > 0
    off = value - total / np.maximum(n, 1)
    return float((off**2 * n / (n + 1))[again].sum()), float(again.sum())


def verify_pulses(
    reading: np.ndarray,
    first: int,
    dark: np.ndarray,
    targets: np.ndarray,
    gain: np.float32,
    ahead: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
    read_std: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    significance: np.ndarray,
    change: np.ndarray,
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Add one read of some rows' cells to their means; choose the pulses that follow.

    Parameters
    ----------
    reading, dark : ndarray
        Reads of the rows from `first` on, (tile, some rows, column), and what a column reports of
        nothing, (tile, column), float32, µS.
    targets, gain, ahead
        As for `gradient_pulses`.
    total, count : ndarray
        Sum and number of the reads since a cell's last pulse, float32 and uint8.
    read_std : ndarray
        Standard deviation of one read, (tile,), float32, µS.

    Returns
    -------
    ndarray
        Per tile what `deviation` returns: together the variance of one read; and the sums of the
        squared errors and of the squares of what was wanted, (tile, 4), float64.
    """
    pooled = np.zeros((len(targets), 4))
    for tile in range(len(targets)):
        rows = (tile, slice(first, first + reading.shape[1]))
        value = reading[tile].astype(np.float64) - dark[tile]
        pooled[tile, :2] = deviation(value, total[rows], count[rows])
        total[rows], count[rows] = accumulate(value, total[rows], count[rows])
        n = count[rows].astype(np.float64)
        now = wanted(targets[rows], aim[rows], gain, ahead, factors(device[rows], significance))
        error = total[rows] / n - now
        pooled[tile, 2:] = (error**2).sum(), np.square(now, dtype=np.float64).sum()
        known = [array[rows] for array in (device, filled, level, swing, aim)]
        rest = (curve, scatter, significance, change, parameters, fire[rows], code[rows])
        beyond = choose(error, read_std[tile] / np.sqrt(n), known, *rest)
        total[rows][beyond] = count[rows][beyond] = 0
    return pooled
