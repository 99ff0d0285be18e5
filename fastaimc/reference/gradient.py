"""From measurements to pulses: the gradient of the MVM error, and verified cells."""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import StepParameters
from fastaimc.reference.pcm import NONE

LEVELS = 64  # levels of the amplitude between two codes, so that small corrections add up
TOP = 255 * LEVELS
MOST_FLIPS = 4  # halvings of the step at most
TINY = 1e-6  # µS per code: where the nominal curve is flat


def estimate(
    x: np.ndarray, y: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each cell's error as a batch shows it, its standard error, and the batch's error.

    With E = y - x @ target, less each column's mean, the gradient ``x.T @ E`` over ``sum x²`` of
    its row is an unbiased estimate of the cell's error for zero-mean independent inputs, with a
    standard error of rms(E) of its column over ``sqrt(sum x²)``.

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


def choose(
    error: np.ndarray,
    standard_error: np.ndarray,
    device: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Write the pulse of every cell whose error is beyond its threshold; return which these are.

    The threshold is ``max(margin * scatter, kappa * standard_error)`` with the nominal scatter at
    the cell's aim.  The amplitude moves along the nominal curve, by `gain` times the codes between
    the aim and where the error puts the device; by at least what the steepest slope asks for,
    as the curve is flat at both ends.  A pulse that turns back halves the step, one that goes on
    doubles it again, up to the whole: the slope of a device near its knee is not the nominal one,
    and a cell would swing across its target for ever.
    """
    p = StepParameters(*(float(value) for value in parameters))  # type: ignore[arg-type]
    threshold = np.maximum(p.margin * scatter[aim], p.kappa * standard_error)
    beyond = (np.abs(error) > threshold) & (device != NONE)
    too_high = np.where(device < p.devices / 2, error, -error)
    present = np.interp(curve[aim] + too_high, curve[::-1], np.arange(255.0, -1.0, -1.0))
    slope = np.maximum(-np.gradient(curve.astype(np.float64))[aim], TINY)
    size = np.minimum(np.abs(aim - present), np.abs(error) / slope)
    size = np.maximum(size, np.abs(error) / p.steepest)
    flips = np.abs(swing.astype(np.int64)) - 1
    same = np.where(too_high > 0, swing > 0, swing < 0)
    flips = np.where(same, np.maximum(flips - 1, 0), np.minimum(flips + 1, MOST_FLIPS))
    direction = np.where(too_high > 0, 1, -1)
    step = direction * np.minimum(p.gain * size, p.max_step) * 0.5**flips
    moved = np.clip(np.rint(level + step * LEVELS), 0, TOP)
    level[beyond] = moved[beyond].astype(np.int16)
    swing[beyond] = (direction * (1 + flips))[beyond].astype(np.int8)
    fire[...] = np.where(beyond, device, NONE)
    code[...] = (level + LEVELS // 2) // LEVELS
    return beyond


def gradient_pulses(
    x: np.ndarray,
    group: np.ndarray,
    y: np.ndarray,
    targets: np.ndarray,
    device: np.ndarray,
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
    x, group
        Inputs (group, batch, row) and each tile's group, as for the MVM.
    y : ndarray
        What the core returned, (tile, batch, column), float32, µS.
    targets : ndarray
        (tile, row, column), float32, µS.
    device, level, swing, aim : ndarray
        The analog device of each cell (255: none), its amplitude in 1/64 codes and the sense of
        its last pulse with one plus the halvings of its step (both changed in place), and the
        code of what it is to hold; uint8, int16, int8, uint8.
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
    for tile in range(len(targets)):
        error, standard_error, sums[tile] = estimate(x[group[tile]], y[tile], targets[tile])
        choose(
            error,
            standard_error,
            device[tile],
            level[tile],
            swing[tile],
            aim[tile],
            curve,
            scatter,
            parameters,
            fire[tile],
            code[tile],
        )
    return sums


def verify_pulses(
    reading: np.ndarray,
    dark: np.ndarray,
    targets: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
    read_std: np.ndarray,
    device: np.ndarray,
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
    for tile in range(len(targets)):
        value = reading[tile].astype(np.float64) - dark[tile]
        n = count[tile].astype(np.float64)
        again = n > 0
        deviation = value - total[tile] / np.maximum(n, 1)
        pooled[tile, 0] = (deviation**2 * n / (n + 1))[again].sum()
        pooled[tile, 1] = again.sum()
        full = count[tile] == 255
        kept = np.where(full, 254 / 255, 1.0) * total[tile]
        total[tile] = kept + value
        count[tile] = np.where(full, 255, count[tile] + 1)
        n = count[tile].astype(np.float64)
        error = total[tile] / n - targets[tile]
        pooled[tile, 2] = (error**2).sum()
        beyond = choose(
            error,
            read_std[tile] / np.sqrt(n),
            device[tile],
            level[tile],
            swing[tile],
            aim[tile],
            curve,
            scatter,
            parameters,
            fire[tile],
            code[tile],
        )
        total[tile][beyond] = 0
        count[tile][beyond] = 0
    return pooled
