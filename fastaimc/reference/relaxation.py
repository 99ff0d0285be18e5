"""IR drop in a crossbar's wires, by relaxation: row lines and column lines in turn.

The network is reciprocal: with all drivers at 0 V and 1 V at the end of one output's column line
of devices that add (and -1 V at that of those that subtract), the current into each row's driver
is that row's effective conductance for the output.  The fields of `GROUP` outputs are solved at a
time, so nothing grows with the square of the outputs.
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import WireParameters

GROUP = 16  # outputs that are solved together, and stop together
ROUNDING = 2.0**-24  # changes as small as float32's rounding need not fall any more


def line(
    g: np.ndarray, current: np.ndarray, segment: float, end: float, source: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solve lines of resistors exactly, by eliminating nodes from the free end on.

    Parameters
    ----------
    g : ndarray
        Conductance from each node to what surrounds it, (node, line), µS.
    current : ndarray
        Current that this lets in, (node, line, field).
    segment, end : float
        Resistance between nodes, and from the last one to the source.
    source : ndarray
        Voltage at the line's end, (line, field).

    Returns
    -------
    nodes : ndarray
        Voltages, (node, line, field).
    arriving : ndarray
        Current at the line's end less the one that the source sends in itself, (line, field).
    """
    nodes = len(g)
    behind = np.zeros_like(g[0])  # conductance of the line before a node
    sent = np.zeros_like(current)  # current through the segment after a node that is at 0 V there
    passes = np.empty_like(g)
    before = np.zeros_like(current[0])
    for i in range(nodes):
        resistance = end if i == nodes - 1 else segment
        passes[i] = 1 / (1 + resistance * (behind + g[i]))
        sent[i] = passes[i][:, None] * (current[i] + before)
        behind = (behind + g[i]) * passes[i]
        before = sent[i]
    voltage = np.empty_like(current)
    after = source
    for i in range(nodes - 1, -1, -1):
        resistance = end if i == nodes - 1 else segment
        voltage[i] = passes[i][:, None] * after + resistance * sent[i]
        after = voltage[i]
    return voltage, before


def relax_group(
    plus: np.ndarray, minus: np.ndarray, low: int, wires: WireParameters, stop: tuple[float, int]
) -> tuple[np.ndarray, float]:
    """Return the effective conductances of the outputs from `low` on, (row, output), and the error.

    Parameters
    ----------
    plus, minus : ndarray
        (row, column), float64, µS.
    stop : tuple
        Tolerance, and the most sweeps.
    """
    rows, columns = plus.shape
    count = min(GROUP, columns - low)
    source = np.zeros((columns, count))
    source[low + np.arange(count), np.arange(count)] = 1
    u = np.zeros((rows, columns, count))
    found = np.zeros((rows, count))
    largest_change = left = 1.0
    for sweep in range(stop[1]):
        into_rows = np.zeros_like(u)
        for g, sign in ((plus, 1), (minus, -1)):
            current = g[:, :, None] * u
            w, _ = line(g, current, float(wires.column), float(wires.end), sign * source)
            into_rows += g[:, :, None] * w
        # along a row from its right end to its driver, which is at 0 V
        ground = np.zeros((rows, count))
        flipped, current = (plus + minus).T[::-1], into_rows.transpose(1, 0, 2)[::-1]
        nodes, arriving = line(flipped, current, float(wires.row), float(wires.row), ground)
        u = nodes[::-1].transpose(1, 0, 2)
        scale = np.abs(arriving).max(axis=0)
        change = np.abs(arriving - found).max(axis=0)
        relative = np.divide(change, scale, out=np.zeros(count), where=scale > 0)
        before, largest_change = largest_change, float(relative.max())
        found = arriving
        # the first change is from nothing, and says nothing of how the others fall
        left = remaining(before if sweep > 1 else 0.0, largest_change)
        if left <= stop[0]:
            break
    return found, left


def remaining(before: float, change: float) -> float:
    """Return what is left of an error that falls by a factor a sweep, after two changes of it."""
    if change <= ROUNDING:
        return change
    return change * change / (before - change) if before > change else float("inf")


def relax_wires(
    plus: np.ndarray,
    minus: np.ndarray,
    wires: WireParameters,
    tolerance: float,
    sweeps: int,
    out: np.ndarray,
) -> np.ndarray:
    """Write the effective conductances of pairs of devices, solved by line Gauss-Seidel.

    A sweep solves each column line for the rows' nodes as they are, and then each row line for the
    columns'.  The matrix is positive definite, so it converges for any resistances.  A group of
    outputs is done when the error that two sweeps' changes promise, over the largest conductance
    of its output, is at most `tolerance`, or after `sweeps`.

    Parameters
    ----------
    plus, minus : ndarray
        What the devices that add and those that subtract conduct, (tile, row, column), float32,
        µS, not negative.
    wires : WireParameters
        Resistances, all above zero.
    tolerance, sweeps
        When to stop.
    out : ndarray
        Output, (tile, row, column), float64, µS.

    Returns
    -------
    ndarray
        The largest error that is left, relative, (tile,), float64; above `tolerance` where a group
        had not converged after `sweeps`.
    """
    tiles, _, columns = plus.shape
    left = np.zeros(tiles)
    for tile in range(tiles):
        adds, subtracts = plus[tile].astype(np.float64), minus[tile].astype(np.float64)
        for low in range(0, columns, GROUP):
            found, error = relax_group(adds, subtracts, low, wires, (tolerance, sweeps))
            out[tile, :, low : low + GROUP] = found
            left[tile] = max(left[tile], error)
    return left
