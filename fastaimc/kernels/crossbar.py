"""The analog matrix-vector product, and reads of single rows.

Panels of columns run in parallel: each is a pair of products, one normal per output and the ADC,
while the panel is in cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.converters import apart, convert, distort, encode
from fastaimc.kernels.hadamard import (
    STRIDE,
    factors,
    multiply_pattern,
    sum_of_squares,
    worth_it,
)
from fastaimc.kernels.jit import FIRST, helper, kernel, run, workers
from fastaimc.kernels.launch import launch
from fastaimc.kernels.matmul import DEPTH, FEW, PANEL, VECTORS_A_CELL, multiply, multiply_few
from fastaimc.kernels.philox import MVM_NOISE, ROW_NOISE, cell, counter3, normal, philox
from fastaimc.kernels.vector import fma

TOGETHER = 128  # vectors that a panel is multiplied by at a time: their sums stay in cache
STRETCH = 512  # columns that are reported together where there are few vectors

_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)
_SHIFT_32 = np.uint64(32)
_MASK_32 = np.uint64(0xFFFFFFFF)


@helper
def _random_words(
    row: int,
    low: int,
    number: np.uint64,
    purpose: np.uint32,
    identity: np.ndarray,
    words: np.ndarray,
) -> None:
    """Write the random words of the columns from `low` on; low and len(words) are fours."""
    c1 = np.uint32(number & _MASK_32)
    c3 = counter3(purpose, 0, int(number >> _SHIFT_32))
    for quad in range(words.shape[0] // 4):
        w0, w1, w2, w3 = philox(
            cell(row, low // 4 + quad), c1, identity[2], c3, identity[0], identity[1]
        )
        words[4 * quad] = w0
        words[4 * quad + 1] = w1
        words[4 * quad + 2] = w2
        words[4 * quad + 3] = w3


@helper
def _report_fully(
    y: np.ndarray,
    variance: np.ndarray,
    words: np.ndarray,
    columns: np.ndarray,
    low: int,
    full_scale: np.float32,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    """Do as `_report`, with dead time, noise and range of every column."""
    gain, offset, bow, shape = columns[0], columns[1], columns[2], columns[3]
    dead_time, noise, own_range = columns[4], columns[5], columns[6]
    for column in range(out.shape[0]):
        c = low + column
        scale = full_scale * own_range[c]
        own = noise[c] * scale
        std = np.sqrt(fma(own, own, variance[column]))
        out[column] = distort(
            fma(std, normal(words[column]), y[column]),
            scale,
            _ONE + gain[c],
            offset[c],
            bow[c],
            shape[c],
            dead_time[c],
        )
    encode(out, full_scale, own_range[low : low + out.shape[0]], half_codes)


@helper
def _report(
    y: np.ndarray,
    variance: np.ndarray,
    words: np.ndarray,
    columns: np.ndarray,
    low: int,
    full_scale: np.float32,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    """Add noise to one vector's outputs from column `low` on, and convert them."""
    if columns.ndim > 2:  # decided when it is compiled, see `converters.apart`
        _report_fully(y, variance, words, columns[0], low, full_scale, half_codes, out)
        return
    inverse = _ONE / full_scale
    lsb = full_scale / half_codes if half_codes > _ZERO else full_scale
    gain, offset, bow, shape = columns[0], columns[1], columns[2], columns[3]
    for column in range(out.shape[0]):
        c = low + column
        out[column] = convert(
            fma(np.sqrt(variance[column]), normal(words[column]), y[column]),
            inverse,
            lsb,
            half_codes,
            _ONE + gain[c],
            offset[c],
            bow[c],
            shape[c],
        )


@helper
def report_panel(
    y: np.ndarray,
    variance: np.ndarray,
    low: int,
    length: int,
    number: np.uint64,
    identity: np.ndarray,
    columns: np.ndarray,
    full_scale: np.float32,
    half_codes: np.float32,
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Report all vectors' outputs of columns from `low` on; a lone row of variances is all's."""
    used = words[: (length + 3) // 4 * 4]
    for b in range(y.shape[0]):
        _random_words(FIRST, low, number + np.uint64(b), MVM_NOISE, identity, used)
        _report(
            y[b],
            variance[b % variance.shape[0]],
            used,
            columns,
            low,
            full_scale,
            half_codes,
            out[b, low : low + length],
        )


@helper
def _mvm_share(
    begin: int,
    end: int,
    x: np.ndarray,
    squares: np.ndarray,
    group: np.ndarray,
    pattern: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    number: np.uint64,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    """Panels from `begin` to `end` of all tiles; no bit depends on how they are shared."""
    _, batch, width = out.shape
    fast = worth_it(pattern, batch, mean.shape[1])
    panels = (width + PANEL - 1) // PANEL
    most = batch if fast else min(batch, TOGETHER)
    y = np.empty((most, PANEL), np.float32)
    v = np.empty((1 if fast else most, PANEL), np.float32)
    words = np.empty(PANEL, np.uint32)
    factor = np.empty(mean.shape[1], np.float32)
    z = np.empty((pattern[0] if fast else 1, STRIDE), np.float32)
    if fast:
        factors(pattern, x[0, 0], factor)
    for index in range(begin, end):
        t = index // panels
        g = group[t]
        low = index % panels * PANEL
        length = min(PANEL, width - low)
        for first in range(0, batch, most):
            last = min(first + most, batch)
            if fast:
                multiply_pattern(pattern, factor, mean[t], low, z, y)
                sum_of_squares(factor, variance[t], low, v[0, :length])
            else:
                multiply(x[g, first:last], mean[t], low, y)
                multiply(squares[g, first:last], variance[t], low, v)
            report_panel(
                y[: last - first],
                v,
                low,
                length,
                number + np.uint64(first),
                identity[t],
                columns[t],
                full_scale[t],
                half_codes,
                words,
                out[t, first:last],
            )


@kernel
def _mvm(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_mvm_share, shares, begin, end, arguments)


@helper
def _part_share(
    begin: int,
    end: int,
    x: np.ndarray,
    squares: np.ndarray,
    group: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    parts: np.ndarray,
) -> None:
    """Products of few vectors with whole rows of the matrices, DEPTH of them for each part."""
    _, rows, _ = mean.shape
    count = parts.shape[1]
    for index in range(begin, end):
        t = index // count
        g = group[t]
        first = index % count * DEPTH
        last = min(first + DEPTH, rows)
        sums = parts[t, index % count]
        multiply_few(x[g], first, mean[t, first:last], sums[0])
        multiply_few(squares[g], first, variance[t, first:last], sums[1])


@helper
def _sum_share(
    begin: int,
    end: int,
    parts: np.ndarray,
    identity: np.ndarray,
    number: np.uint64,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    """Sum the parts, one after another, and report stretches from `begin` to `end` of all tiles."""
    _, batch, width = out.shape
    stretches = (width + STRETCH - 1) // STRETCH
    sums = np.empty((2, batch, STRETCH), np.float32)
    words = np.empty(STRETCH, np.uint32)
    for index in range(begin, end):
        t = index // stretches
        low = index % stretches * STRETCH
        length = min(STRETCH, width - low)
        sums[:] = _ZERO
        for part in range(parts.shape[1]):
            for which in range(2):
                for b in range(batch):
                    source = parts[t, part, which, b, low : low + length]
                    target = sums[which, b]
                    for c in range(length):
                        target[c] += source[c]
        adc = (identity[t], columns[t], full_scale[t], half_codes)
        report_panel(sums[0], sums[1], low, length, number, *adc, words, out[t])


@kernel
def _few(
    shares: int,
    x: np.ndarray,
    squares: np.ndarray,
    group: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    number: np.uint64,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    """Multiply few vectors: in parts of the rows, for panels would leave nothing in cache."""
    tiles, rows, width = mean.shape
    count = (rows + DEPTH - 1) // DEPTH
    parts = np.empty((tiles, count, 2, x.shape[1], width), np.float32)
    products = (x, squares, group, mean, variance, parts)
    launch(_part_share, shares, 0, tiles * count, products)
    report = (parts, identity, number, columns, full_scale, half_codes, out)
    launch(_sum_share, shares, 0, tiles * ((width + STRETCH - 1) // STRETCH), report)


def mvm(
    x: np.ndarray,
    group: np.ndarray,
    pattern: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    number: int,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
) -> np.ndarray:
    """Multiply inputs by the crossbars; see `fastaimc.reference.crossbar.mvm`."""
    tiles, rows, width = mean.shape
    batch = x.shape[1]
    out = np.empty((tiles, batch, width), np.float32)
    adc = (identity, np.uint64(number), apart(columns), full_scale, half_codes)
    if batch <= FEW:
        _few(workers(), x, x * x, group, mean, variance, *adc, out)
    else:
        work = rows * PANEL * (1 + batch // VECTORS_A_CELL)
        inputs = (x, x * x, group, pattern)
        run(_mvm, tiles * -(-width // PANEL), work, *inputs, mean, variance, *adc, out)
    return out


@helper
def _read_row(
    mean: np.ndarray,
    variance: np.ndarray,
    row: int,
    step: int,
    identity: np.ndarray,
    columns: np.ndarray,
    full_scale: np.float32,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    words = np.empty((out.shape[0] + 3) // 4 * 4, np.uint32)
    _random_words(row, FIRST, np.uint64(step), ROW_NOISE, identity, words)
    _report(mean, variance, words, columns, FIRST, full_scale, half_codes, out)


@helper
def _read_share(
    begin: int,
    end: int,
    rows: np.ndarray,
    first: int,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    step: int,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    count = rows.shape[0]
    for index in range(begin, end):
        t = index // count
        row = int(rows[index % count])
        _read_row(
            mean[t, row - first],
            variance[t, row - first],
            row,
            step,
            identity[t],
            columns[t],
            full_scale[t],
            half_codes,
            out[t, index % count],
        )


@kernel
def _read_rows(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_read_share, shares, begin, end, arguments)


def read_rows(
    rows: np.ndarray,
    first: int,
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
    out = np.empty((tiles, len(rows), width), np.float32)
    matrices = (first, mean, variance, identity, step)
    adc = (apart(columns), full_scale, half_codes)
    run(_read_rows, tiles * len(rows), width, rows, *matrices, *adc, out)
    return out
