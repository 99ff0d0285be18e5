"""From measurements to pulses: the gradient of the MVM error, and verified cells.

Fixed blocks of columns run in parallel; the gradient of a block becomes pulses while it is in
cache and is never stored as a whole.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.crossbar import BLOCK, product
from fastaimc.kernels.jit import parallel, prange, serial
from fastaimc.parameters import StepParameters

LEVELS = 64  # levels of the amplitude between two codes, so that small corrections add up
TOP = 255 * LEVELS
MOST_FLIPS = 4  # halvings of the step at most

_NONE = np.uint8(255)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
_LEVELS = np.float32(LEVELS)
_TOP = np.float32(TOP)
_TINY = np.float32(1e-6)  # µS per code: where the nominal curve is flat
_FULL = np.uint8(255)
_KEEP = np.float32(254.0 / 255.0)


@serial
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


@serial
def _slope(curve: np.ndarray, code: int) -> np.float32:
    """|dG/dcode| of the nominal curve."""
    low = max(code - 1, 0)
    high = min(code + 1, curve.shape[0] - 1)
    return max((curve[low] - curve[high]) / np.float32(high - low), _TINY)


@serial
def _swing(swing: np.int8, up: bool) -> np.int8:
    """The new sense and halvings: turning back halves the step, going on doubles it again."""
    flips = abs(swing) - 1
    if (swing > 0) if up else (swing < 0):
        flips = max(flips - 1, 0)
    else:
        flips = min(flips + 1, MOST_FLIPS)
    return np.int8(1 + flips if up else -1 - flips)


@serial
def _move(
    too_high: np.float32,
    level: np.int16,
    swing: np.int8,
    aim: np.uint8,
    curve: np.ndarray,
    p: StepParameters,
) -> np.int16:
    """The new amplitude, in levels: more current lowers a device."""
    size = abs(np.float32(aim) - code_at(curve, curve[aim] + too_high))
    size = min(size, abs(too_high) / _slope(curve, int(aim)))
    step = min(p.gain * max(size, abs(too_high) / p.steepest), p.max_step) * _LEVELS
    for _ in range(abs(swing) - 1):
        step *= _HALF
    step = step if too_high > _ZERO else -step
    return np.int16(np.rint(min(max(np.float32(level) + step, _ZERO), _TOP)))


@serial
def _choose(
    error: np.float32,
    standard_error: np.float32,
    device: np.uint8,
    level: np.ndarray,
    swing: np.ndarray,
    column: int,
    aim: np.uint8,
    curve: np.ndarray,
    scatter: np.ndarray,
    p: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> bool:
    """Choose one cell's pulse; True where there is one."""
    threshold = max(p.margin * scatter[aim], p.kappa * standard_error)
    beyond = abs(error) > threshold and device != _NONE
    if beyond:
        too_high = error if np.float32(device) < p.devices * _HALF else -error
        swing[column] = _swing(swing[column], too_high > _ZERO)
        level[column] = _move(too_high, level[column], swing[column], aim, curve, p)
    fire[column] = device if beyond else _NONE
    code[column] = np.uint8((level[column] + LEVELS // 2) // LEVELS)
    return beyond


@serial
def _residual(
    x: np.ndarray, y: np.ndarray, target: np.ndarray, low: int, high: int, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """E = y - x @ target less its columns' means, and the rms of each column."""
    batch = x.shape[0]
    width = high - low
    e = product(x, target, low, high)
    mean = np.zeros(width, np.float32)
    square = np.zeros(width, np.float32)
    wanted_square = np.zeros(width, np.float32)
    error_square = np.zeros(width, np.float32)
    inverse = _ONE / np.float32(batch)
    for b in range(batch):
        for column in range(width):
            wanted = e[b, column]
            e[b, column] = y[b, low + column] - wanted
            wanted_square[column] += wanted * wanted
            error_square[column] += e[b, column] * e[b, column]
            mean[column] += e[b, column] * inverse
    for b in range(batch):
        for column in range(width):
            e[b, column] -= mean[column]
            square[column] += e[b, column] * e[b, column] * inverse
    for column in range(width):
        square[column] = np.sqrt(square[column])
        sums[0] += np.float64(error_square[column])
        sums[1] += np.float64(wanted_square[column])
    return e, square


@serial
def _gradient_block(
    x: np.ndarray,
    inverse_power: np.ndarray,
    y: np.ndarray,
    target: np.ndarray,
    low: int,
    device: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    p: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
    sums: np.ndarray,
) -> None:
    high = min(low + BLOCK, target.shape[1])
    e, rms = _residual(x, y, target, low, high, sums)
    gradient = np.dot(x.T, e)
    for row in range(target.shape[0]):
        inverse = inverse_power[row]
        root = np.sqrt(inverse)
        for column in range(high - low):
            _choose(
                gradient[row, column] * inverse,
                rms[column] * root,
                device[row, low + column],
                level[row],
                swing[row],
                low + column,
                aim[row, low + column],
                curve,
                scatter,
                p,
                fire[row],
                code[row],
            )


@serial
def _inverse_power(x: np.ndarray, out: np.ndarray) -> None:
    """1 / sum x² of every row's inputs, and 0 for a row that was never driven."""
    out[:] = _ZERO
    for b in range(x.shape[0]):
        for row in range(x.shape[1]):
            out[row] += x[b, row] * x[b, row]
    for row in range(x.shape[1]):
        out[row] = _ONE / out[row] if out[row] > _ZERO else _ZERO


@parallel
def gradient_pulses(
    x: np.ndarray,
    group: np.ndarray,
    y: np.ndarray,
    targets: np.ndarray,
    device: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Choose pulses from a batch; see `fastaimc.reference.gradient.gradient_pulses`."""
    tiles, rows, width = targets.shape
    blocks = (width + BLOCK - 1) // BLOCK
    sums = np.zeros((tiles, blocks, 2), np.float64)
    if x.shape[1] == 0:
        fire[:] = _NONE
        return sums.sum(axis=1)
    inverse_power = np.empty((x.shape[0], rows), np.float32)
    for g in range(x.shape[0]):
        _inverse_power(x[g], inverse_power[g])
    for index in prange(tiles * blocks):
        t = index // blocks
        _gradient_block(
            x[group[t]],
            inverse_power[group[t]],
            y[t],
            targets[t],
            index % blocks * BLOCK,
            device[t],
            level[t],
            swing[t],
            aim[t],
            curve,
            scatter,
            parameters,
            fire[t],
            code[t],
            sums[t, index % blocks],
        )
    return sums.sum(axis=1)


@serial
def _verify_row(
    reading: np.ndarray,
    dark: np.ndarray,
    target: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
    read_std: np.float32,
    device: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    p: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
    pooled: np.ndarray,
) -> None:
    for column in range(reading.shape[0]):
        value = reading[column] - dark[column]
        n = np.float32(count[column])
        if n > _ZERO:
            deviation = value - total[column] / n
            pooled[0] += np.float64(deviation * deviation * n / (n + _ONE))
            pooled[1] += 1.0
        if count[column] == _FULL:
            total[column] = total[column] * _KEEP + value
        else:
            total[column] += value
            count[column] += np.uint8(1)
            n += _ONE
        error = total[column] / n - target[column]
        pooled[2] += np.float64(error * error)
        beyond = _choose(
            error,
            read_std / np.sqrt(n),
            device[column],
            level,
            swing,
            column,
            aim[column],
            curve,
            scatter,
            p,
            fire,
            code,
        )
        if beyond:
            total[column] = _ZERO
            count[column] = np.uint8(0)


@parallel
def verify_pulses(
    reading: np.ndarray,
    dark: np.ndarray,
    targets: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
    read_std: np.ndarray,
    device: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Choose pulses from verified cells; see `fastaimc.reference.gradient.verify_pulses`."""
    tiles, rows, _ = targets.shape
    pooled = np.zeros((tiles, rows, 3), np.float64)
    for index in prange(tiles * rows):
        t = index // rows
        r = index % rows
        _verify_row(
            reading[t, r],
            dark[t],
            targets[t, r],
            total[t, r],
            count[t, r],
            read_std[t],
            device[t, r],
            level[t, r],
            swing[t, r],
            aim[t, r],
            curve,
            scatter,
            parameters,
            fire[t, r],
            code[t, r],
            pooled[t, r],
        )
    return pooled.sum(axis=1)
