"""What one cell's controller does with an estimated error: whether, which device, which code.

What it knows of each cell, (tile, row, column):

    device  the analog device, or the one of counted pulses whose turn it is (255: none), uint8
    filled  the others that are SET, a bit each as `parameters.Cells` says, uint8
    level   amplitude in 1/64 codes, int16
    swing   sense of the last pulse, with one plus the halvings of the step (0: none yet), int8
    aim     code of what the device is to hold, uint8

And of the kind of device, float32, µS:

    curve, scatter  nominal conductance and standard deviation of a pulse for every code, (256,)
    significance    factor on each device of a cell, (device,); (0,): all are 1
    change          of counted pulses, over the same 256 conductances: mean and standard deviation
                    of a pulse up and of one down, none negative, (4, 256); else (4, 0)
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import MOST_BITS, StepParameters
from fastaimc.reference.pcm import NONE

LEVELS = 64  # levels of the amplitude between two codes, so that small corrections add up
TOP = 255 * LEVELS
MOST_FLIPS = 4  # halvings of the step at most
MOST_TURNS = 2  # down, of a polarity's counted pulses, before the other one's go up
TINY = 1e-6  # µS per code: where the nominal curve is flat


def factors(device: np.ndarray, significance: np.ndarray) -> np.ndarray:
    """Return the significance of cells' analog devices, float32; 1 where there is none."""
    table = np.ones(256, dtype=np.float32)
    table[: significance.size] = significance
    return table[device]


def wanted(
    target: np.ndarray, aim: np.ndarray, gain: np.float32, ahead: np.ndarray, factor: np.ndarray
) -> np.ndarray:
    """Return what cells are to show now, so that drift brings them to their targets, float32.

    Parameters
    ----------
    target, aim : ndarray
        Of each cell, µS, float32, and the code of what its analog device is to hold.
    gain : float32
        On the target: what devices lose that are SET.
    ahead : ndarray
        What an analog device loses beyond that, by its aim, (256,), float32, µS.
    factor : ndarray
        Of each cell's analog device, see `factors`.
    """
    return target * gain + np.sign(target) * (ahead[aim] * factor)


def accumulate(
    value: np.ndarray, total: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return sum and number of what a cell has shown since its last pulse, with one more.

    From 255 on the mean forgets.
    """
    full = count == 255
    return np.where(full, 254 / 255, 1.0) * total + value, np.where(full, 255, count + 1)


def choose(
    error: np.ndarray,
    standard_error: np.ndarray,
    cells: list[np.ndarray],
    curve: np.ndarray,
    scatter: np.ndarray,
    significance: np.ndarray,
    change: np.ndarray,
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Write the pulse of every cell whose error is beyond its threshold; return which these are.

    The threshold is ``max(margin * scatter, kappa * standard_error)`` with the nominal scatter at
    the cell's aim.  The amplitude moves along the nominal curve, by `gain` times the codes between
    the aim and where the error puts the device; by at least what the steepest slope asks for,
    as the curve is flat at both ends.  A pulse that turns back halves the step, one that goes on
    doubles it again, up to the whole: the slope of a device near its knee is not the nominal one,
    and a cell would swing across its target for ever.  A device in RESET is shot at its aim.

    Where the analog device is SET and the cell still too low, it stays SET and one in RESET
    becomes analog; where it is in RESET and the cell still too high, one of those that are SET
    does.  Either is shot at what the error leaves for it.

    All this is in units of the device: what the cell shows, over the device's significance.
    """
    device, filled, level, swing, aim = cells
    factor = factors(device, significance)
    error, standard_error = error / factor, standard_error / factor
    if change.shape[1]:
        return count(error, standard_error, cells, curve, change, parameters, fire, code)
    p = StepParameters(*(float(value) for value in parameters))  # type: ignore[arg-type]
    threshold = np.maximum(p.margin * scatter[aim], p.kappa * standard_error)
    beyond = (np.abs(error) > threshold) & (device != NONE)
    too_high = np.where(device < p.devices / 2, error, -error)
    present = np.interp(curve[aim] + too_high, curve[::-1], np.arange(255.0, -1.0, -1.0))
    slope = np.maximum(-np.gradient(curve.astype(np.float64))[aim], TINY)
    size = np.minimum(np.abs(aim - present), np.abs(error) / slope)
    size = np.maximum(size, np.abs(error) / p.steepest)
    flips = np.abs(swing.astype(np.int64)) - 1
    same = np.where(too_high > 0, swing > 0, swing < 0)
    flips = np.where(same, np.maximum(flips - 1, 0), np.minimum(flips + 1, MOST_FLIPS))
    direction = np.where(too_high > 0, 1, -1)
    step = direction * np.minimum(p.gain * size, p.max_step) * 0.5**flips
    moved = np.clip(np.rint(level + step * LEVELS), 0, TOP)
    moved = np.where((level == TOP) & (too_high < 0), aim.astype(np.int64) * LEVELS, moved)
    rest = (filled, level, curve, significance, int(p.devices))
    heir, new_filled, new_aim = hand_over(too_high, device, *rest)
    given = beyond & (heir != NONE)
    device[given], filled[given], aim[given] = heir[given], new_filled[given], new_aim[given]
    moved[given] = new_aim[given].astype(np.int64) * LEVELS
    level[beyond] = moved[beyond].astype(np.int16)
    swing[beyond] = np.where(given, 0, direction * (1 + flips))[beyond].astype(np.int8)
    fire[...] = np.where(beyond, device, NONE)
    code[beyond] = ((level + LEVELS // 2) // LEVELS)[beyond]
    return beyond


def count(
    error: np.ndarray,
    standard_error: np.ndarray,
    cells: list[np.ndarray],
    curve: np.ndarray,
    change: np.ndarray,
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Do what `choose` does for devices of counted pulses: choose how many, up or down.

    n pulses of mean m and standard deviation s leave an expected ``(e - n m)² + n s²`` of an error
    e, which is least at ``n = e / m - s² / (2 m²)``; `gain` weighs the first term, `margin` the
    second.  m and s are those of the conductance at which the error puts the device, of the
    nominal kind.  The devices of a polarity, which share the target, are pulsed in turn.  Where
    no step down is left there, or `MOST_TURNS` turns down have not been enough, as of a device at
    its bound, one of the other polarity goes up, with the steps after a RESET.  `swing` counts
    turns.
    """
    device, _, _, swing, aim = cells
    p = StepParameters(*(float(value) for value in parameters))  # type: ignore[arg-type]
    half = int(p.devices) // 2
    adds = device < half
    too_high = np.where(adds, error, -error)
    held = curve[aim] + too_high / half
    at = np.rint(np.interp(held, curve[::-1], np.arange(255.0, -1.0, -1.0))).astype(np.int64)
    up = too_high < 0
    turns = np.where(up, 0, np.minimum(swing.astype(np.int64) + 1, MOST_TURNS + 1))
    across = ~up & ((turns > MOST_TURNS) | (change[2, at] == 0))
    back = np.where(across, change[:2, 255, None, None], change[2:, at])
    mean, std = np.where(up, change[:2, at], back)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = p.gain * np.abs(error) / mean - p.margin * (std / mean) ** 2 / 2
    number = np.rint(np.clip(np.where(mean > 0, best, 0), 0, 127)).astype(np.int64)
    beyond = (np.abs(error) > p.kappa * standard_error) & (device != NONE) & (number > 0)
    other = (device.astype(np.int64) + half) % (2 * half)
    fire[...] = np.where(beyond, np.where(across, other, device), NONE)
    signed = np.where(up | across, number, -number)
    code[beyond] = (signed & 255)[beyond]
    low = np.where(adds, 0, half)
    device[beyond] = (low + (device.astype(np.int64) - low + 1) % half)[beyond]
    swing[beyond] = turns[beyond].astype(np.int8)
    return beyond


def hand_over(
    too_high: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    level: np.ndarray,
    curve: np.ndarray,
    significance: np.ndarray,
    devices: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the device that is to become analog (255: none), the SET ones, and the new aim."""
    heir = np.full(device.shape, NONE, dtype=np.uint8)
    new_filled = filled.copy()
    for index in np.ndindex(device.shape):
        analog = int(device[index])
        if analog == NONE or filled[index] == NONE:
            continue
        low = 0 if analog < devices // 2 else devices // 2
        others = [d for d in range(low, low + devices // 2) if d != analog]
        is_set = [d for d in others if filled[index] >> d % MOST_BITS & 1]
        is_reset = [d for d in others if not filled[index] >> d % MOST_BITS & 1]
        if level[index] == 0 and too_high[index] < 0 and is_reset:
            heir[index] = is_reset[0]
            new_filled[index] |= 1 << analog % MOST_BITS
        elif level[index] == TOP and too_high[index] > 0 and is_set:
            heir[index] = is_set[0]
            new_filled[index] &= 255 - (1 << is_set[0] % MOST_BITS)
    own = too_high * (factors(device, significance) / factors(heir, significance))
    wanted = np.where(own < 0, -own, curve[0] - own)
    new_aim = np.rint(np.interp(wanted, curve[::-1], np.arange(255.0, -1.0, -1.0)))
    return heir, new_filled, new_aim.astype(np.uint8)
