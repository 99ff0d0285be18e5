"""Phase-change devices: pulses, writes, drift and the variance of read noise.

Rows of all tiles run in parallel; the worker of a row is serial.  Spreads over devices are
recomputed from the counter wherever they are needed and never stored.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels import elementary
from fastaimc.kernels.jit import inlined, parallel, prange, serial
from fastaimc.kernels.philox import (
    CENTRE_SPREAD,
    DRIFT,
    PULSE,
    SET_SPREAD,
    WIDTH_SPREAD,
    WRITE,
    cell,
    counter3,
    normal,
    philox,
)
from fastaimc.parameters import FitParameters, PulseParameters, StateParameters

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_SMALLEST_STATE = np.float32(1e-3)


@serial
def totals(parts: np.ndarray) -> np.ndarray:
    """Sum (tile, part, n) over the parts, in their order: Numba takes 2 s to compile its own."""
    out = np.zeros((parts.shape[0], parts.shape[2]), parts.dtype)
    for tile in range(parts.shape[0]):
        for part in range(parts.shape[1]):
            for index in range(parts.shape[2]):
                out[tile, index] += parts[tile, part, index]
    return out


@inlined
def _device_normal(
    identity: np.ndarray, row: int, column: int, step: int, purpose: np.uint32, device: int
) -> np.float32:
    """One device's normal of one purpose."""
    w0, w1, w2, w3 = philox(
        cell(row, column),
        np.uint32(step),
        identity[2],
        counter3(purpose, device // 4, 0),
        identity[0],
        identity[1],
    )
    word = device % 4
    low = w0 if word == 0 else w1
    high = w2 if word == 2 else w3
    return normal(low if word < 2 else high)


@serial
def _row_normals(
    identity: np.ndarray, row: int, step: int, purpose: np.uint32, block: int, out: np.ndarray
) -> None:
    """Fill (4, column) with the normals of a row's block of four devices."""
    c3 = counter3(purpose, block, 0)
    for column in range(out.shape[1]):
        w0, w1, w2, w3 = philox(
            cell(row, column), np.uint32(step), identity[2], c3, identity[0], identity[1]
        )
        out[0, column] = normal(w0)
        out[1, column] = normal(w1)
        out[2, column] = normal(w2)
        out[3, column] = normal(w3)


@inlined
def _unpack(f: np.ndarray) -> FitParameters:
    return FitParameters(f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8])


@inlined
def _fit(p: FitParameters, x: np.float32, log_x: np.float32) -> np.float32:
    logarithmic = p.slope * log_x + p.offset
    logarithmic = logarithmic if logarithmic > p.low else p.low
    logarithmic = logarithmic if logarithmic < p.high else p.high
    cubic = ((p.c3 * x + p.c2) * x + p.c1) * x + p.c0
    return logarithmic if x < p.split else cubic


@inlined
def melt_quench(
    current: np.float32,
    z_set: np.float32,
    z_centre: np.float32,
    z_width: np.float32,
    z_pulse: np.float32,
    p: PulseParameters,
) -> np.float32:
    """Conductance after one pulse of a device with the given spreads and scatter."""
    centre = p.centre_ua * (_ONE + p.centre_spread * z_centre)
    width = p.width_ua * (_ONE + p.width_spread * z_width)
    s = _ONE / (_ONE + elementary.exp((centre - current) / width))
    g = elementary.exp(p.log_g_set + p.g_set_spread * z_set - p.depth * s)
    slope = g * p.depth * s * (_ONE - s) / width * p.jitter_ua
    scatter = np.sqrt(slope * slope + p.floor_us * p.floor_us)
    g = g + scatter * z_pulse
    return g if g > _ZERO else _ZERO


@serial
def _pulse_row(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    now: np.float32,
    row: int,
    step: int,
    identity: np.ndarray,
    p: PulseParameters,
    counts: np.ndarray,
) -> None:
    sets = 0
    resets = 0
    for column in range(device.shape[0]):
        d = int(device[column])
        if d >= conductance.shape[0]:
            continue
        current = p.current_min_ua + np.float32(code[column]) * p.current_step_ua
        conductance[d, row, column] = melt_quench(
            current,
            _device_normal(identity, row, column, 0, SET_SPREAD, d),
            _device_normal(identity, row, column, 0, CENTRE_SPREAD, d),
            _device_normal(identity, row, column, 0, WIDTH_SPREAD, d),
            _device_normal(identity, row, column, step, PULSE, d),
            p,
        )
        last_device[column] = device[column]
        last_s[column] = now
        if current < p.knee_ua:
            sets += 1
        else:
            resets += 1
    counts[0] = sets
    counts[1] = resets


@parallel
def pulse(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    parameters: PulseParameters,
) -> np.ndarray:
    """Pulse one device of each cell; see `fastaimc.reference.pcm.pulse`."""
    tiles, rows, _ = device.shape
    counts = np.zeros((tiles, rows, 2), np.int64)
    for index in prange(tiles * rows):
        t = index // rows
        r = index % rows
        _pulse_row(
            conductance[t],
            last_device[t, r],
            last_s[t, r],
            device[t, r],
            code[t, r],
            np.float32(clock_s[t]),
            r,
            step,
            identity[t],
            parameters,
            counts[t, r],
        )
    return totals(counts)


@serial
def _write_row(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    value: np.ndarray,
    now: np.float32,
    row: int,
    step: int,
    identity: np.ndarray,
    inverse_scale: np.float32,
    c: np.ndarray,
) -> int:
    count = 0
    for column in range(device.shape[0]):
        d = int(device[column])
        if d >= conductance.shape[0]:
            continue
        x = value[column] * inverse_scale
        x = x if x > _SMALLEST_STATE else _SMALLEST_STATE
        x = x if x < _ONE else _ONE
        std = (((c[4] * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]
        std = std if std > _ZERO and value[column] > _ZERO else _ZERO
        g = value[column] + std * _device_normal(identity, row, column, step, WRITE, d)
        conductance[d, row, column] = g if g > _ZERO else _ZERO
        last_device[column] = device[column]
        last_s[column] = now
        count += 1
    return count


@parallel
def write(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    value: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    inverse_scale: np.float32,
    coefficients: np.ndarray,
) -> np.ndarray:
    """Write one device of each cell to a value; see `fastaimc.reference.pcm.write`."""
    tiles, rows, _ = device.shape
    counts = np.zeros((tiles, rows, 2), np.int64)
    for index in prange(tiles * rows):
        t = index // rows
        r = index % rows
        counts[t, r, 1] = _write_row(
            conductance[t],
            last_device[t, r],
            last_s[t, r],
            device[t, r],
            value[t, r],
            np.float32(clock_s[t]),
            r,
            step,
            identity[t],
            inverse_scale,
            coefficients,
        )
    return totals(counts)


@inlined
def _log_age(age: np.float32, p: StateParameters) -> np.float32:
    age = age if age > p.t_on_s else p.t_on_s
    return elementary.log(age * p.inverse_t_ref)


@inlined
def _drift_device(
    conductance: np.ndarray,
    log_age: np.ndarray,
    log_elapsed: np.float32,
    last_device: np.ndarray,
    device: int,
    sign: np.float32,
    select: np.ndarray,
    z: np.ndarray,
    fits: np.ndarray,
    p: StateParameters,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Add one device of each cell of a row; vectorises over the columns."""
    mean_nu = _unpack(fits[0])  # locals: loads that no store can change vectorise
    std_nu = _unpack(fits[1])
    q = _unpack(fits[2])
    one = np.uint8(1)
    shift = np.uint8(device)
    stride = 1 if select.shape[0] > 1 else 0
    for column in range(mean.shape[0]):
        g = conductance[column]
        x = g * p.inverse_scale
        x = x if x > _SMALLEST_STATE else _SMALLEST_STATE
        x = x if x < _ONE else _ONE
        log_x = elementary.log_normal_range(x)
        nu = _fit(mean_nu, x, log_x) + _fit(std_nu, x, log_x) * z[column]
        age = log_age[column] if last_device[column] == device else log_elapsed
        g = g * elementary.exp(-abs(nu) * age)
        noise = g * _fit(q, x, log_x)
        chosen = np.float32((select[stride * column] >> shift) & one)
        mean[column] += chosen * sign * g
        variance[column] += chosen * noise * noise * p.noise_band


@serial
def _drift_row(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    clock_s: float,
    select: np.ndarray,
    row: int,
    identity: np.ndarray,
    fits: np.ndarray,
    p: StateParameters,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    devices, _, columns = conductance.shape
    now = np.float32(clock_s)
    log_elapsed = _log_age(now, p)
    log_age = np.empty(columns, np.float32)
    z = np.empty((4, columns), np.float32)
    for column in range(columns):
        log_age[column] = _log_age(now - last_s[column], p)
        mean[column] = _ZERO
        variance[column] = _ZERO
    for device in range(devices):
        if device % 4 == 0:
            _row_normals(identity, row, 0, DRIFT, device // 4, z)
        sign = _ONE if device < devices // 2 else -_ONE
        _drift_device(
            conductance[device, row],
            log_age,
            log_elapsed,
            last_device,
            device,
            sign,
            select,
            z[device % 4],
            fits,
            p,
            mean,
            variance,
        )


@parallel
def drift(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    clock_s: np.ndarray,
    select: np.ndarray,
    identity: np.ndarray,
    fits: np.ndarray,
    parameters: StateParameters,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Write what the selected devices conduct now; see `fastaimc.reference.pcm.drift`."""
    tiles, rows, _ = mean.shape
    for index in prange(tiles * rows):
        t = index // rows
        r = index % rows
        _drift_row(
            conductance[t],
            last_device[t, r],
            last_s[t, r],
            clock_s[t],
            select[t % select.shape[0], r % select.shape[1]],
            r,
            identity[t],
            fits,
            parameters,
            mean[t, r],
            variance[t, r],
        )
