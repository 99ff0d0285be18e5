"""Counter-based random numbers in NumPy: Philox4x32-10, uniform and normal.

J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The purposes: bits 0-7 of the counter's last word. A new source of noise is a new number.
PULSE = 1
SET_SPREAD = 2
CENTRE_SPREAD = 3
WIDTH_SPREAD = 4
DRIFT = 5
WRITE = 6
MVM_NOISE = 7
ROW_NOISE = 8
ADC_GAIN = 9
ADC_OFFSET = 10
ADC_BOW = 11
ADC_SHAPE = 12
INPUTS = 13
SIGNS = 14
PERMUTATION = 15
SLOW_NOISE = 16
FAULT = 17
FAULT_VALUE = 18
ADC_DEAD_TIME = 19
DECADES_SPREAD = 20
JITTER_SPREAD = 21
FLOOR_SPREAD = 22
ONSET_SPREAD = 23
READ_NOISE_SPREAD = 24
STEP_SPREAD = 25
INCREMENT = 26

_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox(
    c0: ArrayLike, c1: ArrayLike, c2: ArrayLike, c3: ArrayLike, k0: ArrayLike, k1: ArrayLike
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Four random words of each counter and key: Philox4x32-10.

    Parameters
    ----------
    c0, c1, c2, c3 : array_like of uint32
        The counters; they broadcast against each other and the key.
    k0, k1 : array_like of uint32
        The key.

    Returns
    -------
    tuple of ndarray of uint32
        Four independent words, each of the broadcast shape.
    """
    w0, w1, w2, w3, a, b = np.broadcast_arrays(
        *(np.asarray(word, np.uint64) for word in (c0, c1, c2, c3, k0, k1))
    )
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * w0
        p1 = np.uint64(0xCD9E8D57) * w2
        w0, w1, w2, w3 = (p1 >> _SHIFT) ^ w1 ^ a, p1 & _MASK, (p0 >> _SHIFT) ^ w3 ^ b, p0 & _MASK
        a = (a + np.uint64(0x9E3779B9)) & _MASK
        b = (b + np.uint64(0xBB67AE85)) & _MASK
    return (
        np.asarray(w0, np.uint32),
        np.asarray(w1, np.uint32),
        np.asarray(w2, np.uint32),
        np.asarray(w3, np.uint32),
    )


def cell(row: ArrayLike, column: ArrayLike) -> NDArray[np.uint32]:
    """Counter word 0 of each cell: row·65536 + column, both below 65536."""
    return np.asarray(
        np.asarray(row, np.uint64) * np.uint64(65536) + np.asarray(column, np.uint64), np.uint32
    )


def counter3(purpose: ArrayLike, block: ArrayLike, number_high: ArrayLike) -> NDArray[np.uint32]:
    """Counter word 3: purpose in bits 0-7, block of four devices in 8-15, number_high in 16-31.

    Parameters
    ----------
    purpose : array_like of int
        One of this module's purposes.
    block : array_like of int
        Block of four devices.
    number_high : array_like of int
        Bits 32-47 of a vector's number.

    Returns
    -------
    ndarray of uint32
    """
    low = np.asarray(purpose, np.uint64) % np.uint64(256)
    middle = np.asarray(block, np.uint64) % np.uint64(256)
    high = np.asarray(number_high, np.uint64) % np.uint64(65536)
    return np.asarray(low + middle * np.uint64(256) + high * np.uint64(65536), np.uint32)


def uniform(words: ArrayLike) -> NDArray[np.float32]:
    """Uniform numbers in (0, 1): (the high 23 bits of a word + 1/2)·2^-23, exact in float32."""
    high = np.asarray(words, np.uint32) >> np.uint32(9)
    return np.asarray((high + 0.5) * 2.0**-23, np.float32)


def normal(words: ArrayLike) -> NDArray[np.float32]:
    """Standard normal number of each word, by the inverse of its distribution function.

    The top bit is the sign (set: negative). The low 31 bits m give the two-sided tail probability
    p = (m + 1/2)/2^31, and |z| = sqrt(2)·erfinv(1 - p) = -ndtri(p/2), at most 6.34.

    Parameters
    ----------
    words : array_like of uint32

    Returns
    -------
    ndarray of float32
        Rounded from float64.
    """
    from scipy.special import ndtri

    words = np.asarray(words, np.uint32)
    p = ((words & np.uint32(0x7FFFFFFF)) + 0.5) / 2.0**31
    sign = np.where(words >> np.uint32(31), -1.0, 1.0)
    return np.asarray(sign * -ndtri(p / 2), np.float32)


def words(counters: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`philox` of each counter.

    Parameters
    ----------
    counters : ndarray of uint32, shape (n, 4)
    key : ndarray of uint32, shape (2,)

    Returns
    -------
    ndarray of uint32, shape (n, 4)
    """
    c0, c1, c2, c3 = counters.T
    return np.stack(philox(c0, c1, c2, c3, key[0], key[1]), axis=-1)


def normals(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """`normal` of each word of a vector."""
    return normal(words)
