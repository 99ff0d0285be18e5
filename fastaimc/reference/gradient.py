"""The gradient of the MVM error, and the pulses that follow from it."""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import StepParameters
from fastaimc.reference.controller import choose
from fastaimc.reference.pcm import NONE


def estimate(
    x: np.ndarray, y: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each cell's error as a batch shows it, its standard error, and the batch's error.

    With E = y - x @ target, less each column's mean, the gradient ``x.T @ E`` over ``sum x²`` of
    its row estimates the cell's error for zero-mean independent inputs, but for a factor 1 - 1/B
    that the mean takes, with a standard error of rms(E) of its column over ``sqrt(sum x²)``.

    Returns
    -------
    tuple of ndarray
        Twice (row, column), float64, µS; and the sums of E² and of (x @ target)², (2,).
    """
    x = x.astype(np.float64)
    wanted = x @ target
    residual = y - wanted
    sums = np.array([(residual**2).sum(), (wanted**2).sum()])
    residual = residual - residual.mean(axis=0)
    power = (x**2).sum(axis=0)[:, None]
    inverse = np.divide(1.0, power, out=np.zeros_like(power), where=power > 0)
    rms = np.sqrt((residual**2).mean(axis=0))
    return (x.T @ residual) * inverse, rms * np.sqrt(inverse), sums


def gradient_pulses(
    x: np.ndarray,
    group: np.ndarray,
    y: np.ndarray,
    targets: np.ndarray,
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
    """Choose the pulses that follow from one batch of MVMs.

    Parameters
    ----------
    x, group, y
        Inputs (group, batch, row), each tile's group, and what the core returned, as for `mvm`.
    targets : ndarray
        (tile, row, column), float32, µS.
    device, filled, level, swing, aim : ndarray
        What the controller knows of each cell, changed in place, (tile, row, column): the analog
        device (255: none); the others that are SET, a bit each (255: nothing is handed over); the
        amplitude in 1/64 codes; the sense of the last pulse, with one plus the halvings of the
        step (0: none yet); the code of what the analog device is to hold.  uint8, uint8, int16,
        int8, uint8.
    curve, scatter : ndarray
        Nominal conductance and standard deviation of a pulse for every code, (256,), float32, µS.
    fire, code : ndarray
        Outputs: device to pulse (255: none) and its code, uint8, (tile, row, column).

    Returns
    -------
    ndarray
        Sums of the squared errors and of the squared targets of the outputs, (tile, 2), float64.
    """
    sums = np.zeros((len(targets), 2))
    if x.shape[1] == 0:
        fire[...] = NONE
        return sums
    cells = (device, filled, level, swing, aim)
    for tile in range(len(targets)):
        error, standard_error, sums[tile] = estimate(x[group[tile]], y[tile], targets[tile])
        choose(
            error,
            standard_error,
            [array[tile] for array in cells],
            curve,
            scatter,
            parameters,
            fire[tile],
            code[tile],
        )
    return sums
