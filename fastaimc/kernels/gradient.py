"""The gradient of the MVM error, and the pulses that follow from it.

Fixed blocks of columns run in parallel; the gradient of a block becomes pulses while it is in
cache and is never stored as a whole.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.controller import NONE, average_row, choose_row
from fastaimc.kernels.crossbar import BLOCK, product
from fastaimc.kernels.jit import parallel, prange, serial
from fastaimc.kernels.pcm import totals
from fastaimc.parameters import StepParameters

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@serial
def _residual(
    x: np.ndarray, y: np.ndarray, target: np.ndarray, low: int, high: int, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """E = y - x @ target less its columns' means, and the rms of each column."""
    batch = x.shape[0]
    width = high - low
    e = product(x, target, low, high)
    mean = np.zeros(width, np.float32)
    square = np.zeros(width, np.float32)
    wanted_square = np.zeros(width, np.float32)
    error_square = np.zeros(width, np.float32)
    inverse = _ONE / np.float32(batch)
    for b in range(batch):
        for column in range(width):
            wanted = e[b, column]
            e[b, column] = y[b, low + column] - wanted
            wanted_square[column] += wanted * wanted
            error_square[column] += e[b, column] * e[b, column]
            mean[column] += e[b, column] * inverse
    for b in range(batch):
        for column in range(width):
            e[b, column] -= mean[column]
            square[column] += e[b, column] * e[b, column] * inverse
    for column in range(width):
        square[column] = np.sqrt(square[column])
        sums[0] += np.float64(error_square[column])
        sums[1] += np.float64(wanted_square[column])
    return e, square


@serial
def _gradient_block(
    x: np.ndarray,
    inverse_power: np.ndarray,
    y: np.ndarray,
    target: np.ndarray,
    low: int,
    total: np.ndarray,
    count: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    p: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
    sums: np.ndarray,
) -> None:
    high = min(low + BLOCK, target.shape[1])
    e, rms = _residual(x, y, target, low, high, sums)
    gradient = np.dot(x.T, e)
    standard_error = np.empty(high - low, np.float32)
    for row in range(target.shape[0]):
        inverse = inverse_power[row]
        root = np.sqrt(inverse)
        error = gradient[row]
        for column in range(high - low):
            error[column] *= inverse
            standard_error[column] = rms[column] * root
        if inverse > _ZERO:  # a row that was never driven has shown nothing
            average_row(error, standard_error, total[row, low:high], count[row, low:high])
        choose_row(
            error,
            standard_error,
            total[row, low:high],
            count[row, low:high],
            device[row, low:high],
            filled[row, low:high],
            level[row, low:high],
            swing[row, low:high],
            aim[row, low:high],
            curve,
            scatter,
            p,
            fire[row, low:high],
            code[row, low:high],
        )


@serial
def _inverse_power(x: np.ndarray, out: np.ndarray) -> None:
    """1 / sum x² of every row's inputs, and 0 for a row that was never driven."""
    out[:] = _ZERO
    for b in range(x.shape[0]):
        for row in range(x.shape[1]):
            out[row] += x[b, row] * x[b, row]
    for row in range(x.shape[1]):
        out[row] = _ONE / out[row] if out[row] > _ZERO else _ZERO


@parallel
def gradient_pulses(
    x: np.ndarray,
    group: np.ndarray,
    y: np.ndarray,
    targets: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
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
    """Choose pulses from a batch; see `fastaimc.reference.gradient.gradient_pulses`."""
    tiles, rows, width = targets.shape
    blocks = (width + BLOCK - 1) // BLOCK
    sums = np.zeros((tiles, blocks, 2), np.float64)
    if x.shape[1] == 0:
        fire[:] = NONE
        return totals(sums)
    inverse_power = np.empty((x.shape[0], rows), np.float32)
    for g in range(x.shape[0]):
        _inverse_power(x[g], inverse_power[g])
    for index in prange(tiles * blocks):
        t = index // blocks
        _gradient_block(
            x[group[t]],
            inverse_power[group[t]],
            y[t],
            targets[t],
            index % blocks * BLOCK,
            total[t],
            count[t],
            device[t],
            filled[t],
            level[t],
            swing[t],
            aim[t],
            curve,
            scatter,
            parameters,
            fire[t],
            code[t],
            sums[t, index % blocks],
        )
    return totals(sums)
