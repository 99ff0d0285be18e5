"""Reads of single cells, and the pulses that follow from them."""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.controller import accumulate, choose
from fastaimc.kernels.jit import parallel, prange, serial
from fastaimc.kernels.pcm import totals
from fastaimc.parameters import StepParameters

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@serial
def _verify_row(
    reading: np.ndarray,
    dark: np.ndarray,
    target: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
    read_std: np.float32,
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
    pooled: np.ndarray,
) -> None:
    for column in range(reading.shape[0]):
        value = reading[column] - dark[column]
        n = np.float32(count[column])
        if n > _ZERO:
            deviation = value - total[column] / n
            pooled[0] += np.float64(deviation * deviation * n / (n + _ONE))
            pooled[1] += 1.0
        n = accumulate(value, total, count, column)
        error = total[column] / n - target[column]
        pooled[2] += np.float64(error * error)
        beyond = choose(
            error,
            read_std / np.sqrt(n),
            device,
            filled,
            level,
            swing,
            aim,
            column,
            curve,
            scatter,
            p,
            fire,
            code,
        )
        if beyond:
            total[column] = _ZERO
            count[column] = np.uint8(0)


@parallel
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
    """Choose pulses from verified cells; see `fastaimc.reference.verify.verify_pulses`."""
    tiles, rows, _ = targets.shape
    pooled = np.zeros((tiles, rows, 3), np.float64)
    for index in prange(tiles * rows):
        t = index // rows
        r = index % rows
        _verify_row(
            reading[t, r],
            dark[t],
            targets[t, r],
            total[t, r],
            count[t, r],
            read_std[t],
            device[t, r],
            filled[t, r],
            level[t, r],
            swing[t, r],
            aim[t, r],
            curve,
            scatter,
            parameters,
            fire[t, r],
            code[t, r],
            pooled[t, r],
        )
    return totals(pooled)
