"""TDP: which devices of a cell are SET, and IP of the one left (Vasilopoulos et al., TED 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.engine import Engine
from fastaimc.errors import check_choice, check_integer
from fastaimc.programming.iterative import IterativeProgramming
from fastaimc.programming.method import State
from fastaimc.programming.plan import Step, check_schedule
from fastaimc.programming.start import ALLOCATIONS
from fastaimc.terminals import Terminals

# The best of 200 trials of `tools/tune.py` for IP that verifies devices, as is the schedule
# (bench/results/tuning_textbook.json).
DEFAULT_STEP = Step(
    margin=0.0171, margin_end=0.260, kappa=0.0382, gain=1.2, gain_end=0.0936, max_step=0.643
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoDeviceProgramming:
    """SET the devices of a cell, leave those that fit, program one of them to what is left.

    Only that device is read and held to its share (IP in its textbook form), so what the SET
    devices were taken for is what the cell is off.  Claimed (Le Gallo et al., Nat. Electron. 6,
    680, 2023, Extended Data Fig. 5): to read the SET conductances, as TDP does, leaves a smaller
    weight error than max-fill, which takes all devices for alike, as SET devices spread widely.
    At most one device of a cell is analog, where conductance scatters most.

    Published max-fill programs the first device to a fixed conductance by IP; here it is SET.

    Parameters
    ----------
    iterations : int
        Rounds; each reads every row once.
    allocation : str
        "two_device" (TDP), "max_fill" (the nominal SET conductance instead of reads) or
        "max_fill_read" (devices in their order, and read).
    fine, step, verify_delay, final_passes, final_delay
        As for `IterativeProgramming`.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    iterations: int = 25
    allocation: str = "two_device"
    fine: bool = False
    step: Step = DEFAULT_STEP
    verify_delay: float = 0.0382
    final_passes: int = 3
    final_delay: float = 0.0407

    def __post_init__(self) -> None:
        check_integer("iterations", self.iterations, 1, 100_000)
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_choice("fine", self.fine, (False, True))
        check_schedule(self)

    def _textbook(self) -> IterativeProgramming:
        """Return IP of the analog devices alone."""
        return IterativeProgramming(
            iterations=self.iterations,
            fine=self.fine,
            verify="device",
            allocation=self.allocation,
            step=self.step,
            verify_delay=self.verify_delay,
            final_passes=self.final_passes,
            final_delay=self.final_delay,
        )

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """SET and allocate the devices; the analog one gets its first pulse."""
        return self._textbook().start(terminals, engine, key)

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Read the analog devices, and pulse those that are not where they should be."""
        self._textbook().iterate(terminals, engine, key, state, index)
