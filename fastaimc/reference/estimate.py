"""A running estimate of every cell's error, and the pulses that follow from it.

A scalar Kalman filter for each cell: between pulses its error stays what it is, but for a walk;
every batch is one more look at all of them.  What the filters know already is taken off a batch's
error before its gradient is formed, so that cells known to be off disturb the others no more.
"""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import BeliefParameters, StepParameters
from fastaimc.reference.controller import choose, factors, wanted
from fastaimc.reference.gradient import estimate
from fastaimc.reference.pcm import NONE

CODES = 256
MOST_LOOKS = 255


def update(
    error: np.ndarray, variance: np.ndarray, value: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return estimate and variance after one more look, of variance `noise`, was off by `value`.

    With the gain k = variance / (variance + noise): k value more, and a variance of k noise.
    """
    total = variance + noise
    k = np.divide(variance, total, out=np.zeros_like(total), where=total > 0)
    return error + k * value, k * noise


def look(
    x: np.ndarray,
    y: np.ndarray,
    now: np.ndarray,
    error: np.ndarray,
    variance: np.ndarray,
    share: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one tile's estimates and variances after a batch, and the batch's sums.

    `now` is what cells are to show.  Rows that were not driven stay as they were.  The squared
    error is what the batch adds to the estimates, and what these themselves give for inputs that
    are independent.
    """
    value, standard_error, sums = estimate(x, y, now + error)
    power = (x.astype(np.float64) ** 2).sum(axis=0)[:, None]
    known = error.astype(np.float64), variance.astype(np.float64)
    sums[0] += (power * known[0] ** 2).sum()
    new = update(*known, value, share * standard_error**2)
    found, certainty = (np.where(power > 0, *pair) for pair in zip(new, known, strict=True))
    return found, certainty, sums


def believe(
    beyond: np.ndarray,
    before: np.ndarray,
    variance: np.ndarray,
    scale: np.ndarray,
    belief: BeliefParameters,
) -> np.ndarray:
    """Return the variances at the next look, of cells pulsed (`beyond`) and of the others.

    `before` is the estimate that called for a pulse, and `scale` a pulse's scatter, µS.
    """
    spread, miss, walk = (float(v) for v in (belief.spread, belief.miss, belief.walk))
    pulsed = (spread * scale) ** 2 + (miss * before) ** 2
    return np.where(beyond, pulsed, variance + (walk * scale) ** 2)


def estimate_pulses(
    x: np.ndarray,
    group: np.ndarray,
    pattern: np.ndarray,
    y: np.ndarray,
    targets: np.ndarray,
    gain: np.float32,
    ahead: np.ndarray,
    error: np.ndarray,
    age: np.ndarray,
    variance: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    level: np.ndarray,
    swing: np.ndarray,
    aim: np.ndarray,
    curve: np.ndarray,
    scatter: np.ndarray,
    significance: np.ndarray,
    change: np.ndarray,
    belief: BeliefParameters,
    parameters: StepParameters,
    fire: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Correct every driven cell's estimated error by one batch; choose pulses by the estimates.

    Parameters
    ----------
    x, group, pattern, y, targets, gain, device to change, parameters, fire, code
        As for `gradient_pulses`; and for `belief` see its type.
    ahead : ndarray
        As for `gradient_pulses`, for every number of batches since a cell's last pulse, 255 and
        more counted as 255, (looks, 256), float32, µS; all numbers in `age` are below `looks`.
    error, age, variance : ndarray
        Estimated error of each cell, µS, batches since its last pulse, and the estimate's variance,
        µS², (tile, row, column), float32, uint8 and float32, changed in place.

    Returns
    -------
    ndarray
        Sums of squared errors (see `look`) and squared predictions of outputs, (tile, 2), float64.
    """
    sums = np.zeros((len(targets), 2))
    fire[...] = NONE
    for tile in range(len(targets) if x.shape[1] else 0):
        factor = factors(device[tile], significance)
        place = age[tile].astype(np.int64) * CODES + aim[tile]
        now = wanted(targets[tile], place, gain, ahead.ravel(), factor)
        known = (error[tile], variance[tile], float(belief.share))
        found, certainty, sums[tile] = look(x[group[tile]], y[tile], now, *known)
        cells = [array[tile] for array in (device, filled, level, swing, aim)]
        rest = (curve, scatter, significance, change, parameters, fire[tile], code[tile])
        beyond = choose(found, np.sqrt(certainty), cells, *rest)
        scale = scatter[aim[tile]] * factors(device[tile], significance).astype(np.float64)
        variance[tile] = believe(beyond, found, certainty, scale, belief)
        error[tile] = np.where(beyond, 0, found)
        age[tile] = np.where(beyond, 0, np.minimum(age[tile].astype(np.int64) + 1, MOST_LOOKS))
    return sums
