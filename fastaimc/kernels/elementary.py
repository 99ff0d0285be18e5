"""exp, log and pow of float32 that LLVM vectorises.

Numba's own are calls to libm, one element at a time. These are polynomials in the manner of
S. Moshier's Cephes library, in float32 arithmetic alone, without branches. All constants are typed:
a bare Python float would turn the arithmetic into float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastaimc.kernels.jit import inlined, kernel
from fastaimc.kernels.vector import fma

_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_INF = np.float32(np.inf)
_NAN = np.float32(np.nan)

# ln 2 in two parts: the high part has 9 bits, so its product with an exponent is exact.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_LOG2_E = np.float32(1.44269504088896341)

# Beyond these, exp is inf and 0 in float32; the clamp also keeps the exponent an int32.
_EXP_MAX = np.float32(89.0)
_EXP_MIN = np.float32(-104.0)
_EXP_LEAST = np.float32(-87.0)  # between these, results are normal
_EXP_MOST = np.float32(88.0)
_EXP_0 = np.float32(5.0000001201e-1)
_EXP_1 = np.float32(1.6666665459e-1)
_EXP_2 = np.float32(4.1665795894e-2)
_EXP_3 = np.float32(8.3334519073e-3)
_EXP_4 = np.float32(1.3981999507e-3)
_EXP_5 = np.float32(1.9875691500e-4)

_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_EXPONENT_BITS = np.int32(-0x00800000)
_SMALLEST_NORMAL = np.float32(2.0**-126)
_DENORMAL_SCALE = np.float32(2.0**23)
_DENORMAL_SHIFT = np.float32(23.0)
_LOG_0 = np.float32(3.3333331174e-1)
_LOG_1 = np.float32(-2.4999993993e-1)
_LOG_2 = np.float32(2.0000714765e-1)
_LOG_3 = np.float32(-1.6668057665e-1)
_LOG_4 = np.float32(1.4249322787e-1)
_LOG_5 = np.float32(-1.2420140846e-1)
_LOG_6 = np.float32(1.1676998740e-1)
_LOG_7 = np.float32(-1.1514610310e-1)
_LOG_8 = np.float32(7.0376836292e-2)


@inlined
def power_of_two(n: np.int32) -> np.float32:
    """2^n for a normal result."""
    return np.int32((n + 127) << 23).view(np.float32)


@inlined
def _exp_parts(clamped: np.float32) -> tuple[np.float32, np.int32]:
    """e^x as y·2^n, with y near 1."""
    whole = np.floor(fma(clamped, _LOG2_E, _HALF))
    r = fma(-whole, _LN2_LOW, fma(-whole, _LN2_HIGH, clamped))
    y = fma(_EXP_5, r, _EXP_4)
    y = fma(y, r, _EXP_3)
    y = fma(y, r, _EXP_2)
    y = fma(y, r, _EXP_1)
    y = fma(y, r, _EXP_0)
    return fma(y, r * r, r) + _ONE, np.int32(whole)


@inlined
def exp_normal_range(x: np.float32) -> np.float32:
    """e^x where nothing special can happen.

    Parameters
    ----------
    x : float32
        Not NaN. Below -87 it is taken for -87, above 88 for 88.

    Returns
    -------
    float32
        Right to 1 unit in the last place (relative error 8.2e-8).
    """
    y, n = _exp_parts(max(_EXP_LEAST, min(_EXP_MOST, x)))
    return y * power_of_two(n)


@inlined
def exp(x: np.float32) -> np.float32:
    """e^x.

    Parameters
    ----------
    x : float32
        Anything. -inf gives 0, above 88.72 gives inf, NaN gives NaN; denormal results are right.

    Returns
    -------
    float32
        Right to 1 unit in the last place (relative error 8.2e-8) where the result is normal.
    """
    # A NaN becomes a number, until the last line.
    y, n = _exp_parts(max(_EXP_MIN, min(_EXP_MAX, x)))
    # In two steps, as 2^128 and 2^-150 are no normal numbers.
    half = np.int32(n >> 1)
    y = y * power_of_two(half) * power_of_two(np.int32(n - half))
    return y if x == x else x


@inlined
def log_normal_range(x: np.float32) -> np.float32:
    """Natural logarithm where nothing special can happen.

    Parameters
    ----------
    x : float32
        Positive, finite and not denormal; the result is meaningless otherwise.

    Returns
    -------
    float32
        Right to 0.9 units in the last place (relative error 7.9e-8).
    """
    bits = np.float32(x).view(np.int32)  # Numba takes `view` only on a dtype call
    # x = 2^e·(1 + r) with 1 + r in [sqrt(1/2), sqrt(2)).
    exponent = np.int32((bits - _SQRT_HALF_BITS) & _EXPONENT_BITS)
    e = np.float32(np.int32(exponent >> 23))
    r = np.int32(bits - exponent).view(np.float32) - _ONE
    y = fma(_LOG_8, r, _LOG_7)
    y = fma(y, r, _LOG_6)
    y = fma(y, r, _LOG_5)
    y = fma(y, r, _LOG_4)
    y = fma(y, r, _LOG_3)
    y = fma(y, r, _LOG_2)
    y = fma(y, r, _LOG_1)
    y = fma(y, r, _LOG_0)
    squared = r * r
    y = fma(y * r, squared, fma(-_HALF, squared, e * _LN2_LOW))
    return fma(e, _LN2_HIGH, r + y)


@inlined
def log(x: np.float32) -> np.float32:
    """Natural logarithm.

    Parameters
    ----------
    x : float32
        Anything. 0 gives -inf, inf gives inf, negative and NaN give NaN; denormals are right.

    Returns
    -------
    float32
        Right to 0.9 units in the last place (relative error 7.9e-8).
    """
    denormal = x < _SMALLEST_NORMAL
    scaled = x * _DENORMAL_SCALE if denormal else x
    y = log_normal_range(scaled)
    y = y - _DENORMAL_SHIFT * _LN2_LOW - _DENORMAL_SHIFT * _LN2_HIGH if denormal else y
    y = y if x > _ZERO else (-_INF if x == _ZERO else _NAN)
    return y if x < _INF else x  # inf and NaN, but a NaN has come from the line above already


@inlined
def pow(x: np.float32, y: np.float32) -> np.float32:  # noqa: A001
    """x^y of a base that is not negative, as exp(y·log x).

    Parameters
    ----------
    x : float32
        At least 0; negative gives NaN.
    y : float32
        Finite. 0 gives 1 whatever the base, as NumPy has it.

    Returns
    -------
    float32
        Relative error below 1e-7 + 1.4e-7·|y·log x|: the exponent's error, magnified.
    """
    power = exp(y * log(x))  # before the choice: a branch around it would not vectorise
    return power if y != _ZERO else _ONE


@kernel
def exp_array(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`exp` of each element of a vector."""
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = exp(x[i])
    return out


@kernel
def log_array(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`log` of each element of a vector."""
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = log(x[i])
    return out


@kernel
def pow_array(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """`pow` of each pair of elements of two vectors of one length."""
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = pow(x[i], y[i])
    return out
