"""IR drop in a crossbar's wires, in closed form.

Column lines go first, many side by side, down and up again; then row lines, some side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.jit import helper, inlined, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.parameters import WireParameters

PANEL = 64  # columns that are walked together: what a row of theirs needs stays in cache
LANES = 16  # rows that are walked together

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@inlined
def _share(
    g: np.float32, above: np.float32, below: np.float32, arrives: np.float32
) -> tuple[np.float32, np.float32]:
    """The load that a device is, and the share of its current that reaches the end."""
    turns_down = _ONE / (_ONE + above * below)
    drop = _ONE / (_ONE + g * below * turns_down)
    return g * drop, drop * turns_down * arrives


@helper
def _look_up(g: np.ndarray, low: int, column: np.float32, above: np.ndarray) -> None:
    """Write the conductance of the line above each node of a panel, (row, PANEL)."""
    width = min(PANEL, g.shape[1] - low)
    above[0] = _ZERO
    for i in range(1, g.shape[0]):
        before, value = above[i - 1], g[i - 1, low : low + width]
        here = above[i]
        for c in range(width):
            all_above = before[c] + value[c]
            here[c] = all_above / (_ONE + column * all_above)


@helper
def _column_share(
    begin: int,
    end: int,
    plus: np.ndarray,
    minus: np.ndarray,
    plus_variance: np.ndarray,
    minus_variance: np.ndarray,
    column: np.float32,
    last: np.float32,
    load: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Panels from `begin` to `end` of all tiles: loads, and what rows at their sources would give.

    What is below a node is known on the way up, from what is above it on the way down before.
    """
    _, rows, columns = plus.shape
    panels = (columns + PANEL - 1) // PANEL
    above = np.empty((2, rows, PANEL), np.float32)
    below = np.empty((2, PANEL), np.float32)
    arrives = np.empty((2, PANEL), np.float32)
    for index in range(begin, end):
        t, low = index // panels, index % panels * PANEL
        width = min(PANEL, columns - low)
        high = low + width
        _look_up(plus[t], low, column, above[0])
        _look_up(minus[t], low, column, above[1])
        below[:] = last
        arrives[:] = _ONE
        for i in range(rows - 1, -1, -1):
            above_p, above_m = above[0, i], above[1, i]
            below_p, below_m = below[0], below[1]
            arrives_p, arrives_m = arrives[0], arrives[1]
            g_p, g_m = plus[t, i, low:high], minus[t, i, low:high]
            v_p, v_m = plus_variance[t, i, low:high], minus_variance[t, i, low:high]
            out, out_v = mean[t, i, low:high], variance[t, i, low:high]
            seen = load[t, i, low:high]
            for c in range(width):
                load_p, a = _share(g_p[c], above_p[c], below_p[c], arrives_p[c])
                load_m, b = _share(g_m[c], above_m[c], below_m[c], arrives_m[c])
                seen[c] = load_p + load_m
                out[c] = g_p[c] * a - g_m[c] * b
                out_v[c] = a * a * v_p[c] + b * b * v_m[c]
                passes = _ONE / (_ONE + g_p[c] * below_p[c])
                below_p[c] = column + below_p[c] * passes
                arrives_p[c] *= passes
                passes = _ONE / (_ONE + g_m[c] * below_m[c])
                below_m[c] = column + below_m[c] * passes
                arrives_m[c] *= passes


@helper
def _row_share(
    begin: int,
    end: int,
    load: np.ndarray,
    row: np.float32,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Blocks of rows from `begin` to `end` of all tiles: multiply by their nodes' voltages."""
    _, rows, columns = load.shape
    blocks = (rows + LANES - 1) // LANES
    held = np.zeros((columns, LANES), np.float32)  # loads, then voltages: a row in each lane
    all_beyond = np.empty(LANES, np.float32)
    u = np.empty(LANES, np.float32)
    for index in range(begin, end):
        t, low = index // blocks, index % blocks * LANES
        count = min(LANES, rows - low)
        for lane in range(count):
            source = load[t, low + lane]
            for j in range(columns):
                held[j, lane] = source[j]
        all_beyond[:] = _ZERO
        for j in range(columns - 1, -1, -1):
            here = held[j]
            for lane in range(LANES):
                # the segment before this node, with all that hangs on and behind it
                total = all_beyond[lane] + here[lane]
                drop = _ONE / (_ONE + row * total)
                all_beyond[lane] = total * drop
                here[lane] = drop
        u[:] = _ONE
        for j in range(columns):
            here = held[j]
            for lane in range(LANES):
                u[lane] *= here[lane]
                here[lane] = u[lane]
        for lane in range(count):
            m, v = mean[t, low + lane], variance[t, low + lane]
            for j in range(columns):
                a = held[j, lane]
                m[j] *= a
                v[j] *= a * a


@kernel
def _columns(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_column_share, shares, begin, end, arguments)


@kernel
def _rows(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_row_share, shares, begin, end, arguments)


def estimate_wires(
    plus: np.ndarray,
    minus: np.ndarray,
    plus_variance: np.ndarray,
    minus_variance: np.ndarray,
    wires: WireParameters,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Write effective conductances; see `fastaimc.reference.wires.estimate_wires`."""
    tiles, rows, columns = plus.shape
    load = np.empty_like(plus)
    given = (plus, minus, plus_variance, minus_variance)
    column, end = np.float32(wires.column), np.float32(wires.end)
    panels, blocks = -(-columns // PANEL), -(-rows // LANES)
    work = rows * min(columns, PANEL)
    run(_columns, tiles * panels, work, *given, column, end, load, mean, variance)
    row = np.float32(wires.row)
    run(_rows, tiles * blocks, LANES * columns, load, row, mean, variance)
