"""Slow read noise: which octaves of time fluctuate, and in which of their periods a core is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.config import ReadNoise
from fastaimc.engine import NO_SLOW_NOISE

ALL_THAT_PASSED = 65535  # number of the octaves that are drawn as one


def octaves(
    noise: ReadNoise | None, clock_s: np.ndarray, since_s: np.ndarray | None = None
) -> np.ndarray:
    """Return the slow noise of tiles at their clocks, as the engine's `drift` takes it.

    Noise of a spectrum Q/f has a variance of ``Q² ln 2`` in each octave of time.  Octave k begins
    with periods of ``window_s 2**k``, and counts once a period has passed: all that is slower is
    part of what programming has left.  With the fast noise it adds up to the published
    ``Q² ln((t + t_read) / (2 t_read))``.

    Parameters
    ----------
    noise : ReadNoise or None
        Off, or without slow noise: no octaves.
    clock_s : ndarray
        (tile,), s.
    since_s : ndarray, optional
        Clocks at which the devices were seen last, (tile,): octaves of which a period has passed
        since are independent of what was seen then, and are drawn as one.

    Returns
    -------
    ndarray
        Present period, number of the octave, standard deviation; (tile, octave, 3), float64.
    """
    if noise is None or not noise.slow:
        return NO_SLOW_NOISE
    clock = np.asarray(clock_s, dtype=np.float64)[:, None]
    count = int(np.floor(np.log2(max(float(clock.max()) / noise.window_s, 0.5)))) + 1
    number = np.arange(count)
    period_s = noise.window_s * 2.0**number
    total = np.log((clock + noise.t_read_s) / (noise.window_s + noise.t_read_s))
    variance = np.clip(total - number * np.log(2.0), 0, np.log(2.0)) * (period_s <= clock)
    out = np.empty((len(clock), count, 3))
    out[..., 0] = np.floor(clock / period_s) % 2**32
    out[..., 1] = number
    if since_s is not None and count:
        passed = period_s <= clock - np.asarray(since_s)[:, None]
        together = np.where(passed, variance, 0).sum(axis=1)
        variance = np.where(passed, 0, variance)
        some = together > 0
        variance[some, 0] = together[some]
        out[some, 0, 1] = ALL_THAT_PASSED
    out[..., 2] = np.sqrt(variance)
    return np.ascontiguousarray(out[:, (variance > 0).any(axis=0)])


@dataclass(slots=True)
class Watch:
    """What a core that is used has last seen of its slow noise.

    Attributes
    ----------
    last_s, since_s : ndarray or None
        Clocks of the last look and of the one before it at another clock, (tile,).
    """

    last_s: np.ndarray | None = None
    since_s: np.ndarray | None = None

    def octaves(self, noise: ReadNoise | None, clock_s: np.ndarray) -> np.ndarray:
        """Return the octaves now; of each tile the same ones as long as its clock stands still."""
        if noise is None or not noise.slow:
            return NO_SLOW_NOISE
        if self.last_s is None or self.since_s is None:  # a first look has none before it
            self.since_s, self.last_s = clock_s.copy(), clock_s.copy()
        self.since_s = np.where(clock_s != self.last_s, self.last_s, self.since_s)
        self.last_s = clock_s.copy()
        return octaves(noise, clock_s, self.since_s)
