"""Counter-based random numbers: Philox4x32-10, uniform and normal.

J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
The layout of the counter's words, the purposes and the maps from a word to a number are fixed
from the first release on. Products are taken in uint64 and masked: in Numba a sum of two uint32
is a uint64, and in plain Python it warns when it overflows.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastaimc.kernels.elementary import log_normal_range
from fastaimc.kernels.jit import inlined, kernel
from fastaimc.kernels.vector import fma

Integer: TypeAlias = int | np.integer[Any]

# The purposes: bits 0-7 of the counter's last word. A new source of noise is a new number.
PULSE = np.uint32(1)
SET_SPREAD = np.uint32(2)
CENTRE_SPREAD = np.uint32(3)
WIDTH_SPREAD = np.uint32(4)
DRIFT = np.uint32(5)
WRITE = np.uint32(6)
MVM_NOISE = np.uint32(7)
ROW_NOISE = np.uint32(8)
ADC_GAIN = np.uint32(9)
ADC_OFFSET = np.uint32(10)
ADC_BOW = np.uint32(11)
ADC_SHAPE = np.uint32(12)
INPUTS = np.uint32(13)
SIGNS = np.uint32(14)
PERMUTATION = np.uint32(15)
SLOW_NOISE = np.uint32(16)
FAULT = np.uint32(17)
FAULT_VALUE = np.uint32(18)
ADC_DEAD_TIME = np.uint32(19)
DECADES_SPREAD = np.uint32(20)
JITTER_SPREAD = np.uint32(21)
FLOOR_SPREAD = np.uint32(22)
ONSET_SPREAD = np.uint32(23)
READ_NOISE_SPREAD = np.uint32(24)
STEP_SPREAD = np.uint32(25)
INCREMENT = np.uint32(26)

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_SHIFT_32 = np.uint64(32)
_SHIFT_16 = np.uint64(16)
_SHIFT_8 = np.uint64(8)
_MASK_16 = np.uint64(0xFFFF)
_MASK_8 = np.uint64(0xFF)

_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)
_UNIFORM_STEP = np.float32(2.0**-23)
_NORMAL_STEP = np.float32(2.0**-31)
_LOW_31_BITS = np.uint32(0x7FFFFFFF)
_TOP_BIT = np.uint32(0x80000000)

# sqrt(2)·erfinv(x)/x as P(w)/Q(w), w = -log(1 - x²), for w from 0 to 21.5 (|x| to 1 - 2^-32):
# our own minimax fit against scipy.special.ndtri, relative error 1.1e-7. One rational function
# costs less than M. Giles' two polynomials, of which float32 needs both and a square root.
_P0 = np.float32(1.2533142760954386)
_P1 = np.float32(0.45238898915905384)
_P2 = np.float32(0.08982831482015699)
_P3 = np.float32(0.01187467337316012)
_P4 = np.float32(0.0009993709385642674)
_P5 = np.float32(2.9288544632356922e-05)
_Q1 = np.float32(0.09915756593616105)
_Q2 = np.float32(0.03267042448324418)
_Q3 = np.float32(0.0022796848594862076)
_Q4 = np.float32(0.0001697833142305157)
_Q5 = np.float32(1.0084351301198326e-06)


@inlined
def _round(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """Counter and key after one round of Philox4x32; all words below 2^32."""
    p0 = _MULTIPLIER_0 * c0
    p1 = _MULTIPLIER_1 * c2
    return (
        (p1 >> _SHIFT_32) ^ c1 ^ k0,
        p1 & _MASK,
        (p0 >> _SHIFT_32) ^ c3 ^ k1,
        p0 & _MASK,
        (k0 + _WEYL_0) & _MASK,
        (k1 + _WEYL_1) & _MASK,
    )


@inlined
def philox(
    c0: np.uint32, c1: np.uint32, c2: np.uint32, c3: np.uint32, k0: np.uint32, k1: np.uint32
) -> tuple[np.uint32, np.uint32, np.uint32, np.uint32]:
    """Four random words of a counter and a key: Philox4x32-10.

    Parameters
    ----------
    c0, c1, c2, c3 : uint32
        The counter.
    k0, k1 : uint32
        The key.

    Returns
    -------
    tuple of uint32
        Four independent words. A loop over `c0` vectorises.
    """
    w0, w1, w2, w3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    a, b = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        w0, w1, w2, w3, a, b = _round(w0, w1, w2, w3, a, b)
    return np.uint32(w0), np.uint32(w1), np.uint32(w2), np.uint32(w3)


@inlined
def cell(row: Integer, column: Integer) -> np.uint32:
    """Counter word 0 of a cell: row·65536 + column, both below 65536."""
    return np.uint32((np.uint64(row) << _SHIFT_16) | np.uint64(column))


@inlined
def counter3(purpose: np.uint32, block: Integer, number_high: Integer) -> np.uint32:
    """Counter word 3.

    Parameters
    ----------
    purpose : uint32
        One of this module's purposes: bits 0-7.
    block : int
        Block of four devices: bits 8-15.
    number_high : int
        Bits 32-47 of a vector's number: bits 16-31.

    Returns
    -------
    uint32
    """
    high = (np.uint64(number_high) & _MASK_16) << _SHIFT_16
    middle = (np.uint64(block) & _MASK_8) << _SHIFT_8
    return np.uint32(high | middle | (np.uint64(purpose) & _MASK_8))


@inlined
def device_word(
    identity: NDArray[np.uint32],
    row: int,
    column: int,
    step: int,
    purpose: np.uint32,
    device: int,
) -> np.uint32:
    """One device's random word of one purpose; `identity` as for the engine, (3,)."""
    w0, w1, w2, w3 = philox(
        cell(row, column),
        np.uint32(step),
        identity[2],
        counter3(purpose, device // 4, 0),
        identity[0],
        identity[1],
    )
    word = device % 4
    low = w0 if word == 0 else w1
    high = w2 if word == 2 else w3
    return low if word < 2 else high


@inlined
def uniform(word: np.uint32) -> np.float32:
    """Uniform number in (0, 1) of a word: (its high 23 bits + 1/2)·2^-23, exact in float32.

    With 24 bits the largest would round to 1.
    """
    return (np.float32(np.int32(word >> np.uint32(9))) + _HALF) * _UNIFORM_STEP


@inlined
def normal(word: np.uint32) -> np.float32:
    """Standard normal number of one word, by the inverse of its distribution function.

    The top bit is the sign (set: negative). The low 31 bits m give the two-sided tail probability
    p = (m + 1/2)/2^31, and |z| = sqrt(2)·erfinv(1 - p), at most 6.34.

    Parameters
    ----------
    word : uint32

    Returns
    -------
    float32
        Relative error 4.8e-7 at most, from |z| = 3e-10 to the far tail (measured against
        scipy.special.ndtri over 4.7 million words).
    """
    m = np.int32(word & _LOW_31_BITS)
    rest = np.int32(~word & _LOW_31_BITS)
    # p and x = 1 - p both from integers: each keeps its relative accuracy where it is small.
    p = (np.float32(m) + _HALF) * _NORMAL_STEP
    x = (np.float32(rest) + _HALF) * _NORMAL_STEP
    w = max(-log_normal_range(p * (_ONE + x)), _ZERO)
    numerator = fma(_P5, w, _P4)
    numerator = fma(numerator, w, _P3)
    numerator = fma(numerator, w, _P2)
    numerator = fma(numerator, w, _P1)
    numerator = fma(numerator, w, _P0)
    denominator = fma(_Q5, w, _Q4)
    denominator = fma(denominator, w, _Q3)
    denominator = fma(denominator, w, _Q2)
    denominator = fma(denominator, w, _Q1)
    denominator = fma(denominator, w, _ONE)
    z = x * (numerator / denominator)
    return -z if (word & _TOP_BIT) != np.uint32(0) else z


@kernel
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
    out = np.empty_like(counters)
    for i in range(counters.shape[0]):
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = philox(
            counters[i, 0], counters[i, 1], counters[i, 2], counters[i, 3], key[0], key[1]
        )
    return out


@kernel
def normals(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """`normal` of each word of a vector."""
    out = np.empty(words.size, np.float32)
    for i in range(words.size):
        out[i] = normal(words[i])
    return out
