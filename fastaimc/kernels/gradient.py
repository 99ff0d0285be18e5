"""The gradient of the MVM error, and the pulses that follow from it.

Panels of columns run in parallel; the gradient of a few rows of a panel becomes pulses while it is
in cache and is never stored as a whole.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.controller import NONE, average_row, choose_row
from fastaimc.kernels.jit import parallel, prange, serial, workers
from fastaimc.kernels.matmul import PANEL, multiply, multiply_rows
from fastaimc.kernels.pcm import totals
from fastaimc.kernels.vector import TILE_ROWS
from fastaimc.parameters import StepParameters

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@serial
def _residual(
    x: np.ndarray, y: np.ndarray, target: np.ndarray, low: int, e: np.ndarray, sums: np.ndarray
) -> np.ndarray:
    """Write E = y - x @ target of a panel, less its columns' means; return the columns' rms."""
    batch = x.shape[0]
    width = min(PANEL, target.shape[1] - low)
    multiply(x, target, low, e)
    mean = np.zeros(PANEL, np.float32)
    square = np.zeros(PANEL, np.float32)
    wanted_square = np.zeros(PANEL, np.float32)
    error_square = np.zeros(PANEL, np.float32)
    inverse = _ONE / np.float32(batch)
    for b in range(batch):
        for column in range(width):
            wanted = e[b, column]
            error = y[b, low + column] - wanted
            e[b, column] = error
            wanted_square[column] += wanted * wanted
            error_square[column] += error * error
            mean[column] += error * inverse
    for b in range(batch):
        for column in range(PANEL):
            e[b, column] -= mean[column]
            square[column] += e[b, column] * e[b, column] * inverse
    for column in range(PANEL):
        square[column] = np.sqrt(square[column])
        sums[0] += np.float64(error_square[column])
        sums[1] += np.float64(wanted_square[column])
    return square


@serial
def _gradient_panel(
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
    e: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Choose the pulses of a panel, a few rows at a time: the gradient is never stored."""
    width = min(PANEL, target.shape[1] - low)
    rms = _residual(x, y, target, low, e, sums)
    gradient = np.empty((TILE_ROWS, PANEL), np.float32)
    standard_error = np.empty(width, np.float32)
    high = low + width
    for row in range(target.shape[0]):
        if row % TILE_ROWS == 0:
            multiply_rows(x, row, e, gradient)
        inverse = inverse_power[row]
        root = np.sqrt(inverse)
        error = gradient[row % TILE_ROWS, :width]
        for column in range(width):
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


@serial
def _gradient_share(
    share: int,
    shares: int,
    x: np.ndarray,
    inverse_power: np.ndarray,
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
    p: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
    sums: np.ndarray,
) -> None:
    """One thread's part of all panels."""
    tiles, panels, _ = sums.shape
    e = np.empty((x.shape[1], PANEL), np.float32)
    for index in range(tiles * panels * share // shares, tiles * panels * (share + 1) // shares):
        t = index // panels
        _gradient_panel(
            x[group[t]],
            inverse_power[group[t]],
            y[t],
            targets[t],
            index % panels * PANEL,
            total[t],
            count[t],
            device[t],
            filled[t],
            level[t],
            swing[t],
            aim[t],
            curve,
            scatter,
            p,
            fire[t],
            code[t],
            e,
            sums[t, index % panels],
        )


@parallel
def _gradient_pulses(
    shares: int,
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
    p: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    tiles, rows, width = targets.shape
    sums = np.zeros((tiles, (width + PANEL - 1) // PANEL, 2), np.float64)
    inverse_power = np.empty((x.shape[0], rows), np.float32)
    for g in range(x.shape[0]):
        _inverse_power(x[g], inverse_power[g])
    for share in prange(shares):
        _gradient_share(
            share,
            shares,
            x,
            inverse_power,
            group,
            y,
            targets,
            total,
            count,
            device,
            filled,
            level,
            swing,
            aim,
            curve,
            scatter,
            p,
            fire,
            code,
            sums,
        )
    return totals(sums)


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
    if x.shape[1] == 0:
        fire[...] = NONE
        return np.zeros((len(targets), 2))
    return _gradient_pulses(
        workers(),
        x,
        group,
        y,
        targets,
        total,
        count,
        device,
        filled,
        level,
        swing,
        aim,
        curve,
        scatter,
        parameters,
        fire,
        code,
    )
