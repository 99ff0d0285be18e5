"""The gradient of the MVM error, and the pulses that follow from it.

Panels of columns run in parallel; the gradient of a few rows of a panel becomes pulses while it is
in cache and is never stored as a whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.controller import (
    NONE,
    average_row,
    by_device,
    cells_of,
    flat,
    list_row,
    mark_row,
    move_cells,
    rule_of,
    to_devices,
    wanted,
)
from fastaimc.kernels.hadamard import (
    STRIDE,
    factors,
    gather_lines,
    pick_lines,
    place_of,
    transform,
    worth_it,
)
from fastaimc.kernels.jit import FIRST, helper, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.matmul import PANEL, VECTORS_A_CELL, multiply, multiply_rows
from fastaimc.kernels.vector import TILE_ROWS, prefetch_row
from fastaimc.parameters import Cells, Rule, StepParameters

AHEAD = 8  # rows of which the cache lines are asked for beforehand
ROWS_LISTED = 16  # rows of a panel whose pulses are worked out together

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@helper
def residual(y: np.ndarray, low: int, e: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Turn the wanted outputs of a panel into E = y - wanted, less its columns' means.

    Returns the columns' rms; adds E² and wanted² to `sums`.
    """
    batch = e.shape[0]
    width = min(PANEL, y.shape[1] - low)
    mean = np.zeros(PANEL, np.float32)
    square = np.zeros(PANEL, np.float32)
    wanted_square = np.zeros(PANEL, np.float32)
    error_square = np.zeros(PANEL, np.float32)
    inverse = _ONE / np.float32(batch)
    for b in range(batch):
        seen, error = y[b, low : low + width], e[b]
        for column in range(width):
            wanted = error[column]
            difference = seen[column] - wanted
            error[column] = difference
            wanted_square[column] += wanted * wanted
            error_square[column] += difference * difference
            mean[column] += difference * inverse
    for b in range(batch):
        error = e[b]
        for column in range(PANEL):
            error[column] -= mean[column]
            square[column] += error[column] * error[column] * inverse
    for column in range(PANEL):
        square[column] = np.sqrt(square[column])
        sums[0] += np.float64(error_square[column])
        sums[1] += np.float64(wanted_square[column])
    return square


@kernel
def look_ahead(cells: Cells, at: int) -> None:
    """Ask for the cache lines of a panel's row that begins at cell `at`."""
    prefetch_row(cells.total, at)
    prefetch_row(cells.level, at)
    prefetch_row(cells.number, at)
    prefetch_row(cells.device, at)
    prefetch_row(cells.filled, at)
    prefetch_row(cells.swing, at)
    prefetch_row(cells.aim, at)
    prefetch_row(cells.fire, at)
    prefetch_row(cells.code, at)


@helper
def _wanted_panel(
    target: np.ndarray,
    low: int,
    gain: np.float32,
    aims: np.ndarray,
    devices: np.ndarray,
    ahead: np.ndarray,
    significance: np.ndarray,
    pattern: np.ndarray,
    factor: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write what a panel is to show now; with a factor of each row, at its place (`hadamard`)."""
    rows, columns = target.shape
    width = min(PANEL, columns - low)
    fast = factor.shape[0] > 0
    if fast and rows < out.shape[0]:
        out[:] = _ZERO
    for row in range(rows):
        at = row * columns + low
        prefetch_row(target, at + AHEAD * columns)
        prefetch_row(aims, at + AHEAD * columns)
        source, aim = target[row, low : low + width], aims[at : at + width]
        to = out[place_of(pattern, row) if fast else row]
        a = factor[row] if fast else _ONE
        if significance.size > 0:
            device = devices[at : at + width]
            for column in range(width):
                s = significance[device[column]]
                to[column] = a * wanted(source[column], aim[column], gain, ahead, s)
        else:
            for column in range(width):
                to[column] = a * wanted(source[column], aim[column], gain, ahead, _ONE)
        for column in range(width, PANEL):
            to[column] = _ZERO


@helper
def multiply_wanted(
    x: np.ndarray, pattern: np.ndarray, z: np.ndarray, fast: bool, out: np.ndarray
) -> None:
    """Write what a panel's outputs should be, of what `_wanted_panel` has written."""
    if fast:
        transform(z)
        pick_lines(pattern, z, out)
    else:
        multiply(x, z, FIRST, out)


@helper
def _choose_panel(
    x: np.ndarray,
    pattern: np.ndarray,
    factor: np.ndarray,
    inverse_power: np.ndarray,
    columns: int,
    low: int,
    e: np.ndarray,
    z: np.ndarray,
    rms: np.ndarray,
    cells: Cells,
    rule: Rule,
) -> None:
    """Choose the pulses of a panel, a few rows at a time: the gradient is never stored."""
    rows = x.shape[1]
    width = min(PANEL, columns - low)
    fast = factor.shape[0] > 0
    gradient = np.empty((TILE_ROWS, PANEL), np.float32)
    standard_error = np.empty(width, np.float32)
    chosen = np.empty(ROWS_LISTED * width + 1, np.int64)
    errors = np.empty(ROWS_LISTED * width + 1, np.float32)
    listed = 0
    for row in range(rows):
        if row % TILE_ROWS == 0 and not fast:
            multiply_rows(x, row, e, gradient)
        at = row * columns + low
        look_ahead(cells, at + AHEAD * columns)
        inverse = inverse_power[row]
        root = np.sqrt(inverse)
        error = gradient[row % TILE_ROWS, :width]
        source = z[place_of(pattern, row), :width] if fast else error
        scale = factor[row] * inverse if fast else inverse
        for column in range(width):
            error[column] = source[column] * scale
            standard_error[column] = rms[column] * root
        if inverse > _ZERO:  # a row that was never driven has shown nothing
            average_row(error, standard_error, at, cells)
        if rule.significance.size > 0:
            own = cells.device[at : at + width]
            to_devices(error, standard_error, own, rule.significance)
        mark_row(error, standard_error, at, cells, rule)
        listed = list_row(error, at, cells, chosen, errors, listed)
        if row % ROWS_LISTED == ROWS_LISTED - 1 or row == rows - 1:
            move_cells(chosen[:listed], errors[:listed], cells, rule)
            listed = 0


@kernel
def invert_power(x: np.ndarray, out: np.ndarray) -> None:
    """1 / sum x² of every row's inputs, and 0 for a row that was never driven."""
    out[:] = _ZERO
    for b in range(x.shape[0]):
        for row in range(x.shape[1]):
            out[row] += x[b, row] * x[b, row]
    for row in range(x.shape[1]):
        out[row] = _ONE / out[row] if out[row] > _ZERO else _ZERO


@helper
def buffers(
    x: np.ndarray, pattern: np.ndarray, rows: int, fast: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs of a panel, factors of the rows, and what a panel is to show."""
    e = np.empty((x.shape[0], PANEL), np.float32)
    factor = np.empty(rows if fast else 0, np.float32)
    z = np.empty((pattern[0], STRIDE) if fast else (rows, PANEL), np.float32)
    if fast:
        factors(pattern, x[0], factor)
    return e, factor, z


@helper
def _gradient_share(
    begin: int,
    end: int,
    x: np.ndarray,
    inverse_power: np.ndarray,
    group: np.ndarray,
    pattern: np.ndarray,
    y: np.ndarray,
    targets: np.ndarray,
    gain: np.float32,
    stack: Cells,
    rule: Rule,
    sums: np.ndarray,
) -> None:
    """Panels from `begin` to `end` of all tiles."""
    panels = sums.shape[1]
    _, rows, columns = targets.shape
    fast = worth_it(pattern, x.shape[1], rows)
    e, factor, z = buffers(x[0], pattern, rows, fast)
    for index in range(begin, end):
        t = index // panels
        g = group[t]
        low = index % panels * PANEL
        cells = cells_of(stack, t)
        known = (cells.aim, cells.device, rule.ahead, rule.significance)
        _wanted_panel(targets[t], low, gain, *known, pattern, factor, z)
        multiply_wanted(x[g], pattern, z, fast, e)
        rms = residual(y[t], low, e, sums[t, index % panels])
        if fast:
            gather_lines(pattern, e, z)
        _choose_panel(x[g], pattern, factor, inverse_power[g], columns, low, e, z, rms, cells, rule)


@kernel
def _gradient_pulses(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_gradient_share, shares, begin, end, arguments)


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
    """Choose pulses from a batch; see `fastaimc.reference.gradient.gradient_pulses`."""
    tiles, rows, width = targets.shape
    if x.shape[1] == 0:
        fire[...] = NONE
        return np.zeros((tiles, 2))
    panels = (width + PANEL - 1) // PANEL
    sums = np.zeros((tiles, panels, 2), np.float64)
    inverse_power = np.empty((len(x), rows), np.float32)
    for g in range(len(x)):
        invert_power(x[g], inverse_power[g])
    batch = (x, inverse_power, group, pattern, y, targets, gain)
    cells = flat(Cells(total, count, device, filled, level, swing, aim, fire, code))
    rule = rule_of(ahead, curve, scatter, significance, change, parameters)
    run(_gradient_pulses, tiles * panels, rows * min(width, PANEL), *batch, cells, rule, sums)
    return sums.sum(axis=1)


@helper
def _wanted_share(
    begin: int,
    end: int,
    x: np.ndarray,
    pattern: np.ndarray,
    targets: np.ndarray,
    gain: np.float32,
    ahead: np.ndarray,
    aim: np.ndarray,
    device: np.ndarray,
    significance: np.ndarray,
    out: np.ndarray,
) -> None:
    """Panels from `begin` to `end` of all tiles."""
    _, rows, columns = targets.shape
    panels = (columns + PANEL - 1) // PANEL
    fast = worth_it(pattern, x.shape[0], rows)
    e, factor, z = buffers(x, pattern, rows, fast)
    for index in range(begin, end):
        t = index // panels
        low = index % panels * PANEL
        width = min(PANEL, columns - low)
        aims, devices = aim[t].reshape(rows * columns), device[t].reshape(rows * columns)
        known = (aims, devices, ahead, significance)
        _wanted_panel(targets[t], low, gain, *known, pattern, factor, z)
        multiply_wanted(x, pattern, z, fast, e)
        for b in range(x.shape[0]):
            for column in range(width):
                out[t, b, low + column] = e[b, column]


@kernel
def _wanted_outputs(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_wanted_share, shares, begin, end, arguments)


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
    """Return what a batch should give; see `fastaimc.reference.gradient.wanted_outputs`."""
    tiles, rows, width = targets.shape
    out = np.empty((tiles, len(x), width), np.float32)
    panels = tiles * -(-width // PANEL)
    work = rows * PANEL * (1 + len(x) // VECTORS_A_CELL)
    if len(x):
        known = (gain, ahead, aim, device, by_device(significance))
        run(_wanted_outputs, panels, work, x, pattern, targets, *known, out)
    return out
