"""HD-PV: program-and-verify by Hadamard-encoded parallel reads (arXiv:2604.12420)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.engine import Engine
from fastaimc.errors import check_choice, check_integer, check_number
from fastaimc.programming.gradient_descent import GradientDescentProgramming
from fastaimc.programming.method import State
from fastaimc.programming.plan import Step, check_schedule
from fastaimc.programming.start import ALLOCATIONS
from fastaimc.terminals import Terminals

# Assumption: IP's step; a decoded read decides alone, so there is no count of standard errors.
DEFAULT_STEP = Step(
    margin=0.489, margin_end=1.56, kappa=0.0, gain=1.05, gain_end=0.390, max_step=0.0186
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HadamardVerifyProgramming:
    """Read all rows together, as many times as there are rows, decode every cell, and pulse it.

    The lines of a Hadamard matrix are driven instead of one row after another; the transposed
    matrix gives back the cells.  Claimed: a decoded read has the converter's noise over the number
    of lines, in power, and the devices' noise as a read of one row has it.  Each round stands
    alone, where GDP, of which this is the special case with orthogonal inputs, averages all looks
    since a cell's last pulse and knows how certain they are.

    Parameters
    ----------
    iterations : int
        Rounds; each drives all lines, the least power of two that is not below the rows.
    amplitude : float
        Factor on the inputs, so that the outputs do not saturate the ADC.
    allocation, step, verify_delay, final_passes, final_delay
        As for `IterativeProgramming`.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    iterations: int = 25
    amplitude: float = 0.475  # as tuned for GDP's Hadamard inputs
    allocation: str = "two_device"
    step: Step = DEFAULT_STEP
    verify_delay: float = 0.0385
    final_passes: int = 0
    final_delay: float = 0.0385

    def __post_init__(self) -> None:
        check_integer("iterations", self.iterations, 1, 100_000)
        check_number("amplitude", self.amplitude, above=0, most=1)
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_schedule(self)

    def _descent(self, rows: int) -> GradientDescentProgramming:
        """Return GDP with this method's inputs, start and schedule."""
        return GradientDescentProgramming(
            iterations=self.iterations,
            batch=1 << (rows - 1).bit_length(),
            inputs="hadamard",
            amplitude=self.amplitude,
            start_from="single_shot",
            allocation=self.allocation,
            step=self.step,
            affine_every=0,
            verify_delay=self.verify_delay,
            final_passes=self.final_passes,
            final_delay=self.final_delay,
        )

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """SET, read and allocate the devices; the analog one gets its first pulse."""
        return self._descent(terminals.shape[1]).start(terminals, engine, key)

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Read and decode every cell, and pulse those that are beyond the threshold."""
        state["total"][...] = 0  # a round stands alone
        state["count"][...] = 0
        self._descent(terminals.shape[1]).iterate(terminals, engine, key, state, index)
