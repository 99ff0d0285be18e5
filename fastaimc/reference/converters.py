"""DAC and ADC."""

from __future__ import annotations

import numpy as np

from fastaimc.reference import philox

SHAPE_NORM = 3 * np.sqrt(3) / 2  # brings the largest v (1 - v²) to 1
# (1 - v²)² (1 + SHAPE_NORM² v²), the variance of the non-linearity for unit bow and shape, is
# largest at v² = 19/81: this brings its largest standard deviation over the range to 1.
INL_NORM = 1 / np.sqrt((1 - 19 / 81) ** 2 * (1 + 27 / 4 * 19 / 81))


def columns(identity: np.ndarray, count: int, cell_range: int, stds: np.ndarray) -> np.ndarray:
    """Return what is wrong with each column's ADC in one of its ranges.

    Parameters
    ----------
    identity : ndarray
        Two words of key and the tile's number, (tile, 3), uint32.
    count : int
        Columns.
    cell_range : int
        0: the range of MVMs; 1: that of single cells.
    stds : ndarray
        Standard deviations over columns of gain, offset and integral non-linearity (where it is
        largest), (3,), float32.

    Returns
    -------
    ndarray
        Gain, offset, bow and shape as fractions of full scale, (tile, 4, column), float32.
    """
    inl = np.float32(INL_NORM) * stds[2]
    spread = (stds[0], stds[1], inl, inl)
    purposes = (philox.ADC_GAIN, philox.ADC_OFFSET, philox.ADC_BOW, philox.ADC_SHAPE)
    out = np.empty((len(identity), 4, count), dtype=np.float32)
    quads = np.arange((count + 3) // 4, dtype=np.uint32)
    for tile, (k0, k1, number) in enumerate(identity):
        for index, purpose in enumerate(purposes):
            c3 = philox.counter3(purpose, 0, 0)
            words = philox.philox(quads, np.uint32(cell_range), number, c3, k0, k1)
            normals = philox.normal(np.stack(words, axis=-1).reshape(-1))[:count]
            out[tile, index] = spread[index] * normals
    return out


def quantise(x: np.ndarray, half_codes: np.float32) -> np.ndarray:
    """Return inputs as the DAC drives them: clipped to ±1 and rounded; 0 codes: only clipped."""
    clipped = np.clip(x.astype(np.float64), -1, 1)
    if half_codes > 0:
        clipped = np.rint(clipped * half_codes) / half_codes
    return clipped.astype(np.float32)


def digitise(
    y: np.ndarray, column: np.ndarray, full_scale: float, half_codes: np.float32
) -> np.ndarray:
    """Return what a column's ADC reports of the currents `y`, in their unit.

    ``u = v (1 + gain) + offset + (1 - v²) (bow + shape c v)`` with v = y / full_scale: the last
    term, the integral non-linearity, is zero at both ends of the range.  u is rounded to
    2 half_codes + 1 codes and saturates; with 0 half codes it is reported as it is.

    Parameters
    ----------
    y : ndarray
        (..., column).
    column : ndarray
        One tile's gain, offset, bow and shape, (4, column).
    """
    gain, offset, bow, shape = column.astype(np.float64)
    v = y / float(full_scale)
    inside = np.clip(v, -1, 1)
    inl = (1 - inside**2) * (bow + shape * SHAPE_NORM * inside)
    u = v * (1 + gain) + offset + inl
    if half_codes > 0:
        u = np.rint(np.clip(u, -1, 1) * half_codes) / half_codes
    return (u * float(full_scale)).astype(np.float32)
