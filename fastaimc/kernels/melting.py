"""What one melt-quench pulse leaves in a device: curve, spreads over devices, scatter.

Loops over the pulsed devices of a row, gathered one after another, that vectorise.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels import elementary
from fastaimc.kernels.jit import helper, inlined
from fastaimc.kernels.philox import (
    DECADES_SPREAD,
    FLOOR_SPREAD,
    JITTER_SPREAD,
    device_word,
    normal,
)
from fastaimc.kernels.vector import fma
from fastaimc.parameters import PulseParameters

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_LAST_CODE = np.float32(255.0)


@inlined
def melt_quench(
    current: np.float32,
    z_set: np.float32,
    z_centre: np.float32,
    z_width: np.float32,
    z_pulse: np.float32,
    depth: np.float32,
    jitter: np.float32,
    floor: np.float32,
    p: PulseParameters,
) -> np.float32:
    """Conductance after one pulse of a device with the given spreads and scatter."""
    centre = p.centre_ua * fma(p.centre_spread, z_centre, _ONE)
    width = p.width_ua * fma(p.width_spread, z_width, _ONE)
    s = _ONE / (_ONE + elementary.exp_normal_range((centre - current) / width))
    g = elementary.exp_normal_range(fma(-depth, s, fma(p.g_set_spread, z_set, p.log_g_set)))
    slope = g * depth * s * (_ONE - s) / width * jitter
    scatter = np.sqrt(fma(slope, slope, floor * floor))
    g = fma(scatter, z_pulse, g)
    return g if g > _ZERO else _ZERO


@helper
def melt(current: np.ndarray, z: np.ndarray, p: PulseParameters) -> None:
    """Turn the currents of pulses into what the devices conduct after them.

    `z` are normals of G_set, I0, w and the pulse, (4, device).
    """
    z_set, z_centre, z_width, z_pulse = z[0], z[1], z[2], z[3]
    same = (p.depth, p.jitter_ua, p.floor_us)
    for i in range(current.shape[0]):
        head = (current[i], z_set[i], z_centre[i], z_width[i], z_pulse[i])
        current[i] = melt_quench(*head, *same, p)


@helper
def varies(p: PulseParameters) -> bool:
    """Whether more than G_set, I0 and w is spread over devices."""
    return bool(max(p.decades_spread, p.jitter_spread, p.floor_spread) > _ZERO)


@helper
def _draw(
    identity: np.ndarray,
    row: int,
    columns: np.ndarray,
    device: np.ndarray,
    purpose: np.uint32,
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the normal of one purpose that each chosen device has for life."""
    for i in range(out.shape[0]):
        words[i] = device_word(identity, row, int(columns[i]), 0, purpose, int(device[i]))
    for i in range(out.shape[0]):
        out[i] = normal(words[i])


@helper
def _draw_log_normal(
    identity: np.ndarray,
    row: int,
    columns: np.ndarray,
    device: np.ndarray,
    purpose: np.uint32,
    typical: np.float32,
    spread: np.float32,
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write `typical` for every device; with a spread of its logarithm where there is one."""
    out[:] = typical
    if spread > _ZERO:
        _draw(identity, row, columns, device, purpose, words, out)
        for i in range(out.shape[0]):
            out[i] = typical * elementary.exp_normal_range(spread * out[i])


@helper
def melt_varied(
    current: np.ndarray,
    z: np.ndarray,
    identity: np.ndarray,
    row: int,
    columns: np.ndarray,
    device: np.ndarray,
    p: PulseParameters,
) -> None:
    """Do what `melt` does, of devices whose D, sigma_I and sigma_floor may be spread, too."""
    count = current.shape[0]
    words = np.empty(count, np.uint32)
    own = np.empty((3, count), np.float32)
    depth, jitter, floor = own[0], own[1], own[2]
    which = (identity, row, columns, device)
    depth[:] = p.depth
    if p.decades_spread > _ZERO:
        _draw(*which, DECADES_SPREAD, words, depth)
        for i in range(count):
            depth[i] = p.depth * fma(p.decades_spread, depth[i], _ONE)
    _draw_log_normal(*which, JITTER_SPREAD, p.jitter_ua, p.jitter_spread, words, jitter)
    _draw_log_normal(*which, FLOOR_SPREAD, p.floor_us, p.floor_spread, words, floor)
    z_set, z_centre, z_width, z_pulse = z[0], z[1], z[2], z[3]
    for i in range(count):
        head = (current[i], z_set[i], z_centre[i], z_width[i], z_pulse[i])
        current[i] = melt_quench(*head, depth[i], jitter[i], floor[i], p)


@helper
def comply(current: np.ndarray, p: PulseParameters) -> int:
    """Cut currents to what the generator delivers; return how many there were."""
    most = p.compliance_ua
    count = 0
    if fma(_LAST_CODE, p.current_step_ua, p.current_min_ua) > most:
        for i in range(current.shape[0]):
            count += 1 if current[i] > most else 0
            current[i] = current[i] if current[i] < most else most
    return count


@helper
def zeros(conductance: np.ndarray) -> int:
    """Count devices at zero: a pulse leaves some only where it would have left less."""
    count = 0
    for i in range(conductance.shape[0]):
        count += 1 if conductance[i] == _ZERO else 0
    return count
