"""DAC and ADC."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.jit import helper, inlined, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.philox import (
    ADC_BOW,
    ADC_DEAD_TIME,
    ADC_GAIN,
    ADC_OFFSET,
    ADC_SHAPE,
    counter3,
    normal,
    philox,
)
from fastaimc.kernels.vector import fma

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_SHAPE_NORM = np.float32(2.598076211353316)  # 3 sqrt(3) / 2 brings the largest v (1 - v²) to 1
_SIGN_ONLY = np.float32(0.5)  # codes on either side of zero of a converter of one bit
PLAIN = 4  # rows of a column's numbers where it has neither dead time, noise nor range of its own
ROWS_A_CELL = 8  # so many inputs take no longer than what `jit.run` counts as a cell
_INL_NORM = np.float32(0.81283633)  # brings the largest std of the non-linearity to 1


@kernel
def columns(identity: np.ndarray, count: int, cell_range: int, stds: np.ndarray) -> np.ndarray:
    """Return what is wrong with each column; see `fastaimc.reference.converters.columns`."""
    out = np.empty((identity.shape[0], stds.shape[0] + 1, count), np.float32)
    purposes = (ADC_GAIN, ADC_OFFSET, ADC_BOW, ADC_SHAPE, ADC_DEAD_TIME)
    for tile in range(identity.shape[0]):
        for index in range(out.shape[1]):
            std = stds[index if index < 2 else index - 1]
            if index == 2 or index == 3:
                std = _INL_NORM * stds[2]
            c3 = counter3(purposes[index], 0, 0)
            for quad in range((count + 3) // 4):
                words = philox(
                    np.uint32(quad),
                    np.uint32(cell_range),
                    identity[tile, 2],
                    c3,
                    identity[tile, 0],
                    identity[tile, 1],
                )
                for word in range(min(4, count - 4 * quad)):
                    out[tile, index, 4 * quad + word] = std * normal(words[word])
    return out


@helper
def _quantise_share(
    begin: int, end: int, x: np.ndarray, half_codes: np.float32, out: np.ndarray
) -> None:
    for index in range(begin, end):
        source, target = x[index], out[index]
        if half_codes == _SIGN_ONLY:
            for row in range(source.shape[0]):
                target[row] = _ONE if source[row] >= _ZERO else -_ONE
            continue
        for row in range(source.shape[0]):
            v = min(max(source[row], -_ONE), _ONE)
            target[row] = np.rint(v * half_codes) / half_codes if half_codes > _ZERO else v


@kernel
def _quantise(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_quantise_share, shares, begin, end, arguments)


def quantise(x: np.ndarray, half_codes: np.float32) -> np.ndarray:
    """Return inputs as the DAC drives them; see `fastaimc.reference.converters.quantise`."""
    rows = x.shape[-1]
    out = np.empty(x.shape, np.float32)
    vectors = x.size // max(rows, 1)
    work = rows // ROWS_A_CELL + 1
    run(_quantise, vectors, work, x.reshape(vectors, rows), half_codes, out.reshape(vectors, rows))
    return out


def apart(columns: np.ndarray) -> np.ndarray:
    """Return columns that have all seven numbers with one more axis, (tile, 1, 7, column).

    Kernels are compiled for them by themselves, when they are first met: Numba leaves out what the
    number of axes rules out, and the code for plain columns, (tile, 4, column), stays as it is.
    """
    return columns if columns.shape[1] == PLAIN else columns[:, None]


@inlined
def convert(
    y: np.float32,
    inverse: np.float32,
    lsb: np.float32,
    half_codes: np.float32,
    gain: np.float32,
    offset: np.float32,
    bow: np.float32,
    shape: np.float32,
) -> np.float32:
    """What one column's ADC reports of a current; see `fastaimc.reference.converters.digitise`.

    `inverse` is 1 / full_scale; `gain` includes the one; `lsb` is full_scale / half_codes, or
    full_scale itself without codes.
    """
    v = y * inverse
    inside = min(max(v, -_ONE), _ONE)
    inl = fma(-inside, inside, _ONE) * fma(shape * _SHAPE_NORM, inside, bow)
    u = fma(v, gain, offset) + inl
    if half_codes > _ZERO:
        u = np.rint(min(max(u, -_ONE), _ONE) * half_codes)
    return u * lsb


@inlined
def distort(
    y: np.float32,
    scale: np.float32,
    gain: np.float32,
    offset: np.float32,
    bow: np.float32,
    shape: np.float32,
    dead_time: np.float32,
) -> np.float32:
    """What a column with all seven numbers makes of a current, in units of its full scale `scale`.

    u in `fastaimc.reference.converters.digitise`, before it is rounded; `gain` includes the one.
    """
    v = y / scale
    v = v / fma(dead_time, abs(v), _ONE)
    inside = min(max(v, -_ONE), _ONE)
    inl = fma(-inside, inside, _ONE) * fma(shape * _SHAPE_NORM, inside, bow)
    return fma(v, gain, offset) + inl


@helper
def encode(
    u: np.ndarray, full_scale: np.float32, own_range: np.ndarray, half_codes: np.float32
) -> None:
    """Put what columns report in place of what `distort` says; loops of one kind vectorise."""
    half = abs(half_codes)
    least = -_ONE if half_codes > _ZERO else _ZERO
    if half_codes == _ZERO:
        for column in range(u.shape[0]):
            u[column] *= full_scale * own_range[column]
    elif half_codes == _SIGN_ONLY:
        for column in range(u.shape[0]):
            scale = full_scale * own_range[column]
            u[column] = scale if u[column] >= _ZERO else -scale
    else:
        for column in range(u.shape[0]):
            code = np.rint(min(max(u[column], least), _ONE) * half)
            u[column] = code * (full_scale * own_range[column] / half)
