"""What one cell's controller does with an estimated error: whether, which device, which code."""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.jit import inlined, serial
from fastaimc.parameters import StepParameters

LEVELS = 64  # levels of the amplitude between two codes, so that small corrections add up
LEVEL_BITS = 6
TOP = 255 * LEVELS
MOST_FLIPS = 4  # halvings of the step at most

NONE = np.uint8(255)
_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
_LEVELS = np.float32(LEVELS)
_TOP = np.float32(TOP)
_TINY = np.float32(1e-6)  # µS per code: where the nominal curve is flat
_FULL = np.uint8(255)
_KEEP = np.float32(254.0 / 255.0)
_ONE = np.float32(1.0)


@inlined
def code_at(curve: np.ndarray, g: np.float32) -> np.float32:
    """The code, with its fraction, at which a falling curve has the value g; clipped."""
    if g >= curve[0]:
        return _ZERO
    low = 0
    high = curve.shape[0] - 1
    if g <= curve[high]:
        return np.float32(high)
    while high - low > 1:
        middle = (low + high) // 2
        if curve[middle] >= g:
            low = middle
        else:
            high = middle
    return np.float32(low) + (curve[low] - g) / (curve[low] - curve[high])


@inlined
def _slope(curve: np.ndarray, code: int) -> np.float32:
    """|dG/dcode| of the nominal curve."""
    low = max(code - 1, 0)
    high = min(code + 1, curve.shape[0] - 1)
    return max((curve[low] - curve[high]) / np.float32(high - low), _TINY)


@inlined
def _swing(swing: np.int8, up: bool) -> np.int8:
    """The new sense and halvings: turning back halves the step, going on doubles it again."""
    flips = abs(int(swing)) - 1
    if (swing > 0) if up else (swing < 0):
        flips = max(flips - 1, 0)
    else:
        flips = min(flips + 1, MOST_FLIPS)
    return np.int8(1 + flips if up else -1 - flips)


@inlined
def _move(
    too_high: np.float32,
    level: np.int16,
    swing: np.int8,
    aim: np.uint8,
    curve: np.ndarray,
    p: StepParameters,
) -> np.int16:
    """The new amplitude, in levels: more current lowers a device."""
    if level == TOP and too_high < _ZERO:
        return np.int16(np.int16(aim) * LEVELS)
    size = abs(np.float32(aim) - code_at(curve, curve[aim] + too_high))
    size = min(size, abs(too_high) / _slope(curve, int(aim)))
    step = min(p.gain * max(size, abs(too_high) / p.steepest), p.max_step) * _LEVELS
    for _ in range(abs(swing) - 1):
        step *= _HALF
    step = step if too_high > _ZERO else -step
    return np.int16(np.rint(min(max(np.float32(level) + step, _ZERO), _TOP)))


@inlined
def _heir(
    too_high: np.float32, device: np.uint8, filled: np.uint8, level: np.int16, devices: int
) -> np.uint8:
    """The device that is to become analog, as the present one is at its end; 255: none."""
    spent = (level == 0 and too_high < _ZERO) or (level == TOP and too_high > _ZERO)
    if not spent or filled == NONE:
        return NONE
    wanted = 0 if too_high < _ZERO else 1  # one in RESET to add, or one that is SET to lower
    half = devices // 2
    low = 0 if int(device) < half else half
    for other in range(low, low + half):
        if other != int(device) and (int(filled) >> other) & 1 == wanted:
            return np.uint8(other)
    return NONE


@inlined
def _pulse_cell(
    error: np.float32,
    device: np.ndarray,
    filled: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    column: int,
    curve: np.ndarray,
    p: StepParameters,
) -> None:
    """Change what is known of a cell that gets a pulse."""
    too_high = error if np.float32(device[column]) < p.devices * _HALF else -error
    heir = _heir(too_high, device[column], filled[column], level[column], int(p.devices))
    if heir != NONE:
        wanted = -too_high if too_high < _ZERO else curve[0] - too_high
        aim[column] = np.uint8(np.rint(code_at(curve, wanted)))
        filled[column] = np.uint8(
            filled[column] | (1 << int(device[column]))
            if too_high < _ZERO
            else filled[column] & (255 - (1 << int(heir)))
        )
        device[column] = heir
        swing[column] = np.int8(0)
        level[column] = np.int16(np.int16(aim[column]) * LEVELS)
    else:
        swing[column] = _swing(swing[column], bool(too_high > _ZERO))
        level[column] = _move(too_high, level[column], swing[column], aim[column], curve, p)


@serial
def average_row(
    value: np.ndarray, standard_error: np.ndarray, total: np.ndarray, count: np.ndarray
) -> None:
    """Add a row's values to what its cells have shown since their last pulses.

    Turns `value` into their means, and `standard_error` into that of the means; vectorises.
    """
    for column in range(value.shape[0]):
        full = count[column] == _FULL
        before = total[column]
        before = before * _KEEP if full else before
        n = np.float32(count[column])
        n = n if full else n + _ONE
        after = before + value[column]
        total[column] = after
        count[column] = np.uint8(n)
        value[column] = after / n
        standard_error[column] = standard_error[column] / np.sqrt(n)


@serial
def choose_row(
    error: np.ndarray,
    standard_error: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    p: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> None:
    """Choose the pulses of a row's cells, whose memory they end.

    Whether there is a pulse vectorises; which one is worked out for the few that get one.
    """
    margin, kappa = p.margin, p.kappa
    for column in range(error.shape[0]):
        likely = margin * scatter[aim[column]]
        uncertain = kappa * standard_error[column]
        threshold = likely if likely > uncertain else uncertain
        fire[column] = device[column] if abs(error[column]) > threshold else NONE
    for column in range(error.shape[0]):
        if fire[column] != NONE:
            _pulse_cell(error[column], device, filled, level, swing, aim, column, curve, p)
            fire[column] = device[column]
            total[column] = _ZERO
            count[column] = np.uint8(0)
    for column in range(error.shape[0]):
        code[column] = np.uint8((level[column] + LEVELS // 2) >> LEVEL_BITS)
