"""How long what devices conduct stays what it was."""

from __future__ import annotations

import math

import numpy as np

from fastaimc.config import CoreConfig

LOG_AGE_STEP = 0.01  # matrices are refreshed when a cell's log age has moved by more


def fresh_until(config: CoreConfig, clock_s: np.ndarray, pulsed_s: np.ndarray | None) -> np.ndarray:
    """Return the clocks at which the log age of the youngest cells will have moved enough.

    With slow noise, at which its fastest octave may have changed.

    Parameters
    ----------
    clock_s, pulsed_s : ndarray
        Now, and of the last pulse (None: there was none), (tile,), s.
    """
    noise = config.read_noise
    if noise is not None and noise.slow:
        return clock_s + noise.window_s
    if config.drift is None:
        return np.full_like(clock_s, np.inf)
    pulsed_s = np.zeros_like(clock_s) if pulsed_s is None else pulsed_s
    age = np.maximum(clock_s - pulsed_s, config.drift.earliest_s)
    until: np.ndarray = pulsed_s + age * math.exp(LOG_AGE_STEP)
    return until
