"""A running estimate of every cell's error, and the pulses that follow from it.

As in `gradient`, panels of columns run in parallel, and a panel's gradient becomes estimates and
pulses a few rows at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.controller import (
    NONE,
    cells_of,
    flat,
    list_row,
    mark_row,
    move_cells,
    rule_of,
    to_devices,
    wanted,
)
from fastaimc.kernels.gradient import (
    AHEAD,
    ROWS_LISTED,
    buffers,
    invert_power,
    look_ahead,
    multiply_wanted,
    residual,
)
from fastaimc.kernels.hadamard import gather_lines, place_of, worth_it
from fastaimc.kernels.jit import helper, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.matmul import PANEL, multiply_rows
from fastaimc.kernels.vector import TILE_ROWS, prefetch_row
from fastaimc.parameters import BeliefParameters, Cells, Rule, StepParameters

CODES = 256

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_CODES = np.int32(CODES)
_MOST_LOOKS = np.uint8(255)


@helper
def _predict_panel(
    target: np.ndarray,
    low: int,
    gain: np.float32,
    cells: Cells,
    rule: Rule,
    inverse_power: np.ndarray,
    pattern: np.ndarray,
    factor: np.ndarray,
    out: np.ndarray,
) -> np.float64:
    """Write what a panel is to show now and what it is off by, as `gradient` does its targets.

    Returns what the estimates give of the squared error of its outputs.
    """
    rows, columns = target.shape
    width = min(PANEL, columns - low)
    fast = factor.shape[0] > 0
    alike = rule.significance.size == 0
    squares = np.float64(0.0)
    if fast and rows < out.shape[0]:
        out[:] = _ZERO
    for row in range(rows):
        at = row * columns + low
        prefetch_row(target, at + AHEAD * columns)
        look_ahead(cells, at + AHEAD * columns)
        source, known = target[row, low : low + width], cells.total[at : at + width]
        aim, age = cells.aim[at : at + width], cells.number[at : at + width]
        device = cells.device[at : at + width]
        to = out[place_of(pattern, row) if fast else row]
        a = factor[row] if fast else _ONE
        square = _ZERO
        for column in range(width):
            s = _ONE if alike else rule.significance[device[column]]
            place = np.int32(age[column]) * _CODES + np.int32(aim[column])
            now = wanted(source[column], place, gain, rule.ahead, s)
            to[column] = a * (now + known[column])
        for column in range(width):
            square += known[column] * known[column]
        for column in range(width, PANEL):
            to[column] = _ZERO
        if inverse_power[row] > _ZERO:
            squares += np.float64(square) / np.float64(inverse_power[row])
    return squares


@helper
def _update_row(
    value: np.ndarray,
    noise: np.ndarray,
    at: int,
    driven: bool,
    cells: Cells,
    variance: np.ndarray,
    before: np.ndarray,
) -> None:
    """Add a row's look to its estimates, of which a copy goes `before`; vectorises.

    The row's cells begin at `at`.  Turns `value` into the estimates, `noise` into their standard
    deviations.
    """
    width = value.shape[0]
    known, age = cells.total[at : at + width], cells.number[at : at + width]
    sure = variance[at : at + width]
    for column in range(width):
        p = sure[column]
        total = p + noise[column]
        k = p / total if total > _ZERO else _ZERO
        k = k if driven else _ZERO
        error = known[column] + k * value[column]
        p = k * noise[column] if driven else p
        known[column] = error
        sure[column] = p
        value[column] = error
        before[column] = error
        noise[column] = np.sqrt(p)
        age[column] = np.uint8(age[column] + (_ONE if age[column] < _MOST_LOOKS else _ZERO))


@helper
def _believe(
    first: int,
    last: int,
    columns: int,
    low: int,
    before: np.ndarray,
    cells: Cells,
    variance: np.ndarray,
    rule: Rule,
    belief: BeliefParameters,
) -> None:
    """Write the variances of rows at the next look: of cells just pulsed, and of the others."""
    width = before.shape[1]
    alike = rule.significance.size == 0
    for row in range(first, last):
        at = row * columns + low
        sure, fire = variance[at : at + width], cells.fire[at : at + width]
        aim, device = cells.aim[at : at + width], cells.device[at : at + width]
        off = before[row - first]
        for column in range(width):
            s = _ONE if alike else rule.significance[device[column]]
            scale = rule.scatter[aim[column]] * s
            left, missed = belief.spread * scale, belief.miss * off[column]
            step = belief.walk * scale
            pulsed = left * left + missed * missed
            walked = sure[column] + step * step
            sure[column] = pulsed if fire[column] != NONE else walked


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
    variance: np.ndarray,
    rule: Rule,
    belief: BeliefParameters,
) -> None:
    """Correct the estimates of a panel and choose its pulses, a few rows at a time."""
    rows = x.shape[1]
    width = min(PANEL, columns - low)
    fast = factor.shape[0] > 0
    gradient = np.empty((TILE_ROWS, PANEL), np.float32)
    before = np.empty((ROWS_LISTED, width), np.float32)
    certainty = np.empty(width, np.float32)
    chosen = np.empty(ROWS_LISTED * width + 1, np.int64)
    errors = np.empty(ROWS_LISTED * width + 1, np.float32)
    listed, first = 0, 0
    for row in range(rows):
        if row % TILE_ROWS == 0 and not fast:
            multiply_rows(x, row, e, gradient)
        at = row * columns + low
        look_ahead(cells, at + AHEAD * columns)
        prefetch_row(variance, at + AHEAD * columns)
        inverse = inverse_power[row]
        error = gradient[row % TILE_ROWS, :width]
        source = z[place_of(pattern, row), :width] if fast else error
        scale = factor[row] * inverse if fast else inverse
        noise = belief.share * inverse
        for column in range(width):
            error[column] = source[column] * scale
            certainty[column] = rms[column] * rms[column] * noise
        off = before[row - first]
        _update_row(error, certainty, at, inverse > _ZERO, cells, variance, off)
        if rule.significance.size > 0:
            own = cells.device[at : at + width]
            to_devices(error, certainty, own, rule.significance)
        mark_row(error, certainty, at, cells, rule)
        listed = list_row(error, at, cells, chosen, errors, listed)
        if row - first == ROWS_LISTED - 1 or row == rows - 1:
            move_cells(chosen[:listed], errors[:listed], cells, rule)
            _believe(first, row + 1, columns, low, before, cells, variance, rule, belief)
            listed, first = 0, row + 1


@helper
def _estimate_share(
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
    variance: np.ndarray,
    rule: Rule,
    belief: BeliefParameters,
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
        cells, power = cells_of(stack, t), inverse_power[g]
        known = _predict_panel(targets[t], low, gain, cells, rule, power, pattern, factor, z)
        multiply_wanted(x[g], pattern, z, fast, e)
        rms = residual(y[t], low, e, sums[t, index % panels])
        sums[t, index % panels, 0] += known
        if fast:
            gather_lines(pattern, e, z)
        state = (cells, variance[t], rule, belief)
        _choose_panel(x[g], pattern, factor, power, columns, low, e, z, rms, *state)


@kernel
def _estimate_pulses(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_estimate_share, shares, begin, end, arguments)


def estimate_pulses(
    x: np.ndarray,
    group: np.ndarray,
    pattern: np.ndarray,
    y: np.ndarray,
    targets: np.ndarray,
    gain: np.float32,
    ahead: np.ndarray,
    error: np.ndarray,
    age: np.ndarray,
    variance: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    significance: np.ndarray,
    change: np.ndarray,
    belief: BeliefParameters,
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Choose pulses by estimates; see `fastaimc.reference.estimate.estimate_pulses`."""
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
    cells = flat(Cells(error, age, device, filled, level, swing, aim, fire, code))
    rule = rule_of(ahead.ravel(), curve, scatter, significance, change, parameters)
    state = (cells, variance.reshape(tiles, rows * width), rule, belief)
    run(_estimate_pulses, tiles * panels, rows * min(width, PANEL), *batch, *state, sums)
    return sums.sum(axis=1)
