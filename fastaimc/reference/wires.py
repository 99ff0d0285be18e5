"""IR drop in a crossbar's wires, in closed form.

A cell holds two devices, one on the column line of each polarity; both hang on the one row line.
A row is driven at its left end, one segment before the first column, a column line read at its
bottom end by a virtual ground.  A row that is not driven is held at that potential as well, so
outputs are linear in inputs: the wires make one effective conductance of each cell.

Resistances are in 1/µS, that is in MΩ.
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import WireParameters


def column_lines(g: np.ndarray, column: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what rows held at their sources see of each device, and the part that arrives.

    Parameters
    ----------
    g : ndarray
        Conductances of one polarity, (row, column), float64, µS.
    column, end : float
        Resistance of a segment, and of the last one down to the ground.

    Returns
    -------
    load : ndarray
        Current out of the row's node for 1 V there and 0 V at all others, (row, column), µS.
    share : ndarray
        Current at the line's end for that voltage, over the one that g alone would let through.
    """
    rows = len(g)
    above = np.zeros_like(g)  # conductance of the line above a node
    for i in range(1, rows):
        all_above = above[i - 1] + g[i - 1]
        above[i] = all_above / (1 + column * all_above)
    below = np.full_like(g, end)  # resistance of the line below a node
    arrives = np.ones_like(g)  # part of a current that passes all nodes below
    for i in range(rows - 2, -1, -1):
        passes = 1 / (1 + g[i + 1] * below[i + 1])
        below[i] = column + below[i + 1] * passes
        arrives[i] = arrives[i + 1] * passes
    turns_down = 1 / (1 + above * below)
    drop = 1 / (1 + g * below * turns_down)
    return g * drop, drop * turns_down * arrives


def row_nodes(load: np.ndarray, row: float) -> np.ndarray:
    """Return the voltage of each node of the rows, driven by 1 V, under loads (row, column)."""
    columns = load.shape[1]
    beyond = np.zeros_like(load)  # conductance of the line to the right of a node
    for j in range(columns - 2, -1, -1):
        all_beyond = beyond[:, j + 1] + load[:, j + 1]
        beyond[:, j] = all_beyond / (1 + row * all_beyond)
    drop = 1 / (1 + row * (beyond + load))
    return np.cumprod(drop, axis=1)


def estimate_wires(
    plus: np.ndarray,
    minus: np.ndarray,
    plus_variance: np.ndarray,
    minus_variance: np.ndarray,
    wires: WireParameters,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Write the effective conductances of pairs of devices, and their variances, to first order.

    Each column line is solved exactly with the rows' nodes at their sources, then each row line
    with the loads that it sees there.  It is exact where either family of wires has no resistance;
    what it leaves out is that a drop along one row moves the columns' potentials for the others.
    A device's noise is attenuated as its current is: its own part of the drop is left out.

    Parameters
    ----------
    plus, minus : ndarray
        What the devices that add and those that subtract conduct, (tile, row, column), float32,
        µS, not negative.
    plus_variance, minus_variance : ndarray
        Of their reads, float32, µS².
    wires : WireParameters
        Resistances.
    mean, variance : ndarray
        Outputs, (tile, row, column), float32, µS and µS².
    """
    column, end = float(wires.column), float(wires.end)
    for tile in range(len(plus)):
        adds, subtracts = plus[tile].astype(np.float64), minus[tile].astype(np.float64)
        load_plus, share_plus = column_lines(adds, column, end)
        load_minus, share_minus = column_lines(subtracts, column, end)
        u = row_nodes(load_plus + load_minus, float(wires.row))
        mean[tile] = u * (adds * share_plus - subtracts * share_minus)
        noise = share_plus**2 * plus_variance[tile] + share_minus**2 * minus_variance[tile]
        variance[tile] = u**2 * noise
