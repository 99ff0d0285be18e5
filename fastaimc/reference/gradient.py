"""The gradient of the MVM error, and the pulses that follow from it."""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import StepParameters
from fastaimc.reference.controller import accumulate, choose, factors, wanted
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


def remember(
    value: np.ndarray, driven: np.ndarray, total: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add the estimates of driven rows; return each cell's mean, 0 in other rows, and number."""
    for memory, new in zip((total, count), accumulate(value, total, count), strict=True):
        memory[...] = np.where(driven, new, memory)
    n = np.maximum(count, 1).astype(np.float64)
    return np.where(driven, total / n, 0.0), n


def wanted_outputs(
    x: np.ndarray,
    pattern: np.ndarray,
    targets: np.ndarray,
    gain: np.float32,
    ahead: np.ndarray,
    aim: np.ndarray,
    device: np.ndarray,
    significance: np.ndarray,
) -> np.ndarray:
    """Return what a batch should give, (tile, batch, column), float32, µS.

    Parameters
    ----------
    x, pattern : ndarray
        Inputs of all tiles, (batch, row), float32, and how they lie, as for `mvm`.
    targets, gain, ahead, aim, device, significance
        As for `gradient_pulses`.
    """
    now = wanted(targets, aim, gain, ahead, factors(device, significance))
    return (x.astype(np.float64) @ now).astype(np.float32)


def gradient_pulses(
    x: np.ndarray,
    group: np.ndarray,
    pattern: np.ndarray,
    y: np.ndarray,
    targets: np.ndarray,
    gain: np.float32,
    ahead: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
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
    """Add one batch's estimate of every driven cell's error to its running mean; choose pulses.

    Parameters
    ----------
    x, group, pattern, y
        Inputs, each tile's group, how they lie, and what the core returned, as for `mvm`.
    targets, gain, ahead
        (tile, row, column), float32, µS; and see `controller.wanted`.
    total, count : ndarray
        Sum and number of the estimates since a cell's last pulse, as for `verify_pulses`.
    device, filled, level, swing, aim, curve, scatter, significance, change
        What is known of each cell, changed in place, and of the kind of device: see `controller`.
    fire, code : ndarray
        Outputs: device to pulse (255: none) and its code, uint8, (tile, row, column).

    Returns
    -------
    ndarray
        Sums of the squared errors and of the squared targets of the outputs, (tile, 2), float64.
    """
    sums = np.zeros((len(targets), 2))
    fire[...] = NONE
    for tile in range(len(targets) if x.shape[1] else 0):
        factor = factors(device[tile], significance)
        now = wanted(targets[tile], aim[tile], gain, ahead, factor)
        value, standard_error, sums[tile] = estimate(x[group[tile]], y[tile], now)
        driven = (x[group[tile]] != 0).any(axis=0)[:, None]
        error, n = remember(value, driven, total[tile], count[tile])
        known = [array[tile] for array in (device, filled, level, swing, aim)]
        rest = (curve, scatter, significance, change, parameters, fire[tile], code[tile])
        beyond = choose(error, standard_error / np.sqrt(n), known, *rest)
        total[tile][beyond] = count[tile][beyond] = 0
    return sums
