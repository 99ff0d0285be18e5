"""Counted pulses: what they do to devices that move by steps.

Arrays are as for `fastaimc.reference.pcm`.
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import IncrementParameters
from fastaimc.reference import philox
from fastaimc.reference.pcm import cell_normals

FULL_RESET = -128
MOST_PULSES = 255  # since a RESET that are counted: the memory of the first is 1e-42 then
SCALE, ASYMMETRY, LOW, HIGH = range(4)  # what a device's normals of STEP_SPREAD are for
NARROWEST = 1e-3  # of the nominal range: what bounds that crossed would leave


def own_devices(
    identity: np.ndarray, shape: tuple[int, ...], parameters: IncrementParameters
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return factors on steps up and down and bounds, each (tile, device, row, column), float64."""
    p = parameters
    z = [cell_normals(identity, shape, which, philox.STEP_SPREAD) for which in range(4)]
    scale, skew = p.step_spread * z[SCALE], p.asymmetry_spread * z[ASYMMETRY]
    low = np.maximum(p.low_us + p.low_spread * z[LOW], 0)
    least = low + NARROWEST * (p.high_us - p.low_us)
    high = np.maximum(p.high_us + p.high_spread * z[HIGH], least)
    return np.maximum(1 + scale + skew, 0), np.maximum(1 + scale - skew, 0), low, high


def one_pulse(
    g: np.ndarray,
    up: np.ndarray,
    memory: np.ndarray,
    own: list[np.ndarray],
    noise: np.ndarray,
    steps: np.ndarray,
    parameters: IncrementParameters,
) -> np.ndarray:
    """Return what devices conduct after one pulse each, float64.

    The table of steps is read where a device is in its own range; a step up is larger by what
    `memory`, of the pulse itself, adds.
    """
    p = parameters
    up_scale, down_scale, low, high = own
    place = np.clip((g - low) / (high - low), 0, 1) * (steps.shape[1] - 1)
    points = np.arange(steps.shape[1])
    mean_up, std_up, mean_down, std_down = (np.interp(place, points, row) for row in steps)
    rise = mean_up + p.mean_memory_us * memory + (std_up + p.std_memory_us * memory) * noise
    change = np.where(up, up_scale * rise, down_scale * (mean_down + std_down * noise))
    return np.clip(g + change, low, high)


def increment(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    memory: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    steps: np.ndarray,
    parameters: IncrementParameters,
) -> np.ndarray:
    """Pulse one device of each cell (255: none) as often as its code says, in place.

    Parameters
    ----------
    memory : ndarray
        Pulses up since a device's last RESET, up to 255, (tile, device, row, column), uint8; of no
        devices, (tile, 0, row, column), where they leave no memory.
    code : ndarray
        A count with a sign, int8 in uint8: n pulses up, or -n down; -128 is a full RESET.
    steps : ndarray
        Mean and standard deviation of a pulse up and of one down at evenly spaced places in the
        range, (4, points), float32, µS.

    Returns
    -------
    ndarray
        Pulses up, and pulses down with full RESETs, (tile, 2), int64.
    """
    p = IncrementParameters(*(float(value) for value in parameters))  # type: ignore[arg-type]
    count = np.ascontiguousarray(code).view(np.int8).astype(np.int64)
    count = np.where(device < conductance.shape[1], count, 0)
    full = count == FULL_RESET
    number = np.where(full, 0, np.abs(count))
    shape, up = conductance.shape, count > 0
    own = own_devices(identity, shape, p)
    _reset(conductance, memory, device, full, step, identity, own[LOW], p)
    for i in range(int(number.max(initial=0))):
        noise = cell_normals(identity, shape, step, philox.INCREMENT, i)
        for index in range(shape[1]):
            g = conductance[:, index]
            moved = (device == index) & (i < number)
            kept = np.zeros(g.shape)
            if memory.shape[1]:
                pulses = memory[:, index]
                grown = np.minimum(pulses.astype(np.int64) + 1, MOST_PULSES)
                pulses[moved & up] = grown[moved & up]
                kept = np.exp(-p.memory_rate * grown)
            state = (g.astype(np.float64), up, kept, [part[:, index] for part in own])
            after = one_pulse(*state, noise[:, index], steps, p)
            g[moved] = after[moved].astype(np.float32)
    pulsed = count != 0
    last_device[pulsed] = device[pulsed]
    last_s[pulsed] = np.broadcast_to(clock_s[:, None, None], device.shape)[pulsed]
    ups = np.where(up, count, 0).sum(axis=(1, 2))
    downs = np.where(full, 1, np.where(count < 0, -count, 0)).sum(axis=(1, 2))
    return np.stack([ups, downs], axis=1)


def _reset(
    conductance: np.ndarray,
    memory: np.ndarray,
    device: np.ndarray,
    full: np.ndarray,
    step: int,
    identity: np.ndarray,
    low: np.ndarray,
    parameters: IncrementParameters,
) -> None:
    """RESET the devices that get a full RESET: as far from their own bound as the nominal one."""
    p = parameters
    noise = cell_normals(identity, conductance.shape, step, philox.INCREMENT)
    rest = np.maximum(low - p.low_us + p.reset_us + p.reset_std_us * noise, 0)
    for index in range(conductance.shape[1]):
        ended = (device == index) & full
        conductance[:, index][ended] = rest[:, index][ended].astype(np.float32)
        if memory.shape[1]:
            memory[:, index][ended] = 0


def device_normals(
    identity: np.ndarray, device: np.ndarray, step: int, purpose: int, number_high: int
) -> np.ndarray:
    """Return a standard normal of the chosen device of each cell, (tile, row, column), float32.

    Where none is chosen, of device 0.
    """
    chosen = np.where(device == 255, 0, device)[:, None]
    devices = int(chosen.max(initial=0)) + 1
    shape = (device.shape[0], devices, *device.shape[1:])
    z = cell_normals(identity, shape, step, purpose, number_high)
    return np.take_along_axis(z, chosen.astype(np.int64), axis=1)[:, 0].astype(np.float32)
