"""The analog matrix-vector product, and reads of single rows.

Fixed blocks of columns run in parallel, so that no bit depends on the number of threads: each is
a pair of products, one normal per output and the ADC, while the block is in cache.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.converters import convert
from fastaimc.kernels.jit import parallel, prange, serial
from fastaimc.kernels.philox import MVM_NOISE, ROW_NOISE, cell, counter3, normal, philox

BLOCK = 128  # columns of a block: a multiple of 4, as four outputs share a call of Philox
SMALL_BATCH = 4  # up to here a loop over the matrix beats a copy of the block and BLAS

_ONE = np.float32(1.0)
_SHIFT_32 = np.uint64(32)
_MASK_32 = np.uint64(0xFFFFFFFF)


@serial
def _squares(x: np.ndarray) -> np.ndarray:
    """x * x: written inside `mvm`, Numba warns that the expression is not parallel."""
    return x * x


@serial
def _axpy(x: np.ndarray, matrix: np.ndarray, low: int, high: int, out: np.ndarray) -> None:
    """out[b, :] = x[b] @ matrix[:, low:high], in the order of the rows."""
    for b in range(x.shape[0]):
        target = out[b]
        target[:] = np.float32(0.0)
        for row in range(x.shape[1]):
            factor = x[b, row]
            source = matrix[row]
            for column in range(high - low):
                target[column] += factor * source[low + column]


@serial
def product(x: np.ndarray, matrix: np.ndarray, low: int, high: int) -> np.ndarray:
    """x @ matrix[:, low:high]: a block of columns, the same bits on any number of threads."""
    if x.shape[0] <= SMALL_BATCH:
        out = np.empty((x.shape[0], high - low), np.float32)
        _axpy(x, matrix, low, high, out)
        return out
    return np.dot(x, matrix[:, low:high].copy())


@serial
def _finish(
    y: np.ndarray,
    variance: np.ndarray,
    row: int,
    low: int,
    number: np.uint64,
    purpose: np.uint32,
    identity: np.ndarray,
    columns: np.ndarray,
    full_scale: np.float32,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    """Add noise to one vector's outputs of a block of columns and convert them."""
    width = y.shape[0]
    c1 = np.uint32(number & _MASK_32)
    c3 = counter3(purpose, 0, int(number >> _SHIFT_32))
    z = np.empty(width + 3, np.float32)
    for quad in range((width + 3) // 4):
        w0, w1, w2, w3 = philox(
            cell(row, low // 4 + quad), c1, identity[2], c3, identity[0], identity[1]
        )
        z[4 * quad] = normal(w0)
        z[4 * quad + 1] = normal(w1)
        z[4 * quad + 2] = normal(w2)
        z[4 * quad + 3] = normal(w3)
    inverse = _ONE / full_scale
    for column in range(width):
        out[low + column] = convert(
            y[column] + np.sqrt(variance[column]) * z[column],
            inverse,
            full_scale,
            half_codes,
            _ONE + columns[0, low + column],
            columns[1, low + column],
            columns[2, low + column],
            columns[3, low + column],
        )


@serial
def _mvm_block(
    x: np.ndarray,
    squares: np.ndarray,
    low: int,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    number: np.uint64,
    columns: np.ndarray,
    full_scale: np.float32,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    high = min(low + BLOCK, mean.shape[1])
    y = product(x, mean, low, high)
    v = product(squares, variance, low, high)
    for b in range(x.shape[0]):
        _finish(
            y[b],
            v[b],
            0,
            low,
            number + np.uint64(b),
            MVM_NOISE,
            identity,
            columns,
            full_scale,
            half_codes,
            out[b],
        )


@parallel
def mvm(
    x: np.ndarray,
    group: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    number: int,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
) -> np.ndarray:
    """Multiply inputs by the crossbars; see `fastaimc.reference.crossbar.mvm`."""
    tiles, _, width = mean.shape
    out = np.empty((tiles, x.shape[1], width), np.float32)
    squares = _squares(x)
    blocks = (width + BLOCK - 1) // BLOCK
    for index in prange(tiles * blocks):
        t = index // blocks
        _mvm_block(
            x[group[t]],
            squares[group[t]],
            index % blocks * BLOCK,
            mean[t],
            variance[t],
            identity[t],
            np.uint64(number),
            columns[t],
            full_scale[t],
            half_codes,
            out[t],
        )
    return out


@parallel
def read_rows(
    rows: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    step: int,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
) -> np.ndarray:
    """Drive each of `rows` alone; see `fastaimc.reference.crossbar.read_rows`."""
    tiles, _, width = mean.shape
    count = rows.shape[0]
    out = np.empty((tiles, count, width), np.float32)
    for index in prange(tiles * count):
        t = index // count
        row = int(rows[index % count])
        _finish(
            mean[t, row],
            variance[t, row],
            row,
            0,
            np.uint64(step),
            ROW_NOISE,
            identity[t],
            columns[t],
            full_scale[t],
            half_codes,
            out[t, index % count],
        )
    return out
