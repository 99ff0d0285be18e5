"""Products with inputs that are lines of a Hadamard matrix: additions instead of multiplications.

Vectors x[v, row] = a[row] * H[line(v), place(row)] multiply a matrix by one transform of each of
its columns, of which the lines are then picked: size·log2(size) additions instead of one
multiplication for each vector and row.  The gradient goes the same way back.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.jit import helper, inlined, kernel
from fastaimc.kernels.matmul import PANEL
from fastaimc.kernels.vector import (
    butterflies_2,
    butterflies_4,
    butterflies_8,
    butterflies_16,
)

STRIDE = PANEL + 16  # floats between rows: with powers of two they would share few sets of a cache
WORTH = 32  # multiplications that cost more than an element of a transform

_ZERO = np.float32(0.0)


@kernel
def worth_it(pattern: np.ndarray, batch: int, rows: int) -> bool:
    """Whether there is a pattern and a transform takes less time than the product."""
    return pattern[0] > 0 and batch * rows > WORTH * pattern[0]


@inlined
def line_of(pattern: np.ndarray, vector: int) -> int:
    """The line of the matrix that a vector is."""
    return (vector * pattern[1] + pattern[2]) & (pattern[0] - 1)


@inlined
def place_of(pattern: np.ndarray, row: int) -> int:
    """The column of the matrix that belongs to a row of the crossbar."""
    return (row * pattern[3] + pattern[4]) & (pattern[0] - 1)


@inlined
def odd_bits(value: int) -> bool:
    """Whether the number of ones is odd."""
    parity = value ^ (value >> 32)
    for shift in (16, 8, 4, 2, 1):
        parity ^= parity >> shift
    return parity & 1 == 1


@kernel
def factors(pattern: np.ndarray, first: np.ndarray, out: np.ndarray) -> None:
    """Write each row's a, with its sign, from the first vector."""
    line = line_of(pattern, 0)
    for row in range(first.shape[0]):
        odd = odd_bits(line & place_of(pattern, row))
        out[row] = -first[row] if odd else first[row]


@helper
def transform(z: np.ndarray) -> None:
    """Multiply the columns of z (size, STRIDE), of which PANEL are used, by a Hadamard matrix."""
    size = z.shape[0]
    step = 1
    while step * 16 <= size:
        for low in range(0, size, 16 * step):
            for i in range(low, low + step):
                butterflies_16(z, i * STRIDE, step * STRIDE)
        step *= 16
    left = size // step
    for i in range(step):
        if left == 8:
            butterflies_8(z, i * STRIDE, step * STRIDE)
        elif left == 4:
            butterflies_4(z, i * STRIDE, step * STRIDE)
        elif left == 2:
            butterflies_2(z, i * STRIDE, step * STRIDE)


@helper
def multiply_pattern(
    pattern: np.ndarray,
    factor: np.ndarray,
    matrix: np.ndarray,
    low: int,
    z: np.ndarray,
    out: np.ndarray,
) -> None:
    """out[v] = x[v] @ matrix[:, low : low + PANEL] of all vectors; zero beyond the last column."""
    rows = matrix.shape[0]
    width = min(PANEL, matrix.shape[1] - low)
    if rows < z.shape[0]:
        z[:] = _ZERO
    for row in range(rows):
        target, source, a = z[place_of(pattern, row)], matrix[row, low : low + width], factor[row]
        for column in range(width):
            target[column] = a * source[column]
        for column in range(width, PANEL):
            target[column] = _ZERO
    transform(z)
    pick_lines(pattern, z, out)


@helper
def pick_lines(pattern: np.ndarray, z: np.ndarray, out: np.ndarray) -> None:
    """out[v] = the line of z that vector v is."""
    for v in range(out.shape[0]):
        target, source = out[v], z[line_of(pattern, v)]
        for column in range(PANEL):
            target[column] = source[column]


@helper
def sum_of_squares(factor: np.ndarray, matrix: np.ndarray, low: int, out: np.ndarray) -> None:
    """out[:] = sum over rows of a² * matrix[row, low : low + len(out)]: every vector's alike."""
    out[:] = _ZERO
    for row in range(matrix.shape[0]):
        square = factor[row] * factor[row]
        source = matrix[row, low : low + out.shape[0]]
        for column in range(out.shape[0]):
            out[column] += square * source[column]


@helper
def gather_lines(pattern: np.ndarray, e: np.ndarray, z: np.ndarray) -> None:
    """Turn e (vector, PANEL) into x.T @ e but for the rows' factors: row r's is at its place."""
    if e.shape[0] < z.shape[0]:
        z[:] = _ZERO
    for v in range(e.shape[0]):
        target, source = z[line_of(pattern, v)], e[v]
        for column in range(PANEL):
            target[column] = source[column]
    transform(z)
