"""Phase-change devices as time and reads find them: drift, and the variance of read noise.

Arrays are ``(tile, device, row, column)`` for devices and ``(tile, row, column)`` for cells; the
first half of a cell's devices adds, the second half subtracts.
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import FitParameters, StateParameters
from fastaimc.reference import philox

NONE = 255  # no device
SMALLEST_STATE = 1e-3  # the published fits are clamped to [0.001, 1]


def cell_normals(
    identity: np.ndarray,
    shape: tuple[int, ...],
    step: int | np.ndarray,
    purpose: int,
    number_high: int = 0,
) -> np.ndarray:
    """Return one standard normal per device, (tile, device, row, column), float64."""
    words = cell_words(identity, shape, step, purpose, number_high)
    return philox.normal(words).astype(np.float64)


def cell_words(
    identity: np.ndarray,
    shape: tuple[int, ...],
    step: int | np.ndarray,
    purpose: int,
    number_high: int = 0,
) -> np.ndarray:
    """Return one random word per device, (tile, device, row, column), uint32.

    `step` is one for all cells, or one of each, (tile, row, column).
    """
    tiles, devices, rows, columns = shape
    steps = np.broadcast_to(np.asarray(step, np.uint32), (tiles, rows, columns))
    out = np.empty(shape, dtype=np.uint32)
    row, column = np.meshgrid(
        np.arange(rows, dtype=np.uint32), np.arange(columns, dtype=np.uint32), indexing="ij"
    )
    for tile in range(tiles):
        k0, k1, number = identity[tile]
        for device in range(devices):
            words = philox.philox(
                philox.cell(row, column),
                steps[tile],
                number,
                philox.counter3(purpose, device // 4, number_high),
                k0,
                k1,
            )
            out[tile, device] = words[device % 4]
    return out


def fit(parameters: FitParameters, x: np.ndarray) -> np.ndarray:
    """Return a published fit at the states `x`."""
    p = parameters
    logarithmic = np.clip(float(p.slope) * np.log(x) + float(p.offset), p.low, p.high)
    cubic = float(p.c0) + float(p.c1) * x + float(p.c2) * x**2 + float(p.c3) * x**3
    value = np.where(x < p.split, logarithmic, cubic)
    return np.exp(value) if p.of_log else value


def state(conductance: np.ndarray, parameters: StateParameters) -> np.ndarray:
    """Return the state x of devices, clamped to the range of the fits."""
    x = conductance.astype(np.float64) * float(parameters.inverse_scale)
    return np.clip(x, SMALLEST_STATE, 1.0)


def slow_noise(identity: np.ndarray, shape: tuple[int, ...], slow: np.ndarray) -> np.ndarray:
    """Return every device's slow fluctuation in units of Q, (tile, device, row, column), float64.

    A sum over octaves of time of normals that are new in every period of their octave.

    Parameters
    ----------
    slow : ndarray
        Of every tile, or of all alike, and octave: number of the present period, number of the
        octave, standard deviation; (tile, octave, 3) or (1, octave, 3), float64.
    """
    out = np.zeros(shape)
    for tile in range(shape[0]):
        one = slice(tile, tile + 1)
        for period, octave, std in slow[tile % len(slow)]:
            which = (int(period), philox.SLOW_NOISE, int(octave))
            out[one] += std * cell_normals(identity[one], (1, *shape[1:]), *which)
    return out


def exponent_normals(
    identity: np.ndarray,
    shape: tuple[int, ...],
    last_device: np.ndarray,
    last_s: np.ndarray,
    parameters: StateParameters,
) -> np.ndarray:
    """Return the normal of every device's nu, (tile, device, row, column), float64.

    One number for life; with `redraw` that of its last pulse, keyed by the bits of its time, for
    the device of a cell that was pulsed last.
    """
    z = cell_normals(identity, shape, 0, philox.DRIFT)
    if not parameters.redraw:
        return z
    new = cell_normals(identity, shape, last_s.view(np.uint32), philox.DRIFT)
    is_last = np.arange(shape[1])[:, None, None] == last_device[:, None]
    return np.where(is_last, new, z)


def spread_factors(
    identity: np.ndarray, shape: tuple[int, ...], spread: np.float32, purpose: int
) -> np.ndarray:
    """Return what multiplies a property of every device: exp(spread N(0, 1)), one for life."""
    if spread == 0:
        return np.ones(shape)
    return np.asarray(np.exp(float(spread) * cell_normals(identity, shape, 0, purpose)))


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
    """Write what the selected devices of rows from `first` on conduct now, and its variance.

    ``g(t) = g_ref (max(t, t_on) / t_ref) ** -nu`` with nu = |N(mean(x), std(x))| of each device
    and t since its pulse; the age of a cell's other devices counts from the start of the clock.
    The variance of a read is the sum of ``(g(t) Q(x) + floor)² ln(...)`` of devices that conduct.
    Slow noise makes g(t) larger by Q(x) times `slow_noise`, but never negative.

    Parameters
    ----------
    select : ndarray
        Bit d chooses device d, of `mask_dtype`, (tile, row, column); or (1, 1, 1) for all alike.
    fits, significance : ndarray
        Of nu's mean, nu's standard deviation and Q, (3, 10), float32; factor on what each device
        conducts, (device,), float32 ((0,): all are 1).
    slow : ndarray
        See `slow_noise`; of no octaves without slow noise.
    first, mean, variance
        Row of the first output; outputs, (tile, some rows, column), float32, µS and µS².
    """
    p, rows = parameters, slice(first, first + mean.shape[1])
    mean_nu, std_nu, q = (FitParameters(*row) for row in fits)
    devices = conductance.shape[1]
    signs = np.repeat([1.0, -1.0], devices // 2)
    who = (identity, conductance.shape)
    z = exponent_normals(*who, last_device, last_s, p)[:, :, rows]
    t_on_s = float(p.t_on_s) * spread_factors(*who, p.t_on_spread, philox.ONSET_SPREAD)[:, :, rows]
    loudness = spread_factors(*who, p.noise_spread, philox.READ_NOISE_SPREAD)[:, :, rows]
    select = select[:, rows] if select.shape[1] > 1 else select
    fluctuation = slow_noise(identity, conductance.shape, slow)[:, :, rows]
    now = clock_s.astype(np.float32)[:, None, None]
    total, square = np.zeros((2, *mean.shape))
    for index in range(devices):
        since = np.where(last_device[:, rows] == index, last_s[:, rows], np.float32(0))
        age = np.maximum((now - since).astype(np.float64), t_on_s[:, index])
        x = state(held := conductance[:, index, rows], p)
        nu = np.abs(fit(mean_nu, x) + fit(std_nu, x) * z[:, index])
        g = held * (age * float(p.inverse_t_ref)) ** -nu
        chosen = (select >> select.dtype.type(index)) & 1
        sign = (float(significance[index]) if significance.size else 1.0) * signs[index]
        level = fit(q, x) * loudness[:, index]
        total += chosen * sign * g * np.maximum(1 + level * fluctuation[:, index], 0)
        noise = g * level + np.where(g > 0, float(p.noise_floor), 0)
        square += chosen * (sign * noise) ** 2 * float(p.noise_band)
    mean[...], variance[...] = total, square
