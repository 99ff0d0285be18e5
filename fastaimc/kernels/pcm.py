"""Phase-change devices as time and reads find them: drift, and the variance of read noise.

Rows of all tiles run in parallel; a row is one thread's work.  Spreads over devices are
recomputed from the counter wherever they are needed and never stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels import elementary
from fastaimc.kernels.jit import helper, inlined, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.philox import DRIFT, SLOW_NOISE, cell, counter3, normal, philox
from fastaimc.kernels.vector import fma
from fastaimc.parameters import FitParameters, StateParameters

BLOCK = 512  # cells that are evaluated together

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_SMALLEST_STATE = np.float32(1e-3)
_NO_STEP = np.uint32(0)  # drift belongs to a device for life


@helper
def _block_words(
    identity: np.ndarray,
    row: int,
    low: int,
    width: int,
    cells: int,
    step: np.uint32,
    c3: np.uint32,
    out: np.ndarray,
) -> None:
    """Fill (4, cell) with the random words of some rows' cells and a block of four devices."""
    for first in range(0, cells, width):
        o0, o1 = out[0, first : first + width], out[1, first : first + width]
        o2, o3 = out[2, first : first + width], out[3, first : first + width]
        at = cell(row + first // width, low)
        for column in range(width):
            w0, w1, w2, w3 = philox(
                np.uint32(at + np.uint32(column)),
                step,
                identity[2],
                c3,
                identity[0],
                identity[1],
            )
            o0[column] = w0
            o1[column] = w1
            o2[column] = w2
            o3[column] = w3


@inlined
def _unpack(f: np.ndarray) -> FitParameters:
    return FitParameters(f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9])


@inlined
def _fit(p: FitParameters, x: np.float32, log_x: np.float32) -> np.float32:
    logarithmic = fma(p.slope, log_x, p.offset)
    logarithmic = logarithmic if logarithmic > p.low else p.low
    logarithmic = logarithmic if logarithmic < p.high else p.high
    cubic = fma(fma(fma(p.c3, x, p.c2), x, p.c1), x, p.c0)
    return logarithmic if x < p.split else cubic


@inlined
def _log_age(age: np.float32, p: StateParameters) -> np.float32:
    age = age if age > p.t_on_s else p.t_on_s
    return elementary.log(age * p.inverse_t_ref)


@helper
def _state(g: np.ndarray, inverse_scale: np.float32, x: np.ndarray, log_x: np.ndarray) -> None:
    for i in range(g.shape[0]):
        value = g[i] * inverse_scale
        value = value if value > _SMALLEST_STATE else _SMALLEST_STATE
        value = value if value < _ONE else _ONE
        x[i] = value
        log_x[i] = elementary.log_normal_range(value)


@helper
def _exponent(
    x: np.ndarray,
    log_x: np.ndarray,
    log_age: np.ndarray,
    log_elapsed: np.float32,
    last: np.ndarray,
    device: np.uint8,
    fits: np.ndarray,
    z: np.ndarray,
) -> None:
    """Turn normals into -nu ln(t / t_ref)."""
    mean_nu, std_nu = _unpack(fits[0]), _unpack(fits[1])
    for i in range(x.shape[0]):
        nu = fma(_fit(std_nu, x[i], log_x[i]), z[i], _fit(mean_nu, x[i], log_x[i]))
        age = log_age[i] if last[i] == device else log_elapsed
        z[i] = -abs(nu) * age


@helper
def _leave_out(chosen: np.ndarray, device: np.uint8, g: np.ndarray) -> None:
    """Let a device conduct nothing in the cells where it is not chosen."""
    for i in range(g.shape[0]):
        g[i] = g[i] if (chosen[i] >> device) & np.uint8(1) != 0 else _ZERO


@helper
def _add_device(
    g: np.ndarray,
    x: np.ndarray,
    log_x: np.ndarray,
    exponent: np.ndarray,
    sign: np.float32,
    fits: np.ndarray,
    noise_band: np.float32,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    q = _unpack(fits[2])
    for i in range(g.shape[0]):
        now = g[i] * elementary.exp_normal_range(exponent[i])
        noise = now * _fit(q, x[i], log_x[i])
        mean[i] = fma(sign, now, mean[i])
        variance[i] = fma(noise, noise * noise_band, variance[i])


@helper
def _noise_level(x: np.ndarray, log_x: np.ndarray, fits: np.ndarray) -> None:
    """Turn states into Q."""
    q = _unpack(fits[2])
    for i in range(x.shape[0]):
        x[i] = _fit(q, x[i], log_x[i])
    if q.of_log > _ZERO:
        for i in range(x.shape[0]):
            x[i] = elementary.exp_normal_range(x[i])


@helper
def _add_noisy_device(
    g: np.ndarray,
    level: np.ndarray,
    exponent: np.ndarray,
    fluctuation: np.ndarray,
    sign: np.float32,
    noise_band: np.float32,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """What `_add_device` does, with slow noise and a Q that has been worked out."""
    for i in range(g.shape[0]):
        now = g[i] * elementary.exp_normal_range(exponent[i])
        noise = now * level[i]
        slow = fma(noise, fluctuation[i], now)
        mean[i] = fma(sign, slow if slow > _ZERO else _ZERO, mean[i])
        variance[i] = fma(noise, noise * noise_band, variance[i])


@helper
def _fluctuate(
    identity: np.ndarray,
    row: int,
    low: int,
    width: int,
    cells: int,
    block: int,
    slow: np.ndarray,
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the slow noise of a block of four devices in units of Q, (4, cell)."""
    out[:] = _ZERO
    for octave in range(slow.shape[0]):
        std = np.float32(slow[octave, 2])
        if std > _ZERO:
            period = np.uint32(np.uint64(slow[octave, 0]))
            c3 = counter3(SLOW_NOISE, block, np.uint64(slow[octave, 1]))
            _block_words(identity, row, low, width, cells, period, c3, words)
            for device in range(4):
                for i in range(cells):
                    out[device, i] = fma(std, normal(words[device, i]), out[device, i])


@helper
def _normals(words: np.ndarray, z: np.ndarray) -> None:
    for i in range(z.shape[0]):
        z[i] = normal(words[i])


@helper
def _gather_cells(
    last_device: np.ndarray,
    last_s: np.ndarray,
    now: np.float32,
    select: np.ndarray,
    row: int,
    low: int,
    width: int,
    p: StateParameters,
    log_age: np.ndarray,
    last: np.ndarray,
    chosen: np.ndarray,
) -> None:
    """Write log ages, last devices and selections of a block's cells, one after another."""
    step = 1 if select.shape[1] > 1 else 0
    for first in range(0, log_age.shape[0], width):
        r = row + first // width
        ages, lasts, choices = log_age[first:], last[first:], chosen[first:]
        since, device_of = last_s[r, low : low + width], last_device[r, low : low + width]
        allowed = select[r % select.shape[0], low * step :]
        for column in range(width):
            ages[column] = _log_age(now - since[column], p)
        for column in range(width):
            lasts[column] = device_of[column]
            choices[column] = allowed[step * column]


@helper
def _gather_device(
    conductance: np.ndarray, row: int, low: int, width: int, out: np.ndarray
) -> None:
    """Write what one device of a block's cells holds."""
    for first in range(0, out.shape[0], width):
        source = conductance[row + first // width, low : low + width]
        target = out[first : first + width]
        for column in range(width):
            target[column] = source[column]


@helper
def conduct_block(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    now: np.float32,
    select: np.ndarray,
    row: int,
    low: int,
    width: int,
    identity: np.ndarray,
    fits: np.ndarray,
    p: StateParameters,
    significance: np.ndarray,
    slow: np.ndarray,
    words: np.ndarray,
    held: np.ndarray,
    marks: np.ndarray,
    slow_sum: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Write what the cells of rows from `row` and columns from `low` on conduct, one after another.

    `width` columns of each row, as many cells as `mean` has, at most BLOCK: all that is between
    stays in the fastest cache.  In steps, each with no more constants than there are registers.
    `words`, `held`, `marks` and `slow_sum` are scratch; the last is zero if `slow` has no octaves.
    """
    cells = mean.shape[0]
    devices = conductance.shape[0]
    g, x, log_x, z = held[0, :cells], held[1, :cells], held[2, :cells], held[3, :cells]
    log_age, last, chosen = held[4, :cells], marks[0, :cells], marks[1, :cells]
    log_elapsed = _log_age(now, p)
    every = (select.size == 1) & (int(select[0, 0]) == (1 << devices) - 1)
    varies = slow.shape[0] > 0
    _gather_cells(last_device, last_s, now, select, row, low, width, p, log_age, last, chosen)
    mean[:] = _ZERO
    variance[:] = _ZERO
    for device in range(devices):
        _gather_device(conductance[device], row, low, width, g)
        if not every:
            _leave_out(chosen, np.uint8(device), g)
        if device % 4 == 0:
            block = device // 4
            if varies:
                _fluctuate(identity, row, low, width, cells, block, slow, words, slow_sum)
            c3 = counter3(DRIFT, block, 0)
            _block_words(identity, row, low, width, cells, _NO_STEP, c3, words)
        factor = significance[device] if significance.size > 0 else _ONE
        sign = factor if device < devices // 2 else -factor
        band = factor * factor * p.noise_band  # of devices that count alike: the band itself
        _state(g, p.inverse_scale, x, log_x)
        _normals(words[device % 4, :cells], z)
        _exponent(x, log_x, log_age, log_elapsed, last, np.uint8(device), fits, z)
        if varies or fits[2, 9] > _ZERO:
            _noise_level(x, log_x, fits)
            fluctuation = slow_sum[device % 4, :cells]
            _add_noisy_device(g, x, z, fluctuation, sign, band, mean, variance)
        else:
            _add_device(g, x, log_x, z, sign, fits, band, mean, variance)


@helper
def _drift_share(
    begin: int,
    end: int,
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    clock_s: np.ndarray,
    select: np.ndarray,
    identity: np.ndarray,
    fits: np.ndarray,
    p: StateParameters,
    significance: np.ndarray,
    slow: np.ndarray,
    first: int,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    _, rows, columns = mean.shape
    words = np.empty((4, BLOCK), np.uint32)
    held = np.empty((5, BLOCK), np.float32)
    marks = np.empty((2, BLOCK), select.dtype)
    slow_sum = np.zeros((4, BLOCK), np.float32)
    for index in range(begin, end):
        t = index // rows
        r = index % rows
        for low in range(0, columns, BLOCK):
            high = min(low + BLOCK, columns)
            conduct_block(
                conductance[t],
                last_device[t],
                last_s[t],
                np.float32(clock_s[t]),
                select[t % select.shape[0]],
                first + r,
                low,
                high - low,
                identity[t],
                fits,
                p,
                significance,
                slow[t % slow.shape[0]],
                words,
                held,
                marks,
                slow_sum,
                mean[t, r, low:high],
                variance[t, r, low:high],
            )


@kernel
def _drift(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_drift_share, shares, begin, end, arguments)


def drift(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    clock_s: np.ndarray,
    select: np.ndarray,
    identity: np.ndarray,
    fits: np.ndarray,
    parameters: StateParameters,
    significance: np.ndarray,
    slow: np.ndarray,
    first: int,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Write what the selected devices conduct now; see `fastaimc.reference.pcm.drift`."""
    tiles, rows, columns = mean.shape
    state = (conductance, last_device, last_s, clock_s, select, identity, fits, parameters)
    run(_drift, tiles * rows, columns, *state, significance, slow, first, mean, variance)
