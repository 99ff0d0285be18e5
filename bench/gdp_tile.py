"""What the baselines of GDP have in common: one tile, its devices, its schedule and its clock.

All that grows with the array in every iteration is left to them.  What belongs to a device for life
is stored and looked up, where the engine draws it again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scene import Phase

from fastaimc.engine import INPUT_KINDS
from fastaimc.parameters import F32, FitParameters, StepParameters
from fastaimc.programming.plan import wait_for
from fastaimc.reference import pcm, philox
from fastaimc.reference.controller import TINY
from fastaimc.terminals import Terminals

NONE = 255  # no device
CODES = np.arange(255.0, -1.0, -1.0)  # of the nominal curve, rising
INVERSE = 1 << 15  # points of the curve's inverse: 0.4 nS apart, where a pulse scatters by 50
LOWEST_BIT = np.array(
    [NONE, *((bits & -bits).bit_length() - 1 for bits in range(1, 256))], np.uint8
)


class Batch(NamedTuple):
    """The inputs of an iteration, and what follows from them."""

    x: np.ndarray  # (batch, row)
    backward: np.ndarray  # its transpose over each row's power: makes errors of outputs cells'
    deviation: np.ndarray  # root of that power, (row, 1)


class Tile:
    """A tile whose first iterations of GDP, without re-fits of its columns, are run repeatedly.

    Attributes
    ----------
    log_g, centre, width, z_nu : ndarray
        Of every device, (device, row, column).
    batches : list of Batch
        The inputs of each iteration, which the engine draws anew in every run.
    curve, scatter, slope : ndarray
        Nominal conductance, scatter of a pulse and |dG/dcode| of every code.
    inverse, inverse_step : ndarray, float
        Code that nominally reaches 0, one step, ...: a search would miss every other branch.
    targets : ndarray
        What the cells are to hold, (row, column).
    gain, ahead
        What they are to show now: `fastaimc.reference.controller.wanted`.
    """

    def __init__(self, phase: Phase, iterations: int) -> None:
        self.phase, self.method, self.targets = phase, phase.method, phase.targets[0]
        core = phase.started
        shape = core.conductance.shape
        self.half = shape[1] // 2  # devices that add
        p = self.pulses = core.config.device.parameters()  # type: ignore[union-attr]
        z = [
            pcm.cell_normals(core.identity, shape, 0, purpose)[0].astype(F32)
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
        self.batches = [self._batch(index) for index in range(iterations)]
        curve = Terminals(core, phase.targets).nominal
        self.curve, self.scatter = curve.conductance_us, curve.scatter_us
        self.slope = np.maximum(-np.gradient(self.curve.astype(np.float64)), TINY).astype(F32)
        self.inverse_step = float(self.curve[0]) / (INVERSE - 1)
        grid = np.arange(INVERSE) * self.inverse_step
        self.inverse = np.interp(grid, self.curve[::-1], CODES).astype(F32)
        self.restore()

    def _batch(self, index: int) -> Batch:
        method, core = self.method, self.phase.started
        kind, rows = INPUT_KINDS[method.inputs], core.shape[1]
        x = core.engine.inputs(kind, self.phase.key, index, method.batch, rows)
        x *= F32(method.amplitude)
        power = (x * x).sum(axis=0)[:, None]
        return Batch(x, np.ascontiguousarray(x.T / power), np.sqrt(power))

    def restore(self) -> None:
        """Begin again."""
        self.core, self.state = self.phase.restore()
        self.terminals = Terminals(self.core, self.phase.targets)
        self.gain, self.ahead = F32(1), np.zeros(0, dtype=F32)

    def known(self, *names: str) -> list[np.ndarray]:
        """Return what the controller knows of the cells, flat; changing it changes the state."""
        return [self.state[name].reshape(-1) for name in names]

    def scatter_at_aim(self) -> np.ndarray:
        """Return the scatter of a pulse at every cell's aim; endless where nothing is analog."""
        device, aim = self.state["device"][0], self.state["aim"][0]
        scatter: np.ndarray = np.where(device == NONE, F32(np.inf), self.scatter[aim])
        return scatter

    def newest(self) -> np.ndarray:
        """Return 1 for the device of every cell pulsed last, (device + 1, row, column), and 0.

        The last is for cells that were never pulsed.
        """
        last = np.minimum(self.core.last_device[0], 2 * self.half)
        newest: np.ndarray = last == np.arange(2 * self.half + 1)[:, None, None]
        return newest.astype(F32)

    def wait(self, index: int) -> bool:
        """Wait before iteration `index`; return whether `gain` and `ahead` are now others."""
        before = self.ahead
        self.gain, self.ahead = wait_for(self.method, self.terminals, index)
        return not np.array_equal(before, self.ahead)

    def step(self, index: int) -> StepParameters:
        """Return the step of iteration `index`."""
        return self.method.step.arguments(self.terminals, index, self.method.iterations)[-1]

    def now(self) -> np.float32:
        """Return the clock, s."""
        return F32(self.core.clock_s[0])

    def measured(self) -> None:
        """Let the time of a batch pass."""
        self.core.clock_s += self.method.batch * self.core.config.circuit.t_mvm_s

    def pulsed(self, cells: int) -> None:
        """Let the time of so many pulses pass."""
        circuit = self.core.config.circuit
        self.core.clock_s += np.ceil(cells / circuit.parallel_pulses) * circuit.t_pulse_s

    def hand_over(self, cells: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Where the analog device has no more to give, let another one of its cell become analog.

        `cells` are few, and by `high` too high.  Returns the indices into them where there was
        one: their device and aim are new.
        """
        device, filled, aim = self.known("device", "filled", "aim")
        bits, analog = filled[cells].astype(np.int64), device[cells].astype(np.int64)
        ours = (1 << self.half) - 1
        polarity = np.where(analog < self.half, ours, ours << self.half)
        up: np.ndarray = high < 0
        heirs = np.where(up, ~bits, bits) & polarity & ~(1 << analog)
        (given,) = np.nonzero((heirs != 0) & (bits != NONE))
        cells, high, up, bits, analog = (a[given] for a in (cells, high, up, bits, analog))
        heir = LOWEST_BIT[heirs[given]]
        device[cells] = heir
        filled[cells] = np.where(up, bits | 1 << analog, bits & ~(1 << heir.astype(np.int64)))
        wanted = np.where(up, -high, self.curve[0] - high)
        aim[cells] = np.rint(np.interp(wanted, self.curve[::-1], CODES))
        return given
