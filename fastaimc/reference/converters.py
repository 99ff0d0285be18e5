"""DAC and ADC."""

from __future__ import annotations

import numpy as np

from fastaimc.reference import philox

SHAPE_NORM = 3 * np.sqrt(3) / 2  # brings the largest v (1 - v²) to 1
# (1 - v²)² (1 + SHAPE_NORM² v²), the variance of the non-linearity for unit bow and shape, is
# largest at v² = 19/81: this brings its largest standard deviation over the range to 1.
INL_NORM = 1 / np.sqrt((1 - 19 / 81) ** 2 * (1 + 27 / 4 * 19 / 81))
# What is drawn for every column, in the order of the rows that an engine takes.
PURPOSES = (
    *(philox.ADC_GAIN, philox.ADC_OFFSET, philox.ADC_BOW, philox.ADC_SHAPE),
    philox.ADC_DEAD_TIME,
)
PLAIN = 4  # rows of a column's numbers where it has neither dead time, noise nor range of its own
SIGN_ONLY = np.float32(0.5)  # codes on either side of zero of a converter of one bit


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
        largest), and where they differ of the oscillators' dead times, (3,) or (4,), float32.

    Returns
    -------
    ndarray
        Gain, offset, bow, shape and deviation of the dead time as fractions of full scale,
        (tile, len(stds) + 1, column), float32.
    """
    inl = np.float32(INL_NORM) * stds[2]
    spread = (stds[0], stds[1], inl, inl, *stds[3:])
    out = np.empty((len(identity), len(spread), count), dtype=np.float32)
    quads = np.arange((count + 3) // 4, dtype=np.uint32)
    for tile, (k0, k1, number) in enumerate(identity):
        for index, purpose in enumerate(PURPOSES[: len(spread)]):
            c3 = philox.counter3(purpose, 0, 0)
            words = philox.philox(quads, np.uint32(cell_range), number, c3, k0, k1)
            normals = philox.normal(np.stack(words, axis=-1).reshape(-1))[:count]
            out[tile, index] = spread[index] * normals
    return out


def quantise(x: np.ndarray, half_codes: np.float32) -> np.ndarray:
    """Return inputs as the DAC drives them: clipped to ±1 and rounded; 0 codes: only clipped.

    With half a code on either side it drives the sign alone: −1, or +1 from zero on.
    """
    clipped = np.clip(x.astype(np.float64), -1, 1)
    if half_codes == SIGN_ONLY:
        clipped = np.where(clipped >= 0, 1.0, -1.0)
    elif half_codes > 0:
        clipped = np.rint(clipped * half_codes) / half_codes
    return clipped.astype(np.float32)


def conversion_noise(column: np.ndarray, full_scale: float) -> np.ndarray | float:
    """Return the standard deviation of what every conversion adds to a current, µS.

    (column,), or 0 for plain columns; arguments as for `digitise`.
    """
    if len(column) == PLAIN:
        return 0.0
    noise, own_range = column[5:].astype(np.float64)
    return np.asarray(noise * own_range * float(full_scale))


def digitise(
    y: np.ndarray, column: np.ndarray, full_scale: float, half_codes: np.float32
) -> np.ndarray:
    """Return what a column's ADC reports of the currents `y`, in their unit.

    ``u = w (1 + gain) + offset + (1 - w²) (bow + shape c w)`` with ``w = v / (1 + dead_time |v|)``
    and ``v = y / (range full_scale)``.  The last term, the integral non-linearity, is zero at both
    ends of the range.  w is what an oscillator makes of a current that needs a time 1 / v to move a
    charge, after which it is dead for a time (assumption): 0 for plain columns, whose range is 1.

    Parameters
    ----------
    y : ndarray
        (..., column), with the noise of the conversion, which is white.
    column : ndarray
        One tile's gain, offset, bow and shape, (4, column); or those, dead time, standard deviation
        of the noise and range, (7, column).  Dead time and noise are in units of what they are at
        the column's full scale, ranges in units of the tile's.
    half_codes : float32
        u is rounded to this many codes on either side of zero and saturates; 0: it is reported as
        it is.  Below zero: to the codes 0, 1, … -half_codes, as a current that has one sign needs
        no others.  `SIGN_ONLY`: to -1 and, from zero on, +1.
    """
    gain, offset, bow, shape = column[:PLAIN].astype(np.float64)
    dead_time, _, own_range = (0.0, 0.0, 1.0) if len(column) == PLAIN else column[PLAIN:]
    scale = float(full_scale) * np.asarray(own_range, dtype=np.float64)
    v = y / scale
    v = v / (1 + np.asarray(dead_time, dtype=np.float64) * np.abs(v))
    inside = np.clip(v, -1, 1)
    inl = (1 - inside**2) * (bow + shape * SHAPE_NORM * inside)
    u = v * (1 + gain) + offset + inl
    if half_codes == SIGN_ONLY:
        u = np.where(u >= 0, 1.0, -1.0)
    elif half_codes != 0:
        half = abs(float(half_codes))
        u = np.rint(np.clip(u, -1 if half_codes > 0 else 0, 1) * half) / half
    return (u * scale).astype(np.float32)
