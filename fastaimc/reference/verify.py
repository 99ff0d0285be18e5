"""Reads of single cells, and the pulses that follow from them."""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import StepParameters
from fastaimc.reference.controller import accumulate, choose


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
    dark: np.ndarray,
    targets: np.ndarray,
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
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Add one read of every cell to its running mean and choose the pulses that follow.

    Parameters
    ----------
    reading, dark : ndarray
        (tile, row, column), and what a column reports of nothing, (tile, column), float32, µS.
    total, count : ndarray
        Sum and number of the reads since a cell's last pulse, float32 and uint8; both zero
        again where a pulse is chosen.
    read_std : ndarray
        Standard deviation of one read, (tile,), float32, µS.

    Returns
    -------
    ndarray
        Per tile the sum of ``d² n / (n + 1)`` of the reads' deviations d from the mean of the n
        reads before, and their number: together the variance of one read; and the sum of the
        squared errors, (tile, 3), float64.
    """
    pooled = np.zeros((len(targets), 3))
    cells = (device, filled, level, swing, aim)
    for tile in range(len(targets)):
        value = reading[tile].astype(np.float64) - dark[tile]
        pooled[tile, :2] = deviation(value, total[tile], count[tile])
        total[tile], count[tile] = accumulate(value, total[tile], count[tile])
        n = count[tile].astype(np.float64)
        error = total[tile] / n - targets[tile]
        pooled[tile, 2] = (error**2).sum()
        beyond = choose(
            error,
            read_std[tile] / np.sqrt(n),
            [array[tile] for array in cells],
            curve,
            scatter,
            parameters,
            fire[tile],
            code[tile],
        )
        total[tile][beyond] = 0
        count[tile][beyond] = 0
    return pooled
