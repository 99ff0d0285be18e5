"""An MVM of devices as they are now: drift and products of a panel of columns in one go.

What a panel's cells conduct goes straight into its products, and is never stored as a whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.converters import apart
from fastaimc.kernels.crossbar import report_panel
from fastaimc.kernels.hadamard import STRIDE, factors, pick_lines, place_of, transform, worth_it
from fastaimc.kernels.jit import FIRST, helper, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.matmul import PANEL, multiply
from fastaimc.kernels.pcm import BLOCK, HELD, conduct_block
from fastaimc.kernels.variation import WORDS
from fastaimc.kernels.vector import prefetch_row
from fastaimc.parameters import StateParameters, mask_dtype

ROWS = BLOCK // PANEL  # of a panel that are evaluated together

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@kernel
def _look_ahead(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    row: int,
    low: int,
) -> None:
    """Ask for the rows of a panel that are evaluated next."""
    devices, rows, columns = conductance.shape
    for r in range(row, min(row + ROWS, rows)):
        at = r * columns + low
        prefetch_row(last_device, at)
        prefetch_row(last_s, at)
        for device in range(devices):
            prefetch_row(conductance, device * rows * columns + at)


@helper
def _put_row(
    m: np.ndarray, v: np.ndarray, a: np.float32, add: bool, mean: np.ndarray, variance: np.ndarray
) -> None:
    """Write a row of a panel, zero beyond its last column; `add`: to the variances there are."""
    width = m.shape[0]
    square = a * a
    for column in range(width):
        mean[column] = a * m[column]
        before = variance[column] if add else _ZERO
        variance[column] = before + square * v[column]
    for column in range(width, PANEL):
        mean[column] = _ZERO
        variance[column] = _ZERO


@helper
def _conduct_panel(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    now: np.float32,
    low: int,
    everything: np.ndarray,
    identity: np.ndarray,
    fits: np.ndarray,
    p: StateParameters,
    significance: np.ndarray,
    slow: np.ndarray,
    pattern: np.ndarray,
    factor: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Write mean and variance of a panel, (row, PANEL and more), zero beyond the last column.

    Where there is a factor of each row, as in `hadamard.multiply_pattern`, they go to their places,
    and the one row of variances is the sum of squares.
    """
    _, rows, columns = conductance.shape
    width = min(PANEL, columns - low)
    fast = factor.shape[0] > 0
    words = np.empty((WORDS, BLOCK), np.uint32)
    held = np.empty((HELD + 2, BLOCK), np.float32)
    marks = np.empty((2, BLOCK), everything.dtype)
    slow_sum = np.zeros((4, BLOCK), np.float32)
    if fast:
        variance[0] = _ZERO
    for row in range(0, rows, ROWS):
        count = min(ROWS, rows - row)
        _look_ahead(conductance, last_device, last_s, row + ROWS, low)
        m, v = held[HELD, : count * width], held[HELD + 1, : count * width]
        place = (row, low, width, identity)
        scratch = (words, held, marks, slow_sum)
        head = (conductance, last_device, last_s, now, everything)
        conduct_block(*head, *place, fits, p, significance, slow, *scratch, m, v)
        for i in range(count):
            r = row + i
            to = place_of(pattern, r) if fast else r
            a = factor[r] if fast else _ONE
            here = slice(i * width, (i + 1) * width)
            _put_row(m[here], v[here], a, fast, mean[to], variance[0 if fast else r])


@helper
def _measure_share(
    begin: int,
    end: int,
    x: np.ndarray,
    squares: np.ndarray,
    pattern: np.ndarray,
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    clock_s: np.ndarray,
    everything: np.ndarray,
    identity: np.ndarray,
    fits: np.ndarray,
    p: StateParameters,
    significance: np.ndarray,
    slow: np.ndarray,
    number: np.uint64,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
    out: np.ndarray,
) -> None:
    """Panels from `begin` to `end` of all tiles; no bit depends on how they are shared."""
    _, batch, width = out.shape
    rows = x.shape[1]
    fast = worth_it(pattern, batch, rows)
    panels = (width + PANEL - 1) // PANEL
    y = np.empty((batch, PANEL), np.float32)
    words = np.empty(PANEL, np.uint32)
    factor = np.empty(rows if fast else 0, np.float32)
    mean = np.zeros((pattern[0], STRIDE) if fast else (rows, PANEL), np.float32)
    variance = np.empty((1 if fast else rows, PANEL), np.float32)
    v = variance if fast else np.empty((batch, PANEL), np.float32)
    if fast:
        factors(pattern, x[0], factor)
    for index in range(begin, end):
        t = index // panels
        low = index % panels * PANEL
        if fast and rows < pattern[0]:
            mean[:] = _ZERO
        state = (conductance[t], last_device[t], last_s[t], np.float32(clock_s[t]), low, everything)
        devices = (identity[t], fits, p, significance, slow[t % slow.shape[0]])
        _conduct_panel(*state, *devices, pattern, factor, mean, variance)
        if fast:
            transform(mean)
            pick_lines(pattern, mean, y)
        else:
            multiply(x, mean, FIRST, y)
            multiply(squares, variance, FIRST, v)
        length = min(PANEL, width - low)
        adc = (identity[t], columns[t], full_scale[t], half_codes)
        report_panel(y, v, low, length, number, *adc, words, out[t])


@kernel
def _measure(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_measure_share, shares, begin, end, arguments)


def measure(
    x: np.ndarray,
    pattern: np.ndarray,
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    clock_s: np.ndarray,
    identity: np.ndarray,
    fits: np.ndarray,
    parameters: StateParameters,
    significance: np.ndarray,
    slow: np.ndarray,
    number: int,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
) -> np.ndarray:
    """Multiply inputs by devices as they are now; see `fastaimc.reference.measure.measure`."""
    tiles, devices, rows, width = conductance.shape
    every = np.full((1, 1), 2**devices - 1, mask_dtype(devices))
    out = np.empty((tiles, len(x), width), np.float32)
    squares = x * x
    state = (conductance, last_device, last_s, clock_s, every, identity)
    known = (fits, parameters, significance, slow)
    adc = (apart(columns), full_scale, half_codes)
    batch = (x, squares, pattern)
    panels = (width + PANEL - 1) // PANEL
    cells = rows * min(width, PANEL)
    arguments = (*batch, *state, *known, np.uint64(number), *adc, out)
    run(_measure, tiles * panels, cells, *arguments)
    return out
