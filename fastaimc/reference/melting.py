"""What one melt-quench pulse leaves in a device: curve, spreads over devices, scatter.

Arrays are as for `fastaimc.reference.pcm`.
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import PulseParameters
from fastaimc.reference import philox
from fastaimc.reference.pcm import cell_normals


def device_normals(
    identity: np.ndarray, shape: tuple[int, ...], p: PulseParameters
) -> list[np.ndarray]:
    """Return normals of G_set, I0, w, D, sigma_I and sigma_floor that a device has for life.

    Each (tile, device, row, column); zero where the last three have no spread.
    """
    purposes = (philox.SET_SPREAD, philox.CENTRE_SPREAD, philox.WIDTH_SPREAD)
    later = (
        (p.decades_spread, philox.DECADES_SPREAD),
        (p.jitter_spread, philox.JITTER_SPREAD),
        (p.floor_spread, philox.FLOOR_SPREAD),
    )
    return [cell_normals(identity, shape, 0, purpose) for purpose in purposes] + [
        cell_normals(identity, shape, 0, purpose) if spread > 0 else np.zeros(shape)
        for spread, purpose in later
    ]


def melt_quench(
    current_ua: np.ndarray, z: list[np.ndarray], z_pulse: np.ndarray, p: PulseParameters
) -> np.ndarray:
    """Return what pulses leave, µS, not yet clipped at zero.

    ``log10 G = log10 G_set - D / (1 + exp(-(I - I0) / w))``, and a scatter
    ``|dG/dI| sigma_I (+) sigma_floor`` from pulse to pulse; I0, w and D spread over devices by a
    normal, G_set, sigma_I and sigma_floor by a normal of their logarithm.

    Parameters
    ----------
    current_ua, z_pulse : ndarray
        What is delivered, and the normals of this pulse.
    z : list of ndarray
        Of `device_normals`.
    """
    centre = p.centre_ua * (1 + p.centre_spread * z[1])
    width = p.width_ua * (1 + p.width_spread * z[2])
    depth = p.depth * (1 + p.decades_spread * z[3])
    jitter = p.jitter_ua * np.exp(p.jitter_spread * z[4])
    floor = p.floor_us * np.exp(p.floor_spread * z[5])
    with np.errstate(over="ignore"):  # of a narrow device: then s is 0
        s = 1 / (1 + np.exp(-(current_ua - centre) / width))
    g = np.exp(p.log_g_set + p.g_set_spread * z[0] - depth * s)
    slope = g * depth * s * (1 - s) / width
    return np.asarray(g + np.hypot(slope * jitter, floor) * z_pulse)
