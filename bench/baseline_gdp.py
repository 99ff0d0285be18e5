"""One iteration of GDP as a good programmer would write it with NumPy.

The outputs' error and its gradient are products of whole arrays; what follows from it is done for
the cells beyond their threshold alone.  Everything that belongs to a device for life is stored and
looked up, where the engine draws it again: 36 bytes a device more.
"""

from __future__ import annotations

import numpy as np
from baselines import NumpyCrossbar
from scene import Phase

from fastaimc.engine import INPUT_KINDS
from fastaimc.parameters import F32, FitParameters, StepParameters
from fastaimc.programming.plan import wait_for
from fastaimc.reference import pcm, philox
from fastaimc.reference.controller import LEVELS, MOST_FLIPS, TINY, TOP
from fastaimc.terminals import Terminals

NONE = 255
CODES = np.arange(255.0, -1.0, -1.0)


class NumpyGDP:
    """GDP on one tile, without re-fits of the columns."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        core, _ = phase.restore()
        shape = core.conductance.shape
        p = self.pulses = core.config.device.parameters()  # type: ignore[union-attr]
        z = [
            pcm.cell_normals(core.identity, shape, 0, purpose)[0].astype(np.float32)
            for purpose in (
                philox.SET_SPREAD,
                philox.CENTRE_SPREAD,
                philox.WIDTH_SPREAD,
                philox.DRIFT,
            )
        ]
        self.log_g = p.log_g_set + p.g_set_spread * z[0]
        self.centre = p.centre_ua * (1 + p.centre_spread * z[1])
        self.width = p.width_ua * (1 + p.width_spread * z[2])
        self.z_nu = z[3]
        self.fits = [FitParameters(*row) for row in core.config.state_fits()]
        self.age = core.config.state_parameters()
        batch, rows = phase.method.batch, shape[2]
        kind = INPUT_KINDS[phase.method.inputs]
        x = core.engine.inputs(kind, phase.key, 0, batch, rows)
        self.x = x * F32(phase.method.amplitude)
        self.transposed = np.ascontiguousarray(self.x.T)
        self.power = (self.x**2).sum(axis=0)[:, None]
        self.crossbar = NumpyCrossbar(core, batch)
        self.mean, self.variance = np.empty((2, *shape[2:]), dtype=np.float32)
        self.crossbar.mean, self.crossbar.variance = self.mean, self.variance
        curve = Terminals(core, phase.targets).nominal
        self.curve, self.scatter = curve.conductance_us, curve.scatter_us
        self.slope = np.maximum(-np.gradient(self.curve.astype(np.float64)), TINY).astype(F32)
        self.restore()

    def restore(self) -> None:
        """Begin again."""
        self.core, self.state = self.phase.restore()
        self.terminals = Terminals(self.core, self.phase.targets)
        self.g = self.core.conductance[0]
        self.nu = np.empty_like(self.g)
        self.q = np.empty_like(self.g)
        everything = np.arange(self.g.size)
        self._restate(everything)
        self.fired = everything[:0]

    def pulsed_columns(self) -> np.ndarray:
        """Return how many cells of each column the last iteration pulsed."""
        width = self.mean.shape[1]
        return np.bincount(self.fired % width, minlength=width)

    def refresh(self) -> None:
        """Bring mean and variance up to the clock."""
        now, a = F32(self.core.clock_s[0]), self.age
        last, last_s = self.core.last_device[0], self.core.last_s[0]
        young = np.log(np.maximum(now - last_s, a.t_on_s) * a.inverse_t_ref)
        old = np.log(max(now, a.t_on_s) * a.inverse_t_ref)
        self.mean[:] = 0
        self.variance[:] = 0
        for device, g in enumerate(self.g):
            power = np.where(last == device, young, old)
            power *= self.nu[device]
            np.negative(power, out=power)
            np.exp(power, out=power)
            power *= g
            if device < len(self.g) // 2:
                self.mean += power
            else:
                self.mean -= power
            power *= self.q[device]
            power *= power
            self.variance += power
        self.variance *= a.noise_band

    def iterate(self, index: int) -> None:
        """Measure one batch, and pulse the cells beyond their threshold."""
        method, state = self.phase.method, self.state
        targets = wait_for(method, self.terminals, state, index)[0]
        self.refresh()
        y = self.crossbar.mvm(self.x)
        self.core.clock_s += method.batch * self.core.config.circuit.t_mvm_s
        y -= self.x @ targets
        y -= y.mean(axis=0)
        rms = np.sqrt((y * y).mean(axis=0))
        error = self.transposed @ y
        error /= self.power
        total, count = state["total"][0], state["count"][0]
        total += error
        count += 1
        np.divide(total, count, out=error)
        _, _, step = method.step.arguments(self.terminals, index, method.iterations)
        threshold = (step.margin * self.scatter)[state["aim"][0]]
        uncertain = rms * (step.kappa / np.sqrt(self.power))
        uncertain /= np.sqrt(count, dtype=np.float32)
        np.maximum(threshold, uncertain, out=threshold)
        cells = np.flatnonzero((np.abs(error) > threshold) & (state["device"][0] != NONE))
        total.ravel()[cells] = 0
        count.ravel()[cells] = 0
        self._pulse(cells, self._codes(cells, error.ravel()[cells], step))

    def _codes(self, cells: np.ndarray, error: np.ndarray, p: StepParameters) -> np.ndarray:
        """Move the amplitudes of some cells; return their codes."""
        device, level, swing, aim = (
            self.state[name].ravel() for name in ("device", "level", "swing", "aim")
        )
        d, lv, sw, a = device[cells], level[cells], swing[cells], aim[cells]
        half = len(self.g) // 2
        high = np.where(d < half, error, -error)
        present = np.interp(self.curve[a] + high, self.curve[::-1], CODES)
        size = np.minimum(np.abs(a - present), np.abs(error) / self.slope[a])
        size = np.maximum(size, np.abs(error) / p.steepest)
        flips = np.abs(sw.astype(np.int64)) - 1
        same = np.where(high > 0, sw > 0, sw < 0)
        flips = np.where(same, np.maximum(flips - 1, 0), np.minimum(flips + 1, MOST_FLIPS))
        direction = np.where(high > 0, 1, -1)
        moved = direction * np.minimum(p.gain * size, p.max_step) * 0.5**flips
        moved = np.clip(np.rint(lv + moved * LEVELS), 0, TOP)
        moved = np.where((lv == TOP) & (high < 0), a.astype(np.int64) * LEVELS, moved)
        new_swing = direction * (1 + flips)
        edge = np.flatnonzero(((lv == 0) & (high < 0)) | ((lv == TOP) & (high > 0)))
        for k in edge:  # few: where the analog device has no more to give
            self._hand_over(int(cells[k]), float(high[k]), int(k), moved, new_swing)
        level[cells] = moved
        swing[cells] = new_swing
        return (level[cells] + LEVELS // 2) // LEVELS

    def _hand_over(
        self, cell: int, high: float, k: int, moved: np.ndarray, new_swing: np.ndarray
    ) -> None:
        """Let another device of a cell become analog, if there is one."""
        device, filled, aim = (self.state[name].ravel() for name in ("device", "filled", "aim"))
        analog, bits, half = int(device[cell]), int(filled[cell]), len(self.g) // 2
        if bits == NONE:
            return
        low = 0 if analog < half else half
        up = high < 0
        heirs = [d for d in range(low, low + half) if d != analog and bool(bits >> d & 1) != up]
        if heirs:
            filled[cell] = bits | 1 << analog if up else bits & 255 - (1 << heirs[0])
            device[cell] = heirs[0]
            wanted = -high if up else self.curve[0] - high
            aim[cell] = np.rint(np.interp(wanted, self.curve[::-1], CODES))
            moved[k], new_swing[k] = int(aim[cell]) * LEVELS, 0

    def _pulse(self, cells: np.ndarray, code: np.ndarray) -> None:
        """Pulse the analog devices of some cells."""
        p, core = self.pulses, self.core
        device = self.state["device"].ravel()[cells]
        at = device.astype(np.int64) * self.mean.size + cells
        centre, width = self.centre.ravel()[at], self.width.ravel()[at]
        current = p.current_min_ua + code.astype(np.float32) * p.current_step_ua
        s = 1 / (1 + np.exp((centre - current) / width))
        g = np.exp(self.log_g.ravel()[at] - p.depth * s)
        scatter = np.hypot(g * p.depth * s * (1 - s) / width * p.jitter_ua, p.floor_us)
        g += scatter * self.crossbar.random.standard_normal(len(at), dtype=np.float32)
        self.g.reshape(-1)[at] = np.maximum(g, 0)
        self._restate(at)
        core.last_device.ravel()[cells] = device
        core.last_s.ravel()[cells] = F32(core.clock_s[0])
        slots = np.ceil(len(cells) / core.config.circuit.parallel_pulses)
        core.clock_s += slots * core.config.circuit.t_pulse_s
        self.fired = cells

    def _restate(self, at: np.ndarray) -> None:
        """Work out drift exponent and noise of some devices from what they hold."""
        x = np.clip(self.g.ravel()[at] * self.age.inverse_scale, 1e-3, 1)
        log_x = np.log(x)
        mean, std, q = (_fit(f, x, log_x) for f in self.fits)
        self.nu.ravel()[at] = np.abs(mean + std * self.z_nu.ravel()[at])
        self.q.ravel()[at] = q


def _fit(f: FitParameters, x: np.ndarray, log_x: np.ndarray) -> np.ndarray:
    """Return a published fit at the states `x`."""
    logarithmic = np.clip(f.slope * log_x + f.offset, f.low, f.high)
    cubic = ((f.c3 * x + f.c2) * x + f.c1) * x + f.c0
    return np.where(x < f.split, logarithmic, cubic)
