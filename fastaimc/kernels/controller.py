"""What one cell's controller does with an estimated error: whether, which device, which code."""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.elementary import power_of_two
from fastaimc.kernels.jit import helper, inlined, kernel
from fastaimc.kernels.vector import COUNTED, count_at_least
from fastaimc.parameters import MOST_BITS, Cells, Rule, StepParameters

LEVELS = 64  # levels of the amplitude between two codes, so that small corrections add up
LEVEL_BITS = 6
TOP = 255 * LEVELS
MOST_FLIPS = 4  # halvings of the step at most
MOST_TURNS = 2  # down, of a polarity's counted pulses, before the other one's go up

NONE = np.uint8(255)
_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
_LEVELS = np.float32(LEVELS)
_TOP = np.float32(TOP)
_LAST = np.float32(255.0)
_TINY = np.float32(1e-6)  # µS per code: where the nominal curve is flat
_FULL = np.uint8(255)
_KEEP = np.float32(254.0 / 255.0)
_ONE = np.float32(1.0)
_MOST = np.float32(127.0)  # pulses of one code


@inlined
def code_before(curve: np.ndarray, pivots: np.ndarray, g: np.float32) -> np.int32:
    """The last code but 255 at which a falling curve of 256 is not below g; 0 if there is none.

    By counting instead of a search: a processor would guess half of its branches wrong.
    """
    block = COUNTED * max(count_at_least(pivots, 0, g) - 1, 0)
    last = block + count_at_least(curve, block, g) - 1
    return np.int32(min(max(last, 0), 254))


@inlined
def code_at(curve: np.ndarray, pivots: np.ndarray, g: np.float32) -> np.float32:
    """The code, with its fraction, at which a falling curve of 256 has the value g; clipped."""
    inside = code_before(curve, pivots, g)
    here, following = curve[inside], curve[inside + 1]
    fall = here - following  # zero only where g is beyond an end of the curve
    code = np.float32(inside) + (here - g) / (fall if fall > _ZERO else _ONE)
    code = code if g < curve[0] else _ZERO
    return code if g > curve[255] else _LAST


def rule_of(
    ahead: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    significance: np.ndarray,
    change: np.ndarray,
    step: StepParameters,
) -> Rule:
    """Return the tables of a rule: those of the curve are worked out here."""
    pivots = np.ascontiguousarray(curve[::COUNTED])
    tables = (ahead, curve, pivots, slopes(curve), scatter)
    return Rule(*tables, by_device(significance), change, step)


def by_device(significance: np.ndarray) -> np.ndarray:
    """Return the significance by the number of a device, none included, (256,); or (0,) of (0,)."""
    table = np.ones(256 if significance.size else 0, np.float32)
    table[: significance.size] = significance
    return table


@kernel
def slopes(curve: np.ndarray) -> np.ndarray:
    """|dG/dcode| of the nominal curve at every code."""
    out = np.empty(curve.shape[0], np.float32)
    last = curve.shape[0] - 1
    for code in range(curve.shape[0]):
        low, high = max(code - 1, 0), min(code + 1, last)
        out[code] = max((curve[low] - curve[high]) / np.float32(high - low), _TINY)
    return out


@inlined
def _swing(swing: np.int32, up: bool) -> np.int32:
    """The new sense and halvings: turning back halves the step, going on doubles it again."""
    flips = np.int32(abs(swing) - np.int32(1))
    same = (swing > 0) if up else (swing < 0)
    on = np.int32(max(flips - np.int32(1), np.int32(0)))
    back = np.int32(min(flips + np.int32(1), np.int32(MOST_FLIPS)))
    flips = on if same else back
    return np.int32(np.int32(1) + flips if up else np.int32(-1) - flips)


@inlined
def _move(
    too_high: np.float32,
    level: np.int32,
    swing: np.int32,
    aim: np.int32,
    present: np.float32,
    slope: np.float32,
    p: StepParameters,
) -> np.int32:
    """The new amplitude, in levels: more current lowers a device, which is at code `present`."""
    size = min(abs(np.float32(aim) - present), abs(too_high) / slope)
    step = min(p.gain * max(size, abs(too_high) / p.steepest), p.max_step) * _LEVELS
    step = step * power_of_two(np.int32(np.int32(1) - np.int32(abs(swing))))
    step = step if too_high > _ZERO else -step
    moved = np.int32(np.rint(min(max(np.float32(level) + step, _ZERO), _TOP)))
    shot = np.int32(aim * np.int32(LEVELS))
    return shot if level == TOP and too_high < _ZERO else moved


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
        if other != int(device) and (int(filled) >> (other % MOST_BITS)) & 1 == wanted:
            return np.uint8(other)
    return NONE


@inlined
def wanted(
    target: np.float32,
    aim: np.uint8 | np.int32,
    gain: np.float32,
    ahead: np.ndarray,
    factor: np.float32,
) -> np.float32:
    """What a cell is to show now, so that drift brings it to its target."""
    extra = ahead[aim] * factor
    extra = extra if target > _ZERO else -extra
    extra = extra if target != _ZERO else _ZERO
    return target * gain + extra


@helper
def average_row(value: np.ndarray, standard_error: np.ndarray, at: int, cells: Cells) -> None:
    """Add a row's values to what its cells have shown since their last pulses.

    The row's cells begin at `at`.  Turns `value` into their means, and `standard_error` into that
    of the means; vectorises.
    """
    width = value.shape[0]
    total, count = cells.total[at : at + width], cells.number[at : at + width]
    for column in range(width):
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


@helper
def to_devices(
    error: np.ndarray, standard_error: np.ndarray, device: np.ndarray, significance: np.ndarray
) -> None:
    """Turn errors of a row's cells into those of their analog devices."""
    for column in range(error.shape[0]):
        factor = significance[device[column]]
        error[column] /= factor
        standard_error[column] /= factor


def flat(cells: Cells) -> Cells:
    """Return a stack's cells as (tile, cell): views."""
    tiles, rows, columns = cells.device.shape
    return Cells(*(array.reshape(tiles, rows * columns) for array in cells))


@inlined
def cells_of(stack: Cells, tile: int) -> Cells:
    """One tile's cells."""
    return Cells(
        stack.total[tile],
        stack.number[tile],
        stack.device[tile],
        stack.filled[tile],
        stack.level[tile],
        stack.swing[tile],
        stack.aim[tile],
        stack.fire[tile],
        stack.code[tile],
    )


@helper
def mark_row(
    error: np.ndarray, standard_error: np.ndarray, at: int, cells: Cells, rule: Rule
) -> None:
    """Write the device of each cell whose error is certain enough, and NONE; vectorises.

    The row's cells begin at `at`.
    """
    kappa = rule.step.kappa
    width = error.shape[0]
    device, fire = cells.device[at : at + width], cells.fire[at : at + width]
    for column in range(width):
        fire[column] = (
            device[column] if abs(error[column]) > kappa * standard_error[column] else NONE
        )


@helper
def list_row(
    error: np.ndarray, at: int, cells: Cells, chosen: np.ndarray, errors: np.ndarray, count: int
) -> int:
    """Append a row's marked cells and their errors; return how many there are now."""
    fire = cells.fire[at : at + error.shape[0]]
    for column in range(fire.shape[0]):
        chosen[count] = at + column
        errors[count] = error[column]
        count += 1 if fire[column] != NONE else 0
    return count


@helper
def _keep_large(chosen: np.ndarray, errors: np.ndarray, cells: Cells, rule: Rule) -> int:
    """Unmark the cells whose error no pulse can lessen; return how many are left, in front."""
    margin, scatter = rule.step.margin, rule.scatter
    count = 0
    for i in range(chosen.shape[0]):
        c, error = chosen[i], errors[i]
        large = abs(error) > margin * scatter[cells.aim[c]]
        cells.fire[c] = cells.fire[c] if large else NONE
        chosen[count] = c
        errors[count] = error
        count += 1 if large else 0
    return count


@inlined
def _hand_over(heir: np.uint8, too_high: np.float32, cell: int, cells: Cells, rule: Rule) -> None:
    """Make another device of a cell the analog one."""
    if rule.significance.size > 0:
        too_high *= rule.significance[cells.device[cell]] / rule.significance[heir]
    wanted = -too_high if too_high < _ZERO else rule.curve[0] - too_high
    cells.aim[cell] = np.uint8(np.rint(code_at(rule.curve, rule.pivots, wanted)))
    before = int(cells.filled[cell])
    cells.filled[cell] = np.uint8(
        before | (1 << (int(cells.device[cell]) % MOST_BITS))
        if too_high < _ZERO
        else before & (255 - (1 << (int(heir) % MOST_BITS)))
    )
    cells.device[cell] = heir
    cells.fire[cell] = heir
    cells.swing[cell] = np.int8(0)
    cells.level[cell] = np.int16(np.int16(cells.aim[cell]) * LEVELS)


@inlined
def _number(error: np.float32, mean: np.float32, std: np.float32, p: StepParameters) -> np.int32:
    """The number of pulses that leaves the least error; 0 where a pulse does nothing."""
    inverse = _ONE / mean if mean > _ZERO else _ZERO
    ratio = std * inverse
    best = p.gain * error * inverse - p.margin * _HALF * ratio * ratio
    return np.int32(np.rint(min(max(best, _ZERO), _MOST)))


@helper
def count_pulses(chosen: np.ndarray, errors: np.ndarray, cells: Cells, rule: Rule) -> None:
    """Choose device and number of counted pulses of the chosen cells; see the reference."""
    devices = int(rule.step.devices)
    half = devices // 2
    for i in range(chosen.shape[0]):
        c = chosen[i]
        device = int(cells.device[c])
        low = 0 if device < half else half
        too_high = errors[i] if device < half else -errors[i]
        held = rule.curve[cells.aim[c]] + too_high / np.float32(half)
        at = int(np.rint(code_at(rule.curve, rule.pivots, held)))
        sign, fired = np.int32(1 if too_high < _ZERO else -1), device
        mean, std = rule.change[0, at], rule.change[1, at]
        turns = np.int32(0)  # down, one after another
        if sign < 0:
            mean, std = rule.change[2, at], rule.change[3, at]
            turns = min(np.int32(cells.swing[c]) + np.int32(1), np.int32(MOST_TURNS + 1))
            if mean == _ZERO or turns > MOST_TURNS:  # its counterpart goes up
                mean, std = rule.change[0, 255], rule.change[1, 255]
                sign, fired = np.int32(1), (device + half) % devices
        number = _number(abs(too_high), mean, std, rule.step)
        cells.fire[c] = np.uint8(fired) if number > 0 else NONE
        if number > 0:
            cells.code[c] = np.uint8(np.int32(sign * number) & np.int32(255))
            cells.device[c] = np.uint8(low + (device - low + 1) % half)
            cells.swing[c] = np.int8(turns)
            cells.total[c] = _ZERO
            cells.number[c] = np.uint8(0)


@helper
def move_cells(chosen: np.ndarray, errors: np.ndarray, cells: Cells, rule: Rule) -> None:
    """Change what is known of the chosen cells, and end the memory of those that get a pulse.

    Once gathered, the new amplitudes vectorise.
    """
    if rule.change.shape[1] > 0:
        count_pulses(chosen, errors, cells, rule)
        return
    count = _keep_large(chosen, errors, cells, rule)
    held = np.empty((3, count), np.int32)
    places = np.empty((2, count), np.float32)
    levels, swings, aims, present, steep = held[0], held[1], held[2], places[0], places[1]
    curve, slope, p = rule.curve, rule.slope, rule.step
    devices = int(p.devices)
    for i in range(count):
        c = chosen[i]
        device, level = cells.device[c], cells.level[c]
        error = errors[i] if 2 * int(device) < devices else -errors[i]
        errors[i] = error
        levels[i], swings[i], aims[i] = level, cells.swing[c], cells.aim[c]
        present[i] = code_at(curve, rule.pivots, curve[cells.aim[c]] + error)
        steep[i] = slope[cells.aim[c]]
        if level == 0 or level == TOP:
            heir = _heir(error, device, cells.filled[c], level, devices)
            if heir != NONE:
                _hand_over(heir, error, c, cells, rule)
                aims[i] = -1
    for i in range(count):
        swings[i] = _swing(swings[i], bool(errors[i] > _ZERO))
    for i in range(count):
        levels[i] = _move(errors[i], levels[i], swings[i], aims[i], present[i], steep[i], p)
    for i in range(count):
        c = chosen[i]
        if aims[i] >= 0:
            cells.level[c] = np.int16(levels[i])
            cells.swing[c] = np.int8(swings[i])
        cells.code[c] = np.uint8((cells.level[c] + LEVELS // 2) >> LEVEL_BITS)
        cells.total[c] = _ZERO
        cells.number[c] = np.uint8(0)
