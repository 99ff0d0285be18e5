"""Pulses and writes: what programming does to phase-change devices.

Arrays are as for `fastaimc.reference.pcm`.
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import PulseParameters
from fastaimc.reference import philox
from fastaimc.reference.melting import device_normals, melt_quench
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

    See `melting.melt_quench`; no device gets more than the compliance current.

    Returns
    -------
    ndarray
        Pulses that SET and that RESET, those that would have left less than nothing, and those
        that asked for more than the compliance current, (tile, 4), int64.
    """
    p = PulseParameters(*(float(value) for value in parameters))  # type: ignore[arg-type]
    shape = conductance.shape
    z = device_normals(identity, shape, p)
    z_pulse = cell_normals(identity, shape, step, philox.PULSE)
    current = p.current_min_ua + code * p.current_step_ua
    delivered = np.minimum(current, p.compliance_ua)
    clipped = np.zeros(device.shape, dtype=bool)
    for index in range(shape[1]):
        chosen = device == index
        g = melt_quench(delivered, [one[:, index] for one in z], z_pulse[:, index], p)
        clipped |= chosen & (g < 0)
        conductance[:, index][chosen] = np.maximum(g, 0).astype(np.float32)[chosen]
    pulsed = device < shape[1]
    last_device[pulsed] = device[pulsed]
    last_s[pulsed] = np.broadcast_to(clock_s[:, None, None], device.shape)[pulsed]
    sets = pulsed & (current < p.knee_ua)
    kinds = (sets, pulsed & ~sets, clipped, pulsed & (current > p.compliance_ua))
    return np.stack([kind.sum(axis=(1, 2)) for kind in kinds], axis=1)


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
        As `pulse` counts them, (tile, 4), int64; a write counts as one that RESETs.
    """
    z = cell_normals(identity, conductance.shape, step, philox.WRITE)
    x = np.clip(value.astype(np.float64) * float(inverse_scale), SMALLEST_STATE, 1.0)
    std = np.maximum(np.polynomial.polynomial.polyval(x, coefficients.astype(np.float64)), 0)
    std = np.where(value > 0, std, 0.0)
    counts = np.zeros((conductance.shape[0], 4), dtype=np.int64)
    for index in range(conductance.shape[1]):
        chosen = device == index
        g = value + std * z[:, index]
        conductance[:, index][chosen] = np.maximum(g, 0).astype(np.float32)[chosen]
        counts[:, 2] += (chosen & (g < 0)).sum(axis=(1, 2))
    pulsed = device < conductance.shape[1]
    last_device[pulsed] = device[pulsed]
    last_s[pulsed] = np.broadcast_to(clock_s[:, None, None], device.shape)[pulsed]
    counts[:, 1] = pulsed.sum(axis=(1, 2))
    return counts
