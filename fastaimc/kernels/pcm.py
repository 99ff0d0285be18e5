"""Phase-change devices as time and reads find them: drift, and the variance of read noise.

Rows of all tiles run in parallel; the worker of a row is serial.  Spreads over devices are
recomputed from the counter wherever they are needed and never stored.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels import elementary
from fastaimc.kernels.jit import inlined, parallel, prange, serial
from fastaimc.kernels.philox import DRIFT, cell, counter3, normal, philox
from fastaimc.parameters import FitParameters, StateParameters

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
