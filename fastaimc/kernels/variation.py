"""What devices differ in as time and reads find them: exponent, onset of drift, noise.

Loops over the cells of a block, one after another, that vectorise.
"""

from __future__ import annotations

import numpy as np

from fastaimc.kernels import elementary
from fastaimc.kernels.jit import helper
from fastaimc.kernels.philox import (
    DRIFT,
    ONSET_SPREAD,
    READ_NOISE_SPREAD,
    SLOW_NOISE,
    cell,
    counter3,
    normal,
    philox,
)
from fastaimc.kernels.vector import fma
from fastaimc.parameters import StateParameters

WORDS = 16  # of a cell: four devices' for nu or slow noise, onset of drift, Q, and redrawn ones

_ZERO = np.float32(0.0)
_FOR_LIFE = np.uint32(0)  # the step of what a device keeps


@helper
def _block_words(
    identity: np.ndarray,
    row: int,
    low: int,
    width: int,
    cells: int,
    step: np.uint32,
    c3: np.uint32,
    out: np.ndarray,
) -> None:
    """Fill (4, cell) with the random words of some rows' cells and a block of four devices."""
    for first in range(0, cells, width):
        o0, o1 = out[0, first : first + width], out[1, first : first + width]
        o2, o3 = out[2, first : first + width], out[3, first : first + width]
        at = cell(row + first // width, low)
        for column in range(width):
            w0, w1, w2, w3 = philox(
                np.uint32(at + np.uint32(column)),
                step,
                identity[2],
                c3,
                identity[0],
                identity[1],
            )
            o0[column] = w0
            o1[column] = w1
            o2[column] = w2
            o3[column] = w3


@helper
def _fluctuate(
    identity: np.ndarray,
    row: int,
    low: int,
    width: int,
    cells: int,
    block: int,
    slow: np.ndarray,
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the slow noise of a block of four devices in units of Q, (4, cell)."""
    out[:] = _ZERO
    for octave in range(slow.shape[0]):
        std = np.float32(slow[octave, 2])
        if std > _ZERO:
            period = np.uint32(np.uint64(slow[octave, 0]))
            c3 = counter3(SLOW_NOISE, block, np.uint64(slow[octave, 1]))
            _block_words(identity, row, low, width, cells, period, c3, words)
            for device in range(4):
                for i in range(cells):
                    out[device, i] = fma(std, normal(words[device, i]), out[device, i])


@helper
def _redraw(
    identity: np.ndarray,
    row: int,
    low: int,
    width: int,
    last_device: np.ndarray,
    last_s: np.ndarray,
    block: int,
    c3: np.uint32,
    new: np.ndarray,
    words: np.ndarray,
) -> None:
    """Replace the words (4, cell) of a block's devices that were pulsed last in their cells.

    The bits of the time of that pulse key the new ones, which are all drawn: loops of words of 64
    bits, of 32 and of bytes vectorise one by one only.  `new` (4, cell and more) is scratch.
    """
    for first in range(0, words.shape[1], width):
        o0, o1 = new[0, first : first + width], new[1, first : first + width]
        o2, o3 = new[2, first : first + width], new[3, first : first + width]
        r = row + first // width
        at = cell(r, low)
        last, since = last_device[r, low : low + width], last_s[r, low : low + width]
        for column in range(width):
            w0, w1, w2, w3 = philox(
                np.uint32(at + np.uint32(column)),
                np.float32(since[column]).view(np.uint32),
                identity[2],
                c3,
                identity[0],
                identity[1],
            )
            o0[column] = w0
            o1[column] = w1
            o2[column] = w2
            o3[column] = w3
        for device in range(4):
            number = np.uint8(4 * block + device)
            drawn, kept = new[device, first:], words[device, first:]
            for column in range(width):
                kept[column] = drawn[column] if last[column] == number else kept[column]


@helper
def draw_block(
    last_device: np.ndarray,
    last_s: np.ndarray,
    row: int,
    low: int,
    width: int,
    cells: int,
    block: int,
    identity: np.ndarray,
    p: StateParameters,
    slow: np.ndarray,
    words: np.ndarray,
    slow_sum: np.ndarray,
) -> None:
    """Write slow noise and words of a block of four devices: for nu, and for what else is spread.

    Of `words` (WORDS, cell) the first four are nu's, the next the onset's, and the next Q's.
    """
    if slow.shape[0] > 0:
        _fluctuate(identity, row, low, width, cells, block, slow, words, slow_sum)
    place = (identity, row, low, width, cells, _FOR_LIFE)
    if p.t_on_spread > _ZERO:
        _block_words(*place, counter3(ONSET_SPREAD, block, 0), words[4:8])
    if p.noise_spread > _ZERO:
        _block_words(*place, counter3(READ_NOISE_SPREAD, block, 0), words[8:12])
    c3 = counter3(DRIFT, block, 0)
    _block_words(*place, c3, words[:4])
    if p.redraw > _ZERO:
        _redraw(
            identity, row, low, width, last_device, last_s, block, c3, words[12:], words[:4, :cells]
        )


@helper
def begin(
    log_age: np.ndarray,
    log_elapsed: np.float32,
    last: np.ndarray,
    device: np.uint8,
    p: StateParameters,
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the log ages of a device's drift, which begins at a time of its own."""
    log_t_on = elementary.log(p.t_on_s * p.inverse_t_ref)
    for i in range(out.shape[0]):
        out[i] = normal(words[i])
    for i in range(out.shape[0]):
        onset = fma(p.t_on_spread, out[i], log_t_on)
        age = log_age[i] if last[i] == device else log_elapsed
        out[i] = age if age > onset else onset


@helper
def vary(level: np.ndarray, spread: np.float32, words: np.ndarray, scratch: np.ndarray) -> None:
    """Multiply every Q by the factor that the device has for life."""
    for i in range(level.shape[0]):
        scratch[i] = normal(words[i])
    for i in range(level.shape[0]):
        level[i] *= elementary.exp_normal_range(spread * scratch[i])
