"""IR drop in a crossbar's wires, in closed form.

Column lines go first, many side by side, down and up again; then row lines, some side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.jit import helper, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.parameters import WireParameters

PANEL = 64  # columns that are walked together: what a row of theirs needs stays in cache
LANES = 16  # rows that are walked together

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


# Loops over a row of a panel write few arrays each: with more LLVM would no longer make sure that
# they do not overlap, and not vectorise.


@helper
def _share(
    g: np.ndarray, above: np.ndarray, below: np.ndarray, arrives: np.ndarray, share: np.ndarray
) -> None:
    """Write the share of each device's current that reaches the end; `above` becomes its load."""
    for c in range(g.shape[0]):
        turns_down = _ONE / (_ONE + above[c] * below[c])
        drop = _ONE / (_ONE + g[c] * below[c] * turns_down)
        share[c] = drop * turns_down * arrives[c]
        above[c] = g[c] * drop


@helper
def _climb(g: np.ndarray, column: np.float32, below: np.ndarray, arrives: np.ndarray) -> None:
    """Go on to the nodes of the row above: resistance below, and part that arrives from there."""
    for c in range(g.shape[0]):
        passes = _ONE / (_ONE + g[c] * below[c])
        below[c] = column + below[c] * passes
        arrives[c] *= passes


@helper
def _sum(a: np.ndarray, x: np.ndarray, b: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Write ``a * x + b * y``."""
    for c in range(out.shape[0]):
        out[c] = a[c] * x[c] + b[c] * y[c]


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
    share = np.empty((2, PANEL), np.float32)
    square = np.empty((2, PANEL), np.float32)
    for index in range(begin, end):
        t, low = index // panels, index % panels * PANEL
        width = min(PANEL, columns - low)
        high = low + width
        _look_up(plus[t], low, column, above[0])
        _look_up(minus[t], low, column, above[1])
        below[:] = last
        arrives[:] = _ONE
        for i in range(rows - 1, -1, -1):
            for polarity in range(2):
                g = plus[t, i, low:high] if polarity == 0 else minus[t, i, low:high]
                state = (below[polarity], arrives[polarity])
                _share(g, above[polarity, i], *state, share[polarity])
                _climb(g, column, *state)
            a, b, seen = share[0], share[1], load[t, i, low:high]
            for c in range(width):
                seen[c] = above[0, i, c] + above[1, i, c]
                square[0, c] = a[c] * a[c]
                square[1, c] = b[c] * b[c]
                b[c] = -b[c]
            _sum(a, plus[t, i, low:high], b, minus[t, i, low:high], mean[t, i, low:high])
            v_p, v_m = plus_variance[t, i, low:high], minus_variance[t, i, low:high]
            _sum(square[0], v_p, square[1], v_m, variance[t, i, low:high])


@helper
def _row_share(
    begin: int,
    end: int,
    load: np.ndarray,
    row: np.float32,
    lanes: int,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Blocks of rows from `begin` to `end` of all tiles: multiply by their nodes' voltages.

    `lanes` is LANES: a loop of known length would be unrolled, and then not vectorised.
    """
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
            for lane in range(lanes):
                # the segment before this node, with all that hangs on and behind it
                total = all_beyond[lane] + here[lane]
                drop = _ONE / (_ONE + row * total)
                all_beyond[lane] = total * drop
                here[lane] = drop
        u[:] = _ONE
        for j in range(columns):
            here = held[j]
            for lane in range(lanes):
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
    run(_rows, tiles * blocks, LANES * columns, load, row, LANES, mean, variance)
