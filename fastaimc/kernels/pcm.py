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
from fastaimc.kernels.philox import normal
from fastaimc.kernels.variation import WORDS, begin, draw_block, vary
from fastaimc.kernels.vector import fma
from fastaimc.parameters import FitParameters, StateParameters

BLOCK = 512  # cells that are evaluated together
HELD = 6  # numbers of a cell that are needed meanwhile

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_SMALLEST_STATE = np.float32(1e-3)
_SMALLEST_AGE = np.float32(1e-30)  # its logarithm is below that of any onset


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
def _log_age(age: np.float32, least: np.float32, p: StateParameters) -> np.float32:
    age = age if age > least else least
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
def _exponent_of_ages(
    x: np.ndarray, log_x: np.ndarray, log_age: np.ndarray, fits: np.ndarray, z: np.ndarray
) -> None:
    """Do what `_exponent` does, where every device has a log age of its own."""
    mean_nu, std_nu = _unpack(fits[0]), _unpack(fits[1])
    for i in range(x.shape[0]):
        nu = fma(_fit(std_nu, x[i], log_x[i]), z[i], _fit(mean_nu, x[i], log_x[i]))
        z[i] = -abs(nu) * log_age[i]


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
def _noise_level(
    x: np.ndarray,
    log_x: np.ndarray,
    fits: np.ndarray,
    spread: np.float32,
    words: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Turn states into Q, each device's own where it is spread."""
    q = _unpack(fits[2])
    for i in range(x.shape[0]):
        x[i] = _fit(q, x[i], log_x[i])
    if q.of_log > _ZERO:
        for i in range(x.shape[0]):
            x[i] = elementary.exp_normal_range(x[i])
    if spread > _ZERO:
        vary(x, spread, words, scratch)


@helper
def _add_noisy_device(
    g: np.ndarray,
    level: np.ndarray,
    exponent: np.ndarray,
    fluctuation: np.ndarray,
    weight: tuple[np.float32, np.float32],
    floor: np.float32,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """What `_add_device` does, with slow noise, a floor, and a Q that has been worked out."""
    sign, band = weight
    for i in range(g.shape[0]):
        now = g[i] * elementary.exp_normal_range(exponent[i])
        noise = now * level[i]
        slow = fma(noise, fluctuation[i], now)
        mean[i] = fma(sign, slow if slow > _ZERO else _ZERO, mean[i])
        noise = noise + floor if now > _ZERO else noise
        variance[i] = fma(noise, noise * band, variance[i])


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
    least: np.float32,
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
            ages[column] = _log_age(now - since[column], least, p)
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


@inlined
def _weight(
    significance: np.ndarray, device: int, devices: int, noise_band: np.float32
) -> tuple[np.float32, np.float32]:
    """Factors on what a device conducts, with its sign, and on the square of its noise."""
    factor = significance[device] if significance.size > 0 else _ONE
    sign = factor if device < devices // 2 else -factor
    return sign, factor * factor * noise_band  # of devices that count alike: the band itself


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

    `width` columns of each row, at most BLOCK cells: all that is between stays in the fastest
    cache.  In steps, each with no more constants than there are registers.  Scratch: `words`
    (WORDS, BLOCK), `held` (HELD, BLOCK), `marks` (2, BLOCK) and `slow_sum` (4, BLOCK), which has to
    be zero if `slow` has no octaves.
    """
    cells, devices = mean.shape[0], conductance.shape[0]
    g, x, log_x, z = held[0, :cells], held[1, :cells], held[2, :cells], held[3, :cells]
    log_age, last, chosen = held[4, :cells], marks[0, :cells], marks[1, :cells]
    own, least = held[5, :cells], _SMALLEST_AGE if p.t_on_spread > _ZERO else p.t_on_s
    log_elapsed = _log_age(now, least, p)
    every = (select.size == 1) & (int(select[0, 0]) == (1 << devices) - 1)
    by_itself = slow.shape[0] > 0 or fits[2, 9] > _ZERO or p.noise_spread + p.noise_floor > _ZERO
    at, who = (row, low, width), (last_device, last_s)
    _gather_cells(*who, now, select, *at, least, p, log_age, last, chosen)
    mean[:] = _ZERO
    variance[:] = _ZERO
    for device in range(devices):
        _gather_device(conductance[device], row, low, width, g)
        if not every:
            _leave_out(chosen, np.uint8(device), g)
        if device % 4 == 0:
            draw_block(*who, *at, cells, device // 4, identity, p, slow, words, slow_sum)
        number, weight = np.uint8(device), _weight(significance, device, devices, p.noise_band)
        _state(g, p.inverse_scale, x, log_x)
        _normals(words[device % 4, :cells], z)
        if p.t_on_spread > _ZERO:
            begin(log_age, log_elapsed, last, number, p, words[4 + device % 4], own)
            _exponent_of_ages(x, log_x, own, fits, z)
        else:
            _exponent(x, log_x, log_age, log_elapsed, last, number, fits, z)
        if by_itself:
            _noise_level(x, log_x, fits, p.noise_spread, words[8 + device % 4], own)
            fluctuation = slow_sum[device % 4, :cells]
            _add_noisy_device(g, x, z, fluctuation, weight, p.noise_floor, mean, variance)
        else:
            _add_device(g, x, log_x, z, weight[0], fits, weight[1], mean, variance)


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
    words = np.empty((WORDS, BLOCK), np.uint32)
    held = np.empty((HELD, BLOCK), np.float32)
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
