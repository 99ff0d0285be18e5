"""Every tolerance of the tests, each with what it follows from. No other file has its own.

`EPS` is the unit roundoff of float32: one operation is right to a relative error of EPS.
"""

import numpy as np

EPS = 2.0**-24

# Units in the last place (ULP) of the result; a rounding of a number as large as the result costs
# half of one.
# exp = 2^n·(1 + t), t = r + r²·P, |r| <= ln2/2: half a unit for the last sum; where the result is
# just below 1 and its unit smallest, a quarter for t, a quarter for r and 0.2 for r²·P. The
# products with n are exact or small, the scaling is exact, Cephes' polynomial is good to 2e-9.
# Measured over 20 million numbers: 0.98.
EXP_ULP = 1.2

# log = e·ln2_high + (r + y): half a unit for the last sum. r + y is at most 0.35 and the result at
# least 0.34 (but where e = 0, and the last sum is exact): half a unit for it, and 0.2 for y.
# e·ln2_high is exact, Cephes' polynomial is good to 4e-9. Measured over 29 million numbers: 0.83.
LOG_ULP = 1.2


def pow_relative(y_log_x: np.ndarray) -> np.ndarray:
    """Relative error of x^y = exp(y·log x).

    A relative error d of the exponent y·log x is one of y·log x·d of the result. d is LOG_ULP units
    of at most 2·EPS, and EPS for the product; exp adds its own EXP_ULP units of at most 2·EPS.
    """
    return 2 * EPS * (EXP_ULP + (LOG_ULP + 0.5) * np.abs(y_log_x))


# The least that float32 can tell from zero: half of it is lost where a result is denormal.
SMALLEST = 2.0**-149

# normal: the rational function's fit, 1.1e-7, two sums of terms that are all positive (numerator
# and denominator: EPS for the last sum and for the last product, and less and less for those
# before, together under 2·EPS each), their quotient, the product with x, x itself (rounded twice),
# and w: LOG_ULP units and three roundings of its argument, of which sqrt(2)·erfinv, growing like
# the square root of w, passes on a half. Together 1.1e-7 + 10·EPS. Measured: 4.7e-7.
NORMAL_RELATIVE = 1.1e-7 + 10 * EPS

# A statistic of n independent numbers lies farther than this many of its standard errors from its
# mean once in 1.7 million tests. The numbers are fixed by their key: a test that passes, passes.
SIGMAS = 5.0
