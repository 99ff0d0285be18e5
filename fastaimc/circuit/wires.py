"""IR drop solved exactly: one sparse factorisation of the network, and one solve an output.

The network is that of `fastaimc.reference.wires`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.parameters import WireParameters


def exact_wires(plus: np.ndarray, minus: np.ndarray, wires: WireParameters) -> np.ndarray:
    """Return the effective conductances of one tile's pairs of devices.

    Parameters
    ----------
    plus, minus : ndarray
        What the devices that add and those that subtract conduct, (row, column), µS.
    wires : WireParameters
        Resistances, all above zero.

    Returns
    -------
    ndarray
        (row, column), float64, µS.

    Notes
    -----
    For 256² the factorisation and its solves take seconds, and memory grows faster than the cells
    do.  The network is reciprocal: the current into a row's driver for 1 V at an output's end is
    that row's effective conductance for the output.
    """
    from scipy.sparse.linalg import splu

    rows, columns = plus.shape
    # Nothing is gained by pivots: the matrix is positive definite.
    factors = splu(
        nodal_matrix(plus, minus, wires),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    nodes = np.arange(3 * rows * columns).reshape(3, rows, columns)
    out = np.empty((rows, columns))
    for j in range(columns):  # many at a time would take more memory, and longer
        sources = np.zeros(nodes.size)
        sources[nodes[1:, -1, j]] = np.array([1, -1]) / wires.end
        out[:, j] = factors.solve(sources)[nodes[0, :, 0]] / wires.row
    return out


def nodal_matrix(plus: np.ndarray, minus: np.ndarray, wires: WireParameters) -> Any:
    """Return Kirchhoff's law at all nodes as a sparse matrix, µS.

    Nodes come row by row: those of the rows first, then of the column lines of the devices that
    add, then of those that subtract.
    """
    from scipy.sparse import csc_matrix

    rows, columns = plus.shape
    nodes = np.arange(3 * rows * columns).reshape(3, rows, columns)
    row, column = np.array(1 / wires.row), np.array(1 / wires.column)
    links = [(nodes[0, :, :-1], nodes[0, :, 1:], row)]
    for lines, g in zip(nodes[1:], (plus, minus), strict=True):
        links += [(lines[:-1], lines[1:], column), (nodes[0], lines, g)]
    diagonal = np.zeros(nodes.size)
    diagonal[nodes[0, :, 0]] = row
    diagonal[nodes[1:, -1]] = 1 / wires.end
    first = np.concatenate([a.ravel() for a, _, _ in links])
    second = np.concatenate([b.ravel() for _, b, _ in links])
    values = [np.broadcast_to(g, a.shape).ravel().astype(np.float64) for a, _, g in links]
    value = np.concatenate(values)
    for ends in (first, second):
        diagonal += np.bincount(ends, weights=value, minlength=nodes.size)
    every = nodes.ravel()
    return csc_matrix(
        (
            np.concatenate([-value, -value, diagonal]),
            (np.concatenate([first, second, every]), np.concatenate([second, first, every])),
        ),
        shape=(nodes.size, nodes.size),
    )
