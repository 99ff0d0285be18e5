"""Pulses and writes: what programming does to phase-change devices.

Arrays are as for `fastaimc.reference.pcm`.
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import PulseParameters
from fastaimc.reference import philox
from fastaimc.reference.pcm import SMALLEST_STATE, cell_normals


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
    """Pulse one device of each cell (255: none) with an amplitude code, in place.

    ``log10 G = log10 G_set - D / (1 + exp(-(I - I0) / w))`` with G_set, I0 and w spread over
    devices, and a scatter ``|dG/dI| sigma_I (+) sigma_floor`` from pulse to pulse.

    Returns
    -------
    ndarray
        Pulses that SET and that RESET, (tile, 2), int64.
    """
    p = PulseParameters(*(float(value) for value in parameters))  # type: ignore[arg-type]
    shape = conductance.shape
    z = [
        cell_normals(identity, shape, number, purpose)
        for number, purpose in (
            (0, philox.SET_SPREAD),
            (0, philox.CENTRE_SPREAD),
            (0, philox.WIDTH_SPREAD),
            (step, philox.PULSE),
        )
    ]
    current = p.current_min_ua + code * p.current_step_ua
    counts = np.zeros((shape[0], 2), dtype=np.int64)
    for index in range(shape[1]):
        chosen = device == index
        centre = p.centre_ua * (1 + p.centre_spread * z[1][:, index])
        width = p.width_ua * (1 + p.width_spread * z[2][:, index])
        with np.errstate(over="ignore"):  # of a narrow device: then s is 0
            s = 1 / (1 + np.exp(-(current - centre) / width))
        g = np.exp(p.log_g_set + p.g_set_spread * z[0][:, index] - p.depth * s)
        slope = g * p.depth * s * (1 - s) / width
        scatter = np.hypot(slope * p.jitter_ua, p.floor_us)
        g = np.maximum(g + scatter * z[3][:, index], 0)
        conductance[:, index][chosen] = g.astype(np.float32)[chosen]
    pulsed = device < shape[1]
    last_device[pulsed] = device[pulsed]
    last_s[pulsed] = np.broadcast_to(clock_s[:, None, None], device.shape)[pulsed]
    sets = pulsed & (current < p.knee_ua)
    counts[:, 0] = sets.sum(axis=(1, 2))
    counts[:, 1] = (pulsed & ~sets).sum(axis=(1, 2))
    return counts


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
    """Write one device of each cell (255: none) to a value with the published spread, in place.

    ``g = max(value + std(x) N(0, 1), 0)``, x = value / g_scale clamped to [0.001, 1].  A value of
    zero is exact: that device is left in RESET.

    Returns
    -------
    ndarray
        Pulses that SET and that RESET, (tile, 2), int64; a write counts as one that RESETs.
    """
    z = cell_normals(identity, conductance.shape, step, philox.WRITE)
    x = np.clip(value.astype(np.float64) * float(inverse_scale), SMALLEST_STATE, 1.0)
    std = np.maximum(np.polynomial.polynomial.polyval(x, coefficients.astype(np.float64)), 0)
    std = np.where(value > 0, std, 0.0)
    for index in range(conductance.shape[1]):
        chosen = device == index
        g = np.maximum(value + std * z[:, index], 0).astype(np.float32)
        conductance[:, index][chosen] = g[chosen]
    pulsed = device < conductance.shape[1]
    last_device[pulsed] = device[pulsed]
    last_s[pulsed] = np.broadcast_to(clock_s[:, None, None], device.shape)[pulsed]
    counts = np.zeros((conductance.shape[0], 2), dtype=np.int64)
    counts[:, 1] = pulsed.sum(axis=(1, 2))
    return counts
