"""Reads of single cells, and the pulses that follow from them."""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.controller import average_row, choose_row
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
    width = reading.shape[0]
    value = np.empty(width, np.float32)
    standard_error = np.empty(width, np.float32)
    for column in range(width):
        value[column] = reading[column] - dark[column]
        standard_error[column] = read_std
        n = np.float32(count[column])
        if n > _ZERO:
            deviation = value[column] - total[column] / n
            pooled[0] += np.float64(deviation * deviation * n / (n + _ONE))
            pooled[1] += 1.0
    average_row(value, standard_error, total, count)
    for column in range(width):
        value[column] -= target[column]
        pooled[2] += np.float64(value[column] * value[column])
    choose_row(
        value,
        standard_error,
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
    )


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
