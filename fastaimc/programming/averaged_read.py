"""IP by multi-read averaging: the baseline of HARP (Choi et al., arXiv:2604.12420)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.engine import Engine
from fastaimc.errors import check_choice, check_integer
from fastaimc.programming.iterative import DEFAULT_STEP, IterativeProgramming
from fastaimc.programming.method import State
from fastaimc.programming.plan import Step, check_schedule
from fastaimc.programming.start import ALLOCATIONS
from fastaimc.terminals import Terminals


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragedReadProgramming:
    """Read every row several times in each round, and verify cells by the mean.

    Claimed: the mean of k reads has the k-th part of their uncorrelated noise, in power, for k
    times the reads.  That pays where read noise limits, and not where the scatter of pulses does,
    nor the rounding of a step of the ADC that noise does not cross.  `IterativeProgramming`, of
    which this is all but the repeated reads, averages too: what it has read since a cell's last
    pulse.

    Parameters
    ----------
    iterations : int
        Rounds; each reads every row `reads` times.
    reads : int
        Reads of a row in a round.
    fine, allocation, step, verify_delay, final_passes, final_delay
        As for `IterativeProgramming`.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    iterations: int = 12  # with two reads the cost of 25 rounds of IP, but for one read
    reads: int = 2  # assumption: the fewest that are averaged
    fine: bool = False
    allocation: str = "two_device"
    step: Step = DEFAULT_STEP  # assumption: IP's
    verify_delay: float = 0.0769
    final_passes: int = 0
    final_delay: float = 0.0769

    def __post_init__(self) -> None:
        check_integer("iterations", self.iterations, 1, 100_000)
        check_integer("reads", self.reads, 1, 1000)
        check_choice("fine", self.fine, (False, True))
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_schedule(self)

    def _single(self) -> IterativeProgramming:
        """Return IP with the same start and schedule."""
        return IterativeProgramming(
            iterations=self.iterations,
            fine=self.fine,
            allocation=self.allocation,
            step=self.step,
            verify_delay=self.verify_delay,
            final_passes=self.final_passes,
            final_delay=self.final_delay,
        )

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """Start as IP does."""
        return self._single().start(terminals, engine, key)

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Read every cell several times, and pulse those whose mean is beyond its threshold."""

        def read_rows(rows: np.ndarray, select: np.ndarray | None, fine: bool) -> np.ndarray:
            mean = terminals.read_rows(rows, select, fine)
            for _ in range(self.reads - 1):
                mean += terminals.read_rows(rows, select, fine)
            mean /= np.float32(self.reads)
            return mean

        self._single().iterate_by(read_rows, terminals, engine, state, index)
