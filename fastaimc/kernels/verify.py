"""Reads of single cells, and the pulses that follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.controller import (
    average_row,
    cells_of,
    flat,
    list_row,
    mark_row,
    move_cells,
    rule_of,
    to_devices,
    wanted,
)
from fastaimc.kernels.jit import FIRST, helper, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.parameters import Cells, Rule, StepParameters

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@helper
def _verify_row(
    reading: np.ndarray,
    dark: np.ndarray,
    target: np.ndarray,
    gain: np.float32,
    read_std: np.float32,
    at: int,
    cells: Cells,
    rule: Rule,
    pooled: np.ndarray,
) -> None:
    """Verify a row whose cells begin at `at`."""
    width = reading.shape[0]
    value = np.empty(width, np.float32)
    standard_error = np.empty(width, np.float32)
    total, count = cells.total[at : at + width], cells.number[at : at + width]
    aim, device = cells.aim[at : at + width], cells.device[at : at + width]
    weighted = rule.significance.size > 0
    for column in range(width):
        value[column] = reading[column] - dark[column]
        standard_error[column] = read_std
        n = np.float32(count[column])
        if n > _ZERO:
            deviation = value[column] - total[column] / n
            pooled[0] += np.float64(deviation * deviation * n / (n + _ONE))
            pooled[1] += 1.0
    average_row(value, standard_error, at, cells)
    for column in range(width):
        factor = rule.significance[device[column]] if weighted else _ONE
        aimed = wanted(target[column], aim[column], gain, rule.ahead, factor)
        value[column] -= aimed
        pooled[2] += np.float64(value[column] * value[column])
        pooled[3] += np.float64(aimed * aimed)
    if weighted:
        to_devices(value, standard_error, device, rule.significance)
    mark_row(value, standard_error, at, cells, rule)
    chosen = np.empty(width + 1, np.int64)
    errors = np.empty(width + 1, np.float32)
    listed = list_row(value, at, cells, chosen, errors, FIRST)
    move_cells(chosen[:listed], errors[:listed], cells, rule)


@helper
def _verify_share(
    begin: int,
    end: int,
    reading: np.ndarray,
    first: int,
    dark: np.ndarray,
    targets: np.ndarray,
    gain: np.float32,
    read_std: np.ndarray,
    stack: Cells,
    rule: Rule,
    pooled: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    columns = reading.shape[2]
    rows = max(reading.shape[1], 1)
    for t in range(begin // rows, (end + rows - 1) // rows):
        cells = cells_of(stack, t)
        for r in range(max(begin - t * rows, 0), min(end - t * rows, rows)):
            _verify_row(
                reading[t, r],
                dark[t],
                targets[t, first + r],
                gain,
                read_std[t],
                (first + r) * columns,
                cells,
                rule,
                pooled[t, r],
            )


@kernel
def _verify_pulses(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_verify_share, shares, begin, end, arguments)


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
    """Choose pulses from verified cells; see `fastaimc.reference.verify.verify_pulses`."""
    tiles, rows, columns = reading.shape
    pooled = np.zeros((tiles, rows, 4), np.float64)
    read = (reading, first, dark, targets, gain, read_std)
    cells = flat(Cells(total, count, device, filled, level, swing, aim, fire, code))
    rule = rule_of(ahead, curve, scatter, significance, change, parameters)
    run(_verify_pulses, tiles * rows, columns, *read, cells, rule, pooled)
    return pooled.sum(axis=1)
