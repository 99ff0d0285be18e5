"""Every tolerance of the tests, each with what it follows from. No other file has its own.

`EPS` is the unit roundoff of float32: one operation is right to a relative error of EPS.
"""

import numpy as np

from fastaimc.parameters import (
    FitParameters,
    StateParameters,
    WireParameters,
)
from fastaimc.programming.least_squares import RIDGE
from fastaimc.reference import pcm
from fastaimc.reference import wires as reference_wires

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


# --- the engine's functions -----------------------------------------------------------------------
# Bounds on the difference between the kernel, in float32, and the reference, in float64 rounded
# once. They are sums of first-order terms; SECOND_ORDER covers the products of errors, each below
# 1e-2, that are left out.
SECOND_ORDER = 1.01

# The largest that `normal` gives.
LARGEST_NORMAL = 6.34

# columns: std·normal, rounded once in either twin.
COLUMNS_RELATIVE = NORMAL_RELATIVE + 2 * EPS

# inputs, Gaussian: a normal and its product with a constant that is itself rounded; the reference
# rounds once.
GAUSSIAN_RELATIVE = NORMAL_RELATIVE + 3 * EPS

# quantise and ADC: a code is a whole number k; k / half is rounded, the ADC's full scale times it
# rounded again, and the reference rounds once.
CODE_RELATIVE = 3 * EPS
# What an ideal ADC reports: the product of u and full scale, and the reference's rounding.
REPORT_RELATIVE = 2 * EPS


def own_range(columns: np.ndarray) -> float:
    """Error of either more where columns (tile, numbers, column) have ranges: one product."""
    return EPS if columns.shape[1] > 4 else 0.0


def sums(n: int) -> float:
    """Relative error of a sum of n products in any order, over the sum of their sizes.

    N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1.
    """
    return n * EPS / (1 - n * EPS)


def quantised(codes: np.ndarray) -> np.ndarray:
    """Codes from a rounding edge within which x·half, rounded once, may fall on the other side."""
    return EPS * np.abs(codes)


def current(
    x: np.ndarray, mean: np.ndarray, variance: np.ndarray, own: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Error and largest size of a vector's outputs before the ADC, µS.

    y: a sum of n products. Its noise: n products with squares that are rounded (all positive, so
    a relative error, halved by the root), the root, the normal, and their product. Then one sum.
    The ADC's own noise, `own`: two products, squared, and one sum, all halved by the root.
    """
    n = x.shape[-1]
    size = np.abs(x) @ np.abs(mean)
    noise = np.sqrt(np.square(x) @ variance + np.square(own)) * LARGEST_NORMAL
    added = 2.5 * EPS if np.any(own) else 0.0
    error = sums(n) * size + noise * (sums(n + 1) / 2 + 2 * EPS + added + NORMAL_RELATIVE)
    return SECOND_ORDER * (error + EPS * (size + noise)), size + noise


def column_scale(columns: np.ndarray, full_scale: float) -> np.ndarray:
    """Full scale of every column of a tile, µS."""
    own = columns[6] if len(columns) > 4 else np.ones(columns.shape[1])
    return np.asarray(own.astype(np.float64) * full_scale)


def adc(error: np.ndarray, size: np.ndarray, columns: np.ndarray, full_scale: float) -> np.ndarray:
    """Error of what an ADC reports before its rounding, in units of the column's full scale.

    v = y·(1/fs), or y / (fs·range): two roundings. The dead time takes some of v, and no error
    grows by it: two more. v·(1 + gain): two; the non-linearity with s = 2.6·shape: its slope is at
    most 2(|bow| + |s|), and its six roundings act on at most |bow| + |s|; two sums.
    """
    gain, offset, bow, shape = np.abs(columns[:4].astype(np.float64))
    bend = bow + 2.6 * shape
    scale = column_scale(columns, full_scale)
    v = size / scale
    steep = 1 + gain + 2 * bend
    roundings = 2 if len(columns) == 4 else 4
    return SECOND_ORDER * (
        (error / scale + roundings * EPS * v) * steep
        + EPS * (2 * v * (1 + gain) + 6 * bend + 2 * (v * (1 + gain) + offset + bend))
    )


def fitted(p: FitParameters, x: np.ndarray) -> np.ndarray:
    """Error of a published fit at a state x that has two roundings.

    Logarithmic: log x to LOG_ULP units of at most 2·EPS, and x's own error; two roundings. Cubic:
    six roundings by Horner, and x's two times the degree. Beside the split either one may be
    taken, and they differ there.  Of a logarithm the exponential is taken.
    """
    log_x = np.log(x)
    terms = np.abs(p.slope * log_x) + np.abs(p.offset)
    logarithmic = np.abs(p.slope) * 2 * EPS * (LOG_ULP * np.abs(log_x) + 1) + 2 * EPS * terms
    cubic = 12 * EPS * np.polynomial.polynomial.polyval(x, np.abs([p.c0, p.c1, p.c2, p.c3]))
    below, above = (
        pcm.fit(p._replace(split=split), x) for split in map(np.float32, (np.inf, -np.inf))
    )
    beside = np.abs(x - p.split) <= 3 * EPS * p.split
    if not p.of_log:
        return np.maximum(logarithmic, cubic) + np.where(beside, np.abs(below - above), 0)
    exponent = np.maximum(logarithmic, cubic)
    own = np.expm1(exponent) + 2 * EPS * EXP_ULP
    return pcm.fit(p, x) * own + np.where(beside, np.abs(below - above), 0)


def onset(p: StateParameters, z: np.ndarray) -> np.ndarray:
    """Error of the logarithm of a device's onset of drift over t_ref, beside that of t_on itself.

    ln(t_on/t_ref) + spread·z, fused: the normal's error, ln's beside one as large as the result,
    and one rounding.
    """
    typical = np.abs(np.log(float(p.t_on_s) * float(p.inverse_t_ref)))
    size = float(p.t_on_spread) * np.abs(z)
    return size * NORMAL_RELATIVE + EPS * (1 + 2 * LOG_ULP * typical) + EPS * (typical + size)


def drifted(
    g: np.ndarray,
    log_age: np.ndarray,
    z: np.ndarray,
    x: np.ndarray,
    fits: list[FitParameters],
    d_log_age: np.ndarray,
    loudness: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What one device conducts and its noise, and their errors, µS.

    g·exp(-|mu + sigma·z|·ln(t/t_ref)): the exponent's errors, one rounding of its product, exp's
    and the last product's. ln(t/t_ref): LOG_ULP units, and one rounding of t/t_ref; `d_log_age`
    more of a device's own onset. `loudness`: what multiplies Q, and its relative error.
    """
    mu, sigma, q = (pcm.fit(p, x) for p in fits)
    d_mu, d_sigma, d_q = (fitted(p, x) for p in fits)
    factor, d_factor = loudness
    q, d_q = q * factor, d_q * factor * (1 + d_factor) + np.abs(q) * factor * d_factor
    nu = np.abs(mu + sigma * z)
    spread = np.abs(z) * (d_sigma + np.abs(sigma) * (NORMAL_RELATIVE + EPS))
    d_nu = d_mu + spread + EPS * (np.abs(mu) + 2 * np.abs(sigma * z))
    age = np.abs(log_age)
    d_age = EPS + 2 * EPS * LOG_ULP * age + d_log_age
    d_power = d_nu * (age + d_age) + nu * (d_age + EPS * age)
    now = g * np.exp(-nu * log_age)
    relative = np.expm1(d_power) + 2 * EPS * EXP_ULP + EPS  # beside a split d_power is not small
    noise = now * np.abs(q)
    return now, now * relative, noise, noise * (relative + EPS) + now * (1 + relative) * d_q


def estimated(
    x: np.ndarray, y: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of a batch's estimate of each cell, of its standard error, and of the batch's sums.

    E = y - x @ target: a sum of n products and a difference. Its columns' mean and mean square:
    sums of B terms, and the errors of E, of which the root of the mean square passes on no more
    than their own (the triangle inequality). The gradient: B products; 1 / sum x²: a sum of B
    positive terms and a quotient.
    """
    batch, rows = x.shape
    wanted = x @ target
    residual = y - wanted
    d_wanted = sums(rows) * (np.abs(x) @ np.abs(target))
    d_residual = d_wanted + EPS * np.abs(residual)
    d_sums = [
        np.sum((2 * np.abs(value) + d) * d) + sums(batch + 1) * np.sum(value**2)
        for value, d in ((residual, d_residual), (wanted, d_wanted))
    ]
    d_mean = d_residual.mean(axis=0) + sums(batch + 2) * np.abs(residual).mean(axis=0)
    centred = residual - residual.mean(axis=0)
    d_centred = d_residual + d_mean + EPS * np.abs(centred)
    rms = np.sqrt((centred**2).mean(axis=0))
    d_rms = np.sqrt((d_centred**2).mean(axis=0)) + (sums(batch + 3) / 2 + EPS) * rms
    power = (x**2).sum(axis=0)[:, None]
    inverse = np.divide(1.0, power, out=np.zeros_like(power), where=power > 0)
    gradient = np.abs(x.T @ centred)
    d_gradient = np.abs(x).T @ d_centred + sums(batch) * (np.abs(x).T @ np.abs(centred))
    error = (d_gradient + sums(batch + 2) * gradient) * inverse
    root = np.sqrt(inverse)
    standard = root * (d_rms + rms * (sums(batch + 1) / 2 + 2 * EPS))
    return SECOND_ORDER * error, SECOND_ORDER * standard, SECOND_ORDER * np.array(d_sums)


def updated(
    error: np.ndarray,
    variance: np.ndarray,
    value: np.ndarray,
    d_value: np.ndarray,
    noise: np.ndarray,
    d_noise: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of an estimate and of its variance after one more look.

    noise: two more products.  k = p / (p + noise): its slope by the noise is p / (p + noise)², at
    most k / noise and 1 / p; between the ends of the noise's interval it is monotone, so they
    bound it even where the noise is nothing, and the variance k·noise.  A sum and a quotient; a
    product and a sum for the estimate, a product for the variance; the reference rounds once.
    """
    d_noise = d_noise + 2 * EPS * noise

    def part(n: np.ndarray) -> np.ndarray:
        total = variance + n
        return np.divide(variance, total, out=np.zeros_like(total), where=total > 0)

    k, ends = part(noise), (np.maximum(noise - d_noise, 0), noise + d_noise)
    d_k = np.maximum(*(np.abs(part(end) - k) for end in ends)) + 2 * EPS * k
    size = np.abs(value) + d_value
    d_error = k * d_value + d_k * size + EPS * (2 * k * size + 2 * (np.abs(error) + k * size))
    d_variance = np.maximum(*(np.abs(part(end) * end - k * noise) for end in ends))
    d_variance += 4 * EPS * k * noise + SMALLEST
    return SECOND_ORDER * d_error + SMALLEST, SECOND_ORDER * d_variance


def rooted(variance: np.ndarray, d_variance: np.ndarray) -> np.ndarray:
    """Error of a root: at the lower end of the variance's interval, and one rounding."""
    root = np.sqrt(variance)
    return root - np.sqrt(np.maximum(variance - d_variance, 0)) + EPS * root


def believed(
    pulsed: np.ndarray,
    error: np.ndarray,
    d_error: np.ndarray,
    d_variance: np.ndarray,
    variance: np.ndarray,
    miss: float,
) -> np.ndarray:
    """Errors of the variance at the next look.

    Two squares of products, the scale's one product included, and their sum: eight roundings at
    most of parts that are all positive.
    """
    missed = float(miss) ** 2 * (2 * np.abs(error) + d_error) * d_error
    return SECOND_ORDER * (8 * EPS * variance + np.where(pulsed, missed, d_variance)) + SMALLEST


def averaged(
    value: np.ndarray, d_value: np.ndarray, total: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the sum of what a cell has shown, one more value included, and of the mean.

    The old sum, times 254/255 (rounded) where the count is full, is rounded once more and the new
    sum once in either twin; the quotient once.
    """
    d_total = d_value + EPS * (2 * np.abs(total) + 2 * (np.abs(value) + np.abs(total)))
    after = np.minimum(n + 1, 255)
    mean = (np.abs(total) + np.abs(value)) / after
    return SECOND_ORDER * d_total, SECOND_ORDER * (d_total / after + EPS * mean)


def verified(
    value: np.ndarray, total: np.ndarray, n: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of a read's deviation from the mean before, of the sum of reads, and of the error.

    The read less the dark one is rounded once, and the mean's difference to the target.
    """
    before = np.abs(total) / np.maximum(n, 1)
    deviation = EPS * (2 * np.abs(value) + 2 * before)
    d_total, d_mean = averaged(value, EPS * np.abs(value), total, n)
    after = (np.abs(total) + np.abs(value)) / np.minimum(n + 1, 255)
    error = d_mean + EPS * (after + np.abs(target))
    return SECOND_ORDER * deviation, d_total, SECOND_ORDER * error


# choose: the nominal curve is read at curve[aim] + error, which is rounded, from a difference of
# values of the curve; g moves by this part of the curve's size at most.
CURVE_RELATIVE = 2 * EPS
# Error over slope, gain and the bound of the step: a difference, two quotients, two products and
# one comparison each.
STEP_RELATIVE = 6 * EPS
# The code's sum of its whole and its fraction (a quotient of two differences, at most 1), its
# difference to the aim, both of at most 255 and then times a gain of at most 2, and the sum of
# level and step, in levels.
STEP_LEVELS = 255 * 64 * EPS * (2 * 4 + 1)


# A cell's error over the significance of its device: one quotient.  An heir's share of it: a
# quotient of two factors and a product.
OWN_RELATIVE = EPS
HEIR_RELATIVE = 2 * EPS


def wired(
    plus: np.ndarray, minus: np.ndarray, wires: WireParameters
) -> tuple[np.ndarray, np.ndarray]:
    """Error of one tile's effective conductances, µS, and the relative one of their variances.

    All terms are positive, so relative errors add up. A node passes a part 1 / (1 + x): three
    roundings, and x's own error times x / (1 + x) <= ln(1 + x). x holds a conductance or a
    resistance of the line before, which has had at most five roundings a node, and the rounded
    resistance of a segment: one more. The parts' logarithms sum to that of their product.
    """
    rows, columns = plus.shape
    load, share, relative = np.zeros(plus.shape), [], []
    for g in (plus.astype(np.float64), minus.astype(np.float64)):
        seen, part = reference_wires.column_lines(g, float(wires.column), float(wires.end))
        load += seen
        share.append(g * part)
        relative.append(EPS * (3 * rows + 12 - np.log(part) * (12 * rows + 5)))
    u = reference_wires.row_nodes(load, float(wires.row))
    d_load = np.maximum(*relative) + EPS
    d_u = EPS * 4 * columns - np.log(u) * (d_load.max(axis=1, keepdims=True) + 6 * columns * EPS)
    mean = u * sum(s * (r + d_u + 4 * EPS) for s, r in zip(share, relative, strict=True))
    return SECOND_ORDER * mean, SECOND_ORDER * (2 * (d_load + d_u) + 8 * EPS)


# relax_wires: over the largest conductance of an output. What column lines send on is rounded
# once a sweep; all of it together changes an output by less than the output itself. A difference
# of two sweeps has the error twice.
RELAXED_RELATIVE = 2 * EPS
# What is left is c² / (b - c) of two changes: where c is at most b / 2, its derivatives by c and
# by b are at most 3 and 1.
RELAXED_LEFT = 4 * 2 * RELAXED_RELATIVE
# exact_wires: an LU factorisation without pivots of a positive definite matrix, against a dense
# one. Its condition is at most the ratio of a segment's conductance to what a line sends to
# ground, below 1e6 here, times 2**-53.
EXACT_WIRES_RELATIVE = 1e-9

# A network on ideal cores, over its largest output: the goal that it is held to. Sums of n products
# in another order differ by at most n EPS of the sum of their sizes, and usually by its root.
NETWORK_OF_IDEAL = 1e-5


def digital_between(eps: float) -> float:
    """Of a network whose ten digital steps are rounded to `eps`, each at most 1.5 of it a value."""
    return max(NETWORK_OF_IDEAL, 16 * eps)


def regression(x: np.ndarray, y: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Of cells that are regressed in float64 from exact outputs, each rounded once to float32.

    A rounding of y passes on by ``inv(X'X)·X'``; the estimate is rounded, and the ridge shrinks
    it.  What float64 adds is far less.
    """
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    gram = centred.T @ centred
    inverse = np.linalg.inv(gram)
    passed = np.abs(inverse @ centred.T) @ (EPS * np.abs(y.astype(np.float64)))
    power = np.square(x, dtype=np.float64).sum() / len(gram)
    ridge = RIDGE * power * np.abs(inverse) @ np.abs(cells)
    return np.asarray(SECOND_ORDER * (passed + EPS * np.abs(cells) + ridge))
