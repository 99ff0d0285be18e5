"""IR drop in a crossbar's wires, by relaxation: row lines and column lines in turn.

Column lines are eliminated from above in one sweep and from below in the next: either way the
other half of the elimination, the row of cells that it solves, and the first half of the next
sweep's elimination are one walk over the rows.  What a line's own source does alone is known from
the start.  Of the rest only what the eliminated lines send on is kept, in float32: it comes from
the rows' small voltages, so what its rounding changes is small beside what is sought.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.jit import helper, kernel, run, workers
from fastaimc.kernels.launch import launch
from fastaimc.kernels.vector import LANES, mix
from fastaimc.parameters import WireParameters

GROUP = LANES  # outputs that are solved together, a lane each
PANEL = 64  # columns whose factors are worked out together

_ZERO = np.float64(0.0)
_ONE = np.float64(1.0)
_INFINITE = np.float64(np.inf)
_ROUNDING = np.float64(2.0**-24)


@helper
def _column_factors(
    begin: int,
    end: int,
    plus: np.ndarray,
    minus: np.ndarray,
    column: np.float64,
    last: np.float64,
    factors: np.ndarray,
) -> None:
    """Panels from `begin` to `end`: part of a current that passes on, down and up, of each line.

    `factors` is (polarity, direction, row, column).  Up, the part of the first row is one that
    gives the voltage of its node, from which nothing goes on.
    """
    rows, columns = plus.shape
    seen = np.empty(PANEL, np.float64)
    for index in range(begin, end):
        low = index * PANEL
        width = min(PANEL, columns - low)
        for polarity in range(2):
            g = plus if polarity == 0 else minus
            seen[:] = _ZERO  # the conductance above
            for i in range(rows):
                segment = last if i == rows - 1 else column
                value, passes = g[i, low : low + width], factors[polarity, 0, i, low : low + width]
                for c in range(width):
                    total = seen[c] + np.float64(value[c])
                    passes[c] = _ONE / (_ONE + segment * total)
                    seen[c] = total * passes[c]
            seen[:] = last  # the resistance below
            for i in range(rows - 1, -1, -1):
                value, passes = g[i, low : low + width], factors[polarity, 1, i, low : low + width]
                first = _ZERO if i == 0 else _ONE
                for c in range(width):
                    total = _ONE / seen[c] + np.float64(value[c])
                    passes[c] = _ONE / (first + column * total)
                    seen[c] = column + _ONE / total


@helper
def _row_factors(
    begin: int,
    end: int,
    plus: np.ndarray,
    minus: np.ndarray,
    row: np.float64,
    factors: np.ndarray,
) -> None:
    """Rows from `begin` to `end`: part of a current that passes on to the left."""
    columns = plus.shape[1]
    for i in range(begin, end):
        seen = _ZERO
        for j in range(columns - 1, -1, -1):
            total = seen + np.float64(plus[i, j]) + np.float64(minus[i, j])
            factors[i, j] = _ONE / (_ONE + row * total)
            seen = total * factors[i, j]


@helper
def _alone(passes: np.ndarray, low: int, alone: np.ndarray) -> None:
    """Write the voltages of a group's own lines if rows were at 0 V, (polarity, row, lane)."""
    rows, columns = passes.shape[2], passes.shape[3]
    alone[:] = _ZERO
    for polarity in range(2):
        for lane in range(min(GROUP, columns - low)):
            voltage = _ONE if polarity == 0 else -_ONE
            for i in range(rows - 1, -1, -1):
                voltage *= passes[polarity, 0, i, low + lane]
                alone[polarity, i, lane] = voltage


@helper
def _end_columns(passes: np.ndarray, segment: np.float64, sent: np.ndarray, w: np.ndarray) -> None:
    """From the nodes of one row, (column, lane), get those of the next by what is sent to them."""
    for j in range(w.shape[0]):
        at = j * GROUP
        mix(w, at, passes[j], w, at, segment, sent, at)


@helper
def _begin_columns(
    g: np.ndarray, passes: np.ndarray, u: np.ndarray, on: np.ndarray, sent: np.ndarray
) -> None:
    """Add what comes from a row's nodes to what column lines send on, and keep it."""
    for j in range(on.shape[0]):
        at, p = j * GROUP, passes[j]
        mix(on, at, p, on, at, p * np.float64(g[j]), u, at)
        mix(sent, at, _ONE, on, at, _ZERO, on, at)


@helper
def _add_alone(w: np.ndarray, low: int, i: int, sign: np.float64, alone: np.ndarray) -> None:
    """Add what a group's own sources do to the nodes of a row, or take it away."""
    for polarity in range(2):
        for lane in range(min(GROUP, w.shape[1] - low)):
            w[polarity, low + lane, lane] += sign * alone[polarity, i, lane]


@helper
def _solve_row(
    plus: np.ndarray,
    minus: np.ndarray,
    passes: np.ndarray,
    row: np.float64,
    w: np.ndarray,
    u: np.ndarray,
    arriving: np.ndarray,
) -> None:
    """Write a row's voltages, (column, lane), and the current into its driver.

    `w` are the voltages of the column lines, (polarity, column, lane).
    """
    columns = plus.shape[0]
    arriving[:] = _ZERO
    for j in range(columns - 1, -1, -1):
        at, p = j * GROUP, passes[j]
        mix(u, at, p * np.float64(plus[j]), w[0], at, p * np.float64(minus[j]), w[1], at)
        mix(arriving, 0, p, arriving, 0, _ONE, u, at)
        mix(u, at, row, arriving, 0, _ZERO, arriving, 0)
    for j in range(1, columns):
        at = j * GROUP
        mix(u, at, passes[j], u, at - GROUP, _ONE, u, at)


@helper
def _walk(
    down: bool,
    low: int,
    plus: np.ndarray,
    minus: np.ndarray,
    columns: np.ndarray,
    rows: np.ndarray,
    wires: tuple[np.float64, np.float64, np.float64],
    alone: np.ndarray,
    sent: np.ndarray,
    found: np.ndarray,
) -> np.float64:
    """Do one sweep of a group, from the top or from the bottom; the largest relative change.

    `sent` is what lines sent on in the sweep before, (row, polarity, column, lane); `columns` and
    `rows` are the factors; `found` is the current into each row's driver, (row, lane).
    """
    row, column, last = wires
    count, width = plus.shape
    ends, begins = (1, 0) if down else (0, 1)
    w = np.zeros((2, width, GROUP), np.float64)
    on = np.zeros((2, width, GROUP), np.float64)
    u = np.empty((width, GROUP), np.float64)
    change, largest = np.zeros(GROUP, np.float64), np.zeros(GROUP, np.float64)
    arriving = np.empty(GROUP, np.float64)
    for step in range(count):
        i = step if down else count - 1 - step
        segment = last if step == 0 and not down else column
        for polarity in range(2):
            _end_columns(columns[polarity, ends, i], segment, sent[i, polarity], w[polarity])
        _add_alone(w, low, i, _ONE, alone)
        _solve_row(plus[i], minus[i], rows[i], row, w, u, arriving)
        _add_alone(w, low, i, -_ONE, alone)
        for lane in range(GROUP):
            change[lane] = max(change[lane], abs(arriving[lane] - found[i, lane]))
            largest[lane] = max(largest[lane], abs(arriving[lane]))
            found[i, lane] = arriving[lane]
        for polarity in range(2):
            g = plus[i] if polarity == 0 else minus[i]
            _begin_columns(g, columns[polarity, begins, i], u, on[polarity], sent[i, polarity])
    relative = _ZERO
    for lane in range(GROUP):
        if largest[lane] > _ZERO:
            relative = max(relative, change[lane] / largest[lane])
    return relative


@helper
def _group_share(
    begin: int,
    end: int,
    plus: np.ndarray,
    minus: np.ndarray,
    columns: np.ndarray,
    rows: np.ndarray,
    wires: tuple[np.float64, np.float64, np.float64],
    tolerance: np.float64,
    sweeps: int,
    out: np.ndarray,
    left: np.ndarray,
) -> None:
    """Groups of outputs from `begin` to `end`, each to its end, and the errors that are left."""
    count, width = plus.shape
    sent = np.empty((count, 2, width, GROUP), np.float32)
    alone = np.empty((2, count, GROUP), np.float64)
    found = np.empty((count, GROUP), np.float64)
    for index in range(begin, end):
        low = index * GROUP
        _alone(columns, low, alone)
        sent[:] = np.float32(0.0)
        found[:] = _ZERO
        before = change = error = _ONE
        sweep = 0
        while sweep < sweeps and (sweep == 0 or error > tolerance):
            before = change
            group = (plus, minus, columns, rows, wires, alone, sent, found)
            change = _walk(sweep % 2 == 0, low, *group)
            error = _INFINITE
            if change <= _ROUNDING:
                error = change
            elif sweep > 1 and before > change:  # the first change is from nothing
                error = change * change / (before - change)
            sweep += 1
        left[index] = error
        for i in range(count):
            for lane in range(min(GROUP, width - low)):
                out[i, low + lane] = found[i, lane]


@kernel
def _factors(
    shares: int,
    plus: np.ndarray,
    minus: np.ndarray,
    wires: tuple[np.float64, np.float64, np.float64],
    columns: np.ndarray,
    rows: np.ndarray,
) -> None:
    row, column, last = wires
    count, width = plus.shape
    panels = (width + PANEL - 1) // PANEL
    launch(_column_factors, shares, 0, panels, (plus, minus, column, last, columns))
    launch(_row_factors, shares, 0, count, (plus, minus, row, rows))


@kernel
def _groups(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_group_share, shares, begin, end, arguments)


def relax_wires(
    plus: np.ndarray,
    minus: np.ndarray,
    wires: WireParameters,
    tolerance: float,
    sweeps: int,
    out: np.ndarray,
) -> np.ndarray:
    """Write effective conductances; see `fastaimc.reference.relaxation.relax_wires`."""
    tiles, count, width = plus.shape
    groups = -(-width // GROUP)
    left = np.zeros((tiles, groups))
    columns = np.empty((2, 2, count, width))
    rows = np.empty((count, width))
    resistances = (np.float64(wires.row), np.float64(wires.column), np.float64(wires.end))
    stop = (np.float64(tolerance), sweeps)
    for t in range(tiles):
        _factors(workers(), plus[t], minus[t], resistances, columns, rows)
        solved = (plus[t], minus[t], columns, rows, resistances, *stop, out[t], left[t])
        run(_groups, groups, count * width * GROUP, *solved)
    return left.max(axis=1)
