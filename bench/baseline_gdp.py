"""One iteration of GDP as a good programmer would write it with NumPy.

The outputs' error and its gradient are products of whole arrays; what follows from it is done for
the cells beyond their threshold alone.  It holds 30 bytes a device more than the engine does.
"""

from __future__ import annotations

import numpy as np
from baselines import NumpyCrossbar
from gdp_tile import Tile
from scene import Phase

from fastaimc.parameters import FitParameters, StepParameters
from fastaimc.reference.controller import LEVELS, MOST_FLIPS, TOP

HALVINGS = np.float32(0.5) ** np.arange(MOST_FLIPS + 1)


class NumpyGDP:
    """GDP on one tile, without re-fits of the columns."""

    def __init__(self, phase: Phase, iterations: int) -> None:
        tile = self.tile = Tile(phase, iterations)
        self.crossbar = NumpyCrossbar(tile.core, tile.method.batch)
        self.mean, self.variance = np.empty((2, *tile.core.shape[1:]), dtype=np.float32)
        self.crossbar.mean, self.crossbar.variance = self.mean, self.variance
        self.restore()

    def restore(self) -> None:
        """Begin again."""
        tile = self.tile
        tile.restore()
        self.g = tile.core.conductance[0]
        self.nu = np.empty_like(self.g)
        self.q = np.empty_like(self.g)
        self.total = tile.state["total"][0]
        self.count = tile.state["count"][0].astype(np.float32)
        self.shown = np.empty_like(self.mean)
        self.scatter = tile.scatter_at_aim()
        self.newest = tile.newest()
        everything = np.arange(self.g.size)
        self._restate(everything)
        self.fired = everything[:0]

    def pulsed_columns(self) -> np.ndarray:
        """Return how many cells of each column the last iteration pulsed."""
        width = self.mean.shape[1]
        return np.bincount(self.fired % width, minlength=width)

    def refresh(self) -> None:
        """Bring mean and variance up to the clock."""
        now, a = self.tile.now(), self.tile.age
        old = np.log(max(now, a.t_on_s) * a.inverse_t_ref)
        younger = np.log(np.maximum(now - self.tile.core.last_s[0], a.t_on_s) * a.inverse_t_ref)
        younger -= old
        power = np.empty_like(younger)
        self.mean[:] = 0
        self.variance[:] = 0
        for device, g in enumerate(self.g):
            np.multiply(self.newest[device], younger, out=power)
            power += old
            power *= self.nu[device]
            np.negative(power, out=power)
            np.exp(power, out=power)
            power *= g
            if device < self.tile.half:
                self.mean += power
            else:
                self.mean -= power
            power *= self.q[device]
            power *= power
            self.variance += power
        self.variance *= a.noise_band

    def iterate(self, index: int) -> None:
        """Measure one batch, and pulse the cells beyond their threshold."""
        tile = self.tile
        x, backward, deviation = tile.batches[index]
        if tile.wait(index):
            self._show(slice(None))
        self.refresh()
        y = self.crossbar.mvm(x)
        tile.measured()
        y -= x @ self.shown
        y -= y.mean(axis=0)
        rms = np.sqrt((y * y).mean(axis=0))
        self.total += backward @ y
        self.count += 1
        step = tile.step(index)
        cells = self._beyond(rms * (step.kappa / deviation), step.margin)
        error = self.total.ravel()[cells] / self.count.ravel()[cells]
        self.total.ravel()[cells] = 0
        self.count.ravel()[cells] = 0
        self._pulse(cells, self._codes(cells, error, step))

    def _beyond(self, threshold: np.ndarray, margin: np.float32) -> np.ndarray:
        """Return the cells whose mean error is beyond its threshold.

        Their sums are compared, so that no quotient is worked out for the others.
        """
        other = np.sqrt(self.count)
        threshold *= other
        np.multiply(self.scatter, self.count, out=other)
        other *= margin
        np.maximum(threshold, other, out=threshold)
        np.abs(self.total, out=other)
        return np.flatnonzero(other > threshold)

    def _show(self, cells: np.ndarray | slice) -> None:
        """Work out what some cells are to show: it changes with their aim and with the waits."""
        tile = self.tile
        (aim,) = tile.known("aim")
        target = tile.targets.ravel()[cells]
        self.shown.ravel()[cells] = target * tile.gain + np.sign(target) * tile.ahead[aim[cells]]

    def _codes(self, cells: np.ndarray, error: np.ndarray, p: StepParameters) -> np.ndarray:
        """Move the amplitudes of some cells; return their codes."""
        tile = self.tile
        device, level, swing, aim = tile.known("device", "level", "swing", "aim")
        lv, sw, a = level[cells], swing[cells], aim[cells]
        high = error * (1 - 2 * (device[cells] >= tile.half).astype(np.float32))
        there = (tile.curve[a] + high) / np.float32(tile.inverse_step) + np.float32(0.5)
        present = tile.inverse[np.clip(there, 0, len(tile.inverse) - 1).astype(np.int32)]
        size = np.minimum(np.abs(a - present), np.abs(error) / tile.slope[a])
        size = np.maximum(size, np.abs(error) / p.steepest)
        direction = np.sign(high)
        flips = np.clip(np.abs(sw) - 2 * (sw * direction > 0).astype(np.int8), 0, MOST_FLIPS)
        moved = direction * np.minimum(p.gain * size, p.max_step) * HALVINGS[flips]
        moved = np.clip(np.rint(lv + moved * LEVELS), 0, TOP)
        moved = np.where((lv == TOP) & (high < 0), a.astype(np.int16) * LEVELS, moved)
        level[cells] = moved
        swing[cells] = direction * (1 + flips)
        edge = np.flatnonzero(((lv == 0) & (high < 0)) | ((lv == TOP) & (high > 0)))
        given = cells[edge[tile.hand_over(cells[edge], high[edge])]]
        level[given] = aim[given].astype(np.int16) * LEVELS
        swing[given] = 0
        self.scatter.ravel()[given] = tile.scatter[aim[given]]
        self._show(given)
        code: np.ndarray = (level[cells] + LEVELS // 2) // LEVELS
        return code

    def _pulse(self, cells: np.ndarray, code: np.ndarray) -> None:
        """Pulse the analog devices of some cells."""
        tile, core, p = self.tile, self.tile.core, self.tile.pulses
        (device,) = (known[cells] for known in tile.known("device"))
        at = device.astype(np.int64) * self.mean.size + cells
        centre, width = tile.centre.ravel()[at], tile.width.ravel()[at]
        current = p.current_min_ua + code.astype(np.float32) * p.current_step_ua
        s = 1 / (1 + np.exp((centre - current) / width))
        g = np.exp(tile.log_g.ravel()[at] - p.depth * s)
        scatter = np.hypot(g * p.depth * s * (1 - s) / width * p.jitter_ua, p.floor_us)
        g += scatter * self.crossbar.random.standard_normal(len(at), dtype=np.float32)
        self.g.reshape(-1)[at] = np.maximum(g, 0)
        self._restate(at)
        last = core.last_device.ravel()
        before = np.minimum(last[cells], len(self.g)).astype(np.int64)
        self.newest.reshape(-1)[before * self.mean.size + cells] = 0
        self.newest.reshape(-1)[at] = 1
        last[cells] = device
        core.last_s.ravel()[cells] = tile.now()
        tile.pulsed(len(cells))
        self.fired = cells

    def _restate(self, at: np.ndarray) -> None:
        """Work out drift exponent and noise of some devices from what they hold."""
        x = np.clip(self.g.ravel()[at] * self.tile.age.inverse_scale, 1e-3, 1)
        log_x = np.log(x)
        mean, std, q = (_fit(f, x, log_x) for f in self.tile.fits)
        self.nu.ravel()[at] = np.abs(mean + std * self.tile.z_nu.ravel()[at])
        self.q.ravel()[at] = q


def _fit(f: FitParameters, x: np.ndarray, log_x: np.ndarray) -> np.ndarray:
    """Return a published fit at the states `x`."""
    logarithmic = np.clip(f.slope * log_x + f.offset, f.low, f.high)
    cubic = ((f.c3 * x + f.c2) * x + f.c1) * x + f.c0
    below = (x < f.split).astype(np.float32)  # a choice by `where` would miss branches
    fitted: np.ndarray = cubic + below * (logarithmic - cubic)
    return fitted
