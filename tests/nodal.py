"""Nodal analysis of a crossbar in its plainest form: a dense matrix, solved for every input."""

import numpy as np

from fastaimc.parameters import WireParameters


def dense_wires(plus: np.ndarray, minus: np.ndarray, wires: WireParameters) -> np.ndarray:
    """Effective conductances (row, column), µS: each row driven alone by 1 V, all others at 0 V.

    Nodes come column by column: of the adding line, of the row, of the subtracting line.
    """
    rows, columns = plus.shape
    matrix = np.zeros((3 * rows * columns,) * 2)

    def node(kind: int, i: int, j: int) -> int:
        return (j * rows + i) * 3 + kind

    def link(a: int, b: int | None, g: float) -> None:
        matrix[a, a] += g
        if b is not None:
            matrix[b, b] += g
            matrix[a, b] -= g
            matrix[b, a] -= g

    for i in range(rows):
        for j in range(columns):
            link(node(1, i, j), node(1, i, j - 1) if j else None, 1 / float(wires.row))
            for kind, g in ((0, plus), (2, minus)):
                link(node(kind, i, j), node(1, i, j), float(g[i, j]))
                if i < rows - 1:
                    link(node(kind, i, j), node(kind, i + 1, j), 1 / float(wires.column))
                else:
                    link(node(kind, i, j), None, 1 / float(wires.end))
    driven = np.zeros((len(matrix), rows))
    for i in range(rows):
        driven[node(1, i, 0), i] = 1 / float(wires.row)
    voltages = np.linalg.solve(matrix, driven)
    out = np.empty((rows, columns))
    for j in range(columns):
        adds, subtracts = (voltages[node(kind, rows - 1, j)] for kind in (0, 2))
        out[:, j] = (adds - subtracts) / float(wires.end)
    return out
