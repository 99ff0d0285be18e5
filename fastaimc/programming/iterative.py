"""IP: iterative program-and-verify of unit cells (Papandreou et al., ISCAS 2011)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastaimc.engine import Engine
from fastaimc.errors import check_choice, check_integer
from fastaimc.parameters import F32, StepParameters, mask_dtype
from fastaimc.programming.method import State
from fastaimc.programming.plan import NONE, Step, check_schedule, fire, parts, wait_for
from fastaimc.programming.start import ALLOCATIONS, dark_reading, prepare
from fastaimc.terminals import Terminals

QUANTISATION = 12.0**-0.5  # standard deviation of a rounding, in steps


# Reads some rows' cells, as `Terminals.read_rows`.
Read = Callable[[np.ndarray, np.ndarray | None, bool], np.ndarray]

# The best of 200 trials of `tools/tune.py` (bench/results/tuning_ip.json), one set for both ranges.
DEFAULT_STEP = Step(
    margin=0.489, margin_end=1.56, kappa=2.28, gain=1.05, gain_end=0.390, max_step=0.0186
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IterativeProgramming:
    """Read every cell, compare it with its target, pulse it, and again.

    A cell is verified as a whole (g+ - g-, all its devices selected) by the mean of all reads
    since its last pulse, less the column's offset, and left alone while the error is below
    ``max(margin * scatter, kappa * standard error)``.

    Parameters
    ----------
    iterations : int
        Rounds; each reads every row once.
    fine : bool
        Read in the ADC's cell range, if it has one.
    verify : str
        "cell"; or "device", the textbook form: only the analog device is read and held to its
        share, one read decides, and a device once within its margin is never looked at again.
    allocation : str
        "two_device" (TDP, from the read-out SET values); "max_fill", in the devices' order, from
        the nominal one; or "max_fill_read", in their order, from values that are read, of all but
        the last device.
    calibrate : bool
        Find each column's offset not from a dark reading alone, which a step of the ADC rounds,
        but from sums: reads of SET devices one by one and together.  It costs a read of every row,
        and is done with "two_device" where that step is coarser than the scatter of a pulse.
    step : Step
        Threshold and step of a pulse.
    verify_delay, final_delay : float
        Wait before each round, and before each of the `final_passes` last ones, in units of the
        time from the end of programming to the evaluation: late reads see drift.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    iterations: int = 25
    fine: bool = False
    verify: str = "cell"
    allocation: str = "two_device"
    calibrate: bool = True
    step: Step = DEFAULT_STEP
    verify_delay: float = 0.0385
    final_passes: int = 0
    final_delay: float = 0.0385

    def __post_init__(self) -> None:
        check_integer("iterations", self.iterations, 1, 100_000)
        check_choice("fine", self.fine, (False, True))
        check_choice("verify", self.verify, ("cell", "device"))
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_choice("calibrate", self.calibrate, (False, True))
        check_schedule(self)

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """SET, read and allocate the devices; the analog one gets its first pulse."""
        state = prepare(
            terminals,
            engine,
            self.allocation,
            fine=self.fine,
            settle=self.verify_delay,
            shoot=True,
            calibrate=self.calibrate,
            rest=self.verify == "device",
        )
        if "dark" not in state:
            state["dark"] = dark_reading(terminals, self.fine)
        tiles = terminals.shape[0]
        state["total"] = np.zeros(terminals.shape, dtype=np.float32)
        state["count"] = np.zeros(terminals.shape, dtype=np.uint8)
        state["pooled"] = np.zeros((tiles, 2))
        if self.verify == "device":
            state["open"] = state["device"].copy()
            state["filled"][...] = NONE  # each device has its own share and keeps it
        return state

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Read every cell, and pulse those whose mean is beyond its threshold."""
        self.iterate_by(terminals.read_rows, terminals, engine, state, index)

    def iterate_by(
        self, read_rows: Read, terminals: Terminals, engine: Engine, state: State, index: int
    ) -> None:
        """Do the same with reads of one's own: `read_rows` is called as `Terminals.read_rows`."""
        gain, ahead = wait_for(self, terminals, index)
        textbook = self.verify == "device"
        select, device, targets = None, state["device"], terminals.targets
        if textbook:  # an analog device is held to its share, as it is
            mask = mask_dtype(terminals.devices)
            select = np.left_shift(mask(1), np.minimum(device, terminals.devices - 1), dtype=mask)
            targets, device = state["rest"], state["open"]
            gain, ahead = F32(1), np.zeros_like(ahead)
            state["count"][...] = 0
            state["total"][...] = 0
        read_std = self._read_std(terminals, state["pooled"])
        sums = verify(
            lambda rows: read_rows(rows, select, self.fine),
            engine,
            state,
            terminals.shape,
            (targets, gain, ahead),
            read_std,
            device,
            self.step.arguments(terminals, index, self.iterations),
        )
        state["pooled"] += sums[:, :2]
        if textbook:
            state["open"][state["fire"] == NONE] = NONE
        fire(terminals, state)

    def _read_std(self, terminals: Terminals, pooled: np.ndarray) -> np.ndarray:
        """Return the standard deviation of one read as the reads so far show it, (tile,), µS."""
        variance = pooled[:, 0] / np.maximum(pooled[:, 1], 1.0)
        rounding = terminals.lsb_us(self.fine) * QUANTISATION
        return np.asarray(np.maximum(np.sqrt(variance), rounding), dtype=np.float32)


def verify(
    read: Callable[[np.ndarray], np.ndarray],
    engine: Engine,
    state: State,
    shape: tuple[int, int, int],
    wanted: tuple[np.ndarray, np.float32, np.ndarray],
    read_std: np.ndarray,
    device: np.ndarray,
    step: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, StepParameters],
) -> np.ndarray:
    """Hold all cells to what is wanted of them, by what `read` says of some rows; choose pulses.

    Parameters
    ----------
    read : callable
        Returns the reads of rows, (tile, row, column), float32, µS.
    wanted : tuple
        Targets, `gain` and `ahead`, as the engine's `verify_pulses` takes them.
    read_std, device, step
        As there; `step` is what `Step.arguments` returns.

    Returns
    -------
    ndarray
        The sums of `verify_pulses`; `state` has the pulses and the error that was seen.
    """
    targets, gain, ahead = wanted
    sums = np.zeros((shape[0], 4))
    for part in parts(shape):
        rows = np.arange(part[1].start, min(part[1].stop, shape[1]))
        sums += engine.verify_pulses(
            read(rows),
            part[1].start,
            state["dark"],
            targets,
            gain,
            ahead,
            state["total"],
            state["count"],
            read_std,
            device,
            state["filled"],
            state["level"],
            state["swing"],
            state["aim"],
            *step,
            state["fire"],
            state["code"],
        )
    state["batch_error"] = np.sqrt(sums[:, 2] / np.where(sums[:, 3] > 0, sums[:, 3], np.nan))
    return sums
